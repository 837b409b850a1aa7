/* clock.c: the reuse clock: what a server's idle timeout is, as announced or as learned from its FINs.
 *
 * Learned: three of the last eight idle-FIN ages above 50 ms agree within 15 %; the lowest counts. It is forgotten when
 * a connection is seen alive at 1.2 times that age, or when no FIN confirmed it for ten minutes. FINs that come within
 * 20 ms of each other count once: a server that restarts hangs up on all its connections at once, at any age.
 *
 * While nothing is known, what has been seen is: a connection that is open at some idle age proves that younger ones
 * are; that is enough for requests which cannot be sent twice.
 *
 * Any worker; samples are guarded by a try-lock: a worker that finds it taken drops its sample. */
#include "lastack/server.h"

#define AGREE          3
#define LEAST_MS       50
#define TOGETHER_NS    (20 * 1000000ull)
#define UNCONFIRMED_NS (600 * 1000000000ull)

static bool enter(struct la_reuse_clock *c)
{
    return atomic_exchange_explicit(&c->busy, 1, memory_order_acquire) == 0;
}

static void leave(struct la_reuse_clock *c)
{
    atomic_store_explicit(&c->busy, 0, memory_order_release);
}

/* The lowest age that two others exceed by at most 15 %; 0: none. */
static uint32_t agreed(const struct la_reuse_clock *c)
{
    uint32_t best = 0;
    unsigned n = c->samples < 8 ? c->samples : 8;
    for (unsigned i = 0; i < n; i++) {
        unsigned near = 0;
        uint64_t low = c->age_ms[i];
        for (unsigned k = 0; k < n; k++)
            near += c->age_ms[k] >= low && c->age_ms[k] <= low + low * 15 / 100;
        if (near >= AGREE && (best == 0 || low < best))
            best = (uint32_t)low;
    }
    return best;
}

/* One early FIN may be a restart; a second one says that the server's timeout has changed. */
static void doubt(struct la_reuse_clock *c, uint64_t age_ms)
{
    if (age_ms >= atomic_load_explicit(&c->alive_ms, memory_order_relaxed))
        return;
    if (atomic_fetch_add_explicit(&c->doubts, 1, memory_order_relaxed) > 0) {
        atomic_store_explicit(&c->alive_ms, (uint32_t)age_ms, memory_order_relaxed);
        atomic_store_explicit(&c->doubts, 0, memory_order_relaxed);
    }
}

void la_clock_fin(struct la_reuse_clock *c, uint64_t age_ms, uint64_t now_ns)
{
    if (age_ms <= LEAST_MS || age_ms > UINT32_MAX || !enter(c))
        return;
    bool together = c->last_sample_ns && la_since(now_ns, c->last_sample_ns) < TOGETHER_NS;
    c->last_sample_ns = la_max64(now_ns, c->last_sample_ns);
    if (!together) {
        doubt(c, age_ms);
        c->age_ms[c->samples++ % 8] = (uint32_t)age_ms;
        if (c->samples >= 16)
            c->samples -= 8;
        uint32_t learned = agreed(c);
        if (learned) {
            atomic_store_explicit(&c->learned_ms, learned, memory_order_relaxed);
            if (age_ms >= learned && age_ms <= learned + (uint64_t)learned * 15 / 100)
                atomic_store_explicit(&c->confirmed_ns, now_ns, memory_order_relaxed);
        }
    }
    leave(c);
}

void la_clock_alive(struct la_reuse_clock *c, uint64_t age_ms)
{
    if (age_ms > atomic_load_explicit(&c->alive_ms, memory_order_relaxed) && age_ms < UINT32_MAX) {
        atomic_store_explicit(&c->alive_ms, (uint32_t)age_ms, memory_order_relaxed);
        atomic_store_explicit(&c->doubts, 0, memory_order_relaxed);
    }
    uint64_t learned = atomic_load_explicit(&c->learned_ms, memory_order_relaxed);
    if (learned == 0 || age_ms < learned + learned / 5 || !enter(c))
        return;
    atomic_store_explicit(&c->learned_ms, 0, memory_order_relaxed);
    c->samples = 0;
    leave(c);
}

void la_clock_announced(struct la_reuse_clock *c, uint32_t timeout_ms)
{
    if (atomic_load_explicit(&c->announced_ms, memory_order_relaxed) != timeout_ms)
        atomic_store_explicit(&c->announced_ms, timeout_ms, memory_order_relaxed);
}

void la_clock_outlived(struct la_reuse_clock *c, uint64_t age_ms)
{
    if (age_ms >= 2ull * atomic_load_explicit(&c->announced_ms, memory_order_relaxed))
        la_clock_announced(c, 0);
}

void la_clock_first_byte(struct la_reuse_clock *c, uint64_t us)
{
    uint32_t least = atomic_load_explicit(&c->first_byte_us, memory_order_relaxed);
    if (us && us < UINT32_MAX && (least == 0 || us < least))
        atomic_store_explicit(&c->first_byte_us, (uint32_t)us, memory_order_relaxed);
}

uint64_t la_clock_known_ms(const struct la_reuse_clock *c, uint64_t now_ns)
{
    uint64_t learned = atomic_load_explicit(&c->learned_ms, memory_order_relaxed);
    if (learned && la_since(now_ns, atomic_load_explicit(&c->confirmed_ns, memory_order_relaxed)) > UNCONFIRMED_NS)
        learned = 0;
    uint64_t announced = atomic_load_explicit(&c->announced_ms, memory_order_relaxed);
    if (learned && announced)
        return la_min64(learned, announced);
    return learned ? learned : announced;
}

/* A timeout less what its news may be late by, and what a request needs to get there. */
static uint64_t less_margin(const struct la_reuse_clock *c, uint64_t ms)
{
    uint64_t margin = la_max64(ms / 10, la_min64(500, ms / 4));
    uint64_t round_trip = 2ull * atomic_load_explicit(&c->first_byte_us, memory_order_relaxed) / 1000;
    margin = la_max64(margin, round_trip);
    return ms - la_min64(margin, ms / 2);
}

uint64_t la_clock_reuse_ms(const struct la_reuse_clock *c, uint64_t now_ns)
{
    uint64_t known = la_clock_known_ms(c, now_ns);
    uint64_t reuse = less_margin(c, known);
    return known && reuse == 0 ? 1 : reuse;
}

uint64_t la_clock_proven_ms(const struct la_reuse_clock *c)
{
    return less_margin(c, atomic_load_explicit(&c->alive_ms, memory_order_relaxed));
}
