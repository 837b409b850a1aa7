/* server.c: the admin listener: a little HTTP/1.1 server on the main loop.
 *
 * Owns: the listening socket, up to 64 clients with their buffers, and the one dump that may be under way. Never
 * changes anything in the proxy; answers GET and HEAD only; closes after each answer.
 *
 * Good path: accept, read a head of at most 8 KiB, make the whole answer in memory, write it as the client takes it,
 * send a FIN, wait for the client's (so that an unread rest of its request does not turn the answer into a reset).
 * /api/v1/connections waits for the workers: every client that asks while a dump is under way gets that one; a client
 * that has left is simply not there when it comes.
 *
 * What can fail: a client that is too slow is cut off after 10 s; when all 64 places are taken a new one pushes out the
 * oldest that still sends its request or has all of its answer, so that silent clients do not keep a probe out; while
 * all of them wait for their answers new ones wait in the backlog; without descriptors accepting pauses for 100 ms.
 * Main thread. */
#include "lastack/http1.h"
#include "lastack/log.h"
#include "lastack/sock.h"
#include "lastack/stream.h"
#include "lastack/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define CLIENTS    64
#define ACCEPTS_AT_ONCE 16 /* some turns go by before one that has just come may be pushed out: it is read before */
#define HEAD_BYTES 8192
#define TIMEOUT_MS 10000
#define LINGER_MS  1000
#define PAUSE_MS   100

enum client_state { READING, WAITING, WRITING, LINGERING };

struct client {
    struct la_list node;
    struct la_admin *admin;
    struct la_stream stream;
    struct la_timer timer;
    enum client_state state;
    bool head_only;
    size_t n, seen; /* of in */
    struct la_text out;
    size_t sent;
    char in[HEAD_BYTES];
};

/* A dump under way; it may outlive the listener. */
struct dump {
    struct la_admin *admin; /* NULL: gone */
};

struct la_admin {
    struct la_loop *loop;
    struct la_admin_state *state;
    struct la_sampler *sampler;
    struct la_addr address;
    struct la_sock_file file;
    struct la_io listen;
    struct la_timer pause;
    struct la_list clients;
    unsigned clients_n;
    struct dump *dump; /* NULL: none under way */
    struct la_http_head head; /* scratch */
};

/* ---- answers ---- */

static void client_free(struct client **cp);
static void client_write(struct client *c);

/* `extra` is whole header lines or "". */
static void respond(struct client *c, int status, const char *type, const char *extra, struct la_slice body)
{
    struct la_slice reason = la_http_reason(status);
    la_text_addf(&c->out,
                 "HTTP/1.1 %d %.*s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
                 "X-Content-Type-Options: nosniff\r\n%sConnection: close\r\n\r\n",
                 status, LA_SLICE_ARGS(reason), type, body.n, extra);
    if (!c->head_only)
        la_text_add(&c->out, body.p, body.n);
    c->state = WRITING;
    la_timer_set(&c->timer, TIMEOUT_MS);
    client_write(c);
}

static void respond_plain(struct client *c, int status, const char *extra, const char *text)
{
    respond(c, status, "text/plain; charset=utf-8", extra, la_slice_str(text));
}

static void respond_text(struct client *c, const char *type, struct la_text *text)
{
    respond(c, 200, type, "", la_slice(text->p, text->n));
    la_text_fini(text);
}

static void get_metrics(struct client *c)
{
    struct la_text text = {0};
    la_metrics_write(&text, c->admin->state, c->admin->sampler);
    respond_text(c, "text/plain; version=0.0.4; charset=utf-8", &text);
}

static void get_status(struct client *c)
{
    struct la_text text = {0};
    la_status_write(&text, c->admin->state, c->admin->sampler);
    respond_text(c, "application/json", &text);
}

static void get_healthz(struct client *c)
{
    respond_plain(c, 200, "", "ok\n");
}

static void get_readyz(struct client *c)
{
    const struct la_admin_state *s = c->admin->state;
    if (s->draining)
        respond_plain(c, 503, "", "draining\n");
    else if (!s->ready)
        respond_plain(c, 503, "", "starting: not all workers run yet, or names are still being resolved\n");
    else
        respond_plain(c, 200, "", "ready\n");
}

static void get_dashboard(struct client *c)
{
    respond(c, 200, "text/html; charset=utf-8",
            "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
            "connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'\r\n",
            la_slice_str(la_dashboard_html));
}

/* ---- the dump of live exchanges ---- */

