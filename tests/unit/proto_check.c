/* proto_check.c: active health checks against a server on loopback that lives in the same loop: good and bad answers,
 * silence, nobody there, responses that spare a check, a full server, reloads, the end. */
#include "lastack/check.h"
#include "lastack/sock.h"
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum mode { GOOD, BAD, SILENT, HUGE_BODY, LONG_BODY, CUT, LINGER };

struct peer {
    struct la_list node;
    struct la_stream stream;
};

static struct la_loop *loop;
static struct la_env env;
static struct la_bounds bounds;
static struct la_crew crew;
static struct la_upstreams *ups;
static struct la_checks *checks;
static struct la_server *server;
static struct la_upstream *shared;
static struct la_conf_upstream conf;
static struct la_conf_server server_conf = {.weight = 1};
static struct la_timer bell;
/* the server */
static enum mode mode;
static struct la_io listener;
static struct la_addr address;
static struct la_list peers;
static unsigned asked;
static char request[1024];

static void peer_close(struct peer *p)
{
    la_list_remove(&p->node);
    la_stream_close(&p->stream);
    free(p);
}

static void say(struct peer *p, const char *text, size_t n)
{
    struct iovec v = {(void *)(uintptr_t)text, n};
    CHECK(la_stream_send(&p->stream, &v, 1, false) == (ssize_t)n);
}

static void on_peer(struct la_io *io, int events)
{
    (void)events;
    struct peer *p = la_container(io, struct peer, stream.io);
    static char big[100000]; /* more than is judged, less than a socket takes */
    ssize_t n = la_stream_recv(&p->stream, request, sizeof request - 1);
    if (n == LA_STREAM_AGAIN)
        return;
    if (n <= 0) {
        peer_close(p);
        return;
    }
    request[n] = 0;
    asked++;
    switch (mode) {
    case GOOD: say(p, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 46); break;
    case BAD: say(p, "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno", 40); break;
    case HUGE_BODY:
        snprintf(big, sizeof big, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        say(p, big, sizeof big);
        return;
    case LONG_BODY: /* all of it, and then it hangs up */
        snprintf(big, sizeof big, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", sizeof big);
        say(p, big, strlen(big));
        say(p, big, sizeof big);
        break;
    case CUT: say(p, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", 43); break;
    case LINGER: say(p, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38); return;
    case SILENT: return;
    }
    peer_close(p); /* the backend hangs up first */
}

/* All that were silent do now. */
static void peers_answer(void)
{
    struct peer *p;
    la_list_each(&peers, p, struct peer, node) {
        say(p, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 46);
        peer_close(p);
    }
}

static void on_accept(struct la_io *io, int events)
{
    (void)events;
    int fd;
    while ((fd = la_sock_accept(la_io_fd(io), NULL)) >= 0) {
        struct peer *p = la_xcalloc(1, sizeof *p);
        la_list_init(&p->node);
        la_list_push_back(&peers, &p->node);
        CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){1 << 18}, sizeof(int)) == 0);
        la_stream_init(&p->stream, loop, fd, on_peer);
        la_io_want(&p->stream.io, LA_READ);
    }
}

static void server_open(void)
{
    struct la_listen_options o = {.backlog = 16};
    int fd = la_sock_listen(&address, &o);
    CHECK(fd >= 0);
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    CHECK(getsockname(fd, (struct sockaddr *)&ss, &n) == 0);
    la_addr_from_sockaddr(&address, (struct sockaddr *)&ss, n);
    la_io_init(&listener, loop, fd, on_accept);
    la_io_want(&listener, LA_READ);
}

static void server_shut(void)
{
    int fd = la_io_fd(&listener);
    la_io_stop(&listener);
    close(fd);
    struct peer *p;
    la_list_each(&peers, p, struct peer, node)
        peer_close(p);
}

static void on_bell(struct la_timer *t)
{
    la_loop_stop(t->loop);
}

static void run(unsigned ms)
{
    la_timer_set(&bell, ms);
    la_loop_run(loop);
}

#define UNTIL(condition)                                                                                     \
    do {                                                                                                     \
        for (int turn = 0; turn < 2000 && !(condition); turn++)                                              \
            run(5);                                                                                          \
        CHECK(condition);                                                                                    \
    } while (0)

