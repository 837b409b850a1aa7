/* upstream_pool.c: one pool driven with plain items: choice, clocks, parking, goodbyes, what is given up for the cap;
 * random operations against a naive twin. */
#include "lastack/pool.h"
#include "test.h"

#define MS 1000000ull
#define S  (1000 * MS)

static struct la_conf_upstream conf;
static struct la_pool pool;
static struct la_pool_item item[8];
static uint64_t now;

static void begin(void)
{
    struct la_addr a = {.len = sizeof(struct sockaddr_in)};
    a.u.in.sin_family = AF_INET;
    conf = (struct la_conf_upstream){0};
    conf.pool.idle_reuse_ms = conf.pool.idle_close_ms = LA_AUTO;
    conf.pool.goodbye_ms = 1000;
    struct la_server *s = la_server_new("app", "10.0.0.1:80", &a, 1);
    atomic_store(&s->max, 100);
    la_pool_init(&pool, s, &conf, 0);
    la_server_unref(&s);
    memset(item, 0, sizeof item);
    now = 1000 * S;
}

static void end(void)
{
    for (int s = 0; s < LA_CONN_STATE_COUNT; s++)
        while (!la_list_empty(&pool.list[s]))
            la_pool_remove(&pool, la_list_first(&pool.list[s], struct la_pool_item, node));
    CHECK_EQ(atomic_load(&pool.server->budget->marked), 0);
    CHECK_EQ(atomic_load(&pool.cell->idle), 0);
    CHECK_EQ(atomic_load(&pool.cell->parked), 0);
    la_pool_fini(&pool);
}

/* Items 0..n-1 idle, a second apart; the last one since now. */
static void idle(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        now += S;
        la_pool_add(&pool, &item[i], LA_CONN_BUSY, now);
        la_pool_move(&pool, &item[i], LA_CONN_IDLE, now);
    }
}

static struct la_pick pick(bool replayable, bool last_resort)
{
    return la_pool_pick(&pool, now, replayable, last_resort);
}

static void states(void)
{
    begin();
    CHECK_EQ(la_pool_total(&pool), 0);
    la_pool_add(&pool, &item[0], LA_CONN_DIALING, now);
    la_pool_move(&pool, &item[0], LA_CONN_BUSY, now);
    CHECK(pool.count[LA_CONN_DIALING] == 0 && pool.count[LA_CONN_BUSY] == 1);
    CHECK_EQ(atomic_load(&pool.stats->state[0][LA_CONN_BUSY]), 1);
    la_pool_move(&pool, &item[0], LA_CONN_IDLE, now);
    CHECK_EQ(atomic_load(&pool.cell->idle), 1);
    now += S;
    la_pool_move(&pool, &item[0], LA_CONN_PARKED, now);
    CHECK(atomic_load(&pool.cell->idle) == 0 && atomic_load(&pool.cell->parked) == 1);
    CHECK_EQ(item[0].idle_ns, now - S); /* parked, it idles on */
    la_pool_move(&pool, &item[0], LA_CONN_LEAVING, now);
    CHECK(item[0].idle_ns == now && atomic_load(&pool.cell->parked) == 1);
    la_pool_move(&pool, &item[0], LA_CONN_LEAVING, now + 5);
    CHECK_EQ(item[0].idle_ns, now + 5);
    item[1].pair = 70; /* sources beyond the slots share the last */
    la_pool_add(&pool, &item[1], LA_CONN_BUSY, now);
    CHECK_EQ(atomic_load(&pool.stats->state[LA_SOURCE_SLOTS - 1][LA_CONN_BUSY]), 1);
    la_pool_remove(&pool, &item[1]);
    CHECK_EQ(atomic_load(&pool.stats->state[LA_SOURCE_SLOTS - 1][LA_CONN_BUSY]), 0);
    CHECK_EQ(la_pool_total(&pool), 1);
    end();
}

static void last_in_first_out(void)
{
    begin();
    CHECK(pick(true, true).item == NULL);
    idle(3);
    now += 5 * MS;
    struct la_pick p = pick(true, false);
    CHECK(p.item == &item[2] && !p.goodbye);
    p = pick(false, false);
    CHECK(p.item == &item[2]);
    now += 6 * MS;
    CHECK(pick(true, false).item != NULL);
    la_pool_move(&pool, &item[2], LA_CONN_BUSY, now);
    CHECK(pick(true, false).item == &item[1]);
    end();
}

