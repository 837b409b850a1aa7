/* codec_fcgi.c: FastCGI records and CGI heads, at every split point; parameters against a reader written for
 * this test. */
#include "lastack/fcgi.h"

#include "test.h"

#define OUT(n, text) "\1\6\0\1\0" n "\0\0" text
#define END          "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0"
#define HEAD         "Status: 200 OK\r\n\r\n"

struct trace {
    char text[4096];
    size_t n;
};

static void tell(struct trace *t, const char *text, size_t n)
{
    CHECK(t->n + n < sizeof t->text);
    memcpy(t->text + t->n, text, n);
    t->n += n;
    t->text[t->n] = '\0';
}

/* What comes out when the input is cut at one place; pieces of one stream are joined. */
static void run(struct trace *t, const char *raw, size_t n, size_t cut, size_t portion)
{
    struct la_fcgi_reader r = {.id = 1};
    char last = 0;
    t->n = 0;
    t->text[0] = '\0';
    for (size_t at = 0; at < n;) {
        size_t part = at < cut ? la_min64(cut - at, n) : portion;
        part = la_min64(part, n - at);
        struct la_slice piece;
        enum la_fcgi_event e;
        size_t used = la_fcgi_read(&r, raw + at, part, &e, &piece);
        CHECK(used <= part);
        at += used;
        char now = "moexb"[e];
        if (e == LA_FCGI_OUT || e == LA_FCGI_ERR) {
            CHECK(piece.n > 0);
            if (last != now)
                tell(t, e == LA_FCGI_OUT ? "[out]" : "[err]", 5);
            tell(t, piece.p, piece.n);
            last = now;
        } else if (e == LA_FCGI_OVER || e == LA_FCGI_BAD) {
            tell(t, e == LA_FCGI_OVER ? "[over]" : "[bad]", e == LA_FCGI_OVER ? 6 : 5);
            if (at < n)
                tell(t, "+", 1);
            return;
        } else {
            CHECK(used == part);
        }
    }
    if (la_fcgi_at_start(&r))
        tell(t, "[start]", 7);
}

static void expect(const char *raw, size_t n, const char *wanted)
{
    static struct trace t;
    for (size_t cut = 0; cut <= n; cut++) {
        run(&t, raw, n, cut, n);
        if (strcmp(t.text, wanted) != 0)
            fprintf(stderr, "cut at %zu: is %s, not %s\n", cut, t.text, wanted);
        CHECK(strcmp(t.text, wanted) == 0);
    }
    run(&t, raw, n, 0, 1);
    /* Byte by byte nothing can be known to follow. */
    size_t most = strlen(wanted);
    CHECK(strncmp(t.text, wanted, most - (most > 0 && wanted[most - 1] == '+')) == 0);
}
#define EXPECT(raw, wanted) expect(raw, sizeof(raw) - 1, wanted)

static void test_records(void)
{
    EXPECT("", "[start]");
    EXPECT("\1\6\0\1", "");
    EXPECT(OUT("\2", "ok") OUT("\0", "") END, "[out]ok[over]");
    EXPECT(OUT("\2", "ok") OUT("\3", "abc") END, "[out]okabc[over]");
    EXPECT("\1\6\0\1\0\2\3\0okxyz" END, "[out]ok[over]");
    EXPECT("\1\7\0\1\0\3\0\0bad" OUT("\2", "ok") "\1\7\0\1\0\1\0\0!" END, "[err]bad[out]ok[err]![over]");
    EXPECT("\1\14\0\1\0\3\1\0xyz0" OUT("\2", "ok") END, "[out]ok[over]"); /* a type nobody knows */
    EXPECT(OUT("\2", "ok") END OUT("\2", "no"), "[out]ok[over]+");
    EXPECT(END, "[over]");
    EXPECT("\1\6\0\1\0\5\0\0ok", "[out]ok");
    EXPECT(OUT("\2", "ok") "\1\3\0\1\0\10\3\0\0\0\0\0\0\0\0\0pad", "[out]ok[over]");
}

