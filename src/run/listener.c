/* listener.c: listening sockets, and how a worker takes connections from them.
 *
 * TCP: one socket per worker (SO_REUSEPORT), so that the kernel spreads clients; Unix: one socket, of which each worker has
 * a descriptor of its own. A worker closes its own. A listener that a reload keeps stays open, because closing one of several
 * SO_REUSEPORT sockets resets what waits in its queue. Before a gate is closed its queue is emptied. The file of a Unix
 * socket goes before the last descriptor: from then on the path may be a successor's.
 *
 * Out of descriptors or over limits.clients a worker stops accepting and looks again when a client has left, at the
 * latest after 100 ms: connections wait in the kernel's queue. */
#include "process.h"
#include "lastack/sock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ACCEPTS_AT_ONCE 64
#define TURNS_TO_GROW   4
#define PAUSE_MS 100

/* ---- main thread ---- */

struct listener *la_listener_find(struct process *p, const struct la_addr *a)
{
    struct listener *l;
    la_list_each(&p->listeners, l, struct listener, node)
        if (la_addr_eq(&l->address, a))
            return l;
    return NULL;
}

struct listener *la_listener_ref(struct listener *l)
{
    atomic_fetch_add(&l->refs, 1);
    return l;
}

void la_listener_unref(struct listener **lp)
{
    struct listener *l = *lp;
    *lp = NULL;
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    free(l->fd);
    free(l->stats);
    free(l->name);
    free(l);
}

static void listener_forget(struct listener *l)
{
    la_list_remove(&l->node);
    la_listener_unref(&l);
}

/* No worker has seen it: closes its first n descriptors, too. */
static void listener_close(struct listener *l, unsigned n)
{
    la_sock_file_unlink(&l->file, &l->address);
    for (unsigned i = 0; i < n; i++)
        close(l->fd[i]);
    listener_forget(l);
}

static struct la_listen_options options_of(const struct la_conf_listen *c)
{
    return (struct la_listen_options){.reuse_port = true, .backlog = (int)c->backlog, .defer_accept_s = 1,
                                      .unix_mode = c->unix_mode, .user_timeout_ms = (unsigned)c->write_ms};
}

/* A Unix socket's file is the user's in any case: it will have to change its permissions. */
static int open_unix(struct rights *r, const struct la_addr *a, const struct la_listen_options *o)
{
    const char *path = a->u.un.sun_path;
    la_sock_unlink_stale(a); /* the user may not be allowed to ask whether it is */
    bool taken = la_rights_take(r, path);
    int fd = la_sock_listen(a, o);
    la_rights_back(r);
    if (fd >= 0 && r->to_drop && !taken && chown(path, r->uid, (gid_t)-1) != 0)
        la_log_warn("%s: cannot be given to `user`: %s", path, strerror(errno));
    return fd;
}

/* So that a reload can open another one beside it, a TCP socket is the user's, unless the port is shared with root's of another
 * process, or this root may not give it. */
static int open_tcp(const struct rights *r, const struct la_addr *a, struct la_listen_options o)
{
    o.owner = r->uid;
    int fd = la_sock_listen(a, &o);
    if (o.owner == 0 || (fd != -EADDRINUSE && fd != -EPERM))
        return fd;
    o.owner = 0;
    return la_sock_listen(a, &o);
}

static struct listener *listener_open(struct process *p, const struct la_conf_listen *c, int *err)
{
    bool is_unix = la_addr_family(&c->address) == AF_UNIX;
    struct la_listen_options o = options_of(c);
    struct listener *l = la_xcalloc(1, sizeof *l);
    atomic_store(&l->refs, 1);
    la_list_init(&l->node);
    l->address = c->address;
    l->name = la_xstrdup(c->name);
    l->fd = la_xcalloc(p->workers, sizeof *l->fd);
    l->stats = la_xcalloc(p->workers, sizeof *l->stats);
    for (unsigned i = 0; i < p->workers; i++) {
        l->fd[i] = !is_unix ? open_tcp(&p->rights, &c->address, o)
                   : i > 0  ? la_sock_dup(l->fd[0])
                            : open_unix(&p->rights, &c->address, &o);
        if (l->fd[i] < 0) {
            *err = -l->fd[i];
            listener_close(l, i);
            return NULL;
        }
        if (i == 0)
            l->file = la_sock_file_of(&l->address);
    }
    return l;
}

