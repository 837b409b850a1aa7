/* pool.c: a worker's connections to one server: lists by state, the clocks applied, the choice for a request.
 *
 * Owns: the lists and their counts, the published counts of the worker's cell. Never: a socket, a timer, another
 * worker's pool. Good path: dialing -> busy -> idle -> busy ... -> parked or leaving -> gone. One thread. */
#include "lastack/pool.h"

#define MS                1000000ull
#define UNKNOWN_UNSAFE_MS 200   /* and others */
#define UNKNOWN_CLOSE_MS  300000

/* From (row) to (column): dialing busy idle parked leaving pinned tunnel. */
static const bool allowed[LA_CONN_STATE_COUNT][LA_CONN_STATE_COUNT] = {
    [LA_CONN_DIALING] = {[LA_CONN_BUSY] = true, [LA_CONN_IDLE] = true, [LA_CONN_LEAVING] = true},
    [LA_CONN_BUSY] =
        {[LA_CONN_IDLE] = true, [LA_CONN_LEAVING] = true, [LA_CONN_PINNED] = true, [LA_CONN_TUNNEL] = true},
    [LA_CONN_IDLE] = {[LA_CONN_BUSY] = true, [LA_CONN_PARKED] = true, [LA_CONN_LEAVING] = true},
    [LA_CONN_PARKED] = {[LA_CONN_BUSY] = true, [LA_CONN_IDLE] = true, [LA_CONN_LEAVING] = true},
    [LA_CONN_PINNED] = {[LA_CONN_LEAVING] = true, [LA_CONN_TUNNEL] = true}, /* never to the pool again */
    [LA_CONN_LEAVING] = {[LA_CONN_LEAVING] = true},
    [LA_CONN_TUNNEL] = {[LA_CONN_LEAVING] = true},
};

void la_pool_init(struct la_pool *p, struct la_server *server, const struct la_conf_upstream *conf, unsigned worker)
{
    *p = (struct la_pool){.server = la_server_ref(server), .conf = conf, .cell = &server->cell[worker]};
    p->stats = &server->stats[worker];
    for (int s = 0; s < LA_CONN_STATE_COUNT; s++)
        la_list_init(&p->list[s]);
}

void la_pool_fini(struct la_pool *p)
{
    la_assert(la_pool_total(p) == 0);
    la_server_unref(&p->server);
}

int la_pool_total(const struct la_pool *p)
{
    int n = 0;
    for (int s = 0; s < LA_CONN_STATE_COUNT; s++)
        n += p->count[s];
    return n;
}

/* Other workers look at these; sequentially consistent, because they decide whether to sleep. */
static void publish(struct la_pool *p, enum la_conn_state s)
{
    if (s == LA_CONN_IDLE)
        atomic_store(&p->cell->idle, p->count[LA_CONN_IDLE]);
    else if (s == LA_CONN_PARKED || s == LA_CONN_LEAVING)
        atomic_store(&p->cell->parked, p->count[LA_CONN_PARKED] + p->count[LA_CONN_LEAVING]);
}

static void count(struct la_pool *p, struct la_pool_item *i, int by)
{
    p->count[i->state] += by;
    _Atomic int64_t *gauge = &p->stats->state[la_server_slot(p->server, i->pair)][i->state];
    atomic_store_explicit(gauge, atomic_load_explicit(gauge, memory_order_relaxed) + by, memory_order_relaxed);
    publish(p, i->state);
}

static void enter(struct la_pool *p, struct la_pool_item *i, enum la_conn_state s, uint64_t now_ns)
{
    enum la_conn_state from = i->in_pool ? i->state : s;
    i->state = s;
    /* parked keeps the time since when it idles */
    if (s == LA_CONN_LEAVING || (s == LA_CONN_IDLE && from != LA_CONN_PARKED))
        i->idle_ns = now_ns;
    /* One that comes from another worker has idled for some time: it belongs before younger ones. */
    struct la_list *at = &p->list[s]; /* insert before this */
    while ((s == LA_CONN_IDLE || s == LA_CONN_PARKED) && at->prev != &p->list[s] &&
           la_container(at->prev, struct la_pool_item, node)->idle_ns > i->idle_ns)
        at = at->prev;
    la_list_insert_before(at, &i->node);
    count(p, i, 1);
}

