/* value_text.c: scalars with a form of their own: addresses, sources, names, log files, routes, header
 * fields.
 *
 * Each parser takes the text as written and fills its field; NULL means well, "" means "not what the schema's
 * form says", anything else says what is wrong and what would be right. Nothing is resolved, opened or asked
 * of the system. */
#include "conf/value.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_alnum(char c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}
static bool only(struct la_slice s, const char *extra)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && (s.p[i] == 0 || !strchr(extra, s.p[i])))
            return false;
    return s.n > 0;
}
static bool starts(struct la_slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}
static void keep(struct la_arena *arena, struct la_slice text, void *field)
{
    *(char **)field = la_arena_strndup(arena, text.p, text.n);
}

/* addr.c's reason, or "" when it adds nothing to the form. */
static const char *address_error(const char *why)
{
    return strcmp(why, "not an IP address") == 0 ? "" : why;
}

static const char *not_a_url(struct la_arena *arena, struct la_slice text)
{
    static const char *const schemes[] = {"http://", "https://", "tcp://", "fastcgi://"};
    for (size_t i = 0; i < la_count(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (!starts(text, schemes[i]))
            continue;
        const char *slash = memchr(text.p + n, '/', text.n - n);
        size_t end = slash ? (size_t)(slash - text.p) : text.n;
        return la_arena_printf(arena, "an address, not a URL: write %.*s", (int)(end - n), text.p + n);
    }
    return NULL;
}

const char *la_parse_listen_address(struct la_arena *arena, struct la_slice text, void *field)
{
    struct la_addr *a = field;
    const char *why = not_a_url(arena, text);
    if (why)
        return why;
    if (only(text, "") && text.n <= 5 && is_digit(text.p[0]))
        return la_arena_printf(arena, "a port alone, write \":%.*s\" for all IPv4 addresses",
                               LA_SLICE_ARGS(text));
    if (!la_addr_parse(a, text, true, &why))
        return address_error(why);
    if (la_addr_family(a) != AF_UNIX && la_addr_port(a) == 0)
        return "the port must be from 1 to 65535";
    return NULL;
}

/* NAME:PORT. */
static const char *parse_name(struct la_arena *arena, struct la_slice text, struct la_conf_server *s)
{
    const char *colon = memchr(text.p, ':', text.n);
    struct la_slice host = la_slice(text.p, colon ? (size_t)(colon - text.p) : text.n);
    uint64_t port = 0;
    if (host.n > 253 || !only(host, "._-") || host.p[0] == '.' || host.p[0] == '-')
        return "";
    if (colon == NULL)
        return la_arena_printf(arena, "the port is missing, such as %.*s:80", LA_SLICE_ARGS(host));
    if (la_value_int(la_slice(colon + 1, text.n - host.n - 1), &port) != 1 || port < 1 || port > 65535)
        return "the port must be from 1 to 65535";
    s->host = la_arena_strndup(arena, host.p, host.n);
    s->port = (uint16_t)port;
    return NULL;
}

const char *la_parse_server_address(struct la_arena *arena, struct la_slice text, void *field)
{
    struct la_conf_server *s = field;
    const char *why = not_a_url(arena, text);
    bool name = false, colons = false;
    size_t colon = 0;
    if (why)
        return why;
    for (size_t i = 0; i < text.n && text.p[i] != ':'; i++, colon++)
        name = name || (!is_digit(text.p[i]) && text.p[i] != '.');
    colons =
        colon < text.n && memchr(text.p + colon + 1, ':', text.n - colon - 1); /* IPv6 without brackets */
    keep(arena, text, &s->text);
    if (name && !colons && !starts(text, "unix:") && text.p[0] != '[')
        return parse_name(arena, text, s);
    if (text.n && text.p[0] == ':')
        return "the host is missing, such as 127.0.0.1:8080";
    if (!la_addr_parse(&s->address, text, true, &why))
        return address_error(why);
    s->port = la_addr_port(&s->address);
    if (la_addr_family(&s->address) != AF_UNIX && s->port == 0)
        return "the port must be from 1 to 65535";
    if (la_addr_is_any(&s->address))
        return "no address to connect to; for this host write 127.0.0.1 or [::1]";
    return NULL;
}

static const char *parse_range(struct la_slice range, struct la_conf_source *s)
{
    const char *dash = range.n ? memchr(range.p, '-', range.n) : NULL;
    size_t n = dash ? (size_t)(dash - range.p) : 0;
    uint64_t low, high;
    if (dash == NULL)
        return "after the address comes a range of ports, such as 10.0.1.1:20000-29999";
    if (la_value_int(la_slice(range.p, n), &low) != 1 ||
        la_value_int(la_slice(dash + 1, range.n - n - 1), &high) != 1 || low < 1 || high < 1 || low > 65535 ||
        high > 65535)
        return "ports are from 1 to 65535, such as 10.0.1.1:20000-29999";
    if (low > high)
        return "the range starts above its end, must be LOW-HIGH such as 20000-29999";
    s->port_low = (uint16_t)low;
    s->port_high = (uint16_t)high;
    return NULL;
}

const char *la_parse_source(struct la_arena *arena, struct la_slice text, void *field)
{
    struct la_conf_source *s = field;
    size_t colons = 0, end = text.n; /* of the address */
    const char *why, *wrong = NULL;
    for (size_t i = 0; i < text.n; i++)
        colons += text.p[i] == ':';
    if (text.n && text.p[0] == '[') {
        const char *close = memchr(text.p, ']', text.n);
        end = close ? (size_t)(close - text.p) + 1 : text.n;
    } else if (colons == 1) {
        end = (size_t)((const char *)memchr(text.p, ':', text.n) - text.p);
    }
    if (starts(text, "unix:"))
        return "a source is an IP address; connections to Unix sockets have none";
    if (!la_addr_parse(&s->address, la_slice(text.p, end), false, &why))
        return address_error(why);
    if (la_addr_is_any(&s->address))
        return "any address is no source; leave it out for the kernel's choice";
    if (end < text.n)
        wrong = text.p[end] == ':' ? parse_range(la_slice(text.p + end + 1, text.n - end - 1), s) : "";
    if (wrong)
        s->address.len = 0; /* what is wrong in itself is passed over afterwards */
    keep(arena, text, &s->text);
    return wrong;
}

const char *la_parse_net(struct la_arena *arena, struct la_slice text, void *field)
{
    (void)arena;
    return la_net_parse(field, text) ? NULL : "";
}

const char *la_parse_resolver(struct la_arena *arena, struct la_slice text, void *field)
{
    struct la_addr *a = field;
    const char *why;
    (void)arena;
    if (!la_addr_parse(a, text, false, &why) || la_addr_family(a) == AF_UNIX)
        return "";
    if (la_addr_port(a) == 0)
        la_addr_set_port(a, 53);
    return NULL;
}

const char *la_parse_unix_mode(struct la_arena *arena, struct la_slice text, void *field)
{
    unsigned mode = 0;
    (void)arena;
    if (text.n < 3 || text.n > 4 || (text.n == 4 && text.p[0] != '0'))
        return "";
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '7')
            return "";
        mode = mode * 8 + (unsigned)(text.p[i] - '0');
    }
    *(unsigned *)field = mode;
    return NULL;
}

