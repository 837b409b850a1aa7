/* upstream_queue.c: the order of waiters, which of them dials cover, and what other workers see; random operations
 * against a naive twin. */
#include "lastack/queue.h"
#include "test.h"

#define MOST 40

static struct la_cell *cell;

static void queue_init(struct la_queue *q)
{
    la_queue_init(q, NULL, cell, NULL); /* no timer is ever set here */
}

static struct la_waiter waiter(uint64_t arrived_ns)
{
    return (struct la_waiter){.arrived_ns = arrived_ns};
}

static uint64_t oldest_seen(void)
{
    return atomic_load(&cell->oldest_ns);
}

static uint64_t uncovered_seen(void)
{
    return atomic_load(&cell->uncovered_ns);
}

static void first_in_first_out(void)
{
    struct la_queue q;
    queue_init(&q);
    CHECK(oldest_seen() == 0 && uncovered_seen() == 0);
    struct la_waiter a = waiter(10), b = waiter(20), c = waiter(20), retry = waiter(15);
    la_queue_add(&q, &a);
    la_queue_add(&q, &b);
    la_queue_add(&q, &c);
    CHECK(q.n == 3 && a.queue == &q);
    CHECK(oldest_seen() == 10 && uncovered_seen() == 10);
    la_queue_add(&q, &retry); /* a retry keeps its arrival time */
    CHECK(la_queue_oldest(&q, 0) == &a);
    la_queue_remove(&q, &a);
    CHECK(a.queue == NULL && oldest_seen() == 15);
    CHECK(la_queue_oldest(&q, 0) == &retry);
    la_queue_remove(&q, &retry);
    CHECK(la_queue_oldest(&q, 0) == &b); /* as old as c, but it came first */
    la_queue_remove(&q, &c);
    la_queue_remove(&q, &b);
    CHECK(la_queue_oldest(&q, 0) == NULL && oldest_seen() == 0 && uncovered_seen() == 0);
    la_queue_fini(&q);
}

static void tried(void)
{
    struct la_queue q;
    queue_init(&q);
    struct la_waiter a = waiter(1), b = waiter(2);
    la_queue_add(&q, &a);
    la_queue_add(&q, &b);
    a.tried = 1u << 3;
    CHECK(la_queue_oldest(&q, 3) == &b);
    CHECK(la_queue_oldest(&q, 2) == &a);
    CHECK(la_queue_oldest(&q, 64) == &a && la_queue_oldest(&q, 200) == &a);
    b.tried = UINT64_MAX;
    CHECK(la_queue_oldest(&q, 3) == NULL);
    la_queue_remove(&q, &a);
    la_queue_remove(&q, &b);
}

static void covered(void)
{
    struct la_queue q;
    queue_init(&q);
    struct la_waiter w[4] = {waiter(10), waiter(20), waiter(30), waiter(40)};
    la_queue_dial_started(&q); /* a dial that nobody waits for */
    la_queue_add(&q, &w[0]);
    CHECK(w[0].covered && q.uncovered == NULL && oldest_seen() == 10 && uncovered_seen() == 0);
    la_queue_add(&q, &w[1]);
    la_queue_add(&q, &w[3]);
    CHECK(q.uncovered == &w[1] && uncovered_seen() == 20);
    la_queue_dial_started(&q);
    CHECK(w[1].covered && q.uncovered == &w[3]);
    la_queue_add(&q, &w[2]);
    CHECK(q.uncovered == &w[2] && !w[3].covered);
    la_queue_remove(&q, &w[0]); /* served by a freed connection: its dial is for the next one */
    CHECK(w[2].covered && q.uncovered == &w[3]);
    la_queue_dial_ended(&q); /* failed */
    CHECK(!w[2].covered && q.uncovered == &w[2] && uncovered_seen() == 30);
    struct la_waiter old = waiter(5);
    la_queue_add(&q, &old); /* goes first, and takes the cover */
    CHECK(old.covered && !w[1].covered && q.uncovered == &w[1]);
    la_queue_dial_ended(&q);
    CHECK(!old.covered && q.uncovered == &old);
    la_queue_remove(&q, &old);
    for (int i = 1; i < 4; i++)
        la_queue_remove(&q, &w[i]);
    la_queue_fini(&q);
}

