/* pin.c: authentication that belongs to a connection (NTLM, Negotiate): the server takes everything that
 * comes over an authenticated connection for that one user's. Such a connection is pinned: bound to one
 * client connection from the request or response that shows the scheme, closed when that client leaves, never
 * in the pool again. Or, with connection_auth: refuse, the schemes do not pass.
 *
 * Owns: struct la_pin, which holds one of pool.tunnels and is held by the client. The connection belongs to
 * it between exchanges, to the call during one.
 *
 * Good path: Authorization: NTLM, or a challenge -> bind -> exchanges of this client on this upstream take it
 * -> the client ends -> our FIN. What can fail: no place among pool.tunnels: 503, or, for a challenge that
 * was only passed on, the connection serves nobody after it. The server hangs up: the pin ends, the client
 * has to authenticate anew. */
#include "exchange.h"

#include <stdlib.h>

struct la_pin {
    struct la_client *client;
    struct la_conn *conn;
    struct la_branch *branch;    /* held */
    struct la_server *server;    /* referenced; counts it among its tunnels */
    struct la_exchange *waiting; /* the client's next one came while the last one was just ending */
};

/* ---- the schemes ---- */

static bool is_bound_scheme(struct la_slice s)
{
    return la_slice_ieq(s, LA_SLICE("ntlm")) || la_slice_ieq(s, LA_SLICE("negotiate"));
}

static struct la_slice first_word(struct la_slice s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
        n++;
    return la_slice(s.p, n);
}

/* The next member of a comma list; commas in quoted strings are not its ends. */
static bool next_member(struct la_slice *rest, struct la_slice *member)
{
    const char *p = rest->p, *end = rest->p + rest->n;
    while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
        p++;
    const char *start = p, *stop;
    bool quoted = false;
    for (; p < end && (quoted || *p != ','); p++) {
        if (quoted && *p == '\\' && p + 1 < end)
            p++;
        else if (*p == '"')
            quoted = !quoted;
    }
    for (stop = p; stop > start && (stop[-1] == ' ' || stop[-1] == '\t');)
        stop--;
    *rest = la_slice(p, (size_t)(end - p));
    *member = la_slice(start, (size_t)(stop - start));
    return stop > start;
}

/* Does a challenge begin here, or is this a parameter of the one before (name=value)? */
static bool starts_challenge(struct la_slice member)
{
    return memchr(first_word(member).p, '=', first_word(member).n) == NULL;
}

/* What is left of a list of challenges without the bound ones; into buf. *bound: there were some. */
static struct la_slice without_bound(struct la_slice value, char *buf, size_t cap, bool *bound)
{
    struct la_slice member;
    bool dropping = false;
    size_t n = 0;
    while (next_member(&value, &member)) {
        if (starts_challenge(member))
            dropping = is_bound_scheme(first_word(member));
        *bound |= dropping;
        if (dropping || n + member.n + 2 > cap)
            continue;
        if (n) {
            memcpy(buf + n, ", ", 2);
            n += 2;
        }
        memcpy(buf + n, member.p, member.n);
        n += member.n;
    }
    return la_slice(buf, n);
}

bool la_pin_asked(const struct la_http_head *h)
{
    if ((h->present >> LA_FIELD_AUTHORIZATION & 1) == 0)
        return false;
    for (size_t i = 0; i < h->headers; i++)
        if (h->header[i].field == LA_FIELD_AUTHORIZATION && is_bound_scheme(first_word(la_http_value(h, i))))
            return true;
    return false;
}

enum challenge { NO_CHALLENGE, SOME_BOUND, ALL_BOUND };

/* What the challenges of a response are. strip: takes the bound ones out of r. */
static enum challenge challenges(const struct la_http_head *h, struct la_fields *strip)
{
    static _Thread_local char text[4096]; /* holds until the response head is written */
    size_t used = 0;
    bool bound = false, others = false;
    for (size_t i = 0; i < h->headers; i++) {
        bool here = false;
        if (h->header[i].field != LA_FIELD_WWW_AUTHENTICATE)
            continue;
        struct la_slice left = without_bound(la_http_value(h, i), text + used, sizeof text - used, &here);
        others |= left.n > 0;
        bound |= here;
        if (!here || strip == NULL)
            continue;
        la_fields_drop(strip, i);
        if (left.n)
            la_fields_add(strip, la_http_name(h, i), left);
        used += left.n;
    }
    return !bound ? NO_CHALLENGE : others ? SOME_BOUND : ALL_BOUND;
}

void la_pin_strip(const struct la_exchange *x, const struct la_http_head *h, struct la_fields *f)
{
    if ((h->present >> LA_FIELD_WWW_AUTHENTICATE & 1) != 0 &&
        x->conf->connection_auth == LA_CONNECTION_AUTH_REFUSE)
        (void)challenges(h, f);
}

