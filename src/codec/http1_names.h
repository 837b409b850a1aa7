/* http1_names.h (codec, private): which header field has this name.
 *
 * A name is looked up by its length, first and last byte, and compared with the one entry that has these, so a lookup
 * costs a few instructions. It is asked for each line of each head: inline. The table is in http1_fields.c. */
#ifndef LASTACK_HTTP1_NAMES_H
#define LASTACK_HTTP1_NAMES_H

#include "lastack/http1.h"

#define LA_HTTP_NAME_SLOTS 128
#define LA_HTTP_NAME_SLOT(n, first, last) (((n) + 9 * (first) + 3 * (last)) % LA_HTTP_NAME_SLOTS) /* in lower case */

struct la_http_name {
    char text[30]; /* in lower case; more than the longest, to make a power of two of it all */
    uint8_t n, field;
};
extern const struct la_http_name la_http_names[LA_HTTP_NAME_SLOTS];

/* Is the word at text the one at lower, ASCII case folded? The names hold a-z, 0-9 and "-": of these only
 * letters have bit 6, and for them bit 5 is the case. Bits that are not letters must match as they are. */
static inline bool la_http_same_word(const char *text, const char *lower)
{
    uint64_t t, l;
    memcpy(&t, text, 8);
    memcpy(&l, lower, 8);
    return (t | (l >> 1 & UINT64_C(0x2020202020202020))) == l;
}

static inline bool la_http_same_half(const char *text, const char *lower)
{
    uint32_t t, l;
    memcpy(&t, text, 4);
    memcpy(&l, lower, 4);
    return (t | (l >> 1 & UINT32_C(0x20202020))) == l;
}

/* Words from both ends, overlapping in the middle. */
static inline bool la_http_same_folded(const char *text, const char *lower, size_t n)
{
    if (n >= 8)
        return la_http_same_word(text, lower) && la_http_same_word(text + n - 8, lower + n - 8) &&
               (n <= 16 || la_http_same_word(text + 8, lower + 8));
    if (n >= 4)
        return la_http_same_half(text, lower) && la_http_same_half(text + n - 4, lower + n - 4);
    for (size_t i = 0; i < n; i++)
        if ((text[i] | (lower[i] >> 1 & 0x20)) != lower[i])
            return false;
    return true;
}

static inline enum la_http_field la_http_name_find(const char *p, size_t n)
{
    if (n == 0)
        return LA_FIELD_OTHER;
    size_t slot = LA_HTTP_NAME_SLOT(n, (unsigned char)p[0] | 0x20u, (unsigned char)p[n - 1] | 0x20u);
    const struct la_http_name *e = &la_http_names[slot];
    return e->n == n && la_http_same_folded(p, e->text, n) ? (enum la_http_field)e->field : LA_FIELD_OTHER;
}

#endif
