/* plan.c: from a configuration to the objects that workers share: upstreams, servers with their ledgers.
 *
 * A server with the same upstream, address, protocol, sources and ports as one that is there is that one, with its budget, clock,
 * health and counters: also when no configuration has named it for a while, as long as a connection of it is left. Another
 * one at the address of a server that is named no more (an upstream with a new name, other certificates) takes its budget
 * over, so that the cap holds while connections of both are open. One of the same upstream and label counts on where the one before
 * has counted. Main thread. */
#include "process.h"
#include "lastack/diag.h"
#include "lastack/proxy_header.h"

#include <stdio.h>
#include <stdlib.h>

static void look_at_ports(struct process *p)
{
    p->port_low = 32768;
    p->port_high = 60999;
    la_diag_port_range(&p->port_low, &p->port_high);
    p->ports = la_diag_usable_ports(p->port_low, p->port_high);
}

/* Those that the kernel picks its ports from are the same ones, or an own range can still be left to the kernel, or not. */
static bool same_ports(const struct process *p, const struct la_port_pair *pair)
{
    if (pair->own_range)
        return pair->in_sysctl_range == (pair->port_low >= p->port_low && pair->port_high <= p->port_high);
    return pair->port_low == p->port_low && pair->port_high == p->port_high && pair->ports == p->ports;
}

/* The upstream's sources from which this address can be dialed, those of its family: at most u->sources, into out unless it is
 * NULL. Returns how many. */
static size_t sources_for(const struct la_addr *addr, const struct la_conf_upstream *u, struct la_source_spec *out)
{
    size_t n = 0;
    for (size_t i = 0; i < u->sources; i++)
        if (la_addr_family(&u->source[i].address) == la_addr_family(addr)) {
            if (out)
                out[n] = (struct la_source_spec){u->source[i].address, u->source[i].port_low, u->source[i].port_high};
            n++;
        }
    return n;
}

static bool same_spec(const struct la_port_pair *pair, const struct la_source_spec *c)
{
    bool own = c->port_low != 0;
    return la_addr_eq(&pair->source, &c->address) && pair->own_range == own &&
           (!own || (pair->port_low == c->port_low && pair->port_high == c->port_high));
}

static bool same_sources(const struct process *p, const struct la_server *s, const struct la_conf_upstream *u)
{
    if (s->ledger == NULL)
        return true;
    for (size_t i = 0; i < s->ledger->pairs; i++)
        if (!same_ports(p, &s->ledger->pair[i]))
            return false;
    if (u->sources == 0)
        return s->ledger->pairs == 1 && s->ledger->pair[0].source.len == 0;
    struct la_source_spec *spec = la_xcalloc(u->sources, sizeof *spec);
    bool same = s->ledger->pairs == sources_for(&s->addr, u, spec);
    for (size_t i = 0; same && i < s->ledger->pairs; i++)
        same = same_spec(&s->ledger->pair[i], &spec[i]);
    free(spec);
    return same;
}

/* A server of an upstream, at one of its addresses. */
struct entry {
    struct la_upstream_plan *plan;
    const struct la_conf_server *conf;
    const char *label;
    const struct la_addr *addr;
    struct la_tls *tls;
};

static bool is_same(const struct process *p, const struct la_server *s, const struct entry *e)
{
    const struct la_conf_upstream *u = e->plan->conf;
    return strcmp(s->upstream, u->name) == 0 && strcmp(s->label, e->label) == 0 && la_addr_eq(&s->addr, e->addr) &&
           s->protocol == u->protocol && s->send_proxy == u->send_proxy && la_tls_same(s->tls, e->tls) && same_sources(p, s, u);
}

static struct la_server *server_named(const struct process *p, const struct entry *e)
{
    for (size_t i = 0; i < p->servers; i++)
        if (p->server[i]->named && is_same(p, p->server[i], e))
            return p->server[i];
    return NULL;
}

/* Is the budget of one that is not named that of one that is? */
static bool is_replaced(const struct process *p, const struct la_server *s)
{
    for (size_t i = 0; i < p->servers && !s->named; i++)
        if (p->server[i]->named && p->server[i]->budget == s->budget)
            return true;
    return false;
}

/* First of all those that stay. */
static void name_present(struct process *p, const struct entry *e)
{
    for (size_t i = 0; i < p->servers; i++)
        p->server[i]->named |= p->server[i]->present && is_same(p, p->server[i], e);
}

/* One that was left returns, if its budget is its own. */
static void name_left(struct process *p, const struct entry *e)
{
    for (size_t i = 0; i < p->servers && server_named(p, e) == NULL; i++)
        p->server[i]->named = p->server[i]->named || (is_same(p, p->server[i], e) && !is_replaced(p, p->server[i]));
}

