/* memc.c: the cheapest load of memcached clients: pages (open, gets, close), or clients that stay, or clients that
 * move large values.
 *
 *   bench_memc --port N --clients N --ms N [--host A.B.C.D] [--gets 20] [--kept 1] [--keys 1] [--size 100] [--large BYTES]
 *              [--connects 1]
 *
 * A page is a connection and --gets gets over it, one after the other; --kept: the connection stays and a page is
 * only its gets. --connects: a page opens so many, one after the other, as it does whose keys are on so many servers; the
 * gets take the last one. Each get names --keys keys out of 1,000 ("key:0000"...), whose values, of --size bytes, must be there:
 * an answer is known by its length, its first word and its END. --large: each client stores a value of so many bytes
 * and gets it back, all the time, and nothing is timed.
 *
 * Prints one JSON object: pages, gets, quantiles of both in microseconds. Exit 1 when an answer was wrong or none came
 * for 20 s. One thread, closed loop. */
#include "bench.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <time.h>

#define STALL_MS 20000
#define SAMPLES  (1u << 21)
#define KEYS     1000u
#define CONNECTS 8u

struct client {
    int fd, more[CONNECTS];
    bool storing; /* large: the value is on its way out */
    uint64_t left, page_ns, get_ns; /* gets of this page; when they began */
    size_t out_at, got;
    char first[8], last[8];
    uint64_t next_key;
};

static struct {
    uint64_t port, clients, ms, gets, kept, keys, size, large, connects;
    const char *host;
    int epoll;
    struct client *client;
    struct sockaddr_in target;
    uint64_t end_ns, pages, answers;
    uint32_t *page, *get; /* samples, 10 ns */
    uint64_t page_n, get_n;
    char *block; /* large: the set */
    size_t block_n, reply_n, large_n;
    const char *failed;
} load = {.clients = 1, .ms = 1000, .gets = 20, .keys = 1, .size = 100, .connects = 1, .host = "127.0.0.1"};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sample(uint32_t *to, uint64_t *n, uint64_t ns)
{
    if (*n < SAMPLES)
        to[(*n)++] = (uint32_t)(ns / 10 > UINT32_MAX ? UINT32_MAX : ns / 10);
}

static void fail(const char *why)
{
    if (load.failed == NULL)
        load.failed = why;
}

static int connected(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&load.target, sizeof load.target) != 0)
        fail("connect");
    return fd;
}

static void dial(struct client *c)
{
    int one = 1;
    c->page_ns = now_ns();
    for (uint64_t i = 1; i < load.connects; i++)
        c->more[i] = connected();
    c->fd = connected();
    if (load.failed)
        return;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int flags = fcntl(c->fd, F_GETFL);
    fcntl(c->fd, F_SETFL, flags | O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &e);
}

