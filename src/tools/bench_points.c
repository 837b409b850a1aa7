/* bench_points.c: what the runs of a size say together: means and their intervals, and what time did to them.
 *
 * Owns nothing but the array that bench_points returns. No I/O, no clock. Runs that were cut short take no part, and
 * a run without an answer says nothing about speed.
 *
 * Sizes ran in random order, so that a backend that gets slower does not look like one that dislikes large pools.
 * What is left is told apart here: deviations of runs from the mean of their size, a straight line through them over
 * time (the trend), what remains (the noise), and whether that comes and goes slowly (von Neumann's ratio). Nothing can fail; what cannot be told from so few runs is negative. */
#include "tools/bench_model.h"

#include <math.h>
#include <stdlib.h>

#define SURE 0.99 /* that a trend or drift is none of chance's */

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

double bench_run_good(const struct bench_run *r)
{
    return r->throughput * r->seconds;
}

double bench_run_fail_ratio(const struct bench_run *r)
{
    double all = bench_run_good(r) + (double)r->failed;
    return all > 0 ? (double)r->failed / all : 0;
}

static bool counts(const struct bench_run *r)
{
    return r->stage == BENCH_SWEEP && !r->cut && r->seconds > 0;
}

/* ---- one point ---- */

static void speed(struct bench_point *p, struct bench_run *const *run, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        if (counts(run[i]) && run[i]->size == p->size)
            p->throughput += run[i]->throughput / p->runs;
    for (size_t i = 0; i < n; i++)
        if (counts(run[i]) && run[i]->size == p->size)
            squares += pow(run[i]->throughput - p->throughput, 2);
    p->low = p->high = -1;
    if (p->runs < 2)
        return;
    double half = bench_student(0.95, p->runs - 1) * sqrt(squares / (p->runs - 1) / p->runs);
    p->low = fmax(0, p->throughput - half);
    p->high = p->throughput + half;
}

/* Of connections at work; negative when the run's times are unknown. */
static double by_littles_law(const struct bench_run *r)
{
    double us = r->part_mean_us[BENCH_CONNECT] + r->part_mean_us[BENCH_BACKEND];
    return r->part_mean_us[BENCH_CONNECT] >= 0 && r->part_mean_us[BENCH_BACKEND] >= 0 ? r->throughput * us / 1e6 : -1;
}

static void rest(struct bench_point *p, struct bench_run *const *run, size_t n, struct bench_slo slo,
                 struct la_hist *all)
{
    double good = 0, failed = 0;
    bool busy = true, little = true;
    la_hist_reset(all);
    for (size_t i = 0; i < n; i++) {
        const struct bench_run *r = run[i];
        if (!counts(r) || r->size != p->size)
            continue;
        if (r->latency_us)
            la_hist_add(all, r->latency_us);
        good += bench_run_good(r);
        failed += (double)r->failed;
        busy &= r->busy >= 0;
        little &= by_littles_law(r) >= 0;
        p->busy += r->busy / p->runs;
        p->little += by_littles_law(r) / p->runs;
    }
    p->busy = busy ? p->busy : -1;
    p->little = little ? p->little : -1;
    p->fail_ratio = good + failed > 0 ? failed / (good + failed) : 0;
    p->slo_us = (double)la_hist_quantile_us(all, slo.us && slo.quantile > 0 ? slo.quantile : 0.99);
}

static int by_size(const void *a, const void *b)
{
    const struct bench_point *x = a, *y = b;
    return (x->size > y->size) - (x->size < y->size);
}

size_t bench_points(struct bench_run *const *run, size_t n, struct bench_slo slo, struct bench_point **out)
{
    struct bench_point *p = la_xcalloc(n + 1, sizeof *p);
    struct la_hist *all = la_xcalloc(1, sizeof *all);
    size_t points = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        if (!counts(run[i]))
            continue;
        while (k < points && p[k].size != run[i]->size)
            k++;
        p[k].size = run[i]->size;
        p[k].runs++;
        points += k == points;
    }
    qsort(p, points, sizeof *p, by_size);
    for (size_t k = 0; k < points; k++) {
        speed(&p[k], run, n);
        rest(&p[k], run, n, slo, all);
    }
    free(all);
    *out = p;
    return points;
}

/* ---- time ---- */

static bool timed(const struct bench_run *r)
{
    return (r->stage == BENCH_SWEEP || r->stage == BENCH_DRIFT) && !r->cut && r->throughput > 0;
}

/* Of the runs of this size: the mean of the throughput's logarithm, and of their times. */
static void size_means(struct bench_run *const *run, size_t n, unsigned size, double *speed_mean, double *time_mean)
{
    size_t runs = 0;
    *speed_mean = *time_mean = 0;
    for (size_t i = 0; i < n; i++) {
        if (!timed(run[i]) || run[i]->size != size)
            continue;
        *speed_mean += log(run[i]->throughput);
        *time_mean += run[i]->begin_s;
        runs++;
    }
    *speed_mean /= (double)runs;
    *time_mean /= (double)runs;
}

static bool first_of_size(struct bench_run *const *run, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (timed(run[k]) && run[k]->size == run[i]->size)
            return false;
    return true;
}

/* The drift run's size: at the end against the first time. */
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

/* Von Neumann's ratio of the deviations, in the order in which the runs began. */
static double ratio_of(struct bench_run *const *run, size_t n)
{
    double steps = 0, squares = 0, before = 0, last = -HUGE_VAL, speed_mean, time_mean;
    for (size_t count = 0;; count++) {
        const struct bench_run *next = NULL;
        for (size_t i = 0; i < n; i++)
            if (timed(run[i]) && run[i]->begin_s > last && (next == NULL || run[i]->begin_s < next->begin_s))
                next = run[i];
        if (next == NULL)
            return squares > 0 ? steps / squares : 2;
        size_means(run, n, next->size, &speed_mean, &time_mean);
        double deviation = log(next->throughput) - speed_mean;
        steps += count ? pow(deviation - before, 2) : 0;
        squares += deviation * deviation;
        before = deviation;
        last = next->begin_s;
    }
}

struct bench_time bench_time_of(struct bench_run *const *run, size_t n)
{
    struct bench_time t = {.noise = -1, .trend_interval = -1, .drift = NAN, .drift_interval = -1};
    double product = 0, times = 0, speeds = 0, from = HUGE_VAL, to = -HUGE_VAL, speed_mean, time_mean;
    long freedom = -1; /* the trend's */
    for (size_t i = 0; i < n; i++) {
        if (!timed(run[i]))
            continue;
        size_means(run, n, run[i]->size, &speed_mean, &time_mean);
        double s = log(run[i]->throughput) - speed_mean, when = run[i]->begin_s - time_mean;
        product += s * when;
        times += when * when;
        speeds += s * s;
        from = fmin(from, run[i]->begin_s);
        to = fmax(to, run[i]->begin_s);
        freedom += !first_of_size(run, i);
    }
    if (freedom > 0 && times > 0) {
        double slope = product / times;
        t.freedom = (unsigned)freedom;
        t.noise = sqrt(fmax(0, speeds - slope * product) / (double)freedom);
        t.trend = exp(slope * (to - from)) - 1;
        t.trend_interval = bench_student(SURE, t.freedom) * t.noise / sqrt(times) * (to - from);
    }
    t.alike = ratio_of(run, n);
    drift_of(run, n, &t);
    return t;
}
