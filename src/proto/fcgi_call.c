/* fcgi_call.c: FastCGI towards a server: one request written as records, one CGI response read, over a pooled
 * connection.
 *
 * Owns: while a call is under way, the connection's events, the timer, the buffers for the head and for a
 * line of STDERR. Never: whether to try again (the exchange decides), who gets the connection next.
 *
 * Good path: begin -> BEGIN_REQUEST, PARAMS, STDIN in one sendmsg -> sent -> STDOUT: head, body ->
 * END_REQUEST -> the connection goes back. Goodbye is a request without FCGI_KEEP_CONN: php-fpm then hangs
 * up. A connection is used again only if the request went out in full, END_REQUEST ended the response and
 * nothing followed it.
 *
 * php-fpm has one worker per connection, which may be busy, or missing: the first byte is watched (fcgi_watch.c).
 * One thread. */
#include "fcgi.h"

#include "lastack/log.h"
#include "lastack/sock.h"

#include <stdio.h>

#define READS_AT_ONCE 4

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
    la_fcgi_stderr_end(c);
    la_buf_put(c->env, &c->partial);
    if (c->conn) {
        la_conn_fed(c->conn, &c->fcgi.starving);
        c->conn->on_event = NULL;
        c->conn->owner = NULL;
    }
}

static void fail(struct la_call *c, enum la_err e, enum la_close_cause cause, bool gone)
{
    stop(c);
    c->on->fail(c, e, cause, gone);
}

static void want(struct la_call *c, bool write)
{
    la_io_want(&c->conn->stream.io, (c->paused ? 0 : LA_READ) | (write ? LA_WRITE : 0));
}

/* ---- the request ---- */

static uint32_t head_bytes(const struct la_call *c)
{
    return LA_FCGI_BEGIN_BYTES + c->encoded->n + c->fcgi.tail_n;
}

/* What stands around the encoded parameters: it depends on the connection, and on a length that is known
 * late. */
static void write_frame(struct la_call *c)
{
    struct la_call_fcgi *f = &c->fcgi;
    struct la_fcgi_params w;
    uint8_t id = f->records.id;
    la_fcgi_begin(f->lead, id, !c->goodbye);
    la_fcgi_readdress(c->encoded->p, c->encoded->n, id);
    la_fcgi_params_init(&w, id, f->tail, sizeof f->tail);
    if (c->body == LA_BODY_UNKNOWN) {
        char digits[24];
        int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)c->body_length);
        la_fcgi_param(&w, LA_SLICE("CONTENT_LENGTH"), la_slice(digits, (size_t)n));
        la_fcgi_params_close(&w);
    }
    la_assert(!w.overflow);
    la_fcgi_head(f->tail + w.n, LA_FCGI_PARAMS, id, 0);
    w.n += LA_FCGI_HEAD_BYTES;
    if (c->body_left == 0) {
        la_fcgi_head(f->tail + w.n, LA_FCGI_STDIN, id, 0);
        w.n += LA_FCGI_HEAD_BYTES;
        c->ended_chunks = true;
    }
    f->tail_n = (uint8_t)w.n;
}

/* The next thing must come within ms; until the first byte of a response, it is looked after sooner whether anybody reads. */
static void await(struct la_call *c, uint64_t ms)
{
    uint64_t watch_ms = c->got_bytes ? 0 : la_fcgi_watch_ms(c, ms);
    c->fcgi.watching = watch_ms > 0;
    la_call_progress(c, watch_ms ? watch_ms : ms);
}

static void request_sent(struct la_call *c)
{
    c->request_done = true;
    c->sent_ns = la_loop_now_ns(c->env->loop);
    want(c, false);
    if (c->head_done)
        la_call_await_response(c);
    else
        await(c, c->response_ms);
}

/* The next piece of the body; opens a record for it, or the empty one that ends STDIN, by way of the debt. */
static struct la_slice next_piece(struct la_call *c)
{
    struct la_slice piece = {0};
    bool last;
    if (c->body_left == 0)
        return piece;
    piece = c->on->pull(c, &last);
    piece.n = la_min64(piece.n, c->body_left);
    if (piece.n && c->chunk_left == 0) {
        c->chunk_left = la_min64(piece.n, LA_FCGI_RECORD_MOST);
        la_fcgi_head(c->debt, LA_FCGI_STDIN, c->fcgi.records.id, c->chunk_left);
        c->debt_n = LA_FCGI_HEAD_BYTES;
    }
    piece.n = la_min64(piece.n, c->chunk_left);
    return piece;
}

