/* http1_client.c: client connections: reading requests, keep-alive, pipelining, timeouts, the close.
 *
 * Owns: the socket, the input buffer, the timer. Never: the response (http1_turn.c writes it), what a request means.
 *
 * Good path: accepted -> read at once -> head parsed -> service->request -> (body) -> the turn is answered -> next
 * head, or close. Nothing is registered with the loop until something would block.
 *
 * An idle client holds no buffer. Timeouts are total: a head must be complete head_ms after its first byte; a body
 * keeps min_rate. After an answer that ends the connection nothing unread may be left in the kernel when it is closed,
 * or the client would see a reset instead of the answer: then our FIN first, and what comes is thrown away for a
 * while. One thread. */
#include "http1.h"
#include "lastack/sock.h"

#include <stdlib.h>
#include <unistd.h>

#define LINGER_SILENCE_MS 2000 /* silent for so long: it has read its answer, or never will */
#define LINGER_MS 30000        /* and one that goes on sending holds us no longer than this */
#define READS_AT_ONCE 4 /* then others get their turn */
#define PAUSED_MS     1000 /* how often a client whose body waits is looked at: no event tells that it left */

static void on_io(struct la_io *io, int events);
static void on_timer(struct la_timer *t);
static void run(struct la_client *c);

/* ---- life ---- */

static void count_new(struct la_front *f)
{
    f->clients++;
    la_stat_add(&f->stats->accepted, 1);
    atomic_fetch_add_explicit(&f->stats->connections, 1, memory_order_relaxed);
}

void la_client_new(struct la_front *f, int fd, const struct la_addr *peer)
{
    if (f->protocol && !la_front_opens(f, peer)) {
        count_new(f);
        f->protocol->accept(f, fd, NULL, peer, false);
        return;
    }
    struct la_client *c = la_slab_get(&f->env->clients);
    if (c == NULL) {
        la_stat_add(&f->stats->refused, 1);
        la_sock_reset(fd);
        f->clients++;
        la_front_uncount(f, peer, f->proxy_nets && la_front_is_hop(f, peer));
        return;
    }
    memset(c, 0, sizeof *c);
    c->front = f;
    la_client_set_peer(c, peer);
    la_list_init(&c->node);
    la_list_push_back(f->protocol ? &f->opening : &f->list, &c->node);
    la_stream_init(&c->stream, f->env->loop, fd, on_io);
    la_timer_init(&c->timer, f->env->loop, on_timer);
    count_new(f);
    c->since_ns = la_loop_now_ns(f->env->loop);
    la_client_begin(c, peer);
    run(c);
}

static void free_client(struct la_client *c)
{
    struct la_front *f = c->front;
    la_assert(c->turn == NULL && c->entered == 0);
    struct la_addr peer;
    if (c->handed) {
        la_slab_put(&f->env->clients, c);
        return;
    }
    la_client_peer(c, &peer);
    bool unnamed = c->unnamed;
    la_slab_put(&f->env->clients, c);
    la_front_uncount(f, &peer, unnamed);
}

/* Closes the socket now; the struct goes when no callback of it is under way. */
static void end(struct la_client *c, bool reset)
{
    if (c->dead)
        return;
    c->dead = true;
    if (c->bound)
        c->front->service->unbound(c);
    la_timer_stop(&c->timer);
    la_buf_put(c->front->env, &c->in);
    la_list_remove(&c->node);
    atomic_fetch_sub_explicit(&c->front->stats->connections, 1, memory_order_relaxed);
    if (reset)
        la_stream_reset(&c->stream);
    else
        la_stream_close(&c->stream);
    if (c->entered == 0)
        free_client(c);
}

void la_client_end(struct la_client *c, bool reset)
{
    end(c, reset);
}

