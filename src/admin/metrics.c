/* metrics.c: GET /metrics: everything that decides, in the Prometheus text format 0.0.4.
 *
 * Owns nothing: it reads the present snapshot and what workers count. Never changes a counter, never asks a worker.
 *
 * Good path: one family after the other, each with HELP, TYPE and then all of its samples (the format wants them
 * together). Counters of codes, errors and ports only show what has happened; connections by state and closes by cause
 * show zeros too, so that a rate can be told from the first event on. Numbers belong to the servers of the present
 * configuration, and to those that it has taken out: these are shown on, with what they count, until a configuration finds that
 * nothing is left of them. A server that took another one's place goes on with its counts.
 *
 * Two upstreams may have the same server address: lastack_ports has one line per (source, destination) then, because
 * these are the same ports; lastack_ports_exhausted_total, a count, is each server's own. Nothing can fail but memory. Main
 * thread. */
#include "lastack/memcached.h"
#include "sums.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* One page under way. */
struct page {
    struct la_text *out;
    const struct la_admin_state *s;
    const struct la_sampler *sampler;
    uint64_t now_ns;
    const char *name; /* of the present family */
};

struct label {
    const char *name, *value;
};
#define LABELS(...) ((const struct label[]){__VA_ARGS__, {NULL, NULL}})

