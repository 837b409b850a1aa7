/* server.c: the objects that all workers share: servers, upstreams, their cells, and the budget of places.
 *
 * Good path: the main thread makes them for a configuration, hands references to workers, drops its own at the next
 * configuration; the last worker whose pool is empty frees the object. */
#include "lastack/server.h"

#include <stdlib.h>

static const char *const state_names[LA_CONN_STATE_COUNT] = {
#define X(id, name) [LA_CONN_##id] = name,
    LA_CONN_STATES(X)
#undef X
};

const char *la_conn_state_name(enum la_conn_state s)
{
    la_assert((unsigned)s < LA_CONN_STATE_COUNT);
    return state_names[s];
}

static const struct la_close_info causes[LA_CLOSE_CAUSE_COUNT] = {
#define X(id, by, reason, text) [LA_CLOSE_##id] = {by, reason, text},
    LA_CLOSE_CAUSES(X)
#undef X
};

const struct la_close_info *la_close_info(enum la_close_cause c)
{
    la_assert((unsigned)c < LA_CLOSE_CAUSE_COUNT);
    return &causes[c];
}

/* Cells lie on cache lines of their own. */
static void *aligned_zero(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    la_assert(p != NULL);
    memset(p, 0, bytes);
    return p;
}

struct la_cell *la_cells_new(unsigned workers)
{
    return aligned_zero(workers * sizeof(struct la_cell));
}

static struct la_tally *tally_new(unsigned workers)
{
    struct la_tally *t = la_xcalloc(1, sizeof *t + workers * sizeof t->stats[0]);
    atomic_store(&t->refs, 1);
    return t;
}

static void tally_unref(struct la_tally **tp)
{
    struct la_tally *t = *tp;
    *tp = NULL;
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (unsigned i = 0; i < t->sources; i++)
        free(t->source[i]);
    free(t);
}

/* The slot of that name, a new one while there are some; the last for all others. */
static unsigned tally_slot(struct la_tally *t, const char *name)
{
    unsigned i = 0;
    while (i < t->sources && strcmp(t->source[i], name) != 0)
        i++;
    if (i >= LA_SOURCE_SLOTS - 1) {
        i = LA_SOURCE_SLOTS - 1;
        name = "other";
    }
    if (i == t->sources) {
        t->source[i] = la_xstrdup(name);
        t->sources++;
    }
    return i;
}

struct la_server *la_server_new(const char *upstream, const char *label, const struct la_addr *addr, unsigned workers)
{
    struct la_server *s = aligned_zero(sizeof *s);
    atomic_store(&s->refs, 1);
    s->upstream = la_xstrdup(upstream);
    s->label = la_xstrdup(label);
    s->addr = *addr;
    s->workers = workers;
    s->cell = la_cells_new(workers);
    s->tally = tally_new(workers);
    s->stats = s->tally->stats;
    for (unsigned i = 0; i < LA_SOURCE_SLOTS; i++)
        s->slot[i] = (uint8_t)i;
    s->budget = aligned_zero(sizeof *s->budget);
    atomic_store(&s->budget->refs, 1);
    return s;
}

static void budget_unref(struct la_budget **bp)
{
    struct la_budget *b = *bp;
    *bp = NULL;
    if (atomic_fetch_sub(&b->refs, 1) != 1)
        return;
    la_assert(atomic_load(&b->used) == 0);
    free(b);
}

void la_server_take_over(struct la_server *s, struct la_server *before)
{
    budget_unref(&s->budget);
    s->budget = before->budget;
    atomic_fetch_add(&s->budget->refs, 1);
}

void la_server_count_on(struct la_server *s, struct la_server *before)
{
    la_assert(s->workers == before->workers);
    tally_unref(&s->tally);
    s->tally = before->tally;
    s->stats = s->tally->stats;
    atomic_fetch_add(&s->tally->refs, 1);
}

void la_server_name_sources(struct la_server *s)
{
    size_t pairs = s->ledger ? s->ledger->pairs : 1;
    char name[LA_SOURCE_TEXT];
    for (size_t i = 0; i < pairs && i < LA_SOURCE_SLOTS; i++) {
        bool rest = i == LA_SOURCE_SLOTS - 1;
        s->slot[i] = (uint8_t)tally_slot(s->tally, rest ? "other" : s->ledger ? la_pair_text(s->ledger, i, name) : "default");
    }
}

struct la_server *la_server_ref(struct la_server *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void la_server_unref(struct la_server **sp)
{
    struct la_server *s = *sp;
    *sp = NULL;
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    budget_unref(&s->budget);
    la_ledger_free(&s->ledger);
    la_tls_slot_free(&s->tls_slot);
    la_tls_unref(&s->tls);
    free(s->tls_name);
    free(s->port_gate);
    tally_unref(&s->tally);
    free(s->cell);
    free(s->label);
    free(s->upstream);
    free(s);
}

bool la_place_take(struct la_server *s)
{
    int used = atomic_load(&s->budget->used);
    while (used < atomic_load(&s->max))
        if (atomic_compare_exchange_weak(&s->budget->used, &used, used + 1))
            return true;
    return false;
}

void la_place_put(struct la_server *s)
{
    la_assert(atomic_fetch_sub(&s->budget->used, 1) > 0);
}

bool la_tunnel_place_take(struct la_server *s)
{
    int n = atomic_load(&s->budget->tunnels);
    while (n < atomic_load(&s->tunnels_max))
        if (atomic_compare_exchange_weak(&s->budget->tunnels, &n, n + 1))
            return true;
    return false;
}

void la_tunnel_place_put(struct la_server *s)
{
    atomic_fetch_sub(&s->budget->tunnels, 1);
}

struct la_upstream *la_upstream_new(const char *name, enum la_protocol protocol, unsigned workers)
{
    struct la_upstream *u = la_xcalloc(1, sizeof *u);
    atomic_store(&u->refs, 1);
    u->name = la_xstrdup(name);
    u->protocol = protocol;
    u->workers = workers;
    u->cell = la_cells_new(workers);
    u->stats = la_xcalloc(workers, sizeof *u->stats);
    return u;
}

struct la_upstream *la_upstream_ref(struct la_upstream *u)
{
    atomic_fetch_add(&u->refs, 1);
    return u;
}

void la_upstream_unref(struct la_upstream **up)
{
    struct la_upstream *u = *up;
    *up = NULL;
    if (u == NULL || atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    free(u->stats);
    free(u->cell);
    free(u->name);
    free(u);
}
