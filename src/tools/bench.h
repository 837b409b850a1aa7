/* bench.h (layer: tools): what the files of `lastack bench` share: the settings, what a run measured, and the
 * verdict made of all runs.
 *
 * bench.c: the order of things. bench_options.c: the command line. bench_plan.c: which sizes, in which order.
 * bench_run.c: one run: proxy, load, counts. bench_proxy.c: the proxy's process and its numbers. bench_backend.c: what
 * the backend says of itself. bench_cpu.c: the processes of a listening socket. bench_requests.c: what to ask: a file of
 * requests, an access log. bench_time.c: what time did; bench_points.c: means, intervals; bench_model.c: the fits;
 * bench_verdict.c: the size, and bench_reason.c: why, in words. bench_view.c: the terminal. bench_environment.c: this host. bench_json.c,
 * bench_html.c with bench_page.c, bench_hdr.c: the report's forms; bench_compare.c: two reports side by side.
 *
 * plan, model and verdict do no I/O and read no clock. Units are in the names; a negative double means unknown
 * and is null in JSON. One thread but for the load's own. */
#ifndef LASTACK_TOOLS_BENCH_H
#define LASTACK_TOOLS_BENCH_H

#include "lastack/addr.h"
#include "lastack/hist.h"
#include "lastack/json.h"
#include "tools/load.h"

#include <stdio.h>

#define BENCH_SIZE_MAX  4096 /* largest pool size */
#define BENCH_ERRORS    16
#define BENCH_BACKENDS  16
#define BENCH_NOTES     16
#define BENCH_TEXT      256
#define BENCH_VERSION   1    /* of the JSON; counts up when a name in it changes its meaning */

enum bench_protocol { BENCH_HTTP, BENCH_FASTCGI, BENCH_MEMCACHED };

/* Where a request's time went; the means of the parts add up to the mean latency. PROXY: the rest: the proxy's
 * own work, and the way between generator and proxy. */
enum bench_part { BENCH_QUEUE, BENCH_CONNECT, BENCH_BACKEND, BENCH_PROXY, BENCH_PARTS };
#define BENCH_PART_NAMES {"queue", "connect", "backend", "proxy"}

/* What a run is for. */
enum bench_stage {
    BENCH_SWEEP,  /* one size of the sweep, one repeat */
    BENCH_DRIFT,  /* the first size again at the end */
    BENCH_LEVEL,  /* --rate auto: the chosen size at a part of the capacity */
};
#define BENCH_STAGE_NAMES {"sweep", "drift", "level"}

struct bench_slo {
    double quantile; /* 0.99 */
    uint64_t us;     /* 0: none was given */
};

/* One pool size under one load for some seconds. Counts and times are those after the warm-up. */
struct bench_run {
    enum bench_stage stage;
    unsigned size;          /* pool.max */
    unsigned repeat;        /* from 0 */
    unsigned clients;       /* of the generator */
    double rate;            /* offered per second; 0: closed loop */
    double begin_s;         /* when its measured time began, since the bench's start */
    double seconds;         /* measured */
    bool cut;               /* ended early (Ctrl-C, the proxy's end): not used for the verdict */
    bool blind;             /* the proxy did not say what it counted: opened, closed_by_* and its errors are unknown */
    uint64_t started, done, failed;
    uint64_t hits, misses, stored; /* memcached: of gets, of sets */
    char first_failure[BENCH_TEXT]; /* "" or what the generator saw first */
    double throughput;      /* good answers per second */
    struct la_hist *latency_us; /* from the intended start; owned by the run */
    struct la_hist *late_us;    /* how much later the generator sent than it was to and could; owned by the run */
    double part_mean_us[BENCH_PARTS], part_p99_us[BENCH_PARTS];
    struct {
        char cause[40];
        uint64_t n;
    } error[BENCH_ERRORS]; /* the generator's and the proxy's causes; n 0: the end */
    uint64_t opened, closed_by_backend, closed_by_proxy;
    double busy;            /* connections at work on average; utilisation is busy / size / backends */
    double proxy_cpu_s, backend_cpu_s, generator_cpu_s;
    uint64_t ports_open, ports_time_wait; /* the most seen, this host's ends towards the backends */
    uint32_t heat[LA_LOAD_SLICES][LA_LOAD_LEVELS]; /* answers by time of their end (a slice: heat_slice_s) and latency */
    double heat_slice_s;
};

