/* codec_memcached.c: memcached's text protocol: what is accepted, what is refused and how, what a server is
 * sent, and replies; all of it at every split point. */
#include "lastack/memcached.h"
#include "test.h"

/* Parses text in two portions; the result must not depend on where it was cut. */
static enum la_memc_result parse(const char *text, size_t n, struct la_memc_request *r,
                                 struct la_memc_fault *f)
{
    size_t seen = 0;
    enum la_memc_result whole = la_memc_parse(r, text, n, &seen, f);
    for (size_t cut = 0; cut < n; cut++) {
        struct la_memc_request r2;
        struct la_memc_fault f2;
        seen = 0;
        enum la_memc_result half = la_memc_parse(&r2, text, cut, &seen, &f2);
        if (half != LA_MEMC_MORE) { /* decided before the end: then the same */
            CHECK_EQ(half, whole);
            continue;
        }
        CHECK_EQ(la_memc_parse(&r2, text, n, &seen, &f2), whole);
        CHECK_EQ(r2.used, r->used);
        CHECK_EQ(r2.verb, r->verb);
        CHECK(la_slice_eq(r2.key, r->key));
        CHECK_EQ(r2.bytes, r->bytes);
        CHECK_EQ(r2.keys_n, r->keys_n);
        CHECK(f2.text == f->text);
        CHECK_EQ(f2.swallow, f->swallow);
    }
    return whole;
}

/* What a server is sent for a command. */
static void writes(const char *text, const char *prefix, const char *line)
{
    struct la_memc_request r;
    struct la_memc_fault f;
    char out[4096];
    CHECK_EQ(parse(text, strlen(text), &r, &f), LA_MEMC_DONE);
    size_t n = la_memc_write(&r, la_slice_str(prefix), out, sizeof out);
    if (n != strlen(line) || memcmp(out, line, n) != 0)
        fprintf(stderr, "for %s: %.*s not %s\n", text, (int)n, out, line);
    CHECK(n == strlen(line) && memcmp(out, line, n) == 0);
    for (size_t cap = 0; cap < n; cap++)
        CHECK_EQ(la_memc_write(&r, la_slice_str(prefix), out, cap), 0);
}

static void test_writes(void)
{
    writes("get k\r\n", "", "get k\r\n");
    writes("get k\n", "", "get k\r\n");
    writes("  get   k  \r\n", "", "get k\r\n");
    writes("gat 10 k j\r\n", "p:", "gat 10 p:k\r\n");
    writes("set k 1 2 3\r\n", "", "set k 1 2 3\r\n");
    writes("set k 1 -2 3 noreply\r\n", "p:", "set p:k 1 -2 3\r\n");
    writes("cas k 1 2 3 4 noreply\r\n", "", "cas k 1 2 3 4\r\n");
    writes("set noreply 1 2 3\r\n", "", "set noreply 1 2 3\r\n");
    writes("incr k 5 noreply\r\n", "", "incr k 5\r\n");
    writes("incr k noreply noreply\r\n", "", "incr k\r\n");
    writes("flush_all noreply noreply\r\n", "", "flush_all\r\n");
    writes("stats noreply\r\n", "", "stats noreply\r\n");
    writes("delete k 0 noreply\r\n", "", "delete k 0\r\n");
    writes("delete noreply\r\n", "", "delete noreply 0\r\n");
    writes("delete noreply 0 noreply\r\n", "", "delete noreply 0\r\n");
    writes("delete noreply\r\n", "p:", "delete p:noreply\r\n");
    writes("set k 01 -002 000000000003 noreply\r\n", "", "set k 1 -2 3\r\n");
    writes("cas k 00 0 3 0000000000000000004\r\n", "", "cas k 0 0 3 4\r\n");
    writes("flush_all 10 noreply\r\n", "", "flush_all 10\r\n");
    writes("verbosity 1\r\n", "p:", "verbosity 1\r\n");
    writes("stats slabs\r\n", "", "stats slabs\r\n");
    writes("mg k v q k Oq\r\n", "", "mg k v k Oq\r\n");
    writes("ms k 2 q T5\r\n", "p:", "ms p:k 2 T5\r\n");
    writes("mg Zm9v b v\r\n", "p:", "mg cDpmb28= b v\r\n");
    writes("me k\r\n", "p:", "me p:k\r\n");
    writes("me Zm9v b\r\n", "p:", "me cDpmb28= b\r\n");
    writes("me Zm9v bx\r\n", "p:", "me p:Zm9v bx\r\n");
}

