/* http1_chars.c: the table behind http1_chars.h, and its rarer paths. It owns nothing and decides nothing.
 *
 * Sources: tchar RFC 9110 5.6.2, qdtext 5.6.4, pchar and query RFC 3986 3.3 and 3.4. Two departures, both
 * because browsers send these raw (WHATWG URL): "[]{}|^`" in targets, and "\" in queries. A backslash in a
 * path is refused: some servers take it for a slash. Quotes, "<", ">", "#", controls and bytes over 0x7e are
 * refused everywhere in a target. Hosts leave out sub-delims and "%": nobody uses them and readers disagree
 * about them. */
#include "codec/http1_chars.h"

#define T LA_CHAR_TOKEN
#define P LA_CHAR_PATH
#define Q LA_CHAR_QUERY
#define L LA_CHAR_LABEL
#define U LA_CHAR_UNRESERVED
#define X LA_CHAR_HEX
#define D LA_CHAR_DIGIT
#define S LA_CHAR_QUOTED

const uint8_t la_http_chars[256] = {
    ['\t'] = S,
    [' '] = S,
    ['!'] = T | P | Q | S,
    ['#'] = T | S,
    ['$'] = T | P | Q | S,
    ['%'] = T | S,
    ['&'] = T | P | Q | S,
    ['\''] = T | P | Q | S,
    ['('] = P | Q | S,
    [')'] = P | Q | S,
    ['*'] = T | P | Q | S,
    ['+'] = T | P | Q | S,
    [','] = P | Q | S,
    ['-'] = T | P | Q | L | U | S,
    ['.'] = T | P | Q | U | S,
    ['/'] = P | Q | S,
    ['0' ... '9'] = T | P | Q | L | U | X | D | S,
    [':'] = P | Q | S,
    [';'] = P | Q | S,
    ['<'] = S,
    ['='] = P | Q | S,
    ['>'] = S,
    ['?'] = Q | S,
    ['@'] = P | Q | S,
    ['A' ... 'F'] = T | P | Q | L | U | X | S,
    ['G' ... 'Z'] = T | P | Q | L | U | S,
    ['['] = P | Q | S,
    ['\\'] = Q,
    [']'] = P | Q | S,
    ['^'] = T | P | Q | S,
    ['_'] = T | P | Q | L | U | S,
    ['`'] = T | P | Q | S,
    ['a' ... 'f'] = T | P | Q | L | U | X | S,
    ['g' ... 'z'] = T | P | Q | L | U | S,
    ['{'] = P | Q | S,
    ['|'] = T | P | Q | S,
    ['}'] = P | Q | S,
    ['~'] = T | P | Q | L | U | S,
    [0x80 ... 0xff] = S,
};

const char *la_char_skip_value_from_tab(const char *p, const char *end)
{
    while (p < end && *p == '\t')
        p = la_char_skip_visible(p + 1, end, p);
    return p;
}
