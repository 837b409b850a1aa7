/* http1_section.c: the field section of a head: "name: value" lines up to the empty line.
 *
 * One pass: the name by table, the value eight bytes at a time, the field looked up by its name, slices noted
 * as offsets. Exact CRLF; no folding; no white space around the name; no control character in a value but
 * HTAB. It does not know what a field means: that is http1_meaning.c, after the last line. Fails with the
 * caller's codes. */
#include "codec/http1_private.h"

#include "codec/http1_chars.h"

/* Proxy is not a hop-by-hop field but becomes HTTP_PROXY in CGI; nothing good ever sends it. */
const uint64_t la_http_hop_fields =
    LA_FIELD_BIT(CONNECTION) | LA_FIELD_BIT(KEEP_ALIVE) | LA_FIELD_BIT(PROXY_CONNECTION) | LA_FIELD_BIT(TE) |
    LA_FIELD_BIT(TRANSFER_ENCODING) | LA_FIELD_BIT(UPGRADE) | LA_FIELD_BIT(PROXY_AUTHENTICATE) |
    LA_FIELD_BIT(PROXY_AUTHORIZATION) | LA_FIELD_BIT(HTTP2_SETTINGS) | LA_FIELD_BIT(PROXY);
_Static_assert(LA_FIELD_COUNT <= 64, "a field is a bit of head->present");
_Static_assert(LA_HTTP_MAX_NAME <= UINT16_MAX, "name_n");

uint32_t la_http_max_headers(const struct la_http_limits *limits)
{
    return limits->headers == 0 || limits->headers > LA_HTTP_MAX_HEADERS ? LA_HTTP_MAX_HEADERS
                                                                         : limits->headers;
}

/* One field line at s->at. */
static enum la_http_result field_line(struct la_http_head *head, struct la_http_section *s, enum la_err *err)
{
    const char *name = s->at, *end = s->end;
    enum la_http_field field = LA_FIELD_OTHER;
    const char *colon = end - name >= 16 ? la_char_find16(name, ':') : NULL;
    bool short_name = colon != NULL;
    if (short_name)
        field = la_http_field_find(la_slice(name, (size_t)(colon - name)));
    if (field == LA_FIELD_OTHER) /* a name that is known is a token */
        colon = la_char_skip(name, end, LA_CHAR_TOKEN);
    *err = s->size;
    if (colon - name > LA_HTTP_MAX_NAME)
        return LA_HTTP_ERROR;
    if (colon == end)
        return LA_HTTP_MORE;
    *err = s->syntax;
    if (*colon != ':' || colon == name)
        return LA_HTTP_ERROR;
    const char *value = colon + 1;
    while (value < end && la_char_is_ows(*value))
        value++;
    const char *stop = la_char_skip_value(value, end);
    if (end - stop < 2)
        return stop == end || *stop == '\r' ? LA_HTTP_MORE : LA_HTTP_ERROR;
    if (stop[0] != '\r' || stop[1] != '\n')
        return LA_HTTP_ERROR;
    s->at = stop + 2;
    while (stop > value && la_char_is_ows(stop[-1]))
        stop--;
    *err = s->size;
    if (head->headers == s->max_headers)
        return LA_HTTP_ERROR;
    if (!short_name)
        field = la_http_field_find(la_slice(name, (size_t)(colon - name)));
    uint64_t bit = UINT64_C(1) << field;
    s->repeated |= head->present & bit;
    head->present |= bit;
    head->header[head->headers++] = (struct la_http_header){
        .name_at = (uint32_t)(name - head->base),
        .value_at = (uint32_t)(value - head->base),
        .name_n = (uint16_t)(colon - name),
        .field = (uint8_t)field,
        .hop = (la_http_hop_fields & bit) != 0,
        .value_n = (uint32_t)(stop - value),
    };
    return LA_HTTP_DONE;
}

enum la_http_result la_http_section_parse(struct la_http_head *head, struct la_http_section *s,
                                          enum la_err *err)
{
    for (;;) {
        if (s->at == s->end)
            return LA_HTTP_MORE;
        if (*s->at == '\r') {
            if (s->end - s->at < 2)
                return LA_HTTP_MORE;
            *err = s->syntax;
            if (s->at[1] != '\n')
                return LA_HTTP_ERROR;
            s->at += 2;
            return LA_HTTP_DONE;
        }
        enum la_http_result r = field_line(head, s, err);
        if (r != LA_HTTP_DONE)
            return r;
    }
}

/* Is the line that ends with the LF at p[i] a reason to parse: the first line, the empty one, no field? */
static bool line_matters(const char *p, size_t i)
{
    size_t first = 0;
    while (first < i && (p[first] == '\r' || p[first] == '\n'))
        first++;
    if (first == i)
        return i >= 3; /* only empty lines so far */
    const char *before = memrchr(p + first, '\n', i - first);
    if (before == NULL || before + 2 == p + i)
        return true;
    const char *name = before + 1;
    const char *colon = la_char_skip(name, p + i, LA_CHAR_TOKEN);
    return colon == name || *colon != ':';
}

bool la_http_worth_parsing(const char *p, size_t n, size_t seen)
{
    if (seen == 0 || seen > n)
        return true;
    /* The last byte of before is looked at again: it may be a CR. */
    for (size_t i = seen - 1; i < n; i++) {
        i = (size_t)(la_char_skip_value(p + i, p + n) - p);
        if (i == n)
            return false;
        if (p[i] == '\r') {
            if (i + 1 < n && p[i + 1] != '\n')
                return true;
        } else if (p[i] != '\n' || i == 0 || p[i - 1] != '\r' || line_matters(p, i)) {
            return true;
        }
    }
    return false;
}
