/* http1_call.c: HTTP/1.1 towards a server: one request written, one response read, over a pooled connection.
 *
 * Owns: while a call is under way, the connection's events, the timer, the buffers for a head that comes in pieces
 * and for trailers. Never: whether to try again (the exchange decides), who gets the connection next.
 *
 * Good path: begin -> head and body in one sendmsg -> sent -> readable -> head, body, end in one recv -> the
 * connection goes back. It may be reused only if the request went out in full, the response was complete by its own
 * length, nothing followed it, and nobody said close.
 *
 * A server is not trusted: bytes after the response, bad framing, a 101 nobody asked for end the connection. One
 * thread. */
#include "lastack/call.h"
#include "http1.h"

#define READS_AT_ONCE 4
#define RACE_MS       1000 /* how late an answer to nothing may still come */

static void on_event(struct la_conn *conn, int events);
static void on_timer(struct la_timer *t);

void la_call_init(struct la_call *c, struct la_env *env, const struct la_call_events *on,
                  const struct la_call_protocol *p)
{
    memset(c, 0, offsetof(struct la_call, fcgi));
    c->fcgi.err = NULL;
    c->fcgi.err_held = 0;
    c->on = on;
    c->env = env;
    c->protocol = p;
    la_timer_init(&c->timer, env->loop, on_timer);
}

/* ---- the request ---- */

static void write_request(struct la_http_writer *w, const struct la_request *r)
{
    if (r->fields.head) /* whose line it is */
        la_http_write_request_line_known(w, r->method, r->target);
    else
        la_http_write_request_line(w, r->method, r->target);
    la_http_write_header_known(w, LA_SLICE("Host"), r->host); /* a request's, or of the configuration */
    la_http1_write_fields(w, &r->fields);
    if (r->body == LA_BODY_LENGTH) {
        la_http_write_length(w, r->length);
    } else if (r->body == LA_BODY_UNKNOWN) {
        la_http_write(w, LA_SLICE("Transfer-Encoding: chunked\r\n"));
    }
    if (r->expect_continue)
        la_http_write(w, LA_SLICE("Expect: 100-continue\r\n"));
    if (r->upgrade.n) {
        la_http_write(w, LA_SLICE("Connection: Upgrade\r\n"));
        la_http_write_header(w, LA_SLICE("Upgrade"), r->upgrade);
    }
}

/* The head without its empty line: that one is sent with or without a goodbye before it. */
static struct la_buf *encode(struct la_env *env, const struct la_request *r, enum la_err *e)
{
    for (int large = 0; large <= 1; large++) {
        struct la_buf *b = la_buf_get(env, large);
        if (b == NULL) {
            *e = LA_MEMORY;
            return NULL;
        }
        struct la_http_writer w;
        la_http_writer_init(&w, b->p, b->cap);
        write_request(&w, r);
        b->n = (uint32_t)w.n;
        if (!w.overflow)
            return b;
        la_buf_put(env, &b);
    }
    *e = LA_HEAD_TOO_LARGE;
    return NULL;
}

void la_call_progress(struct la_call *c, uint64_t ms)
{
    c->progress_ns = la_loop_now_ns(c->env->loop);
    if (!c->bounded || !la_timer_is_set(&c->timer))
        la_timer_set(&c->timer, ms);
}

void la_call_deadline(struct la_call *c, uint64_t ms)
{
    c->bounded = true;
    if (c->conn)
        la_timer_set(&c->timer, ms);
}

static void enter(struct la_call *c)
{
    c->entered++;
}

static void leave(struct la_call *c)
{
    if (--c->entered == 0)
        c->on->idle(c);
}

static void stop(struct la_call *c)
{
    la_timer_stop(&c->timer);
    la_buf_put(c->env, &c->partial);
    la_buf_put(c->env, &c->trailer);
    if (c->conn) {
        c->conn->on_event = NULL;
        c->conn->owner = NULL;
    }
}

LA_COLD static void fail(struct la_call *c, enum la_err e, enum la_close_cause cause, bool gone)
{
    stop(c);
    c->on->fail(c, e, cause, gone);
}

