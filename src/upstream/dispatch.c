/* dispatch.c: who gets what comes free: connections and places go to the oldest waiter of any worker, first
 * in first out.
 *
 * Owns: the notes between workers about places and pokes. Never touches a socket but to peek; conn.c dials
 * and closes.
 *
 * A freed connection: the oldest waiter of any worker, own ones first while the oldest foreign one is less
 * than 1 ms older -> else idle. A freed place goes the same way to a waiter that no dial covers. A health check that
 * waits comes before all of them. waiting.c does what can be done for those who wait.
 *
 * No wake-up is lost: a waiter is published (sequentially consistent) before pools and budget are looked at
 * once more; a connection or place is put back before the slots are looked at once more. A slot that is
 * served is claimed, so that one waiter is not served twice by two workers; its owner publishes anew when the
 * note arrives. */
#include "internal.h"

#include <stdlib.h>

#define MS        1000000ull
#define LOOK_MS   10
#define LOOK_EACH 16   /* requests of a connection */
#define TRUSTED   4096 /* quiet looks */

/* ---- giving a connection to a waiter ---- */

/* Makes an idle, parked or fresh connection busy. */
void la_dispatch_take(struct la_conn *c, bool goodbye)
{
    struct la_outlet *o = c->outlet;
    uint64_t now = la_now_ns(o->branch->home);
    if (goodbye || la_pool_says_goodbye(&o->pool, &c->item, now))
        la_pool_mark(&o->pool, &c->item);
    if (c->item.state == LA_CONN_DIALING || c->item.state == LA_CONN_IDLE || c->item.state == LA_CONN_PARKED)
        la_pool_move(&o->pool, &c->item, LA_CONN_BUSY, now);
    c->item.requests++;
    c->hops = 0;
    c->probes = atomic_load_explicit(&o->pool.server->health.probing, memory_order_relaxed) != 0;
    if (o->branch->outlets > 1 && !c->counted) {
        c->counted = true;
        atomic_fetch_add_explicit(&o->pool.server->busy, 1, memory_order_relaxed);
    }
}

void la_dispatch_give(struct la_waiter *w, struct la_conn *c, bool goodbye)
{
    struct la_queue *q = w->queue;
    if (q) {
        struct la_upstream *up = q->branch->shared;
        la_queue_remove(q, w);
        atomic_fetch_sub(&up->waiting, 1);
        q->served++;
    }
    w->waits_ns = 0;
    la_dispatch_take(c, goodbye);
    w->on_conn(w, c);
}

/* Is it worth a system call to see whether a connection is still quiet? The loop tells of bytes and FINs on
 * idle connections before anything else of its turn, so only what came since the turn began can be missed: a
 * lost race for a request that must not be sent twice; bytes that nobody asked for, which would be taken for
 * the response. A server earns the trust that it sends none, and is looked at now and then all the same. */
static bool worth_a_look(const struct la_conn *c, bool replayable, uint64_t now)
{
    return !replayable || now - c->item.idle_ns >= LOOK_MS * MS || c->item.requests % LOOK_EACH == 0 ||
           atomic_load_explicit(&c->outlet->pool.server->quiet, memory_order_relaxed) < TRUSTED;
}

bool la_conn_in_doubt(const struct la_conn *c)
{
    return c->fresh || atomic_load_explicit(&c->outlet->pool.server->quiet, memory_order_relaxed) < TRUSTED;
}

/* As la_stream_peek says. */
static int look(struct la_conn *c, bool replayable, uint64_t now)
{
    if (!worth_a_look(c, replayable, now))
        return LA_PEEK_QUIET;
    int seen = la_stream_peek(&c->stream);
    _Atomic uint32_t *quiet = &c->outlet->pool.server->quiet;
    if (seen == LA_PEEK_QUIET && atomic_load_explicit(quiet, memory_order_relaxed) < TRUSTED)
        atomic_fetch_add_explicit(quiet, 1, memory_order_relaxed);
    return seen;
}

/* What a look at a free connection has seen: true when it is quiet. Else it can carry nothing any more, and is ended here. */
static bool quiet_or_end(struct la_conn *c, int seen, uint64_t now)
{
    if (seen == LA_PEEK_QUIET)
        return true;
    if (seen == LA_PEEK_ENDING) {
        la_conn_said_end(c);
        return false;
    }
    if (seen < 0)
        la_clock_fin(&c->outlet->pool.server->clock, la_since(now, c->item.idle_ns) / MS, now);
    la_conn_end_and_offer(c, seen < 0 ? LA_CLOSE_KEEPALIVE_TIMEOUT : LA_CLOSE_UNEXPECTED_BYTES, seen > 0);
    return false;
}

