/* waiting.c: a request that wants a connection, and what can be done for it while it waits.
 *
 * Own idle connection -> (published as a waiter) -> another worker's idle one is asked for (a poke) -> a dial if a
 * place is free -> at the cap: a parked one is ridden or given up -> it waits; dispatch.c serves it when something
 * comes free.
 *
 * A burst dials a few at once, then twice as many each quarter of a dial's time while connections do not come free
 * faster than a dial takes. A wait that no event ends (ports, Unix EAGAIN, a server that is out) has a timer. One
 * thread. */
#include "internal.h"

#define MS       1000000ull
#define POKE_MS  1   /* a poke that was not answered by then: dial */
#define RETRY_MS 100 /* a wait that no event ends */

static int foreign_idle(const struct la_outlet *o)
{
    struct la_server *s = o->pool.server;
    int n = 0;
    for (unsigned i = 0; i < s->workers; i++)
        if (i != o->branch->home->worker)
            n += atomic_load(&s->cell[i].idle);
    return n;
}

/* For a request that was in the line already; its callbacks tell. */
void la_dispatch_again(struct la_branch *b, struct la_waiter *w)
{
    enum la_err err;
    struct la_conn *c = la_upstreams_acquire(b, w, &err);
    if (c)
        w->on_conn(w, c);
    else if (err != LA_OK)
        w->on_fail(w, err);
}

/* ---- those who wait ---- */

/* Connections that make room already, as soon as the server has seen our FIN. */
static int shutting(struct la_outlet *o)
{
    struct la_pool_item *i;
    int n = 0;
    la_list_each(&o->pool.list[LA_CONN_LEAVING], i, struct la_pool_item, node) n += i->shut;
    return n;
}

void la_dispatch_make_room(struct la_outlet *o, int wanting)
{
    enum la_close_cause cause;
    struct la_pool_item *i;
    if (shutting(o) < wanting && (i = la_pool_give_up(&o->pool, la_now_ns(o->branch->home), &cause)) != NULL)
        la_conn_shut(la_container(i, struct la_conn, item), cause);
}

/* At the cap, and nobody idle: parked and leaving connections make room. True: it helped the first waiter. */
static bool make_room(struct la_queue *q, struct la_outlet *o, struct la_waiter *w)
{
    bool goodbye;
    struct la_conn *c = la_dispatch_pick(o, w->replayable, true, &goodbye);
    if (c) {
        la_dispatch_give(w, c, goodbye);
        return true;
    }
    la_dispatch_make_room(o, q->n - q->dials);
    return false;
}

/* SHORT: not by this server now: no port, no descriptor, its backlog is full, or another worker tries whether it is back. */
enum helped { HELPED, POKED, STUCK, SHORT };
/* Other workers: none is asked; one is; one is once more, and at the cap it shall give what it has. */
enum ask { ASK_NOBODY, ASK, ASK_AGAIN };

/* Does one thing for w, the oldest of the waiters that o may serve. */
static enum helped help_with(struct la_queue *q, struct la_outlet *o, struct la_waiter *w, enum ask ask)
{
    struct la_server *s = o->pool.server;
    bool goodbye;
    struct la_conn *c = la_dispatch_pick(o, w->replayable, false, &goodbye);
    if (c) {
        la_dispatch_give(w, c, goodbye);
        return HELPED;
    }
    bool full = atomic_load(&s->budget->used) >= atomic_load(&s->max), last = ask == ASK_AGAIN && full;
    enum helped in_vain = STUCK;
    if (ask && foreign_idle(o) > q->pokes &&
        la_dispatch_poke(o, w->replayable, last, last ? q->n - q->dials - shutting(o) : 0)) {
        q->pokes++;
        return POKED;
    }
    if (!full) {
        if (atomic_load_explicit(&s->dialing, memory_order_relaxed) >= (int)q->dial_allow)
            return STUCK; /* the tick allows more */
        if (la_place_take(s)) {
            if (la_conn_dial(o, NULL, NULL, NULL))
                return HELPED;
            la_place_put(s);
            o->no_dial_until_ns = la_now_ns(o->branch->home) + RETRY_MS * MS;
            in_vain = SHORT;
        }
    }
    /* No place, or no port: what is left stands in the way. */
    if (make_room(q, o, w))
        return HELPED;
    if (full && ask && q->pokes == 0 && la_dispatch_poke(o, w->replayable, true, q->n - q->dials - shutting(o)))
        q->pokes++;
    return in_vain;
}

