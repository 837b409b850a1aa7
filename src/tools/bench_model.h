/* bench_model.h (layer: tools): what the bench's points, fits, verdict and reason tell each other. Pure functions. */
#ifndef LASTACK_TOOLS_BENCH_MODEL_H
#define LASTACK_TOOLS_BENCH_MODEL_H

#include "tools/bench.h"

#define BENCH_POINTS_MOST 256 /* sizes that a fit looks at */
#define BENCH_WAVES       6   /* cosines of the curve over time */
#define BENCH_NEAR        0.97 /* of the best throughput: near enough */
#define BENCH_MISFIT_GOOD 0.07 /* twice those 3 %, rounded up: a curve that is further off says nothing */
#define BENCH_FAILED_LITTLE 0.01 /* of the answers: more failures, and a size or a load is not borne */

/* ---- bench_time.c ---- */
/* What lies between -t and t with this probability, of Student's distribution. */
double bench_student(double probability, unsigned freedom);

/* How fast the backend was over time, for all sizes alike, and what runs of one size differ by otherwise. */
struct bench_time {
    double noise;           /* standard deviation of a run, the curve over time taken off; negative: too few runs */
    unsigned freedom;       /* that noise was told from */
    double swing;           /* of the curve, from its slowest to its fastest: 0.1 is 10 % */
    double swing_interval;  /* 99 %, of what noise alone would do; negative: unknown */
    double drift;           /* the first size again at the end, against the first time; NAN: no drift run */
    double drift_interval;  /* as swing_interval */
    double from_s, to_s, mean, wave[BENCH_WAVES]; /* the curve: cosines between first and last run */
    unsigned waves;
};
struct bench_time bench_time_of(struct bench_run *const *run, size_t n);
/* The curve at r's time: 1.1 is 10 % faster than on average. */
double bench_time_at(const struct bench_time *t, const struct bench_run *r);

/* ---- bench_points.c ---- */
/* The sizes' means, in order of size, time's part taken off; the caller frees *out. */
size_t bench_points(struct bench_run *const *run, size_t n, struct bench_slo slo, const struct bench_time *t,
                    struct bench_point **out);
/* Good answers of a run, and the part of all answers that were none. */
double bench_run_good(const struct bench_run *r);
double bench_run_fail_ratio(const struct bench_run *r);

/* The time split of several runs: each counts by its answers; a run that does not know a part takes no part in it. */
struct bench_split {
    double sum[BENCH_PARTS], weight[BENCH_PARTS];
};
void bench_split_add(struct bench_split *s, const struct bench_run *r);
double bench_split_mean_us(const struct bench_split *s, enum bench_part part); /* negative: no run knows it */

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
