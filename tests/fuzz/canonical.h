/* canonical.h: a reader of the one form in which messages are passed on, for comparison with the codec.
 *
 * It shares nothing with the codec and accepts nothing but that form: one space where one belongs, one Host,
 * at most one framing field, a length without zeros before it, chunks without extensions, no field of one
 * hop. What it cannot read could be read in two ways. It writes down what it read as a text in which every
 * part has its length before it, so that equal texts mean equal messages. */
#ifndef LASTACK_FUZZ_CANONICAL_H
#define LASTACK_FUZZ_CANONICAL_H

#include <stdbool.h>
#include <strings.h>

#include "fuzz.h"

#define TEXT_MAX (512 * 1024)
struct text {
    char p[TEXT_MAX];
    size_t n;
};

static inline void note(struct text *t, char kind, const char *p, size_t n)
{
    FUZZ_CHECK(t->n + n + 32 < TEXT_MAX);
    t->n += (size_t)sprintf(t->p + t->n, "%c%zu:", kind, n);
    if (n > 0)
        memcpy(t->p + t->n, p, n);
    t->n += n;
}

/* The line at *at, without its CRLF; a CR or LF anywhere else is not canonical. */
static inline const char *canonical_line(const char **at, const char *end, size_t *n)
{
    const char *line = *at, *p = line;
    while (p < end && *p != '\r' && *p != '\n')
        p++;
    FUZZ_CHECK(end - p >= 2 && p[0] == '\r' && p[1] == '\n');
    *n = (size_t)(p - line);
    *at = p + 2;
    return line;
}

static inline bool canonical_is(const char *p, size_t n, const char *word)
{
    return n == strlen(word) && strncasecmp(p, word, n) == 0;
}

static inline bool canonical_token(const char *p, size_t n)
{
    static const char token[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (size_t i = 0; i < n; i++)
        if (p[i] == 0 || strchr(token, p[i]) == NULL)
            return false;
    return n > 0;
}

static inline uint64_t canonical_number(const char *p, size_t n, unsigned base)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t value = 0;
    FUZZ_CHECK(n > 0 && n <= 20 && (n == 1 || p[0] != '0'));
    for (size_t i = 0; i < n; i++) {
        const char *digit = p[i] ? strchr(digits, p[i]) : NULL;
        FUZZ_CHECK(digit != NULL && (unsigned)(digit - digits) < base);
        value = value * base + (unsigned)(digit - digits);
    }
    return value;
}

struct canonical {
    unsigned hosts, lengths, codings, fields;
    uint64_t length;
};

/* One field line. Framing and Host are counted, everything else is written down as `kind`. */
static inline void canonical_field(struct canonical *c, const char *line, size_t n, char kind, struct text *t)
{
    static const char *const hop[] = {
        "connection",         "keep-alive",          "proxy-connection", "te", "upgrade", "proxy",
        "proxy-authenticate", "proxy-authorization", "http2-settings"};
    static const char *const never_trailer[] = {"host",       "content-length", "transfer-encoding",
                                                "expect",     "authorization",  "cookie",
                                                "set-cookie", "content-type"};
    const char *colon = memchr(line, ':', n);
    FUZZ_CHECK(colon != NULL && canonical_token(line, (size_t)(colon - line)));
    size_t name_n = (size_t)(colon - line);
    FUZZ_CHECK(n >= name_n + 2 && colon[1] == ' ');
    const char *value = colon + 2;
    size_t value_n = n - name_n - 2;
    for (size_t i = 0; i < value_n; i++)
        FUZZ_CHECK((unsigned char)value[i] >= 0x20 ? value[i] != 0x7f : value[i] == '\t');
    FUZZ_CHECK(value_n == 0 || (!strchr(" \t", value[0]) && !strchr(" \t", value[value_n - 1])));
    for (size_t i = 0; i < sizeof(hop) / sizeof(*hop); i++)
        FUZZ_CHECK(!canonical_is(line, name_n, hop[i]));
    for (size_t i = 0; kind == 't' && i < sizeof(never_trailer) / sizeof(*never_trailer); i++)
        FUZZ_CHECK(!canonical_is(line, name_n, never_trailer[i]));
    if (kind == 'N' && canonical_is(line, name_n, "host")) {
        c->hosts++;
        note(t, 'H', value, value_n);
    } else if (canonical_is(line, name_n, "content-length")) {
        c->lengths++;
        c->length = canonical_number(value, value_n, 10);
    } else if (canonical_is(line, name_n, "transfer-encoding")) {
        c->codings++;
        FUZZ_CHECK(canonical_is(value, value_n, "chunked"));
    } else {
        note(t, kind, line, name_n);
        note(t, 'V', value, value_n);
    }
}

