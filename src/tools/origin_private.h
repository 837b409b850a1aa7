/* origin_private.h (layer: tools): what the origin's own files share: the connection and who does what to it.
 *
 * origin.c owns connections and closes, origin_request.c reads requests, origin_reply.c makes responses,
 * origin_stats.c counts and serves the control port. All on the origin's thread. */
#ifndef LASTACK_TOOLS_ORIGIN_PRIVATE_H
#define LASTACK_TOOLS_ORIGIN_PRIVATE_H

#include "lastack/loop.h"
#include "tools/load_wire.h"
#include "tools/origin.h"

enum conn_state {
    CONN_HEAD,    /* between requests, or in a head */
    CONN_BODY,    /* in a request body */
    CONN_DELAY,   /* working, or waiting for a worker */
    CONN_WRITE,   /* in a response */
    CONN_STALL,   /* never says another word */
    CONN_GOODBYE, /* asked to close, waits goodbye_delay_ms */
    CONN_LINGER,  /* our FIN is out; reads until the peer's */
    CONN_TUNNEL,  /* echoes */
};

/* How one response shall look. */
struct reply {
    int status;
    enum la_origin_fault fault;
    uint64_t size, chunk, rate, delay_us, announce_s, interim, head_bytes;
    bool chunked, until_close, trailers, close, silent, upgrade;
};

#define ORIGIN_OUT 16384

struct conn {
    struct la_list node;  /* la_origin.conns */
    struct la_list delay; /* la_origin.delays, or .waiting for a worker */
    uint64_t due_ns;
    struct la_origin *o;
    struct la_io io;
    struct la_timer timer;
    int fd;
    enum conn_state state;
    bool counted;     /* under the cap and in `open` */
    bool busy;        /* a request is being answered */
    bool working;     /* holds a worker */
    bool goodbye;     /* answered a request marked Connection: close */
    bool body_unread; /* answered early: the rest of the request is dropped */
    bool to_head, token_body, unsafe_method, request_close;
    char token[LA_WIRE_TOKEN + 1];
    uint64_t served, goodbye_ns, body_at;
    char *in;
    size_t in_n, in_cap;
    struct la_wire_body body;
    struct reply reply;
    uint64_t sent, stop_at; /* of the response body; where a fault strikes */
    bool finishing;         /* the last bytes are in out */
    char *out;              /* NULL until the first response */
    size_t out_at, out_n, out_cap;
    uint64_t allowance; /* body bytes that may be written now, with reply.rate */
};

/* A set of 64-bit tokens, bounded; the origin sees every request's token once. */
struct token_set {
    uint64_t *slot;
    size_t used, cap;
};
bool token_set_add(struct token_set *t, uint64_t token); /* false: was there */
void token_set_fini(struct token_set *t);

struct la_origin {
    struct la_origin_conf conf;
    struct la_origin_counts n;
    struct la_addr address;
    struct la_loop *loop;
    int fd, control_fd, delay_fd;
    struct la_io io, control_io, delay_io;
    struct la_timer accept_pause;
    struct la_mail stop;
    struct la_list conns;
    struct la_list delays;  /* by due_ns */
    struct la_list waiting; /* for a worker */
    uint64_t working;
    struct token_set tokens;
    struct la_hist goodbye_us;
    uint64_t busy_since_ns, busy_ns, window_from_ns,
        window_to_ns; /* window: first request begun to last one done */
    uint64_t random;
};

#define ORIGIN_ADD(o, name, by)                                                                              \
    atomic_store_explicit(&(o)->n.name, atomic_load_explicit(&(o)->n.name, memory_order_relaxed) + (by),     \
                          memory_order_relaxed)
#define ORIGIN_GET(o, name) atomic_load_explicit(&(o)->n.name, memory_order_relaxed)

/* origin.c */
enum closer { CLOSER_ORIGIN, CLOSER_PEER_FIN, CLOSER_PEER_RST };
void conn_close(struct conn *c, enum closer who); /* frees c */
void conn_reset(struct conn *c);                  /* RST, frees c */
void conn_finish(struct conn *c);                 /* FIN, then lingers */
void conn_next(struct conn *c);                   /* the response is complete; may free c */
void conn_wait_idle(struct conn *c);              /* from now on until idle_ms */
void conn_work(struct conn *c);                   /* the request is complete: wait, then answer; may free c */
int origin_listen(const struct la_addr *a, bool reuse_port);
void origin_listening(struct la_origin *o, bool on);
void origin_close_idle(struct la_origin *o);
void origin_reset_all(struct la_origin *o);

/* origin_request.c */
void conn_process(struct conn *c); /* does what the bytes in c->in allow; may free c */

/* origin_reply.c */
void reply_plan(struct conn *c, const struct la_wire_head *h);
void reply_start(struct conn *c); /* may free c, as do the next two */
void reply_write(struct conn *c);
void reply_tick(struct conn *c); /* the timer while in CONN_WRITE */

/* origin_stats.c */
void stats_busy(struct la_origin *o, int change);
void stats_reset(struct la_origin *o);
void stats_control(struct la_io *io, int events); /* a control connection is waiting */

#endif
