/* tools_requests.c: files of requests and access logs as lists for the load generator: what they give, and where they
 * are wrong. */
#include "test.h"

#include "tools/bench_requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char file[] = "/tmp/lastack-requests-XXXXXX", body_file[] = "/tmp/lastack-body-XXXXXX";

static void write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    CHECK(f && fwrite(text, 1, n, f) == n && fclose(f) == 0);
}

static bool read_text(struct bench_requests *r, const char *text, struct la_text *why)
{
    *r = (struct bench_requests){0};
    write_file(file, text, strlen(text));
    return bench_requests_read(r, file, why);
}

static bool replay_text(struct bench_requests *r, const char *text, bool unsafe, struct la_text *why)
{
    *r = (struct bench_requests){0};
    write_file(file, text, strlen(text));
    return bench_requests_replay(r, file, unsafe, why);
}

static void same(const char *found, const char *wanted)
{
    if (wanted == NULL ? found != NULL : found == NULL || strcmp(found, wanted) != 0) {
        fprintf(stderr, "found %s, wanted %s\n", found ? found : "(null)", wanted ? wanted : "(null)");
        abort();
    }
}

static void is(const struct la_load_ask *a, const char *method, const char *target, const char *host,
               const char *headers, const char *body)
{
    same(a->method, method);
    same(a->target, target);
    same(a->host, host);
    same(a->headers, headers);
    CHECK((a->body != NULL) == (body != NULL));
    if (body)
        CHECK(a->body_n == strlen(body) && memcmp(a->body, body, a->body_n) == 0);
}

static void reads_lines(void)
{
    struct bench_requests r;
    struct la_text why = {0};
    char text[1024];
    write_file(body_file, "{\"a\": 1}\n", 9);
    snprintf(text, sizeof(text),
             "# requests\n"
             "GET /a?b=c\r\n"
             "\n"
             "/bare\n"
             "https://h.test:8080\n"
             "http://h.test?q=1\n"
             "POST /p %s\n"
             "PUT http://x.test/y#part\n"
             "Content-Type: text/plain  \n"
             "# between\n"
             "Connection: close\n"
             "Content-Length: 7\n"
             "host: z.test\n"
             "X-A:1\n"
             "@%s\n"
             "OPTIONS *",
             body_file, body_file);
    CHECK(read_text(&r, text, &why));
    CHECK(r.asks == 7 && !r.timed && !r.cut && r.left_out == 0);
    is(&r.ask[0], "GET", "/a?b=c", NULL, NULL, NULL);
    is(&r.ask[1], "GET", "/bare", NULL, NULL, NULL);
    is(&r.ask[2], "GET", "/", "h.test:8080", NULL, NULL);
    is(&r.ask[3], "GET", "/?q=1", "h.test", NULL, NULL);
    is(&r.ask[4], "POST", "/p", NULL, NULL, "{\"a\": 1}\n");
    is(&r.ask[5], "PUT", "/y", "z.test", "Content-Type: text/plain\r\nX-A: 1\r\n", "{\"a\": 1}\n");
    is(&r.ask[6], "OPTIONS", "*", NULL, NULL, NULL);
    bench_requests_fini(&r);
}

static void reads_json(void)
{
    struct bench_requests r;
    struct la_text why = {0};
    CHECK(read_text(
        &r,
        "{\"method\": \"POST\", \"url\": \"http://v.test/x\", \"header\": {\"X-A\": [\"1\", \"2\"], \"X-B\": \"\"}, "
        "\"body\": \"aGVsbG8=\"}\n"
        "{\"path\": \"/p\"}\n"
        "{\"url\": \"/q\", \"body\": \"\"}\n",
        &why));
    CHECK(r.asks == 3);
    is(&r.ask[0], "POST", "/x", "v.test", "X-A: 1\r\nX-A: 2\r\nX-B: \r\n", "hello");
    is(&r.ask[1], "GET", "/p", NULL, NULL, NULL);
    is(&r.ask[2], "GET", "/q", NULL, NULL, "");
    bench_requests_fini(&r);
}

