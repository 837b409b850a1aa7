/* bench_json.c: a bench's whole report as one JSON object, which every other form of it is made from.
 *
 * Owns the names in it, which are stable. Times of requests are in microseconds, all others in seconds. What is not
 * known is null, never 0 or -1. Does no I/O.
 *
 * Beside what the runs and the verdict say, it adds per size what only all repeats together tell: quantiles of the
 * merged histograms, the split's means, the range of p99. Good path: top to bottom. Nothing can fail. */
#include "tools/bench_model.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define CURVE 60 /* steps in which the model's curve is given */

static const char *const protocol_name[] = {"http", "fastcgi", "memcached"};
static const char *const part_name[] = BENCH_PART_NAMES;
static const char *const stage_name[] = BENCH_STAGE_NAMES;
static const char *const answer_name[] = BENCH_ANSWER_NAMES;
static const char *const model_name[] = BENCH_MODEL_NAMES;

/* ---- words ---- */

static void put(struct la_json *j, const char *key, double v)
{
    la_json_num(j, key, v < 0 ? (double)NAN : v);
}

static void put_count(struct la_json *j, const char *key, uint64_t v)
{
    la_json_int(j, key, (int64_t)v);
}

/* 0 stands for nothing. */
static void put_some(struct la_json *j, const char *key, double v)
{
    la_json_num(j, key, v > 0 ? v : (double)NAN);
}

static void put_text(struct la_json *j, const char *key, const char *v)
{
    if (v && *v)
        la_json_str(j, key, v);
    else
        la_json_null(j, key);
}

static void put_hist(struct la_json *j, const char *key, const struct la_hist *h)
{
    static const struct {
        const char *name;
        double q;
    } quantile[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99_9", 0.999}, {"p99_99", 0.9999}, {"max", 1}};
    uint64_t n = h ? la_stat_get(&h->count) : 0;
    la_json_open(j, key, '{');
    put_count(j, "count", n);
    put(j, "mean", n ? (double)la_stat_get(&h->sum_us) / (double)n : -1);
    for (size_t i = 0; i < la_count(quantile); i++)
        put(j, quantile[i].name, n ? (double)la_hist_quantile_us(h, quantile[i].q) : -1);
    la_json_close(j, '}');
}

/* ---- what was asked for ---- */

static void put_load(struct la_json *j, const struct bench_options *o)
{
    la_json_str(j, "loop", o->clients ? "closed" : o->rate_auto ? "auto" : "open");
    put_some(j, "rate", o->rate);
    la_json_bool(j, "rate_auto", o->rate_auto);
    la_json_str(j, "arrivals", o->poisson ? "poisson" : "constant");
    put_some(j, "clients", o->clients);
    put(j, "keepalive_percent", o->keepalive_percent);
    put_text(j, "method", o->method);
    put_text(j, "path", o->path);
    put_text(j, "host", o->host);
    put_text(j, "headers", o->headers);
    put_text(j, "body_file", o->body_file);
    put_text(j, "requests_file", o->requests_file);
    put_text(j, "replay", o->replay);
    put_text(j, "script", o->script);
    put(j, "speed", o->replay ? o->speed : -1);
    put(j, "set_percent", o->protocol == BENCH_MEMCACHED ? o->set_percent : -1);
    put_some(j, "value_bytes", (double)o->value_bytes);
    put_some(j, "keys", (double)o->keys);
}

static void put_options(struct la_json *j, const struct bench_options *o)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    la_json_open(j, "options", '{');
    la_json_str(j, "protocol", protocol_name[o->protocol]);
    put_text(j, "upstream", o->upstream);
    put_text(j, "source", o->source);
    la_json_open(j, "load", '{');
    put_load(j, o);
    la_json_close(j, '}');
    put(j, "seconds", o->seconds);
    put(j, "warmup", o->warmup);
    put_some(j, "requests", (double)o->requests);
    put_some(j, "max_seconds", o->max_seconds);
    put_some(j, "smallest", o->smallest);
    put_some(j, "largest", o->largest);
    la_json_int(j, "repeats", o->repeats);
    la_json_open(j, "sizes", '[');
    for (size_t i = 0; i < o->sizes; i++)
        la_json_int(j, NULL, o->size[i]);
    la_json_close(j, ']');
    la_json_open(j, "slo", '{');
    put_some(j, "quantile", o->slo.us ? o->slo.quantile : 0);
    put_some(j, "us", (double)o->slo.us);
    la_json_close(j, '}');
    put_some(j, "burst", o->burst);
    put_some(j, "workers", o->workers);
    put_some(j, "threads", o->threads);
    la_json_str(j, "seed", seed); /* 64 bits: more than a JSON number is sure to keep */
    put_text(j, "status_path", o->status_path);
    la_json_close(j, '}');
}

