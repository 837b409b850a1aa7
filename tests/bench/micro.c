/* micro.c: one operation of the codec, the pool or the ledger, N times; for counting its instructions.
 *
 *   bench_micro NAME N        bench_micro list
 *
 * The benchmark runs it under callgrind with two N and takes the difference, so that start and end cancel out
 * and no clock is involved. Inputs are what the workloads' clients and origin send. Every operation folds
 * what it made into `sink`, so that nothing can be left out by the compiler. One thread. */
#include "lastack/ledger.h"
#include "lastack/pool.h"
#include "lastack/slab.h"
#include "proto/http1.h"

#include <stdio.h>
#include <stdlib.h>

static const char small_request[] = "GET /index.html?a=1 HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: "
                                    "bench/1\r\nAccept: */*\r\nConnection: close\r\n\r\n";
static const char browser_request[] =
    "GET /shop/item/4711?ref=mail&lang=en HTTP/1.1\r\nHost: www.bench.test\r\nConnection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 "
    "Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
    "Referer: https://www.bench.test/shop/\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: "
    "en-GB,en;q=0.9\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=1,2,3,4,5\r\n\r\n";
static const char response[] =
    "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n";

static volatile uint64_t sink;
static struct la_http_head head;
static const struct la_http_limits limits = {.head_bytes = 32768, .headers = 128};

static void parse_request(const char *p, size_t n)
{
    size_t seen = 0;
    enum la_err e = LA_OK;
    la_assert(la_http_parse_request(&head, p, n, &seen, &limits, &e) == LA_HTTP_DONE);
    sink += head.headers;
}

static void request_small(uint64_t n)
{
    while (n--)
        parse_request(small_request, sizeof(small_request) - 1);
}

static void request_browser(uint64_t n)
{
    while (n--)
        parse_request(browser_request, sizeof(browser_request) - 1);
}

static void parse_response(void)
{
    size_t seen = 0;
    enum la_err e = LA_OK;
    la_assert(la_http_parse_response(&head, response, sizeof(response) - 1, &seen, &limits, LA_METHOD_GET, false, &e) ==
              LA_HTTP_DONE);
    sink += head.headers;
}

static void response_small(uint64_t n)
{
    while (n--)
        parse_response();
}

/* The fields as the proxy hands them on: those of the head that stands in `head`, and what it adds. */
static void fill(struct la_fields *f, bool request)
{
    f->head = &head;
    if (request) {
        la_fields_add(f, LA_SLICE("X-Forwarded-For"), LA_SLICE("127.0.0.1"));
        la_fields_add(f, LA_SLICE("X-Forwarded-Proto"), LA_SLICE("http"));
        la_fields_add(f, LA_SLICE("X-Forwarded-Host"), LA_SLICE("bench.test"));
    }
    la_fields_add(f, LA_SLICE("Via"), LA_SLICE("1.1 lastack"));
}

static void write_request(uint64_t n)
{
    static struct la_fields f;
    char out[4096];
    parse_request(small_request, sizeof(small_request) - 1);
    fill(&f, true);
    while (n--) {
        struct la_http_writer w;
        la_http_writer_init(&w, out, sizeof(out));
        la_http_write_request_line(&w, head.method_text, head.target);
        la_http_write_header(&w, LA_SLICE("Host"), head.host);
        la_http1_write_fields(&w, &f);
        la_http_write(&w, LA_SLICE("\r\n"));
        sink += w.n;
    }
}

static void write_response(uint64_t n)
{
    static struct la_fields f;
    char out[4096];
    parse_response();
    fill(&f, false);
    while (n--) {
        struct la_http_writer w;
        la_http_writer_init(&w, out, sizeof(out));
        la_http_write_status(&w, 200, LA_SLICE("OK"));
        la_http1_write_fields(&w, &f);
        la_http_write_length(&w, 128);
        la_http_write(&w, LA_SLICE("\r\n"));
        sink += w.n;
    }
}

