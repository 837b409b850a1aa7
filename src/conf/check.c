/* check.c: listeners, routes and the process as a whole: do their values fit together?
 *
 * Asks neither this host (host.c) nor the network. Runs on a filled la_conf even when single values were
 * wrong, so that all errors come out at once; a value that was wrong is absent here (an address of length 0,
 * a NULL) and is passed over. */
#include "conf/load.h"

#include "conf/value.h"

#include <stdlib.h>

void la_conf_complain(struct la_conf *c, struct la_report *report, bool warning, const char *path,
                      const char *fmt, ...)
{
    struct la_conf_pos top = {c->files[0], 1, 1};
    const struct la_conf_pos *pos = la_conf_where(c, "%s", path);
    va_list ap;
    va_start(ap, fmt);
    la_report_vadd(report, warning, pos ? pos : &top, path, fmt, ap);
    va_end(ap);
}

static int compare_unique(const void *x, const void *y)
{
    const struct la_unique *a = x, *b = y;
    int order = strcmp(a->key, b->key);
    return order ? order : a->order < b->order ? -1 : a->order > b->order;
}

void la_unique_sort(struct la_unique *u, size_t n)
{
    if (n)
        qsort(u, n, sizeof *u, compare_unique);
}

void la_conf_finish(struct la_conf *c)
{
    for (size_t i = 0; i < c->listens; i++) {
        struct la_conf_listen *l = &c->listen[i];
        char text[LA_ADDR_TEXT];
        if (l->name == NULL && l->address.len)
            l->name = la_path(c, "%s", la_addr_text(&l->address, text));
        /* Clients of a cache keep their connections as long as they live. */
        if (l->protocol == LA_PROTO_MEMCACHED &&
            la_marks_find(c->own, la_path(c, "listen[%zu].timeouts.keepalive", i)) == NULL)
            l->keepalive_ms = 24ull * 3600 * 1000;
    }
    for (size_t i = 0; i < c->listens; i++)
        c->client_headers |= c->listen[i].tls.client_header != NULL;
    for (size_t i = 0; i < c->upstreams; i++) {
        struct la_conf_upstream *u = &c->upstream[i];
        u->tls.on = la_marks_find(c->own, la_path(c, "upstreams.%s.tls", u->name)) != NULL;
        if (u->pool.max == UINT32_MAX) {
            u->pool.max = u->protocol == LA_PROTO_HTTP      ? 64
                          : u->protocol == LA_PROTO_FASTCGI ? 4
                                                            : la_conf_workers(c);
        }
        la_conf_finish_fastcgi(c, u);
        if (u->protocol == LA_PROTO_MEMCACHED)
            la_conf_finish_memcached(c, u);
        u->pool.tunnels_half = u->pool.tunnels == UINT32_MAX;
        if (u->pool.tunnels_half)
            u->pool.tunnels = la_conf_tunnels(u, u->pool.max);
    }
}

const struct la_conf_upstream *la_conf_find_upstream(const struct la_conf *c, const char *name)
{
    for (size_t i = 0; i < c->upstreams; i++)
        if (strcmp(c->upstream[i].name, name) == 0)
            return &c->upstream[i];
    return NULL;
}

static const char *nearest_upstream(struct la_conf *c, const char *name)
{
    const char **names = la_arena_calloc(&c->own->arena, c->upstreams, sizeof *names);
    for (size_t i = 0; i < c->upstreams; i++)
        names[i] = c->upstream[i].name;
    const char *near = la_value_nearest(la_slice_str(name), names, c->upstreams);
    return near ? la_path(c, ", did you mean \"%s\"?", near) : "";
}

/* The reference at path from a listener or route that speaks protocol. */
static void check_reference(struct la_conf *c, struct la_report *r, const char *path, const char *name,
                            enum la_protocol protocol)
{
    const struct la_conf_upstream *u = la_conf_find_upstream(c, name);
    if (u == NULL)
        la_conf_complain(c, r, false, path, "there is no upstream \"%.64s\"%s", name,
                         nearest_upstream(c, name));
    else if ((protocol == LA_PROTO_MEMCACHED) != (u->protocol == LA_PROTO_MEMCACHED))
        la_conf_complain(c, r, false, path, "a %s listener cannot use upstream \"%s\", which is %s",
                         la_protocol_name(protocol), name, la_protocol_name(u->protocol));
}

