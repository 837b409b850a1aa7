/* Advice on pool sizes: a server of so many workers and a load, as counts once a second; no socket, no clock. */
#include "lastack/advice.h"

#include "test.h"

#include <math.h>

struct world {
    double workers, service_s, rate, noise;
    unsigned max, low, high; /* low 0: nobody follows the advice */
    struct la_advice advice;
    double requests, backend_us, queue_us;
    uint64_t now_ns, seed;
    unsigned steps, least, most;
};

static double uniform(struct world *w)
{
    return (double)(la_random(&w->seed) >> 11) / 9007199254740992.0;
}

static struct world world(double workers, double service_s, double rate, unsigned max)
{
    return (struct world){.workers = workers, .service_s = service_s, .rate = rate, .max = max, .now_ns = 1000000000, .seed = 88172645463325252ull};
}

/* Overloaded: all places are at work, those over `workers` wait in the server, and half a second goes by in the queue. */
static void second(struct world *w)
{
    double able = fmin(w->max, w->workers) / w->service_s, x = fmin(w->rate, able);
    double at_work = w->rate < able ? w->rate * w->service_s : w->max;
    double noise = exp(w->noise * (2 * uniform(w) - 1) * sqrt(3));
    w->now_ns += 1000000000;
    w->requests += x;
    w->backend_us += at_work * 1e6 * noise;
    w->queue_us += w->rate < able ? 0 : x * 500000;
    struct la_advice_counts counts = {(uint64_t)w->requests, (uint64_t)w->backend_us, (uint64_t)w->queue_us};
    if (!la_advice_feed(&w->advice, &counts, w->max, w->now_ns) || w->low == 0)
        return;
    int step = la_advice_step(&w->advice, w->max, w->low, w->high);
    CHECK(step >= -1 && step <= 1);
    w->max = (unsigned)((int)w->max + step);
    w->steps += step != 0;
    CHECK(w->max >= w->low && w->max <= w->high);
    w->least = w->least && w->least < w->max ? w->least : w->max;
    w->most = w->most > w->max ? w->most : w->max;
}

static void run(struct world *w, unsigned seconds)
{
    w->least = w->most = w->max;
    for (unsigned i = 0; i < seconds; i++)
        second(w);
}

/* 3 at work, and twice the root of that for chance. */
static void test_enough(void)
{
    struct world w = world(1000, 0.01, 300, 64);
    run(&w, 5);
    CHECK_EQ(w.advice.size, 0);
    CHECK_EQ(w.advice.why, LA_ADVICE_UNKNOWN);
    run(&w, 30);
    CHECK_EQ(w.advice.why, LA_ADVICE_ENOUGH);
    CHECK_EQ(w.advice.size, 7);
    CHECK(fabs(w.advice.at_work - 3) < 0.01 && fabs(w.advice.per_second - 300) < 1);
    w.rate = 2; /* a quiet hour: what was needed lately is remembered, then forgotten */
    run(&w, 120);
    CHECK(w.advice.size >= 5);
    run(&w, 36000);
    CHECK_EQ(w.advice.size, 1);
}

static void test_little(void)
{
    struct world w = world(1000, 0.01, 300, 64);
    w.low = 4;
    w.high = 200;
    run(&w, 30);
    w.rate = 0.1;
    run(&w, 600);
    CHECK_EQ(w.advice.why, LA_ADVICE_LITTLE);
    CHECK_EQ(w.advice.size, 7); /* still */
    CHECK_EQ(w.steps, 0);
    CHECK_EQ(w.max, 64);
}