struct bench_usl {
    double lambda, sigma, kappa; /* X(n) = lambda n / (1 + sigma (n - 1) + kappa n (n - 1)) */
    double r2;                   /* of the means by size; 1 is perfect */
    double peak;                 /* the size where X is largest; 0: it never falls */
    double misfit;               /* of the means from the curve: standard deviation, 0.02 is 2 % */
    bool good;                   /* good enough to say something */
};

/* The other model: a backend with so many workers. X(n) grows by slope up to knee, then is flat or falls:
 * slope n / (1 + (n / knee)^round)^(1 / round) / (1 + fall max(0, n - knee)). */
struct bench_knee {
    double slope, knee, fall;
    double round;                /* how sharply it bends; 0: at once: slope min(n, knee) / (1 + ...) */
    double r2, misfit;           /* as of bench_usl */
    bool good;
};

/* Which of the two the verdict rests on: the one that fits better. NONE: sizes were too few to fit, or neither is good. */
enum bench_model { BENCH_MODEL_NONE, BENCH_MODEL_USL, BENCH_MODEL_KNEE };
#define BENCH_MODEL_NAMES {"none", "usl", "knee"}

/* One size over its repeats. */
struct bench_point {
    unsigned size, runs;
    double throughput, low, high; /* mean and its 95 % confidence interval; negative: one run has none */
    double slo_us;                /* the SLO's quantile over all repeats together; p99 when none was given */
    double fail_ratio;
    double busy, little;          /* measured; and by Little's law: throughput x (connect + backend time) */
};

#define BENCH_ANSWERS_LEAST 30 /* of one size: fewer say nothing */
enum bench_answer { BENCH_SIZE, BENCH_CANNOT_TELL, BENCH_FAILED };
#define BENCH_ANSWER_NAMES {"size", "cannot_tell", "failed"}

struct bench_verdict {
    enum bench_answer answer;
    bool scatters;        /* it cannot tell for chance alone: more repeats may help */
    unsigned size;        /* pool.max to set, with headroom, clamped; 0 unless BENCH_SIZE */
    unsigned bare;        /* before headroom and clamps */
    unsigned low, high;   /* where the measurement's scatter lets bare be, 95 % */
    unsigned best;        /* the size with the best throughput */
    double best_throughput, capacity; /* capacity: of the backend, per second; negative: not reached */
    char reason[1024];    /* one sentence */
    char config[512];     /* lines to paste */
    char note[BENCH_NOTES][BENCH_TEXT]; /* warnings: generator limited, clamps, Little's law disagrees, SLO missed */
    size_t notes;
};

/* What a backend says of itself. */
struct bench_backend {
    struct la_addr address;
    char text[BENCH_TEXT];  /* a name as it was given, else the address */
    int64_t limit;          /* max_children, maxconns, worker places; -1: it does not say */
    char limit_name[40];    /* "pm.max_children" */
    char about[BENCH_TEXT]; /* "memcached 1.6.18, maxconns 1024"; or "" */
    bool local;             /* its process is on this host and its CPU can be read */
};

/* Processes, and what CPU each has used so far. */
struct bench_cpu {
    size_t n;
    struct {
        pid_t pid;
        double s;
    } one[512]; /* more are not counted */
};

