/* sock.h (layer: io): sockets as the proxy uses them: listen, dial from a source, peek, reset. All non-blocking, close-on-exec.
 *
 * Functions return a descriptor or 0, and -errno on failure; the caller owns the descriptor. */
#ifndef LASTACK_SOCK_H
#define LASTACK_SOCK_H

#include "lastack/addr.h"
#include <sys/types.h>

struct la_listen_options {
    bool reuse_port;        /* TCP: one socket per worker */
    int backlog;
    unsigned defer_accept_s; /* TCP_DEFER_ACCEPT; 0 = off */
    unsigned unix_mode;     /* permission bits of a Unix socket's path */
    unsigned owner;         /* TCP: whose socket it is to be (SO_REUSEPORT is for one user's); 0: as it comes */
    unsigned user_timeout_ms; /* see la_sock_user_timeout; accepted sockets inherit it, and TCP_NODELAY */
};
/* A Unix path that is a socket nobody listens on any more is replaced. */
int la_sock_listen(const struct la_addr *a, const struct la_listen_options *o);
/* Removes a Unix path that is a socket nobody listens on any more. */
void la_sock_unlink_stale(const struct la_addr *a);
/* What of the options may change while it listens: backlog, permissions, timeout. Fails when permissions cannot be changed. */
int la_sock_relisten(int fd, const struct la_addr *a, const struct la_listen_options *o);
/* The file of a Unix socket that was just listened on. ino 0: there is none. */
struct la_sock_file {
    dev_t dev;
    ino_t ino;
};
struct la_sock_file la_sock_file_of(const struct la_addr *a);
/* Removes it, unless the path has become somebody else's. While the socket is open: then no other file can have its number. */
void la_sock_file_unlink(struct la_sock_file *f, const struct la_addr *a);
int la_sock_dup(int fd); /* another descriptor of the same socket */
/* Takes one connection; -EAGAIN when there is none. peer may be NULL. */
int la_sock_accept(int fd, struct la_addr *peer);

struct la_dial_options {
    const struct la_addr *source; /* NULL or len 0: the kernel's choice */
    uint16_t port;                /* bind this port; 0: the kernel picks */
    uint16_t port_low, port_high; /* IP_LOCAL_PORT_RANGE; 0: the sysctl's */
    unsigned user_timeout_ms;     /* TCP_USER_TIMEOUT and keep-alive probes; 0 = off */
};
/* Starts a connection: the descriptor is writable when it is decided; la_sock_error says how. */
int la_sock_dial(const struct la_addr *to, const struct la_dial_options *o);
int la_sock_error(int fd); /* SO_ERROR as -errno; 0: fine */

/* 0: quiet; 1: bytes wait; -1: FIN or error. Takes nothing. */
int la_sock_peek(int fd);
/* Has the peer said FIN, perhaps behind bytes that nobody has read yet, or broken it? half: a FIN is no leaving. */
bool la_sock_left(int fd, bool half);
/* Bytes sent that the peer's kernel has not confirmed. */
size_t la_sock_unheard(int fd);
/* Up to n bytes that wait, left where they are; 0 at FIN, -1 when there are none, -2 when it failed (as la_stream_recv). */
ssize_t la_sock_look(int fd, void *p, size_t n);
void la_sock_local(int fd, struct la_addr *out); /* its own address; len 0: unknown */
void la_sock_nodelay(int fd);
/* Keep-alive probes and TCP_USER_TIMEOUT so that a peer that vanished is noticed within about ms. */
void la_sock_user_timeout(int fd, unsigned ms);
void la_sock_reset(int fd);    /* closes with RST (SO_LINGER 0) */
/* True when this kernel has IP_LOCAL_PORT_RANGE (Linux 6.3). */
bool la_sock_has_port_range(void);

#endif
