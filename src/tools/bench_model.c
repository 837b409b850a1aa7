/* bench_model.c: two curves of throughput over pool size, fitted to the points: the Universal Scalability Law, and
 * a bounded line for a backend of so many workers, which the law cannot bend sharply enough for.
 *
 * Owns nothing, no I/O, no clock, no state. Deviations are relative (logarithms), since noise is; a point far off
 * the others' curve loses weight (Huber), so that one disturbed size does not bend it. Points without an answer
 * take no part.
 *
 * The law is linear in (1, n - 1, n (n - 1)) after turning it over: n / X; a few weighted least squares. The line is
 * searched: a grid over its knee, then steps that halve. What can fail: too few sizes, or a curve that misses its
 * points by more than BENCH_MISFIT_GOOD: good is false. */
#include "tools/bench_model.h"

#include <math.h>
#include <stdlib.h>

#define POINTS_LEAST 4     /* three parameters, and one to contradict them */
#define HUBER        1.5   /* deviations over so many standard deviations lose weight */
#define ROUNDS       4     /* of weighting anew */
#define SCALE_LEAST  0.005 /* below half a percent nothing is an outlier */

/* ---- what both share ---- */

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double median(const double *v, size_t n, double *room)
{
    memcpy(room, v, n * sizeof *v);
    qsort(room, n, sizeof *room, by_value);
    return n % 2 ? room[n / 2] : (room[n / 2 - 1] + room[n / 2]) / 2;
}

/* Weights from deviations: 1 within HUBER standard deviations of the others, as told by their median, less beyond. */
static void weigh(const double *deviation, double *weight, size_t n)
{
    double size[BENCH_POINTS_MOST], room[BENCH_POINTS_MOST];
    for (size_t i = 0; i < n; i++)
        size[i] = fabs(deviation[i]);
    double scale = fmax(1.4826 * median(size, n, room), SCALE_LEAST); /* of normal noise, from its median */
    for (size_t i = 0; i < n; i++)
        weight[i] = size[i] <= HUBER * scale ? 1 : HUBER * scale / size[i];
}

/* The points that answered, at most BENCH_POINTS_MOST. */
static size_t answering(const struct bench_point *p, size_t n, double *size, double *throughput)
{
    size_t m = 0;
    for (size_t i = 0; i < n && m < BENCH_POINTS_MOST; i++) {
        if (p[i].throughput <= 0 || p[i].size == 0)
            continue;
        size[m] = p[i].size;
        throughput[m++] = p[i].throughput;
    }
    return m;
}

/* How far the fit is off, with the parameters taken off the points; and the part of the variance that it explains. */
static void quality(const double *throughput, const double *fit, const double *weight, size_t n, unsigned parameters,
                    double *misfit, double *r2)
{
    double squares = 0, weights = 0, mean = 0, rest = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        squares += weight[i] * pow(log(throughput[i] / fit[i]), 2);
        weights += weight[i];
        mean += throughput[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        rest += pow(throughput[i] - fit[i], 2);
        all += pow(throughput[i] - mean, 2);
    }
    double freedom = fmax(weights - parameters, 1);
    *misfit = sqrt(squares / freedom);
    *r2 = all > 0 ? 1 - rest / all : 1;
}

/* ---- the Universal Scalability Law ---- */

double bench_usl_at(const struct bench_usl *u, double n)
{
    return u->lambda * n / (1 + u->sigma * (n - 1) + u->kappa * n * (n - 1));
}

