/* upstream_line.c: a line against a model: clients ask at random, the server answers in pieces, hangs up, says what nobody asked
 * for, stays silent. Whatever happens: every ask is over exactly once, with its own reply or an error; a client's asks reach the
 * server in its order; what is not safe reaches it once; nothing is left. The network is replaced: these are line.c and lane.c
 * themselves over a socket made of two buffers. The seed is printed when it fails. */
#include "upstream/internal.h"
#include "test.h"

#include <string.h>

static uint64_t now_ns = 1000000000;
static struct la_conn *up; /* the connection, while there is one */
static void (*dial_cb)(void *, struct la_conn *, enum la_err);
static void *dial_arg;
static struct la_idle *deferred;
static uint64_t timer_due; /* 0: not set */
static struct la_timer *timer;
static char to_server[1 << 20], to_proxy[1 << 20];
static size_t to_server_n, to_proxy_n, to_proxy_at;
static bool hung_up;
static bool wide; /* the socket takes all there is, and counts it only */
static size_t taken;
static int wanted;
static uint64_t seed, random_state;

static unsigned dice(unsigned n)
{
    return (unsigned)(la_random(&random_state) % n);
}

static uint64_t fake_now(const struct la_upstreams *u)
{
    (void)u;
    return now_ns;
}

static bool fake_dial(struct la_outlet *o, void (*cb)(void *, struct la_conn *, enum la_err), void *arg)
{
    CHECK(up == NULL && dial_cb == NULL);
    if (dice(8) == 0)
        return false; /* no port now */
    (void)o;
    dial_cb = cb;
    dial_arg = arg;
    return true;
}

static void fake_release(struct la_conn **cp, int how, enum la_close_cause cause)
{
    (void)how;
    (void)cause;
    CHECK(*cp == up && up != NULL);
    free(up);
    *cp = up = NULL;
    to_server_n = to_proxy_n = to_proxy_at = 0;
    hung_up = false;
}

static ssize_t fake_send(struct la_stream *s, const struct iovec *v, int n, bool more)
{
    size_t room = dice(4) == 0 ? 0 : 1 + dice(200), sent = 0;
    (void)s;
    (void)more;
    if (wide) {
        for (int i = 0; i < n; i++)
            sent += v[i].iov_len;
        taken += sent;
        return (ssize_t)sent;
    }
    for (int i = 0; i < n && room; i++) {
        size_t k = v[i].iov_len < room ? v[i].iov_len : room;
        CHECK(to_server_n + k <= sizeof to_server);
        memcpy(to_server + to_server_n, v[i].iov_base, k);
        to_server_n += k;
        sent += k;
        room -= k;
    }
    return sent ? (ssize_t)sent : LA_STREAM_AGAIN;
}

static ssize_t fake_recv(struct la_stream *s, void *p, size_t n)
{
    size_t k = to_proxy_n - to_proxy_at;
    (void)s;
    if (k == 0)
        return hung_up ? 0 : LA_STREAM_AGAIN;
    k = k < n ? k : n;
    k = 1 + dice((unsigned)k);
    memcpy(p, to_proxy + to_proxy_at, k);
    to_proxy_at += k;
    return (ssize_t)k;
}

static int fake_peek(struct la_stream *s)
{
    (void)s;
    return to_proxy_n > to_proxy_at ? 1 : hung_up ? -1 : 0;
}

static void fake_defer(struct la_loop *l, struct la_idle *i)
{
    (void)l;
    deferred = i;
}

static void fake_timer_set(struct la_timer *t, uint64_t ms)
{
    timer = t;
    timer_due = now_ns + ms * 1000000u + 1;
}

static void fake_timer_stop(struct la_timer *t)
{
    (void)t;
    timer_due = 0;
}

#define la_now_ns               fake_now
#define la_upstreams_dial_check fake_dial
#define la_conn_release         fake_release
#define la_stream_send          fake_send
#define la_stream_recv          fake_recv
#define la_stream_peek          fake_peek
#define la_loop_defer           fake_defer
#define la_timer_set            fake_timer_set
#define la_timer_stop           fake_timer_stop
#define la_timer_is_set(t)      (timer_due != 0)
#define la_io_want(io, what)    ((void)(io), wanted = (what))
#define la_pool_total(p)        (up || dial_cb ? 1 : 0)
#include "upstream/lane.c"
#undef LOOK_NS
#include "upstream/line.c"

