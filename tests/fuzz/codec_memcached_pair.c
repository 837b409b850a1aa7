/* codec_memcached_pair.c: any bytes of a client, as the proxy would send them on: what a server gets is,
 * command by command and read by the same grammar, what the client sent: never one more, never noreply, never
 * a key that was not named. */
#include "fuzz.h"
#include "lastack/memcached.h"

static void check_line(const struct la_memc_request *r, const char *line, size_t n, struct la_slice prefix)
{
    struct la_memc_request again;
    struct la_memc_fault f;
    size_t seen = 0;
    FUZZ_CHECK(n >= 2 && line[n - 2] == '\r' && line[n - 1] == '\n');
    FUZZ_CHECK(memchr(line, '\n', n) == line + n - 1 && memchr(line, '\r', n) == line + n - 2);
    FUZZ_CHECK(memchr(line, 0, n) == NULL);
    char *copy = fuzz_copy(line, n);
    FUZZ_CHECK(la_memc_parse(&again, copy, n, &seen, &f) == LA_MEMC_DONE);
    FUZZ_CHECK(again.used == n && again.verb == r->verb && again.has_data == r->has_data &&
               again.bytes == r->bytes);
    FUZZ_CHECK(!again.quiet && !again.noreply);
    if (prefix.n && r->key.n && !r->base64)
        FUZZ_CHECK(again.key.n == prefix.n + r->key.n && memcmp(again.key.p, prefix.p, prefix.n) == 0);
    if (prefix.n == 0)
        FUZZ_CHECK(la_slice_eq(again.key, r->key));
    free(copy);
}

static void check_keys(const struct la_memc_request *r)
{
    struct la_slice all = r->keys, key;
    size_t n = 0;
    while (la_memc_next_key(&all, &key)) {
        n++;
        FUZZ_CHECK(key.n > 0 && key.n <= LA_MEMC_KEY_MAX);
        for (size_t i = 0; i < key.n; i++)
            FUZZ_CHECK((unsigned char)key.p[i] > 0x20 && key.p[i] != 0x7f);
    }
    FUZZ_CHECK(n == r->keys_n);
}

/* Refused before its end was there, by a key that is too long; looked at later it may wait for its end. */
static void check_hopeless(const char *p, size_t n)
{
    struct la_memc_request r;
    struct la_memc_fault f;
    size_t seen = 0;
    char *line = malloc(n + 2);
    FUZZ_CHECK(line != NULL);
    memcpy(line, p, n);
    memcpy(line + n, "\r\n", 2);
    FUZZ_CHECK(la_memc_parse(&r, line, n + 2, &seen, &f) == LA_MEMC_BAD);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct la_slice prefix = data[0] & 1 ? LA_SLICE("p:") : LA_SLICE("");
    size_t at = 1;
    while (at < size) {
        struct la_memc_request r, r2;
        struct la_memc_fault f, f2;
        size_t seen = 0, n = size - at, cut = fuzz_pick(data + at, n, n + 1);
        char *p = fuzz_copy(data + at, n);
        enum la_memc_result result = la_memc_parse(&r, p, n, &seen, &f);
        seen = 0;
        enum la_memc_result half = la_memc_parse(&r2, p, cut, &seen, &f2);
        if (half == LA_MEMC_MORE)
            half = la_memc_parse(&r2, p, n, &seen, &f2);
        if (half == LA_MEMC_BAD && result == LA_MEMC_MORE)
            check_hopeless(p, n);
        else
            FUZZ_CHECK(half == result && (result == LA_MEMC_BAD || r2.used == r.used));
        uint64_t skip = 0;
        if (result == LA_MEMC_DONE) {
            char line[4096];
            FUZZ_CHECK(r.used > 0 && r.used <= n);
            size_t k = la_memc_write(&r, prefix, line, sizeof line);
            if (k)
                check_line(&r, line, k, prefix);
            check_keys(&r);
            skip = r.used + (r.has_data ? r.bytes + 2 : 0);
        } else if (result == LA_MEMC_BAD && !f.close) {
            FUZZ_CHECK(f.used > 0 && f.used <= n);
            skip = f.used + f.swallow;
        }
        free(p);
        if (skip == 0 || skip > n)
            return 0;
        at += skip;
    }
    return 0;
}
