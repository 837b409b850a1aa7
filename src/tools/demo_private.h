/* demo_private.h (layer: tools): what the demo's files share.
 *
 * demo.c: the command line, the processes, --stay. demo_phase.c: one measured phase. demo_net.c: namespaces
 * and the wires between them. demo_host.c: the process that lives where the proxy lives. demo_straight.c: the
 * proxy without a pool. demo_view.c: what the terminal shows. */
#ifndef LASTACK_TOOLS_DEMO_PRIVATE_H
#define LASTACK_TOOLS_DEMO_PRIVATE_H

#include "lastack/addr.h"

#include <stdio.h>
#include <sys/types.h>

#define DEMO_PORTS     500
#define DEMO_PORT_LOW  40000
#define DEMO_PORT_HIGH (DEMO_PORT_LOW + DEMO_PORTS - 1)
#define DEMO_POOL      64
#define DEMO_IDLE_MS   2000 /* the backend hangs up after this */
#define DEMO_WORK_US   300  /* and works so long on a request */

enum demo_way { DEMO_STRAIGHT, DEMO_POOLED, DEMO_WAYS };

struct demo_options {
    bool stay, loopback;
    unsigned seconds, rate;
    struct la_addr listen; /* --stay */
};

/* What one phase showed. */
struct demo_result {
    uint64_t requests, failed, opened, closed_by_proxy, closed_by_backend;
    unsigned proxy_time_wait, backend_time_wait, ports, ports_lowest;
    uint64_t p50_us, p99_us;
    char first_failure[256];
};

/* ---- demo_host.c: a process beside each proxy: in its namespace, if it has one ---- */
struct demo_host {
    enum demo_way way;
    bool own_net;
    pid_t pid;
    int fd;     /* to ask it */
    int log_fd; /* what its proxy printed */
    struct la_addr backend, listen, source;
};
struct demo_ports {
    unsigned open, time_wait, usable;
};
/* Forks it; with own_net also makes its namespace and the wire to ours. False: *why. */
bool demo_host_start(struct demo_host *h, enum demo_way way, bool own_net, const char **why);
bool demo_host_go(struct demo_host *h); /* starts the proxy and waits until it listens */
bool demo_host_ports(struct demo_host *h, struct demo_ports *out); /* false: it is gone */
void demo_host_stop(struct demo_host *h);                          /* and its proxy */
/* Starts "lastack run" as a child with its output in log_fd; -1: errno. */
pid_t demo_spawn_proxy(const struct la_addr *listen, const struct la_addr *backend, const char *source,
                       int log_fd);
bool demo_wait_listening(const struct la_addr *a, unsigned ms);
void demo_kill(pid_t pid); /* SIGTERM, after 2 s SIGKILL; waits */

/* ---- demo_net.c ---- */
bool demo_net_enter(
    bool may_be_root); /* a new network namespace for this process, with a user namespace if it must be */
bool demo_net_wire(pid_t peer,
                   unsigned index);   /* veth: 10.77.<index>.1 here; the other end goes to peer's namespace */
bool demo_net_inside(unsigned index); /* there: 10.77.<index>.2, sysctls */
bool demo_net_loopback_up(void);

/* ---- demo_straight.c: never returns but on failure ---- */
int demo_straight_run(const struct demo_host *h);

/* ---- demo_phase.c ---- */
/* 0: done. 1: could not be run. 130: interrupted (SIGINT and SIGTERM are blocked in this process). */
int demo_phase(struct demo_host *h, const struct demo_options *o, unsigned load_ms, struct demo_result *out);

/* ---- demo_view.c ---- */
struct demo_progress {
    enum demo_way way;
    double part; /* 0..1 */
    bool settling;
    uint64_t requests, failed;
    unsigned time_wait, ports_left, ports;
};
void demo_view_intro(const struct demo_options *o, bool own_net);
void demo_view_live(const struct demo_progress *p);
void demo_view_live_end(const struct demo_progress *p);
void demo_view_table(const struct demo_result r[DEMO_WAYS], bool own_net);
const char *demo_view_bold(void);
const char *demo_view_plain(void);

#endif
