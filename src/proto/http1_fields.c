/* http1_fields.c: the field section of a message that is passed on: canonical, without what belongs to one hop. */
#include "http1.h"

/* Written by the framing code, or by nobody. */
static const uint64_t framing = LA_FIELD_BIT(CONTENT_LENGTH) | LA_FIELD_BIT(TRANSFER_ENCODING) |
                                LA_FIELD_BIT(CONNECTION) | LA_FIELD_BIT(HOST) | LA_FIELD_BIT(EXPECT) |
                                LA_FIELD_BIT(UPGRADE);

static bool passes(const struct la_fields *f, size_t i)
{
    const struct la_http_header *h = &f->head->header[i];
    return !h->hop && (framing >> h->field & 1) == 0 && !la_fields_dropped(f, i);
}

void la_http1_write_fields(struct la_http_writer *w, const struct la_fields *f)
{
    const struct la_http_head *h = f->head;
    for (size_t i = 0, n = h ? h->headers : 0; i < n; i++) {
        size_t from = i;
        while (i < n && passes(f, i))
            i++;
        la_http_write_parsed(w, h, from, i);
    }
    for (unsigned i = 0; i < f->extras; i++) {
        const struct la_extra *e = &f->extra[i];
        if (f->known >> i & 1)
            la_http_write_header_known(w, e->name, e->value);
        else
            la_http_write_header(w, e->name, e->value);
    }
}

void la_http1_write_trailers(struct la_http_writer *w, const struct la_http_body *b)
{
    struct la_slice name, value;
    uint32_t at = 0;
    while (b->trailer_n && la_http_trailer_next(b, &at, &name, &value))
        la_http_write_header(w, name, value);
}
