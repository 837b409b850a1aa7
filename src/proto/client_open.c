/* client_open.c: what comes before a client's first request: the PROXY protocol header of a trusted peer, the
 * TLS handshake.
 *
 * Both have timeouts.handshake together, in total; nothing but the descriptor and OpenSSL's state is held
 * meanwhile. The header is looked at in the socket's buffer and taken off without a byte of what follows,
 * which is TLS's or the request's. Clients of all protocols are HTTP's until they are open. What can fail ends the client: without a good header nobody knows who it
 * is. One thread. */
#include "http1.h"
#include "lastack/proxy_header.h"
#include "lastack/sock.h"

/* ---- who it is ---- */

void la_client_set_peer(struct la_client *c, const struct la_addr *peer)
{
    c->peer_family = (uint8_t)la_addr_family(peer);
    c->peer_port = la_addr_port(peer);
    if (c->peer_family == AF_INET)
        memcpy(c->peer_ip, &peer->u.in.sin_addr, 4);
    else if (c->peer_family == AF_INET6)
        memcpy(c->peer_ip, &peer->u.in6.sin6_addr, 16);
}

void la_client_peer(const struct la_client *c, struct la_addr *out)
{
    memset(out, 0, sizeof *out);
    out->u.sa.sa_family = c->peer_family;
    if (c->peer_family == AF_INET) {
        memcpy(&out->u.in.sin_addr, c->peer_ip, 4);
        out->len = sizeof out->u.in;
    } else if (c->peer_family == AF_INET6) {
        memcpy(&out->u.in6.sin6_addr, c->peer_ip, 16);
        out->len = sizeof out->u.in6;
    } else {
        out->len = sizeof(sa_family_t);
    }
    la_addr_set_port(out, c->peer_port);
}

/* On a Unix socket: whoever may connect. */
bool la_front_is_hop(const struct la_front *f, const struct la_addr *peer)
{
    int family = la_addr_family(peer);
    if (f->proxy_nets && family != AF_INET && family != AF_INET6)
        return true;
    for (size_t i = 0; i < f->proxy_nets; i++)
        if (la_net_has(&f->proxy_net[i], peer))
            return true;
    return false;
}

bool la_front_opens(const struct la_front *f, const struct la_addr *peer)
{
    return f->tls || (f->proxy_nets && la_front_is_hop(f, peer));
}

void la_front_uncount(struct la_front *f, const struct la_addr *peer, bool unnamed)
{
    struct la_addr who = *peer;
    if (unnamed)
        who.len = 0;
    f->clients--;
    if (f->on_client_end)
        f->on_client_end(f, &who);
}

void la_client_begin(struct la_client *c, const struct la_addr *peer)
{
    struct la_front *f = c->front;
    c->proxy_due = c->unnamed = f->proxy_nets && la_front_is_hop(f, peer);
    c->state = c->proxy_due || f->tls ? LA_CLIENT_OPENING : LA_CLIENT_HEAD;
}

static void wait_for(struct la_client *c, int events)
{
    la_io_want(&c->stream.io, events);
    if (!la_timer_is_set(&c->timer))
        la_timer_set(&c->timer, c->front->handshake_ms);
}

void la_client_open_timeout(struct la_client *c)
{
    struct la_client_stats *s = c->front->stats;
    la_stat_add(c->proxy_due ? &s->proxy_bad : &s->handshake[LA_HANDSHAKE_TIMEOUT], 1);
    la_client_end(c, true);
}

/* ---- the PROXY header ---- */

static void bad_header(struct la_client *c, const char *why)
{
    struct la_addr peer;
    char text[LA_ADDR_TEXT];
    la_client_peer(c, &peer);
    la_stat_add(&c->front->stats->proxy_bad, 1);
    la_log_limited(LA_LOG_WARN, 1000,
                   "listener %s: no PROXY header from %s: %s; it is in accept_proxy, so one is required",
                   c->front->name, la_addr_text(&peer, text), why);
    la_client_end(c, true);
}

