/* bench_compare.c: two reports side by side, and whether the new one is worse.
 *
 * Owns the two parsed texts. Knows no bench and no clock: what it says comes from the JSON alone, so that an old report
 * compares as well as a new one. Worse is: less throughput or a longer p99 at a size that both measured, beyond
 * both 95 % intervals, and by more than a histogram's bucket can be off (1/32).
 *
 * Good path: parse both, hold what was asked of whom, how and on which CPU against each other, a row a size, one
 * sentence. What can fail: a text is no report, or another version's; nothing was measured; different things were. All
 * are "not comparable", with why. */
#include "tools/bench.h"

#include "lastack/json_read.h"

#include <stdarg.h>

#define NEAR (1.0 / LA_HIST_SUB)

typedef const struct la_json_value *value;

enum { NOT_WORSE, WORSE, NOT_COMPARABLE };
enum side { OLD, NEW };

struct compare {
    value report[2];
    FILE *out;
    unsigned judged, worse, better; /* figures of sizes */
};

static value at(value v, const char *first, const char *second)
{
    v = la_json_get(v, first);
    return second ? la_json_get(v, second) : v;
}

static int refuse(struct compare *c, const char *fmt, ...)
{
    va_list ap;
    fprintf(c->out, "not comparable: ");
    va_start(ap, fmt);
    vfprintf(c->out, fmt, ap);
    va_end(ap);
    fprintf(c->out, "\n");
    return NOT_COMPARABLE;
}

/* ---- is it the same that was measured? ---- */

static const char *text_of(value v, char buf[BENCH_TEXT])
{
    if (v == NULL || v->kind == LA_JSON_NULL)
        return "nothing";
    if (v->kind == LA_JSON_BOOL)
        return v->number != 0 ? "yes" : "no";
    snprintf(buf, BENCH_TEXT, "%.15g", v->number);
    return la_json_string(v, buf);
}

static bool same(value a, value b)
{
    char x[BENCH_TEXT], y[BENCH_TEXT];
    return strcmp(text_of(a, x), text_of(b, y)) == 0;
}

/* Says the first member of this object that differs. */
static int hold(struct compare *c, const char *what, value old_object, value new_object)
{
    char x[BENCH_TEXT], y[BENCH_TEXT];
    for (int side = OLD; side <= NEW; side++)
        for (value v = side == OLD ? old_object ? old_object->child : NULL : new_object ? new_object->child : NULL; v; v = v->next) {
            value a = la_json_get(old_object, v->key), b = la_json_get(new_object, v->key);
            if (!same(a, b))
                return refuse(c, "%s %s was %s, is %s", what, v->key, text_of(a, x), text_of(b, y));
        }
    return NOT_WORSE;
}

static int hold_one(struct compare *c, const char *what, const char *first, const char *second)
{
    char x[BENCH_TEXT], y[BENCH_TEXT];
    value a = at(c->report[OLD], first, second), b = at(c->report[NEW], first, second);
    return same(a, b) ? NOT_WORSE : refuse(c, "%s was %s, is %s", what, text_of(a, x), text_of(b, y));
}

/* measured: the new report too holds sizes. */
static int comparable(struct compare *c, bool measured)
{
    for (int side = OLD; side <= NEW; side++) {
        const char *which = side == OLD ? "old" : "new";
        double version = la_json_number(la_json_get(c->report[side], "version"), 0);
        value points = la_json_get(c->report[side], "points");
        if (version != BENCH_VERSION || points == NULL)
            return refuse(c, "the %s text is not a report of lastack bench that this version reads", which);
        if (points->child == NULL && (side == OLD || measured))
            return refuse(c, "the %s report has measured no size%s%s", which, la_json_get(c->report[side], "failure") ? ": " : "",
                          la_json_string(la_json_get(c->report[side], "failure"), ""));
    }
    static const struct {
        const char *what, *key;
    } one[] = {{"the protocol", "protocol"}, {"the upstream", "upstream"}, {"the source", "source"}, {"the warm-up", "warmup"},
               {"seconds a run", "seconds"}, {"the number of workers", "workers"}, {"the number of threads", "threads"}};
    int differs = NOT_WORSE;
    for (size_t i = 0; i < la_count(one) && !differs; i++)
        differs = hold_one(c, one[i].what, "options", one[i].key);
    if (!differs)
        differs = hold(c, "the load's", at(c->report[OLD], "options", "load"), at(c->report[NEW], "options", "load"));
    if (!differs)
        differs = hold(c, "the CPU's", at(c->report[OLD], "environment", "cpu"), at(c->report[NEW], "environment", "cpu"));
    return differs;
}

/* ---- size by size ---- */

struct figure {
    double value, low, high; /* negative: unknown */
};

static struct figure throughput_of(value point)
{
    return (struct figure){la_json_number(la_json_get(point, "throughput"), -1), la_json_number(la_json_get(point, "low"), -1),
                           la_json_number(la_json_get(point, "high"), -1)};
}

