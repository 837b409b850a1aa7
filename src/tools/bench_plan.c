/* bench_plan.c: which run comes next: sizes by powers of two, then closer around the knee, each some times and in random
 * order, then the first one again, then the chosen one at parts of the capacity.
 *
 * Owns: the sizes and the order. No I/O, no clock; what it knows of the results are the report's points, as the last judging left them.
 *
 * Good path: every power of two once, further up while the best is among the two largest; then the gap below the knee (the
 * smallest size close to the best) is halved until it is small, and the one behind the best where it falls off, each new size in turn with a repeat of an old one, so that
 * no size is only measured late; then the repeats that are left. When they move the knee, its gap is halved again. Sizes
 * that were given are measured as they are. Where all that scatters too much for a verdict, each is measured again some times.
 * Nothing can fail. */
#include "tools/bench.h"

#include <stdlib.h>

#define SIZES     64
#define CLOSE     0.96 /* of the best throughput: the knee */
#define MORE_REPEATS 3 /* times as many, when chance hides the answer */
#define GAP       0.06 /* of the knee: small enough */
#define FIRST_TOP 32   /* the powers of two up to here are measured in any case */

enum part { PART_SWEEP, PART_DRIFT, PART_LEVELS, PART_OVER };
static const double level[] = {0.5, 0.7, 0.85, 0.95};

struct bench_plan {
    const struct bench_options *o;
    struct {
        unsigned size, begun; /* runs */
    } at[SIZES];
    size_t sizes;
    enum part part;
    unsigned first, levels, repeats;
    uint64_t random;
    bool was_new; /* the last run was of a new size */
};

static bool add(struct bench_plan *p, unsigned size)
{
    for (size_t i = 0; i < p->sizes; i++)
        if (p->at[i].size == size)
            return false;
    if (p->sizes == SIZES)
        return false;
    p->at[p->sizes].begun = 0;
    p->at[p->sizes++].size = size;
    return true;
}

static unsigned top(const struct bench_plan *p)
{
    unsigned most = 0;
    for (size_t i = 0; i < p->sizes; i++)
        most = p->at[i].size > most ? p->at[i].size : most;
    return most;
}

struct bench_plan *bench_plan_new(const struct bench_options *o)
{
    struct bench_plan *p = la_xcalloc(1, sizeof *p);
    p->o = o;
    p->random = o->seed;
    p->repeats = o->repeats;
    for (size_t i = 0; i < o->sizes; i++)
        add(p, o->size[i]);
    unsigned from = o->smallest, first_top = from > FIRST_TOP / 4 ? from * 4 : FIRST_TOP;
    for (unsigned s = from; o->sizes == 0 && s <= o->largest && s <= first_top; s *= 2)
        add(p, s);
    return p;
}

/* ---- what the runs say ---- */

/* What a size gives, what time did taken off; negative: it was not measured. met: the latency is within the objective. */
static double throughput(const struct bench_plan *p, const struct bench_report *r, unsigned size, bool *met)
{
    double found = -1;
    unsigned n = 0, over = 0;
    for (size_t i = 0; i < r->points; i++)
        found = r->point[i].size == size ? r->point[i].throughput : found;
    for (size_t i = 0; i < r->runs; i++) {
        const struct bench_run *run = r->run[i];
        if (run->stage != BENCH_SWEEP || run->cut || run->size != size)
            continue;
        n++;
        over += p->o->slo.us && !p->o->rate_auto && la_hist_quantile_us(run->latency_us, p->o->slo.quantile) > p->o->slo.us;
    }
    *met = over * 2 <= n;
    return found;
}

/* The smallest size close to the best that meets the objective, and its next smaller neighbour (0: none). */
static unsigned knee(const struct bench_plan *p, const struct bench_report *r, unsigned *below, unsigned *best_size)
{
    double best = 0;
    unsigned found = 0;
    bool met, any = false;
    for (size_t i = 0; i < p->sizes; i++) {
        double x = throughput(p, r, p->at[i].size, &met);
        if (x > best) {
            best = x;
            *best_size = p->at[i].size;
        }
        any |= x >= 0 && met;
    }
    for (size_t i = 0; i < p->sizes; i++) {
        double x = throughput(p, r, p->at[i].size, &met);
        if (x >= CLOSE * best && (met || !any) && (found == 0 || p->at[i].size < found))
            found = p->at[i].size;
    }
    *below = 0;
    for (size_t i = 0; i < p->sizes; i++)
        if (p->at[i].size < found && p->at[i].size > *below)
            *below = p->at[i].size;
    return found;
}

