/* memcached_outlet.c: which server a key is on, and whether that one is in.
 *
 * Owns: the ring of a branch, probes. Never: commands and their parts.
 *
 * A server that is out is asked `version` when its pause is over, and is in again when it answers; with flush_on_return
 * it is emptied before that. Lines that are quiet for health.interval are asked as well. One thread. */
#include "memcached.h"
#include "lastack/ring.h"

#include <stdlib.h>

/* ---- which server ---- */

static struct la_slice host_of(const struct la_conf_server *s, char *buf)
{
    if (s->host)
        return la_slice_str(s->host);
    if (la_addr_family(&s->address) == AF_UNIX)
        return la_slice_str(s->address.u.un.sun_path);
    return la_slice_str(la_addr_host_text(&s->address, buf));
}

static struct la_ring *make_ring(const struct la_branch *b, uint64_t in)
{
    struct la_ring_server *s = la_xcalloc(b->outlets, sizeof *s);
    char(*text)[LA_ADDR_TEXT] = la_xcalloc(b->outlets, sizeof *text);
    for (unsigned i = 0; i < b->outlets; i++) {
        const struct la_conf_server *c = b->outlet[i]->conf;
        bool named = c->host != NULL;
        s[i] = (struct la_ring_server){host_of(c, text[i]), named ? c->port : la_addr_port(&c->address),
                                       c->weight};
    }
    struct la_ring *r =
        la_ring_new(b->conf->memcached.distribution, b->conf->memcached.hash, s, b->outlets, in);
    free(s);
    free(text);
    return r;
}

struct la_outlet *la_moutlet_find(struct la_branch *b, struct la_slice key)
{
    uint64_t in = UINT64_MAX;
    if (b->outlets == 0)
        return NULL;
    if (b->conf->memcached.auto_eject == LA_EJECT_REHASH)
        for (unsigned i = 0; i < b->outlets && i < 64; i++)
            if (!la_moutlet_usable(b->outlet[i]))
                in &= ~(1ull << i);
    if (b->ring == NULL || b->ring_in != in) {
        la_ring_free(&b->ring);
        b->ring = make_ring(b, in);
        b->ring_in = in;
    }
    if (b->ring == NULL)
        return NULL;
    return b->outlet[la_ring_find(b->ring, la_ring_tagged(b->memc_tag[0] ? b->memc_tag : NULL, key))];
}

struct la_outlet *la_moutlet_for(struct la_front *f, struct la_slice key)
{
    struct la_outlet *o = f->pipe.branch ? la_moutlet_find(f->pipe.branch, key) : NULL;
    if (o && la_moutlet_usable(o))
        return o;
    o = f->pipe.failover ? la_moutlet_find(f->pipe.failover, key) : NULL;
    return o && la_moutlet_usable(o) ? o : NULL;
}

struct la_outlet *la_moutlet_any(struct la_front *f)
{
    struct la_branch *b = f->pipe.branch;
    for (unsigned i = 0; b && i < b->outlets; i++)
        if (la_moutlet_usable(b->outlet[i]))
            return b->outlet[i];
    return NULL;
}

/* ---- is it back? ---- */

struct probe {
    struct la_ask ask;
    struct la_list lanes;
    struct la_outlet *outlet;
    struct la_branch *branch; /* held */
    struct la_line *line;     /* on this one, because it is quiet; NULL: the server is out */
    bool flushing;
};

static void probe_send(struct probe *p, struct la_slice what);

static enum la_ask_result on_probe_reply(struct la_ask *a, const char *p, size_t n, size_t *used)
{
    struct probe *k = la_container(a, struct probe, ask);
    struct la_slice want = k->flushing ? LA_SLICE("OK") : LA_SLICE("VERSION");
    const char *end = memchr(p, '\n', n);
    *used = end ? (size_t)(end - p) + 1 : 0;
    if (end == NULL)
        return n > 256 ? LA_ASK_BAD : LA_ASK_MORE;
    return *used > want.n && memcmp(p, want.p, want.n) == 0 ? LA_ASK_DONE : LA_ASK_BAD;
}

static void on_probe_over(struct la_ask *a, enum la_err e)
{
    struct probe *k = la_container(a, struct probe, ask);
    struct la_server *s = k->outlet->pool.server;
    bool returns = e == LA_OK && k->line == NULL;
    if (returns && k->branch->conf->memcached.flush_on_return && !k->flushing) {
        k->flushing = true;
        probe_send(k, LA_SLICE("flush_all\r\n"));
        return;
    }
    if (returns) {
        la_health_ok(&s->health, la_loop_now_ns(k->outlet->clock.loop));
        la_log_notice("server %s of upstream %s is up again", s->label, k->branch->shared->name);
    } else if (k->line == NULL) {
        la_health_probe_over(&s->health);
    }
    la_lanes_forget(&k->lanes);
    la_branch_drop(k->branch);
    free(k);
}

static const struct la_ask_events probe_events = {
    .goodbye = "quit\r\n", .reply = on_probe_reply, .over = on_probe_over};

static void probe_send(struct probe *k, struct la_slice what)
{
    uint64_t now = la_loop_now_ns(k->outlet->clock.loop);
    k->ask = (struct la_ask){
        .on = &probe_events, .head = what, .due_ns = now + k->branch->conf->health.timeout_ms * 1000000u};
    if (k->line)
        la_line_ask(k->line, &k->lanes, &k->ask);
    else
        la_lines_ask(k->outlet, &k->lanes, &k->ask);
}

static void probe_new(struct la_outlet *o, struct la_line *l)
{
    struct probe *k = la_xcalloc(1, sizeof *k);
    la_list_init(&k->lanes);
    k->outlet = o;
    k->line = l;
    k->branch = o->branch;
    la_branch_hold(k->branch);
    probe_send(k, LA_SLICE("version\r\n"));
}

/* A line on which nothing happens: is the server still there? It is better known before somebody asks. */
void la_moutlet_quiet(struct la_outlet *o, struct la_line *l)
{
    if (la_health_up(&o->pool.server->health))
        probe_new(o, l);
    else
        la_moutlet_usable(o);
}

bool la_moutlet_usable(struct la_outlet *o)
{
    struct la_health *h = &o->pool.server->health;
    uint64_t now = la_loop_now_ns(o->clock.loop);
    bool probe;
    if (la_likely(la_health_up(h)))
        return true;
    if (!la_health_usable(h, now, &probe) || !probe || o->retired || !la_health_claim_probe(h, now))
        return false;
    probe_new(o, NULL);
    return false;
}
