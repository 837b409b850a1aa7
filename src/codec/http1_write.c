/* http1_write.c: the writer: canonical heads and chunk headers into the caller's buffer.
 *
 * The writer is attack surface too: it never passes its end (overflow is set once and stays, what follows is
 * dropped), and it never writes a header line with a control character in it, wherever the text came from. */
#include "lastack/http1.h"

#include "codec/http1_chars.h"

/* Most fields are short: overlapping words instead of a call. */
static inline void copy(char *to, const char *from, size_t n)
{
    if (n > 32) {
        memcpy(to, from, n);
    } else if (n >= 16) {
        memcpy(to, from, 16);
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

void la_http_write(struct la_http_writer *w, struct la_slice s)
{
    if (w->overflow || s.n > w->cap - w->n) {
        w->overflow = true;
        return;
    }
    copy(w->p + w->n, s.p, s.n);
    w->n += s.n;
}

void la_http_write_length(struct la_http_writer *w, uint64_t v)
{
    static const char name[16 + 1] = "Content-Length: ";
    char line[sizeof name - 1 + 20 + 2];
    size_t n = sizeof line;
    line[--n] = '\n';
    line[--n] = '\r';
    do {
        line[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    n -= sizeof name - 1;
    memcpy(line + n, name, sizeof name - 1);
    la_http_write(w, la_slice(line + n, sizeof line - n));
}

static bool clean(struct la_slice s)
{
    return la_char_skip_value(s.p, s.p + s.n, s.p) == s.p + s.n;
}

/* Neither a control character nor a space? */
static bool no_blank(struct la_slice s)
{
    return clean(s) && memchr(s.p, ' ', s.n) == NULL;
}

/* A header line, whose room was made sure of; w->n stays. Returns the line's size. */
static size_t put_header(struct la_http_writer *w, struct la_slice name, struct la_slice value)
{
    char *p = w->p + w->n;
    copy(p, name.p, name.n);
    p += name.n;
    memcpy(p, ": ", 2);
    p += 2;
    copy(p, value.p, value.n);
    memcpy(p + value.n, "\r\n", 2);
    return name.n + value.n + 4;
}

void la_http_write_header(struct la_http_writer *w, struct la_slice name, struct la_slice value)
{
    if (w->overflow || name.n + value.n + 4 > w->cap - w->n || name.n == 0) {
        w->overflow = true;
        return;
    }
    size_t n = put_header(w, name, value);
    const char *line = w->p + w->n, *end = line + n - 2;
    /* Judged where it lies now, at once; an HTAB in the value makes it worth the closer look. */
    if (la_char_skip_visible(line, end, w->p) != end && (!clean(name) || !clean(value)))
        w->overflow = true;
    else
        w->n += n;
}

void la_http_write_parsed(struct la_http_writer *w, const struct la_http_head *head, size_t from, size_t to)
{
    while (from < to) {
        const struct la_http_header *first = &head->header[from], *f = first, *end = &head->header[to];
        while (f < end && f->canonical)
            f++;
        if (f > first) /* they lie together */
            la_http_write(w, la_slice(head->base + first->name_at, f[-1].value_at + f[-1].value_n + 2 - first->name_at));
        else
            la_http_write_header_known(w, la_http_name(head, from), la_http_value(head, from)), f++;
        from = (size_t)(f - head->header);
    }
}

void la_http_write_header_known(struct la_http_writer *w, struct la_slice name, struct la_slice value)
{
    if (w->overflow || name.n + value.n + 4 > w->cap - w->n) {
        w->overflow = true;
        return;
    }
    w->n += put_header(w, name, value);
}

void la_http_write_status(struct la_http_writer *w, int status, struct la_slice reason)
{
    la_assert(status >= 100 && status <= 999);
    if (la_likely(status == 200 && la_slice_eq(reason, LA_SLICE("OK")))) {
        la_http_write(w, LA_SLICE("HTTP/1.1 200 OK\r\n"));
        return;
    }
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
    if (!la_http_is_token(method) || target.n == 0 || !no_blank(target))
        w->overflow = true;
    la_http_write_request_line_known(w, method, target);
}

void la_http_write_request_line_known(struct la_http_writer *w, struct la_slice method, struct la_slice target)
{
    static const char version[11 + 1] = " HTTP/1.1\r\n";
    size_t n = method.n + 1 + target.n + sizeof version - 1;
    if (w->overflow || n > w->cap - w->n) {
        w->overflow = true;
        return;
    }
    char *p = w->p + w->n;
    copy(p, method.p, method.n);
    p += method.n;
    *p++ = ' ';
    copy(p, target.p, target.n);
    memcpy(p + target.n, version, sizeof version - 1);
    w->n += n;
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
