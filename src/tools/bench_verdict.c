/* bench_verdict.c: which size, or why none can be said.
 *
 * Owns the report's points, fits and verdict. No I/O, no clock, no chance: the same runs give the same verdict.
 *
 * Good path: points, both curves, what time did. Nothing failed, nothing drifted, the better curve fits: the smallest
 * size at which it is within 3 % of the best (or of --rate), as far as the points can tell; how far chance could have
 * moved that size, by fitting again with noise like the repeats' own. Then the SLO, which is only ever read off
 * measured sizes; then headroom, as long as it costs nothing; then what backend and ports can bear.
 *
 * A size between two measured ones is said only where the curve passes close by both. With fewer sizes than a curve
 * needs, the verdict is one of the measured ones. */
#include "tools/bench_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MATERIAL      0.20 /* of the first size, measured again; a smaller change moves no verdict */
#define SWING_NOTED   0.05 /* less is nobody's concern */
#define SWING_MOST    0.30 /* of the speed over time, which is taken off the points: up to here they stay right */
#define NOISE_MOST    0.06 /* of a size's mean: more says nothing */
#define SIZE_OFF_MOST 0.15 /* how far chance may move the size before it is no answer */
#define SLACK_MOST    (1 - BENCH_NEAR)
#define FAILED_MOST   0.5
#define PORTS_PART    0.8  /* of the ports that may be in use, as `lastack doctor` warns */
#define QUEUE_DEFAULT 1024 /* conf/reference.yaml: queue.length */
#define BURST_S       1.0  /* a burst that the queue holds lasts so long */
#define AGAIN         100  /* fits with noise */
#define STILL_RISING  1.25 /* a quarter more connections */

struct judge {
    struct bench_report *r;
    struct bench_time time;
    double best;    /* of the curve within the measured sizes, or of the points */
    double target;  /* throughput that is enough */
    double slack;   /* what the points cannot tell apart, as a part of the target */
    unsigned roof;  /* largest size that is still enough */
    bool by_model;
};

static unsigned first_size(const struct bench_report *r)
{
    return r->point[0].size;
}
static unsigned last_size(const struct bench_report *r)
{
    return r->point[r->points - 1].size;
}

/* ---- what failed ---- */

static bool timed(const struct bench_run *r)
{
    return !r->cut && r->seconds > 0;
}

/* The commonest cause of run's errors (NULL: of all runs'). */
static const char *cause_of(const struct bench_report *r, const struct bench_run *run, char text[64])
{
    uint64_t most = 0;
    snprintf(text, 64, "no cause known");
    for (size_t i = 0; i < r->runs; i++)
        for (size_t k = 0; k < BENCH_ERRORS && r->run[i]->error[k].n && (run == NULL || run == r->run[i]); k++) {
            if (r->run[i]->error[k].n <= most)
                continue;
            most = r->run[i]->error[k].n;
            snprintf(text, 64, "mostly %.40s", r->run[i]->error[k].cause);
        }
    return text;
}

static bool failed(struct bench_report *r)
{
    const struct bench_run *last = NULL;
    double good = 0, least = 1;
    char cause[64];
    if (r->failure[0])
        return bench_refuse(r, BENCH_FAILED, "%s", r->failure), true;
    for (size_t i = 0; i < r->runs; i++) {
        if (!timed(r->run[i]))
            continue;
        good += bench_run_good(r->run[i]);
        if (last == NULL || r->run[i]->begin_s > last->begin_s)
            last = r->run[i];
    }
    if (last && good <= 0)
        return bench_refuse(r, BENCH_FAILED, "the backend gave no good answer at any size: %s", cause_of(r, NULL, cause)), true;
    if (last && bench_run_good(last) <= 0)
        return bench_refuse(r, BENCH_FAILED, "the backend gave no good answer any more from %.0f s on: %s", last->begin_s,
                            cause_of(r, last, cause)),
               true;
    for (size_t i = 0; i < r->points; i++)
        least = fmin(least, r->point[i].fail_ratio);
    if (r->points && least > FAILED_MOST)
        return bench_refuse(r, BENCH_FAILED, "at least %.0f %% of the answers were errors at every size: %s", least * 100,
                            cause_of(r, NULL, cause)),
               true;
    return false;
}

/* ---- what speaks against any verdict ---- */

