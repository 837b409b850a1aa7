/* bench_view.c: what the terminal shows: a live line while runs go on, and the table at the end.
 *
 * Owns the terminal's line (standard error; only if it is a terminal). Numbers are those of the report. Nothing can
 * fail. */
#include "tools/bench_model.h"

#include <math.h>
#include <unistd.h>

static bool tty(void)
{
    static int known = -1;
    if (known < 0)
        known = isatty(STDERR_FILENO) ? 1 : 0;
    return known;
}

void bench_view_live(const struct bench_live *l)
{
    char rate[32] = "warming up";
    if (!tty())
        return;
    if (!l->warming)
        snprintf(rate, sizeof rate, "%.0f/s", l->rate);
    fprintf(stderr, "\r\033[K  run %u of %u   pool %u   %s   p99 %.1f ms   %s%.0f:%02.0f left", l->run, l->runs, l->size, rate,
            l->p99_ms, l->failed ? "failures!   " : "", floor(l->left_s / 60), floor(fmod(l->left_s, 60)));
    fflush(stderr);
}

void bench_view_end(void)
{
    if (tty())
        fputs("\r\033[K", stderr);
}

/* ---- the table ---- */

/* Of the runs that know it. */
struct mean {
    double sum, over;
};

/* All runs of a stage and size, added up. */
struct row {
    struct la_hist latency;
    double throughput;
    struct bench_split split;
    struct mean busy, proxy_cpu, backend_cpu;
    uint64_t failed;
    unsigned runs;
};

static void take(struct mean *m, double v, double over)
{
    m->sum += v < 0 ? 0 : v;
    m->over += v < 0 ? 0 : over;
}

static void add(struct row *w, const struct bench_run *run)
{
    la_hist_add(&w->latency, run->latency_us);
    bench_split_add(&w->split, run);
    w->throughput += run->throughput;
    take(&w->busy, run->busy, 1);
    take(&w->proxy_cpu, run->proxy_cpu_s, run->seconds);
    take(&w->backend_cpu, run->backend_cpu_s, run->seconds);
    w->failed += run->failed;
    w->runs++;
}

static double ms(const struct row *w, double q)
{
    return (double)la_hist_quantile_us(&w->latency, q) / 1000;
}

static void cpu(struct mean m)
{
    if (m.over > 0)
        printf(" %4.0f%%", m.sum / m.over * 100);
    else
        printf("     -");
}

static void part(double us)
{
    if (us >= 0)
        printf(" %7.2f", us / 1000);
    else
        printf("       -");
}

static void print_row(const struct row *w, const char *label)
{
    double n = w->runs;
    printf("  %8s %8.0f  %7.2f %7.2f %7.2f ", label, w->throughput / n, ms(w, 0.5), ms(w, 0.99), ms(w, 1));
    for (int i = 0; i < BENCH_PARTS; i++)
        part(bench_split_mean_us(&w->split, (enum bench_part)i));
    if (w->busy.over > 0)
        printf("  %5.1f", w->busy.sum / w->busy.over);
    else
        printf("      -");
    cpu(w->proxy_cpu);
    cpu(w->backend_cpu);
    printf(" %6llu\n", (unsigned long long)w->failed);
}

static void head(const char *first)
{
    printf("\n  %8s %8s  %23s  %31s  %5s %11s\n", "", "", "latency, ms", "mean time, ms", "", "CPU");
    printf("  %8s %8s  %7s %7s %7s  %7s %7s %7s %7s  %5s %5s %5s %6s\n", first, "per s", "p50", "p99", "max", "queue", "connect",
           "backend", "proxy", "busy", "proxy", "backd", "failed");
}

static void sizes(const struct bench_report *r)
{
    unsigned after = 0;
    head("pool.max");
    for (;;) {
        unsigned size = UINT32_MAX;
        for (size_t i = 0; i < r->runs; i++)
            if (r->run[i]->stage == BENCH_SWEEP && !r->run[i]->cut && r->run[i]->size > after && r->run[i]->size < size)
                size = r->run[i]->size;
        if (size == UINT32_MAX)
            return;
        struct row w = {0};
        for (size_t i = 0; i < r->runs; i++)
            if (r->run[i]->stage == BENCH_SWEEP && !r->run[i]->cut && r->run[i]->size == size)
                add(&w, r->run[i]);
        for (size_t i = 0; i < r->points; i++)
            if (r->point[i].size == size) /* without what time did */
                w.throughput = r->point[i].throughput * w.runs;
        char label[24];
        snprintf(label, sizeof label, "%s%u", size == r->verdict.bare && r->verdict.answer == BENCH_SIZE ? "> " : "", size);
        print_row(&w, label);
        after = size;
    }
}

static void levels(const struct bench_report *r)
{
    bool any = false;
    for (size_t i = 0; i < r->runs; i++) {
        if (r->run[i]->stage != BENCH_LEVEL || r->run[i]->cut)
            continue;
        if (!any)
            printf("\n  Pool of %u, requests at a steady rate:", r->run[i]->size);
        if (!any)
            head("rate");
        any = true;
        struct row w = {0};
        char label[24];
        add(&w, r->run[i]);
        snprintf(label, sizeof label, "%.0f", r->run[i]->rate);
        print_row(&w, label);
    }
}

static void errors(const struct bench_report *r)
{
    bool any = false;
    for (size_t i = 0; i < r->runs; i++)
        for (size_t k = 0; k < BENCH_ERRORS && r->run[i]->error[k].n; k++) {
            bool seen = false; /* in an earlier run */
            uint64_t sum = 0;
            for (size_t j = 0; j < r->runs; j++)
                for (size_t e = 0; e < BENCH_ERRORS && r->run[j]->error[e].n; e++)
                    if (strcmp(r->run[j]->error[e].cause, r->run[i]->error[k].cause) == 0) {
                        seen |= j < i;
                        sum += r->run[j]->error[e].n;
                    }
            if (seen)
                continue;
            printf("%s %s %llu", any ? "," : "\n  Failures:", r->run[i]->error[k].cause, (unsigned long long)sum);
            any = true;
        }
    if (any)
        printf("\n");
}

void bench_view_table(const struct bench_report *r)
{
    if (r->runs) {
        sizes(r);
        levels(r);
        errors(r);
    }
    printf("\n");
    if (r->interrupted && r->runs)
        printf("  Interrupted; from what was measured until then:\n");
    if (r->failure[0])
        printf("  %s\n", r->failure);
    else
        printf("  %s\n", r->verdict.reason);
    for (size_t i = 0; i < r->verdict.notes; i++)
        printf("  Note: %s\n", r->verdict.note[i]);
    if (r->verdict.answer == BENCH_SIZE && !r->failure[0])
        printf("\n%s\n", r->verdict.config);
    printf("\n");
}
