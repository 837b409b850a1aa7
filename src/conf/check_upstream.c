/* check_upstream.c: upstreams: do servers, sources, pool, timeouts and buffers fit together?
 *
 * As check.c: asks neither this host nor the network, and passes over values that were wrong in themselves.
 */
#include "conf/load.h"

#include "conf/value.h"

#include <stdlib.h>

#define PORTS_MOST 64512 /* 1024 to 65535: what one source without a range can have at best */

static const char *family_name(int family)
{
    return family == AF_INET6 ? "IPv6" : family == AF_INET ? "IPv4" : "a Unix socket";
}

/* AF_UNSPEC: a name, or an address that was wrong. */
static int server_family(const struct la_conf_server *s)
{
    return la_addr_family(&s->address);
}

/* One server (source) of this family; NULL: none. */
static const struct la_conf_server *server_of(const struct la_conf_upstream *u, int family)
{
    for (size_t i = 0; i < u->servers; i++)
        if (server_family(&u->server[i]) == family)
            return &u->server[i];
    return NULL;
}
static const struct la_conf_source *source_of(const struct la_conf_upstream *u, int family)
{
    for (size_t i = 0; i < u->sources; i++)
        if (la_addr_family(&u->source[i].address) == family)
            return &u->source[i];
    return NULL;
}

/* Every server needs a source of its family, and every source a server. One error per mismatch, not two. */
static void check_families(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    static const int families[] = {AF_INET, AF_INET6};
    bool mismatch = false;
    for (size_t i = 0; u->sources && i < u->servers; i++) {
        int family = server_family(&u->server[i]), other = family == AF_INET ? AF_INET6 : AF_INET;
        const struct la_conf_source *source = source_of(u, other);
        if ((family != AF_INET && family != AF_INET6) || source_of(u, family) || source == NULL)
            continue;
        la_report_add(r, false, &u->server[i].pos, la_path(c, "upstreams.%s.servers[%zu]", u->name, i),
                      "server %s is %s, but source %s is %s: add a source of the server's family",
                      u->server[i].text, family_name(family), source->text, family_name(other));
        mismatch = true;
    }
    if (mismatch || server_of(u, AF_UNSPEC))
        return;
    for (size_t k = 0; k < la_count(families); k++) {
        const struct la_conf_source *s = source_of(u, families[k]);
        if (s == NULL || server_of(u, families[k]) || u->servers == 0)
            continue;
        const struct la_conf_server *other = server_of(u, families[k] == AF_INET ? AF_INET6 : AF_INET);
        other = other ? other : &u->server[0];
        la_report_add(r, false, &s->pos,
                      la_path(c, "upstreams.%s.source[%zu]", u->name, (size_t)(s - u->source)),
                      "source %s is %s, but no server is: server %s is %s", s->text, family_name(families[k]),
                      other->text, family_name(server_family(other)));
    }
}

static unsigned low_port(const struct la_conf_source *s)
{
    return s->port_high ? s->port_low : 0;
}
static unsigned high_port(const struct la_conf_source *s)
{
    return s->port_high ? s->port_high : 65535;
}