/* After a reset they do so when the server can have seen it. A check that was called off while it dialed has left an idle
 * connection, which goes after idle_close. */
static void places_come_back(void)
{
    UNTIL(atomic_load(&server->budget->used) == 0);
}

/* Until the server is up (or down), at most ten seconds. */
static bool becomes(bool up)
{
    for (int i = 0; i < 2000; i++) {
        if (la_health_up(&server->health) == up)
            return true;
        run(5);
    }
    return false;
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    struct la_note *n = la_container(mail, struct la_note, mail);
    n->deliver(n);
}

static void apply(void)
{
    const struct la_conf_server *list[] = {&server_conf};
    struct la_upstream_plan plan = {&conf, shared, &server, list, 1};
    la_upstreams_apply(ups, &plan, 1);
    la_checks_apply(checks, &plan, 1);
}

/* Only silence is to be waited for: a good answer that comes late must not count as none. */
static void server_is(enum mode m)
{
    mode = m;
    conf.health.timeout_ms = m == SILENT ? 20 : 2000;
    apply();
}

static uint64_t closed(enum la_close_cause c)
{
    return la_stat_get(&server->stats[0].closed[c]);
}

static void setup(void)
{
    static char path[] = "/healthz?x=1", text[] = "10.0.0.1:80";
    const char *err;
    la_list_init(&peers);
    loop = la_loop_new(on_mail, NULL);
    la_timer_init(&bell, loop, on_bell);
    CHECK(la_addr_parse(&address, LA_SLICE("127.0.0.1:0"), true, &err));
    server_open();
    atomic_store(&bounds.memory_max, 1 << 20);
    la_env_init(&env, loop, NULL, &bounds, 16384);
    env.response_limits = (struct la_http_limits){.head_bytes = 16384, .headers = 64};
    static struct la_upstreams *member[1];
    crew = (struct la_crew){.workers = 1, .member = member};
    ups = member[0] = la_upstreams_new(loop, 0, &crew);
    checks = la_checks_new(&env, ups);
    server = la_server_new("app", "the server", &address, 1);
    atomic_store(&server->max, 2);
    shared = la_upstream_new("app", LA_PROTO_HTTP, 1);
    server_conf.text = text;
    conf.server = &server_conf;
    conf.servers = 1;
    conf.pool.max = 2;
    conf.pool.idle_reuse_ms = LA_AUTO;
    conf.pool.idle_close_ms = 100;
    conf.pool.goodbye_ms = 50;
    conf.timeouts.connect_ms = 1000;
    conf.queue.length = 10;
    conf.queue.timeout_ms = 60000;
    conf.health.path = path;
    conf.health.interval_ms = 20;
    conf.health.unhealthy = 2;
    conf.health.healthy = 1;
    conf.passive.failures = 3;
    conf.passive.out_ms = conf.passive.out_max_ms = 100000;
}

static void good_and_bad(void)
{
    server_is(GOOD);
    UNTIL(asked >= 3);
    CHECK(la_health_up(&server->health));
    CHECK(strncmp(request, "GET /healthz?x=1 HTTP/1.1\r\nHost: 127.0.0.1:", 43) == 0);
    CHECK(strstr(request, "\r\nConnection: close\r\n\r\n") != NULL);
    UNTIL(closed(LA_CLOSE_GOODBYE) >= 3);
    CHECK(closed(LA_CLOSE_HEALTH_CHECK) == 0);
    server_is(BAD);
    CHECK(becomes(false));
    server_is(LONG_BODY); /* it is read to its end, and the server hangs up */
    CHECK(becomes(true));
    uint64_t hung_up = closed(LA_CLOSE_GOODBYE);
    UNTIL(closed(LA_CLOSE_GOODBYE) >= hung_up + 3);
    CHECK(closed(LA_CLOSE_HEALTH_CHECK) == 0);
    server_is(SILENT);
    CHECK(becomes(false));
    CHECK(closed(LA_CLOSE_HEALTH_CHECK) > 0 && closed(LA_CLOSE_TIMEOUT) == 0);
    server_is(HUGE_BODY); /* it answers: good enough, though the rest never comes */
    CHECK(becomes(true));
    server_is(CUT);
    CHECK(becomes(false));
    server_is(LINGER); /* it does not hang up: after the goodbye's time we do */
    CHECK(becomes(true));
    UNTIL(closed(LA_CLOSE_FORCED) > 0);
    server_is(GOOD);
    server_shut();
    CHECK(becomes(false));
    server_open();
    CHECK(becomes(true));
}

