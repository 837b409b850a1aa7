/* relay.c: the call's side of an exchange: the request body handed to the server, the response handed to the
 * client, what is done when the server fails or the client has left.
 *
 * Owns: nothing; the exchange does. Good path: pull ... sent -> head -> body -> flush -> end.
 *
 * What can fail: a lost race is retried when nothing could be done twice by it; any other failure becomes an
 * answer of our own, or, once the response has begun, one that shows that it is incomplete. A client that has
 * left: a response that is under way is read off when that is cheap, else its connection is reset. One
 * thread. */
#include "exchange.h"
#include "accel.h"
#include "static.h"

static struct la_exchange *of_call(struct la_call *c)
{
    return la_container(c, struct la_exchange, call);
}

static uint64_t now_ns(const struct la_exchange *x)
{
    return la_loop_now_ns(x->proxy->env.loop);
}

static struct la_slice pull(struct la_call *c, bool *last)
{
    struct la_exchange *x = of_call(c);
    if (x->body == NULL) {
        *last = x->body_complete;
        return la_slice(x->inline_body.p + x->inline_at, x->inline_body.n - x->inline_at);
    }
    struct la_slice s = la_spool_peek(x->body);
    *last = x->body_complete && s.n == la_spool_unread(x->body);
    return s;
}

static void consumed(struct la_call *c, size_t n)
{
    struct la_exchange *x = of_call(c);
    if (x->body == NULL) {
        x->inline_at += n;
        return;
    }
    la_spool_consume(x->body, n);
}

static struct la_slice trailers(struct la_call *c)
{
    struct la_exchange *x = of_call(c);
    return x->trailers ? la_slice(x->trailers->p, x->trailers->n) : la_slice(NULL, 0);
}

/* Drops the call: the response is not wanted, and not worth reading off. */
LA_COLD void la_relay_abandon(struct la_exchange *x, enum la_close_cause cause)
{
    struct la_conn *conn = x->call.conn;
    if (conn)
        la_exchange_count_call(x);
    la_call_stop(&x->call);
    x->call.conn = NULL;
    if (conn)
        la_conn_release(&conn, LA_RESET, cause);
    la_exchange_over(x);
}

/* After the client has left: is the rest small and known? */
static bool worth_draining(const struct la_exchange *x)
{
    const struct la_http_body *b = &x->call.decoder;
    uint64_t most = x->conf->pool.drain_max_bytes;
    if (b->framing == LA_FRAMING_CLOSE && x->call.protocol->works_on) /* it ends without a FIN: most are small */
        return x->call.request_done && x->drained <= most;
    return x->call.request_done && (b->done || (b->framing == LA_FRAMING_LENGTH && b->left <= most));
}

static void on_interim(struct la_call *c, const struct la_http_head *h)
{
    struct la_exchange *x = of_call(c);
    /* 100 Continue was answered by us, unless the request is streamed. */
    if (h->status == 100 && !x->stream_body)
        return;
    la_response_from_head(x, h);
    la_turn_interim(&x->turn, x->proxy->response);
}

static void on_head(struct la_call *c, const struct la_http_head *h)
{
    struct la_exchange *x = of_call(c);
    la_health_ok(&c->conn->outlet->pool.server->health, now_ns(x));
    la_exchange_release_tunnel(x); /* it was not to be one */
    if (x->first_byte_ns == 0)
        x->first_byte_ns = c->first_byte_ns;
    if (!la_pin_response(x, h))
        return;
    if (x->turn.client == NULL) {
        x->status = h->status;
        if (!worth_draining(x))
            la_relay_abandon(x, LA_CLOSE_ABORTED);
        else if (c->protocol->works_on) /* its time was the script's */
            la_call_deadline(c, x->conf->pool.abort_wait_ms);
        return;
    }
    x->state = LA_X_RELAYING;
    if (x->conf->fastcgi.root) {
        int fd;
        x->accel_error = la_accel_find(x, h, &fd);
        x->accel = x->accel_error != LA_OK || fd >= 0;
        if (la_accel_unbuffered(h))
            x->turn.spool_conf.file_bytes = 0;
        if (fd >= 0)
            la_static_instead(x, h, fd); /* h may be no more */
        if (x->accel) { /* an error is told when the script has ended; the length that it names may be the file's */
            c->decoder.framing = c->decoder.framing == LA_FRAMING_LENGTH ? LA_FRAMING_CLOSE : c->decoder.framing;
            c->decoder.left = 0;
            return;
        }
    }
    la_response_from_head(x, h);
    la_turn_respond(&x->turn, x->proxy->response);
}