/* Weighted least squares of y over the columns that `used` has a bit for; the others' factors are 0. */
static bool solve(double column[][3], const double *y, const double *weight, size_t n, unsigned used, double *out)
{
    double a[3][4] = {{0}};
    size_t at[3], m = 0;
    for (size_t k = 0; k < 3; k++) {
        out[k] = 0;
        if (used >> k & 1)
            at[m++] = k;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m; k++) {
            for (size_t l = 0; l < m; l++)
                a[k][l] += weight[i] * column[i][at[k]] * column[i][at[l]];
            a[k][m] += weight[i] * column[i][at[k]] * y[i];
        }
    for (size_t k = 0; k < m; k++) { /* positive definite unless columns are dependent: no pivot needed */
        if (a[k][k] <= 1e-12)
            return false;
        for (size_t j = 0; j < m; j++) {
            double factor = a[j][k] / a[k][k];
            for (size_t l = k; l <= m && j != k; l++)
                a[j][l] -= factor * a[k][l];
        }
    }
    for (size_t k = 0; k < m; k++)
        out[at[k]] = a[k][m] / a[k][k];
    return out[0] >= 0 && out[1] >= 0 && out[2] >= 0;
}

/* The best of the fits whose factors are not negative: of all three, or without one or both of the last. */
static bool solve_positive(double column[][3], const double *weight, size_t n, double *best)
{
    static const unsigned sets[] = {7, 3, 5, 1};
    double one[BENCH_POINTS_MOST], least = HUGE_VAL, x[3];
    for (size_t i = 0; i < n; i++)
        one[i] = 1;
    for (size_t s = 0; s < la_count(sets); s++) {
        double squares = 0;
        if (!solve(column, one, weight, n, sets[s], x))
            continue;
        for (size_t i = 0; i < n; i++)
            squares += weight[i] * pow(x[0] * column[i][0] + x[1] * column[i][1] + x[2] * column[i][2] - 1, 2);
        if (squares >= least)
            continue;
        least = squares;
        memcpy(best, x, sizeof x);
    }
    return least < HUGE_VAL && best[0] > 0;
}

struct bench_usl bench_usl_fit(const struct bench_point *p, size_t points)
{
    double size[BENCH_POINTS_MOST], x[BENCH_POINTS_MOST], fit[BENCH_POINTS_MOST], off[BENCH_POINTS_MOST],
        weight[BENCH_POINTS_MOST], column[BENCH_POINTS_MOST][3], factor[3] = {0};
    struct bench_usl u = {.misfit = -1};
    size_t n = answering(p, points, size, x);
    if (n < POINTS_LEAST)
        return u;
    for (size_t i = 0; i < n; i++) { /* (a + b (n - 1) + c n (n - 1)) X / n = 1: relative deviations, and linear */
        column[i][0] = x[i] / size[i];
        column[i][1] = column[i][0] * (size[i] - 1);
        column[i][2] = column[i][1] * size[i];
        weight[i] = 1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        if (!solve_positive(column, weight, n, factor))
            return u;
        u.lambda = 1 / factor[0];
        u.sigma = factor[1] / factor[0];
        u.kappa = factor[2] / factor[0];
        for (size_t i = 0; i < n; i++) {
            fit[i] = bench_usl_at(&u, size[i]);
            off[i] = log(x[i] / fit[i]);
        }
        weigh(off, weight, n);
    }
    quality(x, fit, weight, n, 3, &u.misfit, &u.r2);
    u.peak = u.kappa > 0 && u.sigma < 1 ? sqrt((1 - u.sigma) / u.kappa) : 0;
    u.good = u.misfit <= BENCH_MISFIT_GOOD;
    return u;
}

/* ---- the bounded line ---- */

/* Its form for a slope of 1. */
static double shape(const struct bench_knee *k, double n)
{
    double bent = k->round > 0 ? n * pow(1 + pow(n / k->knee, k->round), -1 / k->round) : fmin(n, k->knee);
    return bent / (1 + k->fall * fmax(0, n - k->knee));
}

double bench_knee_at(const struct bench_knee *k, double n)
{
    return k->slope * shape(k, n);
}

struct data {
    const double *size, *x;
    double weight[BENCH_POINTS_MOST];
    size_t n;
};