static void check_unique_listeners(struct la_conf *c, struct la_report *r)
{
    struct la_unique *u = la_arena_calloc(&c->own->arena, c->listens + 1, sizeof *u);
    size_t n = 0;
    for (size_t i = 0; i < c->listens; i++)
        if (c->listen[i].name)
            u[n++] = (struct la_unique){c->listen[i].name, la_path(c, "listen[%zu].name", i),
                                        &c->listen[i].pos, i};
    la_unique_sort(u, n);
    for (size_t i = 1; i < n; i++)
        if (strcmp(u[i - 1].key, u[i].key) == 0 &&
            la_marks_find(c->own, u[i].path)) /* only names that were written */
            la_conf_complain(c, r, false, u[i].path,
                             "\"%s\" is already the name of the listener in line %u of %s", u[i].key,
                             u[i - 1].pos->line, u[i - 1].pos->file);
    n = 0;
    for (size_t i = 0; i <= c->listens; i++) {
        const struct la_addr *a = i < c->listens ? &c->listen[i].address : &c->admin;
        char *text = la_arena_calloc(&c->own->arena, LA_ADDR_TEXT, 1);
        const char *path = i < c->listens ? la_path(c, "listen[%zu].address", i) : "admin.address";
        if (a->len)
            u[n++] = (struct la_unique){la_addr_text(a, text), path, NULL, i};
    }
    la_unique_sort(u, n);
    for (size_t i = 1; i < n; i++)
        if (strcmp(u[i - 1].key, u[i].key) == 0)
            la_conf_complain(c, r, false, u[i].path, "%s is already the address of %s", u[i].key,
                             u[i - 1].path);
}

/* Listeners share a port among themselves (SO_REUSEPORT), the admin's is its own. */
static void check_admin(struct la_conf *c, struct la_report *r)
{
    char text[LA_ADDR_TEXT];
    for (size_t i = 0; i < c->listens; i++)
        if (la_addr_overlap(&c->admin, &c->listen[i].address) && !la_addr_eq(&c->admin, &c->listen[i].address))
            la_conf_complain(c, r, false, "admin.address", "listen[%zu].address (%s) takes this port, too; choose another one", i,
                             la_addr_text(&c->listen[i].address, text));
}

static const struct la_conf_listen *find_listener(const struct la_conf *c, const char *name)
{
    for (size_t i = 0; i < c->listens; i++)
        if (c->listen[i].name && strcmp(c->listen[i].name, name) == 0)
            return &c->listen[i];
    return NULL;
}

static bool takes_routes(const struct la_conf_listen *l)
{
    return l->protocol == LA_PROTO_HTTP && l->upstream == NULL;
}

static bool route_applies(const struct la_conf_route *route, const struct la_conf_listen *l)
{
    for (size_t i = 0; i < route->listens; i++)
        if (route->listen[i] && l->name && strcmp(route->listen[i], l->name) == 0)
            return true;
    return route->listens == 0 && takes_routes(l);
}

static void check_listener(struct la_conf *c, struct la_report *r, size_t index)
{
    const struct la_conf_listen *l = &c->listen[index];
    const char *path = la_path(c, "listen[%zu]", index), *upstream = la_path(c, "%s.upstream", path);
    if (l->upstream) {
        check_reference(c, r, upstream, l->upstream, l->protocol);
    } else if (l->protocol != LA_PROTO_HTTP) {
        la_conf_complain(c, r, false, upstream,
                         "missing: a %s listener needs an upstream, routes are for http",
                         la_protocol_name(l->protocol));
    } else if (la_marks_find(c->own, upstream) == NULL) {
        size_t i = 0;
        while (i < c->routes && !route_applies(&c->route[i], l))
            i++;
        if (i == c->routes)
            la_conf_complain(
                c, r, false, path,
                "has no upstream, and no route applies to it: write `upstream: NAME` or add routes");
    }
    const char *half = la_path(c, "%s.client_half_close", path), *memcached = la_path(c, "%s.memcached", path);
    if (l->protocol == LA_PROTO_MEMCACHED && la_marks_find(c->own, half))
        la_conf_complain(c, r, true, half, "has no effect on a memcached listener");
    if (l->protocol != LA_PROTO_MEMCACHED && la_marks_find(c->own, memcached))
        la_conf_complain(c, r, false, memcached, "is for `protocol: memcached`, this listener is %s", la_protocol_name(l->protocol));
    const char *client = la_path(c, "%s.tls.client", path);
    if (l->tls.client_ca == NULL && la_marks_find(c->own, client) && la_marks_find(c->own, la_path(c, "%s.ca", client)) == NULL)
        la_conf_complain(c, r, false, client, "has no ca: which clients' certificates are good?");
    if (l->tls.client_header && l->protocol != LA_PROTO_HTTP)
        la_conf_complain(c, r, false, la_path(c, "%s.header", client), "is for http listeners");
    if (l->unix_mode != 0660 && l->address.len && la_addr_family(&l->address) != AF_UNIX)
        la_conf_complain(c, r, true, la_path(c, "%s.mode", path), "has no effect, it is for Unix sockets");
}

