/* codec_http1_pair.c: one message in, one message out. A stream of requests (or of responses, when it begins
 * with "HTTP/") is read by the codec and written the way the proxy passes messages on. What was written is
 * read twice: by a reader that shares nothing with the codec and knows only the canonical form, and by the
 * codec again. All three must have seen the same messages: as many, with the same method, target, host,
 * status, fields, framing, content and trailers, whole or cut short alike, and not a byte left over. */
#include "canonical.h"
#include "codec_http1_head.h"

#define IN_MAX  8192
#define OUT_MAX 65536

struct stream {
    struct fuzz_side side;
    size_t portion;           /* bytes of a body that are fed at a time */
    struct la_http_writer *w; /* NULL: only read */
    struct text *text;
    size_t messages;
};

static bool rewritten(const struct la_http_head *h, size_t i)
{
    return h->header[i].hop || h->header[i].field == LA_FIELD_HOST || h->header[i].field == LA_FIELD_CONTENT_LENGTH;
}

static bool bodiless(const struct stream *s, const struct la_http_head *h)
{
    return s->side.response && (h->status < 200 || h->status == 204 || h->status == 304);
}

/* How the proxy frames it: what the FIN delimits becomes chunks. */
static char framing(const struct stream *s, const struct la_http_head *h, uint64_t *length)
{
    *length = h->length;
    if (bodiless(s, h)) {
        *length = h->status == 304 && h->has_length ? h->announced_length : 0;
        return h->status == 304 && h->has_length ? 'l' : 'n';
    }
    return h->framing == LA_FRAMING_LENGTH ? 'l' : h->framing == LA_FRAMING_NONE ? 'n' : 'c';
}

static void pass_head(const struct stream *s, const struct la_http_head *h)
{
    struct la_http_writer none, *w = s->w ? s->w : &none;
    struct text *t = s->text;
    la_http_writer_init(&none, NULL, 0);
    if (s->side.response) {
        char status[4] = {(char)('0' + h->status / 100), (char)('0' + h->status / 10 % 10),
                          (char)('0' + h->status % 10), 0};
        note(t, 'S', status, 3);
        la_http_write_status(w, h->status, h->reason);
    } else {
        struct la_slice host = h->host.n > 0 ? h->host : LA_SLICE("default.test");
        note(t, 'M', h->method_text.p, h->method_text.n);
        note(t, 'T', h->target.p, h->target.n);
        note(t, 'H', host.p, host.n);
        la_http_write_request_line(w, h->method_text, h->target);
        la_http_write_header(w, LA_SLICE("Host"), host);
    }
    for (size_t i = 0; i < h->headers; i++) {
        struct la_slice name = la_http_name(h, i), value = la_http_value(h, i);
        if (rewritten(h, i) && !(s->side.response && h->header[i].field == LA_FIELD_HOST))
            continue;
        if (s->side.response && h->header[i].field == LA_FIELD_HOST) {
            note(t, 'H', value.p, value.n); /* means nothing in a response: a field like any other */
        } else {
            note(t, 'N', name.p, name.n);
            note(t, 'V', value.p, value.n);
        }
        la_http_write_parsed(w, h, i, i + 1);
    }
    uint64_t length;
    char kind = framing(s, h, &length), text[32];
    int k = snprintf(text, sizeof(text), "%c%llu", kind, (unsigned long long)length);
    note(t, 'F', text, (size_t)k);
    if (kind == 'c') {
        la_http_write_header(w, LA_SLICE("Transfer-Encoding"), LA_SLICE("chunked"));
    } else if (kind == 'l') {
        la_http_write_length(w, length);
    }
    la_http_write(w, LA_SLICE("\r\n"));
}

static void pass_piece(const struct stream *s, bool chunked, struct la_slice piece)
{
    char head[LA_CHUNK_HEAD];
    if (s->w == NULL || piece.n == 0)
        return;
    if (chunked)
        la_http_write(s->w, la_slice(head, la_http_chunk_head(head, piece.n)));
    la_http_write(s->w, piece);
    if (chunked)
        la_http_write(s->w, LA_SLICE("\r\n"));
}

