/* load_client.c: one client of the load generator: connect, send, read, verify, leave when it is meant to.
 *
 * Owns: the client's socket, timers and buffers. Never decides when the next request starts (load.c does,
 * told by load_client_free). Good path: IDLE → CONNECTING → ACTIVE → IDLE (kept alive) or CLOSING until the
 * server's FIN. Every way to fail has a count; the first failure of a thread is kept as text. A response that
 * starts before the request is out is taken, and the connection closed after it. One thread, its loop's. */
#include "tools/load_private.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void on_client(struct la_io *io, int events);

/* ---- ends ---- */

static void drop_connection(struct client *c, bool reset)
{
    if (c->fd < 0)
        return;
    if (reset) {
        struct linger hard = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    }
    la_io_stop(&c->io);
    close(c->fd);
    c->fd = -1;
    c->served = 0;
}

static void request_over(struct client *c)
{
    la_timer_stop(&c->timeout);
    la_timer_stop(&c->pace);
    free(c->in);
    free(c->out);
    c->in = c->out = NULL;
    c->state = CLIENT_IDLE;
    load_client_free(c);
}

#define FAIL(c, count, ...)                                                                                  \
    do {                                                                                                     \
        LOAD_ADD((c)->t, count, 1);                                                                          \
        note_failure((c), __VA_ARGS__);                                                                      \
        drop_connection((c), true);                                                                          \
        request_over(c);                                                                                     \
    } while (0)