char *la_listen_error(const struct la_conf *conf, const char *key, const struct la_addr *a, int err, bool by_admin)
{
    const struct la_conf_pos *pos = la_conf_where(conf, "%s", key);
    char addr[LA_ADDR_TEXT];
    const char *cure = err == EADDRINUSE && by_admin ? "; this process has it as its admin.address, which stays until a restart"
                       : err == EADDRINUSE           ? "; another process uses it, choose another port or stop that one"
                       : err == EACCES               ? "; a port below 1024 or this path needs more rights"
                       : err == EADDRNOTAVAIL        ? "; this host has no such address"
                                                     : "";
    return la_xasprintf("%s:%u:%u: %s: cannot listen on %s: %s%s", pos->file, pos->line, pos->column, key, la_addr_text(a, addr),
                        strerror(err), cure);
}

bool la_listeners_open(struct process *p, const struct la_conf *conf, char **why)
{
    struct la_list opened;
    la_list_init(&opened);
    for (size_t i = 0; i < conf->listens; i++) {
        const struct la_conf_listen *c = &conf->listen[i];
        struct listener *l = la_listener_find(p, &c->address);
        if (l)
            continue;
        int err;
        l = listener_open(p, c, &err);
        if (l == NULL) {
            char key[64];
            snprintf(key, sizeof key, "listen[%zu].address", i);
            *why = la_listen_error(conf, key, &c->address, err, la_addr_overlap(&c->address, &p->admin_address));
            la_list_each(&opened, l, struct listener, node)
                listener_close(l, p->workers);
            return false;
        }
        la_list_push_back(&opened, &l->node);
    }
    struct listener *l;
    la_list_each(&opened, l, struct listener, node) {
        la_list_remove(&l->node);
        la_list_push_back(&p->listeners, &l->node);
    }
    return true;
}

/* Its counters go on; under the new name they begin with none, or a reader would take them for another listener's traffic. */
static void rename_to(struct listener *l, const char *name, unsigned workers)
{
    free(l->name);
    l->name = la_xstrdup(name);
    l->before = la_sum_clients(l->stats, workers);
}

void la_listeners_configure(struct process *p, const struct la_conf *conf)
{
    for (size_t i = 0; i < conf->listens; i++) {
        const struct la_conf_listen *c = &conf->listen[i];
        struct la_listen_options o = options_of(c);
        struct listener *l = la_listener_find(p, &c->address);
        la_assert(l != NULL);
        if (strcmp(l->name, c->name) != 0)
            rename_to(l, c->name, p->workers);
        int err = 0;
        for (unsigned k = 0; k < p->workers; k++)
            err = la_sock_relisten(l->fd[k], &c->address, &o);
        if (err)
            la_log_warn("listen %s: its permissions cannot be changed: %s", c->name, strerror(-err));
    }
}

void la_listeners_prune(struct process *p)
{
    const struct la_conf *conf = p->snapshot->conf;
    struct listener *l;
    la_list_each(&p->listeners, l, struct listener, node) {
        l->wanted = false;
        for (size_t i = 0; i < conf->listens; i++)
            l->wanted |= la_addr_eq(&l->address, &conf->listen[i].address);
        if (!l->wanted) {
            la_sock_file_unlink(&l->file, &l->address);
            listener_forget(l);
        }
    }
}

void la_listeners_leave(struct process *p)
{
    struct listener *l;
    la_list_each(&p->listeners, l, struct listener, node)
        la_sock_file_unlink(&l->file, &l->address);
}

void la_listeners_free(struct process *p)
{
    struct listener *l;
    la_list_each(&p->listeners, l, struct listener, node)
        listener_forget(l);
}

/* ---- counting clients by address ---- */

