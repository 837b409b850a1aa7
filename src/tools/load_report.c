/* load_report.c: the load generator's result as one JSON object, and what counts as a failure.
 *
 * Owns nothing; reads a finished la_load_result. Any thread. */
#include "tools/load.h"

#include <stdio.h>

uint64_t la_load_failures(const struct la_load_result *r)
{
    return r->n.refused + r->n.unreachable + r->n.no_port + r->n.connect_other + r->n.reset +
           r->n.eof_before + r->n.truncated + r->n.timeout + r->n.malformed + r->n.extra_bytes + r->n.mixed +
           r->n.unfinished + r->n.shed + r->n.status_4xx + r->n.status_5xx;
}

/* Within the bucket the values are taken to lie evenly. */
static double quantile_us(const struct la_hist *h, double q)
{
    uint64_t rank = (uint64_t)(q * (double)h->count), seen = 0;
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++) {
        uint64_t n = la_stat_get(&h->bucket[i]);
        if (seen + n > rank) {
            double low = (double)la_hist_bucket_low_us(i), wide = (double)la_hist_bucket_low_us(i + 1) - low;
            return low + wide * ((double)(rank - seen) + 0.5) / (double)n;
        }
        seen += n;
    }
    return (double)la_hist_max_us(h);
}

static void put_hist(struct la_json *j, const char *key, const struct la_hist *h)
{
    static const struct {
        const char *name;
        double q;
    } quantile[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"p99_99", 0.9999}};
    la_json_open(j, key, '{');
    la_json_int(j, "count", (int64_t)h->count);
    la_json_num(j, "mean", h->count ? (double)h->sum_us / (double)h->count : 0);
    for (size_t i = 0; i < la_count(quantile); i++)
        la_json_num(j, quantile[i].name, quantile_us(h, quantile[i].q));
    la_json_int(j, "max", (int64_t)la_hist_max_us(h));
    la_json_close(j, '}');
}

void la_load_json(const struct la_load_result *r, struct la_text *out)
{
    struct la_json j;
    la_json_init(&j, out);
    la_json_open(&j, NULL, '{');
    double seconds = (double)r->elapsed_ns / 1e9;
    la_json_num(&j, "seconds", seconds);
    la_json_num(&j, "per_second", seconds > 0 ? (double)r->n.done / seconds : 0);
    double window = (double)r->window_ns / 1e9;
    la_json_num(&j, "timely_per_second", window > 0 ? (double)r->n.timely / window : 0);
    la_json_int(&j, "failures", (int64_t)la_load_failures(r));
#define X(name) la_json_int(&j, #name, (int64_t)r->n.name);
    LA_LOAD_COUNTS(X)
#undef X
    la_json_open(&j, "status", '{');
    for (size_t s = 0; s < la_count(r->status); s++) {
        char code[24];
        snprintf(code, sizeof(code), "%zu", s);
        if (r->status[s])
            la_json_int(&j, code, (int64_t)r->status[s]);
    }
    la_json_close(&j, '}');
    put_hist(&j, "latency_us", &r->latency_us);
    put_hist(&j, "connect_us", &r->connect_us);
    put_hist(&j, "late_us", &r->late_us);
    put_hist(&j, "life_us", &r->life_us);
    la_json_str(&j, "first_failure", r->first_failure);
    la_json_close(&j, '}');
}