LA_PRINTF(2, 3) static void note_failure(struct client *c, const char *fmt, ...)
{
    char *text = c->t->r.first_failure;
    if (text[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(c->t->r.first_failure), fmt, ap);
    va_end(ap);
    if (n > 0 && (size_t)n < sizeof(c->t->r.first_failure))
        snprintf(text + n, sizeof(c->t->r.first_failure) - (size_t)n,
                 " (token %s, request %llu of its connection)", c->token, (unsigned long long)c->served + 1);
}

static void leave(struct client *c)
{
    double by_reset = c->t->load->conf.leave.by_reset;
    LOAD_ADD(c->t, left, 1);
    drop_connection(c, (double)(la_random(&c->t->random) % 10000) < by_reset * 100);
    request_over(c);
}

/* ---- sending ---- */

/* What is to be watched for now. */
static void want(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    int events = k->download_rate && c->recv_ok == 0 ? 0 : LA_READ;
    bool more = !c->sent && !c->send_broken && !(c->wait_100 && c->out_at == c->out_n);
    if (more && !(k->upload_rate && c->send_ok == 0))
        events |= LA_WRITE;
    la_io_want(&c->io, events);
}

static void request_sent(struct client *c)
{
    c->sent = true;
    if (c->leave == LEAVE_WAITING && !la_timer_is_set(&c->pace))
        la_timer_set(&c->pace, la_random(&c->t->random) % 100);
}

/* How many of the n bytes in out may go now. */
static size_t bounded(const struct client *c, size_t n)
{
    if (c->t->load->conf.upload_rate)
        n = (size_t)la_min64(n, c->send_ok);
    if (c->leave == LEAVE_IN_HEAD || c->leave == LEAVE_IN_BODY)
        n = (size_t)la_min64(n, c->leave_at - c->written);
    return n;
}

/* False: the client's request is over. */
static bool client_send(struct client *c)
{
    while (!c->sent && !c->send_broken) {
        if ((c->leave == LEAVE_IN_HEAD || c->leave == LEAVE_IN_BODY) && c->written >= c->leave_at) {
            leave(c);
            return false;
        }
        if (c->out_at == c->out_n) {
            if (c->wait_100)
                break;
            if (c->body_left == 0 && c->body_end)
                request_sent(c);
            else
                request_refill(c);
            continue;
        }
        size_t n = bounded(c, c->out_n - c->out_at);
        if (n == 0)
            break;
        ssize_t k = send(c->fd, c->out + c->out_at, n, MSG_NOSIGNAL);
        if (k < 0) {
            if (errno != EAGAIN && errno != EINTR)
                c->send_broken = true; /* a response may lie there; reading says which it is */
            break;
        }
        c->out_at += (size_t)k;
        c->written += (uint64_t)k;
        if (c->t->load->conf.upload_rate)
            c->send_ok -= (uint64_t)k;
        LOAD_ADD(c->t, bytes_out, (uint64_t)k);
    }
    want(c);
    return true;
}

/* ---- the response ---- */

static void note_overtaken(struct client *c)
{
    struct load_thread *t = c->t;
    for (unsigned i = 0; i < t->clients; i++) {
        struct client *other = &t->client[i];
        if (other->in && !other->answered && other->seq < c->seq &&
            ++other->overtaken > atomic_load_explicit(&t->r.n.overtaken_max, memory_order_relaxed))
            atomic_store_explicit(&t->r.n.overtaken_max, other->overtaken, memory_order_relaxed);
    }
}

static void count_status(struct client *c, int status)
{
    struct la_load_result *r = &c->t->r;
    atomic_store_explicit(&r->status[status],
                          atomic_load_explicit(&r->status[status], memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (status < 300)
        LOAD_ADD(c->t, status_2xx, 1);
    else if (status < 400)
        LOAD_ADD(c->t, status_3xx, 1);
    else if (status < 500)
        LOAD_ADD(c->t, status_4xx, 1);
    else
        LOAD_ADD(c->t, status_5xx, 1);
}

static void verify(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    if (k->no_token)
        return;
    bool foreign = c->head.has_token && strcmp(c->head.token, c->token) != 0;
    if (foreign || c->bad_body) {
        LOAD_ADD(c->t, mixed, 1);
        note_failure(c, "mixed: %s %s", foreign ? "the response's token is" : "the body is not that of",
                     c->head.has_token ? c->head.token : "no token");
    } else if (!c->head.has_token && c->head.status < 300) {
        LOAD_ADD(c->t, unechoed, 1);
    }
}

/* A whole response is here; extra: there are bytes behind it. */
static void answered(struct client *c, bool extra)
{
    struct load_thread *t = c->t;
    uint64_t now = la_clock_ns();
    la_hist_record(&t->r.latency_us, now > c->start_ns ? (now - c->start_ns) / 1000 : 0);
    c->answered = true;
    LOAD_ADD(t, done, 1);
    count_status(c, c->head.status);
    verify(c);
    if (t->load->conf.overtaken)
        note_overtaken(c);
    if (extra) {
        LOAD_ADD(t, extra_bytes, 1);
        note_failure(c, "bytes behind the response");
    }
    if (!c->sent)
        LOAD_ADD(t, early, 1);
    c->served++;
    bool by_close = c->head.framing == LA_WIRE_CLOSE;
    if (c->sent && !extra && !c->last && c->head.persistent) {
        la_io_want(&c->io, LA_READ);
        request_over(c);
    } else if (!c->sent || extra || by_close || t->load->conf.close_first) {
        drop_connection(c, false);
        request_over(c);
    } else {
        c->state = CLIENT_CLOSING;
        la_timer_stop(&c->pace);
        la_io_want(&c->io, LA_READ);
        la_timer_set(&c->timeout, LOAD_FIN_MS);
    }
}

/* False: the request is over (the client may be on its next one). */
static bool feed(struct client *c, const char *p, size_t n)
{
    while (n > 0 && !c->body.done) {
        struct la_slice piece;
        size_t used = la_wire_body_feed(&c->body, p, n, &piece);
        if (used == SIZE_MAX) {
            FAIL(c, malformed, "malformed chunk in the response");
            return false;
        }
        if (piece.n && c->head.token_body && c->head.has_token &&
            !la_wire_matches(piece.p, piece.n, c->token, c->got))
            c->bad_body = true;
        c->got += piece.n;
        p += used;
        n -= used;
    }
    if (!c->body.done)
        return true;
    answered(c, n > 0);
    return false;
}

/* Takes heads out of c->in. False: the request is over. */
static bool take_heads(struct client *c)
{
    while (!c->has_head && c->in_n > 0) {
        int r = la_wire_parse(&c->head, c->in, c->in_n, true, c->to_head);
        if (r == 0 && c->in_n < LOAD_HEAD)
            return true;
        if (r <= 0) {
            FAIL(c, malformed, "malformed response head: %.*s", (int)la_min64(c->in_n, 60), c->in);
            return false;
        }
        size_t rest = c->in_n - c->head.head_n;
        if (c->head.status >= 400)
            note_failure(c, "status %d, Proxy-Status: %.*s", c->head.status,
                         LA_SLICE_ARGS(c->head.proxy_status));
        memmove(c->in, c->in + c->head.head_n, rest);
        c->in_n = rest;
        if (c->head.status < 200 && c->head.status != 101) {
            c->wait_100 = false;
            continue;
        }
        c->wait_100 = false;
        if (c->head.status == 101) {
            LOAD_ADD(c->t, upgraded, 1);
            c->last = true;
            c->head.framing = LA_WIRE_NONE;
            c->head.persistent = false;
        }
        c->has_head = true;
        la_wire_body_init(&c->body, &c->head);
        return feed(c, c->in, c->in_n);
    }
    return true;
}

static void on_end(struct client *c, int why)
{
    if (why == 0 && c->has_head && c->body.framing == LA_WIRE_CLOSE) {
        answered(c, false);
    } else if (why == 0 && c->in_n == 0 && !c->has_head) {
        FAIL(c, eof_before, "connection closed before the response");
    } else if (why == 0) {
        FAIL(c, truncated, "connection closed in the middle of the response");
    } else if (why == ETIMEDOUT) {
        FAIL(c, timeout, "connection timed out");
    } else {
        FAIL(c, reset, "%s %s", strerror(why), c->has_head ? "in the response" : "before the response");
    }
}

static bool client_read(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    char *into = c->has_head ? c->t->scratch : c->in + c->in_n;
    size_t room = c->has_head ? LOAD_SCRATCH : LOAD_HEAD - c->in_n;
    if (k->download_rate)
        room = (size_t)la_min64(room, c->recv_ok);
    if (room == 0)
        return true;
    ssize_t n = recv(c->fd, into, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) {
        on_end(c, n == 0 ? 0 : errno);
        return false;
    }
    LOAD_ADD(c->t, bytes_in, (uint64_t)n);
    if (k->download_rate)
        c->recv_ok -= (uint64_t)n;
    bool had_head = c->has_head;
    if (c->leave == LEAVE_IN_RESPONSE) {
        if ((uint64_t)n >= c->leave_at) {
            leave(c);
            return false;
        }
        c->leave_at -= (uint64_t)n;
    }
    if (had_head) {
        if (!feed(c, into, (size_t)n))
            return false;
    } else {
        c->in_n += (size_t)n;
        if (!take_heads(c))
            return false;
    }
    want(c);
    return true;
}

/* ---- connecting ---- */

static void connected(struct client *c)
{
    la_hist_record(&c->t->r.connect_us, (la_clock_ns() - c->connect_ns) / 1000);
    LOAD_ADD(c->t, connections, 1);
    c->state = CLIENT_ACTIVE;
    const struct la_load_conf *k = &c->t->load->conf;
    if (k->upload_rate || k->download_rate)
        la_timer_set(&c->pace, LOAD_PACE_MS);
    client_send(c);
}

static void connect_failed(struct client *c, int why)
{
    switch (why) {
    case ECONNREFUSED: FAIL(c, refused, "connect: %s", strerror(why)); break;
    case EADDRNOTAVAIL:
    case EADDRINUSE: FAIL(c, no_port, "connect: no local port: %s", strerror(why)); break;
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH: FAIL(c, unreachable, "connect: %s", strerror(why)); break;
    case ECONNRESET: FAIL(c, reset, "connect: %s", strerror(why)); break;
    default: FAIL(c, connect_other, "connect: %s", strerror(why)); break;
    }
}

static void prepare_socket(struct client *c)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    int on = 1, small = 8192;
    if (la_addr_family(&k->target) != AF_UNIX)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (k->download_rate)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (k->upload_rate)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
}

static void client_connect(struct client *c)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    c->fd = socket(la_addr_family(&k->target), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        connect_failed(c, errno);
        return;
    }
    prepare_socket(c);
    la_io_init(&c->io, t->loop, c->fd, on_client);
    c->state = CLIENT_CONNECTING;
    c->connect_ns = la_clock_ns();
    if (k->sources) {
        const struct la_addr *from = &k->source[t->next_source++ % k->sources];
        int on = 1;
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(c->fd, &from->u.sa, from->len) < 0) {
            connect_failed(c, errno);
            return;
        }
    }
    if (connect(c->fd, &k->target.u.sa, k->target.len) == 0)
        connected(c);
    else if (errno == EINPROGRESS)
        la_io_want(&c->io, LA_WRITE);
    else
        connect_failed(c, errno);
}

