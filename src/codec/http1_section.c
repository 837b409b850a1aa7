/* http1_section.c: the field section of a head: "name: value" lines up to the empty line.
 *
 * One pass: the name by table, the value sixteen bytes at a time, the field looked up by its name, slices noted
 * as offsets. Exact CRLF; no folding; no white space around the name; no control character in a value but
 * HTAB. It does not know what a field means: that is http1_meaning.c, after the last line. Fails with the
 * caller's codes. */
#include "codec/http1_private.h"

#include "codec/http1_chars.h"
#include "codec/http1_names.h"

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

static enum la_http_result bad(enum la_err *err, enum la_err e)
{
    *err = e;
    return LA_HTTP_ERROR;
}

/* The name that begins at s->at: which field it is, and where its colon stands. */
static inline enum la_http_result read_name(struct la_http_section *s, enum la_http_field *field,
                                            const char **colon, enum la_err *err)
{
    const char *name = s->at, *end = s->end;
    const char *p = end - name >= 16 ? la_char_find16(name, ':') : NULL;
    bool short_name = p != NULL;
    *field = short_name ? la_http_name_find(name, (size_t)(p - name)) : LA_FIELD_OTHER;
    if (*field == LA_FIELD_OTHER) { /* a name that is known is a token */
        p = la_char_skip(name, end, LA_CHAR_TOKEN);
        if (p - name > LA_HTTP_MAX_NAME)
            return bad(err, s->size);
        if (p == end)
            return LA_HTTP_MORE;
        if (*p != ':' || p == name)
            return bad(err, s->syntax);
        if (!short_name)
            *field = la_http_name_find(name, (size_t)(p - name));
        s->underscore |= short_name ? la_char_has16(name, '_', p - name) : memchr(name, '_', (size_t)(p - name)) != NULL;
    }
    *colon = p;
    return LA_HTTP_DONE;
}

/* One field line at s->at. */
static inline enum la_http_result field_line(struct la_http_head *head, struct la_http_section *s, enum la_err *err)
{
    const char *name = s->at, *end = s->end, *base = head->base, *colon;
    enum la_http_field field;
    enum la_http_result r = read_name(s, &field, &colon, err);
    if (r != LA_HTTP_DONE)
        return r;
    const char *value = colon + 1;
    bool canonical = end - value >= 2 && value[0] == ' ' && (unsigned char)value[1] > ' ';
    if (la_likely(canonical))
        value++;
    else
        while (value < end && la_char_is_ows(*value))
            value++;
    const char *stop = la_char_skip_value(value, end, base), *last = stop;
    if (la_unlikely(end - stop < 2))
        return stop == end || *stop == '\r' ? LA_HTTP_MORE : bad(err, s->syntax);
    if (la_unlikely(stop[0] != '\r' || stop[1] != '\n'))
        return bad(err, s->syntax);
    while (last > value && la_char_is_ows(last[-1]))
        last--;
    if (la_unlikely(head->headers == s->max_headers))
        return bad(err, s->size);
    s->at = stop + 2;
    uint64_t bit = UINT64_C(1) << field;
    if (head->present & bit)
        s->repeated |= bit;
    else
        head->first[field] = (uint8_t)head->headers;
    head->present |= bit;
    struct la_http_header *h = &head->header[head->headers++];
    h->name_at = (uint32_t)(name - base);
    h->value_at = (uint32_t)(value - base);
    h->value_n = (uint32_t)(last - value);
    h->name_n = (uint16_t)(colon - name);
    h->field = (uint8_t)field;
    h->hop = (la_http_hop_fields & bit) != 0;
    h->canonical = canonical && last == stop;
    return LA_HTTP_DONE;
}

enum la_http_result la_http_section_parse(struct la_http_head *head, struct la_http_section *section,
                                          enum la_err *err)
{
    struct la_http_section s = *section; /* a copy that nothing else can change stays in registers */
    for (;;) {
        if (s.at == s.end)
            return LA_HTTP_MORE;
        if (*s.at == '\r') {
            if (s.end - s.at < 2)
                return LA_HTTP_MORE;
            if (s.at[1] != '\n')
                return bad(err, s.syntax);
            section->at = s.at + 2;
            section->repeated = s.repeated;
            head->underscore = s.underscore;
            return LA_HTTP_DONE;
        }
        enum la_http_result r = field_line(head, &s, err);
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
    if (seen > n)
        return true;
    /* The last byte of before is looked at again: it may be a CR. */
    for (size_t i = seen - 1; i < n; i++) {
        i = (size_t)(la_char_skip_value(p + i, p + n, p) - p);
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