static void refused(const char *text, const char *answer, bool close, uint64_t swallow)
{
    struct la_memc_request r;
    struct la_memc_fault f;
    CHECK_EQ(parse(text, strlen(text), &r, &f), LA_MEMC_BAD);
    if (answer == NULL || f.text == NULL || strcmp(f.text, answer) != 0)
        fprintf(stderr, "for %s: %s\n", text, f.text ? f.text : "nothing");
    CHECK(answer && f.text && strcmp(f.text, answer) == 0);
    CHECK_EQ(f.close, close);
    CHECK_EQ(f.swallow, swallow);
}

static void test_refused(void)
{
    static const char format[] = "CLIENT_ERROR bad command line format",
                      chunk[] = "CLIENT_ERROR bad data chunk";
    refused("get\r\n", "ERROR", false, 0);
    refused("\r\n", "ERROR", false, 0);
    refused("bogus x\r\n", "ERROR", false, 0);
    refused("GET / HTTP/1.1\r\n", "ERROR", true, 0);
    refused("POST /x\r\n", "ERROR", true, 0);
    refused("PROPFIND /x HTTP/1.1\r\n", "ERROR", true, 0);
    refused("GETS a\r\n", "ERROR", false, 0);
    refused("\x16\x03\x01", "ERROR", true, 0);
    refused("watch fetchers\r\n", "ERROR", false, 0);
    refused("shutdown\r\n", "ERROR", false, 0);
    refused("get a\rflush_all\r\n", format, false, 0);
    refused("get a\tb\r\n", format, false, 0);
    refused("set k 0 0 -1\r\n", format, true, 0);
    refused("set k 0 0 x noreply\r\n", format, true, 0);
    refused("set k 0 0 4294967301\r\n", chunk, true, 0);
    refused("set k 0 0 18446744073709551621\r\n", format, true, 0);
    refused("set k x 0 5\r\n", format, false, 7);
    refused("set k 4294967296 0 5\r\n", format, false, 7);
    refused("set k 0 2147483648 5\r\n", format, false, 7);
    refused("set k 0 0 5 bogus\r\n", format, false, 7);
    refused("set k 0 0 5 noreply x\r\n", format, false, 7);
    refused("set k\r 0 0 5\r\n", format, true, 0);
    refused("ms k x\r\n", format, true, 0);
    refused("ms k 2 TT T1 T2\r\n", "CLIENT_ERROR invalid or duplicate flag", false, 4);
    refused("ms k 2 A B C D E F G H I J K L M N P Q R\r\n", "CLIENT_ERROR options flags too long", false, 4);
    refused("mg k v v\r\n", "CLIENT_ERROR invalid or duplicate flag", false, 0);
    refused("mg k 1\r\n", "CLIENT_ERROR invalid or duplicate flag", false, 0);
    refused("me Zm9 b\r\n", format, false, 0);
    refused("mg Zm9 b\r\n", "CLIENT_ERROR error decoding key", false, 0);
    char line[1024];
    snprintf(line, sizeof line, "get %0251d\r\n", 0);
    refused(line, format, false, 0);
    snprintf(line, sizeof line, "set %0251d 0 0 5\r\n", 0);
    refused(line, format, false, 7);
    struct la_memc_request r;
    struct la_memc_fault f;
    snprintf(line, sizeof line, "get %0250d\r\n", 0);
    CHECK_EQ(parse(line, strlen(line), &r, &f), LA_MEMC_DONE);
    CHECK_EQ(r.key.n, 250);
    CHECK_EQ(la_memc_write(&r, LA_SLICE("p"), line, sizeof line), 0);
    CHECK_EQ(parse("get a\0b\r\n", 9, &r, &f), LA_MEMC_BAD);
    CHECK_EQ(parse("\x80\0\0", 3, &r, &f), LA_MEMC_BAD);
    CHECK(f.binary && f.close);
}