/* Each bad file: what is said begins with file:line. */
static void says_where(void)
{
    static const struct {
        const char *text, *said;
        unsigned line;
    } bad[] = {
        {"GET /a\nget /b\n", "not a request", 2},
        {"GET\n", "not a path or URL", 1},
        {"GET a\n", "not a path or URL", 1},
        {"GET http:///a\n", "not a path or URL", 1},
        {"GET /a\x01\n", "not a path or URL", 1},
        {"\n\nX-A: 1\n", "no request above", 3},
        {"GET /a\n\nX-A: 1\n", "no request above", 3},
        {"@file\n", "no request above", 1},
        {"GET /a\nX A: 1\n", "not a path", 2},
        {"GET /a\n\xffX: 1\n", "bad field name", 2},
        {"GET /a\nX: a\x01\n", "control character", 2},
        {"GET /a\nHost: a/b\n", "not a host: a/b", 2},
        {"GET /\xc3\xa4\n", "not a path or URL", 1},
        {"GET http://a@b/\n", "not a path or URL", 1},
        {"POST /a /does/not/exist\n", "No such file", 1},
        {"{\"url\": \"/a\"\n", "not JSON at column 13", 1},
        {"{\"url\": 1}\n", "no \"url\"", 1},
        {"{\"url\": \"a\"}\n", "not a path", 1},
        {"{\"url\": \"/\", \"method\": \"get\"}\n", "\"method\"", 1},
        {"{\"url\": \"/\", \"body\": \"a\"}\n", "base64", 1},
        {"{\"url\": \"/\", \"body\": \"====\"}\n", "base64", 1},
        {"{\"url\": \"/\", \"header\": {\"X\": 1}}\n", "\"header\"", 1},
        {"{\"url\": \"/\", \"header\": [\"X\"]}\n", "\"header\"", 1},
        {"{\"url\": \"/\", \"header\": {\"X\": \"a\\nb\"}}\n", "control character", 1},
        {"{\"url\": \"/\", \"body\": \"\", \"body_file\": \"/dev/null\"}\n", "a body already", 1},
    };
    for (size_t i = 0; i < la_count(bad); i++) {
        struct bench_requests r;
        struct la_text why = {0};
        char where[64];
        snprintf(where, sizeof(where), "%s:%u: ", file, bad[i].line);
        bool good = read_text(&r, bad[i].text, &why);
        if (good || strncmp(why.p, where, strlen(where)) != 0 || !strstr(why.p, bad[i].said)) {
            fprintf(stderr, "case %zu: %s\n", i, good ? "taken" : why.p);
            abort();
        }
        la_text_fini(&why);
        bench_requests_fini(&r);
    }
}

static void says_what_is_missing(void)
{
    struct bench_requests r = {0};
    struct la_text why = {0};
    CHECK(!read_text(&r, "# nothing\n", &why) && strstr(why.p, "no requests in it"));
    la_text_fini(&why);
    CHECK(!bench_requests_read(&r, "/does/not/exist", &why) && strstr(why.p, "/does/not/exist: No such file"));
    la_text_fini(&why);
    write_file(file, "GET /\0\n", 7);
    CHECK(!bench_requests_read(&r, file, &why) && strstr(why.p, ":1: a NUL byte"));
    la_text_fini(&why);
    bench_requests_fini(&r);
}

