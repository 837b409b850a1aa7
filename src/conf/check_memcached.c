/* check_memcached.c: what only upstreams of memcached servers have: defaults that depend on others,
 * references to other upstreams, and values that mean nothing there.
 *
 * A pipelined connection is never idle and each worker owns its share, so there must be at least one for
 * each. */
#include "conf/load.h"

#include <sched.h>

unsigned la_conf_workers(const struct la_conf *c)
{
    if (c->workers)
        return c->workers;
    cpu_set_t set;
    unsigned n = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    unsigned quota = la_conf_quota_cpus();
    return quota && quota < n ? quota : n ? n : 1;
}

static bool written(const struct la_conf *c, const struct la_conf_upstream *u, const char *key)
{
    return la_marks_find(c->own, la_arena_printf(&c->own->arena, "upstreams.%s.%s", u->name, key)) != NULL;
}

void la_conf_finish_memcached(struct la_conf *c, struct la_conf_upstream *u)
{
    if (!written(c, u, "timeouts.response"))
        u->timeouts.response_ms = 1000;
    if (!written(c, u, "memcached.hash") && u->memcached.distribution == LA_KETAMA)
        u->memcached.hash = LA_HASH_MD5;
    if (u->memcached.key_hash)
        u->memcached.hash = (enum la_keyhash)(u->memcached.key_hash - 1);
    else if (u->memcached.distribution == LA_KETAMA_UNWEIGHTED && u->memcached.hash == LA_HASH_MD5)
        u->memcached.hash = LA_HASH_ONE_AT_A_TIME;
}

static void check_other(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u,
                        const char *key, const char *name)
{
    const char *path = la_path(c, "upstreams.%s.memcached.%s", u->name, key);
    if (name == NULL)
        return;
    const struct la_conf_upstream *other = la_conf_find_upstream(c, name);
    if (other == NULL)
        la_conf_complain(c, r, false, path, "there is no upstream \"%.64s\"", name);
    else if (other == u)
        la_conf_complain(c, r, false, path, "names its own upstream");
    else if (other->protocol != LA_PROTO_MEMCACHED)
        la_conf_complain(c, r, false, path, "upstream \"%s\" is %s, not memcached", name,
                         la_protocol_name(other->protocol));
}

/* Keys of requests, responses and idle connections: there are none of these. */
static void check_without_effect(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    static const char *const keys[] = {
        "pool.tunnels", "pool.idle_reuse", "pool.idle_close", "pool.abort_wait", "pool.drain_max", "queue", "timeouts.send",
        "timeouts.tunnel", "buffer.request_mode", "retry", "connection_auth", "health.path", "health.host", "health.unhealthy",
        "health.healthy", "request_headers"};
    for (size_t i = 0; i < la_count(keys); i++)
        if (written(c, u, keys[i]))
            la_conf_complain(c, r, true, la_path(c, "upstreams.%s.%s", u->name, keys[i]), "has no effect on memcached servers");
    for (size_t i = 0; i < u->servers; i++)
        if (u->server[i].backup || u->server[i].drain || u->server[i].slow_start_ms)
            la_report_add(r, true, &u->server[i].pos, la_path(c, "upstreams.%s.servers[%zu]", u->name, i),
                          "backup, drain and slow_start have no effect on memcached servers: a key has one place");
    for (size_t i = 0; i < u->servers; i++)
        if (u->server[i].weight > 1 &&
            (u->memcached.distribution == LA_MODULA || u->memcached.distribution == LA_JUMP))
            la_report_add(r, true, &u->server[i].pos, la_path(c, "upstreams.%s.servers[%zu]", u->name, i),
                          "weight has no effect with memcached.distribution modula or jump: ketama has weights");
}

void la_conf_check_memcached(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    if (u->protocol != LA_PROTO_MEMCACHED) {
        if (written(c, u, "memcached"))
            la_conf_complain(c, r, false, la_path(c, "upstreams.%s.memcached", u->name),
                             "is for `protocol: memcached`, this upstream is %s", la_protocol_name(u->protocol));
        return;
    }
    unsigned workers = la_conf_workers(c);
    if (u->pool.max < workers)
        la_conf_complain(
            c, r, false, la_path(c, "upstreams.%s.pool.max", u->name),
            "%u is less than the number of workers (%u): each worker needs a connection of its own to a "
            "memcached server",
            u->pool.max, workers);
    if (u->servers > 64)
        la_conf_complain(c, r, false, la_path(c, "upstreams.%s.servers", u->name),
                         "%zu servers, at most 64 can share the keys of one upstream", u->servers);
    check_other(c, r, u, "failover", u->memcached.failover);
    check_other(c, r, u, "warm_from", u->memcached.warm_from);
    if (written(c, u, "balance") || written(c, u, "hash_key"))
        la_conf_complain(c, r, true, la_path(c, "upstreams.%s.balance", u->name),
                         "has no effect: memcached.distribution says where a key is");
    check_without_effect(c, r, u);
}
