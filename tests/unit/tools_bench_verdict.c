/* The bench's verdict against backends of known truth: simulated sweeps with noise, hundreds for each kind, each from its
 * own seed, which a failure prints. */
#include "tools/bench_model.h"

#include "test.h"

#include <math.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRIALS 20 /* sanitizers look at memory; what is judged is the same */
#else
#define TRIALS 200
#endif

/* ---- a backend, and a sweep over it ---- */

struct world {
    double (*speed)(const struct world *w, double n); /* requests per second with n connections */
    double (*drift)(const struct world *w, double part); /* factor on it, by how much of the bench is over */
    double workers, service_s, contention, sigma, kappa, change, noise;
    double rate; /* offered; 0: as much as it takes */
    double (*failing)(const struct world *w, double part); /* part of the answers that are errors */
    uint64_t seed;
};

static double uniform(struct world *w, double low, double high)
{
    return low + (high - low) * ((double)(la_random(&w->seed) >> 11) / 9007199254740992.0);
}
static double normal(struct world *w)
{
    return sqrt(-2 * log(uniform(w, 1e-12, 1))) * cos(2 * M_PI * uniform(w, 0, 1));
}

static double workers(const struct world *w, double n)
{
    return fmin(n, w->workers) / w->service_s;
}
static double contended(const struct world *w, double n)
{
    return workers(w, n) / (1 + w->contention * fmax(0, n - w->workers));
}
static double usl(const struct world *w, double n)
{
    return n / w->service_s / (1 + w->sigma * (n - 1) + w->kappa * n * (n - 1));
}
static double steady(const struct world *w, double part)
{
    (void)w;
    (void)part;
    return 1;
}
static double ramp(const struct world *w, double part)
{
    return 1 + w->change * part;
}
static double step(const struct world *w, double part)
{
    return part < 0.5 ? 1 : 1 + w->change;
}
static double wave(const struct world *w, double part)
{
    return 1 + w->change / 2 * sin(2 * M_PI * part);
}

struct bench {
    struct bench_options options;
    struct bench_report report;
    struct bench_run *run[512];
    double length; /* of the whole, in runs */
};

/* Runs are large: those of one bench are used again by the next. */
static struct bench_run *fresh_run(size_t i)
{
    static struct bench_run *all[512];
    CHECK(i < la_count(all));
    if (all[i] == NULL)
        all[i] = la_xcalloc(1, sizeof **all);
    struct la_hist *latency = all[i]->latency_us, *late = all[i]->late_us;
    all[i]->latency_us = latency ? latency : la_xcalloc(1, sizeof *latency);
    all[i]->late_us = late ? late : la_xcalloc(1, sizeof *late);
    la_hist_reset(all[i]->latency_us);
    la_hist_reset(all[i]->late_us);
    memset(all[i]->error, 0, sizeof all[i]->error);
    return all[i];
}

static struct bench_run *add_run(struct bench *b, struct world *w, enum bench_stage stage, unsigned size)
{
    size_t i = b->report.runs;
    struct bench_run *r = fresh_run(i);
    double part = (double)i / b->length, full = w->speed(w, size) * w->drift(w, part) * exp(w->noise * normal(w));
    double ratio = w->failing ? w->failing(w, part) : 0, all = w->rate > 0 ? fmin(w->rate, full) : full;
    r->stage = stage;
    r->size = size;
    r->cut = false;
    r->rate = w->rate;
    r->begin_s = 3.0 * (double)i;
    r->seconds = 2;
    r->generator_cpu_s = 0.1;
    r->backend_cpu_s = -1;
    r->throughput = all * (1 - ratio);
    r->failed = (uint64_t)(all * ratio * r->seconds);
    if (r->failed) {
        snprintf(r->error[0].cause, sizeof r->error[0].cause, "connection_refused");
        r->error[0].n = r->failed;
    }
    r->busy = fmin(size, all * w->service_s);
    r->part_mean_us[BENCH_CONNECT] = 0;
    r->part_mean_us[BENCH_BACKEND] = r->throughput > 0 ? r->busy / r->throughput * 1e6 : -1;
    for (int k = 0; k < 100; k++) /* the wait grows with the part of the speed that is used */
        la_hist_record(r->latency_us, (uint64_t)(1e6 * w->service_s / fmax(0.02, 1 - 0.98 * all / full)));
    la_hist_record(r->late_us, 50);
    b->run[i] = r;
    b->report.run = b->run;
    b->report.runs++;
    return r;
}

