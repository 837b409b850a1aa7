/* floor.c: the least that any proxy over sockets must do; the limit that the others are compared with.
 *
 *   bench_floor PORT ORIGIN-PORT BODY-BYTES [kept] [more] [ask=LINE]
 *
 * It answers every request with what the origin says to a fixed one (the client's own may hold a Connection:
 * close that is not the origin's business), without looking at either. A short client costs accept4, recv,
 * send | epoll_wait | recv, send, close; `kept` keeps the client's connection, watched from accept on. The
 * origin's connections stay open and watched for reading. The response's length is known beforehand. `more`:
 * the response's last bytes wait for the close, so that data and FIN leave in one segment. `ask`: that line instead of
 * HTTP, and BODY-BYTES are the whole answer. Not a proxy: it
 * never parses, verifies, bounds, times or counts anything; clients' sockets block, which is safe only
 * because the benchmark's client reads everything. One thread; ends by SIGTERM. */
#include "bench.h"

#include <sys/epoll.h>

/* As long as what the proxies make of the client's request. */
static const char http[] =
    "GET /index.html?a=1 HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench/1\r\nAccept: */*\r\n"
    "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
    "X-Forwarded-Host: bench.test\r\nVia: 1.1 floor\r\n\r\n";

enum kind { CLIENT, UPSTREAM };

static struct {
    int epoll, listener;
    bool kept, more;
    uint64_t origin_port;
    const char *request;
    size_t request_n, response_n;
    struct {
        enum kind kind;
        int peer; /* -1: none */
        size_t left;
    } of[BENCH_FDS];
    int idle[BENCH_FDS], idles;
    char buffer[1 << 18];
} proxy;

static void watch(int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(proxy.epoll, EPOLL_CTL_ADD, fd, &e) < 0)
        bench_die("epoll_ctl");
}

static int get_upstream(void)
{
    if (proxy.idles)
        return proxy.idle[--proxy.idles];
    struct sockaddr_in a = bench_address(proxy.origin_port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        bench_die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    proxy.of[fd].kind = UPSTREAM;
    watch(fd);
    return fd;
}

static void on_client(int fd)
{
    ssize_t n = recv(fd, proxy.buffer, sizeof(proxy.buffer), 0);
    if (n <= 0) {
        close(fd);
        return;
    }
    int up = get_upstream();
    proxy.of[up].peer = fd;
    proxy.of[up].left = proxy.response_n;
    if (send(up, proxy.request, proxy.request_n, MSG_NOSIGNAL) != (ssize_t)proxy.request_n)
        bench_die("send to the origin");
}

static void on_accept(void)
{
    int fd = accept4(proxy.listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    proxy.of[fd].kind = CLIENT;
    if (proxy.kept)
        watch(fd);
    on_client(fd);
}

static void on_upstream(int fd)
{
    ssize_t n = recv(fd, proxy.buffer, sizeof(proxy.buffer), 0);
    int client = proxy.of[fd].peer;
    if (n <= 0 || (size_t)n > proxy.of[fd].left)
        bench_die("the origin left or said too much");
    proxy.of[fd].left -= (size_t)n;
    bool done = proxy.of[fd].left == 0, last = done && !proxy.kept;
    ssize_t sent = send(client, proxy.buffer, (size_t)n, MSG_NOSIGNAL | (last && proxy.more ? MSG_MORE : 0));
    if (sent != n && errno != EPIPE && errno != ECONNRESET && errno != EBADF)
        bench_die("send to the client");
    if (done)
        proxy.idle[proxy.idles++] = fd;
    if (last)
        close(client);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: bench_floor PORT ORIGIN-PORT BODY-BYTES [kept] [more] [ask=LINE]\n");
        return 2;
    }
    char head[BENCH_HEAD];
    static char line[256];
    bench_descriptors();
    proxy.origin_port = bench_number(argv[2]);
    uint64_t bytes = bench_number(argv[3]);
    proxy.response_n = bench_head(head, bytes) + bytes;
    proxy.request = http;
    proxy.request_n = sizeof(http) - 1;
    for (int i = 4; i < argc; i++) {
        proxy.kept |= strcmp(argv[i], "kept") == 0;
        proxy.more |= strcmp(argv[i], "more") == 0;
        if (strncmp(argv[i], "ask=", 4) == 0) {
            proxy.request = line;
            proxy.request_n = (size_t)snprintf(line, sizeof(line), "%.200s\r\n", argv[i] + 4);
            proxy.response_n = bytes;
        }
    }
    proxy.epoll = epoll_create1(EPOLL_CLOEXEC);
    proxy.listener = bench_listen(bench_number(argv[1]), true);
    watch(proxy.listener);
    for (;;) {
        struct epoll_event e[256];
        int n = epoll_wait(proxy.epoll, e, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = e[i].data.fd;
            if (fd == proxy.listener)
                on_accept();
            else if (proxy.of[fd].kind == CLIENT)
                on_client(fd);
            else
                on_upstream(fd);
        }
    }
}