/* Nothing known: replayable requests 60 s; others 200 ms, else they dial, else the youngest. */
static void unknown_timeout(void)
{
    begin();
    CHECK_EQ(la_pool_reuse_ms(&pool, now, true), 60000);
    CHECK_EQ(la_pool_reuse_ms(&pool, now, false), 200);
    CHECK_EQ(la_pool_close_ms(&pool, now), 300000);
    conf.pool.idle_reuse_ms = 600000; /* told: kept for longer than that */
    CHECK_EQ(la_pool_close_ms(&pool, now), 1201000);
    conf.pool.idle_reuse_ms = LA_AUTO;
    idle(1);
    now = item[0].idle_ns + 200 * MS - 1;
    CHECK(pick(false, false).item == &item[0]);
    now += 1;
    CHECK(pick(false, false).item == NULL);
    CHECK(pick(false, true).item == &item[0]);
    CHECK(pick(true, false).item == &item[0]);
    end();

    begin();
    idle(2);
    now = item[1].idle_ns + 60 * S - 1;
    CHECK(pick(true, false).item == &item[1]);
    CHECK(item[0].state == LA_CONN_PARKED);
    now += 1;
    CHECK(pick(true, false).item == NULL && item[1].state == LA_CONN_PARKED);
    end();
}

/* An older connection that is still open proves that a younger one may be trusted; two early FINs end that. */
static void proven(void)
{
    begin();
    idle(2);
    now = item[0].idle_ns + 1000 * MS;
    item[1].idle_ns = now - 700 * MS;
    CHECK(pick(false, false).item == &item[1]); /* 1000 less its margin of 250 */
    item[1].idle_ns = now - 800 * MS;
    CHECK(pick(false, false).item == NULL);
    item[1].idle_ns = now - 700 * MS;
    la_clock_fin(&pool.server->clock, 500, now);
    CHECK(pick(false, false).item == &item[1]);
    now += 21 * MS;
    item[0].idle_ns = item[1].idle_ns = now - 700 * MS;
    la_clock_fin(&pool.server->clock, 500, now);
    CHECK_EQ(atomic_load(&pool.server->clock.alive_ms), 500);
    end();
}

/* Past the clock: parked; at the cap the youngest parked one may be ridden, by who can be sent again. */
static void parked(void)
{
    begin();
    la_clock_announced(&pool.server->clock, 5000);
    CHECK_EQ(la_pool_reuse_ms(&pool, now, true), 4500);
    CHECK_EQ(la_pool_reuse_ms(&pool, now, false), 4500);
    CHECK_EQ(la_pool_close_ms(&pool, now), 11000);
    idle(3);
    now = item[1].idle_ns + 4500 * MS;
    CHECK(pick(false, false).item == &item[2]);
    CHECK(pool.count[LA_CONN_PARKED] == 2 && pool.count[LA_CONN_IDLE] == 1);
    now = item[2].idle_ns + 4500 * MS;
    CHECK(pick(true, false).item == NULL);
    CHECK(pick(false, true).item == NULL);
    struct la_pick p = pick(true, true);
    CHECK(p.item == &item[2] && p.goodbye);
    end();

    begin(); /* a clock of the configuration's own */
    conf.pool.idle_reuse_ms = 300;
    idle(1);
    now += 299 * MS;
    CHECK(pick(false, false).item == &item[0]);
    now += MS;
    CHECK(pick(true, false).item == NULL);
    end();
}

/* From 80 % of the close clock on a connection is used up rather than closed by us. */
static void near_its_end(void)
{
    begin();
    conf.pool.idle_reuse_ms = 100000;
    conf.pool.idle_close_ms = 10000;
    idle(3);
    now = item[0].idle_ns + 8 * S - 1;
    CHECK(pick(true, false).item == &item[2]);
    now += 1;
    struct la_pick p = pick(true, false);
    CHECK(p.item == &item[0] && p.goodbye);
    CHECK(pick(false, false).item == &item[0]);
    end();

    begin();                                       /* a parked one too, but not for what cannot be sent again */
    la_clock_announced(&pool.server->clock, 1000); /* reuse 750, close 3000 */
    idle(2);
    now = item[0].idle_ns + 2400 * MS;
    la_pool_move(&pool, &item[1], LA_CONN_BUSY, now);
    la_pool_move(&pool, &item[1], LA_CONN_IDLE, now);
    p = pick(true, false);
    CHECK(p.item == &item[0] && p.goodbye && item[0].state == LA_CONN_PARKED);
    CHECK(pick(false, false).item == &item[1]);
    end();

    begin(); /* nothing known of the server: an unsafe request keeps to its 200 ms */
    conf.pool.idle_close_ms = 1000;
    idle(1);
    now += 900 * MS;
    CHECK(pick(false, false).item == NULL);
    CHECK(pick(false, true).item == &item[0]);
    CHECK(pick(true, false).goodbye);
    end();
}