static bool has(const unsigned *size, size_t n, unsigned s)
{
    for (size_t i = 0; i < n; i++)
        if (size[i] == s)
            return true;
    return false;
}

/* Every size three times, in random order. */
static void run_all(struct bench *b, struct world *w, const unsigned *size, size_t n)
{
    unsigned order[256];
    CHECK(3 * n <= la_count(order));
    for (size_t i = 0; i < 3 * n; i++)
        order[i] = size[i % n];
    for (size_t i = 3 * n; i > 1; i--) {
        size_t k = la_random(&w->seed) % i;
        unsigned swap = order[k];
        order[k] = order[i - 1];
        order[i - 1] = swap;
    }
    for (size_t i = 0; i < 3 * n; i++)
        add_run(b, w, BENCH_SWEEP, order[i]);
}

/* Powers of two to `largest`, then four sizes between the neighbours of the first one that is within 3 % of the best by
 * its mean; the first size once more. */
static void sweep(struct bench *b, struct world *w, unsigned largest)
{
    unsigned size[32], more[8];
    size_t n = 0, m = 0, at = 0;
    double best = 0;
    b->length = 0;
    for (unsigned s = 1; s <= largest; s *= 2)
        size[n++] = s;
    b->length = 3.0 * (double)(n + 4) + 1;
    run_all(b, w, size, n);
    free(b->report.point);
    struct bench_time t = bench_time_of(b->run, b->report.runs);
    size_t points = bench_points(b->run, b->report.runs, b->options.slo, &t, &b->report.point);
    for (size_t i = 0; i < points; i++)
        best = fmax(best, b->report.point[i].throughput);
    while (b->report.point[at].throughput < BENCH_NEAR * best)
        at++;
    unsigned low = at > 0 ? size[at - 1] : size[0], high = at + 1 < n ? size[at + 1] : size[n - 1];
    for (int k = 1; k <= 4; k++) {
        unsigned s = (unsigned)lround(low * pow((double)high / low, k / 5.0));
        if (!has(size, n, s) && !has(more, m, s))
            more[m++] = s;
    }
    if (m)
        run_all(b, w, more, m);
    add_run(b, w, BENCH_DRIFT, b->run[0]->size);
}

static struct bench *bench_new(void)
{
    struct bench *b = la_xcalloc(1, sizeof *b);
    b->options = (struct bench_options){.burst = 1, .threads = 1};
    b->report.options = &b->options;
    b->report.ports = -1;
    b->report.backends = 1;
    b->report.backend[0] = (struct bench_backend){.text = "127.0.0.1:80", .limit = -1};
    b->length = 1;
    return b;
}

static void bench_free(struct bench *b)
{
    free(b->report.point);
    free(b);
}

static unsigned optimum(const struct world *w, unsigned largest)
{
    double best = 0;
    unsigned n = 1;
    for (unsigned i = 1; i <= largest; i++)
        best = fmax(best, w->speed(w, i));
    best = w->rate > 0 ? fmin(w->rate, best) : best;
    while (w->speed(w, n) < BENCH_NEAR * best)
        n++;
    return n;
}

static bool near(unsigned size, double truth)
{
    return fabs(size - truth) <= 0.15 * truth;
}

static void print(const char *what, uint64_t seed, const struct bench *b, double truth)
{
    fprintf(stderr, "%s, seed %llu: truth %g, %s\n", what, (unsigned long long)seed, truth, b->report.verdict.reason);
}

/* At least 19 of 20 trials end as `want` (a size: within 15 % of the truth). */
static void trials(const char *what, struct world (*make)(uint64_t seed), enum bench_answer want)
{
    unsigned good = 0, wrong = 0;
    for (uint64_t seed = 1; seed <= TRIALS; seed++) {
        struct world w = make(seed * 0x9e3779b97f4a7c15ull);
        struct bench *b = bench_new();
        b->options.rate = w.rate;
        sweep(b, &w, 256);
        double truth = w.speed == workers && w.rate <= 0 ? w.workers : optimum(&w, 256);
        bench_judge(&b->report);
        const struct bench_verdict *v = &b->report.verdict;
        bool as_wanted = v->answer == want && (want != BENCH_SIZE || near(v->size, truth));
        good += as_wanted;
        wrong += v->answer == BENCH_SIZE && !near(v->size, truth);
        if (!as_wanted)
            print(what, seed, b, truth);
        bench_free(b);
    }
    printf("%s: %u of %u as wanted, %u wrong sizes\n", what, good, TRIALS, wrong);
    CHECK(good * 20 >= TRIALS * 19);
}

