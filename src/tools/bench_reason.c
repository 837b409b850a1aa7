/* bench_reason.c: the verdict in words: one sentence why, and notes on what a reader must know beside it.
 *
 * Owns the text of the report's verdict and decides nothing. No I/O, no clock. Notes over BENCH_NOTES are dropped;
 * those of a verdict come first, so what is dropped are the general ones. */
#include "tools/bench_model.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define LATE_US      1000 /* sent later than meant, */
#define LATE_PART    0.1  /* and by so much of the latency: the load was not the one asked for */
#define CORE_FULL    0.9  /* of a thread's core */
#define BACKEND_IDLE 0.5  /* cores that a backend uses while it cannot be called busy */
#define LITTLE_OFF   0.25
#define LITTLE_LEAST 0.5  /* connections at work; below that the two cannot be compared */
#define BUSY_FULL    0.9
#define MISSES_NOTED 0.05 /* of the gets */

void bench_note(struct bench_report *r, const char *fmt, ...)
{
    struct bench_verdict *v = &r->verdict;
    va_list ap;
    if (v->notes == BENCH_NOTES)
        return;
    va_start(ap, fmt);
    vsnprintf(v->note[v->notes++], BENCH_TEXT, fmt, ap);
    va_end(ap);
}

void bench_refuse(struct bench_report *r, enum bench_answer answer, const char *fmt, ...)
{
    struct bench_verdict *v = &r->verdict;
    size_t n = answer == BENCH_CANNOT_TELL ? (size_t)snprintf(v->reason, sizeof v->reason, "cannot tell: ") : 0;
    va_list ap;
    v->answer = answer;
    v->size = v->bare = 0;
    va_start(ap, fmt);
    vsnprintf(v->reason + n, sizeof v->reason - n, fmt, ap);
    va_end(ap);
}

static double quantile(const struct bench_report *r)
{
    return r->options->slo.us && r->options->slo.quantile > 0 ? r->options->slo.quantile : 0.99;
}

/* One connection carries many requests at a time: at work it says nothing of how many. */
static bool pipelined(const struct bench_report *r)
{
    return r->options->protocol == BENCH_MEMCACHED;
}

/* The measured size that is bare or the next larger one. */
static const struct bench_point *point_at(const struct bench_report *r)
{
    size_t i = 0;
    while (i + 1 < r->points && r->point[i].size < r->verdict.bare)
        i++;
    return &r->point[i];
}

/* ---- the sentence ---- */

static void add(struct bench_report *r, const char *fmt, ...) LA_PRINTF(2, 3);
static void add(struct bench_report *r, const char *fmt, ...)
{
    struct bench_verdict *v = &r->verdict;
    size_t n = strlen(v->reason);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->reason + n, sizeof v->reason - n, fmt, ap);
    va_end(ap);
}

void bench_reason(struct bench_report *r, bool slo)
{
    struct bench_verdict *v = &r->verdict;
    const struct bench_point *p = point_at(r);
    double rate = r->options->rate, ms = (double)r->options->slo.us / 1000, x = p->throughput;
    bool between = p->size != v->bare, carried = rate > 0 && v->best_throughput >= BENCH_NEAR * rate;
    if (between)
        x = bench_model_at(r, v->bare);
    add(r, "%u: ", v->size);
    if (v->bare != v->size)
        add(r, "%u ", v->bare);
    if (carried)
        add(r, "%s the smallest size that carries %.0f requests/s within 3 %% (%.0f)", v->bare != v->size ? "is" : "it is", rate, x);
    else
        add(r, "%s the smallest size within 3 %% of the best throughput (%.0f of %.0f requests/s, the best at %u)",
            v->bare != v->size ? "is" : "it is", x, v->best_throughput, v->best);
    if (between)
        add(r, ", by the curve through the measured sizes around it");
    if (r->options->slo.us && slo && !r->options->rate_auto)
        add(r, ", with p%g %.1f ms within %.1f ms", quantile(r) * 100, p->slo_us / 1000, ms);
    else if (r->options->slo.us && !slo)
        add(r, ", while p%g within %.1f ms was met at no %s", quantile(r) * 100, ms, r->options->rate_auto ? "load" : "size with this throughput");
    if (v->size > v->bare)
        add(r, "; the others are headroom for %g times the load", r->options->burst);
    if (v->size < v->bare)
        add(r, "; more is not allowed, see the notes");
    add(r, ".");
    if (rate > 0 && !carried)
        bench_note(r, "no size carries %.0f requests/s; the size is the one for the most that the backend gives", rate);
    if (!pipelined(r) && p->busy > BUSY_FULL * p->size * (double)(r->backends ? r->backends : 1) && carried)
        bench_note(r, "at this rate %.0f %% of the connections are at work: little is left for more load; see --slo and --burst",
                   p->busy * 100 / p->size / (double)(r->backends ? r->backends : 1));
}

/* ---- notes on all runs ---- */

static bool level_meets(const struct bench_report *r, const struct bench_run *run)
{
    return la_hist_quantile_us(run->latency_us, quantile(r)) <= r->options->slo.us &&
           bench_run_fail_ratio(run) <= BENCH_FAILED_LITTLE;
}

bool bench_levels_miss(const struct bench_report *r)
{
    bool any = false;
    for (size_t i = 0; i < r->runs; i++) {
        const struct bench_run *run = r->run[i];
        if (run->stage != BENCH_LEVEL || run->cut || run->latency_us == NULL || r->options->slo.us == 0)
            continue;
        if (level_meets(r, run))
            return false;
        any = true;
    }
    return any;
}

