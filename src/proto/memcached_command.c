/* memcached_command.c: one command of a client: its parts at the servers, and its answer put together from
 * theirs.
 *
 * Owns: the command, the keys it names, which part knows of which key. Never: the socket
 * (memcached_client.c), what a server says (memcached_server.c).
 *
 * Good path: la_mcommand_new -> parts are asked for, those of many keys a few dozen keys at a time ->
 * la_mcommand_emit moves what is ready, in the order asked, while it is the client's oldest command -> freed.
 *
 * What can fail: a part. Reads of its keys miss or the command ends in SERVER_ERROR, as auto_eject and
 * failed_get say; a wrong reply, or half of one, is never a miss. A value that was begun and cannot be ended
 * ends the client's connection. A command whose client is gone goes on unheard. */
#include "memcached.h"

#include <stdio.h>
#include <stdlib.h>


/* ---- the log ---- */

/* Kept for a command that somebody wants to be told of. */
struct la_mlog {
    struct la_addr peer;
    uint8_t key_n;
    char key[LA_MEMC_KEY_MAX];
};

static bool is_logged(struct la_mcommand *m)
{
    struct la_front *f = m->front;
    if (!f->wants_commands || !f->wants_commands(f) || (m->log = la_mem_get(m->env, sizeof *m->log)) == NULL)
        return false;
    m->log->peer = m->client->peer;
    m->log->key_n = 0;
    return true;
}

static void remember(struct la_mcommand *m, const struct la_memc_request *r)
{
    if (!is_logged(m))
        return;
    m->log->key_n = (uint8_t)la_min64(r->key.n, sizeof m->log->key);
    memcpy(m->log->key, r->key.p ? r->key.p : "", m->log->key_n);
    m->bytes_in = r->used + (r->has_data ? r->bytes + 2 : 0);
}

void la_mcommand_result(struct la_mcommand *m, const char *p, size_t n)
{
    size_t k = 0;
    if (m->log == NULL || m->result[0])
        return;
    for (; k < n && k + 1 < sizeof m->result && (unsigned char)p[k] > ' '; k++)
        m->result[k] = p[k];
    m->result[k] = 0;
}

static void tell(struct la_mcommand *m, enum la_err e)
{
    const struct la_mlog *l = m->log;
    if (l == NULL)
        return;
    bool keys = m->shape == LA_MEMC_SHAPE_KEYS && !m->none;
    struct la_command_note n = {.peer = &l->peer,
                                .command = m->none ? "-" : la_memc_verb_name(m->verb),
                                .key = la_slice(l->key, l->key_n),
                                .keys = keys ? m->keys : l->key_n > 0,
                                .result = m->result,
                                .hits = m->hits,
                                .misses = m->missed,
                                .bytes_in = m->bytes_in,
                                .bytes_out = m->bytes_out,
                                .upstream = m->branch ? m->branch->shared->name : "",
                                .server = m->server ? m->server->label : "",
                                .total_ns = la_loop_now_ns(m->env->loop) - m->start_ns,
                                .error = m->none ? LA_BAD_REQUEST : e};
    m->front->on_command(m->front, &n);
}

/* ---- life ---- */

/* With so many bytes behind it; without them when there is no room for them. */
static struct la_mcommand *command_alloc(struct la_front *f, size_t more)
{
    size_t all = sizeof(struct la_mcommand) + more;
    struct la_mcommand *m = la_mem_get(f->env, all);
    if (m == NULL && more)
        m = la_mem_get(f->env, all = sizeof *m);
    if (m == NULL)
        return NULL;
    memset(m, 0, sizeof *m);
    m->bytes = all;
    m->has_room = all == sizeof *m + more;
    m->env = f->env;
    m->front = f;
    la_list_init(&m->parts);
    la_list_init(&m->lanes);
    la_list_init(&m->node);
    return m;
}

static void command_free(struct la_mcommand *m)
{
    struct la_mpart *p;
    la_list_each(&m->parts, p, struct la_mpart, node) la_mpart_free(p);
    la_lanes_forget(&m->lanes);
    la_list_remove(&m->node);
    la_mem_put(m->env, m->log, sizeof *m->log);
    m->front->unheard -= m->unheard;
    if (m->server)
        la_server_unref(&m->server);
    if (m->branch)
        la_branch_drop(m->branch);
    la_mem_put(m->env, m, m->bytes);
}