/* ---- worlds ---- */

static struct world make_workers(uint64_t seed)
{
    struct world w = {.speed = workers, .drift = steady, .seed = seed};
    w.workers = floor(exp(uniform(&w, log(1), log(128.99))));
    w.service_s = uniform(&w, 0.0005, 0.05);
    w.noise = uniform(&w, 0.002, 0.03);
    return w;
}
static struct world make_contended(uint64_t seed)
{
    struct world w = make_workers(seed);
    w.speed = contended;
    w.contention = uniform(&w, 0.05, 0.5) / w.workers;
    return w;
}
static struct world make_usl(uint64_t seed)
{
    struct world w = {.speed = usl, .drift = steady, .service_s = 0.01, .seed = seed};
    double peak = exp(uniform(&w, log(4), log(64)));
    w.sigma = uniform(&w, 0, 0.1);
    w.kappa = (1 - w.sigma) / (peak * peak);
    w.noise = uniform(&w, 0.002, 0.02);
    return w;
}
static struct world make_rate(uint64_t seed)
{
    struct world w = make_workers(seed);
    w.workers = fmax(w.workers, 4);
    w.rate = uniform(&w, 0.3, 0.8) * w.workers / w.service_s;
    return w;
}
static struct world make_ramp(uint64_t seed)
{
    struct world w = make_workers(seed);
    w.drift = ramp;
    w.change = uniform(&w, 0.4, 0.8) * (seed % 2 ? 1 : -1);
    return w;
}
static struct world make_step(uint64_t seed)
{
    struct world w = make_ramp(seed);
    w.drift = step;
    return w;
}
static struct world make_wave(uint64_t seed)
{
    struct world w = make_ramp(seed);
    w.drift = wave;
    return w;
}

/* What a shared host does to a backend that is steady: less than a verdict minds. */
static struct world make_restless(uint64_t seed)
{
    struct world w = make_workers(seed);
    w.drift = seed % 3 == 0 ? ramp : seed % 3 == 1 ? step : wave;
    w.change = uniform(&w, 0.03, 0.1) * (seed % 2 ? 1 : -1);
    return w;
}

static double errors_only(const struct world *w, double part)
{
    (void)w;
    (void)part;
    return 1;
}
static double dies(const struct world *w, double part)
{
    (void)w;
    return part < 0.6 ? 0 : 1;
}
static struct world make_errors(uint64_t seed)
{
    struct world w = make_workers(seed);
    w.failing = errors_only;
    return w;
}
static struct world make_dying(uint64_t seed)
{
    struct world w = make_workers(seed);
    w.failing = dies;
    return w;
}
/* Every third size is better than its neighbours: no curve goes there. */
static double comb(const struct world *w, double n)
{
    return workers(w, n) * ((unsigned)n % 3 == 1 ? 1 : 0.6);
}
static struct world make_comb(uint64_t seed)
{
    struct world w = make_workers(seed);
    w.workers = fmax(w.workers, 8);
    w.speed = comb;
    w.noise = 0.01;
    return w;
}

/* Repeats that say little: a size that is said all the same is right, in 19 of 20 trials. */
static void test_noisy(void)
{
    unsigned wrong = 0, refused = 0;
    for (uint64_t seed = 1; seed <= TRIALS; seed++) {
        struct world w = make_workers(seed * 0x9e3779b97f4a7c15ull);
        struct bench *b = bench_new();
        w.noise = uniform(&w, 0.05, 0.4);
        sweep(b, &w, 256);
        bench_judge(&b->report);
        refused += b->report.verdict.answer == BENCH_CANNOT_TELL;
        if (b->report.verdict.answer == BENCH_SIZE && !near(b->report.verdict.size, w.workers)) {
            wrong++;
            print("noisy", seed, b, w.workers);
        }
        bench_free(b);
    }
    printf("noisy: %u of %u refused, %u wrong sizes\n", refused, TRIALS, wrong);
    CHECK(refused * 2 > TRIALS);
    CHECK(wrong * 20 <= TRIALS);
}

/* ---- single cases: a quiet backend of 16 workers, 10 ms each: 1600 requests/s ---- */

static struct world quiet(void)
{
    return (struct world){.speed = workers, .drift = steady, .workers = 16, .service_s = 0.01, .noise = 0.001, .seed = 4711};
}

