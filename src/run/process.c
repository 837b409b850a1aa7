/* process.c: `lastack run`: start, signals, reload, sampling, drain, end. The main thread.
 *
 * Start: configuration -> log files and listeners (with the rights of whoever started it, or of `user`: rights.c) -> rights
 * dropped -> threads -> the first snapshot -> ready.
 *
 * Reload (SIGHUP): a configuration that is wrong in any way changes nothing and is logged; one with new names takes effect
 * when they have been looked up. Drain (SIGTERM, SIGINT):
 * workers empty their accept queues and finish what is under way, at most drain_timeout; a second signal ends at once. A
 * worker that hangs in a call does not hear of it, and is waited for no longer than HANG_MS: exit 1. */
#include "process.h"
#include "lastack/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_MS 1000
#define NAMES_WAIT_MS 3000
#define NAMES_LOOK_MS 20
#define HANG_MS 2000

void la_findings_print(const struct la_conf_findings *f)
{
    for (size_t i = 0; i < f->n; i++)
        fprintf(stderr, "%s%s\n", f->item[i].warning ? "warning: " : "", f->item[i].text);
    if (f->host_unseen)
        fputs("note: this host's addresses, users and files and the certificates are looked at when these errors are gone\n", stderr);
}

/* ---- the host ---- */

/* Worker i gets the i-th CPU of the process's mask; with a quota, or more workers than CPUs, the kernel may move them. */
static void pin(struct process *p)
{
    cpu_set_t set;
    if (la_conf_quota_cpus() || sched_getaffinity(0, sizeof set, &set) != 0 || (unsigned)CPU_COUNT(&set) < p->workers)
        return;
    int cpu = -1;
    for (unsigned i = 0; i < p->workers; i++) {
        do
            cpu++;
        while (!CPU_ISSET(cpu, &set));
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(p->worker[i].thread, sizeof one, &one);
    }
}

static uint64_t raise_descriptors(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return 1024;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r);
    getrlimit(RLIMIT_NOFILE, &r);
    return r.rlim_cur;
}

/* ---- configuration ---- */

static struct la_conf *load(const struct process *p, struct la_certs **certs, struct la_conf_findings *f)
{
    struct stat st;
    if (p->snapshot && p->path && stat(p->path, &st) == 0 && !S_ISREG(st.st_mode)) { /* a pipe would wait for a writer */
        la_conf_finding_add(f, false, NULL, "%s: not a regular file, so that a reload could read it again", p->path);
        return NULL;
    }
    struct la_conf *c = p->path ? la_conf_load(p->path, f)
                                : la_conf_load_text(LA_QUICK_NAME, la_slice_str(p->text), f);
    if (c == NULL)
        return NULL;
    la_conf_check_host(c, f);
    *certs = la_certs_new(c, p->ring, f);
    if (f->errors == 0)
        return c;
    la_certs_unref(certs);
    la_conf_free(c);
    return NULL;
}

static const char *log_cure(bool taken)
{
    return taken && errno == EACCES ? "; `user` must be allowed to write it" : "";
}

/* Opens the access log; the descriptor's number stays for the process's life, so that workers need not be told. */
static bool open_access_log(struct process *p, const struct la_conf *c)
{
    const char *path = c->log.access;
    bool file = path && strcmp(path, "stdout") != 0, taken = file && la_rights_take(&p->rights, path);
    int fd = path == NULL ? -1 : la_log_open_file(file ? path : NULL);
    la_rights_back(&p->rights);
    if (path && fd < 0) {
        la_log_error("log.access: %s: %s%s", path, strerror(errno), log_cure(taken));
        return false;
    }
    if (file && !taken)
        la_rights_give_log(&p->rights, path, fd);
    if (fd >= 0 && p->access_fd >= 0) {
        dup3(fd, p->access_fd, O_CLOEXEC);
        close(fd);
    } else if (fd >= 0) {
        p->access_fd = fd;
    } /* switched off: workers are told -1, the number is kept for later */
    return true;
}

static bool open_error_log(struct process *p, const struct la_conf *c)
{
    const char *path = c->log.error;
    bool taken = path && la_rights_take(&p->rights, path), fine = la_log_open(path);
    la_rights_back(&p->rights);
    if (!fine)
        la_log_error("log.error: %s: %s%s", path ? path : "standard error", strerror(errno), log_cure(taken));
    else if (path && !taken)
        la_rights_give_log(&p->rights, path, la_log_fd());
    return fine;
}

