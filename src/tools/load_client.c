/* load_client.c: one client of the load generator: connect, send, read, leave when it is meant to.
 *
 * Owns: the client's socket, timers and buffers. Never decides when the next request starts (load.c does,
 * told by load_client_free), nor what is said (struct load_protocol does). Good path: IDLE → CONNECTING → ACTIVE →
 * IDLE (kept alive) or CLOSING until the server's FIN. A request is made in the thread's buffer and sent at once, on
 * a new connection too: on one host the handshake is mostly over when connect returns. What could not be sent moves to
 * a buffer of the client's own. Every way to fail has a count; the first failure of a thread is kept as text. An
 * answer that starts before the request is out is taken, and the connection closed after it. One thread, its loop's. */
#include "tools/load_private.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define UNIX_AGAIN_MS 1 /* a Unix socket whose queue is full says so at once and nothing tells when it is not */

static void on_client(struct la_io *io, int events);
static void client_connect(struct client *c);

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
    free(c->own);
    c->in = c->own = NULL;
    c->state = CLIENT_IDLE;
    c->busy = false;
    load_client_free(c);
}

#define FAIL(c, count, ...)                                                                                            \
    do {                                                                                                               \
        load_note_failure((c), __VA_ARGS__);                                                                           \
        fail((c), &(c)->t->r.n.count);                                                                                 \
    } while (0)

static void fail(struct client *c, _Atomic uint64_t *count)
{
    la_stat_add(count, 1);
    drop_connection(c, true);
    request_over(c);
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

static void connect_failed(struct client *c, int why);

/* What the thread's buffer still holds moves to the client's own. */
static void keep_rest(struct client *c)
{
    if (c->out != c->t->out || c->out_at == c->out_n)
        return;
    if (!c->own)
        c->own = la_xrealloc(NULL, LOAD_OUT);
    c->out_n -= c->out_at;
    memcpy(c->own, c->out + c->out_at, c->out_n);
    c->out = c->own;
    c->out_at = 0;
}

/* One write. False: no more can be written now. */
static bool send_some(struct client *c, size_t n)
{
    ssize_t k = send(c->fd, c->out + c->out_at, n, MSG_NOSIGNAL);
    if (k < 0) {
        if (errno != EAGAIN && errno != EINTR)
            c->send_broken = true; /* a response may lie there; reading says which it is */
        return false;
    }
    c->out_at += (size_t)k;
    c->written += (uint64_t)k;
    if (c->t->load->conf.upload_rate)
        c->send_ok -= (uint64_t)k;
    LOAD_ADD(c->t, bytes_out, (uint64_t)k);
    return true;
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
            if (c->body_left == 0 && c->body_end)
                request_sent(c);
            else if (c->wait_100)
                break;
            else
                c->t->load->protocol->refill(c);
            continue;
        }
        size_t n = bounded(c, c->out_n - c->out_at);
        if (n == 0 || !send_some(c, n))
            break;
    }
    keep_rest(c);
    want(c);
    return true;
}

/* ---- the answer ---- */

/* False: there is no FIN yet. */
static bool read_fin(struct client *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n > 0) {
        LOAD_ADD(c->t, extra_bytes, 1);
        load_note_failure(c, "bytes behind the response");
    }
    bool closing = c->state == CLIENT_CLOSING;
    if (!closing)
        LOAD_ADD(c->t, idle_closed, 1);
    drop_connection(c, false);
    if (closing)
        request_over(c);
    return true;
}

static void await_fin(struct client *c)
{
    struct la_slice goodbye = c->t->load->protocol->goodbye;
    c->state = CLIENT_CLOSING;
    la_timer_stop(&c->pace);
    if (goodbye.n)
        (void)send(c->fd, goodbye.p, goodbye.n, MSG_NOSIGNAL);
    else if (read_fin(c)) /* it mostly comes with the answer */
        return;
    la_io_want(&c->io, LA_READ);
    la_timer_set(&c->timeout, LOAD_FIN_MS);
}

/* A whole answer is here. */
static void answered(struct client *c)
{
    struct load_thread *t = c->t;
    uint64_t now = la_clock_ns();
    c->answered = true;
    load_count_answer(c, now, c->bad_body);
    if (c->extra) {
        LOAD_ADD(t, extra_bytes, 1);
        load_note_failure(c, "bytes behind the response");
    }
    if (!c->sent)
        LOAD_ADD(t, early, 1);
    c->served++;
    if (!c->sent || c->extra || c->unusable || (t->load->conf.close_first && (c->last || !c->persistent))) {
        drop_connection(c, false);
        request_over(c);
    } else if (c->last || !c->persistent) {
        await_fin(c);
    } else {
        la_io_want(&c->io, LA_READ);
        request_over(c);
    }
    if (load_is_due(t, now))
        load_catch_up(t, now);
}

