/* codec_fcgi.c: any bytes as a FastCGI response: in one piece, byte by byte and in two portions the output,
 * the errors, the head and the verdict are the same. */
#include "lastack/fcgi.h"

#include "fuzz.h"

struct heard {
    char *out, *err;
    size_t out_n, err_n, used;
    int verdict; /* 0 more, 1 over, 2 bad */
    char head[256];
    uint32_t head_n;
    struct la_cgi_gather gather;
    size_t body_at;
};

static void add_out(struct heard *h, struct la_slice piece)
{
    if (!h->gather.done && !h->gather.overflow) {
        size_t used = la_cgi_gather(&h->gather, piece.p, piece.n, h->head, &h->head_n, sizeof h->head);
        FUZZ_CHECK(used <= piece.n && (used == piece.n || h->gather.done || h->gather.overflow));
        h->body_at = h->out_n + used;
    }
    memcpy(h->out + h->out_n, piece.p, piece.n);
    h->out_n += piece.n;
}

static void hear(struct heard *h, const uint8_t *data, size_t size, size_t first, size_t portion)
{
    struct la_fcgi_reader r = {.id = 1};
    *h = (struct heard){.out = malloc(size + 1), .err = malloc(size + 1)};
    while (h->used < size && h->verdict == 0) {
        size_t n = h->used < first ? first - h->used : portion;
        n = n < size - h->used ? n : size - h->used;
        char *copy = fuzz_copy(data + h->used, n);
        for (size_t at = 0; at < n && h->verdict == 0;) {
            enum la_fcgi_event e;
            struct la_slice piece;
            size_t used = la_fcgi_read(&r, copy + at, n - at, &e, &piece);
            FUZZ_CHECK(used > 0 && used <= n - at);
            FUZZ_CHECK(piece.n == 0 || (piece.p >= copy + at && piece.p + piece.n <= copy + at + used));
            FUZZ_CHECK(e != LA_FCGI_MORE || used == n - at);
            at += used;
            h->used += used;
            if (e == LA_FCGI_OUT)
                add_out(h, piece);
            if (e == LA_FCGI_ERR) {
                memcpy(h->err + h->err_n, piece.p, piece.n);
                h->err_n += piece.n;
            }
            h->verdict = e == LA_FCGI_OVER ? 1 : e == LA_FCGI_BAD ? 2 : 0;
        }
        free(copy);
    }
}

static void same(const struct heard *a, const struct heard *b)
{
    FUZZ_CHECK(a->verdict == b->verdict && a->used == b->used && a->out_n == b->out_n &&
               a->err_n == b->err_n);
    FUZZ_CHECK(memcmp(a->out, b->out, a->out_n) == 0 && memcmp(a->err, b->err, a->err_n) == 0);
    FUZZ_CHECK(a->gather.done == b->gather.done && a->head_n == b->head_n &&
               memcmp(a->head, b->head, a->head_n) == 0);
    FUZZ_CHECK(!a->gather.done || a->body_at == b->body_at);
}

static void read_head(const struct heard *h)
{
    static struct la_http_head head;
    static const struct la_http_limits limits = {.head_bytes = 256, .headers = 16};
    char *copy = fuzz_copy(h->head, h->head_n);
    if (la_cgi_parse_head(&head, copy, h->head_n, &limits, LA_METHOD_GET) == LA_OK) {
        FUZZ_CHECK(head.status >= 200 && head.status <= 599 && head.head_n == h->head_n &&
                   head.headers <= 16);
        FUZZ_CHECK(head.framing == LA_FRAMING_NONE || head.framing == LA_FRAMING_LENGTH ||
                   head.framing == LA_FRAMING_CLOSE);
        for (size_t i = 0; i < head.headers; i++) {
            FUZZ_CHECK(la_http_is_token(la_http_name(&head, i)));
            FUZZ_CHECK(memchr(la_http_value(&head, i).p, '\n', la_http_value(&head, i).n) == NULL);
        }
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard whole, single, split;
    hear(&whole, data, size, 0, size);
    hear(&single, data, size, 0, 1);
    hear(&split, data, size, fuzz_pick(data, size, size + 1), size);
    same(&whole, &single);
    same(&whole, &split);
    if (whole.gather.done)
        read_head(&whole);
    struct heard *all[] = {&whole, &single, &split};
    for (size_t i = 0; i < 3; i++) {
        free(all[i]->out);
        free(all[i]->err);
    }
    return 0;
}
