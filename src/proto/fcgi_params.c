/* fcgi_params.c: the parameters of a request to a script: those the exchange gives, and HTTP_* for the
 * client's fields.
 *
 * A field can only become HTTP_*: nothing a client sends can name PHP_VALUE or SCRIPT_FILENAME. Names with
 * anything but letters, digits and "-" are dropped, since "_" would collide with "-". A field that comes
 * twice is one parameter, its values joined. Proxy is hop-by-hop already (it would become HTTP_PROXY). */
#include "fcgi.h"

#include <stdio.h>

#define FIELDS_MOST (LA_HTTP_MAX_HEADERS + LA_EXTRA_MAX + 1)

struct field {
    struct la_slice name, value;
};

/* Written by the framing code, from elsewhere, or by nobody. */
static bool is_special(uint8_t field)
{
    return field == LA_FIELD_CONTENT_LENGTH || field == LA_FIELD_TRANSFER_ENCODING || field == LA_FIELD_CONNECTION ||
           field == LA_FIELD_HOST || field == LA_FIELD_EXPECT || field == LA_FIELD_UPGRADE ||
           field == LA_FIELD_CONTENT_TYPE || field == LA_FIELD_TE || field == LA_FIELD_TRAILER;
}

static bool is_clean(struct la_slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

/* All fields that are told, in order. */
static size_t told(const struct la_fields *f, struct field out[FIELDS_MOST])
{
    size_t n = 0, heads = f->head ? f->head->headers : 0;
    for (size_t i = 0; i < heads; i++) {
        const struct la_http_header *h = &f->head->header[i];
        out[n] = (struct field){la_http_name(f->head, i), la_http_value(f->head, i)};
        n += !h->hop && !is_special(h->field) && !la_fields_dropped(f, i) && is_clean(out[n].name);
    }
    for (size_t i = 0; i < f->extras; i++) {
        out[n] = (struct field){f->extra[i].name, f->extra[i].value};
        n += is_clean(out[n].name) && !la_slice_ieq(out[n].name, LA_SLICE("content-type"));
    }
    return n;
}

static void to_variable(char *out, struct la_slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        out[i] = c == '-' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
}

static void write_name(struct la_fcgi_params *w, struct la_slice name)
{
    char piece[64];
    la_fcgi_param_bytes(w, "HTTP_", 5);
    while (name.n) {
        size_t n = la_min64(name.n, sizeof piece);
        to_variable(piece, la_slice(name.p, n));
        la_fcgi_param_bytes(w, piece, n);
        name = la_slice(name.p + n, name.n - n);
    }
}

static bool same(struct la_slice a, struct la_slice b)
{
    return a.n == b.n && (*a.p | 0x20) == (*b.p | 0x20) && la_slice_ieq(a, b);
}

/* It comes once, and there is room in one piece. */
static bool write_plain(struct la_fcgi_params *w, const struct field *f)
{
    char *at = la_fcgi_param_room(w, 5 + f->name.n, f->value.n);
    if (at == NULL)
        return false;
    memcpy(at, "HTTP_", 5);
    to_variable(at + 5, f->name);
    memcpy(at + 5 + f->name.n, f->value.p, f->value.n);
    return true;
}

/* The first of n fields and all later ones of its name, whose names are then taken away. */
static void write_field(struct la_fcgi_params *w, struct field *f, size_t n)
{
    const char *between = la_slice_ieq(f->name, LA_SLICE("cookie")) ? "; " : ", ";
    size_t total = f->value.n;
    for (size_t k = 1; k < n; k++)
        if (f[k].name.n && same(f[k].name, f->name))
            total += 2 + f[k].value.n;
    if (total == f->value.n && write_plain(w, f))
        return;
    la_fcgi_param_open(w, 5 + f->name.n, total);
    write_name(w, f->name);
    la_fcgi_param_bytes(w, f->value.p, f->value.n);
    for (size_t k = 1; k < n; k++) {
        if (f[k].name.n == 0 || !same(f[k].name, f->name))
            continue;
        la_fcgi_param_bytes(w, between, 2);
        la_fcgi_param_bytes(w, f[k].value.p, f[k].value.n);
        f[k].name.n = 0;
    }
}

static struct la_slice content_type(const struct la_fields *f)
{
    int i = f->head ? la_http_find(f->head, LA_FIELD_CONTENT_TYPE) : -1;
    for (unsigned k = 0; k < f->extras; k++)
        if (la_slice_ieq(f->extra[k].name, LA_SLICE("content-type")))
            return f->extra[k].value;
    return i < 0 || la_fields_dropped(f, (size_t)i) ? la_slice("", 0) : la_http_value(f->head, (size_t)i);
}

static void write_all(struct la_fcgi_params *w, const struct la_request *r)
{
    char digits[24];
    int digits_n = 0;
    if (r->body == LA_BODY_LENGTH)
        digits_n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)r->length);
    for (unsigned i = 0; i < r->params; i++)
        la_fcgi_param(w, r->param[i].name, r->param[i].value);
    la_fcgi_param(w, LA_SLICE("CONTENT_TYPE"), content_type(&r->fields));
    if (r->body != LA_BODY_UNKNOWN) /* else begin says it */
        la_fcgi_param(w, LA_SLICE("CONTENT_LENGTH"), la_slice(digits, (size_t)digits_n));
    if (r->host.n)
        la_fcgi_param(w, LA_SLICE("HTTP_HOST"), r->host);
    struct field field[FIELDS_MOST];
    size_t all = told(&r->fields, field);
    for (size_t i = 0; i < all; i++)
        if (field[i].name.n)
            write_field(w, field + i, all - i);
    la_fcgi_params_close(w);
}

struct la_buf *la_fcgi_encode(struct la_env *env, const struct la_request *r, enum la_err *e)
{
    for (int large = 0; large <= 1; large++) {
        struct la_buf *b = la_buf_get(env, large);
        if (b == NULL) {
            *e = LA_MEMORY;
            return NULL;
        }
        struct la_fcgi_params w;
        la_fcgi_params_init(&w, la_fcgi_id(1), b->p, b->cap);
        write_all(&w, r);
        b->n = (uint32_t)w.n;
        if (!w.overflow)
            return b;
        la_buf_put(env, &b);
    }
    *e = LA_HEAD_TOO_LARGE;
    return NULL;
}
