/* load_count.c: what the load generator counts, and the sum over its threads.
 *
 * Owns: the content of load_thread.r, which its thread alone writes and any thread reads. Never touches a
 * connection. Good path: load_count_answer for each whole answer. At the warm-up's end each thread sets its own
 * counts to zero; a reader sees some of them before and some after it. */
#include "tools/load_private.h"

#include <stdarg.h>
#include <stdio.h>

void load_note_failure(struct client *c, const char *fmt, ...)
{
    char *text = c->t->r.first_failure;
    if (text[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(c->t->r.first_failure), fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < sizeof(c->t->r.first_failure))
        snprintf(text + n, sizeof(c->t->r.first_failure) - (size_t)n, " (token %s, request %llu of its connection)",
                 c->token, (unsigned long long)c->served + 1);
}

static void count_status(struct load_thread *t, int status)
{
    la_stat_add(&t->r.status[status], 1);
    if (status < 300)
        LOAD_ADD(t, status_2xx, 1);
    else if (status < 400)
        LOAD_ADD(t, status_3xx, 1);
    else if (status < 500)
        LOAD_ADD(t, status_4xx, 1);
    else
        LOAD_ADD(t, status_5xx, 1);
}

static void note_overtaken(struct client *c)
{
    struct load_thread *t = c->t;
    for (unsigned i = 0; i < t->clients; i++) {
        struct client *other = &t->client[i];
        if (other->busy && !other->answered && other->seq < c->seq &&
            ++other->overtaken > la_stat_get(&t->r.n.overtaken_max))
            atomic_store_explicit(&t->r.n.overtaken_max, other->overtaken, memory_order_relaxed);
    }
}

void load_count_answer(struct client *c, uint64_t now_ns, bool mixed)
{
    struct load_thread *t = c->t;
    const struct la_load *l = t->load;
    uint64_t us = now_ns > c->start_ns ? (now_ns - c->start_ns) / 1000 : 0;
    la_hist_record(&t->r.latency_us, us);
    if (c->last)
        la_hist_record(&t->r.life_us, (now_ns - c->connect_ns) / 1000);
    LOAD_ADD(t, done, 1);
    count_status(t, c->status);
    if (mixed)
        LOAD_ADD(t, mixed, 1);
    if (c->status < 400 && !mixed && !t->stopping)
        LOAD_ADD(t, timely, 1);
    if (now_ns >= l->from_ns) {
        uint64_t slice = la_min64((now_ns - l->from_ns) / l->heat_slice_ns, LA_LOAD_SLICES - 1);
        _Atomic uint32_t *cell = &t->r.heat[slice][la_load_level(us)];
        atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + 1, memory_order_relaxed);
    }
    if (l->conf.overtaken)
        note_overtaken(c);
}

void load_count_waited(struct load_thread *t, uint64_t start_ns)
{
    uint64_t now_ns = la_clock_ns();
    if (t->backlog) /* closed: what is under way at the end is not what was asked about */
        la_hist_record(&t->r.latency_us, now_ns > start_ns ? (now_ns - start_ns) / 1000 : 0);
}

void load_counts_reset(struct load_thread *t)
{
#define X(name) atomic_store_explicit(&t->r.n.name, 0, memory_order_relaxed);
    LA_LOAD_COUNTS(X)
#undef X
    for (size_t s = 0; s < la_count(t->r.status); s++)
        atomic_store_explicit(&t->r.status[s], 0, memory_order_relaxed);
    for (size_t i = 0; i < LA_LOAD_SLICES * LA_LOAD_LEVELS; i++)
        atomic_store_explicit(&t->r.heat[0][0] + i, 0, memory_order_relaxed);
    la_hist_reset(&t->r.latency_us);
    la_hist_reset(&t->r.connect_us);
    la_hist_reset(&t->r.late_us);
    la_hist_reset(&t->r.life_us);
    t->r.first_failure[0] = 0;
}

static void add_thread(struct la_load_result *out, const struct la_load_result *r)
{
    uint64_t overtaken = la_max64(out->n.overtaken_max, r->n.overtaken_max);
#define X(name) out->n.name += la_stat_get(&r->n.name);
    LA_LOAD_COUNTS(X)
#undef X
    out->n.overtaken_max = overtaken;
    for (size_t s = 0; s < la_count(out->status); s++)
        out->status[s] += la_stat_get(&r->status[s]);
    for (size_t i = 0; i < LA_LOAD_SLICES; i++)
        for (size_t k = 0; k < LA_LOAD_LEVELS; k++)
            out->heat[i][k] += atomic_load_explicit(&r->heat[i][k], memory_order_relaxed);
    la_hist_add(&out->latency_us, &r->latency_us);
    la_hist_add(&out->connect_us, &r->connect_us);
    la_hist_add(&out->late_us, &r->late_us);
    la_hist_add(&out->life_us, &r->life_us);
}

void la_load_read(const struct la_load *l, struct la_load_result *out)
{
    memset(out, 0, sizeof(*out));
    bool running = la_load_running(l);
    for (unsigned i = 0; i < l->threads; i++) {
        add_thread(out, &l->thread[i].r);
        if (!running && !out->first_failure[0])
            memcpy(out->first_failure, l->thread[i].r.first_failure, sizeof(out->first_failure));
    }
    uint64_t to = running ? la_clock_ns() : atomic_load(&l->to_ns), stop = atomic_load(&l->stop_ns);
    out->warming = to < l->from_ns;
    out->elapsed_ns = to > l->from_ns ? to - l->from_ns : 0;
    out->window_ns = stop > l->from_ns ? stop - l->from_ns : stop ? 0 : out->elapsed_ns;
    out->heat_slice_ns = l->heat_slice_ns;
}
