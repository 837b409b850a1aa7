/* admin_server.c: the admin listener over a real Unix socket: every endpoint, HEAD, bad requests, a head that comes byte
 * by byte, a half-closed client, a large answer read slowly, more clients than places, all places taken by clients that wait,
 * a dump whose asker has left. */
#include "admin_world.h"
#include "lastack/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct la_loop *loop;
static struct la_addr address;
static struct world world;
static struct la_admin *admin;

/* ---- the dump, answered when the test says so ---- */

static void (*dump_done)(void *arg, struct la_text *json);
static void *dump_arg;
static _Atomic int dumps;

static void fake_dump(struct la_admin_state *s, void (*done)(void *arg, struct la_text *json), void *arg)
{
    CHECK(s == &world.state);
    dump_done = done;
    dump_arg = arg;
    atomic_fetch_add(&dumps, 1);
}

static void answer_dump(void)
{
    struct la_text text = {0};
    la_text_add(&text, "[{}]", 4);
    dump_done(dump_arg, &text);
    la_text_fini(&text);
    dump_done = NULL;
}

/* ---- orders from the client thread to the loop's ---- */

struct order {
    struct la_mail mail; /* first */
    void (*run)(void);
    _Atomic bool *ran;
};

static void on_mail(void *arg, struct la_mail *mail)
{
    struct order *o = (struct order *)(void *)mail;
    (void)arg;
    o->run();
    atomic_store(o->ran, true);
}

static void on_loop(void (*run)(void))
{
    _Atomic bool ran = false;
    struct order o = {.run = run, .ran = &ran};
    la_loop_post(loop, &o.mail);
    while (!atomic_load(&ran))
        usleep(200);
}

static void nothing(void)
{
}

/* What was sent before has been read afterwards. */
static void some_turns(void)
{
    for (int i = 0; i < 16; i++)
        on_loop(nothing);
}

static void become_ready(void)
{
    world.state.ready = true;
}

static void drain(void)
{
    world.state.draining = true;
}

static void without_dump(void)
{
    world.state.dump = NULL;
}

static void with_dump(void)
{
    world.state.dump = fake_dump;
}

static void stop(void)
{
    la_loop_stop(loop);
}

/* ---- a client ---- */

