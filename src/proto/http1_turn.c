/* http1_turn.c: one turn: its beginning; the response's head, framing, and what the client has not taken yet.
 *
 * Owns: the turn's buffers (head, trailer, spool). Pieces are gathered and written with one system call by
 * la_turn_flush; what the client does not take is copied to the spool, in memory first and then in a file.
 *
 * Good path: la_turn_respond, la_turn_send, la_turn_end -> one sendmsg -> la_client_turn_over. When the
 * connection ends after it, the last bytes go out with MSG_MORE, so that they and the FIN leave in one
 * segment. One thread. */
#include "http1.h"

#define OVERHEAD 8448u /* what framing and trailers may add to a read of response bytes */

bool la_turn_waits_to_write(const struct la_turn *t)
{
    return t->spool && la_spool_unread(t->spool) > 0;
}

void la_turn_fini(struct la_turn *t)
{
    struct la_env *env = t->client->front->env;
    la_buf_put(env, &t->head);
    la_buf_put(env, &t->trailer);
    if (t->spool)
        la_spool_free(&t->spool);
    t->iovs = 0;
}

/* ---- beginning ---- */

void la_turn_init(struct la_turn *t, struct la_client *c, const struct la_http_head *head)
{
    struct la_env *env = c->front->env;
    memset(t, 0, offsetof(struct la_turn, iov));
    t->client = c;
    t->minor = 1;
    t->read_max = LA_SCRATCH_BYTES;
    t->progress_ns = la_loop_now_ns(env->loop);
    c->turn = t;
    if (head == NULL) {
        t->body_done = true;
        c->state = LA_CLIENT_TURN;
        return;
    }
    t->method = head->method;
    t->minor = head->minor;
    t->keep_alive = head->keep_alive;
    t->expects = head->expect_continue;
    t->body_done = head->framing == LA_FRAMING_NONE;
    if (!t->body_done) {
        if (head->framing == LA_FRAMING_CHUNKED)
            t->trailer = la_buf_get(env, false); /* NULL: trailers are dropped */
        la_http_body_init(&t->body, head, t->trailer ? t->trailer->p : NULL,
                          t->trailer ? t->trailer->cap : 0);
        if (t->body.done) { /* Content-Length: 0 */
            t->body_done = true;
            c->state = LA_CLIENT_TURN;
        }
    }
}

bool la_turn_holds(const struct la_turn *t, struct la_slice piece)
{
    const struct la_buf *in = t->client->in;
    return in && piece.p >= in->p && piece.p < in->p + in->cap;
}

void la_turn_watch(struct la_turn *t)
{
    struct la_client *c = t->client;
    if (c && c->state == LA_CLIENT_TURN)
        la_io_want(&c->stream.io, la_io_wanted(&c->stream.io) | LA_READ);
}

/* ---- writing ---- */

/* Everything has been handed to the kernel. */
static void over(struct la_turn *t)
{
    struct la_client *c = t->client;
    bool keep = !t->close && t->body_done;
    bool quick = !t->keep_alive && t->body_done; /* the client said that it sends no more */
    la_turn_fini(t);
    la_client_turn_over(c, t, keep, quick);
}

static bool closes_quickly(const struct la_turn *t)
{
    return t->ended && t->close && !t->keep_alive && t->body_done;
}

static void on_spool(void *arg)
{
    la_turn_on_writable(arg);
}

static bool spool_open(struct la_turn *t)
{
    if (t->spool)
        return true;
    struct la_spool_conf conf = t->spool_conf;
    struct la_env *env = t->client->front->env;
    conf.loop = env->loop;
    conf.filer = env->filer;
    conf.bounds = env->bounds;
    conf.mem_bytes += env->large_bytes + OVERHEAD;
    t->spool = la_spool_new(&conf, on_spool, t);
    return t->spool != NULL;
}

/* Keeps what the client did not take. */
LA_COLD static enum la_err keep(struct la_turn *t, size_t skip)
{
    if (!spool_open(t))
        return LA_MEMORY;
    for (int i = 0; i < t->iovs; i++) {
        size_t n = t->iov[i].iov_len;
        if (skip >= n) {
            skip -= n;
            continue;
        }
        if (la_spool_room(t->spool) < n - skip)
            return la_spool_error(t->spool) ? la_spool_error(t->spool) : LA_DISK;
        enum la_err e = la_spool_write(t->spool, (const char *)t->iov[i].iov_base + skip, n - skip);
        if (e != LA_OK)
            return e;
        skip = 0;
    }
    return LA_OK;
}

