/* upstream_ring.c: keys are placed as libmemcached places them, and hashes are what they are said to be. */
#include "lastack/md5.h"
#include "test.h"
#include "upstream_ring_rows.h"

static struct la_slice key_of(unsigned i, char *buf, size_t cap)
{
    static const char *const form[] = {"user:%u", "sess_%x", "memc.sess.key.%u", "k%u"};
    return la_slice(buf, (size_t)snprintf(buf, cap, form[i % 4], 7919 * i));
}

static void test_rows(void)
{
    unsigned matched = 0;
    for (size_t r = 0; r < la_count(rows); r++) {
        struct la_ring *ring =
            la_ring_new(rows[r].distribution, rows[r].hash, rows[r].server, rows[r].servers, UINT64_MAX);
        CHECK(ring != NULL);
        for (unsigned i = 0; i < 200; i++) {
            char buf[64];
            CHECK_EQ(la_ring_find(ring, key_of(i, buf, sizeof buf)), rows[r].places[i] - '0');
            matched++;
        }
        la_ring_free(&ring);
    }
    CHECK_EQ(matched, 1600);
}

static void md5_is(const char *text, const char *hex)
{
    uint8_t d[16];
    char out[33];
    la_md5(text, strlen(text), d);
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", d[i]);
    CHECK(strcmp(out, hex) == 0);
}

/* RFC 1321, appendix A.5. */
static void test_md5(void)
{
    md5_is("", "d41d8cd98f00b204e9800998ecf8427e");
    md5_is("abc", "900150983cd24fb0d6963f7d28e17f72");
    md5_is("12345678901234567890123456789012345678901234567890123456789012345678901234567890",
           "57edf4a22be3c955ac49da2e2107b67a");
    md5_is("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789xxx",
           "3169959d11ab52e098e0b476e1f6e41f");
}

static unsigned moved(enum la_distribution d, uint64_t before, uint64_t after)
{
    struct la_ring *a = la_ring_new(d, LA_HASH_MD5, mixed4, 4, before),
                   *b = la_ring_new(d, LA_HASH_MD5, mixed4, 4, after);
    unsigned n = 0;
    for (unsigned i = 0; i < 4000; i++) {
        char buf[64];
        struct la_slice k = key_of(i, buf, sizeof buf);
        unsigned x = la_ring_find(a, k), y = la_ring_find(b, k);
        CHECK(after >> y & 1);
        n += x != y;
    }
    la_ring_free(&a);
    la_ring_free(&b);
    return n;
}

/* A server that is out: its keys move, and with a continuum (nearly) only they. */
static void test_without_one(void)
{
    CHECK(la_ring_new(LA_KETAMA, LA_HASH_MD5, mixed4, 4, 0) == NULL);
    CHECK_EQ(moved(LA_KETAMA_UNWEIGHTED, 15, 15), 0);
    unsigned n = moved(LA_KETAMA_UNWEIGHTED, 15, 13);
    CHECK(n > 500 && n < 1500);
    n = moved(LA_JUMP, 15, 7);
    CHECK(n > 500 && n < 1500);
    CHECK(moved(LA_MODULA, 15, 7) > 2000);
}

static void test_tags(void)
{
    CHECK(la_slice_eq(la_ring_tagged("{}", LA_SLICE("a{user}b")), LA_SLICE("user")));
    CHECK(la_slice_eq(la_ring_tagged("::", LA_SLICE("a:user:b")), LA_SLICE("user")));
    CHECK(la_slice_eq(la_ring_tagged("{}", LA_SLICE("a{}b")), LA_SLICE("a{}b")));
    CHECK(la_slice_eq(la_ring_tagged("{}", LA_SLICE("a}b{c")), LA_SLICE("a}b{c")));
    CHECK(la_slice_eq(la_ring_tagged("{}", LA_SLICE("a{b")), LA_SLICE("a{b")));
    CHECK(la_slice_eq(la_ring_tagged(NULL, LA_SLICE("a{b}")), LA_SLICE("a{b}")));
}

int main(void)
{
    test_rows();
    test_md5();
    test_without_one();
    test_tags();
    return TEST_DONE();
}
