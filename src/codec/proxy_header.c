/* proxy_header.c: the PROXY protocol header as haproxy.org/download/2.8/doc/proxy-protocol.txt has it.
 *
 * Version 1 is a line of at most 107 bytes; version 2 starts with a signature that no protocol begins with,
 * and says its length. Strict, because a header that is taken wrongly names the wrong client: single spaces,
 * no leading zeros, CRLF. The checksum and the other fields behind a version 2 header's addresses are
 * skipped. */
#include "lastack/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>

#define LINE_MAX 107u

static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* ---- version 1 ---- */

static struct la_slice next_word(struct la_slice *rest)
{
    const char *space = memchr(rest->p, ' ', rest->n);
    size_t n = space ? (size_t)(space - rest->p) : rest->n;
    struct la_slice word = la_slice(rest->p, n);
    size_t used = n + (space != NULL);
    *rest = la_slice(rest->p + used, rest->n - used);
    if (space && rest->n == 0) /* a space at the end */
        rest->n = 0, word.n = 0;
    return word;
}

static bool read_port(struct la_slice word, uint16_t *port)
{
    unsigned value = 0;
    if (word.n == 0 || word.n > 5 || (word.n > 1 && word.p[0] == '0'))
        return false;
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] < '0' || word.p[i] > '9')
            return false;
        value = value * 10 + (unsigned)(word.p[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

static bool read_ip(struct la_slice word, int family, struct la_addr *out)
{
    char text[INET6_ADDRSTRLEN];
    if (word.n == 0 || word.n >= sizeof text || memchr(word.p, 0, word.n))
        return false;
    memcpy(text, word.p, word.n);
    text[word.n] = 0;
    *out = (struct la_addr){0};
    out->u.sa.sa_family = (sa_family_t)family;
    out->len = family == AF_INET ? sizeof out->u.in : sizeof out->u.in6;
    return inet_pton(family, text, family == AF_INET ? (void *)&out->u.in.sin_addr : (void *)&out->u.in6.sin6_addr) ==
           1;
}

static enum la_proxy_parse parse_line(struct la_proxy_header *out, struct la_slice line)
{
    uint16_t from, to;
    struct la_slice rest = la_slice(line.p + 6, line.n - 6); /* behind "PROXY " */
    struct la_slice kind = next_word(&rest);
    if (la_slice_eq(kind, LA_SLICE("UNKNOWN")))
        return LA_PROXY_DONE; /* whatever follows */
    int family = la_slice_eq(kind, LA_SLICE("TCP4"))   ? AF_INET
                 : la_slice_eq(kind, LA_SLICE("TCP6")) ? AF_INET6
                                                       : AF_UNSPEC;
    if (family == AF_UNSPEC)
        return LA_PROXY_BAD;
    struct la_slice source = next_word(&rest), destination = next_word(&rest), source_port = next_word(&rest);
    if (!read_ip(source, family, &out->source) || !read_ip(destination, family, &out->destination) ||
        !read_port(source_port, &from) || !read_port(rest, &to))
        return LA_PROXY_BAD;
    la_addr_set_port(&out->source, from);
    la_addr_set_port(&out->destination, to);
    return LA_PROXY_DONE;
}

static enum la_proxy_parse parse_v1(struct la_proxy_header *out, const char *p, size_t n)
{
    size_t known = la_min64(n, 6);
    if (memcmp(p, "PROXY ", known) != 0)
        return LA_PROXY_BAD;
    const char *cr = memchr(p, '\r', la_min64(n, LINE_MAX));
    if (cr == NULL)
        return n >= LINE_MAX ? LA_PROXY_BAD : LA_PROXY_MORE;
    size_t line = (size_t)(cr - p);
    if (line < 7 || line + 2 > LINE_MAX)
        return LA_PROXY_BAD;
    if (n < line + 2)
        return LA_PROXY_MORE;
    if (cr[1] != '\n')
        return LA_PROXY_BAD;
    out->n = line + 2;
    return parse_line(out, la_slice(p, line));
}

/* ---- version 2 ---- */

static void take_v2(struct la_addr *a, int family, const unsigned char *ip, const unsigned char *port)
{
    *a = (struct la_addr){0};
    a->u.sa.sa_family = (sa_family_t)family;
    a->len = family == AF_INET ? sizeof a->u.in : sizeof a->u.in6;
    if (family == AF_INET)
        memcpy(&a->u.in.sin_addr, ip, 4);
    else
        memcpy(&a->u.in6.sin6_addr, ip, 16);
    la_addr_set_port(a, (uint16_t)(port[0] << 8 | port[1]));
}

static enum la_proxy_parse parse_v2(struct la_proxy_header *out, const char *p, size_t n)
{
    const unsigned char *b = (const unsigned char *)p;
    if (memcmp(p, signature, la_min64(n, sizeof signature)) != 0)
        return LA_PROXY_BAD;
    if (n > 12 && ((b[12] & 0xf0) != 0x20 || (b[12] & 0x0f) > 1)) /* version 2, LOCAL or PROXY */
        return LA_PROXY_BAD;
    if (n < 16)
        return LA_PROXY_MORE;
    size_t length = (size_t)b[14] << 8 | b[15];
    if (16 + length > LA_PROXY_HEADER_MAX)
        return LA_PROXY_BAD;
    bool proxied = b[12] == 0x21;
    bool v4 = proxied && b[13] == 0x11, v6 = proxied && b[13] == 0x21; /* over TCP */
    if ((v4 && length < 12) || (v6 && length < 36))
        return LA_PROXY_BAD;
    if (n < 16 + length)
        return LA_PROXY_MORE;
    out->n = 16 + length;
    if (v4) {
        take_v2(&out->source, AF_INET, b + 16, b + 24);
        take_v2(&out->destination, AF_INET, b + 20, b + 26);
    } else if (v6) {
        take_v2(&out->source, AF_INET6, b + 16, b + 48);
        take_v2(&out->destination, AF_INET6, b + 32, b + 50);
    }
    return LA_PROXY_DONE;
}

/* A proxy whose client and whose own address are of two families sends the IPv4 one as IPv6. */
static void unmap(struct la_addr *a)
{
    struct la_addr said = *a;
    la_addr_from_sockaddr(a, &said.u.sa, said.len);
}

enum la_proxy_parse la_proxy_header_parse(struct la_proxy_header *out, const char *p, size_t n)
{
    *out = (struct la_proxy_header){0};
    if (n == 0)
        return LA_PROXY_MORE;
    enum la_proxy_parse result = p[0] == signature[0] ? parse_v2(out, p, n) : parse_v1(out, p, n);
    if (result != LA_PROXY_DONE)
        *out = (struct la_proxy_header){0};
    unmap(&out->source);
    unmap(&out->destination);
    return result;
}

/* ---- writing ---- */

/* The address in the family of the header. */
struct ip {
    unsigned char byte[16];
    size_t n;
};

static struct ip ip_of(const struct la_addr *a, int family)
{
    struct ip ip = {{0}, family == AF_INET ? 4 : 16};
    bool v4 = la_addr_family(a) == AF_INET;
    if (v4 && ip.n == 16)
        memset(ip.byte + 10, 0xff, 2);
    memcpy(ip.byte + (v4 ? ip.n - 4 : 0), v4 ? (const void *)&a->u.in.sin_addr : (const void *)&a->u.in6.sin6_addr, v4 ? 4 : 16);
    return ip;
}

static size_t write_v1(char *buf, int family, const struct la_addr *source, const struct la_addr *destination)
{
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    if (family == AF_UNSPEC)
        return (size_t)snprintf(buf, LA_PROXY_HEADER_WRITTEN, "PROXY UNKNOWN\r\n");
    inet_ntop(family, ip_of(source, family).byte, from, sizeof from);
    inet_ntop(family, ip_of(destination, family).byte, to, sizeof to);
    return (size_t)snprintf(buf, LA_PROXY_HEADER_WRITTEN, "PROXY TCP%c %s %s %u %u\r\n", family == AF_INET ? '4' : '6', from, to,
                            la_addr_port(source), la_addr_port(destination));
}

static size_t write_v2(char *buf, int family, const struct la_addr *source, const struct la_addr *destination)
{
    size_t n = 16;
    memcpy(buf, signature, sizeof signature);
    buf[12] = family == AF_UNSPEC ? 0x20 : 0x21;
    buf[13] = family == AF_INET ? 0x11 : family == AF_INET6 ? 0x21 : 0;
    if (family != AF_UNSPEC) {
        const uint16_t port[2] = {la_addr_port(source), la_addr_port(destination)};
        const struct ip ip[2] = {ip_of(source, family), ip_of(destination, family)};
        for (int i = 0; i < 2; i++) {
            memcpy(buf + n, ip[i].byte, ip[i].n);
            n += ip[i].n;
        }
        for (int i = 0; i < 2; i++) {
            buf[n++] = (char)(port[i] >> 8);
            buf[n++] = (char)(port[i] & 0xff);
        }
    }
    buf[14] = 0;
    buf[15] = (char)(n - 16);
    return n;
}

size_t la_proxy_header_write(char *buf, int version, const struct la_addr *source, const struct la_addr *destination)
{
    int from = source ? la_addr_family(source) : AF_UNSPEC, to = destination ? la_addr_family(destination) : AF_UNSPEC;
    bool known = (from == AF_INET || from == AF_INET6) && (to == AF_INET || to == AF_INET6);
    int family = !known ? AF_UNSPEC : from == to ? from : AF_INET6;
    return version == 1 ? write_v1(buf, family, source, destination) : write_v2(buf, family, source, destination);
}
