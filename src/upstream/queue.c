/* queue.c: waiters in order of arrival, and how many of them a dial covers. One thread; its head goes to a cell that
 * other workers read. */
#include "lastack/queue.h"

void la_queue_init(struct la_queue *q, struct la_loop *l, struct la_cell *cell, void (*tick)(struct la_timer *))
{
    *q = (struct la_queue){.cell = cell, .dial_allow = LA_DIALS_AT_ONCE};
    la_list_init(&q->waiters);
    la_timer_init(&q->tick, l, tick);
}

void la_queue_fini(struct la_queue *q)
{
    la_assert(q->n == 0);
    la_timer_stop(&q->tick);
}

static struct la_waiter *first(const struct la_queue *q)
{
    return la_list_first(&q->waiters, struct la_waiter, node);
}

void la_queue_publish(struct la_queue *q)
{
    struct la_waiter *oldest = first(q);
    atomic_store(&q->cell->oldest_ns, oldest ? oldest->arrived_ns : 0);
    atomic_store(&q->cell->uncovered_ns, q->uncovered ? q->uncovered->arrived_ns : 0);
}

/* Sets the covered flags anew from the front; for the rare changes in the middle. */
static void recover(struct la_queue *q)
{
    int at = 0;
    struct la_waiter *w;
    q->uncovered = NULL;
    la_list_each(&q->waiters, w, struct la_waiter, node) {
        w->covered = at++ < q->dials;
        if (!w->covered) {
            q->uncovered = w;
            break;
        }
    }
}

void la_queue_add(struct la_queue *q, struct la_waiter *w)
{
    la_assert(w->queue == NULL);
    w->queue = q;
    w->covered = false;
    la_list_init(&w->node);
    struct la_list *at = &q->waiters; /* insert before this */
    while (at->prev != &q->waiters &&
           la_container(at->prev, struct la_waiter, node)->arrived_ns > w->arrived_ns)
        at = at->prev;
    la_list_insert_before(at, &w->node);
    q->n++;
    if (at != &q->waiters) {
        struct la_waiter *x;
        la_list_each(&q->waiters, x, struct la_waiter, node)
            x->covered = false;
        recover(q);
    } else if (q->n <= q->dials) {
        w->covered = true;
    } else if (q->uncovered == NULL) {
        q->uncovered = w;
    }
    la_queue_publish(q);
}

void la_queue_remove(struct la_queue *q, struct la_waiter *w)
{
    la_assert(w->queue == q);
    struct la_waiter *next = la_list_next(&q->waiters, w, struct la_waiter, node);
    if (w == q->uncovered) {
        q->uncovered = next;
    } else if (w->covered && q->uncovered) {
        /* its dial covers the next one */
        q->uncovered->covered = true;
        q->uncovered = la_list_next(&q->waiters, q->uncovered, struct la_waiter, node);
    }
    la_list_remove(&w->node);
    w->queue = NULL;
    w->covered = false;
    q->n--;
    la_timer_stop(&w->timeout);
    la_queue_publish(q);
}

void la_queue_dial_started(struct la_queue *q)
{
    q->dials++;
    if (q->uncovered) {
        q->uncovered->covered = true;
        q->uncovered = la_list_next(&q->waiters, q->uncovered, struct la_waiter, node);
    }
    la_queue_publish(q);
}

void la_queue_dial_ended(struct la_queue *q)
{
    la_assert(q->dials > 0);
    q->dials--;
    if (q->n > q->dials) {
        q->uncovered = q->uncovered ? la_list_prev(&q->waiters, q->uncovered, struct la_waiter, node)
                                    : la_list_last(&q->waiters, struct la_waiter, node);
        la_assert(q->uncovered != NULL);
        q->uncovered->covered = false;
    }
    la_queue_publish(q);
}

struct la_waiter *la_queue_oldest(const struct la_queue *q, unsigned bit)
{
    struct la_waiter *w;
    la_list_each(&q->waiters, w, struct la_waiter, node)
        if (bit >= 64 || !(w->tried >> bit & 1))
            return w;
    return NULL;
}