/* Never below none: those that were there before the first limit were not counted. */
static void count_down(_Atomic uint32_t *n)
{
    uint32_t was = atomic_load(n);
    while (was && !atomic_compare_exchange_weak(n, &was, was - 1))
        ;
}

/* Once there has been a limit, all are counted, whether it holds at present or not. */
static bool count_address(struct process *p, const struct la_addr *peer, bool comes)
{
    struct address_counts *counts = atomic_load_explicit(&p->addresses, memory_order_acquire);
    if (counts == NULL || peer->len == 0 || la_addr_family(peer) == AF_UNIX)
        return true;
    struct la_addr key = *peer;
    if (la_addr_family(peer) == AF_INET6)
        key.u.in6.sin6_scope_id = 0; /* not everybody who ends knows it */
    uint64_t h = la_addr_hash(&key, 1), max = atomic_load_explicit(&p->clients_per_address, memory_order_relaxed);
    _Atomic uint32_t *a = &counts->row[0][h % ADDRESS_SLOTS];
    _Atomic uint32_t *b = &counts->row[1][(h >> 32) % ADDRESS_SLOTS];
    if (!comes) {
        count_down(a);
        count_down(b);
        return true;
    }
    if (max && atomic_load(a) >= max && atomic_load(b) >= max)
        return false;
    atomic_fetch_add(a, 1);
    atomic_fetch_add(b, 1);
    return true;
}

/* ---- workers ---- */

static void pause_gates(struct worker *w)
{
    struct gate *g;
    w->paused = true;
    la_list_each(&w->gates, g, struct gate, node)
        if (g->fd >= 0)
            la_io_want(&g->io, 0);
    la_timer_set(&w->pause_timer, PAUSE_MS);
}

void la_gates_resume(struct worker *w)
{
    struct process *p = w->process;
    struct gate *g;
    if (!w->paused || w->draining)
        return;
    if (atomic_load(&p->clients) >= atomic_load(&p->clients_max)) {
        la_timer_set(&w->pause_timer, PAUSE_MS);
        return;
    }
    w->paused = false;
    la_timer_stop(&w->pause_timer);
    la_list_each(&w->gates, g, struct gate, node)
        if (g->fd >= 0)
            la_io_want(&g->io, LA_READ);
}

static bool on_client_named(struct la_door *d, const struct la_addr *peer)
{
    struct gate *g = la_container(d, struct gate, door);
    bool fine = count_address(g->worker->process, peer, true);
    if (!fine)
        la_log_limited(LA_LOG_WARN, 10000, "limits.clients_per_address reached: a client was refused");
    return fine;
}

static void on_client_end(struct la_door *d, const struct la_addr *peer)
{
    struct gate *g = la_container(d, struct gate, door);
    struct worker *w = g->worker;
    atomic_fetch_sub(&w->process->clients, 1);
    count_address(w->process, peer, false);
    if (w->paused)
        la_gates_resume(w);
    if (w->draining && !la_timer_is_set(&w->finish_timer))
        la_timer_set(&w->finish_timer, 1);
}

/* Takes one connection; false: no more now. */
static bool accept_one(struct gate *g)
{
    struct worker *w = g->worker;
    struct process *p = w->process;
    if (atomic_load_explicit(&p->clients, memory_order_relaxed) >= atomic_load_explicit(&p->clients_max, memory_order_relaxed)) {
        la_log_limited(LA_LOG_WARN, 10000, "limits.clients reached (%llu): new clients wait",
                       (unsigned long long)atomic_load(&p->clients_max));
        pause_gates(w);
        return false;
    }
    struct la_addr peer;
    int fd = la_sock_accept(g->fd, &peer);
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
        la_log_limited(LA_LOG_ERROR, 10000, "cannot accept clients: %s; raise the open files limit or lower limits.clients",
                       strerror(-fd));
        pause_gates(w);
        return false;
    }
    if (fd == -ECONNABORTED || fd == -EINTR || fd == -EPROTO)
        return true;
    if (fd < 0)
        return false;
    bool hop = g->door.front.proxy_nets && la_front_is_hop(&g->door.front, &peer); /* counted when it says for whom */
    if (!hop && !count_address(p, &peer, true)) {
        la_stat_add(&g->door.front.stats->refused, 1);
        la_log_limited(LA_LOG_WARN, 10000, "limits.clients_per_address reached: a client was refused");
        la_sock_reset(fd);
        return true;
    }
    atomic_fetch_add(&p->clients, 1);
    la_client_new(&g->door.front, fd, &peer);
    return true;
}

