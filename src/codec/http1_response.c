/* http1_response.c: a response head: status line, field section, and which body follows.
 *
 * The backend is as untrusted as the client: what is not exact is an error (502), since a response read
 * wrongly makes the next client on that connection read another one's bytes. Framing follows RFC 9112 6.3
 * with the request's method. What is well-formed but suspicious (a 204 that announces a body) is relayed and
 * marked `doubtful`. */
#include "codec/http1_private.h"

#include "codec/http1_chars.h"

#define KEEP_ALIVE_MAX_S 86400

#define FORM_N 12 /* "HTTP/1.1 200" */

/* Do these bytes, perhaps fewer than there will be, begin a status line? */
static bool status_line_fits(const char *p, size_t n)
{
    static const char form[FORM_N + 1] = "HTTP/1.v sdd"; /* v: 0 or 1, s: 1 to 5, d: a digit */
    if (la_likely(n >= FORM_N && memcmp(p, "HTTP/1.1 200", FORM_N) == 0))
        return true;
    for (size_t i = 0; i < FORM_N && i < n; i++) {
        bool fits = form[i] == 'v'   ? p[i] == '0' || p[i] == '1'
                    : form[i] == 's' ? p[i] >= '1' && p[i] <= '5'
                    : form[i] == 'd' ? la_char_is(p[i], LA_CHAR_DIGIT)
                                     : p[i] == form[i];
        if (!fits)
            return false;
    }
    return true;
}

/* "HTTP/1.1 200 OK" CRLF; the space before an empty reason may be missing. */
static enum la_http_result read_status_line(struct la_http_head *head, const char **at, const char *end)
{
    const char *p = *at;
    size_t n = (size_t)(end - p);
    if (!status_line_fits(p, n))
        return LA_HTTP_ERROR;
    if (n <= FORM_N)
        return LA_HTTP_MORE;
    const char *reason = p + FORM_N, *stop = reason;
    if (*reason == ' ')
        stop = la_char_skip_value(++reason, end, head->base);
    if (stop == end)
        return LA_HTTP_MORE;
    if (*stop != '\r' || (end - stop >= 2 && stop[1] != '\n'))
        return LA_HTTP_ERROR;
    if (end - stop < 2)
        return LA_HTTP_MORE;
    head->minor = (uint8_t)(p[7] - '0');
    head->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    head->reason = la_slice(reason, (size_t)(stop - reason));
    *at = stop + 2;
    return LA_HTTP_DONE;
}

/* Keep-Alive: timeout=N. No digits, or too many: as if it were not there. */
static void read_keep_alive(struct la_http_head *head)
{
    int i = la_http_find(head, LA_FIELD_KEEP_ALIVE);
    if (i < 0)
        return;
    struct la_slice rest = la_http_value(head, (size_t)i), item;
    while (la_http_list_next(&rest, &item)) {
        const struct la_slice name = LA_SLICE("timeout=");
        if (item.n <= name.n || item.n > name.n + 9 || !la_slice_ieq(la_slice(item.p, name.n), name))
            continue;
        const char *p = item.p + name.n, *end = item.p + item.n;
        if (la_char_skip(p, end, LA_CHAR_DIGIT) != end)
            continue;
        uint32_t seconds = 0;
        for (; p < end; p++)
            seconds = seconds * 10 + (uint32_t)(*p - '0');
        head->keep_alive_timeout_s = (uint32_t)la_min64(seconds, KEEP_ALIVE_MAX_S);
        if (seconds == 0)
            head->keep_alive = false;
    }
}

/* RFC 9112 6.3, in its order. */
static enum la_err judge_body(struct la_http_head *head, bool chunked, enum la_http_method method,
                              bool asked_upgrade)
{
    bool announces = chunked || head->announced_length > 0;
    if (head->status == 101) {
        if (!asked_upgrade || !head->upgrade_said || announces)
            return LA_UPGRADE_FAILED;
        head->framing = LA_FRAMING_TUNNEL;
    } else if (head->status < 200 || head->status == 204) {
        head->doubtful |= announces;
    } else if (method == LA_METHOD_CONNECT && head->status < 300) {
        head->framing = LA_FRAMING_TUNNEL;
    } else if (method == LA_METHOD_HEAD || head->status == 304) {
        head->framing = LA_FRAMING_NONE;
    } else if (chunked) {
        head->framing = LA_FRAMING_CHUNKED;
    } else if (head->has_length) {
        head->framing = LA_FRAMING_LENGTH;
        head->length = head->announced_length;
    } else {
        head->framing = LA_FRAMING_CLOSE;
    }
    if (head->framing == LA_FRAMING_CLOSE || head->framing == LA_FRAMING_TUNNEL || head->doubtful)
        head->keep_alive = false;
    return LA_OK;
}

static enum la_http_result parse(struct la_http_head *head, const char *end,
                                 const struct la_http_limits *limits, enum la_http_method method,
                                 bool asked_upgrade, enum la_err *err)
{
    struct la_http_section section = {
        .at = head->base,
        .end = end,
        .max_headers = la_http_max_headers(limits),
        .syntax = LA_RESPONSE_BAD,
        .size = LA_RESPONSE_HEAD_SIZE,
    };
    *err = LA_RESPONSE_BAD;
    enum la_http_result result = read_status_line(head, &section.at, end);
    if (result == LA_HTTP_DONE)
        result = la_http_section_parse(head, &section, err);
    if (result != LA_HTTP_DONE)
        return result;
    head->head_n = (uint32_t)(section.at - head->base);
    bool chunked;
    *err = LA_RESPONSE_FRAMING;
    if (la_http_framing_read(head, section.repeated, &chunked) != LA_OK)
        return LA_HTTP_ERROR;
    head->doubtful = !la_http_options_read(head, section.repeated);
    read_keep_alive(head);
    *err = judge_body(head, chunked, method, asked_upgrade);
    return *err == LA_OK ? LA_HTTP_DONE : LA_HTTP_ERROR;
}

enum la_http_result la_http_parse_response(struct la_http_head *head, const char *p, size_t n, size_t *seen,
                                           const struct la_http_limits *limits, enum la_http_method method,
                                           bool asked_upgrade, enum la_err *err)
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
    enum la_http_result result = parse(head, p + n, limits, method, asked_upgrade, err);
    if (result != LA_HTTP_MORE)
        return result;
    *seen = n;
    *err = LA_RESPONSE_HEAD_SIZE;
    return full ? LA_HTTP_ERROR : LA_HTTP_MORE;
}
