/* internal.h: what the files of this layer know of each other: upstreams.c (registry, configurations), conn.c (one
 * connection's I/O), dispatch.c (who gets what comes free), waiting.c (what those who wait can get), check_wait.c (a health
 * check that waits), balance.c (which server), starving.c (workers that idle connections hold). */
#ifndef LASTACK_UPSTREAM_INTERNAL_H
#define LASTACK_UPSTREAM_INTERNAL_H

#include "lastack/upstreams.h"

struct la_upstreams {
    struct la_loop *loop;
    unsigned worker;
    struct la_crew *crew;
    struct la_slab conns, lanes;
    struct la_list branches; /* of the present configuration, and retired ones */
    struct la_list retired;  /* outlets */
    bool draining;
    uint64_t random;
};

static inline uint64_t la_now_ns(const struct la_upstreams *u)
{
    return la_loop_now_ns(u->loop);
}
static inline struct la_queue *la_outlet_queue(struct la_outlet *o)
{
    return o->branch->bound ? &o->queue : &o->branch->queue;
}
/* How many more connections may be dialed; none where a dial has just failed for want of a port or the like. */
static inline int la_outlet_free_places(const struct la_outlet *o, uint64_t now_ns)
{
    const struct la_server *s = o->pool.server;
    int n = atomic_load_explicit(&s->max, memory_order_relaxed) - atomic_load_explicit(&s->budget->used, memory_order_relaxed);
    return n > 0 && now_ns >= o->no_dial_until_ns ? n : 0;
}
static inline struct la_cell *la_queue_cells(const struct la_queue *q)
{
    return q->outlet ? q->outlet->pool.server->cell : q->branch->shared->cell;
}

/* conn.c */
/* Starts a dial in a place that the caller has taken. False: no port (or descriptor) now; the place is still the
 * caller's. */
bool la_conn_dial(struct la_outlet *o, struct la_waiter *reserved,
                  void (*on_check)(void *, struct la_conn *, enum la_err), void *arg);
/* Quiet states: events are conn.c's. */
void la_conn_set_idle(struct la_conn *c);
void la_conn_set_leaving(struct la_conn *c, enum la_close_cause cause);
/* A quiet one's backend said that it ends (TLS): it is used no more, its FIN is awaited. */
void la_conn_said_end(struct la_conn *c);
/* Our FIN first; then waits for the backend's. */
void la_conn_lost(struct la_conn *c); /* pinned: tells its keeper that it takes no more requests */
void la_conn_shut(struct la_conn *c, enum la_close_cause cause);
/* Ends it: counts, gives port back, frees. The place stays taken: the caller offers it. */
void la_conn_end(struct la_conn *c, enum la_close_cause cause, bool reset);
/* The same, and its place is offered: at once, or, after a reset, when the backend can have seen that. */
void la_conn_end_and_offer(struct la_conn *c, enum la_close_cause cause, bool reset);
/* A dial counts in its outlet's queue, for whoever is in line there; or no more. */
void la_conn_cover(struct la_conn *c);
void la_conn_uncover(struct la_conn *c);
/* Hands an idle or parked connection to another worker. */
void la_conn_hand_over(struct la_conn *c, unsigned worker);
void la_outlet_arm_clock(struct la_outlet *o);
void la_outlet_on_clock(struct la_timer *t);
/* Of one that was replaced: shuts what is parked if those in its place have no place left. */
void la_outlet_give_way(struct la_outlet *o);

/* dispatch.c */
/* Makes an idle, parked or fresh connection busy. */
void la_dispatch_take(struct la_conn *c, bool goodbye);
void la_dispatch_give(struct la_waiter *w, struct la_conn *c, bool goodbye);
/* The pool's choice, made sure of: what the peek finds dead is ended. NULL: none. */
struct la_conn *la_dispatch_pick(struct la_outlet *o, bool replayable, bool last_resort, bool *goodbye);
/* The other worker with the most idle (or parked) connections to give; -1: nobody has any. */
int la_dispatch_richest(const struct la_outlet *o, bool parked);
/* Asks that one for a connection; false: nobody has any. last_resort: also one whose age is in doubt, or a parked one; or
 * one ends to make room for as many as are wanting. */
bool la_dispatch_poke(struct la_outlet *o, bool replayable, bool last_resort, int wanting);
void la_dispatch_conn(struct la_conn *c, bool arrived);  /* a free connection: to the oldest waiter, or idle */
void la_dispatch_place(struct la_outlet *o);             /* a place that is ours to give: to the oldest waiter, or back */
void la_dispatch_publish(struct la_upstreams *u);        /* a slot of ours was claimed, for what we cannot use: all anew */
/* waiting.c */
/* For a request that was in the line already; its callbacks tell. */
void la_dispatch_again(struct la_branch *b, struct la_waiter *w);
/* For whom a dial is: the one it is reserved for, else the oldest in line; nobody when the server was taken away. */
struct la_waiter *la_dial_waiter(struct la_outlet *o, struct la_waiter *reserved);
void la_dispatch_dial_failed(struct la_outlet *o, struct la_waiter *reserved, enum la_err e);
void la_dispatch_queue(struct la_queue *q, bool ticked); /* does what it can for those who wait */
void la_dispatch_on_tick(struct la_timer *t);
/* A parked connection, or one that is leaving, ends to make room, unless as many as are wanting do so already. */
void la_dispatch_make_room(struct la_outlet *o, int wanting);

/* check_wait.c */
/* A place that is the caller's goes to the check that waits here. False: none does, or there is no port. */
bool la_check_takes_place(struct la_outlet *o);
/* An idle or parked connection goes to the check that waits here. */
void la_check_take_conn(struct la_conn *c, bool goodbye);
bool la_check_waits_elsewhere(const struct la_outlet *o);
/* What comes free shall go to the check that waits at this worker. False: none does, or somebody else was first. */
bool la_check_claim(struct la_server *s, unsigned worker);
int la_check_claim_elsewhere(const struct la_outlet *o); /* at another worker, which is returned; -1: nowhere */

/* starving.c */
/* Must a connection that came free end, so that the application's worker can take another one? */
bool la_conn_must_yield(const struct la_conn *c);

/* upstreams.c */
struct la_outlet *la_upstreams_outlet(struct la_upstreams *u, const struct la_server *s); /* NULL: has none */
void la_outlet_maybe_end(struct la_outlet *o); /* a retired one without connections goes */

#endif
