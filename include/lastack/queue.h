/* queue.h (layer: upstream): the waiters of one worker for one upstream (or, where requests are bound by a hash, for one server),
 * in order of arrival. Decides nothing but order; its head is published to the other workers.
 *
 * Covered: the first `dials` waiters; a dial is under way for each. */
#ifndef LASTACK_QUEUE_H
#define LASTACK_QUEUE_H

#include "lastack/err.h"
#include "lastack/loop.h"
#include "lastack/server.h"

struct la_conn;
struct la_branch;
struct la_outlet;

/* A request that wants a connection. Embedded in its exchange, which fills the first block. */
struct la_waiter {
    /* The PROXY header of its client, for a server that wants one of this version; holds until the next call. */
    struct la_slice (*preface)(struct la_waiter *w, int version);
    bool replayable;  /* may ride a connection that could be lost */
    uint64_t hash;    /* for balance: hash */
    /* Exactly one of these ends the wait: a busy connection, or an error. */
    void (*on_conn)(struct la_waiter *w, struct la_conn *c);
    void (*on_fail)(struct la_waiter *w, enum la_err e);

    /* the queue's */
    struct la_list node;
    struct la_queue *queue; /* NULL: not waiting */
    struct la_conn *dial;   /* a dial that is its own (a retry in a lost connection's place) */
    uint64_t arrived_ns;    /* 0 at first; a retry keeps it */
    uint64_t waits_ns;      /* in line since, also while a dial fails and it goes elsewhere; 0: it has had a connection */
    uint64_t tried;         /* bit set of outlets whose dials failed */
    bool covered;
    bool moved; /* on its branch's list of those who waited when a new configuration came */
    struct la_timer timeout;
};

struct la_queue {
    struct la_list waiters;
    int n, dials, pokes;
    struct la_waiter *uncovered; /* the first one that no dial covers */
    struct la_cell *cell;
    unsigned dial_allow;  /* dials at once, doubled while the burst lasts */
    uint64_t burst_ns;    /* since when somebody waits */
    uint64_t paced_ns;    /* when dial_allow was looked at last */
    uint64_t served;      /* waiters served by freed connections since then */
    struct la_timer tick;
    struct la_branch *branch;
    struct la_outlet *outlet; /* bound queue: its server; else NULL */
    struct la_outlet *chosen; /* balance's choice for the waiter that comes in just now: its turn is paid for; else NULL */
};
void la_queue_init(struct la_queue *q, struct la_loop *l, struct la_cell *cell, void (*tick)(struct la_timer *));
void la_queue_fini(struct la_queue *q);
void la_queue_add(struct la_queue *q, struct la_waiter *w); /* by arrival; publishes */
void la_queue_remove(struct la_queue *q, struct la_waiter *w);
void la_queue_dial_started(struct la_queue *q);
void la_queue_dial_ended(struct la_queue *q);
void la_queue_publish(struct la_queue *q);
/* The oldest one that may use pool number `bit`. */
struct la_waiter *la_queue_oldest(const struct la_queue *q, unsigned bit);

#define LA_DIALS_AT_ONCE 4

#endif
