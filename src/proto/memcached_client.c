/* memcached_client.c: clients that speak memcached's text protocol: reading commands and data blocks, writing
 * answers.
 *
 * Owns: the socket, the input buffer, the order of answers, client-side time and bounds. Never: what a
 * command becomes (memcached_command.c).
 *
 * Good path: accepted -> read -> parsed -> a command -> (its data block, memcached_upload.c, complete before any server
 * hears of it) -> answered in turn -> more. An idle client holds no buffer.
 *
 * Bounded: so many commands under way, so many bytes of answers that it has not taken; then it is not read
 * from. Data blocks beyond 64 KiB wait in a spool. `quit` and a FIN end it when all is answered. A client
 * that leaves takes its unanswered commands' answers along, not the commands. One thread. */
#include "memcached.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READS_AT_ONCE 2
#define COMMANDS_MOST 128u
#define IN_FIRST      1000u
#define BORROWED      16384u
#define IOVS          32

static void on_io(struct la_io *io, int events);
static void on_timer(struct la_timer *t);
static void on_idle(struct la_idle *i);

static struct la_env *env_of(const struct la_mclient *c)
{
    return c->front->env;
}

static uint64_t now_of(const struct la_mclient *c)
{
    return la_loop_now_ns(env_of(c)->loop);
}

static uint64_t held_most(const struct la_mclient *c)
{
    const struct la_branch *b = c->front->pipe.branch;
    return b ? b->conf->buffer.response_bytes : 262144;
}

/* ---- life ---- */

static void refuse(struct la_front *f, int fd, struct la_stream *from, const struct la_addr *peer, bool unnamed)
{
    la_log_limited(LA_LOG_WARN, 10000, "limits.memory reached: refusing clients");
    la_stat_add(&f->stats->refused, 1);
    atomic_fetch_sub_explicit(&f->stats->connections, 1, memory_order_relaxed);
    if (from)
        la_stream_reset(from);
    else
        close(fd);
    la_front_uncount(f, peer, unnamed);
}

static void accept_client(struct la_front *f, int fd, struct la_stream *from, const struct la_addr *peer, bool unnamed)
{
    struct la_mclient *c = la_mem_get(f->env, sizeof *c);
    if (c == NULL) {
        refuse(f, fd, from, peer, unnamed);
        return;
    }
    memset(c, 0, sizeof *c);
    c->front = f;
    c->peer = *peer;
    c->unnamed = unnamed;
    la_list_init(&c->node);
    la_list_init(&c->commands);
    la_list_init(&c->lanes);
    la_list_init(&c->idle.node);
    c->idle.cb = on_idle;
    la_list_push_back(&f->list, &c->node);
    if (from)
        la_stream_adopt(&c->stream, from, f->env->loop, on_io);
    else
        la_stream_init(&c->stream, f->env->loop, fd, on_io);
    la_timer_init(&c->timer, f->env->loop, on_timer);
    c->since_ns = c->progress_ns = now_of(c);
    la_mclient_run(c);
}

static void client_free(struct la_mclient *c)
{
    struct la_front *f = c->front;
    struct la_addr peer = c->peer;
    bool unnamed = c->unnamed;
    la_mem_put(f->env, c, sizeof *c);
    la_front_uncount(f, &peer, unnamed);
}

static void drop_in(struct la_mclient *c)
{
    if (c->in_cap)
        la_mem_put(env_of(c), c->in, c->in_cap);
    c->in = NULL;
    c->in_n = c->in_cap = c->at = c->seen = 0;
}

static void end(struct la_mclient *c, bool reset)
{
    if (c->dead)
        return;
    c->dead = true;
    la_timer_stop(&c->timer);
    la_list_remove(&c->idle.node);
    la_list_remove(&c->node);
    la_mupload_drop(c);
    while (!la_list_empty(&c->commands))
        la_mcommand_orphan(la_list_first(&c->commands, struct la_mcommand, node));
    la_lanes_forget(&c->lanes);
    la_mstore_clear(env_of(c), &c->out);
    drop_in(c);
    atomic_fetch_sub_explicit(&c->front->stats->connections, 1, memory_order_relaxed);
    if (reset)
        la_stream_reset(&c->stream);
    else
        la_stream_close(&c->stream);
    if (c->entered == 0)
        client_free(c);
}

/* ---- timers ---- */

/* Milliseconds left of ms since ns; 0 ms is no bound. */
static uint64_t left_of(const struct la_mclient *c, uint64_t ms, uint64_t ns)
{
    return ms == 0 ? UINT64_MAX : la_ms_left(ms, now_of(c), ns);
}

