/* upstreams.c: one worker's registry: a branch per upstream, an outlet per server; what a new configuration changes in
 * it; how it ends.
 *
 * Servers that stay keep their outlet and pool. One that is gone retires: it takes no more requests, its connections
 * are marked or parked and end as their backend hangs up; then it is freed, from the loop, never under a caller. One that
 * returns before that goes on with what it has left. When another one takes its places, its quiet connections are closed. */
#include "internal.h"
#include "lastack/ring.h"

#include <stdlib.h>

struct reaper {
    struct la_idle idle;
    struct la_upstreams u; /* first field a caller sees */
};

static struct reaper *reaper_of(struct la_upstreams *u)
{
    return la_container(u, struct reaper, u);
}

static void outlet_free(struct la_outlet *o)
{
    la_assert(o->check == NULL);
    la_lines_close(o);
    la_timer_stop(&o->clock);
    la_list_remove(&o->node);
    la_queue_fini(&o->queue);
    la_pool_fini(&o->pool);
    free(o);
}

static void branch_free(struct la_branch *b)
{
    la_list_remove(&b->node);
    la_queue_fini(&b->queue);
    la_upstream_unref(&b->shared);
    la_ring_free(&b->ring);
    free(b->outlet);
    free(b);
}

static bool branch_over(struct la_upstreams *u, const struct la_branch *b)
{
    if (!b->retired || b->users || b->queue.n || b->outlets)
        return false;
    struct la_outlet *o;
    la_list_each(&u->retired, o, struct la_outlet, node)
        if (o->branch == b)
            return false;
    return true;
}

static void reap(struct la_idle *i)
{
    struct la_upstreams *u = &la_container(i, struct reaper, idle)->u;
    struct la_outlet *o;
    la_list_each(&u->retired, o, struct la_outlet, node)
        if (la_pool_total(&o->pool) == 0 && o->queue.n == 0 && o->lines.asks == 0 && o->users == 0)
            outlet_free(o);
    struct la_branch *b;
    la_list_each(&u->branches, b, struct la_branch, node)
        if (branch_over(u, b))
            branch_free(b);
}

struct la_upstreams *la_upstreams_new(struct la_loop *l, unsigned worker, struct la_crew *crew)
{
    struct reaper *r = la_xcalloc(1, sizeof *r);
    struct la_upstreams *u = &r->u;
    r->idle.cb = reap;
    la_list_init(&r->idle.node);
    u->loop = l;
    u->worker = worker;
    u->crew = crew;
    u->random = la_random_seed();
    la_slab_init(&u->conns, sizeof(struct la_conn), 16);
    la_lanes_init(&u->lanes);
    la_list_init(&u->branches);
    la_list_init(&u->retired);
    return u;
}

void la_outlet_maybe_end(struct la_outlet *o)
{
    struct reaper *r = reaper_of(o->branch->home);
    if (o->retired && la_pool_total(&o->pool) == 0)
        la_loop_defer(r->u.loop, &r->idle);
}

void la_outlet_hold(struct la_outlet *o)
{
    o->users++;
}

void la_outlet_drop(struct la_outlet *o)
{
    la_assert(o->users-- > 0);
    la_outlet_maybe_end(o);
}

void la_branch_hold(struct la_branch *b)
{
    b->users++;
}

void la_branch_drop(struct la_branch *b)
{
    la_assert(b->users-- > 0);
    if (b->retired && b->users == 0)
        la_loop_defer(b->home->loop, &reaper_of(b->home)->idle);
}

struct la_branch *la_upstreams_branch(struct la_upstreams *u, const struct la_upstream *shared)
{
    struct la_branch *b;
    la_list_each(&u->branches, b, struct la_branch, node)
        if (b->shared == shared)
            return b;
    return NULL;
}

struct la_outlet *la_upstreams_outlet(struct la_upstreams *u, const struct la_server *s)
{
    struct la_branch *b;
    la_list_each(&u->branches, b, struct la_branch, node)
        for (unsigned i = 0; i < b->outlets; i++)
            if (b->outlet[i]->pool.server == s)
                return b->outlet[i];
    struct la_outlet *o;
    la_list_each(&u->retired, o, struct la_outlet, node)
        if (o->pool.server == s)
            return o;
    return NULL;
}

/* ---- a new configuration ---- */

static struct la_outlet *outlet_new(struct la_branch *b, struct la_server *s)
{
    struct la_upstreams *u = b->home;
    struct la_outlet *o = la_xcalloc(1, sizeof *o);
    la_pool_init(&o->pool, s, b->conf, u->worker);
    o->pool.draining = u->draining;
    o->branch = b;
    la_list_init(&o->node);
    la_timer_init(&o->clock, u->loop, la_outlet_on_clock);
    la_queue_init(&o->queue, u->loop, o->pool.cell, la_dispatch_on_tick);
    o->queue.branch = b;
    o->queue.outlet = o;
    return o;
}