/* ---- the model ---- */

#define CLIENTS 5
#define ASKS    4000

struct one {
    struct la_ask ask;
    unsigned number, client, seen, overs;
    enum la_err err;
    char head[8];
};
static struct one one[ASKS];
static unsigned asked, over, restarted;
static struct la_list lanes[CLIENTS];
static unsigned who[CLIENTS], persons; /* one who leaves is another one when it comes again */
static unsigned last_seen[ASKS];       /* number of the last ask of this person that the server saw for the first time */

static enum la_ask_result on_reply(struct la_ask *a, const char *p, size_t n, size_t *used)
{
    struct one *o = la_container(a, struct one, ask);
    if (n < 7)
        return LA_ASK_MORE;
    *used = 7;
    return memcmp(p, o->head, 7) == 0 ? LA_ASK_DONE : LA_ASK_BAD;
}

static bool on_restart(struct la_ask *a)
{
    (void)a;
    restarted++;
    return true;
}

static void on_over(struct la_ask *a, enum la_err e)
{
    struct one *o = la_container(a, struct one, ask);
    CHECK_EQ(o->overs, 0);
    CHECK(e != LA_OK || o->seen > 0); /* answered: then the server has seen it */
    o->overs++;
    o->err = e;
    over++;
}

static const struct la_ask_events events = {.goodbye = "quit\n", .reply = on_reply, .restart = on_restart, .over = on_over};

static void ask(struct la_outlet *o)
{
    struct one *n = &one[asked];
    n->number = asked++;
    unsigned place = dice(CLIENTS);
    n->client = who[place];
    snprintf(n->head, sizeof n->head, "%06u\n", n->number);
    n->ask = (struct la_ask){
        .on = &events, .head = la_slice(n->head, 7), .due_ns = now_ns + 300000000u, .safe = dice(2), .bulk = dice(10) == 0};
    la_lines_ask(o, &lanes[place], &n->ask);
}

/* The server reads up to n requests and answers them, or keeps silent about the last. */
static void serve(unsigned n)
{
    size_t at = 0;
    for (; up && n && to_server_n - at >= 7; n--, at += 7) {
        unsigned number = (unsigned)strtoul(to_server + at, NULL, 10);
        CHECK(number < asked && to_server[at + 6] == '\n');
        struct one *o = &one[number];
        CHECK(o->overs == 0 || o->err != LA_OK);
        o->seen++;
        CHECK(o->seen <= (o->ask.safe ? 1u + AGAIN_MOST : 1u));
        if (o->seen == 1) {
            CHECK(last_seen[o->client] <= number);
            last_seen[o->client] = number;
        }
        memcpy(to_proxy + to_proxy_n, to_server + at, 7);
        to_proxy_n += 7;
    }
    memmove(to_server, to_server + at, to_server_n - at);
    to_server_n -= at;
}

static void readable(void)
{
    if (up && up->on_event)
        up->on_event(up, LA_READ);
}

static void later(uint64_t ms)
{
    now_ns += ms * 1000000u;
    if (timer_due && timer_due <= now_ns) {
        timer_due = 0;
        timer->cb(timer);
    }
}

static void dialed(bool well)
{
    void (*cb)(void *, struct la_conn *, enum la_err) = dial_cb;
    if (cb == NULL)
        return;
    dial_cb = NULL;
    if (well)
        up = la_xcalloc(1, sizeof *up);
    cb(dial_arg, up, well ? LA_OK : LA_CONNECT_REFUSED);
}

static void flush_now(void)
{
    struct la_idle *i = deferred;
    deferred = NULL;
    if (i)
        i->cb(i);
}

