/* host.c: does this configuration fit this host? Addresses, users, directories, ports, descriptors.
 *
 * Looks, and changes nothing: a local address is probed by binding a socket to it with port 0 and closing it
 * again; nothing is connected, sent, created or resolved. What would make `run` fail is an error; what would
 * hurt later is a warning. Run it as the user, and with the limits, that the proxy will have. Main thread and
 * `check` only: it blocks on files. */
#include "conf/report.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_BESIDES 64 /* loops, logs, listeners */

struct host {
    const struct la_conf *conf;
    struct la_conf_findings *out;
};

static void tell(struct host *h, bool warning, const struct la_conf_pos *pos, const char *path,
                 const char *fmt, ...) LA_PRINTF(5, 6);
static void tell(struct host *h, bool warning, const struct la_conf_pos *pos, const char *path,
                 const char *fmt, ...)
{
    va_list ap;
    char *what = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&what, fmt, ap);
    va_end(ap);
    la_assert(n >= 0);
    if (pos == NULL)
        pos = la_conf_where(h->conf, "%s", path);
    la_conf_finding_add(h->out, warning, pos, "%s: %s", path, what);
    free(what);
}

int la_conf_try_bind(const struct la_addr *address)
{
    struct la_addr a = *address;
    int error = 0;
    la_addr_set_port(&a, 0);
    int fd = socket(la_addr_family(&a), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int on = 1; /* there may be no free port at the moment */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, &a.u.sa, a.len) != 0)
        error = errno;
    close(fd);
    return error;
}

static void check_local(struct host *h, const struct la_addr *a, const struct la_conf_pos *pos, const char *path)
{
    char text[LA_ADDR_TEXT];
    int error = la_conf_try_bind(a);
    if (error == 0)
        return;
    la_addr_host_text(a, text);
    if (error == EADDRNOTAVAIL)
        tell(h, false, pos, path, "%s is not an address of this host; see `ip address`", text);
    else if (error == EAFNOSUPPORT)
        tell(h, false, pos, path, "this host has no %s", la_addr_family(a) == AF_INET6 ? "IPv6" : "IPv4");
    else
        tell(h, false, pos, path, "%s cannot be bound: %s", text, strerror(error));
}

/* An address that moves between hosts can be listened on before it is here; as a source it would get no answers. */
static void check_listen_address(struct host *h, const struct la_addr *a, const struct la_conf_pos *pos, const char *path)
{
    char text[LA_ADDR_TEXT];
    if (la_conf_try_bind(a) == EADDRNOTAVAIL)
        tell(h, false, pos, path, "%s is not an address of this host; see `ip address`, or if it moves between hosts set net.ipv%d.ip_nonlocal_bind",
             la_addr_host_text(a, text), la_addr_family(a) == AF_INET6 ? 6 : 4);
    else
        check_local(h, a, pos, path);
}

static bool read_numbers(const char *path, unsigned *a, unsigned *b)
{
    FILE *f = fopen(path, "re");
    *a = *b = 0;
    if (f == NULL)
        return false;
    int n = fscanf(f, "%u %u", a, b);
    fclose(f);
    return n >= 1;
}

/* CAP_NET_BIND_SERVICE is bit 10 of CapEff in /proc/self/status. */
static bool may_bind_privileged(void)
{
    char line[256];
    unsigned long long caps = 0;
    FILE *f = fopen("/proc/self/status", "re");
    if (f == NULL)
        return geteuid() == 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, "CapEff:", 7) == 0)
            caps = strtoull(line + 7, NULL, 16);
    fclose(f);
    return caps >> 10 & 1;
}

/* The directory that holds path; to be freed. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL   ? la_xstrdup(".")
           : slash == path ? la_xstrdup("/")
                           : la_xstrndup(path, (size_t)(slash - path));
}

/* NULL, or what keeps us from making files in this directory. */
static const char *unfit_directory(const char *dir)
{
    struct stat st;
    if (stat(dir, &st) != 0)
        return strerror(errno);
    if (!S_ISDIR(st.st_mode))
        return "not a directory";
    if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) != 0)
        return errno == EACCES ? "this user may not write there" : strerror(errno);
    return NULL;
}

