/* tools_load.c: the load generator against the embedded origin, both as threads of this program: what is counted, and
 * that the counts agree with the origin's and with each other. */
#include "test.h"

#include "tools/load_private.h"
#include "tools/origin.h"

#include <stdatomic.h>
#include <unistd.h>

static struct la_origin *origin;
static pthread_t origin_thread;
static struct la_load_result r;

static void *run_origin(void *arg)
{
    la_origin_run(arg);
    return NULL;
}

static struct la_load_conf start_origin(const char *address, struct la_origin_conf o)
{
    struct la_load_conf c;
    const char *why = NULL;
    CHECK(la_addr_parse(&o.listen, la_slice_str(address), true, &why));
    o.size = o.size ? o.size : 100;
    origin = la_origin_new(&o);
    CHECK(origin);
    CHECK(pthread_create(&origin_thread, NULL, run_origin, origin) == 0);
    la_load_defaults(&c);
    c.target = *la_origin_address(origin);
    return c;
}

static void end_origin(void)
{
    la_origin_stop(origin);
    pthread_join(origin_thread, NULL);
    la_origin_free(origin);
}

static void run(const struct la_load_conf *c)
{
    const char *why = NULL;
    struct la_load *l = la_load_new(c, &why);
    if (!l)
        fprintf(stderr, "%s\n", why);
    CHECK(l && la_load_start(l));
    la_load_wait(l);
    la_load_read(l, &r);
    la_load_free(l);
}

static uint64_t heat(size_t from, size_t to)
{
    uint64_t n = 0;
    for (size_t i = from; i < to; i++)
        for (size_t k = 0; k < LA_LOAD_LEVELS; k++)
            n += r.heat[i][k];
    return n;
}

static void no_failures(void)
{
    if (la_load_failures(&r))
        fprintf(stderr, "%s\n", r.first_failure);
    CHECK_EQ(la_load_failures(&r), 0);
    CHECK_EQ(r.latency_us.count, r.n.done + r.n.unstarted); /* what was due and had to wait to the end */
    CHECK_EQ(heat(0, LA_LOAD_SLICES), r.n.done);
    CHECK(r.n.timely <= r.n.done);
}

/* Short and kept clients, over TCP and over a Unix socket, with bodies in both directions. */
static void counts(const char *address)
{
    struct la_load_conf c = start_origin(address, (struct la_origin_conf){.size = 200000});
    c.requests = 400;
    c.clients = 8;
    c.threads = 2;
    c.keepalive_percent = 50;
    c.method = "GET=40,POST=40,HEAD=20";
    c.body_bytes = 50000;
    run(&c);
    no_failures();
    CHECK_EQ(r.n.started, 400);
    CHECK_EQ(r.n.done, 400);
    CHECK_EQ(r.n.connections + r.n.reused, 400);
    CHECK(r.n.reused > 0 && r.n.connections > 8);
    CHECK_EQ(r.n.unechoed + r.n.mixed, 0);
    CHECK_EQ(la_origin_counts(origin)->requests, 400);
    CHECK_EQ(la_origin_counts(origin)->closed_by_peer_rst, 0);
    c.no_token = true; /* bodies are skipped */
    run(&c);
    no_failures();
    CHECK_EQ(r.n.done, 400);
    CHECK(r.n.bytes_in > 100ull * 200000);
    end_origin();
}

/* What was asked in the warm-up is not counted; the bound on requests begins after it. */
static void warms_up(void)
{
    struct la_load_conf c = start_origin("127.0.0.1:0", (struct la_origin_conf){0});
    c.clients = 4;
    c.keepalive_percent = 100;
    c.gap_min_ms = c.gap_max_ms = 1;
    c.warmup_ms = 1000;
    c.requests = 100;
    run(&c);
    no_failures();
    CHECK(r.n.started >= 100 &&
          r.n.started < 110); /* those under way at the boundary are counted twice: once begun, once done */
    CHECK(r.n.done >= 100 && r.n.done < 110);
    CHECK(la_origin_counts(origin)->requests > r.n.done + 8);
    CHECK_EQ(r.n.connections, 0); /* all were made before */
    CHECK(r.window_ns <= r.elapsed_ns && !r.warming);
    end_origin();
}

/* One worker that needs 10 ms serves 100 a second: at 500 a second most never start, and what does is slow, but the
 * generator is late with none: each is sent as soon as a client is free. */
static void overloads(void)
{
    struct la_load_conf c = start_origin("127.0.0.1:0", (struct la_origin_conf){.workers = 1, .delay_us = 10000});
    c.clients = 4;
    c.rate = 500;
    c.duration_ms = 500;
    c.keepalive_percent = 100;
    run(&c);
    no_failures();
    CHECK(r.n.started <= 60);
    CHECK_EQ(r.n.started + r.n.unstarted, 250);
    CHECK(r.n.timely >= r.n.started - 4);
    CHECK(la_hist_quantile_us(&r.latency_us, 0.9) > 200000); /* from the intended time */
    CHECK_EQ(r.late_us.count, r.n.started);
    CHECK(la_hist_quantile_us(&r.late_us, 0.9) < la_hist_quantile_us(&r.latency_us, 0.9) / 10);
    CHECK(r.window_ns >= 500000000 && r.elapsed_ns >= r.window_ns);
    CHECK(heat(0, 20) < heat(20, LA_LOAD_SLICES));
    end_origin();
}

