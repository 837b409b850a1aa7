/* fcgi_watch.c: no byte of a response yet: does a worker have the request at all?
 *
 * php-fpm has one worker per connection. It may still be at work after END_REQUEST (fastcgi_finish_request), and then the
 * next request on that connection waits for it: a safe one that the worker has not begun to read is taken elsewhere. Or there
 * are more connections than workers: one that nobody accepts starves, and idle ones give way to it (starving.c). It is
 * not taken elsewhere: where all workers have much to do that would only give them more.
 *
 * On a Unix socket the kernel tells both. On TCP it tells neither; there, php-fpm's own count of its workers does for the
 * second, where its status page is asked and the count is fixed (pm = static). */
#include "fcgi.h"

#include "lastack/diag.h"
#include "lastack/log.h"

#define WATCH_MS 250 /* a worker should have read the request by then */
#define AGAIN_MS 25  /* while it is known that workers are short */

static bool is_unix(const struct la_call *c)
{
    return la_addr_family(&c->conn->outlet->pool.server->addr) == AF_UNIX;
}

/* Has php-fpm fewer workers than we have connections, as far as it has said? */
static bool too_many(const struct la_server *s)
{
    return atomic_load(&s->app.fixed) && atomic_load(&s->budget->used) > atomic_load(&s->app.total);
}

uint64_t la_fcgi_watch_ms(const struct la_call *c, uint64_t most_ms)
{
    bool can_tell = is_unix(c) || (c->conn->fresh && too_many(c->conn->outlet->pool.server));
    uint64_t ms = la_conn_may_starve(c->conn) ? AGAIN_MS : WATCH_MS;
    return can_tell && most_ms > ms ? ms : 0;
}

static void warn(const struct la_call *c)
{
    const struct la_outlet *o = c->conn->outlet;
    la_log_limited(LA_LOG_WARN, 10000,
                   "server %s of upstream %s does not accept a connection for %u ms: is pool.max (%d) larger than "
                   "pm.max_children, or do others hold its workers? Idle connections are closed to free them",
                   o->pool.server->label, o->branch->shared->name, WATCH_MS, atomic_load(&o->pool.server->max));
}

static bool starves(const struct la_call *c, const struct la_diag_peer *peer)
{
    return c->conn->fresh && (is_unix(c) ? !peer->accepted : too_many(c->conn->outlet->pool.server));
}

enum la_fcgi_seen la_fcgi_look(struct la_call *c, uint64_t *again_ms)
{
    struct la_diag_peer peer = {.accepted = true};
    if (is_unix(c) && !la_diag_unix_peer(la_stream_fd(&c->conn->stream), &peer))
        peer = (struct la_diag_peer){.accepted = true};
    if (starves(c, &peer)) {
        warn(c);
        la_conn_starves(c->conn, &c->fcgi.starving);
        *again_ms = AGAIN_MS;
        return LA_FCGI_STARVES;
    }
    la_conn_fed(c->conn, &c->fcgi.starving);
    if (c->conn->fresh || c->last_try || peer.unread < c->bytes_sent || !la_http_method_idempotent(c->method))
        return LA_FCGI_AT_WORK;
    const struct la_outlet *o = c->conn->outlet;
    la_log_limited(
        LA_LOG_NOTICE, 10000,
        "server %s of upstream %s: a worker is at work after the end of its response (fastcgi_finish_request?); "
        "the next request is taken elsewhere",
        o->pool.server->label, o->branch->shared->name);
    return LA_FCGI_BUSY;
}

bool la_fcgi_unasked(const struct la_call *c)
{
    struct la_diag_peer peer;
    if (c->bytes_sent == 0)
        return false;
    if (!is_unix(c))
        return la_stream_unheard(&c->conn->stream) >= c->bytes_sent;
    return la_diag_unix_peer(la_stream_fd(&c->conn->stream), &peer) && peer.accepted && peer.unread >= c->bytes_sent;
}
