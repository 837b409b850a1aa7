/* starving.c: servers that have one worker for each connection (php-fpm), and fewer workers than pool.max.
 *
 * Idle connections then hold all workers, and one that was dialed is never accepted while it carries a request: it starves.
 * Whoever notices (fcgi_watch.c) says so here. One connection that idles, of this worker or another, is ended by our FIN,
 * and while one starves, those that come free end too instead of being used again: each end frees a worker, which takes the
 * next connection from the backlog, oldest first. Nothing is sent twice. It works, but at a price: pool.max is to be
 * mended, and the log says so. */
#include "internal.h"

#include <stdlib.h>

#define REMEMBER_NS 10000000000u

struct yield_note {
    struct la_note note;
    struct la_server *server; /* referenced */
};

static bool yield_one(struct la_outlet *o)
{
    struct la_pool_item *i = la_list_first(&o->pool.list[LA_CONN_IDLE], struct la_pool_item, node);
    if (i == NULL)
        i = la_list_first(&o->pool.list[LA_CONN_PARKED], struct la_pool_item, node);
    if (i == NULL)
        return false;
    la_conn_shut(la_container(i, struct la_conn, item), LA_CLOSE_WORKER_WANTED);
    return true;
}

static void on_yield(struct la_note *note)
{
    struct yield_note *n = la_container(note, struct yield_note, note);
    struct la_outlet *o = la_upstreams_outlet(n->note.to, n->server);
    if (o)
        yield_one(o);
    la_server_unref(&n->server);
    free(n);
}

/* The worker with the most idle ones is asked for one. */
static void ask_another(struct la_outlet *o)
{
    struct la_upstreams *u = o->branch->home;
    int best = la_dispatch_richest(o, false);
    if (best < 0)
        return;
    struct yield_note *n = la_xcalloc(1, sizeof *n);
    n->server = la_server_ref(o->pool.server);
    n->note.deliver = on_yield;
    n->note.to = u->crew->member[best];
    la_loop_post(u->crew->member[best]->loop, &n->note.mail);
}

void la_conn_starves(struct la_conn *c, bool *starving)
{
    struct la_outlet *o = c->outlet;
    struct la_server *s = o->pool.server;
    if (!*starving)
        atomic_fetch_add(&s->starving, 1);
    *starving = true;
    atomic_store_explicit(&s->starved_ns, la_now_ns(o->branch->home), memory_order_relaxed);
    if (!yield_one(o))
        ask_another(o);
}

void la_conn_fed(struct la_conn *c, bool *starving)
{
    if (*starving)
        atomic_fetch_sub(&c->outlet->pool.server->starving, 1);
    *starving = false;
}

bool la_conn_may_starve(const struct la_conn *c)
{
    const struct la_outlet *o = c->outlet;
    uint64_t seen = atomic_load_explicit(&o->pool.server->starved_ns, memory_order_relaxed);
    return seen != 0 && la_since(la_now_ns(o->branch->home), seen) < REMEMBER_NS;
}

bool la_conn_must_yield(const struct la_conn *c)
{
    return atomic_load_explicit(&c->outlet->pool.server->starving, memory_order_relaxed) > 0;
}
