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

/* la_stream_peek */
#define LA_PEEK_QUIET  0
#define LA_PEEK_BYTES  1    /* bytes wait */
#define LA_PEEK_GONE   (-1) /* FIN or error */
#define LA_PEEK_ENDING (-2) /* it said that it ends, its FIN is still to come */

struct la_stream;

/* What a transport does. Plain sockets have none (NULL). */
struct la_transport {
    const char *name;
    int (*handshake)(struct la_stream *s, int *want);
    ssize_t (*recv)(struct la_stream *s, void *p, size_t n);
    ssize_t (*send)(struct la_stream *s, const struct iovec *v, int n, bool more);
    int (*peek)(struct la_stream *s);
    void (*shutdown)(struct la_stream *s);
    void (*goodbye)(struct la_stream *s, bool more);
    bool (*fin)(const struct la_stream *s);
    void (*detach)(struct la_stream *s);
    void (*free)(struct la_stream *s);
};

struct la_stream {
    struct la_io io;
    const struct la_transport *transport;
    void *state; /* the transport's */
};

void la_stream_init(struct la_stream *s, struct la_loop *loop, int fd, void (*cb)(struct la_io *, int events));
static inline int la_stream_fd(const struct la_stream *s) { return la_io_fd(&s->io); }
/* Before anything else: 0 when the stream is ready for bytes (a plain one is at once), LA_STREAM_AGAIN and *want (the event
 * to wait for), LA_STREAM_FAIL. */
int la_stream_handshake(struct la_stream *s, int *want);
/* Bytes read, 0 at the end, LA_STREAM_AGAIN, LA_STREAM_FAIL (also an end that a transport can tell to be forged). What is left
 * inside a transport is told by the loop like bytes in the socket. */
ssize_t la_stream_recv(struct la_stream *s, void *p, size_t n);
/* Bytes written (may be fewer than given), LA_STREAM_AGAIN, LA_STREAM_FAIL. more: MSG_MORE, the caller sends or closes right
 * after. */
ssize_t la_stream_send(struct la_stream *s, const struct iovec *v, int n, bool more);
/* After recv has said 0: has the peer's FIN come? A TLS peer says that it ends before it does; the FIN is then awaited by
 * recv, which says AGAIN until it comes and 0 again. */
bool la_stream_fin(const struct la_stream *s);
/* After recv has failed: because the FIN came and the peer had not said that it ends. Between messages that is an end like any
 * other, within one it may be an attack. */
bool la_stream_cut(const struct la_stream *s);
/* LA_PEEK_..., nothing is taken. */
int la_stream_peek(struct la_stream *s);
/* How many of the bytes sent the peer has not confirmed; 0 where that cannot be told. */
size_t la_stream_unheard(const struct la_stream *s);
/* Says that we send no more, where a transport can say so without a FIN: some peers wait for that before theirs. */
void la_stream_goodbye(struct la_stream *s);
void la_stream_shutdown(struct la_stream *s); /* our FIN; reading goes on */
void la_stream_close(struct la_stream *s);
void la_stream_reset(struct la_stream *s);    /* RST */
/* Takes the stream off its loop, so that another thread may adopt it with la_stream_adopt. */
void la_stream_detach(struct la_stream *s);
void la_stream_adopt(struct la_stream *s, const struct la_stream *from, struct la_loop *loop,
                     void (*cb)(struct la_io *, int events));

#endif
