/* addr.c: addresses and networks, from text and back.
 *
 * Owns nothing: every function works on the caller's memory, allocates nothing and resolves no names. Any
 * thread. The one thing it asks the system for is the number of an interface in "fe80::1%eth0".
 *
 * Text that is accepted is strict: no leading zeros in a port, no hex or short IPv4 forms (inet_pton's
 * rules), so that one address has one meaning. la_addr_text is the canonical form, and la_addr_parse reads it
 * back. */
#include "lastack/addr.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

static bool fail(const char **err, const char *why)
{
    if (err)
        *err = why;
    return false;
}

/* 1 to 5 digits up to 65535; a leading zero only as "0". */
static bool parse_port(struct la_slice s, uint16_t *port)
{
    unsigned value = 0;
    if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0'))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(s.p[i] - '0');
    }
    if (value > 65535)
        return false;
    *port = (uint16_t)value;
    return true;
}

static void set_v4(struct la_addr *out, struct in_addr ip, uint16_t port)
{
    memset(out, 0, sizeof *out);
    out->u.in.sin_family = AF_INET;
    out->u.in.sin_addr = ip;
    out->u.in.sin_port = htons(port);
    out->len = sizeof out->u.in;
}

/* An IPv4 address in IPv6's clothes (::ffff:10.0.0.1) is the IPv4 address: one address has one meaning. */
static bool is_mapped(const struct in6_addr *ip, struct in_addr *v4)
{
    memcpy(v4, ip->s6_addr + 12, sizeof *v4);
    return IN6_IS_ADDR_V4MAPPED(ip);
}

static void set_v6(struct la_addr *out, const struct in6_addr *ip, uint32_t scope, uint16_t port)
{
    struct in_addr v4;
    if (is_mapped(ip, &v4)) {
        set_v4(out, v4, port);
        return;
    }
    memset(out, 0, sizeof *out);
    out->u.in6.sin6_family = AF_INET6;
    out->u.in6.sin6_addr = *ip;
    out->u.in6.sin6_scope_id = scope;
    out->u.in6.sin6_port = htons(port);
    out->len = sizeof out->u.in6;
}

static bool parse_v4(struct la_slice s, struct in_addr *ip)
{
    char text[INET_ADDRSTRLEN];
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(AF_INET, text, ip) == 1;
}

/* "fe80::1%eth0" and "fe80::1%2" name the interface. */
static bool parse_v6(struct la_slice s, struct in6_addr *ip, uint32_t *scope)
{
    char text[INET6_ADDRSTRLEN + IF_NAMESIZE];
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    char *zone = strchr(text, '%');
    *scope = 0;
    if (zone) {
        *zone++ = 0;
        char *end;
        unsigned long number = strtoul(zone, &end, 10);
        if (*zone >= '0' && *zone <= '9' && *end == 0 && number <= UINT32_MAX)
            *scope = (uint32_t)number;
        else
            *scope = if_nametoindex(zone);
        if (*scope == 0)
            return false;
    }
    return inet_pton(AF_INET6, text, ip) == 1;
}

static bool parse_unix(struct la_addr *out, struct la_slice path, const char **err)
{
    if (path.n == 0 || path.p[0] != '/')
        return fail(err, "a Unix socket needs an absolute path, such as unix:/run/app.sock");
    if (path.n >= sizeof out->u.un.sun_path)
        return fail(err, "the path of a Unix socket may have at most 107 bytes");
    if (memchr(path.p, 0, path.n))
        return fail(err, "the path holds a NUL byte");
    memset(out, 0, sizeof *out);
    out->u.un.sun_family = AF_UNIX;
    memcpy(out->u.un.sun_path, path.p, path.n);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return true;
}

static bool parse_bracketed(struct la_addr *out, struct la_slice text, bool needs_port, const char **err)
{
    const char *close = memchr(text.p, ']', text.n);
    struct in6_addr ip;
    uint32_t scope;
    uint16_t port = 0;
    if (close == NULL)
        return fail(err, "the closing ] is missing");
    size_t inner = (size_t)(close - text.p) - 1, used = inner + 2;
    if (!parse_v6(la_slice(text.p + 1, inner), &ip, &scope))
        return fail(err, "not an IPv6 address between [ and ]");
    if (used == text.n) {
        if (needs_port)
            return fail(err, "the port is missing, such as [::1]:80");
    } else if (text.p[used] != ':' || !parse_port(la_slice(text.p + used + 1, text.n - used - 1), &port)) {
        return fail(err, "the port must be a number from 0 to 65535 after ]:");
    }
    set_v6(out, &ip, scope, port);
    return true;
}

