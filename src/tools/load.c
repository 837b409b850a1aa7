/* load.c: the load generator's threads, its schedule, and the sums over all threads.
 *
 * Owns: the threads with their loops and clients, the bound on requests, the open loop's clock (a timerfd per
 * thread, since epoll's timeouts are whole milliseconds) and its queue of starts that wait for a client.
 * Never touches a socket of a client (load_client.c does).
 *
 * Good path: la_load_new, la_load_start, la_load_wait. A thread ends when nothing more may start and no
 * client is active, or when the grace is over. Failures: bad settings are a sentence from la_load_new; after
 * a failed request a client pauses 2 ms, so that a refused port is not hammered. */
#include "tools/load_private.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define FAILURE_PAUSE_MS 2

void la_load_defaults(struct la_load_conf *c)
{
    *c = (struct la_load_conf){.threads = 1,
                               .clients = 16,
                               .grace_ms = 5000,
                               .method = "GET",
                               .path = "/",
                               .host = "load.test",
                               .timeout_ms = 30000};
}

/* ---- one thread's schedule ---- */

static void finish_if_done(struct load_thread *t)
{
    if (t->stopping && t->active == 0)
        la_loop_stop(t->loop);
}

static void stop_starting(struct load_thread *t)
{
    t->stopping = true;
    t->backlog_n = 0;
    finish_if_done(t);
}

bool load_take_request(struct load_thread *t, uint64_t *seq)
{
    struct la_load *l = t->load;
    uint64_t n = atomic_fetch_add_explicit(&l->started, 1, memory_order_relaxed);
    if (l->conf.requests && n >= l->conf.requests) {
        stop_starting(t);
        return false;
    }
    LOAD_ADD(t, started, 1);
    *seq = n;
    return true;
}

static void begin(struct load_thread *t, struct client *c, uint64_t intended_ns)
{
    if (!load_take_request(t, &c->seq))
        return;
    t->active++;
    client_begin(c, intended_ns);
}

/* Open loop: waiting starts go to free clients. */
static void serve_backlog(struct load_thread *t)
{
    while (t->backlog_n > 0 && !t->stopping && !la_list_empty(&t->free)) {
        struct client *c = la_list_first(&t->free, struct client, free_node);
        la_list_remove(&c->free_node);
        uint64_t intended = t->backlog[t->backlog_at], now = la_clock_ns();
        t->backlog_at = (t->backlog_at + 1) % LOAD_BACKLOG;
        t->backlog_n--;
        la_hist_record(&t->r.late_us, now > intended ? (now - intended) / 1000 : 0);
        begin(t, c, intended);
    }
}

void load_client_free(struct client *c)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    t->active--;
    if (t->stopping) {
        finish_if_done(t);
        return;
    }
    if (k->rate > 0) {
        la_list_push_front(&t->free, &c->free_node);
        if (t->backlog_n > 0 && c->answered)
            serve_backlog(t);
        return;
    }
    uint64_t gap = k->gap_min_ms;
    if (k->gap_max_ms > k->gap_min_ms)
        gap += la_random(&t->random) % (k->gap_max_ms - k->gap_min_ms + 1);
    if (!c->answered)
        gap = la_max64(gap, FAILURE_PAUSE_MS);
    if (gap > 0)
        la_timer_set(&c->pace, gap);
    else
        begin(t, c, la_clock_ns());
}

static void advance(struct load_thread *t)
{
    double mean = 1e9 / (t->load->conf.rate / t->load->threads);
    if (t->load->conf.poisson) {
        double u = (double)((la_random(&t->random) >> 11) + 1) / 9007199254740993.0;
        mean *= -log(u);
    }
    t->next_ns += (uint64_t)la_max64((uint64_t)mean, 1);
}

