/* resolver.c: server names to addresses, with c-ares.
 *
 * Owns: one c-ares channel, the watchers of its sockets, its timer, and the watches. Never blocks, never
 * decides what an upstream does with a changed set; only c-ares owns the sockets.
 *
 * The good path of a watch: ask (A and AAAA together) -> answered: the set is sorted, and reported when it
 * differs from the last one reported -> asked again when the shortest TTL ends, at least a second and at most
 * max_ttl later.
 *
 * What can fail: a lookup. What is known stays known (a name server that is down must not empty an upstream);
 * asked again after a pause that doubles from 1 s to max_ttl. When a whole family is missing from an answer
 * that came with timeouts, that half of the lookup failed: the family's old addresses stay, too.
 *
 * on_change is called from the loop, never from inside c-ares or a call of ours, so that it may drop its
 * watch. A query cannot be called back: a watch that is dropped meanwhile stays, forgotten, until its query
 * ends.
 *
 * resolv.conf is read when the resolver is made; la_resolver_is says whether it would read another one now. One thread, the
 * main one. */
#include "lastack/resolver.h"
#include "lastack/log.h"

#include <ares.h>
#include <stdlib.h>
#include <sys/stat.h>

#define RESOLV_CONF    "/etc/resolv.conf"
#define FIRST_PAUSE_MS 1000u
#define TRY_MS         1000 /* per server; doubled for the second try */
#define TRIES          2
#define MOST_ADDRESSES 256u /* of one name; what is beyond is left out */

struct la_resolver {
    struct la_loop *loop;
    ares_channel channel;
    struct la_timer timer; /* what c-ares waits for */
    struct la_list sockets;
    struct la_list watches;
    struct la_addr *server; /* as given */
    size_t servers;
    struct stat system; /* of resolv.conf as it was read */
    uint64_t max_ttl_ms;
};

struct dns_socket {
    struct la_list node;
    struct la_io io;
    struct la_resolver *r;
};

struct la_watch {
    struct la_list node;
    struct la_resolver *r;
    char *name;
    uint16_t port;
    void (*on_change)(void *arg, const struct la_addr *a, size_t n, const char *err);
    void *arg;
    struct la_timer again;
    struct la_idle report; /* on_change is due */
    struct la_addr *known;
    size_t n;
    const char *err; /* of the first lookup, until it is reported */
    uint64_t pause_ms;
    bool asking, dropped, told; /* told: on_change was called at least once, or will be */
};

/* ---- c-ares and the loop ---- */

static void arm(struct la_resolver *r)
{
    struct timeval tv, *next = ares_timeout(r->channel, NULL, &tv);
    if (next)
        la_timer_set(&r->timer, (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1);
    else
        la_timer_stop(&r->timer);
}

static void on_timer(struct la_timer *t)
{
    struct la_resolver *r = la_container(t, struct la_resolver, timer);
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(r);
}

static void on_socket(struct la_io *io, int events)
{
    struct dns_socket *s = la_container(io, struct dns_socket, io);
    struct la_resolver *r = s->r;
    int fd = la_io_fd(io);
    /* s may be gone after this. */
    ares_process_fd(r->channel, events & LA_READ ? fd : ARES_SOCKET_BAD,
                    events & LA_WRITE ? fd : ARES_SOCKET_BAD);
    arm(r);
}

/* c-ares says what it waits for on a socket; nothing: it is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct la_resolver *r = arg;
    struct dns_socket *s, *found = NULL;
    la_list_each(&r->sockets, s, struct dns_socket, node) if (la_io_fd(&s->io) == fd) found = s;
    if (!readable && !writable) {
        if (found) {
            la_io_stop(&found->io);
            la_list_remove(&found->node);
            free(found);
        }
        return;
    }
    if (found == NULL) {
        found = la_xcalloc(1, sizeof *found);
        found->r = r;
        la_list_init(&found->node);
        la_list_push_back(&r->sockets, &found->node);
        la_io_init(&found->io, r->loop, fd, on_socket);
    }
    la_io_want(&found->io, (readable ? LA_READ : 0) | (writable ? LA_WRITE : 0));
}

/* ---- sets of addresses ---- */

static int in_order(const void *x, const void *y)
{
    const struct la_addr *a = x, *b = y;
    if (la_addr_family(a) != la_addr_family(b))
        return la_addr_family(a) < la_addr_family(b) ? -1 : 1;
    if (la_addr_family(a) == AF_INET)
        return memcmp(&a->u.in.sin_addr, &b->u.in.sin_addr, 4);
    return memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, 16);
}

