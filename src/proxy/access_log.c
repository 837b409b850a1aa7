/* access_log.c: one line per exchange or command, gathered per worker and written in batches.
 *
 * Owns: the buffer. The descriptor is shared by all workers and opened for appending; a batch is whole lines, one
 * write(2), or, where only small writes stay in one piece (pipes), as many as it takes. Nothing waits for who reads a
 * pipe: what does not go is kept up to a bound. What cannot be written is dropped and told of in the error log: neither a
 * full disk nor a reader that stands still may stop requests. */
#include "exchange.h"
#include "lastack/json.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FULL      32768
#define KEPT_MOST (1u << 20) /* while the reader of a pipe is behind */
#define FLUSH_MS  200
#define BEHIND_MS 5       /* how soon it may take more */
#define LAST_MS   1000    /* for what is left when the worker ends */

struct la_access_log {
    struct la_text text;
    struct la_timer timer;
    int fd;
    bool file;   /* else a pipe or the like */
    bool behind; /* the pipe's reader is: text holds what it has not taken */
    enum la_log_format format;
    time_t second; /* of second_text */
    const char *second_format;
    char second_text[40];
};

static _Atomic bool stump; /* a full disk has cut a line, this worker's or another's */

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
    struct stat st;
    a->fd = fd;
    a->file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    a->format = format;
}

/* How much of p leaves in one write that no other worker's gets into: whole lines. */
static size_t one_piece(const struct la_access_log *a, const char *p, size_t n)
{
    if (a->file || n <= PIPE_BUF)
        return n;
    const char *end = memrchr(p, '\n', PIPE_BUF);
    if (end == NULL) /* a line that is longer */
        end = memchr(p, '\n', n);
    return end ? (size_t)(end - p) + 1 : n;
}

/* So that what follows a line that was cut is a line of its own. */
static void end_stump(int fd)
{
    if (atomic_load_explicit(&stump, memory_order_relaxed) && atomic_exchange(&stump, false) && la_log_put(fd, "\n", 1) != 1)
        atomic_store(&stump, true);
}

/* Keeps what is behind the first n bytes for later. */
static void keep_rest(struct la_access_log *a, size_t n)
{
    a->behind = true;
    a->text.n -= n;
    memmove(a->text.p, a->text.p + n, a->text.n);
    la_timer_set(&a->timer, BEHIND_MS);
}

void la_access_log_flush(struct la_access_log *a)
{
    la_timer_stop(&a->timer);
    a->behind = false;
    for (size_t at = 0, n; a->fd >= 0 && at < a->text.n; at += n) {
        n = one_piece(a, a->text.p + at, a->text.n - at);
        end_stump(a->fd);
        ssize_t written = la_log_put(a->fd, a->text.p + at, n);
        if (written == (ssize_t)n)
            continue;
        if (written < 0 && errno == EAGAIN && a->text.n - at < KEPT_MOST) {
            keep_rest(a, at);
            return;
        }
        if (written > 0 && a->text.p[at + (size_t)written - 1] != '\n')
            atomic_store(&stump, true);
        la_log_limited(LA_LOG_ERROR, 10000, "access log: %s; lines are lost",
                       written >= 0 ? "short write" : errno == EAGAIN ? "its reader does not read" : strerror(errno));
        if (written < 0 || a->file)
            break;
    }
    a->text.n = 0;
}

void la_access_log_free(struct la_access_log **ap)
{
    struct pollfd out = {(*ap)->fd, POLLOUT, 0};
    uint64_t until_ns = la_clock_ns() + LAST_MS * 1000000ull;
    do
        la_access_log_flush(*ap);
    while ((*ap)->behind && la_clock_ns() < until_ns && poll(&out, 1, LAST_MS) > 0);
    la_timer_stop(&(*ap)->timer);
    la_text_fini(&(*ap)->text);
    free(*ap);
    *ap = NULL;
}

