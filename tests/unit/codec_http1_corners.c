/* codec_http1_corners.c: the turns of the HTTP/1.1 codec that neither the messages of codec_http1.c nor the
 * fuzz corpora take (tests/coverage.sh says which there are). */
#include "lastack/http1.h"
#include "test.h"

/* Feeds a chunked body in one piece; true when it was whole. */
static bool chunked(const char *text, struct la_http_body *b, char *trailer, uint32_t cap)
{
    static const struct la_http_head head = {.framing = LA_FRAMING_CHUNKED};
    size_t at = 0, n = strlen(text);
    la_http_body_init(b, &head, trailer, cap);
    while (at < n && !b->done) {
        struct la_slice payload;
        enum la_err err = LA_OK;
        size_t used = la_http_body_feed(b, text + at, n - at, &payload, &err);
        if (used == SIZE_MAX) {
            CHECK_EQ(err, LA_BAD_CHUNK);
            return false;
        }
        at += used;
    }
    return b->done && at == n;
}

static void test_chunks(void)
{
    struct la_http_body b;
    struct la_slice name, value;
    char kept[64];
    uint32_t at = 0;
    CHECK(chunked("5;name=value;other=token\r\nhello\r\n0\r\n\r\n", &b, NULL, 0));
    CHECK(!chunked("5;name=value value\r\nhello\r\n0\r\n\r\n", &b, NULL, 0));
    CHECK(!chunked("5\r\nhello\rX0\r\n\r\n", &b, NULL, 0)); /* a CR, and then no LF */
    CHECK(!chunked("0\r\nX: a\x7f\r\n\r\n", &b, kept, sizeof(kept)));
    /* Not even the first trailer line fits: none is kept, and the body is whole all the same. */
    CHECK(chunked("0\r\nName: value\r\n\r\n", &b, kept, 8));
    CHECK(b.trailer_cut && b.trailer_n == 0);
    CHECK(!la_http_trailer_next(&b, &at, &name, &value));
    /* The second one does not: the first is kept. */
    CHECK(chunked("0\r\nA: b\r\nName: value\r\n\r\n", &b, kept, 8));
    CHECK(b.trailer_cut && la_http_trailer_next(&b, &at, &name, &value) && la_slice_eq(value, LA_SLICE("b")));
}

static enum la_err request(const char *text, struct la_http_head *head)
{
    static const struct la_http_limits limits = {1000, 10, 0};
    size_t seen = 0;
    enum la_err err = LA_OK;
    enum la_http_result r = la_http_parse_request(head, text, strlen(text), &seen, &limits, &err);
    CHECK(r != LA_HTTP_MORE && (r == LA_HTTP_DONE) == (err == LA_OK));
    return err;
}

static void test_requests(void)
{
    static struct la_http_head h;
    /* A coding whose parameter has no value. */
    CHECK_EQ(request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip;q\r\n\r\n", &h), LA_BAD_FRAMING);
    CHECK_EQ(request("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip;q/\r\n\r\n", &h), LA_BAD_FRAMING);
    /* A host that is shorter than the default port. */
    CHECK_EQ(request("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", &h), LA_OK);
    CHECK_EQ(request("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", &h), LA_BAD_HOST);
    /* No default port where there is no scheme. */
    CHECK_EQ(request("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", &h), LA_BAD_HOST);
    CHECK_EQ(request("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", &h), LA_OK);
}

/* Connection names fields that are not its own to take away, and one that is. */
static void test_named_away(void)
{
    static struct la_http_head h;
    static const char *const kept[] = {"X-Forwarded-Port", "X-Real-IP", "Content-Language", "Set-Cookie",
                                       "Cache-Control"};
    for (size_t i = 0; i < la_count(kept); i++) {
        char text[200];
        snprintf(text, sizeof(text),
                 "GET / HTTP/1.1\r\nHost: a\r\nConnection: %s, X-Mine\r\n%s: 1\r\nX-Mine: 2\r\n\r\n", kept[i], kept[i]);
        CHECK_EQ(request(text, &h), LA_OK);
        CHECK(!h.header[2].hop && h.header[3].hop);
    }
}

/* The buffer that is shown next may begin later than the one before: `seen` is then more than there is. */
static void test_seen_too_much(void)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    static struct la_http_head h;
    static const struct la_http_limits limits = {1000, 10, 0};
    size_t seen = sizeof(text) + 5;
    enum la_err err = LA_OK;
    CHECK_EQ(la_http_parse_request(&h, text, sizeof(text) - 1, &seen, &limits, &err), LA_HTTP_DONE);
}

