/* fcgi_head.c: the head of a CGI response: what a script printed before its empty line.
 *
 * It is gathered as HTTP header lines, since CGI permits LF alone, and then read by the same strict rules as
 * an HTTP response: one Content-Length, exact names, no control characters. Transfer-Encoding is not a
 * script's to say (RFC 3875 6.3.4): it is not passed on, and the connection is not used again. */
#include "lastack/fcgi.h"

#include "codec/http1_chars.h"
#include "codec/http1_private.h"

/* Bytes of a line, no LF among them. */
static void note(struct la_cgi_gather *g, const char *p, size_t n)
{
    if (n == 0)
        return;
    /* "\r" alone leaves the line empty so far; anything else does not. */
    g->line |= n > 1 || g->cr || *p != '\r';
    g->cr = p[n - 1] == '\r';
}

size_t la_cgi_gather(struct la_cgi_gather *g, const char *p, size_t n, char *out, uint32_t *out_n, size_t cap)
{
    size_t at = 0;
    g->overflow = false;
    while (at < n && !g->done) {
        const char *lf = memchr(p + at, '\n', n - at);
        size_t piece = (lf ? (size_t)(lf - p) : n) - at, fits = la_min64(piece, cap - *out_n);
        memcpy(out + *out_n, p + at, fits);
        note(g, p + at, fits);
        *out_n += (uint32_t)fits;
        at += fits;
        g->overflow = fits < piece || (lf && cap - *out_n < (g->cr ? 1u : 2u));
        if (g->overflow || lf == NULL)
            return at;
        if (!g->cr)
            out[(*out_n)++] = '\r';
        out[(*out_n)++] = '\n';
        at++;
        g->done = !g->line;
        g->line = g->cr = false;
    }
    return at;
}

/* "404", "404 Not Found". */
static bool read_status(struct la_http_head *head, struct la_slice v)
{
    if (v.n < 3 || v.p[0] < '2' || v.p[0] > '5' || !la_char_is(v.p[1], LA_CHAR_DIGIT) ||
        !la_char_is(v.p[2], LA_CHAR_DIGIT) || (v.n > 3 && v.p[3] != ' '))
        return false;
    head->status = (v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + (v.p[2] - '0');
    head->reason = v.n > 4 ? la_slice(v.p + 4, v.n - 4) : la_slice(v.p, 0);
    return true;
}

static enum la_err find_status(struct la_http_head *head)
{
    bool found = false;
    for (size_t i = 0; i < head->headers; i++) {
        if (head->header[i].field != LA_FIELD_OTHER || !la_slice_ieq(la_http_name(head, i), LA_SLICE("status")))
            continue;
        if (found || !read_status(head, la_http_value(head, i)))
            return LA_RESPONSE_BAD;
        found = true;
        head->header[i].hop = true; /* it becomes the status line */
    }
    if (!found)
        head->status = head->present & LA_FIELD_BIT(LOCATION) ? 302 : 200;
    return LA_OK;
}

static void judge_body(struct la_http_head *head, enum la_http_method method)
{
    if (head->status == 204 || head->status == 304 || method == LA_METHOD_HEAD) {
        head->framing = LA_FRAMING_NONE;
    } else if (head->has_length) {
        head->framing = LA_FRAMING_LENGTH;
        head->length = head->announced_length;
    } else {
        head->framing = LA_FRAMING_CLOSE;
    }
}

enum la_err la_cgi_parse_head(struct la_http_head *head, const char *p, size_t n, const struct la_http_limits *limits,
                              enum la_http_method method)
{
    memset(head, 0, offsetof(struct la_http_head, header));
    head->base = p;
    head->minor = 1;
    struct la_http_section section = {
        .at = p,
        .end = p + n,
        .max_headers = la_http_max_headers(limits),
        .syntax = LA_RESPONSE_BAD,
        .size = LA_RESPONSE_HEAD_SIZE,
    };
    enum la_err e = LA_RESPONSE_BAD;
    if (la_http_section_parse(head, &section, &e) != LA_HTTP_DONE)
        return e;
    head->head_n = (uint32_t)(section.at - p);
    if (head->headers == 0)
        return LA_RESPONSE_BAD; /* at least one field (RFC 3875 6.2) */
    if (head->present & LA_FIELD_BIT(TRANSFER_ENCODING)) {
        head->present &= ~LA_FIELD_BIT(TRANSFER_ENCODING); /* its fields are hop-by-hop already */
        head->doubtful = true;
    }
    bool chunked;
    if (la_http_framing_read(head, section.repeated & ~LA_FIELD_BIT(TRANSFER_ENCODING), &chunked) != LA_OK)
        return LA_RESPONSE_FRAMING;
    head->doubtful |= !la_http_options_read(head, section.repeated);
    head->upgrade_said = false;
    if ((e = find_status(head)) != LA_OK)
        return e;
    judge_body(head, method);
    return LA_OK;
}
