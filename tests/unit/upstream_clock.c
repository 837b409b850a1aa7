/* upstream_clock.c: the reuse clock: what idle FINs teach, what refutes it, and the margin that keeps requests away
 * from a server that is about to hang up. */
#include "lastack/server.h"
#include "test.h"

#define MS 1000000ull
#define S  (1000 * MS)

static uint64_t at; /* the time of the next FIN */

static struct la_reuse_clock fresh(void)
{
    at = 1000 * S;
    return (struct la_reuse_clock){0};
}

/* A FIN after age_ms, a second after the one before. */
static void fin(struct la_reuse_clock *c, uint64_t age_ms)
{
    at += S;
    la_clock_fin(c, age_ms, at);
}

static uint64_t known(const struct la_reuse_clock *c)
{
    return la_clock_known_ms(c, at);
}

static void three_agree(void)
{
    struct la_reuse_clock c = fresh();
    CHECK_EQ(known(&c), 0);
    CHECK_EQ(la_clock_reuse_ms(&c, at), 0);
    fin(&c, 5000);
    fin(&c, 5200);
    CHECK_EQ(known(&c), 0);
    fin(&c, 5100);
    CHECK_EQ(known(&c), 5000); /* the lowest of those that agree */

    c = fresh(); /* within 15 percent of the lowest, not one more */
    fin(&c, 1000);
    fin(&c, 1150);
    fin(&c, 1151);
    CHECK_EQ(known(&c), 0);
    fin(&c, 1150);
    CHECK_EQ(known(&c), 1000);

    c = fresh(); /* any order, with others between; two timeouts: the lower one */
    static const unsigned mixed[] = {9000, 300, 5000, 70, 9100, 5050, 8990};
    for (unsigned i = 0; i < la_count(mixed); i++)
        fin(&c, mixed[i]);
    CHECK_EQ(known(&c), 8990);
    fin(&c, 5075);
    CHECK_EQ(known(&c), 5000);

    c = fresh(); /* ages that are all over the place teach nothing */
    for (unsigned i = 0, age = 60; i < 40; i++, age = age * 5 / 4)
        fin(&c, age > 100000 ? (age = 60) : age);
    CHECK_EQ(known(&c), 0);
}

static void too_young(void)
{
    struct la_reuse_clock c = fresh();
    for (unsigned i = 0; i < 8; i++)
        fin(&c, 50);
    CHECK_EQ(known(&c), 0);
    for (unsigned i = 0; i < 3; i++)
        fin(&c, 51);
    CHECK_EQ(known(&c), 51);
    fin(&c, (uint64_t)UINT32_MAX + 1); /* months: not kept */
    CHECK_EQ(known(&c), 51);
}

/* Only the last eight count, however many came. */
static void eight(void)
{
    struct la_reuse_clock c = fresh();
    for (unsigned round = 0; round < 5; round++) {
        fin(&c, 2000);
        fin(&c, 2000);
        static const unsigned apart[] = {60, 90, 130, 200, 300, 450, 700};
        for (unsigned i = 0; i < la_count(apart); i++)
            fin(&c, apart[i] + round * 15 * apart[i] / 100 * 2);
    }
    CHECK(c.samples <= 16);
    c = fresh();
    fin(&c, 2000);
    fin(&c, 2010);
    for (unsigned i = 0; i < 7; i++)
        fin(&c, 100u << i);
    fin(&c, 2020); /* the first two are gone by now */
    CHECK_EQ(known(&c), 0);
    fin(&c, 2040);
    fin(&c, 2060);
    CHECK_EQ(known(&c), 2020);
}

static void refuted(void)
{
    struct la_reuse_clock c = fresh();
    for (unsigned i = 0; i < 3; i++)
        fin(&c, 1000);
    la_clock_alive(&c, 1199);
    CHECK_EQ(known(&c), 1000);
    la_clock_alive(&c, 1200);
    CHECK_EQ(known(&c), 0);
    fin(&c, 1000); /* what taught it is forgotten, too */
    fin(&c, 1000);
    CHECK_EQ(known(&c), 0);
    fin(&c, 1000);
    CHECK_EQ(known(&c), 1000);
    la_clock_alive(&c, 1000000);
    la_clock_alive(&c, 1000000);
    CHECK_EQ(known(&c), 0);
}

static void unconfirmed(void)
{
    struct la_reuse_clock c = fresh();
    for (unsigned i = 0; i < 3; i++)
        fin(&c, 1000);
    CHECK_EQ(la_clock_known_ms(&c, at + 600 * S), 1000);
    CHECK_EQ(la_clock_known_ms(&c, at + 600 * S + 1), 0);
    uint64_t first = at;
    at += 500 * S;
    fin(&c, 1100); /* agrees: ten more minutes */
    CHECK_EQ(la_clock_known_ms(&c, first + 1000 * S), 1000);
    at = first + 1000 * S;
    fin(&c, 300); /* does not: the old confirmation stands */
    CHECK_EQ(la_clock_known_ms(&c, first + 1100 * S), 1000);
    CHECK_EQ(la_clock_known_ms(&c, first + 1102 * S), 0);
    /* FINs that agree bring it back. */
    fin(&c, 1000);
    CHECK_EQ(la_clock_known_ms(&c, at), 1000);
}