/* ---- routes ---- */

static bool routes_meet(const struct la_conf *c, const struct la_conf_route *a, const struct la_conf_route *b)
{
    if (a->listens == 0 && b->listens == 0)
        return true;
    const struct la_conf_route *named = a->listens ? a : b, *other = a->listens ? b : a;
    for (size_t i = 0; i < named->listens; i++) {
        const struct la_conf_listen *l = named->listen[i] ? find_listener(c, named->listen[i]) : NULL;
        if (l && route_applies(other, l))
            return true;
    }
    return false;
}

static void check_unique_routes(struct la_conf *c, struct la_report *r)
{
    struct la_unique *u = la_arena_calloc(&c->own->arena, c->routes, sizeof *u);
    size_t n = 0;
    for (size_t i = 0; i < c->routes; i++)
        if (c->route[i].host && c->route[i].path)
            u[n++] = (struct la_unique){la_path(c, "%s %s", c->route[i].host, c->route[i].path),
                                        la_path(c, "routes[%zu]", i), &c->route[i].pos, i};
    la_unique_sort(u, n);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (strcmp(u[first].key, u[i].key) != 0)
            first = i;
        for (size_t k = first; k < i; k++) {
            if (!routes_meet(c, &c->route[u[k].order], &c->route[u[i].order]))
                continue;
            la_report_add(r, false, u[i].pos, u[i].path,
                          "the same host, path and listener as %s (line %u of %s)", u[k].path, u[k].pos->line,
                          u[k].pos->file);
            break;
        }
    }
}

static void check_route(struct la_conf *c, struct la_report *r, size_t index)
{
    const struct la_conf_route *route = &c->route[index];
    size_t http = 0;
    if (route->upstream)
        check_reference(c, r, la_path(c, "routes[%zu].upstream", index), route->upstream, LA_PROTO_HTTP);
    for (size_t i = 0; i < route->listens; i++) {
        const char *path = la_path(c, "routes[%zu].listen[%zu]", index, i), *name = route->listen[i];
        const struct la_conf_listen *l = name ? find_listener(c, name) : NULL;
        if (name == NULL)
            continue;
        if (l == NULL)
            la_conf_complain(c, r, false, path, "there is no listener named \"%.64s\"", name);
        else if (l->protocol != LA_PROTO_HTTP)
            la_conf_complain(c, r, false, path, "listener \"%s\" is %s, routes are for http", name,
                             la_protocol_name(l->protocol));
        else if (l->upstream)
            la_conf_complain(c, r, true, path,
                             "listener \"%s\" sends everything to upstream \"%s\", no route applies to it",
                             name, l->upstream);
    }
    for (size_t i = 0; i < c->listens && http == 0; i++)
        http += takes_routes(&c->listen[i]);
    if (route->listens == 0 && http == 0 && c->listens)
        la_report_add(r, true, &route->pos, la_path(c, "routes[%zu]", index),
                      "never used: every listener has an upstream of its own");
}

static void check_process(struct la_conf *c, struct la_report *r)
{
    static const char *const required[] = {"listen", "upstreams"};
    const size_t count[] = {c->listens, c->upstreams};
    for (size_t i = 0; i < la_count(required); i++)
        if (count[i] == 0 && la_marks_find(c->own, required[i]) == NULL)
            la_conf_complain(c, r, false, required[i], "missing, must be %s",
                             i == 0 ? "a list, each item a listener"
                                    : "a mapping from names to an upstream each");
    if (c->log.access && c->log.error && strcmp(c->log.access, c->log.error) == 0)
        la_conf_complain(c, r, false, "log.error", "the same file as log.access; give each its own");
}

void la_conf_check_listeners(struct la_conf *c, struct la_report *report)
{
    check_unique_listeners(c, report);
    check_admin(c, report);
    for (size_t i = 0; i < c->listens; i++)
        check_listener(c, report, i);
    for (size_t i = 0; i < c->routes; i++)
        check_route(c, report, i);
    check_unique_routes(c, report);
}

void la_conf_check(struct la_conf *c, struct la_report *report)
{
    check_process(c, report);
    la_conf_check_listeners(c, report);
    la_conf_check_upstreams(c, report);
}
