/* codec_http1.c: streams of HTTP/1.1 bytes and what they mean, at every split point (codec_http1_requests.h
 * and codec_http1_responses.h), and the bounds: long targets, long heads, many fields, many bytes that are no
 * content. */
#include "codec_http1_trace.h"

#define GET     0
#define HEAD    1
#define UPGRADE 2
#define CONNECT 3

struct stream_case {
    const char *name, *raw;
    size_t n;
    const char *trace;
    int kind;
};
static const struct stream_case requests[] = {
#define CASE(name, raw, trace) {name, raw, sizeof(raw) - 1, trace, GET},
#include "codec_http1_requests.h"
#undef CASE
};
static const struct stream_case responses[] = {
#define CASE(name, kind, raw, trace) {name, raw, sizeof(raw) - 1, trace, kind},
#include "codec_http1_responses.h"
#undef CASE
};

/* Case b behind a complete case a: a must not change what b means (no state may leak from message to
 * message). */
static void test_after_another(void)
{
    static const char first[] =
        "POST /first HTTP/1.1\r\nHost: f.test\r\nConnection: X\r\nX: 1\r\nUpgrade: a\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nT: u\r\n\r\n";
    static char raw[65536], expected[65536];
    static struct trace t;
    for (size_t i = 0; i < la_count(requests); i++) {
        size_t n = sizeof(first) - 1 + requests[i].n;
        memcpy(raw, first, sizeof(first) - 1);
        memcpy(raw + sizeof(first) - 1, requests[i].raw, requests[i].n);
        snprintf(expected, sizeof(expected), "POST /first f.test chunked {x} <T=u> | %s", requests[i].trace);
        trace_run(&t, raw, n, &(struct run){0});
        if (strcmp(t.text, expected) != 0)
            fprintf(stderr, "%s\n is  %s\n not %s\n", requests[i].name, t.text, expected);
        CHECK(strcmp(t.text, expected) == 0);
    }
}

static size_t fill(char *out, const char *head, char c, size_t times, const char *tail)
{
    size_t n = strlen(head);
    memcpy(out, head, n);
    memset(out + n, c, times);
    memcpy(out + n + times, tail, strlen(tail));
    return n + times + strlen(tail);
}

static void expect_error(const char *raw, size_t n, struct run run, enum la_err err)
{
    char text[64];
    snprintf(text, sizeof(text), "error %s", la_err_name(err));
    trace_expect("limit", raw, n, run, text);
}

static void test_limits(void)
{
    static char raw[65536];
    static struct trace t;
    struct run run = {.head_bytes = 400, .headers = 5};
    size_t n = fill(raw, "GET /", 'a', 500, " HTTP/1.1\r\nHost: a\r\n\r\n");
    expect_error(raw, n, run, LA_URI_TOO_LONG);
    n = fill(raw, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 'a', 500, "\r\n\r\n");
    expect_error(raw, n, run, LA_HEAD_TOO_LARGE);
    n = fill(raw, "HTTP/1.1 200 OK\r\nX: ", 'a', 500, "\r\n\r\n");
    run.response = true;
    expect_error(raw, n, run, LA_RESPONSE_HEAD_SIZE);
    n = fill(raw, "HTTP/1.1 200 ", 'a', 500, "\r\n\r\n");
    expect_error(raw, n, run, LA_RESPONSE_HEAD_SIZE);
    const char *many = "HTTP/1.1 200 OK\r\na:1\r\nb:2\r\nc:3\r\nd:4\r\ne:5\r\nf:6\r\n\r\n";
    expect_error(many, strlen(many), run, LA_RESPONSE_HEAD_SIZE);
    run.response = false;
    many = "GET / HTTP/1.1\r\nHost: a\r\nb:2\r\nc:3\r\nd:4\r\ne:5\r\nf:6\r\n\r\n";
    expect_error(many, strlen(many), run, LA_HEAD_TOO_LARGE);
    many = "GET / HTTP/1.1\r\nHost: a\r\nb:2\r\nc:3\r\nd:4\r\ne:5\r\n\r\n";
    trace_expect("as many as allowed", many, strlen(many), run, "GET / a [b=2] [c=3] [d=4] [e=5] {} | end");

    /* A head of exactly head_bytes is fine, with one byte less allowed it is not. */
    const char *exact = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    run = (struct run){.head_bytes = (uint32_t)strlen(exact)};
    trace_expect("exact", exact, strlen(exact), run, "GET /x a {} | end");
    run.head_bytes--;
    expect_error(exact, strlen(exact), run, LA_HEAD_TOO_LARGE);
    exact = "HTTP/1.1 204 X\r\nA: b\r\n\r\n";
    run = (struct run){.head_bytes = (uint32_t)strlen(exact), .response = true};
    trace_expect("exact", exact, strlen(exact), run, "204 X [A=b] {} | end");
    run.head_bytes--;
    expect_error(exact, strlen(exact), run, LA_RESPONSE_HEAD_SIZE);

    n = fill(raw, "GET / HTTP/1.1\r\nHost: a\r\n", 'n', LA_HTTP_MAX_NAME, ": v\r\n\r\n");
    trace_run(&t, raw, n, &(struct run){0});
    CHECK(strncmp(t.text, "GET / a [nnn", 12) == 0);
    n = fill(raw, "GET / HTTP/1.1\r\nHost: a\r\n", 'n', LA_HTTP_MAX_NAME + 1, ": v\r\n\r\n");
    trace_run(&t, raw, n, &(struct run){0});
    CHECK(strcmp(t.text, "error head_too_large") == 0);
}

