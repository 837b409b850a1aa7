/* proxy_header.h (layer: codec): the PROXY protocol header, versions 1 and 2: who a connection is really
 * from. No I/O. */
#ifndef LASTACK_PROXY_HEADER_H
#define LASTACK_PROXY_HEADER_H

#include "lastack/addr.h"

#define LA_PROXY_HEADER_MAX 2048u /* longer ones are refused: what follows the addresses is not used */

enum la_proxy_parse { LA_PROXY_DONE, LA_PROXY_MORE, LA_PROXY_BAD };

struct la_proxy_header {
    size_t n;                           /* its length: what follows is the client's */
    struct la_addr source, destination; /* len 0: it says nothing (UNKNOWN, LOCAL, another family): the other
                                           end is the client */
};
/* Of the n bytes so far. The same answer however they came; BAD as soon as it is certain. */
enum la_proxy_parse la_proxy_header_parse(struct la_proxy_header *out, const char *p, size_t n);

/* Writes one; returns its length, at most 107 bytes. version 1 or 2. Of an IPv4 and an IPv6 address the former goes as IPv6
 * (::ffff:10.0.0.1). Addresses that are neither (NULL too): one that says nothing. */
#define LA_PROXY_HEADER_WRITTEN 108
size_t la_proxy_header_write(char *buf, int version, const struct la_addr *source, const struct la_addr *destination);

#endif
