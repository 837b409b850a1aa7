/* codec_http1_trace.h: runs a byte stream through the codec the way a connection does, and writes down what
 * it meant.
 *
 * Head, body, next head, until the bytes end, an error comes or the sender said close. Bytes arrive in the
 * portions the caller asks for; every call sees an exactly sized copy at a new address, so that reading one
 * byte too far is found by the sanitizer and a kept pointer too. The trace is a line of text: the tests
 * compare texts.
 *
 *   GET /t a.test [X=y] {} | POST /u a.test len=5 {hello} | end
 *
 * [..] fields to forward, {..} content, <..> trailers; at last "end" (nothing left over), "head" or "body"
 * (in the middle of one), "close", "tunnel", or "error NAME". */
#ifndef LASTACK_CODEC_HTTP1_TRACE_H
#define LASTACK_CODEC_HTTP1_TRACE_H

#include <stdarg.h>

#include "lastack/http1.h"
#include "test.h"

struct trace {
    char text[65536];
    size_t n;
};

static void LA_PRINTF(2, 3) note(struct trace *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->text + t->n, sizeof(t->text) - t->n, format, args);
    va_end(args);
    CHECK(n >= 0 && (size_t)n < sizeof(t->text) - t->n);
    t->n += (size_t)n;
}

/* Bytes as they are, but what no terminal shows. */
static void note_slice(struct trace *t, struct la_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || (unsigned char)s.p[i] >= 0x7f)
            note(t, "\\x%02x", (unsigned char)s.p[i]);
        else
            note(t, "%c", s.p[i]);
}

static void note_head(struct trace *t, const struct la_http_head *h, bool response)
{
    if (response) {
        note(t, "%d ", h->status);
        note_slice(t, h->reason);
    } else {
        note_slice(t, h->method_text);
        note(t, " ");
        note_slice(t, h->target);
        note(t, " ");
        note_slice(t, h->host);
    }
    note(t, "%s%s%s%s", h->minor == 0 ? " 1.0" : "", h->absolute_form ? " absolute" : "",
         h->asterisk_form ? " asterisk" : "", h->authority_form ? " authority" : "");
    if (h->framing == LA_FRAMING_LENGTH)
        note(t, " len=%llu", (unsigned long long)h->length);
    else if (h->has_length)
        note(t, " announced=%llu", (unsigned long long)h->announced_length);
    note(t, "%s%s%s%s%s", h->framing == LA_FRAMING_CHUNKED ? " chunked" : "", h->doubtful ? " doubtful" : "",
         h->keep_alive ? "" : " close", h->expect_continue ? " expect" : "", h->te_trailers ? " te" : "");
    if (h->keep_alive_timeout_s > 0)
        note(t, " timeout=%u", h->keep_alive_timeout_s);
    if (h->upgrade_said)
        note(t, " upgrade=%.*s", LA_SLICE_ARGS(h->upgrade));
    for (size_t i = 0; i < h->headers; i++) {
        int f = h->header[i].field;
        if (h->header[i].hop || f == LA_FIELD_HOST || f == LA_FIELD_CONTENT_LENGTH)
            continue;
        note(t, " [");
        note_slice(t, la_http_name(h, i));
        note(t, "=");
        note_slice(t, la_http_value(h, i));
        note(t, "]");
    }
}

/* A stream: what has arrived, how much of it is used, and where in a message it stands. */
struct stream {
    bool response, asked_upgrade;
    enum la_http_method method;
    struct la_http_limits limits;
    struct trace *trace;
    size_t used, seen;
    bool in_body, over;
    struct la_http_head head;
    struct la_http_body body;
    struct trace content;
    char trailer[512];
};

static void finish_message(struct stream *s)
{
    uint32_t at = 0;
    struct la_slice name, value;
    note(s->trace, " {%s}", s->content.text);
    while (la_http_trailer_next(&s->body, &at, &name, &value)) {
        note(s->trace, " <");
        note_slice(s->trace, name);
        note(s->trace, "=");
        note_slice(s->trace, value);
        note(s->trace, ">");
    }
    note(s->trace, " | ");
    s->in_body = false;
    s->over = !s->head.keep_alive && s->head.status / 100 != 1;
    if (s->over)
        note(s->trace, "close");
}

static void stream_error(struct stream *s, enum la_err err)
{
    if (s->in_body)
        note(s->trace, " {%s} | ", s->content.text);
    note(s->trace, "error %s", la_err_name(err));
    s->over = true;
}

