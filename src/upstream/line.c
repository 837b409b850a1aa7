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
 * Lost: asks that were not sent, and safe ones without a byte of a reply, go to the next connection, with at
 * least GRACE_NS left; the oldest, whose fault it may be, only once. The others fail. A reply that is late,
 * unasked or no reply loses the line. One thread. */
#include "line_private.h"

#include <stdlib.h>

#define RETRY_MS   10 /* no place, port or descriptor now */
#define IOVS       64
#define READ_SIZE  65536u
#define READS      (LA_TURN_BYTES / READ_SIZE)
#define AGAIN_MOST 4 /* after others' faults; after what may be its own: once */
#define GRACE_NS   100000000u /* what an ask gets at least, once, after another one's fault; at most a fourth of its time */

static struct la_upstreams *home(const struct la_line *l)
{
    return l->outlet->branch->home;
}

static bool sent_all(const struct la_ask *a)
{
    return a->sent == la_ask_size(a);
}

/* Has the server perhaps seen some of it? A transport may hold bytes that it did not own up to. */
static bool begun(const struct la_line *l, const struct la_ask *a)
{
    return a->picked && (a->sent || l->conn->stream.transport);
}

void la_line_flush_soon(struct la_line *l)
{
    la_loop_defer(home(l)->loop, &l->idle);
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
        l->ahead -= la_ask_size(a) - a->sent;
        if (a->bulk) {
            l->bulk_out = false;
            while (!la_list_empty(&l->blocked))
                la_lane_place(la_list_first(&l->blocked, struct la_lane, node), true);
        }
    } else {
        l->waiting--;
        l->queued -= la_ask_size(a);
        la_lane_place(n, false);
    }
    l->outlet->lines.asks--;
    a->lane = NULL;
    la_lane_drop(n);
}

static void finish(struct la_line *l, struct la_ask *a, enum la_err e)
{
    detach(l, a);
    a->on->over(a, e);
}

static uint64_t quiet_ms(const struct la_line *l)
{
    const struct la_conf_upstream *u = l->outlet->branch->conf;
    return l->suspect ? u->health.timeout_ms : u->health.interval_ms;
}

/* Is this a line whose silence is asked about? */
static bool minds_quiet(const struct la_line *l)
{
    const struct la_outlet *o = l->outlet;
    return o->lines.quiet && !o->retired && !o->pool.draining && (l->state == LINE_UP || l->suspect);
}

/* Nothing is asked. A timer that is set for an ask that is over may run out: it sees then how long it has been quiet. */
static void arm_quiet(struct la_line *l, uint64_t now)
{
    if (!minds_quiet(l)) {
        la_timer_stop(&l->timer);
    } else if (!la_timer_is_set(&l->timer)) {
        uint64_t quiet = now > l->reply_ns ? (now - l->reply_ns) / 1000000u : 0, all = quiet_ms(l);
        l->quiet_timer = true;
        la_timer_set(&l->timer, quiet < all && !l->suspect ? all - quiet : all);
    }
}

void la_line_arm(struct la_line *l)
{
    struct la_ask *a = la_list_first(&l->ages, struct la_ask, age);
    uint64_t now = la_now_ns(home(l));
    if (a == NULL) {
        arm_quiet(l, now);
        return;
    }
    l->quiet_timer = false;
    if (l->state == LINE_DOWN)
        la_timer_set(&l->timer, RETRY_MS);
    else
        la_timer_set(&l->timer, a->due_ns > now ? (a->due_ns - now) / 1000000u + 1 : 0);
}

/* Nearly always the youngest; what was asked for longer ago (the rest of many keys) goes before. */
void la_line_age(struct la_line *l, struct la_ask *a)
{
    struct la_list *at = &l->ages;
    while (at->prev != &l->ages && la_container(at->prev, struct la_ask, age)->due_ns > a->due_ns)
        at = at->prev;
    la_list_insert_before(at, &a->age);
}

/* May it be sent once more? */
static bool may_go_again(const struct la_line *l, const struct la_ask *a, enum la_err e)
{
    bool head = l->sent.next == &a->node;
    if (head && a->sent && e == LA_RESPONSE_TIMEOUT) /* it is the one that was not answered */
        return false;
    if (a->sent == 0)
        return a->due_ns > la_now_ns(home(l));
    bool late = a->graced && a->due_ns <= la_now_ns(home(l));
    return a->safe && !a->answered && a->body_n == 0 && !late && a->again < (head ? 1 : AGAIN_MOST);
}

/* Back to the front of its lane, as if it had not been sent. */
static void put_back(struct la_line *l, struct la_ask *a)
{
    uint64_t whole = l->outlet->branch->conf->timeouts.response_ms * 1000000u;
    uint64_t soonest = la_now_ns(home(l)) + la_min64(GRACE_NS, whole / 4);
    if (a->sent && a->due_ns < soonest && !a->graced) {
        a->graced = true;
        a->due_ns = soonest;
        la_list_remove(&a->age);
        la_line_age(l, a);
    }
    la_list_remove(&a->node);
    l->inflight--;
    l->ahead -= la_ask_size(a) - a->sent;
    a->again += a->sent > 0;
    a->sent = 0;
    a->picked = false;
    l->waiting++;
    l->queued += la_ask_size(a);
    la_list_push_front(&a->lane->asks, &a->node);
    la_lane_place(a->lane, false);
}

