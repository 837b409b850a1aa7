/* exchange.c: one request and its response as the proxy carries it: from the routed head to the log line.
 * relay.c has the call's side.
 *
 * Owns: the exchange, its buffered request body. Never: a client's bytes (proto's turn), a server's
 * (proto's call), who gets a connection (upstream).
 *
 * Good path: request -> route -> (body buffered) -> acquire -> call -> head, body, end relayed -> done ->
 * logged, freed.
 *
 * What can fail: before the response has begun every failure becomes an answer of our own, with its cause;
 * after that the client is shown that the response is incomplete. A client that leaves: its place in the line
 * goes with it. One thread. */
#include "exchange.h"
#include "lastack/sock.h"
#include "site.h"
#include "static.h"

#include <stdio.h>

#define LATE_MS 10
#define TIMED_MOST_NS 60000000000ull

static const char *const state_names[LA_X_STATES] = {
#define X(id, name) [LA_X_##id] = name,
    LA_EXCHANGE_STATES(X)
#undef X
};

const char *la_exchange_state_name(enum la_exchange_state s)
{
    return state_names[s];
}

struct la_exchange *la_exchange_of_turn(struct la_turn *t)
{
    return la_container(t, struct la_exchange, turn);
}

static uint64_t now_ns(const struct la_exchange *x)
{
    return la_loop_now_ns(x->proxy->env.loop);
}

/* ---- life ---- */

static void on_conn(struct la_waiter *w, struct la_conn *c);
static void on_fail(struct la_waiter *w, enum la_err e);

static struct la_exchange *exchange_new(struct la_client *c, const struct la_http_head *head)
{
    struct la_door *d = la_container(c->front, struct la_door, front);
    struct la_proxy *p = d->proxy;
    if (!la_bounds_take_memory(p->env.bounds, sizeof(struct la_exchange)))
        return NULL;
    struct la_exchange *x = la_slab_get(&p->exchanges);
    if (x == NULL) {
        la_bounds_give_memory(p->env.bounds, sizeof(struct la_exchange));
        return NULL;
    }
    memset(x, 0, offsetof(struct la_exchange, peer));
    x->proxy = p;
    x->door = d;
    d->users++;
    x->view = d->view;
    x->view->users++;
    la_list_init(&x->node);
    la_list_init(&x->late_node);
    la_list_push_back(&p->live, &x->node);
    p->live_n++;
    la_call_init(&x->call, &p->env, &la_relay_events, NULL);
    la_turn_init(&x->turn, c, head);
    x->start_ns = now_ns(x);
    la_client_peer(c, &x->peer);
    struct la_tls_facts facts;
    if (la_tls_facts(&c->stream, &facts)) {
        x->tls = facts.version;
        x->tls_resumed = facts.resumed;
    }
    return x;
}

void la_exchange_hold(struct la_exchange *x)
{
    x->call.entered++;
}

bool la_exchange_let_go(struct la_exchange *x)
{
    x->call.entered--;
    if (!x->free_me)
        return true;
    la_exchange_free(x);
    return false;
}

/* Frees it when no callback of its call is on the stack. */
void la_exchange_free(struct la_exchange *x)
{
    struct la_proxy *p = x->proxy;
    x->free_me = true;
    if (x->call.entered)
        return;
    struct la_view *v = x->view;
    la_list_remove(&x->node);
    p->live_n--;
    x->door->users--;
    la_server_unref(&x->server);
    la_slab_put(&p->exchanges, x);
    la_bounds_give_memory(p->env.bounds, sizeof(struct la_exchange));
    v->users--;
    if (v != p->view && v->users == 0)
        la_proxy_drop_views(p);
    if (p->draining && p->live_n == 0)
        p->on_idle(p);
}

/* Tunnels, streams and long polls hold a connection and say nothing of how fast the server is. */
static void count_server(struct la_exchange *x, struct la_pool_stats *s, unsigned code)
{
    la_stat_add(&s->code[code], 1);
    if (x->backend_ns == 0 || x->error || code == 101 || x->backend_ns > TIMED_MOST_NS)
        return;
    la_stat_add(&s->timed, 1);
    la_stat_add(&s->timed_backend_us, x->backend_ns / 1000);
    la_stat_add(&s->timed_queue_us, x->queue_ns / 1000);
}