static void spared(void)
{
    run(100);
    conf.health.interval_ms = 60;
    apply();
    unsigned before = asked;
    atomic_store(&server->health.last_ok_ns, la_clock_ns() + 3600u * 1000000000ull); /* real responses, all the time */
    run(300);
    CHECK(asked <= before + 1);
    atomic_store(&server->health.last_ok_ns, 0);
    UNTIL(asked >= before + 2);

    conf.health.interval_ms = 20;
    apply();
}

/* ---- no place, and nothing idle ---- */

static struct la_conn *held[3]; /* by whom it is waited for */

static void on_conn(struct la_waiter *w, struct la_conn *c);
static void on_fail(struct la_waiter *w, enum la_err e)
{
    (void)w;
    (void)e;
}
static struct la_waiter waiter[3] = {{.replayable = true, .on_conn = on_conn, .on_fail = on_fail},
                                     {.replayable = true, .on_conn = on_conn, .on_fail = on_fail},
                                     {.replayable = true, .on_conn = on_conn, .on_fail = on_fail}};

static void on_conn(struct la_waiter *w, struct la_conn *c)
{
    held[w - waiter] = c;
}

/* Two requests hold the two places; no check is under way. */
static void all_at_work(void)
{
    enum la_err err;
    char *path = conf.health.path;
    conf.health.path = NULL;
    apply();
    places_come_back();
    for (int i = 0; i < 2; i++) {
        waiter[i].arrived_ns = 0;
        held[i] = la_upstreams_acquire(la_upstreams_branch(ups, shared), &waiter[i], &err);
        UNTIL(held[i] != NULL);
    }
    conf.health.path = path;
}

static void let_go(int i, enum la_verdict v)
{
    la_conn_release(&held[i], v, LA_CLOSE_ABORTED);
}

static bool check_waits(void)
{
    return atomic_load(&server->check_waits) == 1;
}

static void a_hung_server_is_down(void)
{
    all_at_work();
    unsigned before = asked;
    conf.health.timeout_ms = 20;
    apply();
    CHECK(becomes(false));
    CHECK_EQ(asked, before);
    server_is(GOOD);
    let_go(0, LA_RESET); /* its place is the check's */
    CHECK(becomes(true));
    let_go(1, LA_RESET);
}

static void one_that_answers_is_not(void)
{
    all_at_work();
    conf.health.timeout_ms = 100;
    apply();
    UNTIL(check_waits());
    atomic_store(&server->health.last_ok_ns, la_clock_ns() + 3600u * 1000000000ull);
    run(300);
    CHECK(la_health_up(&server->health));
    atomic_store(&server->health.last_ok_ns, 0);
    let_go(0, LA_RESET);
    let_go(1, LA_RESET);
}

static void tunnels_say_nothing(void)
{
    all_at_work();
    atomic_store(&server->budget->tunnels, 2);
    conf.health.timeout_ms = 20;
    apply();
    UNTIL(check_waits());
    run(300);
    CHECK(la_health_up(&server->health));
    atomic_store(&server->budget->tunnels, 0);
    server_is(GOOD);
    let_go(0, LA_RESET);
    let_go(1, LA_RESET);
}

static void a_check_comes_first(void)
{
    enum la_err err;
    all_at_work();
    server_is(GOOD);
    waiter[2].arrived_ns = 0;
    held[2] = NULL;
    CHECK(la_upstreams_acquire(la_upstreams_branch(ups, shared), &waiter[2], &err) == NULL && err == LA_OK);
    UNTIL(check_waits());
    unsigned before = asked;
    let_go(0, LA_REUSE); /* a connection that comes free */
    CHECK(!check_waits() && held[2] == NULL);
    UNTIL(asked > before && held[2] != NULL); /* and then its place */
    UNTIL(check_waits());
    before = asked;
    let_go(1, LA_RESET); /* a place that does */
    UNTIL(asked > before);
    let_go(2, LA_RESET);
    CHECK(la_health_up(&server->health));
}