/* Its dials count for whoever waits for it; or, the configuration being changed, for nobody. */
static void count_dials(struct la_outlet *o, bool count)
{
    struct la_pool_item *i;
    la_list_each(&o->pool.list[LA_CONN_DIALING], i, struct la_pool_item, node) {
        struct la_conn *c = la_container(i, struct la_conn, item);
        la_conn_uncover(c);
        if (count && !c->reserved && !c->on_check)
            la_conn_cover(c);
    }
}

/* Its idle connections take no more requests; a busy one is parked after its response. */
static void outlet_retire(struct la_outlet *o)
{
    struct la_upstreams *u = o->branch->home;
    struct la_pool_item *i;
    o->retired = true;
    o->pool.draining = true;
    count_dials(o, false);
    la_list_push_back(&u->retired, &o->node);
    la_list_each(&o->pool.list[LA_CONN_IDLE], i, struct la_pool_item, node)
        la_pool_move(&o->pool, i, LA_CONN_PARKED, la_now_ns(u));
    la_lines_look(o);
    la_outlet_maybe_end(o);
}

/* The one of s that retired and has connections left, which take requests again. NULL: none. */
static struct la_outlet *outlet_return(struct la_upstreams *u, const struct la_server *s)
{
    struct la_outlet *o, *found = NULL;
    struct la_pool_item *i;
    la_list_each(&u->retired, o, struct la_outlet, node)
        if (o->pool.server == s)
            found = o;
    if (found == NULL)
        return NULL;
    la_list_remove(&found->node);
    found->retired = false;
    found->pool.draining = u->draining;
    la_list_each(&found->pool.list[LA_CONN_PARKED], i, struct la_pool_item, node)
        la_pool_move(&found->pool, i, LA_CONN_IDLE, la_now_ns(u));
    return found;
}

/* Takes every waiter out; the caller queues them again where they belong now. */
static void collect(struct la_queue *q, struct la_list *into)
{
    struct la_waiter *w;
    la_list_each(&q->waiters, w, struct la_waiter, node) {
        la_upstreams_cancel(w);
        w->moved = true;
        la_list_push_back(into, &w->node);
    }
}

static struct la_branch *branch_for(struct la_upstreams *u, const struct la_upstream_plan *plan)
{
    struct la_branch *b = la_upstreams_branch(u, plan->shared);
    if (b)
        return b;
    b = la_xcalloc(1, sizeof *b);
    b->home = u;
    b->shared = la_upstream_ref(plan->shared);
    b->stats = &plan->shared->stats[u->worker];
    la_list_init(&b->node);
    la_list_init(&b->moved);
    la_list_push_back(&u->branches, &b->node);
    la_queue_init(&b->queue, u->loop, &plan->shared->cell[u->worker], la_dispatch_on_tick);
    b->queue.branch = b;
    return b;
}

static void branch_apply(struct la_branch *b, const struct la_upstream_plan *plan)
{
    collect(&b->queue, &b->moved);
    for (unsigned i = 0; i < b->outlets; i++)
        collect(&b->outlet[i]->queue, &b->moved);

    struct la_outlet **before = b->outlet;
    unsigned before_n = b->outlets;
    b->own_conf = *plan->conf;
    b->conf = &b->own_conf;
    b->retired = false;
    b->bound = plan->conf->balance == LA_BALANCE_HASH;
    b->outlet = la_xcalloc(plan->servers, sizeof *b->outlet);
    b->outlets = plan->servers;
    la_ring_free(&b->ring);
    memset(b->memc_tag, 0, sizeof b->memc_tag);
    if (plan->conf->memcached.hash_tag)
        memcpy(b->memc_tag, plan->conf->memcached.hash_tag, 2);
    for (unsigned i = 0; i < plan->servers; i++) {
        struct la_outlet *o = NULL;
        for (unsigned k = 0; k < before_n && o == NULL; k++)
            if (before[k] && before[k]->pool.server == plan->server[i]) {
                o = before[k];
                before[k] = NULL;
            }
        if (o == NULL && (o = outlet_return(b->home, plan->server[i])) == NULL)
            o = outlet_new(b, plan->server[i]);
        o->conf = plan->server_conf[i];
        o->pool.conf = b->conf;
        o->index = i;
        b->outlet[i] = o;
        count_dials(o, true); /* perhaps in another queue than before */
        la_lines_look(o);
    }
    for (unsigned k = 0; k < before_n; k++)
        if (before[k])
            outlet_retire(before[k]);
    free(before);
}