static void test_what_is_wrong(void)
{
    EXPECT("\2\6\0\1\0\1\0\0x", "[bad]+"); /* version */
    EXPECT("\1\6\0\2\0\1\0\0x", "[bad]+"); /* another request's */
    EXPECT("\1\6\1\1\0\1\0\0x", "[bad]+");
    EXPECT("\1\6\0\0\0\1\0\0x", "[bad]+");                 /* management */
    EXPECT("\1\3\0\1\0\7\0\0\0\0\0\0\0\0\0", "[bad]+");    /* END of another length */
    EXPECT("\1\3\0\1\0\10\0\0\0\0\0\0\2\0\0\0", "[bad]");  /* overloaded */
    EXPECT("\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0", "[bad]+"); /* BEGIN is ours to say */
    EXPECT("\1\5\0\1\0\0\0\0", "[bad]");                   /* STDIN too */
    EXPECT(OUT("\0", "") OUT("\1", "x"), "[bad]+");        /* after the end of STDOUT */
    EXPECT(OUT("\1", "x") "HTTP/1.1 200 OK\r\n", "[out]x[bad]+");
    struct la_fcgi_reader r = {.bad = true};
    struct la_slice piece;
    enum la_fcgi_event e;
    CHECK_EQ(la_fcgi_read(&r, END, sizeof END - 1, &e, &piece), 0);
    CHECK(e == LA_FCGI_BAD);
}

static void test_largest_record(void)
{
    static char raw[8 + 65535 + 255 + 16];
    struct la_fcgi_reader r = {.id = 1};
    struct la_slice piece;
    enum la_fcgi_event e;
    memcpy(raw, "\1\14\0\1\377\377\377\0", 8);
    memcpy(raw + 8 + 65535 + 255, END, 16);
    CHECK_EQ(la_fcgi_read(&r, raw, sizeof raw, &e, &piece), sizeof raw);
    CHECK(e == LA_FCGI_OVER);
}

/* ---- what we write ---- */

/* Joins the content of PARAMS records; checks their heads. */
static size_t join(const char *p, size_t n, char *out)
{
    size_t at = 0, total = 0;
    while (at < n) {
        CHECK(n - at >= 8 && p[at] == 1 && p[at + 1] == LA_FCGI_PARAMS && p[at + 2] == 0 && p[at + 3] == 1 &&
              p[at + 6] == 0);
        size_t k = (size_t)(unsigned char)p[at + 4] << 8 | (unsigned char)p[at + 5];
        CHECK(k > 0 && k <= LA_FCGI_RECORD_MOST && at + 8 + k <= n);
        memcpy(out + total, p + at + 8, k);
        total += k;
        at += 8 + k;
    }
    return total;
}

static size_t length(const unsigned char *p, size_t *at)
{
    size_t n = p[(*at)++];
    if (n < 128)
        return n;
    n = (n & 0x7f) << 24 | (size_t)p[*at] << 16 | (size_t)p[*at + 1] << 8 | p[*at + 2];
    *at += 3;
    return n;
}

static void test_params(void)
{
    static char buf[400000], joined[400000], text[200000];
    static const size_t sizes[] = {0, 1, 127, 128, 129, 255, 256, 65500, 65528, 70000, 140000};
    memset(text, 'v', sizeof text);
    struct la_fcgi_params w;
    la_fcgi_params_init(&w, 1, buf, sizeof buf);
    for (size_t i = 0; i < la_count(sizes); i++)
        la_fcgi_param(&w, la_slice(text, i % 2 ? 5 : 130), la_slice(text, sizes[i]));
    la_fcgi_params_close(&w);
    CHECK(!w.overflow);
    size_t n = join(buf, w.n, joined), at = 0;
    for (size_t i = 0; i < la_count(sizes); i++) {
        size_t name = length((unsigned char *)joined, &at), value = length((unsigned char *)joined, &at);
        CHECK_EQ(name, i % 2 ? 5 : 130);
        CHECK_EQ(value, sizes[i]);
        at += name + value;
    }
    CHECK_EQ(at, n);
    /* Every size of buffer: it overflows or it is the same. */
    struct la_fcgi_params whole;
    char small[64], same[64];
    la_fcgi_params_init(&whole, 1, same, sizeof same);
    la_fcgi_param(&whole, LA_SLICE("A"), LA_SLICE("bcd"));
    la_fcgi_param(&whole, LA_SLICE("EF"), LA_SLICE(""));
    la_fcgi_params_close(&whole);
    for (size_t cap = 0; cap <= sizeof small; cap++) {
        la_fcgi_params_init(&w, 1, small, cap);
        la_fcgi_param(&w, LA_SLICE("A"), LA_SLICE("bcd"));
        la_fcgi_param(&w, LA_SLICE("EF"), LA_SLICE(""));
        la_fcgi_params_close(&w);
        CHECK(w.overflow == (cap < whole.n));
        CHECK(w.overflow || (w.n == whole.n && memcmp(small, same, w.n) == 0));
    }
}