/* ---- the bond ---- */

/* Lets go of everything but the connection. */
static void pin_free(struct la_pin *p)
{
    la_assert(p->waiting == NULL);
    p->client->bound = NULL;
    la_tunnel_place_put(p->server);
    la_server_unref(&p->server);
    la_branch_drop(p->branch);
    free(p);
}

/* An event between exchanges: the server hangs up, or says what nobody asked for. */
static void on_event(struct la_conn *c, int events)
{
    (void)events;
    int quiet = la_stream_peek(&c->stream);
    if (quiet == LA_PEEK_ENDING)
        la_conn_release(&c, LA_BACKEND_ENDS, LA_CLOSE_KEEPALIVE_TIMEOUT);
    else if (quiet < 0)
        la_conn_release(&c, LA_GONE, LA_CLOSE_KEEPALIVE_TIMEOUT);
    else if (quiet > 0)
        la_conn_release(&c, LA_RESET, LA_CLOSE_UNEXPECTED_BYTES);
}

void la_pin_forget(struct la_exchange *x)
{
    if (x->waits_for)
        x->waits_for->waiting = NULL;
    x->waits_for = NULL;
}

/* The connection rests, or is over: then whoever was bound to it finds none. */
static void on_pinned(struct la_conn *c, bool over)
{
    struct la_pin *p = c->keeper;
    struct la_exchange *x = p->waiting;
    if (x)
        la_pin_forget(x);
    if (over)
        pin_free(p);
    else
        c->on_event = on_event;
    if (x)
        la_exchange_acquire(x);
}

void la_pin_end(struct la_client *client)
{
    struct la_pin *p = client->bound;
    if (p == NULL)
        return;
    struct la_conn *c = p->conn;
    la_conn_pin(c, NULL, NULL); /* a call that has it just now lets it end */
    if (c->on_event == on_event)
        la_conn_release(&c, LA_REUSE, LA_CLOSE_PROXY_PINNED);
    if (p->waiting)
        la_pin_forget(p->waiting);
    pin_free(p);
}

bool la_pin_bind(struct la_exchange *x, struct la_conn *c)
{
    struct la_client *client = x->turn.client;
    struct la_server *s = c->outlet->pool.server;
    if (client && client->bound) {
        struct la_pin *old = client->bound;
        if (old->conn == c)
            return true;
        la_pin_end(client); /* one at a time */
    }
    if (client == NULL || !la_tunnel_place_take(s))
        return false;
    struct la_pin *p = calloc(1, sizeof *p);
    if (p == NULL) {
        la_tunnel_place_put(s);
        return false;
    }
    *p = (struct la_pin){.client = client, .conn = c, .branch = x->branch, .server = la_server_ref(s)};
    la_branch_hold(p->branch);
    client->bound = p;
    la_conn_pin(c, on_pinned, p);
    return true;
}

bool la_pin_take(struct la_exchange *x, struct la_conn **out)
{
    struct la_client *client = x->turn.client;
    struct la_pin *p = client ? client->bound : NULL;
    *out = NULL;
    if (p == NULL || p->branch != x->branch)
        return false;
    struct la_conn *c = p->conn;
    if (c->on_event != on_event) { /* pipelined: the response before this one is being finished just now */
        p->waiting = x;
        x->waits_for = p;
        return true;
    }
    if (c->outlet->retired || x->conf->connection_auth == LA_CONNECTION_AUTH_REFUSE)
        la_pin_end(client);
    else
        on_event(c, 0); /* what the loop has not told of yet */
    if (client->bound == NULL)
        return false;
    la_conn_use_pinned(c);
    *out = c;
    return true;
}

bool la_pin_response(struct la_exchange *x, const struct la_http_head *h)
{
    if ((h->present >> LA_FIELD_WWW_AUTHENTICATE & 1) == 0)
        return true;
    enum challenge what = challenges(h, NULL);
    struct la_conn *c = x->call.conn;
    if (what == NO_CHALLENGE)
        return true;
    if (x->conf->connection_auth == LA_CONNECTION_AUTH_PIN) {
        if (!la_pin_bind(x, c))
            la_conn_pin(c, NULL, NULL); /* nobody's: it ends with this response */
        return true;
    }
    if (what != ALL_BOUND || h->status != 401)
        return true;
    la_exchange_count_call(x);
    la_call_stop(&x->call);
    x->call.conn = NULL;
    la_conn_release(&c, LA_RESET, LA_CLOSE_ABORTED);
    la_exchange_fail(x, LA_AUTH_REQUIRED);
    return false;
}
