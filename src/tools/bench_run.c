/* bench_run.c: one run: a proxy with one pool size, a load on it, and everything that both and the kernel counted
 * meanwhile.
 *
 * Owns: the proxy's process and the load for the time of the run. Never decides what to run (bench_plan.c) nor what it
 * means (bench_verdict.c).
 *
 * Good path: the proxy up, the load started; when the warm-up is over the load counts anew and the proxy's numbers are
 * read, at the end once more, and the run is the difference. In between, often: connections at work, ports. Of an open
 * loop the answers that come after the measured time have their latency counted, but are no throughput.
 *
 * Failures: no proxy, one that ends, or no load is a sentence; a load that nobody answers well is stopped early. A signal ends
 * the run: what was measured until then is kept, marked as cut. The load's threads, and one that calls. */
#include "tools/bench.h"

#include "lastack/diag.h"
#include "tools/bench_requests.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define PORTS_EVERY_S  0.25
#define PORTS_LEAST_OFF 100 /* times as long as a look took */
#define STEP_EVERY_S   0.1
#define HOPELESS_S     2.0 /* nothing but failures for so long, */
#define HOPELESS_N     10  /* and so many of them */
#define CLOSED_GRACE_S 1.0 /* for what is in flight when all is measured */
#define OPEN_GRACE_S   2.0

struct measure {
    const struct bench_task *t;
    struct bench_run *run;
    struct bench_proxy *proxy;
    struct la_load *load;
    struct la_load_result *now;
    struct bench_numbers from, to; /* of the proxy */
    struct bench_cpu cpu_from, cpu_to;
    double own_from_s;
    uint64_t start_ns, good_ns, good_n, good_failures;
    bool warm;
    double busy_sum;
    unsigned busy_n;
    double next_busy, next_ports, next_step;
};

struct bench_run *bench_run_new(void)
{
    struct bench_run *run = la_xcalloc(1, sizeof *run);
    run->latency_us = la_xcalloc(1, sizeof *run->latency_us);
    run->late_us = la_xcalloc(1, sizeof *run->late_us);
    return run;
}

void bench_run_free(struct bench_run *run)
{
    free(run->latency_us);
    free(run->late_us);
    free(run);
}

static sigset_t endings(void)
{
    struct sigaction hangup;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(&set, SIGHUP);
    return set;
}

void bench_heed_signals(void)
{
    sigset_t set = endings();
    sigprocmask(SIG_BLOCK, &set, NULL);
}

bool bench_wait(double seconds)
{
    static bool came;
    sigset_t set = endings();
    struct timespec t = {(time_t)seconds, (long)(fmod(seconds, 1) * 1e9)};
    if (came)
        nanosleep(&t, NULL);
    else
        came = sigtimedwait(&set, NULL, &t) > 0;
    return came;
}

static uint64_t good(const struct la_load_result *r)
{
    uint64_t bad = r->n.status_4xx + r->n.status_5xx + r->n.mixed;
    return r->n.done > bad ? r->n.done - bad : 0;
}

/* ---- errors ---- */

/* What came too late for an answer, or was never sent, is overload, which the throughput tells. */
static uint64_t failures(const struct la_load_result *r)
{
    uint64_t all = la_load_failures(r), load = r->n.unfinished + r->n.shed;
    return all > load ? all - load : 0;
}

static void add_error(struct bench_run *run, const char *cause, uint64_t n)
{
    size_t i = 0;
    while (n && i < BENCH_ERRORS && run->error[i].n)
        i++;
    if (n == 0 || i == BENCH_ERRORS)
        return;
    snprintf(run->error[i].cause, sizeof run->error[i].cause, "%.39s", cause);
    run->error[i].n = n;
}

static void load_errors(struct bench_run *run, const struct la_load_result *r)
{
#define X(name) {#name, r->n.name},
    const struct {
        const char *name;
        uint64_t n;
    } error[] = {X(refused) X(unreachable) X(no_port) X(connect_other) X(reset) X(eof_before) X(truncated) X(timeout)
                     X(malformed) X(extra_bytes) X(mixed) X(shed) X(unstarted) X(unfinished)};
#undef X
    for (size_t i = 0; i < la_count(error); i++)
        add_error(run, error[i].name, error[i].n);
    for (unsigned s = 400; s < 600; s++) {
        char text[16];
        snprintf(text, sizeof text, "status_%u", s);
        add_error(run, text, r->status[s]);
    }
}