void la_turn_flush(struct la_turn *t)
{
    struct la_client *c = t->client;
    if (c == NULL)
        return;
    size_t total = 0, sent = 0;
    for (int i = 0; i < t->iovs; i++)
        total += t->iov[i].iov_len;
    if (total > 0 && !la_turn_waits_to_write(t)) {
        ssize_t n = la_stream_send(&c->stream, t->iov, t->iovs, closes_quickly(t));
        if (n == LA_STREAM_FAIL) {
            la_client_gone(c, LA_CLIENT_GONE);
            return;
        }
        sent = n > 0 ? (size_t)n : 0;
        t->sent_bytes += sent;
    }
    if (sent < total) {
        bool waited = la_turn_waits_to_write(t);
        enum la_err e = keep(t, sent);
        if (e != LA_OK) {
            la_client_gone(c, e);
            return;
        }
        if (!waited) {
            t->progress_ns = la_loop_now_ns(c->front->env->loop);
            la_client_want(c);
            la_client_arm_timer(c);
        }
    }
    t->iovs = 0;
    t->chunks = 0;
    if (t->ended && !la_turn_waits_to_write(t))
        over(t);
}

void la_turn_on_writable(struct la_turn *t)
{
    struct la_client *c = t->client;
    if (c == NULL || t->spool == NULL)
        return;
    for (;;) {
        if (la_spool_error(t->spool) != LA_OK) {
            la_client_gone(c, la_spool_error(t->spool));
            return;
        }
        struct la_slice s = la_spool_peek(t->spool);
        if (s.n == 0)
            break;
        bool last = t->ended && s.n == la_spool_unread(t->spool);
        struct iovec v = {(void *)(uintptr_t)s.p, s.n};
        ssize_t n = la_stream_send(&c->stream, &v, 1, last && closes_quickly(t));
        if (n == LA_STREAM_FAIL) {
            la_client_gone(c, LA_CLIENT_GONE);
            return;
        }
        if (n == LA_STREAM_AGAIN)
            break;
        t->sent_bytes += (size_t)n;
        t->progress_ns = la_loop_now_ns(c->front->env->loop);
        la_spool_consume(t->spool, (size_t)n);
        if ((size_t)n < s.n)
            break;
    }
    if (!la_turn_waits_to_write(t) && t->ended) {
        over(t);
        return;
    }
    /* Bytes that are still in the file come with an event of their own. */
    if (la_turn_waits_to_write(t) && la_spool_peek(t->spool).n == 0)
        la_io_want(&c->stream.io, la_io_wanted(&c->stream.io) & ~LA_WRITE);
    else
        la_client_want(c);
    if (!la_turn_waits_to_write(t))
        la_client_arm_timer(c);
    if (t->stuck && la_turn_room(t) > 0) {
        t->stuck = false;
        c->front->service->room(t);
    }
}

size_t la_turn_room(struct la_turn *t)
{
    if (t->spool == NULL || t->client == NULL)
        return t->spool_conf.mem_bytes;
    size_t room = la_spool_claim(t->spool);
    return room > OVERHEAD ? room - OVERHEAD : 0;
}

void la_turn_wait_for_room(struct la_turn *t)
{
    t->stuck = true;
    if (t->spool && !la_spool_push(t->spool))
        la_client_gone(t->client, LA_MEMORY);
}

/* ---- the head ---- */

static void write_framing(struct la_http_writer *w, struct la_turn *t, const struct la_response *r)
{
    if (r->status < 200 || r->status == 204) {
        t->no_body = true;
    } else if (t->method == LA_METHOD_HEAD || r->status == 304) {
        t->no_body = true;
        if (r->announce)
            la_http_write_length(w, r->length);
    } else if (r->body == LA_BODY_UNKNOWN) {
        t->chunked = t->minor >= 1;
        t->until_close = !t->chunked;
        t->length_left = UINT64_MAX;
    } else {
        t->length_left = r->body == LA_BODY_LENGTH ? r->length : 0;
        la_http_write_length(w, t->length_left);
    }
    if (t->chunked)
        la_http_write(w, LA_SLICE("Transfer-Encoding: chunked\r\n"));
}

static struct la_buf *write_head(struct la_turn *t, const struct la_response *r, bool final)
{
    struct la_env *env = t->client->front->env;
    for (int large = 0; large <= 1; large++) {
        struct la_buf *b = la_buf_get(env, large);
        if (b == NULL && final && r->status == 503 && !large)
            b = la_buf_get_anyway(env);
        if (b == NULL)
            return NULL;
        struct la_http_writer w;
        la_http_writer_init(&w, b->p, b->cap);
        la_http_write_status(&w, r->status, r->reason.n ? r->reason : la_http_reason(r->status));
        la_http1_write_fields(&w, &r->fields);
        if (r->upgrade.n) {
            la_http_write(&w, LA_SLICE("Connection: Upgrade\r\n"));
            la_http_write_header(&w, LA_SLICE("Upgrade"), r->upgrade);
        } else if (final) {
            write_framing(&w, t, r);
            const struct la_front *f = t->client->front;
            t->close |= r->close || !t->keep_alive || t->until_close || f->draining || f->keepalive_ms == 0;
            if (t->close)
                la_http_write(&w, LA_SLICE("Connection: close\r\n"));
            else if (t->minor == 0)
                la_http_write(&w, LA_SLICE("Connection: keep-alive\r\n"));
        }
        la_http_write(&w, LA_SLICE("\r\n"));
        b->n = (uint32_t)w.n;
        if (!w.overflow)
            return b;
        la_buf_put(env, &b);
    }
    return NULL;
}

