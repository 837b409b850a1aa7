/* sums.c: adds up what workers count.
 *
 * Owns nothing. Never writes to anything it reads, never takes a lock: each counter has one writer, its worker, and is
 * read with a relaxed load. So two numbers of one page may be some microseconds apart; a sum of gauges that a
 * connection moves between may be off by one for as long.
 *
 * Good path: metrics.c and status.c ask for one number at a time. What can fail is only the look at /proc, which then
 * says -1. Main thread. */
#include "sums.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a server ---- */

int64_t la_sum_state(const struct la_server *s, unsigned slot, enum la_conn_state state)
{
    int64_t n = 0;
    for (unsigned w = 0; w < s->workers; w++)
        n += atomic_load_explicit(&s->stats[w].state[slot][state], memory_order_relaxed);
    return n;
}

#define SUM(workers, counter)                    \
    do {                                         \
        uint64_t n_ = 0;                         \
        for (unsigned w = 0; w < (workers); w++) \
            n_ += la_stat_get(&(counter));       \
        return n_;                               \
    } while (0)

uint64_t la_sum_opened(const struct la_server *s, unsigned slot)
{
    SUM(s->workers, s->stats[w].opened[slot]);
}

uint64_t la_sum_closed(const struct la_server *s, enum la_close_cause cause)
{
    SUM(s->workers, s->stats[w].closed[cause]);
}

uint64_t la_sum_server_code(const struct la_server *s, unsigned code)
{
    SUM(s->workers, s->stats[w].code[code]);
}

uint64_t la_sum_handshakes(const struct la_server *s, enum la_handshake_end e)
{
    SUM(s->workers, s->stats[w].handshake[e]);
}

struct la_server_sums la_sum_server(const struct la_server *s)
{
    struct la_server_sums sum = {0};
    for (unsigned w = 0; w < s->workers; w++) {
        sum.takeovers += la_stat_get(&s->stats[w].takeovers);
        sum.dial_failures += la_stat_get(&s->stats[w].dial_failures);
    }
    return sum;
}

#define UNKNOWN_REUSE_MS 60000 /* as in the pool: nothing known yet, replayable requests */

uint64_t la_reuse_in_force_ms(const struct la_conf_upstream *conf, const struct la_server *s, uint64_t now_ns,
                              const char **why)
{
    if (conf->pool.idle_reuse_ms != LA_AUTO) {
        *why = "configured";
        return conf->pool.idle_reuse_ms;
    }
    uint64_t reuse = la_clock_reuse_ms(&s->clock, now_ns);
    if (reuse == 0) {
        *why = "unknown";
        return UNKNOWN_REUSE_MS;
    }
    uint64_t announced = atomic_load_explicit(&s->clock.announced_ms, memory_order_relaxed);
    *why = la_clock_known_ms(&s->clock, now_ns) == announced ? "announced" : "learned";
    return reuse;
}

/* ---- an upstream ---- */

struct la_upstream_sums la_sum_upstream(const struct la_upstream *u)
{
    struct la_upstream_sums sum = {0};
    for (unsigned w = 0; w < u->workers; w++) {
        const struct la_upstream_stats *s = &u->stats[w];
        sum.bytes_in += la_stat_get(&s->bytes_in);
        sum.bytes_out += la_stat_get(&s->bytes_out);
        sum.requests += la_stat_get(&s->requests);
        sum.dials += la_stat_get(&s->dials);
        sum.queue_timeouts += la_stat_get(&s->queue_timeouts);
        sum.retry_race += la_stat_get(&s->retry_race);
        sum.retry_connect += la_stat_get(&s->retry_connect);
    }
    return sum;
}

void la_sum_phase(const struct la_upstream *u, enum la_phase phase, struct la_hist *out)
{
    la_hist_reset(out);
    for (unsigned w = 0; w < u->workers; w++)
        la_hist_add(out, &u->stats[w].phase[phase]);
}

uint64_t la_sum_upstream_code(const struct la_upstream *u, unsigned code)
{
    SUM(u->workers, u->stats[w].code[code]);
}

uint64_t la_sum_upstream_error(const struct la_upstream *u, enum la_err e)
{
    SUM(u->workers, u->stats[w].error[e]);
}

uint64_t la_sum_upstream_command(const struct la_upstream *u, unsigned command)
{
    SUM(u->workers, u->stats[w].command[command]);
}

uint64_t la_sum_upstream_keys(const struct la_upstream *u, bool hits)
{
    if (hits)
        SUM(u->workers, u->stats[w].hits);
    SUM(u->workers, u->stats[w].misses);
}

/* ---- the rest ---- */

uint64_t la_sum_proxy_code(const struct la_admin_state *s, unsigned code)
{
    SUM(s->proxy_stats ? s->workers : 0, s->proxy_stats[w].code[code]);
}

uint64_t la_sum_proxy_error(const struct la_admin_state *s, enum la_err e)
{
    SUM(s->proxy_stats ? s->workers : 0, s->proxy_stats[w].error[e]);
}

struct la_listener_sums la_sum_clients(const struct la_client_stats *stats, unsigned workers)
{
    struct la_listener_sums sum = {0};
    for (unsigned w = 0; w < workers; w++) {
        const struct la_client_stats *c = &stats[w];
        sum.connections += atomic_load_explicit(&c->connections, memory_order_relaxed);
        sum.accepted += la_stat_get(&c->accepted);
        sum.refused += la_stat_get(&c->refused);
        sum.requests += la_stat_get(&c->requests);
        sum.timeouts += la_stat_get(&c->timeouts);
        sum.proxy_good += la_stat_get(&c->proxy_good);
        sum.proxy_bad += la_stat_get(&c->proxy_bad);
        for (int e = 0; e < LA_HANDSHAKE_END_COUNT; e++) {
            uint64_t n = la_stat_get(&c->handshake[e]);
            sum.handshake[e] += n;
            sum.handshakes += n;
        }
    }
    return sum;
}

struct la_listener_sums la_sum_listener(const struct la_admin_state *s, unsigned listener)
{
    const struct la_admin_listener *l = &s->listener[listener];
    const struct la_listener_sums *before = &l->before;
    struct la_listener_sums sum = la_sum_clients(l->stats, s->workers);
    sum.accepted -= before->accepted;
    sum.refused -= before->refused;
    sum.requests -= before->requests;
    sum.timeouts -= before->timeouts;
    sum.proxy_good -= before->proxy_good;
    sum.proxy_bad -= before->proxy_bad;
    sum.handshakes -= before->handshakes;
    for (int e = 0; e < LA_HANDSHAKE_END_COUNT; e++)
        sum.handshake[e] -= before->handshake[e];
    return sum;
}

/* ---- this process ---- */

/* Linux 6.2 and later give the count as the directory's size; else it is counted. */
static int64_t count_fds(void)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return st.st_size;
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return -1;
    int64_t n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n - 1; /* the directory's own */
}

static int64_t read_rss(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long total, resident;
    if (f == NULL)
        return -1;
    bool ok = fscanf(f, "%ld %ld", &total, &resident) == 2;
    fclose(f);
    return ok ? (int64_t)resident * sysconf(_SC_PAGESIZE) : -1;
}

struct la_process_use la_process_use(void)
{
    struct rlimit r;
    struct la_process_use u = {.rss_bytes = read_rss(), .open_fds = count_fds(), .max_fds = -1};
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur != RLIM_INFINITY)
        u.max_fds = (int64_t)r.rlim_cur;
    return u;
}