/* Once. What it says of the request lies in the client's buffer, which may go after this. */
void la_exchange_log(struct la_exchange *x)
{
    if (x->logged)
        return;
    x->logged = true;
    x->end_ns = now_ns(x);
    x->body_out = x->turn.sent_bytes;
    x->body_in = x->turn.body_bytes;
    uint64_t us = (x->end_ns - x->start_ns) / 1000;
    unsigned code = (unsigned)x->status % 600;
    if (x->branch) {
        struct la_upstream_stats *s = x->branch->stats;
        la_stat_add(&s->requests, 1);
        la_hist_record(&s->phase[LA_PHASE_TOTAL], us);
        if (x->queued_ns)
            la_hist_record(&s->phase[LA_PHASE_QUEUE], x->queue_ns / 1000);
        if (x->begun_ns)
            la_hist_record(&s->phase[LA_PHASE_BACKEND], x->backend_ns / 1000);
        if (x->server)
            count_server(x, &x->server->stats[x->proxy->worker], code);
        else
            la_stat_add(&s->code[code], 1);
        if (x->error)
            la_stat_add(&s->error[x->error], 1);
    } else {
        la_stat_add(&x->proxy->stats->code[code], 1);
        if (x->error)
            la_stat_add(&x->proxy->stats->error[x->error], 1);
    }
    la_access_log_write(x->proxy->log, x);
    x->method = x->target = x->host = x->agent = x->referer = la_slice(NULL, 0);
}

/* Its call is over, or is left: what it took is the backend's time. Nothing more is added to what is logged. */
void la_exchange_count_call(struct la_exchange *x)
{
    if (!x->logged)
        x->backend_ns += now_ns(x) - x->call.begun_ns;
}

/* A request for an upgrade holds one of pool.tunnels from before it is sent. */
static bool reserve_tunnel(struct la_exchange *x, struct la_server *s)
{
    if (!la_tunnel_place_take(s))
        return false;
    x->tunnel_of = s;
    return true;
}

void la_exchange_release_tunnel(struct la_exchange *x)
{
    if (x->tunnel_of)
        la_tunnel_place_put(x->tunnel_of);
    x->tunnel_of = NULL;
}

void la_exchange_over(struct la_exchange *x)
{
    if (x->state == LA_X_OVER)
        return;
    la_exchange_log(x);
    la_exchange_release_tunnel(x);
    x->state = LA_X_OVER;
    la_list_remove(&x->late_node);
    la_upstreams_cancel(&x->waiter);
    la_pin_forget(x);
    la_buf_put(&x->proxy->env, &x->encoded);
    la_buf_put(&x->proxy->env, &x->trailers);
    if (x->body)
        la_spool_free(&x->body);
    if (x->file)
        la_static_free(&x->file);
    if (x->wants)
        la_wants_free(&x->wants, x->proxy->env.bounds);
    if (x->branch)
        la_branch_drop(x->branch);
    la_exchange_free(x);
}

/* Answers with an error of our own; when the response has begun the client is shown that it ends early. */
LA_COLD void la_exchange_fail(struct la_exchange *x, enum la_err e)
{
    if (x->error == LA_OK)
        x->error = e;
    if (x->turn.client == NULL) {
        la_exchange_over(x);
        return;
    }
    x->state = LA_X_ENDING;
    if (x->turn.responded)
        la_turn_abort(&x->turn);
    else
        la_response_error(x, e);
}

/* ---- getting a connection ---- */

static bool idempotent(const struct la_exchange *x)
{
    return la_http_method_idempotent(x->call.method);
}

/* Watches the client, once it has waited long enough for its leaving to matter. */
static void watch_later(struct la_exchange *x)
{
    struct la_proxy *p = x->proxy;
    if (x->late_node.next != &x->late_node)
        return;
    la_list_push_back(&p->late, &x->late_node);
    if (!la_timer_is_set(&p->late_timer))
        la_timer_set(&p->late_timer, LATE_MS);
}