static void add_iov(struct iovec *v, int *n, const char *p, size_t bytes, uint32_t *skip)
{
    if (*skip < bytes)
        v[(*n)++] = (struct iovec){(void *)(uintptr_t)(p + *skip), bytes - *skip};
    *skip = *skip > bytes ? *skip - (uint32_t)bytes : 0;
}

static int gather(struct la_call *c, struct iovec *v, size_t *payload)
{
    int n = 0;
    uint32_t skip = c->head_sent;
    add_iov(v, &n, c->fcgi.lead, sizeof c->fcgi.lead, &skip);
    add_iov(v, &n, c->encoded->p, c->encoded->n, &skip);
    add_iov(v, &n, c->fcgi.tail, c->fcgi.tail_n, &skip);
    struct la_slice piece = next_piece(c);
    if (c->debt_n)
        v[n++] = (struct iovec){c->debt, c->debt_n};
    if (piece.n)
        v[n++] = (struct iovec){(void *)(uintptr_t)piece.p, piece.n};
    *payload = piece.n;
    return n;
}

/* n bytes of what gather gave are out. */
static void account(struct la_call *c, size_t n, size_t payload)
{
    la_call_count_sent(c, n);
    uint32_t k = (uint32_t)la_min64(n, head_bytes(c) - c->head_sent);
    c->head_sent += k;
    n -= k;
    k = (uint32_t)la_min64(n, c->debt_n);
    memmove(c->debt, c->debt + k, c->debt_n - k);
    c->debt_n = (uint8_t)(c->debt_n - k);
    n -= k;
    la_assert(n <= payload);
    if (n == 0)
        return;
    c->on->consumed(c, n);
    c->chunk_left -= n;
    c->body_left -= n;
    if (c->body_left == 0) {
        la_fcgi_head(c->debt, LA_FCGI_STDIN, c->fcgi.records.id, 0);
        c->debt_n = LA_FCGI_HEAD_BYTES;
        c->ended_chunks = true;
    }
}

static void send_request(struct la_call *c)
{
    while (!c->request_done && !c->send_failed) {
        struct iovec v[5];
        size_t payload, total = 0;
        int n = gather(c, v, &payload);
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
        if (sent > 0) {
            account(c, (size_t)sent, payload);
            la_call_progress(c, c->send_ms);
        }
        if (sent < (ssize_t)total) {
            want(c, true);
            if (sent > 0 || !la_timer_is_set(&c->timer))
                await(c, c->send_ms);
            return;
        }
        if (c->ended_chunks && c->debt_n == 0 && c->head_sent == head_bytes(c))
            request_sent(c);
    }
}

/* ---- the response ---- */

/* END_REQUEST has come; extra bytes behind it are poison. */
static void response_over(struct la_call *c, size_t extra)
{
    struct la_conn *conn = c->conn;
    enum la_verdict verdict = LA_RESET;
    enum la_close_cause cause = LA_CLOSE_GOODBYE;
    if (extra) {
        cause = LA_CLOSE_UNEXPECTED_BYTES;
    } else if (!c->request_done) {
        cause = LA_CLOSE_UNSENT_REQUEST;
    } else if (c->doubtful || c->fcgi.records.odd) {
        cause = LA_CLOSE_PROTOCOL_ERROR;
    } else {
        verdict = c->goodbye ? LA_BACKEND_ENDS : LA_REUSE;
    }
    stop(c);
    c->conn = NULL;
    c->on->end(c, la_slice(NULL, 0));
    la_conn_release(&conn, verdict, cause);
}

static bool on_head(struct la_call *c)
{
    struct la_http_head *h = c->env->response;
    enum la_err e = la_cgi_parse_head(h, c->partial->p, c->partial->n, &c->env->response_limits, c->method);
    if (e != LA_OK) {
        fail(c, e, LA_CLOSE_PROTOCOL_ERROR, false);
        return false;
    }
    c->head_done = true;
    c->doubtful = h->doubtful;
    c->decoder.framing = h->framing;
    c->decoder.left = h->length;
    c->decoder.done = h->framing == LA_FRAMING_NONE || (h->framing == LA_FRAMING_LENGTH && h->length == 0);
    c->on->head(c, h);
    la_buf_put(c->env, &c->partial);
    return c->conn != NULL;
}

