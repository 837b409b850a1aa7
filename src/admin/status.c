/* status.c: GET /api/v1/status: the same numbers as /metrics, nested as an operator thinks: process, listeners, upstreams,
 * their servers. The dashboard lives on it.
 *
 * Owns nothing, changes nothing. Times are milliseconds (_ms), sizes bytes. Objects of counts ("codes", "errors",
 * "closes") only hold what has happened.
 *
 * Good path: one pass over the snapshot. "latency" is since the start, "latency_recent" covers the last 30 to 60
 * seconds. Nothing can fail but memory; a number that cannot be read is left out. Main thread. */
#include "sampler.h"
#include "sums.h"

#include <stdio.h>

struct view {
    struct la_json j;
    const struct la_admin_state *s;
    const struct la_sampler *sampler;
    uint64_t now_ns;
    struct la_hist sum, recent;
};

static void whole(struct view *v, const char *key, uint64_t n)
{
    la_json_int(&v->j, key, (int64_t)la_min64(n, INT64_MAX));
}

/* ---- the process ---- */

static void process(struct view *v)
{
    const struct la_admin_state *s = v->s;
    struct la_process_use use = la_process_use();
    uint64_t wall = la_wall_ns();
    la_json_str(&v->j, "version", LASTACK_VERSION);
    la_json_num(&v->j, "uptime_seconds", wall > s->start_wall_ns ? (double)(wall - s->start_wall_ns) / 1e9 : 0);
    whole(v, "now_ms", wall / 1000000);
    la_json_int(&v->j, "workers", s->workers);
    la_json_bool(&v->j, "ready", s->ready && !s->draining);
    la_json_bool(&v->j, "draining", s->draining);
    la_json_open(&v->j, "reloads", '{');
    whole(v, "ok", s->reloads_ok);
    whole(v, "failed", s->reloads_failed);
    la_json_close(&v->j, '}');
    la_json_open(&v->j, "process", '{');
    if (use.rss_bytes >= 0)
        la_json_int(&v->j, "rss_bytes", use.rss_bytes);
    if (use.open_fds >= 0)
        la_json_int(&v->j, "open_fds", use.open_fds);
    if (use.max_fds >= 0)
        la_json_int(&v->j, "max_fds", use.max_fds);
    la_json_close(&v->j, '}');
    la_json_open(&v->j, "limits", '{');
    whole(v, "clients", s->clients_max);
    if (s->bounds) {
        whole(v, "memory_used_bytes", la_stat_get(&s->bounds->memory_used));
        whole(v, "memory_max_bytes", la_stat_get(&s->bounds->memory_max));
        whole(v, "disk_used_bytes", la_stat_get(&s->bounds->disk_used));
        whole(v, "disk_max_bytes", la_stat_get(&s->bounds->disk_max));
    }
    la_json_close(&v->j, '}');
}

static void listeners(struct view *v)
{
    la_json_open(&v->j, "listeners", '[');
    for (unsigned i = 0; i < v->s->listeners; i++) {
        struct la_listener_sums sum = la_sum_listener(v->s, i);
        la_json_open(&v->j, NULL, '{');
        la_json_str(&v->j, "name", v->s->listener[i].name);
        la_json_int(&v->j, "connections", sum.connections);
        whole(v, "accepted", sum.accepted);
        whole(v, "refused", sum.refused);
        whole(v, "requests", sum.requests);
        whole(v, "timeouts", sum.timeouts);
        la_json_close(&v->j, '}');
    }
    la_json_close(&v->j, ']');
}

static void code(struct view *v, unsigned status, uint64_t n)
{
    char key[16];
    if (n == 0)
        return;
    snprintf(key, sizeof key, "%u", status);
    whole(v, key, n);
}

/* Answers to requests for which no upstream was found. */
static void without_upstream(struct view *v)
{
    la_json_open(&v->j, "without_upstream", '{');
    la_json_open(&v->j, "codes", '{');
    for (unsigned c = 0; c < 600; c++)
        code(v, c, la_sum_proxy_code(v->s, c));
    la_json_close(&v->j, '}');
    la_json_open(&v->j, "errors", '{');
    for (int e = 0; e < LA_ERR_COUNT; e++) {
        uint64_t n = la_sum_proxy_error(v->s, (enum la_err)e);
        if (n)
            whole(v, la_err_name((enum la_err)e), n);
    }
    la_json_close(&v->j, '}');
    la_json_close(&v->j, '}');
}

