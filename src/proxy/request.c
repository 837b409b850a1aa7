/* request.c: the request as the server gets it: the client's fields less what belongs to one hop or is not to
 * be believed, plus who forwarded it (X-Forwarded-*, Forwarded, Via) and what the configuration sets. What it
 * names, to set or to remove, is neither taken over from the client nor added here.
 *
 * Fields are added after hop-by-hop removal, so that `Connection: X-Forwarded-For` removes nothing of ours.
 */
#include "exchange.h"
#include "script.h"

#include <stdio.h>

/* X-Forwarded-*, Forwarded, Via, the certificate's subject and Max-Forwards. */
_Static_assert(LA_CONF_SETS_MOST + 7 <= LA_EXTRA_MAX, "fields that are set leave room for ours");

/* Joins the values of a field that may have come several times, and a comma for the next. False: they do not fit. What a trusted hop
 * wrote stands behind what its client made up: nothing is ever left out. */
static bool join(const struct la_http_head *h, enum la_http_field f, char *buf, size_t cap, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < h->headers; i++) {
        struct la_slice v = la_http_value(h, i);
        if (h->header[i].field != f || v.n == 0)
            continue;
        if (v.n + 2 > cap - *n)
            return false;
        memcpy(buf + *n, v.p, v.n);
        memcpy(buf + *n + v.n, ", ", 2);
        *n += v.n + 2;
    }
    return true;
}

static void drop_field(struct la_fields *f, enum la_http_field field)
{
    if ((f->head->present >> field & 1) == 0)
        return;
    for (size_t i = 0; i < f->head->headers; i++)
        if (f->head->header[i].field == field)
            la_fields_drop(f, i);
}

static bool trusted(const struct la_conf *conf, const struct la_addr *peer)
{
    for (size_t i = 0; i < conf->forwarded.trusts; i++)
        if (la_net_has(&conf->forwarded.trust[i], peer))
            return true;
    return false;
}

/* Room for the values that are made here; holds until the request is encoded. */
struct made {
    char xff[4096], forwarded[4096], hops[16], peer[LA_ADDR_TEXT], subject[2048];
};

static bool add_x_forwarded(struct la_exchange *x, struct la_fields *f, bool trust, struct made *m)
{
    const struct la_http_head *h = f->head;
    size_t n = 0, peer_n = strlen(m->peer);
    if (trust && !join(h, LA_FIELD_X_FORWARDED_FOR, m->xff, sizeof m->xff - LA_ADDR_TEXT, &n))
        return false;
    memcpy(m->xff + n, m->peer, peer_n);
    drop_field(f, LA_FIELD_X_FORWARDED_FOR);
    la_fields_add_known(f, LA_SLICE("X-Forwarded-For"), la_slice(m->xff, n + peer_n));
    if (!trust || la_http_find(h, LA_FIELD_X_FORWARDED_PROTO) < 0) {
        drop_field(f, LA_FIELD_X_FORWARDED_PROTO);
        la_fields_add_known(f, LA_SLICE("X-Forwarded-Proto"), x->tls ? LA_SLICE("https") : LA_SLICE("http"));
    }
    if (!trust || la_http_find(h, LA_FIELD_X_FORWARDED_HOST) < 0) {
        drop_field(f, LA_FIELD_X_FORWARDED_HOST);
        if (x->host.n)
            la_fields_add_known(f, LA_SLICE("X-Forwarded-Host"), x->host);
    }
    return true;
}

static bool add_forwarded(struct la_exchange *x, struct la_fields *f, bool trust, struct made *m)
{
    size_t before = 0;
    if (trust && !join(f->head, LA_FIELD_FORWARDED, m->forwarded, sizeof m->forwarded - 1024, &before))
        return false;
    bool v6 = la_addr_family(&x->peer) == AF_INET6, ip = v6 || la_addr_family(&x->peer) == AF_INET;
    size_t host_n = la_min64(x->host.n, 512);
    int n = snprintf(m->forwarded + before, sizeof m->forwarded - before, "for=%s%s%s;proto=http%s%s%.*s%s",
                     v6 ? "\"[" : "", ip ? m->peer : "unknown", v6 ? "]\"" : "", x->tls ? "s" : "",
                     host_n ? ";host=\"" : "", (int)host_n, x->host.p, host_n ? "\"" : "");
    drop_field(f, LA_FIELD_FORWARDED);
    la_fields_add(f, LA_SLICE("Forwarded"), la_slice(m->forwarded, before + (size_t)n));
    return true;
}

