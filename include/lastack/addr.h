/* addr.h (layer: base): IPv4, IPv6 and Unix socket addresses as one value type.
 *
 * Text forms: "10.0.0.1:80", "[::1]:80", "unix:/path". A bare ":80" is 0.0.0.0:80. No names, no DNS here. */
#ifndef LASTACK_ADDR_H
#define LASTACK_ADDR_H

#include "lastack/base.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct la_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
    socklen_t len; /* 0: no address */
};

#define LA_ADDR_TEXT 128 /* enough for every form, with its NUL */

/* False when text is none of the forms; *err then points to a constant text that says why.
 * needs_port: an IP address without a port is an error, else its port is 0. */
bool la_addr_parse(struct la_addr *out, struct la_slice text, bool needs_port, const char **err);
/* Writes the canonical text into buf (LA_ADDR_TEXT bytes) and returns buf. */
const char *la_addr_text(const struct la_addr *a, char *buf);
/* The same without port: "10.0.0.1", "::1", "unix:" for a Unix socket. For X-Forwarded-For. */
const char *la_addr_host_text(const struct la_addr *a, char *buf);
bool la_addr_eq(const struct la_addr *a, const struct la_addr *b); /* family, address and port */
bool la_addr_is_any(const struct la_addr *a); /* 0.0.0.0 or [::], with any port */
/* Does listening on one take the other, too? The same, or one is the wildcard of the other's family and port ([::] is IPv6 alone). */
bool la_addr_overlap(const struct la_addr *a, const struct la_addr *b);
uint64_t la_addr_hash(const struct la_addr *a, uint64_t seed);     /* address without port */
uint16_t la_addr_port(const struct la_addr *a);                    /* host order; 0 for Unix */
void la_addr_set_port(struct la_addr *a, uint16_t port);
static inline int la_addr_family(const struct la_addr *a) { return a->len ? a->u.sa.sa_family : AF_UNSPEC; }
/* From accept(2), getsockname(2) and the like; an IPv4-mapped IPv6 address becomes IPv4. */
void la_addr_from_sockaddr(struct la_addr *out, const struct sockaddr *sa, socklen_t len);

/* A network in CIDR form ("10.0.0.0/8", "::1"; a bare address is a host). */
struct la_net {
    uint8_t family; /* AF_INET or AF_INET6 */
    uint8_t bits;
    uint8_t ip[16];
};
bool la_net_parse(struct la_net *out, struct la_slice text);
bool la_net_has(const struct la_net *n, const struct la_addr *a);

#endif
