/* bench_hdr.c: latency as HdrHistogram's percentile text (.hgrm): Value in ms, Percentile, TotalCount, 1/(1-Percentile).
 *
 * Owns the files that it writes: one a size, all repeats of the sweep together, because the format and its plotters know
 * one histogram a file. Values are the upper ends of buckets, as everywhere in the report.
 *
 * Good path: for each size, merge, then a row each time the count passes the next percentile; five rows per halving of
 * what is left, as HdrHistogram and wrk2 do. What can fail: the file cannot be written; then the rest is not tried. */
#include "tools/bench.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define TICKS 5 /* per halving of the distance to 100 % */

/* The percentile after this one. */
static double next_level(double level)
{
    double halvings = floor(log2(100 / (100 - level))) + 1;
    return level + 100 / (TICKS * exp2(halvings));
}

static double bucket_ms(size_t bucket)
{
    return (double)(la_hist_bucket_low_us(bucket + 1) - 1) / 1000;
}

static void rows(const struct la_hist *h, uint64_t total, FILE *out)
{
    double level = 0;
    uint64_t seen = 0;
    for (size_t i = 0; i < LA_HIST_BUCKETS && seen < total; i++) {
        seen += la_stat_get(&h->bucket[i]);
        for (; la_stat_get(&h->bucket[i]) && seen < total && 100 * (double)seen >= level * (double)total; level = next_level(level))
            fprintf(out, "%12.3f %2.12f %10llu %14.2f\n", bucket_ms(i), level / 100, (unsigned long long)seen, 100 / (100 - level));
        if (seen == total && total > 0)
            fprintf(out, "%12.3f %2.12f %10llu\n", bucket_ms(i), 1.0, (unsigned long long)seen);
    }
}

static void summary(const struct la_hist *h, uint64_t total, FILE *out)
{
    double mean = 0, squares = 0, n = total ? (double)total : 1;
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++)
        mean += (double)la_stat_get(&h->bucket[i]) * bucket_ms(i) / n;
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++)
        squares += (double)la_stat_get(&h->bucket[i]) * (bucket_ms(i) - mean) * (bucket_ms(i) - mean) / n;
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean, sqrt(squares));
    fprintf(out, "#[Max     = %12.3f, Total count    = %12llu]\n", (double)la_hist_max_us(h) / 1000, (unsigned long long)total);
    fprintf(out, "#[Buckets = %12d, SubBuckets     = %12d]\n", LA_HIST_BUCKETS / LA_HIST_SUB, LA_HIST_SUB);
}

/* lat.hgrm, 16: lat-16.hgrm */
static char *file_name(const char *path, unsigned size)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    int stem = (int)(dot ? dot - path : (ptrdiff_t)strlen(path));
    return la_xasprintf("%.*s-%u%s", stem, path, size, dot ? dot : "");
}

static bool write_size(const struct bench_report *r, unsigned size, const char *path)
{
    struct la_hist *all = la_xcalloc(1, sizeof *all);
    char *name = file_name(path, size);
    for (size_t i = 0; i < r->runs; i++)
        if (r->run[i]->stage == BENCH_SWEEP && !r->run[i]->cut && r->run[i]->size == size)
            la_hist_add(all, r->run[i]->latency_us);
    uint64_t total = la_hist_count_le(all, UINT64_MAX);
    FILE *f = fopen(name, "we");
    bool good = f != NULL;
    if (f) {
        fprintf(f, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
        rows(all, total, f);
        summary(all, total, f);
        good = !ferror(f);
        good &= fclose(f) == 0;
    }
    int e = errno;
    free(name);
    free(all);
    errno = e;
    return good;
}

bool bench_hdr(const struct bench_report *r, const char *path)
{
    for (size_t i = 0; i < r->points; i++)
        if (!write_size(r, r->point[i].size, path))
            return false;
    return true;
}
