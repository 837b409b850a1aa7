/* server.h (layer: upstream): what all workers share about one server and one upstream: the budget of places, the reuse
 * clock, health, the slots in which waiters are published. Atomics only on the request path.
 *
 * Made and dropped on the main thread; a worker holds a reference while it has a pool for the server. */
#ifndef LASTACK_SERVER_H
#define LASTACK_SERVER_H

#include "lastack/advice.h"
#include "lastack/conf.h"
#include "lastack/err.h"
#include "lastack/hist.h"
#include "lastack/ledger.h"
#include "lastack/tls.h"

/* A connection's states (DESIGN, the words). */
#define LA_CONN_STATES(X) \
    X(DIALING, "dialing") X(BUSY, "busy") X(IDLE, "idle") X(PARKED, "parked") X(LEAVING, "leaving") \
    X(PINNED, "pinned") X(TUNNEL, "tunnel")
enum la_conn_state {
#define X(id, name) LA_CONN_##id,
    LA_CONN_STATES(X)
#undef X
    LA_CONN_STATE_COUNT
};
const char *la_conn_state_name(enum la_conn_state s);

/* Who closed a connection, why, and what that means. */
#define LA_CLOSE_CAUSES(X)                                                                                                                \
    X(KEEPALIVE_TIMEOUT, "backend", "keepalive_timeout", "it hung up while the connection was idle or parked")                            \
    X(GOODBYE, "backend", "goodbye", "it hung up after a response to a request that asked it to")                                         \
    X(ANNOUNCED, "backend", "connection_close", "it hung up after a response that announced it")                                          \
    X(CLOSE_DELIMITED, "backend", "close_delimited", "its response ended with the connection")                                            \
    X(RACE, "backend", "race", "it hung up or reset before the first byte of a response")                                                 \
    X(INCOMPLETE, "backend", "incomplete_response", "it hung up or reset within a response")                                              \
    X(BACKEND_RESET, "backend", "reset", "it reset while the connection was idle, parked or leaving")                                     \
    X(BACKEND_TUNNEL, "backend", "tunnel_end", "it ended a tunnel (after an Upgrade)")                                                    \
    X(CONNECT_FAILED, "backend", "connect_failed", "it could not be connected to")                                                        \
    X(IDLE_CLOSE, "proxy", "idle_close", "idle for longer than pool.idle_close")                                                          \
    X(DRAIN, "proxy", "drain", "the proxy ends")                                                                                          \
    X(ABORTED, "proxy", "aborted_exchange", "its client left, or its exchange failed here; what is left of the response is not read off") \
    X(PROTOCOL_ERROR, "proxy", "protocol_error", "the response was malformed or over a bound")                                            \
    X(UNEXPECTED_BYTES, "proxy", "unexpected_bytes", "bytes came while it was idle or behind a response")                                 \
    X(TIMEOUT, "proxy", "timeout", "timeouts.send or timeouts.response")                                                                  \
    X(FORCED, "proxy", "forced", "the server did not hang up within pool.goodbye_timeout of a goodbye")                                   \
    X(PARKED_FOR_CAP, "proxy", "parked_for_cap", "parked, and its place was needed")                                                      \
    X(LEAVING_FOR_CAP, "proxy", "leaving_for_cap", "leaving, and its place was needed")                                                   \
    X(UNSENT_REQUEST, "proxy", "unsent_request", "the rest of the request was not sent: the response came early, or the disk failed")     \
    X(PROXY_TUNNEL, "proxy", "tunnel_end", "the client ended a tunnel, or timeouts.tunnel")                                               \
    X(PROXY_PINNED, "proxy", "pinned_end", "the client that it was bound to (NTLM, Negotiate) has left")                                  \
    X(TLS_FAILED, "proxy", "tls_failed", "the TLS handshake failed or took too long, or a certificate was refused")                       \
    X(CONNECT_TIMEOUT, "proxy", "connect_timeout", "timeouts.connect")                                                                    \
    X(HEALTH_CHECK, "proxy", "health_check", "an active check was over, or failed")                                                       \
    X(WORKER_BUSY, "proxy", "worker_busy", "FastCGI: its worker did not read, it was still at the request before")                        \
    X(WORKER_WANTED, "proxy", "worker_wanted", "FastCGI: idle, while a request waited for a worker to accept it")
