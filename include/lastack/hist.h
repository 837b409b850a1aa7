/* hist.h (layer: base): a log-linear histogram of microseconds, HDR style: fixed memory, relative error below 1/32.
 *
 * One writer; readers on other threads see relaxed atomics and add several histograms up. */
#ifndef LASTACK_HIST_H
#define LASTACK_HIST_H

#include "lastack/base.h"

#define LA_HIST_SUB 32                          /* linear steps per power of two */
#define LA_HIST_BUCKETS (LA_HIST_SUB * 33)      /* up to 2^37 us, 38 hours; larger values land in the last */

struct la_hist {
    _Atomic uint64_t count, sum_us;
    _Atomic uint64_t bucket[LA_HIST_BUCKETS]; /* 32 bits would wrap after some days of traffic */
};

void la_hist_record(struct la_hist *h, uint64_t us);
/* Adds what is in h to into; into has no other writer meanwhile. */
void la_hist_add(struct la_hist *into, const struct la_hist *h);
/* The smallest value that at least q (0..1) of the recorded ones do not exceed, rounded up to the end of its bucket;
 * 0 when empty. */
uint64_t la_hist_quantile_us(const struct la_hist *h, double q);
uint64_t la_hist_max_us(const struct la_hist *h);
/* How many recorded values are <= us; for Prometheus buckets. Exact to the bucket that us lies in. */
uint64_t la_hist_count_le(const struct la_hist *h, uint64_t us);
uint64_t la_hist_bucket_low_us(size_t bucket); /* bucket == LA_HIST_BUCKETS: the end of the last */
void la_hist_reset(struct la_hist *h); /* by its writer */

#endif