static void test_long_lines(void)
{
    struct la_memc_request r;
    struct la_memc_fault f;
    size_t n = 600 * 1024, seen = 0;
    char *p = malloc(n);
    CHECK(p != NULL);
    memset(p, 'A', n);
    memcpy(p, "get ", 4);
    CHECK_EQ(la_memc_parse(&r, p, 65536, &seen, &f), LA_MEMC_BAD); /* no key is that long */
    CHECK(f.close);
    for (size_t i = 4; i < n; i += 2)
        p[i] = 'k', p[i + 1] = ' ';
    seen = 0;
    CHECK_EQ(la_memc_parse(&r, p, 65536, &seen, &f), LA_MEMC_MORE);
    CHECK_EQ(la_memc_parse(&r, p, n, &seen, &f), LA_MEMC_BAD);
    p[65536] = '\n';
    seen = 0;
    CHECK_EQ(la_memc_parse(&r, p, n, &seen, &f), LA_MEMC_DONE);
    size_t keys = 0;
    struct la_slice all = r.keys, key;
    while (la_memc_next_key(&all, &key))
        keys++;
    CHECK_EQ(keys, 32766);
    memcpy(p, "set ", 4);
    seen = 0;
    CHECK_EQ(la_memc_parse(&r, p, 4096, &seen, &f), LA_MEMC_BAD);
    free(p);
}

/* A reply as text: each piece by a letter; data in brackets, joined. */
static void trace(enum la_memc_expect e, const char *text, size_t n, size_t cut, char *out, size_t cap)
{
    struct la_memc_reply r;
    size_t at = 0, have = cut, o = 0;
    bool data = false;
    la_memc_reply_init(&r, e);
    for (;;) {
        struct la_memc_line l;
        size_t used;
        enum la_memc_piece p = la_memc_reply_feed(&r, text + at, have - at, &used, &l);
        at += used;
        if (p == LA_MEMC_PIECE_NONE) {
            if (have == n)
                break;
            have = n;
            continue;
        }
        if (p == LA_MEMC_PIECE_DATA || (p == LA_MEMC_PIECE_LAST && e == LA_MEMC_EXPECT_META && data)) {
            for (size_t i = 0; i < l.bytes.n && o + 2 < cap; i++)
                out[o++] = l.bytes.p[i];
            if (p == LA_MEMC_PIECE_DATA)
                continue;
        }
        data = p == LA_MEMC_PIECE_VALUE;
        CHECK(o + 300 < cap);
        o += (size_t)snprintf(out + o, cap - o, "%c%.*s;", "?VDSLEB"[p],
                              p == LA_MEMC_PIECE_VALUE ? (int)l.key.n : 0, l.key.p);
        if (p == LA_MEMC_PIECE_LAST || p == LA_MEMC_PIECE_ERROR || p == LA_MEMC_PIECE_BAD)
            break;
    }
    out[o] = 0;
}

static void reply(enum la_memc_expect e, const char *text, const char *wanted)
{
    size_t n = strlen(text);
    for (size_t cut = 0; cut <= n; cut++) {
        char out[1024];
        trace(e, text, n, cut, out, sizeof out);
        if (strcmp(out, wanted) != 0)
            fprintf(stderr, "%s at %zu: %s not %s\n", text, cut, out, wanted);
        CHECK(strcmp(out, wanted) == 0);
    }
}