static void put_backends(struct la_json *j, const struct bench_report *r)
{
    char address[LA_ADDR_TEXT];
    la_json_open(j, "backends", '[');
    for (size_t i = 0; i < r->backends; i++) {
        const struct bench_backend *b = &r->backend[i];
        la_json_open(j, NULL, '{');
        la_json_str(j, "name", b->text);
        la_json_str(j, "address", la_addr_text(&b->address, address));
        put(j, "limit", (double)b->limit);
        put_text(j, "limit_name", b->limit_name);
        put_text(j, "about", b->about);
        la_json_bool(j, "local", b->local);
        la_json_close(j, '}');
    }
    la_json_close(j, ']');
}

/* ---- one run ---- */

static void put_split(struct la_json *j, const double mean[BENCH_PARTS], const double *p99)
{
    la_json_open(j, "split", '{');
    for (size_t i = 0; i < BENCH_PARTS; i++) {
        la_json_open(j, part_name[i], '{');
        put(j, "mean_us", mean[i]);
        if (p99)
            put(j, "p99_us", p99[i]);
        la_json_close(j, '}');
    }
    la_json_close(j, '}');
}

/* A row a slice: the first level with an answer, then the answers of it and those above; [] is a slice without one. */
static void put_heat(struct la_json *j, const struct bench_run *run)
{
    size_t slices = LA_LOAD_SLICES;
    la_json_open(j, "heat", '{');
    put_some(j, "slice_s", run->heat_slice_s);
    la_json_open(j, "rows", '[');
    for (bool some = false; slices > 0 && !some; slices -= !some)
        for (size_t l = 0; l < LA_LOAD_LEVELS; l++)
            some |= run->heat[slices - 1][l] > 0;
    for (size_t s = 0; s < slices; s++) {
        const uint32_t *level = run->heat[s];
        size_t first = 0, end = LA_LOAD_LEVELS;
        while (end > 0 && level[end - 1] == 0)
            end--;
        while (first < end && level[first] == 0)
            first++;
        la_json_open(j, NULL, '[');
        if (end > 0)
            put_count(j, NULL, first);
        for (size_t l = first; l < end; l++)
            put_count(j, NULL, level[l]);
        la_json_close(j, ']');
    }
    la_json_close(j, ']');
    la_json_close(j, '}');
}

static void put_resources(struct la_json *j, const struct bench_run *run, size_t backends)
{
    la_json_open(j, "connections", '{');
    put(j, "opened", run->blind ? -1 : (double)run->opened);
    put(j, "closed_by_backend", run->blind ? -1 : (double)run->closed_by_backend);
    put(j, "closed_by_proxy", run->blind ? -1 : (double)run->closed_by_proxy);
    put(j, "busy", run->busy);
    put(j, "utilisation", backends && run->size ? run->busy / run->size / (double)backends : -1);
    la_json_close(j, '}');
    la_json_open(j, "cpu_s", '{');
    put(j, "proxy", run->proxy_cpu_s);
    put(j, "backend", run->backend_cpu_s);
    put(j, "generator", run->generator_cpu_s);
    la_json_close(j, '}');
    la_json_open(j, "ports", '{');
    put_count(j, "open", run->ports_open);
    put_count(j, "time_wait", run->ports_time_wait);
    la_json_close(j, '}');
}