/* The same where o may be out: past its pause it gets one of the waiters. */
static enum helped help_by(struct la_queue *q, struct la_outlet *o, enum ask ask)
{
    uint64_t now = la_now_ns(q->branch->home);
    struct la_waiter *w = o ? la_queue_oldest(q, o->index) : NULL;
    bool probe;
    if (w == NULL || o->conf->drain || !la_health_usable(&o->pool.server->health, now, &probe))
        return STUCK;
    if (probe && !la_health_claim_probe(&o->pool.server->health, now))
        return SHORT;
    enum helped h = help_with(q, o, w, ask);
    if (probe && h != HELPED) /* the probe never went out */
        la_health_probe_over(&o->pool.server->health);
    return h;
}

/* The next in line behind w that may go to any server. */
static struct la_waiter *untried_behind(const struct la_queue *q, struct la_waiter *w)
{
    while ((w = la_list_next(&q->waiters, w, struct la_waiter, node)) != NULL && w->tried)
        ;
    return w;
}

/* Does one thing for the waiters that nothing is under way for. What cannot be done by one server may be done by another, or
 * for somebody behind who may go where the first has been in vain. */
static enum helped help(struct la_queue *q, enum ask ask)
{
    struct la_branch *b = q->branch;
    struct la_outlet *o = q->outlet ? q->outlet : q->chosen;
    struct la_waiter *w = q->uncovered;
    uint64_t now = la_now_ns(b->home);
    q->chosen = NULL;
    while (w) {
        if (o == NULL)
            o = la_balance_choose(b, w, now);
        enum helped h = help_by(q, o, ask);
        if (h == HELPED || h == POKED)
            return h;
        if (q->outlet)
            break;
        struct la_outlet *next = h == SHORT ? la_balance_choose(b, w, now) : NULL;
        if (next && next->no_dial_until_ns <= now) {
            o = next;
            continue;
        }
        w = w->tried ? untried_behind(q, w) : NULL;
        o = NULL;
    }
    return STUCK;
}

/* Connections come free: at this rate, how long until the queue is empty? Slower than a dial: dial more. Asked each
 * quarter of a dial's time: what comes free in less says little, and a dial saves little more than its own time. */
static void pace(struct la_queue *q, uint64_t now)
{
    struct la_outlet *o = q->outlet ? q->outlet : q->branch->outlet[0];
    uint64_t dial_ns = 1000ull * atomic_load_explicit(&o->pool.server->connect_us, memory_order_relaxed);
    if (now - q->paced_ns < dial_ns / 4)
        return;
    q->paced_ns = now;
    uint64_t waited = now - q->burst_ns;
    uint64_t wait_ns = q->served ? waited / q->served * (uint64_t)q->n : UINT64_MAX;
    if (wait_ns > dial_ns && q->dial_allow < 1u << 16)
        q->dial_allow *= 2;
}

/* Requests bound to a server that went down move to the one that the hash says now. True: the queue is empty. */
static bool rebind(struct la_queue *q)
{
    struct la_branch *b = q->branch;
    struct la_waiter *w;
    la_list_each(&q->waiters, w, struct la_waiter, node)
    {
        struct la_outlet *o = la_balance_choose(b, w, la_now_ns(b->home));
        if (o == NULL || &o->queue == q)
            continue;
        la_upstreams_cancel(w);
        la_dispatch_again(b, w);
    }
    return q->n == 0;
}