static void test_replies(void)
{
    reply(LA_MEMC_EXPECT_LINE, "STORED\r\n", "L;");
    reply(LA_MEMC_EXPECT_LINE, "SERVER_ERROR out of memory\r\n", "E;");
    reply(LA_MEMC_EXPECT_LINE, "ERROR\r\n", "E;");
    reply(LA_MEMC_EXPECT_LINE, "\r\n", "B;");
    reply(LA_MEMC_EXPECT_LINE, "STORED\n", "B;");
    reply(LA_MEMC_EXPECT_LINE, "VALUE a 0 1\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "END\r\n", "L;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0 7\r\na\r\nEND\r\r\nEND\r\n", "Va;a\r\nEND\r\r\nL;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0 1 99\r\nx\r\nVALUE b 0 0\r\n\r\nEND\r\n", "Va;x\r\nVb;\r\nL;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0 -1\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0 99999999999\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "STORED\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a x 1\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0 1 x\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0 1 2 3\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "VALUE a 0 1x\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "ERROR\r\n", "E;");
    reply(LA_MEMC_EXPECT_VALUES, "ERRORS\r\n", "B;");
    reply(LA_MEMC_EXPECT_VALUES, "ERROR of it\r\n", "B;");
    reply(LA_MEMC_EXPECT_META, "VA x k\r\n", "B;");
    reply(LA_MEMC_EXPECT_META, "VALUE a 0 1\r\n", "B;");
    reply(LA_MEMC_EXPECT_META, "CLIENT_ERROR bad\r\n", "E;");
    reply(LA_MEMC_EXPECT_STATS, "VALUE a 0 1\r\n", "B;");
    reply(LA_MEMC_EXPECT_STATS, "STAT a 1\r\nSTAT b 2\r\nEND\r\n", "S;S;L;");
    reply(LA_MEMC_EXPECT_STATS, "RESET\r\n", "L;");
    reply(LA_MEMC_EXPECT_STATS, "PREFIX a get 1 hit 0 set 1 del 0\r\nEND\r\n", "S;L;");
    reply(LA_MEMC_EXPECT_META, "HD k1\r\n", "L;");
    reply(LA_MEMC_EXPECT_META, "VA 2 kx\r\nhi\r\n", "V;hi\r\nL;");
    reply(LA_MEMC_EXPECT_META, "EN\r\n", "L;");
    /* data that do not end where they should; how much of them is seen before depends on the cut */
    struct la_memc_reply r;
    struct la_memc_line l;
    size_t used;
    la_memc_reply_init(&r, LA_MEMC_EXPECT_VALUES);
    CHECK_EQ(la_memc_reply_feed(&r, "VALUE k 0 2\r\n", 13, &used, &l), LA_MEMC_PIECE_VALUE);
    CHECK_EQ(la_memc_reply_feed(&r, "hello\r\n", 7, &used, &l), LA_MEMC_PIECE_BAD);
    char line[LA_MEMC_REPLY_MAX + 8];
    memset(line, 'x', sizeof line);
    la_memc_reply_init(&r, LA_MEMC_EXPECT_LINE);
    CHECK_EQ(la_memc_reply_feed(&r, line, sizeof line, &used, &l), LA_MEMC_PIECE_BAD);
}

static void answers(enum la_memc_verb v, const char *yes, const char *no)
{
    struct la_slice all = la_slice_str(yes), line;
    for (const char *end; (end = memchr(all.p, '|', all.n)) != NULL; all = la_slice(end + 1, all.n - line.n - 1)) {
        line = la_slice(all.p, (size_t)(end - all.p));
        CHECK(la_memc_answers(v, line));
    }
    all = la_slice_str(no);
    for (const char *end; (end = memchr(all.p, '|', all.n)) != NULL; all = la_slice(end + 1, all.n - line.n - 1)) {
        line = la_slice(all.p, (size_t)(end - all.p));
        CHECK(!la_memc_answers(v, line));
    }
}

static void test_answers(void)
{
    answers(LA_MEMC_SET, "STORED|STORED\r\n|", "|END|NOT_STORED|STORED x|stored|STOREDX|DELETED|5|VALUE k 0 5|");
    answers(LA_MEMC_ADD, "STORED|NOT_STORED|", "EXISTS|NOT_FOUND|");
    answers(LA_MEMC_CAS, "STORED|EXISTS|NOT_FOUND|", "TOUCHED|");
    answers(LA_MEMC_INCR, "5|18446744073709551615|NOT_FOUND|5 \r\n|", "STORED|5x|5 6|-1|");
    answers(LA_MEMC_TOUCH, "TOUCHED|NOT_FOUND|", "DELETED|");
    answers(LA_MEMC_DELETE, "DELETED|NOT_FOUND|", "STORED|");
    answers(LA_MEMC_FLUSH_ALL, "OK|", "END|");
    answers(LA_MEMC_VERSION, "VERSION 1.6.18|", "OK|1.6|");
    answers(LA_MEMC_MG, "HD|HD kx|EN|", "END|NS|STORED|");
    answers(LA_MEMC_MS, "HD|NS|EX|NF|HD Ox|", "EN|STORED|MN|");
    answers(LA_MEMC_ME, "ME k exp=1|EN|", "HD|");
    answers(LA_MEMC_GET, "END|", "");
}