/* The pool's choice, made sure of: what the peek finds dead is ended here. NULL: none. */
struct la_conn *la_dispatch_pick(struct la_outlet *o, bool replayable, bool last_resort, bool *goodbye)
{
    uint64_t now = la_now_ns(o->branch->home);
    for (;;) {
        struct la_pick p = la_pool_pick(&o->pool, now, replayable, last_resort);
        if (p.item == NULL)
            return NULL;
        struct la_conn *c = la_container(p.item, struct la_conn, item);
        if (quiet_or_end(c, look(c, replayable, now), now)) {
            *goodbye = p.goodbye;
            return c;
        }
    }
}

/* ---- freed connections ---- */

/* Is it to get no more requests? */
static bool is_going(const struct la_outlet *o)
{
    return o->retired || o->conf->drain;
}

static uint64_t mine_ns(const struct la_waiter *w)
{
    return w ? w->arrived_ns : UINT64_MAX;
}

/* The other worker whose published waiter is the oldest; its slot as seen. -1: none. */
static int foreign_oldest(const struct la_upstreams *u, struct la_cell *cells, bool uncovered, uint64_t *seen)
{
    int best = -1;
    for (unsigned i = 0; i < u->crew->workers; i++) {
        if (i == u->worker)
            continue;
        uint64_t at = atomic_load(uncovered ? &cells[i].uncovered_ns : &cells[i].oldest_ns);
        if (at && (best < 0 || at < *seen)) {
            best = (int)i;
            *seen = at;
        }
    }
    return best;
}

/* Hands c to a worker whose waiter is older than ours by more than a round trip. uncovered: only to one that
 * no dial is under way for. */
static bool conn_to_foreign(struct la_conn *c, bool uncovered, uint64_t own_ns)
{
    struct la_outlet *o = c->outlet;
    struct la_upstreams *u = o->branch->home;
    struct la_cell *cells = la_queue_cells(la_outlet_queue(o));
    if (c->hops >= u->crew->workers)
        return false;
    for (;;) {
        uint64_t seen = 0;
        int w = foreign_oldest(u, cells, uncovered, &seen);
        if (w < 0 || (own_ns != UINT64_MAX && seen + MS >= own_ns))
            return false;
        if (atomic_compare_exchange_strong(uncovered ? &cells[w].uncovered_ns : &cells[w].oldest_ns, &seen, 0)) {
            la_conn_hand_over(c, (unsigned)w);
            return true;
        }
    }
}

/* Where they are not in the way, they end by the server's own FIN. */
void la_outlet_give_way(struct la_outlet *o)
{
    struct la_branch *b;
    struct la_budget *budget = o->pool.server->budget;
    bool full = false;
    la_list_each(&o->branch->home->branches, b, struct la_branch, node)
        for (unsigned i = 0; i < b->outlets; i++) {
            struct la_server *s = b->outlet[i]->pool.server;
            full |= s->budget == budget && atomic_load(&budget->used) >= atomic_load(&s->max);
        }
    struct la_pool_item *i;
    if (full)
        la_list_each(&o->pool.list[LA_CONN_PARKED], i, struct la_pool_item, node)
            la_conn_shut(la_container(i, struct la_conn, item), LA_CLOSE_PARKED_FOR_CAP);
}

/* To a health check that waits, here or at another worker: c is idle. True: it is no longer the caller's. looked: it is
 * known to be quiet. */
static bool conn_to_check(struct la_conn *c, bool looked)
{
    uint64_t now = la_now_ns(c->outlet->branch->home);
    int other = -1;
    if (c->outlet->check) {
        if (looked || quiet_or_end(c, look(c, true, now), now))
            la_check_take_conn(c, false);
        return true;
    }
    if (c->outlet->branch->home->crew->workers > 1 && (other = la_check_claim_elsewhere(c->outlet)) >= 0)
        la_conn_hand_over(c, (unsigned)other);
    return other >= 0;
}