/* The whole. */
struct bench_report {
    const struct bench_options *options;
    time_t began;
    double seconds;
    bool interrupted;
    struct bench_run **run;
    size_t runs;
    struct bench_point *point; /* by size, ascending; of sweep runs */
    size_t points;
    struct bench_usl usl;
    struct bench_knee knee;
    enum bench_model model;
    double drift;              /* the first size again: throughput at the end / at the beginning - 1; NAN: not yet */
    double noise;              /* of one run about the mean of its size: standard deviation, 0.02 is 2 %; negative: unknown */
    double swing;              /* of the speed over time, sizes apart, from its slowest to its fastest: 0.1 is 10 % */
    struct bench_verdict verdict;
    struct bench_backend backend[BENCH_BACKENDS];
    size_t backends;
    struct bench_cpu cpu;      /* of the backends' processes on this host, when it began */
    uint64_t stored;           /* memcached: of options->keys, before the first run */
    int64_t ports;             /* local ports that the sources have for one backend; -1: Unix sockets */
    struct la_text environment; /* a JSON object: versions, sysctls, CPU */
    char failure[512];         /* "" or why there is no verdict: one sentence */
};

struct bench_options {
    enum bench_protocol protocol;
    const char *upstream;      /* as given */
    const char *source;        /* as given; NULL: the kernel's choice */
    double rate;               /* per second; 0 unless given */
    bool rate_auto;            /* the default: capacity first, then 50, 70, 85, 95 % of it */
    bool poisson;
    unsigned clients;          /* closed loop when given; 0: open loop */
    double keepalive_percent;  /* of the clients */
    double seconds, warmup;    /* per run */
    uint64_t requests;         /* bound per run; 0: none */
    double max_seconds;        /* bound of the whole; 0: none */
    unsigned smallest, largest, repeats;
    unsigned size[64];         /* --sizes: these alone */
    size_t sizes;
    struct bench_slo slo;
    double burst;              /* --burst: headroom for so many times the load; 1: none */
    unsigned workers, threads; /* of the proxy, of the generator */
    uint64_t seed;             /* of the order */
    /* what to ask */
    const char *method, *path, *host, *headers, *body_file, *requests_file, *replay;
    const char *script, *status_path; /* fastcgi: SCRIPT_FILENAME's file or root; pm.status_path */
    bool own_times;                   /* a replay at the log's own times, */
    double speed;                     /* so many times as fast */
    double set_percent;               /* memcached */
    uint64_t value_bytes, keys;
    /* what to write */
    const char *json, *html, *hdr, *compare;
    bool quiet;
};

/* ---- bench_options.c ---- */
/* Negative: go on; else the exit status. *o points into argv. */
int bench_options_read(int argc, char **argv, struct bench_options *o);

/* ---- bench_backend.c ---- */
/* Fills r's backends and ports: resolves, connects once to each, asks what it says of itself. False: r->failure. */
bool bench_backend_look(struct bench_report *r);
/* Does each take a connection now? False: why, a part of a sentence. */
bool bench_backend_alive(const struct bench_report *r, char *why, size_t why_n);

/* ---- bench_cpu.c ---- */
/* Adds all processes that have a listening socket of these addresses open. False: none is to be seen. Slow: looks at
 * every process. */
bool bench_cpu_find(const struct bench_backend *b, size_t n, struct bench_cpu *c);
/* The same ones now, and children they have got since. */
void bench_cpu_again(struct bench_cpu *c);
double bench_cpu_between(const struct bench_cpu *from, const struct bench_cpu *to); /* negative: unknown */
double bench_cpu_of(pid_t pid);                                                     /* negative: it is gone */

/* ---- bench_proxy.c ---- */
enum bench_phase { BENCH_PHASE_QUEUE, BENCH_PHASE_CONNECT, BENCH_PHASE_BACKEND, BENCH_PHASES };
#define BENCH_BUCKETS 20
struct bench_numbers { /* of the proxy, so far */
    struct {
        double sum_s;
        uint64_t count, le[BENCH_BUCKETS]; /* le: up to bench_bucket_us(i), cumulative */
    } phase[BENCH_PHASES];
    uint64_t opened, closed_by_backend, closed_by_proxy, busy, errors;
    struct {
        char cause[40];
        uint64_t n;
    } error[BENCH_ERRORS];
    double cpu_s;
};
struct bench_proxy;
/* A process of its own, ready for clients. NULL: why, a sentence. Not while this process has threads. */
struct bench_proxy *bench_proxy_start(const struct bench_report *r, unsigned size, char *why, size_t why_n);
const struct la_addr *bench_proxy_address(const struct bench_proxy *p);
bool bench_proxy_read(const struct bench_proxy *p, struct bench_numbers *out); /* false: it is gone */
bool bench_proxy_ended(struct bench_proxy *p, char *why, size_t why_n); /* by itself; why: a sentence */
void bench_proxy_stop(struct bench_proxy **p);
double bench_bucket_us(size_t i); /* the i-th bucket's end */