static void test_flags(void)
{
    CHECK(la_slice_eq(la_memc_flag(LA_SLICE(" s1 kab Oq"), 'k'), LA_SLICE("ab")));
    CHECK(la_slice_eq(la_memc_flag(LA_SLICE("b"), 'b'), LA_SLICE("")) && la_memc_flag(LA_SLICE("b"), 'b').p);
    CHECK(la_memc_flag(LA_SLICE("s1 kab"), 'O').p == NULL);
    static const struct {
        enum la_memc_verb verb;
        const char *line;
        bool hidden;
    } quiet[] = {
        {LA_MEMC_MG, "EN\r\n", true}, {LA_MEMC_MG, "HD\r\n", false}, {LA_MEMC_MG, "VA 1\r\n", false}, {LA_MEMC_MS, "HD\r\n", true},
        {LA_MEMC_MS, "NS\r\n", false}, {LA_MEMC_MD, "HD\r\n", true}, {LA_MEMC_MD, "NF\r\n", false}, {LA_MEMC_MA, "HD\r\n", true},
        {LA_MEMC_MA, "VA 1\r\n", true}, {LA_MEMC_MA, "NF\r\n", false}, {LA_MEMC_GET, "END\r\n", false}};
    for (size_t i = 0; i < la_count(quiet); i++)
        CHECK_EQ(la_memc_quiet_hides(quiet[i].verb, la_slice_str(quiet[i].line)), quiet[i].hidden);
}

static void test_echoes(void)
{
    static const struct {
        const char *asked, *flags;
        bool matches;
    } of[] = {
        {"mg k1 v\r\n", "", true},
        {"mg k1 v k O7\r\n", "kk1 O7", true},
        {"mg k1 v k O7\r\n", "O7", true},
        {"mg k1 v k O7\r\n", "kk2 O7", false},
        {"mg k1 v k O7\r\n", "kk1 O8", false},
        {"mg k1 v k O7\r\n", "kk1 O77", false},
        {"mg k1 v k\r\n", "kk1 O7", false},
        {"mg k1 v O7\r\n", "kk1 O7", false},
        {"ms k1 4 k O7\r\nO8 k\r\n", "kk1 O7", true},
        {"ms k1 4\r\nO8 k\r\n", "O8", false},
        {"mg Zm9v b k v\r\n", "kZm9v b", true},
        {"mg Zm9v b k v\r\n", "kZm9w b", false},
        {"mg foo k v\r\n", "kZm9v b", true}, /* it was stored with b: the same key, written so */
        {"mg Zm9v k v\r\n", "kZm9v b", false},
    };
    for (size_t i = 0; i < la_count(of); i++)
        CHECK_EQ(la_memc_meta_matches(la_slice_str(of[i].asked), la_slice_str(of[i].flags)), of[i].matches);
}

static void test_base64(void)
{
    static const char *const pairs[][2] = {
        {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}, {"\xff\xff", "//8="}};
    for (size_t i = 0; i < la_count(pairs); i++) {
        char out[64];
        size_t n = la_base64_encode(la_slice_str(pairs[i][0]), out, sizeof out);
        CHECK(la_slice_eq(la_slice(out, n), la_slice_str(pairs[i][1])));
        CHECK(la_base64_decode(la_slice_str(pairs[i][1]), out, sizeof out, &n));
        CHECK(la_slice_eq(la_slice(out, n), la_slice_str(pairs[i][0])));
    }
    static const char *const wrong[] = {
        "", "Z", "Zg=", "Zg===", "Z===", "====", "Zg==Zg==", "Zm9v ", "Z-9v", "Zg=v"};
    for (size_t i = 0; i < la_count(wrong); i++) {
        char out[64];
        size_t n;
        CHECK(!la_base64_decode(la_slice_str(wrong[i]), out, sizeof out, &n));
    }
    char small[5];
    size_t n;
    CHECK_EQ(la_base64_encode(LA_SLICE("foobar"), small, sizeof small), 0);
    CHECK(!la_base64_decode(LA_SLICE("Zm9vYmFy"), small, sizeof small, &n));
}

int main(void)
{
    test_writes();
    test_refused();
    test_long_lines();
    test_replies();
    test_answers();
    test_flags();
    test_echoes();
    test_base64();
    return TEST_DONE();
}
