/* fcgi_params.c: the parameters of a request to a script: those the exchange gives, and HTTP_* for the
 * client's fields.
 *
 * A field can only become HTTP_*: nothing a client sends can name PHP_VALUE or SCRIPT_FILENAME. Names with
 * anything but letters, digits and "-" are dropped, since "_" would collide with "-". A field that comes
 * twice is one parameter, its values joined. Proxy is hop-by-hop already (it would become HTTP_PROXY). */
#include "fcgi.h"

#include <stdio.h>

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

/* The i-th field, head first, then the extra ones. False: it is not told. */
static bool field_at(const struct la_fields *f, size_t i, struct field *out)
{
    size_t heads = f->head ? f->head->headers : 0;
    if (i < heads) {
        const struct la_http_header *h = &f->head->header[i];
        *out = (struct field){la_http_name(f->head, i), la_http_value(f->head, i)};
        return !h->hop && !is_special(h->field) && !la_fields_dropped(f, i) && is_clean(out->name);
    }
    *out = (struct field){f->extra[i - heads].name, f->extra[i - heads].value};
    return is_clean(out->name) && !la_slice_ieq(out->name, LA_SLICE("content-type"));
}

static void write_name(struct la_fcgi_params *w, struct la_slice name)
{
    char piece[64];
    la_fcgi_param_bytes(w, "HTTP_", 5);
    while (name.n) {
        size_t n = la_min64(name.n, sizeof piece);
        for (size_t i = 0; i < n; i++) {
            char c = name.p[i];
            piece[i] = c == '-' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
        }
        la_fcgi_param_bytes(w, piece, n);
        name = la_slice(name.p + n, name.n - n);
    }
}

/* Field i and all later ones of its name. An earlier one of that name has written it already. */
static void write_field(struct la_fcgi_params *w, const struct la_fields *f, size_t i, size_t all)
{
    struct field first, other;
    if (!field_at(f, i, &first))
        return;
    for (size_t k = 0; k < i; k++)
        if (field_at(f, k, &other) && la_slice_ieq(other.name, first.name))
            return;
    const char *between = la_slice_ieq(first.name, LA_SLICE("cookie")) ? "; " : ", ";
    size_t total = first.value.n;
    for (size_t k = i + 1; k < all; k++)
        if (field_at(f, k, &other) && la_slice_ieq(other.name, first.name))
            total += 2 + other.value.n;
    la_fcgi_param_open(w, 5 + first.name.n, total);
    write_name(w, first.name);
    la_fcgi_param_bytes(w, first.value.p, first.value.n);
    for (size_t k = i + 1; k < all; k++) {
        if (!field_at(f, k, &other) || !la_slice_ieq(other.name, first.name))
            continue;
        la_fcgi_param_bytes(w, between, 2);
        la_fcgi_param_bytes(w, other.value.p, other.value.n);
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
    size_t all = (r->fields.head ? r->fields.head->headers : 0) + r->fields.extras;
    for (size_t i = 0; i < all; i++)
        write_field(w, &r->fields, i, all);
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
        la_fcgi_params_init(&w, b->p, b->cap);
        write_all(&w, r);
        b->n = (uint32_t)w.n;
        if (!w.overflow)
            return b;
        la_buf_put(env, &b);
    }
    *e = LA_HEAD_TOO_LARGE;
    return NULL;
}
