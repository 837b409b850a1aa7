/* plan.c: from a configuration to the objects that workers share: upstreams, servers with their ledgers; and the names
 * among the servers, resolved.
 *
 * A server that the present snapshot has, with the same upstream, address and sources, is taken over with its budget, clock,
 * health and counters. Main thread. */
#include "process.h"
#include "lastack/diag.h"
#include "lastack/proxy_header.h"

#include <stdio.h>
#include <stdlib.h>

/* A server name that is being watched. */
struct name {
    struct la_list node;
    struct process *process;
    char *host;
    uint16_t port;
    struct la_watch *watch;
    struct la_addr *addr;
    size_t addrs;
    bool answered, wanted;
};

static struct name *name_find(struct process *p, const char *host, uint16_t port)
{
    struct name *n;
    la_list_each(&p->names, n, struct name, node)
        if (n->port == port && strcmp(n->host, host) == 0)
            return n;
    return NULL;
}

static void on_change(void *arg, const struct la_addr *a, size_t count, const char *err)
{
    struct name *n = arg;
    n->answered = true;
    if (err)
        la_log_warn("name %s: %s; %zu known addresses are kept", n->host, err, n->addrs);
    if (count == 0 && n->addrs == 0)
        return;
    free(n->addr);
    n->addr = la_xcalloc(count, sizeof *a);
    if (count)
        memcpy(n->addr, a, count * sizeof *a);
    n->addrs = count;
    if (n->process->snapshot)
        la_process_replan(n->process);
}

static void name_free(struct name *n)
{
    la_watch_drop(&n->watch);
    la_list_remove(&n->node);
    free(n->addr);
    free(n->host);
    free(n);
}

void la_names_watch(struct process *p, const struct la_conf *conf)
{
    struct name *n;
    la_list_each(&p->names, n, struct name, node)
        n->wanted = false;
    for (size_t i = 0; i < conf->upstreams; i++)
        for (size_t k = 0; k < conf->upstream[i].servers; k++) {
            const struct la_conf_server *s = &conf->upstream[i].server[k];
            if (s->host == NULL)
                continue;
            n = name_find(p, s->host, s->port);
            if (n == NULL) {
                n = la_xcalloc(1, sizeof *n);
                n->process = p;
                n->host = la_xstrdup(s->host);
                n->port = s->port;
                la_list_init(&n->node);
                la_list_push_back(&p->names, &n->node);
                n->watch = la_resolver_watch(p->resolver, n->host, n->port, on_change, n);
            }
            n->wanted = true;
        }
    la_list_each(&p->names, n, struct name, node)
        if (!n->wanted)
            name_free(n);
}

void la_names_free(struct process *p)
{
    struct name *n;
    la_list_each(&p->names, n, struct name, node)
        name_free(n);
}

bool la_names_settled(const struct process *p)
{
    for (struct la_list *l = p->names.next; l != &p->names; l = l->next)
        if (!la_container(l, struct name, node)->answered)
            return false;
    return true;
}

/* ---- servers ---- */

static bool same_sources(const struct la_server *s, const struct la_conf_upstream *u)
{
    if (s->ledger == NULL)
        return true;
    if (u->sources == 0)
        return s->ledger->pairs == 1 && s->ledger->pair[0].source.len == 0;
    if (s->ledger->pairs != u->sources)
        return false;
    for (size_t i = 0; i < u->sources; i++) {
        const struct la_port_pair *p = &s->ledger->pair[i];
        const struct la_conf_source *c = &u->source[i];
        bool own = c->port_low != 0;
        if (!la_addr_eq(&p->source, &c->address) || p->own_range != own ||
            (own && (p->port_low != c->port_low || p->port_high != c->port_high)))
            return false;
    }
    return true;
}

static struct la_server *server_before(const struct la_snapshot *before, const struct la_conf_upstream *u,
                                       const char *label, const struct la_addr *addr, const struct la_tls *tls)
{
    for (unsigned i = 0; before && i < before->plans; i++) {
        if (strcmp(before->plan[i].conf->name, u->name) != 0)
            continue;
        for (unsigned k = 0; k < before->plan[i].servers; k++) {
            struct la_server *s = before->plan[i].server[k];
            if (la_addr_eq(&s->addr, addr) && strcmp(s->label, label) == 0 && same_sources(s, u) &&
                la_tls_same(s->tls, tls) && s->send_proxy == u->send_proxy)
                return s;
        }
    }
    return NULL;
}

