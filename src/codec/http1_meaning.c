/* http1_meaning.c: what the fields of a parsed head say about the message and the connection: its framing,
 * the Connection options, TE, Upgrade. It only reads the header array and fills the typed members of the
 * head.
 *
 * Framing is the heart of every smuggling attack, so there is one reading: one Content-Length of digits that
 * fit 64 bits, or one Transfer-Encoding that is exactly "chunked" in HTTP/1.1, never both. Everything else is
 * an error. A Connection field may name away a private extension, but nothing that frames, routes or
 * identifies: a client must not be able to strip what another hop has added (CVE-2022-31813,
 * CVE-2026-26365). */
#include "codec/http1_private.h"

#include "codec/http1_chars.h"

/* Digits only, no sign, no list, no overflow. */
static bool read_u64(struct la_slice s, uint64_t *out)
{
    uint64_t value = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(s.p[i] - '0');
        if (digit > 9)
            return false;
        if (i >= 19 && value > (UINT64_MAX - digit) / 10) /* nineteen digits always fit */
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

/* ";" OWS token "=" ( token / quoted-string ), any number; NULL when malformed, else what follows. */
static const char *coding_parameters(const char *p, const char *end)
{
    for (;;) {
        const char *q = p;
        while (q < end && la_char_is_ows(*q))
            q++;
        if (q == end || *q != ';')
            return q;
        for (q++; q < end && la_char_is_ows(*q);)
            q++;
        p = la_char_skip(q, end, LA_CHAR_TOKEN);
        if (p == q || p == end || *p != '=')
            return NULL;
        q = ++p;
        if (q < end && *q == '"') {
            for (p++; p < end && *p != '"'; p++)
                if (*p == '\\' && ++p == end)
                    return NULL;
            if (p >= end)
                return NULL;
            p++;
        } else {
            p = la_char_skip(q, end, LA_CHAR_TOKEN);
            if (p == q)
                return NULL;
        }
    }
}

/* A Transfer-Encoding that is not "chunked": which of the two ways is it wrong? */
static enum la_err judge_codings(struct la_slice value)
{
    const char *p = value.p, *end = value.p + value.n;
    bool chunked = false;
    for (;;) {
        const char *name = p;
        p = la_char_skip(p, end, LA_CHAR_TOKEN);
        struct la_slice coding = la_slice(name, (size_t)(p - name));
        if (coding.n == 0 || chunked)
            return LA_BAD_FRAMING; /* empty member, or chunked was not the last */
        chunked = la_slice_ieq(coding, LA_SLICE("chunked"));
        const char *after = coding_parameters(p, end);
        if (after == NULL || (chunked && after > p && memchr(p, ';', (size_t)(after - p)) != NULL))
            return LA_BAD_FRAMING;
        if (after == end)
            return LA_NOT_IMPLEMENTED;
        if (*after != ',')
            return LA_BAD_FRAMING;
        for (p = after + 1; p < end && la_char_is_ows(*p);)
            p++;
    }
}

enum la_err la_http_framing_read(struct la_http_head *head, uint64_t repeated, bool *chunked)
{
    const uint64_t length = LA_FIELD_BIT(CONTENT_LENGTH), coding = LA_FIELD_BIT(TRANSFER_ENCODING);
    *chunked = false;
    if ((head->present & (length | coding)) == 0)
        return LA_OK;
    if ((repeated & (length | coding)) != 0 || (head->present & (length | coding)) == (length | coding))
        return LA_BAD_FRAMING;
    if ((head->present & length) != 0) {
        head->has_length = true;
        int i = la_http_find(head, LA_FIELD_CONTENT_LENGTH);
        return read_u64(la_http_value(head, (size_t)i), &head->announced_length) ? LA_OK : LA_BAD_FRAMING;
    }
    if (head->minor == 0)
        return LA_BAD_FRAMING;
    struct la_slice value = la_http_value(head, (size_t)la_http_find(head, LA_FIELD_TRANSFER_ENCODING));
    *chunked = la_slice_ieq(value, LA_SLICE("chunked"));
    return *chunked ? LA_OK : judge_codings(value);
}

static bool has_prefix(struct la_slice name, struct la_slice prefix)
{
    return name.n >= prefix.n && la_slice_ieq(la_slice(name.p, prefix.n), prefix);
}

/* Fields that Connection cannot take away. */
static bool is_protected(enum la_http_field field, struct la_slice name)
{
    const uint64_t known =
        LA_FIELD_BIT(HOST) | LA_FIELD_BIT(CONTENT_LENGTH) | LA_FIELD_BIT(TRAILER) | LA_FIELD_BIT(EXPECT) |
        LA_FIELD_BIT(VIA) | LA_FIELD_BIT(DATE) | LA_FIELD_BIT(MAX_FORWARDS) | LA_FIELD_BIT(X_FORWARDED_FOR) |
        LA_FIELD_BIT(X_FORWARDED_PROTO) | LA_FIELD_BIT(X_FORWARDED_HOST) | LA_FIELD_BIT(FORWARDED) |
        LA_FIELD_BIT(WWW_AUTHENTICATE) | LA_FIELD_BIT(AUTHORIZATION) | LA_FIELD_BIT(RETRY_AFTER) |
        LA_FIELD_BIT(PROXY_STATUS) | LA_FIELD_BIT(CONTENT_TYPE) | LA_FIELD_BIT(COOKIE) |
        LA_FIELD_BIT(LOCATION);
    if (field != LA_FIELD_OTHER)
        return (known >> field & 1) != 0;
    return has_prefix(name, LA_SLICE("x-forwarded-")) || has_prefix(name, LA_SLICE("x-real-ip")) ||
           has_prefix(name, LA_SLICE("content-")) || has_prefix(name, LA_SLICE("set-cookie")) ||
           has_prefix(name, LA_SLICE("cache-control"));
}

static void mark_named(struct la_http_head *head, struct la_slice name)
{
    enum la_http_field field = la_http_field_find(name);
    if (is_protected(field, name))
        return;
    for (size_t i = 0; i < head->headers; i++)
        if (head->header[i].field == field &&
            (field != LA_FIELD_OTHER || la_slice_ieq(la_http_name(head, i), name)))
            head->header[i].hop = true;
}

static bool read_connection(struct la_http_head *head, struct la_slice value, bool *keep_alive, bool *upgrade,
                            unsigned *named)
{
    struct la_slice option;
    if (la_slice_ieq(value, LA_SLICE("close"))) { /* most fields hold one of these two alone */
        head->close_said = true;
        return true;
    }
    if (la_slice_ieq(value, LA_SLICE("keep-alive"))) {
        *keep_alive = true;
        return true;
    }
    while (la_http_list_next(&value, &option)) {
        if (!la_http_is_token(option))
            return false;
        if (la_slice_ieq(option, LA_SLICE("close")))
            head->close_said = true;
        else if (la_slice_ieq(option, LA_SLICE("keep-alive")))
            *keep_alive = true;
        else if (la_slice_ieq(option, LA_SLICE("upgrade")))
            *upgrade = true;
        else if (++*named > LA_HTTP_MAX_NAMED)
            return false;
        else
            mark_named(head, option);
    }
    return true;
}

/* One protocol, "name" or "name/version"; a list is not followed. */
static bool is_protocol(struct la_slice s)
{
    const char *slash = memchr(s.p, '/', s.n);
    if (slash == NULL)
        return la_http_is_token(s);
    size_t name_n = (size_t)(slash - s.p);
    return la_http_is_token(la_slice(s.p, name_n)) && la_http_is_token(la_slice(slash + 1, s.n - name_n - 1));
}

bool la_http_options_judge(struct la_http_head *head, uint64_t repeated)
{
    bool well_formed = true, keep_alive = false, upgrade = false;
    unsigned named = 0;
    if ((head->present & LA_FIELD_BIT(CONNECTION)) != 0)
        for (size_t i = head->first[LA_FIELD_CONNECTION]; i < head->headers; i++)
            if (head->header[i].field == LA_FIELD_CONNECTION)
                well_formed &= read_connection(head, la_http_value(head, i), &keep_alive, &upgrade, &named);
    head->keep_alive = !head->close_said && (head->minor == 1 || keep_alive);
    if ((head->present & LA_FIELD_BIT(TE)) != 0)
        for (size_t i = 0; i < head->headers; i++) {
            struct la_slice rest = la_http_value(head, i), item;
            while (head->header[i].field == LA_FIELD_TE && la_http_list_next(&rest, &item))
                head->te_trailers |= la_slice_ieq(item, LA_SLICE("trailers"));
        }
    if (upgrade && head->minor == 1 && (head->present & ~repeated & LA_FIELD_BIT(UPGRADE)) != 0) {
        head->upgrade = la_http_value(head, (size_t)la_http_find(head, LA_FIELD_UPGRADE));
        head->upgrade_said = head->upgrade.n > 0 && is_protocol(head->upgrade);
    }
    return well_formed;
}
