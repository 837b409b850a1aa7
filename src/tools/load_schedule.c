/* load_schedule.c: the intended times of the load generator's open loop.
 *
 * Owns: the place in the schedule of one thread. Reads no clock and starts nothing. The threads share one schedule:
 * each takes every threads-th of its starts (Poisson: each has arrivals of its own, which together are Poisson too).
 * A constant rate is computed from the number of the start, not from the last one, so that no rounding adds up. A
 * timed list begins anew at its end, one mean gap later. Nothing can fail; la_load_new has looked at the numbers. */
#include "tools/load_private.h"

#include <math.h>

/* The exponential gap to the next arrival. */
static double gap_ns(struct load_schedule *s)
{
    double u = (double)((la_random(&s->random) >> 11) + 1) / 9007199254740993.0;
    return -log(u) * 1e9 / (s->conf->rate / s->threads);
}

void load_schedule_init(struct load_schedule *s, const struct la_load_conf *c, unsigned threads, unsigned index,
                        uint64_t from_ns, uint64_t seed)
{
    *s = (struct load_schedule){.conf = c, .threads = threads, .index = index, .from_ns = from_ns, .random = seed};
    if (c->poisson && c->rate > 0)
        s->at = gap_ns(s);
}

uint64_t la_load_lap_us(const struct la_load_ask *ask, size_t asks)
{
    uint64_t last = ask[asks - 1].at_us;
    return last + (asks > 1 ? last / (asks - 1) : 1000000);
}

static struct load_start timed(const struct load_schedule *s, uint64_t number)
{
    const struct la_load_conf *c = s->conf;
    uint64_t lap = la_load_lap_us(c->ask, c->asks);
    size_t ask = (size_t)(number % c->asks);
    double us = (double)(number / c->asks * lap + c->ask[ask].at_us);
    return (struct load_start){s->from_ns + (uint64_t)(us * 1000 / (c->speed > 0 ? c->speed : 1)), ask};
}

struct load_start load_schedule_next(const struct load_schedule *s)
{
    uint64_t number = s->n * s->threads + s->index;
    if (s->conf->ask && s->conf->order == LA_LOAD_TIMED)
        return timed(s, number);
    double at = s->conf->poisson ? s->at : (double)(number + 1) * 1e9 / s->conf->rate;
    return (struct load_start){s->from_ns + (uint64_t)at, 0};
}

void load_schedule_take(struct load_schedule *s)
{
    s->n++;
    if (s->conf->poisson && s->conf->rate > 0)
        s->at += gap_ns(s);
}
