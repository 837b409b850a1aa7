/* admin_world.h: a small snapshot made by hand: two upstreams, three servers, four sources, a listener, all with numbers. */
#ifndef ADMIN_WORLD_H
#define ADMIN_WORLD_H

#include "lastack/admin.h"
#include "test.h"

#define WORKERS 2
#define ODD_NAME "we\"ird\\na\nme" /* a quote, a backslash and a line break */

struct world {
    struct la_admin_state state;
    struct la_snapshot snapshot;
    struct la_conf_upstream conf[2];
    struct la_conf_server server_conf;
    struct la_upstream_plan plan[2];
    struct la_server *server[3];
    const struct la_conf_server *server_confs[3];
    struct la_proxy_stats *proxy;
    struct la_client_stats client[WORKERS];
    struct la_admin_listener listener;
    struct la_bounds bounds;
};

static unsigned world_usable(uint16_t low, uint16_t high)
{
    return (unsigned)(high - low) + 1;
}

static struct la_addr world_addr(const char *text, bool port)
{
    struct la_addr a;
    const char *err;
    CHECK(la_addr_parse(&a, la_slice_str(text), port, &err));
    return a;
}

static struct la_server *world_server(const char *upstream, const char *address, int sources)
{
    struct la_addr to = world_addr(address, true);
    struct la_source_spec spec[4] = {{world_addr("10.0.1.1", false), 0, 0},
                                     {world_addr("10.0.1.2", false), 20000, 20099},
                                     {world_addr("10.0.1.2", false), 30000, 30099},
                                     {world_addr("10.0.1.3", false), 0, 0}};
    struct la_server *s = la_server_new(upstream, address, &to, WORKERS);
    if (la_addr_family(&to) != AF_UNIX)
        s->ledger = la_ledger_new(&to, spec, (size_t)sources, 32768, 60999, world_usable);
    la_server_name_sources(s);
    atomic_store(&s->max, 8);
    return s;
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->proxy = la_xcalloc(WORKERS, sizeof *w->proxy);
    static char app[] = "app", odd[] = ODD_NAME;
    w->conf[0] = (struct la_conf_upstream){.name = app, .queue = {.length = 1024, .timeout_ms = 5000}};
    w->conf[0].pool.idle_reuse_ms = w->conf[0].pool.idle_close_ms = LA_AUTO;
    w->conf[1] = (struct la_conf_upstream){.name = odd};
    w->conf[1].pool.idle_reuse_ms = 1500;
    w->server[0] = world_server("app", "10.0.0.11:8080", 4);
    w->server[1] = world_server("app", "unix:/run/x.sock", 0);
    w->server[2] = world_server(ODD_NAME, "10.0.0.11:8080", 1); /* the same destination in another upstream */
    for (int i = 0; i < 3; i++)
        w->server_confs[i] = &w->server_conf;
    w->plan[0] = (struct la_upstream_plan){&w->conf[0], la_upstream_new("app", LA_PROTO_HTTP, WORKERS), &w->server[0], &w->server_confs[0], 2};
    w->plan[1] = (struct la_upstream_plan){&w->conf[1], la_upstream_new(ODD_NAME, LA_PROTO_HTTP, WORKERS), &w->server[2], &w->server_confs[2], 1};
    w->snapshot.plan = w->plan;
    w->snapshot.plans = 2;
    w->listener = (struct la_admin_listener){.name = "web", .stats = w->client};
    w->bounds.memory_max = 1 << 30;
    w->state = (struct la_admin_state){.snapshot = &w->snapshot, .workers = WORKERS, .proxy_stats = w->proxy,
                                       .listener = &w->listener, .listeners = 1, .bounds = &w->bounds,
                                       .clients_max = 1000, .start_wall_ns = la_wall_ns(), .reloads_ok = 3};
}

static void world_fini(struct world *w)
{
    for (int i = 0; i < 3; i++)
        la_server_unref(&w->server[i]);
    la_upstream_unref(&w->plan[0].shared);
    la_upstream_unref(&w->plan[1].shared);
    free(w->proxy);
}

#endif
