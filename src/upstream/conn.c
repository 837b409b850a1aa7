/* conn.c: one connection to a server: its dial, its quiet life between exchanges, its end, its move to another worker.
 *
 * Owns: the socket, the timer, the port reservation. Never decides who gets a connection or a place: dispatch.c does.
 *
 * Good path: la_conn_dial -> writable -> la_dispatch_conn -> (busy: the owner's events) -> idle: any event here is the
 * end: FIN is the backend's keep-alive timeout, bytes are poison -> la_conn_end.
 *
 * The backend closes first. When we must end a quiet connection we send FIN, hold the place until the backend's FIN
 * has come, and reset after goodbye_timeout. One thread. */
#include "internal.h"
#include "lastack/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define WAY_MS   100 /* how often one that was replaced looks whether it is in the way */
#define RESET_MS 10  /* for the backend to see a reset, beside twice the time of a dial */

static void on_io(struct la_io *io, int events);
static void on_timer(struct la_timer *t);

/* ---- dialing ---- */

static struct la_conn *conn_new(struct la_outlet *o)
{
    struct la_upstreams *u = o->branch->home;
    struct la_conn *c = la_slab_get(&u->conns);
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->outlet = o;
    la_timer_init(&c->timer, u->loop, on_timer);
    return c;
}

/* Is this an address of this host now? One that moves between hosts may be gone for a while. */
static bool is_here(const struct la_addr *source)
{
    return source->len == 0 || la_conf_try_bind(source) != EADDRNOTAVAIL;
}

LA_COLD static void log_exhausted(struct la_server *s, struct la_port_pair *p)
{
    struct la_log_gate *gate = &s->port_gate[p - s->ledger->pair];
    uint64_t held;
    if (!la_log_gate_open(gate, 10000, &held))
        return;
    char from[LA_ADDR_TEXT], to[LA_ADDR_TEXT];
    if (!is_here(&p->source)) {
        la_log_warn("source %s is not an address of this host: connections to %s (%s) go over the other sources of upstreams.%s.source, "
                    "or wait where there is none (%llu more held back)",
                    la_addr_host_text(&p->source, from), la_addr_text(&s->addr, to), s->upstream, s->upstream, (unsigned long long)held);
        return;
    }
    la_log_warn("no local port free from %s to %s (%s): %d open, %d in TIME_WAIT, %d used by others, of %u ports; requests "
                "wait. Add a source address to upstreams.%s.source, widen net.ipv4.ip_local_port_range, or lower pool.max "
                "(%llu more held back)",
                p->source.len ? la_addr_host_text(&p->source, from) : "the default address",
                la_addr_text(&s->addr, to), s->upstream, atomic_load(&p->open), atomic_load(&p->time_wait),
                atomic_load(&p->foreign), p->ports, s->upstream, (unsigned long long)held);
}

/* Tries one source. A descriptor, or -errno. */
static int dial_from(struct la_outlet *o, struct la_port_pair *p)
{
    struct la_dial_options opt = {.user_timeout_ms = (unsigned)o->branch->conf->timeouts.user_ms};
    if (p == NULL)
        return la_sock_dial(&o->pool.server->addr, &opt);
    opt.source = &p->source;
    if (!p->own_range)
        return la_sock_dial(&o->pool.server->addr, &opt);
    if (la_sock_has_port_range() && p->in_sysctl_range) {
        opt.port_low = p->port_low;
        opt.port_high = p->port_high;
        return la_sock_dial(&o->pool.server->addr, &opt);
    }
    int fd = -EADDRINUSE;
    for (unsigned tries = 0; tries < p->ports; tries++) {
        opt.port = la_ledger_next_port(p);
        if (opt.port == 0)
            break; /* every port of the range is reserved */
        fd = la_sock_dial(&o->pool.server->addr, &opt);
        if ((fd != -EADDRINUSE && fd != -EADDRNOTAVAIL) || (tries == 0 && !is_here(&p->source)))
            break;
    }
    return fd;
}

