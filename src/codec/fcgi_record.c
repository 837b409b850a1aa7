/* fcgi_record.c: FastCGI records: those of a request written, those of a response read.
 *
 * The reader is fed whatever the socket gave: a record head, its content and its padding may be cut anywhere.
 * Content is handed out where it lies, never copied. What has another version, another request's id (what an earlier one on
 * the connection left behind has the earlier id) or is no answer to a request is an error; record types nobody knows are skipped, exactly by their length. No
 * allocation. */
#include "lastack/fcgi.h"

#define VERSION        1
#define ROLE_RESPONDER 1
#define KEEP_CONN      1
#define END_BYTES      8

void la_fcgi_head(char out[LA_FCGI_HEAD_BYTES], enum la_fcgi_type type, uint8_t id, size_t n)
{
    la_assert(n <= LA_FCGI_RECORD_MOST);
    out[0] = VERSION;
    out[1] = (char)type;
    out[2] = 0;
    out[3] = (char)id;
    out[4] = (char)(n >> 8);
    out[5] = (char)(n & 0xff);
    out[6] = out[7] = 0;
}

void la_fcgi_begin(char out[LA_FCGI_BEGIN_BYTES], uint8_t id, bool keep)
{
    la_fcgi_head(out, LA_FCGI_BEGIN, id, 8);
    memset(out + 8, 0, 8);
    out[9] = ROLE_RESPONDER;
    out[10] = keep ? KEEP_CONN : 0;
}

void la_fcgi_readdress(char *p, size_t n, uint8_t id)
{
    for (size_t at = 0; at < n; at += LA_FCGI_HEAD_BYTES + ((size_t)(uint8_t)p[at + 4] << 8 | (uint8_t)p[at + 5]))
        p[at + 3] = (char)id;
}

/* ---- parameters ---- */

void la_fcgi_params_init(struct la_fcgi_params *w, uint8_t id, char *p, size_t cap)
{
    *w = (struct la_fcgi_params){.p = p, .cap = cap, .record = SIZE_MAX, .id = id};
}

static size_t content(const struct la_fcgi_params *w)
{
    return w->record == SIZE_MAX ? 0 : w->n - w->record - LA_FCGI_HEAD_BYTES;
}

void la_fcgi_params_close(struct la_fcgi_params *w)
{
    if (w->record != SIZE_MAX && !w->overflow)
        la_fcgi_head(w->p + w->record, LA_FCGI_PARAMS, w->id, content(w));
    w->record = SIZE_MAX;
}

void la_fcgi_param_bytes(struct la_fcgi_params *w, const char *p, size_t n)
{
    while (n > 0 && !w->overflow) {
        if (content(w) == LA_FCGI_RECORD_MOST)
            la_fcgi_params_close(w);
        size_t head = w->record == SIZE_MAX ? LA_FCGI_HEAD_BYTES : 0;
        if (w->cap - w->n <= head) {
            w->overflow = true;
            return;
        }
        if (head) {
            w->record = w->n;
            w->n += head;
        }
        size_t part = la_min64(n, LA_FCGI_RECORD_MOST - content(w));
        if (part > w->cap - w->n) {
            w->overflow = true;
            return;
        }
        memcpy(w->p + w->n, p, part);
        w->n += part;
        p += part;
        n -= part;
    }
}

static size_t length(char out[4], size_t n)
{
    if (n < 128) {
        out[0] = (char)n;
        return 1;
    }
    out[0] = (char)(n >> 24 | 0x80);
    out[1] = (char)(n >> 16);
    out[2] = (char)(n >> 8);
    out[3] = (char)n;
    return 4;
}

void la_fcgi_param_open(struct la_fcgi_params *w, size_t name_n, size_t value_n)
{
    char bytes[8];
    if (name_n >= 1u << 31 || value_n >= 1u << 31) {
        w->overflow = true;
        return;
    }
    size_t n = length(bytes, name_n);
    n += length(bytes + n, value_n);
    la_fcgi_param_bytes(w, bytes, n);
}

