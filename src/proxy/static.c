/* static.c: a file as the answer: conditions, one range, head, content in bounded pieces.
 *
 * Owns: the open file and how far it is sent. Never: which file it is (site.c), whether it may be read.
 *
 * Good path: la_static_answer -> head -> pieces as there is room -> the turn ends. A piece comes from the
 * page cache, or from a file thread (fetch.c). A file that shrinks meanwhile ends the response visibly early.
 * After so many pieces the loop serves others first. The client may leave within any of them: then the
 * exchange ends, which is why it is held (la_exchange_hold) while pieces are sent. One thread. */
#include "static.h"

#include "exchange.h"
#include "lastack/condition.h"
#include "lastack/fetch.h"
#include "mime.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECES_AT_ONCE 16

struct la_static {
    struct la_exchange *x;
    struct la_fetch *fetch;
    uint64_t at, end;
    bool busy; /* waits for a piece from the disk */
    struct la_timer again;
};

static void pump(struct la_static *s);

static void on_ready(void *arg)
{
    struct la_static *s = arg;
    s->busy = false;
    pump(s);
}

static void on_again(struct la_timer *t)
{
    pump(la_container(t, struct la_static, again));
}

void la_static_free(struct la_static **sp)
{
    struct la_static *s = *sp;
    *sp = NULL;
    la_timer_stop(&s->again);
    la_fetch_free(&s->fetch);
    la_bounds_give_memory(s->x->proxy->env.bounds, sizeof *s);
    free(s);
}

/* Takes fd. NULL: no memory. */
static struct la_static *static_new(struct la_exchange *x, int fd, uint64_t from, uint64_t to)
{
    struct la_env *env = &x->proxy->env;
    struct la_static *s = la_bounds_take_memory(env->bounds, sizeof *s) ? calloc(1, sizeof *s) : NULL;
    if (s == NULL) {
        close(fd);
        return NULL;
    }
    s->x = x;
    s->at = from;
    s->end = to;
    la_timer_init(&s->again, env->loop, on_again);
    s->fetch = la_fetch_new(env->loop, env->filer, env->bounds, fd, on_ready, s);
    if (s->fetch == NULL) {
        la_bounds_give_memory(env->bounds, sizeof *s);
        free(s);
        return NULL;
    }
    return s;
}

/* Sends one piece. False: no more now, or ever. */
static bool send_piece(struct la_static *s)
{
    struct la_exchange *x = s->x;
    struct la_turn *t = &x->turn;
    size_t room = la_turn_room(t);
    if (room == 0) {
        la_turn_wait_for_room(t);
        return false;
    }
    size_t n = la_min64(la_min64(room, LA_SCRATCH_BYTES), s->end - s->at);
    ssize_t got = la_fetch_read(s->fetch, x->proxy->env.scratch, n, s->at);
    if (got == LA_FETCH_LATER) {
        s->busy = true;
        return false;
    }
    if (got <= 0) { /* it shrank, or the disk failed */
        x->error = LA_RESPONSE_INCOMPLETE;
        la_turn_abort(t);
        return false;
    }
    s->at += (size_t)got;
    la_turn_send(t, la_slice(x->proxy->env.scratch, (size_t)got));
    if (s->at == s->end)
        la_turn_end(t, la_slice(NULL, 0));
    else
        la_turn_flush(t);
    return t->client != NULL && s->at < s->end;
}

static void pump(struct la_static *s)
{
    struct la_exchange *x = s->x;
    if (s->busy || x->turn.client == NULL || x->turn.ended)
        return;
    la_exchange_hold(x);
    int pieces = 0;
    while (pieces < PIECES_AT_ONCE && send_piece(s))
        pieces++;
    if (la_exchange_let_go(x) && pieces == PIECES_AT_ONCE)
        la_timer_set(&s->again, 0);
}

void la_static_on_room(struct la_exchange *x)
{
    pump(x->file);
}

/* ---- what is asked ---- */

void la_static_wants(const struct la_http_head *head, struct la_wants *w)
{
    const struct {
        const char *name;
        struct la_slice *at;
    } fields[] = {{"if-match", &w->if_match},
                  {"if-unmodified-since", &w->if_unmodified},
                  {"if-none-match", &w->if_none_match},
                  {"if-modified-since", &w->if_modified},
                  {"range", &w->range},
                  {"if-range", &w->if_range}};
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < head->headers; i++)
        for (size_t k = 0; head->header[i].field == LA_FIELD_OTHER && k < la_count(fields); k++)
            if (fields[k].at->p == NULL && la_slice_ieq(la_http_name(head, i), la_slice_str(fields[k].name)))
                *fields[k].at = la_http_value(head, i);
}