static void test_target_limit(void)
{
    const char *raw = "GET /12345 HTTP/1.1\r\nHost: a\r\n\r\n";
    struct la_http_limits limits = {1000, 0, 6};
    struct la_http_head head;
    enum la_err err = LA_OK;
    size_t seen = 0;
    CHECK_EQ(la_http_parse_request(&head, raw, strlen(raw), &seen, &limits, &err), LA_HTTP_DONE);
    limits.target_bytes = 5;
    CHECK_EQ(la_http_parse_request(&head, raw, strlen(raw), &seen, &limits, &err), LA_HTTP_ERROR);
    CHECK_EQ(err, LA_URI_TOO_LONG);
}

/* 256 fields fit, whatever limits.headers says; one more does not. */
static void test_most_headers(void)
{
    static char raw[8192];
    static struct la_http_head head;
    struct la_http_limits limits = {sizeof(raw), UINT16_MAX, 0};
    for (int extra = 0; extra < 2; extra++) {
        enum la_err err = LA_OK;
        size_t n = (size_t)sprintf(raw, "GET / HTTP/1.1\r\nHost: a\r\n"), seen = 0;
        for (int i = 1; i < LA_HTTP_MAX_HEADERS + extra; i++)
            n += (size_t)sprintf(raw + n, "X-%d: %d\r\n", i, i);
        n += (size_t)sprintf(raw + n, "\r\n");
        enum la_http_result r = la_http_parse_request(&head, raw, n, &seen, &limits, &err);
        CHECK_EQ(r, extra ? LA_HTTP_ERROR : LA_HTTP_DONE);
        CHECK_EQ(err, extra ? LA_HEAD_TOO_LARGE : LA_OK);
    }
    CHECK_EQ(head.headers, LA_HTTP_MAX_HEADERS);
}

/* Bytes that are no content are bounded over the whole body. */
static void test_chunk_bounds(void)
{
    struct la_http_head head = {.framing = LA_FRAMING_CHUNKED};
    struct la_http_body body;
    struct la_slice payload;
    enum la_err err = LA_OK;
    char line[256], trailer[100];
    size_t total = 0;

    la_http_body_init(&body, &head, NULL, 0);
    int n = sprintf(line, "1;%0200d\r\nx\r\n", 0);
    for (size_t used = 0; used != SIZE_MAX && total < 100000; total += used == SIZE_MAX ? 0 : 201)
        for (size_t at = 0; at < (size_t)n && used != SIZE_MAX; at += used)
            used = la_http_body_feed(&body, line + at, (size_t)n - at, &payload, &err);
    CHECK_EQ(err, LA_BAD_CHUNK);
    CHECK(total > LA_HTTP_CHUNK_EXT - 400 && total <= LA_HTTP_CHUNK_EXT + 201);
    CHECK_EQ(la_http_body_feed(&body, "0\r\n\r\n", 5, &payload, &err), SIZE_MAX); /* an error is final */

    la_http_body_init(&body, &head, NULL, 0);
    CHECK_EQ(la_http_body_feed(&body, "0\r\n", 3, &payload, &err), 3);
    err = LA_OK;
    for (total = 0; la_http_body_feed(&body, "X: 45678\r\n", 10, &payload, &err) == 10; total += 10)
        CHECK(total <= LA_HTTP_TRAILER);
    CHECK_EQ(err, LA_BAD_CHUNK);
    CHECK_EQ(total, LA_HTTP_TRAILER / 10 * 10);

    /* A buffer that is too small keeps whole lines and says so. */
    la_http_body_init(&body, &head, trailer, 25);
    const char *raw = "0\r\nA: 23456\r\nB: 2345678\r\nC: 2345678\r\nD:\r\n\r\nGET";
    size_t used = la_http_body_feed(&body, raw, strlen(raw), &payload, &err);
    CHECK_EQ(used, strlen(raw) - 3);
    CHECK(body.done && body.trailer_cut);
    CHECK_EQ(body.trailer_n, 22);
    CHECK_EQ(la_http_body_feed(&body, "GET", 3, &payload, &err), 0);
    uint32_t at = 0;
    struct la_slice name, value;
    CHECK(la_http_trailer_next(&body, &at, &name, &value) && la_slice_eq(name, LA_SLICE("A")));
    CHECK(la_slice_eq(value, LA_SLICE("23456")));
    CHECK(la_http_trailer_next(&body, &at, &name, &value) && la_slice_eq(name, LA_SLICE("B")));
    CHECK(!la_http_trailer_next(&body, &at, &name, &value));
}

