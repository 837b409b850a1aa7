/* script.c: the parameters a script gets: those of nginx's fastcgi.conf, and the configured ones, with their
 * variables.
 *
 * Owns: nothing; values are made in the caller's room and hold until the request is encoded. A configured
 * parameter takes the place of a usual one of the same name. */
#include "exchange.h"
#include "lastack/sock.h"
#include "script.h"

#include <unistd.h>

static struct la_slice take(struct la_script *s, size_t n)
{
    return la_slice(s->room + s->used, n);
}

static bool add(struct la_script *s, struct la_slice piece)
{
    if (piece.n > sizeof s->room - s->used)
        return false;
    memcpy(s->room + s->used, piece.p, piece.n);
    s->used += piece.n;
    return true;
}

static struct la_slice joined(struct la_script *s, struct la_slice a, struct la_slice b)
{
    struct la_slice out = take(s, a.n + b.n);
    s->overflow |= !add(s, a) || !add(s, b);
    return s->overflow ? LA_SLICE("") : out;
}

static struct la_slice bare_host(struct la_slice host)
{
    const char *end = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : memchr(host.p, ':', host.n);
    if (end == NULL)
        return host;
    return la_slice(host.p, (size_t)(end - host.p) + (*end == ']'));
}

/* The address the client came to. Asked of the socket only where the listener's own does not say, and once. */
static void local_address(struct la_script *s, struct la_addr *out)
{
    const struct la_exchange *x = s->x;
    const struct la_conf_listen *l = x->door->conf;
    static const struct in6_addr any;
    *out = s->local_known ? s->local : l->address;
    if (s->local_known)
        return;
    bool wildcard = la_addr_family(out) == AF_INET    ? out->u.in.sin_addr.s_addr == 0
                    : la_addr_family(out) == AF_INET6 ? memcmp(&out->u.in6.sin6_addr, &any, sizeof any) == 0
                                                      : false;
    if (wildcard)
        la_sock_local(la_stream_fd(&x->turn.client->stream), out);
    s->local = *out;
    s->local_known = true;
}

static struct la_slice text_of(struct la_script *s, const struct la_addr *a)
{
    char text[LA_ADDR_TEXT];
    bool ip = la_addr_family(a) == AF_INET || la_addr_family(a) == AF_INET6;
    return joined(s, ip ? la_slice_str(la_addr_host_text(a, text)) : LA_SLICE(""), LA_SLICE(""));
}

static struct la_slice port_of(struct la_script *s, const struct la_addr *a)
{
    char text[8];
    size_t at = sizeof text;
    bool ip = la_addr_family(a) == AF_INET || la_addr_family(a) == AF_INET6;
    unsigned port = ip ? la_addr_port(a) : 0;
    do
        text[--at] = (char)('0' + port % 10);
    while ((port /= 10) > 0);
    return ip ? joined(s, la_slice(text + at, sizeof text - at), LA_SLICE("")) : LA_SLICE("");
}

static struct la_slice script_root(const struct la_conf_fastcgi *f)
{
    return la_slice_str(f->script_root ? f->script_root : f->root);
}

/* Is this the field that a variable's name means? "_" stands for "-" alone: a field with "_" is another one. */
static bool is_named(struct la_slice field, struct la_slice name)
{
    size_t k = 0;
    while (field.n == name.n && k < name.n && (field.p[k] | 0x20) == (name.p[k] == '_' ? '-' : name.p[k] | 0x20))
        k++;
    return field.n == name.n && k == name.n;
}

/* $http_NAME: the first field of that name as the request carries it, ours before the client's: what was dropped is not
 * there. */
static struct la_slice header(const struct la_script *s, struct la_slice name)
{
    const struct la_fields *f = &s->request->fields;
    if (is_named(LA_SLICE("host"), name))
        return s->request->host;
    for (unsigned i = 0; i < f->extras; i++)
        if (is_named(f->extra[i].name, name))
            return f->extra[i].value;
    for (size_t i = 0; i < f->head->headers; i++)
        if (!f->head->header[i].hop && !la_fields_dropped(f, i) && is_named(la_http_name(f->head, i), name))
            return la_http_value(f->head, i);
    return LA_SLICE("");
}

static struct la_slice variable(struct la_script *s, enum la_variable v, struct la_slice field)
{
    const struct la_site_hit *hit = s->hit;
    const struct la_conf_fastcgi *f = &s->x->conf->fastcgi;
    struct la_addr local;
    switch (v) {
    case LA_VARIABLE_URI:
    case LA_VARIABLE_DOCUMENT_URI: return hit->uri;
    case LA_VARIABLE_REQUEST_URI: return s->x->target;
    case LA_VARIABLE_ARGS:
    case LA_VARIABLE_QUERY_STRING: return hit->args;
    case LA_VARIABLE_IS_ARGS: return hit->args.n ? LA_SLICE("?") : LA_SLICE("");
    case LA_VARIABLE_DOCUMENT_ROOT: return script_root(f);
    case LA_VARIABLE_REQUEST_FILENAME: return joined(s, script_root(f), hit->uri);
    case LA_VARIABLE_SCRIPT_NAME: return hit->script;
    case LA_VARIABLE_PATH_INFO: return hit->path_info;
    case LA_VARIABLE_REMOTE_ADDR: return text_of(s, &s->x->peer);
    case LA_VARIABLE_REMOTE_PORT: return port_of(s, &s->x->peer);
    case LA_VARIABLE_SERVER_ADDR: local_address(s, &local); return text_of(s, &local);
    case LA_VARIABLE_SERVER_PORT: local_address(s, &local); return port_of(s, &local);
    case LA_VARIABLE_SERVER_NAME:
    case LA_VARIABLE_HOST: return bare_host(s->x->host);
    case LA_VARIABLE_SCHEME: return la_request_scheme(s->x);
    case LA_VARIABLE_HTTPS: return la_request_scheme(s->x).n == 5 ? LA_SLICE("on") : LA_SLICE("");
    case LA_VARIABLE_METHOD: return s->request->method;
    case LA_VARIABLE_PROTOCOL: return s->request->fields.head->minor ? LA_SLICE("HTTP/1.1") : LA_SLICE("HTTP/1.0");
    case LA_VARIABLE_CONTENT_TYPE: return header(s, LA_SLICE("content_type"));
    case LA_VARIABLE_HTTP: return header(s, field);
    case LA_VARIABLE_NONE: break;
    }
    return LA_SLICE("");
}