static void replays_combined(void)
{
    struct bench_requests r;
    struct la_text why = {0};
    /* out of order by a second, three zones of one time, an escape, what is left out, lastack's own tail */
    static const char log[] =
        "192.0.2.1 - - [10/Oct/2026:13:55:37 +0000] \"GET /b HTTP/1.1\" 200 1 \"-\" \"a \\\" b\"\n"
        "192.0.2.1 - frank [10/Oct/2026:13:55:36 +0000] \"GET /a\\x7b HTTP/1.1\" 200 2326\n"
        "www.test:80 192.0.2.1 - - [10/Oct/2026:15:55:37 +0200] \"HEAD /c HTTP/1.0\" 304 - \"-\" \"-\"\n"
        "::1 - - [10/Oct/2026:13:55:38 +0000] \"POST /d HTTP/1.1\" 200 1 \"-\" \"-\" upstream=app server=x total=1.234 "
        "error=-\n"
        "::1 - - [10/Oct/2026:13:55:38 +0000] \"-\" 400 0 \"-\" \"-\"\n"
        "::1 - - [10/Oct/2026:13:55:38 +0000] \"\\x16\\x03\\x01\" 400 0 \"-\" \"-\"\n"
        "::1 - - [10/Oct/2026:13:55:38 +0000] \"\" 400 0 \"-\" \"-\"\n"
        "::1 - - [10/Oct/2026:13:55:38 +0000] \"GET /with space HTTP/1.1\" 400 0 \"-\" \"-\"\n"
        "::1 - - [10/Oct/2026:09:55:39 -0400] \"GET http://abs.test/e HTTP/1.1\" 200 0\n";
    CHECK(replay_text(&r, log, false, &why));
    CHECK(r.asks == 4 && r.timed && r.left_out == 5);
    is(&r.ask[0], "GET", "/a{", NULL, NULL, NULL);
    is(&r.ask[1], "GET", "/b", NULL, NULL, NULL);
    is(&r.ask[2], "HEAD", "/c", "www.test:80", NULL, NULL);
    is(&r.ask[3], "GET", "/e", "abs.test", NULL, NULL);
    CHECK(r.ask[0].at_us == 0 && r.ask[1].at_us == 1000000 && r.ask[2].at_us == 1500000 && r.ask[3].at_us == 3000000);
    bench_requests_fini(&r);
    CHECK(replay_text(&r, log, true, &why));
    CHECK(r.asks == 5 && r.left_out == 4);
    is(&r.ask[3], "POST", "/d", NULL, NULL, NULL);
    bench_requests_fini(&r);
}

static void replays_json(void)
{
    struct bench_requests r;
    struct la_text why = {0};
    CHECK(replay_text(&r,
                      "{\"time\":\"2026-01-02T03:04:05.250Z\",\"listener\":\"web\",\"client\":\"::1\",\"method\":"
                      "\"GET\",\"host\":\"a.test\","
                      "\"target\":\"/late\",\"status\":200,\"total_ms\":50.5}\n"
                      "{\"time\":\"2026-01-02T03:04:05.300Z\",\"method\":\"GET\",\"host\":\"\",\"target\":\"/"
                      "early\",\"total_ms\":200}\n"
                      "{\"time\":\"2026-01-02T03:04:05.300Z\",\"listener\":\"mc\",\"command\":\"get\",\"key\":\"k\"}\n"
                      "{\"time\":\"2026-01-02T03:04:05.300Z\",\"method\":\"DELETE\",\"target\":\"/x\"}\n"
                      "{\"time\":\"2026-01-02T04:04:05.5+01:00\",\"method\":\"GET\",\"uri\":\"/zone\"}\n",
                      false, &why));
    CHECK(r.asks == 3 && r.timed && r.left_out == 2);
    is(&r.ask[0], "GET", "/early", NULL, NULL, NULL);
    is(&r.ask[1], "GET", "/late", "a.test", NULL, NULL);
    is(&r.ask[2], "GET", "/zone", NULL, NULL, NULL);
    CHECK(r.ask[0].at_us == 0 && r.ask[1].at_us == 99500 && r.ask[2].at_us == 400000);
    bench_requests_fini(&r);
    CHECK(replay_text(&r, "{\"method\":\"GET\",\"path\":\"/\"}\n", false, &why) && r.asks == 1 && !r.timed && r.untimed == 0);
    bench_requests_fini(&r);
}