enum la_close_cause {
#define X(id, by, reason, text) LA_CLOSE_##id,
    LA_CLOSE_CAUSES(X)
#undef X
    LA_CLOSE_CAUSE_COUNT
};
struct la_close_info {
    const char *by, *reason, *text;
};
const struct la_close_info *la_close_info(enum la_close_cause c);

/* ---- the reuse clock: how long may a connection idle and still take a request ---- */

struct la_reuse_clock {
    _Atomic int busy; /* guards the samples; idle FINs are rare and off the request path */
    uint32_t age_ms[8];
    unsigned samples;
    uint64_t last_sample_ns;
    _Atomic uint32_t learned_ms;   /* 0: nothing */
    _Atomic uint64_t confirmed_ns; /* when a FIN last agreed with it */
    _Atomic uint32_t announced_ms; /* Keep-Alive: timeout=N; 0: none */
    _Atomic uint32_t first_byte_us; /* smallest seen; 0: none */
    _Atomic uint32_t alive_ms;      /* the oldest idle age at which a connection was seen open; 0: none */
    _Atomic uint32_t doubts;        /* FINs below that age since then */
};
/* An idle connection got its FIN after age_ms. FINs that come together (20 ms) are one observation: a restart. */
void la_clock_fin(struct la_reuse_clock *c, uint64_t age_ms, uint64_t now_ns);
/* A connection was seen open at this idle age: what was learned may be refuted, and younger ones are safe. */
void la_clock_alive(struct la_reuse_clock *c, uint64_t age_ms);
void la_clock_announced(struct la_reuse_clock *c, uint32_t timeout_ms);
/* The proxy ends a connection that has been idle for so long: what was announced does not hold, unless it is said again. */
void la_clock_outlived(struct la_reuse_clock *c, uint64_t age_ms);
void la_clock_first_byte(struct la_reuse_clock *c, uint64_t us);
/* The timeout that is known, announced or learned; 0: none. */
uint64_t la_clock_known_ms(const struct la_reuse_clock *c, uint64_t now_ns);
/* Known minus its margin (DESIGN 4, two clocks); 0: nothing known. */
uint64_t la_clock_reuse_ms(const struct la_reuse_clock *c, uint64_t now_ns);

/* Nothing known: up to which idle age has the server been seen to keep connections open, less the margin; 0: none. */
uint64_t la_clock_proven_ms(const struct la_reuse_clock *c);

/* ---- health ---- */

struct la_health {
    _Atomic int failures;          /* consecutive, passive */
    _Atomic uint64_t out_until_ns; /* 0: in */
    _Atomic int outs;              /* consecutive times out: doubles the pause */
    _Atomic int probing;           /* one request tries it */
    _Atomic bool unreachable;      /* all failures in that row were dials' */
    _Atomic uint64_t probe_since_ns;
    _Atomic bool check_down;       /* the active check says so */
    _Atomic int check_streak;      /* active: successes > 0, failures < 0 */
    _Atomic uint64_t up_since_ns;  /* for slow start */
    _Atomic uint64_t last_ok_ns;   /* last real response, as exactly as LA_HEALTH_OK_NS */
};
#define LA_HEALTH_OK_NS 100000000u
void la_health_ok(struct la_health *h, uint64_t now_ns);
/* A dial succeeded: that refutes failed dials, but no failed requests, and is no response. */
void la_health_connected(struct la_health *h, uint64_t now_ns);
/* Returns true when this failure put the server out. dial: it could not be connected to. */
bool la_health_failed(struct la_health *h, const struct la_conf_upstream *conf, bool dial, uint64_t now_ns);
/* An active check's verdict; returns true when it changed the server's state. */
bool la_health_checked(struct la_health *h, const struct la_conf_upstream *conf, bool ok, uint64_t now_ns);
bool la_health_up(const struct la_health *h); /* for metrics */
/* May it take a request now? A server that is past its pause lets one request through as a probe: *probe. */
bool la_health_usable(const struct la_health *h, uint64_t now_ns, bool *probe);
/* Claims the probe; false: another one has it. */
bool la_health_claim_probe(struct la_health *h, uint64_t now_ns);
/* The probe, if there is one, ended without a verdict: the next may try. */
static inline void la_health_probe_over(struct la_health *h)
{
    if (atomic_load_explicit(&h->probing, memory_order_relaxed))
        atomic_store(&h->probing, 0);
}