/* It is open, and speaks another protocol. */
void la_client_hand_over(struct la_client *c)
{
    struct la_front *f = c->front;
    struct la_addr peer;
    la_assert(c->entered && c->turn == NULL);
    la_client_peer(c, &peer);
    c->dead = c->handed = true;
    la_timer_stop(&c->timer);
    la_buf_put(f->env, &c->in);
    la_list_remove(&c->node);
    la_stream_detach(&c->stream);
    f->protocol->accept(f, la_stream_fd(&c->stream), &c->stream, &peer, c->unnamed);
}

static void enter(struct la_client *c)
{
    c->entered++;
}

/* False: the client has ended meanwhile. */
static bool leave(struct la_client *c)
{
    c->entered--;
    if (c->dead && c->entered == 0) {
        free_client(c);
        return false;
    }
    return !c->dead;
}

LA_COLD void la_client_gone(struct la_client *c, enum la_err e)
{
    struct la_turn *t = c->turn;
    enter(c);
    if (t) { /* told first: its slices lie in our buffer */
        la_turn_fini(t);
        t->client = NULL;
        c->turn = NULL;
        c->front->service->gone(t, e);
    }
    end(c, true);
    leave(c);
}

/* The answer is out, the connection ends. quick: nothing of the client's can be unread. */
static void finish(struct la_client *c, bool quick)
{
    if (quick) {
        end(c, false);
        return;
    }
    la_stream_shutdown(&c->stream);
    la_buf_put(c->front->env, &c->in);
    c->state = LA_CLIENT_LINGER;
    c->since_ns = la_loop_now_ns(c->front->env->loop);
    la_timer_set(&c->timer, LINGER_SILENCE_MS);
    la_io_want(&c->stream.io, LA_READ);
}

/* ---- timers ---- */

/* Is there something of a head? An empty line behind a request is nothing yet. */
static bool head_begun(const struct la_client *c)
{
    if (c->in == NULL || c->in->n == 0)
        return false;
    for (uint32_t i = 0; i < c->in->n; i++)
        if (c->in->p[i] != '\r' && c->in->p[i] != '\n')
            return true;
    return c->served == 0;
}

static uint64_t left_of(const struct la_client *c, uint64_t ms, uint64_t since_ns)
{
    return la_ms_left(ms, la_loop_now_ns(c->front->env->loop), since_ns);
}

/* How long the request body may still take to go on: silent no longer than body_ms, and after that not below min_rate. */
static uint64_t body_left(const struct la_client *c)
{
    const struct la_front *f = c->front;
    const struct la_turn *t = c->turn;
    uint64_t whole = f->body_ms + (f->min_rate ? t->body_bytes * 1000 / f->min_rate : UINT64_MAX / 2);
    return la_min64(left_of(c, f->body_ms, t->progress_ns), left_of(c, whole, c->since_ns));
}

void la_client_arm_timer(struct la_client *c)
{
    struct la_front *f = c->front;
    struct la_turn *t = c->turn;
    uint64_t ms = 0;
    if (c->state == LA_CLIENT_HEAD)
        ms = c->served == 0 || head_begun(c) || f->keepalive_ms == 0 ? f->head_ms : f->keepalive_ms;
    else if (c->state == LA_CLIENT_BODY && t && !t->body_dropped)
        ms = t->body_paused ? PAUSED_MS : f->body_ms ? la_max64(body_left(c), 1) : 0;
    if (t && la_turn_waits_to_write(t) && f->write_ms) {
        uint64_t write = la_max64(left_of(c, f->write_ms, t->progress_ns), 1);
        ms = ms ? la_min64(ms, write) : write;
    }
    if (ms)
        la_timer_set(&c->timer, ms);
    else
        la_timer_stop(&c->timer);
}

/* A client is ended because a time is over. */
static void count_timeout(struct la_client *c)
{
    la_stat_add(&c->front->stats->timeouts, 1);
}

