/* origin.c: the embeddable origin server: its listener, its connections and how each of them ends.
 *
 * Owns: every connection from accept to close, and the account of who closed it first. A connection counts as
 * open from accept until our FIN or RST is sent, or the peer's has been read; one over max_connections is
 * reset at once, without a grace for a FIN that is still under way. Never decides what a response looks like
 * (origin_reply.c).
 *
 * Good path: HEAD → (BODY) → DELAY → WRITE → HEAD …, until the idle timer closes, or LINGER after a response
 * that says so. Failures: a peer that leaves in the middle is counted (aborted, closed_by_peer_*); no
 * descriptor left: accepting pauses for 10 ms. One thread, that of la_origin_run. */
#include "tools/origin_private.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define IN_FIRST  4096
#define LINGER_MS 2000

static void on_conn(struct la_io *io, int events);

/* ---- the end of a connection ---- */

static void uncount(struct conn *c, enum closer who)
{
    struct la_origin *o = c->o;
    if (!c->counted)
        return;
    c->counted = false;
    ORIGIN_ADD(o, open, -1);
    if (who == CLOSER_ORIGIN) {
        ORIGIN_ADD(o, closed_by_origin, 1);
    } else {
        bool idle = c->state == CONN_HEAD && c->in_n == 0;
        if (who == CLOSER_PEER_FIN)
            ORIGIN_ADD(o, closed_by_peer_fin, 1);
        else
            ORIGIN_ADD(o, closed_by_peer_rst, 1);
        if (idle)
            ORIGIN_ADD(o, closed_by_peer_idle, 1);
        else
            ORIGIN_ADD(o, closed_by_peer_busy, 1);
    }
    if (c->goodbye) {
        la_hist_record(&o->goodbye_us, (la_clock_ns() - c->goodbye_ns) / 1000);
        if (who == CLOSER_ORIGIN)
            ORIGIN_ADD(o, goodbye_closed_by_origin, 1);
        else
            ORIGIN_ADD(o, goodbye_closed_by_peer, 1);
    }
}

static void start_waiting(struct la_origin *o)
{
    while (o->working < o->conf.workers || o->conf.workers == 0) {
        struct conn *c = la_list_first(&o->waiting, struct conn, delay);
        if (!c)
            return;
        la_list_remove(&c->delay);
        conn_work(c);
    }
}

/* The request in progress is over, one way or the other. */
static void request_over(struct conn *c)
{
    if (!c->busy)
        return;
    c->busy = false;
    stats_busy(c->o, -1);
    la_list_remove(&c->delay);
    if (c->working) {
        c->working = false;
        c->o->working--;
        start_waiting(c->o);
    }
}

void conn_close(struct conn *c, enum closer who)
{
    uncount(c, who);
    if (c->busy) {
        ORIGIN_ADD(c->o, aborted, 1);
        request_over(c);
    }
    la_io_stop(&c->io);
    la_timer_stop(&c->timer);
    close(c->fd);
    la_list_remove(&c->node);
    free(c->in);
    free(c->out);
    free(c);
}

void conn_reset(struct conn *c)
{
    struct linger hard = {.l_onoff = 1};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    conn_close(c, CLOSER_ORIGIN);
}

/* Has the peer's FIN or RST come already? Then it was first. */
static enum closer first_closer(struct conn *c, bool *data)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK);
    *data = n > 0;
    if (n == 0)
        return CLOSER_PEER_FIN;
    return n < 0 && errno == ECONNRESET ? CLOSER_PEER_RST : CLOSER_ORIGIN;
}

void conn_finish(struct conn *c)
{
    bool data;
    uncount(c, first_closer(c, &data));
    request_over(c);
    c->state = CONN_LINGER;
    shutdown(c->fd, SHUT_WR);
    la_io_want(&c->io, LA_READ);
    la_timer_set(&c->timer, LINGER_MS);
}

/* As servers do it: plain close(); bytes that come in the same moment are answered with RST. */
static void close_idle(struct conn *c)
{
    bool data;
    enum closer who = first_closer(c, &data);
    if (who == CLOSER_ORIGIN) {
        static const char gone[] =
            "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        if (c->o->conf.idle_408 && send(c->fd, gone, sizeof(gone) - 1, MSG_NOSIGNAL) < 0)
            who = CLOSER_ORIGIN; /* closes all the same */
        ORIGIN_ADD(c->o, idle_closes, 1);
        if (data)
            ORIGIN_ADD(c->o, idle_race, 1);
    }
    conn_close(c, who);
}

