/* bench_time.c: what time did to the runs, whatever their size: how fast the backend was meanwhile, and how much is chance.
 *
 * Owns nothing. No I/O, no clock. Runs that were cut short take no part, and a run without an answer says nothing about
 * speed.
 *
 * Sizes ran in random order, so that a backend that gets slower does not look like one that dislikes large pools. The
 * logarithm of a run's throughput is what its size gives, and a slow curve over time that is the same for all sizes, and
 * noise. Both are fitted at once by least squares; the curve is a few cosines, the fewer the fewer repeats there are. What
 * fails: nothing; what cannot be told from so few runs is negative. */
#include "tools/bench_model.h"

#include <math.h>

#define SURE      0.99 /* that a change is none of chance's */
#define RUNS_EACH 5    /* spare runs for each cosine */

/* What lies between -t and t: the finite sums for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4). */
static double student_between(double t, unsigned freedom)
{
    double angle = atan(t / sqrt(freedom)), square = pow(cos(angle), 2), sum = 0, term = 1;
    if (freedom % 2) {
        term = cos(angle);
        for (unsigned k = 1; k + 2 <= freedom; k += 2) {
            sum += term;
            term *= square * (k + 1) / (k + 2);
        }
        return (angle + sin(angle) * sum) * 2 / M_PI;
    }
    for (unsigned k = 0; k + 2 <= freedom; k += 2) {
        sum += term;
        term *= square * (k + 1) / (k + 2);
    }
    return sin(angle) * sum;
}

double bench_student(double probability, unsigned freedom)
{
    double low = 0, high = 1;
    la_assert(freedom > 0 && probability > 0 && probability < 1);
    while (student_between(high, freedom) < probability)
        high *= 2;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        *(student_between(middle, freedom) < probability ? &low : &high) = middle;
    }
    return high;
}

static bool timed(const struct bench_run *r)
{
    return (r->stage == BENCH_SWEEP || r->stage == BENCH_DRIFT) && !r->cut && r->throughput > 0;
}

/* A run that carried the rate that was offered says nothing of how fast the backend was. */
static bool moves(const struct bench_run *r)
{
    return timed(r) && !(r->rate > 0 && r->throughput >= BENCH_NEAR * r->rate);
}

/* ---- the curve ---- */

/* Columns 0 to waves - 1: the cosines; column waves: the logarithm of the speed. */
static double column(const struct bench_time *t, const struct bench_run *r, unsigned k)
{
    if (k == t->waves)
        return log(r->throughput);
    return t->to_s > t->from_s ? cos(M_PI * (k + 1) * (r->begin_s - t->from_s) / (t->to_s - t->from_s)) : 0;
}

/* Column k of run r, less the mean of its size: what the size does is then gone from all columns. */
static double within(const struct bench_time *t, struct bench_run *const *run, size_t n, const struct bench_run *r, unsigned k)
{
    double sum = 0, runs = 0;
    for (size_t i = 0; i < n; i++)
        if (moves(run[i]) && run[i]->size == r->size) {
            sum += column(t, run[i], k);
            runs++;
        }
    return column(t, r, k) - sum / runs;
}

/* Gauss, of m normal equations; one that says nothing new gives 0. */
static void solve(double a[BENCH_WAVES][BENCH_WAVES + 1], unsigned m, double *out)
{
    for (unsigned k = 0; k < m; k++)
        for (unsigned j = 0; j < m && a[k][k] > 1e-9; j++) {
            double factor = a[j][k] / a[k][k];
            for (unsigned l = k; l <= m && j != k; l++)
                a[j][l] -= factor * a[k][l];
        }
    for (unsigned k = 0; k < m; k++)
        out[k] = a[k][k] > 1e-9 ? a[k][m] / a[k][k] : 0;
}

static double logarithm_at(const struct bench_time *t, const struct bench_run *r)
{
    double sum = 0;
    for (unsigned k = 0; k < t->waves; k++)
        sum += t->wave[k] * column(t, r, k);
    return sum;
}

double bench_time_at(const struct bench_time *t, const struct bench_run *r)
{
    return moves(r) ? exp(logarithm_at(t, r) - t->mean) : 1;
}

static void fit(struct bench_time *t, struct bench_run *const *run, size_t n, unsigned runs)
{
    double a[BENCH_WAVES][BENCH_WAVES + 1] = {{0}}, left = 0, least = HUGE_VAL, most = -HUGE_VAL;
    for (size_t i = 0; i < n; i++) {
        double c[BENCH_WAVES + 1];
        if (!moves(run[i]))
            continue;
        for (unsigned k = 0; k <= t->waves; k++)
            c[k] = within(t, run, n, run[i], k);
        for (unsigned k = 0; k < t->waves; k++)
            for (unsigned l = 0; l <= t->waves; l++)
                a[k][l] += c[k] * c[l];
        left += c[t->waves] * c[t->waves];
    }
    double before[BENCH_WAVES];
    for (unsigned k = 0; k < t->waves; k++)
        before[k] = a[k][t->waves];
    solve(a, t->waves, t->wave);
    for (unsigned k = 0; k < t->waves; k++)
        left -= t->wave[k] * before[k];
    t->noise = sqrt(fmax(0, left) / t->freedom);
    for (size_t i = 0; i < n; i++) {
        if (!moves(run[i]))
            continue;
        double g = logarithm_at(t, run[i]);
        t->mean += g / runs;
        least = fmin(least, g);
        most = fmax(most, g);
    }
    t->swing = exp(most - least) - 1;
    t->swing_interval = 2 * bench_student(SURE, t->freedom) * t->noise * sqrt((double)t->waves / runs);
}

/* ---- the first size again ---- */

/* At the end, against the first time. */
static void drift_of(struct bench_run *const *run, size_t n, struct bench_time *t)
{
    const struct bench_run *first = NULL;
    double sum = 0, runs = 0;
    unsigned size = 0;
    for (size_t i = 0; i < n; i++) {
        if (!timed(run[i]) || run[i]->stage != BENCH_DRIFT || (size && run[i]->size != size))
            continue;
        size = run[i]->size;
        sum += run[i]->throughput;
        runs++;
    }
    for (size_t i = 0; i < n && runs > 0; i++)
        if (timed(run[i]) && run[i]->stage == BENCH_SWEEP && run[i]->size == size &&
            (first == NULL || run[i]->begin_s < first->begin_s))
            first = run[i];
    if (first == NULL)
        return;
    t->drift = sum / runs / first->throughput - 1;
    if (t->freedom)
        t->drift_interval = bench_student(SURE, t->freedom) * t->noise * sqrt(1 + 1 / runs);
}

struct bench_time bench_time_of(struct bench_run *const *run, size_t n)
{
    struct bench_time t = {.noise = -1, .swing_interval = -1, .drift = NAN, .drift_interval = -1, .from_s = HUGE_VAL, .to_s = -HUGE_VAL};
    unsigned runs = 0, spare = 0;
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        if (!moves(run[i]))
            continue;
        for (size_t k = 0; k < i; k++)
            again |= moves(run[k]) && run[k]->size == run[i]->size;
        t.from_s = fmin(t.from_s, run[i]->begin_s);
        t.to_s = fmax(t.to_s, run[i]->begin_s);
        runs++;
        spare += again;
    }
    t.waves = spare / RUNS_EACH < BENCH_WAVES ? spare / RUNS_EACH : BENCH_WAVES;
    t.freedom = spare - t.waves;
    if (t.freedom > 0)
        fit(&t, run, n, runs);
    drift_of(run, n, &t);
    return t;
}