static void test_begin(void)
{
    char b[LA_FCGI_BEGIN_BYTES];
    la_fcgi_begin(b, 3, true);
    CHECK(memcmp(b, "\1\1\0\3\0\10\0\0\0\1\1\0\0\0\0\0", 16) == 0);
    la_fcgi_begin(b, 1, false);
    CHECK(memcmp(b, "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0", 16) == 0);
}

/* Ids follow each other without an end, and none is its neighbour's; records written for one are changed to another. */
static void test_ids(void)
{
    for (uint64_t n = 1; n < 40; n++)
        CHECK(la_fcgi_id(n) >= 1 && la_fcgi_id(n) <= LA_FCGI_IDS && la_fcgi_id(n) != la_fcgi_id(n + 1));
    static char one[150000], two[150000], value[140000];
    struct la_fcgi_params a, b;
    la_fcgi_params_init(&a, 1, one, sizeof one);
    la_fcgi_params_init(&b, 7, two, sizeof two);
    la_fcgi_param(&a, LA_SLICE("A"), la_slice(value, sizeof value));
    la_fcgi_param(&b, LA_SLICE("A"), la_slice(value, sizeof value));
    la_fcgi_params_close(&a);
    la_fcgi_params_close(&b);
    CHECK(a.n == b.n && memcmp(one, two, a.n) != 0);
    la_fcgi_readdress(one, a.n, 7);
    CHECK(memcmp(one, two, a.n) == 0);
    la_fcgi_readdress(one, 0, 1);
    CHECK(memcmp(one, two, a.n) == 0);
}

/* What an earlier request left behind is no answer. */
static void test_left_over(void)
{
    struct la_fcgi_reader r = {.id = 2};
    struct la_slice piece;
    enum la_fcgi_event e;
    CHECK_EQ(la_fcgi_read(&r, OUT("\2", "ok") END, 10, &e, &piece), 8);
    CHECK(e == LA_FCGI_BAD && !r.any);
    r = (struct la_fcgi_reader){.id = 1};
    CHECK_EQ(la_fcgi_read(&r, OUT("\2", "ok") END, 10, &e, &piece), 10);
    CHECK(e == LA_FCGI_OUT && r.any);
}

/* ---- the CGI head ---- */