static void start_call(struct la_exchange *x, struct la_conn *c)
{
    uint64_t now = now_ns(x);
    if ((x->upgrade && !reserve_tunnel(x, c->outlet->pool.server)) || (x->binds && !la_pin_bind(x, c))) {
        la_exchange_release_tunnel(x);
        /* One whose last request this was to be has not said goodbye, and nobody else may have it. */
        la_conn_release(&c, c->item.goodbye ? LA_RESET : LA_REUSE, LA_CLOSE_ABORTED);
        la_exchange_fail(x, LA_TUNNELS_FULL);
        return;
    }
    x->state = LA_X_CALLING;
    x->begun_ns = now;
    x->queue_ns += now - x->queued_ns;
    x->connect_ns = c->fresh ? now - la_max64(c->dial_ns, x->queued_ns) : 0;
    struct la_server *s = c->outlet->pool.server;
    if (x->server != s) {
        la_server_unref(&x->server);
        x->server = la_server_ref(s);
    }
    x->conn_id = c->id;
    x->conn_reuse = c->item.requests - 1;
    x->pair = c->pair;
    x->call.read_max = la_turn_room(&x->turn);
    x->call.last_try = x->retries >= x->conf->retry_max || (x->call.body != LA_BODY_NONE && !x->held);
    la_call_begin(&x->call, c);
}

static struct la_slice preface(struct la_waiter *w, int version)
{
    struct la_exchange *x = la_container(w, struct la_exchange, waiter);
    struct la_addr local = {0};
    if (x->turn.client)
        la_sock_local(la_stream_fd(&x->turn.client->stream), &local);
    return la_slice(x->preface, la_proxy_header_write(x->preface, version, &x->peer, &local));
}

static void acquire(struct la_exchange *x)
{
    enum la_err e = LA_OK;
    if (!x->call.protocol->tells_expect)
        la_turn_continue(&x->turn);
    if (x->state == LA_X_OVER) /* the client left, as that was written */
        return;
    x->state = LA_X_QUEUED;
    x->queued_ns = now_ns(x);
    x->waiter.replayable = idempotent(x) && (x->held || x->call.body == LA_BODY_NONE);
    struct la_conn *c;
    if (!la_pin_take(x, &c))
        c = la_upstreams_acquire(x->branch, &x->waiter, &e);
    if (e != LA_OK)
        la_exchange_fail(x, e);
    else if (c)
        start_call(x, c);
    if (x->state == LA_X_QUEUED || x->state == LA_X_CALLING)
        watch_later(x);
}

/* It may get its connection, its answer and its end within. */
void la_exchange_acquire(struct la_exchange *x)
{
    la_exchange_hold(x);
    acquire(x);
    la_exchange_let_go(x);
}

static void on_conn(struct la_waiter *w, struct la_conn *c)
{
    struct la_exchange *x = la_container(w, struct la_exchange, waiter);
    start_call(x, c);
}

LA_COLD static void on_fail(struct la_waiter *w, enum la_err e)
{
    struct la_exchange *x = la_container(w, struct la_exchange, waiter);
    x->queue_ns += now_ns(x) - x->queued_ns;
    la_exchange_fail(x, e);
}

/* ---- the request ---- */

static uint64_t hash_slice(struct la_slice s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    return h;
}

static uint64_t hash_key(const struct la_exchange *x, const struct la_http_head *head)
{
    if (x->conf->balance != LA_BALANCE_HASH)
        return 0;
    if (x->conf->hash_header == NULL)
        return la_addr_hash(&x->peer, 0);
    struct la_slice name = la_slice_str(x->conf->hash_header);
    for (size_t i = 0; i < head->headers; i++)
        if (la_slice_ieq(la_http_name(head, i), name))
            return hash_slice(la_http_value(head, i));
    return 0;
}

static struct la_slice value_of(const struct la_http_head *head, enum la_http_field f)
{
    int i = la_http_find(head, f);
    return i < 0 ? la_slice(NULL, 0) : la_http_value(head, (size_t)i);
}