/* Walks the sources until one has a port. -EADDRNOTAVAIL: none has. */
static int dial_any(struct la_outlet *o, struct la_port_pair **pair)
{
    struct la_server *s = o->pool.server;
    *pair = NULL;
    if (s->ledger == NULL)
        return dial_from(o, NULL);
    uint64_t now = la_now_ns(o->branch->home), skip = 0;
    for (;;) {
        struct la_port_pair *p = la_ledger_take(s->ledger, now, skip);
        if (p == NULL) {
            for (size_t i = 0; i < s->ledger->pairs; i++)
                if (la_ledger_free_ports(&s->ledger->pair[i]) == 0) {
                    atomic_fetch_add_explicit(&s->ledger->pair[i].exhausted_total, 1, memory_order_relaxed);
                    log_exhausted(s, &s->ledger->pair[i]);
                }
            return -EADDRNOTAVAIL;
        }
        int fd = dial_from(o, p);
        if (fd == -EADDRNOTAVAIL || fd == -EADDRINUSE) {
            la_ledger_exhausted(p, now);
            log_exhausted(s, p);
            size_t at = (size_t)(p - s->ledger->pair);
            if (at >= 64)
                return -EADDRNOTAVAIL;
            skip |= 1ull << at;
            continue;
        }
        if (fd < 0)
            la_ledger_give(p, false);
        else
            *pair = p;
        return fd;
    }
}

static enum la_err connect_error(int e)
{
    switch (e) {
    case ECONNREFUSED:
    case ENOENT: return LA_CONNECT_REFUSED;
    case ETIMEDOUT: return LA_CONNECT_TIMEOUT;
    case EHOSTUNREACH:
    case ENETUNREACH: return LA_CONNECT_UNREACHABLE;
    default: return LA_CONNECT_FAILED;
    }
}

static bool local_shortage(int e)
{
    return e == EADDRNOTAVAIL || e == EADDRINUSE || e == EAGAIN || e == EMFILE || e == ENFILE || e == ENOBUFS ||
           e == ENOMEM;
}

bool la_conn_dial(struct la_outlet *o, struct la_waiter *reserved,
                  void (*on_check)(void *, struct la_conn *, enum la_err), void *arg)
{
    struct la_upstreams *u = o->branch->home;
    struct la_port_pair *pair;
    int fd = dial_any(o, &pair);
    o->no_port = fd == -EADDRNOTAVAIL || fd == -EADDRINUSE;
    if (fd < 0 && local_shortage(-fd)) {
        if (fd == -EAGAIN && la_addr_family(&o->pool.server->addr) == AF_UNIX)
            la_log_limited(LA_LOG_WARN, 10000,
                           "server %s of upstream %s does not accept: the backlog of its socket is full; is it hung, or its listen backlog too small?",
                           o->pool.server->label, o->branch->shared->name);
        if (fd == -EMFILE || fd == -ENFILE)
            la_log_limited(LA_LOG_ERROR, 10000, "no descriptor for a connection to %s: raise the open files limit",
                           o->pool.server->label);
        return false;
    }
    struct la_conn *c = conn_new(o);
    if (c == NULL) {
        if (fd >= 0)
            close(fd);
        if (pair)
            la_ledger_give(pair, false);
        return false;
    }
    c->pair = pair;
    c->fresh = true;
    c->id = atomic_fetch_add_explicit(&u->crew->conn_ids, 1, memory_order_relaxed) + 1;
    c->dial_ns = c->item.opened_ns = la_now_ns(u);
    c->item.pair = pair ? (unsigned)(pair - o->pool.server->ledger->pair) : 0;
    c->reserved = reserved;
    if (reserved)
        reserved->dial = c;
    c->on_check = on_check;
    c->check_arg = arg;
    la_stream_init(&c->stream, u->loop, fd, on_io);
    c->stream.io.first = true;
    la_pool_add(&o->pool, &c->item, LA_CONN_DIALING, c->dial_ns);
    atomic_fetch_add(&o->pool.server->dialing, 1);
    if (!reserved && !on_check)
        la_conn_cover(c);
    if (!on_check) /* what the reuse ratio is made of */
        la_stat_add(&o->branch->stats->dials, 1);
    la_stat_add(&o->pool.stats->opened[la_server_slot(o->pool.server, c->item.pair)], 1);
    if (fd < 0) {
        c->dial_error = connect_error(-fd); /* told from the loop, like any other failure */
        la_timer_set(&c->timer, 0);
    } else {
        la_io_want(&c->stream.io, LA_WRITE);
        la_timer_set(&c->timer, o->branch->conf->timeouts.connect_ms);
    }
    return true;
}

void la_conn_cover(struct la_conn *c)
{
    if (c->outlet->retired)
        return;
    c->covers = la_outlet_queue(c->outlet);
    la_queue_dial_started(c->covers);
}

