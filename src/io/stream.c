/* stream.c: the transport seam. Plain sockets are handled here; another transport brings its own operations. */
#include "lastack/stream.h"
#include "io/sys.h"
#include "lastack/sock.h"

#include <errno.h>

void la_stream_init(struct la_stream *s, struct la_loop *loop, int fd, void (*cb)(struct la_io *, int events))
{
    la_io_init(&s->io, loop, fd, cb);
    s->transport = NULL;
    s->state = NULL;
}

static ssize_t judge(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? LA_STREAM_AGAIN : LA_STREAM_FAIL;
}

int la_stream_handshake(struct la_stream *s, int *want)
{
    return s->transport ? s->transport->handshake(s, want) : 0;
}

ssize_t la_stream_recv(struct la_stream *s, void *p, size_t n)
{
    if (s->transport)
        return s->transport->recv(s, p, n);
    return judge(la_sys_recv(la_stream_fd(s), p, n, 0));
}

ssize_t la_stream_send(struct la_stream *s, const struct iovec *v, int n, bool more)
{
    if (s->transport)
        return s->transport->send(s, v, n, more);
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    if (n == 1)
        return judge(la_sys_send(la_stream_fd(s), v[0].iov_base, v[0].iov_len, flags));
    /* sendmsg takes its vector by a pointer that is not const but does not write through it. */
    struct msghdr m = {.msg_iovlen = (size_t)n};
    memcpy(&m.msg_iov, &v, sizeof v);
    return judge(la_sys_sendmsg(la_stream_fd(s), &m, flags));
}

bool la_stream_fin(const struct la_stream *s)
{
    return s->transport == NULL || s->transport->fin(s);
}

bool la_stream_cut(const struct la_stream *s)
{
    return s->transport && s->transport->fin(s);
}

int la_stream_peek(struct la_stream *s)
{
    return s->transport ? s->transport->peek(s) : la_sock_peek(la_stream_fd(s));
}

size_t la_stream_unheard(const struct la_stream *s)
{
    return s->transport ? 0 : la_sock_unheard(la_stream_fd(s));
}

void la_stream_shutdown(struct la_stream *s)
{
    if (s->transport)
        s->transport->shutdown(s);
    else
        shutdown(la_stream_fd(s), SHUT_WR);
}

void la_stream_goodbye(struct la_stream *s)
{
    if (s->transport)
        s->transport->goodbye(s, false);
}

static void forget(struct la_stream *s)
{
    la_io_stop(&s->io);
    if (s->transport)
        s->transport->free(s);
    s->transport = NULL;
}

void la_stream_close(struct la_stream *s)
{
    if (s->transport)
        s->transport->goodbye(s, true);
    forget(s);
    la_sys_close(la_stream_fd(s));
}

void la_stream_reset(struct la_stream *s)
{
    forget(s);
    la_sock_reset(la_stream_fd(s));
}

void la_stream_detach(struct la_stream *s)
{
    if (s->transport)
        s->transport->detach(s);
    la_io_detach(&s->io);
}

void la_stream_adopt(struct la_stream *s, const struct la_stream *from, struct la_loop *loop,
                     void (*cb)(struct la_io *, int events))
{
    int fd = la_stream_fd(from); /* it may be s */
    *s = (struct la_stream){.transport = from->transport, .state = from->state};
    la_io_init(&s->io, loop, fd, cb);
}
