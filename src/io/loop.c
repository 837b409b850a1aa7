/* loop.c: one thread's event loop, on libev.
 *
 * Owns: the ev_loop, the timer wheel, the mailbox, the list of deferred calls. Never: sockets (the watchers' owners
 * have them).
 *
 * A turn: wait, read the clock once, take the mail, handle descriptors, then timers (so that what has arrived in time
 * is not timed out by a slow turn), then deferred calls. A turn that may have left something that had arrived leaves the
 * timers to the next, which comes at once.
 *
 * The wheel has seven levels of 64 slots of 64^level milliseconds: 139 years of the clock. A timer lies at the level of
 * the highest six-bit group in which its due tick differs from the present tick; so the lowest level in use holds the
 * next event, and no slot wraps. When the present reaches a slot of a higher level its timers move down. */
#include "lastack/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wstrict-prototypes" /* ev.h's own */
#include <ev.h>
#pragma GCC diagnostic pop

#define LEVELS 7
#define SLOTS  64
#define BITS   6

/* Turns in a row that may leave the timers to the next. libev's batch grows to twice its size each time it is full: so many of
 * them hold all descriptors that a process can have. */
#define PUT_OFF_MOST 16
#define BATCH_LEAST  64 /* libev's first */
#define LATE_MS      10

struct la_loop {
    struct ev_loop *ev;
    int epoll_fd; /* libev's, see la_io_detach; -1: not known */
    ev_async async;
    ev_check check;
    ev_prepare prepare;
    ev_timer timer;
    uint64_t now_ns;
    uint64_t tick;  /* the wheel's present */
    uint64_t armed; /* tick the ev_timer is set for; UINT64_MAX: none */
    uint64_t pending[LEVELS];
    struct la_list slot[LEVELS][SLOTS];
    struct la_list first, ready, deferred, hot;
    bool timers_due;
    unsigned batch;   /* descriptors that have to be ready for libev's batch to be full: as far as turns have shown */
    unsigned put_off; /* turns in a row that have left the timers to the next */
    struct la_mailbox mailbox;
    void (*on_mail)(void *arg, struct la_mail *mail);
    void *arg;
};

_Static_assert(sizeof(ev_io) <= sizeof(((struct la_io *)0)->ev_), "ev_io fits");
_Static_assert(sizeof(ev_signal) <= sizeof(((struct la_signal *)0)->ev_), "ev_signal fits");

/* ---- descriptors ---- */

static ev_io *io_ev(struct la_io *io)
{
    return (ev_io *)(void *)io->ev_;
}

static void on_io(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct la_io *io = la_container(w, struct la_io, ev_);
    io->events |= (uint8_t)((revents & EV_READ ? LA_READ : 0) | (revents & EV_WRITE ? LA_WRITE : 0));
    if (la_list_empty(&io->ready))
        la_list_push_front(io->first ? &io->loop->first : &io->loop->ready, &io->ready);
}

void la_io_init(struct la_io *io, struct la_loop *loop, int fd, void (*cb)(struct la_io *, int events))
{
    ev_io_init(io_ev(io), on_io, fd, 0);
    io->cb = cb;
    io->loop = loop;
    la_list_init(&io->ready);
    io->events = 0;
    io->first = false;
}

void la_io_want(struct la_io *io, int events)
{
    ev_io *w = io_ev(io);
    int mask = (events & LA_READ ? EV_READ : 0) | (events & LA_WRITE ? EV_WRITE : 0);
    if (ev_is_active(w)) {
        if ((w->events & (EV_READ | EV_WRITE)) == mask)
            return;
        ev_io_stop(io->loop->ev, w);
    }
    if (mask == 0)
        return;
    ev_io_set(w, w->fd, mask);
    ev_io_start(io->loop->ev, w);
}

int la_io_wanted(const struct la_io *io)
{
    const ev_io *w = (const ev_io *)(const void *)io->ev_;
    if (!w->active) /* ev_is_active casts constness away */
        return 0;
    return (w->events & EV_READ ? LA_READ : 0) | (w->events & EV_WRITE ? LA_WRITE : 0);
}

int la_io_fd(const struct la_io *io)
{
    return ((const ev_io *)(const void *)io->ev_)->fd;
}