static void gather(struct la_turn *t, const void *p, size_t n)
{
    if (n == 0)
        return;
    la_assert(t->iovs < LA_TURN_IOV);
    t->iov[t->iovs++] = (struct iovec){(void *)(uintptr_t)p, n};
}

void la_turn_respond(struct la_turn *t, const struct la_response *r)
{
    if (t->client == NULL)
        return;
    la_assert(!t->responded);
    t->responded = true;
    if (t->iovs)
        la_turn_flush(t);
    if (t->client == NULL)
        return;
    la_buf_put(t->client->front->env, &t->head);
    t->head = write_head(t, r, true);
    if (t->head == NULL) {
        la_client_gone(t->client, LA_MEMORY);
        return;
    }
    gather(t, t->head->p, t->head->n);
}

void la_turn_interim(struct la_turn *t, const struct la_response *r)
{
    if (t->client == NULL || t->minor == 0) /* HTTP/1.0 knows none (RFC 9110 15.2) */
        return;
    struct la_env *env = t->client->front->env;
    struct la_buf *b = write_head(t, r, false);
    if (b == NULL)
        return;
    if (r->status == 100)
        t->expects = false;
    gather(t, b->p, b->n);
    la_turn_flush(t);
    la_buf_put(env, &b);
}

void la_turn_continue(struct la_turn *t)
{
    struct la_client *c = t->client;
    if (c == NULL || !t->expects || t->responded)
        return;
    t->expects = false;
    if (t->body_bytes > 0 || c->at < c->in->n)
        return; /* it did not wait */
    gather(t, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    la_turn_flush(t);
}

/* ---- the body ---- */

void la_turn_send(struct la_turn *t, struct la_slice piece)
{
    if (t->client == NULL || t->no_body || piece.n == 0)
        return;
    la_assert(t->responded && !t->ended && piece.n <= t->length_left);
    if (t->length_left != UINT64_MAX)
        t->length_left -= piece.n;
    if (t->iovs + 3 >= LA_TURN_IOV || t->chunks == la_count(t->chunk))
        la_turn_flush(t);
    if (t->client == NULL)
        return;
    if (t->chunked) {
        char *head = t->chunk[t->chunks++];
        gather(t, head, la_http_chunk_head(head, piece.n));
    }
    gather(t, piece.p, piece.n);
    if (t->chunked)
        gather(t, "\r\n", 2);
}

void la_turn_end(struct la_turn *t, struct la_slice trailers)
{
    if (t->client == NULL)
        return;
    la_assert(t->responded && !t->ended);
    la_assert(t->no_body || t->length_left == 0 || t->length_left == UINT64_MAX);
    if (t->iovs + 3 >= LA_TURN_IOV)
        la_turn_flush(t);
    if (t->client == NULL)
        return;
    if (t->chunked && !t->no_body) {
        gather(t, "0\r\n", 3);
        gather(t, trailers.p, trailers.n);
        gather(t, "\r\n", 2);
    }
    t->ended = true;
    la_turn_flush(t);
}

void la_turn_abort(struct la_turn *t)
{
    struct la_client *c = t->client;
    if (c == NULL)
        return;
    la_turn_flush(t); /* what is known to be good still goes out */
    if (t->client == NULL)
        return;
    /* A response that its end of connection delimits can only be marked by a reset. */
    bool reset = t->until_close || la_turn_waits_to_write(t);
    la_turn_fini(t);
    t->aborted = true;
    t->close = true;
    if (reset)
        la_client_gone(c, LA_RESPONSE_INCOMPLETE);
    else
        la_client_turn_over(c, t, false, false);
}

/* ---- 101 ---- */

struct la_client *la_turn_to_tunnel(struct la_turn *t, struct la_slice *early)
{
    struct la_client *c = t->client;
    la_turn_fini(t);
    t->client = NULL;
    c->turn = NULL;
    c->state = LA_CLIENT_TUNNEL;
    la_timer_stop(&c->timer);
    la_io_want(&c->stream.io, 0);
    *early = c->in ? la_slice(c->in->p + c->at, c->in->n - c->at) : la_slice(NULL, 0);
    return c;
}