/* ---- a server ---- */

static int64_t state_count(const struct la_server *s, enum la_conn_state state)
{
    int64_t n = 0;
    for (unsigned slot = 0; slot < s->tally->sources; slot++)
        n += la_sum_state(s, slot, state);
    return n;
}

static void health(struct view *v, const struct la_server *s)
{
    const struct la_health *h = &s->health;
    uint64_t out_until = la_stat_get(&h->out_until_ns), last_ok = la_stat_get(&h->last_ok_ns);
    la_json_open(&v->j, "health", '{');
    la_json_bool(&v->j, "check_down", atomic_load_explicit(&h->check_down, memory_order_relaxed));
    la_json_int(&v->j, "check_streak", la_gauge_get(&h->check_streak));
    la_json_int(&v->j, "failures", la_gauge_get(&h->failures));
    la_json_bool(&v->j, "out", out_until != 0);
    whole(v, "out_for_ms", out_until > v->now_ns ? (out_until - v->now_ns) / 1000000 : 0);
    if (last_ok)
        whole(v, "last_ok_ms_ago", v->now_ns > last_ok ? (v->now_ns - last_ok) / 1000000 : 0);
    la_json_close(&v->j, '}');
}

static void reuse(struct view *v, const struct la_conf_upstream *conf, const struct la_server *s)
{
    const char *why;
    const struct la_reuse_clock *c = &s->clock;
    uint64_t in_force = la_reuse_in_force_ms(conf, s, v->now_ns, &why);
    uint64_t known = la_clock_known_ms(c, v->now_ns), close = conf->pool.idle_close_ms;
    la_json_open(&v->j, "reuse_clock", '{');
    whole(v, "in_force_ms", in_force);
    la_json_str(&v->j, "from", why);
    whole(v, "announced_ms", atomic_load_explicit(&c->announced_ms, memory_order_relaxed));
    whole(v, "learned_ms", atomic_load_explicit(&c->learned_ms, memory_order_relaxed));
    whole(v, "known_ms", known);
    whole(v, "first_byte_us", atomic_load_explicit(&c->first_byte_us, memory_order_relaxed));
    whole(v, "close_ms", close != LA_AUTO ? close : known ? 2 * known + 1000 : 300000);
    la_json_close(&v->j, '}');
}

static void ports(struct view *v, const struct la_server *s)
{
    char text[LA_SOURCE_TEXT];
    la_json_open(&v->j, "ports", '[');
    for (size_t i = 0; s->ledger && i < s->ledger->pairs; i++) {
        const struct la_port_pair *p = &s->ledger->pair[i];
        la_json_open(&v->j, NULL, '{');
        la_json_str(&v->j, "source", la_pair_text(s->ledger, i, text));
        la_json_int(&v->j, "low", p->port_low);
        la_json_int(&v->j, "high", p->port_high);
        la_json_int(&v->j, "ports", p->ports);
        la_json_int(&v->j, "free", la_ledger_free_ports(p));
        la_json_int(&v->j, "open", la_gauge_get(&p->open));
        la_json_int(&v->j, "time_wait", la_gauge_get(&p->time_wait));
        la_json_int(&v->j, "foreign", la_gauge_get(&p->foreign));
        la_json_bool(&v->j, "paused", la_stat_get(&p->paused_until_ns) > v->now_ns);
        whole(v, "opened", la_stat_get(&p->opened_total));
        whole(v, "exhausted", la_stat_get(&p->exhausted_total));
        la_json_close(&v->j, '}');
    }
    la_json_close(&v->j, ']');
}

static void closes(struct view *v, const struct la_server *s)
{
    la_json_open(&v->j, "closes", '[');
    for (int c = 0; c < LA_CLOSE_CAUSE_COUNT; c++) {
        uint64_t n = la_sum_closed(s, (enum la_close_cause)c);
        if (n == 0)
            continue;
        const struct la_close_info *info = la_close_info((enum la_close_cause)c);
        la_json_open(&v->j, NULL, '{');
        la_json_str(&v->j, "by", info->by);
        la_json_str(&v->j, "reason", info->reason);
        whole(v, "count", n);
        la_json_close(&v->j, '}');
    }
    la_json_close(&v->j, ']');
}

