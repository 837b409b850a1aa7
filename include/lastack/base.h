/* base.h (layer: base): what every other file may use: assertions that stay on, slices, container_of, clocks.
 *
 * Units are in the names: _ns, _us, _ms, _s, _bytes. Time is CLOCK_MONOTONIC unless it says wall. */
#ifndef LASTACK_BASE_H
#define LASTACK_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdatomic.h>

/* A programmer's mistake: print where, then abort. Stays on in release builds. */
#define la_assert(c) ((c) ? (void)0 : la_assert_failed(#c, __FILE__, __LINE__))
_Noreturn void la_assert_failed(const char *what, const char *file, int line);

#define la_container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define la_count(array) (sizeof(array) / sizeof((array)[0]))
#define la_likely(c) __builtin_expect(!!(c), 1)
#define la_unlikely(c) __builtin_expect(!!(c), 0)
#define LA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define LA_COLD              __attribute__((cold, noinline)) /* what fails or ends: calls of it are unlikely */

static inline uint64_t la_min64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t la_max64(uint64_t a, uint64_t b) { return a > b ? a : b; }
/* Time since then; 0 when then is later, as another thread's present time may be. */
static inline uint64_t la_since(uint64_t now, uint64_t then) { return now > then ? now - then : 0; }
/* Milliseconds left of ms since then_ns; 0: they are over. */
static inline uint64_t la_ms_left(uint64_t ms, uint64_t now_ns, uint64_t then_ns)
{
    uint64_t spent = la_since(now_ns, then_ns) / 1000000u;
    return ms > spent ? ms - spent : 0;
}

/* Bytes that someone else owns. Never NUL-terminated by promise. */
struct la_slice {
    const char *p;
    size_t n;
};
#define LA_SLICE(literal) ((struct la_slice){(literal), sizeof(literal) - 1})
#define LA_SLICE_ARGS(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct la_slice la_slice(const void *p, size_t n)
{
    return (struct la_slice){(const char *)p, n};
}
static inline struct la_slice la_slice_str(const char *s)
{
    return (struct la_slice){s, strlen(s)};
}
static inline bool la_slice_eq(struct la_slice a, struct la_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
/* ASCII case folded; locale never matters (RFC 9110 5.1). */
bool la_slice_ieq_same_n(struct la_slice a, struct la_slice b); /* a.n == b.n */
static inline bool la_slice_ieq(struct la_slice a, struct la_slice b)
{
    return a.n == b.n && la_slice_ieq_same_n(a, b);
}

/* Allocation that cannot fail quietly: for start-up and configuration, never for what a peer's
 * bytes decide. On failure the process says so and aborts. Free with free(). */
void *la_xcalloc(size_t n, size_t size);
void *la_xrealloc(void *p, size_t size);
char *la_xstrdup(const char *s);
char *la_xstrndup(const char *s, size_t n);
char *la_xasprintf(const char *fmt, ...) LA_PRINTF(1, 2);

/* One system call each (vDSO); the loop caches them, see loop.h. */
uint64_t la_clock_ns(void);
uint64_t la_wall_ns(void);

/* xorshift generator, one per thread or object; seed must not be 0. Not for secrets. */
static inline uint64_t la_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}
uint64_t la_random_seed(void); /* from getrandom(2), never 0 */

/* Counters with one writer that other threads read. */
static inline void la_stat_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline uint64_t la_stat_get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

#endif