void client_begin(struct client *c, uint64_t intended_ns)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    c->start_ns = intended_ns;
    c->overtaken = c->written = c->got = 0;
    c->in_n = 0;
    c->sent = c->send_broken = c->has_head = c->answered = c->bad_body = false;
    c->body.done = false;
    c->send_ok = k->upload_rate * LOAD_PACE_MS / 1000 + 1;
    c->recv_ok = k->download_rate * LOAD_PACE_MS / 1000 + 1;
    c->in = la_xrealloc(NULL, LOAD_HEAD);
    c->out = la_xrealloc(NULL, LOAD_OUT);
    /* splitmix64: one to one, so that tokens stay unique */
    uint64_t x = t->load->salt + c->seq * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    la_wire_token(c->token, x ^ (x >> 31));
    request_make(c);
    la_timer_set(&c->timeout, k->timeout_ms);
    if (c->fd < 0) {
        client_connect(c);
        return;
    }
    LOAD_ADD(t, reused, 1);
    c->state = CLIENT_ACTIVE;
    if (k->upload_rate || k->download_rate)
        la_timer_set(&c->pace, LOAD_PACE_MS);
    client_send(c);
}

/* ---- events ---- */

static void on_client(struct la_io *io, int events)
{
    struct client *c = la_container(io, struct client, io);
    char byte;
    switch (c->state) {
    case CLIENT_CONNECTING: {
        int why = 0;
        socklen_t len = sizeof(why);
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &why, &len);
        if (why)
            connect_failed(c, why);
        else
            connected(c);
        break;
    }
    case CLIENT_ACTIVE:
        if ((events & LA_WRITE) && !client_send(c))
            break;
        if (events & LA_READ)
            client_read(c);
        break;
    case CLIENT_IDLE:
    case CLIENT_CLOSING: {
        ssize_t n = recv(c->fd, &byte, 1, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (n > 0) {
            LOAD_ADD(c->t, extra_bytes, 1);
            note_failure(c, "bytes behind the response");
        }
        bool closing = c->state == CLIENT_CLOSING;
        if (!closing)
            LOAD_ADD(c->t, idle_closed, 1);
        drop_connection(c, false);
        if (closing)
            request_over(c);
        break;
    }
    }
}

