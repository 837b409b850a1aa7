/* route.c: the snapshot, and which upstream a request goes to: exact host, then *.x (longest first), then *; longest
 * path prefix at a segment boundary. Matched on the normalized path; forwarded as received. */
#include "lastack/proxy.h"

#include <stdlib.h>

static int host_rank(const char *host) /* lower is more specific */
{
    if (strcmp(host, "*") == 0)
        return 1 << 20;
    if (strncmp(host, "*.", 2) == 0)
        return (1 << 19) - (int)strlen(host);
    return 0;
}

static int by_specificity(const void *a, const void *b)
{
    const struct la_conf_route *x = *(struct la_conf_route *const *)a, *y = *(struct la_conf_route *const *)b;
    int rx = host_rank(x->host), ry = host_rank(y->host);
    if (rx != ry)
        return rx < ry ? -1 : 1;
    size_t nx = strlen(x->path), ny = strlen(y->path);
    return nx == ny ? 0 : nx > ny ? -1 : 1;
}

static unsigned plan_of(const struct la_snapshot *s, const char *upstream)
{
    for (unsigned i = 0; i < s->plans; i++)
        if (strcmp(s->plan[i].conf->name, upstream) == 0)
            return i;
    la_assert(!"a checked configuration names only upstreams that exist");
    return 0;
}

struct la_snapshot *la_snapshot_new(struct la_conf *conf, struct la_certs *certs, const struct la_snapshot *like, struct la_upstream_plan *plan,
                                    unsigned plans)
{
    struct la_snapshot *s = la_xcalloc(1, sizeof *s);
    atomic_store(&s->refs, 1);
    s->conf = conf;
    s->certs = la_certs_ref(certs);
    s->conf_users = like ? like->conf_users : la_xcalloc(1, sizeof *s->conf_users);
    atomic_fetch_add(s->conf_users, 1);
    s->plan = plan;
    s->plans = plans;
    s->routes = (unsigned)conf->routes;
    s->route = la_xcalloc(conf->routes, sizeof *s->route);
    s->route_plan = la_xcalloc(conf->routes, sizeof *s->route_plan);
    for (unsigned i = 0; i < s->routes; i++)
        s->route[i] = &conf->route[i];
    qsort(s->route, s->routes, sizeof *s->route, by_specificity);
    for (unsigned i = 0; i < s->routes; i++)
        s->route_plan[i] = plan_of(s, s->route[i]->upstream);
    s->listen_plan = la_xcalloc(conf->listens, sizeof *s->listen_plan);
    for (size_t i = 0; i < conf->listens; i++)
        s->listen_plan[i] = conf->listen[i].upstream ? plan_of(s, conf->listen[i].upstream) : 0;
    return s;
}

void la_snapshot_unref(struct la_snapshot **sp)
{
    struct la_snapshot *s = *sp;
    *sp = NULL;
    if (s == NULL || atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    for (unsigned i = 0; i < s->plans; i++) {
        la_upstream_unref(&s->plan[i].shared);
        for (unsigned k = 0; k < s->plan[i].servers; k++)
            la_server_unref(&s->plan[i].server[k]);
        free(s->plan[i].server);
        free((void *)(uintptr_t)s->plan[i].server_conf);
    }
    la_certs_unref(&s->certs);
    free(s->plan);
    free(s->route);
    free(s->route_plan);
    free(s->listen_plan);
    if (atomic_fetch_sub(s->conf_users, 1) == 1) {
        la_conf_free(s->conf);
        free(s->conf_users);
    }
    free(s);
}

static bool host_matches(const char *pattern, struct la_slice host)
{
    if (strcmp(pattern, "*") == 0)
        return true;
    if (strncmp(pattern, "*.", 2) == 0) {
        size_t n = strlen(pattern) - 1; /* ".x" */
        return host.n > n && la_slice_ieq(la_slice(host.p + host.n - n, n), la_slice(pattern + 1, n));
    }
    return la_slice_ieq(host, la_slice_str(pattern));
}

static bool path_matches(const char *prefix, struct la_slice path)
{
    size_t n = strlen(prefix);
    if (path.n < n || memcmp(path.p, prefix, n) != 0)
        return false;
    return path.n == n || prefix[n - 1] == '/' || path.p[n] == '/';
}

/* Most servers take several slashes for one, and some what follows ";" in a segment for no part of its name: what a route
 * keeps to itself must not be reached past it by these. Returns the new length. */
static size_t simplify(char *p, size_t n)
{
    size_t to = 0;
    bool parameter = false;
    for (size_t i = 0; i < n; i++) {
        parameter = p[i] == ';' || (parameter && p[i] != '/');
        if (!parameter && (p[i] != '/' || to == 0 || p[to - 1] != '/'))
            p[to++] = p[i];
    }
    return to;
}

static bool listens(const struct la_conf_route *r, const struct la_conf_listen *l)
{
    if (r->listens == 0)
        return true;
    for (size_t i = 0; i < r->listens; i++)
        if (strcmp(r->listen[i], l->name) == 0)
            return true;
    return false;
}

/* Host without its port. */
static struct la_slice bare_host(struct la_slice host)
{
    if (host.n && host.p[0] == '[') {
        const char *end = memchr(host.p, ']', host.n);
        return end ? la_slice(host.p, (size_t)(end - host.p) + 1) : host;
    }
    const char *colon = memchr(host.p, ':', host.n);
    return colon ? la_slice(host.p, (size_t)(colon - host.p)) : host;
}

bool la_route_find(const struct la_snapshot *s, const struct la_conf_listen *l, struct la_slice host,
                   struct la_slice target, struct la_route_hit *hit)
{
    hit->route = NULL;
    if (l->upstream) {
        la_assert(l >= s->conf->listen && l < s->conf->listen + s->conf->listens);
        hit->plan = s->listen_plan[l - s->conf->listen];
        return true;
    }
    char buf[8192];
    struct la_slice path = LA_SLICE("/");
    if (target.n && target.p[0] == '/') {
        size_t n = la_http_normalize_path(target, buf, sizeof buf);
        if (n == 0)
            return false;
        path = la_slice(buf, memmem(buf, n, "//", 2) || memchr(buf, ';', n) ? simplify(buf, n) : n);
    }
    host = bare_host(host);
    if (host.n && host.p[host.n - 1] == '.')
        host.n--; /* a fully qualified name is the same name */
    for (unsigned i = 0; i < s->routes; i++) {
        const struct la_conf_route *r = s->route[i];
        if (listens(r, l) && host_matches(r->host, host) && path_matches(r->path, path)) {
            hit->route = r;
            hit->plan = s->route_plan[i];
            return true;
        }
    }
    return false;
}