static void proxy_errors(struct bench_run *run, const struct bench_numbers *from, const struct bench_numbers *to)
{
    for (size_t i = 0; i < to->errors; i++) {
        uint64_t before = 0;
        char cause[48];
        for (size_t k = 0; k < from->errors; k++)
            if (strcmp(from->error[k].cause, to->error[i].cause) == 0)
                before += from->error[k].n;
        snprintf(cause, sizeof cause, "proxy_%.33s", to->error[i].cause);
        add_error(run, cause, to->error[i].n > before ? to->error[i].n - before : 0);
    }
}

/* ---- the time split ---- */

/* The quantile of all requests; those that are not in the phase's histogram did not have it. Linear within a bucket. */
static double phase_quantile(const struct bench_numbers *from, const struct bench_numbers *to, int phase, uint64_t all, double q)
{
    uint64_t in = to->phase[phase].count - from->phase[phase].count, seen = all > in ? all - in : 0;
    double rank = q * (double)(all > in ? all : in), low = 0;
    uint64_t before = 0;
    for (size_t i = 0; i < BENCH_BUCKETS && in > 0; i++) {
        uint64_t le = to->phase[phase].le[i] - from->phase[phase].le[i], n = le - before;
        double high = bench_bucket_us(i);
        if (n && (double)(seen + le) >= rank) {
            double part = (rank - (double)(seen + before)) / (double)n;
            return part > 0 ? low + part * (high - low) : 0;
        }
        before = le > before ? le : before;
        low = high;
    }
    return 0;
}

static void split(struct bench_run *run, const struct bench_numbers *from, const struct bench_numbers *to)
{
    double mean[BENCH_PHASES], sum = 0;
    uint64_t all = to->phase[BENCH_PHASE_BACKEND].count - from->phase[BENCH_PHASE_BACKEND].count;
    for (int i = 0; i < BENCH_PHASES; i++)
        mean[i] = all ? (to->phase[i].sum_s - from->phase[i].sum_s) * 1e6 / (double)all : 0;
    run->part_mean_us[BENCH_CONNECT] = mean[BENCH_PHASE_CONNECT];
    run->part_mean_us[BENCH_QUEUE] = fmax(0, mean[BENCH_PHASE_QUEUE] - mean[BENCH_PHASE_CONNECT]); /* it waits for a dial too */
    run->part_mean_us[BENCH_BACKEND] = mean[BENCH_PHASE_BACKEND];
    for (int i = 0; i < BENCH_PROXY; i++)
        sum += run->part_mean_us[i];
    double latency = run->latency_us->count ? (double)run->latency_us->sum_us / (double)run->latency_us->count : 0;
    run->part_mean_us[BENCH_PROXY] = fmax(0, latency - sum);
    run->part_p99_us[BENCH_QUEUE] = phase_quantile(from, to, BENCH_PHASE_QUEUE, all, 0.99);
    run->part_p99_us[BENCH_CONNECT] = phase_quantile(from, to, BENCH_PHASE_CONNECT, all, 0.99);
    run->part_p99_us[BENCH_BACKEND] = phase_quantile(from, to, BENCH_PHASE_BACKEND, all, 0.99);
    run->part_p99_us[BENCH_PROXY] = -1; /* a rest has no quantile */
}

/* ---- while it goes ---- */

static double own_cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct port_count {
    uint64_t open, time_wait;
};

static void count_port(void *arg, const struct la_diag_socket *s)
{
    struct port_count *c = arg;
    if (s->state == 6) /* TCP_TIME_WAIT */
        c->time_wait++;
    else
        c->open++;
}

static void look_at_ports(struct measure *m)
{
    const struct bench_report *r = m->t->r;
    struct port_count c = {0};
    struct la_addr *to = la_xcalloc(r->backends, sizeof *to);
    size_t n = 0;
    for (size_t i = 0; i < r->backends; i++)
        if (la_addr_family(&r->backend[i].address) != AF_UNIX)
            to[n++] = r->backend[i].address;
    if (n)
        la_diag_tcp(LA_DIAG_HOLD_PORTS, to, n, count_port, &c);
    free(to);
    m->run->ports_open = la_max64(m->run->ports_open, c.open);
    m->run->ports_time_wait = la_max64(m->run->ports_time_wait, c.time_wait);
}

static void look_at_busy(struct measure *m)
{
    if (bench_proxy_read(m->proxy, &m->to)) {
        m->busy_sum += (double)m->to.busy;
        m->busy_n++;
    }
}

