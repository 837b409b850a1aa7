/* origin.c: the cheapest origin: every request gets the same response on a connection that stays open.
 *
 *   bench_origin PORT BODY-BYTES COUNTS-FILE
 *
 * peer_backend verifies and can misbehave, which costs more than a proxy under test does; this one looks for
 * the empty line that ends a head, sends, and counts: connections and requests, as two 64-bit numbers in a
 * mapped file that the benchmark reads while it runs. A request that says Connection: close is answered and
 * then closed on. No request bodies, no pipelining. One thread; ends by SIGTERM. */
#include "bench.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>

struct counts {
    _Atomic uint64_t connections, requests;
};

static struct {
    int epoll, listener;
    struct counts *counts;
    char *response;
    size_t response_n;
    size_t sent[BENCH_FDS]; /* of the response under way; 0: none */
    bool last[BENCH_FDS];
} origin;

static void watch(int fd, uint32_t events, int op)
{
    struct epoll_event e = {.events = events, .data.fd = fd};
    if (epoll_ctl(origin.epoll, op, fd, &e) < 0)
        bench_die("epoll_ctl");
}

static void on_accept(void)
{
    int fd = accept4(origin.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (fd >= BENCH_FDS)
        bench_die("too many connections");
    origin.counts->connections++;
    origin.sent[fd] = 0;
    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
}

/* Sends what is left; arms for writing when the kernel takes no more. */
static void go_on(int fd, bool armed)
{
    size_t at = origin.sent[fd];
    ssize_t n = send(fd, origin.response + at, origin.response_n - at, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        close(fd);
        return;
    }
    at += n > 0 ? (size_t)n : 0;
    bool done = at == origin.response_n;
    origin.sent[fd] = done ? 0 : at;
    if (done && origin.last[fd])
        close(fd);
    else if (done == armed)
        watch(fd, done ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
}

static void on_request(int fd)
{
    char in[16384];
    ssize_t n = recv(fd, in, sizeof(in), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(fd);
        return;
    }
    if (n < 4 || memcmp(in + n - 4, "\r\n\r\n", 4) != 0)
        bench_die("a request that did not come in one piece");
    origin.counts->requests++;
    origin.last[fd] = memmem(in, (size_t)n, "onnection: close", 16) != NULL;
    go_on(fd, false);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: bench_origin PORT BODY-BYTES COUNTS-FILE\n");
        return 2;
    }
    bench_descriptors();
    int file = open(argv[3], O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file < 0 || ftruncate(file, sizeof(struct counts)) < 0)
        bench_die(argv[3]);
    origin.counts = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint64_t bytes = bench_number(argv[2]);
    origin.response = malloc(BENCH_HEAD + bytes);
    if (origin.counts == MAP_FAILED || !origin.response)
        bench_die("memory");
    origin.response_n = bench_head(origin.response, bytes);
    memset(origin.response + origin.response_n, 'x', bytes);
    origin.response_n += bytes;
    origin.epoll = epoll_create1(EPOLL_CLOEXEC);
    origin.listener = bench_listen(bench_number(argv[1]), false);
    watch(origin.listener, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        struct epoll_event e[256];
        int n = epoll_wait(origin.epoll, e, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = e[i].data.fd;
            if (fd == origin.listener)
                on_accept();
            else if (e[i].events & EPOLLOUT)
                go_on(fd, true);
            else
                on_request(fd);
        }
    }
}
