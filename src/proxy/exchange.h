/* exchange.h: one request and its response as the proxy carries it. exchange.c leads, relay.c carries; request.c and response.c make the
 * messages, tunnel.c takes over after a 101, access_log.c writes the line. */
#ifndef LASTACK_PROXY_EXCHANGE_H
#define LASTACK_PROXY_EXCHANGE_H

#include "lastack/proxy.h"
#include "lastack/proxy_header.h"

/* Where an exchange is; in dumps and logs. */
#define LA_EXCHANGE_STATES(X) \
    X(READING, "reading")   /* the request body is being buffered */      \
    X(QUEUED, "queued")     /* waits for a connection */                  \
    X(CALLING, "calling")   /* request on its way, or its response awaited */ \
    X(RELAYING, "relaying") /* response under way */                      \
    X(ENDING, "ending")     /* the server is done, the client not yet */  \
    X(ABORTED, "aborted")   /* the client left: the response is read off */ \
    X(TUNNEL, "tunnel")                                                    \
    X(OVER, "over")
enum la_exchange_state {
#define X(id, name) LA_X_##id,
    LA_EXCHANGE_STATES(X)
#undef X
    LA_X_STATES
};

struct tunnel;
struct la_pin;
struct la_static;

struct la_exchange {
    struct la_list node; /* proxy->live */
    struct la_proxy *proxy;
    struct la_view *view;
    struct la_door *door;
    struct la_branch *branch; /* NULL: no upstream chosen */
    const struct la_conf_upstream *conf; /* of its view */
    struct la_waiter waiter;
    enum la_exchange_state state;
    bool stream_body;  /* request_mode: stream */
    bool body_complete;
    bool held;         /* the whole body can be sent again */
    bool free_me, logged, late, upgrade;
    bool binds; /* authenticates its connection: that is the client's from then on */
    unsigned retries;
    bool redialed; /* one of them was in a lost connection's place */
    struct la_pin *waits_for; /* the client's own connection, in use */
    struct tunnel *tunnel; /* after a 101 */
    struct la_server *tunnel_of; /* whose count of tunnels holds one for it */
    struct la_list late_node;
    struct la_buf *encoded;
    struct la_buf *trailers; /* the request's, as lines */
    struct la_spool *body;   /* what was buffered; NULL: none, or inline */
    struct la_slice inline_body;
    size_t inline_at;
    /* for the log; slices lie in the client's buffer and go with the client */
    struct la_slice method, target, host, agent, referer;
    const char *tls; /* the client's protocol version; NULL: plain */
    bool tls_resumed;
    uint8_t minor;
    int status;
    enum la_err error;
    struct la_server *server; /* referenced: last one tried */
    uint64_t conn_id, conn_reuse;
    struct la_port_pair *pair; /* its source; kept by server */
    uint64_t start_ns, queued_ns, begun_ns, first_byte_ns, end_ns;
    uint64_t queue_ns, connect_ns, backend_ns;
    uint64_t body_in, body_out;
    uint64_t drained;       /* of a response whose client has left */
    struct la_static *file; /* a file that is the answer */
    struct la_wants *wants; /* kept for a script that may name a file */
    bool accel;             /* it did: what it printed itself is dropped */
    enum la_err accel_error;
    /* not cleared, or by those who own them: */
    struct la_addr peer;
    struct la_call call;
    struct la_turn turn;
    char preface[LA_PROXY_HEADER_WRITTEN]; /* for servers that want a PROXY header */
};

struct la_exchange *la_exchange_of_turn(struct la_turn *t);
extern const struct la_service la_exchange_service;

/* request.c: makes the request for the server in p->request and encodes it. */
enum la_err la_request_make(struct la_exchange *x, const struct la_http_head *head, const struct la_conf_route *route);
size_t la_request_trailers(const struct la_exchange *x, char *buf, size_t cap); /* those that pass, as lines; 0: none */
struct la_slice la_request_scheme(const struct la_exchange *x); /* of the client's request: "http" or "https" */
/* response.c */
/* Via: the version that the message came with, and who we are. */
static inline struct la_slice la_via(unsigned minor)
{
    return minor ? LA_SLICE("1.1 lastack") : LA_SLICE("1.0 lastack");
}
void la_response_from_head(struct la_exchange *x, const struct la_http_head *h);
void la_response_error(struct la_exchange *x, enum la_err e); /* answers on the turn */
struct la_response *la_response_fresh(struct la_exchange *x); /* the worker's scratch one, emptied */
struct la_slice la_response_date(const struct la_exchange *x);
/* tunnel.c: client and connection become a tunnel; the exchange is logged when it ends. */
void la_tunnel_start(struct la_exchange *x, const struct la_http_head *h, struct la_slice early);
void la_tunnel_close(struct la_exchange *x);
/* pin.c */
bool la_pin_asked(const struct la_http_head *h); /* does this request authenticate its connection? */
/* Binds c to the client of x. False: no place among pool.tunnels, or no client. */
bool la_pin_bind(struct la_exchange *x, struct la_conn *c);
/* The client's own connection to this upstream; *c NULL: x goes on when it is free. False: it has none. */
bool la_pin_take(struct la_exchange *x, struct la_conn **c);
void la_pin_forget(struct la_exchange *x); /* x waits for none any more */
/* A response head: binds its connection if it challenges so. False: it was refused, and x answered. */
bool la_pin_response(struct la_exchange *x, const struct la_http_head *h);
void la_pin_strip(const struct la_exchange *x, const struct la_http_head *h, struct la_fields *f);
void la_pin_end(struct la_client *client);
/* access_log.c */
void la_access_log_write(struct la_access_log *a, const struct la_exchange *x);
bool la_access_log_is_on(const struct la_access_log *a);
void la_access_log_command(struct la_access_log *a, const char *listener, const struct la_command_note *n);
/* relay.c */
extern const struct la_call_events la_relay_events;
void la_relay_on_room(struct la_turn *t);
void la_relay_client_left(struct la_exchange *x); /* while its call is under way */
void la_relay_abandon(struct la_exchange *x, enum la_close_cause cause); /* resets the connection, ends the exchange */
/* exchange.c */
void la_exchange_acquire(struct la_exchange *x); /* gets it a connection, or into the line for one; x may be gone then */
/* Answers with an error of our own; when the response has begun the client is shown that it ends early. */
void la_exchange_fail(struct la_exchange *x, enum la_err e);
void la_exchange_count_call(struct la_exchange *x);
void la_exchange_log(struct la_exchange *x); /* before the client's buffer goes */
void la_exchange_release_tunnel(struct la_exchange *x);
/* Between these it may end, and stays until the latter. False: it has ended, and may be gone. */
void la_exchange_hold(struct la_exchange *x);
bool la_exchange_let_go(struct la_exchange *x);
void la_exchange_free(struct la_exchange *x); /* when no callback of its call is on the stack any more */
void la_exchange_over(struct la_exchange *x); /* logs, lets go of everything, frees */
void la_exchange_kill(struct la_exchange *x); /* at exit: drops what is under way */
const char *la_exchange_state_name(enum la_exchange_state s);

#endif
