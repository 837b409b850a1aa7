/* sampler.c: the last minute of every upstream: what lastack_reuse_ratio and the "lately" numbers of the status are made of.
 *
 * Owns: a ring of 61 pairs (requests, dials) per upstream, one second apart, and two older copies of its histogram of
 * total times. Never touches a counter it reads.
 *
 * Good path: run ticks once a second; each upstream of the present snapshot gets its next pair; upstreams that are
 * gone are forgotten. A new upstream's history starts with zeros, because its counters did; that of one which returns
 * (its connections have kept it) with what it has counted by then. Another upstream under the old name starts afresh.
 *
 * Nothing can fail but memory. Bounded: some 18 KiB per configured upstream. Main thread. */
#include "sampler.h"
#include "sums.h"

#include <stdlib.h>

#define SECONDS 60
#define SLOTS   (SECONDS + 1)
#define ROTATE  30 /* a histogram's older copy is 30 to 60 s old */

struct point {
    uint64_t requests, dials;
};

struct history {
    struct la_list node;
    char *name;
    const struct la_upstream *of; /* for identity */
    bool seen;         /* in this tick */
    unsigned n, at;    /* points held; where the newest lies */
    struct point point[SLOTS];
    unsigned age, older_age; /* ticks since newer and older were taken */
    struct la_hist older, newer;
};

struct la_sampler {
    struct la_list histories;
};

struct la_sampler *la_sampler_new(void)
{
    struct la_sampler *s = la_xcalloc(1, sizeof *s);
    la_list_init(&s->histories);
    return s;
}

static void history_free(struct history *h)
{
    la_list_remove(&h->node);
    free(h->name);
    free(h);
}

void la_sampler_free(struct la_sampler **sp)
{
    struct history *h;
    if (*sp == NULL)
        return;
    la_list_each(&(*sp)->histories, h, struct history, node)
        history_free(h);
    free(*sp);
    *sp = NULL;
}

static struct history *find(const struct la_sampler *s, const char *name)
{
    for (struct la_list *l = s->histories.next; l != &s->histories; l = l->next) {
        struct history *h = la_container(l, struct history, node);
        if (strcmp(h->name, name) == 0)
            return h;
    }
    return NULL;
}

static struct history *history_new(struct la_sampler *s, const char *name)
{
    struct history *h = la_xcalloc(1, sizeof *h);
    h->name = la_xstrdup(name);
    la_list_init(&h->node);
    la_list_push_back(&s->histories, &h->node);
    return h;
}

/* One point: zeros, as of the upstream's start, or what it has counted while nobody looked. */
static void begin(struct history *h, struct la_upstream *u, const struct la_upstream_sums *sum)
{
    h->of = u;
    h->n = 1;
    h->at = 0;
    h->point[0] = u->sampled ? (struct point){sum->requests, sum->dials} : (struct point){0, 0};
    h->age = h->older_age = 0;
    la_hist_reset(&h->older);
    if (u->sampled)
        la_sum_phase(u, LA_PHASE_TOTAL, &h->older);
    la_hist_reset(&h->newer);
    la_hist_add(&h->newer, &h->older);
    u->sampled = true;
}

static void rotate(struct history *h, const struct la_upstream *u)
{
    h->older_age++;
    if (++h->age < ROTATE)
        return;
    la_hist_reset(&h->older);
    la_hist_add(&h->older, &h->newer);
    la_sum_phase(u, LA_PHASE_TOTAL, &h->newer);
    h->older_age = ROTATE; /* that old was newer */
    h->age = 0;
}

void la_sampler_tick(struct la_sampler *s, const struct la_admin_state *state)
{
    struct history *h;
    la_list_each(&s->histories, h, struct history, node)
        h->seen = false;
    for (unsigned i = 0; i < la_admin_plans(state); i++) {
        struct la_upstream *u = state->snapshot->plan[i].shared;
        struct la_upstream_sums sum = la_sum_upstream(u);
        h = find(s, u->name);
        if (h == NULL)
            h = history_new(s, u->name);
        if (h->of != u || !u->sampled)
            begin(h, u, &sum);
        h->at = (h->at + 1) % SLOTS;
        h->point[h->at] = (struct point){sum.requests, sum.dials};
        if (h->n < SLOTS)
            h->n++;
        rotate(h, u);
        h->seen = true;
    }
    la_list_each(&s->histories, h, struct history, node)
        if (!h->seen)
            history_free(h);
}

double la_sampler_reuse_ratio(const struct la_sampler *s, const char *upstream)
{
    const struct history *h = find(s, upstream);
    if (h == NULL)
        return 1;
    const struct point *now = &h->point[h->at], *then = &h->point[(h->at + SLOTS - (h->n - 1)) % SLOTS];
    uint64_t requests = now->requests - then->requests, dials = now->dials - then->dials;
    if (dials == 0)
        return 1;
    return dials >= requests ? 0 : 1 - (double)dials / (double)requests; /* checks and retries dial too */
}

unsigned la_sampler_recent(const struct la_sampler *s, const char *upstream, const struct la_hist *now,
                           struct la_hist *recent)
{
    const struct history *h = find(s, upstream);
    la_hist_reset(recent);
    if (h == NULL)
        return 0;
    for (size_t i = 0; i < LA_HIST_BUCKETS; i++) {
        uint64_t n = la_stat_get(&now->bucket[i]), before = la_stat_get(&h->older.bucket[i]);
        if (n > before) {
            la_stat_add(&recent->bucket[i], n - before);
            la_stat_add(&recent->count, n - before);
        }
    }
    uint64_t sum = la_stat_get(&now->sum_us), before = la_stat_get(&h->older.sum_us);
    la_stat_add(&recent->sum_us, sum > before ? sum - before : 0);
    return h->older_age;
}