/* ---- the next one ---- */

static bool take(struct bench_plan *p, size_t i, struct bench_run *out)
{
    out->stage = BENCH_SWEEP;
    out->size = p->at[i].size;
    out->repeat = p->at[i].begun++;
    p->was_new = out->repeat == 0;
    if (p->first == 0)
        p->first = out->size;
    return true;
}

/* One of the sizes that were begun at least `from` and less than `to` times, any of them. */
static bool take_any(struct bench_plan *p, unsigned from, unsigned to, struct bench_run *out)
{
    size_t fit[SIZES], n = 0;
    for (size_t i = 0; i < p->sizes; i++)
        if (p->at[i].begun >= from && p->at[i].begun < to)
            fit[n++] = i;
    return n > 0 && take(p, fit[la_random(&p->random) % n], out);
}

static unsigned neighbour_above(const struct bench_plan *p, unsigned size)
{
    unsigned found = 0;
    for (size_t i = 0; i < p->sizes; i++)
        if (p->at[i].size > size && (found == 0 || p->at[i].size < found))
            found = p->at[i].size;
    return found;
}

static bool wide(unsigned low, unsigned high)
{
    return high - low > 1 && high - low > GAP * high;
}

/* A new size is due: further up, in the gap below the knee, or behind the best. */
static bool widen(struct bench_plan *p, const struct bench_report *r)
{
    unsigned below, best = 0, most = top(p), found = knee(p, r, &below, &best);
    if (p->o->sizes)
        return false;
    if (best > most / 4 && most < p->o->largest)
        return add(p, most * 2 < p->o->largest ? most * 2 : p->o->largest);
    if (found > p->o->smallest && wide(below, found))
        return add(p, below + (found - below) / 2);
    /* Beyond the best it may have been better still, if it falls from there on. */
    unsigned above = neighbour_above(p, best);
    bool met;
    if (above && wide(best, above) && throughput(p, r, above, &met) < CLOSE * throughput(p, r, best, &met))
        return add(p, best + (above - best) / 2);
    return false;
}

static bool sweep(struct bench_plan *p, const struct bench_report *r, struct bench_run *out)
{
    if (take_any(p, 0, 1, out))
        return true;
    if (p->was_new && take_any(p, 1, p->repeats, out))
        return true;
    if (widen(p, r) && take_any(p, 0, 1, out))
        return true;
    return take_any(p, 1, p->repeats, out);
}

bool bench_plan_next(struct bench_plan *p, const struct bench_report *r, struct bench_run *out)
{
    if (p->part == PART_SWEEP) {
        if (sweep(p, r, out))
            return true;
        if (r->verdict.answer == BENCH_CANNOT_TELL && r->verdict.scatters && p->repeats < MORE_REPEATS * p->o->repeats) {
            p->repeats += p->o->repeats;
            return sweep(p, r, out);
        }
        p->part = PART_DRIFT;
    }
    if (p->part == PART_DRIFT) {
        p->part = p->o->rate_auto ? PART_LEVELS : PART_OVER;
        out->stage = BENCH_DRIFT;
        out->size = p->first;
        return true;
    }
    if (p->part == PART_LEVELS && r->verdict.answer == BENCH_SIZE && p->levels < la_count(level)) {
        out->stage = BENCH_LEVEL;
        out->size = r->verdict.size;
        out->rate = level[p->levels++];
        return true;
    }
    p->part = PART_OVER;
    return false;
}

unsigned bench_plan_left(const struct bench_plan *p)
{
    unsigned left = p->o->rate_auto && p->part <= PART_LEVELS ? (unsigned)la_count(level) - p->levels : 0;
    for (size_t i = 0; i < p->sizes && p->part == PART_SWEEP; i++)
        left += p->repeats > p->at[i].begun ? p->repeats - p->at[i].begun : 0;
    return left + (p->part <= PART_DRIFT);
}

void bench_plan_free(struct bench_plan *p)
{
    free(p);
}