static bool noted(const struct bench *b, const char *what)
{
    for (size_t i = 0; i < b->report.verdict.notes; i++)
        if (strstr(b->report.verdict.note[i], what))
            return true;
    return false;
}

static void show(const struct bench *b)
{
    printf("  %s\n%s", b->report.verdict.reason, b->report.verdict.config);
    for (size_t i = 0; i < b->report.verdict.notes; i++)
        printf("  note: %s\n", b->report.verdict.note[i]);
}

static void test_plain(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    sweep(b, &w, 256);
    for (int i = 0; i < 2; i++) { /* judging again changes nothing */
        bench_judge(&b->report);
        CHECK_EQ(b->report.verdict.answer, BENCH_SIZE);
        CHECK_EQ(b->report.verdict.size, 16);
        CHECK(fabs(b->report.verdict.capacity - 1600) < 16);
        CHECK(strcmp(b->report.verdict.config, "pool: { max: 16 }\n") == 0);
        CHECK(strncmp(b->report.verdict.reason, "16: ", 4) == 0);
        CHECK_EQ(b->report.verdict.notes, 0);
        CHECK_EQ(b->report.model, BENCH_MODEL_KNEE);
    }
    CHECK(fabs(b->report.knee.knee - 16) < 0.5 && b->report.knee.good);
    show(b);
    bench_free(b);
}

/* php-fpm has as many children as its limit says: one stays free. Then fewer ports than that. */
static void test_clamps(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    b->report.backend[0].limit = 16;
    snprintf(b->report.backend[0].limit_name, sizeof b->report.backend[0].limit_name, "pm.max_children");
    sweep(b, &w, 256);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 15);
    CHECK_EQ(b->report.verdict.bare, 16);
    CHECK(noted(b, "pm.max_children"));
    show(b);
    b->report.ports = 10;
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 8);
    CHECK(noted(b, "10 ports"));
    bench_free(b);
}

static void test_burst(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    b->options.burst = 1.5; /* for a second 800 requests more than the backend takes: the queue's default holds them */
    sweep(b, &w, 256);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 24);
    CHECK(strcmp(b->report.verdict.config, "pool: { max: 24 }\n") == 0);
    b->options.burst = 2;
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 32);
    CHECK(strstr(b->report.verdict.config, "pool: { max: 32 }\nqueue: { length: 1"));
    CHECK(strstr(b->report.verdict.config, ", timeout: 2s }\n") || strstr(b->report.verdict.config, ", timeout: 3s }\n"));
    show(b);
    bench_free(b);
    w.contention = 0.1; /* more than 16 costs: no headroom but the queue */
    w.speed = contended;
    b = bench_new();
    b->options.burst = 1.5;
    sweep(b, &w, 256);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 16);
    CHECK(noted(b, "headroom"));
    bench_free(b);
}

/* At 800 requests/s 8 would do, but their wait does not. */
static void test_rate_and_slo(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    w.rate = b->options.rate = 800;
    sweep(b, &w, 64);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 8);
    CHECK(b->report.verdict.capacity < 0);
    b->options.slo = (struct bench_slo){0.99, 30000}; /* 10 ms / (1 - 0.98 u): u = 0.68, 11.8 connections or more */
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.answer, BENCH_SIZE);
    CHECK(b->report.verdict.size >= 12 && b->report.verdict.size <= 16);
    CHECK(noted(b, "misses the SLO"));
    show(b);
    b->options.slo.us = 5000; /* less than the backend takes */
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 8);
    CHECK(noted(b, "missed at every size"));
    show(b);
    bench_free(b);
}

/* Under full load no size meets it; at which rate it does, the levels tell. */
static void test_levels(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    b->options.rate_auto = true;
    b->options.slo = (struct bench_slo){0.99, 40000};
    sweep(b, &w, 64);
    for (int i = 0; i < 4; i++) {
        w.rate = 1600 * (double[]){0.5, 0.7, 0.85, 0.95}[i];
        add_run(b, &w, BENCH_LEVEL, 16);
    }
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 16);
    CHECK(noted(b, "is met at 1120 requests/s and missed at 1360"));
    for (size_t i = 0; i < b->report.runs; i++) /* one of more than a thousand: no size would lose its place for that */
        b->run[i]->failed += b->run[i]->stage == BENCH_LEVEL;
    bench_judge(&b->report);
    CHECK(noted(b, "is met at 1120 requests/s and missed at 1360"));
    for (size_t i = 0; i < b->report.runs; i++) /* something disturbed the second one */
        if (b->run[i]->stage == BENCH_LEVEL && b->run[i]->rate > 1000 && b->run[i]->rate < 1200)
            for (int k = 0; k < 1000; k++)
                la_hist_record(b->run[i]->latency_us, 90000);
    bench_judge(&b->report);
    CHECK(noted(b, "is met at 800 requests/s and missed at 1120"));
    bench_free(b);
}