/* False: too much of it came. */
static bool forward(struct la_exchange *x, struct la_fields *f, struct made *m)
{
    const struct la_conf *conf = x->view->snapshot->conf;
    enum la_forwarded_mode mode = conf->forwarded.mode;
    bool trust = trusted(conf, &x->peer);
    la_addr_host_text(&x->peer, m->peer);
    if (mode == LA_FORWARDED_OFF)
        return true;
    if (!trust) { /* whoever set them, it was nobody we know */
        drop_field(f, LA_FIELD_X_FORWARDED_FOR);
        drop_field(f, LA_FIELD_X_FORWARDED_PROTO);
        drop_field(f, LA_FIELD_X_FORWARDED_HOST);
        drop_field(f, LA_FIELD_FORWARDED);
    }
    if (mode != LA_FORWARDED_RFC7239 && !add_x_forwarded(x, f, trust, m))
        return false;
    return mode == LA_FORWARDED_X || add_forwarded(x, f, trust, m);
}

/* Are these the same name to a server? CGI makes '-' and '_' one. */
static bool same_field(struct la_slice a, const char *b)
{
    size_t n = strlen(b);
    if (a.n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char x = a.p[i] == '_' ? '-' : a.p[i], y = b[i] == '_' ? '-' : b[i];
        if ((x ^ y) != 0 && ((x ^ y) != 0x20 || (x | 0x20) < 'a' || (x | 0x20) > 'z'))
            return false;
    }
    return true;
}

/* The subject of the client's certificate. The field is ours at every listener, or a client of another one could forge it. */
static void tell_subject(struct la_exchange *x, struct la_fields *f, struct made *m)
{
    const struct la_conf *conf = x->view->snapshot->conf;
    if (!conf->client_headers)
        return;
    for (size_t i = 0; i < conf->listens; i++)
        for (size_t k = 0; conf->listen[i].tls.client_header && k < f->head->headers; k++)
            if (same_field(la_http_name(f->head, k), conf->listen[i].tls.client_header))
                la_fields_drop(f, k);
    const char *name = x->door->conf->tls.client_header;
    size_t n = name ? la_tls_subject(&x->turn.client->stream, m->subject, sizeof m->subject) : 0;
    if (n)
        la_fields_add(f, la_slice_str(name), la_slice(m->subject, n));
}

/* Some servers take trailers for fields of the head: what is set or removed there does not come by this way. */
static bool may_trail(const struct la_conf_upstream *u, struct la_slice name)
{
    for (size_t k = 0; k < u->removes; k++)
        if (same_field(name, u->remove[k]))
            return false;
    for (size_t k = 0; k < u->sets; k++)
        if (same_field(name, u->set[k].name))
            return false;
    return true;
}

size_t la_request_trailers(const struct la_exchange *x, char *buf, size_t cap)
{
    struct la_http_writer w;
    struct la_slice name, value;
    uint32_t at = 0;
    la_http_writer_init(&w, buf, cap);
    while (la_http_trailer_next(&x->turn.body, &at, &name, &value))
        if (may_trail(x->conf, name))
            la_http_write_header(&w, name, value);
    return w.overflow ? 0 : w.n;
}

static bool is_configured(const struct la_conf_upstream *u, struct la_slice name)
{
    for (size_t k = 0; k < u->removes; k++)
        if (la_slice_ieq(name, la_slice_str(u->remove[k])))
            return true;
    for (size_t k = 0; k < u->sets; k++)
        if (la_slice_ieq(name, la_slice_str(u->set[k].name)))
            return true;
    return false;
}

/* The configuration's word is the last: over the client's fields, and over those that were added to them. */
static void configured(struct la_exchange *x, struct la_fields *f)
{
    const struct la_conf_upstream *u = x->conf;
    unsigned ours = f->extras;
    if (u->removes + u->sets == 0)
        return;
    for (size_t i = 0; i < f->head->headers; i++)
        if (is_configured(u, la_http_name(f->head, i)))
            la_fields_drop(f, i);
    f->extras = 0;
    for (unsigned i = 0; i < ours; i++)
        if (!is_configured(u, f->extra[i].name))
            la_fields_add(f, f->extra[i].name, f->extra[i].value);
    for (size_t k = 0; k < u->sets; k++) {
        if (la_slice_ieq(la_slice_str(u->set[k].name), LA_SLICE("host")))
            x->proxy->request->host = la_slice_str(u->set[k].value);
        else
            la_fields_add(f, la_slice_str(u->set[k].name), la_slice_str(u->set[k].value));
    }
}

/* X_Forwarded_For is X-Forwarded-For to every server that makes CGI variables of its fields: a name that would read
 * as one that we act on, set or remove does not pass. */