static enum la_err route(struct la_exchange *x, const struct la_http_head *head)
{
    struct la_route_hit hit;
    struct la_snapshot *s = x->view->snapshot;
    if (head->method == LA_METHOD_CONNECT || head->method == LA_METHOD_TRACE)
        return LA_METHOD_REFUSED;
    if (!la_route_find(s, x->door->conf, head->host, head->target, &hit))
        return LA_NO_ROUTE;
    x->conf = s->plan[hit.plan].conf;
    x->branch = la_upstreams_branch(x->proxy->upstreams, s->plan[hit.plan].shared);
    if (x->branch == NULL)
        return LA_DRAINING;
    la_branch_hold(x->branch);
    uint64_t max = x->proxy->env.body_max;
    if (max && head->framing == LA_FRAMING_LENGTH && head->length > max)
        return LA_BODY_TOO_LARGE;
    x->binds = la_pin_asked(head);
    if (x->binds && x->conf->connection_auth == LA_CONNECTION_AUTH_REFUSE)
        return LA_AUTH_REFUSED;
    x->call.protocol = la_call_protocol_find(x->conf->protocol);
    x->stream_body = x->conf->buffer.request_mode == LA_REQUEST_STREAM &&
                     !(x->call.protocol->needs_length && head->framing == LA_FRAMING_CHUNKED);
    x->waiter.hash = hash_key(x, head);
    x->turn.spool_conf = (struct la_spool_conf){.dir = x->conf->buffer.dir,
                                                .mem_bytes = x->conf->buffer.response_bytes,
                                                .file_bytes = x->conf->buffer.response_file_bytes};
    x->turn.read_max = la_min64(x->conf->buffer.request_bytes, LA_SCRATCH_BYTES);
    if (x->conf->fastcgi.root) {
        enum la_err e = la_site_find(&x->conf->fastcgi, head->target, la_loop_now_ns(x->proxy->env.loop),
                                     x->proxy->site);
        if (e != LA_OK || x->proxy->site->kind != LA_SITE_SCRIPT)
            return e;
        if ((x->conf->fastcgi.internals || x->conf->fastcgi.sendfiles) &&
            (x->wants = la_wants_new(head, x->proxy->env.bounds)) == NULL)
            return LA_MEMORY;
    }
    return la_request_make(x, head, hit.route);
}

static bool on_request(struct la_client *c, const struct la_http_head *head)
{
    struct la_exchange *x = exchange_new(c, head);
    if (x == NULL)
        return false;
    x->method = head->method_text;
    x->target = head->target;
    x->host = head->host;
    x->minor = head->minor;
    x->agent = value_of(head, LA_FIELD_USER_AGENT);
    x->referer = value_of(head, LA_FIELD_REFERER);
    x->waiter.on_conn = on_conn;
    x->waiter.on_fail = on_fail;
    x->waiter.preface = preface;
    x->proxy->site->kind = LA_SITE_NONE;
    enum la_err e = route(x, head);
    if (e != LA_OK) {
        la_exchange_fail(x, e);
    } else if (x->proxy->site->kind == LA_SITE_FILE || x->proxy->site->kind == LA_SITE_MOVED) {
        la_static_answer(x, head, x->proxy->site);
    } else if (x->turn.body_done) {
        x->body_complete = x->held = true;
        la_exchange_acquire(x);
    } else if (x->stream_body) {
        la_exchange_acquire(x);
    } else {
        x->state = LA_X_READING;
        la_turn_continue(&x->turn);
    }
    return true;
}

static bool on_bad_request(struct la_client *c, enum la_err e)
{
    struct la_exchange *x = exchange_new(c, NULL);
    if (x == NULL)
        return false;
    la_exchange_fail(x, e);
    return true;
}

static void refuse(struct la_exchange *x, enum la_err e);

/* The client may send as much as the spool takes. */
static void give_room(struct la_exchange *x)
{
    x->turn.read_max = la_min64(la_spool_room(x->body), LA_SCRATCH_BYTES);
    la_turn_pause_body(&x->turn, x->turn.read_max == 0);
}

static void on_body_spool(void *arg)
{
    struct la_exchange *x = arg;
    if (x->body && la_spool_error(x->body) != LA_OK) {
        refuse(x, la_spool_error(x->body));
        return;
    }
    la_exchange_hold(x); /* room brings the bytes that waited, and what is wrong with them */
    if (x->body && !x->body_complete)
        give_room(x);
    if (x->state == LA_X_CALLING || x->state == LA_X_RELAYING || x->state == LA_X_ABORTED)
        la_call_body_ready(&x->call);
    la_exchange_let_go(x);
}

static enum la_err store(struct la_exchange *x, struct la_slice piece)
{
    if (x->body == NULL) {
        struct la_spool_conf conf = {.loop = x->proxy->env.loop,
                                     .filer = x->proxy->env.filer,
                                     .bounds = x->proxy->env.bounds,
                                     .dir = x->conf->buffer.dir,
                                     .mem_bytes = x->conf->buffer.request_bytes,
                                     .file_bytes = x->stream_body ? 0 : UINT64_MAX,
                                     .keep = !x->stream_body};
        x->body = la_spool_new(&conf, on_body_spool, x);
        if (x->body == NULL)
            return LA_MEMORY;
    }
    if (la_spool_room(x->body) < piece.n)
        return la_spool_error(x->body) ? la_spool_error(x->body) : LA_DISK;
    return la_spool_write(x->body, piece.p, piece.n);
}

