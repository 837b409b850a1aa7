/* codec_http1_chunked.c: any bytes as a chunked body: in one piece, byte by byte and in two portions the
 * content, the trailers, the end and the verdict are the same; written again in chunks of our own it decodes
 * to the same. */
#include "lastack/http1.h"

#include "fuzz.h"

struct decoded {
    char *content;
    size_t n, used;
    bool bad, done;
    char trailer[1024];
    uint32_t trailer_n;
};

static void decode(struct decoded *d, const uint8_t *data, size_t size, size_t first, size_t portion)
{
    static const struct la_http_head head = {.framing = LA_FRAMING_CHUNKED};
    struct la_http_body body;
    enum la_err err = LA_OK;
    *d = (struct decoded){.content = malloc(size + 1)};
    la_http_body_init(&body, &head, d->trailer, sizeof(d->trailer));
    while (d->used < size && !body.done && !d->bad) {
        size_t n = d->used == 0 && first > 0 ? first : portion;
        n = n < size - d->used ? n : size - d->used;
        char *copy = fuzz_copy(data + d->used, n);
        struct la_slice payload;
        size_t used = la_http_body_feed(&body, copy, n, &payload, &err);
        d->bad = used == SIZE_MAX;
        FUZZ_CHECK(d->bad ? err == LA_BAD_CHUNK : used > 0 && used <= n);
        if (!d->bad) {
            FUZZ_CHECK(payload.n == 0 || (payload.p >= copy && payload.p + payload.n <= copy + used));
            memcpy(d->content + d->n, payload.p, payload.n);
            d->n += payload.n;
            d->used += used;
        }
        free(copy);
    }
    d->done = body.done;
    d->trailer_n = body.trailer_n;
    struct la_slice name, value;
    for (uint32_t at = 0; la_http_trailer_next(&body, &at, &name, &value);)
        FUZZ_CHECK(la_http_is_token(name) && memchr(value.p, '\n', value.n) == NULL);
}

static void same(const struct decoded *a, const struct decoded *b)
{
    FUZZ_CHECK(a->bad == b->bad && a->done == b->done && a->n == b->n &&
               memcmp(a->content, b->content, a->n) == 0);
    FUZZ_CHECK(a->bad || (a->trailer_n == b->trailer_n && memcmp(a->trailer, b->trailer, a->trailer_n) == 0));
    FUZZ_CHECK(!a->done || a->used == b->used);
}

static void again(const struct decoded *whole)
{
    struct decoded back;
    size_t n = 0;
    char *out = malloc(whole->n + LA_CHUNK_HEAD + whole->trailer_n + 9);
    if (whole->n > 0) {
        n = la_http_chunk_head(out, whole->n);
        memcpy(out + n, whole->content, whole->n);
        memcpy(out + n + whole->n, "\r\n", 2);
        n += whole->n + 2;
    }
    memcpy(out + n, "0\r\n", 3);
    memcpy(out + n + 3, whole->trailer, whole->trailer_n);
    memcpy(out + n + 3 + whole->trailer_n, "\r\n", 2);
    n += 5 + whole->trailer_n;
    decode(&back, (const uint8_t *)out, n, 0, n);
    FUZZ_CHECK(back.used == n);
    back.used = whole->used;
    same(whole, &back);
    free(back.content);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct decoded whole, single, split;
    decode(&whole, data, size, 0, size);
    decode(&single, data, size, 0, 1);
    decode(&split, data, size, fuzz_pick(data, size, size + 1), size);
    same(&whole, &single);
    same(&whole, &split);
    if (whole.done)
        again(&whole);
    free(whole.content);
    free(single.content);
    free(split.content);
    return 0;
}
