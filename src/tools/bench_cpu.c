/* bench_cpu.c: which processes serve a listening socket of this host, and how much CPU they have used.
 *
 * Owns nothing between calls. Never touches the processes: it reads /proc, sock_diag and their CPU clocks.
 *
 * Good path: the inodes of the listening sockets, the processes that hold one of them (a master and its children hold the
 * same), a clock each; later only the clocks, and the children that are new. A process that began in between counts whole,
 * one that ended is lost. What cannot be read (another user's processes, another network namespace) is unknown, never
 * zero. */
#include "tools/bench.h"

#include "lastack/diag.h"

#include <dirent.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define INODES 64

struct sockets {
    const struct bench_backend *backend;
    size_t backends;
    uint64_t inode[INODES];
    size_t n;
};

static void add(struct sockets *s, uint64_t inode)
{
    if (inode && s->n < INODES)
        s->inode[s->n++] = inode;
}

/* A listener of this address, or of all addresses at its port. */
static void on_listener(void *arg, const struct la_diag_socket *l)
{
    static const struct in6_addr any;
    struct sockets *s = arg;
    bool wildcard = la_addr_family(&l->local) == AF_INET ? l->local.u.in.sin_addr.s_addr == 0
                                                         : memcmp(&l->local.u.in6.sin6_addr, &any, sizeof any) == 0;
    for (size_t i = 0; i < s->backends; i++) {
        const struct la_addr *a = &s->backend[i].address;
        if (!s->backend[i].local || la_addr_family(a) == AF_UNIX || la_addr_port(a) != la_addr_port(&l->local))
            continue;
        if (wildcard || la_addr_eq(a, &l->local)) {
            add(s, l->inode);
            return;
        }
    }
}

static void find_unix(struct sockets *s)
{
    FILE *f = fopen("/proc/net/unix", "re");
    char line[512], path[256];
    while (f && fgets(line, sizeof line, f)) {
        unsigned flags;
        unsigned long long inode;
        if (sscanf(line, "%*x: %*x %*x %x %*x %*x %llu %255s", &flags, &inode, path) != 3 || !(flags & 0x10000))
            continue; /* not listening */
        for (size_t i = 0; i < s->backends; i++)
            if (la_addr_family(&s->backend[i].address) == AF_UNIX && strcmp(path, s->backend[i].address.u.un.sun_path) == 0)
                add(s, inode);
    }
    if (f)
        fclose(f);
}

static bool holds(const char *pid, const struct sockets *s)
{
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/%.16s/fd", pid);
    DIR *d = opendir(path);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        if (n <= 8 || memcmp(target, "socket:[", 8) != 0)
            continue;
        target[n] = 0;
        uint64_t inode = strtoull(target + 8, NULL, 10);
        for (size_t i = 0; i < s->n; i++)
            found |= s->inode[i] == inode;
    }
    if (d)
        closedir(d);
    return found;
}

double bench_cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return -1;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t find(const struct bench_cpu *c, pid_t pid)
{
    size_t i = 0;
    while (i < c->n && c->one[i].pid != pid)
        i++;
    return i;
}

static void note(struct bench_cpu *c, pid_t pid)
{
    double used = bench_cpu_of(pid);
    if (used < 0 || c->n == la_count(c->one) || find(c, pid) < c->n)
        return;
    c->one[c->n].pid = pid;
    c->one[c->n++].s = used;
}

bool bench_cpu_find(const struct bench_backend *b, size_t n, struct bench_cpu *c)
{
    struct sockets s = {.backend = b, .backends = n};
    bool found = false;
    la_diag_tcp(1u << 10, NULL, 0, on_listener, &s);
    find_unix(&s);
    DIR *d = s.n ? opendir("/proc") : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        pid_t pid = (pid_t)atoi(e->d_name);
        if (pid <= 0 || pid == getpid() || !holds(e->d_name, &s))
            continue;
        note(c, pid);
        found |= find(c, pid) < c->n; /* as another backend's too */
    }
    if (d)
        closedir(d);
    return found;
}

static void note_children(struct bench_cpu *c, pid_t pid)
{
    char path[64];
    int child;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%d", &child) == 1)
        note(c, child);
    if (f)
        fclose(f);
}

void bench_cpu_again(struct bench_cpu *c)
{
    for (size_t i = 0; i < c->n; i++) {
        double used = bench_cpu_of(c->one[i].pid);
        if (used < 0)
            continue; /* it is gone: what it used last */
        c->one[i].s = used;
        note_children(c, c->one[i].pid);
    }
}

double bench_cpu_between(const struct bench_cpu *from, const struct bench_cpu *to)
{
    double sum = 0;
    if (from->n == 0 || to->n == 0)
        return -1;
    for (size_t i = 0; i < to->n; i++) {
        size_t k = find(from, to->one[i].pid);
        sum += to->one[i].s - (k < from->n ? from->one[k].s : 0);
    }
    return sum;
}
