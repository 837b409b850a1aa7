/* upstreams.h (layer: upstream): one worker's view of all upstreams: how a request gets a connection and gives it back.
 *
 * Getting one: own idle -> another worker's idle -> dial if a place is free -> wait, first in first out over all workers.
 * Giving it back: la_conn_release with a verdict. Connections, places and pokes travel between workers as notes.
 *
 * Everything here belongs to the worker's thread. */
#ifndef LASTACK_UPSTREAMS_H
#define LASTACK_UPSTREAMS_H

#include "lastack/line.h"
#include "lastack/pool.h"
#include "lastack/queue.h"
#include "lastack/slab.h"
#include "lastack/tls.h"

struct la_upstreams;

/* A server as one worker's branch of an upstream sees it. */
struct la_outlet {
    struct la_pool pool;
    struct la_branch *branch;
    const struct la_conf_server *conf; /* weight, backup, drain */
    unsigned index;                    /* in branch->outlet: the bit in la_waiter.tried */
    struct la_timer clock;             /* parks and closes what idles too long */
    bool clock_parked;                 /* it was set when none but parked ones were there */
    struct la_queue queue;             /* when requests are bound to servers (hash) */
    long turn;                         /* smooth weighted round robin */
    uint64_t no_dial_until_ns;         /* a dial failed here, for want of a port or the like */
    bool no_port;                      /* that was it */
    struct la_check_wait *check;       /* a health check that waits; NULL: none */
    struct la_lines lines;             /* pipelined protocols */
    bool retired;                      /* no longer configured: ends with its last connection */
    unsigned users;                    /* who will ask of it, and have not yet */
    struct la_list node;               /* retired ones */
};

/* One worker's part of an upstream. */
struct la_branch {
    struct la_list node;
    struct la_upstreams *home;
    struct la_upstream *shared;
    struct la_upstream_stats *stats;
    const struct la_conf_upstream *conf; /* own_conf: numbers outlive the configuration, its strings do not */
    struct la_conf_upstream own_conf;
    struct la_outlet **outlet;
    unsigned outlets;
    struct la_ring *ring;     /* where keys are (memcached); made when it is asked for */
    uint64_t ring_in;         /* with these servers */
    char memc_tag[3];         /* memcached.hash_tag; empty: none */
    bool bound;    /* balance: hash: each outlet has its own queue */
    struct la_queue queue;
    struct la_list moved; /* who waited when a new configuration came, until la_upstreams_resume */
    unsigned users; /* exchanges that hold it */
    bool retired;
};

/* One connection to a server. While busy, pinned or a tunnel it belongs to whoever got it: that one sets on_event. */
struct la_conn {
    struct la_pool_item item; /* first */
    struct la_stream stream;
    struct la_outlet *outlet;
    struct la_port_pair *pair; /* NULL: Unix socket */
    uint64_t id;               /* unique in the process, for logs */
    uint64_t dial_ns;          /* start of the dial */
    bool personal;             /* began with a PROXY header: carries one request */
    bool shaking;              /* connected, its TLS handshake is or was under way */
    bool fresh;                /* carries its first request */
    bool probes;               /* taken while somebody tried whether the server is back: perhaps for that */
    bool counted;              /* in server->busy */
    uint8_t hops;              /* workers it was handed to without finding a waiter */
    enum la_close_cause cause; /* while leaving: what its end will be counted as */
    enum la_err dial_error;    /* a dial that failed at once */
    struct la_waiter *reserved; /* a dial in a lost connection's place is for this one */
    struct la_queue *covers;    /* a dial for whoever waits there; NULL: for nobody in line */
    void (*on_check)(void *arg, struct la_conn *c, enum la_err e); /* a dial for a health check */
    void *check_arg;
    struct la_timer timer; /* connect timeout, goodbye timeout */
    void (*on_event)(struct la_conn *c, int events);
    void *owner;
    /* pinned: its exchange is over and it is the keeper's again, or (over) it takes no more requests. */
    void (*on_pinned)(struct la_conn *c, bool over);
    void *keeper; /* pinned: whom it is bound to; NULL: nobody, it ends after this exchange */
};

/* What the owner says about the connection when it is done with it. */
enum la_verdict {
    LA_REUSE,        /* exchange complete, nothing in doubt; a pinned one stays with its keeper */
    LA_BACKEND_ENDS, /* it will close: it said so, or we said goodbye. Waits for its FIN, at most goodbye_timeout */
    LA_GONE,         /* its FIN or RST has been read: close, the place is free */
    LA_RESET,        /* in doubt: RST now */
};
/* Gives it back; *c becomes NULL. cause: what its end counts as (for REUSE of a marked one and BACKEND_ENDS: of the FIN to come). */
void la_conn_release(struct la_conn **c, enum la_verdict v, enum la_close_cause cause);
/* GONE, and at once a dial for w in the same place; w waits for that dial. */
void la_conn_redial(struct la_conn **c, enum la_close_cause cause, struct la_waiter *w);
/* Is it worth a system call to learn whether what came as an answer could be one: its first request, or a server that has
 * not earned trust? */
