/* client.c: the cheapest load: many clients on one thread, closed loop or at a constant rate.
 *
 *   bench_client --port N --clients N [--kept 1] [--rate PER-SECOND] [--requests N] [--ms N] [--hold 1] [--path TARGET]
 *
 * peer_loadgen verifies every byte of a response, which takes more CPU than a proxy does; this one finds the
 * response's end and its status. Open loop (--rate): requests start by a timerfd at their intended time, and
 * latency counts from that time, also when no client was free: a stall shows in full. A short client takes
 * the response, waits for the server's FIN and closes. --hold: every client asks once, eight at a time,
 * "holding" is printed, and the connections stay until SIGTERM.
 *
 * Prints one JSON object. Exit 1 when any request failed, or when nothing came for 20 s. One thread. */
#include "bench.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#define STALL_MS     20000
#define WAITING      65536 /* starts that may wait for a free client */
#define SAMPLES      (1u << 21)
#define HOLD_AT_ONCE 8

struct client {
    int fd;
    bool connecting, answered, armed;
    uint64_t from_ns;
    uint64_t left; /* bytes of the response; UINT64_MAX: its head is not complete yet */
    size_t head_n;
    char head[2048];
};

static struct {
    uint64_t port, clients, kept, rate, requests, ms, hold;
    int epoll, timer;
    struct client *client;
    unsigned *free, frees;
    uint64_t *waiting, waiting_at, waiting_n;
    uint64_t begin_ns, end_ns, next_ns;
    uint64_t started, done, failed, connections, shed, active;
    uint32_t *sample; /* latencies, 10 ns */
    uint64_t samples;
    const char *first_failure, *path;
    struct sockaddr_in target;
    char request[256];
    size_t request_n;
    char scratch[1 << 16];
} load;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool may_start(void)
{
    return (!load.requests || load.started < load.requests) && (!load.ms || now_ns() < load.end_ns);
}

static void start(struct client *c, uint64_t from_ns);

static void next(struct client *c)
{
    load.active--;
    if (load.hold) { /* a few at a time, so that what is held is idle clients and not the traces of a burst */
        if (load.started < load.clients)
            start(&load.client[load.started], now_ns());
    } else if (load.rate == 0) {
        if (may_start())
            start(c, now_ns());
    } else if (load.waiting_n) {
        load.waiting_n--;
        start(c, load.waiting[load.waiting_at++ % WAITING]);
    } else {
        load.free[load.frees++] = (unsigned)(c - load.client);
    }
}

static void drop(struct client *c)
{
    close(c->fd);
    c->fd = -1;
    c->armed = false;
}

static void fail(struct client *c, const char *why)
{
    if (load.failed++ == 0)
        load.first_failure = why;
    drop(c);
    next(c);
}

static void arm(struct client *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(load.epoll, c->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e) < 0)
        bench_die("epoll_ctl");
    c->armed = true;
}

/* On loopback the handshake is usually over when connect returns, so that the request can follow at once. */
static void ask(struct client *c)
{
    ssize_t n = send(c->fd, load.request, load.request_n, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
        c->connecting = true;
        arm(c, EPOLLOUT);
    } else if (n != (ssize_t)load.request_n) {
        fail(c, n < 0 ? strerror(errno) : "short send");
    } else if (!c->armed || c->connecting) {
        c->connecting = false;
        arm(c, EPOLLIN);
    }
}

static void start(struct client *c, uint64_t from_ns)
{
    load.started++;
    load.active++;
    c->from_ns = from_ns;
    c->left = UINT64_MAX;
    c->head_n = 0;
    c->answered = false;
    if (c->fd < 0) {
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0)
            bench_die("socket");
        load.connections++;
        if (connect(c->fd, (struct sockaddr *)&load.target, sizeof(load.target)) < 0 && errno != EINPROGRESS) {
            fail(c, strerror(errno));
            return;
        }
    }
    ask(c);
}

/* Finds the head's end and the body's length. False: not a good response. */
static bool read_head(struct client *c)
{
    char *end = memmem(c->head, c->head_n, "\r\n\r\n", 4);
    if (!end)
        return c->head_n < sizeof(c->head) - 1;
    c->head[c->head_n] = 0;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 || !length || length > end)
        return false;
    uint64_t body = strtoull(length + 17, NULL, 10), got = (uint64_t)(c->head + c->head_n - end - 4);
    if (got > body)
        return false;
    c->left = body - got;
    return true;
}

static void answered(struct client *c)
{
    uint64_t took = now_ns() - c->from_ns;
    c->answered = true;
    load.done++;
    if (load.samples < SAMPLES)
        load.sample[load.samples++] = (uint32_t)(took / 10 < UINT32_MAX ? took / 10 : UINT32_MAX);
    if (load.kept)
        next(c);
}

/* True: there may be more to read. */
static bool take(struct client *c)
{
    bool head = c->left == UINT64_MAX;
    /* MSG_TRUNC: the kernel drops a body instead of copying it. */
    ssize_t n = head          ? recv(c->fd, c->head + c->head_n, sizeof(c->head) - 1 - c->head_n, 0)
                : c->answered ? recv(c->fd, load.scratch, 1, 0)
                              : recv(c->fd, load.scratch, 1 << 20, MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (c->answered) { /* the FIN that a short client waits for */
        if (n != 0) {
            fail(c, "not a FIN after the response");
            return false;
        }
        drop(c);
        next(c);
        return false;
    }
    if (n <= 0) {
        fail(c, n < 0 ? strerror(errno) : "closed before the end of the response");
        return false;
    }
    if (head) {
        c->head_n += (size_t)n;
        if (!read_head(c)) {
            fail(c, "a bad response");
            return false;
        }
    } else {
        c->left -= (uint64_t)n < c->left ? (uint64_t)n : c->left;
    }
    if (c->left != 0)
        return true;
    answered(c);
    return !load.kept;
}

static void on_client(struct client *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->connecting)
        ask(c);
    else if (c->answered && load.kept)
        fail(c, "an idle connection was closed");
    else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        while (take(c))
            ;
}