static void on_timer(struct la_timer *timer)
{
    struct la_client *c = la_container(timer, struct la_client, timer);
    struct la_front *f = c->front;
    struct la_turn *t = c->turn;
    switch ((enum la_client_state)c->state) {
    case LA_CLIENT_HEAD:
        count_timeout(c);
        if (c->in)
            c->at = c->in->n;
        if (!head_begun(c) || !f->service->bad_request(c, LA_HEAD_TIMEOUT))
            end(c, false);
        return;
    case LA_CLIENT_OPENING:
        count_timeout(c);
        la_client_open_timeout(c);
        return;
    case LA_CLIENT_LINGER: end(c, false); return;
    case LA_CLIENT_TUNNEL: return;
    case LA_CLIENT_BODY:
        if (t->body_paused && la_sock_left(la_stream_fd(&c->stream), f->half_close_serve)) {
            la_client_gone(c, LA_CLIENT_GONE);
            return;
        }
        if (t->body_paused || t->body_dropped || body_left(c))
            break;
        count_timeout(c);
        enter(c);
        f->service->refused(t, LA_BODY_TIMEOUT);
        if (leave(c) && c->turn == t) /* answered already: that has its time too */
            break;
        return;
    case LA_CLIENT_TURN: break;
    }
    if (!la_turn_waits_to_write(t) || left_of(c, f->write_ms, t->progress_ns)) {
        la_client_arm_timer(c);
        return;
    }
    count_timeout(c);
    la_client_gone(c, LA_CLIENT_SLOW);
}

/* ---- reading ---- */

void la_client_want(struct la_client *c)
{
    struct la_turn *t = c->turn;
    int want = 0;
    switch ((enum la_client_state)c->state) {
    case LA_CLIENT_OPENING: return;
    case LA_CLIENT_HEAD:
    case LA_CLIENT_LINGER: want = LA_READ; break;
    case LA_CLIENT_BODY: want = t->body_paused ? 0 : LA_READ; break;
    case LA_CLIENT_TURN: want = la_io_wanted(&c->stream.io) & LA_READ; break; /* la_turn_watch turns it on */
    case LA_CLIENT_TUNNEL: return;
    }
    if (t && la_turn_waits_to_write(t))
        want |= LA_WRITE;
    la_io_want(&c->stream.io, want);
}

#define NO_MEMORY (-100) /* beside the LA_STREAM codes */

/* Reads behind what is there. > 0, 0 at FIN, a LA_STREAM code, or NO_MEMORY: bytes came, and there is no room for them. */
static ssize_t read_in(struct la_client *c)
{
    struct la_env *env = c->front->env;
    if (c->in == NULL && (c->in = la_buf_get(env, false)) == NULL) {
        ssize_t n = la_stream_recv(&c->stream, env->scratch, LA_SCRATCH_BYTES);
        return n > 0 ? NO_MEMORY : n;
    }
    size_t room = c->in->cap - c->in->n;
    ssize_t n = la_stream_recv(&c->stream, c->in->p + c->in->n, room);
    c->short_read = n < (ssize_t)room;
    if (n > 0)
        c->in->n += (uint32_t)n;
    else if (c->in->n == 0)
        la_buf_put(env, &c->in);
    return n;
}