/* False: the client whom it names may have no more connections. */
static bool believe(struct la_client *c, const struct la_proxy_header *h)
{
    struct la_front *f = c->front;
    la_stat_add(&f->stats->proxy_good, 1);
    if (h->source.len == 0) /* it speaks for itself: a health check */
        return true;
    la_client_set_peer(c, &h->source);
    if (f->on_client_named && !f->on_client_named(f, &h->source)) {
        la_stat_add(&f->stats->refused, 1);
        la_client_end(c, true);
        return false;
    }
    c->unnamed = false;
    return true;
}

/* True: it has been read. */
static bool read_header(struct la_client *c)
{
    struct la_env *env = c->front->env;
    struct la_proxy_header h;
    size_t had = c->in ? c->in->n : 0;
    char *p = env->scratch;
    if (had)
        memcpy(p, c->in->p, had);
    ssize_t n = la_sock_look(la_stream_fd(&c->stream), p + had, LA_PROXY_HEADER_MAX - had);
    if (n == LA_STREAM_AGAIN) {
        wait_for(c, LA_READ);
        return false;
    }
    if (n <= 0) {
        if (had)
            bad_header(c, "the connection ended within it");
        else
            la_client_end(c, false);
        return false;
    }
    enum la_proxy_parse result = la_proxy_header_parse(&h, p, had + (size_t)n);
    if (result == LA_PROXY_BAD || (result == LA_PROXY_MORE && had + (size_t)n == LA_PROXY_HEADER_MAX)) {
        bad_header(c, "something else came");
        return false;
    }
    size_t take = result == LA_PROXY_DONE ? h.n - had : (size_t)n;
    if (la_stream_recv(&c->stream, p + had, take) != (ssize_t)take) {
        la_client_end(c, true);
        return false;
    }
    if (result == LA_PROXY_DONE) {
        la_buf_put(env, &c->in);
        c->proxy_due = false;
        return believe(c, &h);
    }
    if (c->in == NULL && (c->in = la_buf_get(env, false)) == NULL) {
        la_client_end(c, true);
        return false;
    }
    memcpy(c->in->p + had, p + had, take);
    c->in->n = (uint32_t)(had + take);
    wait_for(c, LA_READ);
    return false;
}

/* ---- TLS ---- */

static void handshake_failed(struct la_client *c)
{
    struct la_addr peer;
    char text[LA_ADDR_TEXT], why[512];
    la_client_peer(c, &peer);
    bool shed = la_tls_was_shed(&c->stream);
    la_stat_add(&c->front->stats->handshake[shed ? LA_HANDSHAKE_SHED : LA_HANDSHAKE_FAILED], 1);
    enum la_err e = la_tls_why(&c->stream, why, sizeof why);
    if (shed)
        la_log_limited(LA_LOG_WARN, 10000, "listener %s: limits.handshake_cpu reached, new handshakes are refused",
                       c->front->name);
    else if (e != LA_TLS_CLOSED) /* port scans, and clients that think better of it */
        la_log_limited(LA_LOG_INFO, 1000, "listener %s: TLS handshake of %s failed: %s", c->front->name,
                       la_addr_text(&peer, text), why);
    la_client_end(c, false);
}

static void count_handshake(struct la_client *c)
{
    struct la_tls_facts facts;
    if (la_tls_facts(&c->stream, &facts))
        la_stat_add(&c->front->stats->handshake[facts.resumed ? LA_HANDSHAKE_RESUMED : LA_HANDSHAKE_FULL], 1);
}

bool la_client_open(struct la_client *c)
{
    struct la_front *f = c->front;
    int want = 0;
    if (c->proxy_due && !read_header(c))
        return false;
    if (f->tls && c->stream.transport == NULL && !la_tls_accept(&c->stream, f->tls, &f->env->handshakes)) {
        la_client_end(c, true);
        return false;
    }
    switch (la_stream_handshake(&c->stream, &want)) {
    case 0: break;
    case LA_STREAM_AGAIN: wait_for(c, want); return false;
    default: handshake_failed(c); return false;
    }
    count_handshake(c);
    if (f->protocol) {
        la_client_hand_over(c);
        return false;
    }
    la_timer_stop(&c->timer);
    c->since_ns = la_loop_now_ns(f->env->loop);
    c->state = LA_CLIENT_HEAD;
    return true;
}