static void want(struct la_call *c, bool write)
{
    la_io_want(&c->conn->stream.io, (c->paused ? 0 : LA_READ) | (write ? LA_WRITE : 0));
}

void la_call_await_client(struct la_call *c)
{
    if (!c->bounded)
        la_timer_stop(&c->timer);
}

void la_call_await_response(struct la_call *c)
{
    if (!c->head_done || !c->paused)
        la_call_progress(c, c->response_ms);
    else
        la_call_await_client(c);
}

static void request_sent(struct la_call *c)
{
    c->request_done = true;
    c->sent_ns = la_loop_now_ns(c->env->loop);
    want(c, false);
    la_call_await_response(c);
}

static void add_debt(struct la_call *c, const char *p, size_t n)
{
    la_assert(c->debt_n + n <= sizeof c->debt);
    memcpy(c->debt + c->debt_n, p, n);
    c->debt_n = (uint8_t)(c->debt_n + n);
}

/* Payload for a chunked request; opens a chunk, or ends the body, by way of the debt. */
static struct la_slice next_chunk_piece(struct la_call *c)
{
    struct la_slice piece = {0};
    if (!c->last_pulled || c->chunk_left) {
        bool last = false;
        piece = c->on->pull(c, &last);
        if (piece.n && c->chunk_left == 0) {
            char head[LA_CHUNK_HEAD];
            add_debt(c, head, la_http_chunk_head(head, piece.n));
            c->chunk_left = piece.n;
        }
        if (piece.n > c->chunk_left) { /* more came since this chunk was opened */
            piece.n = c->chunk_left;
            last = false;
        }
        c->last_pulled = last;
    }
    if (c->last_pulled && c->chunk_left == 0 && !c->ended_chunks) {
        c->ended_chunks = true;
        add_debt(c, "0\r\n", 3);
    }
    return piece;
}

/* What goes out next: the rest of the head, framing bytes, a piece of the body. */
static int gather(struct la_call *c, struct iovec *v, size_t *payload, struct la_slice *trailers)
{
    static const char plain[] = "\r\n", goodbye[] = "Connection: close\r\n\r\n";
    int n = 0;
    const char *tail = c->goodbye && !c->upgrade ? goodbye : plain;
    uint32_t tail_n = c->goodbye && !c->upgrade ? sizeof goodbye - 1 : sizeof plain - 1;
    if (c->head_sent < c->encoded->n)
        v[n++] = (struct iovec){(void *)(uintptr_t)(c->encoded->p + c->head_sent), c->encoded->n - c->head_sent};
    if (c->head_sent < c->encoded->n + tail_n) {
        uint32_t off = c->head_sent > c->encoded->n ? c->head_sent - c->encoded->n : 0;
        v[n++] = (struct iovec){(void *)(uintptr_t)(tail + off), tail_n - off};
    }
    *payload = 0;
    *trailers = la_slice(NULL, 0);
    if (c->body == LA_BODY_NONE)
        return n;
    struct la_slice piece = {0};
    if (c->body == LA_BODY_LENGTH) {
        bool last = false;
        if (c->body_left)
            piece = c->on->pull(c, &last);
        piece.n = la_min64(piece.n, c->body_left);
    } else {
        piece = next_chunk_piece(c);
    }
    if (c->debt_n)
        v[n++] = (struct iovec){c->debt, c->debt_n};
    if (piece.n)
        v[n++] = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
    *payload = piece.n;
    if (c->ended_chunks) {
        *trailers = c->on->trailers(c);
        if (c->trailers_sent < trailers->n)
            v[n++] = (struct iovec){(void *)(uintptr_t)(trailers->p + c->trailers_sent), trailers->n - c->trailers_sent};
        uint64_t end = c->trailers_sent > trailers->n ? c->trailers_sent - trailers->n : 0;
        if (end < 2)
            v[n++] = (struct iovec){(void *)(uintptr_t)(plain + end), 2 - end};
    }
    return n;
}