static void test_queue(void)
{
    struct world w = world(1000, 0.01, 2000, 4); /* 20 at work if they could */
    run(&w, 30);
    CHECK_EQ(w.advice.why, LA_ADVICE_QUEUE);
    CHECK_EQ(w.advice.size, 8); /* at most twice as many: what lies beyond was not seen */
    CHECK_EQ(w.max, 4);
    w.low = 4;
    w.high = 200;
    run(&w, 600);
    CHECK(w.max >= 20 && w.max <= 25);
    w.steps = 0;
    run(&w, 600); /* and rests there */
    CHECK_EQ(w.steps, 0);
    w = world(1000, 0.01, 2000, 4);
    w.low = 4;
    w.high = 10;
    run(&w, 600);
    CHECK_EQ(w.max, 10);
}

static void test_backend_full(void)
{
    struct world w = world(16, 0.01, 500, 64);
    run(&w, 60); /* alone */
    w.rate = 5000;
    run(&w, 60);
    CHECK_EQ(w.advice.why, LA_ADVICE_BACKEND);
    CHECK(w.advice.size >= 16 && w.advice.size <= 18);
    CHECK(fabs(w.advice.waiting - 48) < 3);
}

/* Servers of all sizes, with noise, first with a small load and then with too much: the pool comes to what they bear. */
static void test_settles(void)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct world w = world(1, 0.01, 100, 64);
        w.seed = seed * 0x9e3779b97f4a7c15ull;
        w.workers = floor(exp(uniform(&w) * log(100))) + 1;
        w.service_s = 0.002 + uniform(&w) * 0.05;
        w.rate = 0.3 * w.workers / w.service_s;
        w.noise = 0.03;
        w.low = 1;
        w.high = 200;
        w.max = (unsigned)fmax(2, w.workers * (0.5 + uniform(&w)));
        run(&w, 600);
        w.rate = 3 * w.workers / w.service_s;
        run(&w, 3000);
        run(&w, 600);
        bool good = w.least >= w.workers * 0.95 && w.most <= w.workers * 1.3 + 3;
        if (!good)
            fprintf(stderr, "seed %llu: %g workers, pool %u to %u\n", (unsigned long long)seed, w.workers, w.least, w.most);
        CHECK(good);
    }
}

/* Some forty requests a second, and a pool of twice what the backend bears: it goes down to that, however long it takes. */
static void test_settles_slowly(void)
{
    struct world w = world(8, 0.2, 16, 16);
    w.low = 1;
    w.high = 200;
    run(&w, 1200);
    w.rate = 120;
    w.max = 16;
    run(&w, 3600);
    run(&w, 1200);
    CHECK(w.least >= 8 && w.most <= 13);
}

/* All requests take twice as long from now on, however many are at work: that is no reason to go down for good. */
static void test_slower(void)
{
    struct world w = world(1000, 0.01, 2000, 20);
    w.low = 2;
    w.high = 64;
    run(&w, 300);
    CHECK(w.max >= 20);
    unsigned before = w.max;
    w.service_s = 0.02;
    run(&w, 1200);
    CHECK(w.least >= before * 0.8);
    CHECK(w.max >= 40); /* twice the time: twice as many at work */
}

/* Never seen with less than it bears: nothing is known of it, and the pool stays about where it is. */
static void test_never_alone(void)
{
    struct world w = world(16, 0.01, 5000, 64);
    w.low = 4;
    w.high = 200;
    run(&w, 3600);
    CHECK(w.least >= 64 && w.most <= 80);
}

static void test_again(void)
{
    struct world w = world(1000, 0.01, 300, 64);
    run(&w, 30);
    w.requests = w.backend_us = w.queue_us = 0; /* the server was made anew */
    second(&w);
    CHECK_EQ(w.advice.size, 0);
    run(&w, 30);
    CHECK_EQ(w.advice.size, 7);
    for (int i = 0; i < LA_ADVICE_WHY_COUNT; i++)
        CHECK(la_advice_why_name((enum la_advice_why)i) != NULL);
}

int main(void)
{
    test_enough();
    test_little();
    test_queue();
    test_backend_full();
    test_settles();
    test_settles_slowly();
    test_slower();
    test_never_alone();
    test_again();
    return TEST_DONE();
}
