/* proxy.h (layer: proxy): one worker's proxy: it turns requests of clients into calls to servers.
 *
 * A snapshot is an immutable configuration made ready for use; the main thread builds it, every worker adopts it. A
 * view is a worker's hold on a snapshot: exchanges keep theirs until they end, so that a reload disturbs none. */
#ifndef LASTACK_PROXY_H
#define LASTACK_PROXY_H

#include "lastack/call.h"
#include "lastack/certs.h"
#include "lastack/client.h"

struct la_route_hit {
    const struct la_conf_route *route; /* NULL: the listener's own upstream */
    unsigned plan;                     /* index in snapshot->plan */
};

struct la_snapshot {
    _Atomic unsigned refs;
    struct la_conf *conf;
    struct la_certs *certs; /* referenced */
    _Atomic unsigned *conf_users; /* snapshots that share conf (a name's addresses changed) */
    struct la_upstream_plan *plan;
    unsigned plans;
    struct la_conf_route **route; /* sorted: most specific host first, then longest path */
    unsigned *route_plan;
    unsigned routes;
    unsigned *listen_plan; /* for each listener that has an upstream of its own */
};
/* Takes over conf and plan (with a reference to each shared object), refers to certs. With `like`, conf is that snapshot's, shared. */
struct la_snapshot *la_snapshot_new(struct la_conf *conf, struct la_certs *certs, const struct la_snapshot *like, struct la_upstream_plan *plan,
                                    unsigned plans);
void la_snapshot_unref(struct la_snapshot **s);
/* Which upstream takes a request to host and path at this listener? False: none. */
bool la_route_find(const struct la_snapshot *s, const struct la_conf_listen *l, struct la_slice host,
                   struct la_slice target, struct la_route_hit *hit);

struct la_view {
    struct la_snapshot *snapshot;
    unsigned users; /* exchanges and doors */
    struct la_proxy *proxy;
    struct la_list node;
};

/* A front of this worker: what its clients' requests need to know. */
struct la_door {
    struct la_front front; /* first */
    struct la_proxy *proxy;
    const struct la_conf_listen *conf;
    struct la_view *view; /* conf is in its snapshot: the present one, or the last that had this listener */
    struct la_list node;
    unsigned users; /* exchanges that name it */
    bool (*on_client_named)(struct la_door *d, const struct la_addr *peer);
    void (*on_client_end)(struct la_door *d, const struct la_addr *peer);
};

struct la_access_log;
struct la_site_hit;
struct la_script;

/* One worker's counts of answers that belong to no upstream. */
struct la_proxy_stats {
    _Atomic uint64_t code[600];
    _Atomic uint64_t error[LA_ERR_COUNT];
};

struct la_proxy {
    struct la_env env;
    struct la_upstreams *upstreams;
    struct la_view *view; /* the present one */
    struct la_list views;
    struct la_list doors;
    struct la_slab exchanges;
    struct la_list live;  /* exchanges and tunnels */
    unsigned live_n;
    struct la_list late;  /* exchanges whose clients are not watched yet */
    struct la_timer late_timer;
    struct la_access_log *log;
    struct la_request *request; /* scratch for encoding */
    struct la_response *response;
    struct la_site_hit *site;  /* scratch, within one callback */
    struct la_script *script;
    struct la_proxy_stats *stats;
    unsigned worker;
    void (*on_idle)(struct la_proxy *p); /* draining: nothing is live any more */
    bool draining;
};
void la_proxy_init(struct la_proxy *p, struct la_loop *l, struct la_filer *f, struct la_bounds *b, unsigned worker,
                   struct la_crew *crew, struct la_proxy_stats *stats, size_t header_bytes);
void la_proxy_fini(struct la_proxy *p);
/* A new configuration; takes over one reference. Doors are the caller's to adjust; then resume lets requests that wait go on, or
 * fail where their upstream has gone: their clients' next ones are read at once. */
void la_proxy_apply(struct la_proxy *p, struct la_snapshot *s);
void la_proxy_resume(struct la_proxy *p);
/* Lets go of configurations that nobody uses any more. */
void la_proxy_drop_views(struct la_proxy *p);
/* No new requests on kept-alive clients, every server connection used from now on is told goodbye; on_idle when nothing is live. */
void la_proxy_drain(struct la_proxy *p);
/* Ends everything now. */
void la_proxy_close(struct la_proxy *p);

void la_door_init(struct la_door *d, struct la_proxy *p, struct la_client_stats *stats);
/* l is in the present view; tls NULL: plain. A door that is not configured any more serves as before. */
void la_door_configure(struct la_door *d, const struct la_conf_listen *l, struct la_tls *tls);
void la_door_fini(struct la_door *d);

/* The access log: lines gathered per worker, written in batches. fd is shared by all workers (O_APPEND); -1: off. */
struct la_access_log *la_access_log_new(struct la_loop *l);
void la_access_log_set(struct la_access_log *a, int fd, enum la_log_format format);
void la_access_log_flush(struct la_access_log *a);
void la_access_log_free(struct la_access_log **a);

/* A line per exchange and tunnel of this worker, as JSON objects appended to out (comma separated), for the status dump. */
struct la_text;
void la_proxy_dump(struct la_proxy *p, struct la_text *out);

#endif