/* ---- counters: one writer each (the worker), read by the main thread ---- */

#define LA_SOURCE_SLOTS 65 /* sources counted one by one; the last takes the rest */

/* One worker's counts for one server. */
struct la_pool_stats {
    _Atomic uint64_t opened[LA_SOURCE_SLOTS];
    _Atomic uint64_t closed[LA_CLOSE_CAUSE_COUNT];
    _Atomic uint64_t takeovers, dial_failures;
    _Atomic uint64_t handshake[LA_HANDSHAKE_END_COUNT];
    _Atomic uint64_t code[600]; /* requests by the status the client got */
    _Atomic uint64_t timed, timed_backend_us, timed_queue_us; /* for advice: answered requests and what they took */
    _Atomic int64_t state[LA_SOURCE_SLOTS][LA_CONN_STATE_COUNT];
};

#define LA_COMMANDS_MOST 32
/* One worker's counts for one upstream. */
enum la_phase { LA_PHASE_QUEUE, LA_PHASE_CONNECT, LA_PHASE_BACKEND, LA_PHASE_TOTAL, LA_PHASES };
struct la_upstream_stats {
    struct la_hist phase[LA_PHASES];
    _Atomic uint64_t bytes_in, bytes_out; /* from servers, to servers */
    _Atomic uint64_t requests, dials, queue_timeouts;
    _Atomic uint64_t code[600]; /* answered without a server: our own errors */
    _Atomic uint64_t command[LA_COMMANDS_MOST], hits, misses; /* protocols with commands: by the protocol's own number */
    _Atomic uint64_t error[LA_ERR_COUNT];
    _Atomic uint64_t retry_race, retry_connect;
};

/* ---- what the application says of itself (php-fpm's status page); written by worker 0 ---- */

struct la_app_status {
    _Atomic uint64_t sampled_ns; /* 0: never */
    _Atomic int64_t active, idle, total, listen_queue, max_listen_queue;
    _Atomic bool fixed; /* total will not grow */
    _Atomic uint64_t accepted, max_children_reached, slow;
};

/* ---- shared objects ---- */

/* One worker's public side of a queue or of a pool. Written by that worker; a slot may be claimed (set to 0) by another. */
struct la_cell {
    _Alignas(64) _Atomic uint64_t oldest_ns; /* arrival of the oldest waiter; 0: none */
    _Atomic uint64_t uncovered_ns;           /* of the oldest one that no dial is under way for */
    _Atomic int idle;                        /* connections that another worker may ask for */
    _Atomic int parked;                      /* parked and leaving ones */
};
struct la_cell *la_cells_new(unsigned workers);

/* Places taken, all workers. Two servers have one of these when a reload put the second in the first's place: the address is
 * the same, and connections of the first are left. */
struct la_budget {
    _Alignas(64) _Atomic int used;
    _Atomic int marked; /* of these: will go or are going (goodbye said) */
    _Atomic int tunnels; /* of pool.tunnels */
    _Atomic unsigned refs;
};

/* What all servers of one name have counted: one that a reload put in another's place (other sources, other certificates) counts
 * on where that one counts the connections that are left of it. */
struct la_tally {
    _Atomic unsigned refs;
    unsigned sources;              /* slots in use; this and the names are the main thread's */
    char *source[LA_SOURCE_SLOTS]; /* as in la_pair_text; "default" for Unix sockets, "other" for the last */
    struct la_pool_stats stats[];  /* [workers] */
};