static void put_run(struct la_json *j, const struct bench_run *run, size_t backends)
{
    uint64_t gets = run->hits + run->misses;
    la_json_open(j, NULL, '{');
    la_json_str(j, "stage", stage_name[run->stage]);
    la_json_int(j, "size", run->size);
    la_json_int(j, "repeat", run->repeat);
    put_some(j, "clients", run->clients);
    put_some(j, "rate", run->rate);
    put(j, "begin_s", run->begin_s);
    put(j, "seconds", run->seconds);
    la_json_bool(j, "cut", run->cut);
    put_count(j, "started", run->started);
    put_count(j, "done", run->done);
    put_count(j, "failed", run->failed);
    put(j, "hits", gets > 0 ? (double)run->hits : -1);
    put(j, "misses", gets > 0 ? (double)run->misses : -1);
    put_text(j, "first_failure", run->first_failure);
    put(j, "throughput", run->throughput);
    put_hist(j, "latency_us", run->latency_us);
    put_hist(j, "late_us", run->late_us);
    put_split(j, run->part_mean_us, run->part_p99_us);
    la_json_open(j, "errors", '[');
    for (size_t i = 0; i < BENCH_ERRORS && run->error[i].n; i++) {
        la_json_open(j, NULL, '{');
        la_json_str(j, "cause", run->error[i].cause);
        put_count(j, "n", run->error[i].n);
        la_json_close(j, '}');
    }
    la_json_close(j, ']');
    put_resources(j, run, backends);
    put_heat(j, run);
    la_json_close(j, '}');
}

/* ---- one size over its repeats ---- */

static bool counts(const struct bench_run *run, unsigned size)
{
    return run->stage == BENCH_SWEEP && !run->cut && run->size == size && run->latency_us;
}

/* 95 % of the repeats' p99, of their logarithms: a quantile is never negative and its errors are factors. */
static void put_p99_interval(struct la_json *j, const struct bench_report *r, unsigned size)
{
    double sum = 0, squares = 0, low = -1, high = -1;
    unsigned n = 0;
    for (size_t i = 0; i < r->runs; i++) {
        double p99 = counts(r->run[i], size) ? (double)la_hist_quantile_us(r->run[i]->latency_us, 0.99) : 0;
        if (p99 <= 0)
            continue;
        n++;
        sum += log(p99);
        squares += log(p99) * log(p99);
    }
    if (n > 1) {
        double mean = sum / n, half = bench_student(0.95, n - 1) * sqrt(fmax(0, squares - sum * mean) / (n - 1) / n);
        low = exp(mean - half);
        high = exp(mean + half);
    }
    put(j, "p99_low_us", low);
    put(j, "p99_high_us", high);
}

static void put_together(struct la_json *j, const struct bench_report *r, unsigned size)
{
    struct la_hist *all = la_xcalloc(1, sizeof *all);
    struct bench_split split = {0};
    double mean[BENCH_PARTS];
    for (size_t i = 0; i < r->runs; i++) {
        const struct bench_run *run = r->run[i];
        if (!counts(run, size))
            continue;
        la_hist_add(all, run->latency_us);
        bench_split_add(&split, run);
    }
    for (int p = 0; p < BENCH_PARTS; p++)
        mean[p] = bench_split_mean_us(&split, (enum bench_part)p);
    put_hist(j, "latency_us", all);
    put_split(j, mean, NULL);
    free(all);
}

static void put_point(struct la_json *j, const struct bench_report *r, const struct bench_point *p)
{
    la_json_open(j, NULL, '{');
    la_json_int(j, "size", p->size);
    la_json_int(j, "runs", p->runs);
    put(j, "throughput", p->throughput);
    put(j, "low", p->low);
    put(j, "high", p->high);
    put(j, "slo_us", p->slo_us);
    put(j, "fail_ratio", p->fail_ratio);
    put(j, "busy", p->busy);
    put(j, "little", p->little);
    put(j, "utilisation", r->backends && p->size ? p->busy / p->size / (double)r->backends : -1);
    put_together(j, r, p->size);
    put_p99_interval(j, r, p->size);
    la_json_close(j, '}');
}

/* ---- what is concluded ---- */

static void put_curve(struct la_json *j, const struct bench_report *r)
{
    la_json_open(j, "curve", '[');
    for (unsigned i = 0; r->model != BENCH_MODEL_NONE && r->points > 1 && i <= CURVE; i++) {
        double from = r->point[0].size, to = r->point[r->points - 1].size, size = from * pow(to / from, (double)i / CURVE);
        la_json_open(j, NULL, '[');
        la_json_num(j, NULL, size);
        la_json_num(j, NULL, bench_model_at(r, size));
        la_json_close(j, ']');
    }
    la_json_close(j, ']');
}

