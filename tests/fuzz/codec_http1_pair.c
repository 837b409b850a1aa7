/* codec_http1_pair.c: one message in, one message out. What the parser accepts is written the way the proxy
 * forwards it and parsed again: the second reading must have the same method, target, host, fields, framing
 * and content, end where the written bytes end, and leave nothing hop-by-hop. */
#include "codec_http1_head.h"

#define OUT_MAX 65536

static bool rewritten(const struct la_http_head *h, size_t i)
{
    return h->header[i].hop || h->header[i].field == LA_FIELD_HOST ||
           h->header[i].field == LA_FIELD_CONTENT_LENGTH;
}

static void write_request(struct la_http_writer *w, const struct la_http_head *h)
{
    la_http_write_request_line(w, h->method_text, h->target);
    la_http_write_header(w, LA_SLICE("Host"), h->host.n > 0 ? h->host : LA_SLICE("default.test"));
    for (size_t i = 0; i < h->headers; i++)
        if (!rewritten(h, i))
            la_http_write_header(w, la_http_name(h, i), la_http_value(h, i));
    if (h->framing == LA_FRAMING_CHUNKED) {
        la_http_write_header(w, LA_SLICE("Transfer-Encoding"), LA_SLICE("chunked"));
    } else if (h->framing == LA_FRAMING_LENGTH) {
        la_http_write(w, LA_SLICE("Content-Length: "));
        la_http_write_u64(w, h->length);
        la_http_write(w, LA_SLICE("\r\n"));
    }
    la_http_write(w, LA_SLICE("\r\n"));
}

/* The content of p[0..n), appended to out in our own framing (or bare, for comparison). The bytes used. */
static size_t relay_body(const struct la_http_head *h, const char *p, size_t n, struct la_http_writer *w,
                         bool frame, bool *done)
{
    struct la_http_body body;
    struct la_slice payload;
    enum la_err err;
    size_t used = 0;
    la_http_body_init(&body, h, NULL, 0);
    while (!body.done && used < n) {
        size_t k = la_http_body_feed(&body, p + used, n - used, &payload, &err);
        if (k == SIZE_MAX)
            break;
        used += k;
        if (payload.n == 0)
            continue;
        char head[LA_CHUNK_HEAD];
        bool chunk = frame && h->framing == LA_FRAMING_CHUNKED;
        if (chunk)
            la_http_write(w, la_slice(head, la_http_chunk_head(head, payload.n)));
        la_http_write(w, payload);
        if (chunk)
            la_http_write(w, LA_SLICE("\r\n"));
    }
    if (body.done && frame && h->framing == LA_FRAMING_CHUNKED)
        la_http_write(w, LA_SLICE("0\r\n\r\n"));
    *done = body.done;
    return used;
}

static void same_fields(const struct la_http_head *a, const struct la_http_head *b)
{
    size_t k = 0;
    for (size_t i = 0; i < a->headers; i++) {
        if (rewritten(a, i))
            continue;
        while (k < b->headers && rewritten(b, k))
            k++;
        FUZZ_CHECK(k < b->headers);
        FUZZ_CHECK(la_slice_eq(la_http_name(a, i), la_http_name(b, k)));
        FUZZ_CHECK(la_slice_eq(la_http_value(a, i), la_http_value(b, k)));
        k++;
    }
    for (; k < b->headers; k++)
        FUZZ_CHECK(rewritten(b, k));
    for (k = 0; k < b->headers; k++)
        FUZZ_CHECK(!b->header[k].hop || b->header[k].field == LA_FIELD_TRANSFER_ENCODING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct la_http_head in, out;
    static char written[OUT_MAX], content[OUT_MAX], copied[OUT_MAX];
    struct fuzz_side side = {.limits = {8192, 64, 0}};
    size_t seen = 0;
    enum la_err err = LA_OK;
    bool done, done_again;
    if (size > 16384)
        return 0;
    char *p = fuzz_copy(data, size);
    if (fuzz_parse(&side, &in, p, size, &seen, &err) != LA_HTTP_DONE || in.authority_form) {
        free(p);
        return 0;
    }
    struct la_http_writer w, plain, plain_again;
    la_http_writer_init(&w, written, sizeof(written));
    write_request(&w, &in);
    size_t head_n = w.n;
    relay_body(&in, p + in.head_n, size - in.head_n, &w, true, &done);
    FUZZ_CHECK(!w.overflow);

    side.limits.head_bytes = OUT_MAX;
    seen = 0;
    FUZZ_CHECK(fuzz_parse(&side, &out, w.p, w.n, &seen, &err) == LA_HTTP_DONE);
    FUZZ_CHECK(out.head_n == head_n && out.minor == 1 && !out.absolute_form && !out.close_said &&
               !out.upgrade_said);
    FUZZ_CHECK(la_slice_eq(in.method_text, out.method_text) && in.method == out.method);
    FUZZ_CHECK(la_slice_eq(in.target, out.target) && (in.host.n == 0 || la_slice_eq(in.host, out.host)));
    FUZZ_CHECK(in.framing == out.framing && in.length == out.length &&
               in.expect_continue == out.expect_continue);
    same_fields(&in, &out);

    la_http_writer_init(&plain, content, sizeof(content));
    la_http_writer_init(&plain_again, copied, sizeof(copied));
    relay_body(&in, p + in.head_n, size - in.head_n, &plain, false, &done);
    size_t used = relay_body(&out, w.p + head_n, w.n - head_n, &plain_again, false, &done_again);
    FUZZ_CHECK(done == done_again && head_n + used == w.n);
    FUZZ_CHECK(plain.n == plain_again.n && memcmp(content, copied, plain.n) == 0);
    free(p);
    return 0;
}
