/* json.c: a growing text and a JSON writer on top of it. */
#include "lastack/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void la_text_fini(struct la_text *t)
{
    free(t->p);
    *t = (struct la_text){0};
}

static void reserve(struct la_text *t, size_t n)
{
    if (t->n + n + 1 <= t->cap)
        return;
    size_t cap = t->cap ? t->cap : 256;
    while (cap < t->n + n + 1)
        cap *= 2;
    t->p = la_xrealloc(t->p, cap);
    t->cap = cap;
}

void la_text_add(struct la_text *t, const void *p, size_t n)
{
    reserve(t, n);
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

void la_text_addf(struct la_text *t, const char *fmt, ...)
{
    va_list ap;
    size_t room = t->cap - t->n;
    va_start(ap, fmt);
    int n = vsnprintf(room ? t->p + t->n : NULL, room, fmt, ap);
    va_end(ap);
    la_assert(n >= 0);
    if ((size_t)n >= room) {
        reserve(t, (size_t)n);
        va_start(ap, fmt);
        vsnprintf(t->p + t->n, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    t->n += (size_t)n;
}

void la_text_str(struct la_text *t, const char *s)
{
    la_text_add(t, s, strlen(s));
}

/* At least `least` digits. */
static void digits(struct la_text *t, uint64_t v, unsigned least)
{
    char text[20];
    unsigned n = sizeof text;
    do {
        text[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0 || sizeof text - n < least);
    la_text_add(t, text + n, sizeof text - n);
}

void la_text_u64(struct la_text *t, uint64_t v)
{
    digits(t, v, 1);
}

void la_text_thousandths(struct la_text *t, uint64_t v)
{
    digits(t, v / 1000, 1);
    la_text_add(t, ".", 1);
    digits(t, v % 1000, 3);
}

/* Length of the UTF-8 sequence at p, 0 when it is not one. */
static size_t utf8(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80 ? 1 : (p[0] >= 0xc2 && p[0] < 0xe0) ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] >= 0xf0 && p[0] < 0xf5) ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

void la_json_quote(struct la_text *out, struct la_slice s)
{
    la_text_add(out, "\"", 1);
    for (size_t i = 0; i < s.n;) {
        size_t plain = i;
        while (plain < s.n && s.p[plain] >= 0x20 && s.p[plain] < 0x7f && s.p[plain] != '"' && s.p[plain] != '\\')
            plain++;
        if (plain > i) {
            la_text_add(out, s.p + i, plain - i);
            i = plain;
            continue;
        }
        unsigned char c = (unsigned char)s.p[i];
        size_t len = utf8((const unsigned char *)s.p + i, s.n - i);
        if (c == '"' || c == '\\') {
            la_text_addf(out, "\\%c", c);
            len = 1;
        } else if (len == 0 || c < 0x20 || c == 0x7f) {
            la_text_addf(out, "\\u%04x", c);
            len = 1;
        } else {
            la_text_add(out, s.p + i, len);
        }
        i += len;
    }
    la_text_add(out, "\"", 1);
}

void la_json_init(struct la_json *j, struct la_text *out)
{
    *j = (struct la_json){.out = out, .first = 1};
}

static void item(struct la_json *j, const char *key)
{
    uint64_t bit = 1ull << j->depth;
    if (!(j->first & bit))
        la_text_add(j->out, ",", 1);
    j->first &= ~bit;
    if (key) {
        la_json_quote(j->out, la_slice_str(key));
        la_text_add(j->out, ":", 1);
    }
}

void la_json_open(struct la_json *j, const char *key, char bracket)
{
    item(j, key);
    la_text_add(j->out, &bracket, 1);
    la_assert(++j->depth < 64);
    j->first |= 1ull << j->depth;
}

void la_json_close(struct la_json *j, char bracket)
{
    la_assert(j->depth-- > 0);
    la_text_add(j->out, &bracket, 1);
}

void la_json_slice(struct la_json *j, const char *key, struct la_slice value)
{
    item(j, key);
    la_json_quote(j->out, value);
}

void la_json_str(struct la_json *j, const char *key, const char *value)
{
    la_json_slice(j, key, la_slice_str(value));
}

void la_json_int(struct la_json *j, const char *key, int64_t value)
{
    item(j, key);
    if (value < 0)
        la_text_add(j->out, "-", 1);
    la_text_u64(j->out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

void la_json_num(struct la_json *j, const char *key, double value)
{
    item(j, key);
    if (isfinite(value))
        la_text_addf(j->out, "%.9g", value);
    else
        la_text_add(j->out, "null", 4);
}

void la_json_thousandths(struct la_json *j, const char *key, uint64_t value)
{
    item(j, key);
    la_text_thousandths(j->out, value);
}

void la_json_bool(struct la_json *j, const char *key, bool value)
{
    item(j, key);
    la_text_addf(j->out, "%s", value ? "true" : "false");
}

void la_json_raw(struct la_json *j, const char *key, struct la_slice json)
{
    item(j, key);
    la_text_add(j->out, json.p, json.n);
}

void la_json_null(struct la_json *j, const char *key)
{
    la_json_raw(j, key, LA_SLICE("null"));
}