static void put_model(struct la_json *j, const struct bench_report *r)
{
    bool usl = r->usl.lambda > 0, knee = r->knee.slope > 0;
    la_json_str(j, "model", model_name[r->model]);
    put_curve(j, r);
    la_json_open(j, "usl", '{');
    put_some(j, "lambda", r->usl.lambda);
    la_json_num(j, "sigma", usl ? r->usl.sigma : (double)NAN);
    la_json_num(j, "kappa", usl ? r->usl.kappa : (double)NAN);
    put_some(j, "peak", r->usl.peak);
    la_json_num(j, "r2", usl ? r->usl.r2 : (double)NAN);
    put(j, "misfit", usl ? r->usl.misfit : -1);
    la_json_bool(j, "good", r->usl.good);
    la_json_close(j, '}');
    la_json_open(j, "knee", '{');
    put_some(j, "slope", r->knee.slope);
    put_some(j, "knee", r->knee.knee);
    put(j, "fall", knee ? r->knee.fall : -1);
    put(j, "round", knee ? r->knee.round : -1);
    la_json_num(j, "r2", knee ? r->knee.r2 : (double)NAN);
    put(j, "misfit", knee ? r->knee.misfit : -1);
    la_json_bool(j, "good", r->knee.good);
    la_json_close(j, '}');
    la_json_num(j, "drift", r->drift);
    put(j, "noise", r->noise);
    put(j, "swing", r->swing);
}

static void put_verdict(struct la_json *j, const struct bench_verdict *v)
{
    bool size = v->answer == BENCH_SIZE;
    la_json_open(j, "verdict", '{');
    la_json_str(j, "answer", answer_name[v->answer]);
    put_some(j, "size", size ? v->size : 0);
    put_some(j, "bare", size ? v->bare : 0);
    put_some(j, "low", size ? v->low : 0);
    put_some(j, "high", size ? v->high : 0);
    put_some(j, "best", v->best);
    put_some(j, "best_throughput", v->best ? v->best_throughput : 0);
    put_some(j, "capacity", v->capacity);
    put_text(j, "reason", v->reason);
    put_text(j, "config", v->config);
    la_json_open(j, "notes", '[');
    for (size_t i = 0; i < v->notes; i++)
        la_json_str(j, NULL, v->note[i]);
    la_json_close(j, ']');
    la_json_close(j, '}');
}

static void put_heat_levels(struct la_json *j)
{
    la_json_open(j, "heat_levels_us", '[');
    for (unsigned l = 0; l < LA_LOAD_LEVELS; l++)
        put_count(j, NULL, la_load_level_low_us(l));
    la_json_close(j, ']');
}

void bench_json(const struct bench_report *r, struct la_text *out)
{
    struct la_json j;
    struct tm utc;
    char began[32] = "";
    if (gmtime_r(&r->began, &utc))
        strftime(began, sizeof began, "%Y-%m-%dT%H:%M:%SZ", &utc);
    la_json_init(&j, out);
    la_json_open(&j, NULL, '{');
    la_json_int(&j, "version", BENCH_VERSION);
    la_json_str(&j, "began", began);
    put(&j, "seconds", r->seconds);
    la_json_bool(&j, "interrupted", r->interrupted);
    put_text(&j, "failure", r->failure);
    put_verdict(&j, &r->verdict);
    put_options(&j, r->options);
    put_backends(&j, r);
    put(&j, "ports", (double)r->ports);
    put_model(&j, r);
    la_json_open(&j, "points", '[');
    for (size_t i = 0; i < r->points; i++)
        put_point(&j, r, &r->point[i]);
    la_json_close(&j, ']');
    put_heat_levels(&j);
    la_json_open(&j, "runs", '[');
    for (size_t i = 0; i < r->runs; i++)
        put_run(&j, r->run[i], r->backends);
    la_json_close(&j, ']');
    la_json_raw(&j, "environment", r->environment.n ? la_slice(r->environment.p, r->environment.n) : LA_SLICE("null"));
    la_json_close(&j, '}');
}
