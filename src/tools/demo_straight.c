/* demo_straight.c: the proxy without a pool, for comparison: one connection to the backend per request,
 * closed by us first.
 *
 * Owns: its listener and its exchanges. It carries what the demo's load sends: requests without a body,
 * responses under 64 KiB. Never reuses anything; that is its purpose. Good path: read the head, connect, send
 * it, read the response until it is complete, close the connection to the backend, answer, close. No port
 * left or any other trouble: 502. A process of its own. */
#include "tools/demo_private.h"

#include "lastack/loop.h"
#include "tools/load_wire.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51
#endif
#define BYTES 65536

struct exchange {
    struct la_io client, server;
    int client_fd, server_fd;
    char in[BYTES];
    size_t n;
};

static struct {
    const struct demo_host *h;
    struct la_loop *loop;
} straight;

static void drop_server(struct exchange *x)
{
    if (x->server_fd < 0)
        return;
    la_io_stop(&x->server);
    close(x->server_fd);
    x->server_fd = -1;
}

static void end(struct exchange *x, const char *answer, size_t n)
{
    drop_server(x);
    la_io_stop(&x->client);
    /* The client's socket buffer is empty and larger than any answer here. */
    if (n > 0 && send(x->client_fd, answer, n, MSG_NOSIGNAL) == (ssize_t)n)
        shutdown(x->client_fd, SHUT_WR);
    close(x->client_fd);
    free(x);
}

static void fail(struct exchange *x)
{
    static const char bad[] = "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    end(x, bad, sizeof(bad) - 1);
}

static void on_server(struct la_io *io, int events)
{
    struct exchange *x = la_container(io, struct exchange, server);
    if (events & LA_WRITE) {
        if (send(x->server_fd, x->in, x->n, MSG_NOSIGNAL) != (ssize_t)x->n) {
            fail(x);
            return;
        }
        x->n = 0;
        la_io_want(io, LA_READ);
        return;
    }
    ssize_t k = recv(x->server_fd, x->in + x->n, BYTES - x->n, 0);
    if (k < 0 && errno == EAGAIN)
        return;
    if (k <= 0) {
        fail(x);
        return;
    }
    x->n += (size_t)k;
    struct la_wire_head h;
    int r = la_wire_parse(&h, x->in, x->n, true, false);
    if (r == 1 && x->n >= h.head_n + h.length)
        end(x, x->in, x->n);
    else if (r < 0 || x->n == BYTES)
        fail(x);
}

static int dial(void)
{
    const struct demo_host *h = straight.h;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (!h->own_net) {
        uint32_t range = (uint32_t)DEMO_PORT_HIGH << 16 | DEMO_PORT_LOW;
        setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
    }
    if (bind(fd, &h->source.u.sa, h->source.len) == 0 &&
        (connect(fd, &h->backend.u.sa, h->backend.len) == 0 || errno == EINPROGRESS))
        return fd;
    close(fd);
    return -1;
}

static void on_client(struct la_io *io, int events)
{
    (void)events;
    struct exchange *x = la_container(io, struct exchange, client);
    ssize_t k = recv(x->client_fd, x->in + x->n, BYTES / 2 - x->n, 0);
    if (k < 0 && errno == EAGAIN)
        return;
    if (k <= 0) {
        end(x, NULL, 0);
        return;
    }
    x->n += (size_t)k;
    struct la_wire_head h;
    int r = la_wire_parse(&h, x->in, x->n, false, false);
    if (r == 0 && x->n < BYTES / 2)
        return;
    la_io_want(io, 0);
    if (r != 1) {
        fail(x);
        return;
    }
    char head[1024];
    int n = snprintf(head, sizeof(head), "%.*s %.*s HTTP/1.1\r\nHost: backend\r\nX-Token: %s\r\n\r\n",
                     LA_SLICE_ARGS(h.method), LA_SLICE_ARGS(h.target), h.token);
    x->server_fd = n > 0 && (size_t)n < sizeof(head) ? dial() : -1;
    if (x->server_fd < 0) {
        fail(x);
        return;
    }
    memcpy(x->in, head, (size_t)n);
    x->n = (size_t)n;
    la_io_init(&x->server, straight.loop, x->server_fd, on_server);
    la_io_want(&x->server, LA_WRITE);
}

static void on_accept(struct la_io *io, int events)
{
    (void)events;
    for (int fd; (fd = accept4(la_io_fd(io), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct exchange *x = la_xcalloc(1, sizeof(*x));
        x->client_fd = fd;
        x->server_fd = -1;
        la_io_init(&x->client, straight.loop, fd, on_client);
        la_io_want(&x->client, LA_READ);
    }
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    (void)mail;
}

int demo_straight_run(const struct demo_host *h)
{
    struct la_io io = {0};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    straight.h = h;
    straight.loop = la_loop_new(on_mail, NULL);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (!straight.loop || bind(fd, &h->listen.u.sa, h->listen.len) < 0 || listen(fd, 1024) < 0)
        return 1;
    la_io_init(&io, straight.loop, fd, on_accept);
    la_io_want(&io, LA_READ);
    la_loop_run(straight.loop);
    return 0;
}