void conn_wait_idle(struct conn *c)
{
    const struct la_origin_conf *k = &c->o->conf;
    uint64_t ms = k->idle_ms;
    if (ms == 0) {
        la_timer_stop(&c->timer);
        return;
    }
    if (k->idle_jitter_ms)
        ms -= la_min64(la_random(&c->o->random) % (k->idle_jitter_ms + 1), ms - 1);
    la_timer_set(&c->timer, ms);
}

static void on_conn_timer(struct la_timer *t)
{
    struct conn *c = la_container(t, struct conn, timer);
    switch (c->state) {
    case CONN_HEAD:
        if (c->reply.fault == LA_FAULT_EXTRA_IDLE) {
            bool data;
            c->reply.fault = LA_FAULT_NONE;
            if (first_closer(c, &data) != CLOSER_ORIGIN || data) { /* a request was first: nobody could tell */
                conn_wait_idle(c);
                return;
            }
            static const char poison[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
            if (send(c->fd, poison, sizeof(poison) - 1, MSG_NOSIGNAL) < 0)
                conn_close(c, CLOSER_PEER_RST);
            else
                conn_wait_idle(c);
        } else if (la_io_wanted(&c->io) == 0) { /* accept_delay_ms is over */
            la_io_want(&c->io, LA_READ);
            conn_wait_idle(c);
        } else {
            close_idle(c);
        }
        break;
    case CONN_BODY: close_idle(c); break;
    case CONN_WRITE: reply_tick(c); break;
    case CONN_GOODBYE: conn_finish(c); break;
    case CONN_LINGER: conn_close(c, CLOSER_ORIGIN); break;
    case CONN_DELAY:
    case CONN_STALL:
    case CONN_TUNNEL: break;
    }
}

/* ---- between requests ---- */

void conn_next(struct conn *c)
{
    struct la_origin *o = c->o;
    ORIGIN_ADD(o, responses, 1);
    c->served++;
    request_over(c);
    if (c->request_close) {
        c->goodbye = true;
        c->goodbye_ns = la_clock_ns();
        ORIGIN_ADD(o, goodbyes, 1);
    }
    if (c->reply.close || c->reply.silent) {
        if (c->request_close && o->conf.goodbye_delay_ms) {
            c->state = CONN_GOODBYE;
            la_timer_set(&c->timer, o->conf.goodbye_delay_ms);
            return;
        }
        conn_finish(c);
        return;
    }
    c->state = c->body.done ? CONN_HEAD : CONN_BODY;
    c->body_unread = !c->body.done;
    la_io_want(&c->io, LA_READ);
    if (c->reply.fault == LA_FAULT_EXTRA_IDLE)
        la_timer_set(&c->timer, 5);
    else
        conn_wait_idle(c);
    if (c->in_n > 0)
        conn_process(c);
}

static void delay_arm(struct la_origin *o)
{
    struct conn *c = la_list_first(&o->delays, struct conn, delay);
    struct itimerspec at = {0};
    if (c) {
        at.it_value.tv_sec = (time_t)(c->due_ns / 1000000000);
        at.it_value.tv_nsec = (long)(c->due_ns % 1000000000);
    }
    timerfd_settime(o->delay_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_delay(struct la_io *io, int events)
{
    (void)events;
    struct la_origin *o = la_container(io, struct la_origin, delay_io);
    uint64_t times;
    if (read(la_io_fd(io), &times, sizeof(times)) < 0)
        return;
    for (uint64_t now = la_clock_ns();;) {
        struct conn *c = la_list_first(&o->delays, struct conn, delay);
        if (!c || c->due_ns > now)
            break;
        la_list_remove(&c->delay);
        reply_start(c);
    }
    delay_arm(o);
}

void conn_work(struct conn *c)
{
    struct la_origin *o = c->o;
    c->state = CONN_DELAY;
    if (o->conf.workers && o->working >= o->conf.workers) {
        la_list_push_back(&o->waiting, &c->delay);
        return;
    }
    c->working = true;
    o->working++;
    uint64_t us = c->reply.delay_us;
    if (us && o->conf.delay_jitter_us)
        us += la_random(&o->random) % (o->conf.delay_jitter_us + 1);
    us += o->conf.contention_us * o->working * (o->working - 1);
    if (us == 0 && o->conf.workers == 0) {
        reply_start(c);
        return;
    }
    c->due_ns = la_clock_ns() + us * 1000;
    struct la_list *at = &o->delays; /* mostly the last one */
    while (at->prev != &o->delays && la_container(at->prev, struct conn, delay)->due_ns > c->due_ns)
        at = at->prev;
    la_list_insert_before(at, &c->delay);
    if (o->delays.next == &c->delay)
        delay_arm(o);
}

/* ---- events ---- */

static void tunnel_read(struct conn *c)
{
    char buffer[4096];
    ssize_t n = recv(c->fd, buffer, sizeof(buffer), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        conn_close(c, n == 0 ? CLOSER_PEER_FIN : CLOSER_PEER_RST);
        return;
    }
    for (ssize_t at = 0; at < n;) { /* an echo's peer reads; bounded by one buffer */
        ssize_t k = send(c->fd, buffer + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (k < 0)
            break;
        at += k;
    }
}

static void on_readable(struct conn *c)
{
    if (c->in_n == c->in_cap) {
        if (c->in_cap > LA_WIRE_HEAD_MAX) {
            la_io_want(&c->io, la_io_wanted(&c->io) & ~LA_READ);
            return;
        }
        c->in_cap = c->in_cap ? c->in_cap * 4 : IN_FIRST;
        c->in = la_xrealloc(c->in, c->in_cap);
    }
    ssize_t n = recv(c->fd, c->in + c->in_n, c->in_cap - c->in_n, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(c, c->state == CONN_LINGER ? CLOSER_ORIGIN : n == 0 ? CLOSER_PEER_FIN : CLOSER_PEER_RST);
        return;
    }
    if (c->state == CONN_LINGER) {
        c->in_n = 0;
        return;
    }
    c->in_n += (size_t)n;
    if (c->state == CONN_HEAD || c->state == CONN_BODY)
        conn_process(c);
    else if (!c->body_unread)
        ORIGIN_ADD(c->o, pipelined, 1);
}

static void on_conn(struct la_io *io, int events)
{
    struct conn *c = la_container(io, struct conn, io);
    if ((events & LA_WRITE) && c->state == CONN_WRITE) {
        reply_write(c); /* may free c: what there is to read comes up again */
        return;
    }
    if (!(events & LA_READ))
        return;
    if (c->state == CONN_TUNNEL)
        tunnel_read(c);
    else
        on_readable(c);
}

static void on_accept_pause(struct la_timer *t)
{
    struct la_origin *o = la_container(t, struct la_origin, accept_pause);
    if (o->fd >= 0)
        la_io_want(&o->io, LA_READ);
}

static void take_connection(struct la_origin *o, int fd)
{
    ORIGIN_ADD(o, accepted, 1);
    if (o->conf.max_connections && ORIGIN_GET(o, open) >= o->conf.max_connections) {
        struct linger hard = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        close(fd);
        ORIGIN_ADD(o, over_cap, 1);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct conn *c = la_xcalloc(1, sizeof(*c));
    c->o = o;
    c->fd = fd;
    c->counted = true;
    c->body.done = true;
    la_list_init(&c->node);
    la_list_init(&c->delay);
    la_list_push_back(&o->conns, &c->node);
    la_io_init(&c->io, o->loop, fd, on_conn);
    la_timer_init(&c->timer, o->loop, on_conn_timer);
    ORIGIN_ADD(o, open, 1);
    if (ORIGIN_GET(o, open) > ORIGIN_GET(o, open_max))
        atomic_store_explicit(&o->n.open_max, ORIGIN_GET(o, open), memory_order_relaxed);
    if (o->conf.accept_delay_ms) {
        la_timer_set(&c->timer, o->conf.accept_delay_ms);
        return;
    }
    la_io_want(&c->io, LA_READ);
    conn_wait_idle(c);
}

static void on_accept(struct la_io *io, int events)
{
    (void)events;
    struct la_origin *o = la_container(io, struct la_origin, io);
    for (int i = 0; i < 256; i++) {
        int fd = accept4(o->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_connection(o, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            ORIGIN_ADD(o, accept_errors, 1);
            la_io_want(&o->io, 0);
            la_timer_set(&o->accept_pause, 10);
        }
        return;
    }
}

/* ---- the server ---- */

int origin_listen(const struct la_addr *a, bool reuse_port)
{
    int family = la_addr_family(a), on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (family == AF_UNIX) {
        unlink(a->u.un.sun_path);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (reuse_port)
            setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (bind(fd, &a->u.sa, a->len) < 0 || listen(fd, 4096) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

void origin_listening(struct la_origin *o, bool on)
{
    if (!on && o->fd >= 0) {
        la_io_stop(&o->io);
        close(o->fd);
        o->fd = -1;
    } else if (on && o->fd < 0) {
        o->fd = origin_listen(&o->address, false);
        if (o->fd >= 0) {
            la_io_init(&o->io, o->loop, o->fd, on_accept);
            la_io_want(&o->io, LA_READ);
        }
    }
}

void origin_close_idle(struct la_origin *o)
{
    struct conn *c;
    la_list_each(&o->conns, c, struct conn, node) if (c->state == CONN_HEAD && c->in_n == 0) close_idle(c);
}

void origin_reset_all(struct la_origin *o)
{
    struct conn *c;
    while ((c = la_list_first(&o->waiting, struct conn, delay)) != NULL)
        conn_reset(c);
    while ((c = la_list_first(&o->conns, struct conn, node)) != NULL)
        conn_reset(c);
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)mail;
    la_loop_stop(((struct la_origin *)arg)->loop);
}

struct la_origin *la_origin_new(const struct la_origin_conf *conf)
{
    struct la_origin *o = la_xcalloc(1, sizeof(*o));
    o->conf = *conf;
    o->fd = o->control_fd = o->delay_fd = -1;
    o->random = la_random_seed();
    la_list_init(&o->conns);
    la_list_init(&o->delays);
    la_list_init(&o->waiting);
    o->loop = la_loop_new(on_mail, o);
    o->fd = origin_listen(&conf->listen, false);
    o->delay_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (conf->control.len)
        o->control_fd = origin_listen(&conf->control, false);
    if (!o->loop || o->fd < 0 || o->delay_fd < 0 || (conf->control.len && o->control_fd < 0)) {
        int why = errno;
        la_origin_free(o);
        errno = why;
        return NULL;
    }
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    o->address = conf->listen;
    if (la_addr_family(&conf->listen) != AF_UNIX && getsockname(o->fd, (struct sockaddr *)&ss, &len) == 0)
        la_addr_from_sockaddr(&o->address, (struct sockaddr *)&ss, len);
    la_timer_init(&o->accept_pause, o->loop, on_accept_pause);
    la_io_init(&o->io, o->loop, o->fd, on_accept);
    la_io_want(&o->io, LA_READ);
    la_io_init(&o->delay_io, o->loop, o->delay_fd, on_delay);
    la_io_want(&o->delay_io, LA_READ);
    if (o->control_fd >= 0) {
        la_io_init(&o->control_io, o->loop, o->control_fd, stats_control);
        la_io_want(&o->control_io, LA_READ);
    }
    return o;
}

void la_origin_free(struct la_origin *o)
{
    origin_reset_all(o);
    int *fds[] = {&o->fd, &o->control_fd, &o->delay_fd};
    struct la_io *ios[] = {&o->io, &o->control_io, &o->delay_io};
    for (size_t i = 0; i < la_count(fds); i++) {
        la_io_stop(ios[i]);
        if (*fds[i] >= 0)
            close(*fds[i]);
    }
    if (o->accept_pause.loop)
        la_timer_stop(&o->accept_pause);
    if (o->loop)
        la_loop_free(o->loop);
    token_set_fini(&o->tokens);
    free(o);
}

const struct la_addr *la_origin_address(const struct la_origin *o)
{
    return &o->address;
}

void la_origin_run(struct la_origin *o)
{
    la_loop_run(o->loop);
}

void la_origin_stop(struct la_origin *o)
{
    la_loop_post(o->loop, &o->stop);
}