/* One at this address whose budget is nobody's any more. */
static struct la_server *server_left(const struct process *p, const struct la_addr *addr)
{
    for (size_t i = 0; i < p->servers; i++) {
        struct la_server *s = p->server[i];
        if (la_addr_eq(&s->addr, addr) && !s->named && !is_replaced(p, s))
            return s;
    }
    return NULL;
}

/* Lets go of what nobody else has: no snapshot names it, and no worker has a connection of it. */
static void forget_unused(struct process *p)
{
    size_t servers = 0, upstreams = 0;
    for (size_t i = 0; i < p->servers; i++)
        if (atomic_load(&p->server[i]->refs) > 1)
            p->server[servers++] = p->server[i];
        else
            la_server_unref(&p->server[i]);
    for (size_t i = 0; i < p->upstreams; i++)
        if (atomic_load(&p->upstream[i]->refs) > 1)
            p->upstream[upstreams++] = p->upstream[i];
        else
            la_upstream_unref(&p->upstream[i]);
    p->servers = servers;
    p->upstreams = upstreams;
}

static struct la_server *server_of_name(const struct process *p, const struct entry *e)
{
    for (size_t i = 0; i < p->servers; i++)
        if (strcmp(p->server[i]->upstream, e->plan->conf->name) == 0 && strcmp(p->server[i]->label, e->label) == 0)
            return p->server[i];
    return NULL;
}

static void make_ledger(const struct process *p, struct la_server *s, const struct la_conf_upstream *u)
{
    if (la_addr_family(&s->addr) == AF_UNIX)
        return;
    struct la_source_spec *spec = la_xcalloc(u->sources, sizeof *spec);
    s->ledger = la_ledger_new(&s->addr, spec, sources_for(&s->addr, u, spec), p->port_low, p->port_high, la_diag_usable_ports);
    s->port_gate = la_xcalloc(s->ledger->pairs, sizeof *s->port_gate);
    free(spec);
}

/* What its connections are to be: of this protocol, encrypted, to a name, with a header before everything. */
static void make_identity(struct la_server *s, const struct la_conf_upstream *u, const struct la_conf_server *c, struct la_tls *tls)
{
    char ip[LA_ADDR_TEXT];
    s->protocol = u->protocol;
    s->send_proxy = u->send_proxy;
    if (u->send_proxy) {
        char header[LA_PROXY_HEADER_WRITTEN];
        size_t n = la_proxy_header_write(header, (int)u->send_proxy, NULL, NULL);
        la_assert(n <= sizeof s->preface);
        memcpy(s->preface, header, n);
        s->preface_n = (uint8_t)n;
    }
    if (tls == NULL)
        return;
    s->tls = la_tls_ref(tls);
    s->tls_slot = la_tls_slot_new();
    if (u->tls.server_name)
        s->tls_name = la_xstrdup(u->tls.server_name);
    else if (c->host)
        s->tls_name = la_xstrndup(c->host, strlen(c->host) - (c->host[strlen(c->host) - 1] == '.')); /* no certificate has the dot */
    else if (la_addr_family(&s->addr) != AF_UNIX)
        s->tls_name = la_xstrdup(la_addr_host_text(&s->addr, ip));
}

static struct la_server *server_make(struct process *p, const struct entry *e)
{
    const struct la_conf_upstream *u = e->plan->conf;
    struct la_server *s = la_server_new(u->name, e->label, e->addr, p->workers), *before = server_left(p, e->addr);
    struct la_server *of_name = server_of_name(p, e);
    make_ledger(p, s, u);
    make_identity(s, u, e->conf, e->tls);
    if (before)
        la_server_take_over(s, before);
    if (of_name)
        la_server_count_on(s, of_name);
    la_server_name_sources(s);
    s->named = true;
    p->server = la_xrealloc(p->server, (p->servers + 1) * sizeof(struct la_server *));
    p->server[p->servers++] = s;
    return s;
}

static void add_server(struct process *p, const struct entry *e)
{
    struct la_upstream_plan *plan = e->plan;
    const struct la_conf_upstream *u = plan->conf;
    struct la_server *s = server_named(p, e);
    if (s == NULL)
        s = server_make(p, e);
    unsigned max = u->pool.max, now = (unsigned)atomic_load(&s->max);
    if (u->pool.ranges && now) /* found before: kept as far as it is allowed */
        max = now < u->pool.range[0] ? u->pool.range[0] : now > u->pool.range[1] ? u->pool.range[1] : now;
    if (u->protocol == LA_PROTO_MEMCACHED && max < p->workers) /* the file's number of workers may be smaller than what runs */
        max = p->workers;
    atomic_store(&s->max, (int)max);
    atomic_store(&s->tunnels_max, (int)la_conf_tunnels(u, max));
    unsigned n = plan->servers++;
    plan->server = la_xrealloc(plan->server, plan->servers * sizeof(struct la_server *));
    plan->server_conf = la_xrealloc((void *)(uintptr_t)plan->server_conf, plan->servers * sizeof(struct la_conf_server *));
    plan->server[n] = la_server_ref(s);
    plan->server_conf[n] = e->conf;
}

