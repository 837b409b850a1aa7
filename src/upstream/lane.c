/* lane.c: whose turn it is on a line, and which line an ask takes.
 *
 * Owns: lanes, one for each client and line while it has asks there. Never: the connection (line.c).
 *
 * A client's asks of one server stay on one line, so that they keep their order. Lanes with something to write stand in
 * a ring; those whose next ask is bulk, while another bulk one is under way, stand aside. One thread. */
#include "line_private.h"
#include "lastack/slab.h"

#include <stdlib.h>

#define LOOK_NS 10000000u

/* ---- lanes ---- */

void la_lane_place(struct la_lane *n, bool front)
{
    struct la_line *l = n->line;
    struct la_ask *a = la_list_first(&n->asks, struct la_ask, node);
    la_list_remove(&n->node);
    if (a == NULL)
        return;
    if (a->bulk && l->bulk_out)
        la_list_push_back(&l->blocked, &n->node);
    else if (front)
        la_list_push_front(&l->ring, &n->node);
    else
        la_list_push_back(&l->ring, &n->node);
}

void la_lane_drop(struct la_lane *n)
{
    la_assert(n->count > 0);
    if (--n->count)
        return;
    la_list_remove(&n->node);
    la_list_remove(&n->of_client);
    la_slab_put(&n->line->outlet->branch->home->lanes, n);
}

void la_lanes_forget(struct la_list *lanes)
{
    struct la_lane *n;
    la_list_each(lanes, n, struct la_lane, of_client) la_list_remove(&n->of_client);
}

/* ---- asking ---- */

static struct la_line *line_at(struct la_outlet *o, unsigned i)
{
    struct la_line *l = o->lines.line[i];
    if (l)
        return l;
    l = la_xcalloc(1, sizeof *l);
    la_line_init(l, o);
    return o->lines.line[i] = l;
}

/* Bulk goes last; else the first line that has little before it. */
static struct la_line *choose(struct la_outlet *o, bool bulk)
{
    unsigned n = la_line_share(o);
    if (n == 1)
        return line_at(o, 0);
    if (bulk)
        return line_at(o, n - 1);
    struct la_line *best = NULL;
    for (unsigned i = 0; i < n - 1; i++) {
        struct la_line *l = line_at(o, i);
        if (l->queued + l->ahead < LA_LINE_AHEAD && l->inflight + l->waiting < 64)
            return l;
        if (best == NULL || l->inflight + l->waiting < best->inflight + best->waiting)
            best = l;
    }
    return best;
}

/* What came before this turn of the loop has been read. What came since matters to asks that cannot go again, and to
 * others when it is likely. */
static bool wants_look(const struct la_line *l, const struct la_ask *a)
{
    uint64_t now = la_now_ns(l->outlet->branch->home);
    return l->state == LINE_UP && l->inflight == 0 && l->look_ns != now && (!a->safe || now - l->reply_ns > LOOK_NS);
}

/* Was it hung up while nothing was asked? */
static void look(struct la_line *l)
{
    int quiet = la_stream_peek(&l->conn->stream);
    l->look_ns = la_now_ns(l->outlet->branch->home);
    if (quiet != 0)
        la_line_lose(l, LA_SERVER_CLOSED, quiet < 0 ? LA_CLOSE_KEEPALIVE_TIMEOUT : LA_CLOSE_UNEXPECTED_BYTES, quiet < 0);
}

void la_lanes_init(struct la_slab *s)
{
    la_slab_init(s, sizeof(struct la_lane), 56);
}

static struct la_lane *lane_new(struct la_line *l, struct la_list *lanes)
{
    struct la_lane *n = la_slab_get(&l->outlet->branch->home->lanes);
    la_assert(n != NULL); /* as la_xcalloc */
    *n = (struct la_lane){.line = l, .credit = LA_LINE_QUANTUM};
    la_list_init(&n->node);
    la_list_init(&n->asks);
    la_list_init(&n->of_client);
    la_list_push_back(lanes, &n->of_client);
    return n;
}

static void ask_in(struct la_lane *mine, struct la_ask *a);

void la_lines_ask(struct la_outlet *o, struct la_list *lanes, struct la_ask *a)
{
    struct la_lane *n, *mine = NULL;
    la_list_each(lanes, n, struct la_lane, of_client) if (n->line->outlet == o) mine = n;
    ask_in(mine ? mine : lane_new(choose(o, a->bulk), lanes), a);
}

void la_line_ask(struct la_line *l, struct la_list *lanes, struct la_ask *a)
{
    ask_in(lane_new(l, lanes), a);
}

static void ask_in(struct la_lane *mine, struct la_ask *a)
{
    struct la_line *l = mine->line;
    struct la_outlet *o = l->outlet;
    l->goodbye = a->on->goodbye;
    a->lane = mine;
    a->sent = 0;
    a->picked = a->answered = a->graced = false;
    a->again = 0;
    mine->count++;
    o->lines.asks++;
    l->waiting++;
    l->queued += la_ask_size(a);
    la_list_init(&a->node);
    la_list_init(&a->age);
    bool first = la_list_empty(&mine->asks);
    la_list_push_back(&mine->asks, &a->node);
    la_line_age(l, a);
    if (first)
        la_lane_place(mine, false);
    if (wants_look(l, a))
        look(l);
    if (l->state == LINE_DOWN)
        la_line_dial(l);
    bool sooner = l->timer.due_ms > a->due_ns / 1000000u + 1;
    if (!la_timer_is_set(&l->timer) || sooner || l->state == LINE_DOWN || l->quiet_timer)
        la_line_arm(l);
    if (l->state == LINE_UP && l->queued >= LA_LINE_EARLY && l->ahead == 0 && !a->bulk)
        la_line_flush(l);
    else
        la_line_flush_soon(l);
}

void la_lines_look(struct la_outlet *o)
{
    for (unsigned i = 0; i < LA_LINES_MOST; i++)
        if (o->lines.line[i])
            la_line_flush_soon(o->lines.line[i]);
}

void la_lines_close(struct la_outlet *o)
{
    for (unsigned i = 0; i < LA_LINES_MOST; i++) {
        struct la_line *l = o->lines.line[i];
        if (l == NULL)
            continue;
        la_timer_stop(&l->timer);
        la_list_remove(&l->idle.node);
        if (l->conn) {
            l->conn->on_event = NULL;
            l->conn->owner = NULL;
            l->conn = NULL; /* la_upstreams_close ends it */
        }
        l->state = LINE_DOWN;
        la_line_fail_all(l, LA_DRAINING);
        la_timer_stop(&l->timer);
        la_list_remove(&l->idle.node);
        free(l);
        o->lines.line[i] = NULL;
    }
}