static struct la_mcommand *command_of(struct la_mclient *c, size_t more)
{
    struct la_mcommand *m = command_alloc(c->front, more);
    if (m == NULL)
        return NULL;
    m->client = c;
    la_list_push_back(&c->commands, &m->node);
    c->commands_n++;
    return m;
}

struct la_mcommand *la_mcommand_none(struct la_mclient *c, const char *text)
{
    struct la_mcommand *m = command_of(c, 0);
    if (m == NULL)
        return NULL;
    m->none = true;
    m->start_ns = la_loop_now_ns(m->env->loop);
    (void)is_logged(m);
    snprintf(m->text, sizeof m->text, "%s%s", text, *text ? "\r\n" : "");
    m->local = m->text;
    la_mclient_pump_soon(c);
    return m;
}

static void unheard(struct la_mcommand *m)
{
    m->front->unheard += !m->unheard;
    m->unheard = true;
}

struct la_mcommand *la_mcommand_detached(struct la_mcommand *like)
{
    struct la_mcommand *m = command_alloc(like->front, 0);
    if (m == NULL)
        return NULL;
    m->branch = like->branch;
    la_branch_hold(m->branch);
    m->noreply = true;
    unheard(m);
    m->start_ns = like->start_ns;
    m->due_ns = la_loop_now_ns(m->env->loop) + m->branch->conf->timeouts.response_ms * 1000000u;
    return m;
}

void la_mcommand_orphan(struct la_mcommand *m)
{
    struct la_mpart *p;
    m->client = NULL;
    la_list_remove(&m->node);
    la_list_each(&m->parts, p, struct la_mpart, node) la_mstore_clear(m->env, &p->store);
    if (m->live) {
        unheard(m);
        return;
    }
    tell(m, LA_CLIENT_GONE);
    command_free(m);
}

static void count_end(struct la_mcommand *m, enum la_err e)
{
    if (m->branch == NULL)
        return;
    struct la_upstream_stats *s = m->branch->stats;
    uint64_t us = (la_loop_now_ns(m->env->loop) - m->start_ns) / 1000;
    la_hist_record(&s->phase[LA_PHASE_TOTAL], us);
    la_hist_record(&s->phase[LA_PHASE_BACKEND], us);
    la_stat_add(&s->code[e == LA_OK ? 200 : la_err_info(e)->status], 1);
    if (e != LA_OK)
        la_stat_add(&s->error[e], 1);
}

/* Are keys of a server that is out misses? */
bool la_mcommand_misses(const struct la_mcommand *m)
{
    return m->branch && m->branch->conf->memcached.auto_eject != LA_EJECT_ERROR;
}

/* May what the part failed to get be called a miss? Not when the server has begun to answer. */
bool la_mcommand_excuses(const struct la_mcommand *m, const struct la_mpart *p)
{
    if (p->no_memory)
        return false;
    if (p->err == LA_OK)
        return true;
    if (p->spoke)
        return false;
    return p->unsent ? la_mcommand_misses(m) : m->branch->conf->memcached.failed_get_misses;
}

void la_mcommand_part_over(struct la_mcommand *m, struct la_mpart *p)
{
    m->live--;
    if (m->client) {
        la_mclient_pump_soon(m->client);
        return;
    }
    if (m->live)
        return;
    count_end(m, p->err);
    tell(m, LA_CLIENT_GONE);
    command_free(m);
}

/* ---- a new one ---- */

const char *la_merror_text(enum la_err e, char *buf, size_t cap)
{
    snprintf(buf, cap, "SERVER_ERROR lastack: %s\r\n", la_err_info(e)->text);
    return buf;
}

static void fail(struct la_mcommand *m, enum la_err e)
{
    m->local = la_merror_text(e, m->text, sizeof m->text);
    m->failed = e;
}

/* A server that is out: what its keys get. line: what it would have been asked. */
static void answer_out(struct la_mcommand *m, struct la_slice line)
{
    bool miss = la_mcommand_misses(m) && m->verb == LA_MEMC_MG;
    if (!miss)
        fail(m, LA_NO_SERVER);
    else
        m->local = m->quiet ? "" : la_mcommand_meta_miss(m, line);
}

/* One key, or none: one part. */
static struct la_mpart *single(struct la_mcommand *m, const struct la_memc_request *r, struct la_outlet *o,
                               size_t data)
{
    char line[LA_MEMC_LINE_MAX]; /* the prefix in it: a server hangs up over more in pieces */
    size_t n = la_memc_write(r, la_slice(m->prefix, m->prefix_n), line, sizeof line);
    if (n == 0) {
        m->local = "CLIENT_ERROR bad command line format\r\n";
        return NULL;
    }
    if (o == NULL) {
        answer_out(m, la_slice(line, n));
        return NULL;
    }
    struct la_mpart *p = la_mpart_new(m, o, n + data, 0);
    if (p == NULL) {
        fail(m, LA_MEMORY);
        return NULL;
    }
    la_mpart_add(p, line, n);
    return p;
}