static void drop_lookalikes(struct la_exchange *x, struct la_fields *f)
{
    const struct la_http_head *h = f->head;
    const uint64_t forwarded = LA_FIELD_BIT(X_FORWARDED_FOR) | LA_FIELD_BIT(X_FORWARDED_PROTO) |
                               LA_FIELD_BIT(X_FORWARDED_HOST) | LA_FIELD_BIT(FORWARDED);
    uint64_t acted_on = ~LA_FIELD_BIT(OTHER);
    if (x->view->snapshot->conf->forwarded.mode == LA_FORWARDED_OFF)
        acted_on &= ~forwarded;
    char plain[64];
    for (size_t i = 0; h->underscore && i < h->headers; i++) {
        struct la_slice name = la_http_name(h, i);
        if (h->header[i].field != LA_FIELD_OTHER || memchr(name.p, '_', name.n) == NULL ||
            name.n > sizeof plain)
            continue;
        for (size_t k = 0; k < name.n; k++)
            plain[k] = name.p[k] == '_' ? '-' : name.p[k];
        struct la_slice as = la_slice(plain, name.n);
        bool taken = (acted_on >> la_http_field_find(as) & 1) || la_slice_ieq(as, LA_SLICE("x-real-ip"));
        for (size_t k = 0; k < x->conf->sets && !taken; k++)
            taken = la_slice_ieq(as, la_slice_str(x->conf->set[k].name));
        for (size_t k = 0; k < x->conf->removes && !taken; k++)
            taken = la_slice_ieq(as, la_slice_str(x->conf->remove[k]));
        if (taken)
            la_fields_drop(f, i);
    }
}

/* RFC 9110 7.6.2, for OPTIONS (TRACE is not forwarded): one less for the next hop; at 0 this is the last one.
 */
static enum la_err count_hops(struct la_fields *f, char *buf, size_t cap)
{
    int i = la_http_find(f->head, LA_FIELD_MAX_FORWARDS);
    if (i < 0 || f->head->method != LA_METHOD_OPTIONS)
        return LA_OK;
    struct la_slice v = la_http_value(f->head, (size_t)i);
    unsigned hops = 0;
    if (v.n == 0 || v.n > 9)
        return LA_BAD_REQUEST;
    for (size_t k = 0; k < v.n; k++) {
        if (v.p[k] < '0' || v.p[k] > '9')
            return LA_BAD_REQUEST;
        hops = hops * 10 + (unsigned)(v.p[k] - '0');
    }
    if (hops == 0)
        return LA_LAST_HOP;
    drop_field(f, LA_FIELD_MAX_FORWARDS);
    la_fields_add(f, LA_SLICE("Max-Forwards"), la_slice(buf, (size_t)snprintf(buf, cap, "%u", hops - 1)));
    return LA_OK;
}

struct la_slice la_request_scheme(const struct la_exchange *x)
{
    return x->tls ? LA_SLICE("https") : LA_SLICE("http");
}

/* A script of the site that was found before. */
static enum la_err add_params(struct la_exchange *x, struct la_request *r)
{
    struct la_script *s = x->proxy->script;
    r->param = NULL;
    r->params = 0;
    if (x->conf->fastcgi.root == NULL)
        return LA_OK;
    s->x = x;
    s->hit = x->proxy->site;
    return la_script_params(s, r);
}

enum la_err la_request_make(struct la_exchange *x, const struct la_http_head *head,
                            const struct la_conf_route *route)
{
    struct la_request *r = x->proxy->request;
    struct made m;
    memset(r->fields.drop, 0, sizeof r->fields.drop);
    r->fields.extras = 0;
    r->fields.head = head;
    r->method = head->method_text;
    r->target = head->target;
    r->host = head->host;
    r->body = head->framing == LA_FRAMING_NONE     ? LA_BODY_NONE
              : head->framing == LA_FRAMING_LENGTH ? LA_BODY_LENGTH
                                                   : LA_BODY_UNKNOWN;
    /* A length that was said is passed on, also where it is 0: some servers insist on it for POST. */
    if (head->has_length && head->framing == LA_FRAMING_NONE) {
        r->body = LA_BODY_LENGTH;
        r->length = 0;
    } else {
        r->length = head->length;
    }
    r->expect_continue = head->expect_continue && x->stream_body;
    x->upgrade = head->upgrade_said && route && route->upgrade_websocket &&
                 la_slice_ieq(head->upgrade, LA_SLICE("websocket"));
    r->upgrade = x->upgrade ? head->upgrade : la_slice(NULL, 0);
    drop_lookalikes(x, &r->fields);
    if (!forward(x, &r->fields, &m))
        return LA_HEAD_TOO_LARGE;
    la_fields_add_known(&r->fields, LA_SLICE("Via"), la_via(head->minor));
    tell_subject(x, &r->fields, &m);

    struct la_call *c = &x->call;
    enum la_err e = count_hops(&r->fields, m.hops, sizeof m.hops);
    configured(x, &r->fields);
    if (e == LA_OK)
        e = add_params(x, r);
    if (e != LA_OK)
        return e;
    c->method = head->method;
    c->body = r->body == LA_BODY_LENGTH && r->length == 0 ? LA_BODY_NONE : r->body;
    c->body_length = r->length;
    c->upgrade = x->upgrade;
    c->send_ms = x->conf->timeouts.send_ms;
    c->response_ms = route && route->response_ms ? route->response_ms : x->conf->timeouts.response_ms;
    x->encoded = c->protocol->encode(&x->proxy->env, r, &e);
    c->encoded = x->encoded;
    return e;
}