static void on_dump(void *arg, struct la_text *json)
{
    struct dump *d = arg;
    struct la_admin *a = d->admin;
    struct client *c;
    free(d);
    if (a == NULL)
        return;
    a->dump = NULL;
    struct la_slice body = json && json->n ? la_slice(json->p, json->n) : LA_SLICE("[]");
    la_list_each(&a->clients, c, struct client, node)
        if (c->state == WAITING)
            respond(c, 200, "application/json", "", body);
}

static void get_connections(struct client *c)
{
    struct la_admin *a = c->admin;
    if (a->state->dump == NULL || a->state->snapshot == NULL) {
        respond_plain(c, 503, "", "the workers do not run\n");
        return;
    }
    c->state = WAITING;
    la_io_want(&c->stream.io, 0);
    la_timer_set(&c->timer, TIMEOUT_MS);
    if (a->dump)
        return;
    a->dump = la_xcalloc(1, sizeof *a->dump);
    a->dump->admin = a;
    a->state->dump(a->state, on_dump, a->dump);
}

/* ---- requests ---- */

static const struct {
    const char *path;
    void (*get)(struct client *c);
} endpoints[] = {
    {"/metrics", get_metrics},
    {"/api/v1/status", get_status},
    {"/api/v1/connections", get_connections},
    {"/healthz", get_healthz},
    {"/readyz", get_readyz},
    {"/", get_dashboard},
};

static void handle(struct client *c)
{
    const struct la_http_head *h = &c->admin->head;
    const char *query = memchr(h->target.p, '?', h->target.n);
    struct la_slice path = query ? la_slice(h->target.p, (size_t)(query - h->target.p)) : h->target;
    c->head_only = h->method == LA_METHOD_HEAD;
    for (size_t i = 0; i < la_count(endpoints); i++) {
        if (!la_slice_eq(path, la_slice_str(endpoints[i].path)))
            continue;
        if (h->method == LA_METHOD_GET || h->method == LA_METHOD_HEAD)
            endpoints[i].get(c);
        else
            respond_plain(c, 405, "Allow: GET, HEAD\r\n", "only GET and HEAD\n");
        return;
    }
    respond_plain(c, 404, "", "not found; there are /metrics /api/v1/status /api/v1/connections /healthz /readyz /\n");
}

static void parse(struct client *c)
{
    static const struct la_http_limits limits = {.head_bytes = HEAD_BYTES, .headers = 100};
    enum la_err err = LA_OK;
    switch (la_http_parse_request(&c->admin->head, c->in, c->n, &c->seen, &limits, &err)) {
    case LA_HTTP_DONE:
        handle(c);
        return;
    case LA_HTTP_MORE:
        if (c->n < sizeof c->in)
            return;
        err = LA_HEAD_TOO_LARGE;
        break;
    case LA_HTTP_ERROR:
        break;
    }
    respond_plain(c, la_err_info(err)->status, "", la_err_info(err)->text);
}

/* ---- one client's socket ---- */

static void accept_again(struct la_admin *a)
{
    if (!la_timer_is_set(&a->pause))
        la_io_want(&a->listen, LA_READ);
}

static void linger(struct client *c)
{
    la_stream_shutdown(&c->stream);
    c->state = LINGERING;
    la_timer_set(&c->timer, LINGER_MS);
    la_io_want(&c->stream.io, LA_READ);
    accept_again(c->admin);
}

static void client_write(struct client *c)
{
    while (c->sent < c->out.n) {
        struct iovec v = {c->out.p + c->sent, c->out.n - c->sent};
        ssize_t n = la_stream_send(&c->stream, &v, 1, false);
        if (n == LA_STREAM_FAIL) { /* freed by the timer, since callers up the stack still use it */
            c->state = LINGERING;
            la_io_want(&c->stream.io, 0);
            la_timer_set(&c->timer, 0);
            return;
        }
        if (n < 0) {
            la_io_want(&c->stream.io, LA_WRITE);
            return;
        }
        c->sent += (size_t)n;
    }
    la_text_fini(&c->out);
    c->sent = 0;
    linger(c);
}

static void client_read(struct client *c)
{
    while (c->state == READING) {
        ssize_t n = la_stream_recv(&c->stream, c->in + c->n, sizeof c->in - c->n);
        if (n == LA_STREAM_AGAIN)
            return;
        if (n <= 0) {
            client_free(&c);
            return;
        }
        c->n += (size_t)n;
        parse(c);
    }
}

