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

/* 0, or the errno of binding a TCP socket to this address with any port. */
static int try_bind(const struct la_addr *address)
{
    struct la_addr a = *address;
    int error = 0;
    la_addr_set_port(&a, 0);
    int fd = socket(la_addr_family(&a), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    if (bind(fd, &a.u.sa, a.len) != 0)
        error = errno;
    close(fd);
    return error;
}

static void check_local(struct host *h, const struct la_addr *a, const struct la_conf_pos *pos,
                        const char *path)
{
    char text[LA_ADDR_TEXT];
    int error = try_bind(a);
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

static void check_unix_listener(struct host *h, const struct la_addr *a, const struct la_conf_pos *pos,
                                const char *path)
{
    const char *file = a->u.un.sun_path, *why;
    struct stat st;
    char *dir = directory_of(file);
    if ((why = unfit_directory(dir)) != NULL)
        tell(h, false, pos, path, "no socket can be made in %s: %s", dir, why);
    else if (lstat(file, &st) == 0 && !S_ISSOCK(st.st_mode))
        tell(h, false, pos, path, "%s is there already and is not a socket", file);
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
    check_local(h, a, pos, path);
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
    char *path = la_xasprintf("upstreams.%s.pool.max", u->name);
    if (ports < u->pool.max)
        tell(h, true, NULL, path,
             "%u connections to a server need as many ports, but %zu sources have %llu together: add sources "
             "or widen "
             "net.ipv4.ip_local_port_range (now %u-%u)",
             u->pool.max, u->sources, (unsigned long long)ports, low, high);
    free(path);
}

static void check_upstreams(struct host *h)
{
    for (size_t i = 0; i < h->conf->upstreams; i++) {
        const struct la_conf_upstream *u = &h->conf->upstream[i];
        for (size_t k = 0; k < u->sources; k++) {
            char *path = la_xasprintf("upstreams.%s.source[%zu]", u->name, k);
            check_local(h, &u->source[k].address, &u->source[k].pos, path);
            free(path);
        }
        char *path = la_xasprintf("upstreams.%s.buffer.dir", u->name);
        const char *why = unfit_directory(u->buffer.dir);
        if (why)
            tell(h, false, NULL, path, "%s: %s; bodies are buffered there", u->buffer.dir, why);
        free(path);
        check_port_range(h, u);
    }
}

static void check_log(struct host *h, const char *file, const char *path)
{
    struct stat st;
    if (file == NULL || strcmp(file, "stdout") == 0)
        return;
    char *dir = directory_of(file);
    if (stat(file, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            tell(h, false, NULL, path, "%s is a directory, must be a file", file);
        else if (faccessat(AT_FDCWD, file, W_OK, AT_EACCESS) != 0)
            tell(h, false, NULL, path, "%s: this user may not write it", file);
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

/* By the file's own mode. What cannot be looked at is told of where it is read. */
static bool may_read(const struct passwd *user, const char *file)
{
    struct stat st;
    if (stat(file, &st) != 0 || user->pw_uid == 0)
        return true;
    if (st.st_uid == user->pw_uid)
        return st.st_mode & S_IRUSR;
    return st.st_mode & (in_group(user, st.st_gid) ? S_IRGRP : S_IROTH);
}

/* Keys are read first by root and on SIGHUP by `user`. */
static void check_keys(struct host *h)
{
    const struct passwd *user = h->conf->user && geteuid() == 0 ? getpwnam(h->conf->user) : NULL;
    for (size_t i = 0; user && i < h->conf->listens; i++)
        for (size_t k = 0; k < h->conf->listen[i].tls.pairs; k++) {
            const struct la_conf_certificate *c = &h->conf->listen[i].tls.pair[k];
            const char *file = c->key ? c->key : c->certificate;
            char path[96];
            snprintf(path, sizeof path, "listen[%zu].tls.certificates[%zu].%s", i, k, c->key ? "key" : "certificate");
            if (!may_read(user, file))
                tell(h, true, la_conf_where(h->conf, "%s", path), path,
                     "%s: user \"%.64s\" may not read it, so a reload cannot: give it to a group of that user", file, h->conf->user);
        }
}

static void check_descriptors(struct host *h)
{
    struct rlimit limit;
    uint64_t need = DESCRIPTORS_BESIDES;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY)
        return;
    for (size_t i = 0; i < h->conf->upstreams; i++)
        need += (uint64_t)h->conf->upstream[i].pool.max * h->conf->upstream[i].servers;
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
