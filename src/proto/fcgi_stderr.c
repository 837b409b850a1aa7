/* fcgi_stderr.c: what scripts write to standard error goes to the error log: line by line, in order, bounded.
 *
 * Owns: the unfinished line of a call, in a buffer it takes when there is one. The log makes control
 * characters harmless. A request logs so many lines, a thread so many in a second; what is over is counted,
 * and told when the request ends. */
#include "fcgi.h"

#include "lastack/log.h"

#define LINES_A_REQUEST 32
#define LINES_A_SECOND  100
#define LINE_BYTES      1500 /* what the log takes with our words around it */

/* May this thread log one more line? */
static bool allowed(uint64_t now_ns)
{
    static _Thread_local uint64_t since_ns;
    static _Thread_local unsigned lines;
    if (now_ns - since_ns >= 1000000000u) {
        since_ns = now_ns;
        lines = 0;
    }
    return lines++ < LINES_A_SECOND;
}

static void log_line(struct la_call *c, struct la_slice line)
{
    while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' '))
        line.n--;
    if (line.n == 0)
        return;
    if (c->fcgi.err_lines >= LINES_A_REQUEST || !allowed(la_loop_now_ns(c->env->loop))) {
        c->fcgi.err_held += line.n;
        return;
    }
    c->fcgi.err_lines++;
    const struct la_outlet *o = c->conn->outlet;
    la_log_warn("script's stderr, upstream %s, server %s: %.*s", o->branch->shared->name, o->pool.server->label,
                (int)la_min64(line.n, LINE_BYTES), line.p);
    if (line.n > LINE_BYTES)
        c->fcgi.err_held += line.n - LINE_BYTES;
}

static void flush(struct la_call *c)
{
    struct la_buf *b = c->fcgi.err;
    if (b && b->n)
        log_line(c, la_slice(b->p, b->n));
    if (b)
        b->n = 0;
}

/* Keeps a part of a line; a line longer than the buffer is cut into several. */
static void keep(struct la_call *c, struct la_slice s)
{
    if (c->fcgi.err_lines >= LINES_A_REQUEST ||
        (c->fcgi.err == NULL && (c->fcgi.err = la_buf_get(c->env, false)) == NULL)) {
        c->fcgi.err_held += s.n;
        return;
    }
    while (s.n) {
        struct la_buf *b = c->fcgi.err;
        size_t n = la_min64(s.n, LINE_BYTES - b->n);
        memcpy(b->p + b->n, s.p, n);
        b->n += (uint32_t)n;
        s = la_slice(s.p + n, s.n - n);
        if (b->n == LINE_BYTES)
            flush(c);
    }
}

void la_fcgi_stderr(struct la_call *c, struct la_slice s)
{
    const char *end;
    while (s.n && (end = memchr(s.p, '\n', s.n)) != NULL) {
        keep(c, la_slice(s.p, (size_t)(end - s.p)));
        flush(c);
        s = la_slice(end + 1, s.n - (size_t)(end + 1 - s.p));
    }
    keep(c, s);
}

void la_fcgi_stderr_end(struct la_call *c)
{
    if (c->conn) {
        flush(c);
        if (c->fcgi.err_held) {
            const struct la_outlet *o = c->conn->outlet;
            la_log_limited(LA_LOG_WARN, 1000,
                           "script's stderr, upstream %s, server %s: %llu bytes more of this request held back",
                           o->branch->shared->name, o->pool.server->label, (unsigned long long)c->fcgi.err_held);
        }
    }
    c->fcgi.err_held = 0;
    la_buf_put(c->env, &c->fcgi.err);
}
