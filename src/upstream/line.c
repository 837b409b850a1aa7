/* line.c: one pipelined connection: who writes next, whose reply this is, what becomes of asks when it is
 * lost.
 *
 * Owns: the order of asks, the connection while it is up. Never: what bytes mean (the ask's owner), whether a
 * server is in (health), places and ports (conn.c, by la_upstreams_dial_check).
 *
 * Good path: ask -> its lane -> the ring of lanes -> picked (a few kilobytes ahead of the socket, lanes take
 * turns) -> sent -> its reply, first in first out -> over.
 *
 * Fair: a lane writes QUANTUM bytes, then the next one; of bulk asks one is under way at a time, so that a
 * small ask never has more than one of them before it. With more than one line the last is for bulk.
 *
 * Lost: asks that were not sent, and safe ones without a byte of a reply, go to the next connection, once;
 * the others fail. A reply that is late, unasked or no reply loses the line. One thread. */
#include "internal.h"
#include "lastack/line.h"

#include <stdlib.h>

#define QUANTUM   16384
#define AHEAD     65536u /* picked and not yet taken by the socket */
#define RETRY_MS  10     /* no place, port or descriptor now */
#define READS     4      /* then others get their turn */
#define IOVS      64
#define READ_SIZE 65536u

enum line_state { LINE_DOWN, LINE_DIALING, LINE_UP };

struct la_line {
    struct la_outlet *outlet;
    enum line_state state;
    bool ending; /* takes no more asks: goodbye when its replies are in */
    bool bulk_out;
    struct la_conn *conn;
    struct la_list ring;    /* lanes with asks that may go */
    struct la_list blocked; /* lanes whose next ask is bulk, while one is under way */
    struct la_list sent;    /* picked asks, in the order of their replies */
    struct la_list ages;    /* all asks, oldest first */
    unsigned waiting, inflight;
    uint64_t ahead, queued; /* bytes */
    const char *goodbye;
    struct la_timer timer;
    struct la_idle idle;
    size_t kept;
    char keep[LA_LINE_KEEP];
};

struct la_lane {
    struct la_list node;      /* ring or blocked; unlinked: nothing waits */
    struct la_list of_client; /* unlinked: the client is gone */
    struct la_line *line;
    struct la_list asks; /* that wait */
    unsigned count;      /* waiting and sent */
    long credit;
};

static void flush(struct la_idle *i);
static void dial(struct la_line *l);

static struct la_upstreams *home(const struct la_line *l)
{
    return l->outlet->branch->home;
}

static uint64_t size_of(const struct la_ask *a)
{
    return a->head.n + a->body_n;
}

static bool sent_all(const struct la_ask *a)
{
    return a->sent == size_of(a);
}

static void flush_soon(struct la_line *l)
{
    la_loop_defer(home(l)->loop, &l->idle);
}

/* ---- lanes ---- */

static void lane_park(struct la_lane *n)
{
    la_list_remove(&n->node);
}

/* Puts it where its first waiting ask belongs. */
static void lane_place(struct la_lane *n, bool front)
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

static void lane_drop(struct la_lane *n)
{
    la_assert(n->count > 0);
    if (--n->count)
        return;
    la_list_remove(&n->node);
    la_list_remove(&n->of_client);
    free(n);
}

void la_lanes_forget(struct la_list *lanes)
{
    struct la_lane *n;
    la_list_each(lanes, n, struct la_lane, of_client) la_list_remove(&n->of_client);
}

/* ---- an ask ends ---- */

/* Takes it out of everything; the caller tells its owner. */
static void detach(struct la_line *l, struct la_ask *a)
{
    struct la_lane *n = a->lane;
    la_list_remove(&a->node);
    la_list_remove(&a->age);
    if (a->picked) {
        l->inflight--;
        l->ahead -= size_of(a) - a->sent;
        if (a->bulk) {
            l->bulk_out = false;
            while (!la_list_empty(&l->blocked))
                lane_place(la_list_first(&l->blocked, struct la_lane, node), true);
        }
    } else {
        l->waiting--;
        l->queued -= size_of(a);
        lane_place(n, false);
    }
    l->outlet->lines.asks--;
    a->lane = NULL;
    lane_drop(n);
}

static void finish(struct la_line *l, struct la_ask *a, enum la_err e)
{
    detach(l, a);
    a->on->over(a, e);
}