/* Forgotten with its path, with its server, and at the end. */
static void nobody_waits_for_what_is_gone(void)
{
    char *path = conf.health.path;
    all_at_work();
    server_is(GOOD);
    UNTIL(check_waits());
    conf.health.path = NULL;
    apply();
    CHECK(!check_waits());
    conf.health.path = path;
    apply();
    UNTIL(check_waits());
    la_upstreams_apply(ups, NULL, 0);
    la_checks_apply(checks, NULL, 0);
    CHECK(!check_waits());
    apply();
    UNTIL(check_waits());
    la_checks_drain(checks);
    CHECK(!check_waits());
    la_checks_free(&checks);
    checks = la_checks_new(&env, ups);
    apply();
    UNTIL(check_waits());
    la_checks_free(&checks);
    CHECK(!check_waits());
    checks = la_checks_new(&env, ups);
    let_go(0, LA_RESET);
    let_go(1, LA_RESET);
    apply();
}

static void full(void)
{
    a_hung_server_is_down();
    one_that_answers_is_not();
    tunnels_say_nothing();
    a_check_comes_first();
    nobody_waits_for_what_is_gone();
    server_is(GOOD);
    CHECK(becomes(true));
}

static void reloads(void)
{
    static char path[] = "/other", host[] = "app.internal";
    char *old = conf.health.path;
    conf.health.path = path; /* same server: the checker goes on, with another question */
    conf.health.host = host;
    apply();
    UNTIL(strncmp(request, "GET /other HTTP/1.1\r\nHost: app.internal\r\n", 41) == 0);
    server_is(SILENT);
    CHECK(becomes(false));
    run(25);
    static char status[] = "/status";
    conf.health.path = NULL; /* nobody would bring it back, also where its status page is looked at */
    conf.fastcgi.status_path = status;
    apply();
    CHECK(la_health_up(&server->health));
    conf.fastcgi.status_path = NULL;
    apply();
    CHECK(la_health_up(&server->health));
    unsigned before = asked;
    run(100);
    CHECK(asked <= before + 1 && la_health_up(&server->health));
    places_come_back(); /* the check under way came to its end */
    conf.health.path = old;
    conf.health.host = NULL;
    apply();
    CHECK(becomes(false));
    server_is(GOOD);
    CHECK(becomes(true));
}

static void the_end(void)
{
    mode = SILENT;
    conf.health.timeout_ms = 30000;
    conf.health.interval_ms = 1000;
    conf.health.path = NULL;
    apply();
    conf.health.path = (char[]){"/last"};
    apply();
    unsigned before = asked;
    UNTIL(asked > before);
    la_checks_free(&checks); /* in the middle of a check */
    CHECK(checks == NULL);
    places_come_back();

    checks = la_checks_new(&env, ups);
    apply();
    before = asked;
    UNTIL(asked > before);
    uint64_t broken_off = closed(LA_CLOSE_HEALTH_CHECK), hung_up = closed(LA_CLOSE_GOODBYE);
    la_checks_drain(checks); /* in the middle of a check, which comes to its end */
    peers_answer();
    places_come_back();
    CHECK(closed(LA_CLOSE_HEALTH_CHECK) == broken_off && closed(LA_CLOSE_GOODBYE) == hung_up + 1);
    la_checks_free(&checks);

    checks = la_checks_new(&env, ups); /* in the middle of a dial: the connection is for the requests */
    apply();
    for (int i = 0; i < 2000 && atomic_load(&server->dialing) == 0; i++) {
        la_timer_set(&bell, 0);
        la_loop_run(loop);
    }
    la_checks_free(&checks);
    run(50);
    CHECK_EQ(atomic_load(&server->dialing), 0);

    la_upstreams_close(ups);
    la_upstreams_free(&ups);
    CHECK_EQ(atomic_load(&server->budget->used), 0);
    server_shut();
    la_server_unref(&server);
    la_upstream_unref(&shared);
    la_env_fini(&env);
    la_timer_stop(&bell);
    la_loop_free(loop);
}

int main(void)
{
    la_log_setup(LA_LOG_ERROR, false);
    setup();
    good_and_bad();
    spared();
    full();
    reloads();
    the_end();
    return TEST_DONE();
}