static void at_times(const struct bench_requests *r, const uint64_t *us, size_t n)
{
    CHECK_EQ(r->asks, n);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(r->ask[i].at_us, us[i]);
}

/* The same time, as others write it; what is no time is left out and counted, where others have one. */
static void reads_times(void)
{
    static const char *const time[] = {
        "\"time\":\"2026-01-02T03:04:05.250Z\"", "\"@timestamp\":\"2026-01-02T04:04:05.250+01:00\"",
        "\"time\":1767323045.25", "\"ts\":1767323045250", "\"msec\":\"1767323045.250\"", "\"time\":0.2,\"timestamp\":1767323045250000",
        "\"time\":\"-\",\"time_iso8601\":\"2026-01-02T03:04:05.25Z\"", "\"time_local\":\"02/Jan/2026:03:04:05 +0000\"",
    };
    for (size_t i = 0; i < la_count(time); i++) {
        struct bench_requests r;
        struct la_text why = {0};
        char log[1024];
        snprintf(log, sizeof(log), "{\"method\":\"GET\",\"path\":\"/b\",%s}\n{\"method\":\"GET\",\"path\":\"/none\"}\n"
                 "{\"method\":\"GET\",\"path\":\"/none\",\"time\":true,\"ts\":\"yesterday\"}\n"
                 "{\"method\":\"GET\",\"path\":\"/none\",\"time\":\"-2147483648-01-02T03:04:05Z\"}\n"
                 "{\"method\":\"GET\",\"path\":\"/none\",\"time\":\"2026-01-02T03:04:1e300Z\"}\n"
                 "{\"method\":\"GET\",\"path\":\"/none\",\"time\":\"2026-01-02T03:04:nan\"}\n"
                 "{\"method\":\"GET\",\"path\":\"/a\",\"time\":\"2026-01-02T03:04:04.000Z\"}\n", time[i]);
        CHECK(replay_text(&r, log, false, &why) && r.timed && r.asks == 2 && r.untimed == 5 && r.left_out == 0);
        same(r.ask[1].target, "/b");
        CHECK_EQ(r.ask[1].at_us, strstr(time[i], "time_local") ? 1000000 : 1250000);
        bench_requests_fini(&r);
    }
}

/* Only who knows whole seconds alone is spread over them; what comes out is sorted, whoever wrote the lines. */
static void spreads_whole_seconds(void)
{
#define CLF(second)     "::1 - - [10/Oct/2026:13:55:" second " +0000] \"GET /c HTTP/1.1\" 200 1\n"
#define EPOCH(time)     "{\"msec\":17673230" time ",\"method\":\"GET\",\"target\":\"/j\"}\n"
#define JSON(time, took) "{\"time\":\"2026-10-10T13:55:" time "Z\",\"method\":\"GET\",\"target\":\"/j\"" took "}\n"
    static const struct {
        const char *log;
        uint64_t us[6];
        size_t n;
    } c[] = {
        {JSON("01.000", "") JSON("01.000", "") JSON("01.400", ""), {0, 0, 400000}, 3},
        {JSON("01.500", ",\"total_ms\":500") JSON("01.200", ",\"total_ms\":200") JSON("01.400", ""), {0, 0, 400000}, 3},
        {JSON("01.000", "") JSON("01.000", "") JSON("02.000", ""), {0, 0, 1000000}, 3},
        {JSON("01", "") JSON("01", "") JSON("02", ""), {0, 500000, 1000000}, 3},
        {EPOCH("10") EPOCH("10") EPOCH("11"), {0, 500000, 1000000}, 3},
        {CLF("01") CLF("01") CLF("01") CLF("01") CLF("02"), {0, 250000, 500000, 750000, 1000000}, 5},
        {CLF("01") JSON("01.000", "") JSON("01.100", "") CLF("01") JSON("01.000", "") JSON("01.600", ""),
         {0, 0, 0, 100000, 500000, 600000}, 6},
    };
    for (size_t i = 0; i < la_count(c); i++) {
        struct bench_requests r;
        struct la_text why = {0};
        CHECK(replay_text(&r, c[i].log, false, &why) && r.timed);
        at_times(&r, c[i].us, c[i].n);
        bench_requests_fini(&r);
    }
#undef CLF
#undef EPOCH
#undef JSON
}

