/* doctor_conf.c: a configuration held against this host: do its pools fit the ports and descriptors there are, its
 * backlogs the kernel's, its memory and disk what is left?
 *
 * Owns nothing. Never opens a listener or a connection, never resolves a name: a name counts as one server of unknown
 * family. What `lastack check` finds is part of it; with errors there is nothing more to say.
 *
 * Ports are counted per (source, destination), since that is how the kernel gives them out. */
#include "tools/doctor_private.h"

#include "lastack/certs.h"
#include "lastack/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#define SPARE_DESCRIPTORS 64 /* log files, loops, admin clients */

static const char *mib(char *buf, size_t n, uint64_t bytes)
{
    snprintf(buf, n, bytes >= 10ull << 30 ? "%llu GiB" : "%llu MiB",
             (unsigned long long)(bytes >= 10ull << 30 ? bytes >> 30 : bytes >> 20));
    return buf;
}

/* ---- ports ---- */

/* Ports that this source has for one destination. */
static unsigned ports_of(const struct doctor *d, const struct la_conf_source *s)
{
    return s->port_low ? la_diag_usable_ports(s->port_low, s->port_high) : d->usable;
}

/* All that a server of this family can be reached from; AF_UNSPEC (a name): every source. */
static uint64_t ports_for(const struct doctor *d, const struct la_conf_upstream *u, int family)
{
    uint64_t n = 0;
    for (size_t i = 0; i < u->sources; i++)
        if (family == AF_UNSPEC || la_addr_family(&u->source[i].address) == family)
            n += ports_of(d, &u->source[i]);
    return u->sources ? n : d->usable;
}

static void check_ports(struct doctor *d, const struct la_conf_upstream *u)
{
    const struct la_conf_server *worst = NULL;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < u->servers; i++) {
        const struct la_conf_server *s = &u->server[i];
        if (s->address.len && la_addr_family(&s->address) == AF_UNIX)
            continue;
        uint64_t n = ports_for(d, u, s->address.len ? la_addr_family(&s->address) : AF_UNSPEC);
        if (n < least) {
            least = n;
            worst = s;
        }
    }
    if (worst == NULL)
        return;
    enum doctor_level level = la_conf_pool_most(u) > least ? DOCTOR_BAD : la_conf_pool_most(u) * 10ull > least * 8 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_say(d, level, "ports",
               "upstream %s: %s %u connections to each server, %llu local ports for %s from %zu source%s%s", u->name, la_conf_pool_key(u),
               la_conf_pool_most(u),
               (unsigned long long)least, worst->text, u->sources ? u->sources : 1, u->sources > 1 ? "s" : "",
               level == DOCTOR_BAD    ? ": the pool can never fill; requests will wait for ports"
               : level == DOCTOR_WARN ? ": a restart of the backend, or another process, can use up what is left"
                                      : "");
    if (level != DOCTOR_OK)
        doctor_cure(d, "add addresses to upstreams.%s.source, widen net.ipv4.ip_local_port_range, or lower %s", u->name, la_conf_pool_key(u));
}

/* A range of its own, where the kernel's option cannot help, is walked port by port. */
static void check_ranges(struct doctor *d, const struct la_conf_upstream *u)
{
    for (size_t i = 0; i < u->sources; i++) {
        const struct la_conf_source *s = &u->source[i];
        if (s->port_low == 0)
            continue;
        bool inside = s->port_low >= d->low && s->port_high <= d->high, overlaps = s->port_low <= d->high && s->port_high >= d->low;
        if (inside && d->port_range_option)
            continue;
        doctor_say(d, overlaps && !inside ? DOCTOR_WARN : DOCTOR_OK, "port range",
                   "upstream %s: source %s is %s: its ports are bound one by one, and TIME_WAIT is not reused for them", u->name, s->text,
                   inside     ? "inside ip_local_port_range, but this kernel lacks IP_LOCAL_PORT_RANGE"
                   : overlaps ? "partly outside of ip_local_port_range; in the common part other processes take ports, too"
                              : "outside of ip_local_port_range");
        if (overlaps && !inside)
            doctor_cure(d, "move it wholly inside %u-%u, or wholly outside", d->low, d->high);
    }
}

static void check_disk(struct doctor *d, const struct la_conf *c, const struct la_conf_upstream *u)
{
    struct statvfs v;
    char is[32], want[32];
    for (const struct la_conf_upstream *before = c->upstream; before < u; before++)
        if (u->buffer.dir && before->buffer.dir && strcmp(before->buffer.dir, u->buffer.dir) == 0)
            return; /* said already */
    if (u->buffer.dir == NULL || statvfs(u->buffer.dir, &v) != 0)
        return;
    uint64_t left = (uint64_t)v.f_bavail * v.f_frsize;
    bool low = left < c->limits.disk;
    doctor_say(d, low ? DOCTOR_WARN : DOCTOR_OK, "disk", "%s has %s left, limits.disk is %s%s", u->buffer.dir, mib(is, sizeof is, left),
               mib(want, sizeof want, c->limits.disk), low ? ": large bodies fill the file system before the limit stops them" : "");
    if (low)
        doctor_cure(d, "lower limits.disk, or move upstreams.%s.buffer.dir", u->name);
}

