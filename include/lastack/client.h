/* client.h (layer: proto): the client side of HTTP/1.1: connections, requests read from them, responses written to them.
 *
 * A client is a connection. A turn is one request and its response on it; the exchange embeds it. Turns of one client
 * follow each other (pipelined requests wait in the client's buffer). The client owns the socket and all client-side timeouts; the exchange owns the turn
 * and answers it exactly once: la_turn_respond, la_turn_send..., la_turn_end; or la_turn_abort.
 *
 * Callbacks may call turn functions. `done` and `gone` may be called from inside la_turn_respond, _send, _end, _flush and
 * _abort: after one of these look at t->client, it is NULL when the turn is over. */
#ifndef LASTACK_CLIENT_H
#define LASTACK_CLIENT_H

#include "lastack/env.h"
#include "lastack/message.h"
#include "lastack/tls.h"

struct la_turn;
struct la_client;

struct la_client_stats { /* one worker's counts for one listener */
    _Atomic int64_t connections;
    _Atomic uint64_t accepted, refused, requests, timeouts;
    _Atomic uint64_t handshake[LA_HANDSHAKE_END_COUNT];
    _Atomic uint64_t proxy_good, proxy_bad; /* PROXY protocol headers */
};

/* What the proxy does with requests. */
struct la_service {
    /* A request head is complete. `head` holds until the callback returns, the slices in it until the turn is over.
     * The callee calls la_turn_init first. False: no memory for it; the client is told 503 and closed. */
    bool (*request)(struct la_client *c, const struct la_http_head *head);
    /* A request that is none: answer with this error. False: the connection is just closed. */
    bool (*bad_request)(struct la_client *c, enum la_err e);
    /* A piece of the request body; last: it is complete. */
    void (*body)(struct la_turn *t, struct la_slice piece, bool last);
    /* The rest of the body will not come, but an answer may go out: bad chunk, too slow, too large. */
    void (*refused)(struct la_turn *t, enum la_err e);
    /* The client is gone; the turn has no client any more. */
    void (*gone)(struct la_turn *t, enum la_err e);
    /* The response was stuck and has room again. */
    void (*room)(struct la_turn *t);
    /* The response is on its way in full; the turn has no client any more. */
    void (*done)(struct la_turn *t);
    /* The client ends, and c->bound is not NULL. */
    void (*unbound)(struct la_client *c);
};

struct la_branch;
struct la_front;

struct la_client_view;

/* What clients of a front speak, when it is not HTTP/1.1. */
struct la_client_protocol {
    const char *name;
    /* Takes over the descriptor, which has been counted, and with it the stream that it was opened in; from NULL: a plain
     * one. unnamed: nobody has been told whose it is. */
    void (*accept)(struct la_front *f, int fd, struct la_stream *from, const struct la_addr *peer, bool unnamed);
    void (*drain)(struct la_front *f); /* idle clients are closed, others when they are answered */
    void (*close)(struct la_front *f); /* all of them, at once */
    /* Its clients with something under way. */
    void (*each)(struct la_front *f, void (*cb)(void *arg, const struct la_client_view *v), void *arg);
};
const struct la_client_protocol *la_client_protocol_find(enum la_protocol p); /* NULL: HTTP/1.1 */

/* A command and its answer, for the log. */
struct la_command_note {
    const struct la_addr *peer;
    const char *command;  /* "-": it was none */
    struct la_slice key;  /* the first one, as the client named it; may be cut short */
    size_t keys;          /* how many */
    const char *result;   /* the answer's first word; empty: nothing was answered */
    uint64_t hits, misses;
    uint64_t bytes_in, bytes_out; /* with line ends */
    const char *upstream, *server; /* server: of the first key; empty: none was asked */
    uint64_t total_ns;
    enum la_err error;
};

/* A client as it is at this moment. */
struct la_client_view {
    const struct la_addr *peer;
    const char *state;
    unsigned commands; /* under way */
    uint64_t held_bytes, since_ns;
};

/* One worker's part of a listener. Kept while any of its clients lives. */
struct la_front {
    struct la_env *env;
    const struct la_client_protocol *protocol; /* NULL: HTTP/1.1 */
    struct { /* protocols whose listeners have an upstream of their own */
        struct la_branch *branch, *failover, *warm; /* NULL: none */
        char prefix[104];
        uint8_t prefix_n;
        bool flush_allowed;
        char dir[256]; /* for what does not stay in memory */
    } pipe;
    const struct la_service *service;
    void *owner; /* the service's */
    struct la_client_stats *stats;
    const char *name;
    unsigned clients;
    unsigned unheard; /* commands that go on though their client has left */
    uint64_t handshake_ms, head_ms, body_ms, keepalive_ms, write_ms, min_rate;
    struct la_tls *tls;            /* referenced; NULL: plain */
    struct la_net *proxy_net;      /* whose PROXY header is required and believed; its own copy */
    size_t proxy_nets;
    bool half_close_serve;
    bool draining; /* responses close their connection; idle clients are closed */
    struct la_list list;    /* clients */
    struct la_list opening; /* of a protocol's: those that are not open yet, each a la_client */
    /* A PROXY header says whose connection this is; false: that one may have no more. May be NULL. */
    bool (*on_client_named)(struct la_front *f, const struct la_addr *peer);
    void (*on_client_end)(struct la_front *f, const struct la_addr *peer); /* len 0: nobody was named */
    /* Protocols of commands: does anybody want to be told of them? And one that was answered. May be NULL. */
    bool (*wants_commands)(struct la_front *f);
    void (*on_command)(struct la_front *f, const struct la_command_note *n);
};