void la_conn_uncover(struct la_conn *c)
{
    struct la_queue *q = c->covers;
    c->covers = NULL;
    if (q)
        la_queue_dial_ended(q);
}

/* The dial is over, well or not; what it was for no longer counts it. */
static void dial_over(struct la_conn *c)
{
    struct la_outlet *o = c->outlet;
    la_timer_stop(&c->timer);
    atomic_fetch_sub(&o->pool.server->dialing, 1);
    if (c->reserved)
        c->reserved->dial = NULL;
    la_conn_uncover(c);
}

LA_COLD static void dial_failed(struct la_conn *c, enum la_err e, bool reset)
{
    struct la_outlet *o = c->outlet;
    struct la_upstreams *u = o->branch->home;
    struct la_waiter *reserved = c->reserved;
    void (*on_check)(void *, struct la_conn *, enum la_err) = c->on_check;
    void *arg = c->check_arg;
    dial_over(c);
    c->reserved = NULL;
    c->on_check = NULL;
    la_stat_add(&o->pool.stats->dial_failures, 1);
    if (!on_check && la_health_failed(&o->pool.server->health, o->branch->conf, true, la_now_ns(u)))
        la_log_limited(LA_LOG_WARN, 1000, "server %s of upstream %s is out: %s", o->pool.server->label, o->branch->shared->name,
                    la_err_info(e)->text);
    struct la_branch *b = o->branch;
    la_branch_hold(b);
    /* One that the backend has accepted holds its place until the reset is there. */
    bool held = c->shaking || c->personal;
    if (held)
        la_conn_end_and_offer(c, c->shaking ? LA_CLOSE_TLS_FAILED : LA_CLOSE_CONNECT_FAILED, reset);
    else
        la_conn_end(c, e == LA_CONNECT_TIMEOUT ? LA_CLOSE_CONNECT_TIMEOUT : LA_CLOSE_CONNECT_FAILED, reset);
    if (on_check)
        on_check(arg, NULL, e);
    else
        la_dispatch_dial_failed(o, reserved, e);
    if (!held)
        la_dispatch_place(o);
    la_branch_drop(b);
}

/* Ready for requests. */
static void dial_done(struct la_conn *c)
{
    struct la_outlet *o = c->outlet;
    struct la_upstreams *u = o->branch->home;
    uint32_t us = (uint32_t)la_min64((la_now_ns(u) - c->dial_ns) / 1000 + 1, 10000000);
    uint32_t before = atomic_load_explicit(&o->pool.server->connect_us, memory_order_relaxed);
    atomic_store_explicit(&o->pool.server->connect_us, before ? before - before / 8 + us / 8 : us,
                          memory_order_relaxed);
    la_hist_record(&o->branch->stats->phase[LA_PHASE_CONNECT], us);
    dial_over(c);
    if (!c->on_check)
        la_health_connected(&o->pool.server->health, la_now_ns(u));
    uint64_t max_age = o->branch->conf->pool.max_age_ms * 1000000u;
    if (max_age) /* ten percent either way, so that a burst's connections do not all end at once */
        c->item.last_by_ns = la_now_ns(u) + max_age / 10 * 9 + la_random(&u->random) % (max_age / 5 + 1);
    la_io_want(&c->stream.io, LA_READ);
    la_dispatch_conn(c, false);
}

LA_COLD static void handshake_failed(struct la_conn *c)
{
    char why[512];
    struct la_outlet *o = c->outlet;
    enum la_err e = la_tls_why(&c->stream, why, sizeof why);
    la_stat_add(&o->pool.stats->handshake[LA_HANDSHAKE_FAILED], 1);
    la_log_limited(LA_LOG_WARN, 1000, "upstream %s, server %s: %s: %s", o->branch->shared->name, o->pool.server->label,
                   la_err_info(e)->text, why);
    dial_failed(c, e, true);
}

static void shake_hands(struct la_conn *c)
{
    int want;
    struct la_tls_facts facts;
    switch (la_stream_handshake(&c->stream, &want)) {
    case 0: break;
    case LA_STREAM_AGAIN: la_io_want(&c->stream.io, want); return;
    default: handshake_failed(c); return;
    }
    if (la_tls_facts(&c->stream, &facts))
        la_stat_add(&c->outlet->pool.stats->handshake[facts.resumed ? LA_HANDSHAKE_RESUMED : LA_HANDSHAKE_FULL], 1);
    dial_done(c);
}