/* The content behind a head: SIZE_MAX when the message is not whole, else the bytes it took. */
static size_t pass_body(const struct stream *s, const struct la_http_head *h, const char *p, size_t n)
{
    static char content[IN_MAX * 8], kept[LA_HTTP_TRAILER];
    struct la_http_body body;
    struct la_slice name, value, payload;
    enum la_err err = LA_OK;
    uint64_t ignored;
    bool chunked = framing(s, h, &ignored) == 'c', bad = false;
    size_t used = 0, have = 0;
    la_http_body_init(&body, h, kept, sizeof(kept));
    while (!body.done && used < n && !bad) {
        size_t most = n - used < s->portion ? n - used : s->portion;
        size_t k = la_http_body_feed(&body, p + used, most, &payload, &err);
        bad = k == SIZE_MAX;
        if (bad)
            break;
        used += k;
        FUZZ_CHECK(have + payload.n <= sizeof(content));
        memcpy(content + have, payload.p, payload.n);
        have += payload.n;
        pass_piece(s, chunked, payload);
    }
    bool whole = body.done || (body.framing == LA_FRAMING_CLOSE && !bad);
    note(s->text, 'B', content, have);
    if (chunked && whole && s->w)
        la_http_write(s->w, LA_SLICE("0\r\n"));
    for (uint32_t at = 0; whole && la_http_trailer_next(&body, &at, &name, &value);) {
        note(s->text, 't', name.p, name.n);
        note(s->text, 'V', value.p, value.n);
        if (s->w)
            la_http_write_header(s->w, name, value);
    }
    if (chunked && whole && s->w)
        la_http_write(s->w, LA_SLICE("\r\n"));
    note(s->text, whole ? '.' : '?', NULL, 0);
    return whole ? used : SIZE_MAX;
}

/* Every message of p[0..n), until one is bad, cut short, or ends the connection. The bytes used. */
static size_t pass_all(struct stream *s, const char *p, size_t n)
{
    static struct la_http_head head;
    size_t at = 0;
    while (at < n) {
        size_t seen = 0;
        enum la_err err = LA_OK;
        if (fuzz_parse(&s->side, &head, p + at, n - at, &seen, &err) != LA_HTTP_DONE || head.authority_form)
            break;
        FUZZ_CHECK(s->w != NULL || (head.minor == 1 && !head.absolute_form && !head.close_said && !head.upgrade_said &&
                                    head.framing != LA_FRAMING_CLOSE));
        pass_head(s, &head);
        s->messages++;
        at += head.head_n;
        size_t used = pass_body(s, &head, p + at, n - at);
        if (used == SIZE_MAX)
            return n;
        at += used;
        if (!head.keep_alive && !(s->side.response && head.status < 200))
            break;
    }
    return at;
}

static void same(const struct text *a, const struct text *b)
{
    if (a->n == b->n && memcmp(a->p, b->p, a->n) == 0)
        return;
    fprintf(stderr, "read:    %.*s\nwritten: %.*s\n", (int)a->n, a->p, (int)b->n, b->p);
    FUZZ_CHECK(!"what was written means what was read");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char written[OUT_MAX * 2];
    static struct text in, out, again;
    struct la_http_writer w;
    if (size > IN_MAX)
        return 0;
    struct fuzz_side side = {
        .response = size >= 5 && memcmp(data, "HTTP/", 5) == 0, .method = LA_METHOD_GET, .limits = {IN_MAX, 64, 0}};
    char *p = fuzz_copy(data, size);
    la_http_writer_init(&w, written, sizeof(written));
    struct stream first = {.side = side, .portion = 1 + fuzz_pick(data, size, 512), .w = &w, .text = &in};
    in.n = out.n = again.n = 0;
    pass_all(&first, p, size);
    FUZZ_CHECK(!w.overflow);

    const char *at = written, *end = written + w.n;
    size_t messages = 0;
    for (bool whole = true; at < end; messages++) {
        FUZZ_CHECK(whole); /* only the last one may be cut short */
        whole = canonical_message(&at, end, side.response, &out);
    }
    FUZZ_CHECK(messages == first.messages);
    same(&in, &out);

    char *copy = fuzz_copy(written, w.n);
    side.limits = (struct la_http_limits){sizeof(written), LA_HTTP_MAX_HEADERS, 0}; /* framing fields may have been added */
    struct stream second = {.side = side, .portion = 1 + fuzz_pick(data, size, 61), .text = &again};
    FUZZ_CHECK(pass_all(&second, copy, w.n) == w.n && second.messages == messages);
    same(&in, &again);
    free(copy);
    free(p);
    return 0;
}