struct la_client {
    struct la_stream stream;
    struct la_front *front;
    struct la_list node;
    struct la_timer timer;
    struct la_buf *in; /* NULL while nothing is unread */
    uint32_t at;       /* in->p[at..n) is unread: what follows the present head */
    uint8_t state;
    uint8_t entered;   /* callbacks under way: it is freed after the outermost */
    bool dead;
    bool half_closed;  /* its FIN was read */
    bool handed;       /* to another protocol: only this struct is left */
    bool proxy_due;    /* a PROXY header has to come first */
    bool unnamed;      /* it has not said whose connection it is: on_client_named was not asked */
    bool short_read;   /* the last recv brought less than there was room for: nothing more is unread */
    uint32_t served;   /* requests so far */
    size_t seen;       /* parser's progress */
    uint64_t since_ns; /* of the present phase: for total timeouts */
    struct la_turn *turn;
    void *bound;  /* the service's: what is bound to this client and ends with it; NULL: nothing */
    void *tunnel; /* whose socket it is after la_turn_to_tunnel */
    uint8_t peer_family;
    uint16_t peer_port;
    uint8_t peer_ip[16];
};

/* Takes over an accepted, non-blocking descriptor; reads at once. */
void la_client_new(struct la_front *f, int fd, const struct la_addr *peer);
/* Is this a peer that speaks for others, by PROXY headers? Its own address says nothing about its clients. */
bool la_front_is_hop(const struct la_front *f, const struct la_addr *peer);
/* A client is no more, or has never been. unnamed: its peer has not said for whom it speaks. */
void la_front_uncount(struct la_front *f, const struct la_addr *peer, bool unnamed);
void la_client_peer(const struct la_client *c, struct la_addr *out);
/* Stops reading new requests; closes idle clients now, others after their response. */
void la_front_drain(struct la_front *f);
/* Closes every client at once, their turns get `gone`. */
void la_front_close(struct la_front *f);

#define LA_TURN_IOV 12

/* One request and its response, the client's side. Zeroed by the exchange; `client` is set by the client. */
struct la_turn {
    struct la_client *client; /* NULL: gone or done */
    enum la_http_method method;
    uint8_t minor;
    bool keep_alive;     /* the client offers it */
    bool expects;        /* Expect: 100-continue and not answered yet */
    bool body_done;      /* request body completely read */
    bool body_paused;
    bool body_dropped;   /* read and thrown away */
    bool responded, ended, chunked, close, until_close, no_body, stuck, aborted;
    size_t read_max;     /* how much of the body may be read at a time; the exchange lowers it to the room it has */
    uint64_t body_bytes; /* read so far */
    uint64_t length_left; /* of the response */
    uint64_t sent_bytes; /* to the client, with heads */
    uint64_t progress_ns, paused_ns;
    struct la_http_body body;
    struct la_buf *trailer; /* trailer section of a chunked request */
    struct la_buf *head;    /* the response head */
    struct la_spool *spool; /* what the client has not taken yet */
    int iovs;
    unsigned chunks;
    struct la_spool_conf spool_conf; /* set by the exchange: where the response may pile up */
    /* not cleared: */
    struct iovec iov[LA_TURN_IOV];
    char chunk[3][LA_CHUNK_HEAD];
};

/* head NULL: for a request that is none. */
void la_turn_init(struct la_turn *t, struct la_client *c, const struct la_http_head *head);
/* Does this piece of body lie in the client's own buffer, where it holds until the turn is over? */
bool la_turn_holds(const struct la_turn *t, struct la_slice piece);
void la_turn_continue(struct la_turn *t); /* 100 Continue, if the client waits for it */
void la_turn_pause_body(struct la_turn *t, bool pause);
/* An interim response (1xx other than 101). */
void la_turn_interim(struct la_turn *t, const struct la_response *r);
void la_turn_respond(struct la_turn *t, const struct la_response *r);
/* The piece must hold until la_turn_flush. */
void la_turn_send(struct la_turn *t, struct la_slice piece);
/* The response is complete; raw trailer lines (CRLF each) may follow a chunked one. Flushes. */
void la_turn_end(struct la_turn *t, struct la_slice trailers);
void la_turn_flush(struct la_turn *t);
/* Bytes that may be sent before the response is stuck; 0: wait for room. */
size_t la_turn_room(struct la_turn *t);
/* There is no room: `room` is called when there is. May end in `gone`. */
void la_turn_wait_for_room(struct la_turn *t);
/* The response cannot be completed: the client must see that. */
void la_turn_abort(struct la_turn *t);
/* From now on watch for the client's leaving (its request is complete and the answer is late). */
void la_turn_watch(struct la_turn *t);
/* 101: the socket is the tunnel's now, with the bytes that were read too far (valid until the client is ended). */
struct la_client *la_turn_to_tunnel(struct la_turn *t, struct la_slice *early);
void la_client_end(struct la_client *c, bool reset); /* a tunnel's client */

#endif
