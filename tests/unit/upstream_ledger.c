/* upstream_ledger.c: the port ledger: choice, pause, reconciliation, reserved ports; a model test against a
 * naive twin; threads that fight for the last port. */
#include "lastack/ledger.h"
#include "test.h"

#include <pthread.h>
#include <sched.h>

#define MS 1000000ull

static unsigned all_usable(uint16_t low, uint16_t high)
{
    return (unsigned)(high - low) + 1;
}

/* Reserved: 1003, 1010-1019, 1063-1064. */
static bool is_reserved(unsigned port)
{
    return port == 1003 || (port >= 1010 && port <= 1019) || port == 1063 || port == 1064;
}

static unsigned some_usable(uint16_t low, uint16_t high)
{
    unsigned n = 0;
    for (unsigned p = low; p <= high; p++)
        n += !is_reserved(p);
    return n;
}

static struct la_addr ipv4(unsigned last, uint16_t port)
{
    struct la_addr a = {.len = sizeof(struct sockaddr_in)};
    a.u.in.sin_family = AF_INET;
    a.u.in.sin_addr.s_addr = htonl(0x0a000000u | last);
    a.u.in.sin_port = htons(port);
    return a;
}

static struct la_ledger *make(size_t pairs, unsigned ports)
{
    struct la_addr to = ipv4(1, 80);
    struct la_source_spec spec[80] = {0};
    for (size_t i = 0; i < pairs; i++)
        spec[i].address = ipv4((unsigned)(10 + i), 0);
    return la_ledger_new(&to, spec, pairs, 40000, (uint16_t)(40000 + ports - 1), all_usable);
}

static void shapes(void)
{
    struct la_addr to = ipv4(1, 80), un = {.len = sizeof(struct sockaddr_un)};
    un.u.un.sun_family = AF_UNIX;
    struct la_ledger *l = la_ledger_new(&un, NULL, 0, 1, 2, all_usable);
    CHECK_EQ(l->pairs, 0);
    CHECK(la_ledger_take(l, 0, 0) == NULL);
    la_ledger_free(&l);
    CHECK(l == NULL);
    la_ledger_free(&l);

    l = la_ledger_new(&to, NULL, 0, 32768, 60999, all_usable);
    CHECK_EQ(l->pairs, 1);
    CHECK_EQ(l->pair[0].source.len, 0);
    CHECK_EQ(l->pair[0].ports, 28232);
    CHECK(!l->pair[0].own_range);
    la_ledger_free(&l);

    l = la_ledger_new(&to, NULL, 0, 1, 65535, all_usable);
    CHECK_EQ(l->pair[0].ports, 65535);
    la_ledger_free(&l);

    struct la_source_spec spec[2] = {{.address = ipv4(5, 0)}, {ipv4(6, 0), 1000, 1099}};
    l = la_ledger_new(&to, spec, 2, 32768, 60999, some_usable);
    CHECK(!l->pair[0].own_range && l->pair[1].own_range);
    CHECK_EQ(l->pair[1].port_low, 1000);
    CHECK_EQ(l->pair[1].ports, 100 - 13);
    la_ledger_free(&l);
}

static void walk(void)
{
    struct la_addr to = ipv4(1, 80);
    struct la_source_spec spec = {ipv4(6, 0), 1000, 1099};
    struct la_ledger *l = la_ledger_new(&to, &spec, 1, 32768, 60999, some_usable);
    for (int round = 0; round < 3; round++)
        for (unsigned port = 1000; port <= 1099; port++)
            if (!is_reserved(port))
                CHECK_EQ(la_ledger_next_port(&l->pair[0]), port);
    la_ledger_free(&l);
    spec.port_low = 1010;
    spec.port_high = 1019;
    l = la_ledger_new(&to, &spec, 1, 32768, 60999, some_usable);
    CHECK_EQ(l->pair[0].ports, 0);
    CHECK_EQ(la_ledger_next_port(&l->pair[0]), 0);
    CHECK(la_ledger_take(l, 0, 0) == NULL);
    la_ledger_free(&l);
    spec.port_low = spec.port_high = 65535;
    l = la_ledger_new(&to, &spec, 1, 32768, 60999, some_usable);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(la_ledger_next_port(&l->pair[0]), 65535);
    la_ledger_free(&l);
}

static void spread_and_pause(void)
{
    struct la_ledger *l = make(3, 100);
    int taken[3] = {0};
    for (int i = 0; i < 30; i++)
        taken[la_ledger_take(l, 1, 0) - l->pair]++;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(taken[i], 10);
    /* The kernel says: nothing left on 0 and 1. */
    struct la_port_pair *p = la_ledger_take(l, 1, 6);
    CHECK(p == &l->pair[0]);
    la_ledger_exhausted(p, 1);
    p = la_ledger_take(l, 1, 4);
    CHECK(p == &l->pair[1]);
    la_ledger_exhausted(p, 1);
    CHECK_EQ(l->pair[1].exhausted_total, 1);
    CHECK_EQ(l->pair[1].open, 10);
    for (int i = 0; i < 5; i++)
        CHECK(la_ledger_take(l, 99 * MS, 0) == &l->pair[2]);
    CHECK(la_ledger_take(l, 99 * MS, 4) == NULL);
    CHECK(la_ledger_take(l, 1 + 100 * MS, 4) != NULL);
    la_ledger_free(&l);
}