static void step(struct la_outlet *o, bool faults)
{
    switch (dice(faults ? 16 : 12)) {
    case 0:
    case 1:
    case 2:
        if (faults && asked < ASKS)
            ask(o);
        break;
    case 3:
    case 4:
    case 5: flush_now(); break;
    case 6:
    case 7: serve(1 + dice(5)); break;
    case 8:
    case 9: readable(); break;
    case 10: dialed(!faults || dice(6)); break;
    case 11: later(1 + dice(faults ? 60 : 5)); break;
    case 12: /* it hangs up */
        if (up && dice(3) == 0)
            hung_up = true;
        break;
    case 13: /* bytes that nobody asked for */
        if (up && dice(4) == 0) {
            memcpy(to_proxy + to_proxy_n, "stray!\n", 7);
            to_proxy_n += 7;
        }
        break;
    case 14: /* a client leaves: its asks go on */
        if (dice(20) == 0 && persons < ASKS) {
            unsigned place = dice(CLIENTS);
            la_lanes_forget(&lanes[place]);
            who[place] = persons++;
        }
        break;
    default: break; /* silence */
    }
    if (up == NULL) { /* a connection that is no more takes its bytes along */
        to_server_n = to_proxy_n = to_proxy_at = 0;
        hung_up = false;
    }
    if (to_proxy_at == to_proxy_n)
        to_proxy_at = to_proxy_n = 0;
}

/* One server with one line. */
static struct la_upstreams worker;
static struct la_branch branch;
static struct la_outlet outlet;

static struct la_conf_upstream conf = {.timeouts.response_ms = 1000};

static void begin(void)
{
    static struct la_upstream_stats stats;
    static struct la_budget budget;
    static struct la_upstream shared = {.name = (char *)(uintptr_t)"test"};
    struct la_server *server = la_xcalloc(1, sizeof *server + sizeof(struct la_cell));
    memset(one, 0, sizeof one);
    memset(last_seen, 0, sizeof last_seen);
    asked = over = 0;
    worker = (struct la_upstreams){0};
    la_lanes_init(&worker.lanes);
    branch = (struct la_branch){.home = &worker, .shared = &shared, .stats = &stats, .conf = &conf};
    server->workers = 1;
    server->budget = &budget;
    atomic_store(&server->max, 1);
    outlet = (struct la_outlet){.branch = &branch, .pool = {.server = server, .conf = &conf}};
    persons = CLIENTS;
    for (unsigned i = 0; i < CLIENTS; i++) {
        la_list_init(&lanes[i]);
        who[i] = i;
    }
}

/* Nothing is left. */
static void end(void)
{
    CHECK_EQ(over, asked);
    CHECK_EQ(outlet.lines.asks, 0);
    struct la_line *l = outlet.lines.line[0];
    CHECK(l->waiting == 0 && l->inflight == 0 && l->ahead == 0 && l->queued == 0 && !l->bulk_out);
    CHECK(la_list_empty(&l->ring) && la_list_empty(&l->blocked) && la_list_empty(&l->sent) && la_list_empty(&l->ages));
    for (unsigned i = 0; i < CLIENTS; i++)
        CHECK(la_list_empty(&lanes[i]));
    la_lines_close(&outlet);
    la_slab_fini(&worker.lanes);
    free(outlet.pool.server);
    free(up);
    up = NULL;
    dial_cb = NULL;
    deferred = NULL;
    timer_due = 0;
    to_server_n = to_proxy_n = to_proxy_at = 0;
    hung_up = false;
}

static unsigned model(void)
{
    unsigned answered = 0;
    begin();
    for (unsigned i = 0; i < 20000; i++)
        step(&outlet, true);
    for (unsigned i = 0; i < 200000 && over < asked; i++)
        step(&outlet, false);
    for (unsigned i = 0; i < asked; i++) {
        CHECK_EQ(one[i].overs, 1);
        answered += one[i].err == LA_OK;
    }
    end();
    return answered;
}

/* ---- a socket that takes everything ---- */

#define LARGE 1000000u

static char large[LARGE];
static size_t pulled_n;

static struct la_slice on_pull(struct la_ask *a)
{
    (void)a;
    return la_slice(large + pulled_n, LARGE - pulled_n);
}