/* A list is asked in order, over and over; in its own time; at random. */
static void asks(void)
{
    static char large[100000];
    struct la_load_conf c = start_origin("127.0.0.1:0", (struct la_origin_conf){0});
    struct la_load_ask ask[] = {
        {.method = "GET", .target = "/?status=200", .host = "a.test", .headers = "X-A: 1\r\n"},
        {.method = "HEAD", .target = "/?status=404", .at_us = 1000},
        {.method = "POST", .target = "/?status=201", .body = "0123456789", .body_n = 10, .at_us = 2000},
        {.method = "PUT", .target = "/?status=202", .body = large, .body_n = sizeof(large), .at_us = 3000},
        {.method = "DELETE", .target = "/?status=204", .at_us = 50000},
    };
    static const unsigned status[] = {200, 404, 201, 202, 204};
    c.ask = ask;
    c.asks = 5;
    c.requests = 100;
    c.keepalive_percent = 50;
    for (unsigned order = LA_LOAD_CYCLE; order <= LA_LOAD_TIMED; order++) {
        c.order = order;
        c.speed = 10;
        uint64_t before = la_origin_counts(origin)->request_body_bytes;
        run(&c);
        CHECK_EQ(r.n.done, 100);
        CHECK_EQ(la_load_failures(&r), r.status[404]);
        for (unsigned i = 0; i < 5; i++)
            CHECK(order == LA_LOAD_RANDOM ? r.status[status[i]] > 0 : r.status[status[i]] == 20);
        CHECK_EQ(la_origin_counts(origin)->request_body_bytes - before,
                 10 * r.status[201] + sizeof(large) * r.status[202]);
    }
    CHECK_EQ(r.late_us.count, 100);
    CHECK(r.elapsed_ns > 19 * 6250000ull); /* a lap: 50 ms and the mean gap of 12.5 ms, ten times as fast */
    end_origin();
}

static void nothing_there(void)
{
    struct la_load_conf c = start_origin("127.0.0.1:0", (struct la_origin_conf){0});
    end_origin();
    c.requests = 20;
    run(&c);
    CHECK_EQ(r.n.refused, 20);
    CHECK_EQ(la_load_failures(&r), 20);
    CHECK(strstr(r.first_failure, "connect: Connection refused"));
}

/* {n} and {token} in the fields that all requests have; a list's own are sent as they are. */
static void templates(void)
{
    static const struct la_load_ask ask = {.method = "GET", .target = "/{n}", .headers = "X-Own: {n}\r\n"};
    struct la_load_conf c;
    const char *why = NULL;
    la_load_defaults(&c);
    CHECK(la_addr_parse(&c.target, LA_SLICE("127.0.0.1:1"), true, &why));
    c.requests = c.asks = 1;
    c.ask = &ask;
    c.headers = "X-All: {n}\r\n";
    struct la_load *l = la_load_new(&c, &why);
    struct client *one = &l->thread[0].client[0];
    one->seq = 7;
    load_http.make(one);
    CHECK(memmem(one->out, one->out_n, "GET /{n} ", 9) && memmem(one->out, one->out_n, "X-Own: {n}\r\n", 12));
    CHECK(memmem(one->out, one->out_n, "X-All: 7\r\n", 10));
    la_load_free(l);
}

static void mixes(void)
{
    static const char *const good[] = {"GET", "GET=100", "GET=70,POST=30"},
                      *const bad[] = {"", "=100", "GET=0", "GET=nan", "GET=-1", "GET=1", "GET=100,", "GET=1e400", "GET=50,POST", "GET=x"};
    struct la_load_conf c;
    const char *why = NULL;
    la_load_defaults(&c);
    CHECK(la_addr_parse(&c.target, LA_SLICE("127.0.0.1:1"), true, &why));
    c.requests = 1;
    for (size_t i = 0; i < la_count(good); i++) {
        c.method = good[i];
        struct la_load *l = la_load_new(&c, &why);
        CHECK(l != NULL);
        la_load_free(l);
    }
    for (size_t i = 0; i < la_count(bad); i++) {
        c.method = bad[i];
        CHECK(la_load_new(&c, &why) == NULL && strstr(why, "a mix that adds up to 100"));
    }
}

int main(void)
{
    templates();
    mixes();
    char path[64];
    snprintf(path, sizeof(path), "unix:/tmp/lastack-load-%d.sock", (int)getpid());
    counts("127.0.0.1:0");
    counts(path);
    unlink(path + 5);
    warms_up();
    overloads();
    asks();
    nothing_there();
    return TEST_DONE();
}
