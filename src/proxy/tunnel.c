/* tunnel.c: after a 101: bytes both ways between a client and a server, until both have said FIN or either is
 * silent for timeouts.tunnel. The connection has left the pool and holds its place.
 *
 * Owns: the client's socket, the connection, one buffer each way. One thread. */
#include "exchange.h"

#include <stdlib.h>

struct way { /* one direction */
    struct la_buf *buf;
    uint32_t at; /* buf->p[at..n) is unsent */
    bool fin;    /* read, and sent on */
};

struct tunnel {
    struct la_exchange *x; /* for the log, and for everything it holds */
    struct la_client *client;
    struct la_conn *conn;
    struct way up, down; /* to the server, to the client */
    bool server_first;   /* its FIN came while the client still had something to say */
    struct la_timer timer;
};

static struct tunnel *tunnel_of(struct la_exchange *x)
{
    return x->tunnel;
}

/* reset: the client; verdict: what becomes of the connection (LA_RESET, ...). */
static void tunnel_end(struct tunnel *t, bool reset, enum la_verdict verdict, bool by_backend)
{
    struct la_exchange *x = t->x;
    struct la_env *env = &x->proxy->env;
    la_timer_stop(&t->timer);
    la_buf_put(env, &t->up.buf);
    la_buf_put(env, &t->down.buf);
    x->backend_ns += la_loop_now_ns(env->loop) - x->begun_ns;
    la_exchange_log(x);
    la_client_end(t->client, reset);
    if (verdict == LA_BACKEND_ENDS) /* our FIN is out */
        t->conn->item.shut = true;
    la_conn_release(&t->conn, verdict, by_backend ? LA_CLOSE_BACKEND_TUNNEL : LA_CLOSE_PROXY_TUNNEL);
    x->tunnel = NULL;
    free(t);
    la_exchange_over(x);
}

/* Moves bytes one way. Returns the stream that is broken, so that the tunnel has to end; NULL: fine. */
static struct la_stream *move(struct way *w, struct la_stream *from, struct la_stream *to, uint64_t *bytes)
{
    for (int rounds = 0; rounds < 4; rounds++) {
        if (w->at < w->buf->n) {
            struct iovec v = {w->buf->p + w->at, w->buf->n - w->at};
            ssize_t n = la_stream_send(to, &v, 1, false);
            if (n == LA_STREAM_FAIL)
                return to;
            if (n == LA_STREAM_AGAIN)
                return NULL;
            w->at += (uint32_t)n;
            *bytes += (uint64_t)n;
            if (w->at < w->buf->n)
                return NULL;
        }
        w->at = w->buf->n = 0;
        if (w->fin)
            return NULL;
        ssize_t n = la_stream_recv(from, w->buf->p, w->buf->cap);
        if (n == LA_STREAM_AGAIN)
            return NULL;
        if (n <= 0) {
            la_stream_shutdown(to);
            w->fin = true;
            return n == 0 ? NULL : from;
        }
        w->buf->n = (uint32_t)n;
    }
    return NULL;
}

static int wants(const struct way *reads, const struct way *writes)
{
    bool full = reads->at < reads->buf->n || reads->fin;
    bool pending = writes->at < writes->buf->n;
    return (full ? 0 : LA_READ) | (pending ? LA_WRITE : 0);
}

static void run(struct tunnel *t)
{
    struct la_exchange *x = t->x;
    uint64_t up = 0, down = 0;
    struct la_stream *client = &t->client->stream, *server = &t->conn->stream;
    struct la_stream *broken = move(&t->up, client, server, &up);
    bool cut = broken == client; /* what it said before that arrives all the same */
    if (broken == NULL)
        broken = move(&t->down, server, client, &down);
    if (t->down.fin && !t->up.fin)
        t->server_first = true;
    x->turn.body_bytes += up;
    x->turn.sent_bytes += down;
    la_stat_add(&x->branch->stats->bytes_out, up);
    la_stat_add(&x->branch->stats->bytes_in, down);
    if (broken) {
        tunnel_end(t, broken == client, cut ? LA_BACKEND_ENDS : LA_RESET, t->server_first || broken == server);
        return;
    }
    if (t->up.fin && t->down.fin) {
        tunnel_end(t, false, la_stream_fin(server) ? LA_GONE : LA_BACKEND_ENDS, t->server_first);
        return;
    }
    la_io_want(&client->io, wants(&t->up, &t->down));
    la_io_want(&server->io, wants(&t->down, &t->up));
    if (x->conf->timeouts.tunnel_ms)
        la_timer_set(&t->timer, x->conf->timeouts.tunnel_ms);
}