static void set_limits(struct process *p, const struct la_conf *c)
{
    struct rlimit r = {1024, 1024};
    getrlimit(RLIMIT_NOFILE, &r);
    uint64_t others = 64 + 8 * p->workers;
    for (size_t i = 0; i < c->upstreams; i++)
        others += c->upstream[i].servers * (uint64_t)la_conf_pool_most(&c->upstream[i]);
    uint64_t max = r.rlim_cur > 2 * others ? r.rlim_cur - others : r.rlim_cur / 2;
    if (c->limits.clients != LA_AUTO)
        max = c->limits.clients;
    atomic_store(&p->clients_max, max);
    p->state.clients_max = max;
    atomic_store(&p->clients_per_address, c->limits.clients_per_address);
    if (c->limits.clients_per_address && atomic_load(&p->addresses) == NULL)
        atomic_store(&p->addresses, la_xcalloc(1, sizeof(struct address_counts)));
    atomic_store(&p->bounds.memory_max, c->limits.memory);
    atomic_store(&p->bounds.disk_max, c->limits.disk);
}

static void free_report(struct process *p)
{
    free(p->state.listener);
    p->state.listener = NULL;
    p->state.listeners = 0;
}

static void report_listeners(struct process *p)
{
    struct listener *l;
    free_report(p);
    la_list_each(&p->listeners, l, struct listener, node) {
        p->state.listener = la_xrealloc(p->state.listener, (p->state.listeners + 1) * sizeof *p->state.listener);
        p->state.listener[p->state.listeners++] = (struct la_admin_listener){l->name, l->stats, l->before};
    }
}

/* Makes conf the present configuration. */
static void adopt(struct process *p, struct la_conf *conf, struct la_certs *certs)
{
    struct la_snapshot *before = p->snapshot;
    p->snapshot = la_plan_make(p, conf, certs);
    p->state.snapshot = p->snapshot;
    la_plan_report(p);
    set_limits(p, conf);
    int fd = p->access_fd;
    if (conf->log.access == NULL)
        p->access_fd = -1;
    la_workers_apply(p);
    p->access_fd = fd;
    la_listeners_prune(p);
    report_listeners(p);
    la_snapshot_unref(&before);
}

/* The next configuration is the present one from now on. */
static void adopt_next(struct process *p)
{
    struct la_conf *conf = p->next;
    struct la_certs *certs = p->next_certs;
    p->next = NULL;
    p->next_certs = NULL;
    adopt(p, conf, certs);
    la_certs_unref(&certs);
    la_names_prune(p);
}

void la_process_replan(struct process *p)
{
    if (!p->draining)
        adopt(p, p->snapshot->conf, p->snapshot->certs);
}

static void reload_failed(struct process *p)
{
    p->state.reloads_failed++;
    la_log_error("reload failed: the running configuration stays as it is");
}

static void drop_next(struct process *p)
{
    la_timer_stop(&p->names_timer);
    la_certs_unref(&p->next_certs);
    if (p->next)
        la_conf_free(p->next);
    p->next = NULL;
}

/* Says which keys of c differ from what the process was started with and cannot be changed while it runs. */
static void tell_what_stays(const struct process *p, const struct la_conf *c)
{
    unsigned workers = la_conf_workers(c);
    if (workers != p->workers)
        la_log_warn("workers: %u run on; %u need a restart", p->workers, workers);
    if (!la_addr_eq(&c->admin, &p->admin_address))
        la_log_warn("admin.address: stays as it was; another one needs a restart");
    if (strcmp(c->user ? c->user : "", p->user ? p->user : "") != 0)
        la_log_warn("user: stays as it was; another one needs a restart");
    if (c->limits.header_bytes > p->header_bytes)
        la_log_warn("limits.header_bytes: %zu stays the most; more needs a restart", p->header_bytes);
}

/* The next configuration becomes the present one, in place of another. */
static void reload_next(struct process *p)
{
    const struct la_conf *c = p->next;
    char *why = NULL;
    if (!la_listeners_open(p, c, &why)) {
        la_log_error("%s", why);
        free(why);
        drop_next(p);
        la_names_prune(p);
        la_names_resolver(p, p->snapshot->conf);
        reload_failed(p);
        return;
    }
    la_listeners_configure(p, c);
    tell_what_stays(p, c);
    open_access_log(p, c);
    la_log_setup(c->log.level, c->log.format == LA_FORMAT_JSON);
    open_error_log(p, c);
    adopt_next(p);
    p->state.reloads_ok++;
    la_log_notice("configuration reloaded");
}

static void reload(struct process *p);

/* The next configuration becomes the first; its listeners are open. */
static void become_ready(struct process *p)
{
    const struct la_conf *c = p->next;
    adopt_next(p);
    p->state.ready = true;
    la_log_notice("lastack %s runs: %u workers, %zu listeners, %zu upstreams", LASTACK_VERSION, p->workers, c->listens, c->upstreams);
    la_timer_set(&p->tick, TICK_MS);
    if (p->reload_due)
        reload(p);
}