bool la_addr_parse(struct la_addr *out, struct la_slice text, bool needs_port, const char **err)
{
    struct in_addr v4 = {0};
    struct in6_addr v6;
    uint32_t scope;
    uint16_t port = 0;
    if (text.n == 0)
        return fail(err, "the address is empty");
    if (text.n >= 5 && memcmp(text.p, "unix:", 5) == 0)
        return parse_unix(out, la_slice(text.p + 5, text.n - 5), err);
    if (text.p[0] == '[')
        return parse_bracketed(out, text, needs_port, err);
    const char *colon = memchr(text.p, ':', text.n);
    size_t host = colon ? (size_t)(colon - text.p) : text.n;
    if (colon && memchr(colon + 1, ':', text.n - host - 1)) { /* two colons: IPv6 without brackets */
        if (!parse_v6(text, &v6, &scope))
            return fail(err, "not an IP address");
        if (needs_port)
            return fail(err, "an IPv6 address with a port needs brackets, such as [::1]:80");
        set_v6(out, &v6, scope, 0);
        return true;
    }
    if (host > 0 && !parse_v4(la_slice(text.p, host), &v4))
        return fail(err, "not an IP address");
    if (colon == NULL && needs_port)
        return fail(err, "the port is missing, such as 10.0.0.1:80");
    if (colon && !parse_port(la_slice(colon + 1, text.n - host - 1), &port))
        return fail(err, "the port must be a number from 0 to 65535");
    set_v4(out, v4, port);
    return true;
}

/* Bytes of sun_path that count: without the trailing NUL of a path, with the leading one of an abstract name.
 */
static size_t unix_bytes(const struct la_addr *a)
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t n = a->len > head ? a->len - head : 0;
    return n > 0 && a->u.un.sun_path[0] != 0 ? strnlen(a->u.un.sun_path, n) : n;
}

static void v6_text(const struct la_addr *a, char *buf, size_t size)
{
    inet_ntop(AF_INET6, &a->u.in6.sin6_addr, buf, (socklen_t)size);
    if (a->u.in6.sin6_scope_id) {
        char name[IF_NAMESIZE];
        size_t n = strlen(buf);
        if (if_indextoname(a->u.in6.sin6_scope_id, name))
            snprintf(buf + n, size - n, "%%%s", name);
        else
            snprintf(buf + n, size - n, "%%%u", a->u.in6.sin6_scope_id);
    }
}

const char *la_addr_text(const struct la_addr *a, char *buf)
{
    char ip[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    switch (la_addr_family(a)) {
    case AF_INET:
        inet_ntop(AF_INET, &a->u.in.sin_addr, ip, sizeof ip);
        snprintf(buf, LA_ADDR_TEXT, "%s:%u", ip, la_addr_port(a));
        break;
    case AF_INET6:
        v6_text(a, ip, sizeof ip);
        snprintf(buf, LA_ADDR_TEXT, "[%s]:%u", ip, la_addr_port(a));
        break;
    case AF_UNIX: {
        size_t n = unix_bytes(a);
        memcpy(buf, "unix:", 5);
        for (size_t i = 0; i < n; i++) /* an abstract name starts with a NUL, shown as @ */
            buf[5 + i] = (char)(a->u.un.sun_path[i] ? a->u.un.sun_path[i] : '@');
        buf[5 + n] = 0;
        break;
    }
    default: memcpy(buf, "-", 2);
    }
    return buf;
}

/* As inet_ntop does it, without printf: each request asks for it. */
static void v4_text(const struct la_addr *a, char *p)
{
    uint32_t ip = ntohl(a->u.in.sin_addr.s_addr);
    for (int shift = 24; shift >= 0; shift -= 8) {
        unsigned part = ip >> shift & 255;
        if (part >= 100)
            *p++ = (char)('0' + part / 100);
        if (part >= 10)
            *p++ = (char)('0' + part / 10 % 10);
        *p++ = (char)('0' + part % 10);
        *p++ = shift ? '.' : '\0';
    }
}

const char *la_addr_host_text(const struct la_addr *a, char *buf)
{
    switch (la_addr_family(a)) {
    case AF_INET: v4_text(a, buf); break;
    case AF_INET6: v6_text(a, buf, LA_ADDR_TEXT); break;
    case AF_UNIX: memcpy(buf, "unix:", 6); break;
    default: memcpy(buf, "-", 2);
    }
    return buf;
}

bool la_addr_eq(const struct la_addr *a, const struct la_addr *b)
{
    if (la_addr_family(a) != la_addr_family(b))
        return false;
    switch (la_addr_family(a)) {
    case AF_INET:
        return a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr && a->u.in.sin_port == b->u.in.sin_port;
    case AF_INET6:
        return memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof a->u.in6.sin6_addr) == 0 &&
               a->u.in6.sin6_port == b->u.in6.sin6_port && a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id;
    case AF_UNIX: {
        size_t n = unix_bytes(a);
        return n == unix_bytes(b) && memcmp(a->u.un.sun_path, b->u.un.sun_path, n) == 0;
    }
    default: return true;
    }
}