static void on_timeout(struct la_timer *timer)
{
    struct client *c = la_container(timer, struct client, timeout);
    if (c->state == CLIENT_CLOSING) {
        LOAD_ADD(c->t, no_fin, 1);
        drop_connection(c, false);
        request_over(c);
    } else {
        FAIL(c, timeout, "timeout after %llu ms while %s", (unsigned long long)c->t->load->conf.timeout_ms,
             c->state == CLIENT_CONNECTING ? "connecting"
             : !c->sent                    ? "sending"
             : c->has_head                 ? "reading the body"
                                           : "waiting for the response");
    }
}

static void on_pace(struct la_timer *timer)
{
    struct client *c = la_container(timer, struct client, pace);
    const struct la_load_conf *k = &c->t->load->conf;
    if (c->state == CLIENT_IDLE) {
        if (!c->t->stopping && load_take_request(c->t, &c->seq)) {
            c->t->active++;
            client_begin(c, la_clock_ns());
        }
        return;
    }
    if (c->state != CLIENT_ACTIVE)
        return;
    if (c->leave == LEAVE_WAITING && c->sent) {
        leave(c);
        return;
    }
    /* No more than a second's worth is saved up. */
    c->send_ok = la_min64(c->send_ok + la_max64(k->upload_rate * LOAD_PACE_MS / 1000, 1), k->upload_rate);
    c->recv_ok = la_min64(c->recv_ok + la_max64(k->download_rate * LOAD_PACE_MS / 1000, 1), k->download_rate);
    la_timer_set(&c->pace, LOAD_PACE_MS);
    client_send(c);
}

void client_init(struct client *c, struct load_thread *t, bool keep_alive)
{
    c->t = t;
    c->fd = -1;
    c->keep_alive = keep_alive;
    la_list_init(&c->free_node);
    la_timer_init(&c->timeout, t->loop, on_timeout);
    la_timer_init(&c->pace, t->loop, on_pace);
}

void client_abandon(struct client *c)
{
    if (!c->in)
        return;
    if (c->state != CLIENT_CLOSING)
        LOAD_ADD(c->t, unfinished, 1);
    drop_connection(c, true);
    request_over(c);
}

void client_fini(struct client *c)
{
    la_timer_stop(&c->timeout);
    la_timer_stop(&c->pace);
    drop_connection(c, false);
}