static void arm(struct la_line *l)
{
    struct la_ask *a = la_list_first(&l->ages, struct la_ask, age);
    uint64_t now = la_now_ns(home(l));
    if (a == NULL)
        la_timer_stop(&l->timer);
    else if (l->state == LINE_DOWN)
        la_timer_set(&l->timer, RETRY_MS);
    else
        la_timer_set(&l->timer, a->due_ns > now ? (a->due_ns - now) / 1000000u + 1 : 0);
}

/* Back to the front of its lane, as if it had not been sent. */
static void put_back(struct la_line *l, struct la_ask *a)
{
    la_list_remove(&a->node);
    l->inflight--;
    l->ahead -= size_of(a) - a->sent;
    a->again |= a->sent > 0;
    a->sent = 0;
    a->picked = false;
    l->waiting++;
    l->queued += size_of(a);
    la_list_push_front(&a->lane->asks, &a->node);
    lane_place(a->lane, false);
}

/* The connection is no more. What cannot be sent again fails. */
static void lose(struct la_line *l, enum la_err e, enum la_close_cause cause, bool gone)
{
    struct la_list failed;
    struct la_ask *a;
    la_list_init(&failed);
    l->state = LINE_DOWN;
    l->ending = false;
    l->bulk_out = false;
    l->kept = 0;
    la_conn_release(&l->conn, gone ? LA_GONE : LA_RESET, cause);
    while ((a = la_list_last(&l->sent, struct la_ask, node)) != NULL) {
        bool untouched = a->sent == 0 || (a->safe && !a->answered && !a->again && a->body_n == 0);
        if (untouched && a->due_ns > la_now_ns(home(l))) {
            put_back(l, a);
        } else {
            la_list_remove(&a->node);
            la_list_push_front(&failed, &a->node);
        }
    }
    while (!la_list_empty(&l->blocked))
        lane_place(la_list_first(&l->blocked, struct la_lane, node), true);
    while ((a = la_list_first(&failed, struct la_ask, node)) != NULL)
        finish(l, a, e);
    if (l->waiting && l->state == LINE_DOWN)
        dial(l);
    arm(l);
}

static void failed(struct la_line *l, enum la_err e)
{
    struct la_outlet *o = l->outlet;
    if (la_health_failed(&o->pool.server->health, o->branch->conf, la_now_ns(home(l))))
        la_log_limited(LA_LOG_WARN, 1000, "server %s of upstream %s is out: %s", o->pool.server->label,
                       o->branch->shared->name, la_err_info(e)->text);
}

/* ---- reading ---- */

/* The backend ended it, or it broke. */
static void on_end(struct la_line *l, ssize_t n)
{
    bool asked = l->inflight > 0;
    enum la_err e = n == 0 ? LA_SERVER_CLOSED : LA_SERVER_RESET;
    if (asked)
        failed(l, e);
    else if (n == 0)
        l->conn->item.idle_ns = la_now_ns(home(l));
    lose(l, e,
         asked    ? LA_CLOSE_INCOMPLETE
         : n == 0 ? LA_CLOSE_KEEPALIVE_TIMEOUT
                  : LA_CLOSE_BACKEND_RESET,
         true);
}

/* Gives the bytes to those who wait for them. False: the line was lost, or bytes are kept no more. */
static bool deliver(struct la_line *l, const char *p, size_t n)
{
    struct la_conn *conn = l->conn;
    while (n) {
        struct la_ask *a = la_list_first(&l->sent, struct la_ask, node);
        if (a == NULL || a->sent == 0) {
            lose(l, LA_RESPONSE_BAD, LA_CLOSE_UNEXPECTED_BYTES, false);
            return false;
        }
        size_t used = 0;
        a->answered = true;
        enum la_ask_result r = a->on->reply(a, p, n, &used);
        p += used;
        n -= used;
        if (r == LA_ASK_BAD) {
            failed(l, LA_RESPONSE_BAD);
            lose(l, LA_RESPONSE_BAD, LA_CLOSE_PROTOCOL_ERROR, false);
            return false;
        }
        if (r == LA_ASK_DONE) {
            bool early = !sent_all(a);
            if (la_health_up(&l->outlet->pool.server->health)) /* one that is out comes back by its probe */
                la_health_ok(&l->outlet->pool.server->health, la_now_ns(home(l)));
            finish(l, a, LA_OK);
            if (early && l->conn == conn) { /* what the server makes of the rest is not known */
                lose(l, LA_SERVER_CLOSED, LA_CLOSE_UNSENT_REQUEST, false);
                return false;
            }
            if (l->conn != conn)
                return false;
        } else if (used == 0) {
            break;
        }
    }
    la_assert(n <= LA_LINE_KEEP);
    memcpy(l->keep, p, n);
    l->kept = n;
    return true;
}

