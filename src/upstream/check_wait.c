/* check_wait.c: a health check of a server whose places are all taken, with nothing idle: it waits, in front of all
 * requests, for the next connection or place of that server.
 *
 * Owns: the server's slot that tells other workers of it. Never: how long it waits and what its waiting says of the server
 * (its owner), who comes after it (dispatch.c).
 *
 * A parked connection of this worker is ridden, as its goodbye; another worker that has an idle or parked one is asked for
 * it. Else it is for whoever frees something to see that a check waits: the same worker serves it before the requests,
 * another one claims the slot and sends what it has.
 *
 * No wake-up is lost: the slot is published before places and pools are looked at; what is given back is looked after
 * once more. Where no event comes (ports) its owner looks again. One thread, but for the slot. */
#include "internal.h"

static unsigned own_number(const struct la_outlet *o)
{
    return o->branch->home->worker + 1;
}

bool la_check_waits_elsewhere(const struct la_outlet *o)
{
    unsigned at = atomic_load(&o->pool.server->check_waits);
    return at && at != own_number(o);
}

bool la_check_claim(struct la_server *s, unsigned worker)
{
    unsigned at = worker + 1;
    return atomic_compare_exchange_strong(&s->check_waits, &at, 0);
}

int la_check_claim_elsewhere(const struct la_outlet *o)
{
    unsigned at = atomic_load(&o->pool.server->check_waits);
    return at && at != own_number(o) && la_check_claim(o->pool.server, at - 1) ? (int)at - 1 : -1;
}

bool la_check_takes_place(struct la_outlet *o)
{
    struct la_check_wait *w = o->check;
    if (w == NULL || !la_conn_dial(o, NULL, w->cb, w->arg))
        return false;
    la_check_wait_end(w);
    w->dials(w->arg);
    return true;
}

void la_check_take_conn(struct la_conn *c, bool goodbye)
{
    struct la_check_wait *w = c->outlet->check;
    la_check_wait_end(w);
    la_dispatch_take(c, goodbye);
    c->probes = false;
    w->cb(w->arg, c, LA_OK);
}

void la_check_wait_look(struct la_check_wait *w)
{
    struct la_outlet *o = w->outlet;
    struct la_server *s = o->pool.server;
    bool goodbye;
    atomic_store(&s->check_waits, own_number(o));
    if (la_place_take(s)) {
        if (la_check_takes_place(o))
            return;
        la_place_put(s);
    }
    struct la_conn *c = la_dispatch_pick(o, true, true, &goodbye);
    if (c && o->check)
        la_check_take_conn(c, goodbye);
    else if (o->check)
        la_dispatch_poke(o, true, true, 0);
}

void la_check_wait_begin(struct la_check_wait *w, struct la_outlet *o)
{
    la_assert(o->check == NULL);
    o->check = w;
    w->outlet = o;
}

void la_check_wait_end(struct la_check_wait *w)
{
    if (w->outlet == NULL)
        return;
    atomic_store(&w->outlet->pool.server->check_waits, 0);
    w->outlet->check = NULL;
    w->outlet = NULL;
}