/* n bytes of what gather gave are out. */
static void account(struct la_call *c, size_t n, size_t payload)
{
    uint32_t head = c->encoded->n + (c->goodbye && !c->upgrade ? 21 : 2);
    la_call_count_sent(c, n);
    uint32_t k = (uint32_t)la_min64(n, head - c->head_sent);
    c->head_sent += k;
    n -= k;
    k = (uint32_t)la_min64(n, c->debt_n);
    memmove(c->debt, c->debt + k, c->debt_n - k);
    c->debt_n = (uint8_t)(c->debt_n - k);
    n -= k;
    size_t body = la_min64(n, payload);
    if (body) {
        c->on->consumed(c, body);
        if (c->body == LA_BODY_LENGTH) {
            c->body_left -= body;
        } else if ((c->chunk_left -= body) == 0) {
            add_debt(c, "\r\n", 2);
        }
    }
    c->trailers_sent += n - body;
}

static bool all_sent(const struct la_call *c, size_t trailers)
{
    uint32_t head = c->encoded->n + (c->goodbye && !c->upgrade ? 21 : 2);
    if (c->head_sent < head || c->debt_n)
        return false;
    if (c->body == LA_BODY_NONE)
        return true;
    if (c->body == LA_BODY_LENGTH)
        return c->body_left == 0;
    return c->ended_chunks && c->trailers_sent == trailers + 2;
}

/* Writes as much as there is and the kernel takes. */
static void send_request(struct la_call *c)
{
    while (!c->request_done && !c->send_failed && !c->ending) {
        struct iovec v[6];
        size_t payload, total = 0;
        struct la_slice trailers;
        int n = gather(c, v, &payload, &trailers);
        for (int i = 0; i < n; i++)
            total += v[i].iov_len;
        if (n == 0) { /* the body has more to come */
            want(c, false);
            la_call_await_client(c);
            return;
        }
        ssize_t sent = la_stream_send(&c->conn->stream, v, n, false);
        if (sent == LA_STREAM_FAIL) {
            /* Its answer may be there already, with the reason why it stopped reading. */
            c->send_failed = true;
            want(c, false);
            return;
        }
        if (sent > 0)
            account(c, (size_t)sent, payload);
        if (sent == (ssize_t)total && all_sent(c, trailers.n)) {
            request_sent(c);
            return;
        }
        if (sent > 0 || !la_timer_is_set(&c->timer))
            la_call_progress(c, c->send_ms);
        if (sent < (ssize_t)total) {
            want(c, true);
            return;
        }
    }
}

/* ---- the response ---- */

static bool may_reuse(const struct la_call *c, size_t extra)
{
    return c->request_done && c->keep_alive && !c->doubtful && extra == 0;
}

/* Complete. The exchange hears it first, while the bytes still lie in the scratch buffer. */
static void response_over(struct la_call *c, size_t extra, bool by_fin)
{
    struct la_conn *conn = c->conn;
    char lines[LA_HTTP_TRAILER];
    struct la_http_writer trailers;
    la_http_writer_init(&trailers, lines, sizeof lines);
    la_http1_write_trailers(&trailers, &c->decoder);
    enum la_verdict verdict;
    enum la_close_cause cause = LA_CLOSE_GOODBYE;
    if (c->filled && !by_fin && la_stream_peek(&conn->stream) == LA_PEEK_BYTES)
        extra++;
    if (by_fin) {
        verdict = la_stream_fin(&conn->stream) ? LA_GONE : LA_BACKEND_ENDS;
        cause = c->goodbye ? LA_CLOSE_GOODBYE : LA_CLOSE_CLOSE_DELIMITED;
    } else if (extra) {
        verdict = LA_RESET;
        cause = LA_CLOSE_UNEXPECTED_BYTES;
    } else if (!c->request_done) {
        verdict = LA_RESET;
        cause = LA_CLOSE_UNSENT_REQUEST;
    } else if (c->goodbye || (!c->keep_alive && !c->doubtful)) {
        verdict = LA_BACKEND_ENDS;
        cause = c->goodbye ? LA_CLOSE_GOODBYE : LA_CLOSE_ANNOUNCED;
    } else if (may_reuse(c, extra)) {
        verdict = LA_REUSE;
    } else {
        verdict = LA_RESET;
        cause = LA_CLOSE_PROTOCOL_ERROR;
    }
    la_timer_stop(&c->timer);
    conn->on_event = NULL;
    conn->owner = NULL;
    c->conn = NULL;
    c->on->end(c, la_slice(lines, trailers.overflow ? 0 : trailers.n));
    la_buf_put(c->env, &c->partial);
    la_buf_put(c->env, &c->trailer);
    la_conn_release(&conn, verdict, cause);
}