/* One call into the codec with the bytes that are there; false: more bytes are needed. */
static bool stream_step(struct stream *s, const char *p, size_t n)
{
    enum la_err err = LA_OK;
    if (s->in_body) {
        struct la_slice payload;
        size_t used = la_http_body_feed(&s->body, p, n, &payload, &err);
        if (used == SIZE_MAX) {
            CHECK(err == LA_BAD_CHUNK);
            stream_error(s, err);
            return true;
        }
        CHECK(used <= n && (payload.n == 0 || (payload.p >= p && payload.p + payload.n <= p + used)));
        note_slice(&s->content, payload);
        s->used += used;
        if (s->body.done)
            finish_message(s);
        return used > 0;
    }
    if (n == 0)
        return false;
    enum la_http_result r = s->response ? la_http_parse_response(&s->head, p, n, &s->seen, &s->limits,
                                                                 s->method, s->asked_upgrade, &err)
                                        : la_http_parse_request(&s->head, p, n, &s->seen, &s->limits, &err);
    if (r == LA_HTTP_ERROR) {
        CHECK(err > LA_OK && err < LA_ERR_COUNT);
        stream_error(s, err);
        return true;
    }
    if (r == LA_HTTP_MORE) {
        CHECK_EQ(s->seen, n);
        return false;
    }
    CHECK(s->head.head_n > 0 && s->head.head_n <= n);
    note_head(s->trace, &s->head, s->response);
    s->used += s->head.head_n;
    s->seen = 0;
    s->content.n = 0;
    s->content.text[0] = '\0';
    la_http_body_init(&s->body, &s->head, s->trailer, sizeof(s->trailer));
    s->in_body = !s->body.done;
    if (s->head.framing == LA_FRAMING_TUNNEL) {
        note(s->trace, " | tunnel");
        s->over = true;
    } else if (s->body.done) {
        finish_message(s);
    }
    return true;
}

/* Everything up to raw[0..arrived) is there. */
static void stream_arrive(struct stream *s, const char *raw, size_t arrived)
{
    bool on = true;
    while (on && !s->over) {
        size_t n = arrived - s->used;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, raw + s->used, n);
        on = stream_step(s, copy, n);
        free(copy);
    }
}

static void stream_end(struct stream *s, size_t n)
{
    if (s->over)
        return;
    if (s->in_body && s->body.framing == LA_FRAMING_CLOSE)
        note(s->trace, " {%s} | fin", s->content.text);
    else if (s->in_body)
        note(s->trace, " {%s} | body", s->content.text);
    else
        note(s->trace, "%s", s->used < n ? "head" : "end");
}

struct run {
    bool response, asked_upgrade;
    enum la_http_method method;
    uint32_t head_bytes;
    uint16_t headers;
    size_t cut;  /* 0: none; else the first portion has so many bytes */
    bool single; /* each byte is a portion */
};

static void trace_run(struct trace *t, const char *raw, size_t n, const struct run *run)
{
    static struct stream s;
    s.response = run->response;
    s.asked_upgrade = run->asked_upgrade;
    s.method = run->method;
    s.limits = (struct la_http_limits){run->head_bytes ? run->head_bytes : 32768,
                                       run->headers ? run->headers : 128, 0};
    s.trace = t;
    s.used = s.seen = 0;
    s.in_body = s.over = false;
    t->n = 0;
    t->text[0] = '\0';
    if (run->single)
        for (size_t i = 1; i < n; i++)
            stream_arrive(&s, raw, i);
    else if (run->cut > 0)
        stream_arrive(&s, raw, run->cut);
    stream_arrive(&s, raw, n);
    stream_end(&s, n);
}

/* The same in one piece, at every 2-way split, and byte by byte: always the expected text. */
static void trace_expect(const char *name, const char *raw, size_t n, struct run run, const char *expected)
{
    static struct trace t;
    for (size_t cut = 0; cut <= n; cut++) {
        run.single = cut == n && n > 0;
        run.cut = run.single ? 0 : cut;
        trace_run(&t, raw, n, &run);
        if (strcmp(t.text, expected) != 0) {
            fprintf(stderr, "%s (%s %zu):\n is     %s\n not    %s\n", name, run.single ? "single" : "cut",
                    cut, t.text, expected);
            exit(1);
        }
        test_checks++;
    }
}

#endif
