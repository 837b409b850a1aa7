/* http1_request.c: a request head: request line, field section, and what both must agree on.
 *
 * The good path: optional empty line, method SP target SP HTTP/1.1 CRLF, fields, empty line, then framing,
 * host, expectation. Stops at the first bad byte. The target is one of the four forms of RFC 9112 3.2; for
 * the absolute form the head keeps path and query as target and the authority as host, so that nobody above
 * sees two names for one request. Errors are those of la_http_parse_request; the caller answers, closes. */
#include "codec/http1_private.h"

#include "codec/http1_chars.h"

#define EMPTY_LINES 2
#define METHOD_MAX  64

struct request {
    struct la_http_head *head;
    const char *at, *end;
    uint32_t target_max;
    bool in_target;            /* the line ended there for want of bytes */
    struct la_slice authority; /* of an absolute-form or authority-form target */
    struct la_slice port;      /* default of its scheme, with the colon */
};

static bool is(const char *p, size_t n, const char *text)
{
    return memcmp(p, text, n) == 0;
}

static enum la_http_method method_find(const char *p, size_t n)
{
    switch (n) {
    case 3: return is(p, 3, "GET") ? LA_METHOD_GET : is(p, 3, "PUT") ? LA_METHOD_PUT : LA_METHOD_OTHER;
    case 4: return is(p, 4, "POST") ? LA_METHOD_POST : is(p, 4, "HEAD") ? LA_METHOD_HEAD : LA_METHOD_OTHER;
    case 5:
        return is(p, 5, "PATCH") ? LA_METHOD_PATCH : is(p, 5, "TRACE") ? LA_METHOD_TRACE : LA_METHOD_OTHER;
    case 6: return is(p, 6, "DELETE") ? LA_METHOD_DELETE : LA_METHOD_OTHER;
    case 7:
        return is(p, 7, "OPTIONS")   ? LA_METHOD_OPTIONS
               : is(p, 7, "CONNECT") ? LA_METHOD_CONNECT
                                     : LA_METHOD_OTHER;
    default: return LA_METHOD_OTHER;
    }
}

static enum la_http_result read_method(struct request *r, enum la_err *err)
{
    for (unsigned i = 0; i < EMPTY_LINES && r->end - r->at >= 2 && r->at[0] == '\r' && r->at[1] == '\n'; i++)
        r->at += 2;
    const char *start = r->at, *p = la_char_skip(start, r->end, LA_CHAR_TOKEN);
    *err = LA_NOT_IMPLEMENTED;
    if (p - start > METHOD_MAX)
        return LA_HTTP_ERROR;
    if (p == r->end || (p == start && *p == '\r' && r->end - p == 1))
        return LA_HTTP_MORE;
    *err = LA_BAD_REQUEST;
    if (p == start || *p != ' ')
        return LA_HTTP_ERROR;
    r->head->method_text = la_slice(start, (size_t)(p - start));
    r->head->method = method_find(start, (size_t)(p - start));
    r->at = p + 1;
    return LA_HTTP_DONE;
}

/* First byte that cannot be in a target; "%" stops unless its two digits are there. */
static const char *skip_target(const char *p, const char *end)
{
    unsigned classes = LA_CHAR_PATH;
    for (;; p++) {
        p = la_char_skip(p, end, classes);
        if (p == end)
            return p;
        if (*p == '?') {
            classes = LA_CHAR_QUERY;
        } else if (*p == '%' && end - p >= 3 && la_char_is(p[1], LA_CHAR_HEX) &&
                   la_char_is(p[2], LA_CHAR_HEX)) {
            p += 2;
        } else {
            return p;
        }
    }
}