static void arm_timer(void)
{
    struct itimerspec at = {.it_value = {(time_t)(load.next_ns / 1000000000), (long)(load.next_ns % 1000000000)}};
    timerfd_settime(load.timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_tick(void)
{
    uint64_t times;
    if (read(load.timer, &times, sizeof(times)) < 0)
        return;
    for (uint64_t now = now_ns(); load.next_ns <= now && may_start(); load.next_ns += 1000000000 / load.rate) {
        if (load.frees)
            start(&load.client[load.free[--load.frees]], load.next_ns);
        else if (load.waiting_n < WAITING)
            load.waiting[(load.waiting_at + load.waiting_n++) % WAITING] = load.next_ns;
        else
            load.shed++;
    }
    if (may_start())
        arm_timer();
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double quantile_us(double q)
{
    return load.samples ? load.sample[(uint64_t)((double)(load.samples - 1) * q)] / 100.0 : 0;
}

static void report(uint64_t elapsed_ns)
{
    qsort(load.sample, load.samples, sizeof(*load.sample), by_value);
    printf("{\"started\":%llu,\"done\":%llu,\"failed\":%llu,\"shed\":%llu,\"connections\":%llu,\"seconds\":%.6f,"
           "\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f,\"first_failure\":"
           "\"%s\"}\n",
           (unsigned long long)load.started, (unsigned long long)load.done, (unsigned long long)load.failed,
           (unsigned long long)load.shed, (unsigned long long)load.connections, (double)elapsed_ns / 1e9,
           quantile_us(0.5), quantile_us(0.9), quantile_us(0.99), quantile_us(0.999), quantile_us(1),
           load.first_failure ? load.first_failure : "");
    fflush(stdout);
}

static void hold(void)
{
    sigset_t set;
    int which;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    printf("holding\n");
    fflush(stdout);
    sigwait(&set, &which);
}

static bool options(int argc, char **argv)
{
    const struct {
        const char *name;
        uint64_t *value;
    } known[] = {{"--port", &load.port}, {"--clients", &load.clients},   {"--kept", &load.kept},
                 {"--rate", &load.rate}, {"--requests", &load.requests}, {"--ms", &load.ms},
                 {"--hold", &load.hold}};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        if (strcmp(argv[i], "--path") == 0 && i + 1 < argc) {
            load.path = argv[i + 1];
            continue;
        }
        while (k < sizeof(known) / sizeof(*known) && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == sizeof(known) / sizeof(*known) || i + 1 == argc)
            return false;
        *known[k].value = bench_number(argv[i + 1]);
    }
    return load.port && load.clients && (load.requests || load.ms || load.hold);
}

static void prepare(void)
{
    bench_descriptors();
    load.kept |= load.hold;
    load.target = bench_address(load.port);
    load.request_n = (size_t)snprintf(load.request, sizeof(load.request),
                                      "GET %s HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench/1\r\n"
                                      "Accept: */*\r\n%s\r\n",
                                      load.path ? load.path : "/index.html?a=1", load.kept ? "" : "Connection: close\r\n");
    load.client = calloc(load.clients, sizeof(*load.client));
    load.free = calloc(load.clients, sizeof(*load.free));
    load.waiting = calloc(WAITING, sizeof(*load.waiting));
    load.sample = calloc(SAMPLES, sizeof(*load.sample));
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!load.client || !load.free || !load.waiting || !load.sample || load.epoll < 0 || load.timer < 0)
        bench_die("no memory or descriptors");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(load.epoll, EPOLL_CTL_ADD, load.timer, &e);
    for (unsigned i = 0; i < load.clients; i++)
        load.client[i].fd = -1;
}

static void begin(void)
{
    load.begin_ns = now_ns();
    load.end_ns = load.begin_ns + load.ms * 1000000;
    for (unsigned i = 0; i < load.clients; i++) {
        if (load.rate)
            load.free[load.frees++] = i;
        else if (may_start() && (!load.hold || i < HOLD_AT_ONCE))
            start(&load.client[i], now_ns());
    }
    load.next_ns = load.begin_ns;
    if (load.rate)
        arm_timer();
}

int main(int argc, char **argv)
{
    if (!options(argc, argv)) {
        fprintf(stderr, "usage: bench_client --port N --clients N [--kept 1] [--rate N] [--requests N] [--ms N] "
                        "[--hold 1]\n");
        return 2;
    }
    prepare();
    begin();
    while (load.active || load.waiting_n || (load.rate && may_start())) {
        struct epoll_event e[256];
        int n = epoll_wait(load.epoll, e, 256, STALL_MS);
        if (n == 0) {
            load.failed += load.active;
            load.first_failure = "nothing came for 20 s";
            break;
        }
        for (int i = 0; i < n; i++) {
            if (e[i].data.ptr)
                on_client(e[i].data.ptr, e[i].events);
            else
                on_tick();
        }
    }
    uint64_t elapsed = now_ns() - load.begin_ns;
    if (load.hold && !load.failed)
        hold();
    report(elapsed);
    return load.failed || load.shed ? 1 : 0;
}