static void on_names(struct la_timer *t)
{
    struct process *p = la_container(t, struct process, names_timer);
    if (!la_names_settled(p) && la_loop_now_ns(p->loop) < p->names_due_ns)
        la_timer_set(t, NAMES_LOOK_MS);
    else if (p->snapshot)
        reload_next(p);
    else
        become_ready(p);
}

/* Takes conf and certs: they take effect when every name in them has been asked for, at the latest after NAMES_WAIT_MS. */
static void await_names(struct process *p, struct la_conf *conf, struct la_certs *certs)
{
    drop_next(p);
    p->next = conf;
    p->next_certs = certs;
    la_names_resolver(p, conf);
    la_names_watch(p, conf);
    p->names_due_ns = la_loop_now_ns(p->loop) + NAMES_WAIT_MS * 1000000ull;
    on_names(&p->names_timer);
}

static void reload(struct process *p)
{
    struct la_conf_findings f = {0};
    struct la_certs *certs = NULL;
    struct la_conf *c = load(p, &certs, &f);
    for (size_t i = 0; i < f.n; i++)
        la_log_write(f.item[i].warning ? LA_LOG_WARN : LA_LOG_ERROR, "%s", f.item[i].text);
    la_conf_findings_fini(&f);
    if (c)
        await_names(p, c, certs);
    else
        reload_failed(p);
}

/* ---- once a second ---- */

static void on_tick(struct la_timer *t)
{
    struct process *p = la_container(t, struct process, tick);
    la_sampler_tick(p->sampler, &p->state);
    la_sizes_tick(p);
    la_ports_tick(p);
    la_timer_set(t, TICK_MS);
}

/* ---- signals and the end ---- */

static void on_drain_timeout(struct la_timer *t)
{
    struct process *p = la_container(t, struct process, drain_timer);
    la_log_warn("drain_timeout is over: closing what is left");
    la_workers_drain(p, true);
}

static void on_hang(struct la_timer *t)
{
    struct process *p = la_container(t, struct process, hang_timer);
    la_log_error("%u of %u workers do not answer: ending without them", p->live_workers, p->workers);
    la_admin_free(&p->admin);
    _exit(1);
}

static void end_at_once(struct process *p)
{
    la_workers_drain(p, true);
    if (!la_timer_is_set(&p->hang_timer))
        la_timer_set(&p->hang_timer, HANG_MS);
}

static void on_signal(struct la_signal *s, int signum)
{
    struct process *p = s->arg;
    switch (signum) {
    case SIGHUP:
        if (p->snapshot == NULL)
            p->reload_due = true;
        else if (!p->draining)
            reload(p);
        break;
    case SIGUSR1:
        if (!la_log_reopen())
            la_log_error("log.error cannot be opened again: %s", strerror(errno));
        la_workers_reopen_log(p);
        if (p->snapshot || p->next)
            open_access_log(p, p->snapshot ? p->snapshot->conf : p->next);
        break;
    case SIGUSR2:
        la_log_warn("SIGUSR2: a new binary cannot take over from this one. Start it beside this one with another admin.address (TCP "
                    "listeners share their ports), then send SIGTERM here; for a new configuration SIGHUP does");
        break;
    case SIGTERM:
    case SIGINT:
        drop_next(p);
        la_listeners_leave(p);
        if (p->draining || p->snapshot == NULL) {
            end_at_once(p);
        } else {
            la_log_notice("draining: at most %llu s", (unsigned long long)p->snapshot->conf->drain_timeout_ms / 1000);
            p->draining = p->state.draining = true;
            la_workers_drain(p, false);
            la_timer_set(&p->drain_timer, p->snapshot->conf->drain_timeout_ms);
        }
        break;
    default: break;
    }
}

/* Those that ask for something wait until start_signals; those that end the process end it at any time. */
static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(how, &set, NULL);
}

static void start_signals(struct process *p)
{
    static const int list[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < la_count(list); i++) {
        p->signals[i].arg = p;
        la_signal_start(&p->signals[i], p->loop, list[i], on_signal);
    }
    hold_signals(SIG_UNBLOCK);
}

void la_process_worker_done(struct process *p)
{
    if (--p->live_workers == 0)
        la_loop_stop(p->loop);
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    struct la_note *n = la_container(mail, struct la_note, mail);
    n->deliver(n);
}

/* ---- start ---- */

static bool no_loop(void)
{
    fprintf(stderr, "cannot create an event loop: %s\n", strerror(errno));
    return false;
}

