/* proxy.c: one worker's proxy as a whole: its views of configurations, its live exchanges, drain and end. */
#include "exchange.h"
#include "script.h"
#include "lastack/json.h"

#include <stdio.h>
#include <stdlib.h>

#define LATE_MS 10

static void on_late(struct la_timer *t);

void la_proxy_init(struct la_proxy *p, struct la_loop *l, struct la_filer *f, struct la_bounds *b, unsigned worker,
                   struct la_crew *crew, struct la_proxy_stats *stats, size_t header_bytes)
{
    memset(p, 0, sizeof *p);
    la_env_init(&p->env, l, f, b, header_bytes);
    la_slab_init(&p->env.clients, sizeof(struct la_client), 64);
    la_slab_init(&p->exchanges, sizeof(struct la_exchange), 16);
    p->upstreams = la_upstreams_new(l, worker, crew);
    crew->member[worker] = p->upstreams;
    p->worker = worker;
    p->stats = stats;
    la_list_init(&p->views);
    la_list_init(&p->doors);
    la_list_init(&p->live);
    la_list_init(&p->late);
    la_timer_init(&p->late_timer, l, on_late);
    p->log = la_access_log_new(l);
    p->request = la_xcalloc(1, sizeof *p->request);
    p->response = la_xcalloc(1, sizeof *p->response);
    p->site = la_xcalloc(1, sizeof *p->site);
    p->script = la_xcalloc(1, sizeof *p->script);
}

/* Views that nobody uses any more, but the present one, are let go. */
void la_proxy_drop_views(struct la_proxy *p)
{
    struct la_view *v;
    la_list_each(&p->views, v, struct la_view, node) {
        if (v == p->view || v->users)
            continue;
        la_list_remove(&v->node);
        la_snapshot_unref(&v->snapshot);
        free(v);
    }
}

void la_proxy_apply(struct la_proxy *p, struct la_snapshot *s)
{
    struct la_view *v = la_xcalloc(1, sizeof *v);
    v->snapshot = s;
    v->proxy = p;
    la_list_init(&v->node);
    la_list_push_back(&p->views, &v->node);
    p->view = v;
    const struct la_conf *c = s->conf;
    /* Heads are bounded by the buffers that were made at the start. */
    uint32_t head = (uint32_t)la_min64(c->limits.header_bytes, p->env.large_bytes - 4096);
    p->env.limits = (struct la_http_limits){.head_bytes = head, .headers = (uint16_t)c->limits.headers};
    p->env.response_limits = p->env.limits;
    p->env.body_max = c->limits.body;
    p->env.handshakes.percent = c->limits.handshake_cpu;
    la_upstreams_apply(p->upstreams, s->plan, s->plans);
}

void la_proxy_resume(struct la_proxy *p)
{
    la_upstreams_resume(p->upstreams);
    la_proxy_drop_views(p);
}

void la_proxy_drain(struct la_proxy *p)
{
    p->draining = true;
    la_upstreams_drain(p->upstreams);
    if (p->live_n == 0)
        p->on_idle(p);
}

void la_proxy_close(struct la_proxy *p)
{
    struct la_exchange *x;
    struct la_door *d;
    la_list_each(&p->live, x, struct la_exchange, node)
        if (x->tunnel)
            la_tunnel_close(x);
    la_list_each(&p->doors, d, struct la_door, node)
        la_front_close(&d->front);
    la_list_each(&p->live, x, struct la_exchange, node)
        la_exchange_kill(x);
    la_upstreams_close(p->upstreams);
    la_access_log_flush(p->log);
}

void la_proxy_fini(struct la_proxy *p)
{
    la_assert(p->live_n == 0);
    p->view = NULL;
    la_proxy_drop_views(p);
    la_timer_stop(&p->late_timer);
    la_access_log_free(&p->log);
    la_upstreams_free(&p->upstreams);
    la_slab_fini(&p->exchanges);
    la_slab_fini(&p->env.clients);
    la_env_fini(&p->env);
    free(p->request);
    free(p->response);
    free(p->site);
    free(p->script);
}