static void step(struct measure *m, double at_s)
{
    const struct bench_task *t = m->t;
    const struct la_load_result *r = m->now;
    struct bench_live live = {.size = m->run->size,
                              .rate = r->window_ns ? (double)r->n.timely * 1e9 / (double)r->window_ns : 0,
                              .p99_ms = (double)la_hist_quantile_us(&r->latency_us, 0.99) / 1000,
                              .failed = failures(r),
                              .warming = r->warming};
    t->step(t->arg, &live, t->seconds - at_s);
}

static void begin_measuring(struct measure *m)
{
    m->warm = true;
    m->own_from_s = own_cpu();
    m->run->blind = !bench_proxy_read(m->proxy, &m->from);
    bench_cpu_again(&m->cpu_from);
    m->run->begin_s = (double)(la_clock_ns() - m->t->bench_from_ns) / 1e9;
}

static void end_measuring(struct measure *m)
{
    struct bench_run *run = m->run;
    la_load_read(m->load, m->now);
    run->generator_cpu_s = own_cpu() - m->own_from_s;
    run->blind |= !bench_proxy_read(m->proxy, &m->to);
    run->proxy_cpu_s = !run->blind && m->to.cpu_s >= 0 ? m->to.cpu_s - m->from.cpu_s : -1;
    m->cpu_to = m->cpu_from;
    bench_cpu_again(&m->cpu_to);
    run->backend_cpu_s = bench_cpu_between(&m->cpu_from, &m->cpu_to);
}

/* Nothing but failures for a while. */
static bool hopeless(struct measure *m, uint64_t now_ns)
{
    uint64_t n = good(m->now), bad = failures(m->now);
    if (n != m->good_n || bad == 0 || bad < m->good_failures) { /* the warm-up's end sets all to zero */
        m->good_n = n;
        m->good_failures = bad;
        m->good_ns = now_ns;
    }
    return bad - m->good_failures >= HOPELESS_N && now_ns - m->good_ns > (uint64_t)(HOPELESS_S * 1e9);
}

/* One look at everything that is due. False: it shall end. */
static bool look(struct measure *m)
{
    uint64_t now_ns = la_clock_ns();
    double at = (double)(now_ns - m->start_ns) / 1e9 - m->t->warmup;
    if (!m->warm && at >= 0)
        begin_measuring(m);
    if (at >= m->next_step) {
        la_load_read(m->load, m->now);
        if (m->t->step)
            step(m, at);
        m->next_step = at + STEP_EVERY_S;
        if (hopeless(m, now_ns))
            return false;
    }
    if (m->warm && at >= m->next_busy) {
        look_at_busy(m);
        m->next_busy = at + fmin(0.2, fmax(0.02, m->t->seconds / 25));
    }
    if (m->warm && at >= m->next_ports) {
        look_at_ports(m);
        double took = (double)(la_clock_ns() - now_ns) / 1e9; /* the kernel walks a large table: it must not disturb */
        m->next_ports = at + fmax(PORTS_EVERY_S, PORTS_LEAST_OFF * took);
    }
    return at < m->t->seconds;
}

/* ---- the run ---- */

/* What to ask, and how. */
static void fill(struct la_load_conf *c, const struct measure *m)
{
    const struct bench_options *o = m->t->r->options;
    const struct bench_requests *asks = m->t->asks;
    la_load_defaults(c);
    c->protocol = o->protocol == BENCH_MEMCACHED ? LA_LOAD_MEMCACHED : LA_LOAD_HTTP;
    c->target = *bench_proxy_address(m->proxy);
    c->threads = o->threads;
    c->clients = m->run->clients;
    c->rate = m->run->rate;
    c->poisson = o->poisson;
    c->requests = m->t->requests;
    c->warmup_ms = (uint64_t)(m->t->warmup * 1000);
    c->duration_ms = (uint64_t)(m->t->seconds * 1000);
    c->grace_ms = (uint64_t)(1000 * (m->run->rate > 0 ? OPEN_GRACE_S : CLOSED_GRACE_S));
    c->ramp_ms = c->warmup_ms / 4;
    c->keepalive_percent = o->keepalive_percent;
    c->no_token = true;
    c->method = o->method;
    c->path = o->path;
    c->host = o->host;
    c->headers = o->headers;
    c->memcached.set_percent = o->set_percent;
    c->memcached.keys = o->keys;
    c->memcached.value_bytes = o->value_bytes;
    c->memcached.fill = m->t->tries;
    if (asks && asks->asks) {
        c->ask = asks->ask;
        c->asks = asks->asks;
        c->order = m->t->timed && !m->t->tries ? LA_LOAD_TIMED : LA_LOAD_CYCLE;
        c->speed = o->speed;
        c->rate = c->order == LA_LOAD_TIMED ? 0 : c->rate;
    }
}