static void want(struct client *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(load.epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void send_block(struct client *c)
{
    ssize_t n = send(c->fd, load.block + c->out_at, load.block_n - c->out_at, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        fail("send");
    c->out_at += n > 0 ? (size_t)n : 0;
    want(c, c->out_at < load.block_n ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void ask(struct client *c)
{
    static char line[16 * KEYS];
    size_t n = 3;
    c->got = 0;
    c->get_ns = now_ns();
    if (load.large) {
        c->storing = !c->storing;
        c->out_at = 0;
        if (c->storing) {
            send_block(c);
            return;
        }
        if (send(c->fd, "get large\r\n", 11, MSG_NOSIGNAL) != 11)
            fail("send");
        return;
    }
    memcpy(line, "get", 3);
    for (uint64_t i = 0; i < load.keys; i++)
        n += (size_t)sprintf(line + n, " key:%04u", (unsigned)(c->next_key++ % KEYS));
    n += (size_t)sprintf(line + n, "\r\n");
    if (send(c->fd, line, n, MSG_NOSIGNAL) != (ssize_t)n)
        fail("send");
}

static void begin(struct client *c)
{
    c->left = load.gets;
    if (c->fd < 0)
        dial(c);
    else
        c->page_ns = now_ns();
    if (load.failed == NULL)
        ask(c);
}

static void answered(struct client *c)
{
    uint64_t now = now_ns();
    if (load.large) {
        load.answers++;
        ask(c);
        return;
    }
    if (memcmp(c->first, "VALUE ", 6) != 0 || memcmp(c->last, "END\r\n", 5) != 0)
        fail("answer");
    load.answers++;
    sample(load.get, &load.get_n, now - c->get_ns);
    if (--c->left) {
        ask(c);
        return;
    }
    if (!load.kept) {
        close(c->fd);
        for (uint64_t i = 1; i < load.connects; i++)
            close(c->more[i]);
        c->fd = -1;
        now = now_ns();
    }
    sample(load.page, &load.page_n, now - c->page_ns);
    load.pages++;
    if (now < load.end_ns || load.answers < load.clients)
        begin(c);
}

static size_t wanted(const struct client *c)
{
    return load.large ? c->storing ? 8 : load.large_n : load.reply_n;
}

static void readable(struct client *c)
{
    static char buf[1 << 18];
    ssize_t n = recv(c->fd, buf, sizeof buf, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            fail("hung up");
        return;
    }
    for (ssize_t i = 0; i < n && c->got + (size_t)i < 6; i++)
        c->first[c->got + (size_t)i] = buf[i];
    size_t keep = n < 5 ? (size_t)n : 5;
    memmove(c->last, c->last + keep, 5 - keep);
    memcpy(c->last + 5 - keep, buf + n - keep, keep);
    c->got += (size_t)n;
    if (c->got > wanted(c) || (c->got >= 6 && memcmp(c->first, "SERVER", 6) == 0))
        fail("answer");
    else if (c->got == wanted(c))
        answered(c);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double quantile(const uint32_t *p, uint64_t n, double q)
{
    return n ? p[(uint64_t)(q * (double)(n - 1))] / 100. : 0;
}

static void prepare(void)
{
    char line[64];
    size_t head = (size_t)snprintf(line, sizeof line, "VALUE key:0000 0 %llu\r\n", (unsigned long long)load.size);
    load.reply_n = load.keys * (head + load.size + 2) + 5;
    load.target = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port),
                                       .sin_addr.s_addr = inet_addr(load.host)};
    load.client = calloc(load.clients, sizeof *load.client);
    load.page = malloc(SAMPLES * sizeof *load.page);
    load.get = malloc(SAMPLES * sizeof *load.get);
    load.block = malloc(load.large + 128);
    if (!load.client || !load.page || !load.get || !load.block)
        exit(2);
    load.block_n = (size_t)sprintf(load.block, "set large 0 0 %llu\r\n", (unsigned long long)load.large);
    memset(load.block + load.block_n, 'x', load.large);
    load.block_n += load.large;
    memcpy(load.block + load.block_n, "\r\n", 2);
    load.block_n += 2;
    load.large_n = (size_t)snprintf(line, sizeof line, "VALUE large 0 %llu\r\n", (unsigned long long)load.large) + load.large + 7;
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
}

static void run(void)
{
    struct epoll_event e[64];
    uint64_t last = now_ns();
    load.end_ns = last + load.ms * 1000000u;
    for (uint64_t i = 0; i < load.clients; i++) {
        load.client[i].fd = -1;
        load.client[i].next_key = i * 37;
        begin(&load.client[i]);
    }
    for (uint64_t now = last; !load.failed && (now < load.end_ns || load.answers < load.clients); now = now_ns()) {
        int n = epoll_wait(load.epoll, e, 64, 100);
        if (n > 0)
            last = now;
        else if (now - last > STALL_MS * 1000000ull)
            fail("no answer");
        for (int i = 0; i < n && !load.failed; i++) {
            struct client *c = e[i].data.ptr;
            if (e[i].events & EPOLLOUT)
                send_block(c);
            if (e[i].events & ~(uint32_t)EPOLLOUT)
                readable(c);
        }
    }
}

int main(int argc, char **argv)
{
    struct {
        const char *name;
        uint64_t *to;
    } options[] = {{"port", &load.port}, {"clients", &load.clients}, {"ms", &load.ms},     {"gets", &load.gets},
                   {"kept", &load.kept}, {"keys", &load.keys},       {"size", &load.size}, {"large", &load.large},
                   {"connects", &load.connects}};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--host") == 0)
            load.host = argv[i + 1];
        for (size_t k = 0; k < sizeof options / sizeof *options; k++)
            if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, options[k].name) == 0)
                *options[k].to = strtoull(argv[i + 1], NULL, 10);
    }
    if (load.port == 0 || load.keys > KEYS || load.gets == 0 || load.connects - 1 >= CONNECTS) {
        fprintf(stderr, "usage: bench_memc --port N [--clients N] ...\n");
        return 2;
    }
    prepare();
    uint64_t start = now_ns();
    run();
    double seconds = (double)(now_ns() - start) / 1e9;
    if (load.failed || load.answers == 0) {
        fprintf(stderr, "failed: %s\n", load.failed ? load.failed : "no answers");
        return 1;
    }
    qsort(load.page, load.page_n, sizeof *load.page, by_size);
    qsort(load.get, load.get_n, sizeof *load.get, by_size);
    printf("{\"pages\": %llu, \"gets\": %llu, \"seconds\": %.4f, \"page_p50_us\": %.1f, \"page_p99_us\": %.1f, "
           "\"get_p50_us\": %.1f, \"get_p99_us\": %.1f}\n",
           (unsigned long long)load.pages, (unsigned long long)load.answers, seconds, quantile(load.page, load.page_n, .5),
           quantile(load.page, load.page_n, .99), quantile(load.get, load.get_n, .5), quantile(load.get, load.get_n, .99));
    return 0;
}