static void to_all(struct la_mcommand *m, const struct la_memc_request *r)
{
    struct la_branch *b = m->branch;
    unsigned sent = 0;
    for (unsigned i = 0; i < b->outlets && m->local == NULL; i++) {
        struct la_outlet *o = b->outlet[i];
        if (!la_moutlet_usable(o)) {
            if (m->shape == LA_MEMC_SHAPE_ALL) /* it would keep what the client thinks is gone */
                m->failed = LA_NO_SERVER;
            continue;
        }
        struct la_mpart *p = single(m, r, o, 0);
        if (p) {
            la_mpart_submit(p);
            sent++;
        }
    }
    if (sent == 0 && m->local == NULL)
        fail(m, LA_NO_SERVER);
}

static void deny_flush(struct la_mcommand *m)
{
    m->local = "CLIENT_ERROR flush_all not allowed\r\n"; /* as memcached -F says it */
    la_log_limited(LA_LOG_NOTICE, 10000, "listener %s: flush_all of a client denied (memcached.flush_all: deny)",
                   m->front->name);
}

static void begin(struct la_mcommand *m, const struct la_memc_request *r, struct la_mpart **upload)
{
    char plain[LA_MEMC_KEY_MAX];
    struct la_outlet *o;
    struct la_mpart *p = NULL;
    size_t data = r->has_data && r->bytes + 2 <= LA_BULK_BYTES ? r->bytes + 2 : 0;
    switch (m->shape) {
    case LA_MEMC_SHAPE_KEYS:
        if (!m->has_room || !la_mkeys_take(m, r))
            fail(m, LA_MEMORY);
        else
            la_mkeys_issue(m);
        return;
    case LA_MEMC_SHAPE_ALL:
        if (m->verb == LA_MEMC_FLUSH_ALL && !m->front->pipe.flush_allowed)
            deny_flush(m);
        else
            to_all(m, r);
        return;
    case LA_MEMC_SHAPE_STATS: to_all(m, r); return;
    case LA_MEMC_SHAPE_NOOP: m->local = "MN\r\n"; return;
    case LA_MEMC_SHAPE_QUIT: m->local = ""; return;
    case LA_MEMC_SHAPE_ONE: p = single(m, r, la_moutlet_any(m->front), 0); break;
    case LA_MEMC_SHAPE_STORE:
    case LA_MEMC_SHAPE_META_STORE:
        if (r->bytes > m->branch->conf->memcached.value_max) {
            m->local = "SERVER_ERROR object too large for cache\r\n";
            return;
        }
        o = la_moutlet_for(m->front, la_memc_plain_key(r, plain));
        *upload = single(m, r, o, data);
        m->waits_for_data = *upload != NULL;
        return;
    case LA_MEMC_SHAPE_KEY:
    case LA_MEMC_SHAPE_META:
    case LA_MEMC_SHAPE_META_DEBUG:
        o = la_moutlet_for(m->front, la_memc_plain_key(r, plain));
        p = single(m, r, o, 0);
        break;
    }
    if (p)
        la_mpart_submit(p);
}

/* Of stats, what switches something is answered in one line, without END. */
static enum la_memc_shape shape_of(const struct la_memc_request *r)
{
    struct la_slice rest = r->after, word;
    if (r->verb == LA_MEMC_STATS && la_memc_next_key(&rest, &word) &&
        (la_slice_eq(word, LA_SLICE("sizes_enable")) || la_slice_eq(word, LA_SLICE("sizes_disable"))))
        return LA_MEMC_SHAPE_ALL;
    return la_memc_verb_shape(r->verb);
}