/* A connection that begins with one client's PROXY header is for nobody else: the waiter is chosen now, and the header sent.
 * False: it has ended. */
static bool introduce(struct la_conn *c)
{
    struct la_outlet *o = c->outlet;
    struct la_slice preface = la_slice(o->pool.server->preface, o->pool.server->preface_n);
    if (!c->on_check) {
        struct la_waiter *w = la_dial_waiter(o, c->reserved);
        if (w == NULL) { /* it went elsewhere meanwhile */
            la_health_probe_over(&o->pool.server->health);
            dial_over(c);
            la_conn_end_and_offer(c, LA_CLOSE_ABORTED, true);
            return false;
        }
        if (c->reserved == NULL) {
            la_conn_uncover(c);
            la_queue_remove(w->queue, w);
            atomic_fetch_sub(&o->branch->shared->waiting, 1);
            c->reserved = w;
            w->dial = c;
        }
        preface = w->preface(w, (int)o->pool.server->send_proxy);
    }
    c->personal = true;
    struct iovec v = {(void *)(uintptr_t)preface.p, preface.n};
    if (la_stream_send(&c->stream, &v, 1, true) == (ssize_t)preface.n)
        return true;
    dial_failed(c, LA_CONNECT_FAILED, true);
    return false;
}

/* Connected, or not. */
static void connect_done(struct la_conn *c)
{
    struct la_server *s = c->outlet->pool.server;
    int e = la_sock_error(la_stream_fd(&c->stream));
    if (e != 0) {
        dial_failed(c, connect_error(-e), false);
    } else if (s->send_proxy && !introduce(c)) {
        return;
    } else if (s->tls == NULL) {
        dial_done(c);
    } else if (!la_tls_connect(&c->stream, s->tls, s->tls_name, s->tls_slot)) {
        dial_failed(c, LA_MEMORY, true);
    } else {
        c->shaking = true;
        la_timer_set(&c->timer, c->outlet->branch->conf->timeouts.handshake_ms);
        shake_hands(c);
    }
}

/* ---- quiet states ---- */

void la_conn_set_idle(struct la_conn *c)
{
    struct la_outlet *o = c->outlet;
    c->on_event = NULL;
    c->owner = NULL;
    la_timer_stop(&c->timer);
    la_pool_move(&o->pool, &c->item, LA_CONN_IDLE, la_now_ns(o->branch->home));
    la_io_want(&c->stream.io, LA_READ);
    la_outlet_arm_clock(o);
}

/* Tells whom it was bound to, once. */
void la_conn_lost(struct la_conn *c)
{
    void (*on_pinned)(struct la_conn *, bool) = c->on_pinned;
    c->on_pinned = NULL;
    if (on_pinned)
        on_pinned(c, true);
    c->keeper = NULL;
}

void la_conn_set_leaving(struct la_conn *c, enum la_close_cause cause)
{
    struct la_outlet *o = c->outlet;
    la_conn_lost(c);
    c->on_event = NULL;
    c->owner = NULL;
    c->cause = cause;
    la_pool_mark(&o->pool, &c->item);
    la_pool_move(&o->pool, &c->item, LA_CONN_LEAVING, la_now_ns(o->branch->home));
    la_io_want(&c->stream.io, LA_READ);
    la_timer_set(&c->timer, o->branch->conf->pool.goodbye_ms);
}

void la_conn_shut(struct la_conn *c, enum la_close_cause cause)
{
    la_conn_set_leaving(c, cause);
    c->item.shut = true;
    la_stream_shutdown(&c->stream);
}

/* A backend that is dialed at once may accept the new connection before it has looked at the old one's reset, and
 * would count one too many. */
static void hold_place(struct la_conn *c, enum la_close_cause cause)
{
    struct la_outlet *o = c->outlet;
    uint32_t trip_us = atomic_load_explicit(&o->pool.server->connect_us, memory_order_relaxed);
    la_conn_set_leaving(c, cause);
    c->item.shut = true;
    la_stream_reset(&c->stream);
    la_stream_init(&c->stream, o->branch->home->loop, -1, on_io);
    la_timer_set(&c->timer, RESET_MS + 2 * trip_us / 1000);
}