void la_pool_add(struct la_pool *p, struct la_pool_item *i, enum la_conn_state s, uint64_t now_ns)
{
    la_assert(!i->in_pool);
    la_list_init(&i->node);
    enter(p, i, s, now_ns);
    i->in_pool = true;
}

void la_pool_move(struct la_pool *p, struct la_pool_item *i, enum la_conn_state to, uint64_t now_ns)
{
    la_assert(i->in_pool && allowed[i->state][to]);
    la_list_remove(&i->node);
    count(p, i, -1);
    enter(p, i, to, now_ns);
}

void la_pool_remove(struct la_pool *p, struct la_pool_item *i)
{
    la_assert(i->in_pool);
    la_list_remove(&i->node);
    count(p, i, -1);
    i->in_pool = false;
    if (i->goodbye)
        atomic_fetch_sub(&p->server->budget->marked, 1);
}

void la_pool_mark(struct la_pool *p, struct la_pool_item *i)
{
    if (i->goodbye)
        return;
    i->goodbye = true;
    atomic_fetch_add(&p->server->budget->marked, 1);
}

uint64_t la_pool_reuse_ms(const struct la_pool *p, uint64_t now_ns, bool replayable)
{
    if (p->conf->pool.idle_reuse_ms != LA_AUTO)
        return p->conf->pool.idle_reuse_ms;
    uint64_t reuse = la_clock_reuse_ms(&p->server->clock, now_ns);
    if (reuse)
        return reuse;
    return replayable ? LA_UNKNOWN_REUSE_MS : la_max64(UNKNOWN_UNSAFE_MS, la_clock_proven_ms(&p->server->clock));
}

uint64_t la_pool_close_ms(const struct la_pool *p, uint64_t now_ns)
{
    if (p->conf->pool.idle_close_ms != LA_AUTO)
        return p->conf->pool.idle_close_ms;
    uint64_t known = la_clock_known_ms(&p->server->clock, now_ns), close = known ? 2 * known + 1000 : UNKNOWN_CLOSE_MS;
    bool told = p->conf->pool.idle_reuse_ms != LA_AUTO; /* longer than that, or the proxy would close first */
    return told ? la_max64(close, 2 * p->conf->pool.idle_reuse_ms + 1000) : close;
}

static struct la_pool_item *oldest(struct la_pool *p, enum la_conn_state s)
{
    return la_list_first(&p->list[s], struct la_pool_item, node);
}

static struct la_pool_item *youngest(struct la_pool *p, enum la_conn_state s)
{
    return la_list_last(&p->list[s], struct la_pool_item, node);
}

static uint64_t age_ns(const struct la_pool_item *i, uint64_t now_ns)
{
    return la_since(now_ns, i->idle_ns);
}

/* Everything past the reuse clock of replayable requests is parked; the rest of the idle list is younger. */
static void park(struct la_pool *p, uint64_t now_ns)
{
    struct la_pool_item *i;
    uint64_t reuse = la_pool_reuse_ms(p, now_ns, true) * MS;
    while ((i = oldest(p, LA_CONN_IDLE)) != NULL && age_ns(i, now_ns) >= reuse)
        la_pool_move(p, i, LA_CONN_PARKED, now_ns);
}

/* Has it served for long enough with this number of requests? */
static bool outlived(const struct la_pool *p, const struct la_pool_item *i, uint64_t requests, uint64_t now_ns)
{
    if (p->conf->pool.max_requests && requests >= p->conf->pool.max_requests)
        return true;
    return i->last_by_ns && now_ns >= i->last_by_ns;
}

bool la_pool_says_goodbye(const struct la_pool *p, const struct la_pool_item *i, uint64_t now_ns)
{
    if (p->conf->send_proxy) /* the header is one client's */
        return true;
    if (p->draining || la_server_surplus(p->server))
        return true;
    return outlived(p, i, i->requests + 1, now_ns);
}