static void says_where_a_log_is_wrong(void)
{
    static const struct {
        const char *text, *said;
    } bad[] = {
        {"hello\n", "not a line of an access log"},
        {"::1 - - [yesterday] \"GET / HTTP/1.1\" 200 1\n", "not a time: yesterday"},
        {"::1 - - [10/Foo/2026:13:55:37 +0000] \"GET / HTTP/1.1\" 200 1\n", "not a time"},
        {"::1 - - [10/Oct/2026:13:55:37 +0000] \"GET / HTTP/1.1\n", "no request and status"},
        {"::1 - - [10/Oct/2026:13:55:37 +0000] \"GET / HTTP/1.1\" OK\n", "no request and status"},
        {"{\"time\":\n", "not JSON"},
    };
    for (size_t i = 0; i < la_count(bad); i++) {
        struct bench_requests r;
        struct la_text why = {0};
        char text[256], where[64];
        snprintf(text, sizeof(text), "::1 - - [10/Oct/2026:13:55:37 +0000] \"GET / HTTP/1.1\" 200 1\n%s", bad[i].text);
        snprintf(where, sizeof(where), "%s:2: ", file);
        bool good = replay_text(&r, text, false, &why);
        if (good || strncmp(why.p, where, strlen(where)) != 0 || !strstr(why.p, bad[i].said)) {
            fprintf(stderr, "log case %zu: %s\n", i, good ? "taken" : why.p);
            abort();
        }
        la_text_fini(&why);
        bench_requests_fini(&r);
    }
    struct bench_requests r;
    struct la_text why = {0};
    CHECK(!replay_text(&r, "::1 - - [10/Oct/2026:13:55:37 +0000] \"POST / HTTP/1.1\" 200 1\n", false, &why));
    CHECK(strstr(why.p, "GET, HEAD and OPTIONS alone"));
    la_text_fini(&why);
    bench_requests_fini(&r);
}

/* More than one block of strings and more than the bound of requests. */
static void is_bounded(void)
{
    struct bench_requests r = {0};
    struct la_text why = {0};
    FILE *f = fopen(file, "w");
    CHECK(f);
    for (unsigned i = 0; i < BENCH_REQUESTS_MOST + 2; i++)
        fprintf(f, "/%u\n", i);
    fclose(f);
    CHECK(bench_requests_read(&r, file, &why));
    CHECK(r.asks == BENCH_REQUESTS_MOST && r.cut);
    char last[24];
    snprintf(last, sizeof(last), "/%u", BENCH_REQUESTS_MOST - 1);
    is(&r.ask[BENCH_REQUESTS_MOST - 1], "GET", last, NULL, NULL, NULL);
    for (size_t i = 0; i < r.asks; i++)
        r.ask[i].at_us = UINT64_MAX; /* as those of a log without times */
    static const char log[] = "{\"method\":\"GET\",\"path\":\"/\"}\n{\"method\":\"GET\",\"path\":\"/\"}\n";
    r.cut = false;
    write_file(file, log, strlen(log));
    CHECK(bench_requests_replay(&r, file, false, &why) && r.asks == BENCH_REQUESTS_MOST && r.cut && r.left_out == 0);
    bench_requests_fini(&r);
}

int main(void)
{
    close(mkstemp(file));
    close(mkstemp(body_file));
    reads_lines();
    reads_json();
    says_where();
    says_what_is_missing();
    replays_combined();
    replays_json();
    reads_times();
    spreads_whole_seconds();
    says_where_a_log_is_wrong();
    is_bounded();
    unlink(file);
    unlink(body_file);
    return TEST_DONE();
}
