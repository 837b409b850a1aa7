/* codec_http1_parts.c: the small pieces of the HTTP/1.1 codec on their own: names, lists, hosts, the writer,
 * paths. */
#include "lastack/http1.h"
#include "test.h"

static void test_fields(void)
{
    static const char *const names[] = {"",
#define X(id, name) name,
                                        LA_HTTP_FIELDS(X)
#undef X
    };
    for (int f = 1; f < LA_FIELD_COUNT; f++) {
        char name[32];
        size_t n = strlen(names[f]);
        CHECK_EQ(la_http_field_find(la_slice_str(names[f])), f);
        for (size_t i = 0; i < n; i++) {
            memcpy(name, names[f], n);
            name[i] = (char)(name[i] >= 'a' ? name[i] - 32 : name[i]);
            CHECK_EQ(la_http_field_find(la_slice(name, n)), f);
            name[i] = name[i] == '-' ? '\r' : '!';
            CHECK_EQ(la_http_field_find(la_slice(name, n)), LA_FIELD_OTHER);
            CHECK(la_http_field_find(la_slice(names[f], i)) != (enum la_http_field)f);
        }
    }
    CHECK_EQ(la_http_field_find(LA_SLICE("")), LA_FIELD_OTHER);
    CHECK_EQ(la_http_field_find(LA_SLICE("a-name-that-is-longer-than-all-others")), LA_FIELD_OTHER);
}

static void test_methods(void)
{
    CHECK(la_http_method_idempotent(LA_METHOD_GET) && la_http_method_idempotent(LA_METHOD_HEAD));
    CHECK(la_http_method_idempotent(LA_METHOD_PUT) && la_http_method_idempotent(LA_METHOD_DELETE));
    CHECK(la_http_method_idempotent(LA_METHOD_OPTIONS) && la_http_method_idempotent(LA_METHOD_TRACE));
    CHECK(!la_http_method_idempotent(LA_METHOD_POST) && !la_http_method_idempotent(LA_METHOD_PATCH));
    CHECK(!la_http_method_idempotent(LA_METHOD_OTHER) && !la_http_method_idempotent(LA_METHOD_CONNECT));
}

static void test_method_names(void)
{
    static const struct {
        const char *name;
        enum la_http_method method;
    } methods[] = {
        {"GET", LA_METHOD_GET},     {"HEAD", LA_METHOD_HEAD},     {"POST", LA_METHOD_POST},
        {"PUT", LA_METHOD_PUT},     {"DELETE", LA_METHOD_DELETE}, {"OPTIONS", LA_METHOD_OPTIONS},
        {"TRACE", LA_METHOD_TRACE}, {"PATCH", LA_METHOD_PATCH},   {"get", LA_METHOD_OTHER},
        {"GETS", LA_METHOD_OTHER},  {"G", LA_METHOD_OTHER},       {"PROPFIND", LA_METHOD_OTHER},
        {"FETCH", LA_METHOD_OTHER}, {"SEARCH", LA_METHOD_OTHER},  {"REPORTS", LA_METHOD_OTHER},
        {"QRY", LA_METHOD_OTHER},
    };
    struct la_http_limits limits = {1000, 10, 0};
    struct la_http_head head;
    enum la_err err = LA_OK;
    for (size_t i = 0; i < la_count(methods); i++) {
        char raw[100];
        size_t seen = 0;
        int n = snprintf(raw, sizeof(raw), "%s / HTTP/1.1\r\nHost: a\r\nVia: x\r\n\r\n", methods[i].name);
        CHECK_EQ(la_http_parse_request(&head, raw, (size_t)n, &seen, &limits, &err), LA_HTTP_DONE);
        CHECK_EQ(head.method, methods[i].method);
    }
    CHECK_EQ(la_http_find(&head, LA_FIELD_VIA), 1);
    CHECK_EQ(la_http_find(&head, LA_FIELD_DATE), -1);
}

static void test_lists(void)
{
    struct la_slice rest = LA_SLICE(" ,a , b c,,\t, d\t,"), item;
    CHECK(la_http_list_next(&rest, &item) && la_slice_eq(item, LA_SLICE("a")));
    CHECK(la_http_list_next(&rest, &item) && la_slice_eq(item, LA_SLICE("b c")));
    CHECK(la_http_list_next(&rest, &item) && la_slice_eq(item, LA_SLICE("d")));
    CHECK(!la_http_list_next(&rest, &item));
    CHECK(!la_http_list_next(&rest, &item));
    rest = LA_SLICE("last");
    CHECK(la_http_list_next(&rest, &item) && la_slice_eq(item, LA_SLICE("last")));
    CHECK(!la_http_list_next(&rest, &item));
    CHECK(la_http_is_token(LA_SLICE("a-b")) && !la_http_is_token(LA_SLICE("")) &&
          !la_http_is_token(LA_SLICE("a b")));
    CHECK(la_http_is_host(LA_SLICE("a.test:80")) && !la_http_is_host(LA_SLICE("[::1\0]")));
    CHECK(!la_http_is_host(LA_SLICE("[1111:1111:1111:1111:1111:1111:1111:1111:1111:1111]")));
}

