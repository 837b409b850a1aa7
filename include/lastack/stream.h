/* stream.h (layer: io): the transport seam: a connected byte stream on a loop. Plain TCP and Unix sockets here; TLS stands behind
 * the same operations, and nobody above knows which.
 *
 * The owner of the struct owns the descriptor; one of the three closing functions ends it. */
#ifndef LASTACK_STREAM_H
#define LASTACK_STREAM_H

#include "lastack/loop.h"
#include <sys/types.h>
#include <sys/uio.h>

#define LA_STREAM_AGAIN (-1) /* nothing now: wait for the event */
#define LA_STREAM_FAIL  (-2) /* errno says why */

struct la_stream;

/* What a transport does. Plain sockets have none (NULL). */
struct la_transport {
    const char *name;
    ssize_t (*recv)(struct la_stream *s, void *p, size_t n);
    ssize_t (*send)(struct la_stream *s, const struct iovec *v, int n, bool more);
    int (*peek)(struct la_stream *s);
    void (*shutdown)(struct la_stream *s);
    void (*free)(struct la_stream *s);
};

struct la_stream {
    struct la_io io;
    const struct la_transport *transport;
    void *state; /* the transport's */
};

void la_stream_init(struct la_stream *s, struct la_loop *loop, int fd, void (*cb)(struct la_io *, int events));
static inline int la_stream_fd(const struct la_stream *s) { return la_io_fd(&s->io); }
/* Bytes read, 0 at FIN, LA_STREAM_AGAIN, LA_STREAM_FAIL. */
ssize_t la_stream_recv(struct la_stream *s, void *p, size_t n);
/* Bytes written (may be fewer than given), LA_STREAM_AGAIN, LA_STREAM_FAIL. more: MSG_MORE, the caller sends or closes right
 * after. */
ssize_t la_stream_send(struct la_stream *s, const struct iovec *v, int n, bool more);
/* 0 quiet, 1 bytes wait, -1 FIN or error. */
int la_stream_peek(struct la_stream *s);
/* How many of the bytes sent the peer has not confirmed; 0 where that cannot be told. */
size_t la_stream_unheard(const struct la_stream *s);
void la_stream_shutdown(struct la_stream *s); /* our FIN; reading goes on */
void la_stream_close(struct la_stream *s);
void la_stream_reset(struct la_stream *s);    /* RST */
/* Takes the stream off its loop, so that another thread may adopt it with la_stream_adopt. */
void la_stream_detach(struct la_stream *s);
void la_stream_adopt(struct la_stream *s, const struct la_stream *from, struct la_loop *loop,
                     void (*cb)(struct la_io *, int events));

#endif