/* A turn accepts its quota without asking whether there is one more: mostly there is none, and the next turn is near. */
static void on_readable(struct la_io *io, int events)
{
    (void)events;
    struct gate *g = la_container(io, struct gate, io);
    for (uint8_t i = 0; i < g->quota; i++)
        if (!accept_one(g)) {
            g->quota = i > 1 ? i : 1;
            g->full = 0;
            return;
        }
    if (++g->full == TURNS_TO_GROW) {
        g->quota = (uint8_t)la_min64(2u * g->quota, ACCEPTS_AT_ONCE);
        g->full = 0;
    }
}

static void gate_close(struct gate *g)
{
    if (g->fd < 0)
        return;
    la_io_stop(&g->io);
    for (int i = 0; i < 100000 && accept_one(g); i++) /* who has connected already is served */
        ;
    la_io_stop(&g->io);
    close(g->fd);
    g->fd = -1;
}

static void gate_free(struct gate *g)
{
    la_io_stop(&g->io);
    la_door_fini(&g->door);
    la_listener_unref(&g->listener);
    la_list_remove(&g->node);
    free(g);
}

static struct gate *gate_open(struct worker *w, struct listener *l)
{
    struct gate *g = la_xcalloc(1, sizeof *g);
    la_list_init(&g->node);
    la_list_push_back(&w->gates, &g->node);
    g->worker = w;
    g->listener = la_listener_ref(l);
    g->quota = 1;
    g->fd = l->fd[w->index];
    la_door_init(&g->door, &w->proxy, &l->stats[w->index]);
    g->door.on_client_named = on_client_named;
    g->door.on_client_end = on_client_end;
    la_io_init(&g->io, w->loop, g->fd, on_readable);
    if (!w->paused)
        la_io_want(&g->io, LA_READ);
    return g;
}

/* Its clients speak what they began with, and are let go; the socket is another gate's from now on. */
static void gate_retire(struct gate *g)
{
    la_io_stop(&g->io);
    g->fd = -1;
    g->door.front.draining = true;
    la_front_drain(&g->door.front);
}

void la_gates_apply(struct worker *w, const struct la_snapshot *s, struct listener *const *listener)
{
    const struct la_conf *conf = s->conf;
    struct gate *g;
    la_list_each(&w->gates, g, struct gate, node)
        g->wanted = false;
    for (size_t i = 0; i < conf->listens; i++) {
        struct gate *found = NULL;
        la_list_each(&w->gates, g, struct gate, node)
            if (g->listener == listener[i] && g->fd >= 0)
                found = g;
        if (found && found->door.front.protocol != la_client_protocol_find(conf->listen[i].protocol)) {
            gate_retire(found);
            found = NULL;
        }
        if (found == NULL)
            found = gate_open(w, listener[i]);
        found->wanted = true;
        la_door_configure(&found->door, &conf->listen[i], s->certs->listen[i]);
    }
    la_list_each(&w->gates, g, struct gate, node) {
        if (!g->wanted && g->fd >= 0) {
            g->door.front.draining = true;
            gate_close(g);
            la_front_drain(&g->door.front);
        }
        if (g->fd < 0 && g->door.front.clients == 0 && g->door.front.unheard == 0 && g->door.users == 0)
            gate_free(g);
    }
}

void la_gates_drain(struct worker *w)
{
    struct gate *g;
    la_list_each(&w->gates, g, struct gate, node) {
        gate_close(g);
        la_front_drain(&g->door.front);
    }
}

void la_gates_free(struct worker *w)
{
    struct gate *g;
    la_list_each(&w->gates, g, struct gate, node) {
        if (g->fd >= 0)
            close(g->fd);
        gate_free(g);
    }
}