/* How long may what it does now still take? Bytes that come put off the end of a pause, not the end of the whole. */
static uint64_t time_left(const struct la_mclient *c)
{
    const struct la_front *f = c->front;
    if (la_mclient_has_answers(c))
        return left_of(c, f->write_ms, c->progress_ns);
    if (c->state != LA_MCLIENT_LINE) {
        uint64_t whole = f->min_rate && f->body_ms ? f->body_ms + c->received * 1000 / f->min_rate : 0;
        return la_min64(left_of(c, f->body_ms, c->progress_ns), left_of(c, whole, c->since_ns));
    }
    if (c->commands_n) /* nothing is asked of it before they are answered */
        return UINT64_MAX;
    return c->in_n > c->at ? left_of(c, f->head_ms, c->since_ns) : left_of(c, f->keepalive_ms, c->progress_ns);
}

static void arm(struct la_mclient *c)
{
    uint64_t ms = time_left(c);
    if (ms != UINT64_MAX)
        la_timer_set(&c->timer, ms);
    else
        la_timer_stop(&c->timer);
}

static void on_timer(struct la_timer *t)
{
    struct la_mclient *c = la_container(t, struct la_mclient, timer);
    if (time_left(c) > 0) {
        arm(c);
        return;
    }
    la_stat_add(&c->front->stats->timeouts, 1);
    end(c, la_mclient_has_answers(c));
}

/* ---- answers ---- */

void la_mclient_pump_soon(struct la_mclient *c)
{
    if (!c->dead)
        la_loop_defer(env_of(c)->loop, &c->idle);
}

/* Writes what is there. False: the client is gone. */
static bool write_out(struct la_mclient *c)
{
    while (c->out.n) {
        struct iovec v[IOVS];
        int n = 0;
        size_t all = 0;
        for (struct la_mpiece *p = c->out.first; p && n < IOVS; p = p->next) {
            if (p->at == p->n)
                continue;
            v[n] = (struct iovec){p->p + p->at, p->n - p->at};
            all += v[n++].iov_len;
        }
        ssize_t k = la_stream_send(&c->stream, v, n, false);
        if (k == LA_STREAM_AGAIN)
            break;
        if (k < 0) {
            end(c, true);
            return false;
        }
        c->progress_ns = now_of(c);
        la_mstore_consume(env_of(c), &c->out, (uint64_t)k);
        if ((size_t)k < all)
            break;
    }
    return true;
}

static bool may_read(const struct la_mclient *c)
{
    if (c->closing || c->dead)
        return false;
    if (c->state == LA_MCLIENT_DATA && c->upload && c->upload->body && la_spool_room(c->upload->body) == 0)
        return false;
    if (c->state != LA_MCLIENT_LINE)
        return true;
    return c->commands_n < COMMANDS_MOST && c->out.n + c->held < held_most(c);
}

static void want(struct la_mclient *c)
{
    int w = (may_read(c) ? LA_READ : 0) | (la_mclient_has_answers(c) ? LA_WRITE : 0);
    la_io_want(&c->stream.io, w);
    arm(c);
}

/* Puts ready answers on their way, in order. */
static void pump(struct la_mclient *c)
{
    c->entered++;
    bool asked = c->commands_n > 0;
    uint64_t had, gone = 0;
    c->closing |= c->front->draining && c->state == LA_MCLIENT_LINE && c->in_n == c->at &&
                  la_stream_peek(&c->stream) != LA_PEEK_BYTES; /* what has arrived is answered */
    do {
        while (!c->abort && !la_list_empty(&c->commands) && c->out.n < held_most(c) &&
               la_mcommand_emit(la_list_first(&c->commands, struct la_mcommand, node)))
            ;
        had = c->out.n;
        if (!write_out(c))
            break;
        gone += had - c->out.n;
        c->more = !c->abort && c->out.n == 0 && had > 0 && !la_list_empty(&c->commands); /* perhaps, and no event tells */
    } while (c->more && gone < LA_TURN_BYTES);
    if (asked && c->commands_n == 0 && c->state == LA_MCLIENT_LINE)
        c->since_ns = now_of(c); /* the rest of a line behind them has its time from now on */
    if (gone && c->out.n == 0 && c->state != LA_MCLIENT_LINE) { /* and so has a data block behind answers */
        c->since_ns = now_of(c);
        c->received = 0;
    }
    if (!c->dead && c->abort && c->out.n == 0)
        end(c, true);
    if (!c->dead && c->closing && la_list_empty(&c->commands) && c->out.n == 0)
        end(c, false);
    c->entered--;
    if (c->dead && c->entered == 0)
        client_free(c);
}

