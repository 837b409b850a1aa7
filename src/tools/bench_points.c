/* bench_points.c: what the runs of a size say together: means and their intervals.
 *
 * Owns nothing but the array that bench_points returns. No I/O, no clock. Runs that were cut short take no part. What
 * time did to all sizes alike (bench_time.c) is taken off. Nothing can fail. */
#include "tools/bench_model.h"

#include <math.h>
#include <stdlib.h>

double bench_run_good(const struct bench_run *r)
{
    return r->throughput * r->seconds;
}

double bench_run_fail_ratio(const struct bench_run *r)
{
    double all = bench_run_good(r) + (double)r->failed;
    return all > 0 ? (double)r->failed / all : 0;
}

void bench_split_add(struct bench_split *s, const struct bench_run *r)
{
    for (int i = 0; i < BENCH_PARTS; i++) {
        s->sum[i] += r->part_mean_us[i] < 0 ? 0 : r->part_mean_us[i] * (double)r->done;
        s->weight[i] += r->part_mean_us[i] < 0 ? 0 : (double)r->done;
    }
}

double bench_split_mean_us(const struct bench_split *s, enum bench_part part)
{
    return s->weight[part] > 0 ? s->sum[part] / s->weight[part] : -1;
}

static bool counts(const struct bench_run *r)
{
    return r->stage == BENCH_SWEEP && !r->cut && r->seconds > 0;
}

/* ---- one point ---- */

static void speed(struct bench_point *p, struct bench_run *const *run, size_t n, const struct bench_time *t)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        if (counts(run[i]) && run[i]->size == p->size)
            p->throughput += run[i]->throughput / bench_time_at(t, run[i]) / p->runs;
    for (size_t i = 0; i < n; i++)
        if (counts(run[i]) && run[i]->size == p->size)
            squares += pow(run[i]->throughput / bench_time_at(t, run[i]) - p->throughput, 2);
    p->low = p->high = -1;
    if (p->runs < 2)
        return;
    squares *= t->freedom ? (double)(t->freedom + t->waves) / t->freedom : 1; /* the curve has taken its part of the noise */
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

size_t bench_points(struct bench_run *const *run, size_t n, struct bench_slo slo, const struct bench_time *t,
                    struct bench_point **out)
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
        speed(&p[k], run, n, t);
        rest(&p[k], run, n, slo, all);
    }
    free(all);
    *out = p;
    return points;
}
