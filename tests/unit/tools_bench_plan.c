/* The bench's plan against backends of known truth without noise: which sizes it asks for, how often, and in which order. */
#include "tools/bench_model.h"

#include "test.h"

struct world {
    unsigned workers;  /* 0: no bound */
    double contention; /* throughput falls with it */
    size_t scatters;   /* until so many runs chance hides the answer */
};

static double speed(const struct world *w, unsigned n)
{
    double busy = w->workers && n > w->workers ? w->workers : n;
    return 1000 * busy / (1 + w->contention * busy * (busy - 1));
}

static void keep(struct bench_report *r, const struct bench_run *run)
{
    r->run = la_xrealloc(r->run, (r->runs + 1) * sizeof *r->run);
    r->run[r->runs] = bench_run_new();
    struct la_hist *h = r->run[r->runs]->latency_us, *late = r->run[r->runs]->late_us;
    *r->run[r->runs] = *run;
    r->run[r->runs]->latency_us = h;
    r->run[r->runs++]->late_us = late;
}

/* As the verdict leaves them. */
static void points(struct bench_report *r)
{
    struct bench_time t = bench_time_of(r->run, r->runs);
    free(r->point);
    r->points = bench_points(r->run, r->runs, r->options->slo, &t, &r->point);
}

static void forget(struct bench_report *r)
{
    free(r->point);
    for (size_t i = 0; i < r->runs; i++)
        bench_run_free(r->run[i]);
    free(r->run);
    *r = (struct bench_report){0};
}

/* All of it. */
static void follow(struct bench_report *r, const struct bench_options *o, const struct world *w)
{
    struct bench_plan *p = bench_plan_new(o);
    r->options = o;
    for (unsigned left = 0;;) {
        struct bench_run run = {0};
        left = bench_plan_left(p);
        if (!bench_plan_next(p, r, &run))
            break;
        CHECK(left > 0);
        CHECK(r->runs < 400);
        run.seconds = 1;
        run.throughput = speed(w, run.size);
        run.begin_s = (double)r->runs;
        r->verdict.scatters = r->runs + 1 < w->scatters;
        r->verdict.answer = r->verdict.scatters ? BENCH_CANNOT_TELL : BENCH_SIZE;
        r->verdict.size = 7;
        keep(r, &run);
        points(r);
    }
    bench_plan_free(p);
}

static unsigned times(const struct bench_report *r, enum bench_stage stage, unsigned size)
{
    unsigned n = 0;
    for (size_t i = 0; i < r->runs; i++)
        n += r->run[i]->stage == stage && r->run[i]->size == size;
    return n;
}

static struct bench_options options(uint64_t seed)
{
    return (struct bench_options){.smallest = 1, .largest = 256, .repeats = 3, .rate_auto = true, .seed = seed, .slo.quantile = 0.99};
}

/* The knee has neighbours close by, and every size its repeats. */
static void test_knee(unsigned workers, double contention)
{
    struct world w = {.workers = workers, .contention = contention};
    double best = 0;
    unsigned knee = 0;
    for (unsigned n = 1; n <= 256; n++)
        best = speed(&w, n) > best ? speed(&w, n) : best;
    while (speed(&w, ++knee) < 0.97 * best)
        ;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct bench_report r = {0};
        struct bench_options o = options(seed);
        follow(&r, &o, &w);
        unsigned nearest = 0;
        for (size_t i = 0; i < r.runs; i++) {
            unsigned s = r.run[i]->size;
            CHECK(r.run[i]->stage != BENCH_SWEEP || times(&r, BENCH_SWEEP, s) == 3);
            if (r.run[i]->stage == BENCH_SWEEP && abs((int)s - (int)knee) < abs((int)nearest - (int)knee))
                nearest = s;
        }
        CHECK(abs((int)nearest - (int)knee) <= (knee > 15 ? (int)(0.07 * knee) : 1));
        CHECK_EQ(times(&r, BENCH_DRIFT, r.run[0]->size), 1);
        CHECK_EQ(r.run[r.runs - 5]->stage, BENCH_DRIFT);
        CHECK_EQ(times(&r, BENCH_LEVEL, 7), 4);
        forget(&r);
    }
}