void la_dispatch_conn(struct la_conn *c, bool arrived)
{
    struct la_outlet *o = c->outlet;
    if (c->on_check) {
        void (*on_check)(void *, struct la_conn *, enum la_err) = c->on_check;
        c->on_check = NULL;
        la_dispatch_take(c, false);
        c->probes = false;
        on_check(c->check_arg, c, LA_OK);
        return;
    }
    if (c->reserved) {
        struct la_waiter *w = c->reserved;
        c->reserved = NULL;
        la_dispatch_give(w, c, false);
        return;
    }
    if (c->personal) { /* and its client has left */
        la_health_probe_over(&o->pool.server->health);
        la_conn_end_and_offer(c, LA_CLOSE_ABORTED, true);
        return;
    }
    struct la_queue *q = la_outlet_queue(o);
    bool going = is_going(o);
    struct la_waiter *w = going ? NULL : la_queue_oldest(q, o->index);
    bool parked = c->item.state == LA_CONN_PARKED;
    uint64_t now = la_now_ns(o->branch->home);
    if (arrived && !parked && !quiet_or_end(c, la_stream_peek(&c->stream), now))
        return;
    if (parked && arrived) { /* asked for because only parked ones were left: a check or a safe request rides it */
        bool quiet = la_stream_peek(&c->stream) == LA_PEEK_QUIET;
        if (o->check && quiet)
            la_check_take_conn(c, true);
        else if (w && w->replayable && quiet)
            la_dispatch_give(w, c, true);
        else
            la_conn_shut(c, LA_CLOSE_PARKED_FOR_CAP);
        return;
    }
    /* A freed connection is idle while it looks for a waiter: only idle ones change hands. A new one was
     * dialed for a waiter of ours; it passes by those that have a dial of their own, or one dial would make
     * another superfluous. */
    bool dialed = c->item.state == LA_CONN_DIALING;
    if (c->item.state != LA_CONN_IDLE)
        la_conn_set_idle(c);
    else
        la_outlet_arm_clock(o); /* it arrived idle */
    if (o->retired) {
        la_pool_move(&o->pool, &c->item, LA_CONN_PARKED, la_now_ns(o->branch->home));
        la_outlet_on_clock(&o->clock);
        return;
    }
    if (!dialed && conn_to_check(c, arrived))
        return;
    bool alone = going || o->branch->home->crew->workers == 1;
    if (!alone && conn_to_foreign(c, dialed, mine_ns(w)))
        return;
    if (w) {
        if (dialed || arrived || quiet_or_end(c, look(c, w->replayable, now), now))
            la_dispatch_give(w, c, false);
        return;
    }
    if (dialed || arrived) /* for a probe whose request has left */
        la_health_probe_over(&o->pool.server->health);
    /* It is published as idle now: who waits since we looked? */
    if (!alone)
        conn_to_foreign(c, false, UINT64_MAX);
}

/* ---- freed places ---- */

struct place_note {
    struct la_note note;
    struct la_server *server; /* referenced */
    unsigned hops;            /* workers that it came from */
};

static void offer_place(struct la_outlet *o, unsigned hops);

static void on_place(struct la_note *note)
{
    struct place_note *n = la_container(note, struct place_note, note);
    struct la_upstreams *u = n->note.to;
    struct la_outlet *o = la_upstreams_outlet(u, n->server);
    if (o) {
        /* Nobody waits here: the slots that it finds now tell the truth. */
        offer_place(o, la_outlet_queue(o)->uncovered ? n->hops : 0);
        la_queue_publish(la_outlet_queue(o));
        la_dispatch_queue(la_outlet_queue(o), false);
    } else {
        la_place_put(n->server);
        la_dispatch_publish(u);
    }
    la_server_unref(&n->server);
    free(n);
}

void la_dispatch_publish(struct la_upstreams *u)
{
    struct la_branch *b;
    la_list_each(&u->branches, b, struct la_branch, node)
    {
        la_queue_publish(&b->queue);
        for (unsigned i = 0; b->bound && i < b->outlets; i++)
            la_queue_publish(&b->outlet[i]->queue);
    }
}

static void place_to_foreign(struct la_outlet *o, unsigned worker, unsigned hops)
{
    struct la_upstreams *u = o->branch->home;
    struct place_note *n = la_xcalloc(1, sizeof *n);
    n->server = la_server_ref(o->pool.server);
    n->hops = hops;
    n->note.deliver = on_place;
    n->note.to = u->crew->member[worker];
    la_loop_post(u->crew->member[worker]->loop, &n->note.mail);
}

/* Is there somebody of ours whom a dial to this server would help? */
static struct la_waiter *own_uncovered(const struct la_outlet *o)
{
    struct la_queue *q = la_outlet_queue((struct la_outlet *)(uintptr_t)o);
    struct la_waiter *w = la_queue_oldest(q, o->index);
    bool probe;
    /* The dial that covers it may be to the one that it has tried. */
    bool covered = q->uncovered == NULL && (w == NULL || w->tried == 0 || o->pool.count[LA_CONN_DIALING] > 0);
    if (w == NULL || covered || !la_health_usable(&o->pool.server->health, la_now_ns(o->branch->home), &probe))
        return NULL;
    return probe ? NULL : q->uncovered ? q->uncovered : w; /* a probe is the tick's business */
}

