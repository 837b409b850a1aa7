/* upstream_balance.c: which server a request goes to: weights, load, hashing, backups, slow start, servers left out. */
#include "lastack/upstreams.h"
#include "test.h"

#define MOST 16
#define S 1000000000ull

/* A branch without a loop: balance only decides. */
struct bench {
    struct la_branch branch;
    struct la_conf_upstream conf;
    struct la_conf_server server_conf[MOST];
    struct la_outlet outlet[MOST], *list[MOST];
};

static uint64_t now = 1000 * S;

static void bench_init(struct bench *b, enum la_balance balance, const unsigned *weights, unsigned n)
{
    memset(b, 0, sizeof *b);
    b->conf.balance = balance;
    b->conf.passive.failures = 1;
    b->conf.passive.out_ms = b->conf.passive.out_max_ms = 1000000;
    b->branch.conf = &b->conf;
    b->branch.bound = balance == LA_BALANCE_HASH;
    b->branch.outlet = b->list;
    b->branch.outlets = n;
    for (unsigned i = 0; i < n; i++) {
        struct la_addr a = {.len = sizeof(struct sockaddr_in)};
        a.u.in.sin_family = AF_INET;
        a.u.in.sin_addr.s_addr = htonl(0x0a000001u + i);
        a.u.in.sin_port = htons(8080);
        struct la_server *s = la_server_new("up", "label", &a, 1);
        atomic_store(&s->max, 10);
        struct la_outlet *o = b->list[i] = &b->outlet[i];
        la_pool_init(&o->pool, s, &b->conf, 0);
        la_server_unref(&s);
        o->branch = &b->branch;
        o->conf = &b->server_conf[i];
        o->index = i;
        b->server_conf[i].weight = weights ? weights[i] : 1;
    }
}

static void bench_fini(struct bench *b)
{
    for (unsigned i = 0; i < b->branch.outlets; i++)
        la_pool_fini(&b->outlet[i].pool);
}

static struct la_server *server(struct bench *b, unsigned i)
{
    return b->outlet[i].pool.server;
}

/* The index of the chosen one; -1: none. */
static int choose_as(struct bench *b, const struct la_waiter *w)
{
    struct la_outlet *o = la_balance_choose(&b->branch, w, now);
    return o ? (int)(o - b->outlet) : -1;
}

static int choose(struct bench *b)
{
    struct la_waiter w = {0};
    return choose_as(b, &w);
}

static void take_down(struct bench *b, unsigned i)
{
    la_health_failed(&server(b, i)->health, &b->conf, false, now);
}

/* Smooth weighted round robin: exact in every round, and spread within it. */
static void round_robin(void)
{
    static const unsigned weights[] = {5, 1, 1};
    static const int order[] = {0, 0, 1, 0, 2, 0, 0};
    struct bench b;
    bench_init(&b, LA_BALANCE_ROUND_ROBIN, weights, 3);
    for (int round = 0; round < 100; round++)
        for (unsigned i = 0; i < la_count(order); i++)
            CHECK_EQ(choose(&b), order[i]);
    bench_fini(&b);

    uint64_t seed = la_random_seed(), r = seed;
    for (int round = 0; round < 200; round++) {
        unsigned w[MOST], sum = 0, count[MOST] = {0}, n = 2 + (unsigned)(la_random(&r) % (MOST - 1));
        for (unsigned i = 0; i < n; i++)
            sum += w[i] = 1 + (unsigned)(la_random(&r) % 256);
        bench_init(&b, LA_BALANCE_ROUND_ROBIN, w, n);
        for (unsigned k = 0; k < 2 * sum; k++)
            count[choose(&b)]++;
        for (unsigned i = 0; i < n; i++)
            if (count[i] != 2 * w[i]) {
                fprintf(stderr, "seed %llu, round %d\n", (unsigned long long)seed, round);
                CHECK_EQ(count[i], 2 * w[i]);
            }
        bench_fini(&b);
    }
}