static void on_idle(struct la_idle *i)
{
    struct la_mclient *c = la_container(i, struct la_mclient, idle);
    c->entered++;
    pump(c);
    if (!c->dead && c->stopped && may_read(c) && c->in_n > c->at)
        la_mclient_run(c); /* what has been read already */
    if (!c->dead)
        want(c);
    c->entered--;
    if (c->dead && c->entered == 0)
        client_free(c);
}

/* ---- reading ---- */

static void on_bad(struct la_mclient *c, const struct la_memc_fault *f)
{
    c->at += f->used;
    if (f->binary) {
        la_log_limited(
            LA_LOG_WARN, 10000,
            "listener %s: a client speaks memcached's binary protocol, which is not carried: in PHP set "
            "Memcached::OPT_BINARY_PROTOCOL to false (memcached.sess_binary_protocol = Off for sessions)",
            c->front->name);
        c->at = c->in_n;
        c->closing = true;
        la_mclient_pump_soon(c);
        return;
    }
    if (f->noreply && !f->close) { /* as memcached: errors are not answered either */
        if (f->swallow)
            la_mupload_begin(c, NULL, f->swallow);
        return;
    }
    if (la_mcommand_none(c, f->text) == NULL) {
        c->abort = true;
        la_mclient_pump_soon(c);
    }
    c->closing |= f->close;
    if (f->close)
        c->at = c->in_n;
    else if (f->swallow)
        la_mupload_begin(c, NULL, f->swallow);
}

/* One command out of what is there. False: more bytes are needed. */
static bool parse(struct la_mclient *c)
{
    struct la_memc_request r;
    struct la_memc_fault f;
    struct la_mpart *upload;
    switch (la_memc_parse(&r, c->in + c->at, c->in_n - c->at, &c->seen, &f)) {
    case LA_MEMC_MORE: return false;
    case LA_MEMC_BAD:
        c->seen = 0;
        on_bad(c, &f);
        return true;
    case LA_MEMC_DONE: break;
    }
    la_stat_add(&c->front->stats->requests, 1);
    if (la_mcommand_new(c, &r, &upload) == NULL) {
        c->abort = true;
        la_mclient_pump_soon(c);
        c->at = c->in_n;
        c->closing = true;
        return true;
    }
    c->at += r.used;
    c->since_ns = now_of(c);
    c->closing |= r.verb == LA_MEMC_QUIT;
    if (r.has_data)
        la_mupload_begin(c, upload, r.bytes + 2);
    return true;
}

/* Uses up what is in the buffer. */
static void use(struct la_mclient *c)
{
    c->stopped = false;
    while (c->at < c->in_n && !c->closing) {
        if (c->state != LA_MCLIENT_LINE) {
            size_t n = la_mupload_take(c, c->in + c->at, c->in_n - c->at);
            c->at += n;
            c->stopped = n == 0;
        } else {
            c->stopped = !may_read(c);
            if (!c->stopped && !parse(c))
                return;
        }
        if (c->stopped)
            return;
    }
}

/* Room for more of a line. False: no memory. */
static bool make_room(struct la_mclient *c)
{
    if (c->at == c->in_n)
        c->at = c->in_n = 0;
    if (c->at) {
        memmove(c->in, c->in + c->at, c->in_n - c->at);
        c->in_n -= c->at;
        c->at = 0;
    }
    if (c->in_n < c->in_cap)
        return true;
    size_t cap = c->in_cap ? c->in_cap * 4 : IN_FIRST;
    char *more = la_mem_get(env_of(c), cap);
    if (more == NULL)
        return false;
    memcpy(more, c->in ? c->in : "", c->in_n);
    la_mem_put(env_of(c), c->in, c->in_cap);
    c->in = more;
    c->in_cap = cap;
    return true;
}

/* What lies in the worker's buffer and could not be used yet. False: no memory. */
static bool keep_rest(struct la_mclient *c)
{
    const char *from = c->in + c->at;
    size_t n = c->closing ? 0 : c->in_n - c->at, cap = n > IN_FIRST ? n : IN_FIRST;
    c->in = NULL;
    c->at = c->in_n = 0;
    if (n == 0)
        return true;
    if ((c->in = la_mem_get(env_of(c), cap)) == NULL)
        return false;
    c->in_cap = cap;
    c->in_n = n;
    memcpy(c->in, from, n);
    return true;
}

