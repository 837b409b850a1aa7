/* http1_trailer.c: reads back the trailer lines that the body decoder has kept, without those that may not be
 * trailers.
 *
 * A trailer field arrives after everything was decided: one that frames, routes, authenticates or describes
 * the content would be taken for a header by a sloppy reader (RFC 9110 6.5.1). They are dropped, not refused:
 * the sender may not know better. The lines were validated by the decoder; nothing fails here. */
#include "codec/http1_private.h"

#include "codec/http1_chars.h"

static bool forbidden(struct la_slice name)
{
    static const char *const others[] = {
        "age",
        "cache-control",
        "expires",
        "pragma",
        "range",
        "set-cookie",
        "vary",
        "warning",
        "accept",
        "origin",
        "set-cookie2",
        "x-real-ip",
        "clear-site-data",
        "strict-transport-security",
    };
    static const char *const prefixes[] = {"content-",        "x-forwarded-", "if-", "accept-",
                                           "access-control-", "proxy-",       "sec-"};
    const uint64_t fields = la_http_hop_fields | LA_FIELD_BIT(HOST) | LA_FIELD_BIT(TRAILER) |
                            LA_FIELD_BIT(EXPECT) | LA_FIELD_BIT(VIA) | LA_FIELD_BIT(DATE) |
                            LA_FIELD_BIT(MAX_FORWARDS) | LA_FIELD_BIT(FORWARDED) |
                            LA_FIELD_BIT(WWW_AUTHENTICATE) | LA_FIELD_BIT(AUTHORIZATION) |
                            LA_FIELD_BIT(USER_AGENT) | LA_FIELD_BIT(REFERER) | LA_FIELD_BIT(COOKIE) |
                            LA_FIELD_BIT(LOCATION) | LA_FIELD_BIT(RETRY_AFTER) | LA_FIELD_BIT(SERVER);
    if ((fields >> la_http_field_find(name) & 1) != 0 || memchr(name.p, '_', name.n) != NULL)
        return true;
    for (size_t i = 0; i < la_count(others); i++)
        if (la_slice_ieq(name, la_slice_str(others[i])))
            return true;
    for (size_t i = 0; i < la_count(prefixes); i++) {
        struct la_slice prefix = la_slice_str(prefixes[i]);
        if (name.n >= prefix.n && la_slice_ieq(la_slice(name.p, prefix.n), prefix))
            return true;
    }
    return false;
}

bool la_http_trailer_next(const struct la_http_body *b, uint32_t *at, struct la_slice *name,
                          struct la_slice *value)
{
    while (*at < b->trailer_n) {
        const char *line = b->trailer + *at;
        const char *lf = memchr(line, '\n', b->trailer_n - *at);
        if (lf == NULL)
            return false; /* the section is not complete yet */
        *at += (uint32_t)(lf + 1 - line);
        const char *colon = memchr(line, ':', (size_t)(lf - line));
        const char *start = colon + 1, *end = lf - 1;
        while (start < end && la_char_is_ows(*start))
            start++;
        while (end > start && la_char_is_ows(end[-1]))
            end--;
        *name = la_slice(line, (size_t)(colon - line));
        *value = la_slice(start, (size_t)(end - start));
        if (!forbidden(*name))
            return true;
    }
    return false;
}