/* The lowest rate of the levels that missed the SLO, and the highest below it that met it. */
static void note_levels(struct bench_report *r)
{
    double met = 0, missed = HUGE_VAL;
    for (size_t i = 0; i < r->runs; i++) { /* levels rise */
        const struct bench_run *run = r->run[i];
        if (run->stage != BENCH_LEVEL || run->cut || run->latency_us == NULL || r->options->slo.us == 0)
            continue;
        if (!level_meets(r, run))
            missed = fmin(missed, run->rate);
        else if (run->rate < missed)
            met = run->rate;
    }
    double ms = (double)r->options->slo.us / 1000;
    if (met > 0 && missed < HUGE_VAL)
        bench_note(r, "p%g within %.1f ms is met at %.0f requests/s and missed at %.0f", quantile(r) * 100, ms, met, missed);
    else if (met > 0)
        bench_note(r, "p%g within %.1f ms is met at every load up to %.0f requests/s", quantile(r) * 100, ms, met);
    else if (missed < HUGE_VAL)
        bench_note(r, "p%g within %.1f ms is missed from %.0f requests/s on", quantile(r) * 100, ms, missed);
}

static void note_slo(struct bench_report *r)
{
    bool any = false;
    for (size_t i = 0; i < r->points; i++)
        any |= r->point[i].slo_us <= (double)r->options->slo.us;
    if (r->options->slo.us && r->points && !any && !r->options->rate_auto)
        bench_note(r, "p%g within %.1f ms was missed at every size under this load", quantile(r) * 100, (double)r->options->slo.us / 1000);
    note_levels(r);
}

/* Not where the requests wait for one another, since the pool does not carry the rate. */
static bool sent_late(const struct bench_run *run)
{
    if (run->throughput < BENCH_NEAR * run->rate)
        return false;
    uint64_t late = run->late_us ? la_hist_quantile_us(run->late_us, 0.99) : 0;
    return late > LATE_US && (double)late > LATE_PART * (double)la_hist_quantile_us(run->latency_us, 0.99);
}

static void note_generator(struct bench_report *r)
{
    const struct bench_run *late = NULL, *full = NULL;
    for (size_t i = 0; i < r->runs; i++) {
        const struct bench_run *run = r->run[i];
        double cores = run->generator_cpu_s / run->seconds / fmax(1, r->options->threads), backend = run->backend_cpu_s / run->seconds;
        if (run->cut || run->seconds <= 0)
            continue;
        if (sent_late(run))
            late = run;
        if (cores > CORE_FULL && backend < BACKEND_IDLE)
            full = run;
    }
    if (late)
        bench_note(r, "the generator sent late (p99 %.1f ms at size %u): it, not the backend, was the limit there",
                   (double)la_hist_quantile_us(late->late_us, 0.99) / 1000, late->size);
    if (full)
        bench_note(r, "the generator used all of its cores at size %u%s: it may have been the limit; give it more --threads", full->size,
                   full->backend_cpu_s >= 0 ? " while the backend had little to do" : "");
}

static void note_little(struct bench_report *r)
{
    const struct bench_point *p = r->verdict.answer == BENCH_SIZE ? point_at(r) : NULL;
    if (p == NULL || pipelined(r) || p->busy < 0 || p->little < 0 || fmax(p->busy, p->little) < LITTLE_LEAST ||
        fabs(p->busy - p->little) <= LITTLE_OFF * fmax(p->busy, p->little))
        return;
    bench_note(r, "at size %u Little's law (throughput x time) says %.1f connections at work, %.1f were counted: do not trust the times",
               p->size, p->little, p->busy);
}

static void note_failures(struct bench_report *r)
{
    const struct bench_point *worst = NULL;
    for (size_t i = 0; i < r->points; i++)
        if (r->point[i].fail_ratio > 0 && (worst == NULL || r->point[i].fail_ratio > worst->fail_ratio))
            worst = &r->point[i];
    if (worst)
        bench_note(r, "requests failed: %.2g %% at size %u, the most", worst->fail_ratio * 100, worst->size);
}

static void note_misses(struct bench_report *r)
{
    const struct bench_options *o = r->options;
    double hits = 0, misses = 0;
    for (size_t i = 0; i < r->runs; i++) {
        hits += r->run[i]->cut ? 0 : (double)r->run[i]->hits;
        misses += r->run[i]->cut ? 0 : (double)r->run[i]->misses;
    }
    if (misses > MISSES_NOTED * (hits + misses))
        bench_note(r, "%.0f %% of the gets missed: the server does not hold --keys %llu of --value-size %llu; the verdict is about misses",
                   100 * misses / (hits + misses), (unsigned long long)o->keys, (unsigned long long)o->value_bytes);
    if (o->protocol == BENCH_MEMCACHED && r->stored < o->keys)
        bench_note(r, "only %llu of %llu keys could be stored before the first run: give it fewer --keys",
                   (unsigned long long)r->stored, (unsigned long long)o->keys);
}

void bench_notes(struct bench_report *r)
{
    note_slo(r);
    note_generator(r);
    note_misses(r);
    note_little(r);
    note_failures(r);
    if (r->verdict.answer != BENCH_SIZE)
        return;
    if (isnan(r->drift))
        bench_note(r, "the first size was not measured again at the end, so a drift might go unseen");
    if (r->noise < 0)
        bench_note(r, "no size was measured twice, so chance cannot be told from the sizes' effect");
    if (r->model == BENCH_MODEL_NONE)
        bench_note(r, "too few sizes for a model: the verdict is about the measured sizes alone");
}
