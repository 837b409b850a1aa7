/* io_tls_ring.c: ticket keys by the hour: one seals for an hour, opens for a day and two hours, and is gone then. */
#include "test.h"

#include "io/tls_private.h"

#define HOUR (3600ull * 1000000000)

static bool opens(struct la_tls_ring *r, uint64_t now, const struct la_ring_key *k, bool *old)
{
    struct la_ring_key found;
    if (!la_tls_ring_open(r, now, k->name, &found, old))
        return false;
    CHECK(memcmp(&found, k, sizeof found) == 0);
    return true;
}

int main(void)
{
    struct la_tls_ring *r = la_tls_ring_new();
    struct la_ring_key first, k, all[40];
    bool old;
    uint64_t start = 5 * HOUR;
    CHECK(la_tls_ring_seal(r, start, &first) && la_tls_ring_seal(r, start + HOUR - 1, &k));
    CHECK(memcmp(&first, &k, sizeof k) == 0);
    CHECK(opens(r, start + 1, &first, &old) && !old);
    CHECK(opens(r, start + HOUR, &first, &old) && old); /* renewed, though nobody has sealed since */
    k.name[0] ^= 1;
    CHECK(!opens(r, start, &k, &old));
    for (unsigned h = 0; h < 40; h++) {
        CHECK(la_tls_ring_seal(r, start + h * HOUR, &all[h]));
        for (unsigned i = 0; i <= h; i++) {
            bool young = h - i < LA_RING_KEYS;
            CHECK(opens(r, start + h * HOUR, &all[i], &old) == young);
            CHECK(!young || old == (i != h));
            CHECK(i == h || memcmp(all[i].aes, all[h].aes, sizeof all[i].aes) != 0);
        }
    }
    /* A day on which nobody came: nothing opens any more. */
    CHECK(!opens(r, start + 70 * HOUR, &all[39], &old));
    la_tls_ring_free(&r);
    CHECK(r == NULL);
    return TEST_DONE();
}