/* What time did to the sizes is none of theirs: the points, without it, say where to look closer. */
static void test_points(void)
{
    struct world ran = {.workers = 8}, told = {.workers = 24};
    struct bench_report r = {0};
    struct bench_options o = options(1);
    o.largest = 32;
    struct bench_plan *p = bench_plan_new(&o);
    unsigned between = 0;
    r.options = &o;
    for (size_t i = 0; i < 8; i++) { /* 1 to 32, a repeat, and a size that is no power of two */
        struct bench_run run = {.seconds = 1, .begin_s = (double)i};
        CHECK(bench_plan_next(p, &r, &run));
        if (run.size & (run.size - 1))
            between = run.size;
        run.throughput = speed(&ran, run.size);
        keep(&r, &run);
        points(&r);
        for (size_t k = 0; k < r.points; k++)
            r.point[k].throughput = speed(&told, r.point[k].size);
    }
    CHECK_EQ(between, 24);
    bench_plan_free(p);
    forget(&r);
}

static struct bench_options two_sizes(unsigned repeats)
{
    struct bench_options o = options(1);
    o.size[0] = 3;
    o.size[1] = 5;
    o.sizes = 2;
    o.repeats = repeats;
    return o;
}

/* Where chance hides the answer, all sizes are measured again, but not for ever. */
static void test_scatter(void)
{
    static const struct {
        size_t scatters;
        unsigned repeats;
    } seen[] = {{0, 2}, {5, 4}, {6, 4}, {9, 6}, {1000, 6}};
    for (size_t i = 0; i < la_count(seen); i++) {
        struct world w = {.workers = 8, .scatters = seen[i].scatters};
        struct bench_report r = {0};
        struct bench_options o = two_sizes(2);
        follow(&r, &o, &w);
        CHECK_EQ(times(&r, BENCH_SWEEP, 3), seen[i].repeats);
        CHECK_EQ(times(&r, BENCH_SWEEP, 5), seen[i].repeats);
        CHECK_EQ(times(&r, BENCH_DRIFT, r.run[0]->size), 1);
        forget(&r);
    }
}

static void test_given_sizes(void)
{
    struct world w = {.workers = 8};
    struct bench_report r = {0};
    struct bench_options o = two_sizes(4);
    o.rate_auto = false;
    follow(&r, &o, &w);
    CHECK_EQ(r.runs, 9);
    CHECK_EQ(times(&r, BENCH_SWEEP, 3), 4);
    CHECK_EQ(times(&r, BENCH_SWEEP, 5), 4);
    CHECK_EQ(r.run[8]->stage, BENCH_DRIFT);
    CHECK_EQ(r.run[8]->size, r.run[0]->size);
    forget(&r);
}

/* Another seed, another order; the same seed, the same. */
static void test_order(void)
{
    struct world w = {.workers = 12};
    unsigned first[3][6], different = 0;
    uint64_t seed[3] = {5, 5, 6};
    for (int k = 0; k < 3; k++) {
        struct bench_report r = {0};
        struct bench_options o = options(seed[k]);
        follow(&r, &o, &w);
        for (int i = 0; i < 6; i++)
            first[k][i] = r.run[i]->size;
        forget(&r);
    }
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(first[0][i], first[1][i]);
        different += first[0][i] != first[2][i];
    }
    CHECK(different > 0);
}

/* Bounds are kept, also when more would be better. */
static void test_bounds(void)
{
    struct world w = {.workers = 0};
    struct bench_report r = {0};
    struct bench_options o = options(3);
    o.smallest = 3;
    o.largest = 50;
    follow(&r, &o, &w);
    CHECK_EQ(times(&r, BENCH_SWEEP, 50), 3);
    for (size_t i = 0; i < r.runs; i++)
        CHECK(r.run[i]->stage == BENCH_LEVEL || (r.run[i]->size >= 3 && r.run[i]->size <= 50));
    forget(&r);
}

int main(void)
{
    test_knee(1, 0);
    test_knee(4, 0);
    test_knee(12, 0);
    test_knee(25, 0);
    test_knee(100, 0);
    test_knee(0, 0.01);
    test_knee(32, 0.003);
    test_points();
    test_scatter();
    test_given_sizes();
    test_order();
    test_bounds();
    return TEST_DONE();
}