static void on_piece(struct la_call *c, struct la_slice piece)
{
    struct la_exchange *x = of_call(c);
    if (x->turn.client == NULL) {
        x->drained += piece.n;
        if (!worth_draining(x))
            la_relay_abandon(x, LA_CLOSE_ABORTED);
        return;
    }
    if (!x->accel)
        la_turn_send(&x->turn, piece);
}

static void on_flush(struct la_call *c)
{
    struct la_exchange *x = of_call(c);
    la_turn_flush(&x->turn);
    if (x->turn.client == NULL)
        return;
    c->read_max = la_turn_room(&x->turn);
    if (c->read_max == 0) {
        la_call_pause(c, true);
        la_turn_wait_for_room(&x->turn);
    }
}

void la_relay_on_room(struct la_turn *t)
{
    struct la_exchange *x = la_exchange_of_turn(t);
    x->call.read_max = la_turn_room(t);
    la_call_pause(&x->call, false);
}

static void on_end(struct la_call *c, struct la_slice lines)
{
    struct la_exchange *x = of_call(c);
    la_exchange_count_call(x);
    if (x->turn.client == NULL) {
        la_exchange_over(x);
        return;
    }
    x->state = LA_X_ENDING;
    if (x->accel_error)
        la_exchange_fail(x, x->accel_error);
    else if (x->accel)
        la_static_go(x);
    else
        la_turn_end(&x->turn, lines);
}

static void on_upgraded(struct la_call *c, const struct la_http_head *h, struct la_slice early)
{
    struct la_exchange *x = of_call(c);
    struct la_conn *conn = c->conn;
    if (x->turn.client != NULL && la_slice_ieq(h->upgrade, LA_SLICE("websocket"))) {
        la_health_ok(&conn->outlet->pool.server->health, now_ns(x));
        la_tunnel_start(x, h, early);
        return;
    }
    la_exchange_count_call(x);
    c->conn = NULL;
    la_conn_release(&conn, LA_RESET, LA_CLOSE_PROTOCOL_ERROR);
    la_exchange_fail(x, LA_UPGRADE_FAILED);
}

/* Is there a server that this request may go to besides o? */
static bool another_is_up(const struct la_exchange *x, const struct la_outlet *o)
{
    struct la_waiter w = x->waiter;
    if (x->branch->outlets < 2 || o->index >= 64)
        return false;
    w.tried |= 1ull << o->index;
    return la_balance_choose(x->branch, &w, now_ns(x)) != NULL;
}

/* Did the connection fail for a reason that is not the request's? Bytes that crossed it count only on a connection that
 * had idled: on a new one, this server speaks first. */
static bool lost_race(enum la_close_cause cause, bool reused)
{
    return cause == LA_CLOSE_RACE || cause == LA_CLOSE_WORKER_BUSY || (cause == LA_CLOSE_UNEXPECTED_BYTES && reused);
}

/* May this request be sent once more? Its first try left no trace that we saw. */
static bool may_retry(const struct la_exchange *x, const struct la_outlet *o)
{
    const struct la_call *c = &x->call;
    if (x->turn.client == NULL || x->turn.responded)
        return false;
    /* A redial may reach a server that is just dying: no reason to fail while another one is up. */
    unsigned max = x->conf->retry_max + (x->redialed && x->retries == 1 && another_is_up(x, o));
    if (x->retries >= max || c->interim_seen)
        return false;
    if (c->body != LA_BODY_NONE && !x->held && c->bytes_sent > 0)
        return false;
    return la_http_method_idempotent(x->call.method) || c->bytes_sent == 0;
}

