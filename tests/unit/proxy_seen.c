/* proxy_seen.c: what was there a moment ago: found again until its second is over, by root and path; one slot, one script. */
#include "proxy/seen.h"
#include "test.h"

int main(void)
{
    static struct la_seen s;
    char text[LA_SEEN_TEXT + 1];
    const uint64_t now = 5000000000u;
    struct la_slice root = LA_SLICE("/srv/www"), path = LA_SLICE("/index.php");
    CHECK(!la_seen_has(&s, root, path, 0) && !la_seen_has(&s, root, path, now));
    la_seen_note(&s, root, path, now);
    CHECK(la_seen_has(&s, root, path, now) && la_seen_has(&s, root, path, now + LA_SEEN_NS - 1));
    CHECK(!la_seen_has(&s, root, path, now + LA_SEEN_NS));
    CHECK(!la_seen_has(&s, LA_SLICE("/srv/ww2"), path, now) && !la_seen_has(&s, LA_SLICE("/srv"), path, now));
    CHECK(!la_seen_has(&s, root, LA_SLICE("/index.phq"), now) && !la_seen_has(&s, root, LA_SLICE("/index"), now));
    /* What is root and what is path matters, not their sum. */
    CHECK(!la_seen_has(&s, LA_SLICE("/srv/www/index.php"), LA_SLICE(""), now));
    /* The slots are reused, and too long a name is not noted. */
    for (unsigned i = 0; i < 4 * LA_SEEN_SLOTS; i++) {
        struct la_slice p = la_slice(text, (size_t)snprintf(text, sizeof text, "/%u.php", i));
        la_seen_note(&s, root, p, now);
        CHECK(la_seen_has(&s, root, p, now));
    }
    memset(text, 'x', sizeof text);
    struct la_slice fits = la_slice(text, LA_SEEN_TEXT - root.n), longer = la_slice(text, LA_SEEN_TEXT - root.n + 1);
    la_seen_note(&s, root, fits, now);
    la_seen_note(&s, root, longer, now);
    CHECK(la_seen_has(&s, root, fits, now) && !la_seen_has(&s, root, longer, now));
    return TEST_DONE();
}