static void check_sources(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    struct la_unique *all = la_arena_calloc(&c->own->arena, u->sources, sizeof *all);
    size_t n = 0;
    uint64_t ports[2] = {0, 0};
    for (size_t i = 0; i < u->sources; i++) {
        const struct la_conf_source *s = &u->source[i];
        char *text = la_arena_calloc(&c->own->arena, LA_ADDR_TEXT, 1);
        if (s->address.len == 0 || s->text == NULL)
            continue;
        all[n++] = (struct la_unique){la_addr_host_text(&s->address, text),
                                      la_path(c, "upstreams.%s.source[%zu]", u->name, i), &s->pos, i};
        ports[la_addr_family(&s->address) == AF_INET6] +=
            s->port_high ? high_port(s) - low_port(s) + 1 : PORTS_MOST;
    }
    la_unique_sort(all, n);
    for (size_t i = 1; i < n; i++) {
        const struct la_conf_source *a = &u->source[all[i - 1].order], *b = &u->source[all[i].order];
        if (strcmp(all[i - 1].key, all[i].key) == 0 && low_port(a) <= high_port(b) &&
            low_port(b) <= high_port(a))
            la_report_add(r, false, all[i].pos, all[i].path, "source %s overlaps with %s", b->text, a->text);
    }
    if (n < u->sources) /* the others are not all there is */
        return;
    for (int k = 0; k < 2; k++)
        if (ports[k] && ports[k] < la_conf_pool_most(u) &&
            (server_of(u, k ? AF_INET6 : AF_INET) || server_of(u, AF_UNSPEC)))
            la_conf_complain(c, r, true, la_path(c, "upstreams.%s.%s", u->name, la_conf_pool_key(u)),
                             "%u connections to a server need as many ports, but its %s sources have %llu "
                             "together: add sources or "
                             "widen their ranges",
                             la_conf_pool_most(u), family_name(k ? AF_INET6 : AF_INET), (unsigned long long)ports[k]);
    check_families(c, r, u);
}

static void check_servers(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    size_t backups = 0, drained = 0;
    for (size_t i = 0; i < u->servers; i++) {
        backups += u->server[i].backup;
        drained += u->server[i].drain;
        if (u->server[i].slow_start_ms && u->balance == LA_BALANCE_HASH)
            la_report_add(r, true, &u->server[i].pos, la_path(c, "upstreams.%s.servers[%zu]", u->name, i),
                          "slow_start has no effect with balance: hash, which gives a client to one server");
    }
    if (u->servers && backups == u->servers)
        la_conf_complain(c, r, true, la_path(c, "upstreams.%s.servers", u->name), "every server is a backup");
    if (u->servers && drained == u->servers)
        la_conf_complain(c, r, true, la_path(c, "upstreams.%s.servers", u->name),
                         "every server drains: no request will be served");
}

/* pool.advise and pool.auto. */
static void check_sizing(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    const char *base = la_path(c, "upstreams.%s.pool", u->name), *range = la_path(c, "%s.auto", base);
    if (u->protocol == LA_PROTO_MEMCACHED && (u->pool.advise || u->pool.ranges))
        la_conf_complain(c, r, false, u->pool.ranges ? range : la_path(c, "%s.advise", base),
                         "is for http and fastcgi: a memcached connection carries many commands at once");
    for (size_t i = 0; i < u->pool.ranges; i++)
        if (u->pool.range[i] == 0) /* wrong in itself */
            return;
    if (u->pool.ranges && u->pool.ranges != 2)
        la_conf_complain(c, r, false, range, "must be two sizes, the smallest and the largest, such as [4, 200]");
    else if (u->pool.ranges && u->pool.range[0] > u->pool.range[1])
        la_conf_complain(c, r, false, range, "the smallest size (%u) is more than the largest (%u)", u->pool.range[0], u->pool.range[1]);
    else if (u->pool.ranges && (u->pool.max < u->pool.range[0] || u->pool.max > u->pool.range[1]))
        la_conf_complain(c, r, false, range, "pool.max (%u) is where it starts and must lie within %u to %u", u->pool.max,
                         u->pool.range[0], u->pool.range[1]);
}