/* Whom root becomes, when it is one. NULL: nobody else. */
static const struct passwd *becomes(const struct host *h)
{
    const struct passwd *user = h->conf->user && geteuid() == 0 ? getpwnam(h->conf->user) : NULL;
    return user && user->pw_uid ? user : NULL;
}

static bool in_group(const struct passwd *user, gid_t group)
{
    gid_t all[256];
    int n = la_count(all);
    if (getgrouplist(user->pw_name, user->pw_gid, all, &n) < 0)
        n = la_count(all); /* more than that: those that fit */
    for (int i = 0; i < n; i++)
        if (all[i] == group)
            return true;
    return false;
}

/* By the file's own mode; bits as of others: 4 reads, 2 writes, 1 searches. What cannot be looked at is told of where it is used. */
static bool may(const struct passwd *user, const char *file, unsigned bits)
{
    struct stat st;
    if (stat(file, &st) != 0)
        return true;
    unsigned shift = st.st_uid == user->pw_uid ? 6 : in_group(user, st.st_gid) ? 3 : 0;
    return (st.st_mode >> shift & bits) == bits;
}

static void check_unix_listener(struct host *h, const struct la_addr *a, const struct la_conf_pos *pos,
                                const char *path)
{
    const char *file = a->u.un.sun_path, *why;
    struct stat st;
    char *dir = directory_of(file);
    bool there = lstat(file, &st) == 0;
    if (there && !S_ISSOCK(st.st_mode))
        tell(h, false, pos, path, "%s is there already and is not a socket", file);
    else if (!there && (why = unfit_directory(dir)) != NULL)
        tell(h, false, pos, path, "no socket can be made in %s: %s", dir, why);
    free(dir);
}

static void check_listener(struct host *h, const struct la_addr *a, const struct la_conf_pos *pos,
                           const char *path)
{
    unsigned lowest, unused;
    if (la_addr_family(a) == AF_UNIX) {
        check_unix_listener(h, a, pos, path);
        return;
    }
    check_listen_address(h, a, pos, path);
    if (!read_numbers("/proc/sys/net/ipv4/ip_unprivileged_port_start", &lowest, &unused))
        lowest = 1024;
    if (la_addr_port(a) < lowest && !may_bind_privileged())
        tell(h, true, pos, path,
             "port %u needs root, CAP_NET_BIND_SERVICE, or a lower net.ipv4.ip_unprivileged_port_start (now "
             "%u)",
             la_addr_port(a), lowest);
}

static void check_listeners(struct host *h)
{
    for (size_t i = 0; i < h->conf->listens; i++) {
        char path[64];
        snprintf(path, sizeof path, "listen[%zu].address", i);
        const struct la_conf_pos *pos = la_conf_where(h->conf, "%s", path);
        check_listener(h, &h->conf->listen[i].address, pos ? pos : &h->conf->listen[i].pos, path);
    }
    if (h->conf->admin.len)
        check_listener(h, &h->conf->admin, NULL, "admin.address");
}

/* Sources without a range share the kernel's; is it enough for the cap? */
static void check_port_range(struct host *h, const struct la_conf_upstream *u)
{
    unsigned low, high;
    uint64_t ports = 0;
    if (u->sources == 0 || !read_numbers("/proc/sys/net/ipv4/ip_local_port_range", &low, &high) || high < low)
        return;
    for (size_t i = 0; i < u->sources; i++) {
        if (u->source[i].port_high) /* with a range: check_upstream.c did that one */
            return;
        ports += high - low + 1;
    }
    char *path = la_xasprintf("upstreams.%s.%s", u->name, la_conf_pool_key(u));
    if (ports < la_conf_pool_most(u))
        tell(h, true, NULL, path,
             "%u connections to a server need as many ports, but %zu sources have %llu together: add sources "
             "or widen "
             "net.ipv4.ip_local_port_range (now %u-%u)",
             la_conf_pool_most(u), u->sources, (unsigned long long)ports, low, high);
    free(path);
}

