/* bench.c: `lastack bench`: what size should this pool be? The order of things.
 *
 * Owns: the report and its runs. Measures nothing itself.
 *
 * Good path: look at the backends, a few requests to see that they answer, then run after run as the plan says, each
 * judged with those before it; the report in all forms asked for. Failures: backends that cannot be reached, that answer
 * with errors or die midway end it with a sentence and without a verdict. SIGINT, SIGTERM and SIGHUP end it too, in all
 * cases what was measured is reported. One thread, but for each run's load. */
#include "tools/bench_model.h"

#include "tools/bench_requests.h"
#include "tools/tools.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRY_REQUESTS 8
#define TRY_S        30.0 /* for all of them */
#define ANSWERS      3    /* that each connection shall give in a run */
#define QUEUE_S      0.2  /* what the smallest pool may make a client wait */
#define RUN_EXTRA_S  0.15 /* what starting and stopping takes */
#define WARM_TIMES   2    /* as long as a request took: its first answers come when that is over */

struct bench {
    struct bench_options o;
    struct bench_report r;
    struct bench_plan *plan;
    struct bench_requests asks;
    double try_s, median_s; /* what a request took when it was tried out, on average and mostly */
    double warmup;          /* of a run: as asked for, longer where requests are slow */
    uint64_t from_ns;
};

static double since(const struct bench *b)
{
    return (double)(la_clock_ns() - b->from_ns) / 1e9;
}

static void show(void *arg, const struct bench_live *l, double left_s)
{
    struct bench *b = arg;
    struct bench_live live = *l;
    unsigned after = bench_plan_left(b->plan);
    live.run = (unsigned)b->r.runs + 1;
    live.runs = live.run + after;
    live.left_s = left_s + after * (b->warmup + b->o.seconds + RUN_EXTRA_S);
    if (b->o.max_seconds > 0)
        live.left_s = fmin(live.left_s, fmax(0, b->o.max_seconds - since(b)));
    bench_view_live(&live);
}

/* The errors of a run, most frequent first: "status_503 1200, timeout 3". */
static void list_errors(const struct bench_run *run, char *out, size_t out_n)
{
    size_t n = 0;
    out[0] = 0;
    for (uint64_t below = UINT64_MAX, most; n < out_n; below = most) {
        most = 0;
        for (size_t i = 0; i < BENCH_ERRORS; i++)
            most = run->error[i].n < below ? la_max64(most, run->error[i].n) : most;
        if (most == 0)
            return;
        for (size_t i = 0; i < BENCH_ERRORS && n < out_n; i++)
            if (run->error[i].n == most)
                n += (size_t)snprintf(out + n, out_n - n, "%s%s %llu", n ? ", " : "", run->error[i].cause,
                                      (unsigned long long)most);
    }
}

/* Is this run worth something? False: r->failure. Once it is tried out, what a size fails is the verdict's to weigh. */
static bool worth(struct bench *b, const struct bench_task *t, const struct bench_run *run, const char *when)
{
    char why[256], errors[200];
    struct bench_report *r = &b->r;
    double good = bench_run_good(run), failed = (double)run->failed, most = t->tries ? 1 : HUGE_VAL;
    if (failed <= 0 && good > 0)
        return true;
    list_errors(run, errors, sizeof errors);
    if (!bench_backend_alive(r, why, sizeof why))
        snprintf(r->failure, sizeof r->failure, "The backend died %s: %s. No size can be named.", when, why);
    else if (good + failed <= 0)
        snprintf(r->failure, sizeof r->failure, "The backend takes connections but answered nothing within %g s %s. No size can be named.",
                 t->warmup + t->seconds, when);
    else if (good <= 0 || failed > most * good)
        snprintf(r->failure, sizeof r->failure, "The backend answers with errors: %.0f of %.0f requests failed %s (%s%s%s). No size can be named.",
                 failed, good + failed, when, errors, run->first_failure[0] ? "; first: " : "",
                 run->first_failure);
    return r->failure[0] == 0;
}

/* Could a run see an answer? A connection's first one comes when a request's time is over, at any size. */
static bool long_enough(struct bench *b)
{
    double run_s = b->o.warmup + b->o.seconds;
    if (b->median_s < run_s) /* the first one may have started things up */
        return true;
    snprintf(b->r.failure, sizeof b->r.failure,
             "A request took %.2g s when it was tried out, and a run has %g s to see an answer: give it --seconds %g or more. Nothing was measured.",
             b->median_s, run_s, ceil(ANSWERS * b->median_s * 10) / 10);
    return false;
}