/* Body bytes; false: the call is over. */
static bool read_body(struct la_call *c, const char *p, size_t n)
{
    while (n > 0 && !c->decoder.done) {
        struct la_slice piece = {0};
        enum la_err e;
        size_t used = la_http_body_feed(&c->decoder, p, n, &piece, &e);
        if (used == SIZE_MAX) {
            c->on->flush(c);
            if (c->conn)
                fail(c, LA_RESPONSE_CHUNK, LA_CLOSE_PROTOCOL_ERROR, false);
            return false;
        }
        if (piece.n)
            c->on->body(c, piece);
        if (c->conn == NULL)
            return false;
        p += used;
        n -= used;
    }
    if (c->decoder.done) {
        response_over(c, n, false);
        return false;
    }
    return true;
}

static void on_head(struct la_call *c, const struct la_http_head *h)
{
    c->head_done = true;
    c->keep_alive = h->keep_alive;
    c->doubtful |= h->doubtful;
    struct la_server *s = c->conn->outlet->pool.server;
    if (h->keep_alive_timeout_s)
        la_clock_announced(&s->clock, h->keep_alive_timeout_s * 1000);
    if (h->framing == LA_FRAMING_CHUNKED)
        c->trailer = la_buf_get(c->env, false);
    la_http_body_init(&c->decoder, h, c->trailer ? c->trailer->p : NULL, c->trailer ? c->trailer->cap : 0);
    if (h->framing == LA_FRAMING_NONE)
        c->decoder.done = true;
}

/* A server that gave up waiting for a request, just when one came: 408 and close on a connection that was idle. Later it is
 * this request that it has waited for. */
static bool lost_race_408(const struct la_call *c, const struct la_http_head *h)
{
    return h->status == 408 && !h->keep_alive && !c->conn->fresh && !c->interim_seen &&
           la_since(la_loop_now_ns(c->env->loop), c->begun_ns) < RACE_MS * 1000000u;
}

/* The server said that it ends, and its FIN is on the way: the place is not free before that. What still comes is nobody's. */
LA_COLD static void await_end(struct la_call *c)
{
    c->ending = true;
    la_buf_put(c->env, &c->partial);
    la_timer_set(&c->timer, c->conn->outlet->branch->conf->pool.goodbye_ms);
    want(c, false);
}

/* Bytes from p on are the response, from its start. Returns how many were used up to and with the final head, 0: it needs
 * more, SIZE_MAX: the call is over. */
static size_t read_head(struct la_call *c, const char *p, size_t n)
{
    size_t at = 0;
    for (;;) {
        struct la_http_head *h = c->env->response;
        enum la_err e;
        switch (la_http_parse_response(h, p + at, n - at, &c->seen, &c->env->response_limits, c->method, c->upgrade, &e)) {
        case LA_HTTP_MORE: break;
        case LA_HTTP_ERROR: fail(c, e, LA_CLOSE_PROTOCOL_ERROR, false); return SIZE_MAX;
        case LA_HTTP_DONE:
            at += h->head_n;
            c->seen = 0;
            if (h->status == 101) {
                struct la_buf *held = c->partial; /* the head may lie in it */
                c->partial = NULL;
                stop(c);
                c->on->upgraded(c, h, la_slice(p + at, n - at));
                la_buf_put(c->env, &held);
                return SIZE_MAX;
            }
            if (h->status < 200) {
                c->interim_seen = true;
                c->doubtful |= h->doubtful;
                c->on->interim(c, h);
                if (c->conn == NULL)
                    return SIZE_MAX;
                continue;
            }
            if (lost_race_408(c, h)) {
                await_end(c);
                return SIZE_MAX;
            }
            on_head(c, h);
            c->on->head(c, h);
            return c->conn ? at : SIZE_MAX;
        }
        break;
    }
    /* Keep the unfinished rest. */
    if (c->partial == NULL && (c->partial = la_buf_get(c->env, false)) == NULL) {
        fail(c, LA_MEMORY, LA_CLOSE_ABORTED, false);
        return SIZE_MAX;
    }
    size_t rest = n - at;
    while (c->partial->cap < rest)
        if (!la_buf_grow(c->env, &c->partial)) {
            fail(c, LA_RESPONSE_HEAD_SIZE, LA_CLOSE_PROTOCOL_ERROR, false);
            return SIZE_MAX;
        }
    memmove(c->partial->p, p + at, rest);
    c->partial->n = (uint32_t)rest;
    return 0;
}