static void left_out(void)
{
    struct bench b;
    bench_init(&b, LA_BALANCE_ROUND_ROBIN, NULL, 3);
    take_down(&b, 1);
    unsigned count[3] = {0};
    for (int i = 0; i < 100; i++)
        count[choose(&b)]++;
    CHECK(count[0] == 50 && count[1] == 0 && count[2] == 50);
    b.server_conf[2].drain = true;
    for (int i = 0; i < 10; i++)
        CHECK_EQ(choose(&b), 0);
    struct la_waiter w = {.tried = 1};
    CHECK_EQ(choose_as(&b, &w), -1);
    la_health_ok(&server(&b, 1)->health, now);
    CHECK_EQ(choose_as(&b, &w), 1);
    bench_fini(&b);

    bench_init(&b, LA_BALANCE_ROUND_ROBIN, NULL, 1); /* a single one follows the same rules */
    CHECK_EQ(choose(&b), 0);
    CHECK_EQ(choose_as(&b, &w), -1);
    take_down(&b, 0);
    CHECK_EQ(choose(&b), -1);
    bench_fini(&b);
}

/* One that could take the request at once is preferred; when none can, the turn decides. */
static void full(void)
{
    struct bench b;
    bench_init(&b, LA_BALANCE_ROUND_ROBIN, NULL, 2);
    while (la_place_take(server(&b, 0)))
        ;
    for (int i = 0; i < 10; i++)
        CHECK_EQ(choose(&b), 1);
    atomic_store(&server(&b, 0)->cell[0].idle, 1); /* full, but one idles */
    unsigned count[2] = {0};
    for (int i = 0; i < 10; i++)
        count[choose(&b)]++;
    CHECK(count[0] == 5 && count[1] == 5);
    atomic_store(&server(&b, 0)->cell[0].idle, 0);
    b.outlet[1].no_dial_until_ns = now + 1; /* the other one has places, but no port */
    atomic_fetch_add(&server(&b, 0)->max, 1);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(choose(&b), 0);
    b.outlet[1].no_dial_until_ns = now;
    atomic_fetch_sub(&server(&b, 0)->max, 1);
    for (int i = 0; i < 10; i++)
        CHECK_EQ(choose(&b), 1);
    while (la_place_take(server(&b, 1)))
        ;
    count[0] = count[1] = 0;
    for (int i = 0; i < 10; i++)
        count[choose(&b)]++;
    CHECK(count[0] == 5 && count[1] == 5);
    for (unsigned i = 0; i < 2; i++)
        while (atomic_load(&server(&b, i)->budget->used))
            la_place_put(server(&b, i));
    bench_fini(&b);
}

static void least_connections(void)
{
    static const unsigned weights[] = {1, 3};
    struct bench b;
    bench_init(&b, LA_BALANCE_LEAST_CONNECTIONS, weights, 2);
    for (unsigned i = 0; i < 2; i++)
        atomic_store(&server(&b, i)->max, 1000);
    unsigned busy[2] = {0};
    for (int i = 0; i < 400; i++) { /* nobody finishes: load follows the weights */
        int to = choose(&b);
        busy[to]++;
        atomic_fetch_add(&server(&b, (unsigned)to)->busy, 1);
    }
    CHECK(busy[0] >= 99 && busy[0] <= 101);
    atomic_store(&server(&b, 1)->busy, 0);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(choose(&b), 1);
    bench_fini(&b);

    bench_init(&b, LA_BALANCE_LEAST_CONNECTIONS, NULL, 2);
    atomic_store(&server(&b, 0)->dialing, 1); /* a dial is a request to come */
    for (int i = 0; i < 100; i++)
        CHECK_EQ(choose(&b), 1);
    atomic_store(&server(&b, 0)->dialing, 0);
    for (int i = 0; i < 100; i++) /* what it did not get then is no debt */
        CHECK_EQ(choose(&b), i % 2);
    bench_fini(&b);

    bench_init(&b, LA_BALANCE_LEAST_CONNECTIONS, NULL, 4); /* all idle: in turn, not always the first */
    unsigned count[4] = {0};
    for (int i = 0; i < 400; i++)
        count[choose(&b)]++;
    for (int i = 0; i < 4; i++)
        CHECK_EQ(count[i], 100);
    bench_fini(&b);
}