/* The place of one that takes no more requests: it may be another one's. */
static void give_back(struct la_outlet *o)
{
    struct la_branch *b;
    struct la_budget *budget = o->pool.server->budget;
    la_place_put(o->pool.server);
    la_list_each(&o->branch->home->branches, b, struct la_branch, node) {
        for (unsigned i = 0; i < b->outlets; i++)
            if (b->outlet[i]->pool.server->budget == budget && !is_going(b->outlet[i]))
                la_dispatch_queue(la_outlet_queue(b->outlet[i]), false);
    }
    la_outlet_maybe_end(o);
}

/* One that waits here or elsewhere may have tried this server in vain, which its slot does not tell: a place that has
 * been everywhere stays. */
static void offer_place(struct la_outlet *o, unsigned hops)
{
    if (is_going(o)) {
        give_back(o);
        return;
    }
    struct la_server *s = o->pool.server;
    struct la_upstreams *u = o->branch->home;
    struct la_cell *cells = la_queue_cells(la_outlet_queue(o));
    bool travels = hops + 1 < u->crew->workers;
    for (;;) {
        if (atomic_load(&s->budget->used) > atomic_load(&s->max)) { /* shrinking: this one is not given again */
            la_place_put(s);
            break;
        }
        if (la_check_takes_place(o))
            break;
        struct la_waiter *w = own_uncovered(o);
        uint64_t seen = 0;
        int other = la_check_claim_elsewhere(o);
        if (other >= 0) {
            place_to_foreign(o, (unsigned)other, hops + 1);
            break;
        }
        other = travels ? foreign_oldest(u, cells, true, &seen) : -1;
        if (other >= 0 && la_health_up(&s->health) && (w == NULL || seen + MS < w->arrived_ns)) {
            if (!atomic_compare_exchange_strong(&cells[other].uncovered_ns, &seen, 0))
                continue;
            place_to_foreign(o, (unsigned)other, hops + 1);
            break;
        }
        if (w && la_conn_dial(o, NULL, NULL, NULL))
            break;
        la_place_put(s);
        /* Somebody who was published before the place was back may have found none. */
        bool lost = w == NULL && travels && la_health_up(&s->health) && foreign_oldest(u, cells, true, &seen) >= 0;
        if ((!lost && !la_check_waits_elsewhere(o)) || !la_place_take(s))
            break;
    }
    la_outlet_maybe_end(o);
}

void la_dispatch_place(struct la_outlet *o)
{
    offer_place(o, 0);
}

/* ---- pokes: asking another worker for a connection ---- */

struct poke_note {
    struct la_note note;
    struct la_server *server; /* referenced */
    unsigned from;
    bool replayable;  /* what its oldest waiter is */
    bool last_resort; /* also one whose age is in doubt, or a parked one */
    int wanting;      /* last_resort: how many need a place, if there is no such one */
};

static void on_poke(struct la_note *note)
{
    struct poke_note *n = la_container(note, struct poke_note, note);
    struct la_upstreams *u = n->note.to;
    struct la_outlet *o = la_upstreams_outlet(u, n->server);
    struct la_cell *asks = o ? &la_queue_cells(la_outlet_queue(o))[n->from] : NULL;
    uint64_t seen = asks ? atomic_load(&asks->oldest_ns) : 0;
    bool check = atomic_load(&n->server->check_waits) == n->from + 1;
    if (o && (seen || check)) {
        bool goodbye;
        /* Our own waiters are older than what idles here, so an idle one is free to go. */
        struct la_conn *c = la_dispatch_pick(o, n->replayable, n->last_resort, &goodbye);
        if (c == NULL) {
            if (n->last_resort && atomic_load(&asks->uncovered_ns)) /* else a place is on its way */
                la_dispatch_make_room(o, n->wanting);
        } else if (la_check_claim(n->server, n->from) || (seen && atomic_compare_exchange_strong(&asks->oldest_ns, &seen, 0))) {
            if (goodbye)
                la_pool_mark(&o->pool, &c->item);
            la_conn_hand_over(c, n->from);
        }
    }
    la_server_unref(&n->server);
    free(n);
}