/* Bytes of STDOUT before the end of the head; *s is what follows it. False: the call is over. */
static bool gather_head(struct la_call *c, struct la_slice *s)
{
    if (c->partial == NULL && (c->partial = la_buf_get(c->env, false)) == NULL) {
        fail(c, LA_MEMORY, LA_CLOSE_ABORTED, false);
        return false;
    }
    for (;;) {
        size_t used = la_cgi_gather(&c->fcgi.gather, s->p, s->n, c->partial->p, &c->partial->n, c->partial->cap);
        *s = la_slice(s->p + used, s->n - used);
        if (!c->fcgi.gather.overflow)
            break;
        if (!la_buf_grow(c->env, &c->partial)) {
            fail(c, LA_RESPONSE_HEAD_SIZE, LA_CLOSE_PROTOCOL_ERROR, false);
            return false;
        }
    }
    return c->fcgi.gather.done ? on_head(c) : true;
}

/* Body bytes are put together in the scratch buffer, over the record heads between them, so that they are one
 * piece. */
static void add_body(struct la_call *c, struct la_slice s, struct la_slice *run)
{
    struct la_http_body *d = &c->decoder;
    if (d->framing == LA_FRAMING_NONE)
        return; /* a script may print what HEAD does not get */
    if (d->framing == LA_FRAMING_LENGTH) {
        if (s.n > d->left) { /* more than it announced: the client gets what was announced */
            s.n = d->left;
            c->doubtful = true;
        }
        d->left -= s.n;
        d->done = d->left == 0;
    }
    if (s.n == 0)
        return;
    if (run->n == 0)
        *run = la_slice(s.p, 0);
    if (run->p + run->n != s.p)
        memmove((char *)(uintptr_t)(run->p + run->n), s.p, s.n);
    run->n += s.n;
}

/* What was put together goes to the exchange. False: the call is over. */
static bool hand_over(struct la_call *c, struct la_slice *run)
{
    if (run->n)
        c->on->body(c, *run);
    run->n = 0;
    return c->conn != NULL;
}

static void on_over(struct la_call *c, size_t extra)
{
    if (!c->head_done) {
        fail(c, LA_RESPONSE_BAD, LA_CLOSE_PROTOCOL_ERROR, false);
    } else if (c->decoder.framing == LA_FRAMING_LENGTH && c->decoder.left > 0) {
        c->on->flush(c);
        if (c->conn)
            fail(c, LA_RESPONSE_INCOMPLETE, LA_CLOSE_PROTOCOL_ERROR, false);
    } else {
        response_over(c, extra);
    }
}

/* The first byte: a worker has it. From now on the timer is the response's. */
static void heard(struct la_call *c)
{
    la_conn_fed(c->conn, &c->fcgi.starving);
    if (c->fcgi.watching)
        la_call_progress(c, c->response_ms);
    c->fcgi.watching = false;
}

/* Did nothing come but what may be an earlier request's? */
static bool left_over(const struct la_call *c)
{
    return !c->conn->fresh && !c->fcgi.records.any;
}

/* n bytes came into the scratch buffer. False: the call is over. */
static bool take_bytes(struct la_call *c, size_t n)
{
    const char *p = c->env->scratch;
    struct la_slice run = {0};
    if (!c->got_bytes) {
        if (la_conn_in_doubt(c->conn) && la_fcgi_unasked(c)) {
            fail(c, LA_RESPONSE_UNASKED, LA_CLOSE_UNEXPECTED_BYTES, false);
            return false;
        }
        c->got_bytes = true;
        c->first_byte_ns = la_loop_now_ns(c->env->loop);
        heard(c);
    }
    la_call_count_received(c, n);
    while (n > 0) {
        enum la_fcgi_event event;
        struct la_slice piece;
        size_t used = la_fcgi_read(&c->fcgi.records, p, n, &event, &piece);
        p += used;
        n -= used;
        switch (event) {
        case LA_FCGI_MORE: break;
        case LA_FCGI_ERR: la_fcgi_stderr(c, piece); break;
        case LA_FCGI_OUT:
            if (!c->head_done && !gather_head(c, &piece))
                return false;
            if (c->head_done)
                add_body(c, piece, &run);
            break;
        case LA_FCGI_OVER:
            if (hand_over(c, &run))
                on_over(c, n);
            return false;
        case LA_FCGI_BAD:
            if (hand_over(c, &run) && c->head_done)
                c->on->flush(c);
            if (c->conn && left_over(c))
                fail(c, LA_RESPONSE_UNASKED, LA_CLOSE_UNEXPECTED_BYTES, false);
            else if (c->conn)
                fail(c, LA_RESPONSE_BAD, LA_CLOSE_PROTOCOL_ERROR, false);
            return false;
        }
    }
    return hand_over(c, &run);
}