/* ---- bench_run.c ---- */
/* What the terminal shows while a run goes on. */
struct bench_live {
    unsigned size, run, runs;
    double left_s, rate, p99_ms;
    uint64_t failed;
    bool warming;
};
struct bench_requests;
struct bench_task {
    const struct bench_report *r;
    uint64_t bench_from_ns;
    double warmup, seconds;
    uint64_t requests; /* 0: no bound */
    const struct bench_requests *asks; /* NULL, or what to ask */
    bool timed;        /* asks, at their own times */
    bool tries;        /* a first look: fills a cache */
    /* How far it is, some times a second; may be NULL. */
    void (*step)(void *arg, const struct bench_live *l, double left_s);
    void *arg;
};
/* Does what run's stage, size, clients and rate say and fills the rest. False: why, a sentence; nothing was measured, or what was
 * until the proxy ended. */
bool bench_run_do(const struct bench_task *t, struct bench_run *run, char *why, size_t why_n);
struct bench_run *bench_run_new(void);
void bench_run_free(struct bench_run *run);
/* From here on SIGINT, SIGTERM and SIGHUP (unless it is ignored, as under nohup) are blocked: bench_wait sees them. */
void bench_heed_signals(void);
/* Sleeps. True, from then on always: one of them has come. */
bool bench_wait(double seconds);

/* ---- bench_plan.c ---- */
struct bench_plan; /* which run comes next */
struct bench_plan *bench_plan_new(const struct bench_options *o);
/* The next run's size, stage, repeat, and rate as a part of the capacity (levels). False: enough. Reads r as bench_judge left
 * it, so that it refines around the knee. */
bool bench_plan_next(struct bench_plan *p, const struct bench_report *r, struct bench_run *out);
unsigned bench_plan_left(const struct bench_plan *p); /* runs, as far as known now */
void bench_plan_free(struct bench_plan *p);

/* ---- bench_model.c ---- */
struct bench_usl bench_usl_fit(const struct bench_point *p, size_t n);
double bench_usl_at(const struct bench_usl *u, double size);
struct bench_knee bench_knee_fit(const struct bench_point *p, size_t n);
double bench_knee_at(const struct bench_knee *k, double size);
/* Throughput at a size by the model that r's verdict rests on; NAN when there is none. */
double bench_model_at(const struct bench_report *r, double size);

/* ---- bench_verdict.c ---- */
/* Fills r's points, usl, drift and verdict from its runs; may be called again when more runs are there. */
void bench_judge(struct bench_report *r);

/* ---- bench_environment.c ---- */
void bench_environment(struct la_text *out); /* a JSON object: versions, CPU, sysctls, of now */

/* ---- the report's forms; numbers are those of the JSON ---- */
void bench_json(const struct bench_report *r, struct la_text *out);
void bench_html(const char *json, struct la_text *out); /* one file; the JSON is embedded and drawn from */
/* HdrHistogram's percentile text, which holds one histogram a file: one file a size, lat.hgrm: lat-16.hgrm. False: errno. */
bool bench_hdr(const struct bench_report *r, const char *path);
/* Prints both side by side and a verdict: 0 not worse, 1 worse beyond the intervals, 2 not comparable. */
int bench_compare(const char *old_json, const char *new_json, FILE *out);
/* Will they be comparable when the new one has measured something? False: said why. */
bool bench_comparable(const char *old_json, const char *new_json, FILE *out);

/* ---- bench_view.c ---- */
void bench_view_live(const struct bench_live *l);
void bench_view_end(void); /* clears the live line */
void bench_view_table(const struct bench_report *r);

#endif
