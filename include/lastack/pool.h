/* pool.h (layer: upstream): a worker's connections to one server, and what may be done with them. It decides, it never does I/O: its
 * items carry no socket, so a test drives it with plain structs.
 *
 * One state is one list; la_pool_move is the only function that moves an item between them. */
#ifndef LASTACK_POOL_H
#define LASTACK_POOL_H

#include "lastack/list.h"
#include "lastack/server.h"

/* The pool's part of a connection; embedded in it. */
struct la_pool_item {
    struct la_list node;
    enum la_conn_state state;
    bool in_pool;
    bool goodbye;       /* marked: its present exchange is its last */
    bool shut;          /* leaving because we sent our FIN */
    unsigned pair;      /* index of its source in the ledger */
    uint64_t opened_ns;
    uint64_t idle_ns;   /* since when it idles (idle, parked) or leaves */
    uint64_t last_by_ns; /* max_age with its jitter; 0: none */
    uint64_t requests;  /* taken so far */
};

struct la_pool {
    struct la_server *server;
    const struct la_conf_upstream *conf; /* the present configuration's */
    struct la_cell *cell;                /* this worker's, of the server */
    struct la_pool_stats *stats;
    struct la_list list[LA_CONN_STATE_COUNT]; /* idle and parked: oldest first */
    int count[LA_CONN_STATE_COUNT];
    bool draining; /* every exchange is its connection's last */
};
void la_pool_init(struct la_pool *p, struct la_server *server, const struct la_conf_upstream *conf, unsigned worker);
void la_pool_fini(struct la_pool *p); /* no items left */
int la_pool_total(const struct la_pool *p);

void la_pool_add(struct la_pool *p, struct la_pool_item *i, enum la_conn_state s, uint64_t now_ns);
void la_pool_move(struct la_pool *p, struct la_pool_item *i, enum la_conn_state to, uint64_t now_ns);
void la_pool_remove(struct la_pool *p, struct la_pool_item *i);
/* Says goodbye on this item from now on; counted in the server's `marked`. */
void la_pool_mark(struct la_pool *p, struct la_pool_item *i);

/* Which connection should this request take? Past-clock ones are parked on the way. */
struct la_pick {
    struct la_pool_item *item; /* NULL: none; still idle in the pool */
    bool goodbye;              /* to be marked */
};
/* last_resort: also take a connection that a non-replayable request would rather not, or a parked one for a replayable one. */
struct la_pick la_pool_pick(struct la_pool *p, uint64_t now_ns, bool replayable, bool last_resort);

/* Is this exchange its connection's last: max_requests, max_age, shrink, drain? Asked when it takes a request. */
bool la_pool_says_goodbye(const struct la_pool *p, const struct la_pool_item *i, uint64_t now_ns);
/* The same for one whose goodbye is no request: was the one that it took last its last? */
bool la_pool_had_last(const struct la_pool *p, const struct la_pool_item *i, uint64_t now_ns);

/* The one to be closed so that a request need not wait: the oldest parked, then the oldest leaving one that had its time. NULL: none. */
struct la_pool_item *la_pool_give_up(struct la_pool *p, uint64_t now_ns, enum la_close_cause *cause);

/* Clock work: parks what is past the reuse clock; returns the next item past the close clock (the caller closes it
 * and calls again), or NULL and *next_ns, when to come again (0: nothing to wait for). */
struct la_pool_item *la_pool_clock(struct la_pool *p, uint64_t now_ns, uint64_t *next_ns);

/* What the clocks say now, ms. reuse for a replayable request; UINT64_MAX never happens. */
uint64_t la_pool_reuse_ms(const struct la_pool *p, uint64_t now_ns, bool replayable);
uint64_t la_pool_close_ms(const struct la_pool *p, uint64_t now_ns);

#endif