static void test_ends(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    w.workers = 1000; /* 64 sizes are not enough to see it */
    sweep(b, &w, 64);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.answer, BENCH_CANNOT_TELL);
    CHECK(strstr(b->report.verdict.reason, "still rises at 64"));
    b->report.backend[0].limit = 64; /* more are not to be had */
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.answer, BENCH_SIZE);
    CHECK_EQ(b->report.verdict.size, 63);
    bench_free(b);
}

/* Three sizes carry no model, but show whether the last one is the end; one carries nothing. No run at all is no verdict either. */
static void test_few(void)
{
    static const unsigned sizes[] = {8, 16, 32};
    struct world w = quiet();
    struct bench *b = bench_new();
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.answer, BENCH_CANNOT_TELL);
    run_all(b, &w, sizes + 1, 1);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.answer, BENCH_CANNOT_TELL);
    bench_free(b);
    b = bench_new();
    run_all(b, &w, sizes, 2);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.answer, BENCH_CANNOT_TELL);
    CHECK(strstr(b->report.verdict.reason, "still rises at 16"));
    bench_free(b);
    b = bench_new();
    run_all(b, &w, sizes, 3);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 16);
    CHECK_EQ(b->report.model, BENCH_MODEL_NONE);
    CHECK(noted(b, "too few sizes") && noted(b, "not measured again"));
    b->report.run[0]->cut = true; /* of a run that was cut, nothing is used */
    b->report.run[0]->throughput = 1e9;
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 16);
    bench_free(b);
}

/* 16 itself is slow, for whatever reason. Among so many sizes the curve does not see it; the verdict does. */
static void test_off_the_curve(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    unsigned sizes[32];
    for (unsigned i = 0; i < 32; i++)
        sizes[i] = i + 1;
    run_all(b, &w, sizes, 32);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 16);
    for (size_t i = 0; i < b->report.runs; i++)
        if (b->run[i]->size == 16)
            b->run[i]->throughput *= 0.7;
    bench_judge(&b->report);

    CHECK_EQ(b->report.verdict.size, 17);
    CHECK(noted(b, "misses the sizes"));
    bench_free(b);
}

/* Each size once: chance is unknown, and the verdict says so. */
static void test_no_repeats(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    for (unsigned s = 1; s <= 64; s *= 2)
        add_run(b, &w, BENCH_SWEEP, s);
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 16);
    CHECK(b->report.noise < 0 && b->report.point[0].low < 0 && noted(b, "measured twice"));
    bench_free(b);
}

static void test_notes(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    sweep(b, &w, 64);
    for (size_t i = 0; i < b->report.runs; i++) {
        struct bench_run *r = b->report.run[i];
        la_hist_record(r->late_us, 5000 + la_hist_quantile_us(r->latency_us, 0.99));
        r->generator_cpu_s = 1.95;
        r->busy *= 2;
        r->failed = 1;
    }
    bench_judge(&b->report);
    CHECK_EQ(b->report.verdict.size, 16);
    CHECK(noted(b, "generator sent late") && noted(b, "all of its cores") && noted(b, "Little's law") && noted(b, "requests failed"));
    show(b);
    b->options.protocol = BENCH_MEMCACHED; /* its connections carry many commands at a time */
    bench_judge(&b->report);
    CHECK(!noted(b, "Little's law"));
    bench_free(b);
}

/* A server that holds less than it is asked for answers with misses, which cost it less: that is said. */
static void test_misses(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    b->options.protocol = BENCH_MEMCACHED;
    b->options.keys = b->report.stored = 1000;
    sweep(b, &w, 64);
    for (size_t i = 0; i < b->report.runs; i++) {
        b->report.run[i]->hits = 95;
        b->report.run[i]->misses = 5;
    }
    bench_judge(&b->report);
    CHECK(!noted(b, "missed") && !noted(b, "stored"));
    b->report.run[0]->misses = b->report.run[0]->hits = 5000;
    b->report.stored = 999;
    bench_judge(&b->report);
    CHECK(noted(b, "% of the gets missed") && noted(b, "999 of 1000 keys"));
    b->report.run[0]->cut = true;
    b->report.stored = 1000;
    bench_judge(&b->report);
    CHECK(!noted(b, "missed") && !noted(b, "stored"));
    for (size_t i = 0; i < b->report.runs; i++)
        b->report.run[i]->hits = b->report.run[i]->misses = 0; /* runs are used again */
    bench_free(b);
}