static void on_fin(struct la_call *c, bool reset)
{
    if (c->got_bytes && !left_over(c))
        fail(c, LA_RESPONSE_INCOMPLETE, LA_CLOSE_INCOMPLETE, true);
    else
        fail(c, reset ? LA_SERVER_RESET : LA_SERVER_CLOSED, LA_CLOSE_RACE, true);
}

static void read_response(struct la_call *c)
{
    for (int reads = 0; reads < READS_AT_ONCE && c->conn && !c->paused; reads++) {
        size_t most = la_min64(LA_SCRATCH_BYTES, c->read_max);
        ssize_t n = la_stream_recv(&c->conn->stream, c->env->scratch, most);
        if (n == LA_STREAM_AGAIN)
            return;
        if (n <= 0) {
            on_fin(c, n != 0);
            return;
        }
        if (c->head_done)
            la_call_progress(c, c->response_ms);
        if (!take_bytes(c, (size_t)n))
            return;
        if (c->head_done)
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
    if (c->conn == conn && c->send_failed && !c->got_bytes)
        fail(c, LA_SERVER_RESET, LA_CLOSE_RACE, true);
    leave(c);
}

/* No byte yet, or none taken for a while, and it is time to look why. */
static void on_watch(struct la_call *c)
{
    uint64_t from_ns = c->request_done ? c->sent_ns : c->progress_ns, most = c->request_done ? c->response_ms : c->send_ms;
    uint64_t waited = (la_loop_now_ns(c->env->loop) - from_ns) / 1000000u;
    uint64_t left = waited < most ? most - waited : 0, ms = left;
    enum la_fcgi_seen seen = la_fcgi_look(c, &ms);
    c->fcgi.watching = seen == LA_FCGI_STARVES;
    if (seen == LA_FCGI_BUSY)
        fail(c, LA_RESPONSE_TIMEOUT, LA_CLOSE_WORKER_BUSY, false);
    else if (left == 0)
        fail(c, c->request_done ? LA_RESPONSE_TIMEOUT : LA_SEND_TIMEOUT, LA_CLOSE_TIMEOUT, false);
    else
        la_timer_set(&c->timer, la_min64(ms, left));
}

static void on_timer(struct la_timer *t)
{
    struct la_call *c = la_container(t, struct la_call, timer);
    enter(c);
    if (c->fcgi.watching)
        on_watch(c);
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
    c->timer.cb = on_timer;
    c->goodbye = conn->item.goodbye;
    c->request_done = c->send_failed = c->got_bytes = c->head_done = c->paused = c->interim_seen = false;
    c->head_sent = 0;
    c->bytes_sent = c->bytes_received = c->chunk_left = 0;
    c->debt_n = 0;
    c->ended_chunks = false;
    c->keep_alive = true;
    c->doubtful = c->bounded = false;
    c->body_left = c->body == LA_BODY_NONE ? 0 : c->body_length;
    c->decoder = (struct la_http_body){0};
    c->fcgi.records = (struct la_fcgi_reader){.id = la_fcgi_id(conn->item.requests)};
    c->fcgi.gather = (struct la_cgi_gather){0};
    c->fcgi.watching = c->fcgi.starving = false;
    c->fcgi.err_lines = 0;
    c->begun_ns = c->sent_ns = la_loop_now_ns(c->env->loop);
    c->first_byte_ns = 0;
    write_frame(c);
    enter(c);
    send_request(c);
    if (c->conn == conn && c->send_failed) /* told by the socket's own events: FIN or reset are readable */
        la_io_want(&conn->stream.io, LA_READ);
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

const struct la_call_protocol la_fcgi_call_protocol = {.name = "fastcgi",
                                                       .needs_length = true,
                                                       .works_on = true,
                                                       .encode = la_fcgi_encode,
                                                       .begin = begin,
                                                       .body_ready = body_ready,
                                                       .pause = pause_reading,
                                                       .stop = stop};