static void skip_beyond_64(void)
{
    struct la_ledger *l = make(66, 1);
    for (int i = 0; i < 2; i++)
        CHECK(la_ledger_take(l, 0, UINT64_MAX) >= &l->pair[64]);
    CHECK(la_ledger_take(l, 0, UINT64_MAX) == NULL);
    for (int i = 0; i < 64; i++)
        CHECK(la_ledger_take(l, 0, 0) < &l->pair[64]);
    CHECK(la_ledger_take(l, 0, 0) == NULL);
    la_ledger_free(&l);
}

static void reconcile(void)
{
    struct la_ledger *l = make(1, 10);
    struct la_port_pair *p = &l->pair[0];
    for (int i = 0; i < 4; i++)
        CHECK(la_ledger_take(l, 0, 0) == p);
    CHECK(!la_ledger_reconcile(p, 4, 0)); /* was free, is free */
    CHECK_EQ(la_ledger_free_ports(p), 6);
    CHECK(!la_ledger_reconcile(p, 7, 3)); /* 3 foreign, 3 in TIME_WAIT: all gone */
    CHECK_EQ(la_ledger_free_ports(p), 0);
    CHECK(la_ledger_take(l, 0, 0) == NULL);
    CHECK(!la_ledger_reconcile(p, 9, 8)); /* more than the range has: still 0, not negative */
    CHECK_EQ(la_ledger_free_ports(p), 0);
    CHECK(la_ledger_reconcile(p, 4, 3)); /* came free */
    CHECK_EQ(la_ledger_free_ports(p), 3);
    CHECK(!la_ledger_reconcile(p, 2, 3)); /* two still dialing: not negative foreign */
    CHECK_EQ(p->foreign, 0);
    CHECK_EQ(la_ledger_free_ports(p), 3);
    la_ledger_give(p, true);
    CHECK_EQ(la_ledger_free_ports(p), 3);
    la_ledger_give(p, false);
    CHECK_EQ(la_ledger_free_ports(p), 4);
    la_ledger_exhausted(p, 5 * MS);
    CHECK(la_ledger_take(l, 5 * MS, 0) == NULL);
    CHECK(la_ledger_reconcile(p, 1, 0)); /* ends the pause */
    CHECK(la_ledger_take(l, 5 * MS, 0) == p);
    la_ledger_exhausted(p, 5 * MS);
    CHECK(!la_ledger_reconcile(p, 11, 0)); /* does not end it: nothing is free */
    CHECK(la_ledger_take(l, 5 * MS, 0) == NULL);
    la_ledger_free(&l);
}

/* Connections that close or open while the kernel is being asked are not foreign. */
static void reconcile_marked(void)
{
    struct la_ledger *l = make(1, 10);
    struct la_port_pair *p = &l->pair[0];
    for (int i = 0; i < 4; i++)
        la_ledger_take(l, 0, 0);
    la_ledger_mark(p);
    la_ledger_take(l, 0, 0); /* the dump shows 5 */
    la_ledger_give(p, false);
    la_ledger_give(p, false);
    la_ledger_reconcile(p, 5, 0);
    CHECK_EQ(p->foreign, 0);
    la_ledger_mark(p);
    la_ledger_reconcile(p, 5, 0);
    CHECK_EQ(p->foreign, 2);
    la_ledger_reconcile(p, 4, 0); /* a mark is used once */
    CHECK_EQ(p->foreign, 1);
    la_ledger_free(&l);
}

/* --- model --- */

#define PAIRS 4

struct twin {
    int ports, open, time_wait, foreign;
    uint64_t paused_until;
};

static int twin_free(const struct twin *t)
{
    int n = t->ports - t->open - t->time_wait - t->foreign;
    return n > 0 ? n : 0;
}

static void twin_take(struct la_ledger *l, struct twin *t, uint64_t now, uint64_t skip)
{
    int best = 0;
    for (int i = 0; i < PAIRS; i++)
        if (!(skip >> i & 1) && now >= t[i].paused_until && twin_free(&t[i]) > best)
            best = twin_free(&t[i]);
    struct la_port_pair *p = la_ledger_take(l, now, skip);
    CHECK((p != NULL) == (best > 0));
    if (p == NULL)
        return;
    size_t i = (size_t)(p - l->pair);
    CHECK(!(skip >> i & 1) && now >= t[i].paused_until);
    CHECK_EQ(twin_free(&t[i]), best);
    t[i].open++;
}

