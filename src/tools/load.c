/* load.c: the load generator's threads: their clients, and which of them takes the next request.
 *
 * Owns: the threads with their loops and clients, the bound on requests, the open loop's alarm (a timerfd per
 * thread, since epoll's timeouts are whole milliseconds) and its queue of starts that wait for a client.
 * Never touches a socket of a client (load_client.c does).
 *
 * Good path: la_load_new, la_load_start, la_load_wait. A thread ends when nothing more may start and no
 * client is active, or when the grace is over. The alarm is heard first in a turn of the loop, and due starts are
 * looked for between two answers too, so that a turn with many answers delays none. Failures: bad settings are a
 * sentence from la_load_new; after a failed request a client pauses 2 ms, so that a refused port is not hammered. */
#include "tools/load_private.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define FAILURE_PAUSE_MS 2
#define HOLD_AT_ONCE     8 /* so that what is held are idle clients and not the traces of a burst */

void la_load_defaults(struct la_load_conf *c)
{
    *c = (struct la_load_conf){.threads = 1,
                               .clients = 16,
                               .grace_ms = 5000,
                               .method = "GET",
                               .path = "/",
                               .host = "load.test",
                               .speed = 1,
                               .memcached = {.keys = 1000, .gets = 1, .value_bytes = 100},
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
    uint64_t never = 0;
    if (!t->stopping)
        atomic_compare_exchange_strong(&t->load->stop_ns, &never, la_clock_ns());
    t->stopping = true;
    LOAD_ADD(t, unstarted, t->backlog_n);
    t->backlog_n = 0;
    finish_if_done(t);
}

/* Takes one of the bounded number of requests. False: enough were started. */
static bool take_request(struct load_thread *t, uint64_t *seq)
{
    struct la_load *l = t->load;
    uint64_t n = atomic_fetch_add_explicit(&l->started, 1, memory_order_relaxed), warm = atomic_load(&l->warm);
    if (l->conf.requests && warm != UINT64_MAX && n >= warm && n - warm >= l->conf.requests) {
        stop_starting(t);
        return false;
    }
    LOAD_ADD(t, started, 1);
    *seq = n;
    return true;
}

/* False: no more are to start. */
static bool begin(struct client *c, struct load_start s)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    if (t->stopping || !take_request(t, &c->seq))
        return false;
    if (k->ask && k->order == LA_LOAD_CYCLE)
        s.ask = (size_t)(c->seq % k->asks);
    else if (k->ask && k->order == LA_LOAD_RANDOM)
        s.ask = (size_t)(la_random(&t->random) % k->asks);
    t->active++;
    client_begin(c, s);
    return true;
}

void load_begin(struct client *c)
{
    begin(c, (struct load_start){la_clock_ns(), 0});
}

