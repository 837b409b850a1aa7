/* http1_fields.c: names: which header field, which method, is it a token; and walking the value of a list.
 *
 * A name is looked up by its length, first and last byte, and compared with the one entry that has these, so a lookup
 * costs a few instructions. Holds no state, cannot fail. */
#include "codec/http1_names.h"

#include "codec/http1_chars.h"

/* Each name has a slot of its own; two in one would not compile. */
#define AT LA_HTTP_NAME_SLOT

const struct la_http_name la_http_names[LA_HTTP_NAME_SLOTS] = {
    [AT(2, 't', 'e')] = {"te", 2, LA_FIELD_TE},
    [AT(3, 'v', 'a')] = {"via", 3, LA_FIELD_VIA},
    [AT(4, 'h', 't')] = {"host", 4, LA_FIELD_HOST},
    [AT(4, 'd', 'e')] = {"date", 4, LA_FIELD_DATE},
    [AT(5, 'p', 'y')] = {"proxy", 5, LA_FIELD_PROXY},
    [AT(6, 'e', 't')] = {"expect", 6, LA_FIELD_EXPECT},
    [AT(6, 's', 'r')] = {"server", 6, LA_FIELD_SERVER},
    [AT(6, 'c', 'e')] = {"cookie", 6, LA_FIELD_COOKIE},
    [AT(7, 't', 'r')] = {"trailer", 7, LA_FIELD_TRAILER},
    [AT(7, 'u', 'e')] = {"upgrade", 7, LA_FIELD_UPGRADE},
    [AT(7, 'r', 'r')] = {"referer", 7, LA_FIELD_REFERER},
    [AT(8, 'l', 'n')] = {"location", 8, LA_FIELD_LOCATION},
    [AT(9, 'f', 'd')] = {"forwarded", 9, LA_FIELD_FORWARDED},
    [AT(10, 'c', 'n')] = {"connection", 10, LA_FIELD_CONNECTION},
    [AT(10, 'k', 'e')] = {"keep-alive", 10, LA_FIELD_KEEP_ALIVE},
    [AT(10, 'u', 't')] = {"user-agent", 10, LA_FIELD_USER_AGENT},
    [AT(11, 'r', 'r')] = {"retry-after", 11, LA_FIELD_RETRY_AFTER},
    [AT(12, 'c', 'e')] = {"content-type", 12, LA_FIELD_CONTENT_TYPE},
    [AT(12, 'm', 's')] = {"max-forwards", 12, LA_FIELD_MAX_FORWARDS},
    [AT(12, 'p', 's')] = {"proxy-status", 12, LA_FIELD_PROXY_STATUS},
    [AT(13, 'a', 'n')] = {"authorization", 13, LA_FIELD_AUTHORIZATION},
    [AT(14, 'c', 'h')] = {"content-length", 14, LA_FIELD_CONTENT_LENGTH},
    [AT(14, 'h', 's')] = {"http2-settings", 14, LA_FIELD_HTTP2_SETTINGS},
    [AT(15, 'x', 'r')] = {"x-forwarded-for", 15, LA_FIELD_X_FORWARDED_FOR},
    [AT(16, 'p', 'n')] = {"proxy-connection", 16, LA_FIELD_PROXY_CONNECTION},
    [AT(16, 'x', 't')] = {"x-forwarded-host", 16, LA_FIELD_X_FORWARDED_HOST},
    [AT(16, 'w', 'e')] = {"www-authenticate", 16, LA_FIELD_WWW_AUTHENTICATE},
    [AT(17, 't', 'g')] = {"transfer-encoding", 17, LA_FIELD_TRANSFER_ENCODING},
    [AT(17, 'x', 'o')] = {"x-forwarded-proto", 17, LA_FIELD_X_FORWARDED_PROTO},
    [AT(17, 's', 'y')] = {"sec-websocket-key", 17, LA_FIELD_SEC_WEBSOCKET_KEY},
    [AT(18, 'p', 'e')] = {"proxy-authenticate", 18, LA_FIELD_PROXY_AUTHENTICATE},
    [AT(19, 'p', 'n')] = {"proxy-authorization", 19, LA_FIELD_PROXY_AUTHORIZATION},
};

enum la_http_field la_http_field_find(struct la_slice name)
{
    return la_http_name_find(name.p, name.n);
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
