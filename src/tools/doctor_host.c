/* doctor_host.c: what this host allows: local ports, TIME_WAIT, accept queues, descriptors, CPU, memory, and what this
 * kernel can do.
 *
 * Owns nothing. Never writes a sysctl; what cannot be read (a sandbox) is taken at the kernel's default and not
 * complained of. The thresholds are those at which a busy proxy feels it, not those of a laptop's defaults: a finding
 * names the number it is held against. */
#include "tools/doctor_private.h"

#include "lastack/diag.h"
#include "lastack/sock.h"

#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define TIME_WAIT_S 60

static void nothing(void *arg, const struct la_diag_socket *s)
{
    (void)arg;
    (void)s;
}

/* ---- local ports ---- */

static void port_range(struct doctor *d)
{
    if (!la_diag_port_range(&d->low, &d->high)) {
        d->low = 32768;
        d->high = 60999;
    }
    d->usable = la_diag_usable_ports(d->low, d->high);
    unsigned all = (unsigned)(d->high - d->low) + 1, rate = d->usable / TIME_WAIT_S;
    enum doctor_level level = d->usable < 1000 ? DOCTOR_BAD : d->usable < 20000 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_say(d, level, "local ports",
               "net.ipv4.ip_local_port_range is %u-%u: %u ports for each (source, destination). A proxy that closes first runs out at "
               "%u short connections a second to one server; lastack lets the backend close first",
               d->low, d->high, d->usable, rate);
    if (level != DOCTOR_OK)
        doctor_cure(d, "sysctl net.ipv4.ip_local_port_range=\"10240 65535\" (keep what you listen on in "
                       "net.ipv4.ip_local_reserved_ports), or give upstreams several source addresses");
    if (d->usable < all) {
        doctor_say(d, all - d->usable > all / 2 ? DOCTOR_WARN : DOCTOR_OK, "reserved ports",
                   "net.ipv4.ip_local_reserved_ports takes %u of the range's %u ports away", all - d->usable, all);
        if (all - d->usable > all / 2)
            doctor_cure(d, "reserve less, or widen the range");
    }
}

static void time_wait(struct doctor *d)
{
    static const char *const reuse_text[] = {
        "0: a port in TIME_WAIT comes back after 60 s. lastack causes few; others on this host may cause many",
        "1: ports in TIME_WAIT are reused for new outgoing connections after a second",
        "2 (the default): ports in TIME_WAIT are reused on loopback only; tests on loopback flatter every proxy"};
    long reuse = la_diag_sysctl("net/ipv4/tcp_tw_reuse", 2);
    if (reuse >= 0 && reuse <= 2)
        doctor_say(d, DOCTOR_OK, "tcp_tw_reuse", "net.ipv4.tcp_tw_reuse is %s", reuse_text[reuse]);
    if (la_diag_sysctl("net/ipv4/tcp_timestamps", 1) == 0) {
        doctor_say(d, DOCTOR_WARN, "tcp_timestamps",
                   "net.ipv4.tcp_timestamps is 0: ports in TIME_WAIT can never be reused early, and retransmission is measured worse");
        doctor_cure(d, "sysctl net.ipv4.tcp_timestamps=1");
    }
    long buckets = la_diag_sysctl("net/ipv4/tcp_max_tw_buckets", 0);
    if (buckets > 0 && buckets < 4096) {
        doctor_say(d, DOCTOR_WARN, "tcp_max_tw_buckets",
                   "net.ipv4.tcp_max_tw_buckets is %ld: beyond that the kernel forgets TIME_WAIT early and late segments may hit "
                   "new connections",
                   buckets);
        doctor_cure(d, "sysctl net.ipv4.tcp_max_tw_buckets=65536");
    }
    long fin = la_diag_sysctl("net/ipv4/tcp_fin_timeout", 60);
    if (fin > 60) {
        doctor_say(d, DOCTOR_WARN, "tcp_fin_timeout",
                   "net.ipv4.tcp_fin_timeout is %ld s: a port whose peer never hangs up stays busy that long after our close", fin);
        doctor_cure(d, "sysctl net.ipv4.tcp_fin_timeout=60 or less");
    } else {
        doctor_say(d, DOCTOR_OK, "tcp_fin_timeout", "net.ipv4.tcp_fin_timeout is %ld s", fin);
    }
}

/* ---- clients that come ---- */

static void accept_queues(struct doctor *d)
{
    d->somaxconn = la_diag_sysctl("net/core/somaxconn", 4096);
    bool low = d->somaxconn < 1024;
    doctor_say(d, low ? DOCTOR_WARN : DOCTOR_OK, "somaxconn",
               "net.core.somaxconn is %ld: at most so many connections wait to be accepted, per worker and listener%s", d->somaxconn,
               low ? "; a burst beyond that is dropped, and its clients try again after a second" : "");
    if (low)
        doctor_cure(d, "sysctl net.core.somaxconn=4096");
    long backlog = la_diag_sysctl("net/ipv4/tcp_max_syn_backlog", 1024), cookies = la_diag_sysctl("net/ipv4/tcp_syncookies", 1);
    bool bad = backlog < 1024 || cookies == 0;
    doctor_say(d, bad ? DOCTOR_WARN : DOCTOR_OK, "tcp_max_syn_backlog",
               "net.ipv4.tcp_max_syn_backlog is %ld, tcp_syncookies is %ld%s", backlog, cookies,
               bad ? ": a burst of new clients (or a SYN flood) fills it and others are not let in" : "");
    if (bad)
        doctor_cure(d, "sysctl net.ipv4.tcp_max_syn_backlog=4096 net.ipv4.tcp_syncookies=1");
    if (la_diag_sysctl("net/ipv4/tcp_abort_on_overflow", 0) == 1) {
        doctor_say(d, DOCTOR_WARN, "tcp_abort_on_overflow",
                   "net.ipv4.tcp_abort_on_overflow is 1: a full accept queue resets clients that would have been served a moment later");
        doctor_cure(d, "sysctl net.ipv4.tcp_abort_on_overflow=0");
    }
    long packets = la_diag_sysctl("net/core/netdev_max_backlog", 1000);
    if (packets < 1000) {
        doctor_say(d, DOCTOR_WARN, "netdev_max_backlog",
                   "net.core.netdev_max_backlog is %ld packets: bursts are dropped before TCP sees them", packets);
        doctor_cure(d, "sysctl net.core.netdev_max_backlog=5000");
    }
}

