/* http1_chars.h (codec, private): which byte may stand where, and how to run over many of them quickly.
 *
 * One table of classes, one bit each, answers every question of the form "is this byte allowed here". Field values are
 * the longest thing in a head, so they are scanned many bytes at a time (scan.h). Nothing here knows about messages. */
#ifndef LASTACK_HTTP1_CHARS_H
#define LASTACK_HTTP1_CHARS_H

#include "codec/scan.h"

enum {
    LA_CHAR_TOKEN = 1,       /* tchar, RFC 9110 5.6.2 */
    LA_CHAR_PATH = 2,        /* raw in a request target before "?"; "%" is not: it needs its two digits */
    LA_CHAR_QUERY = 4,       /* raw after "?" */
    LA_CHAR_LABEL = 8,       /* between the dots of a registered name */
    LA_CHAR_UNRESERVED = 16, /* RFC 3986 2.3 */
    LA_CHAR_HEX = 32,
    LA_CHAR_DIGIT = 64,
    LA_CHAR_QUOTED = 128, /* qdtext, RFC 9110 5.6.4 */
};
extern const uint8_t la_http_chars[256];

static inline bool la_char_is(char c, unsigned classes)
{
    return (la_http_chars[(unsigned char)c] & classes) != 0;
}
/* First byte of p[..end) outside the classes. */
static inline const char *la_char_skip(const char *p, const char *end, unsigned classes)
{
    for (; end - p >= 4; p += 4) { /* one bounds check for four */
        if (!la_char_is(p[0], classes))
            return p;
        if (!la_char_is(p[1], classes))
            return p + 1;
        if (!la_char_is(p[2], classes))
            return p + 2;
        if (!la_char_is(p[3], classes))
            return p + 3;
    }
    while (p < end && la_char_is(*p, classes))
        p++;
    return p;
}
/* Value of a digit that LA_CHAR_HEX has let through. */
static inline unsigned la_char_hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}
static inline bool la_char_is_ows(char c)
{
    return c == ' ' || c == '\t';
}
/* May stand in a field value, a reason phrase, a quoted pair: everything but controls; HTAB is fine. */
static inline bool la_char_is_value(char c)
{
    return ((unsigned char)c >= 0x20 && c != 0x7f) || c == '\t';
}

/* First byte of p[..end) that may not stand in a field value, or end. */
const char *la_char_skip_value_from_tab(const char *p, const char *end);
static inline const char *la_char_skip_value(const char *p, const char *end, const char *from)
{
    p = la_char_skip_visible(p, end, from);
    return la_likely(p == end || *p != '\t') ? p : la_char_skip_value_from_tab(p, end);
}

#endif
