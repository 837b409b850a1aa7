/* sums.h: what metrics.c and status.c both need: one worker's numbers added up.
 *
 * Every function reads counters that workers write, with relaxed loads: a sum is a moment's view, not a snapshot. */
#ifndef LASTACK_ADMIN_SUMS_H
#define LASTACK_ADMIN_SUMS_H

#include "lastack/admin.h"

#define LA_PHASE_NAMES {"queue", "connect", "backend", "total"}

static inline int64_t la_gauge_get(const _Atomic int *g)
{
    return atomic_load_explicit(g, memory_order_relaxed);
}

/* ---- a server ---- */

int64_t la_sum_state(const struct la_server *s, unsigned slot, enum la_conn_state state);
uint64_t la_sum_opened(const struct la_server *s, unsigned slot);
uint64_t la_sum_closed(const struct la_server *s, enum la_close_cause cause);
uint64_t la_sum_server_code(const struct la_server *s, unsigned code);
struct la_server_sums {
    uint64_t takeovers, dial_failures;
};
struct la_server_sums la_sum_server(const struct la_server *s);
uint64_t la_sum_handshakes(const struct la_server *s, enum la_handshake_end e);
/* What the reuse clock says now for a replayable request; *why: "configured", "announced", "learned" or "unknown". */
uint64_t la_reuse_in_force_ms(const struct la_conf_upstream *conf, const struct la_server *s, uint64_t now_ns,
                              const char **why);

/* ---- an upstream ---- */

struct la_upstream_sums {
    uint64_t bytes_in, bytes_out, requests, dials, queue_timeouts, retry_race, retry_connect;
};
struct la_upstream_sums la_sum_upstream(const struct la_upstream *u);
void la_sum_phase(const struct la_upstream *u, enum la_phase phase, struct la_hist *out); /* replaces *out */
uint64_t la_sum_upstream_code(const struct la_upstream *u, unsigned code);
uint64_t la_sum_upstream_error(const struct la_upstream *u, enum la_err e);
uint64_t la_sum_upstream_command(const struct la_upstream *u, unsigned command);
uint64_t la_sum_upstream_keys(const struct la_upstream *u, bool hits);

/* ---- the rest ---- */

uint64_t la_sum_proxy_code(const struct la_admin_state *s, unsigned code);
uint64_t la_sum_proxy_error(const struct la_admin_state *s, enum la_err e);
/* Under its present name. */
struct la_listener_sums la_sum_listener(const struct la_admin_state *s, unsigned listener);
static inline unsigned la_admin_plans(const struct la_admin_state *s)
{
    return s->snapshot ? s->snapshot->plans : 0;
}

/* This process as the kernel sees it; -1: cannot be read. */
struct la_process_use {
    int64_t rss_bytes, open_fds, max_fds;
};
struct la_process_use la_process_use(void);

#endif
