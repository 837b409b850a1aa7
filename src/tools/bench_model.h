/* bench_model.h (layer: tools): what the bench's points, fits, verdict and reason tell each other. Pure functions. */
#ifndef LASTACK_TOOLS_BENCH_MODEL_H
#define LASTACK_TOOLS_BENCH_MODEL_H

#include "tools/bench.h"

#define BENCH_POINTS_MOST 256 /* sizes that a fit looks at */
#define BENCH_NEAR        0.97 /* of the best throughput: near enough */
#define BENCH_MISFIT_GOOD 0.07 /* twice those 3 %, rounded up: a curve that is further off says nothing */

/* ---- bench_points.c ---- */
/* What lies between -t and t with this probability, of Student's distribution. */
double bench_student(double probability, unsigned freedom);

/* What the runs of one size differ by: by chance, and by when they ran. */
struct bench_time {
    double noise;           /* standard deviation of a run, the trend taken off; negative: too few runs */
    unsigned freedom;       /* that noise was told from */
    double trend;           /* first to last run: 0.1 is 10 % faster */
    double trend_interval;  /* 99 %; negative: unknown */
    double alike;           /* how runs that followed each other differ: 2 by chance alone, near 0 when time moves them */
    double drift;           /* NAN: no drift run */
    double drift_interval;  /* 99 %, of what noise alone would do */
};
struct bench_time bench_time_of(struct bench_run *const *run, size_t n);
/* Good answers of a run, and the part of all answers that were none. */
double bench_run_good(const struct bench_run *r);
double bench_run_fail_ratio(const struct bench_run *r);

/* ---- bench_model.c ---- */
/* A fit to other throughputs at the sizes of `from`, starting there. */
struct bench_knee bench_knee_again(const struct bench_knee *from, const double *size, const double *x, size_t n);

/* ---- bench_reason.c ---- */
/* Write into r's verdict: notes, or a sentence: why none, or why this size (slo: it is met there). */
void bench_note(struct bench_report *r, const char *fmt, ...) LA_PRINTF(2, 3);
void bench_refuse(struct bench_report *r, enum bench_answer answer, const char *fmt, ...) LA_PRINTF(3, 4);

void bench_reason(struct bench_report *r, bool slo);
void bench_notes(struct bench_report *r); /* on all runs */

/* An SLO was given, and no level met it. */
bool bench_levels_miss(const struct bench_report *r);

#endif