/* The connection is no more. What cannot be sent again fails. */
void la_line_lose(struct la_line *l, enum la_err e, enum la_close_cause cause, bool gone)
{
    struct la_list failed;
    struct la_ask *a;
    la_list_init(&failed);
    l->state = LINE_DOWN;
    l->ending = false;
    l->suspect |= l->inflight > 0;
    l->bulk_out = false;
    l->kept = 0;
    la_conn_release(&l->conn, gone ? LA_GONE : LA_RESET, cause);
    while ((a = la_list_last(&l->sent, struct la_ask, node)) != NULL) {
        if (may_go_again(l, a, e)) {
            put_back(l, a);
        } else {
            la_list_remove(&a->node);
            la_list_push_front(&failed, &a->node);
        }
    }
    while (!la_list_empty(&l->blocked))
        la_lane_place(la_list_first(&l->blocked, struct la_lane, node), true);
    while ((a = la_list_first(&failed, struct la_ask, node)) != NULL)
        finish(l, a, e);
    if (l->waiting && l->state == LINE_DOWN)
        la_line_dial(l);
    la_line_arm(l);
}

static void failed(struct la_line *l, enum la_err e)
{
    struct la_outlet *o = l->outlet;
    /* Also of a dial: a connection that is there says nothing yet, one that is out is asked for its version. */
    if (la_health_failed(&o->pool.server->health, o->branch->conf, false, la_now_ns(home(l))))
        la_log_limited(LA_LOG_WARN, 1000, "server %s of upstream %s is out: %s", o->pool.server->label,
                       o->branch->shared->name, la_err_info(e)->text);
}

/* Beyond this worker's share, after a reload that made it smaller? No new asks come to it. */
static bool is_surplus(const struct la_line *l)
{
    unsigned share = la_line_share(l->outlet);
    for (unsigned i = 0; i < share; i++)
        if (l->outlet->lines.line[i] == l)
            return false;
    return true;
}

/* Has it carried something, and that was its last? One that is drained takes what there is. */
static bool had_last(const struct la_line *l)
{
    const struct la_pool *p = &l->outlet->pool;
    return !p->draining && l->conn->item.requests > 0 && la_pool_had_last(p, &l->conn->item, la_now_ns(home(l))) && !is_surplus(l);
}