static void sort(struct la_addr *a, size_t *n)
{
    size_t kept = 0;
    if (*n > 1)
        qsort(a, *n, sizeof *a, in_order);
    for (size_t i = 0; i < *n; i++)
        if (kept == 0 || !la_addr_eq(&a[kept - 1], &a[i]))
            a[kept++] = a[i];
    *n = kept;
}

static bool has_family(const struct la_addr *a, size_t n, int family)
{
    for (size_t i = 0; i < n; i++)
        if (la_addr_family(&a[i]) == family)
            return true;
    return false;
}

/* Copies the known addresses of a family that the answer lacks. */
static void keep_family(const struct la_watch *w, int family, struct la_addr *set, size_t *n)
{
    if (has_family(set, *n, family))
        return;
    for (size_t i = 0; i < w->n && *n < MOST_ADDRESSES; i++)
        if (la_addr_family(&w->known[i]) == family)
            set[(*n)++] = w->known[i];
}

/* ---- a watch ---- */

static void on_report(struct la_idle *i)
{
    struct la_watch *w = la_container(i, struct la_watch, report);
    const char *err = w->err;
    w->err = NULL;
    w->on_change(w->arg, w->known, w->n, err);
}

static void failed(struct la_watch *w, const char *why)
{
    la_log_limited(LA_LOG_WARN, 10000, "looking up %s failed: %s; %zu known addresses stay", w->name, why,
                   w->n);
    w->pause_ms = w->pause_ms ? la_min64(w->pause_ms * 2, w->r->max_ttl_ms) : FIRST_PAUSE_MS;
    la_timer_set(&w->again, w->pause_ms);
    if (!w->told) {
        w->told = true;
        w->err = why;
        la_loop_defer(w->r->loop, &w->report);
    }
}

static void succeeded(struct la_watch *w, const struct ares_addrinfo *found, bool timeouts)
{
    struct la_addr *set = la_xcalloc(MOST_ADDRESSES, sizeof *set);
    size_t n = 0;
    uint64_t ttl_ms = w->r->max_ttl_ms;
    for (const struct ares_addrinfo_cname *c = found->cnames; c; c = c->next)
        ttl_ms = la_min64(ttl_ms, c->ttl > 0 ? (uint64_t)c->ttl * 1000 : 0);
    for (const struct ares_addrinfo_node *a = found->nodes; a; a = a->ai_next) {
        ttl_ms = la_min64(ttl_ms, a->ai_ttl > 0 ? (uint64_t)a->ai_ttl * 1000 : 0);
        if (n < MOST_ADDRESSES && (a->ai_family == AF_INET || a->ai_family == AF_INET6)) {
            la_addr_from_sockaddr(&set[n], a->ai_addr, a->ai_addrlen);
            la_addr_set_port(&set[n++], w->port);
        }
    }
    if (n == 0) {
        free(set);
        failed(w, ares_strerror(ARES_ENODATA));
        return;
    }
    if (timeouts) {
        keep_family(w, AF_INET, set, &n);
        keep_family(w, AF_INET6, set, &n);
    }
    sort(set, &n);
    w->pause_ms = 0;
    la_timer_set(&w->again, la_max64(ttl_ms, FIRST_PAUSE_MS));
    bool same = n == w->n;
    for (size_t i = 0; same && i < n; i++)
        same = la_addr_eq(&set[i], &w->known[i]);
    if (same) {
        free(set);
        return;
    }
    free(w->known);
    w->known = set;
    w->n = n;
    w->told = true;
    w->err = NULL;
    la_loop_defer(w->r->loop, &w->report);
}

static void watch_free(struct la_watch *w)
{
    la_timer_stop(&w->again);
    la_list_remove(&w->report.node);
    la_list_remove(&w->node);
    free(w->known);
    free(w->name);
    free(w);
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *found)
{
    struct la_watch *w = arg;
    w->asking = false;
    if (w->dropped || status == ARES_EDESTRUCTION)
        watch_free(w);
    else if (status == ARES_SUCCESS && found)
        succeeded(w, found, timeouts > 0);
    else
        failed(w, ares_strerror(status));
    if (found)
        ares_freeaddrinfo(found);
}

static void ask(struct la_watch *w)
{
    struct la_resolver *r = w->r;
    struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT, .ai_socktype = SOCK_STREAM};
    w->asking = true;
    ares_getaddrinfo(r->channel, w->name, NULL, &hints, on_answer, w); /* may answer at once (/etc/hosts) */
    arm(r);
}

static void on_again(struct la_timer *t)
{
    ask(la_container(t, struct la_watch, again));
}