/* A connection that comes from another worker brings its age along. */
static void takeover(void)
{
    begin();
    la_clock_announced(&pool.server->clock, 5000);
    idle(2);
    la_pool_add(&pool, &item[2], LA_CONN_IDLE, now - 4 * S);
    CHECK_EQ(item[2].idle_ns, now - 4 * S);
    CHECK(pick(true, false).item == &item[1]);
    now += 600 * MS;
    CHECK(pick(true, false).item == &item[1] && item[2].state == LA_CONN_PARKED);
    item[3].idle_ns = now - 8 * S; /* parked already when it came */
    la_pool_add(&pool, &item[3], LA_CONN_PARKED, item[3].idle_ns);
    CHECK_EQ(item[3].idle_ns, now - 8 * S);
    enum la_close_cause cause;
    CHECK(la_pool_give_up(&pool, now, &cause) == &item[3]);
    end();
}

static void goodbyes(void)
{
    begin();
    idle(1);
    struct la_server *s = pool.server;
    CHECK(!la_pool_says_goodbye(&pool, &item[0], now));
    conf.pool.max_requests = 3;
    item[0].requests = 1;
    CHECK(!la_pool_says_goodbye(&pool, &item[0], now));
    item[0].requests = 2; /* the next one is the third */
    CHECK(la_pool_says_goodbye(&pool, &item[0], now));
    CHECK(!la_pool_had_last(&pool, &item[0], now));
    item[0].requests = 3;
    CHECK(la_pool_had_last(&pool, &item[0], now));
    conf.pool.max_requests = 0;
    CHECK(!la_pool_had_last(&pool, &item[0], now));
    item[0].last_by_ns = now + 1;
    CHECK(!la_pool_says_goodbye(&pool, &item[0], now));
    CHECK(la_pool_says_goodbye(&pool, &item[0], now + 1));
    item[0].last_by_ns = 0;
    atomic_store(&s->max, 5); /* shrunk: as many as are over it, not all */
    atomic_store(&s->budget->used, 7);
    CHECK(la_pool_says_goodbye(&pool, &item[0], now));
    la_pool_mark(&pool, &item[0]);
    la_pool_mark(&pool, &item[0]);
    CHECK_EQ(atomic_load(&s->budget->marked), 1);
    CHECK(la_pool_says_goodbye(&pool, &item[1], now));
    la_pool_add(&pool, &item[1], LA_CONN_BUSY, now);
    la_pool_mark(&pool, &item[1]);
    CHECK(!la_pool_says_goodbye(&pool, &item[2], now));
    la_pool_remove(&pool, &item[1]);
    CHECK_EQ(atomic_load(&s->budget->marked), 1);
    atomic_store(&s->budget->used, 0);
    pool.draining = true;
    CHECK(la_pool_says_goodbye(&pool, &item[2], now));
    end();
}

/* For the cap: the oldest parked, then the oldest leaving one that had half of its time and no FIN of ours. */
static void give_up(void)
{
    enum la_close_cause cause;
    begin();
    idle(4);
    CHECK(la_pool_give_up(&pool, now, &cause) == NULL);
    la_pool_move(&pool, &item[0], LA_CONN_LEAVING, now);
    la_pool_move(&pool, &item[1], LA_CONN_LEAVING, now + 100 * MS);
    CHECK(la_pool_give_up(&pool, now + 500 * MS - 1, &cause) == NULL);
    CHECK(la_pool_give_up(&pool, now + 500 * MS, &cause) == &item[0] && cause == LA_CLOSE_LEAVING_FOR_CAP);
    item[0].shut = true;
    CHECK(la_pool_give_up(&pool, now + 500 * MS, &cause) == NULL);
    CHECK(la_pool_give_up(&pool, now + 600 * MS, &cause) == &item[1]);
    la_pool_move(&pool, &item[3], LA_CONN_PARKED, now);
    la_pool_move(&pool, &item[2], LA_CONN_PARKED, now); /* idles longer than 3 */
    CHECK(la_pool_give_up(&pool, now + 600 * MS, &cause) == &item[2] && cause == LA_CLOSE_PARKED_FOR_CAP);
    end();
}

