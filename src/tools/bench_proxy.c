/* bench_proxy.c: the proxy that is measured: a process of its own, forked without exec, that runs a generated
 * configuration.
 *
 * Owns: the process, its private directory with two Unix sockets (clients, admin), what it prints. It dies with its
 * parent, and the terminal's Ctrl-C does not reach it. Never measures (bench_run.c does); its numbers come from its own
 * /metrics.
 *
 * Good path: start, read now and then, stop: SIGTERM, and it drains, which takes no longer than the backends need to hang
 * up. What can fail: it does not start (what it printed is the reason), it ends early. One thread, which must be the only
 * one of its process at the start. */
#include "tools/bench.h"

#include "lastack/run.h"
#include "tools/scrape.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_MS 20000
#define STOP_MS  2000

struct bench_proxy {
    pid_t pid;
    char folder[96];
    struct la_addr clients, admin;
    int log_fd;
};

/* ---- its configuration ---- */

static void quoted(struct la_text *t, const char *before, const char *value, const char *after)
{
    la_text_str(t, before);
    la_json_quote(t, la_slice_str(value));
    la_text_str(t, after);
}

static void list(struct la_text *t, const char *key, const char *items)
{
    la_text_addf(t, "    %s: [", key);
    for (const char *p = items; *p;) {
        size_t n = strcspn(p, ",");
        la_text_str(t, p == items ? "" : ", ");
        la_json_quote(t, la_slice(p, n));
        p += n + (p[n] == ',');
    }
    la_text_str(t, "]\n");
}

/* A script is the answer to every path; a directory has the scripts that the paths name. */
static void fastcgi(struct la_text *t, const char *script)
{
    const char *slash = strrchr(script, '/');
    size_t n = strlen(script);
    bool one = n > 4 && strcmp(script + n - 4, ".php") == 0 && slash;
    char *root = one ? la_xstrndup(script, slash == script ? 1 : (size_t)(slash - script)) : la_xstrndup(script, n);
    quoted(t, "    fastcgi: { files: false, root: ", root, "");
    if (one)
        quoted(t, ", try: [", slash, "]");
    la_text_str(t, " }\n");
    free(root);
}

static void configure(struct la_text *t, const struct bench_proxy *p, const struct bench_report *r, unsigned size)
{
    static const char *const protocol[] = {"http", "fastcgi", "memcached"};
    const struct bench_options *o = r->options;
    char text[LA_ADDR_TEXT];
    la_text_addf(t, "workers: %u\ndrain_timeout: 1s\nlog: { level: warn }\nadmin: ", o->workers);
    quoted(t, "{ address: ", la_addr_text(&p->admin, text), " }\n");
    quoted(t, "listen:\n  - { name: bench, upstream: bench, address: ", la_addr_text(&p->clients, text), "");
    la_text_addf(t, ", protocol: %s }\n", o->protocol == BENCH_MEMCACHED ? "memcached" : "http");
    la_text_addf(t, "forwarded: { mode: off }\nupstreams:\n  bench:\n    protocol: %s\n", protocol[o->protocol]);
    la_text_str(t, "    servers: [");
    for (size_t i = 0; i < r->backends; i++)
        quoted(t, i ? ", " : "", la_addr_text(&r->backend[i].address, text), "");
    la_text_addf(t, "]\n    pool: { max: %u }\n    queue: { length: 1000000, timeout: 1h }\n", size);
    la_text_str(t, "    passive: { failures: 0 }\n    timeouts: { response: 60s }\n");
    if (o->source)
        list(t, "source", o->source);
    if (o->protocol == BENCH_FASTCGI)
        fastcgi(t, o->script);
}

/* ---- its process ---- */

static _Noreturn void child(const struct bench_proxy *p, const char *conf)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(p->log_fd, STDOUT_FILENO);
    dup2(p->log_fd, STDERR_FILENO);
    _exit(la_run(NULL, conf));
}