/* ---- the statistics alone ---- */

static void test_student(void)
{
    CHECK(fabs(bench_student(0.95, 1) - 12.706) < 0.001); /* any table of Student's distribution */
    CHECK(fabs(bench_student(0.95, 2) - 4.303) < 0.001);
    CHECK(fabs(bench_student(0.95, 9) - 2.262) < 0.001);
    CHECK(fabs(bench_student(0.99, 10) - 3.169) < 0.001);
    CHECK(fabs(bench_student(0.95, 100000) - 1.960) < 0.001);
}

/* A fit to points on the curve gives the curve back, and one wild point does not bend it. */
static void test_fits(void)
{
    struct bench_usl truth = {.lambda = 120, .sigma = 0.03, .kappa = 0.0007}, u;
    struct bench_knee line = {.slope = 50, .knee = 21, .fall = 0.01}, k;
    struct bench_point p[12], q[12];
    for (size_t i = 0; i < 12; i++) {
        p[i] = q[i] = (struct bench_point){.size = (unsigned)(1 + i * i), .runs = 3};
        p[i].throughput = bench_usl_at(&truth, p[i].size);
        q[i].throughput = bench_knee_at(&line, q[i].size);
    }
    for (int wild = 0; wild < 2; wild++) {
        u = bench_usl_fit(p, 12);
        k = bench_knee_fit(q, 12);
        CHECK(fabs(u.lambda / 120 - 1) < 0.02 && fabs(u.sigma - 0.03) < 0.003 && fabs(u.kappa - 0.0007) < 0.0001);
        CHECK(fabs(u.peak / sqrt(0.97 / 0.0007) - 1) < 0.05 && u.good);
        CHECK(fabs(k.slope / 50 - 1) < 0.02 && fabs(k.knee / 21 - 1) < 0.03 && fabs(k.fall - 0.01) < 0.002 && k.good);
        CHECK(wild || (u.r2 > 0.9999 && k.r2 > 0.999));
        p[6].throughput *= 0.5;
        q[6].throughput *= 0.5;
    }
    u = bench_usl_fit(p, 3);
    CHECK(!u.good && u.misfit < 0);
}

static void test_points(void)
{
    struct world w = quiet();
    struct bench *b = bench_new();
    double speed[] = {90, 100, 110};
    for (int i = 0; i < 3; i++)
        add_run(b, &w, BENCH_SWEEP, 4)->throughput = speed[i];
    add_run(b, &w, BENCH_LEVEL, 4); /* neither counts */
    add_run(b, &w, BENCH_SWEEP, 2)->cut = true;
    struct bench_time t = bench_time_of(b->run, b->report.runs);
    CHECK_EQ(bench_points(b->run, b->report.runs, b->options.slo, &t, &b->report.point), 1);
    const struct bench_point *p = b->report.point;
    CHECK_EQ(p->runs, 3);
    CHECK(fabs(p->throughput - 100) < 1e-9 && fabs(p->high - (100 + 4.3027 * 10 / sqrt(3))) < 0.01);
    bench_free(b);
}

int main(void)
{
    test_student();
    test_fits();
    test_points();
    test_plain();
    test_clamps();
    test_burst();
    test_rate_and_slo();
    test_levels();
    test_ends();
    trials("restless", make_restless, BENCH_SIZE);
    test_few();
    test_off_the_curve();
    test_no_repeats();
    test_notes();
    test_misses();
    test_noisy();
    trials("workers", make_workers, BENCH_SIZE);
    trials("contended", make_contended, BENCH_SIZE);
    trials("usl", make_usl, BENCH_SIZE);
    trials("rate", make_rate, BENCH_SIZE);
    trials("ramp", make_ramp, BENCH_CANNOT_TELL);
    trials("step", make_step, BENCH_CANNOT_TELL);
    trials("wave", make_wave, BENCH_CANNOT_TELL);
    trials("errors", make_errors, BENCH_FAILED);
    trials("dying", make_dying, BENCH_FAILED);
    trials("comb", make_comb, BENCH_CANNOT_TELL);
    return TEST_DONE();
}