static void make_ledger(struct la_server *s, const struct la_conf_upstream *u)
{
    uint16_t low = 32768, high = 60999;
    if (la_addr_family(&s->addr) == AF_UNIX)
        return;
    la_diag_port_range(&low, &high);
    struct la_source_spec *spec = la_xcalloc(u->sources, sizeof *spec);
    for (size_t i = 0; i < u->sources; i++)
        spec[i] = (struct la_source_spec){u->source[i].address, u->source[i].port_low, u->source[i].port_high};
    s->ledger = la_ledger_new(&s->addr, spec, u->sources, low, high, la_diag_usable_ports);
    s->port_gate = la_xcalloc(s->ledger->pairs, sizeof *s->port_gate);
    free(spec);
}

/* What its connections are to be: encrypted, to a name, with a header before everything. */
static void make_identity(struct la_server *s, const struct la_conf_upstream *u, const struct la_conf_server *c, struct la_tls *tls)
{
    char ip[LA_ADDR_TEXT];
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
        s->tls_name = la_xstrdup(c->host);
    else if (la_addr_family(&s->addr) != AF_UNIX)
        s->tls_name = la_xstrdup(la_addr_host_text(&s->addr, ip));
}

static void add_server(struct process *p, struct la_upstream_plan *plan, const struct la_conf_server *c, const char *label,
                       const struct la_addr *addr, struct la_tls *tls, const struct la_snapshot *before)
{
    const struct la_conf_upstream *u = plan->conf;
    struct la_server *s = server_before(before, u, label, addr, tls);
    if (s) {
        la_server_ref(s);
    } else {
        s = la_server_new(u->name, label, addr, p->workers);
        make_ledger(s, u);
        make_identity(s, u, c, tls);
    }
    unsigned max = u->pool.max, now = (unsigned)atomic_load(&s->max);
    if (u->pool.ranges && now) /* found before: kept as far as it is allowed */
        max = now < u->pool.range[0] ? u->pool.range[0] : now > u->pool.range[1] ? u->pool.range[1] : now;
    atomic_store(&s->max, (int)max);
    atomic_store(&s->tunnels_max, (int)(u->pool.tunnels < max ? u->pool.tunnels : max));
    unsigned n = plan->servers++;
    plan->server = la_xrealloc(plan->server, plan->servers * sizeof(struct la_server *));
    plan->server_conf = la_xrealloc((void *)(uintptr_t)plan->server_conf, plan->servers * sizeof(struct la_conf_server *));
    plan->server[n] = s;
    plan->server_conf[n] = c;
}

static void add_servers(struct process *p, struct la_upstream_plan *plan, const struct la_conf_server *c,
                        struct la_tls *tls, const struct la_snapshot *before)
{
    if (c->host == NULL) {
        add_server(p, plan, c, c->text, &c->address, tls, before);
        return;
    }
    struct name *n = name_find(p, c->host, c->port);
    for (size_t i = 0; n && i < n->addrs; i++) {
        char label[512], addr[LA_ADDR_TEXT];
        snprintf(label, sizeof label, "%s@%s", c->text, la_addr_text(&n->addr[i], addr));
        add_server(p, plan, c, label, &n->addr[i], tls, before);
    }
}

struct la_snapshot *la_plan_make(struct process *p, struct la_conf *conf, struct la_certs *certs, const struct la_snapshot *before)
{
    struct la_upstream_plan *plan = la_xcalloc(conf->upstreams, sizeof *plan);
    for (size_t i = 0; i < conf->upstreams; i++) {
        const struct la_conf_upstream *u = &conf->upstream[i];
        plan[i].conf = u;
        for (unsigned k = 0; before && k < before->plans && plan[i].shared == NULL; k++)
            if (strcmp(before->plan[k].conf->name, u->name) == 0)
                plan[i].shared = la_upstream_ref(before->plan[k].shared);
        if (plan[i].shared == NULL)
            plan[i].shared = la_upstream_new(u->name, p->workers);
        for (size_t k = 0; k < u->servers; k++)
            add_servers(p, &plan[i], &u->server[k], certs->upstream[i], before);
    }
    bool shared = before && before->conf == conf;
    return la_snapshot_new(conf, certs, shared ? before : NULL, plan, (unsigned)conf->upstreams);
}