struct la_wants *la_wants_new(const struct la_http_head *head, struct la_bounds *b)
{
    struct la_wants *w = la_bounds_take_memory(b, sizeof *w) ? malloc(sizeof *w) : NULL;
    if (w)
        la_static_wants(head, w);
    return w;
}

void la_wants_free(struct la_wants **wp, struct la_bounds *b)
{
    la_bounds_give_memory(b, sizeof **wp);
    free(*wp);
    *wp = NULL;
}

struct validators {
    int64_t modified;
    char date[LA_HTTP_DATE], tag[48];
    struct la_slice etag;
};

/* RFC 9110 13.2.2. 0: go on; 304 or 412. */
static int judge(const struct la_wants *w, enum la_http_method method, const struct validators *v)
{
    int64_t t;
    bool reads = method == LA_METHOD_GET || method == LA_METHOD_HEAD;
    if (w->if_match.p) {
        if (!la_http_etag_in(w->if_match, v->etag, false))
            return 412;
    } else if (w->if_unmodified.p && la_http_date_read(w->if_unmodified, &t) && v->modified > t) {
        return 412;
    }
    if (w->if_none_match.p)
        return !la_http_etag_in(w->if_none_match, v->etag, true) ? 0 : reads ? 304 : 412;
    if (reads && w->if_modified.p && la_http_date_read(w->if_modified, &t) && v->modified <= t)
        return 304;
    return 0;
}

static enum la_http_range range(const struct la_wants *w, enum la_http_method method, const struct validators *v,
                                uint64_t size, uint64_t *from, uint64_t *to)
{
    int64_t t;
    if (method != LA_METHOD_GET || w->range.p == NULL)
        return LA_RANGE_ALL;
    if (w->if_range.p && !la_http_etag_in(w->if_range, v->etag, false) &&
        !(la_http_date_read(w->if_range, &t) && t == v->modified))
        return LA_RANGE_ALL;
    return la_http_range_read(w->range, size, from, to);
}

static void validators_init(struct validators *v, const struct stat *st)
{
    v->modified = st->st_mtim.tv_sec;
    la_http_date_write(v->date, v->modified);
    int n = snprintf(v->tag, sizeof v->tag, "\"%llx-%llx\"", (unsigned long long)st->st_mtim.tv_sec,
                     (unsigned long long)st->st_size);
    v->etag = la_slice(v->tag, (size_t)n);
}

/* ---- answers ---- */

static void begin(struct la_exchange *x, struct la_response *r, int status)
{
    r->status = x->status = status;
    r->reason = la_slice(NULL, 0);
    r->announce = status != 304;
    r->body = LA_BODY_LENGTH;
    x->turn.spool_conf.file_bytes = 0; /* it is in a file already */
}

/* The answer is ours: nobody wants the rest of the request's body. */
static void drop_body(struct la_exchange *x, struct la_response *r)
{
    r->close = !x->turn.body_done;
    x->turn.body_dropped = true;
}

/* The head of r; [from, to) of fd is to follow. False: it is over, with an error of ours. */
static bool respond(struct la_exchange *x, struct la_response *r, int fd, uint64_t from, uint64_t to)
{
    bool content = r->status < 300 && x->turn.method != LA_METHOD_HEAD && from < to;
    if (content)
        x->file = static_new(x, fd, from, to);
    else if (fd >= 0)
        close(fd);
    if (content && x->file == NULL) {
        la_exchange_fail(x, LA_MEMORY);
        return false;
    }
    r->length = to - from;
    la_turn_respond(&x->turn, r);
    return x->turn.client != NULL;
}

/* What holds while a response head is made of it. */
struct about {
    struct stat st;
    struct validators v;
    uint64_t from, to;
    char content_range[80];
};

/* Status and fields of r for this file. */
static void describe(struct la_exchange *x, struct la_response *r, const struct la_wants *w, struct about *a)
{
    a->from = 0;
    a->to = (uint64_t)a->st.st_size;
    validators_init(&a->v, &a->st);
    int status = judge(w, x->turn.method, &a->v);
    enum la_http_range part = status ? LA_RANGE_ALL : range(w, x->turn.method, &a->v, a->to, &a->from, &a->to);
    if (status == 0)
        status = part == LA_RANGE_PART ? 206 : part == LA_RANGE_WRONG ? 416 : 200;
    begin(x, r, status);
    la_fields_add(&r->fields, LA_SLICE("Last-Modified"), la_slice_str(a->v.date));
    la_fields_add(&r->fields, LA_SLICE("ETag"), a->v.etag);
    if (status < 300)
        la_fields_add(&r->fields, LA_SLICE("Accept-Ranges"), LA_SLICE("bytes"));
    int n = 0;
    if (status == 206)
        n = snprintf(a->content_range, sizeof a->content_range, "bytes %llu-%llu/%llu", (unsigned long long)a->from,
                     (unsigned long long)a->to - 1, (unsigned long long)a->st.st_size);
    else if (status == 416)
        n = snprintf(a->content_range, sizeof a->content_range, "bytes */%llu", (unsigned long long)a->st.st_size);
    if (n)
        la_fields_add(&r->fields, LA_SLICE("Content-Range"), la_slice(a->content_range, (size_t)n));
    if (status >= 300)
        a->from = a->to = 0;
}