void la_io_stop(struct la_io *io)
{
    if (io->loop == NULL)
        return;
    ev_io_stop(io->loop->ev, io_ev(io));
    la_list_remove(&io->ready);
    io->events = 0;
}

void la_io_detach(struct la_io *io)
{
    la_io_stop(io);
    /* libev leaves a stopped descriptor in its epoll set, because most are closed next. One that lives on in another
     * thread would wake this one, and be touched by it after its end. */
    if (io->loop->epoll_fd >= 0)
        (void)epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_DEL, la_io_fd(io), NULL);
}

void la_hot_set(struct la_hot *h, struct la_io *io)
{
    if (h->io)
        return;
    h->io = io;
    la_list_init(&h->node);
    la_list_push_back(&io->loop->hot, &h->node);
}

void la_hot_clear(struct la_hot *h)
{
    if (h->io)
        la_list_remove(&h->node);
    h->io = NULL;
}

/* ---- timers ---- */

/* Returns the tick at which it is due or must move down. */
static uint64_t wheel_insert(struct la_loop *l, struct la_timer *t)
{
    uint64_t differ = t->due_ms ^ l->tick;
    unsigned level = differ ? (63u - (unsigned)__builtin_clzll(differ)) / BITS : 0;
    uint64_t at = t->due_ms >> (level * BITS);
    la_list_push_back(&l->slot[level][at % SLOTS], &t->node);
    l->pending[level] |= 1ull << at % SLOTS;
    return at << (level * BITS);
}

/* The next tick at which a timer is due or must move down; UINT64_MAX: none. */
static uint64_t wheel_next(const struct la_loop *l)
{
    for (unsigned level = 0; level < LEVELS; level++) {
        if (l->pending[level] == 0)
            continue;
        unsigned shift = level * BITS, slot = (unsigned)__builtin_ctzll(l->pending[level]);
        return (l->tick >> (shift + BITS) << (shift + BITS)) | (uint64_t)slot << shift;
    }
    return UINT64_MAX;
}

static void arm(struct la_loop *l, uint64_t tick)
{
    if (l->armed <= tick)
        return;
    l->armed = tick;
    uint64_t due_ns = tick * 1000000u;
    double after = due_ns > l->now_ns ? (double)(due_ns - l->now_ns) / 1e9 : 0.;
    ev_timer_stop(l->ev, &l->timer);
    ev_timer_set(&l->timer, after, 0.);
    ev_timer_start(l->ev, &l->timer);
}

void la_timer_init(struct la_timer *t, struct la_loop *loop, void (*cb)(struct la_timer *t))
{
    la_list_init(&t->node);
    t->due_ms = 0;
    t->loop = loop;
    t->cb = cb;
}

void la_timer_stop(struct la_timer *t)
{
    if (t->due_ms == 0)
        return;
    struct la_loop *l = t->loop;
    /* The slot's bit goes with its last timer: only a ring of two holds one. */
    struct la_list *ring = t->node.next == t->node.prev ? t->node.next : NULL;
    la_list_remove(&t->node);
    if (ring >= &l->slot[0][0] && ring < &l->slot[0][0] + LEVELS * SLOTS) {
        size_t at = (size_t)(ring - &l->slot[0][0]);
        l->pending[at / SLOTS] &= ~(1ull << (at % SLOTS));
    }
    t->due_ms = 0;
}

void la_timer_set(struct la_timer *t, uint64_t after_ms)
{
    la_timer_stop(t);
    struct la_loop *l = t->loop;
    uint64_t after = la_min64(after_ms, 1ull << 34);
    t->due_ms = (l->now_ns + after * 1000000u + 999999u) / 1000000u;
    if (t->due_ms <= l->tick)
        t->due_ms = l->tick + 1;
    arm(l, wheel_insert(l, t));
}