static inline void canonical_start(const char *line, size_t n, bool response, struct text *t, int *status)
{
    if (response) {
        FUZZ_CHECK(n >= 13 && memcmp(line, "HTTP/1.1 ", 9) == 0 && line[12] == ' ');
        *status = (int)canonical_number(line + 9, 3, 10);
        note(t, 'S', line + 9, 3);
        return;
    }
    const char *space = memchr(line, ' ', n);
    FUZZ_CHECK(space != NULL);
    const char *target = space + 1, *end = memchr(target, ' ', n - (size_t)(target - line));
    FUZZ_CHECK(end != NULL && canonical_token(line, (size_t)(space - line)));
    FUZZ_CHECK(end > target && (*target == '/' || (*target == '*' && end == target + 1)));
    for (const char *p = target; p < end; p++)
        FUZZ_CHECK((unsigned char)*p > 0x20 && (unsigned char)*p < 0x7f && *p != '#');
    FUZZ_CHECK(n - (size_t)(end - line) == 9 && memcmp(end, " HTTP/1.1", 9) == 0);
    note(t, 'M', line, (size_t)(space - line));
    note(t, 'T', target, (size_t)(end - target));
}

/* Content that is framed by chunks, or by `left`; false when the bytes end before it does. */
static inline bool canonical_body(const char **at, const char *end, const struct canonical *c, struct text *t)
{
    static char content[TEXT_MAX];
    size_t have = 0, n, size = (size_t)c->length;
    bool chunked = c->codings > 0, whole = true;
    for (;;) {
        if (chunked) {
            if (*at == end) { /* the sender stopped between two chunks */
                whole = false;
                break;
            }
            const char *line = canonical_line(at, end, &n);
            size = (size_t)canonical_number(line, n, 16);
            if (size == 0)
                break;
        }
        size_t got = (size_t)(end - *at) < size ? (size_t)(end - *at) : size;
        FUZZ_CHECK(have + got <= TEXT_MAX);
        memcpy(content + have, *at, got);
        have += got;
        *at += got;
        whole = got == size;
        if (!chunked || !whole)
            break;
        canonical_line(at, end, &n);
        FUZZ_CHECK(n == 0);
    }
    note(t, 'B', content, have);
    if (chunked && whole) {
        struct canonical trailers = {0};
        for (const char *line; line = canonical_line(at, end, &n), n > 0;)
            canonical_field(&trailers, line, n, 't', t);
    }
    return whole;
}

/* One message at *at; false when it is not whole, which can only be the last one. */
static inline bool canonical_message(const char **at, const char *end, bool response, struct text *t)
{
    struct canonical c = {0};
    int status = 200;
    size_t n;
    const char *line = canonical_line(at, end, &n);
    canonical_start(line, n, response, t, &status);
    while (line = canonical_line(at, end, &n), n > 0)
        canonical_field(&c, line, n, 'N', t);
    bool bodiless = response && (status < 200 || status == 204 || status == 304);
    FUZZ_CHECK((response || c.hosts == 1) && c.lengths <= 1 && c.codings <= 1 && c.lengths + c.codings <= 1);
    FUZZ_CHECK(!bodiless || c.codings == 0);
    FUZZ_CHECK(bodiless || !response || c.lengths + c.codings == 1);
    char framing[32];
    int k = snprintf(framing, sizeof(framing), "%s%llu",
                     c.codings   ? "c"
                     : c.lengths ? "l"
                                 : "n",
                     (unsigned long long)c.length);
    note(t, 'F', framing, (size_t)k);
    if (bodiless)
        c.length = 0;
    bool whole = canonical_body(at, end, &c, t);
    note(t, whole ? '.' : '?', NULL, 0);
    return whole;
}

#endif
