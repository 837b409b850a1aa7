/* balance.c: which server takes this request: smooth weighted round robin, least connections, or rendezvous hashing.
 *
 * Servers that are down, draining or already tried are left out; backups come in only when no other is left. Among
 * those, one that could take the request now is preferred (not for hash: there the place is the point). It decides only. */
#include "internal.h"

static unsigned weight(const struct la_outlet *o, uint64_t now_ns)
{
    unsigned w = o->conf->weight * 64; /* room for slow start's fractions */
    uint64_t slow = o->conf->slow_start_ms * 1000000u;
    uint64_t up = atomic_load_explicit(&o->pool.server->health.up_since_ns, memory_order_relaxed);
    if (slow && up && la_since(now_ns, up) < slow) {
        w = (unsigned)(w * la_since(now_ns, up) / slow);
        if (w == 0)
            w = 1;
    }
    return w;
}

static bool usable(const struct la_outlet *o, const struct la_waiter *w, uint64_t now_ns)
{
    bool probe;
    if (o->conf->drain || (o->index < 64 && (w->tried >> o->index & 1)))
        return false;
    return la_health_usable(&o->pool.server->health, now_ns, &probe);
}

/* Could it take one more at once? */
static bool available(const struct la_outlet *o, uint64_t now_ns)
{
    struct la_server *s = o->pool.server;
    if (o->pool.count[LA_CONN_IDLE] > 0)
        return true;
    if (la_outlet_free_places(o, now_ns) > 0)
        return true;
    for (unsigned i = 0; i < s->workers; i++)
        if (atomic_load_explicit(&s->cell[i].idle, memory_order_relaxed) > 0)
            return true;
    return false;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

/* Weighted rendezvous: every server draws a number from (key, server); the best wins. A server that comes or goes moves only
 * its own keys. -weight / ln(u) with u in (0, 1), kept free of floating-point surprises by comparing doubles once. */
static double draw(const struct la_outlet *o, uint64_t key)
{
    uint64_t h = mix(key ^ mix(la_addr_hash(&o->pool.server->addr, la_addr_port(&o->pool.server->addr))));
    double u = ((double)(h >> 11) + 0.5) / 9007199254740992.0;
    return (double)o->conf->weight / -__builtin_log(u);
}

static struct la_outlet *by_hash(struct la_branch *b, const struct la_waiter *w, bool backup, uint64_t now_ns)
{
    struct la_outlet *best = NULL;
    double best_draw = 0;
    for (unsigned i = 0; i < b->outlets; i++) {
        struct la_outlet *o = b->outlet[i];
        if (o->conf->backup != backup || !usable(o, w, now_ns))
            continue;
        double d = draw(o, w->hash);
        if (best == NULL || d > best_draw) {
            best = o;
            best_draw = d;
        }
    }
    return best;
}

/* Requests under way, and those to come: a dial is for one. */
static uint64_t load(const struct la_outlet *o)
{
    struct la_server *s = o->pool.server;
    int n = atomic_load_explicit(&s->busy, memory_order_relaxed) + atomic_load_explicit(&s->dialing, memory_order_relaxed);
    return (uint64_t)n;
}

/* < 0: a has less to do for its weight than b. */
static int compare_load(const struct la_outlet *a, const struct la_outlet *b, uint64_t now_ns)
{
    uint64_t x = load(a) * weight(b, now_ns), y = load(b) * weight(a, now_ns);
    return (x > y) - (x < y);
}

static bool is_candidate(const struct la_outlet *o, const struct la_waiter *w, bool backup, bool must_be_free, uint64_t now_ns)
{
    return o->conf->backup == backup && usable(o, w, now_ns) && (!must_be_free || available(o, now_ns));
}

/* Every candidate earns its weight, the best pays for all: nginx's smooth weighted round robin. For least connections the
 * candidates are those with the least load. */
static struct la_outlet *by_turn(struct la_branch *b, const struct la_waiter *w, bool backup, bool must_be_free,
                                 uint64_t now_ns)
{
    struct la_outlet *best = NULL, *least = NULL;
    long total = 0;
    for (unsigned i = 0; b->conf->balance == LA_BALANCE_LEAST_CONNECTIONS && i < b->outlets; i++) {
        struct la_outlet *o = b->outlet[i];
        if (is_candidate(o, w, backup, must_be_free, now_ns) && (least == NULL || compare_load(o, least, now_ns) < 0))
            least = o;
    }
    for (unsigned i = 0; i < b->outlets; i++) {
        struct la_outlet *o = b->outlet[i];
        if (o != least && /* other workers change loads meanwhile */
            (!is_candidate(o, w, backup, must_be_free, now_ns) || (least && compare_load(o, least, now_ns) > 0)))
            continue;
        long earns = weight(o, now_ns);
        o->turn += earns;
        total += earns;
        if (best == NULL || o->turn > best->turn)
            best = o;
    }
    if (best)
        best->turn -= total;
    return best;
}

struct la_outlet *la_balance_choose(struct la_branch *b, const struct la_waiter *w, uint64_t now_ns)
{
    if (la_likely(b->outlets == 1))
        return usable(b->outlet[0], w, now_ns) ? b->outlet[0] : NULL;
    struct la_outlet *o = NULL;
    for (int backup = 0; backup <= 1 && o == NULL; backup++) {
        if (b->bound) {
            o = by_hash(b, w, backup, now_ns);
        } else {
            o = by_turn(b, w, backup, true, now_ns);
            if (o == NULL)
                o = by_turn(b, w, backup, false, now_ns);
        }
    }
    return o;
}