static bool moved(double change, double interval)
{
    return fabs(change) > fmax(MATERIAL, interval);
}

static double runs_of_a_size(const struct bench_report *r)
{
    double runs = 0;
    for (size_t i = 0; i < r->points; i++)
        runs += r->point[i].runs;
    return fmax(1, runs / (double)r->points);
}

static bool drifted(struct judge *j)
{
    const struct bench_time *t = &j->time;
    if (!isnan(t->drift) && moved(t->drift, t->drift_interval))
        return bench_refuse(j->r, BENCH_CANNOT_TELL,
                            "the backend's speed drifts: the first size, measured again at the end, gave %+.1f %%, where "
                            "chance explains %.1f %% at most",
                            t->drift * 100, fmax(0, t->drift_interval) * 100),
               true;
    if (t->waves && t->swing > fmax(SWING_MOST, t->swing_interval))
        return bench_refuse(j->r, BENCH_CANNOT_TELL,
                            "the backend's speed drifts: between its slowest and its fastest time, sizes apart, lie %.0f %%", t->swing * 100),
               true;
    if (t->waves && t->swing > fmax(SWING_NOTED, t->swing_interval))
        bench_note(j->r, "the backend's speed changed meanwhile: %.0f %% lie between its slowest and its fastest time, the sizes' "
                         "throughputs are what is left without that", t->swing * 100);
    j->r->verdict.scatters = t->noise / sqrt(runs_of_a_size(j->r)) > NOISE_MOST;
    if (j->r->verdict.scatters)
        return bench_refuse(j->r, BENCH_CANNOT_TELL,
                            "runs of the same size differ by %.0f %% (standard deviation), more than the sizes can be told "
                            "apart by: measure longer (--seconds, --repeats), or when the backend has nothing else to do",
                            t->noise * 100),
               true;
    return false;
}

/* False: no model, though there are sizes enough for one. */
static bool choose_model(struct bench_report *r)
{
    bool usl = r->usl.good, knee = r->knee.good;
    r->model = usl && (!knee || r->usl.misfit <= r->knee.misfit) ? BENCH_MODEL_USL : knee ? BENCH_MODEL_KNEE : BENCH_MODEL_NONE;
    if (r->model != BENCH_MODEL_NONE)
        return true;
    if (r->usl.misfit < 0 && r->knee.misfit < 0)
        return true;
    double best = fmin(r->usl.misfit, r->knee.misfit);
    bench_refuse(r, BENCH_CANNOT_TELL,
                 "throughput follows neither the Universal Scalability Law nor a backend with so many workers: the better curve "
                 "misses the measured sizes by %.0f %%",
                 best * 100);
    return false;
}

/* ---- the smallest size that is enough ---- */

/* By a curve; last + 1: none. */
static unsigned smallest(const struct bench_report *r, double target)
{
    unsigned n = first_size(r), last = last_size(r);
    while (n <= last && bench_model_at(r, n) < target)
        n++;
    return n;
}

/* What a size gives: what the curve says, and where it was measured the middle between that and what it gave. */
static double gives(const struct bench_report *r, unsigned n)
{
    for (size_t i = 0; i < r->points; i++)
        if (r->point[i].size == n && r->point[i].throughput > 0)
            return sqrt(r->point[i].throughput * bench_model_at(r, n));
    return bench_model_at(r, n);
}

static double curve_best(const struct bench_report *r)
{
    double best = 0;
    for (unsigned n = first_size(r); n <= last_size(r); n++)
        best = fmax(best, bench_model_at(r, n));
    return best;
}

/* What is enough: 3 % below the best, or below the rate that is asked for and reached. */
static double enough(const struct bench_report *r, double best)
{
    double rate = r->options->rate;
    return BENCH_NEAR * (rate > 0 ? fmin(rate, best) : best);
}

/* Normal noise: twelve uniform numbers, less their mean; a fixed seed. */
static double normal(uint64_t *seed)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += (double)(la_random(seed) >> 11) / 9007199254740992.0; /* 2^53 */
    return sum;
}

