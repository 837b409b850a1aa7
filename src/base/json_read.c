/* json_read.c: JSON into a tree.
 *
 * Owns the tree, which holds copies: the text may go. Reads no file and knows no document. Never recurses deeper than
 * the bound, in reading or freeing.
 *
 * Good path: value after value, left to right, each allocated alone. What can fail: the text is not JSON; where is told,
 * why is not (what is read here was written by a program). */
#include "lastack/json_read.h"
#include "lastack/json.h"

#include <stdlib.h>

#define DEPTH_MOST 64

struct reader {
    const char *p;
    unsigned depth;
};

static bool value(struct reader *r, struct la_json_value **out);

static void space(struct reader *r)
{
    r->p += strspn(r->p, " \t\r\n");
}

static bool word(struct reader *r, const char *w)
{
    size_t n = strlen(w);
    if (strncmp(r->p, w, n) != 0)
        return false;
    r->p += n;
    return true;
}

/* Somewhat more than JSON's numbers: 01, 1. */
static bool number(struct reader *r, double *out)
{
    size_t n = strspn(r->p, "+-.0123456789eE");
    char *end;
    if (*r->p != '-' && (*r->p < '0' || *r->p > '9'))
        return false;
    *out = strtod(r->p, &end);
    bool whole = end == r->p + n;
    r->p = end;
    return whole;
}

static bool hex4(struct reader *r, unsigned *out)
{
    char text[5] = "";
    for (unsigned i = 0; i < 4; i++) {
        if (r->p[i] == 0 || strchr("0123456789abcdefABCDEF", r->p[i]) == NULL)
            return false;
        text[i] = r->p[i];
    }
    *out = (unsigned)strtoul(text, NULL, 16);
    r->p += 4;
    return true;
}

static void put_utf8(struct la_text *t, unsigned c)
{
    unsigned n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    char byte[4];
    for (unsigned i = n; i-- > 1; c >>= 6)
        byte[i] = (char)(0x80 | (c & 0x3f));
    byte[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
    la_text_add(t, byte, n);
}

static bool escape(struct reader *r, struct la_text *t)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *known = *r->p ? strchr(from, *r->p) : NULL;
    if (known) {
        la_text_add(t, &to[known - from], 1);
        r->p++;
        return true;
    }
    unsigned high, low;
    if (!word(r, "u") || !hex4(r, &high) || high == 0 || (high >= 0xdc00 && high < 0xe000))
        return false;
    if (high >= 0xd800 && high < 0xdc00) {
        if (!word(r, "\\u") || !hex4(r, &low) || low < 0xdc00 || low >= 0xe000)
            return false;
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(t, high);
    return true;
}

static bool string(struct reader *r, char **out)
{
    struct la_text t = {0};
    bool good = word(r, "\"");
    la_text_add(&t, "", 0);
    while (good && *r->p != '"') {
        size_t plain = 0;
        while ((unsigned char)r->p[plain] >= 0x20 && r->p[plain] != '"' && r->p[plain] != '\\')
            plain++;
        la_text_add(&t, r->p, plain);
        r->p += plain;
        if (*r->p != '"')
            good = word(r, "\\") && escape(r, &t);
    }
    if (!good) {
        la_text_fini(&t);
        return false;
    }
    r->p++;
    *out = t.p;
    return true;
}

static bool members(struct reader *r, struct la_json_value *v, bool named, const char *end)
{
    struct la_json_value **last = &v->child;
    if (++r->depth > DEPTH_MOST)
        return false;
    space(r);
    for (bool first = true; !(first && word(r, end)); first = false) {
        char *key = NULL;
        space(r);
        if (named && !string(r, &key))
            return false;
        space(r);
        bool good = (!named || word(r, ":")) && value(r, last);
        if (*last)
            (*last)->key = key;
        else
            free(key);
        if (!good)
            return false;
        last = &(*last)->next;
        space(r);
        if (word(r, end))
            break;
        if (!word(r, ","))
            return false;
    }
    r->depth--;
    return true;
}

/* *out is part of the tree also when it fails half way. */
static bool value(struct reader *r, struct la_json_value **out)
{
    struct la_json_value *v = *out = la_xcalloc(1, sizeof *v);
    space(r);
    if (word(r, "null"))
        return true;
    v->kind = LA_JSON_BOOL;
    v->number = *r->p == 't';
    if (word(r, "true") || word(r, "false"))
        return true;
    v->kind = LA_JSON_STRING;
    if (*r->p == '"')
        return string(r, &v->text);
    v->kind = LA_JSON_ARRAY;
    if (word(r, "["))
        return members(r, v, false, "]");
    v->kind = LA_JSON_OBJECT;
    if (word(r, "{"))
        return members(r, v, true, "}");
    v->kind = LA_JSON_NUMBER;
    return number(r, &v->number);
}

struct la_json_value *la_json_parse(const char *text, size_t *at)
{
    struct reader r = {.p = text};
    struct la_json_value *v = NULL;
    bool good = value(&r, &v);
    space(&r);
    *at = (size_t)(r.p - text);
    if (good && *r.p == 0)
        return v;
    la_json_free(v);
    return NULL;
}

void la_json_free(struct la_json_value *v)
{
    while (v) {
        struct la_json_value *next = v->next;
        la_json_free(v->child);
        free(v->key);
        free(v->text);
        free(v);
        v = next;
    }
}

const struct la_json_value *la_json_get(const struct la_json_value *object, const char *key)
{
    const struct la_json_value *v = object && object->kind == LA_JSON_OBJECT && key ? object->child : NULL;
    while (v && strcmp(v->key, key) != 0)
        v = v->next;
    return v;
}

double la_json_number(const struct la_json_value *v, double def)
{
    return v && (v->kind == LA_JSON_NUMBER || v->kind == LA_JSON_BOOL) ? v->number : def;
}

const char *la_json_string(const struct la_json_value *v, const char *def)
{
    return v && v->kind == LA_JSON_STRING ? v->text : def;
}
