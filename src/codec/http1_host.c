/* http1_host.c: host[:port], as it stands in Host and in the authority of a request target.
 *
 * Routing matches on this text, so it must have one reading only: no userinfo, no percent-encoding, no list,
 * no empty label but after a final dot, brackets around IPv6 and nothing else, ports that are ports. */
#include "lastack/http1.h"

#include <arpa/inet.h>

#include "codec/http1_chars.h"

#define HOST_MAX 255

static bool is_port(const char *p, const char *end)
{
    unsigned value = 0;
    if (p == end || end - p > 5)
        return false;
    for (; p < end; p++) {
        if (!la_char_is(*p, LA_CHAR_DIGIT))
            return false;
        value = value * 10 + (unsigned)(*p - '0');
    }
    return value <= 65535;
}

/* p is behind "["; the end of the literal (its "]"), or NULL. */
static const char *ipv6_literal(const char *p, const char *end)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    const char *close = memchr(p, ']', (size_t)(end - p));
    if (close == NULL || (size_t)(close - p) >= sizeof(text))
        return NULL;
    memcpy(text, p, (size_t)(close - p));
    text[close - p] = '\0';
    if (strlen(text) != (size_t)(close - p) || inet_pton(AF_INET6, text, &address) != 1)
        return NULL;
    return close;
}

bool la_http_is_host(struct la_slice s)
{
    const char *p = s.p, *end = s.p + s.n;
    if (s.n == 0 || s.n > HOST_MAX)
        return false;
    if (*p == '[') {
        p = ipv6_literal(p + 1, end);
        if (p == NULL)
            return false;
        p++;
    } else {
        do {
            const char *label = p;
            p = la_char_skip(p, end, LA_CHAR_LABEL);
            if (p == label && (p == s.p || *p == '.'))
                return false;
        } while (p < end && *p == '.' && ++p < end);
    }
    return p == end || (*p == ':' && is_port(p + 1, end));
}