static int by_number(const void *a, const void *b)
{
    const unsigned *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The sizes between which the answer lies when the points are moved as the repeats were. */
static void interval(const struct judge *j, unsigned *low, unsigned *high)
{
    struct bench_report again = *j->r; /* another fit; everything else is read alone */
    double size[BENCH_POINTS_MOST], x[BENCH_POINTS_MOST];
    struct bench_point point[BENCH_POINTS_MOST] = {{0}};
    unsigned answer[AGAIN];
    uint64_t seed = 88172645463325252ull;
    size_t n = again.points < BENCH_POINTS_MOST ? again.points : BENCH_POINTS_MOST;
    double misfit = again.model == BENCH_MODEL_USL ? again.usl.misfit : again.knee.misfit;
    for (size_t k = 0; k < AGAIN; k++) {
        for (size_t i = 0; i < n; i++) {
            double noise = fmax(misfit, fmax(0, j->time.noise) / sqrt(j->r->point[i].runs));
            size[i] = point[i].size = j->r->point[i].size;
            x[i] = point[i].throughput = bench_model_at(j->r, size[i]) * exp(noise * normal(&seed));
        }
        if (again.model == BENCH_MODEL_USL)
            again.usl = bench_usl_fit(point, n);
        else
            again.knee = bench_knee_again(&j->r->knee, size, x, n);
        answer[k] = smallest(&again, enough(&again, curve_best(&again)) * (1 - j->slack));
    }
    qsort(answer, AGAIN, sizeof *answer, by_number);
    *low = answer[AGAIN * 25 / 1000];
    *high = answer[AGAIN - 1 - AGAIN * 25 / 1000];
}

/* One size more or less is always allowed: a whole number cannot be nearer. */
static bool too_wide(unsigned low, unsigned middle, unsigned high)
{
    return (low + 1 < middle && low < middle * (1 - SIZE_OFF_MOST)) || (high > middle + 1 && high > middle * (1 + SIZE_OFF_MOST));
}

static unsigned most_allowed(struct bench_report *r, const struct bench_backend **by)
{
    unsigned most = BENCH_SIZE_MAX;
    *by = NULL;
    for (size_t i = 0; i < r->backends; i++) {
        int64_t limit = r->backend[i].limit;
        if (limit < 0 || limit - 1 >= most)
            continue;
        most = limit > 1 ? (unsigned)(limit - 1) : 1; /* one stays free for others, as `lastack check --probe` asks */
        *by = &r->backend[i];
    }
    if (r->ports >= 0 && (double)r->ports * PORTS_PART < most) {
        most = (unsigned)fmax(1, (double)r->ports * PORTS_PART);
        *by = NULL;
    }
    return most;
}

/* Throughput at a size larger than all that were measured: by the curve, else as the last two sizes go on. */
static double beyond(const struct judge *j, double size)
{
    const struct bench_report *r = j->r;
    const struct bench_point *last = &r->point[r->points - 1], *before = last - 1;
    if (j->by_model)
        return bench_model_at(r, size);
    return last->throughput + (last->throughput - before->throughput) * (size - last->size) / (last->size - before->size);
}

/* Would a larger size than all that were measured be better, and may it be had? */
static bool still_rises(struct judge *j)
{
    struct bench_report *r = j->r;
    const struct bench_backend *by;
    double rate = r->options->rate, more = beyond(j, last_size(r) * STILL_RISING);
    if ((rate > 0 && j->best >= BENCH_NEAR * rate) || most_allowed(r, &by) <= last_size(r) || more * BENCH_NEAR <= j->best)
        return false;
    bench_refuse(r, BENCH_CANNOT_TELL, "throughput still rises at %u, the largest size measured: measure larger ones (--max)", last_size(r));
    return true;
}

/* As near to it as chance lets it be. */
static bool on_curve(const struct judge *j, const struct bench_point *p)
{
    double chance = 2 * fmax(0, j->time.noise) / sqrt(p->runs);
    return p->throughput > 0 && fabs(log(p->throughput / bench_model_at(j->r, p->size))) <= fmax(BENCH_MISFIT_GOOD, chance);
}

/* Where the curve misses the measured sizes around its answer, they are right: the next one that was seen to be enough. */
static void mistrust_curve(struct judge *j)
{
    struct bench_report *r = j->r;
    struct bench_verdict *v = &r->verdict;
    size_t i = 0;
    while (r->point[i].size < v->bare)
        i++;
    if (on_curve(j, &r->point[i]) && (r->point[i].size == v->bare || i == 0 || on_curve(j, &r->point[i - 1])))
        return;
    while (i < r->points && r->point[i].throughput < j->target * (1 - j->slack))
        i++;
    if (i == r->points || r->point[i].size == v->bare)
        return;
    bench_note(r, "the curve says %u, but misses the sizes measured around it; %u is the next that was seen to be enough", v->bare,
               r->point[i].size);
    v->bare = v->low = v->high = r->point[i].size;
}

static bool by_curve(struct judge *j)
{
    struct bench_verdict *v = &j->r->verdict;
    v->bare = smallest(j->r, j->target * (1 - j->slack));
    la_assert(v->bare <= last_size(j->r));
    for (unsigned n = first_size(j->r); n < v->bare; n++)
        if (gives(j->r, n) >= j->target * (1 - j->slack))
            v->bare = n;
    interval(j, &v->low, &v->high);
    if (too_wide(v->low, v->bare, v->high)) {
        v->scatters = true;
        bench_refuse(j->r, BENCH_CANNOT_TELL,
                     "the measured sizes scatter too much: the answer lies anywhere between %u and %u; measure longer "
                     "(--seconds, --repeats)",
                     v->low, v->high);
        return false;
    }
    mistrust_curve(j);
    for (j->roof = v->bare; j->roof < last_size(j->r) && bench_model_at(j->r, j->roof + 1) >= j->target * (1 - j->slack);)
        j->roof++;
    return true;
}

static void by_points(struct judge *j)
{
    struct bench_report *r = j->r;
    size_t i = 0, k;
    while (r->point[i].throughput < j->target * (1 - j->slack))
        i++;
    for (k = i; k + 1 < r->points && r->point[k + 1].throughput >= j->target * (1 - j->slack);)
        k++;
    r->verdict.bare = r->verdict.low = r->verdict.high = r->point[i].size;
    j->roof = r->point[k].size;
}

/* ---- the SLO ---- */

static bool meets(const struct bench_report *r, const struct bench_point *p)
{
    bool judged = r->options->slo.us && !r->options->rate_auto; /* as fast as it goes there is always a queue: the levels say */
    return p->throughput > 0 && p->fail_ratio <= BENCH_FAILED_LITTLE && (!judged || p->slo_us <= (double)r->options->slo.us);
}

/* Moves bare up to a size that was seen to meet the SLO without failures, if one that is enough was. An unmeasured
 * size meets it when the sizes around it do. */
static bool heed_slo(struct judge *j)
{
    struct bench_report *r = j->r;
    struct bench_verdict *v = &r->verdict;
    size_t i = 0;
    while (r->point[i].size < v->bare)
        i++;
    bool measured = r->point[i].size == v->bare;
    if (!meets(r, &r->point[i]) || (!measured && i > 0 && !meets(r, &r->point[i - 1]))) {
        while (i < r->points && r->point[i].size <= j->roof && !meets(r, &r->point[i]))
            i++;
        if (i == r->points || r->point[i].size > j->roof)
            return false;
        bench_note(r, "%u would do for the throughput, but misses the SLO or fails requests; %u is the next size that does not", v->bare,
                   r->point[i].size);
        v->bare = v->low = v->high = r->point[i].size;
    }
    for (; i < r->points && r->point[i].size <= j->roof; i++)
        if (!meets(r, &r->point[i])) /* headroom ends before it */
            j->roof = i > 0 && r->point[i - 1].size > v->bare ? r->point[i - 1].size : v->bare;
    return !r->options->rate_auto || !bench_levels_miss(r);
}

/* ---- from the bare size to the one to set ---- */

static void set_size(struct judge *j)
{
    struct bench_report *r = j->r;
    struct bench_verdict *v = &r->verdict;
    const struct bench_backend *by;
    double burst = fmax(1, r->options->burst);
    unsigned wanted = (unsigned)fmin(BENCH_SIZE_MAX, ceil(v->bare * burst)), most = most_allowed(r, &by);
    v->size = wanted < j->roof ? wanted : j->roof;
    if (v->size < wanted)
        bench_note(r, "headroom for %g times the load would be %u; more than %u gains nothing, the queue holds the rest", burst, wanted,
                   v->size);
    if (v->size <= most)
        return;
    if (by)
        bench_note(r, "lowered from %u: %s of %s is %lld, and one place must stay free for others", v->size, by->limit_name, by->text,
                   (long long)by->limit);
    else
        bench_note(r, "lowered from %u: the sources have %lld ports for one backend, and a fifth must stay free", v->size,
                   (long long)r->ports);
    v->size = most;
}

static void write_config(const struct judge *j)
{
    struct bench_report *r = j->r;
    struct bench_verdict *v = &r->verdict;
    double burst = fmax(1, r->options->burst), load = r->options->rate > 0 ? r->options->rate : j->best;
    double able = j->by_model ? bench_model_at(r, v->size) : j->best, length = ceil((burst * load - able) * BURST_S);
    int n = snprintf(v->config, sizeof v->config, "pool: { max: %u }\n", v->size);
    if (length > QUEUE_DEFAULT && able > 0)
        snprintf(v->config + n, sizeof v->config - (size_t)n, "queue: { length: %.0f, timeout: %.0fs }\n", length,
                 ceil(length / able) + BURST_S);
}

/* The best that was measured, and whether that is the backend's capacity. */
static void set_best(struct judge *j)
{
    struct bench_report *r = j->r;
    const struct bench_point *best = &r->point[0];
    for (size_t i = 1; i < r->points; i++)
        if (r->point[i].throughput > best->throughput)
            best = &r->point[i];
    r->verdict.best = best->size;
    r->verdict.best_throughput = best->throughput;
    r->verdict.capacity = -1;
    j->best = j->by_model ? curve_best(r) : best->throughput;
    j->target = enough(r, j->best);
    j->slack = fmin(SLACK_MOST, fmax(0, j->time.noise) / sqrt(best->runs));
}

/* Good answers in all runs of the size that has most of them. */
static double most_answers(const struct bench_report *r)
{
    double most = 0;
    for (size_t i = 0; i < r->runs; i++) {
        double sum = 0;
        for (size_t k = 0; k < r->runs; k++)
            if (r->run[k]->size == r->run[i]->size)
                sum += bench_run_good(r->run[k]);
        most = fmax(most, sum);
    }
    return most;
}

static void conclude(struct judge *j)
{
    struct bench_report *r = j->r;
    double rate = r->options->rate;
    if (r->points < 2) {
        bench_refuse(r, BENCH_CANNOT_TELL, "%s", r->points ? "one size alone says nothing about the others" : "no size was measured");
        return;
    }
    if (most_answers(r) < BENCH_ANSWERS_LEAST) {
        bench_refuse(r, BENCH_CANNOT_TELL, "no size was answered more than %.0f times, and %d is the least that says something: measure longer "
                     "(--seconds), or more (--rate, --clients)", most_answers(r), BENCH_ANSWERS_LEAST);
        return;
    }
    if (drifted(j) || !choose_model(r))
        return;
    j->by_model = r->model != BENCH_MODEL_NONE;
    set_best(j);
    if (still_rises(j))
        return;
    if (j->by_model && !by_curve(j))
        return;
    if (!j->by_model)
        by_points(j);
    r->verdict.answer = BENCH_SIZE;
    bool slo = heed_slo(j);
    unsigned clients = r->options->clients;
    if (clients && clients <= r->verdict.bare * r->backends)
        bench_note(r, "%u clients never have more than %u requests under way: what the backend bears beyond that was not seen", clients, clients);
    else if (r->verdict.bare < last_size(r) && (rate <= 0 || j->best < BENCH_NEAR * rate))
        r->verdict.capacity = j->best;
    set_size(j);
    write_config(j);
    bench_reason(r, slo);
}

void bench_judge(struct bench_report *r)
{
    struct judge j = {.r = r, .time = bench_time_of(r->run, r->runs)};
    free(r->point);
    r->points = bench_points(r->run, r->runs, r->options->slo, &j.time, &r->point);
    r->usl = bench_usl_fit(r->point, r->points);
    r->knee = bench_knee_fit(r->point, r->points);
    r->model = BENCH_MODEL_NONE;
    r->drift = j.time.drift;
    r->noise = j.time.noise;
    r->swing = j.time.waves ? j.time.swing : -1;
    r->verdict = (struct bench_verdict){.answer = BENCH_CANNOT_TELL, .best_throughput = -1, .capacity = -1};
    if (!failed(r))
        conclude(&j);
    bench_notes(r);
}