int la_dispatch_richest(const struct la_outlet *o, bool parked)
{
    const struct la_upstreams *u = o->branch->home;
    struct la_server *s = o->pool.server;
    int best = -1, most = 0;
    for (unsigned i = 0; i < u->crew->workers; i++) {
        int has = i == u->worker ? 0 : atomic_load(parked ? &s->cell[i].parked : &s->cell[i].idle);
        if (has > most) {
            most = has;
            best = (int)i;
        }
    }
    return best;
}

bool la_dispatch_poke(struct la_outlet *o, bool replayable, bool last_resort, int wanting)
{
    struct la_upstreams *u = o->branch->home;
    struct la_server *s = o->pool.server;
    int best = la_dispatch_richest(o, false);
    if (best < 0 && last_resort)
        best = la_dispatch_richest(o, true);
    if (best < 0)
        return false;
    struct poke_note *n = la_xcalloc(1, sizeof *n);
    n->server = la_server_ref(s);
    n->from = u->worker;
    n->replayable = replayable;
    n->last_resort = last_resort;
    n->wanting = wanting;
    n->note.deliver = on_poke;
    n->note.to = u->crew->member[best];
    la_loop_post(u->crew->member[best]->loop, &n->note.mail);
    return true;
}

/* ---- giving back ---- */

void la_conn_release(struct la_conn **cp, enum la_verdict v, enum la_close_cause cause)
{
    struct la_conn *c = *cp;
    struct la_outlet *o = c->outlet;
    *cp = NULL;
    c->on_event = NULL;
    c->owner = NULL;
    if (c->counted) {
        c->counted = false;
        atomic_fetch_sub_explicit(&o->pool.server->busy, 1, memory_order_relaxed);
    }
    c->fresh = false;
    if (c->probes) /* its request has its answer, or left without */
        la_health_probe_over(&o->pool.server->health);
    c->probes = false;
    if (cause == LA_CLOSE_UNEXPECTED_BYTES) /* such a server has trust to earn again */
        atomic_store_explicit(&o->pool.server->quiet, 0, memory_order_relaxed);
    if (v == LA_REUSE && c->item.goodbye) {
        v = LA_BACKEND_ENDS;
        cause = LA_CLOSE_GOODBYE;
    }
    switch (v) {
    case LA_REUSE:
        if (c->item.state != LA_CONN_PINNED && la_conn_must_yield(c))
            la_conn_shut(c, LA_CLOSE_WORKER_WANTED);
        else if (c->item.state != LA_CONN_PINNED)
            la_dispatch_conn(c, false);
        else if (c->keeper == NULL)
            la_conn_shut(c, LA_CLOSE_PROXY_PINNED);
        else
            c->on_pinned(c, false);
        break;
    case LA_BACKEND_ENDS: la_conn_set_leaving(c, cause); break;
    case LA_GONE:
    case LA_RESET: la_conn_end_and_offer(c, cause, v == LA_RESET); break;
    }
}

void la_conn_redial(struct la_conn **cp, enum la_close_cause cause, struct la_waiter *w)
{
    struct la_conn *c = *cp;
    struct la_outlet *o = c->outlet;
    struct la_branch *b = o->branch;
    *cp = NULL;
    if (c->probes)
        la_health_probe_over(&o->pool.server->health);
    la_conn_end(c, cause, false);
    bool probe;
    bool fine = !is_going(o) && atomic_load(&o->pool.server->budget->used) <= atomic_load(&o->pool.server->max) &&
                la_health_usable(&o->pool.server->health, la_now_ns(b->home), &probe) && !probe;
    if (fine && la_conn_dial(o, w, NULL, NULL))
        return;
    /* No port, or the server is going: the place goes back, and the request into the line, where it was. */
    la_place_put(o->pool.server);
    la_outlet_maybe_end(o);
    la_dispatch_again(b, w);
}

void la_conn_to_tunnel(struct la_conn *c)
{
    struct la_outlet *o = c->outlet;
    la_conn_lost(c);
    c->probes = false;
    la_pool_move(&o->pool, &c->item, LA_CONN_TUNNEL, la_now_ns(o->branch->home));
}

void la_conn_pin(struct la_conn *c, void (*on_pinned)(struct la_conn *, bool), void *keeper)
{
    struct la_outlet *o = c->outlet;
    c->on_pinned = on_pinned;
    c->keeper = keeper;
    if (c->item.state != LA_CONN_PINNED)
        la_pool_move(&o->pool, &c->item, LA_CONN_PINNED, la_now_ns(o->branch->home));
}

void la_conn_use_pinned(struct la_conn *c)
{
    la_dispatch_take(c, false);
}