bool la_pool_had_last(const struct la_pool *p, const struct la_pool_item *i, uint64_t now_ns)
{
    return outlived(p, i, i->requests, now_ns);
}

struct la_pick la_pool_pick(struct la_pool *p, uint64_t now_ns, bool replayable, bool last_resort)
{
    struct la_pick pick = {0};
    struct la_pool_item *i;
    if (p->count[LA_CONN_IDLE] + p->count[LA_CONN_PARKED] == 0)
        return pick;
    park(p, now_ns);
    /* The oldest one that is open proves what younger ones may be trusted with. */
    i = oldest(p, LA_CONN_PARKED);
    i = i ? i : la_list_front(&p->list[LA_CONN_IDLE], struct la_pool_item, node);
    la_clock_alive(&p->server->clock, age_ns(i, now_ns) / MS);
    /* Near its close clock a connection is used once more, so that the backend closes it, not we. */
    uint64_t near_close = la_pool_close_ms(p, now_ns) * MS / 10 * 8;
    uint64_t most = replayable || last_resort ? UINT64_MAX : la_pool_reuse_ms(p, now_ns, false) * MS;
    if ((i = oldest(p, LA_CONN_IDLE)) != NULL && age_ns(i, now_ns) >= near_close && age_ns(i, now_ns) < most) {
        pick.goodbye = true;
    } else if (replayable && (i = oldest(p, LA_CONN_PARKED)) != NULL && age_ns(i, now_ns) >= near_close) {
        pick.goodbye = true;
    } else if ((i = youngest(p, LA_CONN_IDLE)) != NULL) {
        if (age_ns(i, now_ns) >= most)
            return pick;
    } else if (last_resort && replayable && (i = youngest(p, LA_CONN_PARKED)) != NULL) {
        pick.goodbye = true;
    } else {
        return pick;
    }
    pick.item = i;
    return pick;
}

struct la_pool_item *la_pool_give_up(struct la_pool *p, uint64_t now_ns, enum la_close_cause *cause)
{
    struct la_pool_item *i = oldest(p, LA_CONN_PARKED);
    if (i) {
        *cause = LA_CLOSE_PARKED_FOR_CAP;
        return i;
    }
    /* A leaving one gets half of its time: its FIN is most likely on the way. */
    la_list_each(&p->list[LA_CONN_LEAVING], i, struct la_pool_item, node)
    {
        if (!i->shut && age_ns(i, now_ns) >= p->conf->pool.goodbye_ms * MS / 2) {
            *cause = LA_CLOSE_LEAVING_FOR_CAP;
            return i;
        }
    }
    return NULL;
}

static void earliest(uint64_t *next, uint64_t ns)
{
    if (*next == 0 || ns < *next)
        *next = ns;
}

struct la_pool_item *la_pool_clock(struct la_pool *p, uint64_t now_ns, uint64_t *next_ns)
{
    *next_ns = 0;
    park(p, now_ns);
    struct la_pool_item *idle = oldest(p, LA_CONN_IDLE), *parked = oldest(p, LA_CONN_PARKED);
    if (parked)
        la_clock_alive(&p->server->clock, age_ns(parked, now_ns) / MS);
    uint64_t close = la_pool_close_ms(p, now_ns) * MS;
    struct la_pool_item *over = parked && age_ns(parked, now_ns) >= close ? parked
                                : idle && age_ns(idle, now_ns) >= close   ? idle
                                                                          : NULL;
    if (over) {
        la_clock_outlived(&p->server->clock, age_ns(over, now_ns) / MS);
        return over;
    }
    if (idle)
        earliest(next_ns, idle->idle_ns + la_min64(la_pool_reuse_ms(p, now_ns, true) * MS, close));
    if (parked) {
        earliest(next_ns, parked->idle_ns + close);
        uint64_t learned = atomic_load_explicit(&p->server->clock.learned_ms, memory_order_relaxed);
        uint64_t refuted = parked->idle_ns + (learned + learned / 5 + 1) * MS;
        if (learned && refuted > now_ns)
            earliest(next_ns, refuted);
    }
    return NULL;
}
