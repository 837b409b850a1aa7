/* load_wire.c: the HTTP/1.1 reader of the load generator and the origin.
 *
 * Owns: head parsing, the body decoder, the token and its body pattern. Never reads a socket and never keeps
 * bytes. Good path: la_wire_parse until it says 1, then la_wire_body_feed until done. What cannot be framed
 * with certainty (two lengths, a bad chunk size, a head over 64 KiB) is malformed. Any thread. */
#include "tools/load_wire.h"

#include <ctype.h>
#include <stdio.h>

static struct la_slice trim(struct la_slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool la_wire_number(struct la_slice s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 18)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = v;
    return true;
}

/* Is word one of the comma-separated items? */
static bool has_item(struct la_slice list, struct la_slice word)
{
    while (list.n > 0) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (la_slice_ieq(trim(la_slice(list.p, n)), word))
            return true;
        n += comma ? 1 : 0;
        list.p += n;
        list.n -= n;
    }
    return false;
}

struct scan {
    struct la_wire_head *h;
    bool length_seen, chunked;
};

static bool take_length(struct scan *s, struct la_slice value)
{
    uint64_t v;
    if (!la_wire_number(value, &v) || (s->length_seen && v != s->h->length))
        return false;
    s->h->length = v;
    s->length_seen = true;
    return true;
}

static bool take_field(struct scan *s, struct la_slice name, struct la_slice value)
{
    struct la_wire_head *h = s->h;
    if (la_slice_ieq(name, LA_SLICE("content-length")))
        return take_length(s, value);
    if (la_slice_ieq(name, LA_SLICE("transfer-encoding"))) {
        s->chunked = la_slice_ieq(value, LA_SLICE("chunked"));
        return s->chunked;
    }
    if (la_slice_ieq(name, LA_SLICE("connection"))) {
        h->close |= has_item(value, LA_SLICE("close"));
        h->keep_alive |= has_item(value, LA_SLICE("keep-alive"));
    } else if (la_slice_ieq(name, LA_SLICE("x-token"))) {
        h->has_token = true;
        size_t n = value.n < LA_WIRE_TOKEN ? value.n : LA_WIRE_TOKEN;
        memcpy(h->token, value.p, n);
        h->token[n] = 0;
    } else if (la_slice_ieq(name, LA_SLICE("x-body"))) {
        h->token_body = la_slice_ieq(value, LA_SLICE("token"));
    } else if (la_slice_ieq(name, LA_SLICE("expect"))) {
        h->expect = la_slice_ieq(value, LA_SLICE("100-continue"));
    } else if (la_slice_ieq(name, LA_SLICE("upgrade"))) {
        h->upgrade = true;
    } else if (la_slice_ieq(name, LA_SLICE("x-origin"))) {
        h->control = value;
    } else if (la_slice_ieq(name, LA_SLICE("proxy-status"))) {
        h->proxy_status = value;
    }
    return true;
}

static bool parse_status_line(struct la_wire_head *h, struct la_slice line)
{
    if (line.n < 12 || memcmp(line.p, "HTTP/1.", 7) != 0 || (line.p[7] != '0' && line.p[7] != '1') ||
        line.p[8] != ' ')
        return false;
    uint64_t status;
    if (!la_wire_number(la_slice(line.p + 9, 3), &status) || status < 100 || status > 599)
        return false;
    h->minor = line.p[7] - '0';
    h->status = (int)status;
    return true;
}

static bool parse_request_line(struct la_wire_head *h, struct la_slice line)
{
    const char *a = memchr(line.p, ' ', line.n);
    const char *b = memrchr(line.p, ' ', line.n);
    if (!a || a == b || a == line.p)
        return false;
    struct la_slice version = la_slice(b + 1, (size_t)(line.p + line.n - b - 1));
    if (version.n != 8 || memcmp(version.p, "HTTP/1.", 7) != 0 ||
        (version.p[7] != '0' && version.p[7] != '1'))
        return false;
    h->method = la_slice(line.p, (size_t)(a - line.p));
    h->target = la_slice(a + 1, (size_t)(b - a - 1));
    h->minor = version.p[7] - '0';
    return true;
}

static void decide_framing(struct scan *s, bool response, bool to_head)
{
    struct la_wire_head *h = s->h;
    h->persistent = h->minor == 1 ? !h->close : h->keep_alive && !h->close;
    if (response && h->status == 101)
        h->framing = LA_WIRE_TUNNEL;
    else if (response && (to_head || h->status < 200 || h->status == 204 || h->status == 304))
        h->framing = LA_WIRE_NONE;
    else if (s->chunked)
        h->framing = LA_WIRE_CHUNKED;
    else if (s->length_seen)
        h->framing = h->length ? LA_WIRE_LENGTH : LA_WIRE_NONE;
    else
        h->framing = response ? LA_WIRE_CLOSE : LA_WIRE_NONE;
    if (h->framing == LA_WIRE_CLOSE)
        h->persistent = false;
}

int la_wire_parse(struct la_wire_head *h, const char *p, size_t n, bool response, bool to_head)
{
    const char *end = n >= 4 ? memmem(p, n, "\r\n\r\n", 4) : NULL;
    if (!end)
        return n >= LA_WIRE_HEAD_MAX || (response && n >= 5 && memcmp(p, "HTTP/", 5) != 0) ? -1 : 0;
    *h = (struct la_wire_head){.head_n = (size_t)(end - p) + 4};
    struct scan s = {.h = h};
    bool first = true;
    for (const char *at = p; at < end + 2;) {
        const char *eol = memmem(at, (size_t)(end + 2 - at), "\r\n", 2);
        if (!eol)
            return -1;
        struct la_slice line = la_slice(at, (size_t)(eol - at));
        if (first) {
            if (!(response ? parse_status_line(h, line) : parse_request_line(h, line)))
                return -1;
            first = false;
        } else {
            const char *colon = memchr(line.p, ':', line.n);
            if (!colon || colon == line.p)
                return -1;
            struct la_slice value = la_slice(colon + 1, (size_t)(eol - colon - 1));
            if (!take_field(&s, la_slice(line.p, (size_t)(colon - line.p)), trim(value)))
                return -1;
        }
        at = eol + 2;
    }
    if (s.chunked && s.length_seen)
        return -1;
    decide_framing(&s, response, to_head);
    return 1;
}