static void on_pulled(struct la_ask *a, size_t n)
{
    (void)a;
    pulled_n += n;
}

/* Of a large value, or of thousands of asks, so much goes in a turn of the loop; the next turn goes on by itself. */
static void turns(bool body)
{
    static const struct la_ask_events with_body = {.goodbye = "quit\n",
                                                   .reply = on_reply,
                                                   .restart = on_restart,
                                                   .over = on_over,
                                                   .pull = on_pull,
                                                   .pulled = on_pulled};
    unsigned n = 0;
    size_t all = 0;
    begin();
    wide = true;
    taken = pulled_n = 0;
    for (unsigned i = 0; i < (body ? 1 : ASKS); i++) {
        one[i].number = asked++;
        snprintf(one[i].head, sizeof one[i].head, "%06u\n", i % 1000000);
        one[i].ask = (struct la_ask){.on = &with_body,
                                     .head = la_slice(body ? one[i].head : large, body ? 7 : 2000),
                                     .due_ns = now_ns + 300000000u,
                                     .body_n = body ? LARGE : 0,
                                     .bulk = body};
        all += la_ask_size(&one[i].ask);
        la_lines_ask(&outlet, &lanes[0], &one[i].ask);
    }
    while (dial_cb == NULL)
        later(RETRY_MS);
    dialed(true);
    flush_now();
    for (size_t before = 0; taken < all; before = taken, n++) {
        CHECK(taken - before < 2 * LA_TURN_BYTES);
        CHECK(wanted & LA_WRITE);
        up->on_event(up, LA_WRITE);
        CHECK(taken > before);
    }
    CHECK(n >= all / (2 * LA_TURN_BYTES));
    CHECK(!(wanted & LA_WRITE));
    wide = false;
    hung_up = true;
    for (unsigned i = 0; i < 10 && over < asked; i++)
        readable();
    end();
}

/* ---- so many asks of a connection, and no more ---- */

#define MOST  5u
#define TURNS 8u

static void ask_safely(void)
{
    struct one *n = &one[asked];
    n->number = asked++;
    n->seen = 1;
    snprintf(n->head, sizeof n->head, "%06u\n", n->number);
    n->ask = (struct la_ask){.on = &events, .head = la_slice(n->head, 7), .due_ns = now_ns + 100000000000u, .safe = true};
    la_lines_ask(&outlet, &lanes[0], &n->ask);
}

static void answer(unsigned n)
{
    to_proxy_n = to_proxy_at = 0;
    for (unsigned i = over, to = over + n; i < to; i++, to_proxy_n += 7)
        memcpy(to_proxy + to_proxy_n, one[i].head, 7);
    while (up && to_proxy_at < to_proxy_n)
        readable();
}

static void counts(bool pipelined)
{
    begin();
    wide = true;
    conf.pool.max_requests = MOST;
    for (unsigned i = 0; pipelined && i < TURNS * MOST; i++)
        ask_safely();
    for (unsigned i = 0; i < TURNS; i++) {
        taken = 0;
        for (unsigned k = 0; k < MOST; k++) {
            if (!pipelined)
                ask_safely();
            while (k == 0 && dial_cb == NULL)
                later(RETRY_MS);
            if (k == 0)
                dialed(true);
            flush_now();
            CHECK(up != NULL);
            CHECK_EQ(taken, (pipelined ? MOST : k + 1) * 7);
            answer(1);
        }
        flush_now();
        CHECK(up == NULL); /* goodbye was said */
        CHECK_EQ(taken, MOST * 7 + 5);
    }
    CHECK_EQ(over, TURNS * MOST);
    wide = false;
    conf.pool.max_requests = 0;
    end();
}

int main(int argc, char **argv)
{
    unsigned answered = 0;
    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : la_random_seed();
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    random_state = seed;
    for (int i = 0; i < 20; i++)
        answered += model();
    CHECK(answered > 10000); /* most are */
    CHECK(restarted > 0);
    turns(true);
    turns(false);
    counts(false);
    counts(true);
    return TEST_DONE();
}