/* The upstream is gone from the configuration: whoever waits will be told, connections retire. */
static void branch_retire(struct la_branch *b)
{
    collect(&b->queue, &b->moved);
    for (unsigned i = 0; i < b->outlets; i++) {
        collect(&b->outlet[i]->queue, &b->moved);
        outlet_retire(b->outlet[i]);
    }
    b->outlets = 0;
    b->retired = true;
    la_loop_defer(b->home->loop, &reaper_of(b->home)->idle);
}

void la_upstreams_apply(struct la_upstreams *u, const struct la_upstream_plan *plan, unsigned n)
{
    struct la_branch *b;
    la_list_each(&u->branches, b, struct la_branch, node) {
        bool stays = false;
        for (unsigned i = 0; i < n && !stays; i++)
            stays = plan[i].shared == b->shared;
        if (!stays && !b->retired)
            branch_retire(b);
    }
    for (unsigned i = 0; i < n; i++)
        branch_apply(branch_for(u, &plan[i]), &plan[i]);
    struct la_outlet *o;
    la_list_each(&u->retired, o, struct la_outlet, node)
        la_outlet_on_clock(&o->clock);
}

void la_upstreams_resume(struct la_upstreams *u)
{
    struct la_branch *b;
    struct la_waiter *w;
    la_list_each(&u->branches, b, struct la_branch, node)
        while ((w = la_list_first(&b->moved, struct la_waiter, node))) {
            la_list_remove(&w->node);
            w->moved = false;
            w->tried = 0; /* the bits mean other servers now */
            if (b->retired)
                w->on_fail(w, LA_NO_SERVER);
            else
                la_dispatch_again(b, w);
        }
}

/* ---- the end ---- */

void la_upstreams_drain(struct la_upstreams *u)
{
    u->draining = true;
    struct la_branch *b;
    la_list_each(&u->branches, b, struct la_branch, node)
        for (unsigned i = 0; i < b->outlets; i++) {
            b->outlet[i]->pool.draining = true;
            la_lines_look(b->outlet[i]);
        }
}

static void outlet_each(struct la_outlet *o, void (*cb)(void *arg, struct la_conn *c), void *arg)
{
    for (int s = 0; s < LA_CONN_STATE_COUNT; s++) {
        struct la_pool_item *i;
        la_list_each(&o->pool.list[s], i, struct la_pool_item, node)
            cb(arg, la_container(i, struct la_conn, item));
    }
}

void la_upstreams_each(struct la_upstreams *u, void (*cb)(void *arg, struct la_conn *c), void *arg)
{
    struct la_branch *b;
    la_list_each(&u->branches, b, struct la_branch, node)
        for (unsigned i = 0; i < b->outlets; i++)
            outlet_each(b->outlet[i], cb, arg);
    struct la_outlet *o;
    la_list_each(&u->retired, o, struct la_outlet, node)
        outlet_each(o, cb, arg);
}

static void close_one(void *arg, struct la_conn *c)
{
    (void)arg;
    struct la_server *s = c->outlet->pool.server;
    bool quiet = c->item.state == LA_CONN_IDLE || c->item.state == LA_CONN_PARKED || c->item.state == LA_CONN_LEAVING;
    if (c->item.state == LA_CONN_DIALING) {
        atomic_fetch_sub(&s->dialing, 1);
        la_conn_uncover(c);
    }
    la_conn_end(c, LA_CLOSE_DRAIN, !quiet);
    la_place_put(s);
}

void la_upstreams_close(struct la_upstreams *u)
{
    struct la_branch *b;
    struct la_outlet *o;
    la_list_each(&u->branches, b, struct la_branch, node)
        for (unsigned i = 0; i < b->outlets; i++)
            la_lines_close(b->outlet[i]);
    la_list_each(&u->retired, o, struct la_outlet, node)
        la_lines_close(o);
    la_upstreams_each(u, close_one, NULL);
    la_list_each(&u->branches, b, struct la_branch, node) {
        for (unsigned i = 0; i < b->outlets; i++)
            outlet_retire(b->outlet[i]);
        b->outlets = 0;
        b->retired = true;
    }
    reap(&reaper_of(u)->idle);
}

static void count_one(void *arg, struct la_conn *c)
{
    (void)c;
    ++*(unsigned *)arg;
}

unsigned la_upstreams_connections(const struct la_upstreams *u)
{
    unsigned n = 0;
    la_upstreams_each((struct la_upstreams *)(uintptr_t)u, count_one, &n);
    return n;
}

void la_upstreams_free(struct la_upstreams **up)
{
    struct la_upstreams *u = *up;
    *up = NULL;
    reap(&reaper_of(u)->idle);
    la_assert(la_list_empty(&u->branches) && la_list_empty(&u->retired));
    struct reaper *r = reaper_of(u);
    la_list_remove(&r->idle.node);
    la_slab_fini(&u->conns);
    la_slab_fini(&u->lanes);
    free(r);
}