/* Clients that have waited a while are watched from now on, to see them leave. Most are answered before that. */
static void on_late(struct la_timer *t)
{
    struct la_proxy *p = la_container(t, struct la_proxy, late_timer);
    uint64_t now = la_loop_now_ns(p->env.loop);
    struct la_exchange *x;
    la_list_each(&p->late, x, struct la_exchange, late_node) {
        if (now - x->start_ns < LATE_MS * 1000000ull) {
            la_timer_set(t, LATE_MS);
            return;
        }
        la_list_remove(&x->late_node);
        la_turn_watch(&x->turn);
    }
}

/* ---- doors ---- */

static bool on_client_named(struct la_front *f, const struct la_addr *peer)
{
    struct la_door *d = la_container(f, struct la_door, front);
    return d->on_client_named == NULL || d->on_client_named(d, peer);
}

static void on_client_end(struct la_front *f, const struct la_addr *peer)
{
    struct la_door *d = la_container(f, struct la_door, front);
    if (d->on_client_end)
        d->on_client_end(d, peer);
}

static bool wants_commands(struct la_front *f)
{
    return la_access_log_is_on(la_container(f, struct la_door, front)->proxy->log);
}

static void on_command(struct la_front *f, const struct la_command_note *n)
{
    la_access_log_command(la_container(f, struct la_door, front)->proxy->log, f->name, n);
}

void la_door_init(struct la_door *d, struct la_proxy *p, struct la_client_stats *stats)
{
    d->proxy = p;
    d->front.env = &p->env;
    d->front.service = &la_exchange_service;
    d->front.stats = stats;
    d->front.on_client_named = on_client_named;
    d->front.on_client_end = on_client_end;
    d->front.wants_commands = wants_commands;
    d->front.on_command = on_command;
    la_list_init(&d->front.list);
    la_list_init(&d->front.opening);
    la_list_init(&d->node);
    la_list_push_back(&p->doors, &d->node);
}

static void pipe_drop(struct la_front *f)
{
    struct la_branch *const held[] = {f->pipe.branch, f->pipe.failover, f->pipe.warm};
    for (unsigned i = 0; i < la_count(held); i++)
        if (held[i])
            la_branch_drop(held[i]);
}

void la_door_fini(struct la_door *d)
{
    la_list_remove(&d->node);
    pipe_drop(&d->front);
    if (d->view)
        d->view->users--;
    la_proxy_drop_views(d->proxy);
    la_tls_unref(&d->front.tls);
    free(d->front.proxy_net);
    d->front.proxy_net = NULL;
}

/* The worker's part of the upstream of this name in the present configuration, held; NULL: none. */
static struct la_branch *branch_of(struct la_proxy *p, const char *name, const struct la_conf_upstream **conf)
{
    const struct la_snapshot *s = p->view->snapshot;
    for (unsigned i = 0; name && i < s->plans; i++)
        if (strcmp(s->plan[i].conf->name, name) == 0) {
            struct la_branch *b = la_upstreams_branch(p->upstreams, s->plan[i].shared);
            *conf = s->plan[i].conf;
            la_branch_hold(b);
            return b;
        }
    return NULL;
}

/* Protocols whose listeners have an upstream of their own. */
static void configure_pipe(struct la_door *d, const struct la_conf_listen *l)
{
    struct la_front *f = &d->front;
    const struct la_conf_upstream *u = NULL, *other;
    f->protocol = la_client_protocol_find(l->protocol);
    pipe_drop(f);
    f->pipe.branch = f->protocol ? branch_of(d->proxy, l->upstream, &u) : NULL;
    f->pipe.failover = u ? branch_of(d->proxy, u->memcached.failover, &other) : NULL;
    f->pipe.warm = u ? branch_of(d->proxy, u->memcached.warm_from, &other) : NULL;
    snprintf(f->pipe.prefix, sizeof f->pipe.prefix, "%s", l->memcached.prefix ? l->memcached.prefix : "");
    f->pipe.prefix_n = (uint8_t)strlen(f->pipe.prefix);
    f->pipe.flush_allowed = l->memcached.flush_all_allowed;
    snprintf(f->pipe.dir, sizeof f->pipe.dir, "%s", u ? u->buffer.dir : "/var/tmp");
}

