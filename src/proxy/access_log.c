/* access_log.c: one line per exchange, gathered per worker and written in batches.
 *
 * Owns: the buffer. The descriptor is shared by all workers and opened for appending; a batch is whole lines, one
 * write(2). What cannot be written is dropped and counted in the error log: a full disk must not stop requests. */
#include "exchange.h"
#include "lastack/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define FULL 32768
#define FLUSH_MS 200

struct la_access_log {
    struct la_text text;
    struct la_timer timer;
    int fd;
    enum la_log_format format;
};

static void on_timer(struct la_timer *t)
{
    la_access_log_flush(la_container(t, struct la_access_log, timer));
}

struct la_access_log *la_access_log_new(struct la_loop *l)
{
    struct la_access_log *a = la_xcalloc(1, sizeof *a);
    a->fd = -1;
    la_timer_init(&a->timer, l, on_timer);
    return a;
}

void la_access_log_set(struct la_access_log *a, int fd, enum la_log_format format)
{
    la_access_log_flush(a);
    a->fd = fd;
    a->format = format;
}

void la_access_log_flush(struct la_access_log *a)
{
    la_timer_stop(&a->timer);
    if (a->fd >= 0 && a->text.n) {
        ssize_t n = write(a->fd, a->text.p, a->text.n);
        if (n != (ssize_t)a->text.n)
            la_log_limited(LA_LOG_ERROR, 10000, "access log: %s; lines are lost", n < 0 ? strerror(errno) : "short write");
    }
    a->text.n = 0;
}

void la_access_log_free(struct la_access_log **ap)
{
    la_access_log_flush(*ap);
    la_text_fini(&(*ap)->text);
    free(*ap);
    *ap = NULL;
}

/* Everything the formats share. */
struct line {
    char client[LA_ADDR_TEXT], source[LA_ADDR_TEXT];
    const char *upstream, *server, *error;
    char time[64];
};

static void describe(const struct la_exchange *x, struct line *l)
{
    la_addr_host_text(&x->peer, l->client);
    l->upstream = x->branch ? x->branch->shared->name : "";
    l->server = x->server ? x->server->label : "";
    l->error = x->error ? la_err_name(x->error) : "";
    l->source[0] = 0;
    if (x->pair && x->pair->source.len)
        la_addr_host_text(&x->pair->source, l->source);
}

static double ms(uint64_t ns)
{
    return (double)(ns / 1000) / 1000.;
}

static void write_json(struct la_text *out, const struct la_exchange *x)
{
    struct line l;
    struct la_json j;
    describe(x, &l);
    uint64_t now = la_wall_ns();
    time_t s = (time_t)(now / 1000000000u);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(l.time, sizeof l.time, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(l.time + n, sizeof l.time - n, ".%03uZ", (unsigned)(now / 1000000u % 1000u));
    la_json_init(&j, out);
    la_json_open(&j, NULL, '{');
    la_json_str(&j, "time", l.time);
    la_json_str(&j, "listener", x->door->front.name);
    la_json_str(&j, "client", l.client);
    la_json_slice(&j, "method", x->method);
    la_json_slice(&j, "host", x->host);
    la_json_slice(&j, "target", x->target);
    la_json_int(&j, "status", x->status);
    la_json_int(&j, "bytes_in", (int64_t)x->body_in);
    la_json_int(&j, "bytes_out", (int64_t)x->body_out);
    la_json_str(&j, "upstream", l.upstream);
    la_json_str(&j, "server", l.server);
    la_json_str(&j, "source", l.source);
    la_json_int(&j, "connection", (int64_t)x->conn_id);
    la_json_int(&j, "reuse", (int64_t)x->conn_reuse);
    la_json_num(&j, "queue_ms", ms(x->queue_ns));
    la_json_num(&j, "connect_ms", ms(x->connect_ns));
    la_json_num(&j, "backend_ms", ms(x->backend_ns));
    la_json_num(&j, "total_ms", ms(x->end_ns - x->start_ns));
    la_json_int(&j, "retries", x->retries);
    la_json_str(&j, "error", l.error);
    la_json_slice(&j, "user_agent", x->agent);
    la_json_slice(&j, "referer", x->referer);
    la_json_close(&j, '}');
    la_text_add(out, "\n", 1);
}

/* In quotes, with everything that could end a field or a line escaped as \xHH. */
static void quoted(struct la_text *out, struct la_slice s)
{
    if (s.n == 0) {
        la_text_add(out, "\"-\"", 3);
        return;
    }
    la_text_add(out, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            la_text_addf(out, "\\x%02X", c);
        else
            la_text_add(out, &s.p[i], 1);
    }
    la_text_add(out, "\"", 1);
}

static void write_combined(struct la_text *out, const struct la_exchange *x)
{
    struct line l;
    describe(x, &l);
    time_t s = (time_t)(la_wall_ns() / 1000000000u);
    struct tm tm;
    gmtime_r(&s, &tm);
    strftime(l.time, sizeof l.time, "%d/%b/%Y:%H:%M:%S +0000", &tm);
    char request[1024];
    int n = x->method.n ? snprintf(request, sizeof request, "%.*s %.*s HTTP/1.%u", (int)la_min64(x->method.n, 64),
                                   x->method.p, (int)la_min64(x->target.n, 900), x->target.p, x->minor)
                        : 0;
    la_text_addf(out, "%s - - [%s] ", l.client, l.time);
    quoted(out, la_slice(request, (size_t)n));
    la_text_addf(out, " %d %llu ", x->status, (unsigned long long)x->body_out);
    quoted(out, x->referer);
    la_text_add(out, " ", 1);
    quoted(out, x->agent);
    la_text_addf(out, " upstream=%s server=%s source=%s connection=%llu reuse=%llu queue=%.3f connect=%.3f backend=%.3f "
                      "total=%.3f error=%s\n",
                 *l.upstream ? l.upstream : "-", *l.server ? l.server : "-", *l.source ? l.source : "-",
                 (unsigned long long)x->conn_id, (unsigned long long)x->conn_reuse, ms(x->queue_ns), ms(x->connect_ns),
                 ms(x->backend_ns), ms(x->end_ns - x->start_ns), *l.error ? l.error : "-");
}

void la_access_log_write(struct la_access_log *a, const struct la_exchange *x)
{
    if (a->fd < 0)
        return;
    if (a->format == LA_FORMAT_JSON)
        write_json(&a->text, x);
    else
        write_combined(&a->text, x);
    if (a->text.n >= FULL)
        la_access_log_flush(a);
    else if (!la_timer_is_set(&a->timer))
        la_timer_set(&a->timer, FLUSH_MS);
}