struct la_mcommand *la_mcommand_new(struct la_mclient *c, const struct la_memc_request *r,
                                    struct la_mpart **upload)
{
    struct la_front *f = c->front;
    struct la_mcommand *m = command_of(c, r->keys_n * sizeof(struct la_mkey) + r->keys.n);
    *upload = NULL;
    if (m == NULL)
        return NULL;
    m->verb = r->verb;
    m->shape = shape_of(r);
    m->noreply = r->noreply;
    m->quiet = r->quiet;
    m->wants_key = r->wants_key;
    m->prefix_n = f->pipe.prefix_n;
    memcpy(m->prefix, f->pipe.prefix, f->pipe.prefix_n);
    m->start_ns = la_loop_now_ns(m->env->loop);
    remember(m, r);
    if (c->bulk)
        c->bulk--;
    if (f->pipe.branch) {
        m->branch = f->pipe.branch;
        la_branch_hold(m->branch);
        la_stat_add(&m->branch->stats->command[r->verb], 1);
        la_stat_add(&m->branch->stats->requests, 1);
        m->due_ns = m->start_ns + m->branch->conf->timeouts.response_ms * 1000000u;
        begin(m, r, upload);
    } else {
        fail(m, LA_NO_SERVER);
    }
    if (m->live == 0 && !m->waits_for_data) /* otherwise there is nothing yet */
        la_mclient_pump_soon(c);
    return m;
}

/* ---- the answer ---- */

uint64_t la_mcommand_give(struct la_mcommand *m, struct la_mpart *p, uint64_t most)
{
    uint64_t n = most ? la_mpart_give(p, most) : 0;
    m->begun |= n > 0;
    m->bytes_out += n;
    return n;
}

void la_mcommand_give_text(struct la_mcommand *m, const char *text)
{
    m->bytes_out += strlen(text);
    la_mcommand_result(m, text, strlen(text));
    if (*text && !la_mstore_add(m->env, &m->client->out, text, strlen(text)))
        m->client->abort = true;
}

bool la_mcommand_done(struct la_mcommand *m, enum la_err e)
{
    struct la_mclient *c = m->client;
    count_end(m, e);
    tell(m, e);
    c->commands_n--;
    command_free(m);
    return true;
}

/* The part's reply is the answer. */
static bool emit_single(struct la_mcommand *m)
{
    struct la_mpart *p = la_list_front(&m->parts, struct la_mpart, node);
    la_assert(!la_list_empty(&m->parts));
    if (!p->over && !m->begun && la_mpart_has(p) < LA_MEMC_WHOLE)
        return false;
    if (p->err == LA_OK || m->begun)
        la_mcommand_give(m, p, la_mpart_has(p));
    if (!p->over || (la_mpart_has(p) && (p->err == LA_OK || m->begun))) {
        m->client->abort |= p->no_memory && m->begun && la_mpart_has(p) == 0;
        return false;
    }
    if (p->err != LA_OK && m->begun)
        m->client->abort = true;
    else if (p->err != LA_OK && la_mcommand_excuses(m, p) && m->verb == LA_MEMC_MG)
        la_mcommand_give_text(m, m->quiet ? "" : la_mcommand_meta_miss(m, p->ask.head));
    else if (p->err != LA_OK)
        la_mcommand_give_text(m, la_merror_text(p->err, m->text, sizeof m->text));
    return la_mcommand_done(m, p->err);
}

/* Every server was asked: one that fails is the answer, else the first. */
static bool emit_all(struct la_mcommand *m)
{
    struct la_mpart *p, *best = la_list_front(&m->parts, struct la_mpart, node);
    la_assert(!la_list_empty(&m->parts));
    if (m->live)
        return false;
    la_list_each(&m->parts, p, struct la_mpart,
                 node) if (best->err == LA_OK && !best->error_line && (p->err || p->error_line)) best = p;
    enum la_err e = best->err ? best->err : m->failed;
    if (e)
        la_mcommand_give_text(m, la_merror_text(e, m->text, sizeof m->text));
    else
        la_mcommand_give(m, best, la_mpart_has(best));
    return la_mcommand_done(m, e);
}

bool la_mcommand_emit(struct la_mcommand *m)
{
    if (m->waits_for_data)
        return false;
    if (m->shape == LA_MEMC_SHAPE_KEYS && m->key) /* a server's words wait for the blocks behind them */
        return la_mkeys_emit(m);
    if (m->local) {
        if (m->live) /* some were asked before it was known */
            return false;
        if (!m->noreply)
            la_mcommand_give_text(m, m->local);
        return la_mcommand_done(m, m->failed);
    }
    if (m->noreply)
        return m->live == 0 ? la_mcommand_done(m, LA_OK) : false;
    if (m->shape == LA_MEMC_SHAPE_ALL)
        return emit_all(m);
    if (m->shape == LA_MEMC_SHAPE_STATS) {
        if (m->live)
            return false;
        la_mstats_emit(m);
        return la_mcommand_done(m, LA_OK);
    }
    return emit_single(m);
}