/* The weighted squares with the slope that is best for this knee, round and fall, which it sets. */
static double squares(const struct data *d, struct bench_knee *k)
{
    double off[BENCH_POINTS_MOST], sum = 0, weights = 0, result = 0;
    for (size_t i = 0; i < d->n; i++) {
        off[i] = log(d->x[i] / shape(k, d->size[i]));
        sum += d->weight[i] * off[i];
        weights += d->weight[i];
    }
    for (size_t i = 0; i < d->n; i++)
        result += d->weight[i] * pow(off[i] - sum / weights, 2);
    k->slope = exp(sum / weights);
    return result;
}

/* Steps in knee and fall that halve until they are below a thousandth. */
static double descend(const struct data *d, struct bench_knee *k, double least)
{
    double highest = 2 * d->size[d->n - 1];
    for (double step = 0.25; step > 0.001; step /= 2) {
        for (bool moved = true; moved;) {
            moved = false;
            for (int way = 0; way < 4; way++) {
                struct bench_knee next = *k;
                if (way < 2)
                    next.knee *= way ? 1 + step : 1 / (1 + step);
                else /* an absolute part, so that it can leave and reach 0 */
                    next.fall = fmax(0, next.fall + (way == 2 ? step : -step) * (next.fall + 0.1 / next.knee));
                double s = next.knee >= d->size[0] && next.knee <= highest ? squares(d, &next) : HUGE_VAL;
                if (s < least * (1 - 1e-9)) {
                    least = s;
                    *k = next;
                    moved = true;
                }
            }
        }
    }
    return least;
}

static void search(const struct data *d, struct bench_knee *best)
{
    static const double rounds[] = {0, 8, 4, 2};
    double least = HUGE_VAL, last = 2 * d->size[d->n - 1];
    for (size_t r = 0; r < la_count(rounds); r++) {
        struct bench_knee k = {.round = rounds[r]}, at = k;
        double here = HUGE_VAL;
        for (double knee = d->size[0]; knee <= last; knee *= 1.2)
            for (double fall = 0; fall <= 0.2; fall = fall * 4 + 0.01) {
                k.knee = knee;
                k.fall = fall / knee;
                double s = squares(d, &k);
                if (s < here) {
                    here = s;
                    at = k;
                }
            }
        here = descend(d, &at, here);
        if (here < least) {
            least = here;
            *best = at;
        }
    }
}

struct bench_knee bench_knee_again(const struct bench_knee *from, const double *size, const double *x, size_t n)
{
    struct data d = {.size = size, .x = x, .n = n};
    struct bench_knee k = *from;
    for (size_t i = 0; i < n; i++)
        d.weight[i] = 1;
    descend(&d, &k, squares(&d, &k));
    return k;
}

struct bench_knee bench_knee_fit(const struct bench_point *p, size_t points)
{
    double size[BENCH_POINTS_MOST], x[BENCH_POINTS_MOST], fit[BENCH_POINTS_MOST], off[BENCH_POINTS_MOST];
    struct bench_knee k = {.misfit = -1};
    struct data d = {.size = size, .x = x, .n = answering(p, points, size, x)};
    if (d.n < POINTS_LEAST)
        return k;
    for (size_t i = 0; i < d.n; i++)
        d.weight[i] = 1;
    for (int round = 0; round < ROUNDS; round++) {
        search(&d, &k); /* anew: a disturbed size bends the first one's knee */
        for (size_t i = 0; i < d.n; i++) {
            fit[i] = bench_knee_at(&k, size[i]);
            off[i] = log(x[i] / fit[i]);
        }
        weigh(off, d.weight, d.n);
    }
    quality(x, fit, d.weight, d.n, 3, &k.misfit, &k.r2);
    k.good = k.misfit <= BENCH_MISFIT_GOOD;
    return k;
}

double bench_model_at(const struct bench_report *r, double size)
{
    return r->model == BENCH_MODEL_USL    ? bench_usl_at(&r->usl, size)
           : r->model == BENCH_MODEL_KNEE ? bench_knee_at(&r->knee, size)
                                          : NAN;
}