static void arm_tick(struct load_thread *t)
{
    struct itimerspec at = {.it_value = {(time_t)(t->next_ns / 1000000000), (long)(t->next_ns % 1000000000)}};
    timerfd_settime(t->tick_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_tick(struct la_io *io, int events)
{
    (void)events;
    struct load_thread *t = la_container(io, struct load_thread, tick);
    uint64_t times;
    if (read(t->tick_fd, &times, sizeof(times)) < 0 || t->stopping)
        return;
    for (uint64_t now = la_clock_ns(); t->next_ns <= now; advance(t)) {
        if (t->backlog_n == LOAD_BACKLOG) {
            LOAD_ADD(t, shed, 1);
            continue;
        }
        t->backlog[(t->backlog_at + t->backlog_n++) % LOAD_BACKLOG] = t->next_ns;
    }
    serve_backlog(t);
    if (!t->stopping)
        arm_tick(t);
}

static void on_deadline(struct la_timer *timer)
{
    struct load_thread *t = la_container(timer, struct load_thread, deadline);
    if (!t->in_grace) {
        t->in_grace = true;
        la_timer_set(&t->deadline, t->load->conf.grace_ms);
        stop_starting(t);
        return;
    }
    for (unsigned i = 0; i < t->clients; i++)
        client_abandon(&t->client[i]);
    la_loop_stop(t->loop);
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)mail;
    struct load_thread *t = arg;
    if (!t->in_grace) {
        la_timer_stop(&t->deadline);
        on_deadline(&t->deadline);
    }
}

/* ---- threads ---- */

static void start_clients(struct load_thread *t)
{
    const struct la_load_conf *k = &t->load->conf;
    for (unsigned i = 0; i < t->clients && !t->stopping; i++) {
        struct client *c = &t->client[i];
        if (k->rate > 0)
            la_list_push_back(&t->free, &c->free_node);
        else if (k->ramp_ms || k->gap_max_ms)
            la_timer_set(&c->pace, la_random(&t->random) % (k->ramp_ms + k->gap_max_ms + 1));
        else
            begin(t, c, la_clock_ns());
    }
    if (k->rate > 0) {
        t->next_ns = la_clock_ns();
        advance(t);
        arm_tick(t);
    }
}

static void *thread_main(void *arg)
{
    struct load_thread *t = arg;
    struct la_load *l = t->load;
    la_loop_refresh(t->loop);
    if (l->conf.duration_ms)
        la_timer_set(&t->deadline, l->conf.duration_ms);
    start_clients(t);
    if (!t->stopping || t->active > 0)
        la_loop_run(t->loop);
    la_timer_stop(&t->deadline);
    for (unsigned i = 0; i < t->clients; i++)
        client_fini(&t->client[i]);
    atomic_store(&l->to_ns, la_clock_ns());
    atomic_fetch_sub(&l->running, 1);
    return NULL;
}

static bool thread_init(struct la_load *l, struct load_thread *t, unsigned index)
{
    const struct la_load_conf *k = &l->conf;
    t->load = l;
    t->random = la_random_seed();
    t->next_source = index;
    t->tick_fd = -1;
    la_list_init(&t->free);
    t->clients = k->clients / l->threads + (index < k->clients % l->threads ? 1 : 0);
    t->client = la_xcalloc(t->clients, sizeof(*t->client));
    t->scratch = la_xcalloc(1, LOAD_SCRATCH);
    t->loop = la_loop_new(on_mail, t);
    if (!t->loop)
        return false;
    la_timer_init(&t->deadline, t->loop, on_deadline);
    double step = k->keepalive_percent / 100;
    for (unsigned i = 0; i < t->clients; i++) /* spread evenly */
        client_init(&t->client[i], t, floor((i + 1) * step + 1e-9) > floor(i * step + 1e-9));
    if (k->rate <= 0)
        return true;
    t->backlog = la_xcalloc(LOAD_BACKLOG, sizeof(uint64_t));
    t->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (t->tick_fd < 0)
        return false;
    la_io_init(&t->tick, t->loop, t->tick_fd, on_tick);
    la_io_want(&t->tick, LA_READ);
    return true;
}

static void thread_fini(struct load_thread *t)
{
    if (t->tick_fd >= 0) {
        la_io_stop(&t->tick);
        close(t->tick_fd);
    }
    if (t->loop)
        la_loop_free(t->loop);
    free(t->client);
    free(t->scratch);
    free(t->backlog);
}

/* "GET=70,POST=30", or one name. */
static bool parse_methods(struct la_load *l, const char *text)
{
    double total = 0;
    for (const char *at = text; *at; l->methods++) {
        size_t n = strcspn(at, "=,");
        if (l->methods == LOAD_METHODS || n == 0 || n >= sizeof(l->method[0].name))
            return false;
        memcpy(l->method[l->methods].name, at, n);
        at += n;
        l->method[l->methods].percent = 100;
        if (*at == '=') {
            char *end;
            l->method[l->methods].percent = strtod(at + 1, &end);
            if (end == at + 1)
                return false;
            at = end;
        }
        total += l->method[l->methods].percent;
        if (*at == ',')
            at++;
        else if (*at)
            return false;
    }
    return l->methods == 1 || (total > 99.9 && total < 100.1);
}

static const char *check(const struct la_load_conf *c)
{
    if (c->target.len == 0)
        return "no target";
    if (c->clients == 0)
        return "at least one client is needed";
    if (c->requests == 0 && c->duration_ms == 0)
        return "a bound is needed: requests or duration";
    if (c->gap_max_ms && c->gap_max_ms < c->gap_min_ms)
        return "the largest gap is smaller than the smallest";
    if (c->path[0] != '/' && c->path[0] != '*')
        return "the path must start with /";
    if (strlen(c->path) + strlen(c->host) + (c->headers ? strlen(c->headers) * 3 : 0) > LOAD_OUT - 2048)
        return "path and headers are too long";
    for (size_t i = 0; i < c->sources; i++)
        if (la_addr_family(&c->source[i]) != la_addr_family(&c->target))
            return "source and target are of different families";
    return NULL;
}

struct la_load *la_load_new(const struct la_load_conf *conf, const char **why)
{
    *why = check(conf);
    if (*why)
        return NULL;
    struct la_load *l = la_xcalloc(1, sizeof(*l));
    l->conf = *conf;
    l->threads = conf->threads ? conf->threads : 1;
    if (l->threads > conf->clients)
        l->threads = conf->clients;
    l->salt = la_random_seed();
    if (l->conf.gap_min_ms > l->conf.gap_max_ms)
        l->conf.gap_max_ms = l->conf.gap_min_ms;
    l->thread = la_xcalloc(l->threads, sizeof(*l->thread));
    if (!parse_methods(l, conf->method))
        *why = "methods must be one name, or a mix that adds up to 100: GET=70,POST=30";
    for (unsigned i = 0; i < l->threads; i++)
        if (!thread_init(l, &l->thread[i], i) && !*why)
            *why = "no descriptors left for a loop";
    if (*why) {
        la_load_free(l);
        return NULL;
    }
    return l;
}

bool la_load_start(struct la_load *l)
{
    l->from_ns = la_clock_ns();
    atomic_store(&l->running, l->threads);
    for (unsigned i = 0; i < l->threads; i++) {
        int e = pthread_create(&l->thread[i].thread, NULL, thread_main, &l->thread[i]);
        if (e == 0)
            continue;
        atomic_fetch_sub(&l->running, l->threads - i);
        for (unsigned k = 0; k < i; k++) {
            la_loop_post(l->thread[k].loop, &l->thread[k].stop_mail);
            pthread_join(l->thread[k].thread, NULL);
        }
        errno = e;
        return false;
    }
    return true;
}

bool la_load_running(const struct la_load *l)
{
    return atomic_load(&l->running) > 0;
}

void la_load_stop(struct la_load *l)
{
    for (unsigned i = 0; i < l->threads; i++)
        la_loop_post(l->thread[i].loop, &l->thread[i].stop_mail);
}

void la_load_wait(struct la_load *l)
{
    for (unsigned i = 0; i < l->threads; i++)
        pthread_join(l->thread[i].thread, NULL);
}

void la_load_free(struct la_load *l)
{
    for (unsigned i = 0; i < l->threads; i++)
        thread_fini(&l->thread[i]);
    free(l->thread);
    free(l);
}

void la_load_read(const struct la_load *l, struct la_load_result *out)
{
    memset(out, 0, sizeof(*out));
    bool running = la_load_running(l);
    for (unsigned i = 0; i < l->threads; i++) {
        const struct la_load_result *r = &l->thread[i].r;
        uint64_t overtaken = la_max64(out->n.overtaken_max, r->n.overtaken_max);
#define X(name) out->n.name += atomic_load_explicit(&r->n.name, memory_order_relaxed);
        LA_LOAD_COUNTS(X)
#undef X
        out->n.overtaken_max = overtaken;
        for (size_t s = 0; s < la_count(out->status); s++)
            out->status[s] += atomic_load_explicit(&r->status[s], memory_order_relaxed);
        la_hist_add(&out->latency_us, &r->latency_us);
        la_hist_add(&out->connect_us, &r->connect_us);
        la_hist_add(&out->late_us, &r->late_us);
        if (!running && !out->first_failure[0])
            memcpy(out->first_failure, r->first_failure, sizeof(out->first_failure));
    }
    out->elapsed_ns = (running ? la_clock_ns() : atomic_load(&l->to_ns)) - l->from_ns;
}