void la_conn_end_and_offer(struct la_conn *c, enum la_close_cause cause, bool reset)
{
    struct la_outlet *o = c->outlet;
    if (reset && la_stream_fd(&c->stream) >= 0) {
        hold_place(c, cause);
        return;
    }
    la_conn_end(c, cause, reset);
    la_dispatch_place(o);
}

void la_conn_said_end(struct la_conn *c)
{
    struct la_outlet *o = c->outlet;
    uint64_t now = la_now_ns(o->branch->home);
    la_stream_goodbye(&c->stream);
    if (c->item.state == LA_CONN_LEAVING)
        return; /* its time runs already */
    la_clock_fin(&o->pool.server->clock, (now - c->item.idle_ns) / 1000000u, now);
    la_conn_set_leaving(c, LA_CLOSE_KEEPALIVE_TIMEOUT);
}

/* An event while nobody owns the connection. */
static void on_quiet_event(struct la_conn *c)
{
    struct la_outlet *o = c->outlet;
    char byte[512];
    ssize_t n = la_stream_recv(&c->stream, byte, sizeof byte);
    if (n == LA_STREAM_AGAIN)
        return;
    if (n == 0 && !la_stream_fin(&c->stream)) {
        la_conn_said_end(c);
        return;
    }
    if (n == LA_STREAM_FAIL && la_stream_cut(&c->stream))
        n = 0; /* nothing was under way that could have been cut short */
    uint64_t now = la_now_ns(o->branch->home);
    bool leaving = c->item.state == LA_CONN_LEAVING;
    if (n == 0 && !leaving)
        la_clock_fin(&o->pool.server->clock, (now - c->item.idle_ns) / 1000000u, now);
    if (n > 0 && c->item.shut)
        return; /* said before it saw our FIN; its own is still to come */
    if (n > 0)
        la_conn_end_and_offer(c, LA_CLOSE_UNEXPECTED_BYTES, true);
    else if (leaving)
        la_conn_end_and_offer(c, n == 0 || c->item.shut ? c->cause : LA_CLOSE_BACKEND_RESET, false);
    else
        la_conn_end_and_offer(c, n == 0 ? LA_CLOSE_KEEPALIVE_TIMEOUT : LA_CLOSE_BACKEND_RESET, false);
}

static void on_io(struct la_io *io, int events)
{
    struct la_conn *c = la_container(io, struct la_conn, stream.io);
    if (c->on_event)
        c->on_event(c, events);
    else if (c->item.state == LA_CONN_DIALING && c->shaking)
        shake_hands(c);
    else if (c->item.state == LA_CONN_DIALING)
        connect_done(c);
    else
        on_quiet_event(c);
}

static void on_timer(struct la_timer *t)
{
    struct la_conn *c = la_container(t, struct la_conn, timer);
    if (c->item.state == LA_CONN_DIALING) {
        bool at_once = c->dial_error != LA_OK;
        if (c->shaking)
            la_stat_add(&c->outlet->pool.stats->handshake[LA_HANDSHAKE_TIMEOUT], 1);
        dial_failed(c, at_once ? c->dial_error : c->shaking ? LA_TLS_TIMEOUT : LA_CONNECT_TIMEOUT, !at_once);
    } else {
        la_assert(c->item.state == LA_CONN_LEAVING);
        if (la_stream_fd(&c->stream) < 0) { /* hold_place */
            la_conn_end_and_offer(c, c->cause, true);
        } else if (c->item.shut) {
            la_conn_end_and_offer(c, LA_CLOSE_FORCED, true);
        } else {
            /* The backend did not hang up when asked: our FIN, and the same time once more. */
            la_conn_shut(c, LA_CLOSE_FORCED);
        }
    }
}

/* ---- the end ---- */

void la_conn_end(struct la_conn *c, enum la_close_cause cause, bool reset)
{
    struct la_outlet *o = c->outlet;
    struct la_upstreams *u = o->branch->home;
    la_conn_lost(c);
    la_timer_stop(&c->timer);
    if (c->counted)
        atomic_fetch_sub_explicit(&o->pool.server->busy, 1, memory_order_relaxed);
    la_pool_remove(&o->pool, &c->item);
    la_stat_add(&o->pool.stats->closed[cause], 1);
    if (cause == LA_CLOSE_UNEXPECTED_BYTES)
        atomic_store_explicit(&o->pool.server->quiet, 0, memory_order_relaxed);
    if (la_stream_fd(&c->stream) >= 0) {
        if (reset)
            la_stream_reset(&c->stream);
        else
            la_stream_close(&c->stream);
    }
    if (c->pair)
        la_ledger_give(c->pair, c->item.shut && !reset);
    la_slab_put(&u->conns, c);
}