/* n bytes came into the scratch buffer. False: the call is over. */
static bool take_bytes(struct la_call *c, size_t n)
{
    const char *p = c->env->scratch;
    if (!c->got_bytes) {
        if (la_conn_in_doubt(c->conn) && la_stream_unheard(&c->conn->stream) >= c->bytes_sent) {
            fail(c, LA_RESPONSE_UNASKED, LA_CLOSE_UNEXPECTED_BYTES, false);
            return false;
        }
        c->got_bytes = true;
        c->first_byte_ns = la_loop_now_ns(c->env->loop);
        if (c->request_done)
            la_clock_first_byte(&c->conn->outlet->pool.server->clock, (c->first_byte_ns - c->sent_ns) / 1000);
    }
    la_call_count_received(c, n);
    if (!c->head_done) {
        if (c->partial && c->partial->n) { /* the head came in pieces: put them together */
            while (c->partial->cap - c->partial->n < n)
                if (!la_buf_grow(c->env, &c->partial)) {
                    fail(c, LA_RESPONSE_HEAD_SIZE, LA_CLOSE_PROTOCOL_ERROR, false);
                    return false;
                }
            memcpy(c->partial->p + c->partial->n, p, n);
            c->partial->n += (uint32_t)n;
            p = c->partial->p;
            n = c->partial->n;
        }
        size_t used = read_head(c, p, n);
        if (used == SIZE_MAX)
            return false;
        if (used == 0)
            return true;
        p += used;
        n -= used;
    }
    if (c->decoder.done) {
        response_over(c, n, false);
        return false;
    }
    return read_body(c, p, n);
}

LA_COLD static void on_fin(struct la_call *c, bool reset)
{
    bool gone = reset || la_stream_fin(&c->conn->stream);
    if (!gone)
        la_stream_goodbye(&c->conn->stream);
    if (c->ending) {
        if (gone)
            fail(c, reset ? LA_SERVER_RESET : LA_SERVER_CLOSED, LA_CLOSE_RACE, true);
    } else if (c->head_done && c->decoder.framing == LA_FRAMING_CLOSE && !reset) {
        response_over(c, 0, true);
    } else if (c->got_bytes) {
        fail(c, LA_RESPONSE_INCOMPLETE, LA_CLOSE_INCOMPLETE, la_stream_fin(&c->conn->stream));
    } else if (!gone) {
        await_end(c);
    } else {
        fail(c, reset ? LA_SERVER_RESET : LA_SERVER_CLOSED, LA_CLOSE_RACE, true);
    }
}

/* The head, and what there certainly is room for behind it: a tunnel has one buffer, a turn that and what it may keep. */
static size_t head_read_size(const struct la_call *c)
{
    size_t n = c->partial ? c->partial->n : 0, most = c->env->large_bytes - n;
    if (n == 0 && !c->upgrade && most < c->read_max)
        most = c->read_max;
    return la_min64(LA_SCRATCH_BYTES, most);
}

