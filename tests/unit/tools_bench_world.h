/* tools_bench_world.h: a made-up report with everything in it that a report can hold: three repeats of some sizes, errors, a run
 * that was cut, drift, load levels, unknown figures, and texts that would break a careless page. */
#ifndef LASTACK_TESTS_TOOLS_BENCH_WORLD_H
#define LASTACK_TESTS_TOOLS_BENCH_WORLD_H

#include "tools/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WORLD_NASTY "</script><script>window.broken=1</script><!--<img src=http://198.51.100.9/x onerror=window.broken=1> \"'&\\"

struct world {
    struct bench_report r;
    struct bench_options o;
    struct bench_run *run[96];
    struct bench_point point[16];
};

/* n answers around us, with a tail; a stall (if any) takes the answers of one tenth of the run a second longer. */
static void world_answers(struct bench_run *run, double us, bool stall, uint64_t *seed)
{
    run->heat_slice_s = run->seconds / LA_LOAD_SLICES;
    for (uint64_t i = 0; i < run->done; i++) {
        double part = (double)i / (double)run->done, tail = (double)(la_random(seed) % 1000000 + 1) / 1e6;
        uint64_t t = (uint64_t)(us * (0.8 - 0.12 * log(tail)));
        if (stall && part > 0.5 && part < 0.6)
            t += (uint64_t)(1e6 * (0.6 - part) * 10);
        la_hist_record(run->latency_us, t);
        run->heat[(size_t)(part * LA_LOAD_SLICES)][la_load_level(t)]++;
        la_hist_record(run->late_us, la_random(seed) % 400);
    }
}

static struct bench_run *world_run(struct world *w, enum bench_stage stage, unsigned size, unsigned repeat, double rate, double slower,
                                   uint64_t *seed)
{
    struct bench_run *run = w->run[w->r.runs++] = la_xcalloc(1, sizeof *run);
    double noise = 1 + ((double)(la_random(seed) % 200) - 100) / 5000, n = size;
    double top = 2000 * n / (1 + 0.03 * (n - 1) + 0.0008 * n * (n - 1)) / slower;
    *run = (struct bench_run){.stage = stage, .size = size, .repeat = repeat, .clients = 64, .rate = rate, .seconds = 3,
                              .begin_s = (double)w->r.runs * 4};
    run->throughput = noise * (rate > 0 && rate < top ? rate : top);
    run->done = (uint64_t)(run->throughput * run->seconds);
    run->started = run->done + 7;
    run->latency_us = la_xcalloc(1, sizeof *run->latency_us);
    run->late_us = la_xcalloc(1, sizeof *run->late_us);
    run->part_mean_us[BENCH_QUEUE] = n < 16 ? 40000 / n : 90;
    run->part_mean_us[BENCH_CONNECT] = n < 4 ? 0 : 110;
    run->part_mean_us[BENCH_BACKEND] = (400 + 9 * n) * slower;
    run->part_mean_us[BENCH_PROXY] = 75.25;
    double us = 0;
    for (size_t i = 0; i < BENCH_PARTS; i++) {
        us += run->part_mean_us[i];
        run->part_p99_us[i] = run->part_mean_us[i] * 3;
    }
    world_answers(run, us, repeat == 1 && size == 8, seed);
    run->opened = size + 3;
    run->closed_by_backend = 3;
    run->busy = n * 0.83;
    run->proxy_cpu_s = 1.1;
    run->backend_cpu_s = size == 1 ? -1 : 2.4;
    run->generator_cpu_s = 0.7;
    run->ports_open = size;
    if (size == 4) { /* as if it were memcached */
        run->hits = 900;
        run->misses = 70 + repeat;
    }
    return run;
}

static void world_points(struct world *w, const unsigned *size, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct bench_point *p = &w->point[i];
        double sum = 0, low = 1e18, high = 0;
        *p = (struct bench_point){.size = size[i], .slo_us = 9000, .busy = size[i] * 0.83, .little = size[i] * 0.81};
        for (size_t k = 0; k < w->r.runs; k++)
            if (w->run[k]->size == size[i] && w->run[k]->stage == BENCH_SWEEP && !w->run[k]->cut) {
                p->runs++;
                sum += w->run[k]->throughput;
                low = fmin(low, w->run[k]->throughput);
                high = fmax(high, w->run[k]->throughput);
            }
        p->throughput = sum / p->runs;
        p->low = low - (high - low);
        p->high = high + (high - low);
    }
    w->r.point = w->point;
    w->r.points = n;
}