static void clocks(void)
{
    uint64_t next;
    begin();
    CHECK(la_pool_clock(&pool, now, &next) == NULL && next == 0);
    la_clock_announced(&pool.server->clock, 5000); /* reuse 4.5 s, close 11 s */
    idle(2);
    CHECK(la_pool_clock(&pool, now, &next) == NULL && next == item[0].idle_ns + 4500 * MS);
    CHECK(la_pool_clock(&pool, next, &next) == NULL);
    CHECK(item[0].state == LA_CONN_PARKED && next == item[1].idle_ns + 4500 * MS);
    CHECK(la_pool_clock(&pool, next, &next) == NULL && next == item[0].idle_ns + 11 * S);
    CHECK(la_pool_clock(&pool, next - 1, &next) == NULL);
    now = next;
    CHECK(la_pool_clock(&pool, now, &next) == &item[0]);
    la_pool_move(&pool, &item[0], LA_CONN_LEAVING, now);
    CHECK(la_pool_clock(&pool, now, &next) == NULL && next == item[1].idle_ns + 300 * S); /* 5 s are not true any more */
    la_clock_announced(&pool.server->clock, 5000);
    CHECK(la_pool_clock(&pool, now, &next) == NULL && next == item[1].idle_ns + 11 * S);
    end();

    begin(); /* close before reuse: straight from idle */
    conf.pool.idle_reuse_ms = 9000;
    conf.pool.idle_close_ms = 2000;
    idle(1);
    CHECK(la_pool_clock(&pool, now, &next) == NULL && next == now + 2 * S);
    CHECK(la_pool_clock(&pool, next, &next) == &item[0]);
    end();
}

/* A parked connection that is still open at 1.2 times the learned age refutes it. */
static void unlearned(void)
{
    uint64_t next;
    begin();
    for (unsigned i = 1; i <= 3; i++)
        la_clock_fin(&pool.server->clock, 1000, now + i * S);
    now += 3 * S;
    CHECK_EQ(la_pool_reuse_ms(&pool, now, true), 750);
    idle(1);
    now += 750 * MS;
    CHECK(la_pool_clock(&pool, now, &next) == NULL && item[0].state == LA_CONN_PARKED);
    CHECK(next == item[0].idle_ns + 1201 * MS);
    CHECK(la_pool_clock(&pool, next, &next) == NULL);
    CHECK_EQ(la_clock_known_ms(&pool.server->clock, now), 0);
    CHECK(next == item[0].idle_ns + 300 * S);
    end();
}

/* ---- the twin: an array that is searched ---- */

#define MOST 24

struct twin {
    bool in, goodbye, shut;
    enum la_conn_state state;
    uint64_t idle_ns;
};
static struct twin twin[MOST];
static struct la_pool_item real[MOST];

/* The one of this state that idles longest (oldest) or shortest. -1: none. */
static int extreme(enum la_conn_state s, bool oldest)
{
    int best = -1;
    for (int i = 0; i < MOST; i++)
        if (twin[i].in && twin[i].state == s &&
            (best < 0 || (oldest ? twin[i].idle_ns < twin[best].idle_ns : twin[i].idle_ns > twin[best].idle_ns)))
            best = i;
    return best;
}

static uint64_t age(int i)
{
    return now - twin[i].idle_ns;
}

static void twin_park(void)
{
    for (int i = 0; i < MOST; i++)
        if (twin[i].in && twin[i].state == LA_CONN_IDLE && age(i) >= la_pool_reuse_ms(&pool, now, true) * MS)
            twin[i].state = LA_CONN_PARKED;
}

/* The oldest that is open proves what younger ones may be trusted with. */
static void proves(int i)
{
    if (i >= 0)
        la_clock_alive(&pool.server->clock, age(i) / MS);
}