LA_COLD static void refuse(struct la_exchange *x, enum la_err e)
{
    x->turn.body_dropped = true;
    if (x->state == LA_X_QUEUED) {
        la_upstreams_cancel(&x->waiter);
        la_pin_forget(x);
    }
    if (x->call.conn) { /* its request can never be completed */
        struct la_conn *c = x->call.conn;
        la_exchange_count_call(x);
        la_call_stop(&x->call);
        x->call.conn = NULL;
        la_conn_release(&c, LA_RESET, LA_CLOSE_ABORTED);
    }
    if (x->turn.responded && x->state == LA_X_ENDING)
        return; /* answered in full already: the answer stands */
    la_exchange_fail(x, e);
}

static void on_body(struct la_turn *t, struct la_slice piece, bool last)
{
    struct la_exchange *x = la_exchange_of_turn(t);
    if (x->state == LA_X_ENDING || x->state == LA_X_OVER)
        return; /* an early answer: the rest is thrown away */
    if (last && x->body == NULL && la_turn_holds(t, piece)) {
        x->inline_body = piece;
    } else if (piece.n) {
        enum la_err e = store(x, piece);
        if (e != LA_OK) {
            refuse(x, e);
            return;
        }
        if (!last)
            give_room(x);
    }
    x->body_complete = last;
    if (last) {
        x->held = !x->stream_body || x->body == NULL;
        if (x->call.body == LA_BODY_UNKNOWN) /* its length is known now */
            x->call.body_length = t->body_bytes;
        /* Some servers take trailers for fields of the head: none pass where a field tells who the client is. */
        bool pass = !x->view->snapshot->conf->client_headers;
        if (pass && t->trailer && t->body.trailer_n && (x->trailers = la_buf_get(&x->proxy->env, true)) != NULL)
            x->trailers->n = (uint32_t)la_request_trailers(x, x->trailers->p, x->trailers->cap);
    }
    if (x->state == LA_X_READING && last)
        la_exchange_acquire(x);
    else if (x->state == LA_X_CALLING || x->state == LA_X_RELAYING)
        la_call_body_ready(&x->call);
}

static void on_refused(struct la_turn *t, enum la_err e)
{
    refuse(la_exchange_of_turn(t), e);
}

void la_exchange_kill(struct la_exchange *x)
{
    if (x->call.conn)
        la_relay_abandon(x, LA_CLOSE_DRAIN);
    else
        la_exchange_over(x);
}

/* ---- the client's side ---- */

/* The client left. What the server is doing for it is read off if that is cheap: a reset would lose a
 * connection, and our FIN would leave a port in TIME_WAIT. */
LA_COLD static void on_gone(struct la_turn *t, enum la_err e)
{
    struct la_exchange *x = la_exchange_of_turn(t);
    if (x->error == LA_OK)
        x->error = e;
    if (!t->responded)
        x->status = la_err_info(e)->status;
    if (x->state == LA_X_QUEUED)
        x->queue_ns += now_ns(x) - x->queued_ns;
    la_list_remove(&x->late_node);
    if (x->call.conn == NULL || x->state == LA_X_QUEUED || x->state == LA_X_READING) {
        la_exchange_over(x);
        return;
    }
    la_exchange_count_call(x);
    la_exchange_log(x);
    x->state = LA_X_ABORTED;
    la_relay_client_left(x);
}

static void on_done(struct la_turn *t)
{
    struct la_exchange *x = la_exchange_of_turn(t);
    if (x->call.conn) { /* answered before the server was: its connection is in doubt */
        la_relay_abandon(x, LA_CLOSE_ABORTED);
        return;
    }
    la_exchange_over(x);
}

static void on_room(struct la_turn *t)
{
    struct la_exchange *x = la_exchange_of_turn(t);
    if (x->file)
        la_static_on_room(x);
    else
        la_relay_on_room(t);
}

const struct la_service la_exchange_service = {
    .request = on_request,
    .bad_request = on_bad_request,
    .body = on_body,
    .refused = on_refused,
    .gone = on_gone,
    .room = on_room,
    .done = on_done,
    .unbound = la_pin_end,
};
