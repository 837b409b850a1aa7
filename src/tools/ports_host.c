/* ports_host.c: outgoing TCP connections of a process, or of this host, by (source, destination), as the kernel lists
 * them.
 *
 * Owns: what it gathers, for the time of one question. Never looks into a process further than which sockets are its.
 *
 * Good path: the process's socket inodes from /proc/PID/fd; a dump of all TCP sockets; those whose local port is
 * listened on are accepted ones and left out; the rest is sorted and counted by pair. A TIME_WAIT socket has no
 * owner: it counts for every process that has the pair. What is free is what the range has beside these.
 *
 * A process in another network namespace is followed there. What can fail: no such process, no right to look. */
#include "tools/ports_private.h"

#include "lastack/diag.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Compared as bytes: no padding before `mine`. */
struct entry {
    uint8_t local[16], remote[16];
    uint16_t remote_port;
    uint16_t family;
    uint16_t local_port;
    uint8_t time_wait, mine;
};
#define PAIR_BYTES 36 /* local, remote, remote_port, family */
_Static_assert(offsetof(struct entry, local_port) == PAIR_BYTES, "the pair comes first");

struct gather {
    struct entry *entry;
    size_t n, cap;
    uint64_t *inode; /* sorted; the process's */
    size_t inodes, inode_cap;
    bool all;
    uint8_t listening[65536 / 8];
};

static int by_inode(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* ---- the process ---- */

static bool read_inodes(struct gather *g, long pid, char *why)
{
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/%ld/fd", pid);
    DIR *d = opendir(path);
    if (d == NULL) {
        if (errno == ENOENT)
            snprintf(why, PORTS_WHY, "no process %ld", pid);
        else
            snprintf(why, PORTS_WHY, "cannot look at process %ld (%s): run as root or as its user", pid, strerror(errno));
        return false;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        unsigned long long inode;
        if (n <= 0)
            continue;
        target[n] = 0;
        if (sscanf(target, "socket:[%llu]", &inode) != 1)
            continue;
        if (g->inodes == g->inode_cap) {
            g->inode_cap = g->inode_cap ? g->inode_cap * 2 : 256;
            g->inode = la_xrealloc(g->inode, g->inode_cap * sizeof *g->inode);
        }
        g->inode[g->inodes++] = inode;
    }
    closedir(d);
    if (g->inodes)
        qsort(g->inode, g->inodes, sizeof *g->inode, by_inode);
    return true;
}

/* Its network namespace is ours from now on: sockets and port range are per namespace. */
static bool follow(long pid, char *why)
{
    char path[64];
    struct stat theirs, ours;
    snprintf(path, sizeof path, "/proc/%ld/ns/net", pid);
    if (stat(path, &theirs) != 0 || stat("/proc/self/ns/net", &ours) != 0)
        return true; /* no right to ask, or no namespaces: the same, most likely */
    if (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
    if (!good)
        snprintf(why, PORTS_WHY, "process %ld is in another network namespace (%s): run as root", pid, strerror(errno));
    if (fd >= 0)
        close(fd);
    return good;
}

/* ---- the sockets ---- */

static void on_listening(void *arg, const struct la_diag_socket *s)
{
    struct gather *g = arg;
    unsigned port = la_addr_port(&s->local);
    g->listening[port / 8] |= (uint8_t)(1u << (port % 8));
}

static void bytes_of(uint8_t out[16], const struct la_addr *a)
{
    memset(out, 0, 16);
    if (la_addr_family(a) == AF_INET)
        memcpy(out, &a->u.in.sin_addr, 4);
    else
        memcpy(out, &a->u.in6.sin6_addr, 16);
}

static void on_socket(void *arg, const struct la_diag_socket *s)
{
    struct gather *g = arg;
    unsigned port = la_addr_port(&s->local);
    if (la_addr_port(&s->remote) == 0 || (g->listening[port / 8] >> (port % 8) & 1))
        return;
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 1024;
        g->entry = la_xrealloc(g->entry, g->cap * sizeof *g->entry);
    }
    struct entry *e = &g->entry[g->n++];
    memset(e, 0, sizeof *e);
    bytes_of(e->local, &s->local);
    bytes_of(e->remote, &s->remote);
    e->remote_port = la_addr_port(&s->remote);
    e->family = (uint16_t)la_addr_family(&s->local);
    e->local_port = (uint16_t)port;
    /* An orphan in FIN_WAIT2 has no owner either, and its port comes back in the same way. */
    e->time_wait = s->state == TCP_TIME_WAIT || (s->state == TCP_FIN_WAIT2 && s->inode == 0);
    e->mine = g->all || (s->inode && g->inodes && bsearch(&s->inode, g->inode, g->inodes, sizeof s->inode, by_inode));
}

static int by_pair(const void *a, const void *b)
{
    return memcmp(a, b, PAIR_BYTES);
}

static void address_of(struct la_addr *out, const uint8_t ip[16], uint16_t family, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memcpy(&in.sin_addr, ip, 4);
    memcpy(&in6.sin6_addr, ip, 16);
    if (family == AF_INET)
        la_addr_from_sockaddr(out, (const struct sockaddr *)&in, sizeof in);
    else
        la_addr_from_sockaddr(out, (const struct sockaddr *)&in6, sizeof in6);
}

static void count_pairs(struct ports_table *t, struct gather *g)
{
    if (g->n)
        qsort(g->entry, g->n, sizeof *g->entry, by_pair);
    for (size_t i = 0, next; i < g->n; i = next) {
        const struct entry *e = &g->entry[i];
        long open = 0, foreign = 0, time_wait = 0, in_range = 0;
        for (next = i; next < g->n && by_pair(e, &g->entry[next]) == 0; next++) {
            const struct entry *x = &g->entry[next];
            time_wait += x->time_wait;
            open += !x->time_wait && x->mine;
            foreign += !x->time_wait && !x->mine;
            in_range += x->local_port >= t->low && x->local_port <= t->high;
        }
        if (open == 0 && !g->all)
            continue;
        struct la_addr a;
        struct ports_row *r = ports_table_add(t);
        address_of(&a, e->local, e->family, 0);
        la_addr_host_text(&a, r->source);
        address_of(&a, e->remote, e->family, e->remote_port);
        la_addr_text(&a, r->destination);
        r->open = open;
        r->foreign = foreign;
        r->time_wait = time_wait;
        r->free = (long)t->usable > in_range ? (long)t->usable - in_range : 0;
    }
}

static bool dump(struct gather *g, char *why)
{
    la_diag_tcp(1u << TCP_LISTEN, NULL, 0, on_listening, g);
    int rc = la_diag_tcp(LA_DIAG_HOLD_PORTS, NULL, 0, on_socket, g);
    if (rc != 0)
        snprintf(why, PORTS_WHY, "the kernel does not list its sockets: %s", strerror(-rc));
    return rc == 0;
}

bool ports_from_host(struct ports_table *t, long pid, char *why)
{
    struct gather *g = la_xcalloc(1, sizeof *g);
    g->all = pid == 0;
    bool good = g->all || (read_inodes(g, pid, why) && follow(pid, why));
    if (good) {
        t->has_range = la_diag_port_range(&t->low, &t->high);
        if (!t->has_range) { /* a sandbox without /proc/sys: the kernel's default */
            t->low = 32768;
            t->high = 60999;
        }
        t->usable = la_diag_usable_ports(t->low, t->high);
        good = dump(g, why);
    }
    if (good)
        count_pairs(t, g);
    free(g->entry);
    free(g->inode);
    free(g);
    return good;
}