static void chunked_16k(uint64_t n)
{
    static char body[1 << 14];
    static const char tail[] = "\r\n0\r\n\r\n";
    memset(body, 'x', sizeof(body));
    memcpy(body, "3f00\r\n", 6);
    memcpy(body + 6 + 0x3f00, tail, sizeof(tail) - 1);
    size_t all = 6 + 0x3f00 + sizeof(tail) - 1;
    head.framing = LA_FRAMING_CHUNKED;
    while (n--) {
        struct la_http_body b;
        struct la_slice piece;
        enum la_err e = LA_OK;
        la_http_body_init(&b, &head, NULL, 0);
        for (size_t at = 0; !b.done;) {
            at += la_http_body_feed(&b, body + at, all - at, &piece, &e);
            sink += piece.n;
        }
    }
}

static struct la_addr ipv4(unsigned last)
{
    struct la_addr a = {.len = sizeof(struct sockaddr_in)};
    a.u.in.sin_family = AF_INET;
    a.u.in.sin_addr.s_addr = htonl(0x0a000000u | last);
    a.u.in.sin_port = htons(80);
    return a;
}

/* Taken and given back, with sixteen idle ones beside it. */
static void pool_cycle(uint64_t n)
{
    static struct la_conf_upstream conf;
    static struct la_pool pool;
    static struct la_pool_item item[16];
    struct la_addr a = ipv4(1);
    uint64_t now = 1000000000000u;
    conf.pool.idle_reuse_ms = conf.pool.idle_close_ms = LA_AUTO;
    struct la_server *s = la_server_new("app", "10.0.0.1:80", &a, 1);
    atomic_store(&s->max, 64);
    la_pool_init(&pool, s, &conf, 0);
    for (size_t i = 0; i < la_count(item); i++) {
        la_pool_add(&pool, &item[i], LA_CONN_BUSY, now);
        la_pool_move(&pool, &item[i], LA_CONN_IDLE, now);
    }
    while (n--) {
        now += 50000;
        struct la_pick p = la_pool_pick(&pool, now, true, false);
        la_pool_move(&pool, p.item, LA_CONN_BUSY, now);
        sink += la_pool_says_goodbye(&pool, p.item, now);
        la_pool_move(&pool, p.item, LA_CONN_IDLE, now + 20000);
    }
}

static unsigned all_usable(uint16_t low, uint16_t high)
{
    return (unsigned)(high - low) + 1;
}

static void ledger_cycle(uint64_t n)
{
    struct la_addr to = ipv4(1);
    struct la_source_spec spec[4] = {0};
    for (unsigned i = 0; i < la_count(spec); i++)
        spec[i].address = ipv4(10 + i);
    struct la_ledger *l = la_ledger_new(&to, spec, la_count(spec), 32768, 60999, all_usable);
    while (n--) {
        struct la_port_pair *p = la_ledger_take(l, 1, 0);
        sink += p->ports;
        la_ledger_give(p, false);
    }
    la_ledger_free(&l);
}

static void slab_cycle(uint64_t n)
{
    struct la_slab s;
    la_slab_init(&s, 1024, 64);
    while (n--) {
        void *p = la_slab_get(&s);
        sink += p != NULL;
        la_slab_put(&s, p);
    }
    la_slab_fini(&s);
}

static const struct {
    const char *name;
    void (*run)(uint64_t n);
} operation[] = {
    {"parse_request", request_small},   {"parse_request_browser", request_browser},
    {"parse_response", response_small}, {"write_request", write_request},
    {"write_response", write_response}, {"chunked_16k", chunked_16k},
    {"pool_cycle", pool_cycle},         {"ledger_cycle", ledger_cycle},
    {"slab_cycle", slab_cycle},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < la_count(operation); i++) {
        if (argc == 2 && strcmp(argv[1], "list") == 0)
            puts(operation[i].name);
        if (argc == 3 && strcmp(argv[1], operation[i].name) == 0) {
            operation[i].run(strtoull(argv[2], NULL, 10));
            return 0;
        }
    }
    if (argc != 2) {
        fprintf(stderr, "usage: bench_micro NAME N | bench_micro list\n");
        return 2;
    }
    return 0;
}