static void on_end(struct client *c, int why)
{
    if (why == 0 && c->t->load->protocol->ended(c)) {
        answered(c);
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

static ssize_t receive(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    if (c->skip && !k->download_rate && la_addr_family(&k->target) != AF_UNIX)
        return recv(c->fd, c->t->scratch, LOAD_SKIP, MSG_TRUNC); /* the kernel drops it instead of copying */
    return recv(c->fd, c->t->scratch, k->download_rate ? (size_t)la_min64(LOAD_SCRATCH, c->recv_ok) : LOAD_SCRATCH, 0);
}

static void client_read(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    if (k->download_rate && c->recv_ok == 0)
        return;
    ssize_t n = receive(c);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        on_end(c, n == 0 ? 0 : errno);
        return;
    }
    LOAD_ADD(c->t, bytes_in, (uint64_t)n);
    if (k->download_rate)
        c->recv_ok -= (uint64_t)n;
    if (c->leave == LEAVE_IN_RESPONSE) {
        if ((uint64_t)n >= c->leave_at) {
            leave(c);
            return;
        }
        c->leave_at -= (uint64_t)n;
    }
    switch (c->t->load->protocol->take(c, c->t->scratch, (size_t)n)) {
    case TOOK_BAD: fail(c, &c->t->r.n.malformed); break;
    case TOOK_ALL: answered(c); break;
    case TOOK_MORE: want(c); break;
    }
}

/* ---- connecting ---- */

static void connected(struct client *c, uint64_t now_ns)
{
    la_hist_record(&c->t->r.connect_us, (now_ns - c->connect_ns) / 1000);
    LOAD_ADD(c->t, connections, 1);
    c->state = CLIENT_ACTIVE;
    if (c->t->load->paced)
        la_timer_set(&c->pace, LOAD_PACE_MS);
    client_send(c);
}

/* The kernel says that the handshake has begun. Sending tells whether it is over already. */
static void try_early(struct client *c)
{
    const struct la_load *l = c->t->load;
    uint64_t now = la_clock_ns();
    if (!l->leaves && !l->paced && send_some(c, c->out_n)) {
        connected(c, now);
    } else if (c->send_broken) {
        connect_failed(c, errno);
    } else {
        keep_rest(c);
        la_io_want(&c->io, LA_WRITE);
    }
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
    const struct la_load_conf *k = &c->t->load->conf;
    int small = 8192, on = 1;
    if (c->t->load->many_writes && la_addr_family(&k->target) != AF_UNIX)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (k->download_rate)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (k->upload_rate)
        setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
}

/* False: errno. */
static bool bind_source(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    if (!k->sources)
        return true;
    const struct la_addr *from = &k->source[c->t->next_source++ % k->sources];
    int on = 1;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    return bind(c->fd, &from->u.sa, from->len) == 0;
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
    if (!bind_source(c)) {
        connect_failed(c, errno);
    } else if (connect(c->fd, &k->target.u.sa, k->target.len) == 0) {
        connected(c, la_clock_ns());
    } else if (errno == EINPROGRESS) {
        try_early(c);
    } else if (errno == EAGAIN && la_addr_family(&k->target) == AF_UNIX) {
        keep_rest(c);
        drop_connection(c, false);
        la_timer_set(&c->pace, UNIX_AGAIN_MS);
    } else {
        connect_failed(c, errno);
    }
}

void client_begin(struct client *c, struct load_start s)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    c->start_ns = s.at_ns;
    c->ask = s.ask;
    c->overtaken = c->written = c->got = 0;
    c->out_at = c->out_n = c->in_n = 0;
    c->body_left = c->body_at = 0;
    c->leave = LEAVE_NEVER;
    c->busy = true;
    c->sent = c->send_broken = c->wait_100 = false;
    c->has_head = c->answered = c->bad_body = c->skip = c->extra = c->unusable = false;
    c->send_ok = k->upload_rate * LOAD_PACE_MS / 1000 + 1;
    c->recv_ok = k->download_rate * LOAD_PACE_MS / 1000 + 1;
    /* splitmix64: one to one, so that tokens stay unique */
    uint64_t x = t->load->salt + c->seq * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    la_wire_token(c->token, x ^ (x >> 31));
    t->load->protocol->make(c);
    la_timer_set(&c->timeout, k->timeout_ms);
    if (c->fd < 0) {
        client_connect(c);
        return;
    }
    LOAD_ADD(t, reused, 1);
    c->state = CLIENT_ACTIVE;
    if (t->load->paced)
        la_timer_set(&c->pace, LOAD_PACE_MS);
    client_send(c);
}

/* ---- events ---- */

static void on_client(struct la_io *io, int events)
{
    struct client *c = la_container(io, struct client, io);
    switch (c->state) {
    case CLIENT_CONNECTING: {
        int why = 0;
        socklen_t len = sizeof(why);
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &why, &len);
        if (why)
            connect_failed(c, why);
        else
            connected(c, la_clock_ns());
        break;
    }
    case CLIENT_ACTIVE:
        if ((events & LA_WRITE) && !client_send(c))
            break;
        if (events & LA_READ)
            client_read(c);
        break;
    case CLIENT_IDLE:
    case CLIENT_CLOSING: read_fin(c); break;
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
        load_begin(c);
        return;
    }
    if (c->state == CLIENT_CONNECTING && c->fd < 0) {
        client_connect(c);
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
    if (!c->busy)
        return;
    if (c->state != CLIENT_CLOSING) {
        LOAD_ADD(c->t, unfinished, 1);
        load_count_waited(c->t, c->start_ns);
    }
    drop_connection(c, true);
    request_over(c);
}

void client_fini(struct client *c)
{
    la_timer_stop(&c->timeout);
    la_timer_stop(&c->pace);
    drop_connection(c, false);
}