/* ---- the process ---- */

static void check_descriptors(struct doctor *d, const struct la_conf *c, unsigned workers)
{
    uint64_t servers = 0, listeners = 0;
    for (size_t i = 0; i < c->upstreams; i++)
        servers += (uint64_t)la_conf_pool_most(&c->upstream[i]) * c->upstream[i].servers;
    for (size_t i = 0; i < c->listens; i++)
        listeners += la_addr_family(&c->listen[i].address) == AF_UNIX ? 1 : workers;
    uint64_t own = servers + listeners + workers * 4ull + SPARE_DESCRIPTORS;
    uint64_t rest = d->descriptors > own ? d->descriptors - own : 0;
    uint64_t clients = c->limits.clients == LA_AUTO ? rest : c->limits.clients;
    enum doctor_level level = rest == 0 || clients > rest ? DOCTOR_BAD : clients < 1000 ? DOCTOR_WARN : DOCTOR_OK;
    char asks[64] = "";
    if (c->limits.clients != LA_AUTO)
        snprintf(asks, sizeof asks, "; limits.clients asks for %llu", (unsigned long long)clients);
    const char *hurts = level == DOCTOR_BAD    ? "; when they are used up, clients are refused and dials fail"
                        : level == DOCTOR_WARN ? "; that is few clients for a busy site"
                                               : "";
    doctor_say(d, level, "descriptors",
               "of %llu: %llu for connections to servers when all pools are full, %llu for listeners, leaves %llu for clients%s%s",
               (unsigned long long)d->descriptors, (unsigned long long)servers, (unsigned long long)listeners, (unsigned long long)rest,
               asks, hurts);
    if (level != DOCTOR_OK)
        doctor_cure(d, "raise RLIMIT_NOFILE (LimitNOFILE=%llu), or lower pool.max or limits.clients",
                    (unsigned long long)(own + (c->limits.clients == LA_AUTO ? 16384 : c->limits.clients)));
}

static void check_workers(struct doctor *d, const struct la_conf *c)
{
    if (c->workers == 0)
        return;
    bool many = c->workers > d->cpus;
    doctor_say(d, many ? DOCTOR_WARN : DOCTOR_OK, "workers", "%u workers, %u CPUs%s", c->workers, d->cpus,
               many ? ": they take turns, and each turn delays what the others have under way" : "");
    if (many)
        doctor_cure(d, "workers: auto");
}

static void check_backlogs(struct doctor *d, const struct la_conf *c)
{
    for (size_t i = 0; i < c->listens; i++) {
        const struct la_conf_listen *l = &c->listen[i];
        if (d->somaxconn >= (long)l->backlog)
            continue;
        doctor_say(d, DOCTOR_WARN, "backlog", "listener %s: backlog %u is cut to net.core.somaxconn, %ld", l->name, l->backlog, d->somaxconn);
        doctor_cure(d, "sysctl net.core.somaxconn=%u", l->backlog);
    }
}

static void check_memory(struct doctor *d, const struct la_conf *c)
{
    char is[32], want[32];
    if (d->memory == 0)
        return;
    enum doctor_level level = c->limits.memory > d->memory ? DOCTOR_BAD : c->limits.memory > d->memory / 10 * 7 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_say(d, level, "memory", "limits.memory is %s of the %s that this host or container has%s", mib(want, sizeof want, c->limits.memory),
               mib(is, sizeof is, d->memory), level == DOCTOR_OK ? "" : ": the process may be killed before its own limit stops it");
    if (level != DOCTOR_OK)
        doctor_cure(d, "limits.memory: %lluMiB", (unsigned long long)(d->memory / 2 >> 20));
}

static void add_findings(struct doctor *d, const struct la_conf_findings *f)
{
    for (size_t i = 0; i < f->n; i++)
        doctor_say(d, f->item[i].warning ? DOCTOR_WARN : DOCTOR_BAD, "configuration", "%s", f->item[i].text);
}

void doctor_conf(struct doctor *d, const char *path)
{
    struct la_conf_findings f = {0};
    struct la_conf *c = la_conf_load(path, &f);
    if (c) {
        la_conf_check_host(c, &f);
        struct la_certs *certs = la_certs_new(c, NULL, &f);
        la_certs_unref(&certs);
    }
    add_findings(d, &f);
    if (c && f.errors == 0)
        doctor_say(d, DOCTOR_OK, "configuration", "%s can be run", path);
    la_conf_findings_fini(&f);
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->upstreams; i++) {
        check_ports(d, &c->upstream[i]);
        check_ranges(d, &c->upstream[i]);
        check_disk(d, c, &c->upstream[i]);
    }
    check_descriptors(d, c, c->workers ? c->workers : d->cpus);
    check_workers(d, c);
    check_backlogs(d, c);
    check_memory(d, c);
    la_conf_free(c);
}
