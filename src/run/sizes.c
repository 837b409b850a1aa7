/* sizes.c: pool.advise and pool.auto: what size each server's pool should have, and the steps towards it.
 *
 * Owns nothing: the advice lies in the server, so that a reload keeps it. Adds up what the workers count, lets upstream's
 * advice judge, and only with pool.auto writes the server's pool.max, as a new configuration does: who finds the pool
 * smaller says goodbye, who waits finds the new place at its next look (100 ms). Main thread; nothing can fail. */
#include "process.h"

static struct la_advice_counts counts_of(const struct la_server *s)
{
    struct la_advice_counts c = {0};
    for (unsigned w = 0; w < s->workers; w++) {
        c.requests += la_stat_get(&s->stats[w].timed);
        c.backend_us += la_stat_get(&s->stats[w].timed_backend_us);
        c.queue_us += la_stat_get(&s->stats[w].timed_queue_us);
    }
    return c;
}

static void follow(struct la_server *s, const struct la_conf_upstream *u, unsigned max)
{
    int step = la_advice_step(&s->advice, max, u->pool.range[0], u->pool.range[1]);
    unsigned next = (unsigned)((int)max + step);
    if (step == 0)
        return;
    atomic_store(&s->max, (int)next);
    atomic_store(&s->tunnels_max, (int)la_conf_tunnels(u, next));
    la_log_info("server %s of upstream %s: pool.max is now %u: of %.1f connections at work %.1f wait in the server", s->label, s->upstream,
                next, s->advice.at_work, s->advice.waiting);
}

static void look_at(struct la_server *s, const struct la_conf_upstream *u, uint64_t now_ns)
{
    struct la_advice_counts counts = counts_of(s);
    unsigned max = (unsigned)atomic_load(&s->max);
    if (!u->pool.advise && u->pool.ranges == 0)
        s->advice = (struct la_advice){0};
    else if (la_advice_feed(&s->advice, &counts, max, now_ns) && u->pool.ranges)
        follow(s, u, max);
}

void la_sizes_tick(struct process *p)
{
    const struct la_snapshot *now = p->snapshot;
    for (unsigned i = 0; now && i < now->plans; i++)
        for (unsigned k = 0; k < now->plan[i].servers; k++)
            look_at(now->plan[i].server[k], now->plan[i].conf, la_loop_now_ns(p->loop));
}