/* 503 without anything that takes memory, then the end. */
LA_COLD static void refuse(struct la_client *c)
{
    static const char sorry[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
                                "Proxy-Status: lastack; error=proxy_internal_error; "
                                "details=\"memory_limit: limits.memory reached\"\r\nConnection: close\r\n\r\n";
    struct iovec v = {(void *)(uintptr_t)sorry, sizeof sorry - 1};
    la_log_limited(LA_LOG_WARN, 10000, "limits.memory reached: refusing requests");
    la_stat_add(&c->front->stats->refused, 1);
    (void)la_stream_send(&c->stream, &v, 1, false);
    finish(c, false);
}

static void start_turn(struct la_client *c, const struct la_http_head *head)
{
    struct la_front *f = c->front;
    c->at = head->head_n;
    c->seen = 0;
    c->since_ns = la_loop_now_ns(f->env->loop);
    c->state = head->framing == LA_FRAMING_NONE ? LA_CLIENT_TURN : LA_CLIENT_BODY;
    la_stat_add(&f->stats->requests, 1);
    if (la_timer_is_set(&c->timer))
        la_timer_stop(&c->timer);
    if (!f->service->request(c, head))
        refuse(c);
}

/* Looks for a head in what is there. False: it needs more bytes. */
static bool parse(struct la_client *c)
{
    struct la_env *env = c->front->env;
    enum la_err err;
    la_assert(c->at == 0);
    switch (la_http_parse_request(env->request, c->in->p, c->in->n, &c->seen, &env->limits, &err)) {
    case LA_HTTP_DONE:
        /* What follows a chunked body is known only when it has been read: room for it now, because the slices of
         * a turn forbid to move the buffer later. */
        if (env->request->framing == LA_FRAMING_CHUNKED && la_buf_grow(env, &c->in)) {
            c->seen = 0;
            return parse(c);
        }
        start_turn(c, env->request);
        return true;
    case LA_HTTP_MORE: return false;
    case LA_HTTP_ERROR: break;
    }
    c->at = c->in->n;
    c->short_read = false;
    if (!c->front->service->bad_request(c, err))
        finish(c, false);
    return true;
}

/* Puts bytes that belong to the next request behind the present head. False: no room. */
static bool keep_for_later(struct la_client *c, const char *p, size_t n)
{
    if (c->in->cap - c->in->n < n)
        return false;
    memcpy(c->in->p + c->in->n, p, n);
    c->in->n += (uint32_t)n;
    return true;
}

/* Bytes of the body: behind the head (kept), or read into the scratch; feeds what the decoder makes of them. Its last piece may
 * end the turn at once: where the next request begins is settled before. */
static void feed(struct la_client *c, struct la_turn *t, const char *p, size_t n, bool kept)
{
    const struct la_service *s = c->front->service;
    uint64_t max = c->front->env->body_max;
    const char *end = p + n;
    while (c->turn == t && !t->body.done && !t->body_dropped && p < end) {
        struct la_slice piece = {0};
        enum la_err err = LA_BAD_CHUNK;
        size_t k = la_http_body_feed(&t->body, p, (size_t)(end - p), &piece, &err);
        t->body_bytes += piece.n;
        if (k != SIZE_MAX && max && t->body_bytes > max) {
            k = SIZE_MAX;
            err = LA_BODY_TOO_LARGE;
        }
        if (k == SIZE_MAX) {
            t->body_dropped = true;
            c->at = c->in->n;
            s->refused(t, err);
            return;
        }
        p += k;
        if (kept)
            c->at += (uint32_t)k;
        if (t->body.done) {
            t->body_done = true;
            c->state = LA_CLIENT_TURN;
            la_client_arm_timer(c);
            if (!kept && !keep_for_later(c, p, (size_t)(end - p)))
                t->close = true; /* more pipelined than we keep: not answered on this connection */
        }
        if (piece.n || t->body.done)
            s->body(t, piece, t->body.done);
    }
}

/* How much to read of a body: what the exchange has room for, and no more than what certainly belongs to this body or
 * could be kept if it did not. Behind a chunk there are at least "\r\n0\r\n\r\n". */
static size_t body_read_size(const struct la_client *c)
{
    const struct la_turn *t = c->turn;
    size_t spare = c->in->cap - c->in->n, most = la_min64(t->body.left, LA_SCRATCH_BYTES) + spare;
    if (t->body.framing == LA_FRAMING_CHUNKED)
        most = t->body.left ? most + 7 : la_max64(spare, 1);
    return la_min64(la_min64(most, t->read_max), LA_SCRATCH_BYTES);
}

static void read_body(struct la_client *c)
{
    struct la_turn *t = c->turn;
    struct la_env *env = c->front->env;
    uint32_t from = c->at;
    while (c->at < c->in->n) { /* came with the head */
        feed(c, t, c->in->p + c->at, la_min64(c->in->n - c->at, t->read_max), true);
        if (c->dead || c->turn != t || c->state != LA_CLIENT_BODY || t->body_paused)
            return;
        if (t->body_dropped)
            c->at = c->in->n;
    }
    c->at = c->in->n = from; /* taken, and not the whole body: their room is for what follows it */
    for (int reads = 0; reads < READS_AT_ONCE; reads++) {
        size_t most = body_read_size(c);
        ssize_t n = la_stream_recv(&c->stream, env->scratch, most);
        c->short_read = n < (ssize_t)most;
        if (n == LA_STREAM_AGAIN)
            return;
        if (n <= 0) {
            la_client_gone(c, LA_CLIENT_GONE);
            return;
        }
        if (!t->body_dropped) /* else only what the client takes is progress */
            t->progress_ns = la_loop_now_ns(env->loop);
        t->expects = false;
        feed(c, t, env->scratch, (size_t)n, false);
        if (c->dead || c->turn != t || c->state != LA_CLIENT_BODY)
            return;
        if (t->body_paused || t->body_dropped || c->short_read)
            return;
    }
}

/* Bytes, or FIN, while the answer is awaited. */
static void read_early(struct la_client *c)
{
    if (c->in && c->in->n == c->in->cap) { /* enough pipelined for now */
        la_io_want(&c->stream.io, la_io_wanted(&c->stream.io) & ~LA_READ);
        return;
    }
    ssize_t n = read_in(c);
    if (n > 0 || n == LA_STREAM_AGAIN)
        return;
    if (n == 0 && c->front->half_close_serve) {
        c->half_closed = true;
        la_io_want(&c->stream.io, la_io_wanted(&c->stream.io) & ~LA_READ);
        return;
    }
    la_client_gone(c, LA_CLIENT_GONE);
}

/* Bytes came: it has not read its answer yet. */
static void linger_on(struct la_client *c)
{
    uint64_t left = left_of(c, LINGER_MS, c->since_ns);
    if (left == 0)
        end(c, false);
    else
        la_timer_set(&c->timer, la_min64(LINGER_SILENCE_MS, left));
}

static void read_linger(struct la_client *c)
{
    struct la_env *env = c->front->env;
    for (int reads = 0; reads < READS_AT_ONCE; reads++) {
        ssize_t n = la_stream_recv(&c->stream, env->scratch, LA_SCRATCH_BYTES);
        if (n == LA_STREAM_AGAIN)
            break;
        if (n <= 0) {
            end(c, false);
            return;
        }
    }
    linger_on(c);
}

/* Between turns: parse what is there, read what has come, until it would block. */
static void read_heads(struct la_client *c)
{
    int reads = 0;
    bool begun = false; /* the first bytes of a head came just now */
    while (!c->dead && c->state == LA_CLIENT_HEAD) {
        if (c->in && c->in->n && parse(c)) {
            if (!c->dead && c->state == LA_CLIENT_BODY)
                read_body(c);
            continue;
        }
        if (begun && la_timer_is_set(&c->timer))
            la_client_arm_timer(c); /* the head's time starts with its first byte */
        begun = false;
        bool first = !head_begun(c);
        if (!first && c->in->n == c->in->cap && !la_buf_grow(c->front->env, &c->in)) {
            if (!c->in->large) {
                refuse(c);
                return;
            }
            c->at = c->in->n;
            if (!c->front->service->bad_request(c, LA_HEAD_TOO_LARGE))
                finish(c, false);
            return;
        }
        ssize_t n = reads++ < READS_AT_ONCE ? read_in(c) : LA_STREAM_AGAIN;
        if (n == LA_STREAM_AGAIN) {
            la_client_want(c);
            if (!la_timer_is_set(&c->timer)) /* a piece of a TLS record gives no new time */
                la_client_arm_timer(c);
            return;
        }
        if (n == NO_MEMORY) {
            refuse(c);
            return;
        }
        if (n <= 0) {
            end(c, false);
            return;
        }
        begun = first;
    }
}

static void run(struct la_client *c)
{
    enter(c);
    if (c->state == LA_CLIENT_BODY)
        read_body(c);
    else if (c->state == LA_CLIENT_TURN)
        read_early(c);
    else if (c->state == LA_CLIENT_LINGER)
        read_linger(c);
    else if (c->state == LA_CLIENT_OPENING)
        (void)la_client_open(c);
    if (!c->dead && c->state == LA_CLIENT_HEAD)
        read_heads(c);
    if (!c->dead && c->state == LA_CLIENT_BODY) {
        la_client_want(c);
        if (!la_timer_is_set(&c->timer))
            la_client_arm_timer(c);
    }
    leave(c);
}

static void on_io(struct la_io *io, int events)
{
    struct la_client *c = la_container(io, struct la_client, stream.io);
    enter(c);
    if (events & LA_WRITE && c->turn)
        la_turn_on_writable(c->turn);
    /* A turn that ended just now: the next request may be in the buffer already. */
    if (!c->dead && (events & LA_READ || c->state == LA_CLIENT_HEAD || c->state == LA_CLIENT_OPENING))
        run(c);
    leave(c);
}

/* ---- turns ---- */

void la_turn_pause_body(struct la_turn *t, bool pause)
{
    struct la_client *c = t->client;
    if (c == NULL || t->body_paused == pause || c->state != LA_CLIENT_BODY)
        return;
    uint64_t now = la_loop_now_ns(c->front->env->loop);
    if (pause)
        t->paused_ns = now;
    else
        c->since_ns += now - t->paused_ns; /* the rate is the client's: not of the time in which nothing is read */
    t->body_paused = pause;
    t->progress_ns = now;
    la_client_want(c);
    la_client_arm_timer(c);
    if (!pause && c->entered == 0)
        run(c); /* bytes may wait in the buffer, where no event tells of them */
}

/* What follows the present request moves to the front of the buffer. */
static void next_head(struct la_client *c)
{
    struct la_env *env = c->front->env;
    if (c->in == NULL)
        return;
    uint32_t rest = c->in->n - c->at;
    if (rest)
        memmove(c->in->p, c->in->p + c->at, rest);
    c->in->n = rest;
    c->at = 0;
    c->seen = 0;
    if (rest == 0)
        la_buf_put(env, &c->in);
}

void la_client_turn_over(struct la_client *c, struct la_turn *t, bool keep, bool quick)
{
    const struct la_service *service = c->front->service;
    enter(c);
    bool unread = c->in && c->at < c->in->n;
    c->turn = NULL;
    c->served++;
    t->client = NULL;
    service->done(t); /* its slices lie in our buffer: before that moves */
    if (!keep || c->front->draining) {
        finish(c, quick && !unread && c->short_read);
    } else {
        c->state = LA_CLIENT_HEAD;
        c->since_ns = la_loop_now_ns(c->front->env->loop);
        next_head(c);
        la_client_arm_timer(c);
    }
    /* Pipelined requests: whoever is on the stack goes on with them, else we. */
    if (!c->dead && c->state == LA_CLIENT_HEAD && c->entered == 1) {
        if (c->in || c->half_closed)
            run(c);
        else
            la_client_want(c);
    }
    leave(c);
}

/* ---- all clients of a front ---- */

void la_front_drain(struct la_front *f)
{
    struct la_client *c;
    la_list_each(&f->opening, c, struct la_client, node)
        end(c, false); /* it has asked nothing */
    if (f->protocol) {
        f->protocol->drain(f);
        return;
    }
    f->draining = true;
    la_list_each(&f->list, c, struct la_client, node) /* what has arrived and is not read yet is answered */
        if (c->state == LA_CLIENT_HEAD && !head_begun(c) && la_stream_peek(&c->stream) != LA_PEEK_BYTES)
            end(c, false);
}

void la_front_close(struct la_front *f)
{
    while (!la_list_empty(&f->opening))
        end(la_list_first(&f->opening, struct la_client, node), true);
    if (f->protocol) {
        f->protocol->close(f);
        return;
    }
    while (!la_list_empty(&f->list))
        la_client_gone(la_list_first(&f->list, struct la_client, node), LA_CLIENT_GONE);
}