static void read_response(struct la_call *c)
{
    for (int reads = 0; reads < READS_AT_ONCE && c->conn && !c->paused; reads++) {
        size_t most = c->head_done ? la_min64(LA_SCRATCH_BYTES, c->read_max) : head_read_size(c);
        if (most == 0 && !c->head_done) {
            fail(c, LA_RESPONSE_HEAD_SIZE, LA_CLOSE_PROTOCOL_ERROR, false);
            return;
        }
        ssize_t n = la_stream_recv(&c->conn->stream, c->env->scratch, most);
        if (n == LA_STREAM_AGAIN)
            return;
        if (n <= 0) {
            on_fin(c, n != 0);
            return;
        }
        if (c->ending)
            continue;
        if (c->head_done)
            la_call_progress(c, c->response_ms);
        c->filled = (size_t)n == most;
        if (!take_bytes(c, (size_t)n))
            return;
        c->on->flush(c);
        if (c->conn && c->head_done && !c->paused && !la_timer_is_set(&c->timer))
            la_call_progress(c, c->response_ms);
        if ((size_t)n < most)
            return;
    }
}

static void on_event(struct la_conn *conn, int events)
{
    struct la_call *c = conn->owner;
    enter(c);
    if (events & LA_WRITE)
        send_request(c);
    if (c->conn == conn && ((events & LA_READ) || c->send_failed))
        read_response(c);
    if (c->conn == conn && c->send_failed && !c->got_bytes && !c->ending)
        fail(c, LA_SERVER_RESET, LA_CLOSE_RACE, true);
    leave(c);
}

static void on_timer(struct la_timer *t)
{
    struct la_call *c = la_container(t, struct la_call, timer);
    enter(c);
    if (c->ending)
        fail(c, LA_SERVER_CLOSED, LA_CLOSE_RACE, false);
    else if (!c->request_done && !c->head_done)
        fail(c, LA_SEND_TIMEOUT, LA_CLOSE_TIMEOUT, false);
    else
        fail(c, c->head_done ? LA_RESPONSE_STALLED : LA_RESPONSE_TIMEOUT, LA_CLOSE_TIMEOUT, false);
    leave(c);
}

/* ---- operations ---- */

static void begin(struct la_call *c, struct la_conn *conn)
{
    c->conn = conn;
    conn->owner = c;
    conn->on_event = on_event;
    c->goodbye = conn->item.goodbye;
    c->request_done = c->send_failed = c->got_bytes = c->head_done = c->paused = c->interim_seen = c->ending = false;
    c->head_sent = 0;
    c->bytes_sent = c->bytes_received = c->chunk_left = c->trailers_sent = 0;
    c->debt_n = 0;
    c->last_pulled = c->ended_chunks = false;
    c->seen = 0;
    c->keep_alive = c->doubtful = c->bounded = c->filled = false;
    c->body_left = c->body_length;
    c->decoder = (struct la_http_body){0};
    c->begun_ns = c->sent_ns = la_loop_now_ns(c->env->loop);
    c->first_byte_ns = 0;
    enter(c);
    send_request(c);
    if (c->conn == conn && c->send_failed) { /* told by the socket's own events: FIN or reset are readable */
        la_io_want(&conn->stream.io, LA_READ);
        la_call_progress(c, c->send_ms);
    }
    leave(c);
}

static void body_ready(struct la_call *c)
{
    if (c->conn == NULL || c->request_done || la_io_wanted(&c->conn->stream.io) & LA_WRITE)
        return;
    enter(c);
    send_request(c);
    leave(c);
}

static void pause_reading(struct la_call *c, bool pause)
{
    if (c->conn == NULL || c->paused == pause)
        return;
    c->paused = pause;
    want(c, !c->request_done && la_io_wanted(&c->conn->stream.io) & LA_WRITE);
    if (c->head_done && pause)
        la_timer_stop(&c->timer);
    else if (c->head_done)
        la_call_progress(c, c->response_ms);
}

const struct la_call_protocol la_http1_call_protocol = {.name = "http",
                                                        .tells_expect = true,
                                                        .encode = encode,
                                                        .begin = begin,
                                                        .body_ready = body_ready,
                                                        .pause = pause_reading,
                                                        .stop = stop};

const struct la_call_protocol *la_call_protocol_find(enum la_protocol p)
{
    static const struct la_call_protocol *const table[] = {[LA_PROTO_HTTP] = &la_http1_call_protocol,
                                                           [LA_PROTO_FASTCGI] = &la_fcgi_call_protocol};
    return p < la_count(table) ? table[p] : NULL;
}
