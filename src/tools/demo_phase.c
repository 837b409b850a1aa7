/* demo_phase.c: one phase of the demo: a backend and the load as threads of this process, the proxy in its
 * helper's care.
 *
 * Owns: the phase's origin and load. Every figure comes from outside the proxy: requests from the load,
 * connections and who closed them from the origin, ports and TIME_WAIT from the kernel. Good path: origin up,
 * proxy up, load at a constant rate, then as long as the backend needs to hang up on what is idle, then the
 * last counts. Failures: what the proxy printed is shown. Ctrl-C ends the load and the phase. */
#include "tools/demo_private.h"

#include "lastack/diag.h"
#include "tools/load.h"
#include "tools/origin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TURN_MS 100

struct phase {
    struct demo_host *h;
    struct la_origin *origin;
    pthread_t origin_thread;
    struct la_load *load;
    struct la_load_result *r;
    struct demo_result *out;
    uint64_t from_ns, length_ns;
    bool interrupted, proxy_gone;
};

static void *run_origin(void *arg)
{
    la_origin_run(arg);
    return NULL;
}

/* One turn of the screen. False: Ctrl-C, or the proxy is gone. */
static bool turn(struct phase *p, bool settling)
{
    sigset_t set;
    struct timespec tick = {.tv_nsec = TURN_MS * 1000000};
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    p->interrupted |= sigtimedwait(&set, NULL, &tick) > 0;
    struct demo_ports ports;
    if (!demo_host_ports(p->h, &ports)) {
        p->proxy_gone = true;
        return false;
    }
    la_load_read(p->load, p->r);
    unsigned taken = ports.open + ports.time_wait, left = ports.usable > taken ? ports.usable - taken : 0;
    p->out->ports = ports.usable;
    if (left < p->out->ports_lowest)
        p->out->ports_lowest = left;
    p->out->proxy_time_wait = ports.time_wait;
    double part = (double)(la_clock_ns() - p->from_ns) / (double)p->length_ns;
    struct demo_progress show = {.way = p->h->way,
                                 .part = part < 1 ? part : 1,
                                 .settling = settling,
                                 .requests = p->r->n.started,
                                 .failed = la_load_failures(p->r),
                                 .time_wait = ports.time_wait,
                                 .ports_left = left,
                                 .ports = ports.usable};
    if (p->interrupted || part >= 1)
        demo_view_live_end(&show);
    else
        demo_view_live(&show);
    return !p->interrupted;
}

static void count_backend(void *arg, const struct la_diag_socket *s)
{
    struct phase *p = arg;
    struct la_addr remote = s->remote;
    la_addr_set_port(&remote, 0);
    if (la_addr_eq(&s->local, &p->h->backend) && la_addr_eq(&remote, &p->h->source))
        p->out->backend_time_wait++;
}

static void collect(struct phase *p)
{
    struct demo_result *out = p->out;
    const struct la_origin_counts *n = la_origin_counts(p->origin);
    la_load_read(p->load, p->r);
    out->requests = p->r->n.started;
    out->failed = la_load_failures(p->r);
    out->opened = n->accepted;
    out->closed_by_proxy = n->closed_by_peer_fin + n->closed_by_peer_rst;
    out->closed_by_backend = n->closed_by_origin;
    out->p50_us = la_hist_quantile_us(&p->r->latency_us, 0.5);
    out->p99_us = la_hist_quantile_us(&p->r->latency_us, 0.99);
    memcpy(out->first_failure, p->r->first_failure, sizeof(out->first_failure));
    la_diag_tcp(1u << 6, NULL, 0, count_backend, p);
}

static bool start_origin(struct phase *p)
{
    struct la_origin_conf c = {
        .listen = p->h->backend, .idle_ms = DEMO_IDLE_MS, .delay_us = DEMO_WORK_US, .size = 128};
    p->origin = la_origin_new(&c);
    if (!p->origin) {
        fprintf(stderr, "lastack demo: the backend cannot listen: %s\n", strerror(errno));
        return false;
    }
    if (pthread_create(&p->origin_thread, NULL, run_origin, p->origin) == 0)
        return true;
    la_origin_free(p->origin);
    return false;
}

static void show_log(int fd)
{
    char text[2048];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n > 0)
        fprintf(stderr, "%.*s\n", (int)n, text);
}

static struct la_load *new_load(const struct demo_host *h, const struct demo_options *o, unsigned load_ms)
{
    const char *why;
    struct la_load_conf c;
    la_load_defaults(&c);
    c.target = h->listen;
    c.clients = 512;
    c.rate = o->rate;
    c.duration_ms = load_ms;
    c.grace_ms = 3000;
    c.timeout_ms = 5000;
    c.path = "/";
    return la_load_new(&c, &why);
}

/* The load, then the wait until the backend has hung up. */
static int measure(struct phase *p, unsigned load_ms)
{
    if (!la_load_start(p->load))
        return 1;
    p->from_ns = la_clock_ns();
    p->length_ns = (load_ms + DEMO_IDLE_MS + 500) * 1000000ull;
    bool good = true;
    while (good && la_load_running(p->load))
        good = turn(p, false);
    la_load_stop(p->load);
    la_load_wait(p->load);
    uint64_t end = la_clock_ns() + (DEMO_IDLE_MS + 1000) * 1000000ull;
    while (good && atomic_load(&la_origin_counts(p->origin)->open) > 0 && la_clock_ns() < end)
        good = turn(p, true);
    p->length_ns = 1;
    good = good && turn(p, true); /* the last counts */
    collect(p);
    if (p->proxy_gone) {
        fprintf(stderr, "\nlastack demo: the proxy ended unexpectedly:\n");
        show_log(p->h->log_fd);
    }
    return p->interrupted ? 130 : p->proxy_gone ? 1 : 0;
}

int demo_phase(struct demo_host *h, const struct demo_options *o, unsigned load_ms, struct demo_result *out)
{
    *out = (struct demo_result){.ports = DEMO_PORTS, .ports_lowest = DEMO_PORTS};
    struct phase p = {.h = h, .out = out};
    if (!start_origin(&p))
        return 1;
    int code = 1;
    p.r = la_xcalloc(1, sizeof(*p.r));
    p.load = new_load(h, o, load_ms);
    if (p.load && demo_host_go(h)) {
        code = measure(&p, load_ms);
    } else {
        fprintf(stderr, "lastack demo: the proxy did not start:\n");
        show_log(h->log_fd);
    }
    if (p.load)
        la_load_free(p.load);
    demo_host_stop(h);
    la_origin_stop(p.origin);
    pthread_join(p.origin_thread, NULL);
    la_origin_free(p.origin);
    free(p.r);
    return code;
}
