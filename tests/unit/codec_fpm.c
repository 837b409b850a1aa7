/* codec_fpm.c: php-fpm's status page read, cut anywhere, and judged. */
#include "lastack/fpm.h"

#include "test.h"

static const char page[] =
    "{\"pool\":\"www\",\"process manager\":\"static\",\"start time\":1700000000,\"start since\":10,\"accepted conn\":123,"
    "\"listen queue\":2,\"max listen queue\":7,\"listen queue len\":511,\"idle processes\":5,\"active processes\":3,"
    "\"total processes\":8,\"max active processes\":4,\"max children reached\":1,\"slow requests\":6}";

int main(void)
{
    struct la_fpm_status s;
    char text[256];
    CHECK(la_fpm_status_read(LA_SLICE(page), &s));
    CHECK(s.accepted == 123 && s.listen_queue == 2 && s.max_listen_queue == 7 && s.idle == 5 && s.active == 3);
    CHECK(s.total == 8 && s.max_active == 4 && s.max_children_reached == 1 && s.slow == 6 && s.is_static);
    for (size_t n = 0; n < sizeof page; n++)
        la_fpm_status_read(la_slice(page, n), &s);
    CHECK(!la_fpm_status_read(LA_SLICE("pool: www"), &s) && !la_fpm_status_read(LA_SLICE(""), &s) && !la_fpm_status_read(LA_SLICE("{}"), &s));
    s = (struct la_fpm_status){.total = 8, .is_static = true};
    CHECK(!la_fpm_judge(&s, 7, 7, text, sizeof text));
    CHECK(la_fpm_judge(&s, 8, 0, text, sizeof text) && strstr(text, "lower pool.max to 7"));
    s.is_static = false; /* dynamic: it may still grow */
    CHECK(!la_fpm_judge(&s, 20, 0, text, sizeof text));
    s.max_children_reached = 1;
    CHECK(la_fpm_judge(&s, 20, 0, text, sizeof text));
    s.listen_queue = 3;
    CHECK(la_fpm_judge(&s, 5, 2, text, sizeof text) && strstr(text, "pin workers"));
    CHECK(la_fpm_judge(&s, 5, 0, text, sizeof text) && strstr(text, "busy"));
    CHECK(la_fpm_judge(&s, 5, 0, text, 10) && strlen(text) == 9);
    return TEST_DONE();
}