/* A server that restarts hangs up on all of its connections at once. */
static void restart(void)
{
    struct la_reuse_clock c = fresh();
    for (unsigned i = 0; i < 100; i++) {
        at += 19 * MS;
        la_clock_fin(&c, 700, at);
    }
    CHECK_EQ(known(&c), 0);
    CHECK_EQ(c.samples, 1);
    at += S; /* and again, and once more: three restarts at the same age look like a timeout */
    la_clock_fin(&c, 700, at);
    la_clock_fin(&c, 700, at + 1);
    CHECK_EQ(known(&c), 0);
    CHECK_EQ(c.samples, 2);

    c = fresh(); /* what was known survives a restart */
    for (unsigned i = 0; i < 3; i++)
        fin(&c, 5000);
    at += S;
    for (unsigned i = 0; i < 50; i++)
        la_clock_fin(&c, 100 + i % 3, at);
    CHECK_EQ(known(&c), 5000);
    c = fresh(); /* seen by two workers whose loops woke at different times */
    for (unsigned i = 0; i < 100; i++)
        la_clock_fin(&c, 700, at + i % 2 * MS);
    CHECK_EQ(c.samples, 1);
    la_clock_announced(&c, 900);
    for (unsigned i = 0; i < 3; i++)
        fin(&c, 700);
    CHECK_EQ(la_clock_known_ms(&c, at - MS), 700); /* confirmed after this worker's now */

    c = fresh(); /* 20 ms apart is apart */
    for (unsigned i = 0; i < 3; i++) {
        at += 20 * MS;
        la_clock_fin(&c, 700, at);
    }
    CHECK_EQ(known(&c), 700);
}

static void announced(void)
{
    struct la_reuse_clock c = fresh();
    la_clock_announced(&c, 5000);
    CHECK_EQ(known(&c), 5000);
    for (unsigned i = 0; i < 3; i++)
        fin(&c, 6000);
    CHECK_EQ(known(&c), 5000); /* Node: announces 5 s, hangs up at 6 s */
    for (unsigned i = 0; i < 3; i++)
        fin(&c, 2900);
    CHECK_EQ(known(&c), 2900); /* the smaller one */
    la_clock_alive(&c, 4000);
    CHECK_EQ(known(&c), 5000); /* what is announced cannot be refuted by that */
    la_clock_announced(&c, 15000);
    CHECK_EQ(known(&c), 15000);
}

/* Margin: the largest of 10 %, min(500 ms, a quarter), 2 x first byte; at most half. */
static void margins(void)
{
    static const struct {
        uint32_t known_ms, first_byte_us;
        uint64_t reuse_ms;
    } table[] = {
        {300, 40000, 220},   /* 2 x 40 ms is more than a quarter (75) */
        {1000, 40000, 750},  /* a quarter */
        {2000, 40000, 1500}, /* a quarter is 500 */
        {5000, 40000, 4500}, /* 500 ms and 10 % are the same */
        {3000, 0, 2500},     /* nginx at 3 s hangs up from 2.88 s on */
        {10000, 0, 9000},    /* 10 % */
        {75000, 40000, 67500},
        {5000, 1000000, 3000},  /* a slow server: 2 s */
        {5000, 10000000, 2500}, /* slower still: half */
        {100, 40000, 50},       /* 80 of 100 would be too much */
        {2, 0, 2},              /* nothing to take off */
        {1, 40000, 1},          /* never 0, which means unknown */
    };
    for (unsigned i = 0; i < la_count(table); i++) {
        struct la_reuse_clock c = fresh();
        la_clock_announced(&c, table[i].known_ms);
        la_clock_first_byte(&c, table[i].first_byte_us);
        CHECK_EQ(la_clock_reuse_ms(&c, at), table[i].reuse_ms);
    }
}

static void first_byte(void)
{
    struct la_reuse_clock c = fresh();
    la_clock_announced(&c, 1000);
    la_clock_first_byte(&c, 300000);
    CHECK_EQ(la_clock_reuse_ms(&c, at), 500);
    la_clock_first_byte(&c, 0); /* not measured */
    la_clock_first_byte(&c, (uint64_t)UINT32_MAX + 5);
    CHECK_EQ(la_clock_reuse_ms(&c, at), 500);
    la_clock_first_byte(&c, 150000); /* the smallest counts */
    la_clock_first_byte(&c, 200000);
    CHECK_EQ(la_clock_reuse_ms(&c, at), 700);
}

/* Whatever comes: reuse is below known and at least half of it, and a learned age is one that was seen. */
static void random_fins(void)
{
    uint64_t seed = la_random_seed(), r = seed;
    struct la_reuse_clock c = fresh();
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t x = la_random(&r);
        switch (x % 8) {
        case 0: la_clock_alive(&c, x / 8 % 4000); break;
        case 1: la_clock_announced(&c, x / 8 % 3 ? 0 : (uint32_t)(x / 32 % 10000)); break;
        case 2: la_clock_first_byte(&c, x / 8 % 5000000); break;
        default: at += x / 8 % 50 * MS; la_clock_fin(&c, (x / 1024 % 4 + 1) * 500 + x / 4096 % 50, at);
        }
        uint64_t k = known(&c), reuse = la_clock_reuse_ms(&c, at);
        uint64_t learned = atomic_load(&c.learned_ms);
        if ((k == 0) != (reuse == 0) || reuse > k || (k > 1 && reuse < k / 2) || (learned && learned < 500) ||
            learned > 2050 || c.samples > 16) {
            fprintf(stderr, "seed %llu, step %u: known %llu, reuse %llu\n", (unsigned long long)seed, i,
                    (unsigned long long)k, (unsigned long long)reuse);
            CHECK(!"random FINs");
        }
    }
    CHECK(true);
}

int main(void)
{
    three_agree();
    too_young();
    eight();
    refuted();
    unconfirmed();
    restart();
    announced();
    margins();
    first_byte();
    random_fins();
    return TEST_DONE();
}
