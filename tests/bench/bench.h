/* bench.h: what the benchmark's programs share: the origin's response head, addresses, numbers, despair.
 *
 * They speak to each other over loopback IPv4 only, and trust each other: nothing here checks what a proxy on
 * the internet would have to. Any error that is not part of a measurement ends the program with its reason.
 */
#ifndef LASTACK_BENCH_H
#define LASTACK_BENCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BENCH_FDS 65536 /* tables indexed by descriptor have so many entries */

static inline _Noreturn void bench_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline uint64_t bench_number(const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || v < 0 || v > 1e15) {
        fprintf(stderr, "not a number: %s\n", text);
        exit(2);
    }
    return (uint64_t)v;
}

static inline struct sockaddr_in bench_address(uint64_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static inline int bench_listen(uint64_t port, bool defer)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = bench_address(port);
    if (fd < 0)
        bench_die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (defer)
        setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0)
        bench_die("listen");
    return fd;
}

/* As many descriptors as this process may have; they are what bounds the number of clients. */
static inline void bench_descriptors(void)
{
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max < BENCH_FDS ? most.rlim_max : BENCH_FDS;
        setrlimit(RLIMIT_NOFILE, &most);
    }
}

/* The origin's response head; the floor knows the response's length from it without looking. */
#define BENCH_HEAD 160
static inline size_t bench_head(char *out, uint64_t bytes)
{
    return (size_t)snprintf(out, BENCH_HEAD,
                            "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\n"
                            "Content-Length: %llu\r\n\r\n",
                            (unsigned long long)bytes);
}

#endif
