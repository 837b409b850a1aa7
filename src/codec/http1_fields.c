/* http1_fields.c: names: which header field, which method, is it a token; and walking the value of a list.
 *
 * The table is sorted by length; a name is compared with the at most three entries of its own length, so a
 * lookup costs a few instructions for names that nobody knows. Holds no state, cannot fail. */
#include "lastack/http1.h"

#include "codec/http1_chars.h"

struct entry {
    const char *name;
    uint8_t field;
};
static const struct entry table[] = {
    {"te", LA_FIELD_TE},
    {"via", LA_FIELD_VIA},
    {"host", LA_FIELD_HOST},
    {"date", LA_FIELD_DATE},
    {"proxy", LA_FIELD_PROXY},
    {"expect", LA_FIELD_EXPECT},
    {"server", LA_FIELD_SERVER},
    {"cookie", LA_FIELD_COOKIE},
    {"trailer", LA_FIELD_TRAILER},
    {"upgrade", LA_FIELD_UPGRADE},
    {"referer", LA_FIELD_REFERER},
    {"location", LA_FIELD_LOCATION},
    {"forwarded", LA_FIELD_FORWARDED},
    {"connection", LA_FIELD_CONNECTION},
    {"keep-alive", LA_FIELD_KEEP_ALIVE},
    {"user-agent", LA_FIELD_USER_AGENT},
    {"retry-after", LA_FIELD_RETRY_AFTER},
    {"content-type", LA_FIELD_CONTENT_TYPE},
    {"max-forwards", LA_FIELD_MAX_FORWARDS},
    {"proxy-status", LA_FIELD_PROXY_STATUS},
    {"authorization", LA_FIELD_AUTHORIZATION},
    {"content-length", LA_FIELD_CONTENT_LENGTH},
    {"http2-settings", LA_FIELD_HTTP2_SETTINGS},
    {"x-forwarded-for", LA_FIELD_X_FORWARDED_FOR},
    {"proxy-connection", LA_FIELD_PROXY_CONNECTION},
    {"x-forwarded-host", LA_FIELD_X_FORWARDED_HOST},
    {"www-authenticate", LA_FIELD_WWW_AUTHENTICATE},
    {"transfer-encoding", LA_FIELD_TRANSFER_ENCODING},
    {"x-forwarded-proto", LA_FIELD_X_FORWARDED_PROTO},
    {"sec-websocket-key", LA_FIELD_SEC_WEBSOCKET_KEY},
    {"proxy-authenticate", LA_FIELD_PROXY_AUTHENTICATE},
    {"proxy-authorization", LA_FIELD_PROXY_AUTHORIZATION},
};
_Static_assert(la_count(table) == LA_FIELD_COUNT - 1, "every field of LA_HTTP_FIELDS is in the table once");

/* Where the names of each length start; the unit test looks every name up, so a wrong number is found. */
#define LONGEST 19
static const uint8_t start[LONGEST + 2] = {
    0,  0,  0,  1,  2,  4,  5,  8,  11, 12, 13, /* 0 to 10 */
    16, 17, 20, 21, 23, 24, 27, 30, 31, 32,     /* 11 to 20 */
};

/* Is the word at text the one at lower, ASCII case folded? The names hold a-z, 0-9 and "-": of these only
 * letters have bit 6, and for them bit 5 is the case. Bits that are not letters must match as they are. */
static bool same_word(const char *text, const char *lower)
{
    uint64_t t, l;
    memcpy(&t, text, 8);
    memcpy(&l, lower, 8);
    return (t | (l >> 1 & UINT64_C(0x2020202020202020))) == l;
}

static bool same_half(const char *text, const char *lower)
{
    uint32_t t, l;
    memcpy(&t, text, 4);
    memcpy(&l, lower, 4);
    return (t | (l >> 1 & UINT32_C(0x20202020))) == l;
}

/* Words from both ends, overlapping in the middle. */
static bool same_folded(const char *text, const char *lower, size_t n)
{
    if (n >= 8)
        return same_word(text, lower) && same_word(text + n - 8, lower + n - 8) &&
               (n <= 16 || same_word(text + 8, lower + 8));
    if (n >= 4)
        return same_half(text, lower) && same_half(text + n - 4, lower + n - 4);
    for (size_t i = 0; i < n; i++)
        if ((text[i] | (lower[i] >> 1 & 0x20)) != lower[i])
            return false;
    return true;
}

enum la_http_field la_http_field_find(struct la_slice name)
{
    if (name.n > LONGEST)
        return LA_FIELD_OTHER;
    for (unsigned i = start[name.n]; i < start[name.n + 1]; i++)
        if ((name.p[0] | 0x20) == table[i].name[0] && same_folded(name.p, table[i].name, name.n))
            return (enum la_http_field)table[i].field;
    return LA_FIELD_OTHER;
}

bool la_http_method_idempotent(enum la_http_method m)
{
    switch (m) {
    case LA_METHOD_GET:
    case LA_METHOD_HEAD:
    case LA_METHOD_PUT:
    case LA_METHOD_DELETE:
    case LA_METHOD_OPTIONS:
    case LA_METHOD_TRACE: return true;
    default: return false;
    }
}

int la_http_find(const struct la_http_head *h, enum la_http_field f)
{
    if ((h->present >> f & 1) == 0)
        return -1;
    for (int i = 0; i < h->headers; i++)
        if (h->header[i].field == f)
            return i;
    return -1;
}

bool la_http_list_next(struct la_slice *rest, struct la_slice *item)
{
    const char *p = rest->p, *end = rest->p + rest->n;
    while (p < end && (la_char_is_ows(*p) || *p == ','))
        p++;
    if (p == end) {
        *rest = la_slice(end, 0);
        return false;
    }
    const char *comma = memchr(p, ',', (size_t)(end - p));
    const char *stop = comma != NULL ? comma : end;
    *rest = la_slice(stop, (size_t)(end - stop));
    while (la_char_is_ows(stop[-1]))
        stop--;
    *item = la_slice(p, (size_t)(stop - p));
    return true;
}

bool la_http_is_token(struct la_slice s)
{
    return s.n > 0 && la_char_skip(s.p, s.p + s.n, LA_CHAR_TOKEN) == s.p + s.n;
}