struct la_watch *
la_resolver_watch(struct la_resolver *r, const char *name, uint16_t port,
                  void (*on_change)(void *arg, const struct la_addr *a, size_t n, const char *err), void *arg)
{
    struct la_watch *w = la_xcalloc(1, sizeof *w);
    w->r = r;
    w->name = la_xstrdup(name);
    w->port = port;
    w->on_change = on_change;
    w->arg = arg;
    w->report.cb = on_report;
    la_list_init(&w->report.node);
    la_timer_init(&w->again, r->loop, on_again);
    la_list_init(&w->node);
    la_list_push_back(&r->watches, &w->node);
    ask(w);
    return w;
}

void la_watch_drop(struct la_watch **watch)
{
    struct la_watch *w = *watch;
    *watch = NULL;
    if (w == NULL)
        return;
    la_timer_stop(&w->again);
    la_list_remove(&w->report.node);
    w->dropped = true;
    if (!w->asking)
        watch_free(w);
}

/* ---- the resolver ---- */

static int use_servers(ares_channel channel, const struct la_resolver_conf *c)
{
    struct ares_addr_port_node *list = la_xcalloc(c->servers, sizeof *list);
    for (size_t i = 0; i < c->servers; i++) {
        const struct la_addr *a = &c->server[i];
        int port = la_addr_port(a) ? la_addr_port(a) : 53;
        list[i].next = i + 1 < c->servers ? &list[i + 1] : NULL;
        list[i].family = la_addr_family(a);
        list[i].udp_port = list[i].tcp_port = port;
        if (list[i].family == AF_INET)
            list[i].addr.addr4 = a->u.in.sin_addr;
        else
            memcpy(&list[i].addr.addr6, &a->u.in6.sin6_addr, 16);
    }
    int status = ares_set_servers_ports(channel, list);
    free(list);
    return status;
}

static void look_at_system(struct stat *st)
{
    if (stat(RESOLV_CONF, st) != 0)
        *st = (struct stat){0};
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

struct la_resolver *la_resolver_new(struct la_loop *l, const struct la_resolver_conf *c)
{
    struct la_resolver *r = la_xcalloc(1, sizeof *r);
    r->loop = l;
    look_at_system(&r->system); /* before it is read: a change in between shows */
    r->max_ttl_ms = la_max64(c->max_ttl_ms, FIRST_PAUSE_MS);
    r->server = la_xcalloc(c->servers, sizeof *r->server);
    for (; r->servers < c->servers; r->servers++)
        r->server[r->servers] = c->server[r->servers];
    la_list_init(&r->sockets);
    la_list_init(&r->watches);
    la_timer_init(&r->timer, l, on_timer);
    static char dns_only[] = "b"; /* c-ares' word for "no hosts file" */
    struct ares_options o = {
        .timeout = TRY_MS, .tries = TRIES, .sock_state_cb = on_socket_state, .sock_state_cb_data = r};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (c->servers > 0) {
        o.flags = ARES_FLAG_NOSEARCH;
        o.lookups = dns_only;
        mask |= ARES_OPT_FLAGS | ARES_OPT_LOOKUPS;
    }
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS && (status = ares_init_options(&r->channel, &o, mask)) != ARES_SUCCESS)
        ares_library_cleanup();
    if (status != ARES_SUCCESS) {
        la_log_error("name resolution cannot start: %s", ares_strerror(status));
        free(r->server);
        free(r);
        return NULL;
    }
    if (c->servers > 0 && (status = use_servers(r->channel, c)) != ARES_SUCCESS) {
        la_log_error("name servers cannot be used: %s", ares_strerror(status));
        la_resolver_free(r);
        return NULL;
    }
    return r;
}

void la_resolver_free(struct la_resolver *r)
{
    if (r == NULL)
        return;
    struct la_watch *w;
    la_list_each(&r->watches, w, struct la_watch, node) la_assert(w->dropped);
    ares_destroy(r->channel); /* ends the queries of dropped watches and closes the sockets */
    ares_library_cleanup();
    la_timer_stop(&r->timer);
    la_assert(la_list_empty(&r->watches) && la_list_empty(&r->sockets));
    free(r->server);
    free(r);
}

bool la_resolver_is(const struct la_resolver *r, const struct la_resolver_conf *c)
{
    bool is = r->servers == c->servers && r->max_ttl_ms == la_max64(c->max_ttl_ms, FIRST_PAUSE_MS);
    for (size_t i = 0; is && i < c->servers; i++)
        is = la_addr_eq(&r->server[i], &c->server[i]);
    struct stat now;
    look_at_system(&now);
    return is && (c->servers || same_file(&now, &r->system));
}