static void check_pool(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    const char *base = la_path(c, "upstreams.%s.pool", u->name);
    struct la_arena *a = &c->own->arena;
    if (u->pool.tunnels > u->pool.max && u->pool.tunnels > la_conf_pool_most(u))
        la_conf_complain(c, r, false, la_path(c, "%s.tunnels", base), "%u is more than %s (%u)",
                         u->pool.tunnels, la_conf_pool_key(u), la_conf_pool_most(u));
    if (u->pool.idle_reuse_ms != LA_AUTO && u->pool.idle_close_ms != LA_AUTO &&
        u->pool.idle_close_ms <= u->pool.idle_reuse_ms)
        la_conf_complain(c, r, false, la_path(c, "%s.idle_close", base),
                         "%s must be longer than idle_reuse (%s), or the proxy closes first",
                         la_value_duration_text(a, u->pool.idle_close_ms),
                         la_value_duration_text(a, u->pool.idle_reuse_ms));
    if (u->protocol == LA_PROTO_HTTP && u->pool.idle_reuse_ms == LA_AUTO && u->pool.idle_close_ms < LA_UNKNOWN_REUSE_MS)
        la_conf_complain(c, r, true, la_path(c, "%s.idle_close", base),
                         "%s is shorter than what idle_reuse: auto may allow (1m): the proxy closes first; leave it out, or set "
                         "idle_reuse, too",
                         la_value_duration_text(a, u->pool.idle_close_ms));
    if (u->balance == LA_BALANCE_HASH &&
        la_marks_find(c->own, la_path(c, "upstreams.%s.hash_key", u->name)) == NULL)
        la_conf_complain(c, r, false, la_path(c, "upstreams.%s.balance", u->name),
                         "hash needs a hash_key: write `hash_key: client` or `hash_key: header:NAME`");
    if (u->balance != LA_BALANCE_HASH && la_marks_find(c->own, la_path(c, "upstreams.%s.hash_key", u->name)))
        la_conf_complain(c, r, true, la_path(c, "upstreams.%s.hash_key", u->name),
                         "has no effect without balance: hash");
}

static void check_times(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    struct la_arena *a = &c->own->arena;
    if (u->health.path && u->protocol != LA_PROTO_MEMCACHED && u->health.timeout_ms > u->health.interval_ms)
        la_conf_complain(c, r, false, la_path(c, "upstreams.%s.health.timeout", u->name),
                         "%s is longer than the interval (%s)",
                         la_value_duration_text(a, u->health.timeout_ms),
                         la_value_duration_text(a, u->health.interval_ms));
    if (u->health.path == NULL && u->fastcgi.status_path == NULL && u->protocol != LA_PROTO_MEMCACHED &&
        la_marks_find(c->own, la_path(c, "upstreams.%s.health", u->name)) &&
        la_marks_find(c->own, la_path(c, "upstreams.%s.health.path", u->name)) == NULL)
        la_conf_complain(c, r, true, la_path(c, "upstreams.%s.health", u->name),
                         "without a path there are no active checks");
    if (u->passive.out_max_ms < u->passive.out_ms)
        la_conf_complain(c, r, false, la_path(c, "upstreams.%s.passive.out_max", u->name),
                         "%s is shorter than out (%s)", la_value_duration_text(a, u->passive.out_max_ms),
                         la_value_duration_text(a, u->passive.out_ms));
}

static void check_buffers(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    struct la_arena *a = &c->own->arena;
    uint64_t one = u->buffer.request_bytes + u->buffer.response_bytes;
    if (one > c->limits.memory)
        la_conf_complain(c, r, false, la_path(c, "upstreams.%s.buffer", u->name),
                         "request and response together (%s) are more than limits.memory (%s)",
                         la_value_size_text(a, one), la_value_size_text(a, c->limits.memory));
    if (c->limits.disk == 0 && u->protocol != LA_PROTO_MEMCACHED && u->buffer.request_mode == LA_REQUEST_BUFFER &&
        (c->limits.body == 0 || c->limits.body > u->buffer.request_bytes))
        la_conf_complain(c, r, true, "limits.disk",
                         "0 means no files: request bodies over buffer.request (%s) of upstream \"%s\" get 503",
                         la_value_size_text(a, u->buffer.request_bytes), u->name);
    if (c->limits.disk && u->buffer.response_file_bytes > c->limits.disk)
        la_conf_complain(c, r, true, la_path(c, "upstreams.%s.buffer.response_file", u->name),
                         "%s is more than limits.disk (%s)",
                         la_value_size_text(a, u->buffer.response_file_bytes),
                         la_value_size_text(a, c->limits.disk));
}

