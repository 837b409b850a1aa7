/* names.c: server names of the configuration, watched: which addresses each has now.
 *
 * Owns: the resolver, one watch a name. Never: what an upstream does with the addresses (plan.c). When they change, the
 * present configuration is planned again. Main thread. */
#include "process.h"

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
    bool answered;
};

static struct name *name_find(const struct process *p, const char *host, uint16_t port)
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
    if (count == 0)
        return;
    free(n->addr);
    n->addr = la_xcalloc(count, sizeof *a);
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

static void name_watch(struct process *p, const char *host, uint16_t port)
{
    struct name *n = la_xcalloc(1, sizeof *n);
    n->process = p;
    n->host = la_xstrdup(host);
    n->port = port;
    la_list_init(&n->node);
    la_list_push_back(&p->names, &n->node);
    n->watch = la_resolver_watch(p->resolver, n->host, n->port, on_change, n);
}

void la_names_watch(struct process *p, const struct la_conf *conf)
{
    for (size_t i = 0; i < conf->upstreams; i++)
        for (size_t k = 0; k < conf->upstream[i].servers; k++) {
            const struct la_conf_server *s = &conf->upstream[i].server[k];
            if (s->host && name_find(p, s->host, s->port) == NULL)
                name_watch(p, s->host, s->port);
        }
}

bool la_names_resolver(struct process *p, const struct la_conf *conf)
{
    struct la_resolver_conf c = {conf->resolver.server, conf->resolver.servers, conf->resolver.max_ttl_ms};
    if (p->resolver && la_resolver_is(p->resolver, &c))
        return true;
    struct la_resolver *r = la_resolver_new(p->loop, &c);
    if (r == NULL)
        return false;
    struct name *n;
    la_list_each(&p->names, n, struct name, node) {
        la_watch_drop(&n->watch);
        n->answered = false;
        n->watch = la_resolver_watch(r, n->host, n->port, on_change, n);
    }
    if (p->resolver)
        la_resolver_free(p->resolver);
    p->resolver = r;
    return true;
}

static bool name_wanted(const struct name *n, const struct la_conf *conf)
{
    for (size_t i = 0; i < conf->upstreams; i++)
        for (size_t k = 0; k < conf->upstream[i].servers; k++) {
            const struct la_conf_server *s = &conf->upstream[i].server[k];
            if (s->host && s->port == n->port && strcmp(s->host, n->host) == 0)
                return true;
        }
    return false;
}

void la_names_prune(struct process *p)
{
    struct name *n;
    la_list_each(&p->names, n, struct name, node)
        if (!name_wanted(n, p->snapshot->conf))
            name_free(n);
}

const struct la_addr *la_names_of(const struct process *p, const char *host, uint16_t port, size_t *n)
{
    const struct name *found = name_find(p, host, port);
    *n = found ? found->addrs : 0;
    return found ? found->addr : NULL;
}

void la_names_free(struct process *p)
{
    struct name *n;
    la_list_each(&p->names, n, struct name, node)
        name_free(n);
    if (p->resolver)
        la_resolver_free(p->resolver);
}

bool la_names_settled(const struct process *p)
{
    for (struct la_list *l = p->names.next; l != &p->names; l = l->next)
        if (!la_container(l, struct name, node)->answered)
            return false;
    return true;
}