static int twin_pick(bool replayable, bool last_resort, bool *goodbye)
{
    twin_park();
    int idle_old = extreme(LA_CONN_IDLE, true), idle_young = extreme(LA_CONN_IDLE, false);
    int parked_old = extreme(LA_CONN_PARKED, true), parked_young = extreme(LA_CONN_PARKED, false);
    proves(parked_old >= 0 ? parked_old : idle_old);
    uint64_t near = la_pool_close_ms(&pool, now) * MS / 10 * 8, reuse = la_pool_reuse_ms(&pool, now, replayable) * MS;
    *goodbye = true;
    if (idle_old >= 0 && age(idle_old) >= near && (replayable || last_resort || age(idle_old) < reuse))
        return idle_old;
    if (replayable && parked_old >= 0 && age(parked_old) >= near)
        return parked_old;
    if (idle_young < 0)
        return replayable && last_resort ? parked_young : -1;
    *goodbye = false;
    return replayable || last_resort || age(idle_young) < reuse ? idle_young : -1;
}

static int twin_give_up(void)
{
    int i = extreme(LA_CONN_PARKED, true);
    for (int k = 0; i < 0 && k < MOST; k++)
        if (twin[k].in && twin[k].state == LA_CONN_LEAVING && !twin[k].shut &&
            age(k) >= conf.pool.goodbye_ms * MS / 2) {
            i = k;
            for (int m = 0; m < MOST; m++)
                if (twin[m].in && twin[m].state == LA_CONN_LEAVING && !twin[m].shut &&
                    twin[m].idle_ns < twin[i].idle_ns)
                    i = m;
        }
    return i;
}

static void move(int i, enum la_conn_state to)
{
    la_pool_move(&pool, &real[i], to, now);
    twin[i].state = to;
    if (to == LA_CONN_IDLE || to == LA_CONN_LEAVING)
        twin[i].idle_ns = now;
}

static int index_of(const struct la_pool_item *i)
{
    return i ? (int)(i - real) : -1;
}

static bool same(void)
{
    int count[LA_CONN_STATE_COUNT] = {0}, marked = 0;
    for (int i = 0; i < MOST; i++) {
        if (real[i].in_pool != twin[i].in)
            return false;
        if (!twin[i].in)
            continue;
        count[twin[i].state]++;
        marked += twin[i].goodbye;
        if (real[i].state != twin[i].state || real[i].goodbye != twin[i].goodbye)
            return false;
        if (twin[i].state >= LA_CONN_IDLE && twin[i].state <= LA_CONN_LEAVING && real[i].idle_ns != twin[i].idle_ns)
            return false;
    }
    for (int s = 0; s < LA_CONN_STATE_COUNT; s++)
        if (pool.count[s] != count[s] || atomic_load(&pool.stats->state[0][s]) != count[s])
            return false;
    return atomic_load(&pool.server->budget->marked) == marked &&
           atomic_load(&pool.cell->idle) == count[LA_CONN_IDLE] &&
           atomic_load(&pool.cell->parked) == count[LA_CONN_PARKED] + count[LA_CONN_LEAVING];
}

static void add(int i, uint64_t x)
{
    enum la_conn_state s = x % 4 == 0 ? LA_CONN_IDLE : x % 4 == 1 ? LA_CONN_DIALING : LA_CONN_BUSY;
    uint64_t since = s == LA_CONN_IDLE ? now - x / 4 % (3 * S) : now; /* idle ones come from another worker */
    real[i] = (struct la_pool_item){0};
    la_pool_add(&pool, &real[i], s, since);
    twin[i] = (struct twin){.in = true, .state = s, .idle_ns = since};
}

/* What an owner does with a connection that is not idle. */
static void progress(int i, uint64_t x)
{
    switch (twin[i].state) {
    case LA_CONN_DIALING: move(i, x % 4 ? LA_CONN_BUSY : LA_CONN_IDLE); break;
    case LA_CONN_BUSY: move(i, x % 8 ? LA_CONN_IDLE : x % 16 ? LA_CONN_LEAVING : LA_CONN_PINNED); break;
    case LA_CONN_PINNED: move(i, x % 2 ? LA_CONN_TUNNEL : LA_CONN_LEAVING); break;
    case LA_CONN_IDLE:
    case LA_CONN_PARKED:
    case LA_CONN_LEAVING: /* its FIN */
        la_pool_remove(&pool, &real[i]);
        twin[i].in = false;
        break;
    default: break;
    }
}

