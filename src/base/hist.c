/* hist.c: a log-linear histogram of microseconds.
 *
 * Owns nothing but the struct its caller embeds; never allocates, never locks. The first group of LA_HIST_SUB
 * buckets holds 0..31 exactly; group g >= 1 covers [2^(g+4), 2^(g+5)) in LA_HIST_SUB steps of 2^(g-1), so
 * that a bucket is never wider than 1/32 of its low end.
 *
 * The good path is la_hist_record: two shifts, three relaxed load/store pairs, no locked instruction, because
 * a histogram has one writer. Readers on other threads may see a record half done (the bucket but not yet the
 * sum); they take the number of values from the buckets themselves, so that a quantile never runs past the
 * end.
 *
 * Nothing can fail. Values over 2^37 us are counted in the last bucket (their true value is still in sum_us).
 */
#include "lastack/hist.h"

#define TOP_US (1ull << 37)

static size_t bucket_of(uint64_t us)
{
    if (us >= TOP_US)
        return LA_HIST_BUCKETS - 1;
    if (us < LA_HIST_SUB)
        return (size_t)us;
    unsigned top = 63u - (unsigned)__builtin_clzll(us); /* 5..36 */
    unsigned shift = top - 5;
    return (size_t)LA_HIST_SUB * (shift + 1) + (size_t)((us >> shift) - LA_HIST_SUB);
}

uint64_t la_hist_bucket_low_us(size_t bucket)
{
    size_t group = bucket / LA_HIST_SUB, step = bucket % LA_HIST_SUB;
    la_assert(bucket <= LA_HIST_BUCKETS);
    return group == 0 ? step : (uint64_t)(LA_HIST_SUB + step) << (group - 1);
}

static uint64_t bucket_high_us(size_t bucket)
{
    return la_hist_bucket_low_us(bucket + 1) - 1;
}

static void bump(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t before = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, before + n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void la_hist_record(struct la_hist *h, uint64_t us)
{
    bump(&h->bucket[bucket_of(us)], 1);
    bump(&h->sum_us, us);
    bump(&h->count, 1);
}

void la_hist_add(struct la_hist *into, const struct la_hist *h)
{
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++) {
        uint64_t n = get(&h->bucket[i]);
        if (n)
            bump(&into->bucket[i], n);
    }
    bump(&into->sum_us, get(&h->sum_us));
    bump(&into->count, get(&h->count));
}

uint64_t la_hist_quantile_us(const struct la_hist *h, double q)
{
    uint64_t total = la_hist_count_le(h, UINT64_MAX), seen = 0, rank = 1;
    if (total == 0)
        return 0;
    if (q >= 1) {
        rank = total;
    } else if (q > 0) { /* false for NaN too */
        rank = (uint64_t)(q * (double)total);
        if ((double)rank < q * (double)total || rank == 0)
            rank++;
    }
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++) {
        seen += get(&h->bucket[i]);
        if (seen >= rank)
            return bucket_high_us(i);
    }
    return bucket_high_us(LA_HIST_BUCKETS - 1); /* reset by its writer meanwhile */
}

uint64_t la_hist_max_us(const struct la_hist *h)
{
    for (size_t i = LA_HIST_BUCKETS; i-- > 0;)
        if (get(&h->bucket[i]))
            return bucket_high_us(i);
    return 0;
}

uint64_t la_hist_count_le(const struct la_hist *h, uint64_t us)
{
    uint64_t n = 0;
    for (size_t i = 0, last = bucket_of(us); i <= last; i++)
        n += get(&h->bucket[i]);
    return n;
}

void la_hist_reset(struct la_hist *h)
{
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++)
        atomic_store_explicit(&h->bucket[i], 0, memory_order_relaxed);
    atomic_store_explicit(&h->sum_us, 0, memory_order_relaxed);
    atomic_store_explicit(&h->count, 0, memory_order_relaxed);
}