/* Is it to end? A drained one, and one too many, goes when nothing waits. */
static bool should_end(const struct la_line *l)
{
    return (l->waiting == 0 && (l->outlet->pool.draining || is_surplus(l))) || had_last(l);
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
    la_line_lose(l, e,
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
            la_line_lose(l, LA_RESPONSE_BAD, LA_CLOSE_UNEXPECTED_BYTES, false);
            return false;
        }
        size_t used = 0;
        a->answered = true;
        enum la_ask_result r = a->on->reply(a, p, n, &used);
        p += used;
        n -= used;
        if (r == LA_ASK_BAD) {
            /* Behind another reply it may be the rest of that: the ask deserves a connection with nothing before it. */
            if (l->replies && a->safe && a->on->restart && a->on->restart(a))
                a->answered = false;
            failed(l, LA_RESPONSE_BAD);
            la_line_lose(l, LA_RESPONSE_BAD, LA_CLOSE_PROTOCOL_ERROR, false);
            return false;
        }
        if (r == LA_ASK_DONE) {
            bool early = !sent_all(a);
            l->replies++;
            l->suspect = false;
            l->reply_ns = la_now_ns(home(l));
            if (la_health_up(&l->outlet->pool.server->health)) /* one that is out comes back by its probe */
                la_health_ok(&l->outlet->pool.server->health, la_now_ns(home(l)));
            finish(l, a, LA_OK);
            if (early && l->conn == conn) { /* what the server makes of the rest is not known */
                la_line_lose(l, LA_SERVER_CLOSED, LA_CLOSE_UNSENT_REQUEST, false);
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
    for (unsigned i = 0; i < READS && l->conn == conn; i++) {
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
        la_line_arm(l);
        if (l->waiting || l->ahead || l->ending || should_end(l))
            la_line_flush_soon(l);
    }
}

static void on_event(struct la_conn *c, int events)
{
    struct la_line *l = c->owner;
    if (events & LA_READ)
        on_readable(l);
    if (l->conn == c && (events & LA_WRITE))
        la_line_flush(l);
}

/* ---- writing ---- */

/* The next ask in turn. NULL: none may go now. */
static struct la_ask *pick(struct la_line *l)
{
    struct la_lane *n = la_list_first(&l->ring, struct la_lane, node);
    if (n == NULL)
        return NULL;
    struct la_ask *a = la_list_front(&n->asks, struct la_ask, node);
    if (a->bulk && l->bulk_out) {
        la_list_remove(&n->node);
        la_list_push_back(&l->blocked, &n->node);
        return pick(l);
    }
    la_list_remove(&a->node);
    la_list_push_back(&l->sent, &a->node);
    a->picked = true;
    l->bulk_out |= a->bulk;
    l->waiting--;
    l->inflight++;
    l->queued -= la_ask_size(a);
    l->ahead += la_ask_size(a);
    l->conn->item.requests++;
    n->credit -= (long)la_min64(la_ask_size(a), 1u << 30);
    if (n->credit > 0 && !la_list_empty(&n->asks)) {
        la_lane_place(n, true);
    } else {
        n->credit = LA_LINE_QUANTUM;
        la_lane_place(n, false);
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
            v[n++] = (struct iovec){(void *)(uintptr_t)piece.p, la_min64(piece.n, LA_TURN_BYTES)};
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
            size_t k = la_min64(n, la_ask_size(a) - a->sent);
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
        la_line_dial(l);
    la_line_arm(l);
}

/* True: the socket took all, and there may be more. */
static bool write_some(struct la_line *l, uint64_t *gone)
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
    *gone += (size_t)k;
    return (size_t)k == all;
}

void la_line_flush(struct la_line *l)
{
    if (l->state != LINE_UP)
        return;
    struct la_conn *conn = l->conn;
    uint64_t gone = 0;
    do {
        if (!l->ending && should_end(l)) {
            l->ending = true;
            la_pool_mark(&l->outlet->pool, &conn->item);
        }
        while (!l->ending && l->ahead < LA_LINE_AHEAD && !had_last(l) && pick(l))
            ;
    } while (l->ahead && write_some(l, &gone) && l->conn == conn && gone < LA_TURN_BYTES);
    if (l->conn != conn)
        return;
    if (l->ending && l->inflight == 0) {
        say_goodbye(l);
        return;
    }
    bool more = gone >= LA_TURN_BYTES && !l->ending && !la_list_empty(&l->ring);
    if (l->ahead) { /* what is next may come from a file: la_ask_resume tells */
        struct iovec v[IOVS];
        more = gather(l, v) > 0;
    }
    la_io_want(&conn->stream.io, LA_READ | (more ? LA_WRITE : 0));
}

static void on_idle(struct la_idle *i)
{
    la_line_flush(la_container(i, struct la_line, idle));
}

void la_ask_resume(struct la_ask *a)
{
    if (a->lane)
        la_line_flush_soon(a->lane->line);
}

void la_ask_fail(struct la_ask *a, enum la_err e)
{
    if (sent_all(a))
        return;
    struct la_line *l = a->lane->line;
    struct la_conn *conn = l->conn;
    bool half = begun(l, a);
    finish(l, a, e);
    if (half && l->conn == conn)
        la_line_lose(l, LA_SERVER_CLOSED, LA_CLOSE_UNSENT_REQUEST, false);
}

/* ---- dialing ---- */

void la_line_fail_all(struct la_line *l, enum la_err e)
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
        l->suspect = true;
        failed(l, e);
        la_line_fail_all(l, e);
        la_line_arm(l);
        return;
    }
    l->state = LINE_UP;
    l->conn = c;
    c->item.requests = 0; /* its asks count, not that it was taken for them */
    l->replies = 0;
    l->reply_ns = la_now_ns(home(l));
    c->owner = l;
    c->on_event = on_event;
    la_io_want(&c->stream.io, LA_READ);
    la_line_flush_soon(l);
    la_line_arm(l);
}

/* This worker's part of pool.max. */
unsigned la_line_share(const struct la_outlet *o)
{
    unsigned workers = o->pool.server->workers, max = (unsigned)atomic_load(&o->pool.server->max);
    unsigned n = max / workers + (o->branch->home->worker < max % workers);
    return n > LA_LINES_MOST ? LA_LINES_MOST : n ? n : 1;
}

void la_line_dial(struct la_line *l)
{
    struct la_outlet *o = l->outlet;
    if (l->state != LINE_DOWN || la_pool_total(&o->pool) >= (int)la_line_share(o))
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
        if (begun(l, a)) {
            failed(l, LA_RESPONSE_TIMEOUT);
            la_line_lose(l, LA_RESPONSE_TIMEOUT, LA_CLOSE_TIMEOUT, false);
        } else {
            finish(l, a, l->state == LINE_UP ? LA_SEND_TIMEOUT : LA_QUEUE_TIMEOUT);
        }
    }
    if (l->waiting)
        la_line_dial(l);
    if (la_list_empty(&l->ages) && minds_quiet(l) && now - l->reply_ns >= quiet_ms(l) * 1000000u) {
        l->reply_ns = now;
        l->outlet->lines.quiet(l->outlet, l);
    }
    la_line_arm(l);
}

void la_line_init(struct la_line *l, struct la_outlet *o)
{
    l->outlet = o;
    la_list_init(&l->ring);
    la_list_init(&l->blocked);
    la_list_init(&l->sent);
    la_list_init(&l->ages);
    la_list_init(&l->idle.node);
    l->idle.cb = on_idle;
    la_timer_init(&l->timer, o->branch->home->loop, on_timer);
}