/* Everything the formats share. */
struct line {
    char client[LA_ADDR_TEXT], source[LA_ADDR_TEXT];
    const char *upstream, *server, *error;
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

/* The second of now in a format's words, made once a second; holds until the next call. */
static const char *second_text(struct la_access_log *a, uint64_t now_ns, const char *format)
{
    time_t s = (time_t)(now_ns / 1000000000u);
    if (s != a->second || a->second_format != format) {
        struct tm tm;
        gmtime_r(&s, &tm);
        strftime(a->second_text, sizeof a->second_text, format, &tm);
        a->second = s;
        a->second_format = format;
    }
    return a->second_text;
}

/* The present time as JSON's lines have it. */
static const char *json_time(struct la_access_log *a, char *buf)
{
    static const char format[] = "%Y-%m-%dT%H:%M:%S";
    uint64_t now = la_wall_ns();
    unsigned ms = (unsigned)(now / 1000000u % 1000u);
    char rest[] = ".000Z";
    for (int i = 3; i > 0; i--, ms /= 10)
        rest[i] = (char)('0' + ms % 10);
    return strcat(strcpy(buf, second_text(a, now, format)), rest);
}

static void write_json(struct la_access_log *a, const struct la_exchange *x)
{
    struct la_text *out = &a->text;
    struct line l;
    struct la_json j;
    char time[64];
    describe(x, &l);
    la_json_init(&j, out);
    la_json_open(&j, NULL, '{');
    la_json_str(&j, "time", json_time(a, time));
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
    la_json_thousandths(&j, "queue_ms", x->queue_ns / 1000);
    la_json_thousandths(&j, "connect_ms", x->connect_ns / 1000);
    la_json_thousandths(&j, "backend_ms", x->backend_ns / 1000);
    la_json_thousandths(&j, "total_ms", (x->end_ns - x->start_ns) / 1000);
    la_json_int(&j, "retries", x->retries);
    la_json_str(&j, "error", l.error);
    if (x->tls) {
        la_json_str(&j, "tls", x->tls);
        la_json_bool(&j, "tls_resumed", x->tls_resumed);
    }
    la_json_slice(&j, "user_agent", x->agent);
    la_json_slice(&j, "referer", x->referer);
    la_json_close(&j, '}');
    la_text_add(out, "\n", 1);
}

/* With everything that could end a field or a line escaped as \xHH. */
static void escaped(struct la_text *out, struct la_slice s)
{
    for (size_t i = 0; i < s.n;) {
        size_t plain = i;
        while (plain < s.n && s.p[plain] >= 0x20 && s.p[plain] < 0x7f && s.p[plain] != '"' && s.p[plain] != '\\')
            plain++;
        la_text_add(out, s.p + i, plain - i);
        if (plain < s.n)
            la_text_addf(out, "\\x%02X", (unsigned char)s.p[plain++]);
        i = plain;
    }
}

static void quoted(struct la_text *out, struct la_slice s)
{
    la_text_add(out, "\"", 1);
    if (s.n)
        escaped(out, s);
    else
        la_text_add(out, "-", 1);
    la_text_add(out, "\"", 1);
}

static void named(struct la_text *out, const char *name, const char *value)
{
    la_text_str(out, name);
    la_text_str(out, *value ? value : "-");
}

static void counted(struct la_text *out, const char *name, uint64_t value)
{
    la_text_str(out, name);
    la_text_u64(out, value);
}

static void timed(struct la_text *out, const char *name, uint64_t ns)
{
    la_text_str(out, name);
    la_text_thousandths(out, ns / 1000);
}

static void write_combined(struct la_access_log *a, const struct la_exchange *x)
{
    static const char format[] = "%d/%b/%Y:%H:%M:%S +0000";
    struct la_text *out = &a->text;
    struct line l;
    describe(x, &l);
    la_text_str(out, l.client);
    named(out, " - - [", second_text(a, la_wall_ns(), format));
    la_text_str(out, "] \"");
    if (x->method.n) {
        escaped(out, la_slice(x->method.p, la_min64(x->method.n, 64)));
        la_text_add(out, " ", 1);
        escaped(out, la_slice(x->target.p, la_min64(x->target.n, 900)));
        la_text_str(out, x->minor ? " HTTP/1.1" : " HTTP/1.0");
    } else {
        la_text_add(out, "-", 1);
    }
    counted(out, "\" ", (uint64_t)x->status);
    counted(out, " ", x->body_out);
    la_text_add(out, " ", 1);
    quoted(out, x->referer);
    la_text_add(out, " ", 1);
    quoted(out, x->agent);
    named(out, " listener=", x->door->front.name);
    la_text_str(out, x->host.n ? " host=" : " host=-");
    escaped(out, x->host);
    counted(out, " bytes_in=", x->body_in);
    named(out, " upstream=", l.upstream);
    named(out, " server=", l.server);
    named(out, " source=", l.source);
    counted(out, " connection=", x->conn_id);
    counted(out, " reuse=", x->conn_reuse);
    timed(out, " queue_ms=", x->queue_ns);
    timed(out, " connect_ms=", x->connect_ns);
    timed(out, " backend_ms=", x->backend_ns);
    timed(out, " total_ms=", x->end_ns - x->start_ns);
    counted(out, " retries=", x->retries);
    named(out, " error=", l.error);
    if (x->tls) {
        named(out, " tls=", x->tls);
        named(out, " tls_resumed=", x->tls_resumed ? "true" : "false");
    }
    la_text_add(out, "\n", 1);
}

/* ---- commands ---- */

static void command_json(struct la_access_log *a, const char *listener, const struct la_command_note *n)
{
    struct la_json j;
    char time[64], client[LA_ADDR_TEXT];
    la_json_init(&j, &a->text);
    la_json_open(&j, NULL, '{');
    la_json_str(&j, "time", json_time(a, time));
    la_json_str(&j, "listener", listener);
    la_json_str(&j, "client", la_addr_host_text(n->peer, client));
    la_json_str(&j, "command", n->command);
    la_json_slice(&j, "key", n->key);
    la_json_int(&j, "keys", (int64_t)n->keys);
    la_json_str(&j, "result", n->result);
    la_json_int(&j, "hits", (int64_t)n->hits);
    la_json_int(&j, "misses", (int64_t)n->misses);
    la_json_int(&j, "bytes_in", (int64_t)n->bytes_in);
    la_json_int(&j, "bytes_out", (int64_t)n->bytes_out);
    la_json_str(&j, "upstream", n->upstream);
    la_json_str(&j, "server", n->server);
    la_json_thousandths(&j, "total_ms", n->total_ns / 1000);
    la_json_str(&j, "error", n->error ? la_err_name(n->error) : "");
    la_json_close(&j, '}');
    la_text_add(&a->text, "\n", 1);
}

static void command_combined(struct la_access_log *a, const char *listener, const struct la_command_note *n)
{
    static const char format[] = "%d/%b/%Y:%H:%M:%S +0000";
    struct la_text *out = &a->text;
    char client[LA_ADDR_TEXT];
    la_text_str(out, la_addr_host_text(n->peer, client));
    named(out, " - - [", second_text(a, la_wall_ns(), format));
    named(out, "] \"", n->command);
    if (n->key.n) {
        la_text_add(out, " ", 1);
        escaped(out, n->key);
    }
    named(out, "\" ", n->result);
    counted(out, " ", n->bytes_out);
    named(out, " listener=", listener);
    counted(out, " bytes_in=", n->bytes_in);
    counted(out, " keys=", n->keys);
    counted(out, " hits=", n->hits);
    counted(out, " misses=", n->misses);
    named(out, " upstream=", n->upstream);
    named(out, " server=", n->server);
    timed(out, " total_ms=", n->total_ns);
    named(out, " error=", n->error ? la_err_name(n->error) : "");
    la_text_add(out, "\n", 1);
}

static void soon(struct la_access_log *a)
{
    if (a->text.n >= (a->behind ? KEPT_MOST : FULL))
        la_access_log_flush(a);
    else if (!la_timer_is_set(&a->timer))
        la_timer_set(&a->timer, FLUSH_MS);
}

bool la_access_log_is_on(const struct la_access_log *a)
{
    return a->fd >= 0;
}

void la_access_log_command(struct la_access_log *a, const char *listener, const struct la_command_note *n)
{
    if (a->fd < 0)
        return;
    if (a->format == LA_FORMAT_JSON)
        command_json(a, listener, n);
    else
        command_combined(a, listener, n);
    soon(a);
}

void la_access_log_write(struct la_access_log *a, const struct la_exchange *x)
{
    if (a->fd < 0)
        return;
    if (a->format == LA_FORMAT_JSON)
        write_json(a, x);
    else
        write_combined(a, x);
    soon(a);
}