void la_door_configure(struct la_door *d, const struct la_conf_listen *l, struct la_tls *tls)
{
    struct la_front *f = &d->front;
    d->conf = l;
    if (d->view)
        d->view->users--;
    d->view = d->proxy->view;
    d->view->users++;
    configure_pipe(d, l);
    f->name = l->name;
    f->handshake_ms = l->handshake_ms;
    f->head_ms = l->head_ms;
    f->body_ms = l->body_ms;
    f->keepalive_ms = l->keepalive_ms;
    f->write_ms = l->write_ms;
    f->min_rate = l->min_rate;
    f->half_close_serve = l->client_half_close_serve;
    la_tls_unref(&f->tls);
    f->tls = tls ? la_tls_ref(tls) : NULL;
    free(f->proxy_net);
    f->proxy_nets = l->accept_proxies;
    f->proxy_net = la_xcalloc(f->proxy_nets, sizeof *f->proxy_net);
    if (f->proxy_nets)
        memcpy(f->proxy_net, l->accept_proxy, f->proxy_nets * sizeof *f->proxy_net);
}

/* ---- the dump ---- */

struct dump {
    struct la_proxy *proxy;
    const struct la_front *front;
    struct la_text *out;
};

static void dump_client(void *arg, const struct la_client_view *v)
{
    struct dump *d = arg;
    struct la_json j;
    char client[LA_ADDR_TEXT];
    uint64_t now = la_loop_now_ns(d->proxy->env.loop);
    la_json_init(&j, d->out);
    if (d->out->n && d->out->p[d->out->n - 1] == '}')
        la_text_add(d->out, ",", 1);
    la_json_open(&j, NULL, '{');
    la_json_int(&j, "worker", d->proxy->worker);
    la_json_str(&j, "listener", d->front->name);
    la_json_str(&j, "client", la_addr_text(v->peer, client));
    la_json_str(&j, "state", v->state);
    la_json_str(&j, "upstream", d->front->pipe.branch ? d->front->pipe.branch->shared->name : "");
    la_json_int(&j, "commands", v->commands);
    la_json_int(&j, "held_bytes", (int64_t)v->held_bytes);
    la_json_num(&j, "age_ms", now > v->since_ns ? (double)((now - v->since_ns) / 1000) / 1000. : 0);
    la_json_close(&j, '}');
}

void la_proxy_dump(struct la_proxy *p, struct la_text *out)
{
    struct la_exchange *x;
    struct la_door *door;
    la_list_each(&p->doors, door, struct la_door, node)
        if (door->front.protocol && door->front.protocol->each) {
            struct dump d = {p, &door->front, out};
            door->front.protocol->each(&door->front, dump_client, &d);
        }
    uint64_t now = la_loop_now_ns(p->env.loop);
    la_list_each(&p->live, x, struct la_exchange, node) {
        struct la_json j;
        char client[LA_ADDR_TEXT];
        la_json_init(&j, out);
        if (out->n && out->p[out->n - 1] == '}')
            la_text_add(out, ",", 1);
        la_json_open(&j, NULL, '{');
        la_json_int(&j, "worker", p->worker);
        la_json_str(&j, "listener", x->door->front.name);
        la_json_str(&j, "client", la_addr_text(&x->peer, client));
        la_json_str(&j, "state", la_exchange_state_name(x->state));
        la_json_str(&j, "upstream", x->branch ? x->branch->shared->name : "");
        la_json_str(&j, "server", x->server ? x->server->label : "");
        la_json_int(&j, "connection", (int64_t)x->conn_id);
        la_json_num(&j, "age_ms", (double)((now - x->start_ns) / 1000) / 1000.);
        la_json_close(&j, '}');
    }
}