void la_dispatch_queue(struct la_queue *q, bool ticked)
{
    if (q->n == 0) {
        q->pokes = 0;
        q->dial_allow = LA_DIALS_AT_ONCE;
        la_timer_stop(&q->tick);
        return;
    }
    if (q->branch->outlets == 0)
        return;
    if (ticked) {
        if (q->outlet && rebind(q))
            return;
        q->pokes = 0;
        pace(q, la_now_ns(q->branch->home));
    }
    enum helped h = HELPED;
    while (q->uncovered && q->n > q->dials + q->pokes && (h = help(q, ticked ? ASK_NOBODY : ASK)) != STUCK)
        ;
    if (h == STUCK && ticked && q->uncovered) /* dialing is no way out */
        while (q->n > q->dials + q->pokes && help(q, ASK_AGAIN) != STUCK)
            ;
    if (q->n == 0) {
        la_timer_stop(&q->tick);
        return;
    }
    /* Waiting for a poke's answer, or for permission to dial more: soon. Else an event will come, or nothing will. */
    bool soon = q->pokes > 0;
    for (unsigned i = 0; !soon && q->uncovered && i < q->branch->outlets; i++) {
        struct la_server *s = q->branch->outlet[i]->pool.server;
        soon = atomic_load(&s->budget->used) < atomic_load(&s->max) && atomic_load(&s->dialing) >= (int)q->dial_allow;
    }
    uint64_t ms = soon ? POKE_MS : RETRY_MS;
    if (!la_timer_is_set(&q->tick) || soon)
        la_timer_set(&q->tick, ms);
}

void la_dispatch_on_tick(struct la_timer *t)
{
    la_dispatch_queue(la_container(t, struct la_queue, tick), true);
}

struct la_waiter *la_dial_waiter(struct la_outlet *o, struct la_waiter *reserved)
{
    if (reserved || o->retired)
        return reserved;
    return la_queue_oldest(la_outlet_queue(o), o->index);
}

LA_COLD void la_dispatch_dial_failed(struct la_outlet *o, struct la_waiter *reserved, enum la_err e)
{
    struct la_branch *b = o->branch;
    struct la_waiter *w = la_dial_waiter(o, reserved);
    if (w == NULL)
        return;
    if (o->index < 64 && !o->retired)
        w->tried |= 1ull << o->index;
    if ((b->outlets > 1 || o->retired) && la_balance_choose(b, w, la_now_ns(b->home)) != NULL) {
        /* Another server may do better: it keeps its place in the order. */
        if (w->queue) {
            la_queue_remove(w->queue, w);
            atomic_fetch_sub(&b->shared->waiting, 1);
        }
        la_stat_add(&b->stats->retry_connect, 1);
        la_dispatch_again(b, w);
        return;
    }
    if (w->queue) {
        la_queue_remove(w->queue, w);
        atomic_fetch_sub(&b->shared->waiting, 1);
    }
    w->on_fail(w, e);
}

/* ---- a request comes, or goes ---- */

/* The dial that took the most part of a wait that is over now, and is still under way. NULL: none did. */
static const struct la_conn *long_dial(struct la_outlet *o, uint64_t now, uint64_t waited)
{
    struct la_pool_item *oldest = la_list_first(&o->pool.list[LA_CONN_DIALING], struct la_pool_item, node);
    const struct la_conn *c = oldest ? la_container(oldest, struct la_conn, item) : NULL;
    return c && now - c->dial_ns > waited / 2 ? c : NULL;
}

/* What a wait was for that is over now: a dial, a port, a server that is up, or (the usual) a connection of others. */
LA_COLD static enum la_err waited_for(const struct la_waiter *w)
{
    const struct la_queue *q = w->queue;
    uint64_t now = la_now_ns(q->branch->home);
    bool up = false, no_port = false;
    for (unsigned i = 0; i < q->branch->outlets; i++) {
        struct la_outlet *o = q->branch->outlet[i];
        if (q->outlet && q->outlet != o)
            continue;
        const struct la_conn *c = w->covered ? long_dial(o, now, now - w->waits_ns) : NULL;
        if (c)
            return c->shaking ? LA_TLS_TIMEOUT : LA_CONNECT_TIMEOUT;
        up |= !o->conf->drain && la_health_up(&o->pool.server->health);
        no_port |= o->no_port && now < o->no_dial_until_ns + RETRY_MS * MS; /* the tick has just tried */
    }
    return !up ? LA_NO_SERVER : no_port ? LA_NO_PORT : LA_QUEUE_TIMEOUT;
}