/* An address that a name has besides those that can be used: the configuration has sources, and none of its family. */
static bool cannot_be_dialed(const struct la_conf_upstream *u, const struct la_conf_server *c, const struct la_addr *addr)
{
    char text[LA_ADDR_TEXT];
    if (u->sources == 0 || sources_for(addr, u, NULL) > 0)
        return false;
    la_log_limited(LA_LOG_WARN, 60000, "upstream %s: %s is also %s, which is left out: upstreams.%s.source has no address of that family", u->name,
                   c->text, la_addr_text(addr, text), u->name);
    return true;
}

static void each_server(struct process *p, struct la_upstream_plan *plan, struct la_tls *tls,
                        void (*cb)(struct process *p, const struct entry *e))
{
    for (size_t k = 0; k < plan->conf->servers; k++) {
        const struct la_conf_server *c = &plan->conf->server[k];
        struct entry e = {plan, c, c->text, &c->address, tls};
        if (c->host == NULL) {
            cb(p, &e);
            continue;
        }
        size_t n;
        const struct la_addr *a = la_names_of(p, c->host, c->port, &n);
        for (size_t i = 0; i < n; i++) {
            char label[512], addr[LA_ADDR_TEXT];
            if (cannot_be_dialed(plan->conf, c, &a[i]))
                continue;
            snprintf(label, sizeof label, "%s@%s", c->text, la_addr_text(&a[i], addr));
            e.label = label;
            e.addr = &a[i];
            cb(p, &e);
        }
    }
}

static struct la_upstream *upstream_for(struct process *p, const struct la_conf_upstream *conf)
{
    for (size_t i = 0; i < p->upstreams; i++)
        if (strcmp(p->upstream[i]->name, conf->name) == 0 && p->upstream[i]->protocol == conf->protocol)
            return la_upstream_ref(p->upstream[i]);
    struct la_upstream *u = la_upstream_new(conf->name, conf->protocol, p->workers);
    p->upstream = la_xrealloc(p->upstream, (p->upstreams + 1) * sizeof(struct la_upstream *));
    p->upstream[p->upstreams++] = u;
    return la_upstream_ref(u);
}

struct la_snapshot *la_plan_make(struct process *p, struct la_conf *conf, struct la_certs *certs)
{
    const struct la_snapshot *before = p->snapshot;
    forget_unused(p);
    bool shared = before && before->conf == conf;
    if (!shared)
        look_at_ports(p);
    struct la_upstream_plan *plan = la_xcalloc(conf->upstreams, sizeof *plan);
    for (size_t i = 0; i < p->servers; i++) {
        p->server[i]->present = p->server[i]->named;
        p->server[i]->named = false;
    }
    for (size_t i = 0; i < conf->upstreams; i++) {
        plan[i].conf = &conf->upstream[i];
        plan[i].shared = upstream_for(p, plan[i].conf);
    }
    static void (*const step[])(struct process *p, const struct entry *e) = {name_present, name_left, add_server};
    for (size_t k = 0; k < la_count(step); k++)
        for (size_t i = 0; i < conf->upstreams; i++)
            each_server(p, &plan[i], certs->upstream[i], step[k]);
    for (size_t i = 0; i < p->servers; i++)
        atomic_store(&p->server[i]->replaced, is_replaced(p, p->server[i]));
    return la_snapshot_new(conf, certs, shared ? before : NULL, plan, (unsigned)conf->upstreams);
}

/* Is there one of its name that is named, or before it? */
static bool is_counted(const struct process *p, size_t at)
{
    for (size_t i = 0; i < p->servers; i++)
        if ((p->server[i]->named || i < at) && p->server[i]->tally == p->server[at]->tally)
            return true;
    return false;
}

void la_plan_report(struct process *p)
{
    p->state.removed = la_xrealloc(p->state.removed, (p->servers + 1) * sizeof(struct la_server *));
    p->state.removed_n = 0;
    for (size_t i = 0; i < p->servers; i++)
        if (!is_counted(p, i))
            p->state.removed[p->state.removed_n++] = p->server[i];
}

void la_plan_free(struct process *p)
{
    free(p->state.removed);
    for (size_t i = 0; i < p->servers; i++)
        la_server_unref(&p->server[i]);
    for (size_t i = 0; i < p->upstreams; i++)
        la_upstream_unref(&p->upstream[i]);
    free(p->server);
    free(p->upstream);
}