/* "$host" and "${host}", as nginx has them. */
static bool looks_variable(const char *text)
{
    for (const char *p = strchr(text, '$'); p; p = strchr(p + 1, '$'))
        if ((p[1] >= 'a' && p[1] <= 'z') || p[1] == '{')
            return true;
    return false;
}

static void check_headers(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    for (size_t k = 0; k < u->sets; k++)
        if (looks_variable(u->set[k].value))
            la_conf_complain(c, r, true, la_path(c, "upstreams.%s.request_headers.set.%.64s", u->name, u->set[k].name),
                             "\"%.60s\" is sent as it stands: there are no variables here", u->set[k].value);
    for (size_t i = 0; i < u->removes; i++)
        for (size_t k = 0; u->remove[i] && k < u->sets; k++)
            if (la_slice_ieq(la_slice_str(u->remove[i]), la_slice_str(u->set[k].name)))
                la_conf_complain(c, r, false,
                                 la_path(c, "upstreams.%s.request_headers.remove[%zu]", u->name, i),
                                 "%s is also set; set replaces what the client sent, so remove is not needed",
                                 u->remove[i]);
}

static void check_tls(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    const char *base = la_path(c, "upstreams.%s.tls", u->name);
    if (u->send_proxy != LA_SEND_PROXY_OFF)
        la_conf_complain(c, r, true, la_path(c, "upstreams.%s.send_proxy", u->name),
                         "connections are not shared: each carries one client's header and one request, so NTLM and Negotiate cannot log in");
    if (u->send_proxy != LA_SEND_PROXY_OFF && u->protocol == LA_PROTO_MEMCACHED)
        la_conf_complain(c, r, false, la_path(c, "upstreams.%s.send_proxy", u->name), "is for http servers");
    if (!u->tls.on)
        return;
    if (u->tls.key && u->tls.certificate == NULL)
        la_conf_complain(c, r, false, la_path(c, "%s.key", base), "has no certificate beside it");
    if (!u->tls.verify) {
        la_conf_complain(c, r, true, la_path(c, "%s.verify", base), "anybody in between can pretend to be the server");
        return;
    }
    const char *name = u->tls.server_name, *colon = name ? strchr(name, ':') : NULL;
    if (name && (strchr(name, '[') || (colon && strchr(colon + 1, ':') == NULL)))
        la_conf_complain(c, r, false, la_path(c, "%s.server_name", base), "must be a name or an address as a certificate has it, without port or brackets");
    for (size_t i = 0; i < u->servers && u->tls.server_name == NULL; i++)
        if (la_addr_family(&u->server[i].address) == AF_UNIX)
            la_conf_complain(c, r, false, base, "server %s has no name to check: write server_name", u->server[i].text);
}