bool la_addr_is_any(const struct la_addr *a)
{
    if (la_addr_family(a) == AF_INET)
        return a->u.in.sin_addr.s_addr == htonl(INADDR_ANY);
    return la_addr_family(a) == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

bool la_addr_overlap(const struct la_addr *a, const struct la_addr *b)
{
    if (a->len == 0 || la_addr_family(a) != la_addr_family(b))
        return false;
    return la_addr_eq(a, b) || ((la_addr_is_any(a) || la_addr_is_any(b)) && la_addr_port(a) == la_addr_port(b));
}

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *c = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ c[i]) * 0x100000001b3ull;
    return h;
}

uint64_t la_addr_hash(const struct la_addr *a, uint64_t seed)
{
    uint64_t h = seed ^ 0xcbf29ce484222325ull;
    switch (la_addr_family(a)) {
    case AF_INET: h = mix(h, &a->u.in.sin_addr, sizeof a->u.in.sin_addr); break;
    case AF_INET6:
        h = mix(h, &a->u.in6.sin6_addr, sizeof a->u.in6.sin6_addr);
        h = mix(h, &a->u.in6.sin6_scope_id, sizeof a->u.in6.sin6_scope_id);
        break;
    case AF_UNIX: h = mix(h, a->u.un.sun_path, unix_bytes(a)); break;
    default: break;
    }
    h ^= h >> 33; /* FNV leaves the low bits close together: finish as murmur does */
    h *= 0xff51afd7ed558ccdull;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 33;
}

uint16_t la_addr_port(const struct la_addr *a)
{
    switch (la_addr_family(a)) {
    case AF_INET: return ntohs(a->u.in.sin_port);
    case AF_INET6: return ntohs(a->u.in6.sin6_port);
    default: return 0;
    }
}

void la_addr_set_port(struct la_addr *a, uint16_t port)
{
    if (la_addr_family(a) == AF_INET)
        a->u.in.sin_port = htons(port);
    else if (la_addr_family(a) == AF_INET6)
        a->u.in6.sin6_port = htons(port);
}

void la_addr_from_sockaddr(struct la_addr *out, const struct sockaddr *sa, socklen_t len)
{
    memset(out, 0, sizeof *out);
    if (sa == NULL || len < sizeof sa->sa_family)
        return;
    if (len > sizeof out->u)
        len = sizeof out->u;
    memcpy(&out->u, sa, len);
    out->len = len;
    if ((out->u.sa.sa_family == AF_INET && len < sizeof out->u.in) ||
        (out->u.sa.sa_family == AF_INET6 && len < sizeof out->u.in6)) {
        memset(out, 0, sizeof *out);
        return;
    }
    if (out->u.sa.sa_family == AF_INET6) {
        struct sockaddr_in6 in6 = out->u.in6;
        set_v6(out, &in6.sin6_addr, in6.sin6_scope_id, ntohs(in6.sin6_port));
    }
}

bool la_net_parse(struct la_net *out, struct la_slice text)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    size_t n = slash ? (size_t)(slash - text.p) : text.n;
    struct in_addr v4;
    struct in6_addr v6;
    uint32_t scope;
    uint16_t bits;
    memset(out, 0, sizeof *out);
    if (parse_v4(la_slice(text.p, n), &v4)) {
        out->family = AF_INET;
        bits = 32;
        memcpy(out->ip, &v4, sizeof v4);
    } else if (parse_v6(la_slice(text.p, n), &v6, &scope) && scope == 0) {
        out->family = AF_INET6;
        bits = 128;
        memcpy(out->ip, &v6, sizeof v6);
    } else {
        return false;
    }
    uint16_t most = bits;
    if (slash && (!parse_port(la_slice(slash + 1, text.n - n - 1), &bits) || bits > most))
        return false;
    if (out->family == AF_INET6 && is_mapped(&v6, &v4)) {
        if (bits < 96)
            return false;
        out->family = AF_INET;
        bits = (uint16_t)(bits - 96);
        memset(out->ip, 0, sizeof out->ip);
        memcpy(out->ip, &v4, sizeof v4);
    }
    out->bits = (uint8_t)bits;
    for (unsigned i = bits; i < 128; i++) /* host bits do not count: 10.1.2.3/8 is 10.0.0.0/8 */
        out->ip[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    return true;
}

bool la_net_has(const struct la_net *n, const struct la_addr *a)
{
    uint8_t ip[16] = {0};
    int family = la_addr_family(a);
    if (family == AF_INET) {
        memcpy(ip, &a->u.in.sin_addr, 4);
    } else if (family == AF_INET6) {
        memcpy(ip, &a->u.in6.sin6_addr, 16);
    }
    if (family != n->family)
        return false;
    unsigned whole = n->bits / 8u, rest = n->bits % 8u;
    if (memcmp(ip, n->ip, whole) != 0)
        return false;
    return rest == 0 || ((ip[whole] ^ n->ip[whole]) & (uint8_t)(0xff00u >> rest)) == 0;
}