bool la_conn_in_doubt(const struct la_conn *c);
/* starving.c: nobody accepts c, which carries a request: what idles here gives way, until la_conn_fed. *starving is the
 * caller's note of it. */
void la_conn_starves(struct la_conn *c, bool *starving);
void la_conn_fed(struct la_conn *c, bool *starving);
/* Has that been seen on this server in the last ten seconds? */
bool la_conn_may_starve(const struct la_conn *c);
void la_conn_to_tunnel(struct la_conn *c);
/* From now on it never goes back to the pool. LA_REUSE leaves it with its keeper, who sets on_event; without a keeper it
 * ends (our FIN). May be called again, with another keeper. */
void la_conn_pin(struct la_conn *c, void (*on_pinned)(struct la_conn *c, bool over), void *keeper);
/* It takes one more request. */
void la_conn_use_pinned(struct la_conn *c);

/* What a configuration gives a worker for one upstream; immutable, kept by the caller while it is the present one. */
struct la_upstream_plan {
    const struct la_conf_upstream *conf;
    struct la_upstream *shared;
    struct la_server **server;
    const struct la_conf_server **server_conf;
    unsigned servers;
};

/* Every worker's upstreams, for notes between them. Filled before the threads start. */
struct la_crew {
    unsigned workers;
    struct la_upstreams **member;
    _Atomic uint64_t conn_ids;
};

struct la_upstreams *la_upstreams_new(struct la_loop *l, unsigned worker, struct la_crew *crew);
void la_upstreams_free(struct la_upstreams **u); /* after la_upstreams_close */
/* A new configuration: pools of servers that stay are kept; others retire: their connections serve no more and end as
 * their backends hang up. Calls nobody back: who waits is dispatched again, or told that the upstream has gone, by
 * la_upstreams_resume, once all that knows of the configuration has the new one. */
void la_upstreams_apply(struct la_upstreams *u, const struct la_upstream_plan *plan, unsigned n);
void la_upstreams_resume(struct la_upstreams *u);
/* The branch for an upstream of the present configuration. */
struct la_branch *la_upstreams_branch(struct la_upstreams *u, const struct la_upstream *shared);
void la_branch_hold(struct la_branch *b);
void la_branch_drop(struct la_branch *b);
void la_outlet_hold(struct la_outlet *o); /* it outlives its configuration until dropped */
void la_outlet_drop(struct la_outlet *o);
/* From now on every exchange is its connection's last. */
void la_upstreams_drain(struct la_upstreams *u);
/* Closes what is left: quiet ones with `drain`, everything else reset. Exchanges must be over. */
void la_upstreams_close(struct la_upstreams *u);
unsigned la_upstreams_connections(const struct la_upstreams *u); /* of this worker */
/* Calls cb for every connection of this worker. */
void la_upstreams_each(struct la_upstreams *u, void (*cb)(void *arg, struct la_conn *c), void *arg);

/* Gets a connection for w: at once (returned), or later through w's callbacks (NULL, *err = LA_OK), or never (NULL and
 * the reason). */
struct la_conn *la_upstreams_acquire(struct la_branch *b, struct la_waiter *w, enum la_err *err);
void la_upstreams_cancel(struct la_waiter *w); /* the request needs no connection any more; any state */
/* A dial for an active check; it takes a place. Without a place or port one of this worker's idle connections is given,
 * within the call. False: none of these now. cb gets a busy connection or an error. */
bool la_upstreams_dial_check(struct la_outlet *o, void (*cb)(void *arg, struct la_conn *c, enum la_err e), void *arg);

/* check_wait.c: a health check for which there is none of these. It waits, in front of the requests, for the next connection or
 * place of its server; its owner keeps it, and ends it before the outlet goes. */
struct la_check_wait {
    struct la_outlet *outlet;  /* NULL: it does not wait */
    void (*dials)(void *arg);  /* it waits no more: a dial is under way, cb tells its end */
    void (*cb)(void *arg, struct la_conn *c, enum la_err e); /* as of la_upstreams_dial_check */
    void *arg;
};
void la_check_wait_begin(struct la_check_wait *w, struct la_outlet *o);
/* After begin, and where no event may have told: is there something now? It may be served within the call. */
void la_check_wait_look(struct la_check_wait *w);
void la_check_wait_end(struct la_check_wait *w); /* any state */

/* Which server would balance choose for w? NULL: none usable. */
struct la_outlet *la_balance_choose(struct la_branch *b, const struct la_waiter *w, uint64_t now_ns);

#endif