static void conntrack(struct doctor *d)
{
    long most = la_diag_sysctl("net/netfilter/nf_conntrack_max", 0), now = la_diag_sysctl("net/netfilter/nf_conntrack_count", 0);
    if (most <= 0)
        return;
    enum doctor_level level = now * 10 > most * 9 ? DOCTOR_BAD : now * 10 > most * 6 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_say(d, level, "conntrack", "%ld of %ld tracked connections (net.netfilter.nf_conntrack_max)%s", now, most,
               level == DOCTOR_OK ? "" : ": when it is full, new connections are dropped without a word, both ways");
    if (level != DOCTOR_OK)
        doctor_cure(d, "raise net.netfilter.nf_conntrack_max, or do not track the proxy's traffic (notrack)");
}

/* ---- limits ---- */

static void descriptors(struct doctor *d)
{
    struct rlimit r = {1024, 1024};
    getrlimit(RLIMIT_NOFILE, &r);
    d->descriptors = r.rlim_max == RLIM_INFINITY ? UINT32_MAX : r.rlim_max;
    long nr_open = la_diag_sysctl("fs/nr_open", 1048576), file_max = la_diag_sysctl("fs/file-max", 0);
    enum doctor_level level = d->descriptors < 1024 ? DOCTOR_BAD : d->descriptors < 16384 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_say(d, level, "open files",
               "RLIMIT_NOFILE is %llu, at most %llu (lastack raises it to that); fs.nr_open is %ld. A client takes one, a connection "
               "to a server one, a spooled body one",
               (unsigned long long)r.rlim_cur, (unsigned long long)d->descriptors, nr_open);
    if (level != DOCTOR_OK)
        doctor_cure(d, "LimitNOFILE=%ld in the systemd unit, --ulimit nofile=%ld for a container", nr_open < 65536 ? nr_open : 65536L,
                    nr_open < 65536 ? nr_open : 65536L);
    if (file_max > 0 && (uint64_t)file_max < d->descriptors) {
        doctor_say(d, DOCTOR_WARN, "fs.file-max", "%ld open files for the whole host, less than this process alone may have", file_max);
        doctor_cure(d, "sysctl fs.file-max=%llu or more", (unsigned long long)d->descriptors * 2);
    }
}

static void cpus(struct doctor *d)
{
    cpu_set_t set;
    unsigned mask = sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
    unsigned long percent = la_conf_quota_percent();
    unsigned quota = (unsigned)((percent + 99) / 100);
    d->cpus = quota && quota < mask ? quota : mask;
    if (percent == 0 || percent >= mask * 100ul) {
        doctor_say(d, DOCTOR_OK, "CPUs", "%u CPUs, no quota: workers: auto is %u", mask, d->cpus);
        return;
    }
    bool low = percent < 100;
    doctor_say(d, low ? DOCTOR_WARN : DOCTOR_OK, "CPUs", "%u CPUs, but a cgroup quota of %lu.%02lu: workers: auto is %u%s", mask,
               percent / 100, percent % 100, d->cpus,
               low ? "; below one CPU everything stops for the rest of each period once the quota is used up" : "");
    if (low)
        doctor_cure(d, "give the container at least one CPU, or shares (requests) instead of a quota (limits)");
}

static void memory(struct doctor *d)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    d->memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    uint64_t group = la_conf_quota_memory();
    if (group && (d->memory == 0 || group < d->memory))
        d->memory = group;
}

/* ---- the kernel ---- */

static void kernel(struct doctor *d)
{
    d->port_range_option = la_sock_has_port_range();
    if (d->port_range_option) {
        doctor_say(d, DOCTOR_OK, "IP_LOCAL_PORT_RANGE", "this kernel has it: port ranges of sources cost nothing");
    } else {
        doctor_say(d, DOCTOR_OK, "IP_LOCAL_PORT_RANGE",
                   "not in this kernel (Linux 6.3 has it): sources with a port range bind their ports one by one, which gets slow when few are free");
    }
    int e = la_diag_tcp(1u << TCP_LISTEN, NULL, 0, nothing, NULL);
    if (e == 0) {
        doctor_say(d, DOCTOR_OK, "sock_diag", "the kernel lists its sockets: other processes' use of our ports is seen");
    } else {
        doctor_say(d, DOCTOR_WARN, "sock_diag", "the kernel does not list its sockets (%s): ports taken by others are not seen before "
                                                "a connection fails, and TIME_WAIT only where lastack caused it",
                   strerror(-e));
        doctor_cure(d, "allow AF_NETLINK sockets and /proc/net in the sandbox");
    }
}

void doctor_host(struct doctor *d)
{
    port_range(d);
    time_wait(d);
    accept_queues(d);
    conntrack(d);
    descriptors(d);
    cpus(d);
    memory(d);
    kernel(d);
}
