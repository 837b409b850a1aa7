/* admin.h (layer: admin): what an operator sees: /metrics, /api/v1/status, /api/v1/connections, /healthz, /readyz, /.
 *
 * Main thread only. It reads what the workers count (relaxed atomics, one writer each) through the state that run keeps
 * up to date; it changes nothing. */
#ifndef LASTACK_ADMIN_H
#define LASTACK_ADMIN_H

#include "lastack/json.h"
#include "lastack/proxy.h"

struct la_listener_sums {
    int64_t connections;
    uint64_t accepted, refused, requests, timeouts, proxy_good, proxy_bad;
    uint64_t handshake[LA_HANDSHAKE_END_COUNT], handshakes; /* by their end, all */
};
struct la_listener_sums la_sum_clients(const struct la_client_stats *stats, unsigned workers);

struct la_admin_listener {
    const char *name;
    struct la_client_stats *stats; /* [workers] */
    struct la_listener_sums before; /* what they were when it got this name: that is not to be seen under it */
};

/* Run owns it and keeps it true; all on the main thread. */
struct la_admin_state {
    struct la_snapshot *snapshot; /* the present one */
    struct la_server **removed;   /* those that it does not name and of which something was left when it came: one of each name */
    unsigned removed_n;
    unsigned workers;
    struct la_proxy_stats *proxy_stats; /* [workers] */
    struct la_admin_listener *listener;
    unsigned listeners;
    struct la_bounds *bounds;
    uint64_t clients_max;      /* limits.clients in force */
    uint64_t start_wall_ns;
    uint64_t reloads_ok, reloads_failed;
    bool ready;    /* all workers run, listeners are open */
    bool draining;
    /* Asks the workers for their live exchanges: calls done(arg, json array text) later on the main thread. NULL: not there. */
    void (*dump)(struct la_admin_state *s, void (*done)(void *arg, struct la_text *json), void *arg);
};

/* Keeps the last minute of counts per upstream, for lastack_reuse_ratio. Tick once a second. */
struct la_sampler;
struct la_sampler *la_sampler_new(void);
void la_sampler_free(struct la_sampler **s);
void la_sampler_tick(struct la_sampler *s, const struct la_admin_state *state);
/* 1 - dials / requests over the last 60 s; 1 when there was no dial, also without any request. */
double la_sampler_reuse_ratio(const struct la_sampler *s, const char *upstream);

void la_metrics_write(struct la_text *out, const struct la_admin_state *s, const struct la_sampler *sampler);
void la_status_write(struct la_text *out, const struct la_admin_state *s, const struct la_sampler *sampler);
extern const char la_dashboard_html[]; /* one self-contained page that polls /api/v1/status */

/* The admin listener. NULL: *err is why (errno). */
struct la_admin;
struct la_admin *la_admin_new(struct la_loop *l, const struct la_addr *address, struct la_admin_state *state,
                              struct la_sampler *sampler, int *err);
void la_admin_free(struct la_admin **a);

#endif