/* The iterator shows complete lines only, also while the section is still coming in. */
static void test_trailer_unfinished(void)
{
    struct la_http_head head = {.framing = LA_FRAMING_CHUNKED};
    struct la_http_body body;
    struct la_slice payload, name, value;
    enum la_err err;
    char trailer[64];
    uint32_t at = 0;
    la_http_body_init(&body, &head, trailer, sizeof(trailer));
    CHECK_EQ(la_http_body_feed(&body, "0\r\nA: 1\r\nB:", 11, &payload, &err), 11);
    CHECK(la_http_trailer_next(&body, &at, &name, &value) && la_slice_eq(name, LA_SLICE("A")));
    CHECK(!la_http_trailer_next(&body, &at, &name, &value));
    CHECK_EQ(la_http_body_feed(&body, "2\r\n\r\n", 5, &payload, &err), 5);
    CHECK(la_http_trailer_next(&body, &at, &name, &value) && la_slice_eq(value, LA_SLICE("2")));
    CHECK(!la_http_trailer_next(&body, &at, &name, &value) && body.done);
}

static void test_tunnel_body(void)
{
    struct la_http_head head = {.framing = LA_FRAMING_TUNNEL};
    struct la_http_body body;
    struct la_slice payload;
    enum la_err err;
    la_http_body_init(&body, &head, NULL, 0);
    CHECK_EQ(la_http_body_feed(&body, "abc", 3, &payload, &err), 3);
    CHECK(payload.n == 3 && !body.done);
}

/* Arrival byte by byte costs about the same per byte, however much is there already. */
static void test_arrival_is_cheap(void)
{
    static char raw[32768];
    static struct la_http_head head;
    struct la_http_limits limits = {40000, 0, 0};
    enum la_err err = LA_OK;
    size_t n = fill(raw, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 'a', 30000, "\r\n\r\n"), seen = 0;
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(la_http_parse_request(&head, raw, i, &seen, &limits, &err), LA_HTTP_MORE);
    CHECK_EQ(seen, n - 1);
    CHECK_EQ(la_http_parse_request(&head, raw, n, &seen, &limits, &err), LA_HTTP_DONE);
    CHECK_EQ(head.head_n, n);
}

/* Every byte in every place where few bytes may stand: the tables against the grammar, written down once
 * more. */
static void test_each_byte(void)
{
    static const char tchar[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const char path[] =
        "!$&'()*+,-./:;=@[]^_`{|}~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz?";
    static struct trace t;
    char raw[128];
    for (int c = 0; c < 256; c++) {
        size_t n = (size_t)sprintf(raw, "GET / HTTP/1.1\r\nHost: a\r\nX@: b\r\n\r\n");
        *strchr(raw, '@') = (char)c;
        trace_run(&t, raw, n, &(struct run){0});
        bool token = c != 0 && strchr(tchar, c) != NULL;
        CHECK_EQ(strncmp(t.text, "GET", 3) == 0, token || c == ':');
        memcpy(raw, "GET /@ HTTP/1.1\r\nHost: a\r\n\r\n", n = 28);
        raw[5] = (char)c;
        trace_run(&t, raw, n, &(struct run){0});
        CHECK_EQ(strncmp(t.text, "GET", 3) == 0, c != 0 && strchr(path, c) != NULL);
        memcpy(raw, "GET / HTTP/1.1\r\nHost: a\r\nX: b@c4567890\r\n\r\n", n = 43);
        raw[29] = (char)c;
        trace_run(&t, raw, n, &(struct run){0});
        CHECK_EQ(strncmp(t.text, "GET", 3) == 0, (c >= 0x20 && c != 0x7f) || c == '\t');
    }
}

int main(void)
{
    for (size_t i = 0; i < la_count(requests); i++)
        trace_expect(requests[i].name, requests[i].raw, requests[i].n, (struct run){0}, requests[i].trace);
    for (size_t i = 0; i < la_count(responses); i++) {
        const struct stream_case *c = &responses[i];
        struct run run = {.response = true, .asked_upgrade = c->kind == UPGRADE};
        run.method = c->kind == HEAD      ? LA_METHOD_HEAD
                     : c->kind == CONNECT ? LA_METHOD_CONNECT
                                          : LA_METHOD_GET;
        trace_expect(c->name, c->raw, c->n, run, c->trace);
    }
    test_after_another();
    test_limits();
    test_target_limit();
    test_most_headers();
    test_chunk_bounds();
    test_trailer_unfinished();
    test_tunnel_body();
    test_arrival_is_cheap();
    test_each_byte();
    return TEST_DONE();
}