/* ---- the twin: an array, covered means index < dials ---- */

struct twin {
    struct la_waiter *at[MOST];
    int n, dials;
};

static void twin_add(struct twin *t, struct la_waiter *w)
{
    int i = t->n++;
    for (; i > 0 && t->at[i - 1]->arrived_ns > w->arrived_ns; i--)
        t->at[i] = t->at[i - 1];
    t->at[i] = w;
}

static void twin_remove(struct twin *t, int i)
{
    for (t->n--; i < t->n; i++)
        t->at[i] = t->at[i + 1];
}

static bool same(const struct la_queue *q, const struct twin *t)
{
    const struct la_waiter *uncovered = t->dials < t->n ? t->at[t->dials] : NULL;
    if (q->n != t->n || q->dials != t->dials || q->uncovered != uncovered)
        return false;
    if (oldest_seen() != (t->n ? t->at[0]->arrived_ns : 0) || uncovered_seen() != (uncovered ? uncovered->arrived_ns : 0))
        return false;
    int i = 0;
    struct la_waiter *w;
    la_list_each(&q->waiters, w, struct la_waiter, node) {
        if (i >= t->n || w != t->at[i] || w->covered != (i < t->dials) || w->queue != q)
            return false;
        i++;
    }
    if (i != t->n)
        return false;
    for (unsigned bit = 0; bit < 3; bit++) {
        for (i = 0; i < t->n && t->at[i]->tried >> bit & 1; i++)
            ;
        if (la_queue_oldest(q, bit) != (i < t->n ? t->at[i] : NULL))
            return false;
    }
    return true;
}

static void model(void)
{
    uint64_t seed = la_random_seed(), r = seed;
    static struct la_waiter w[MOST];
    struct la_queue q;
    struct twin t = {0};
    queue_init(&q);
    memset(w, 0, sizeof w);
    uint64_t now = 1000;
    for (unsigned step = 0; step < 300000; step++) {
        uint64_t x = la_random(&r);
        struct la_waiter *some = &w[x / 16 % MOST];
        now += x >> 60;
        switch (x % 16) {
        case 0: case 1: case 2: case 3: case 4: case 5: case 6:
            if (some->queue)
                break;
            some->arrived_ns = x % 16 == 6 ? now - x / 1024 % 500 : now; /* a retry is older */
            some->tried = x / 4096 % 8;
            la_queue_add(&q, some);
            twin_add(&t, some);
            break;
        case 7: case 8: case 9: /* the oldest is served */
            if (t.n == 0)
                break;
            la_queue_remove(&q, t.at[0]);
            twin_remove(&t, 0);
            break;
        case 10: case 11: /* a client leaves */
            if (t.n == 0)
                break;
            int i = (int)(x / 16 % (unsigned)t.n);
            la_queue_remove(&q, t.at[i]);
            twin_remove(&t, i);
            break;
        case 12: case 13:
            if (t.dials < MOST) {
                la_queue_dial_started(&q);
                t.dials++;
            }
            break;
        default:
            if (t.dials > 0) {
                la_queue_dial_ended(&q);
                t.dials--;
            }
        }
        if (!same(&q, &t)) {
            fprintf(stderr, "seed %llu, step %u, operation %u\n", (unsigned long long)seed, step, (unsigned)(x % 16));
            CHECK(!"queue and twin differ");
        }
    }
    while (t.n) {
        la_queue_remove(&q, t.at[0]);
        twin_remove(&t, 0);
    }
    la_queue_fini(&q);
    CHECK(oldest_seen() == 0);
}

int main(void)
{
    cell = la_cells_new(1);
    first_in_first_out();
    tried();
    covered();
    model();
    free(cell);
    return TEST_DONE();
}