static void family(struct page *p, const char *name, const char *type, const char *help)
{
    p->name = name;
    la_text_addf(p->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Within a label's value only these three are special. */
static void escape(struct la_text *out, const char *value)
{
    for (const char *at = value;; at++) {
        size_t plain = strcspn(at, "\\\"\n");
        la_text_add(out, at, plain);
        at += plain;
        if (*at == 0)
            return;
        la_text_add(out, *at == '\n' ? "\\n" : *at == '"' ? "\\\"" : "\\\\", 2);
    }
}

static void head(struct page *p, const char *suffix, const struct label *l)
{
    la_text_addf(p->out, "%s%s", p->name, suffix);
    for (size_t i = 0; l && l[i].name; i++) {
        la_text_addf(p->out, "%s%s=\"", i ? "," : "{", l[i].name);
        escape(p->out, l[i].value);
        la_text_add(p->out, "\"", 1);
    }
    if (l && l[0].name)
        la_text_add(p->out, "}", 1);
}

static void count(struct page *p, const struct label *l, uint64_t value)
{
    head(p, "", l);
    la_text_addf(p->out, " %llu\n", (unsigned long long)value);
}

static void gauge(struct page *p, const struct label *l, int64_t value)
{
    head(p, "", l);
    la_text_addf(p->out, " %lld\n", (long long)value);
}

static void number(struct page *p, const struct label *l, double value)
{
    head(p, "", l);
    la_text_addf(p->out, " %.9g\n", isfinite(value) ? value : 0.);
}

/* ---- walks ---- */

static const struct la_upstream_plan *plan_at(const struct page *p, unsigned i)
{
    return &p->s->snapshot->plan[i];
}

static void each_upstream(struct page *p, void (*cb)(struct page *, const struct la_upstream_plan *))
{
    for (unsigned i = 0; i < la_admin_plans(p->s); i++)
        cb(p, plan_at(p, i));
}

static void each_server(struct page *p, void (*cb)(struct page *, const struct la_conf_upstream *, const struct la_server *))
{
    for (unsigned i = 0; i < la_admin_plans(p->s); i++)
        for (unsigned k = 0; k < plan_at(p, i)->servers; k++)
            cb(p, plan_at(p, i)->conf, plan_at(p, i)->server[k]);
}

/* The counters: also of servers that are removed. conf: NULL for those. */
static void each_tally(struct page *p, void (*cb)(struct page *, const struct la_conf_upstream *, const struct la_server *))
{
    each_server(p, cb);
    for (unsigned i = 0; i < p->s->removed_n; i++)
        cb(p, NULL, p->s->removed[i]);
}

#define SERVER_LABELS(s) {"upstream", (s)->upstream}, {"server", (s)->label}

/* ---- the process ---- */

static void process(struct page *p)
{
    const struct la_admin_state *s = p->s;
    struct la_process_use use = la_process_use();
    family(p, "lastack_build_info", "gauge", "Always 1; the label says which version runs.");
    gauge(p, LABELS({"version", LASTACK_VERSION}), 1);
    family(p, "lastack_config_reloads_total", "counter", "Configuration reloads, by result.");
    count(p, LABELS({"result", "ok"}), s->reloads_ok);
    count(p, LABELS({"result", "failed"}), s->reloads_failed);
    family(p, "lastack_uptime_seconds", "gauge", "Seconds since the start.");
    uint64_t wall = la_wall_ns();
    number(p, NULL, wall > s->start_wall_ns ? (double)(wall - s->start_wall_ns) / 1e9 : 0);
    family(p, "lastack_workers", "gauge", "Worker threads.");
    gauge(p, NULL, s->workers);
    family(p, "lastack_ready", "gauge", "1 when all workers run and listeners are open, and it is not draining.");
    gauge(p, NULL, s->ready && !s->draining);
    family(p, "lastack_draining", "gauge", "1 while the process drains.");
    gauge(p, NULL, s->draining);
    family(p, "process_start_time_seconds", "gauge", "Start of the process, seconds since the epoch.");
    head(p, "", NULL);
    la_text_addf(p->out, " %.3f\n", (double)s->start_wall_ns / 1e9);
    if (use.rss_bytes >= 0) {
        family(p, "process_resident_memory_bytes", "gauge", "Resident memory.");
        gauge(p, NULL, use.rss_bytes);
    }
    if (use.open_fds >= 0) {
        family(p, "process_open_fds", "gauge", "Open descriptors.");
        gauge(p, NULL, use.open_fds);
    }
    if (use.max_fds >= 0) {
        family(p, "process_max_fds", "gauge", "The limit of open descriptors.");
        gauge(p, NULL, use.max_fds);
    }
}

static void bounds(struct page *p)
{
    struct la_bounds *b = p->s->bounds;
    if (b) {
        family(p, "lastack_memory_used_bytes", "gauge", "Buffer memory in use, counted against limits.memory.");
        count(p, NULL, la_stat_get(&b->memory_used));
        family(p, "lastack_memory_max_bytes", "gauge", "limits.memory.");
        count(p, NULL, la_stat_get(&b->memory_max));
        family(p, "lastack_disk_used_bytes", "gauge", "Spooled bytes on disk, counted against limits.disk.");
        count(p, NULL, la_stat_get(&b->disk_used));
        family(p, "lastack_disk_max_bytes", "gauge", "limits.disk.");
        count(p, NULL, la_stat_get(&b->disk_max));
    }
    family(p, "lastack_clients_max", "gauge", "limits.clients in force.");
    count(p, NULL, p->s->clients_max);
}

static void listeners(struct page *p)
{
    static const char *const what[][3] = {
        {"lastack_client_connections", "gauge", "Open client connections."},
        {"lastack_clients_accepted_total", "counter", "Client connections accepted."},
        {"lastack_clients_refused_total", "counter", "Client connections turned away at a limit."},
        {"lastack_client_requests_total", "counter", "Requests read from clients."},
        {"lastack_client_timeouts_total", "counter", "Client connections ended by one of the listener's timeouts."},
    };
    for (unsigned k = 0; k < la_count(what); k++) {
        family(p, what[k][0], what[k][1], what[k][2]);
        for (unsigned i = 0; i < p->s->listeners; i++) {
            struct la_listener_sums sum = la_sum_listener(p->s, i);
            int64_t value[] = {sum.connections, (int64_t)sum.accepted, (int64_t)sum.refused, (int64_t)sum.requests,
                               (int64_t)sum.timeouts};
            gauge(p, LABELS({"listener", p->s->listener[i].name}), value[k]);
        }
    }
}

/* ---- requests ---- */

static void code_line(struct page *p, const char *upstream, const char *server, unsigned code, uint64_t n)
{
    char text[16];
    if (n == 0)
        return;
    snprintf(text, sizeof text, "%u", code);
    count(p, LABELS({"upstream", upstream}, {"server", server}, {"code", text}), n);
}

static void server_codes(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    for (unsigned code = 0; code < 600; code++)
        code_line(p, s->upstream, s->label, code, la_sum_server_code(s, code));
}

static void requests(struct page *p)
{
    family(p, "lastack_requests_total", "counter",
           "Requests answered, by status; no server: lastack's own answer, no upstream: no route was found.");
    for (unsigned code = 0; code < 600; code++)
        code_line(p, "", "", code, la_sum_proxy_code(p->s, code));
    for (unsigned i = 0; i < la_admin_plans(p->s); i++) {
        const struct la_upstream_plan *plan = plan_at(p, i);
        for (unsigned code = 0; code < 600; code++)
            code_line(p, plan->shared->name, "", code, la_sum_upstream_code(plan->shared, code));
    }
    each_tally(p, server_codes);
}

static void errors(struct page *p)
{
    family(p, "lastack_errors_total", "counter", "Requests that failed, by cause; no upstream: before one was chosen.");
    for (int e = 0; e < LA_ERR_COUNT; e++) {
        uint64_t n = la_sum_proxy_error(p->s, (enum la_err)e);
        if (n)
            count(p, LABELS({"upstream", ""}, {"cause", la_err_name((enum la_err)e)}), n);
    }
    for (unsigned i = 0; i < la_admin_plans(p->s); i++) {
        const struct la_upstream *u = plan_at(p, i)->shared;
        for (int e = 0; e < LA_ERR_COUNT; e++) {
            uint64_t n = la_sum_upstream_error(u, (enum la_err)e);
            if (n)
                count(p, LABELS({"upstream", u->name}, {"cause", la_err_name((enum la_err)e)}), n);
        }
    }
}

static void histogram(struct page *p, const char *upstream, const char *phase, const struct la_hist *h)
{
    static const struct {
        const char *le;
        uint64_t us;
    } bucket[] = {
        {"0.0001", 100},  {"0.00025", 250},  {"0.0005", 500},  {"0.001", 1000},   {"0.0025", 2500},  {"0.005", 5000},
        {"0.01", 10000},  {"0.025", 25000},  {"0.05", 50000},  {"0.1", 100000},   {"0.25", 250000},  {"0.5", 500000},
        {"1", 1000000},   {"2.5", 2500000},  {"5", 5000000},   {"10", 10000000},  {"30", 30000000},  {"60", 60000000},
    };
    for (size_t i = 0; i < la_count(bucket); i++) {
        head(p, "_bucket", LABELS({"upstream", upstream}, {"phase", phase}, {"le", bucket[i].le}));
        la_text_addf(p->out, " %llu\n", (unsigned long long)la_hist_count_le(h, bucket[i].us));
    }
    unsigned long long all = (unsigned long long)la_hist_count_le(h, UINT64_MAX);
    head(p, "_bucket", LABELS({"upstream", upstream}, {"phase", phase}, {"le", "+Inf"}));
    la_text_addf(p->out, " %llu\n", all);
    head(p, "_sum", LABELS({"upstream", upstream}, {"phase", phase}));
    la_text_addf(p->out, " %.6f\n", (double)la_stat_get(&h->sum_us) / 1e6);
    head(p, "_count", LABELS({"upstream", upstream}, {"phase", phase}));
    la_text_addf(p->out, " %llu\n", all);
}

static void upstream_histograms(struct page *p, const struct la_upstream_plan *plan)
{
    static const char *const phase[LA_PHASES] = LA_PHASE_NAMES;
    static struct la_hist sum; /* one thread */
    for (int i = 0; i < LA_PHASES; i++) {
        la_sum_phase(plan->shared, (enum la_phase)i, &sum);
        histogram(p, plan->shared->name, phase[i], &sum);
    }
}

/* ---- upstreams ---- */

static void reuse_ratio(struct page *p, const struct la_upstream_plan *plan)
{
    number(p, LABELS({"upstream", plan->shared->name}),
           p->sampler ? la_sampler_reuse_ratio(p->sampler, plan->shared->name) : 1);
}

static void queue_length(struct page *p, const struct la_upstream_plan *plan)
{
    gauge(p, LABELS({"upstream", plan->shared->name}), la_gauge_get(&plan->shared->waiting));
}

static void queue_max(struct page *p, const struct la_upstream_plan *plan)
{
    gauge(p, LABELS({"upstream", plan->shared->name}), plan->conf->queue.length);
}

static void queue_timeouts(struct page *p, const struct la_upstream_plan *plan)
{
    count(p, LABELS({"upstream", plan->shared->name}), la_sum_upstream(plan->shared).queue_timeouts);
}

static void retries(struct page *p, const struct la_upstream_plan *plan)
{
    struct la_upstream_sums sum = la_sum_upstream(plan->shared);
    count(p, LABELS({"upstream", plan->shared->name}, {"reason", "race"}), sum.retry_race);
    count(p, LABELS({"upstream", plan->shared->name}, {"reason", "connect"}), sum.retry_connect);
}

static void bytes(struct page *p, const struct la_upstream_plan *plan)
{
    struct la_upstream_sums sum = la_sum_upstream(plan->shared);
    count(p, LABELS({"upstream", plan->shared->name}, {"direction", "in"}), sum.bytes_in);
    count(p, LABELS({"upstream", plan->shared->name}, {"direction", "out"}), sum.bytes_out);
}

static void upstreams(struct page *p)
{
    family(p, "lastack_request_seconds", "histogram", "Where requests spend their time, by phase.");
    each_upstream(p, upstream_histograms);
    family(p, "lastack_reuse_ratio", "gauge", "1 - dials / requests over the last 60 seconds.");
    each_upstream(p, reuse_ratio);
    family(p, "lastack_queue_length", "gauge", "Requests that wait for a connection.");
    each_upstream(p, queue_length);
    family(p, "lastack_queue_max", "gauge", "queue.length.");
    each_upstream(p, queue_max);
    family(p, "lastack_queue_timeouts_total", "counter", "Requests that waited queue.timeout in vain.");
    each_upstream(p, queue_timeouts);
    family(p, "lastack_retries_total", "counter", "Requests sent a second time, by reason.");
    each_upstream(p, retries);
    family(p, "lastack_bytes_total", "counter", "Bytes from (in) and to (out) the servers.");
    each_upstream(p, bytes);
}

/* ---- memcached ---- */

static void commands(struct page *p, const struct la_upstream_plan *plan)
{
    for (int v = 0; plan->conf->protocol == LA_PROTO_MEMCACHED && v < LA_MEMC_VERB_COUNT; v++)
        count(p, LABELS({"upstream", plan->shared->name}, {"command", la_memc_verb_name((enum la_memc_verb)v)}),
              la_sum_upstream_command(plan->shared, (unsigned)v));
}

static void keys(struct page *p, const struct la_upstream_plan *plan)
{
    if (plan->conf->protocol != LA_PROTO_MEMCACHED)
        return;
    count(p, LABELS({"upstream", plan->shared->name}, {"result", "hit"}), la_sum_upstream_keys(plan->shared, true));
    count(p, LABELS({"upstream", plan->shared->name}, {"result", "miss"}), la_sum_upstream_keys(plan->shared, false));
}

static void memcached(struct page *p)
{
    bool any = false;
    for (unsigned i = 0; i < la_admin_plans(p->s); i++)
        any |= plan_at(p, i)->conf->protocol == LA_PROTO_MEMCACHED;
    if (!any)
        return;
    family(p, "lastack_memcached_commands_total", "counter", "Commands of memcached clients.");
    each_upstream(p, commands);
    family(p, "lastack_memcached_keys_total", "counter", "Keys asked for with get and the like: hit or miss.");
    each_upstream(p, keys);
}

/* ---- servers ---- */

static void connections(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    for (unsigned slot = 0; slot < s->tally->sources; slot++)
        for (int state = 0; state < LA_CONN_STATE_COUNT; state++)
            gauge(p, LABELS(SERVER_LABELS(s), {"source", s->tally->source[slot]}, {"state", la_conn_state_name((enum la_conn_state)state)}),
                  la_sum_state(s, slot, (enum la_conn_state)state));
}

static void opened(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    for (unsigned slot = 0; slot < s->tally->sources; slot++)
        count(p, LABELS(SERVER_LABELS(s), {"source", s->tally->source[slot]}), la_sum_opened(s, slot));
}

static void closed(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    for (int c = 0; c < LA_CLOSE_CAUSE_COUNT; c++) {
        const struct la_close_info *info = la_close_info((enum la_close_cause)c);
        count(p, LABELS(SERVER_LABELS(s), {"by", info->by}, {"reason", info->reason}),
              la_sum_closed(s, (enum la_close_cause)c));
    }
}

static void places(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    gauge(p, LABELS(SERVER_LABELS(s)), la_gauge_get(&s->budget->used));
}

static void pool_max(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    gauge(p, LABELS(SERVER_LABELS(s)), la_gauge_get(&s->max));
}

static bool advises(const struct la_conf_upstream *conf, const struct la_server *s)
{
    return (conf->pool.advise || conf->pool.ranges) && s->advice.size;
}

static void advised(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    if (advises(conf, s))
        gauge(p, LABELS(SERVER_LABELS(s)), s->advice.size);
}

#define ADVICE(name, value)                                                                               \
    static void name(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)      \
    {                                                                                                     \
        if (advises(conf, s))                                                                             \
            number(p, LABELS(SERVER_LABELS(s)), value);                                                   \
    }
ADVICE(advice_rate, s->advice.per_second)
ADVICE(advice_at_work, s->advice.at_work)
ADVICE(advice_waiting, s->advice.waiting)
ADVICE(advice_backend, s->advice.backend_us / 1e6)
ADVICE(advice_alone, s->advice.alone_us / 1e6)
ADVICE(advice_queue, s->advice.queue_us / 1e6)

/* pool.advise and pool.auto: nothing without them. */
static void advice(struct page *p)
{
    family(p, "lastack_pool_advised", "gauge", "What pool.max should be, by pool.advise; with its evidence beside it.");
    each_server(p, advised);
    family(p, "lastack_pool_requests_per_second", "gauge", "Of the span that the advice is made from.");
    each_server(p, advice_rate);
    family(p, "lastack_pool_at_work", "gauge", "Connections at work on average: requests per second times time at the server.");
    each_server(p, advice_at_work);
    family(p, "lastack_pool_waiting_in_server", "gauge", "Of them, those that only wait in the server.");
    each_server(p, advice_waiting);
    family(p, "lastack_pool_backend_seconds", "gauge", "Mean time at the server.");
    each_server(p, advice_backend);
    family(p, "lastack_pool_backend_alone_seconds", "gauge", "The same when nothing waits in it, as far as it was seen.");
    each_server(p, advice_alone);
    family(p, "lastack_pool_queue_seconds", "gauge", "Mean wait for a connection.");
    each_server(p, advice_queue);
}

static void idle_reuse(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    const char *why;
    number(p, LABELS(SERVER_LABELS(s)), (double)la_reuse_in_force_ms(conf, s, p->now_ns, &why) / 1000.);
}

static void server_up(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    gauge(p, LABELS(SERVER_LABELS(s)), la_health_up(&s->health));
}

static void takeovers(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    count(p, LABELS(SERVER_LABELS(s)), la_sum_server(s).takeovers);
}

static void dial_failures(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    count(p, LABELS(SERVER_LABELS(s)), la_sum_server(s).dial_failures);
}

static const char *const handshake_ends[] = {
#define X(id, name) name,
    LA_HANDSHAKE_ENDS(X)
#undef X
};

static void server_handshakes(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    for (int e = 0; s->tls && e < LA_HANDSHAKE_END_COUNT; e++)
        if (e != LA_HANDSHAKE_SHED)
            count(p, LABELS(SERVER_LABELS(s), {"result", handshake_ends[e]}), la_sum_handshakes(s, e));
}

static void app_processes(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    (void)conf;
    if (atomic_load(&s->app.sampled_ns) == 0)
        return;
    gauge(p, LABELS(SERVER_LABELS(s), {"state", "active"}), atomic_load(&s->app.active));
    gauge(p, LABELS(SERVER_LABELS(s), {"state", "idle"}), atomic_load(&s->app.idle));
}

#define APP_METRIC(name, write, field)                                                                           \
    static void name(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)             \
    {                                                                                                            \
        (void)conf;                                                                                              \
        if (atomic_load(&s->app.sampled_ns))                                                                     \
            write(p, LABELS(SERVER_LABELS(s)), atomic_load(&s->app.field));                                      \
    }
APP_METRIC(app_queue, gauge, listen_queue)
APP_METRIC(app_max_queue, gauge, max_listen_queue)
APP_METRIC(app_accepted, count, accepted)
APP_METRIC(app_reached, count, max_children_reached)
APP_METRIC(app_slow, count, slow)

/* Only where a status page has been read: most configurations have none. */
static bool any_app(const struct page *p)
{
    for (unsigned i = 0; i < la_admin_plans(p->s); i++)
        for (unsigned k = 0; k < plan_at(p, i)->servers; k++)
            if (atomic_load(&plan_at(p, i)->server[k]->app.sampled_ns))
                return true;
    return false;
}

static void apps(struct page *p)
{
    if (!any_app(p))
        return;
    family(p, "lastack_fpm_processes", "gauge", "php-fpm's workers as its status page counts them.");
    each_server(p, app_processes);
    family(p, "lastack_fpm_listen_queue", "gauge", "Connections that wait for a worker of php-fpm.");
    each_server(p, app_queue);
    family(p, "lastack_fpm_max_listen_queue", "gauge", "The most that ever waited.");
    each_server(p, app_max_queue);
    family(p, "lastack_fpm_accepted_total", "counter", "Requests php-fpm has accepted.");
    each_server(p, app_accepted);
    family(p, "lastack_fpm_max_children_reached_total", "counter", "Times pm.max_children kept php-fpm from another worker.");
    each_server(p, app_reached);
    family(p, "lastack_fpm_slow_requests_total", "counter", "Requests over request_slowlog_timeout.");
    each_server(p, app_slow);
}

static void servers(struct page *p)
{
    family(p, "lastack_connections", "gauge", "Connections to servers, by state.");
    each_tally(p, connections);
    family(p, "lastack_connections_opened_total", "counter", "Connections dialed.");
    each_tally(p, opened);
    family(p, "lastack_connections_closed_total", "counter", "Connections ended, by who closed first and why.");
    each_tally(p, closed);
    family(p, "lastack_places", "gauge", "Places taken of pool.max, all workers together.");
    each_server(p, places);
    family(p, "lastack_pool_max", "gauge", "pool.max in force.");
    each_server(p, pool_max);
    advice(p);
    family(p, "lastack_idle_reuse_seconds", "gauge", "How long a connection may idle and still take a request, as of now.");
    each_server(p, idle_reuse);
    family(p, "lastack_server_up", "gauge", "1 when the server takes requests, 0 when its failures or its checks put it out.");
    each_server(p, server_up);
    family(p, "lastack_takeovers_total", "counter", "Idle connections handed to another worker.");
    each_tally(p, takeovers);
    family(p, "lastack_dial_failures_total", "counter", "Dials that failed.");
    each_tally(p, dial_failures);
    family(p, "lastack_server_handshakes_total", "counter", "TLS handshakes with servers, by their end.");
    each_tally(p, server_handshakes);
    apps(p);
}

/* ---- what comes before a client's first request ---- */

static void openings(struct page *p)
{
    family(p, "lastack_client_handshakes_total", "counter", "TLS handshakes with clients, by their end.");
    for (unsigned i = 0; i < p->s->listeners; i++) {
        struct la_listener_sums sum = la_sum_listener(p->s, i);
        for (int e = 0; e < LA_HANDSHAKE_END_COUNT; e++)
            if (sum.handshakes)
                count(p, LABELS({"listener", p->s->listener[i].name}, {"result", handshake_ends[e]}), sum.handshake[e]);
    }
    family(p, "lastack_proxy_headers_total", "counter", "PROXY protocol headers of clients.");
    for (unsigned i = 0; i < p->s->listeners; i++) {
        struct la_listener_sums sum = la_sum_listener(p->s, i);
        if (sum.proxy_good + sum.proxy_bad == 0)
            continue;
        count(p, LABELS({"listener", p->s->listener[i].name}, {"result", "good"}), sum.proxy_good);
        count(p, LABELS({"listener", p->s->listener[i].name}, {"result", "bad"}), sum.proxy_bad);
    }
}

/* ---- ports ---- */

struct port_line {
    char source[LA_SOURCE_TEXT], destination[LA_ADDR_TEXT];
    int64_t free, open, time_wait, foreign;
};

static void port_look(struct port_line *l, const struct la_ledger *ledger, size_t pair)
{
    const struct la_port_pair *p = &ledger->pair[pair];
    la_pair_text(ledger, pair, l->source);
    la_addr_text(&ledger->destination, l->destination);
    l->free = la_ledger_free_ports(p);
    l->open = la_gauge_get(&p->open);
    l->time_wait = la_gauge_get(&p->time_wait);
    l->foreign = la_gauge_get(&p->foreign);
}

static int by_pair(const void *a, const void *b)
{
    const struct port_line *x = a, *y = b;
    int d = strcmp(x->destination, y->destination);
    return d ? d : strcmp(x->source, y->source);
}

/* Two ledgers of the same ports: what one has open is foreign to the other; both see the same TIME_WAITs. */
static void port_merge(struct port_line *into, const struct port_line *l)
{
    int64_t held = into->open + into->foreign > l->open + l->foreign ? into->open + into->foreign : l->open + l->foreign;
    into->open += l->open;
    into->foreign = held > into->open ? held - into->open : 0;
    into->time_wait = into->time_wait > l->time_wait ? into->time_wait : l->time_wait;
    into->free = into->free < l->free ? into->free : l->free;
}

/* All pairs, sorted and merged; free with free(). */
static struct port_line *port_lines(const struct page *p, size_t *count_out)
{
    struct port_line *line = NULL;
    size_t n = 0, kept = 0;
    for (unsigned i = 0; i < la_admin_plans(p->s); i++)
        for (unsigned k = 0; k < plan_at(p, i)->servers; k++) {
            const struct la_ledger *ledger = plan_at(p, i)->server[k]->ledger;
            if (ledger == NULL || ledger->pairs == 0)
                continue;
            line = la_xrealloc(line, (n + ledger->pairs) * sizeof *line);
            for (size_t pair = 0; pair < ledger->pairs; pair++)
                port_look(&line[n++], ledger, pair);
        }
    if (n)
        qsort(line, n, sizeof *line, by_pair);
    for (size_t i = 0; i < n; i++)
        if (kept && by_pair(&line[kept - 1], &line[i]) == 0)
            port_merge(&line[kept - 1], &line[i]);
        else if (kept++ != i)
            line[kept - 1] = line[i];
    *count_out = kept;
    return line;
}

static void exhausted(struct page *p, const struct la_conf_upstream *conf, const struct la_server *s)
{
    char source[LA_SOURCE_TEXT], destination[LA_ADDR_TEXT];
    (void)conf;
    for (size_t i = 0; s->ledger && i < s->ledger->pairs; i++)
        count(p, LABELS(SERVER_LABELS(s), {"source", la_pair_text(s->ledger, i, source)},
                        {"destination", la_addr_text(&s->ledger->destination, destination)}),
              la_stat_get(&s->ledger->pair[i].exhausted_total));
}

static void ports(struct page *p)
{
    size_t n;
    struct port_line *line = port_lines(p, &n);
    family(p, "lastack_ports", "gauge", "Local ports for a source and destination, by state.");
    for (size_t i = 0; i < n; i++) {
        const struct port_line *l = &line[i];
        const char *const state[] = {"free", "open", "time_wait", "foreign"};
        const int64_t value[] = {l->free, l->open, l->time_wait, l->foreign};
        for (size_t k = 0; k < la_count(state); k++)
            gauge(p, LABELS({"source", l->source}, {"destination", l->destination}, {"state", state[k]}), value[k]);
    }
    family(p, "lastack_ports_exhausted_total", "counter", "Dials that found no port on this source.");
    each_server(p, exhausted);
    free(line);
}

void la_metrics_write(struct la_text *out, const struct la_admin_state *s, const struct la_sampler *sampler)
{
    struct page p = {.out = out, .s = s, .sampler = sampler, .now_ns = la_clock_ns()};
    process(&p);
    bounds(&p);
    listeners(&p);
    openings(&p);
    requests(&p);
    errors(&p);
    upstreams(&p);
    memcached(&p);
    servers(&p);
    ports(&p);
}