static void rewind_body(struct la_exchange *x)
{
    x->inline_at = 0;
    if (x->body && !x->stream_body)
        la_spool_rewind(x->body);
}

LA_COLD static void on_call_fail(struct la_call *c, enum la_err e, enum la_close_cause cause, bool gone)
{
    struct la_exchange *x = of_call(c);
    struct la_conn *conn = c->conn;
    struct la_outlet *o = conn->outlet;
    bool reused = !conn->fresh;
    c->conn = NULL;
    la_exchange_release_tunnel(x);
    la_exchange_count_call(x);
    if (cause == LA_CLOSE_TIMEOUT && x->turn.client == NULL)
        cause = LA_CLOSE_ABORTED; /* abort_wait is over */
    /* Slow or odd answers put a server out only where another one can take over. */
    bool servers_fault =
        (cause == LA_CLOSE_RACE && !reused) ||
        ((cause == LA_CLOSE_TIMEOUT || cause == LA_CLOSE_PROTOCOL_ERROR) && x->branch->outlets > 1);
    if (servers_fault && la_health_failed(&o->pool.server->health, x->branch->conf, false, now_ns(x)))
        la_log_limited(LA_LOG_WARN, 1000, "server %s of upstream %s is out: %s", o->pool.server->label,
                       x->branch->shared->name, la_err_info(e)->text);
    if (cause == LA_CLOSE_RACE && reused && gone)
        la_clock_fin(&o->pool.server->clock, (c->begun_ns - conn->item.idle_ns) / 1000000u, now_ns(x));
    if (lost_race(cause, reused) && may_retry(x, o)) {
        x->retries++;
        x->state = LA_X_QUEUED;
        x->queued_ns = now_ns(x);
        la_stat_add(&x->branch->stats->retry_race, 1);
        rewind_body(x);
        if (gone && (reused || x->branch->outlets == 1)) {
            x->redialed = true;
            la_conn_redial(&conn, cause, &x->waiter);
        } else {
            if (o->index < 64 && x->branch->outlets > 1)
                x->waiter.tried |= 1ull << o->index;
            la_conn_release(&conn, gone ? LA_GONE : LA_RESET, cause);
            la_exchange_acquire(x);
        }
        return;
    }
    la_conn_release(&conn, gone ? LA_GONE : LA_RESET, cause);
    la_log_limited(LA_LOG_WARN, 1000, "upstream %s, server %s: %s (%s)", x->branch->shared->name,
                   x->server->label, la_err_info(e)->text,
                   x->turn.client ? "client told" : "client was gone");
    la_exchange_fail(x, e);
}

static void on_call_idle(struct la_call *c)
{
    struct la_exchange *x = of_call(c);
    if (x->free_me)
        la_exchange_free(x);
}

const struct la_call_events la_relay_events = {
    .pull = pull,
    .consumed = consumed,
    .trailers = trailers,
    .interim = on_interim,
    .head = on_head,
    .body = on_piece,
    .flush = on_flush,
    .end = on_end,
    .upgraded = on_upgraded,
    .fail = on_call_fail,
    .idle = on_call_idle,
};

void la_relay_client_left(struct la_exchange *x)
{
    bool body_held = x->body_complete && (x->body != NULL || x->call.request_done || x->inline_body.n == 0);
    if (!x->call.request_done && !body_held) {
        la_relay_abandon(x, LA_CLOSE_ABORTED); /* the rest of its body will never come */
    } else if (x->call.head_done && !worth_draining(x)) {
        la_relay_abandon(x, LA_CLOSE_ABORTED);
    } else {
        x->call.read_max = LA_SCRATCH_BYTES;
        la_call_pause(&x->call, false);
        bool works_on = x->call.protocol->works_on && !x->call.head_done;
        la_call_deadline(&x->call, works_on ? x->call.response_ms : x->conf->pool.abort_wait_ms);
    }
}