/* A few requests, one after the other, so that nobody waits minutes to learn of a wrong path. */
static bool try_out(struct bench *b)
{
    struct bench_report *r = &b->r;
    struct bench_run *run = bench_run_new();
    struct bench_task task = {.r = r, .bench_from_ns = b->from_ns, .seconds = TRY_S, .requests = TRY_REQUESTS, .asks = &b->asks,
                              .tries = true};
    run->size = 1;
    run->clients = 1;
    if (b->o.protocol == BENCH_MEMCACHED) { /* each key is stored once; each worker needs a connection */
        run->size = b->o.workers;
        task.requests = b->o.keys;
        run->clients = (unsigned)la_min64(16, b->o.keys);
    }
    bool done = bench_run_do(&task, run, r->failure, sizeof r->failure);
    bool good = done && (run->cut || worth(b, &task, run, "when it was tried out"));
    r->stored = run->stored;
    r->interrupted |= done && run->cut;
    if (r->interrupted)
        snprintf(r->failure, sizeof r->failure, "It was interrupted before anything was measured.");
    if (run->latency_us->count)
        b->try_s = (double)run->latency_us->sum_us / 1e6 / (double)run->latency_us->count;
    b->median_s = (double)la_hist_quantile_us(run->latency_us, 0.5) / 1e6;
    bench_run_free(run);
    return good && !r->interrupted;
}

/* ---- the runs ---- */

/* What the chosen size gives, which limits may have made smaller than the best. */
static double capacity_of(const struct bench_report *r, unsigned size)
{
    const struct bench_verdict *v = &r->verdict;
    double most = v->capacity > 0 ? v->capacity : v->best_throughput;
    for (size_t i = 0; i < r->points; i++)
        if (r->point[i].size == size)
            return fmin(most, r->point[i].throughput);
    return r->model == BENCH_MODEL_NONE ? most : fmin(most, bench_model_at(r, size));
}

/* Closed: enough that a request waits whenever a connection comes free. Open: one for each that may be under way. */
static void set_load(struct bench *b, struct bench_run *run)
{
    unsigned places = run->size * (unsigned)b->r.backends;
    run->rate = run->stage == BENCH_LEVEL ? run->rate * capacity_of(&b->r, run->size) : b->o.rate;
    if (run->rate > 0)
        run->clients = (unsigned)fmin(4000, fmax(64, run->rate * fmax(2, WARM_TIMES * b->median_s)));
    else if (b->o.clients)
        run->clients = b->o.clients;
    else /* as many at all sizes where they are quick, so that only the pool makes a difference */
        run->clients = (unsigned)fmin(12000, fmax(places * 2.0 + 8, fmin(64, exp2(round(log2(QUEUE_S / fmax(b->try_s, 1e-4)))))));
    if (run->clients < b->o.threads)
        run->clients = b->o.threads;
}

static void keep(struct bench_report *r, struct bench_run *run)
{
    r->run = la_xrealloc(r->run, (r->runs + 1) * sizeof *r->run);
    r->run[r->runs++] = run;
}

/* False: no more of them. */
static bool one_run(struct bench *b)
{
    struct bench_report *r = &b->r;
    struct bench_run *run = bench_run_new();
    struct bench_task task = {.r = r, .bench_from_ns = b->from_ns, .warmup = b->warmup, .seconds = b->o.seconds,
                              .requests = b->o.requests, .asks = &b->asks, .timed = b->o.own_times, .step = b->o.quiet ? NULL : show, .arg = b};
    if (!bench_plan_next(b->plan, r, run)) {
        bench_run_free(run);
        return false;
    }
    set_load(b, run);
    bool good = bench_run_do(&task, run, r->failure, sizeof r->failure);
    r->interrupted |= good && run->cut;
    char when[80];
    snprintf(when, sizeof when, "in run %zu (pool.max %u)", r->runs + 1, run->size);
    good = good && !run->cut && worth(b, &task, run, when);
    if (run->seconds > 0)
        keep(r, run);
    else /* it ended before anything was measured */
        bench_run_free(run);
    return good;
}

/* What is other than asked for: the warm-up, and what of the file is not used. */
static void tell_what_differs(struct bench *b)
{
    if (b->warmup > b->o.warmup)
        bench_note(&b->r, "a request took %.2g s when it was tried out: each run warms up for %.2g s, so that the first answers come before "
                          "it is measured", b->median_s, b->warmup);
    if (b->asks.left_out)
        bench_note(&b->r, "%llu lines of %s hold nothing that can be asked again (GET, HEAD and OPTIONS can) and are left out",
                   (unsigned long long)b->asks.left_out, b->o.replay);
    if (b->asks.untimed)
        bench_note(&b->r, "%llu lines of %s have no time that can be read and are left out", (unsigned long long)b->asks.untimed,
                   b->o.replay);
    if (b->asks.cut)
        bench_note(&b->r, "%s holds more than %u requests: the first ones were used", b->o.replay ? b->o.replay : b->o.requests_file,
                   BENCH_REQUESTS_MOST);
}