/* A configured value with its variables. */
static struct la_slice expanded(struct la_script *s, const char *text)
{
    struct la_slice rest = la_slice_str(text);
    if (memchr(rest.p, '$', rest.n) == NULL)
        return rest;
    char out[8192];
    size_t n = 0;
    while (rest.n) {
        size_t used = 1;
        struct la_slice field, piece = la_slice(rest.p, 1);
        if (*rest.p == '$')
            piece = variable(s, la_variable_find(rest, &used, &field), field);
        if (piece.n > sizeof out - n) {
            s->overflow = true;
            return LA_SLICE("");
        }
        memcpy(out + n, piece.p, piece.n);
        n += piece.n;
        rest = la_slice(rest.p + used, rest.n - used);
    }
    return joined(s, la_slice(out, n), LA_SLICE(""));
}

static bool configured(const struct la_conf_fastcgi *f, struct la_slice name)
{
    for (size_t i = 0; i < f->params; i++)
        if (la_slice_eq(la_slice_str(f->param[i].name), name))
            return true;
    return false;
}

static void put(struct la_script *s, struct la_slice name, struct la_slice value)
{
    if (s->params == la_count(s->param))
        s->overflow = true;
    else
        s->param[s->params++] = (struct la_extra){name, value};
}

/* nginx's fastcgi.conf. PATH_INFO is told only when there is one: an empty one would make php guess
 * (CVE-2019-11043). */
static const struct usual {
    const char *name;
    size_t name_n;
    enum la_variable value;
    const char *literal; /* instead of a variable */
    bool if_not_empty;
} usuals[] = {
#define NAME(text) (text), sizeof(text) - 1
    {NAME("SCRIPT_NAME"), LA_VARIABLE_SCRIPT_NAME, NULL, false},
    {NAME("PATH_INFO"), LA_VARIABLE_PATH_INFO, NULL, true},
    {NAME("QUERY_STRING"), LA_VARIABLE_QUERY_STRING, NULL, false},
    {NAME("REQUEST_METHOD"), LA_VARIABLE_METHOD, NULL, false},
    {NAME("REQUEST_URI"), LA_VARIABLE_REQUEST_URI, NULL, false},
    {NAME("DOCUMENT_URI"), LA_VARIABLE_DOCUMENT_URI, NULL, false},
    {NAME("DOCUMENT_ROOT"), LA_VARIABLE_DOCUMENT_ROOT, NULL, false},
    {NAME("SERVER_PROTOCOL"), LA_VARIABLE_PROTOCOL, NULL, false},
    {NAME("REQUEST_SCHEME"), LA_VARIABLE_SCHEME, NULL, false},
    {NAME("HTTPS"), LA_VARIABLE_HTTPS, NULL, true},
    {NAME("GATEWAY_INTERFACE"), LA_VARIABLE_NONE, "CGI/1.1", false},
    {NAME("SERVER_SOFTWARE"), LA_VARIABLE_NONE, "lastack", false},
    {NAME("REMOTE_ADDR"), LA_VARIABLE_REMOTE_ADDR, NULL, false},
    {NAME("REMOTE_PORT"), LA_VARIABLE_REMOTE_PORT, NULL, false},
    {NAME("SERVER_ADDR"), LA_VARIABLE_SERVER_ADDR, NULL, false},
    {NAME("SERVER_PORT"), LA_VARIABLE_SERVER_PORT, NULL, false},
    {NAME("SERVER_NAME"), LA_VARIABLE_SERVER_NAME, NULL, false},
    {NAME("REDIRECT_STATUS"), LA_VARIABLE_NONE, "200", false},
#undef NAME
};

enum la_err la_script_params(struct la_script *s, struct la_request *r)
{
    const struct la_conf_fastcgi *f = &s->x->conf->fastcgi;
    s->request = r;
    s->used = 0;
    s->params = 0;
    s->overflow = s->local_known = false;
    if (!configured(f, LA_SLICE("SCRIPT_FILENAME")))
        put(s, LA_SLICE("SCRIPT_FILENAME"), joined(s, script_root(f), s->hit->script));
    for (size_t i = 0; i < la_count(usuals); i++) {
        const struct usual *u = &usuals[i];
        struct la_slice name = la_slice(u->name, u->name_n);
        if (f->params && configured(f, name))
            continue;
        struct la_slice value = u->literal ? la_slice_str(u->literal) : variable(s, u->value, la_slice(NULL, 0));
        if (value.n || !u->if_not_empty)
            put(s, name, value);
    }
    for (size_t i = 0; i < f->params; i++)
        put(s, la_slice_str(f->param[i].name), expanded(s, f->param[i].value));
    r->param = s->param;
    r->params = s->params;
    return s->overflow ? LA_HEAD_TOO_LARGE : LA_OK;
}