static void codes(struct view *v, const struct la_server *s)
{
    la_json_open(&v->j, "codes", '{');
    for (unsigned c = 0; c < 600; c++)
        code(v, c, la_sum_server_code(s, c));
    la_json_close(&v->j, '}');
}

static void connections(struct view *v, const struct la_server *s)
{
    uint64_t opened = 0;
    la_json_open(&v->j, "connections", '{');
    for (int i = 0; i < LA_CONN_STATE_COUNT; i++)
        la_json_int(&v->j, la_conn_state_name((enum la_conn_state)i), state_count(s, (enum la_conn_state)i));
    la_json_close(&v->j, '}');
    for (unsigned slot = 0; slot < s->tally->sources; slot++)
        opened += la_sum_opened(s, slot);
    whole(v, "opened", opened);
}

/* Only with pool.advise or pool.auto. */
static void advice(struct view *v, const struct la_conf_upstream *conf, const struct la_server *s)
{
    const struct la_advice *a = &s->advice;
    if (!conf->pool.advise && conf->pool.ranges == 0)
        return;
    la_json_open(&v->j, "advice", '{');
    la_json_str(&v->j, "why", la_advice_why_name(a->why));
    if (a->size)
        la_json_int(&v->j, "max", a->size);
    la_json_num(&v->j, "requests_per_second", a->per_second);
    la_json_num(&v->j, "at_work", a->at_work);
    la_json_num(&v->j, "at_work_peak", a->peak);
    la_json_num(&v->j, "waiting_in_server", a->waiting);
    la_json_num(&v->j, "backend_ms", a->backend_us / 1000);
    la_json_num(&v->j, "backend_alone_ms", a->alone_us / 1000);
    la_json_num(&v->j, "queue_ms", a->queue_us / 1000);
    la_json_bool(&v->j, "auto", conf->pool.ranges > 0);
    la_json_close(&v->j, '}');
}

static void server(struct view *v, const struct la_upstream_plan *plan, unsigned k)
{
    const struct la_server *s = plan->server[k];
    const struct la_conf_server *conf = plan->server_conf ? plan->server_conf[k] : NULL;
    struct la_server_sums sum = la_sum_server(s);
    char text[LA_ADDR_TEXT];
    la_json_open(&v->j, NULL, '{');
    la_json_str(&v->j, "server", s->label);
    la_json_str(&v->j, "address", la_addr_text(&s->addr, text));
    la_json_bool(&v->j, "up", la_health_up(&s->health));
    if (conf) {
        la_json_int(&v->j, "weight", conf->weight);
        la_json_bool(&v->j, "backup", conf->backup);
        la_json_bool(&v->j, "drain", conf->drain);
    }
    health(v, s);
    la_json_open(&v->j, "places", '{');
    la_json_int(&v->j, "used", la_gauge_get(&s->budget->used));
    la_json_int(&v->j, "max", la_gauge_get(&s->max));
    la_json_int(&v->j, "tunnels", la_gauge_get(&s->budget->tunnels));
    la_json_int(&v->j, "tunnels_max", la_gauge_get(&s->tunnels_max));
    la_json_close(&v->j, '}');
    advice(v, plan->conf, s);
    connections(v, s);
    whole(v, "connect_us", atomic_load_explicit(&s->connect_us, memory_order_relaxed));
    whole(v, "takeovers", sum.takeovers);
    whole(v, "dial_failures", sum.dial_failures);
    reuse(v, plan->conf, s);
    codes(v, s);
    closes(v, s);
    ports(v, s);
    la_json_close(&v->j, '}');
}

/* Those that the configuration does not name any more, and whose connections end by and by. */
static void removed(struct view *v)
{
    char text[LA_ADDR_TEXT];
    la_json_open(&v->j, "removed", '[');
    for (unsigned i = 0; i < v->s->removed_n; i++) {
        const struct la_server *s = v->s->removed[i];
        la_json_open(&v->j, NULL, '{');
        la_json_str(&v->j, "upstream", s->upstream);
        la_json_str(&v->j, "server", s->label);
        la_json_str(&v->j, "address", la_addr_text(&s->addr, text));
        connections(v, s);
        codes(v, s);
        closes(v, s);
        la_json_close(&v->j, '}');
    }
    la_json_close(&v->j, ']');
}

/* ---- an upstream ---- */