/* ---- to another worker ---- */

struct conn_note {
    struct la_note note;
    struct la_server *server; /* referenced */
    struct la_conn conn;      /* all but its lists, watcher and timer */
};

static void on_arrival(struct la_note *note)
{
    struct conn_note *n = la_container(note, struct conn_note, note);
    struct la_upstreams *u = note->to;
    struct la_outlet *o = la_upstreams_outlet(u, n->server);
    struct la_conn *c = o ? conn_new(o) : NULL;
    if (c == NULL) { /* this worker has let the server go meanwhile */
        la_stream_adopt(&n->conn.stream, &n->conn.stream, u->loop, on_io);
        la_stream_reset(&n->conn.stream);
        if (n->conn.pair)
            la_ledger_give(n->conn.pair, false);
        la_place_put(n->server);
        la_server_unref(&n->server);
        free(n);
        la_dispatch_publish(u);
        return;
    }
    enum la_conn_state state = n->conn.item.state;
    c->pair = n->conn.pair;
    c->id = n->conn.id;
    c->hops = n->conn.hops;
    c->fresh = n->conn.fresh;
    c->item = n->conn.item;
    c->item.in_pool = false;
    c->item.goodbye = false;
    la_stream_adopt(&c->stream, &n->conn.stream, u->loop, on_io);
    c->stream.io.first = true;
    la_pool_add(&o->pool, &c->item, state, c->item.idle_ns);
    c->item.idle_ns = n->conn.item.idle_ns;
    if (n->conn.item.goodbye)
        la_pool_mark(&o->pool, &c->item);
    la_stat_add(&o->pool.stats->takeovers, 1);
    la_server_unref(&n->server);
    free(n);
    struct la_queue *q = la_outlet_queue(o);
    if (q->pokes > 0)
        q->pokes--;
    la_io_want(&c->stream.io, LA_READ);
    la_dispatch_conn(c, true);
    la_queue_publish(q); /* our slot was claimed */
    la_dispatch_queue(q, false);
}

void la_conn_hand_over(struct la_conn *c, unsigned worker)
{
    struct la_outlet *o = c->outlet;
    struct la_upstreams *u = o->branch->home;
    struct conn_note *n = la_xcalloc(1, sizeof *n);
    bool goodbye = c->item.goodbye;
    la_timer_stop(&c->timer);
    la_pool_remove(&o->pool, &c->item);
    la_stream_detach(&c->stream);
    n->conn = *c;
    n->conn.item.goodbye = goodbye;
    n->conn.hops++;
    n->server = la_server_ref(o->pool.server);
    n->note.deliver = on_arrival;
    n->note.to = u->crew->member[worker];
    la_slab_put(&u->conns, c);
    la_loop_post(u->crew->member[worker]->loop, &n->note.mail);
    la_outlet_maybe_end(o);
}

/* ---- the clocks ---- */

void la_outlet_arm_clock(struct la_outlet *o)
{
    if (!la_timer_is_set(&o->clock)) {
        uint64_t now = la_now_ns(o->branch->home);
        uint64_t reuse = la_pool_reuse_ms(&o->pool, now, true), close = la_pool_close_ms(&o->pool, now);
        la_timer_set(&o->clock, la_min64(reuse, close));
    } else if (o->clock_parked) { /* it is due before them: look anew */
        la_timer_set(&o->clock, 1);
    }
    o->clock_parked = false;
}

void la_outlet_on_clock(struct la_timer *t)
{
    struct la_outlet *o = la_container(t, struct la_outlet, clock);
    uint64_t now = la_now_ns(o->branch->home), next;
    struct la_pool_item *i;
    while ((i = la_pool_clock(&o->pool, now, &next)) != NULL)
        la_conn_shut(la_container(i, struct la_conn, item), LA_CLOSE_IDLE_CLOSE);
    o->clock_parked = o->pool.count[LA_CONN_IDLE] == 0;
    if (o->retired && atomic_load(&o->pool.server->replaced)) {
        la_outlet_give_way(o);
        if (o->pool.count[LA_CONN_PARKED])
            next = la_min64(next, now + WAY_MS * 1000000u);
    }
    if (next)
        la_timer_set(t, next > now ? (next - now) / 1000000u + 1 : 1);
}