/* Commands, into the worker's buffer: nearly always nothing of them is left when they have been used. */
static ssize_t read_lines(struct la_mclient *c, bool *more)
{
    char *p = env_of(c)->scratch;
    ssize_t n = la_stream_recv(&c->stream, p, BORROWED);
    *more = n == (ssize_t)BORROWED;
    if (n <= 0)
        return n;
    c->since_ns = now_of(c);
    la_mclient_progress(c);
    c->in = p;
    c->in_n = (size_t)n;
    use(c);
    if (c->in != p || keep_rest(c))
        return n;
    c->abort = true;
    return LA_STREAM_FAIL;
}

/* > 0, 0 at FIN, LA_STREAM codes. *more: there may be more to read. */
static ssize_t read_some(struct la_mclient *c, bool *more)
{
    if (c->state == LA_MCLIENT_LINE && c->in == NULL)
        return read_lines(c, more);
    struct la_env *e = env_of(c);
    if (c->state != LA_MCLIENT_LINE && c->at == c->in_n) { /* a data block: past the buffer */
        size_t most = la_min64(c->left, LA_SCRATCH_BYTES);
        if (c->upload && c->upload->body)
            most = la_min64(most, la_spool_room(c->upload->body));
        if (most == 0)
            return LA_STREAM_AGAIN;
        ssize_t n = la_stream_recv(&c->stream, e->scratch, most);
        *more = n == (ssize_t)most;
        if (n > 0) {
            la_mclient_progress(c);
            size_t at = 0;
            while (at < (size_t)n && c->state != LA_MCLIENT_LINE)
                at += la_mupload_take(c, e->scratch + at, (size_t)n - at);
        }
        return n;
    }
    if (!make_room(c)) {
        c->abort = true;
        return LA_STREAM_FAIL;
    }
    bool first = c->in_n == 0;
    size_t most = c->in_cap - c->in_n;
    ssize_t n = la_stream_recv(&c->stream, c->in + c->in_n, most);
    *more = n == (ssize_t)most;
    if (n > 0) {
        la_mclient_progress(c);
        if (first && c->state == LA_MCLIENT_LINE)
            c->since_ns = now_of(c);
        c->in_n += (size_t)n;
        use(c);
    }
    return n;
}

void la_mclient_run(struct la_mclient *c)
{
    c->entered++;
    use(c);
    for (int i = 0; i < READS_AT_ONCE && may_read(c); i++) {
        bool more = false;
        ssize_t n = read_some(c, &more);
        if (n > 0 && more)
            continue;
        if (n == 0) { /* what was asked is answered, then it is over */
            c->closing = true;
            la_mupload_drop(c);
            la_mclient_pump_soon(c);
        }
        if (n == LA_STREAM_FAIL)
            end(c, true);
        break;
    }
    if (!c->dead) {
        if (c->at == c->in_n)
            drop_in(c);
        want(c);
        if (c->closing)
            la_mclient_pump_soon(c);
    }
    c->entered--;
    if (c->dead && c->entered == 0)
        client_free(c);
}

static void on_io(struct la_io *io, int events)
{
    struct la_mclient *c = la_container(io, struct la_mclient, stream.io);
    if (events & LA_WRITE)
        la_mclient_pump_soon(c);
    if (events & LA_READ)
        la_mclient_run(c);
}

/* ---- fronts ---- */

static void drain_front(struct la_front *f)
{
    struct la_mclient *c;
    f->draining = true;
    la_list_each(&f->list, c, struct la_mclient, node)
    {
        la_mclient_pump_soon(c);
    }
}

static void close_front(struct la_front *f)
{
    struct la_mclient *c;
    la_list_each(&f->list, c, struct la_mclient, node) end(c, true);
}

static void each_client(struct la_front *f, void (*cb)(void *arg, const struct la_client_view *v), void *arg)
{
    static const char *const states[] = {"line", "data", "swallow"};
    struct la_mclient *c;
    la_list_each(&f->list, c, struct la_mclient, node)
    {
        bool between = c->state == LA_MCLIENT_LINE && c->in_n == c->at;
        struct la_client_view v = {.peer = &c->peer,
                                   .state = !between ? states[c->state] : c->commands_n ? "waiting" : "writing",
                                   .commands = c->commands_n,
                                   .held_bytes = c->held + c->out.n,
                                   .since_ns = c->since_ns};
        if (!between || c->commands_n || c->out.n)
            cb(arg, &v);
    }
}

const struct la_client_protocol la_memcached_client_protocol = {
    .name = "memcached", .accept = accept_client, .drain = drain_front, .close = close_front, .each = each_client};

const struct la_client_protocol *la_client_protocol_find(enum la_protocol p)
{
    return p == LA_PROTO_MEMCACHED ? &la_memcached_client_protocol : NULL;
}