static void backups(void)
{
    static const enum la_balance all[] = {LA_BALANCE_ROUND_ROBIN, LA_BALANCE_LEAST_CONNECTIONS, LA_BALANCE_HASH};
    for (unsigned k = 0; k < la_count(all); k++) {
        struct bench b;
        bench_init(&b, all[k], NULL, 3);
        b.server_conf[2].backup = true;
        while (la_place_take(server(&b, 0)) || la_place_take(server(&b, 1)))
            ;
        for (uint64_t i = 0; i < 100; i++) { /* busy is not down */
            struct la_waiter w = {.hash = i * 7919};
            CHECK(choose_as(&b, &w) != 2);
        }
        take_down(&b, 0);
        for (uint64_t i = 0; i < 100; i++) {
            struct la_waiter w = {.hash = i * 7919};
            CHECK_EQ(choose_as(&b, &w), 1);
        }
        take_down(&b, 1);
        CHECK_EQ(choose(&b), 2);
        take_down(&b, 2);
        CHECK_EQ(choose(&b), -1);
        for (unsigned i = 0; i < 3; i++)
            while (atomic_load(&server(&b, i)->budget->used))
                la_place_put(server(&b, i));
        bench_fini(&b);
    }
}

#define KEYS 20000

static void map_all(struct bench *b, int *to)
{
    for (uint64_t k = 0; k < KEYS; k++) {
        struct la_waiter w = {.hash = k * 0x9e3779b97f4a7c15u};
        to[k] = choose_as(b, &w);
    }
}

/* A server that leaves moves its own keys and no other; one that comes takes its share from all. */
static void hash(void)
{
    static const unsigned weights[] = {1, 2, 3, 1, 1};
    static int before[KEYS], after[KEYS];
    unsigned share[5] = {0}, moved[5] = {0};
    struct bench b;
    bench_init(&b, LA_BALANCE_HASH, weights, 5);
    map_all(&b, before);
    map_all(&b, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    for (unsigned k = 0; k < KEYS; k++)
        share[before[k]]++;
    for (unsigned i = 0; i < 5; i++) {
        unsigned fair = KEYS / 8 * weights[i];
        CHECK(share[i] > fair * 9 / 10 && share[i] < fair * 11 / 10);
    }
    while (la_place_take(server(&b, 1))) /* a full one keeps its keys */
        ;
    map_all(&b, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    while (atomic_load(&server(&b, 1)->budget->used))
        la_place_put(server(&b, 1));
    take_down(&b, 2);
    map_all(&b, after);
    for (unsigned k = 0; k < KEYS; k++) {
        CHECK(after[k] != 2);
        if (before[k] != 2)
            CHECK_EQ(after[k], before[k]);
        else
            moved[after[k]]++;
    }
    for (unsigned i = 0; i < 5; i++) /* its keys are spread by weight */
        if (i != 2)
            CHECK(moved[i] > share[2] * weights[i] / 5 * 8 / 10 && moved[i] < share[2] * weights[i] / 5 * 12 / 10);
    la_health_ok(&server(&b, 2)->health, now);
    map_all(&b, after);
    CHECK(memcmp(before, after, sizeof before) == 0); /* and come back */
    bench_fini(&b);
}

static unsigned share_of_second(struct bench *b)
{
    unsigned n = 0;
    for (int i = 0; i < 6500; i++)
        n += choose(b) == 1;
    return n;
}

static void slow_start(void)
{
    struct bench b;
    bench_init(&b, LA_BALANCE_ROUND_ROBIN, NULL, 2);
    b.server_conf[1].slow_start_ms = 10000;
    CHECK_EQ(share_of_second(&b), 3250); /* it never was down */
    take_down(&b, 1);
    CHECK_EQ(share_of_second(&b), 0);
    la_health_ok(&server(&b, 1)->health, now);
    uint64_t up = now;
    CHECK_EQ(share_of_second(&b), 100); /* 1 of 65 */
    unsigned last = 0;
    for (unsigned s = 1; s <= 10; s++) {
        now = up + s * S;
        unsigned n = share_of_second(&b);
        CHECK(n > last);
        last = n;
        if (s == 5)
            CHECK(n > 6500 / 3 - 5 && n < 6500 / 3 + 5);
    }
    CHECK(last >= 3249 && last <= 3251);
    bench_fini(&b);
}

int main(void)
{
    round_robin();
    left_out();
    full();
    least_connections();
    backups();
    hash();
    slow_start();
    return TEST_DONE();
}