struct la_server {
    _Atomic unsigned refs;
    char *upstream, *label; /* names for metrics */
    struct la_addr addr;
    unsigned workers;
    struct la_cell *cell;        /* [workers] */
    struct la_tally *tally;      /* referenced */
    struct la_pool_stats *stats; /* [workers]; the tally's */
    uint8_t slot[LA_SOURCE_SLOTS]; /* in the tally, of each pair; the last: of all others */

    struct la_budget *budget;    /* referenced */
    _Atomic bool replaced;       /* no configuration names it, and another one has its budget: its connections make room for it */
    bool named, present;         /* main thread: the configuration that is planned has it; the one before had it */

    _Alignas(64) _Atomic int max;
    _Atomic int dialing;
    _Atomic int tunnels_max;
    _Atomic int busy; /* requests under way, for least_connections */
    _Atomic unsigned check_waits; /* the worker, counted from 1, whose health check waits for a connection or place; 0: none */

    _Alignas(64) _Atomic uint32_t connect_us; /* moving average of a dial's time; 0: unknown */
    _Atomic uint32_t quiet;                   /* looks in a row at idle connections that found nothing; see dispatch.c */
    struct la_reuse_clock clock;
    struct la_health health;
    struct la_app_status app;
    struct la_advice advice; /* main thread; zeroed while nobody wants it */
    _Atomic int starving;         /* connections that wait to be accepted while others hold the application's workers */
    _Atomic uint64_t starved_ns;  /* when that was last seen; 0: never */
    struct la_ledger *ledger; /* NULL for Unix sockets */
    struct la_tls *tls;       /* referenced; NULL: plain. Part of what makes two servers different, as is send_proxy */
    struct la_tls_slot *tls_slot;
    char *tls_name; /* what its certificate must be for; NULL: nobody asks */
    enum la_send_proxy send_proxy;
    enum la_protocol protocol;
    char preface[28]; /* the PROXY header of our own health checks */
    uint8_t preface_n;
    struct la_log_gate *port_gate; /* one per pair */
};
/* One of pool.tunnels, for a tunnel or a pinned connection. take: false when all are taken. */
bool la_tunnel_place_take(struct la_server *s);
void la_tunnel_place_put(struct la_server *s);
struct la_server *la_server_new(const char *upstream, const char *label, const struct la_addr *addr, unsigned workers);
struct la_server *la_server_ref(struct la_server *s);
void la_server_unref(struct la_server **s);

/* s takes the place of another one at the same address: from now on both have one budget. Before s has a connection. */
void la_server_take_over(struct la_server *s, struct la_server *before);

/* s counts on where one of the same name has counted: before its sources are named. */
void la_server_count_on(struct la_server *s, struct la_server *before);
/* Finds a slot for each of its sources: when s has its ledger, and before it has a connection. Main thread. */
void la_server_name_sources(struct la_server *s);
static inline unsigned la_server_slot(const struct la_server *s, unsigned pair)
{
    return s->slot[pair < LA_SOURCE_SLOTS - 1 ? pair : LA_SOURCE_SLOTS - 1];
}

/* The budget. take: false when the cap is reached. surplus: more places are taken than max allows and not yet marked. */
bool la_place_take(struct la_server *s);
void la_place_put(struct la_server *s);
static inline bool la_server_surplus(struct la_server *s)
{
    return atomic_load_explicit(&s->budget->used, memory_order_relaxed) -
               atomic_load_explicit(&s->budget->marked, memory_order_relaxed) >
           atomic_load_explicit(&s->max, memory_order_relaxed);
}

struct la_upstream {
    _Atomic unsigned refs;
    char *name;
    unsigned workers;
    enum la_protocol protocol;
    struct la_cell *cell; /* [workers]; used unless requests are bound to servers (hash) */
    struct la_upstream_stats *stats; /* [workers] */
    _Atomic int waiting; /* all workers */
    bool sampled; /* main thread: its counts have been looked at before */
};
struct la_upstream *la_upstream_new(const char *name, enum la_protocol protocol, unsigned workers);
struct la_upstream *la_upstream_ref(struct la_upstream *u);
void la_upstream_unref(struct la_upstream **u);

#endif