static bool picks_agree(uint64_t x)
{
    bool goodbye, replayable = x % 2, last_resort = x % 8 == 2 || x % 8 == 3;
    int want = twin_pick(replayable, last_resort, &goodbye);
    struct la_pick p = la_pool_pick(&pool, now, replayable, last_resort);
    int got = index_of(p.item);
    if ((got < 0) != (want < 0))
        return false;
    if (got < 0)
        return true;
    if (twin[got].idle_ns != twin[want].idle_ns || p.goodbye != goodbye)
        return false;
    move(got, LA_CONN_BUSY);
    if (p.goodbye) {
        la_pool_mark(&pool, &real[got]);
        twin[got].goodbye = true;
    }
    return true;
}

static bool clocks_agree(void)
{
    uint64_t next;
    struct la_pool_item *i;
    twin_park();
    for (;;) {
        int old = extreme(LA_CONN_PARKED, true);
        proves(old);
        uint64_t close = la_pool_close_ms(&pool, now) * MS; /* afterwards less may be known */
        if ((i = la_pool_clock(&pool, now, &next)) == NULL)
            break;
        int k = index_of(i);
        if (old < 0 || age(old) < close)
            old = extreme(LA_CONN_IDLE, true);
        if (old < 0 || twin[k].idle_ns != twin[old].idle_ns || age(k) < close)
            return false;
        move(k, LA_CONN_LEAVING);
        real[k].shut = twin[k].shut = true;
    }
    int idle_old = extreme(LA_CONN_IDLE, true), parked_old = extreme(LA_CONN_PARKED, true);
    return (next != 0) == (idle_old >= 0 || parked_old >= 0) && (next == 0 || next > now);
}

static bool give_up_agrees(uint64_t x)
{
    enum la_close_cause cause;
    int want = twin_give_up(), got = index_of(la_pool_give_up(&pool, now, &cause));
    if ((got < 0) != (want < 0) || (got >= 0 && twin[got].idle_ns != twin[want].idle_ns))
        return false;
    if (got >= 0 && x % 2) {
        if (cause != (twin[got].state == LA_CONN_PARKED ? LA_CLOSE_PARKED_FOR_CAP : LA_CLOSE_LEAVING_FOR_CAP))
            return false;
        move(got, LA_CONN_LEAVING);
        real[got].shut = twin[got].shut = true;
    }
    return true;
}

static bool step(uint64_t x)
{
    int i = (int)(x / 64 % MOST);
    uint64_t y = x / 4096;
    switch (x % 16) {
    case 0:
    case 1:
    case 2:
        if (!twin[i].in)
            add(i, y);
        return true;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
        if (twin[i].in)
            progress(i, y);
        return true;
    case 8:
        if (twin[i].in) {
            la_pool_mark(&pool, &real[i]);
            twin[i].goodbye = true;
        }
        return true;
    case 9: return clocks_agree();
    case 10: return give_up_agrees(y);
    case 11:
        if (y % 64 == 0) /* another configuration */
            conf.pool.idle_reuse_ms = y / 64 % 2 ? LA_AUTO : 200 + y / 128 % 3000;
        else if (y % 64 == 1)
            conf.pool.idle_close_ms = y / 64 % 2 ? LA_AUTO : 500 + y / 128 % 5000;
        else if (y % 64 == 2)
            la_clock_announced(&pool.server->clock, (uint32_t)(y / 64 % 3000));
        return true;
    default: return picks_agree(y);
    }
}

static void model(void)
{
    uint64_t seed = la_random_seed(), r = seed;
    begin();
    memset(twin, 0, sizeof twin);
    memset(real, 0, sizeof real);
    for (unsigned n = 0; n < 300000; n++) {
        uint64_t x = la_random(&r);
        now += 1 + (x >> 40) % (x % 3 ? 20 * MS : 500 * MS);
        if (!step(x) || !same()) {
            fprintf(stderr, "seed %llu, step %u, operation %u\n", (unsigned long long)seed, n, (unsigned)(x % 16));
            CHECK(!"pool and twin differ");
        }
    }
    end();
}

int main(void)
{
    states();
    last_in_first_out();
    unknown_timeout();
    proven();
    parked();
    near_its_end();
    takeover();
    goodbyes();
    give_up();
    clocks();
    unlearned();
    model();
    return TEST_DONE();
}