static void measure(struct bench *b)
{
    struct bench_report *r = &b->r;
    b->plan = bench_plan_new(&b->o);
    while (!r->interrupted && one_run(b)) {
        r->seconds = since(b);
        bench_judge(r);
        if (b->o.max_seconds > 0 && r->seconds + b->warmup + b->o.seconds > b->o.max_seconds)
            break;
    }
    bench_view_end();
    r->interrupted |= bench_wait(0);
    bench_judge(r);
    tell_what_differs(b);
    bench_plan_free(b->plan);
}

/* ---- the end ---- */

static bool read_file(const char *path, struct la_text *out)
{
    FILE *f = fopen(path, "re");
    char buf[65536];
    if (!f)
        return false;
    for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;)
        la_text_add(out, buf, n);
    bool good = !ferror(f);
    fclose(f);
    la_text_add(out, "", 0); /* an empty file is a text too */
    return good;
}

static bool is_stdout(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

static bool write_file(const char *path, const struct la_text *t)
{
    FILE *f = is_stdout(path) ? stdout : fopen(path, "we");
    bool good = f && fwrite(t->p, 1, t->n, f) == t->n && fflush(f) == 0;
    if (f && f != stdout)
        good &= fclose(f) == 0;
    if (!good)
        fprintf(stderr, "lastack bench: %s: %s\n", path, strerror(errno));
    return good;
}

static int report(struct bench *b, const char *old_json)
{
    struct bench_report *r = &b->r;
    const struct bench_options *o = &b->o;
    struct la_text json = {0}, html = {0};
    bool written = true;
    int compared = 0;
    r->seconds = since(b);
    bench_json(r, &json);
    if (!o->quiet && !is_stdout(o->json) && !is_stdout(o->html))
        bench_view_table(r);
    else if (r->failure[0])
        fprintf(stderr, "lastack bench: %s\n", r->failure);
    else
        fprintf(is_stdout(o->json) || is_stdout(o->html) ? stderr : stdout, "%s\n", r->verdict.reason);
    if (o->json)
        written &= write_file(o->json, &json);
    if (o->html) {
        bench_html(json.p, &html);
        written &= write_file(o->html, &html);
    }
    if (o->hdr && !bench_hdr(r, o->hdr)) {
        fprintf(stderr, "lastack bench: %s: %s\n", o->hdr, strerror(errno));
        written = false;
    }
    if (old_json && !r->failure[0])
        compared = bench_compare(old_json, json.p, is_stdout(o->json) || is_stdout(o->html) ? stderr : stdout);
    la_text_fini(&json);
    la_text_fini(&html);
    bool found = r->verdict.answer == BENCH_SIZE && !r->failure[0] && !r->interrupted;
    return found && written && compared == 0 ? 0 : 1;
}

static void prepare(struct bench *b)
{
    struct rlimit most;
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
    b->from_ns = la_clock_ns();
    b->warmup = b->o.warmup;
    b->r.drift = NAN;
    b->r.noise = b->r.swing = b->r.ports = -1;
    b->r.options = &b->o;
    b->r.began = time(NULL);
}

/* What is known of the backends bounds the sizes and fills what was not given. */
static void settle(struct bench *b)
{
    struct bench_options *o = &b->o;
    const struct bench_report *r = &b->r;
    if (!o->host)
        o->host = la_addr_family(&r->backend[0].address) == AF_UNIX ? "localhost" : r->backend[0].text;
    for (size_t i = 0; i < r->backends; i++)
        if (r->backend[i].limit > 0 && o->largest > r->backend[i].limit)
            o->largest = (unsigned)r->backend[i].limit;
    if (r->ports > 0 && o->largest > r->ports)
        o->largest = (unsigned)r->ports;
    if (o->smallest > o->largest)
        o->smallest = o->largest;
}

static bool add_body(struct bench *b, struct la_text *why)
{
    struct la_text body = {0};
    if (!read_file(b->o.body_file, &body)) {
        la_text_addf(why, "%s: %s", b->o.body_file, strerror(errno));
        return false;
    }
    struct la_load_ask *a = bench_requests_add(&b->asks);
    a->method = b->o.method;
    a->target = b->o.path;
    a->body = bench_requests_keep(&b->asks, la_slice(body.p, body.n));
    a->body_n = body.n;
    la_text_fini(&body);
    return true;
}

/* Of a log that is played over and over: how many requests begin before that time. */
static double begun(const struct bench_requests *q, double s)
{
    double lap_us = (double)la_load_lap_us(q->ask, q->asks), laps = floor(s * 1e6 / lap_us);
    size_t n = 0;
    while (n < q->asks && (double)q->ask[n].at_us < s * 1e6 - laps * lap_us)
        n++;
    return laps * (double)q->asks + (double)n;
}

/* That of the part of the log that each run plays. False: why. */
static bool find_rate(struct bench *b, struct la_text *why)
{
    struct bench_options *o = &b->o;
    double from_s = b->warmup * o->speed, to_s = from_s + o->seconds * o->speed;
    if (b->asks.timed)
        o->rate = (begun(&b->asks, to_s) - begun(&b->asks, from_s)) / o->seconds;
    if (!b->asks.timed)
        la_text_addf(why, "%s: its requests have no times, or all the same: give --rate or --clients", o->replay);
    else if (o->rate <= 0)
        la_text_addf(why, "%s: no request between %g s and %g s of it, which is what a run measures: give --seconds, --speed or --rate",
                     o->replay, from_s, to_s);
    return o->rate > 0;
}

/* Of an open loop the requests of the beginning are not answered until their time is over: measured, that would look as if the
 * pool did not carry the rate. False: r->failure. */
static bool warm_long_enough(struct bench *b)
{
    struct la_text why = {0};
    if (b->o.clients == 0)
        b->warmup = fmax(b->o.warmup, WARM_TIMES * b->median_s);
    bool good = !b->o.own_times || find_rate(b, &why);
    if (!good)
        snprintf(b->r.failure, sizeof b->r.failure, "%s. Nothing was measured.", why.p);
    la_text_fini(&why);
    return good;
}

/* What to ask, where files say it. False: said why. */
static bool read_asks(struct bench *b)
{
    struct bench_options *o = &b->o;
    struct la_text why = {0};
    bool good = o->requests_file ? bench_requests_read(&b->asks, o->requests_file, &why)
                : o->replay      ? bench_requests_replay(&b->asks, o->replay, false, &why)
                                 : !o->body_file || add_body(b, &why);
    good = good && (!o->own_times || find_rate(b, &why));
    if (!good)
        fprintf(stderr, "lastack bench: %s\n", why.p);
    la_text_fini(&why);
    return good;
}

static void fini(struct bench *b)
{
    bench_requests_fini(&b->asks);
    for (size_t i = 0; i < b->r.runs; i++)
        bench_run_free(b->r.run[i]);
    free(b->r.run);
    free(b->r.point);
    la_text_fini(&b->r.environment);
    free(b);
}

/* Could a file be made where this one is to be? */
static bool folder_takes(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = la_xasprintf("%.*s.", slash ? (int)(slash + 1 - path) : 0, path);
    bool good = access(folder, W_OK | X_OK) == 0;
    int e = errno;
    free(folder);
    errno = e;
    return good;
}

/* Asks only: an old report is lost when there is a new one. */
static bool is_writable(const char *path)
{
    struct stat s;
    if (is_stdout(path))
        return true;
    if (stat(path, &s) != 0)
        return errno == ENOENT && folder_takes(path);
    errno = EISDIR;
    return !S_ISDIR(s.st_mode) && access(path, W_OK) == 0;
}

/* Files are looked at before anything is asked of a backend. */
static bool read_files(struct bench *b, struct la_text *old_json)
{
    const struct bench_options *o = &b->o;
    const char *bad = o->compare && !read_file(o->compare, old_json) ? o->compare
                      : o->json && !is_writable(o->json)             ? o->json
                      : o->html && !is_writable(o->html)             ? o->html
                      : o->hdr && !folder_takes(o->hdr)              ? o->hdr
                                                                     : NULL;
    if (bad)
        fprintf(stderr, "lastack bench: %s: %s\n", bad, strerror(errno));
    return !bad && read_asks(b);
}

/* Is the old report about the same load? What is known now tells. */
static bool comparable(struct bench *b, const char *old_json)
{
    struct la_text json = {0};
    bench_json(&b->r, &json);
    bool good = bench_comparable(old_json, json.p, stderr);
    if (!good)
        fprintf(stderr, "lastack bench: --compare %s: nothing was measured\n", b->o.compare);
    la_text_fini(&json);
    return good;
}

/* The exit status. */
static int run(struct bench *b, const char *old_json)
{
    bench_environment(&b->r.environment);
    if (bench_backend_look(&b->r)) {
        bench_heed_signals(); /* before that there is nothing to report, and a signal ends it at once */
        settle(b);
        if (old_json && !comparable(b, old_json))
            return 1;
        if (try_out(b) && long_enough(b) && warm_long_enough(b))
            measure(b);
    }
    if (b->r.failure[0])
        b->r.verdict.answer = BENCH_FAILED;
    return report(b, old_json);
}

int la_bench_main(int argc, char **argv)
{
    struct bench *b = la_xcalloc(1, sizeof *b);
    struct la_text old_json = {0};
    int code = bench_options_read(argc, argv, &b->o);
    if (code < 0) {
        prepare(b);
        code = read_files(b, &old_json) ? run(b, old_json.p) : 1;
    }
    la_text_fini(&old_json);
    fini(b);
    return code;
}