static bool start(struct process *p, struct la_conf *conf)
{
    char *why = NULL;
    int err = 0;
    p->workers = la_conf_workers(conf);
    p->header_bytes = conf->limits.header_bytes;
    p->admin_address = conf->admin;
    p->user = conf->user ? la_xstrdup(conf->user) : NULL;
    la_list_init(&p->listeners);
    la_list_init(&p->names);
    p->access_fd = -1;
    if ((p->loop = la_loop_new(on_mail, p)) == NULL)
        return no_loop();
    p->proxy_stats = la_xcalloc(p->workers, sizeof *p->proxy_stats);
    p->state = (struct la_admin_state){.workers = p->workers, .proxy_stats = p->proxy_stats, .bounds = &p->bounds,
                                       .start_wall_ns = la_wall_ns(), .dump = la_workers_dump};
    if (!la_rights_find(&p->rights, conf->user) || !open_access_log(p, conf) || !open_error_log(p, conf))
        return false;
    if (!la_listeners_open(p, conf, &why)) {
        fprintf(stderr, "%s\n", why);
        free(why);
        return false;
    }
    p->sampler = la_sampler_new();
    if (conf->admin.len && (p->admin = la_admin_new(p->loop, &conf->admin, &p->state, p->sampler, &err)) == NULL) {
        why = la_listen_error(conf, "admin.address", &conf->admin, err, false);
        fprintf(stderr, "%s\n", why);
        free(why);
        return false;
    }
    if (!la_rights_drop(&p->rights, conf->user))
        return false;
    p->filer = la_filer_new(2);
    if (!la_names_resolver(p, conf) || p->filer == NULL)
        return false;
    set_limits(p, conf);
    return true;
}

/* The kernel takes everything back but the files of Unix sockets. */
_Noreturn static void give_up(struct process *p)
{
    la_listeners_leave(p);
    la_admin_free(&p->admin);
    exit(1);
}

static void start_workers(struct process *p)
{
    p->crew.workers = p->workers;
    p->crew.member = la_xcalloc(p->workers, sizeof(struct la_upstreams *));
    p->worker = la_xcalloc(p->workers, sizeof *p->worker);
    for (unsigned i = 0; i < p->workers; i++)
        if (!la_worker_init(&p->worker[i], p, i)) {
            no_loop();
            give_up(p);
        }
    for (unsigned i = 0; i < p->workers; i++) {
        if (!la_worker_start(&p->worker[i])) {
            fprintf(stderr, "cannot start worker %u: %s\n", i, strerror(errno));
            give_up(p);
        }
        p->live_workers++;
    }
    pin(p);
}

static void finish(struct process *p)
{
    if (p->worker)
        la_workers_join(p);
    /* What workers have sent each other last: its receivers are gone, places and references go back. */
    bool any = true;
    while (any) {
        any = false;
        for (unsigned i = 0; i < p->workers && p->worker; i++)
            any |= la_loop_take_mail(p->worker[i].loop);
        any |= la_loop_take_mail(p->loop);
    }
    for (unsigned i = 0; i < p->workers && p->worker; i++)
        la_worker_fini(&p->worker[i]);
    la_names_free(p);
    la_snapshot_unref(&p->snapshot);
    la_plan_free(p);
    drop_next(p);
    la_tls_ring_free(&p->ring);
    for (unsigned i = 0; i < la_count(p->signals); i++)
        if (p->signals[i].arg)
            la_signal_stop(&p->signals[i], p->loop);
    la_timer_stop(&p->tick);
    la_timer_stop(&p->drain_timer);
    la_timer_stop(&p->hang_timer);
    if (p->admin)
        la_admin_free(&p->admin);
    la_sampler_free(&p->sampler);
    if (p->filer)
        la_filer_free(p->filer);
    la_listeners_free(p);
    free_report(p);
    free(p->addresses);
    free(p->user);
    free(p->proxy_stats);
    free(p->crew.member);
    free(p->worker);
    if (p->access_fd >= 0)
        close(p->access_fd);
    la_loop_free(p->loop);
    la_log_open(NULL);
}

int la_run(const char *path, const char *text)
{
    struct la_conf_findings f = {0};
    struct process *p = la_xcalloc(1, sizeof *p);
    p->path = path;
    p->text = text;
    hold_signals(SIG_BLOCK);
    raise_descriptors();
    p->ring = la_tls_ring_new();
    struct la_certs *certs = NULL;
    struct la_conf *conf = load(p, &certs, &f);
    if (!p->path)
        la_quick_findings(&f);
    la_findings_print(&f);
    la_conf_findings_fini(&f);
    if (conf == NULL) {
        la_tls_ring_free(&p->ring);
        free(p);
        return 1;
    }
    la_log_setup(conf->log.level, conf->log.format == LA_FORMAT_JSON);
    if (!start(p, conf))
        give_up(p);
    la_timer_init(&p->tick, p->loop, on_tick);
    la_timer_init(&p->drain_timer, p->loop, on_drain_timeout);
    la_timer_init(&p->hang_timer, p->loop, on_hang);
    la_timer_init(&p->names_timer, p->loop, on_names);
    start_signals(p);
    start_workers(p);
    await_names(p, conf, certs);
    la_loop_run(p->loop);
    la_log_notice("lastack ends");
    finish(p);
    free(p);
    return 0;
}