char *la_fcgi_param_room(struct la_fcgi_params *w, size_t name_n, size_t value_n)
{
    size_t most = 8 + name_n + value_n;
    if (w->record == SIZE_MAX || w->overflow || name_n >= 1u << 31 || value_n >= 1u << 31 || most > w->cap - w->n ||
        most > LA_FCGI_RECORD_MOST - content(w))
        return NULL;
    char *at = w->p + w->n;
    at += length(at, name_n);
    at += length(at, value_n);
    w->n = (size_t)(at - w->p) + name_n + value_n;
    return at;
}

void la_fcgi_param(struct la_fcgi_params *w, struct la_slice name, struct la_slice value)
{
    char *at = la_fcgi_param_room(w, name.n, value.n);
    if (at) {
        memcpy(at, name.p, name.n);
        memcpy(at + name.n, value.p, value.n);
        return;
    }
    la_fcgi_param_open(w, name.n, value.n);
    la_fcgi_param_bytes(w, name.p, name.n);
    la_fcgi_param_bytes(w, value.p, value.n);
}

/* ---- the reader ---- */

static enum la_fcgi_event bad(struct la_fcgi_reader *r)
{
    r->bad = true;
    return LA_FCGI_BAD;
}

/* The head of a record is complete. False: it is none that may come. */
static bool open_record(struct la_fcgi_reader *r)
{
    r->type = r->head[1];
    r->left = (uint32_t)r->head[4] << 8 | r->head[5];
    r->padding = r->head[6];
    if (r->head[0] != VERSION || r->head[2] != 0 || r->head[3] != r->id)
        return false;
    switch (r->type) {
    case LA_FCGI_END: r->end_n = 0; return r->left == END_BYTES;
    case LA_FCGI_STDOUT:
        if (r->left && r->out_ended)
            return false; /* it had said that there is no more */
        r->out_ended = r->left == 0;
        return true;
    case LA_FCGI_BEGIN:
    case LA_FCGI_ABORT:
    case LA_FCGI_PARAMS:
    case LA_FCGI_STDIN: return false; /* only we say that */
    case LA_FCGI_STDERR: return true;
    default: r->odd = true; return true;
    }
}

/* A piece of the content of the present record. */
static enum la_fcgi_event take(struct la_fcgi_reader *r, struct la_slice content_piece, struct la_slice *piece)
{
    switch (r->type) {
    case LA_FCGI_STDOUT: *piece = content_piece; return LA_FCGI_OUT;
    case LA_FCGI_STDERR: *piece = content_piece; return LA_FCGI_ERR;
    case LA_FCGI_END:
        memcpy(r->end + r->end_n, content_piece.p, content_piece.n);
        r->end_n = (uint8_t)(r->end_n + content_piece.n);
        return LA_FCGI_MORE;
    default: return LA_FCGI_MORE;
    }
}

size_t la_fcgi_read(struct la_fcgi_reader *r, const char *p, size_t n, enum la_fcgi_event *event,
                    struct la_slice *piece)
{
    size_t at = 0;
    *piece = la_slice(p, 0);
    *event = r->bad ? LA_FCGI_BAD : LA_FCGI_MORE;
    if (r->bad || r->over)
        return 0;
    while (at < n) {
        if (r->left > 0) {
            size_t part = la_min64(n - at, r->left);
            *event = take(r, la_slice(p + at, part), piece);
            at += part;
            r->left -= (uint32_t)part;
            if (*event != LA_FCGI_MORE)
                return at;
        } else if (r->padding > 0) {
            size_t part = la_min64(n - at, r->padding);
            at += part;
            r->padding -= (uint32_t)part;
        } else {
            r->head[r->have++] = (uint8_t)p[at++];
            if (r->have < LA_FCGI_HEAD_BYTES)
                continue;
            r->have = 0;
            if (!open_record(r)) {
                *event = bad(r);
                return at;
            }
            r->any = true;
        }
        if (r->type == LA_FCGI_END && r->have == 0 && r->left == 0 && r->padding == 0) {
            *event = r->end[4] == 0 ? LA_FCGI_OVER : bad(r); /* protocolStatus: overloaded, or it does not understand */
            r->over = true;
            return at;
        }
    }
    return at;
}