static void expect_written(const struct la_http_writer *w, const char *text)
{
    CHECK(!w->overflow);
    CHECK(la_slice_eq(la_slice(w->p, w->n), la_slice_str(text)));
}

static void test_writer(void)
{
    char out[128];
    struct la_http_writer w;
    la_http_writer_init(&w, out, sizeof(out));
    la_http_write_status(&w, 204, la_http_reason(204));
    la_http_write_header(&w, LA_SLICE("A"), LA_SLICE("b\tc \xe9"));
    la_http_write_header(&w, LA_SLICE("E"), (struct la_slice){0});
    la_http_write_length(&w, UINT64_MAX);
    la_http_write_length(&w, 0);
    la_http_write(&w, (struct la_slice){0});
    expect_written(&w, "HTTP/1.1 204 No Content\r\nA: b\tc \xe9\r\nE: \r\n"
                       "Content-Length: 18446744073709551615\r\nContent-Length: 0\r\n");
    la_http_writer_init(&w, out, sizeof(out));
    la_http_write_request_line(&w, LA_SLICE("GET"), LA_SLICE("/x?y"));
    la_http_write_status(&w, 999, LA_SLICE(""));
    la_http_write_status(&w, 200, LA_SLICE("a\r\nb"));
    expect_written(&w, "GET /x?y HTTP/1.1\r\nHTTP/1.1 999 \r\nHTTP/1.1 200 \r\n");
}

/* What would smuggle is not written, and the caller learns it. */
static void test_writer_refuses(void)
{
    static const struct la_slice bad[] = {
        {"a\rb", 3}, {"a\nb", 3}, {"a\0b", 3}, {"a\x7f", 2}, {"12345678\r\nX: y", 14},
    };
    char out[128];
    struct la_http_writer w;
    for (size_t i = 0; i < la_count(bad); i++) {
        for (int place = 0; place < 4; place++) {
            la_http_writer_init(&w, out, sizeof(out));
            if (place == 0)
                la_http_write_header(&w, LA_SLICE("X"), bad[i]);
            else if (place == 1)
                la_http_write_header(&w, bad[i], LA_SLICE("x"));
            else if (place == 2)
                la_http_write_request_line(&w, bad[i], LA_SLICE("/"));
            else
                la_http_write_request_line(&w, LA_SLICE("GET"), bad[i]);
            CHECK(w.overflow && w.n == 0);
        }
    }
    la_http_writer_init(&w, out, sizeof(out));
    la_http_write_header(&w, LA_SLICE(""), LA_SLICE("x"));
    CHECK(w.overflow);
    la_http_writer_init(&w, out, sizeof(out));
    la_http_write_request_line(&w, LA_SLICE("GET"), LA_SLICE("/ HTTP/1.1"));
    CHECK(w.overflow);
    la_http_writer_init(&w, out, sizeof(out));
    la_http_write_request_line(&w, LA_SLICE("GET"), LA_SLICE(""));
    CHECK(w.overflow);
    la_http_write_request_line(&w, LA_SLICE("GET"), LA_SLICE("/")); /* and it stays so */
    CHECK(w.overflow && w.n == 0);
}

/* Every capacity: never a byte too far, and overflow exactly when something is missing. */
static void test_writer_bounds(void)
{
    const char *whole = "GET /x HTTP/1.1\r\nHTTP/1.1 200 OK\r\nName: value\r\nContent-Length: 123\r\n";
    for (size_t cap = 0; cap <= strlen(whole) + 1; cap++) {
        char *out = malloc(cap ? cap : 1);
        struct la_http_writer w;
        la_http_writer_init(&w, out, cap);
        la_http_write_request_line(&w, LA_SLICE("GET"), LA_SLICE("/x"));
        la_http_write_status(&w, 200, la_http_reason(200));
        la_http_write_header(&w, LA_SLICE("Name"), LA_SLICE("value"));
        la_http_write_length(&w, 123);
        CHECK_EQ(w.overflow, cap < strlen(whole));
        CHECK(w.n <= cap && memcmp(out, whole, w.n) == 0);
        free(out);
    }
}

static void test_chunk_head(void)
{
    static const struct {
        uint64_t n;
        const char *text;
    } cases[] = {
        {0, "0\r\n"},
        {1, "1\r\n"},
        {15, "f\r\n"},
        {16, "10\r\n"},
        {255, "ff\r\n"},
        {256, "100\r\n"},
        {65535, "ffff\r\n"},
        {65536, "10000\r\n"},
        {UINT64_MAX, "ffffffffffffffff\r\n"},
        {UINT64_C(1) << 63, "8000000000000000\r\n"},
        {0x1a2b3c, "1a2b3c\r\n"},
    };
    for (size_t i = 0; i < la_count(cases); i++) {
        char out[LA_CHUNK_HEAD];
        size_t n = la_http_chunk_head(out, cases[i].n);
        CHECK(la_slice_eq(la_slice(out, n), la_slice_str(cases[i].text)));
    }
}