static void model(uint64_t seed)
{
    uint64_t state = seed, now = 1;
    struct twin t[PAIRS] = {0};
    struct la_addr to = ipv4(1, 80);
    struct la_source_spec spec[PAIRS] = {0};
    for (int i = 0; i < PAIRS; i++) {
        t[i].ports = (int)(1 + la_random(&state) % 12);
        spec[i] = (struct la_source_spec){ipv4((unsigned)i, 0), 5000, (uint16_t)(5000 + t[i].ports - 1)};
    }
    struct la_ledger *l = la_ledger_new(&to, spec, PAIRS, 1, 2, all_usable);
    for (int step = 0; step < 5000; step++) {
        size_t i = la_random(&state) % PAIRS;
        struct twin *x = &t[i];
        struct la_port_pair *p = &l->pair[i];
        unsigned what = la_random(&state) % 20;
        now += la_random(&state) % (20 * MS);
        if (what < 10) {
            twin_take(l, t, now, what < 8 ? 0 : la_random(&state));
        } else if (what < 17 && x->open > 0) {
            x->open--;
            x->time_wait += what == 10;
            la_ledger_give(p, what == 10);
        } else if (what == 17 && x->open > 0) {
            x->open--;
            x->paused_until = now + LA_LEDGER_PAUSE_MS * MS;
            la_ledger_exhausted(p, now);
        } else if (what >= 18) {
            int open = (int)(la_random(&state) % 14), time_wait = (int)(la_random(&state) % 4);
            bool was = twin_free(x) > 0 && x->paused_until == 0;
            if (what == 18)
                la_ledger_mark(p);
            x->foreign = open > x->open ? open - x->open : 0;
            x->time_wait = time_wait;
            bool is = twin_free(x) > 0;
            x->paused_until = is ? 0 : x->paused_until;
            CHECK_EQ(la_ledger_reconcile(p, open, time_wait), is && !was);
        }
        for (size_t k = 0; k < PAIRS; k++)
            CHECK_EQ(la_ledger_free_ports(&l->pair[k]), twin_free(&t[k]));
    }
    la_ledger_free(&l);
}

static uint64_t model_seed;

static void say_seed(void)
{
    if (model_seed)
        fprintf(stderr, "model seed %llu\n", (unsigned long long)model_seed);
}

/* --- threads --- */

#define THREADS        4
#define SOURCES        3
#define PORTS          2
#define ROUNDS         500
#define PORTS_OF_ROUND 20

struct shared {
    struct la_ledger *l;
    _Atomic int held[SOURCES];
    _Atomic int taken, went_over, wrong_rounds;
    pthread_barrier_t together;
};

static void *hammer(void *arg)
{
    struct shared *s = arg;
    uint64_t state = la_random_seed();
    for (int i = 0; i < 20000; i++) {
        struct la_port_pair *p[3];
        int n = 0, want = (int)(1 + la_random(&state) % 3);
        while (n < want && (p[n] = la_ledger_take(s->l, 1, 0)) != NULL) {
            if (atomic_fetch_add(&s->held[p[n] - s->l->pair], 1) >= PORTS)
                atomic_fetch_add(&s->went_over, 1);
            n++;
        }
        if (i % 64 == 0)
            sched_yield();
        while (n-- > 0) {
            atomic_fetch_sub(&s->held[p[n] - s->l->pair], 1);
            la_ledger_give(p[n], false);
        }
    }
    return NULL;
}

/* Every port ends in TIME_WAIT: all threads together get each exactly once, in every round. */
static void *use_up(void *arg)
{
    struct shared *s = arg;
    struct la_port_pair *p;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&s->together);
        while ((p = la_ledger_take(s->l, 1, 0)) != NULL) {
            atomic_fetch_add(&s->taken, 1);
            la_ledger_give(p, true);
        }
        if (pthread_barrier_wait(&s->together) != PTHREAD_BARRIER_SERIAL_THREAD)
            continue;
        atomic_fetch_add(&s->wrong_rounds, atomic_exchange(&s->taken, 0) != SOURCES * PORTS_OF_ROUND);
        for (int k = 0; k < SOURCES; k++) {
            atomic_fetch_add(&s->wrong_rounds, s->l->pair[k].open != 0 || s->l->pair[k].time_wait != PORTS_OF_ROUND);
            la_ledger_reconcile(&s->l->pair[k], 0, 0);
        }
    }
    return NULL;
}

static void threads(void)
{
    pthread_t t[THREADS];
    struct shared s = {.l = make(SOURCES, PORTS)};
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, hammer, &s) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK_EQ(atomic_load(&s.went_over), 0);
    for (int i = 0; i < SOURCES; i++)
        CHECK_EQ(la_ledger_free_ports(&s.l->pair[i]), PORTS);
    la_ledger_free(&s.l);

    s.l = make(SOURCES, PORTS_OF_ROUND);
    CHECK(pthread_barrier_init(&s.together, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, use_up, &s) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    CHECK_EQ(atomic_load(&s.wrong_rounds), 0);
    pthread_barrier_destroy(&s.together);
    la_ledger_free(&s.l);
}

int main(int argc, char **argv)
{
    shapes();
    walk();
    spread_and_pause();
    skip_beyond_64();
    reconcile();
    reconcile_marked();
    atexit(say_seed);
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : la_random_seed();
    for (int i = 0; i < 40; i++) {
        model_seed = i == 0 ? seeds : la_random(&seeds);
        model(model_seed);
    }
    model_seed = 0;
    threads();
    return TEST_DONE();
}