/* http://authority/path?query: authority and target are taken apart. */
static bool read_absolute(struct request *r, struct la_slice target)
{
    struct la_http_head *head = r->head;
    size_t scheme = 0;
    if (target.n > 7 && la_slice_ieq(la_slice(target.p, 7), LA_SLICE("http://"))) {
        scheme = 7;
        r->port = LA_SLICE(":80");
    } else if (target.n > 8 && la_slice_ieq(la_slice(target.p, 8), LA_SLICE("https://"))) {
        scheme = 8;
        r->port = LA_SLICE(":443");
    } else {
        return false;
    }
    const char *start = target.p + scheme, *end = target.p + target.n, *p = start;
    while (p < end && *p != '/' && *p != '?')
        p++;
    r->authority = la_slice(start, (size_t)(p - start));
    head->absolute_form = true;
    if (p < end) {
        head->target = la_slice(p, (size_t)(end - p));
    } else if (head->method == LA_METHOD_OPTIONS) {
        head->target = LA_SLICE("*"); /* RFC 9112 3.2.4 */
        head->asterisk_form = true;
    } else {
        head->target = LA_SLICE("/");
    }
    /* "http://host?query" would have to become "/?query", which stands nowhere: refused. */
    return head->target.p[0] != '?' && la_http_is_host(r->authority);
}

static bool classify_target(struct request *r, struct la_slice target)
{
    struct la_http_head *head = r->head;
    head->target = target;
    if (head->method == LA_METHOD_CONNECT) {
        head->authority_form = true;
        r->authority = target;
        const char *colon = memrchr(target.p, ':', target.n);
        return la_http_is_host(target) && colon != NULL &&
               memchr(colon, ']', target.n - (size_t)(colon - target.p)) == NULL;
    }
    if (target.p[0] == '/')
        return true;
    if (target.n == 1 && target.p[0] == '*') {
        head->asterisk_form = true;
        return head->method == LA_METHOD_OPTIONS;
    }
    return read_absolute(r, target);
}

static enum la_http_result read_target(struct request *r, enum la_err *err)
{
    const char *start = r->at, *p = skip_target(start, r->end);
    r->in_target = true;
    *err = LA_URI_TOO_LONG;
    if ((size_t)(p - start) > r->target_max)
        return LA_HTTP_ERROR;
    if (p == r->end)
        return LA_HTTP_MORE;
    *err = LA_BAD_REQUEST;
    if (*p == '%') { /* cut short, or not two digits */
        bool wrong = r->end - p >= 3 || (r->end - p == 2 && !la_char_is(p[1], LA_CHAR_HEX));
        return wrong ? LA_HTTP_ERROR : LA_HTTP_MORE;
    }
    r->in_target = false;
    if (*p != ' ' || p == start || !classify_target(r, la_slice(start, (size_t)(p - start))))
        return LA_HTTP_ERROR;
    r->at = p + 1;
    return LA_HTTP_DONE;
}

static enum la_http_result read_version(struct request *r, enum la_err *err)
{
    static const char form[] = "HTTP/0.0\r\n"; /* 0: any digit */
    const size_t form_n = sizeof(form) - 1;
    const char *p = r->at;
    size_t n = (size_t)(r->end - p);
    if (la_likely(n >= form_n && is(p, form_n, "HTTP/1.1\r\n"))) {
        r->head->minor = 1;
        r->at += form_n;
        return LA_HTTP_DONE;
    }
    *err = LA_BAD_REQUEST;
    for (size_t i = 0; i < form_n && i < n; i++)
        if (form[i] == '0' ? !la_char_is(p[i], LA_CHAR_DIGIT) : p[i] != form[i])
            return LA_HTTP_ERROR;
    if (n < form_n)
        return LA_HTTP_MORE;
    *err = LA_VERSION;
    if (p[5] != '1' || p[7] != '0')
        return LA_HTTP_ERROR;
    r->at += form_n;
    return LA_HTTP_DONE;
}

static struct la_slice without_port(struct la_slice host, struct la_slice port)
{
    if (host.n > port.n && port.n > 0 && la_slice_eq(la_slice(host.p + host.n - port.n, port.n), port))
        host.n -= port.n;
    return host;
}