/* What still comes is thrown away; its FIN or an error ends it. */
static void client_drop(struct client *c)
{
    for (int i = 0; i < 16; i++) {
        ssize_t n = la_stream_recv(&c->stream, c->in, sizeof c->in);
        if (n == LA_STREAM_AGAIN)
            return;
        if (n <= 0) {
            client_free(&c);
            return;
        }
    }
}

static void on_client(struct la_io *io, int events)
{
    struct client *c = la_container(la_container(io, struct la_stream, io), struct client, stream);
    if (c->state == WRITING && (events & LA_WRITE))
        client_write(c);
    else if (c->state == READING && (events & LA_READ))
        client_read(c);
    else if (c->state == LINGERING && (events & LA_READ))
        client_drop(c);
}

static void on_timeout(struct la_timer *t)
{
    struct client *c = la_container(t, struct client, timer);
    if (c->state == WAITING)
        respond_plain(c, 503, "", "the workers did not answer in time\n");
    else
        client_free(&c);
}

static void client_free(struct client **cp)
{
    struct client *c = *cp;
    struct la_admin *a = c->admin;
    *cp = NULL;
    la_timer_stop(&c->timer);
    la_stream_close(&c->stream);
    la_list_remove(&c->node);
    la_text_fini(&c->out);
    free(c);
    a->clients_n--;
    accept_again(a);
}

static void client_new(struct la_admin *a, int fd)
{
    struct client *c = la_xcalloc(1, sizeof *c);
    c->admin = a;
    la_list_init(&c->node);
    la_list_push_back(&a->clients, &c->node);
    a->clients_n++;
    la_timer_init(&c->timer, a->loop, on_timeout);
    la_timer_set(&c->timer, TIMEOUT_MS);
    la_stream_init(&c->stream, a->loop, fd, on_client);
    la_io_want(&c->stream.io, LA_READ);
}

/* ---- the listener ---- */

/* Who came first of those that no answer is owed to; NULL: there is none. */
static struct client *oldest_to_end(const struct la_admin *a)
{
    struct client *c;
    la_list_each(&a->clients, c, struct client, node)
        if (c->state == READING || c->state == LINGERING)
            return c;
    return NULL;
}

static void on_accept(struct la_io *io, int events)
{
    struct la_admin *a = la_container(io, struct la_admin, listen);
    (void)events;
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        struct client *oldest = a->clients_n < CLIENTS ? NULL : oldest_to_end(a);
        if (a->clients_n == CLIENTS && oldest == NULL) {
            la_io_want(io, 0);
            return;
        }
        int fd = la_sock_accept(la_io_fd(io), NULL);
        if (fd == -EAGAIN)
            return;
        if (fd == -EINTR || fd == -ECONNABORTED)
            continue;
        if (fd < 0) {
            la_log_limited(LA_LOG_ERROR, 10000, "admin: accept: %s", strerror(-fd));
            la_io_want(io, 0);
            la_timer_set(&a->pause, PAUSE_MS);
            return;
        }
        if (oldest)
            client_free(&oldest);
        client_new(a, fd);
    }
}

static void on_pause(struct la_timer *t)
{
    accept_again(la_container(t, struct la_admin, pause));
}

struct la_admin *la_admin_new(struct la_loop *l, const struct la_addr *address, struct la_admin_state *state,
                              struct la_sampler *sampler, int *err)
{
    struct la_listen_options o = {.backlog = 128, .unix_mode = 0660};
    int fd = la_sock_listen(address, &o);
    if (fd < 0) {
        *err = -fd;
        return NULL;
    }
    struct la_admin *a = la_xcalloc(1, sizeof *a);
    a->loop = l;
    a->address = *address;
    a->file = la_sock_file_of(address);
    a->state = state;
    a->sampler = sampler;
    la_list_init(&a->clients);
    la_timer_init(&a->pause, l, on_pause);
    la_io_init(&a->listen, l, fd, on_accept);
    la_io_want(&a->listen, LA_READ);
    return a;
}

void la_admin_free(struct la_admin **ap)
{
    struct la_admin *a = *ap;
    struct client *c;
    *ap = NULL;
    if (a == NULL)
        return;
    la_list_each(&a->clients, c, struct client, node)
        client_free(&c);
    la_timer_stop(&a->pause);
    la_io_stop(&a->listen);
    la_sock_file_unlink(&a->file, &a->address);
    close(la_io_fd(&a->listen));
    if (a->dump)
        a->dump->admin = NULL;
    free(a);
}