static void on_readable(struct la_line *l)
{
    static _Thread_local char buf[LA_LINE_KEEP + READ_SIZE];
    struct la_conn *conn = l->conn;
    for (int i = 0; i < READS && l->conn == conn; i++) {
        size_t kept = l->kept;
        memcpy(buf, l->keep, kept);
        ssize_t n = la_stream_recv(&conn->stream, buf + kept, READ_SIZE);
        if (n == LA_STREAM_AGAIN)
            break;
        if (n <= 0) {
            on_end(l, n);
            return;
        }
        la_stat_add(&l->outlet->branch->stats->bytes_in, (uint64_t)n);
        l->kept = 0;
        if (!deliver(l, buf, kept + (size_t)n))
            return;
        if ((size_t)n < READ_SIZE)
            break;
    }
    if (l->state == LINE_UP) {
        arm(l);
        flush_soon(l);
    }
}

static void on_event(struct la_conn *c, int events)
{
    struct la_line *l = c->owner;
    if (events & LA_READ)
        on_readable(l);
    if (l->conn == c && (events & LA_WRITE))
        flush(&l->idle);
}

/* ---- writing ---- */

/* The next ask in turn. NULL: none may go now. */
static struct la_ask *pick(struct la_line *l)
{
    struct la_lane *n = la_list_first(&l->ring, struct la_lane, node);
    if (n == NULL)
        return NULL;
    struct la_ask *a = la_list_first(&n->asks, struct la_ask, node);
    if (a->bulk && l->bulk_out) {
        lane_park(n);
        la_list_push_back(&l->blocked, &n->node);
        return pick(l);
    }
    la_list_remove(&a->node);
    la_list_push_back(&l->sent, &a->node);
    a->picked = true;
    l->bulk_out |= a->bulk;
    l->waiting--;
    l->inflight++;
    l->queued -= size_of(a);
    l->ahead += size_of(a);
    l->conn->item.requests++;
    n->credit -= (long)la_min64(size_of(a), 1u << 30);
    if (n->credit > 0 && !la_list_empty(&n->asks)) {
        lane_place(n, true);
    } else {
        n->credit = QUANTUM;
        lane_place(n, false);
    }
    return a;
}

/* What of the picked asks can be written now. */
static int gather(struct la_line *l, struct iovec *v)
{
    struct la_list *at = &l->sent;
    uint64_t left = l->ahead;
    int n = 0;
    while (left && at->prev != &l->sent) { /* back to the first that is not out */
        struct la_ask *a = la_container(at->prev, struct la_ask, node);
        if (sent_all(a))
            break;
        at = at->prev;
    }
    for (; at != &l->sent && n < IOVS; at = at->next) {
        struct la_ask *a = la_container(at, struct la_ask, node);
        if (a->sent < a->head.n)
            v[n++] = (struct iovec){(void *)(uintptr_t)(a->head.p + a->sent), a->head.n - (size_t)a->sent};
        if (a->body_n == 0)
            continue;
        if (n == IOVS)
            break;
        struct la_slice piece = a->on->pull(a);
        if (piece.n)
            v[n++] = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
        break; /* one piece of a body at a time */
    }
    return n;
}

/* The socket took n bytes. */
static void took(struct la_line *l, size_t n)
{
    struct la_list *at = &l->sent;
    l->ahead -= n;
    while (at->prev != &l->sent && !sent_all(la_container(at->prev, struct la_ask, node)))
        at = at->prev;
    while (n) {
        struct la_ask *a = la_container(at, struct la_ask, node);
        if (a->sent < a->head.n) {
            size_t k = la_min64(n, a->head.n - a->sent);
            a->sent += k;
            n -= k;
        }
        if (n && a->body_n && !sent_all(a)) {
            size_t k = la_min64(n, size_of(a) - a->sent);
            a->sent += k;
            n -= k;
            a->on->pulled(a, k);
        }
        at = at->next;
    }
}