struct cgi_case {
    const char *raw;
    enum la_err err;
    int status;
    const char *reason;
    enum la_http_framing framing;
    uint64_t length;
    bool doubtful;
};
static const struct cgi_case cgi_cases[] = {
    {"Content-Type: text/html\r\n\r\n", LA_OK, 200, "", LA_FRAMING_CLOSE, 0, false},
    {"Content-Type: text/html\n\n", LA_OK, 200, "", LA_FRAMING_CLOSE, 0, false},
    {"Status: 404 Not Found\r\nX: 1\n\r\n", LA_OK, 404, "Not Found", LA_FRAMING_CLOSE, 0, false},
    {"Status: 404\r\n\r\n", LA_OK, 404, "", LA_FRAMING_CLOSE, 0, false},
    {"Location: /x\r\n\r\n", LA_OK, 302, "", LA_FRAMING_CLOSE, 0, false},
    {"Location: /x\r\nStatus: 201 Made\r\n\r\n", LA_OK, 201, "Made", LA_FRAMING_CLOSE, 0, false},
    {"Content-Length: 5\r\nX: y\r\n\r\n", LA_OK, 200, "", LA_FRAMING_LENGTH, 5, false},
    {"Status: 204\r\n\r\n", LA_OK, 204, "", LA_FRAMING_NONE, 0, false},
    {"Status: 304\r\nContent-Length: 7\r\n\r\n", LA_OK, 304, "", LA_FRAMING_NONE, 0, false},
    {"Transfer-Encoding: chunked\r\nX: y\r\n\r\n", LA_OK, 200, "", LA_FRAMING_CLOSE, 0, true},
    {"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", LA_RESPONSE_FRAMING, 0, "", 0, 0, false},
    {"Content-Length: -1\r\n\r\n", LA_RESPONSE_FRAMING, 0, "", 0, 0, false},
    {"Status: 100 Continue\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"Status: 101\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"Status: 600\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"Status: 20\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"Status: 2000\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"Status: 200\r\nStatus: 200\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"X y: 1\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"X: a\rb\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {" folded: x\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"HTTP/1.1 200 OK\r\nX: 1\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
    {"X: \001\r\n\r\n", LA_RESPONSE_BAD, 0, "", 0, 0, false},
};

static void check_head(const struct cgi_case *c, size_t cut)
{
    static struct la_http_head head;
    static const struct la_http_limits limits = {.head_bytes = 4096};
    char out[512];
    uint32_t n = 0;
    struct la_cgi_gather g = {0};
    size_t all = strlen(c->raw), used = 0;
    used += la_cgi_gather(&g, c->raw, cut, out, &n, sizeof out);
    used += la_cgi_gather(&g, c->raw + used, all - used, out, &n, sizeof out);
    CHECK(g.done && used == all && !g.overflow);
    enum la_err e = la_cgi_parse_head(&head, out, n, &limits, LA_METHOD_GET);
    if (e != c->err)
        fprintf(stderr, "%s: %s\n", c->raw, la_err_name(e));
    CHECK(e == c->err);
    if (e != LA_OK)
        return;
    CHECK_EQ(head.status, c->status);
    CHECK(la_slice_eq(head.reason, la_slice_str(c->reason)));
    CHECK(head.framing == c->framing && head.length == c->length && head.doubtful == c->doubtful);
    for (size_t i = 0; i < head.headers; i++)
        CHECK(head.header[i].hop == (la_slice_ieq(la_http_name(&head, i), LA_SLICE("status")) ||
                                     head.header[i].field == LA_FIELD_TRANSFER_ENCODING));
}

static void test_heads(void)
{
    for (size_t i = 0; i < la_count(cgi_cases); i++)
        for (size_t cut = 0; cut < strlen(cgi_cases[i].raw); cut++)
            check_head(&cgi_cases[i], cut);
    /* The body is not touched, and too little room is told without a byte being lost. */
    char out[64];
    uint32_t n = 0;
    struct la_cgi_gather g = {0};
    CHECK_EQ(la_cgi_gather(&g, "A: b\n\nbody", 10, out, &n, sizeof out), 6);
    CHECK(g.done && n == 8 && memcmp(out, "A: b\r\n\r\n", 8) == 0);
    g = (struct la_cgi_gather){0};
    n = 0;
    CHECK_EQ(la_cgi_gather(&g, "A: b\n\n", 6, out, &n, 5), 4);
    CHECK(g.overflow && n == 4);
    CHECK_EQ(la_cgi_gather(&g, "\n\n", 2, out, &n, 8), 2);
    CHECK(g.done && !g.overflow && n == 8);
}

int main(void)
{
    test_records();
    test_what_is_wrong();
    test_largest_record();
    test_params();
    test_begin();
    test_ids();
    test_left_over();
    test_heads();
    return TEST_DONE();
}