static bool make_folder(struct bench_proxy *p)
{
    const char *tmp = getenv("TMPDIR");
    if (!tmp || !*tmp || strlen(tmp) > 70)
        tmp = "/tmp"; /* a Unix socket's path has 107 bytes */
    snprintf(p->folder, sizeof p->folder, "%s/lastack.XXXXXX", tmp);
    if (!mkdtemp(p->folder))
        return false;
    const char *name[] = {"clients", "admin"};
    struct la_addr *a[] = {&p->clients, &p->admin};
    for (int i = 0; i < 2; i++) {
        char text[LA_ADDR_TEXT];
        const char *why;
        snprintf(text, sizeof text, "unix:%s/%s", p->folder, name[i]);
        if (!la_addr_parse(a[i], la_slice_str(text), false, &why))
            return false;
    }
    return true;
}

/* Ready, or ended, or too slow. */
static bool wait_ready(struct bench_proxy *p)
{
    struct timespec turn = {.tv_nsec = 2000000};
    for (uint64_t end = la_clock_ns() + START_MS * 1000000ull; la_clock_ns() < end; nanosleep(&turn, NULL)) {
        struct la_text text = {0};
        int status = la_scrape(&p->admin, "/readyz", &text);
        la_text_fini(&text);
        if (status == 200)
            return true;
        if (waitpid(p->pid, NULL, WNOHANG) == p->pid) {
            p->pid = 0;
            return false;
        }
    }
    return false;
}

/* What happened, and what it said last. */
static void say_why(const struct bench_proxy *p, const char *what, char *why, size_t why_n)
{
    char text[1024];
    ssize_t n = p->log_fd >= 0 ? pread(p->log_fd, text, sizeof text - 1, 0) : 0;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    for (ssize_t i = 0; i < n; i++)
        if (text[i] == '\n')
            text[i] = ' ';
    snprintf(why, why_n, "The proxy %s: %.*s", what, n > 0 ? (int)n : 16, n > 0 ? text : "it says nothing.");
}

struct bench_proxy *bench_proxy_start(const struct bench_report *r, unsigned size, char *why, size_t why_n)
{
    struct bench_proxy *p = la_xcalloc(1, sizeof *p);
    p->log_fd = memfd_create("log", MFD_CLOEXEC);
    if (p->log_fd < 0 || !make_folder(p)) {
        snprintf(why, why_n, "No directory for the proxy's sockets: %s.", strerror(errno));
        bench_proxy_stop(&p);
        return NULL;
    }
    struct la_text conf = {0};
    configure(&conf, p, r, size);
    fflush(NULL);
    p->pid = fork();
    if (p->pid == 0)
        child(p, conf.p);
    int e = errno;
    la_text_fini(&conf);
    if (p->pid > 0 && wait_ready(p))
        return p;
    if (p->pid < 0)
        snprintf(why, why_n, "The proxy does not start: %s.", strerror(e));
    else
        say_why(p, "does not start", why, why_n);
    bench_proxy_stop(&p);
    return NULL;
}

bool bench_proxy_ended(struct bench_proxy *p, char *why, size_t why_n)
{
    char what[64] = "ended in this run";
    int status;
    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        return false;
    p->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(what, sizeof what, "ended in this run, by signal %d", WTERMSIG(status));
    say_why(p, what, why, why_n);
    return true;
}