/* One host has one text: letter case and a final dot do not count. */
static const char *server_key(struct la_conf *c, const struct la_conf_server *s)
{
    if (s->host == NULL)
        return la_addr_text(&s->address, la_arena_calloc(&c->own->arena, LA_ADDR_TEXT, 1));
    size_t n = strlen(s->host);
    char *host = la_arena_strndup(&c->own->arena, s->host, n - (s->host[n - 1] == '.'));
    for (char *p = host; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
    return la_path(c, "%s:%u", host, s->port);
}

/* Names, who uses them, and addresses that two upstreams (or one, twice) count against their caps. */
static void check_unique_servers(struct la_conf *c, struct la_report *r)
{
    size_t most = 0, n = 0;
    for (size_t i = 0; i < c->upstreams; i++)
        most += c->upstream[i].servers;
    struct la_unique *u = la_arena_calloc(&c->own->arena, most, sizeof *u);
    for (size_t i = 0; i < c->upstreams; i++) {
        for (size_t k = 0; k < c->upstream[i].servers; k++) {
            const struct la_conf_server *s = &c->upstream[i].server[k];
            if (s->address.len || s->host)
                u[n++] = (struct la_unique){server_key(c, s),
                                            la_path(c, "upstreams.%s.servers[%zu]", c->upstream[i].name, k),
                                            &s->pos, i};
        }
    }
    for (size_t i = 0; i < n; i++) /* order: the text's, but keep which upstream it was */
        u[i].order = u[i].order << 32 | i;
    la_unique_sort(u, n);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(u[i - 1].key, u[i].key) != 0)
            continue;
        if (u[i - 1].order >> 32 == u[i].order >> 32)
            la_report_add(r, false, u[i].pos, u[i].path,
                          "%s is in this upstream twice; give it a weight instead", u[i].key);
        else
            la_report_add(r, true, u[i].pos, u[i].path,
                          "%s is also %s: pool.max counts for each of the two, the server sees both",
                          u[i].key, u[i - 1].path);
    }
}

static void check_names(struct la_conf *c, struct la_report *r)
{
    struct la_unique *u = la_arena_calloc(&c->own->arena, c->upstreams, sizeof *u);
    for (size_t i = 0; i < c->upstreams; i++)
        u[i] = (struct la_unique){c->upstream[i].name, la_path(c, "upstreams.%s", c->upstream[i].name),
                                  &c->upstream[i].pos, i};
    la_unique_sort(u, c->upstreams);
    for (size_t i = 1; i < c->upstreams; i++)
        if (strcmp(u[i - 1].key, u[i].key) == 0)
            la_report_add(r, false, u[i].pos, u[i].path,
                          "there is an upstream of this name already, in line %u of %s", u[i - 1].pos->line,
                          u[i - 1].pos->file);
    if (r->errors) /* a wrong reference would make its upstream look unused */
        return;
    /* Who is used: sorted references against sorted names. */
    struct la_unique *used =
        la_arena_calloc(&c->own->arena, c->listens + c->routes + 2 * c->upstreams, sizeof *used);
    size_t n = 0;
    for (size_t i = 0; i < c->listens; i++)
        if (c->listen[i].upstream)
            used[n++] = (struct la_unique){.key = c->listen[i].upstream};
    for (size_t i = 0; i < c->routes; i++)
        if (c->route[i].upstream)
            used[n++] = (struct la_unique){.key = c->route[i].upstream};
    for (size_t i = 0; i < c->upstreams; i++) {
        if (c->upstream[i].memcached.failover)
            used[n++] = (struct la_unique){.key = c->upstream[i].memcached.failover};
        if (c->upstream[i].memcached.warm_from)
            used[n++] = (struct la_unique){.key = c->upstream[i].memcached.warm_from};
    }
    la_unique_sort(used, n);
    for (size_t i = 0, k = 0; i < c->upstreams; i++) {
        while (k < n && strcmp(used[k].key, u[i].key) < 0)
            k++;
        if (k == n || strcmp(used[k].key, u[i].key) != 0)
            la_report_add(r, true, u[i].pos, u[i].path, "never used: no listener and no route names it");
    }
}

void la_conf_check_upstreams(struct la_conf *c, struct la_report *report)
{
    for (size_t i = 0; i < c->upstreams; i++) {
        const struct la_conf_upstream *u = &c->upstream[i];
        check_servers(c, report, u);
        check_sources(c, report, u);
        check_pool(c, report, u);
        check_sizing(c, report, u);
        check_times(c, report, u);
        check_buffers(c, report, u);
        check_headers(c, report, u);
        check_tls(c, report, u);
        la_conf_check_fastcgi(c, report, u);
        la_conf_check_memcached(c, report, u);
    }
    check_unique_servers(c, report);
    check_names(c, report);
}