/* Moves the wheel to the present and calls what is due. */
static void wheel_run(struct la_loop *l)
{
    uint64_t now = l->now_ns / 1000000u;
    for (;;) {
        uint64_t next = wheel_next(l);
        if (next > now)
            break;
        unsigned level = 0;
        while (l->pending[level] == 0)
            level++;
        unsigned slot = (unsigned)__builtin_ctzll(l->pending[level]);
        struct la_list *ring = &l->slot[level][slot];
        l->tick = la_max64(l->tick, next);
        l->pending[level] &= ~(1ull << slot);
        struct la_list todo;
        la_list_init(&todo);
        if (!la_list_empty(ring)) {
            la_list_push_back(ring, &todo); /* todo takes the ring over */
            la_list_remove(ring);
        }
        while (!la_list_empty(&todo)) {
            struct la_timer *t = la_list_first(&todo, struct la_timer, node);
            la_list_remove(&t->node);
            if (t->due_ms <= l->tick) {
                t->due_ms = 0;
                t->cb(t);
            } else {
                wheel_insert(l, t);
            }
        }
    }
    l->tick = la_max64(l->tick, now);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    la_container(w, struct la_loop, timer)->timers_due = true;
}

static void run_timers(struct la_loop *l)
{
    la_loop_refresh(l);
    l->timers_due = false;
    l->put_off = 0;
    l->armed = UINT64_MAX;
    wheel_run(l);
    uint64_t next = wheel_next(l);
    if (next != UINT64_MAX)
        arm(l, next);
}

/* The next turn has the timers, and does not wait. */
static void put_off_timers(struct la_loop *l)
{
    l->timers_due = false;
    l->put_off++;
    l->armed = UINT64_MAX;
    arm(l, l->tick);
}

/* ---- the turn ---- */

/* Did a turn with so many ready descriptors perhaps leave some? Its batch was full; or it brought none, and came late: the
 * wait of a process that is stopped and goes on ends so. */
static bool may_have_left_some(const struct la_loop *l, unsigned descriptors)
{
    if (descriptors)
        return descriptors >= l->batch;
    return l->put_off == 0 && wheel_next(l) < l->now_ns / 1000000u - LATE_MS;
}

static void tell(struct la_list *ready)
{
    while (!la_list_empty(ready)) {
        struct la_io *io = la_list_first(ready, struct la_io, ready);
        int events = io->events & la_io_wanted(io);
        la_list_remove(&io->ready);
        io->events = 0;
        if (events)
            io->cb(io, events);
    }
}

/* libev tells of the events of one turn last to first. They were gathered front to front, so they run in the order in
 * which the kernel gave them: who came first is served first. */
static void on_pending(struct ev_loop *loop)
{
    struct la_loop *l = ev_userdata(loop);
    /* All but the check (or the prepare) and the timer. */
    unsigned descriptors = ev_pending_count(loop) - 1 - (ev_is_pending(&l->timer) ? 1 : 0);
    ev_invoke_pending(loop);
    tell(&l->first);
    tell(&l->ready);
    if (l->timers_due && l->put_off < PUT_OFF_MOST && may_have_left_some(l, descriptors))
        put_off_timers(l);
    if (l->timers_due)
        run_timers(l);
    if (descriptors >= l->batch) /* it was full and has grown, or is larger */
        l->batch = descriptors + 1;
}

static void on_check(struct ev_loop *loop, ev_check *w, int revents)
{
    (void)loop;
    (void)revents;
    la_loop_refresh(la_container(w, struct la_loop, check));
}

static void on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)loop;
    (void)revents;
    struct la_loop *l = la_container(w, struct la_loop, prepare);
    while (!la_list_empty(&l->deferred)) {
        struct la_idle *i = la_list_first(&l->deferred, struct la_idle, node);
        la_list_remove(&i->node);
        i->cb(i);
    }
    /* Bytes that no descriptor tells of are told in the next turn, which does not wait then. */
    struct la_hot *h;
    la_list_each(&l->hot, h, struct la_hot, node) {
        struct la_io *io = h->io;
        if (!(la_io_wanted(io) & LA_READ))
            continue;
        io->events |= LA_READ;
        if (la_list_empty(&io->ready))
            la_list_push_back(&l->ready, &io->ready);
        arm(l, l->tick);
    }
}

bool la_loop_take_mail(struct la_loop *l)
{
    struct la_mail *mail;
    bool any = false;
    while ((mail = la_mailbox_take(&l->mailbox)) != NULL) {
        l->on_mail(l->arg, mail);
        any = true;
    }
    return any;
}

static void on_async(struct ev_loop *loop, ev_async *w, int revents)
{
    (void)loop;
    (void)revents;
    la_loop_take_mail(la_container(w, struct la_loop, async));
}