static bool judge_host(struct request *r, uint64_t repeated)
{
    struct la_http_head *head = r->head;
    int i = la_http_find(head, LA_FIELD_HOST);
    head->host = r->authority;
    if (i < 0)
        return head->minor == 0;
    struct la_slice host = la_http_value(head, (size_t)i);
    if ((repeated & LA_FIELD_BIT(HOST)) != 0 || !la_http_is_host(host))
        return false;
    if (r->authority.n == 0) {
        head->host = host;
        return true;
    }
    return la_slice_ieq(without_port(host, r->port), without_port(r->authority, r->port));
}

/* Expect: what is not 100-continue is refused; where it means nothing it goes no further. */
static bool judge_expect(struct la_http_head *head, uint64_t repeated)
{
    int i = la_http_find(head, LA_FIELD_EXPECT);
    if (i < 0)
        return true;
    bool body = head->framing == LA_FRAMING_CHUNKED || head->length > 0;
    head->expect_continue = head->minor == 1 && body;
    for (size_t k = 0; k < head->headers; k++)
        if (head->header[k].field == LA_FIELD_EXPECT)
            head->header[k].hop = !head->expect_continue;
    return head->minor == 0 || ((repeated & LA_FIELD_BIT(EXPECT)) == 0 &&
                                la_slice_ieq(la_http_value(head, (size_t)i), LA_SLICE("100-continue")));
}

/* All lines are there: do they make one message with one meaning? */
static enum la_err judge(struct request *r, uint64_t repeated)
{
    struct la_http_head *head = r->head;
    bool chunked;
    enum la_err err = la_http_framing_read(head, repeated, &chunked);
    if (err != LA_OK)
        return err;
    if (chunked) {
        head->framing = LA_FRAMING_CHUNKED;
    } else if (head->has_length) {
        head->framing = LA_FRAMING_LENGTH;
        head->length = head->announced_length;
    }
    if (!judge_host(r, repeated))
        return LA_BAD_HOST;
    if (!la_http_options_read(head, repeated))
        return LA_BAD_REQUEST;
    if (chunked || head->length > 0)
        head->upgrade_said = false; /* body and tunnel on one connection: CVE-2026-58055 */
    return judge_expect(head, repeated) ? LA_OK : LA_EXPECTATION;
}

static enum la_http_result parse(struct request *r, const struct la_http_limits *limits, enum la_err *err)
{
    enum la_http_result result = read_method(r, err);
    if (result == LA_HTTP_DONE)
        result = read_target(r, err);
    if (result == LA_HTTP_DONE)
        result = read_version(r, err);
    if (result != LA_HTTP_DONE)
        return result;
    struct la_http_section section = {
        .at = r->at,
        .end = r->end,
        .max_headers = la_http_max_headers(limits),
        .syntax = LA_BAD_REQUEST,
        .size = LA_HEAD_TOO_LARGE,
    };
    result = la_http_section_parse(r->head, &section, err);
    if (result != LA_HTTP_DONE)
        return result;
    r->head->head_n = (uint32_t)(section.at - r->head->base);
    *err = judge(r, section.repeated);
    return *err == LA_OK ? LA_HTTP_DONE : LA_HTTP_ERROR;
}

enum la_http_result la_http_parse_request(struct la_http_head *head, const char *p, size_t n, size_t *seen,
                                          const struct la_http_limits *limits, enum la_err *err)
{
    la_assert(limits->head_bytes > 0);
    bool full = n >= limits->head_bytes;
    if (full)
        n = limits->head_bytes;
    if (!full && *seen > 0 && !la_http_worth_parsing(p, n, *seen)) {
        *seen = n;
        return LA_HTTP_MORE;
    }
    memset(head, 0, offsetof(struct la_http_head, header));
    head->base = p;
    struct request r = {
        .head = head,
        .at = p,
        .end = p + n,
        .target_max = limits->target_bytes > 0 ? limits->target_bytes : limits->head_bytes,
    };
    enum la_http_result result = parse(&r, limits, err);
    if (result != LA_HTTP_MORE)
        return result;
    *seen = n;
    *err = r.in_target ? LA_URI_TOO_LONG : LA_HEAD_TOO_LARGE;
    return full ? LA_HTTP_ERROR : LA_HTTP_MORE;
}