static void quantiles(struct view *v, const struct la_hist *h)
{
    whole(v, "count", la_hist_count_le(h, UINT64_MAX));
    la_json_num(&v->j, "p50_ms", (double)la_hist_quantile_us(h, .5) / 1000.);
    la_json_num(&v->j, "p90_ms", (double)la_hist_quantile_us(h, .9) / 1000.);
    la_json_num(&v->j, "p99_ms", (double)la_hist_quantile_us(h, .99) / 1000.);
    la_json_num(&v->j, "max_ms", (double)la_hist_max_us(h) / 1000.);
}

static void latency(struct view *v, const struct la_upstream *u)
{
    static const char *const phase[LA_PHASES] = LA_PHASE_NAMES;
    la_json_open(&v->j, "latency", '{');
    for (int i = 0; i < LA_PHASES; i++) {
        la_sum_phase(u, (enum la_phase)i, &v->sum);
        la_json_open(&v->j, phase[i], '{');
        quantiles(v, &v->sum);
        la_json_close(&v->j, '}');
    }
    la_json_close(&v->j, '}');
    _Static_assert(LA_PHASE_TOTAL == LA_PHASES - 1, "sum holds the total times now");
    unsigned seconds = v->sampler ? la_sampler_recent(v->sampler, u->name, &v->sum, &v->recent) : 0;
    la_json_open(&v->j, "latency_recent", '{');
    la_json_int(&v->j, "seconds", seconds);
    if (seconds)
        quantiles(v, &v->recent);
    la_json_close(&v->j, '}');
}

static void upstream_counts(struct view *v, const struct la_upstream_plan *plan)
{
    const struct la_upstream *u = plan->shared;
    struct la_upstream_sums sum = la_sum_upstream(u);
    la_json_open(&v->j, "queue", '{');
    la_json_int(&v->j, "length", la_gauge_get(&u->waiting));
    la_json_int(&v->j, "max", plan->conf->queue.length);
    whole(v, "timeout_ms", plan->conf->queue.timeout_ms);
    whole(v, "timeouts", sum.queue_timeouts);
    la_json_close(&v->j, '}');
    whole(v, "requests", sum.requests);
    whole(v, "dials", sum.dials);
    la_json_num(&v->j, "reuse_ratio", v->sampler ? la_sampler_reuse_ratio(v->sampler, u->name) : 1);
    la_json_open(&v->j, "retries", '{');
    whole(v, "race", sum.retry_race);
    whole(v, "connect", sum.retry_connect);
    la_json_close(&v->j, '}');
    la_json_open(&v->j, "bytes", '{');
    whole(v, "in", sum.bytes_in);
    whole(v, "out", sum.bytes_out);
    la_json_close(&v->j, '}');
    la_json_open(&v->j, "own_codes", '{'); /* answered without a server */
    for (unsigned c = 0; c < 600; c++)
        code(v, c, la_sum_upstream_code(u, c));
    la_json_close(&v->j, '}');
    la_json_open(&v->j, "errors", '{');
    for (int e = 0; e < LA_ERR_COUNT; e++) {
        uint64_t n = la_sum_upstream_error(u, (enum la_err)e);
        if (n)
            whole(v, la_err_name((enum la_err)e), n);
    }
    la_json_close(&v->j, '}');
}

static void upstream(struct view *v, const struct la_upstream_plan *plan)
{
    la_json_open(&v->j, NULL, '{');
    la_json_str(&v->j, "name", plan->shared->name);
    la_json_str(&v->j, "protocol", la_protocol_name(plan->conf->protocol));
    upstream_counts(v, plan);
    latency(v, plan->shared);
    la_json_open(&v->j, "servers", '[');
    for (unsigned k = 0; k < plan->servers; k++)
        server(v, plan, k);
    la_json_close(&v->j, ']');
    la_json_close(&v->j, '}');
}

void la_status_write(struct la_text *out, const struct la_admin_state *s, const struct la_sampler *sampler)
{
    static struct view v; /* one thread; large for a stack */
    v.s = s;
    v.sampler = sampler;
    v.now_ns = la_clock_ns();
    la_json_init(&v.j, out);
    la_json_open(&v.j, NULL, '{');
    process(&v);
    listeners(&v);
    without_upstream(&v);
    la_json_open(&v.j, "upstreams", '[');
    for (unsigned i = 0; i < la_admin_plans(s); i++)
        upstream(&v, &s->snapshot->plan[i]);
    la_json_close(&v.j, ']');
    removed(&v);
    la_json_close(&v.j, '}');
    la_text_add(out, "\n", 1);
}