static void test_reasons(void)
{
    CHECK(la_slice_eq(la_http_reason(200), LA_SLICE("OK")));
    CHECK(la_slice_eq(la_http_reason(502), LA_SLICE("Bad Gateway")));
    CHECK(la_slice_eq(la_http_reason(431), LA_SLICE("Request Header Fields Too Large")));
    CHECK(la_slice_eq(la_http_reason(299), LA_SLICE("")));
    for (int e = LA_OK + 1; e < LA_ERR_COUNT; e++)
        CHECK(la_http_reason(la_err_info((enum la_err)e)->status).n > 0 ||
              la_err_info((enum la_err)e)->status == 499);
}

static void test_paths(void)
{
    /* "" = refused */
    static const char *const cases[][2] = {
        {"/", "/"},
        {"/a", "/a"},
        {"/a/", "/a/"},
        {"/a?b/../c", "/a"},
        {"/?x", "/"},
        {"//", "//"},
        {"/a//b", "/a//b"},
        {"/.", "/"},
        {"/./", "/"},
        {"/a/.", "/a/"},
        {"/a/./b", "/a/b"},
        {"/a/..", "/"},
        {"/a/../", "/"},
        {"/a/../b", "/b"},
        {"/a/b/../..", "/"},
        {"/a/b/../../c", "/c"},
        {"/a//../b", ""},
        {"//../b", ""},
        {"/a//b", "/a//b"},
        {"/;a/b", ""},
        {"/a/;b", "/a/;b"},
        {"/.;a/b", ""},
        {"/.;a", "/.;a"},
        {"/..", ""},
        {"/../a", ""},
        {"/a/../..", ""},
        {"/a/../../b", ""},
        {"/...", "/..."},
        {"/.a", "/.a"},
        {"/a..", "/a.."},
        {"/..a", "/..a"},
        {"/%61%2D%7e%5f", "/a-~_"},
        {"/%2e%2E/a", ""},
        {"/x/%2e%2e/a", "/a"},
        {"/x/.%2e/a", "/a"},
        {"/x/%2e/a", "/x/a"},
        {"/a%2fb", "/a%2Fb"},
        {"/a%2f..%2fb", ""},
        {"/a/..%2fb", ""},
        {"/a/..%5cb", ""},
        {"/a/%2f..", ""},
        {"/a/..;x/b", ""},
        {"/a;x/b", "/a;x/b"},
        {"/a/b;..", ""},
        {"/a/..%2f", ""},
        {"/a%2fb..%2f", "/a%2Fb..%2F"},
        {"/%252e%252e/a", "/%252e%252e/a"},
        {"/%c3%a9", "/%C3%A9"},
        {"/%00", ""},
        {"/a%0d%0a", "/a%0D%0A"},
        {"/%", ""},
        {"/%4", ""},
        {"/%zz", ""},
        {"/a b", ""},
        {"/a\\b", ""},
        {"/a#b", ""},
        {"", ""},
        {"*", ""},
        {"a", ""},
        {"?a", ""},
        {"http://a/", ""},
        {"/%20", "/%20"},
        {"/a/%3f", "/a/%3F"},
        {"/%2", ""},
        {"/a;/..;/b", ""},
        {"/%3b", "/%3B"},
    };
    for (size_t i = 0; i < la_count(cases); i++) {
        struct la_slice path = la_slice_str(cases[i][0]), expected = la_slice_str(cases[i][1]);
        for (size_t cap = 0; cap <= path.n + 1; cap++) {
            char *out = malloc(cap ? cap : 1);
            size_t n = la_http_normalize_path(path, out, cap);
            if (cap > path.n && !la_slice_eq(la_slice(out, n), expected))
                fprintf(stderr, "%s -> %.*s\n", cases[i][0], (int)n, out);
            CHECK(cap <= path.n ? n == 0 || la_slice_eq(la_slice(out, n), expected)
                                : la_slice_eq(la_slice(out, n), expected));
            CHECK(cap >= expected.n || n == 0);
            /* Normalizing twice changes nothing. */
            if (n > 0) {
                char again[64];
                CHECK(la_slice_eq(la_slice(again, la_http_normalize_path(la_slice(out, n), again, 64)),
                                  expected));
            }
            free(out);
        }
    }
}

int main(void)
{
    test_fields();
    test_methods();
    test_method_names();
    test_lists();
    test_writer();
    test_writer_refuses();
    test_writer_bounds();
    test_chunk_head();
    test_reasons();
    test_paths();
    return TEST_DONE();
}
