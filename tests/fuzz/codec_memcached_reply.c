/* codec_memcached_reply.c: any bytes as a server's reply: never out of bounds, the same pieces at any split.
 */
#include "fuzz.h"
#include "lastack/memcached.h"

/* A hash of the reply's pieces, data as one stream; *used: how much of it was taken. */
static uint64_t run(enum la_memc_expect e, const uint8_t *data, size_t size, size_t cut, size_t *end)
{
    struct la_memc_reply r;
    uint64_t hash = 14695981039346656037u;
    size_t at = 0, have = cut;
    la_memc_reply_init(&r, e);
    for (;;) {
        struct la_memc_line l;
        size_t used;
        FUZZ_CHECK(at <= have);
        char *p = fuzz_copy(data + at, have - at);
        enum la_memc_piece piece = la_memc_reply_feed(&r, p, have - at, &used, &l);
        FUZZ_CHECK(used <= have - at);
        FUZZ_CHECK(piece == LA_MEMC_PIECE_NONE || piece == LA_MEMC_PIECE_BAD || used > 0);
        for (size_t i = 0; i < l.bytes.n && piece != LA_MEMC_PIECE_BAD; i++)
            hash = (hash ^ (uint8_t)l.bytes.p[i]) * 1099511628211u;
        for (int v = 0; v < LA_MEMC_VERB_COUNT && piece == LA_MEMC_PIECE_LAST; v++)
            (void)la_memc_answers((enum la_memc_verb)v, l.bytes);
        if (e == LA_MEMC_EXPECT_META && (piece == LA_MEMC_PIECE_VALUE || piece == LA_MEMC_PIECE_LAST)) {
            struct la_slice echo = piece == LA_MEMC_PIECE_VALUE ? l.rest : l.bytes;
            (void)la_memc_meta_matches(l.bytes, echo);
            (void)la_memc_meta_matches(LA_SLICE("mg Zm9v b k O1\r\n"), echo);
        }
        free(p);
        at += used;
        *end = at;
        if (piece == LA_MEMC_PIECE_NONE) {
            if (have == size)
                return hash;
            have = size;
            continue;
        }
        if (piece == LA_MEMC_PIECE_BAD)
            return 1; /* what was passed on before depends on the cut */
        if (piece == LA_MEMC_PIECE_LAST || piece == LA_MEMC_PIECE_ERROR)
            return hash + (uint64_t)piece;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    enum la_memc_expect e = (enum la_memc_expect)(data[0] % 4);
    size_t one, two;
    uint64_t a = run(e, data + 1, size - 1, size - 1, &one);
    uint64_t b = run(e, data + 1, size - 1, fuzz_pick(data, size, size), &two);
    FUZZ_CHECK(a == b && (a == 1 || one == two));
    return 0;
}
