/* memcached_upload.c: a command's data block on its way in: kept with the command when it is small, else in a
 * spool, and handed to the part when it is complete, with its line end.
 *
 * Owns: where in a data block the client is. Never: the socket, what becomes of the command.
 *
 * What can fail: the line end is none: where the next command begins is in doubt, so the client is answered and ends.
 * No memory or disk: the rest is read and dropped, and the command fails. One thread. */
#include "memcached.h"

static void upload_failed(struct la_mclient *c, enum la_err e);

static void on_spool_ready(void *arg)
{
    struct la_mpart *p = arg;
    struct la_mclient *c = p->command->client;
    enum la_err e = la_spool_error(p->body);
    if (p->ask.lane && e != LA_OK) {
        la_ask_fail(&p->ask, e);
    } else if (p->ask.lane) {
        la_ask_resume(&p->ask);
    } else if (c && c->upload == p) {
        if (e != LA_OK)
            upload_failed(c, e);
        la_mclient_run(c);
    }
}

static bool begin_spool(struct la_mclient *c, struct la_mpart *p)
{
    const struct la_conf_upstream *u = c->front->pipe.branch->conf;
    struct la_env *e = c->front->env;
    p->dir = la_xstrdup(c->front->pipe.dir);
    struct la_spool_conf conf = {.loop = e->loop,
                                 .filer = e->filer,
                                 .bounds = e->bounds,
                                 .dir = p->dir,
                                 .mem_bytes = u->buffer.request_bytes,
                                 .mem_most = c->left,
                                 .file_bytes = UINT64_MAX};
    p->body = la_spool_new(&conf, on_spool_ready, p);
    return p->body != NULL;
}

static void upload_failed(struct la_mclient *c, enum la_err e)
{
    struct la_mpart *p = c->upload;
    struct la_mcommand *m = p->command;
    c->upload = NULL;
    m->waits_for_data = false;
    la_outlet_drop(p->outlet);
    la_mpart_free(p);
    m->failed = e;
    m->local =
        e == LA_BAD_REQUEST ? "CLIENT_ERROR bad data chunk\r\n" : la_merror_text(e, m->text, sizeof m->text);
    c->state = LA_MCLIENT_SWALLOW;
    if (e == LA_BAD_REQUEST) { /* where the next command begins is in doubt */
        m->noreply = false;
        c->closing = true;
    }
    la_mclient_pump_soon(c);
}

/* The data block is complete. */
static void data_done(struct la_mclient *c)
{
    struct la_mpart *p = c->upload;
    c->state = LA_MCLIENT_LINE;
    c->since_ns = la_loop_now_ns(c->front->env->loop);
    if (p == NULL)
        return;
    if (p->body && la_spool_error(p->body)) {
        upload_failed(c, la_spool_error(p->body));
        c->state = LA_MCLIENT_LINE;
        return;
    }
    c->upload = NULL;
    struct la_outlet *o = p->outlet;
    p->command->start_ns = la_loop_now_ns(c->front->env->loop);
    p->command->due_ns = p->command->start_ns + p->command->branch->conf->timeouts.response_ms * 1000000u;
    la_mpart_submit(p);
    la_outlet_drop(o);
}

static void keep_data(struct la_mclient *c, const char *from, size_t n)
{
    struct la_mpart *p = c->upload;
    if (p->body) {
        enum la_err e = la_spool_write(p->body, from, n);
        if (e != LA_OK)
            upload_failed(c, e);
    } else {
        la_mpart_add(p, from, n);
    }
}

/* A byte of the line end behind a data block. A block that stops between CR and LF, with LF CR LF behind it, was
 * counted one short: however it is read it ends at the same byte, so nothing behind it is in doubt. */
static void take_end(struct la_mclient *c, const char *from)
{
    bool first = c->left == 2;
    if (first && *from == '\n' && c->last == '\r' && !c->one_short) {
        c->one_short = true;
        return;
    }
    c->left--;
    if (*from != (first ? '\r' : '\n')) {
        upload_failed(c, LA_BAD_REQUEST);
        c->state = LA_MCLIENT_LINE;
        return;
    }
    keep_data(c, from, 1);
}

/* Bytes of a data block; how many were taken. */
size_t la_mupload_take(struct la_mclient *c, const char *from, size_t n)
{
    struct la_mpart *p = c->upload;
    bool end = p && c->left <= 2;
    n = la_min64(n, end ? 1 : p ? c->left - 2 : c->left);
    if (p && p->body)
        n = la_min64(n, la_spool_room(p->body));
    if (n == 0)
        return 0;
    c->received += n;
    if (end) {
        take_end(c, from);
    } else {
        c->last = from[n - 1];
        c->left -= n;
        if (p)
            keep_data(c, from, n);
    }
    if (c->left == 0 && c->state != LA_MCLIENT_LINE)
        data_done(c);
    return n;
}

void la_mupload_begin(struct la_mclient *c, struct la_mpart *p, uint64_t n)
{
    c->upload = p;
    c->left = n;
    c->state = p ? LA_MCLIENT_DATA : LA_MCLIENT_SWALLOW;
    c->since_ns = la_loop_now_ns(c->front->env->loop);
    la_mclient_progress(c);
    c->received = 0;
    c->last = 0;
    c->one_short = false;
    if (p)
        la_outlet_hold(p->outlet);
    if (p && n > LA_BULK_BYTES && !begin_spool(c, p))
        upload_failed(c, LA_MEMORY);
}

void la_mupload_drop(struct la_mclient *c)
{
    if (c->upload == NULL)
        return;
    c->upload->command->local = ""; /* no server has heard of it */
    c->upload->command->waits_for_data = false;
    la_outlet_drop(c->upload->outlet);
    c->upload = NULL;
}