static void world_verdict(struct bench_verdict *v)
{
    *v = (struct bench_verdict){.answer = BENCH_SIZE, .size = 20, .bare = 16, .low = 14, .high = 18, .best = 32, .best_throughput = 23456.789, .capacity = 24000};
    snprintf(v->reason, sizeof v->reason, "16 is the smallest size within 3 %% of the best throughput (32: 23,457/s) that keeps p99 below "
                                          "50 ms; 20 leaves room for 1.25 times the load.");
    snprintf(v->config, sizeof v->config, "upstreams:\n  app:\n    pool:\n      max: 20\n");
    snprintf(v->note[v->notes++], BENCH_TEXT, "the generator sent late at pool.max 64 (p99 3.1 ms): it, not the backend, was the limit");
    snprintf(v->note[v->notes++], BENCH_TEXT, "%s", WORLD_NASTY);
}

/* slower: the backend's service time, 1 or more. Free with world_fini. */
static void world_init(struct world *w, double slower)
{
    static const unsigned size[] = {1, 2, 4, 8, 12, 14, 16, 32, 64, 128};
    uint64_t seed = 4711;
    *w = (struct world){0};
    w->o = (struct bench_options){.upstream = "127.0.0.1:9000,unix:/run/app.sock", .rate_auto = true, .keepalive_percent = 100,
                                  .seconds = 3, .warmup = 1, .smallest = 1, .largest = 128, .repeats = 3, .burst = 1.25,
                                  .slo = {0.99, 50000}, .workers = 2, .threads = 1, .seed = UINT64_MAX, .method = "GET",
                                  .path = "/index?a=<b>&c", .headers = WORLD_NASTY};
    w->r = (struct bench_report){.options = &w->o, .began = 1795280000, .seconds = 131.5, .run = w->run, .ports = 28232, .drift = -0.012,
                                 .noise = 0.011, .swing = 0.004, .model = BENCH_MODEL_USL,
                                 .usl = {2000, 0.03, 0.0008, 0.987, 34.8, 0.013, true},
                                 .knee = {.slope = 1300, .knee = 17.5, .r2 = 0.91, .misfit = 0.08}};
    for (unsigned repeat = 0; repeat < 3; repeat++)
        for (size_t i = 0; i < la_count(size); i++)
            world_run(w, BENCH_SWEEP, size[(i * 7 + repeat) % la_count(size)], repeat, 0, slower, &seed);
    world_run(w, BENCH_DRIFT, size[0], 0, 0, slower, &seed);
    for (unsigned i = 0; i < 4; i++)
        world_run(w, BENCH_LEVEL, 16, i, (double[]){8000, 11000, 13500, 15200}[i], slower, &seed);
    struct bench_run *cut = world_run(w, BENCH_SWEEP, 64, 3, 0, slower, &seed);
    cut->cut = true;
    cut->failed = 12;
    cut->blind = true;
    for (size_t i = 0; i < BENCH_PARTS; i++)
        cut->part_mean_us[i] = cut->part_p99_us[i] = -1;
    snprintf(cut->first_failure, sizeof cut->first_failure, "502 after 3 ms, <b>not 200");
    snprintf(cut->error[0].cause, sizeof cut->error[0].cause, "timeout");
    cut->error[0].n = 11;
    snprintf(cut->error[1].cause, sizeof cut->error[1].cause, "<b>reset");
    cut->error[1].n = 1;
    world_points(w, size, la_count(size));
    world_verdict(&w->r.verdict);
    w->r.backends = 2;
    w->r.backend[0] = (struct bench_backend){.text = "127.0.0.1:9000", .limit = 24, .limit_name = "pm.max_children", .local = true};
    w->r.backend[1] = (struct bench_backend){.text = "unix:/run/app.sock", .limit = -1};
    snprintf(w->r.backend[1].about, BENCH_TEXT, "a server %s", WORLD_NASTY);
    bench_environment(&w->r.environment);
}

static void world_fini(struct world *w)
{
    for (size_t i = 0; i < w->r.runs; i++) {
        free(w->run[i]->latency_us);
        free(w->run[i]->late_us);
        free(w->run[i]);
    }
    la_text_fini(&w->r.environment);
}

#endif