static int dial(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    struct timeval limit = {8, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    CHECK(connect(fd, &address.u.sa, address.len) == 0);
    return fd;
}

static void put(int fd, const char *text)
{
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Reads until the FIN, closes. */
static struct la_text take(int fd, size_t piece, unsigned pause_us)
{
    struct la_text t = {0};
    char buf[65536];
    ssize_t n;
    while ((n = read(fd, buf, piece)) > 0) {
        la_text_add(&t, buf, (size_t)n);
        if (pause_us)
            usleep(pause_us);
    }
    CHECK(n == 0);
    close(fd);
    la_text_add(&t, "", 0);
    return t;
}

static void expect(const char *request, const char *status, const char *contains)
{
    int fd = dial();
    put(fd, request);
    struct la_text t = take(fd, sizeof(char[65536]), 0);
    bool ok = strncmp(t.p, "HTTP/1.1 ", 9) == 0 && strncmp(t.p + 9, status, strlen(status)) == 0 &&
              (contains == NULL || strstr(t.p, contains)) && strstr(t.p, "\r\nCache-Control: no-store\r\n") &&
              strstr(t.p, "\r\nConnection: close\r\n");
    if (!ok)
        fprintf(stderr, "%s-> %s\n", request, t.p);
    CHECK(ok);
    const char *length = strstr(t.p, "Content-Length: "), *body = strstr(t.p, "\r\n\r\n");
    CHECK(length && body);
    if (strncmp(request, "HEAD", 4) == 0)
        CHECK(body[4] == 0);
    else
        CHECK_EQ(strtoul(length + 16, NULL, 10), strlen(body + 4));
    la_text_fini(&t);
}
#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void test_endpoints(void)
{
    expect(GET("/metrics"), "200 OK", "Content-Type: text/plain; version=0.0.4");
    expect(GET("/metrics?x=1"), "200", "\nlastack_build_info{");
    expect(GET("/api/v1/status"), "200", "Content-Type: application/json");
    expect(GET("/"), "200", "<!doctype html>");
    expect(GET("/healthz"), "200", "ok\n");
    expect(GET("/readyz"), "503", "starting");
    on_loop(become_ready);
    expect(GET("/readyz"), "200", "ready\n");
    on_loop(drain);
    expect(GET("/readyz"), "503", "draining\n");
    expect(GET("/healthz"), "200", NULL);
    expect("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200", NULL);
    expect("GET /healthz HTTP/1.0\r\n\r\n", "200", NULL);
    expect(GET("/nope"), "404", NULL);
    expect(GET("/metrics/"), "404", NULL);
    expect("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "405", "Allow: GET, HEAD\r\n");
    expect("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404", NULL);
    expect("nonsense\r\n\r\n", "400", NULL);
    expect("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400", NULL);
}

static void test_large_head(void)
{
    struct la_text t = {0};
    la_text_addf(&t, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    for (int i = 0; i < 20000; i++)
        la_text_add(&t, "a", 1);
    expect(t.p, "431", NULL);
    la_text_fini(&t);
}

static void test_pieces(void)
{
    static const char request[] = GET("/healthz");
    int fd = dial();
    for (size_t i = 0; i < sizeof request - 1; i++) {
        CHECK(send(fd, request + i, 1, MSG_NOSIGNAL) == 1);
        usleep(i % 8 == 0 ? 500 : 0);
    }
    shutdown(fd, SHUT_WR); /* nc -N does so; it still wants its answer */
    struct la_text t = take(fd, 7, 0);
    CHECK(strstr(t.p, "\r\n\r\nok\n"));
    la_text_fini(&t);
    fd = dial(); /* leaves in the middle of a head */
    put(fd, "GET /hea");
    close(fd);
}

static void test_slow_reader(void)
{
    int fd = dial(), small = 2048;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    put(fd, GET("/metrics"));
    usleep(20000);
    struct la_text t = take(fd, 1024, 100);
    CHECK(strstr(t.p, "# HELP lastack_ports_exhausted_total"));
    la_text_fini(&t);
    fd = dial(); /* leaves without reading */
    put(fd, GET("/metrics"));
    close(fd);
}

static void expect_ok(int fd)
{
    struct la_text t = take(fd, 4096, 0);
    CHECK(strstr(t.p, "200 OK"));
    la_text_fini(&t);
}

/* More clients than places, none of which says anything: the oldest ones go, and whoever asks is answered. */
static void test_crowd(void)
{
    int fd[80];
    char c;
    for (int i = 0; i < 80; i++)
        fd[i] = dial();
    expect(GET("/healthz"), "200", "ok\n");
    CHECK_EQ(read(fd[0], &c, 1), 0);
    put(fd[79], GET("/healthz"));
    expect_ok(fd[79]);
    for (int i = 0; i < 79; i++)
        close(fd[i]);
}

static void wait_for_dump(int number)
{
    for (int i = 0; i < 20000 && atomic_load(&dumps) < number; i++)
        usleep(200);
    CHECK_EQ(atomic_load(&dumps), number);
}

static void test_dump(void)
{
    int a = dial(), b = dial(), gone = dial(), before = atomic_load(&dumps);
    put(gone, GET("/api/v1/connections"));
    wait_for_dump(before + 1);
    put(a, GET("/api/v1/connections"));
    put(b, "HEAD /api/v1/connections HTTP/1.1\r\nHost: x\r\n\r\n");
    close(gone);
    expect(GET("/healthz"), "200", NULL); /* others go on meanwhile */
    usleep(20000);
    on_loop(answer_dump);
    struct la_text t = take(a, 4096, 0), h = take(b, 4096, 0);
    CHECK(strstr(t.p, "\r\n\r\n[{}]") && strstr(h.p, "Content-Length: 4\r\n"));
    CHECK_EQ(atomic_load(&dumps), before + 1); /* one for all three */
    la_text_fini(&t);
    la_text_fini(&h);
    on_loop(without_dump);
    expect(GET("/api/v1/connections"), "503", NULL);
    on_loop(with_dump);
    a = dial(); /* under way when the listener is freed */
    put(a, GET("/api/v1/connections"));
    wait_for_dump(before + 2);
    close(a);
}

/* All places are taken by clients that wait for their answers: nobody is pushed out, and the next one waits, too. */
static void test_waiting_crowd(void)
{
    int fd[64], before = atomic_load(&dumps);
    char c;
    some_turns();
    for (int i = 0; i < 64; i++) {
        fd[i] = dial();
        put(fd[i], GET("/api/v1/connections"));
        wait_for_dump(before + 1);
    }
    some_turns();
    int next = dial();
    put(next, GET("/healthz"));
    some_turns();
    CHECK(recv(next, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    CHECK_EQ(atomic_load(&dumps), before + 1);
    on_loop(answer_dump);
    for (int i = 0; i < 64; i++)
        expect_ok(fd[i]);
    expect_ok(next);
}

static void *client_thread(void *arg)
{
    test_endpoints();
    test_large_head();
    test_pieces();
    test_slow_reader();
    test_crowd();
    test_waiting_crowd();
    test_dump();
    on_loop(stop);
    return arg;
}

int main(void)
{
    int err = 0;
    char text[128];
    pthread_t thread;
    alarm(60);
    snprintf(text, sizeof text, "unix:/tmp/lastack-admin-%ld.sock", (long)getpid());
    address = world_addr(text, false);
    world_init(&world);
    world.state.dump = fake_dump;
    struct la_sampler *sampler = la_sampler_new();
    loop = la_loop_new(on_mail, NULL);
    admin = la_admin_new(loop, &address, &world.state, sampler, &err);
    CHECK(admin != NULL);
    CHECK(la_admin_new(loop, &address, &world.state, sampler, &err) == NULL && err == EADDRINUSE);
    CHECK(pthread_create(&thread, NULL, client_thread, NULL) == 0);
    la_loop_run(loop);
    pthread_join(thread, NULL);
    la_admin_free(&admin);
    CHECK(admin == NULL);
    CHECK(access(address.u.un.sun_path, F_OK) != 0 && errno == ENOENT);
    answer_dump(); /* late: nobody is there any more */
    la_loop_free(loop);
    la_sampler_free(&sampler);
    world_fini(&world);
    return TEST_DONE();
}