/* Open loop: waiting starts go to free clients. */
static void serve_backlog(struct load_thread *t)
{
    while (t->backlog_n > 0 && !t->stopping && !la_list_empty(&t->free)) {
        struct client *c = la_list_first(&t->free, struct client, free_node);
        la_list_remove(&c->free_node);
        struct load_start s = t->backlog[t->backlog_at];
        uint64_t now = la_clock_ns(), able = la_max64(s.at_ns, t->free_ns); /* before, it could not be sent */
        t->backlog_at = (t->backlog_at + 1) % LOAD_BACKLOG;
        t->backlog_n--;
        if (begin(c, s))
            la_hist_record(&t->r.late_us, now > able ? (now - able) / 1000 : 0);
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
    if (t->backlog) {
        if (la_list_empty(&t->free))
            t->free_ns = la_clock_ns();
        la_list_push_front(&t->free, &c->free_node);
        if (t->backlog_n > 0 && c->answered)
            serve_backlog(t);
        return;
    }
    if (k->hold) {
        if (t->held < t->clients)
            load_begin(&t->client[t->held++]);
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
        load_begin(c);
}

/* What is intended by now and before the end waits for a client. */
static void gather_due(struct load_thread *t, uint64_t now_ns)
{
    uint64_t until = la_min64(now_ns, t->load->end_ns);
    while (t->next_ns <= until && !t->stopping) {
        if (t->backlog_n == LOAD_BACKLOG)
            LOAD_ADD(t, shed, 1);
        else
            t->backlog[(t->backlog_at + t->backlog_n++) % LOAD_BACKLOG] = load_schedule_next(&t->schedule);
        load_schedule_take(&t->schedule);
        t->next_ns = load_schedule_next(&t->schedule).at_ns;
    }
}

void load_catch_up(struct load_thread *t, uint64_t now_ns)
{
    gather_due(t, now_ns);
    serve_backlog(t);
}

/* Setting the alarm takes back one that was not read yet. */
static void arm_tick(struct load_thread *t)
{
    struct itimerspec at = {.it_value = {(time_t)(t->next_ns / 1000000000), (long)(t->next_ns % 1000000000)}};
    timerfd_settime(t->tick_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_tick(struct la_io *io, int events)
{
    (void)events;
    struct load_thread *t = la_container(io, struct load_thread, tick);
    if (!t->stopping)
        load_catch_up(t, la_clock_ns());
    if (t->stopping || t->next_ns > t->load->end_ns)
        la_io_want(io, 0);
    else
        arm_tick(t);
}

static void on_warm(struct la_timer *timer)
{
    struct load_thread *t = la_container(timer, struct load_thread, warmup);
    uint64_t not_over = UINT64_MAX;
    atomic_compare_exchange_strong(&t->load->warm, &not_over, atomic_load(&t->load->started));
    load_counts_reset(t);
}

static void on_deadline(struct la_timer *timer)
{
    struct load_thread *t = la_container(timer, struct load_thread, deadline);
    if (!t->in_grace) {
        t->in_grace = true;
        la_timer_stop(&t->warmup);
        la_timer_set(&t->deadline, t->load->conf.grace_ms);
        if (t->backlog)
            gather_due(t, la_clock_ns());
        for (size_t i = 0; i < t->backlog_n; i++)
            load_count_waited(t, t->backlog[(t->backlog_at + i) % LOAD_BACKLOG].at_ns);
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
        if (t->backlog)
            la_list_push_back(&t->free, &c->free_node);
        else if (k->hold && i >= HOLD_AT_ONCE)
            break;
        else if (k->hold)
            load_begin(&t->client[t->held++]);
        else if (k->ramp_ms || k->gap_max_ms)
            la_timer_set(&c->pace, la_random(&t->random) % (k->ramp_ms + k->gap_max_ms + 1));
        else
            load_begin(c);
    }
    if (!t->backlog)
        return;
    uint64_t from = t->load->from_ns - k->warmup_ms * 1000000;
    load_schedule_init(&t->schedule, k, t->load->threads, (unsigned)(t - t->load->thread), from, t->random);
    t->next_ns = load_schedule_next(&t->schedule).at_ns;
    arm_tick(t);
}

static void *thread_main(void *arg)
{
    struct load_thread *t = arg;
    struct la_load *l = t->load;
    la_loop_refresh(t->loop);
    if (l->conf.duration_ms)
        la_timer_set(&t->deadline, l->conf.warmup_ms + l->conf.duration_ms);
    if (l->conf.warmup_ms)
        la_timer_set(&t->warmup, l->conf.warmup_ms);
    start_clients(t);
    if (!t->stopping || t->active > 0)
        la_loop_run(t->loop);
    la_timer_stop(&t->deadline);
    la_timer_stop(&t->warmup);
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
    t->scratch = la_xcalloc(1, LOAD_SKIP);
    t->out = la_xcalloc(1, LOAD_OUT);
    t->loop = la_loop_new(on_mail, t);
    if (!t->loop)
        return false;
    la_timer_init(&t->deadline, t->loop, on_deadline);
    la_timer_init(&t->warmup, t->loop, on_warm);
    double step = k->keepalive_percent / 100;
    for (unsigned i = 0; i < t->clients; i++) /* spread evenly */
        client_init(&t->client[i], t, floor((i + 1) * step + 1e-9) > floor(i * step + 1e-9));
    if (!load_is_open(k))
        return true;
    t->backlog = la_xcalloc(LOAD_BACKLOG, sizeof(*t->backlog));
    t->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (t->tick_fd < 0)
        return false;
    la_io_init(&t->tick, t->loop, t->tick_fd, on_tick);
    t->tick.first = true;
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
    free(t->out);
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
            if (end == at + 1 || !(l->method[l->methods].percent > 0))
                return false;
            at = end;
        }
        total += l->method[l->methods].percent;
        if (*at == ',' && at[1])
            at++;
        else if (*at)
            return false;
    }
    return total > 99.9 && total < 100.1;
}

bool la_load_takes_methods(const char *text)
{
    struct la_load *l = la_xcalloc(1, sizeof *l);
    bool good = parse_methods(l, text);
    free(l);
    return good;
}

static const char *check_http(const struct la_load_conf *c)
{
    size_t most = LOAD_OUT - 2048, headers = c->headers ? strlen(c->headers) * 3 : 0;
    if (c->path[0] != '/' && c->path[0] != '*')
        return "the path must start with /";
    if (strlen(c->path) * 3 + strlen(c->host) + headers > most)
        return "path and headers are too long";
    if (c->ask && c->asks == 0)
        return "the list of requests is empty";
    for (size_t i = 0; i < c->asks; i++) {
        const struct la_load_ask *a = &c->ask[i];
        if (strlen(a->method) + strlen(a->target) + strlen(a->host ? a->host : c->host) +
                (a->headers ? strlen(a->headers) : 0) + headers >
            most)
            return "a request of the list is too long";
    }
    if (c->ask && c->order == LA_LOAD_TIMED && c->asks > 1 && c->ask[c->asks - 1].at_us == 0)
        return "all requests of the list have the same time";
    return NULL;
}

static const char *check(const struct la_load_conf *c)
{
    if (c->target.len == 0)
        return "no target";
    if (c->clients == 0)
        return "at least one client is needed";
    if (c->requests == 0 && c->duration_ms == 0 && !c->hold)
        return "a bound is needed: requests or duration";
    if (c->gap_max_ms && c->gap_max_ms < c->gap_min_ms)
        return "the largest gap is smaller than the smallest";
    for (size_t i = 0; i < c->sources; i++)
        if (la_addr_family(&c->source[i]) != la_addr_family(&c->target))
            return "source and target are of different families";
    if (c->protocol == LA_LOAD_HTTP)
        return check_http(c);
    if (c->ask)
        return "a list of requests is for HTTP";
    if (c->memcached.gets == 0 || c->memcached.gets > c->memcached.keys)
        return "a get needs one key or more, and no more than there are";
    return load_memcached_fits(c) ? NULL : "a get of so many keys is too long";
}

static void settle(struct la_load *l)
{
    struct la_load_conf *c = &l->conf;
    l->protocol = c->protocol == LA_LOAD_MEMCACHED ? &load_memcached : &load_http;
    l->threads = c->threads ? c->threads : 1;
    if (l->threads > c->clients)
        l->threads = c->clients;
    l->salt = la_random_seed();
    if (c->gap_min_ms > c->gap_max_ms)
        c->gap_max_ms = c->gap_min_ms;
    c->no_token |= c->ask != NULL;
    load_memcached_settle(l);
    l->leaves = c->leave.in_head + c->leave.in_body + c->leave.waiting + c->leave.in_response > 0;
    l->paced = c->upload_rate || c->download_rate;
    l->many_writes = l->leaves || l->paced || c->body_bytes || c->ask || c->protocol != LA_LOAD_HTTP;
    l->warm = c->warmup_ms ? UINT64_MAX : 0;
    l->heat_slice_ns = c->duration_ms ? c->duration_ms * 1000000 / LA_LOAD_SLICES : 250000000;
}

struct la_load *la_load_new(const struct la_load_conf *conf, const char **why)
{
    *why = check(conf);
    if (*why)
        return NULL;
    struct la_load *l = la_xcalloc(1, sizeof(*l));
    l->conf = *conf;
    settle(l);
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
    l->from_ns = la_clock_ns() + l->conf.warmup_ms * 1000000;
    l->end_ns = l->conf.duration_ms ? l->from_ns + l->conf.duration_ms * 1000000 : UINT64_MAX;
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
    if (atomic_exchange(&l->stopped, true))
        return;
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