/* One of the same family that can be bound, beside source k? */
static bool has_other_source(const struct la_conf_upstream *u, size_t k)
{
    for (size_t i = 0; i < u->sources; i++)
        if (i != k && la_addr_family(&u->source[i].address) == la_addr_family(&u->source[k].address) &&
            la_conf_try_bind(&u->source[i].address) == 0)
            return true;
    return false;
}

static void check_source(struct host *h, const struct la_conf_upstream *u, size_t k, const char *path)
{
    const struct la_conf_source *s = &u->source[k];
    char text[LA_ADDR_TEXT];
    if (la_conf_try_bind(&s->address) == EADDRNOTAVAIL && has_other_source(u, k))
        tell(h, true, &s->pos, path, "%s is not an address of this host: until it is, connections go over the other sources; see `ip address`",
             la_addr_host_text(&s->address, text));
    else
        check_local(h, &s->address, &s->pos, path);
}

/* Files are sent from here. It may come later: a release is unpacked, a disk is mounted. */
static void check_folder(struct host *h, const char *dir, const char *path)
{
    const struct passwd *user = becomes(h);
    struct stat st;
    if (dir == NULL)
        return;
    if (stat(dir, &st) != 0)
        tell(h, true, NULL, path, "%s: %s; nothing is found there", dir, strerror(errno));
    else if (!S_ISDIR(st.st_mode))
        tell(h, false, NULL, path, "%s: not a directory", dir);
    else if (user ? !may(user, dir, 1) : faccessat(AT_FDCWD, dir, X_OK, AT_EACCESS) != 0)
        tell(h, true, NULL, path, "%s: %s%.64s%s may not look for files there", dir, user ? "user \"" : "this user", user ? h->conf->user : "",
             user ? "\"" : "");
}

static void check_folders(struct host *h, const struct la_conf_upstream *u)
{
    const struct la_conf_fastcgi *f = &u->fastcgi;
    char path[160];
    snprintf(path, sizeof path, "upstreams.%s.fastcgi.root", u->name);
    if (f->files) /* otherwise the scripts may be on another host */
        check_folder(h, f->root, path);
    for (size_t i = 0; i < f->internals; i++) {
        snprintf(path, sizeof path, "upstreams.%s.fastcgi.internal[%zu].root", u->name, i);
        check_folder(h, f->internal[i].root, path);
    }
    for (size_t i = 0; i < f->sendfiles; i++) {
        snprintf(path, sizeof path, "upstreams.%s.fastcgi.sendfile[%zu]", u->name, i);
        check_folder(h, f->sendfile[i], path);
    }
}

static void check_upstreams(struct host *h)
{
    for (size_t i = 0; i < h->conf->upstreams; i++) {
        const struct la_conf_upstream *u = &h->conf->upstream[i];
        for (size_t k = 0; k < u->sources; k++) {
            char *path = la_xasprintf("upstreams.%s.source[%zu]", u->name, k);
            check_source(h, u, k, path);
            free(path);
        }
        char *path = la_xasprintf("upstreams.%s.buffer.dir", u->name);
        const struct passwd *user = becomes(h);
        const char *why = unfit_directory(u->buffer.dir);
        if (why == NULL && user && !may(user, u->buffer.dir, 3))
            tell(h, true, NULL, path, "%s: user \"%.64s\" may not write there; bodies are buffered there", u->buffer.dir, h->conf->user);
        if (why)
            tell(h, false, NULL, path, "%s: %s; bodies are buffered there", u->buffer.dir, why);
        free(path);
        check_folders(h, u);
        check_port_range(h, u);
    }
}