static void end_process(pid_t pid)
{
    struct timespec turn = {.tv_nsec = 1000000};
    kill(pid, SIGTERM);
    for (uint64_t end = la_clock_ns() + STOP_MS * 1000000ull; la_clock_ns() < end; nanosleep(&turn, NULL))
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void bench_proxy_stop(struct bench_proxy **pp)
{
    struct bench_proxy *p = *pp;
    *pp = NULL;
    if (p->pid > 0)
        end_process(p->pid);
    if (p->clients.len)
        unlink(p->clients.u.un.sun_path);
    if (p->admin.len)
        unlink(p->admin.u.un.sun_path);
    if (p->folder[0])
        rmdir(p->folder);
    if (p->log_fd >= 0)
        close(p->log_fd);
    free(p);
}

const struct la_addr *bench_proxy_address(const struct bench_proxy *p)
{
    return &p->clients;
}

/* ---- its numbers ---- */

static const char *const bucket_le[BENCH_BUCKETS] = {
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
    "0.25",   "0.5",     "1",      "2.5",   "5",      "10",    "30",   "60",    "+Inf", NULL};

double bench_bucket_us(size_t i)
{
    return i < BENCH_BUCKETS && bucket_le[i] && bucket_le[i][0] != '+' ? strtod(bucket_le[i], NULL) * 1e6 : 120e6;
}

static void take_phase(struct bench_numbers *n, const char *name, struct la_slice labels, double value)
{
    static const char *const phase[BENCH_PHASES] = {"queue", "connect", "backend"};
    char text[32], le[16];
    int at = -1;
    if (!la_scrape_label(labels, "phase", text, sizeof text))
        return;
    for (int i = 0; i < BENCH_PHASES; i++)
        at = strcmp(text, phase[i]) == 0 ? i : at;
    if (at < 0)
        return;
    if (strcmp(name, "_sum") == 0)
        n->phase[at].sum_s += value;
    else if (strcmp(name, "_count") == 0)
        n->phase[at].count += (uint64_t)value;
    else if (la_scrape_label(labels, "le", le, sizeof le))
        for (size_t i = 0; i < BENCH_BUCKETS && bucket_le[i]; i++)
            if (strcmp(le, bucket_le[i]) == 0)
                n->phase[at].le[i] += (uint64_t)value;
}

static void take_error(struct bench_numbers *n, struct la_slice labels, uint64_t value)
{
    char cause[40];
    if (value && n->errors < BENCH_ERRORS && la_scrape_label(labels, "cause", cause, sizeof cause)) {
        memcpy(n->error[n->errors].cause, cause, sizeof cause);
        n->error[n->errors++].n = value;
    }
}

static void take(struct bench_numbers *n, const char *name, struct la_slice labels, double value)
{
    char text[32] = "";
    if (strncmp(name, "lastack_request_seconds", 23) == 0) {
        take_phase(n, name + 23, labels, value);
    } else if (strcmp(name, "lastack_connections_opened_total") == 0) {
        n->opened += (uint64_t)value;
    } else if (strcmp(name, "lastack_connections_closed_total") == 0 && la_scrape_label(labels, "by", text, sizeof text)) {
        if (strcmp(text, "backend") == 0)
            n->closed_by_backend += (uint64_t)value;
        else
            n->closed_by_proxy += (uint64_t)value;
    } else if (strcmp(name, "lastack_connections") == 0 && la_scrape_label(labels, "state", text, sizeof text)) {
        if (strcmp(text, "busy") == 0)
            n->busy += (uint64_t)value;
    } else if (strcmp(name, "lastack_errors_total") == 0) {
        take_error(n, labels, (uint64_t)value);
    }
}

/* NAME{LABELS} VALUE, or NAME VALUE */
static void take_line(struct bench_numbers *n, struct la_slice line)
{
    const char *end = line.p + line.n, *open = memchr(line.p, '{', line.n), *space = end;
    if (line.n == 0 || line.p[0] == '#' || !open)
        return;
    while (space > open && space[-1] != ' ')
        space--;
    char name[64], number[40];
    if ((size_t)(open - line.p) >= sizeof name || space < open + 3 || (size_t)(end - space) >= sizeof number)
        return;
    snprintf(name, sizeof name, "%.*s", (int)(open - line.p), line.p);
    snprintf(number, sizeof number, "%.*s", (int)(end - space), space);
    take(n, name, la_slice(open + 1, (size_t)(space - 2 - open - 1)), strtod(number, NULL));
}

bool bench_proxy_read(const struct bench_proxy *p, struct bench_numbers *out)
{
    struct la_text text = {0};
    memset(out, 0, sizeof *out);
    bool good = la_scrape(&p->admin, "/metrics", &text) == 200;
    for (size_t at = 0; good && at < text.n;) {
        const char *end = memchr(text.p + at, '\n', text.n - at);
        size_t n = end ? (size_t)(end - text.p) - at : text.n - at;
        take_line(out, la_slice(text.p + at, n));
        at += n + 1;
    }
    la_text_fini(&text);
    out->cpu_s = bench_cpu_of(p->pid);
    return good;
}