/* Its replies are in: says goodbye, or closes what cannot. */
static void say_goodbye(struct la_line *l)
{
    struct iovec v = {(void *)(uintptr_t)l->goodbye, strlen(l->goodbye)};
    l->ending = false;
    l->state = LINE_DOWN;
    l->kept = 0;
    if (la_stream_send(&l->conn->stream, &v, 1, false) == (ssize_t)v.iov_len)
        la_conn_release(&l->conn, LA_BACKEND_ENDS, LA_CLOSE_GOODBYE);
    else
        la_conn_release(&l->conn, LA_RESET, LA_CLOSE_ABORTED);
    if (l->waiting)
        dial(l);
    arm(l);
}

/* Is it to end? A drained one goes when nothing waits; the others when they have carried something. */
static bool should_end(const struct la_line *l)
{
    const struct la_pool *p = &l->outlet->pool;
    if (p->draining)
        return l->waiting == 0;
    return l->conn->item.requests > 0 && la_pool_says_goodbye(p, &l->conn->item, la_now_ns(home(l)));
}

static bool write_some(struct la_line *l)
{
    struct iovec v[IOVS];
    int n = gather(l, v);
    if (n == 0)
        return false;
    size_t all = 0;
    for (int i = 0; i < n; i++)
        all += v[i].iov_len;
    ssize_t k = la_stream_send(&l->conn->stream, v, n, false);
    if (k == LA_STREAM_FAIL) {
        on_end(l, -1);
        return false;
    }
    if (k == LA_STREAM_AGAIN)
        k = 0;
    la_stat_add(&l->outlet->branch->stats->bytes_out, (uint64_t)k);
    took(l, (size_t)k);
    return (size_t)k == all;
}

static void flush(struct la_idle *i)
{
    struct la_line *l = la_container(i, struct la_line, idle);
    if (l->state != LINE_UP)
        return;
    struct la_conn *conn = l->conn;
    do {
        if (!l->ending && should_end(l)) {
            l->ending = true;
            la_pool_mark(&l->outlet->pool, &conn->item);
        }
        while (!l->ending && l->ahead < AHEAD && pick(l))
            ;
    } while (l->ahead && write_some(l) && l->conn == conn);
    if (l->conn != conn)
        return;
    if (l->ending && l->inflight == 0) {
        say_goodbye(l);
        return;
    }
    bool starved = false; /* what is next comes from a file: la_ask_resume tells */
    if (l->ahead) {
        struct iovec v[IOVS];
        starved = gather(l, v) == 0;
    }
    la_io_want(&conn->stream.io, LA_READ | (l->ahead && !starved ? LA_WRITE : 0));
}

void la_ask_resume(struct la_ask *a)
{
    if (a->lane)
        flush_soon(a->lane->line);
}

/* ---- dialing ---- */

static void fail_waiting(struct la_line *l, enum la_err e)
{
    struct la_list all;
    struct la_ask *a;
    la_list_init(&all);
    la_list_each(&l->ages, a, struct la_ask, age)
    {
        la_list_remove(&a->age);
        la_list_push_back(&all, &a->age);
    }
    while ((a = la_list_first(&all, struct la_ask, age)) != NULL)
        finish(l, a, e);
}

static void on_dialed(void *arg, struct la_conn *c, enum la_err e)
{
    struct la_line *l = arg;
    if (c == NULL) {
        l->state = LINE_DOWN;
        failed(l, e);
        fail_waiting(l, e);
        arm(l);
        return;
    }
    l->state = LINE_UP;
    l->conn = c;
    c->owner = l;
    c->on_event = on_event;
    la_io_want(&c->stream.io, LA_READ);
    flush_soon(l);
    arm(l);
}

/* This worker's part of pool.max. */
static unsigned share(const struct la_outlet *o)
{
    unsigned workers = o->pool.server->workers, max = (unsigned)atomic_load(&o->pool.server->max);
    unsigned n = max / workers + (o->branch->home->worker < max % workers);
    return n > LA_LINES_MOST ? LA_LINES_MOST : n ? n : 1;
}

static void dial(struct la_line *l)
{
    struct la_outlet *o = l->outlet;
    if (l->state != LINE_DOWN || la_pool_total(&o->pool) >= (int)share(o))
        return; /* the timer tries again */
    l->state = LINE_DIALING;
    if (la_upstreams_dial_check(o, on_dialed, l))
        la_stat_add(&o->branch->stats->dials, 1);
    else
        l->state = LINE_DOWN;
}

