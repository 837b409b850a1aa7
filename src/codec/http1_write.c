/* http1_write.c: the writer: canonical heads and chunk headers into the caller's buffer.
 *
 * The writer is attack surface too: it never passes its end (overflow is set once and stays, what follows is
 * dropped), and it never writes a header line with a control character in it, wherever the text came from. */
#include "lastack/http1.h"

#include "codec/http1_chars.h"

void la_http_write(struct la_http_writer *w, struct la_slice s)
{
    if (w->overflow || s.n > w->cap - w->n) {
        w->overflow = true;
        return;
    }
    if (s.n > 0)
        memcpy(w->p + w->n, s.p, s.n);
    w->n += s.n;
}

void la_http_write_u64(struct la_http_writer *w, uint64_t v)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    la_http_write(w, la_slice(digits + n, sizeof(digits) - n));
}

static bool clean(struct la_slice s)
{
    return la_char_skip_value(s.p, s.p + s.n) == s.p + s.n;
}

void la_http_write_header(struct la_http_writer *w, struct la_slice name, struct la_slice value)
{
    size_t n = name.n + value.n + 4;
    if (w->overflow || n > w->cap - w->n || name.n == 0 || !clean(name) || (value.n > 0 && !clean(value))) {
        w->overflow = true;
        return;
    }
    char *p = w->p + w->n;
    memcpy(p, name.p, name.n);
    p += name.n;
    *p++ = ':';
    *p++ = ' ';
    if (value.n > 0)
        memcpy(p, value.p, value.n);
    p[value.n] = '\r';
    p[value.n + 1] = '\n';
    w->n += n;
}

void la_http_write_status(struct la_http_writer *w, int status, struct la_slice reason)
{
    la_assert(status >= 100 && status <= 999);
    char line[] = "HTTP/1.1 000 ";
    line[9] = (char)('0' + status / 100);
    line[10] = (char)('0' + status / 10 % 10);
    line[11] = (char)('0' + status % 10);
    la_http_write(w, la_slice(line, sizeof(line) - 1));
    if (reason.n > 0 && clean(reason)) /* a phrase means nothing: without it the message is the same */
        la_http_write(w, reason);
    la_http_write(w, LA_SLICE("\r\n"));
}

void la_http_write_request_line(struct la_http_writer *w, struct la_slice method, struct la_slice target)
{
    if (!la_http_is_token(method) || target.n == 0 || !clean(target) ||
        memchr(target.p, ' ', target.n) != NULL) {
        w->overflow = true;
        return;
    }
    la_http_write(w, method);
    la_http_write(w, LA_SLICE(" "));
    la_http_write(w, target);
    la_http_write(w, LA_SLICE(" HTTP/1.1\r\n"));
}

size_t la_http_chunk_head(char *out, uint64_t n)
{
    unsigned digits = n == 0 ? 1 : (unsigned)(67 - __builtin_clzll(n)) / 4;
    for (unsigned i = digits; i > 0; i--, n >>= 4)
        out[i - 1] = "0123456789abcdef"[n & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

static const struct {
    int status;
    const char *text;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};

struct la_slice la_http_reason(int status)
{
    if (la_likely(status == 200))
        return LA_SLICE("OK");
    for (size_t i = 0; i < la_count(reasons); i++)
        if (reasons[i].status == status)
            return la_slice_str(reasons[i].text);
    return LA_SLICE("");
}