static void test_keep_alive_of_a_response(void)
{
    static const struct {
        const char *value;
        uint32_t seconds;
    } cases[] = {{"timeout=5", 5}, {"somethin=9, timeout=5", 5}, {"timeout=", 0}, {"timeout=12345678901", 0}};
    static const struct la_http_limits limits = {1000, 10, 0};
    static struct la_http_head h;
    for (size_t i = 0; i < la_count(cases); i++) {
        char text[200];
        size_t seen = 0;
        enum la_err err = LA_OK;
        int n = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: %s\r\n\r\n",
                         cases[i].value);
        CHECK_EQ(la_http_parse_response(&h, text, (size_t)n, &seen, &limits, LA_METHOD_GET, false, &err), LA_HTTP_DONE);
        CHECK_EQ(h.keep_alive_timeout_s, cases[i].seconds);
    }
}

static void test_paths(void)
{
    static const struct {
        const char *target, *path;
    } cases[] = {{"/%4g", ""}, {"/ab/.a/c", "/ab/.a/c"}, {"/a%2f.b", "/a%2F.b"}, {"/a/.%2fb", "/a/.%2Fb"}};
    for (size_t i = 0; i < la_count(cases); i++) {
        char out[64];
        size_t n = la_http_normalize_path(la_slice_str(cases[i].target), out, sizeof(out));
        CHECK(la_slice_eq(la_slice(out, n), la_slice_str(cases[i].path)));
    }
}

/* A line too short for what looks at sixteen bytes at once, first in its buffer. */
static void test_short_lines(void)
{
    char out[64];
    struct la_http_writer w;
    la_http_writer_init(&w, out, sizeof(out));
    la_http_write_header(&w, LA_SLICE("A"), LA_SLICE("b"));
    CHECK(!w.overflow && w.n == 6 && memcmp(out, "A: b\r\n", 6) == 0);
    la_http_writer_init(&w, out, sizeof(out));
    la_http_write_header(&w, LA_SLICE("A"), LA_SLICE("b\r"));
    CHECK(w.overflow && w.n == 0);
    la_http_writer_init(&w, out, sizeof(out)); /* and one of sixteen */
    la_http_write_header(&w, LA_SLICE("Name"), LA_SLICE("0123456789"));
    CHECK(!w.overflow && w.n == 18);
}

/* A parsed field in every capacity: never a byte too far, overflow exactly when something is missing, and for good. */
static void test_write_parsed(void)
{
    static const char whole[] = "Name: value\r\nEmpty: \r\n";
    static struct la_http_head h;
    CHECK_EQ(request("GET / HTTP/1.1\r\nHost: a\r\nName:value  \r\nEmpty:\r\n\r\n", &h), LA_OK);
    volatile size_t most = sizeof(whole); /* compilers that knew it would warn of copies that never happen */
    for (size_t cap = 0; cap <= most; cap++) {
        char *out = malloc(cap ? cap : 1);
        struct la_http_writer w;
        la_http_writer_init(&w, out, cap);
        la_http_write_parsed(&w, &h, 1, 2);
        bool first = !w.overflow;
        la_http_write_parsed(&w, &h, 2, 3);
        CHECK_EQ(first, cap >= 13);
        CHECK_EQ(w.overflow, cap < sizeof(whole) - 1);
        CHECK(w.n <= cap && memcmp(out, whole, w.n) == 0);
        free(out);
    }
}

/* Lines that came as they are written go as one piece; others between them do not change that. */
static void test_write_runs(void)
{
    static const char whole[] = "A: b\r\nC: d\te\r\nF: g\r\nH: \r\nI: j\r\nK: l\r\nM: n\r\n";
    static const bool canonical[] = {true, true, false, false, true, false, true};
    static struct la_http_head h;
    CHECK_EQ(request("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\te\r\nF:  g\r\nH:\r\nI: j\r\nK: l\t\r\nM: n\r\n\r\n", &h),
             LA_OK);
    for (size_t i = 0; i < la_count(canonical); i++)
        CHECK_EQ(h.header[i + 1].canonical, canonical[i]);
    volatile size_t most = sizeof(whole);
    for (size_t cap = 0; cap <= most; cap++) {
        char *out = malloc(cap ? cap : 1);
        struct la_http_writer w;
        la_http_writer_init(&w, out, cap);
        la_http_write_parsed(&w, &h, 1, h.headers);
        CHECK_EQ(w.overflow, cap < sizeof(whole) - 1);
        CHECK(w.n <= cap && memcmp(out, whole, w.n) == 0);
        free(out);
    }
}

int main(void)
{
    test_chunks();
    test_requests();
    test_named_away();
    test_seen_too_much();
    test_keep_alive_of_a_response();
    test_paths();
    test_write_parsed();
    test_write_runs();
    test_short_lines();
    return TEST_DONE();
}