static bool start_load(struct measure *m, char *why, size_t why_n)
{
    const char *problem;
    struct la_load_conf c;
    fill(&c, m);
    m->load = la_load_new(&c, &problem);
    if (!m->load) {
        snprintf(why, why_n, "The load cannot be made: %s.", problem);
        return false;
    }
    if (m->t->warmup <= 0)
        begin_measuring(m);
    m->start_ns = m->good_ns = la_clock_ns();
    if (la_load_start(m->load))
        return true;
    snprintf(why, why_n, "The load cannot be started: %s.", strerror(errno));
    la_load_free(m->load);
    m->load = NULL;
    return false;
}

static void go(struct measure *m)
{
    struct bench_run *run = m->run;
    double tick = fmin(0.02, m->t->seconds / 25);
    while (la_load_running(m->load) && !run->cut && look(m))
        run->cut = bench_wait(tick);
    end_measuring(m);
    if (run->cut)
        bench_proxy_stop(&m->proxy); /* nobody waits for what is in flight */
    la_load_stop(m->load);
    la_load_wait(m->load);
}

static void fill_heat(struct bench_run *run, const struct la_load_result *r)
{
    run->heat_slice_s = (double)r->heat_slice_ns / 1e9;
    for (size_t i = 0; i < LA_LOAD_SLICES; i++)
        for (size_t k = 0; k < LA_LOAD_LEVELS; k++)
            run->heat[i][k] = r->heat[i][k];
}

/* What the proxy counted. */
static void take_counts(struct measure *m)
{
    struct bench_run *run = m->run;
    for (int i = 0; i < BENCH_PARTS && run->blind; i++)
        run->part_mean_us[i] = run->part_p99_us[i] = -1;
    if (run->blind)
        return;
    proxy_errors(run, &m->from, &m->to);
    split(run, &m->from, &m->to);
    run->opened = m->to.opened - m->from.opened;
    run->closed_by_backend = m->to.closed_by_backend - m->from.closed_by_backend;
    run->closed_by_proxy = m->to.closed_by_proxy - m->from.closed_by_proxy;
}

static void conclude(struct measure *m)
{
    struct bench_run *run = m->run;
    struct la_load_result *end = la_xcalloc(1, sizeof *end);
    const struct la_load_result *r = run->rate > 0 && !run->cut ? end : m->now;
    la_load_read(m->load, end);
    run->seconds = r->warming ? 0 : (double)r->window_ns / 1e9;
    la_hist_add(run->latency_us, &r->latency_us);
    la_hist_add(run->late_us, &r->late_us);
    run->started = r->n.started;
    run->done = r->n.done;
    run->failed = failures(r);
    run->hits = r->n.hits;
    run->misses = r->n.misses;
    run->stored = r->n.stored;
    run->throughput = run->seconds > 0 ? (double)r->n.timely / run->seconds : 0;
    snprintf(run->first_failure, sizeof run->first_failure, "%s", end->first_failure);
    fill_heat(run, r);
    load_errors(run, r);
    take_counts(m);
    run->busy = m->busy_n ? m->busy_sum / m->busy_n : -1;
    free(end);
}

bool bench_run_do(const struct bench_task *t, struct bench_run *run, char *why, size_t why_n)
{
    struct measure *m = la_xcalloc(1, sizeof *m);
    *m = (struct measure){.t = t, .run = run, .next_step = -t->warmup, .now = la_xcalloc(1, sizeof *m->now)};
    m->proxy = bench_proxy_start(t->r, run->size, why, why_n);
    m->cpu_from = t->r->cpu;
    bool done = m->proxy && start_load(m, why, why_n);
    if (done) {
        go(m);
        done = !m->proxy || !bench_proxy_ended(m->proxy, why, why_n);
        conclude(m);
        run->cut |= !done;
        la_load_free(m->load);
    }
    if (m->proxy)
        bench_proxy_stop(&m->proxy);
    free(m->now);
    free(m);
    return done;
}