bool la_value_is_label(struct la_slice text)
{
    return text.n <= 64 && only(text, "._-");
}

const char *la_parse_label(struct la_arena *arena, struct la_slice text, void *field)
{
    if (!la_value_is_label(text))
        return "must be a name of 1 to 64 letters, digits and ._-";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_access_log(struct la_arena *arena, struct la_slice text, void *field)
{
    *(char **)field = NULL;
    if (la_slice_eq(text, LA_SLICE("off")))
        return NULL;
    if (!la_slice_eq(text, LA_SLICE("stdout")) && (text.n == 0 || !memchr(text.p, '/', text.n)))
        return "";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_error_log(struct la_arena *arena, struct la_slice text, void *field)
{
    *(char **)field = NULL;
    if (la_slice_eq(text, LA_SLICE("stderr")))
        return NULL;
    if (text.n == 0 || !memchr(text.p, '/', text.n))
        return "";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_path(struct la_arena *arena, struct la_slice text, void *field)
{
    if (!starts(text, "/"))
        return "";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_index(struct la_arena *arena, struct la_slice text, void *field)
{
    if (text.n == 0 || text.n > 255 || text.p[0] == '.' || memchr(text.p, '/', text.n))
        return "";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_suffix(struct la_arena *arena, struct la_slice text, void *field)
{
    if (text.n < 2 || text.n > 32 || text.p[0] != '.' || memchr(text.p, '/', text.n))
        return "";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_try(struct la_arena *arena, struct la_slice text, void *field)
{
    if (text.n > 2048 || !(starts(text, "/") || starts(text, "$uri") || starts(text, "${uri}") ||
                           la_slice_eq(text, LA_SLICE("=403")) || la_slice_eq(text, LA_SLICE("=404"))))
        return "";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_url_path(struct la_arena *arena, struct la_slice text, void *field)
{
    if (!starts(text, "/"))
        return "must start with /";
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] == '#' || text.p[i] >= 0x7f)
            return "must not hold spaces, # or bytes that are not ASCII; write them percent-encoded";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_route_host(struct la_arena *arena, struct la_slice text, void *field)
{
    char *host = la_arena_strndup(arena, text.p, text.n);
    size_t n = text.n, labels = starts(text, "*.") ? 2 : 0;
    if (n > 1 && host[n - 1] == '.')
        host[--n] = 0;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)host[i] >= 0x80)
            return "host names are ASCII; write the xn-- form";
        if (host[i] >= 'A' && host[i] <= 'Z')
            host[i] = (char)(host[i] | 0x20);
    }
    *(char **)field = host;
    if (n == 1 && host[0] == '*')
        return NULL;
    if (host[0] == '[') {
        struct la_addr a;
        const char *why;
        return la_addr_parse(&a, la_slice(host, n), false, &why) && la_addr_port(&a) == 0 ? NULL : "";
    }
    if (memchr(host, ':', n))
        return "a route's host has no port; routes of one port name its listener in `listen`";
    if (memchr(host + labels, '*', n - la_min64(labels, n)))
        return "* stands for the first labels only, such as \"*.example.com\", or alone";
    return n <= labels || n > 255 || !only(la_slice(host + labels, n - labels), ".-_") ||
                   strstr(host, "..") || host[labels] == '.'
               ? ""
               : NULL;
}

static int hex(char c)
{
    return is_digit(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* Percent-encoding in its one form: unreserved bytes plain, the rest with upper-case digits. False:
 * malformed. */
static bool recode(struct la_slice text, char *out, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c != '%') {
            out[(*n)++] = c;
            continue;
        }
        int high = i + 2 < text.n ? hex(text.p[i + 1]) : -1, low = i + 2 < text.n ? hex(text.p[i + 2]) : -1;
        if (high < 0 || low < 0)
            return false;
        c = (char)(high * 16 + low);
        if (is_alnum(c) || (c && strchr("-._~", c))) {
            out[(*n)++] = c;
        } else {
            out[(*n)++] = '%';
            out[(*n)++] = "0123456789ABCDEF"[high];
            out[(*n)++] = "0123456789ABCDEF"[low];
        }
        i += 2;
    }
    return true;
}

/* Drops "." and empty segments, and ".." with the one before it. In place; path[0] is '/'. */
static size_t remove_dots(char *path, size_t n)
{
    size_t w = 0;
    for (size_t r = 0; r < n;) {
        size_t end = r + 1; /* a segment is "/..." */
        while (end < n && path[end] != '/')
            end++;
        size_t length = end - r - 1;
        bool last = end == n;
        if (length == 2 && path[r + 1] == '.' && path[r + 2] == '.') {
            while (w > 0 && path[--w] != '/')
                ;
            if (last)
                path[w++] = '/';
        } else if (length == 0 || (length == 1 && path[r + 1] == '.')) {
            if (last)
                path[w++] = '/';
        } else {
            memmove(path + w, path + r, end - r);
            w += end - r;
        }
        r = end;
    }
    path[w] = 0;
    return w;
}

const char *la_parse_route_path(struct la_arena *arena, struct la_slice text, void *field)
{
    if (!starts(text, "/"))
        return "must start with /";
    if (text.n > 2048)
        return "is longer than 2048 bytes";
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] == '?' || text.p[i] == '#' || text.p[i] >= 0x7f)
            return "must be a path alone: no query, no spaces, other bytes percent-encoded";
    if (memchr(text.p, '*', text.n))
        return "a path is a prefix already, write it without *";
    if (memchr(text.p, ';', text.n))
        return "requests are matched without \";\" and what stands behind it in a segment: leave that out";
    char *path = la_arena_calloc(arena, text.n + 1, 1);
    size_t n;
    if (!recode(text, path, &n))
        return "% must be followed by two hexadecimal digits";
    n = remove_dots(path, n);
    if (!la_slice_eq(la_slice(path, n), text))
        return la_arena_printf(arena, "is not in normal form, write \"%s\"", path);
    *(char **)field = path;
    return NULL;
}

const char *la_parse_health_host(struct la_arena *arena, struct la_slice text, void *field)
{
    if (text.n > 255 || !only(text, ".-_:[]"))
        return "";
    keep(arena, text, field);
    return NULL;
}

static bool is_token(struct la_slice s)
{
    return only(s, "!#$%&'*+-.^_`|~");
}

const char *la_parse_hash_key(struct la_arena *arena, struct la_slice text, void *field)
{
    *(char **)field = NULL;
    if (la_slice_eq(text, LA_SLICE("client")))
        return NULL;
    if (!starts(text, "header:") || !is_token(la_slice(text.p + 7, text.n - 7)))
        return "";
    keep(arena, la_slice(text.p + 7, text.n - 7), field);
    return NULL;
}

const char *la_value_check_header(struct la_arena *a, struct la_slice name)
{
    static const char *const own[] = {"connection",        "keep-alive",     "proxy-connection",
                                      "transfer-encoding", "content-length", "te",
                                      "trailer",           "upgrade",        "expect"};
    if (!is_token(name))
        return la_arena_printf(a, "\"%.*s\" is not a field name, must be such as X-Debug",
                               LA_SLICE_ARGS(name));
    for (size_t i = 0; i < la_count(own); i++)
        if (la_slice_ieq(name, la_slice_str(own[i])))
            return la_arena_printf(
                a, "%.*s frames the message or belongs to one connection; the proxy alone writes it",
                LA_SLICE_ARGS(name));
    return NULL;
}

const char *la_value_check_header_value(struct la_slice value)
{
    if (value.n && (value.p[0] == ' ' || value.p[value.n - 1] == ' '))
        return "must not start or end with a space";
    return value.n > 8192 ? "is longer than 8192 bytes" : NULL;
}

const char *la_parse_header_name(struct la_arena *arena, struct la_slice text, void *field)
{
    const char *why = la_value_check_header(arena, text);
    if (why == NULL && la_slice_ieq(text, LA_SLICE("host")))
        why = "every request has a Host; set another one instead";
    keep(arena, text, field);
    return why;
}

static bool is_visible(struct la_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return s.n > 0;
}

const char *la_parse_hash_tag(struct la_arena *arena, struct la_slice text, void *field)
{
    if (text.n != 2 || !is_visible(text))
        return "";
    keep(arena, text, field);
    return NULL;
}

const char *la_parse_key_prefix(struct la_arena *arena, struct la_slice text, void *field)
{
    if (text.n > 100 || !is_visible(text))
        return "";
    keep(arena, text, field);
    return NULL;
}