static void on_timeout(struct la_timer *t)
{
    struct la_waiter *w = la_container(t, struct la_waiter, timeout);
    struct la_branch *b = w->queue->branch;
    enum la_err e = waited_for(w);
    if (e != LA_TLS_TIMEOUT && e != LA_CONNECT_TIMEOUT) /* a dial is no line */
        la_stat_add(&b->stats->queue_timeouts, 1);
    la_upstreams_cancel(w);
    w->on_fail(w, e);
}

/* Dials are paced: who waits for one of these is not in line for a connection that somebody has. */
static int free_places(const struct la_queue *q, uint64_t now)
{
    int n = 0;
    for (unsigned i = 0; i < q->branch->outlets; i++) {
        const struct la_outlet *o = q->branch->outlet[i];
        if ((q->outlet == NULL || q->outlet == o) && la_health_up(&o->pool.server->health))
            n += la_outlet_free_places(o, now);
    }
    return n;
}

struct la_conn *la_upstreams_acquire(struct la_branch *b, struct la_waiter *w, enum la_err *err)
{
    struct la_upstreams *u = b->home;
    uint64_t now = la_now_ns(u);
    bool goodbye;
    *err = LA_OK;
    if (w->arrived_ns == 0)
        w->arrived_ns = now;
    if (b->outlets == 0) {
        *err = LA_NO_ADDRESS;
        return NULL;
    }
    /* Behind others it is not its turn yet. */
    struct la_outlet *o = b->bound || b->queue.n == 0 ? la_balance_choose(b, w, now) : NULL;
    struct la_queue *q = b->bound ? &(o ? o : b->outlet[0])->queue : &b->queue;
    if (q->n == 0 && o != NULL && la_health_up(&o->pool.server->health)) {
        struct la_conn *c = la_dispatch_pick(o, w->replayable, false, &goodbye);
        if (c) {
            w->waits_ns = 0;
            la_dispatch_take(c, goodbye);
            return c;
        }
    }
    /* Everybody who waits is in the line; those that dials are under way for do not count against its length. */
    int waiting = atomic_fetch_add(&b->shared->waiting, 1);
    if (q->n == 0) {
        q->burst_ns = q->paced_ns = now;
        q->served = 0;
        q->dial_allow = LA_DIALS_AT_ONCE;
    }
    if (w->waits_ns == 0)
        w->waits_ns = now;
    uint64_t waited = now - w->waits_ns, timeout = b->conf->queue.timeout_ms * MS;
    la_timer_init(&w->timeout, u->loop, on_timeout);
    la_queue_add(q, w);
    la_timer_set(&w->timeout, timeout > waited ? (timeout - waited) / MS : 0);
    q->chosen = o;
    la_dispatch_queue(q, false);
    q->chosen = NULL;
    if (w->queue && !w->covered && waiting >= (int)b->conf->queue.length + q->dials + q->pokes + free_places(q, now)) {
        la_upstreams_cancel(w);
        *err = LA_QUEUE_FULL;
    }
    return NULL;
}

void la_upstreams_cancel(struct la_waiter *w)
{
    if (w->dial) { /* the dial goes on, for whoever waits */
        w->dial->reserved = NULL;
        la_conn_cover(w->dial);
        w->dial = NULL;
    }
    if (w->moved)
        la_list_remove(&w->node);
    w->moved = false;
    if (w->queue == NULL)
        return;
    struct la_queue *q = w->queue;
    la_queue_remove(q, w);
    atomic_fetch_sub(&q->branch->shared->waiting, 1);
    if (q->n == 0)
        la_dispatch_queue(q, false);
}

bool la_upstreams_dial_check(struct la_outlet *o, void (*cb)(void *arg, struct la_conn *c, enum la_err e), void *arg)
{
    bool goodbye;
    if (la_place_take(o->pool.server)) {
        if (la_conn_dial(o, NULL, cb, arg))
            return true;
        la_place_put(o->pool.server);
    }
    /* No place or port, but one that idles holds both: the check becomes its goodbye. */
    struct la_conn *c = la_dispatch_pick(o, true, false, &goodbye);
    if (c == NULL)
        return false;
    la_dispatch_take(c, goodbye);
    c->probes = false;
    cb(arg, c, LA_OK);
    return true;
}