static void on_client(struct la_io *io, int events)
{
    (void)events;
    struct la_client *c = la_container(io, struct la_client, stream.io);
    run(c->tunnel);
}

static void on_server(struct la_conn *c, int events)
{
    (void)events;
    run(c->owner);
}

static void on_timer(struct la_timer *timer)
{
    tunnel_end(la_container(timer, struct tunnel, timer), true, LA_RESET, false);
}

void la_tunnel_close(struct la_exchange *x)
{
    if (tunnel_of(x))
        tunnel_end(tunnel_of(x), true, LA_RESET, false);
}

/* *s: what the client has not taken of its 101. False: it is more than room. */
static bool unsent(const struct la_turn *t, size_t room, struct la_slice *s)
{
    *s = t->spool ? la_spool_peek(t->spool) : la_slice(NULL, 0);
    return s->n <= room && (t->spool == NULL || s->n == la_spool_unread(t->spool));
}

static void put_before(struct la_buf *b, struct la_slice s)
{
    memmove(b->p + s.n, b->p, b->n);
    memcpy(b->p, s.p, s.n);
    b->n += (uint32_t)s.n;
}

void la_tunnel_start(struct la_exchange *x, const struct la_http_head *h, struct la_slice early)
{
    struct la_env *env = &x->proxy->env;
    struct la_conn *conn = x->call.conn;
    x->call.conn = NULL;
    struct tunnel *t = calloc(1, sizeof *t);
    struct la_buf *up = la_buf_get(env, true), *down = la_buf_get(env, true);
    if (t == NULL || up == NULL || down == NULL) {
        free(t);
        la_buf_put(env, &up);
        la_buf_put(env, &down);
        la_conn_release(&conn, LA_RESET, LA_CLOSE_ABORTED);
        x->error = LA_MEMORY;
        la_response_error(x, LA_MEMORY);
        return;
    }
    *t = (struct tunnel){.x = x, .conn = conn, .up = {.buf = up}, .down = {.buf = down}};
    la_timer_init(&t->timer, env->loop, on_timer);
    /* The 101 goes in front of what the server has sent behind it. */
    la_response_from_head(x, h);
    la_turn_respond(&x->turn, x->proxy->response);
    if (x->turn.client)
        la_turn_flush(&x->turn);
    struct la_slice rest;
    if (x->turn.client == NULL || !unsent(&x->turn, down->cap - early.n, &rest)) {
        /* Gone, or so slow that too much waits for it. */
        la_buf_put(env, &t->up.buf);
        la_buf_put(env, &t->down.buf);
        free(t);
        la_conn_release(&conn, LA_RESET, LA_CLOSE_PROXY_TUNNEL);
        if (x->turn.client)
            la_turn_abort(&x->turn);
        return;
    }
    la_assert(early.n <= down->cap);
    memcpy(down->p, early.p, early.n);
    down->n = (uint32_t)early.n;
    if (rest.n)
        put_before(down, rest);
    struct la_slice sent_early;
    t->client = la_turn_to_tunnel(&x->turn, &sent_early);
    if (sent_early.n <= up->cap) {
        memcpy(up->p, sent_early.p, sent_early.n);
        up->n = (uint32_t)sent_early.n;
    }
    x->tunnel = t;
    x->state = LA_X_TUNNEL;
    la_list_remove(&x->late_node);
    la_conn_to_tunnel(conn);
    conn->owner = t;
    conn->on_event = on_server;
    t->client->tunnel = t;
    la_io_stop(&t->client->stream.io);
    t->client->stream.io.cb = on_client;
    run(t);
}