enum { CHUNK_SIZE, CHUNK_EXT, CHUNK_LF, CHUNK_DATA, CHUNK_CR, CHUNK_DATA_LF, TRAILER, TRAILER_LF };

void la_wire_body_init(struct la_wire_body *b, const struct la_wire_head *h)
{
    *b = (struct la_wire_body){.framing = h->framing, .left = h->framing == LA_WIRE_LENGTH ? h->length : 0};
    b->done = h->framing == LA_WIRE_NONE;
}

/* One byte of chunked framing outside of chunk data. False: malformed. */
static bool chunk_byte(struct la_wire_body *b, char c)
{
    switch (b->state) {
    case CHUNK_SIZE:
        if (isxdigit((unsigned char)c)) {
            if (++b->line > 15)
                return false;
            b->left = b->left * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
            return true;
        }
        if (b->line == 0)
            return false;
        b->state = c == '\r' ? CHUNK_LF : CHUNK_EXT;
        return c == '\r' || c == ';' || c == ' ' || c == '\t';
    case CHUNK_EXT:
        if (c == '\r')
            b->state = CHUNK_LF;
        return ++b->line < 4096 && c != '\n';
    case CHUNK_LF:
        b->state = b->left ? CHUNK_DATA : TRAILER;
        b->line = 0;
        return c == '\n';
    case CHUNK_CR: b->state = CHUNK_DATA_LF; return c == '\r';
    case CHUNK_DATA_LF:
        b->state = CHUNK_SIZE;
        b->line = 0;
        return c == '\n';
    case TRAILER:
        if (c == '\r')
            b->state = TRAILER_LF;
        else if (++b->line > LA_WIRE_HEAD_MAX)
            return false;
        return c != '\n';
    default: /* TRAILER_LF */
        b->done = b->line == 0;
        b->line = 0;
        b->state = TRAILER;
        return c == '\n';
    }
}

size_t la_wire_body_feed(struct la_wire_body *b, const char *p, size_t n, struct la_slice *payload)
{
    *payload = la_slice(p, 0);
    if (b->framing == LA_WIRE_CLOSE || b->framing == LA_WIRE_TUNNEL) {
        payload->n = n;
        return n;
    }
    if (b->framing == LA_WIRE_LENGTH) {
        payload->n = (size_t)la_min64(n, b->left);
        b->left -= payload->n;
        b->done = b->left == 0;
        return payload->n;
    }
    size_t used = 0;
    while (used < n && !b->done) {
        if (b->state == CHUNK_DATA) {
            *payload = la_slice(p + used, (size_t)la_min64(n - used, b->left));
            b->left -= payload->n;
            if (b->left == 0)
                b->state = CHUNK_CR;
            return used + payload->n;
        }
        if (!chunk_byte(b, p[used++]))
            return SIZE_MAX;
    }
    return used;
}

void la_wire_token(char out[LA_WIRE_TOKEN + 1], uint64_t value)
{
    static const char hex[] = "0123456789abcdef";
    for (int i = LA_WIRE_TOKEN - 1; i >= 0; i--, value >>= 4)
        out[i] = hex[value & 15];
    out[LA_WIRE_TOKEN] = 0;
}

void la_wire_fill(char *out, size_t n, const char *token, uint64_t at)
{
    char period[LA_WIRE_PERIOD];
    memcpy(period, token, LA_WIRE_TOKEN);
    period[LA_WIRE_TOKEN] = '\n';
    size_t from = (size_t)(at % LA_WIRE_PERIOD);
    for (size_t i = 0; i < n;) {
        size_t k = LA_WIRE_PERIOD - from < n - i ? LA_WIRE_PERIOD - from : n - i;
        memcpy(out + i, period + from, k);
        i += k;
        from = 0;
    }
}

bool la_wire_matches(const char *p, size_t n, const char *token, uint64_t at)
{
    char period[LA_WIRE_PERIOD];
    memcpy(period, token, LA_WIRE_TOKEN);
    period[LA_WIRE_TOKEN] = '\n';
    size_t from = (size_t)(at % LA_WIRE_PERIOD);
    for (size_t i = 0; i < n;) {
        size_t k = LA_WIRE_PERIOD - from < n - i ? LA_WIRE_PERIOD - from : n - i;
        if (memcmp(p + i, period + from, k) != 0)
            return false;
        i += k;
        from = 0;
    }
    return true;
}

struct la_slice la_wire_query(struct la_slice query, const char *key)
{
    size_t key_n = strlen(key);
    const char *end = query.p + query.n;
    for (const char *at = query.p; at && at < end;) {
        const char *amp = memchr(at, '&', (size_t)(end - at));
        size_t n = (size_t)((amp ? amp : end) - at);
        if (n >= key_n && memcmp(at, key, key_n) == 0 && (n == key_n || at[key_n] == '='))
            return n == key_n ? la_slice(at + n, 0) : la_slice(at + key_n + 1, n - key_n - 1);
        at = amp ? amp + 1 : end;
    }
    return la_slice(NULL, 0);
}
