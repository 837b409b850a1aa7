/* health.c: may this server take requests? Passive: consecutive failures on fresh connections put it out for a while
 * that doubles; then one request is let through as a probe. Active: a check's verdict, with thresholds. It decides
 * only; the check itself is proto's.
 *
 * A lost keep-alive race and a local port shortage never come here: their callers know that they are no failures. */
#include "lastack/server.h"

#define PROBE_NS (10 * 1000000000ull) /* a probe that was never answered frees its claim */

/* What has failed before is over. Written only when it changes: every response of every worker comes by. */
static void well_again(struct la_health *h, uint64_t now_ns)
{
    if (atomic_load_explicit(&h->failures, memory_order_relaxed))
        atomic_store(&h->failures, 0);
    if (atomic_load_explicit(&h->out_until_ns, memory_order_relaxed)) {
        atomic_store(&h->out_until_ns, 0);
        atomic_store(&h->outs, 0);
        atomic_store(&h->up_since_ns, now_ns);
    }
    la_health_probe_over(h);
}

void la_health_ok(struct la_health *h, uint64_t now_ns)
{
    well_again(h, now_ns);
    if (now_ns - atomic_load_explicit(&h->last_ok_ns, memory_order_relaxed) > LA_HEALTH_OK_NS)
        atomic_store_explicit(&h->last_ok_ns, now_ns, memory_order_relaxed);
}

void la_health_connected(struct la_health *h, uint64_t now_ns)
{
    if (atomic_load_explicit(&h->unreachable, memory_order_relaxed))
        well_again(h, now_ns);
}

bool la_health_failed(struct la_health *h, const struct la_conf_upstream *conf, bool dial, uint64_t now_ns)
{
    int failures = atomic_fetch_add(&h->failures, 1) + 1;
    if (!dial || failures == 1)
        atomic_store(&h->unreachable, dial);
    uint64_t until = atomic_load(&h->out_until_ns);
    bool was_probe = atomic_exchange(&h->probing, 0) != 0;
    if (conf->passive.failures == 0)
        return false;
    if (until && !was_probe)
        return false; /* out already: late news of older connections */
    if (!until && failures < (int)conf->passive.failures)
        return false;
    int outs = atomic_fetch_add(&h->outs, 1);
    atomic_store(&h->check_streak, 0); /* good checks before now do not bring it back */
    uint64_t pause = conf->passive.out_ms;
    for (int i = 0; i < outs && pause < conf->passive.out_max_ms; i++)
        pause *= 2;
    pause = la_min64(pause, conf->passive.out_max_ms);
    atomic_store(&h->out_until_ns, now_ns + pause * 1000000u);
    return until == 0;
}

bool la_health_checked(struct la_health *h, const struct la_conf_upstream *conf, bool ok, uint64_t now_ns)
{
    int streak = atomic_load(&h->check_streak);
    streak = ok ? (streak > 0 ? streak + 1 : 1) : (streak < 0 ? streak - 1 : -1);
    atomic_store(&h->check_streak, streak);
    bool down = atomic_load(&h->check_down);
    if (!down && streak <= -(int)conf->health.unhealthy) {
        atomic_store(&h->check_down, true);
        return true;
    }
    if (ok && streak >= (int)conf->health.healthy) {
        bool was_out = atomic_load(&h->out_until_ns) != 0;
        if (down || was_out) {
            atomic_store(&h->check_down, false);
            atomic_store(&h->out_until_ns, 0);
            atomic_store(&h->outs, 0);
            atomic_store(&h->failures, 0);
            atomic_store(&h->up_since_ns, now_ns);
            return true;
        }
    }
    return false;
}

bool la_health_up(const struct la_health *h)
{
    return !atomic_load(&h->check_down) && atomic_load(&h->out_until_ns) == 0;
}

bool la_health_usable(const struct la_health *h, uint64_t now_ns, bool *probe)
{
    *probe = false;
    if (atomic_load_explicit(&h->check_down, memory_order_relaxed))
        return false;
    uint64_t until = atomic_load_explicit(&h->out_until_ns, memory_order_relaxed);
    if (la_likely(until == 0))
        return true;
    if (now_ns < until)
        return false;
    if (atomic_load(&h->probing) && la_since(now_ns, atomic_load(&h->probe_since_ns)) < PROBE_NS)
        return false;
    *probe = true;
    return true;
}

bool la_health_claim_probe(struct la_health *h, uint64_t now_ns)
{
    int none = 0;
    if (!atomic_compare_exchange_strong(&h->probing, &none, 1) &&
        la_since(now_ns, atomic_load(&h->probe_since_ns)) < PROBE_NS)
        return false;
    atomic_store(&h->probe_since_ns, now_ns);
    return true;
}