static void on_timer(struct la_timer *t)
{
    struct la_line *l = la_container(t, struct la_line, timer);
    uint64_t now = la_now_ns(home(l));
    struct la_ask *a;
    while ((a = la_list_first(&l->ages, struct la_ask, age)) != NULL && a->due_ns <= now) {
        if (a->picked && a->sent) {
            failed(l, LA_RESPONSE_TIMEOUT);
            lose(l, LA_RESPONSE_TIMEOUT, LA_CLOSE_TIMEOUT, false);
        } else {
            finish(l, a, l->state == LINE_UP ? LA_SEND_TIMEOUT : LA_QUEUE_TIMEOUT);
        }
    }
    if (l->waiting)
        dial(l);
    arm(l);
}

/* ---- asking ---- */

static struct la_line *line_at(struct la_outlet *o, unsigned i)
{
    struct la_line *l = o->lines.line[i];
    if (l)
        return l;
    l = la_xcalloc(1, sizeof *l);
    l->outlet = o;
    la_list_init(&l->ring);
    la_list_init(&l->blocked);
    la_list_init(&l->sent);
    la_list_init(&l->ages);
    la_list_init(&l->idle.node);
    l->idle.cb = flush;
    la_timer_init(&l->timer, o->branch->home->loop, on_timer);
    return o->lines.line[i] = l;
}

/* Bulk goes last; else the first line that has little before it. */
static struct la_line *choose(struct la_outlet *o, bool bulk)
{
    unsigned n = share(o);
    if (n == 1)
        return line_at(o, 0);
    if (bulk)
        return line_at(o, n - 1);
    struct la_line *best = NULL;
    for (unsigned i = 0; i < n - 1; i++) {
        struct la_line *l = line_at(o, i);
        if (l->queued + l->ahead < AHEAD && l->inflight + l->waiting < 64)
            return l;
        if (best == NULL || l->inflight + l->waiting < best->inflight + best->waiting)
            best = l;
    }
    return best;
}

void la_lines_ask(struct la_outlet *o, struct la_list *lanes, struct la_ask *a)
{
    struct la_lane *n, *mine = NULL;
    la_list_each(lanes, n, struct la_lane, of_client) if (n->line->outlet == o) mine = n;
    if (mine == NULL) {
        mine = la_xcalloc(1, sizeof *mine);
        mine->line = choose(o, a->bulk);
        mine->credit = QUANTUM;
        la_list_init(&mine->node);
        la_list_init(&mine->asks);
        la_list_init(&mine->of_client);
        la_list_push_back(lanes, &mine->of_client);
    }
    struct la_line *l = mine->line;
    l->goodbye = a->on->goodbye;
    a->lane = mine;
    a->sent = 0;
    a->picked = a->answered = a->again = false;
    mine->count++;
    o->lines.asks++;
    l->waiting++;
    l->queued += size_of(a);
    la_list_init(&a->node);
    la_list_init(&a->age);
    bool first = la_list_empty(&mine->asks);
    la_list_push_back(&mine->asks, &a->node);
    /* Nearly always the youngest; what was asked for longer ago (the rest of many keys) goes before. */
    struct la_list *at = &l->ages;
    while (at->prev != &l->ages && la_container(at->prev, struct la_ask, age)->due_ns > a->due_ns)
        at = at->prev;
    la_list_insert_before(at, &a->age);
    if (first)
        lane_place(mine, false);
    if (l->state == LINE_UP && l->inflight == 0) { /* was it hung up while nothing was asked? */
        int quiet = la_stream_peek(&l->conn->stream);
        if (quiet != 0)
            lose(l, LA_SERVER_CLOSED, quiet < 0 ? LA_CLOSE_KEEPALIVE_TIMEOUT : LA_CLOSE_UNEXPECTED_BYTES,
                 quiet < 0);
    }
    if (l->state == LINE_DOWN)
        dial(l);
    if (!la_timer_is_set(&l->timer) || l->state == LINE_DOWN)
        arm(l);
    flush_soon(l);
}

uint64_t la_lines_waiting(const struct la_outlet *o)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < LA_LINES_MOST; i++)
        if (o->lines.line[i])
            n += o->lines.line[i]->queued + o->lines.line[i]->ahead;
    return n;
}

void la_lines_look(struct la_outlet *o)
{
    for (unsigned i = 0; i < LA_LINES_MOST; i++)
        if (o->lines.line[i])
            flush_soon(o->lines.line[i]);
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
        fail_waiting(l, LA_DRAINING);
        la_timer_stop(&l->timer);
        la_list_remove(&l->idle.node);
        free(l);
        o->lines.line[i] = NULL;
    }
}