static void check_log(struct host *h, const char *file, const char *path)
{
    struct stat st;
    if (file == NULL || strcmp(file, "stdout") == 0)
        return;
    const struct passwd *user = becomes(h);
    char *dir = directory_of(file);
    if (user && !may(user, dir, 3))
        tell(h, true, NULL, path, "%s: user \"%.64s\" may not write there, so it cannot make the file anew when it has been rotated away: "
             "give the directory to that user", dir, h->conf->user);
    if (stat(file, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            tell(h, false, NULL, path, "%s is a directory, must be a file", file);
        else if (faccessat(AT_FDCWD, file, W_OK, AT_EACCESS) != 0)
            tell(h, false, NULL, path, "%s: this user may not write it", file);
        else if (user && may(user, dir, 3) && !may(user, file, 2))
            tell(h, false, NULL, path, "%s: user \"%.64s\" may not write it: give it to that user", file, h->conf->user);
    } else {
        const char *why = unfit_directory(dir);
        if (why)
            tell(h, false, NULL, path, "no file can be made in %s: %s", dir, why);
    }
    free(dir);
}

static void check_user(struct host *h)
{
    const char *user = h->conf->user;
    if (user == NULL)
        return;
    errno = 0;
    struct passwd *entry = getpwnam(user);
    if (entry == NULL)
        tell(h, false, NULL, "user", "there is no user \"%.64s\" on this host", user);
    else if (geteuid() != 0 && geteuid() != entry->pw_uid)
        tell(h, true, NULL, "user", "has no effect: only root can become \"%.64s\"", user);
}

static void check_key(struct host *h, const char *file, const char *path)
{
    const struct passwd *user = becomes(h);
    if (user && file && !may(user, file, 4))
        tell(h, true, la_conf_where(h->conf, "%s", path), path,
             "%s: user \"%.64s\" may not read it, so a reload cannot: give it to a group of that user", file, h->conf->user);
}

/* Keys are read first by root and on SIGHUP by `user`. */
static void check_keys(struct host *h)
{
    for (size_t i = 0; i < h->conf->listens; i++)
        for (size_t k = 0; k < h->conf->listen[i].tls.pairs; k++) {
            const struct la_conf_certificate *c = &h->conf->listen[i].tls.pair[k];
            char path[96];
            snprintf(path, sizeof path, "listen[%zu].tls.certificates[%zu].%s", i, k, c->key ? "key" : "certificate");
            check_key(h, c->key ? c->key : c->certificate, path);
        }
    for (size_t i = 0; i < h->conf->upstreams; i++) {
        const struct la_conf_upstream *u = &h->conf->upstream[i];
        char *path = la_xasprintf("upstreams.%s.tls.%s", u->name, u->tls.key ? "key" : "certificate");
        check_key(h, u->tls.key ? u->tls.key : u->tls.certificate, path);
        free(path);
    }
}

static void check_descriptors(struct host *h)
{
    struct rlimit limit;
    uint64_t need = DESCRIPTORS_BESIDES;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY)
        return;
    for (size_t i = 0; i < h->conf->upstreams; i++)
        need += (uint64_t)la_conf_pool_most(&h->conf->upstream[i]) * h->conf->upstream[i].servers;
    bool automatic = h->conf->limits.clients == LA_AUTO;
    need += automatic ? 1 : h->conf->limits.clients;
    if (need > limit.rlim_max)
        tell(h, true, NULL, automatic ? "upstreams" : "limits.clients",
             "clients and pools may need %llu descriptors, but the limit is %llu: raise it (ulimit -Hn, "
             "LimitNOFILE)",
             (unsigned long long)need, (unsigned long long)limit.rlim_max);
}

void la_conf_check_host(const struct la_conf *c, struct la_conf_findings *out)
{
    struct host h = {c, out};
    check_user(&h);
    check_listeners(&h);
    check_upstreams(&h);
    check_log(&h, c->log.access, "log.access");
    check_log(&h, c->log.error, "log.error");
    check_keys(&h);
    check_descriptors(&h);
}