static struct figure p99_of(value point)
{
    double unit = 1000; /* us to ms */
    return (struct figure){la_json_number(at(point, "latency_us", "p99"), -unit) / unit,
                           la_json_number(la_json_get(point, "p99_low_us"), -unit) / unit,
                           la_json_number(la_json_get(point, "p99_high_us"), -unit) / unit};
}

/* 1: the new one is more beyond both intervals, -1: less, 0: neither can be told; known: the intervals are there. */
static int beyond(struct figure a, struct figure b, bool *known)
{
    *known = a.low >= 0 && b.low >= 0 && a.high >= 0 && b.high >= 0 && a.value > 0 && b.value > 0;
    if (!*known)
        return 0;
    return b.low > a.high && b.value > a.value * (1 + NEAR) ? 1 : b.high < a.low && b.value < a.value * (1 - NEAR) ? -1 : 0;
}

static void cell(struct compare *c, double v)
{
    if (v < 0)
        fprintf(c->out, " %10s", "-");
    else
        fprintf(c->out, " %10.*f", v >= 100 ? 0 : 2, v);
}

static void pair(struct compare *c, struct figure a, struct figure b, bool more_is_worse)
{
    bool known;
    int way = beyond(a, b, &known) * (more_is_worse ? 1 : -1);
    cell(c, a.value);
    cell(c, b.value);
    if (a.value > 0 && b.value > 0)
        fprintf(c->out, " %+8.1f %%", 100 * (b.value / a.value - 1));
    else
        fprintf(c->out, " %10s", "");
    fprintf(c->out, more_is_worse ? " %s" : " %-6s", way > 0 ? "worse" : way < 0 ? "better" : known ? "same" : "?");
    c->judged += known;
    c->worse += way > 0;
    c->better += way < 0;
}

static value point_of(value report, double size)
{
    value p = la_json_get(report, "points")->child;
    while (p && la_json_number(la_json_get(p, "size"), 0) != size)
        p = p->next;
    return p;
}

/* Of the generator, when this size was measured. */
static double clients_of(value report, double size)
{
    value list = la_json_get(report, "runs"), run = list ? list->child : NULL;
    while (run && la_json_number(la_json_get(run, "size"), 0) != size)
        run = run->next;
    return la_json_number(la_json_get(run, "clients"), 0);
}

static void rows(struct compare *c)
{
    fprintf(c->out, "%8s %10s %10s %10s %-6s %10s %10s\n", "pool.max", "per second", "now", "", "", "p99 ms", "now");
    for (double size = 1; size <= BENCH_SIZE_MAX; size++) {
        value a = point_of(c->report[OLD], size), b = point_of(c->report[NEW], size);
        if (a == NULL && b == NULL)
            continue;
        fprintf(c->out, "%8.0f", size);
        pair(c, throughput_of(a), throughput_of(b), false);
        struct figure before = p99_of(a), now = p99_of(b);
        if (clients_of(c->report[OLD], size) != clients_of(c->report[NEW], size)) /* more clients wait longer */
            before.low = now.low = -1;
        pair(c, before, now, true);
        fprintf(c->out, "\n");
    }
}

static void sizes_chosen(struct compare *c)
{
    char x[BENCH_TEXT], y[BENCH_TEXT];
    value a = at(c->report[OLD], "verdict", "size"), b = at(c->report[NEW], "verdict", "size");
    fprintf(c->out, "chosen: pool.max was %s, is %s\n", text_of(a, x), text_of(b, y));
}

static int judge(struct compare *c)
{
    rows(c);
    sizes_chosen(c);
    if (c->judged == 0)
        return refuse(c, "no size was measured twice or more in both");
    if (c->worse) {
        fprintf(c->out, "worse: %u of %u figures, beyond their 95 %% intervals\n", c->worse, c->judged);
        return WORSE;
    }
    fprintf(c->out, "not worse: %u of %u figures are better, none is worse beyond its 95 %% interval\n", c->better, c->judged);
    return NOT_WORSE;
}

static int compare(const char *old_json, const char *new_json, FILE *out, bool measured)
{
    size_t where[2];
    struct la_json_value *tree[2] = {la_json_parse(old_json, &where[OLD]), la_json_parse(new_json, &where[NEW])};
    struct compare c = {.report = {tree[OLD], tree[NEW]}, .out = out};
    int verdict = NOT_COMPARABLE;
    if (tree[OLD] == NULL || tree[NEW] == NULL)
        refuse(&c, "the %s report is not JSON at byte %zu", tree[OLD] ? "new" : "old", where[tree[OLD] ? NEW : OLD]);
    else
        verdict = comparable(&c, measured);
    if (verdict == NOT_WORSE && measured)
        verdict = judge(&c);
    la_json_free(tree[OLD]);
    la_json_free(tree[NEW]);
    return verdict;
}

int bench_compare(const char *old_json, const char *new_json, FILE *out)
{
    return compare(old_json, new_json, out, true);
}

bool bench_comparable(const char *old_json, const char *new_json, FILE *out)
{
    return compare(old_json, new_json, out, false) == NOT_WORSE;
}