static void answer_file(struct la_exchange *x, const struct la_http_head *head, int fd, struct la_slice path)
{
    struct about a;
    struct la_wants w;
    if (fstat(fd, &a.st) != 0) {
        close(fd);
        la_exchange_fail(x, LA_INTERNAL);
        return;
    }
    la_static_wants(head, &w);
    struct la_response *r = la_response_fresh(x);
    la_fields_add(&r->fields, LA_SLICE("Date"), la_response_date(x));
    describe(x, r, &w, &a);
    drop_body(x, r);
    if (r->status < 300)
        la_fields_add(&r->fields, LA_SLICE("Content-Type"), la_mime_of(path));
    x->state = LA_X_ENDING;
    la_exchange_hold(x);
    if (respond(x, r, fd, a.from, a.to) && x->file == NULL)
        la_turn_end(&x->turn, la_slice(NULL, 0));
    if (la_exchange_let_go(x) && x->file)
        pump(x->file);
}

void la_static_instead(struct la_exchange *x, const struct la_http_head *h, int fd)
{
    static const char *const ours[] = {"etag", "last-modified", "accept-ranges", "content-range"};
    struct about a;
    if (fstat(fd, &a.st) != 0) {
        close(fd);
        la_exchange_fail(x, LA_INTERNAL);
        return;
    }
    la_response_from_head(x, h);
    struct la_response *r = x->proxy->response;
    for (size_t i = 0; i < h->headers; i++)
        for (size_t k = 0; k < la_count(ours); k++)
            if (la_slice_ieq(la_http_name(h, i), la_slice_str(ours[k])))
                la_fields_drop(&r->fields, i);
    describe(x, r, x->wants, &a);
    respond(x, r, fd, a.from, a.to);
}

void la_static_go(struct la_exchange *x)
{
    if (x->file)
        la_timer_set(&x->file->again, 0); /* not now: the call's bytes still lie in the scratch buffer */
    else if (!x->turn.ended) /* an error of ours has ended it */
        la_turn_end(&x->turn, la_slice(NULL, 0));
}

/* Percent-encodes what may not stand in a Location. False: it does not fit. */
static bool encode_path(struct la_slice path, char *out, size_t cap, size_t *n)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     strchr("/-._~!$&'()*+,;=:@", c);
        if (cap - *n < 4)
            return false;
        if (plain && c) {
            out[(*n)++] = (char)c;
        } else {
            out[(*n)++] = '%';
            out[(*n)++] = hex[c >> 4];
            out[(*n)++] = hex[c & 15];
        }
    }
    return true;
}

/* To the directory with its slash, on this host, the query kept. */
static void answer_moved(struct la_exchange *x, const struct la_site_hit *hit)
{
    char *to = x->proxy->env.scratch;
    size_t n = 0;
    const size_t cap = LA_SCRATCH_BYTES;
    bool fits = encode_path(hit->path, to, cap, &n) && cap - n > hit->args.n + 3;
    if (!fits) {
        la_exchange_fail(x, LA_URI_TOO_LONG);
        return;
    }
    to[n++] = '/';
    if (hit->args.n) {
        to[n++] = '?';
        memcpy(to + n, hit->args.p, hit->args.n);
        n += hit->args.n;
    }
    struct la_response *r = la_response_fresh(x);
    begin(x, r, 301);
    drop_body(x, r);
    la_fields_add(&r->fields, LA_SLICE("Date"), la_response_date(x));
    la_fields_add(&r->fields, LA_SLICE("Location"), la_slice(to, n));
    x->state = LA_X_ENDING;
    la_exchange_hold(x);
    if (respond(x, r, -1, 0, 0))
        la_turn_end(&x->turn, la_slice(NULL, 0));
    la_exchange_let_go(x);
}

void la_static_answer(struct la_exchange *x, const struct la_http_head *head, struct la_site_hit *hit)
{
    if (hit->kind == LA_SITE_MOVED) {
        answer_moved(x, hit);
    } else if (head->method != LA_METHOD_GET && head->method != LA_METHOD_HEAD) {
        close(hit->fd);
        la_exchange_fail(x, LA_METHOD_REFUSED);
    } else {
        answer_file(x, head, hit->fd, hit->uri);
    }
}
