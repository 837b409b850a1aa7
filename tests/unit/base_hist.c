/* base_hist.c: histogram buckets, quantiles against a sorted array, adding up, values beyond the end, a
 * concurrent reader. */
#include "lastack/hist.h"
#include "test.h"

#include <math.h>
#include <pthread.h>

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void buckets(void)
{
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++) {
        uint64_t low = la_hist_bucket_low_us(i), next = la_hist_bucket_low_us(i + 1);
        CHECK(next > low);
        CHECK((next - low) * 32 <= low || next - low == 1);
        struct la_hist *h = la_xcalloc(1, sizeof *h);
        la_hist_record(h, low);
        la_hist_record(h, next - 1);
        CHECK_EQ(atomic_load(&h->bucket[i]), 2);
        CHECK_EQ(la_hist_max_us(h), next - 1);
        CHECK_EQ(la_hist_count_le(h, low), 2); /* exact to the bucket */
        CHECK_EQ(la_hist_count_le(h, next), 2);
        if (low > 0)
            CHECK_EQ(la_hist_count_le(h, low - 1), 0);
        free(h);
    }
    CHECK_EQ(la_hist_bucket_low_us(LA_HIST_BUCKETS), 1ll << 37);
}

static void beyond(void)
{
    struct la_hist *h = la_xcalloc(1, sizeof *h);
    CHECK_EQ(la_hist_quantile_us(h, 0.5), 0);
    CHECK_EQ(la_hist_max_us(h), 0);
    la_hist_record(h, UINT64_MAX / 2);
    la_hist_record(h, 1ull << 37);
    CHECK_EQ(atomic_load(&h->bucket[LA_HIST_BUCKETS - 1]), 2);
    CHECK_EQ(atomic_load(&h->count), 2);
    CHECK_EQ(la_hist_count_le(h, UINT64_MAX), 2);
    CHECK_EQ(la_hist_quantile_us(h, 1), (1ll << 37) - 1);
    CHECK_EQ(la_hist_quantile_us(h, 7), (1ll << 37) - 1);
    CHECK_EQ(la_hist_quantile_us(h, -7), (1ll << 37) - 1);
    CHECK_EQ(la_hist_quantile_us(h, (double)NAN), (1ll << 37) - 1);
    la_hist_reset(h);
    CHECK_EQ(la_hist_count_le(h, UINT64_MAX), 0);
    CHECK_EQ(atomic_load(&h->sum_us), 0);
    free(h);
}

/* The reported quantile is never below the true one, and above it by less than 1/32. */
static void quantiles(uint64_t seed)
{
    uint64_t state = seed;
    struct la_hist *h = la_xcalloc(1, sizeof *h),
                   *half[2] = {la_xcalloc(1, sizeof *h), la_xcalloc(1, sizeof *h)};
    struct la_hist *sum = la_xcalloc(1, sizeof *h);
    size_t n = 1 + la_random(&state) % 3000;
    uint64_t *v = la_xcalloc(n, sizeof *v), total = 0;
    for (size_t i = 0; i < n; i++) {
        v[i] = la_random(&state) >> (27 + la_random(&state) % 37); /* below 2^37 */
        total += v[i];
        la_hist_record(h, v[i]);
        la_hist_record(half[i % 2], v[i]);
    }
    qsort(v, n, sizeof *v, by_value);
    la_hist_add(sum, half[0]);
    la_hist_add(sum, half[1]);
    CHECK_EQ(atomic_load(&sum->count), n);
    CHECK_EQ(atomic_load(&sum->sum_us), total);
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++)
        CHECK_EQ(atomic_load(&sum->bucket[i]), atomic_load(&h->bucket[i]));
    for (unsigned permille = 0; permille <= 1000; permille += 5) {
        double q = permille / 1000.0;
        size_t rank = (size_t)ceil(q * (double)n);
        uint64_t want = v[rank ? rank - 1 : 0], got = la_hist_quantile_us(h, q);
        if (got < want || (got - want) * 32 > want) {
            fprintf(stderr, "seed %llu q %g: %llu, want %llu\n", (unsigned long long)seed, q,
                    (unsigned long long)got, (unsigned long long)want);
            exit(1);
        }
        CHECK(la_hist_count_le(h, want) >= rank);
    }
    CHECK(la_hist_max_us(h) >= v[n - 1] && (la_hist_max_us(h) - v[n - 1]) * 32 <= v[n - 1]);
    free(v);
    free(h);
    free(sum);
    free(half[0]);
    free(half[1]);
}

#define RECORDS 200000

static void *writer(void *arg)
{
    struct la_hist *h = arg;
    for (uint64_t i = 0; i < RECORDS; i++)
        la_hist_record(h, i);
    return NULL;
}

static void concurrent_reader(void)
{
    struct la_hist *h = la_xcalloc(1, sizeof *h), *sum = la_xcalloc(1, sizeof *h);
    pthread_t t;
    CHECK(pthread_create(&t, NULL, writer, h) == 0);
    uint64_t last = 0, now;
    do {
        la_hist_reset(sum);
        la_hist_add(sum, h);
        now = la_hist_count_le(sum, UINT64_MAX);
        if (now < last || la_hist_quantile_us(sum, 0.99) > la_hist_max_us(sum))
            CHECK(!"a reader saw the counts go back");
        last = now;
    } while (now < RECORDS);
    pthread_join(t, NULL);
    CHECK_EQ(atomic_load(&h->count), RECORDS);
    free(h);
    free(sum);
}

int main(void)
{
    buckets();
    beyond();
    uint64_t seed = la_random_seed();
    for (int i = 0; i < 50; i++)
        quantiles(la_random(&seed));
    concurrent_reader();
    return TEST_DONE();
}