static bool is_epoll(int fd)
{
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = 0;
    return strstr(target, "[eventpoll]") != NULL;
}

/* Are there two descriptors for a loop, its epoll's and its wake-ups'? For want of the second libev ends the process. *first: the
 * one that is opened next. */
static bool two_descriptors(int *first)
{
    int second = -1, err;
    *first = epoll_create1(EPOLL_CLOEXEC);
    if (*first >= 0)
        second = eventfd(0, EFD_CLOEXEC);
    err = errno;
    if (*first >= 0)
        close(*first);
    if (second >= 0)
        close(second);
    errno = err;
    return second >= 0;
}

struct la_loop *la_loop_new(void (*on_mail)(void *arg, struct la_mail *mail), void *arg)
{
    int next;
    if (!two_descriptors(&next))
        return NULL;
    struct la_loop *l = la_xcalloc(1, sizeof *l);
    l->ev = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (l->ev == NULL) {
        free(l);
        return NULL;
    }
    /* libev does not tell its epoll descriptor; it is the first one that a new loop opens. */
    l->epoll_fd = is_epoll(next) ? next : -1;
    l->on_mail = on_mail;
    l->arg = arg;
    l->armed = UINT64_MAX;
    l->batch = BATCH_LEAST;
    la_loop_refresh(l);
    l->tick = l->now_ns / 1000000u;
    for (unsigned i = 0; i < LEVELS * SLOTS; i++)
        la_list_init(&l->slot[0][0] + i);
    la_list_init(&l->deferred);
    la_list_init(&l->first);
    la_list_init(&l->ready);
    la_list_init(&l->hot);
    ev_set_userdata(l->ev, l);
    ev_set_invoke_pending_cb(l->ev, on_pending);
    la_mailbox_init(&l->mailbox);

    ev_check_init(&l->check, on_check);
    ev_set_priority(&l->check, 2);
    ev_check_start(l->ev, &l->check);
    ev_prepare_init(&l->prepare, on_prepare);
    ev_prepare_start(l->ev, &l->prepare);
    ev_async_init(&l->async, on_async);
    ev_set_priority(&l->async, 1);
    ev_async_start(l->ev, &l->async);
    ev_timer_init(&l->timer, on_timer, 0., 0.);
    ev_set_priority(&l->timer, -1);
    return l;
}

void la_loop_free(struct la_loop *l)
{
    if (l == NULL)
        return;
    ev_timer_stop(l->ev, &l->timer);
    ev_async_stop(l->ev, &l->async);
    ev_prepare_stop(l->ev, &l->prepare);
    ev_check_stop(l->ev, &l->check);
    ev_loop_destroy(l->ev);
    free(l);
}

void la_loop_run(struct la_loop *l)
{
    ev_run(l->ev, 0);
}

void la_loop_stop(struct la_loop *l)
{
    ev_break(l->ev, EVBREAK_ALL);
}

void la_loop_post(struct la_loop *l, struct la_mail *mail)
{
    la_mailbox_post(&l->mailbox, mail);
    ev_async_send(l->ev, &l->async);
}

void la_loop_defer(struct la_loop *l, struct la_idle *i)
{
    if (i->node.next == &i->node || i->node.next == NULL) {
        la_list_init(&i->node);
        la_list_push_back(&l->deferred, &i->node);
    }
}

uint64_t la_loop_now_ns(const struct la_loop *l)
{
    return l->now_ns;
}

void la_loop_refresh(struct la_loop *l)
{
    l->now_ns = la_clock_ns();
}

/* ---- signals ---- */

static void on_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    struct la_signal *s = la_container(w, struct la_signal, ev_);
    s->cb(s, w->signum);
}

void la_signal_start(struct la_signal *s, struct la_loop *l, int signum, void (*cb)(struct la_signal *, int))
{
    ev_signal *w = (ev_signal *)(void *)s->ev_;
    ev_signal_init(w, on_signal, signum);
    s->cb = cb;
    ev_signal_start(l->ev, w);
}

void la_signal_stop(struct la_signal *s, struct la_loop *l)
{
    ev_signal_stop(l->ev, (ev_signal *)(void *)s->ev_);
}
