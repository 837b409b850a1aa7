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

#define PART_BYTES    4096u
#define PARTS_AT_ONCE 32u
#define LOG_KEY       250u
#define WHOLE         8192u /* what is no larger is given to the client when it is complete and beyond doubt */

/* ---- life ---- */

static struct la_mcommand *command_alloc(struct la_env *e)
{
    struct la_mcommand *m = la_mem_get(e, sizeof *m);
    if (m)
        memset(m, 0, sizeof *m);
    return m;
}

static void command_free(struct la_mcommand *m)
{
    struct la_mpart *p;
    struct la_env *e = m->env;
    la_list_each(&m->parts, p, struct la_mpart, node) la_mpart_free(p);
    la_lanes_forget(&m->lanes);
    la_list_remove(&m->node);
    la_mem_put(e, m->names, m->names_n);
    la_mem_put(e, m->log_key, LOG_KEY);
    la_mem_put(e, m->key, m->keys * sizeof *m->key);
    if (m->branch)
        la_branch_drop(m->branch);
    la_mem_put(e, m, sizeof *m);
}

struct la_mcommand *la_mcommand_local(struct la_mclient *c, const char *text)
{
    struct la_mcommand *m = command_alloc(c->front->env);
    if (m == NULL)
        return NULL;
    m->env = c->front->env;
    m->front = c->front;
    m->client = c;
    m->local = text;
    la_list_init(&m->parts);
    la_list_init(&m->lanes);
    la_list_init(&m->node);
    la_list_push_back(&c->commands, &m->node);
    c->commands_n++;
    la_mclient_pump_soon(c);
    return m;
}

struct la_mcommand *la_mcommand_detached(struct la_mcommand *like)
{
    struct la_mcommand *m = command_alloc(like->env);
    if (m == NULL)
        return NULL;
    m->env = like->env;
    m->front = like->front;
    m->branch = like->branch;
    la_branch_hold(m->branch);
    m->noreply = true;
    m->start_ns = like->start_ns;
    m->due_ns = la_loop_now_ns(m->env->loop) + m->branch->conf->timeouts.response_ms * 1000000u;
    la_list_init(&m->parts);
    la_list_init(&m->lanes);
    la_list_init(&m->node);
    return m;
}

void la_mcommand_orphan(struct la_mcommand *m)
{
    struct la_mpart *p;
    m->client = NULL;
    la_list_remove(&m->node);
    la_list_each(&m->parts, p, struct la_mpart, node) la_mstore_clear(m->env, &p->store);
    if (m->live == 0)
        command_free(m);
}

/* ---- the log ---- */

static bool is_logged(struct la_mcommand *m)
{
    struct la_front *f = m->front;
    if (f->wants_commands && f->wants_commands(f))
        m->log_key = la_mem_get(m->env, LOG_KEY);
    return m->log_key != NULL;
}

void la_mcommand_is_none(struct la_mcommand *m)
{
    m->none = true;
    m->start_ns = la_loop_now_ns(m->env->loop);
    (void)is_logged(m);
}

static void remember(struct la_mcommand *m, const struct la_memc_request *r)
{
    if (!is_logged(m))
        return;
    m->log_key_n = (uint8_t)la_min64(r->key.n, LOG_KEY);
    memcpy(m->log_key, r->key.p ? r->key.p : "", m->log_key_n);
    m->bytes_in = r->used + (r->has_data ? r->bytes + 2 : 0);
}

void la_mcommand_result(struct la_mcommand *m, const char *p, size_t n)
{
    size_t k = 0;
    if (m->log_key == NULL || m->result[0])
        return;
    for (; k < n && k + 1 < sizeof m->result && (unsigned char)p[k] > ' '; k++)
        m->result[k] = p[k];
    m->result[k] = 0;
}

static void tell(struct la_mcommand *m, enum la_err e)
{
    if (m->log_key == NULL || m->client == NULL)
        return;
    bool keys = m->shape == LA_MEMC_SHAPE_KEYS && !m->none;
    struct la_command_note n = {.peer = &m->client->peer,
                                .command = m->none ? "-" : la_memc_verb_name(m->verb),
                                .key = la_slice(m->log_key, m->log_key_n),
                                .keys = keys ? m->keys : m->log_key_n > 0,
                                .result = m->result,
                                .hits = m->hits,
                                .misses = m->missed,
                                .bytes_in = m->bytes_in,
                                .bytes_out = m->bytes_out,
                                .upstream = m->branch ? m->branch->shared->name : "",
                                .server = m->server ? m->server : "",
                                .total_ns = la_loop_now_ns(m->env->loop) - m->start_ns,
                                .error = m->none ? LA_BAD_REQUEST : e};
    m->front->on_command(m->front, &n);
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
static bool misses(const struct la_mcommand *m)
{
    return m->branch && m->branch->conf->memcached.auto_eject != LA_EJECT_ERROR;
}

/* May what the part failed to get be called a miss? Not when the server has begun to answer. */
static bool excused(const struct la_mcommand *m, const struct la_mpart *p)
{
    if (p->no_memory)
        return false;
    if (p->err == LA_OK)
        return true;
    if (p->spoke)
        return false;
    return p->unsent ? misses(m) : m->branch->conf->memcached.failed_get_misses;
}

void la_mcommand_part_over(struct la_mcommand *m, struct la_mpart *p)
{
    m->live--;
    if (m->client) {
        la_mclient_pump_soon(m->client);
        return;
    }
    (void)p;
    if (m->live == 0) {
        count_end(m, p->err);
        command_free(m);
    }
}

/* ---- keys ---- */

static struct la_slice key_at(const struct la_mcommand *m, size_t i)
{
    return la_slice(m->names + m->key[i].at, m->key[i].n);
}

/* Which answers cannot come from a server; false: no memory. */
static bool take_keys(struct la_mcommand *m, const struct la_memc_request *r)
{
    struct la_slice all = r->keys, key;
    size_t n = 0;
    while (la_memc_next_key(&all, &key))
        n++;
    m->keys = n;
    m->names_n = r->keys.n;
    m->key = la_mem_get(m->env, n * sizeof *m->key);
    m->names = la_mem_get(m->env, m->names_n);
    m->head_n = la_memc_write_verb(r, m->head, sizeof m->head);
    if (m->key == NULL || m->names == NULL || m->head_n == 0) {
        if (m->key == NULL) /* what is freed is what was charged */
            m->keys = 0;
        if (m->names == NULL)
            m->names_n = 0;
        return false;
    }
    memcpy(m->names, r->keys.p, r->keys.n);
    all = la_slice(m->names, m->names_n);
    for (size_t i = 0; la_memc_next_key(&all, &key); i++)
        m->key[i] = (struct la_mkey){.at = (uint32_t)(key.p - m->names), .n = (uint16_t)key.n};
    return true;
}

static struct la_mpart *open_part(struct la_mcommand *m, struct la_mpart **open, unsigned *opens,
                                  struct la_outlet *o, size_t key_n, unsigned most)
{
    for (unsigned i = 0; i < *opens; i++) {
        struct la_mpart *p = open[i];
        if (p->outlet != o)
            continue;
        if (p->keys < most && p->out_n + m->prefix_n + key_n + 3 <= p->out_cap)
            return p;
        memcpy(p->out + p->out_n, "\r\n", 2);
        p->out_n += 2;
        open[i] = open[--*opens];
        la_mpart_submit(p);
        break;
    }
    size_t left = m->keys - m->issued, cap = left == 1 ? m->head_n + m->prefix_n + key_n + 3 : PART_BYTES;
    struct la_mpart *p =
        *opens < PARTS_AT_ONCE * 2 ? la_mpart_new(m, o, cap, (unsigned)la_min64(left, LA_MPART_KEYS)) : NULL;
    if (p == NULL)
        return NULL;
    memcpy(p->out, m->head, m->head_n);
    p->out_n = m->head_n;
    return open[(*opens)++] = p;
}

static void out_add(struct la_mpart *p, const void *from, size_t n)
{
    memcpy(p->out + p->out_n, from, n);
    p->out_n += n;
}

static void issue_key(struct la_mcommand *m, struct la_mpart **open, unsigned *opens, unsigned most)
{
    struct la_mkey *k = &m->key[m->issued];
    struct la_slice key = key_at(m, m->issued);
    struct la_outlet *o = la_moutlet_for(m->front, key);
    if (key.n + m->prefix_n > LA_MEMC_KEY_MAX) {
        m->failed = LA_BAD_REQUEST;
        k->missing = true;
    } else if (o == NULL) {
        k->missing = true;
        if (!misses(m))
            m->failed = LA_NO_SERVER;
    } else {
        struct la_mpart *p = open_part(m, open, opens, o, key.n, most);
        if (p == NULL) {
            k->missing = true;
            m->failed = LA_MEMORY;
        } else {
            k->part = p;
            k->slot = (uint16_t)p->keys;
            p->slot[p->keys++] = (struct la_mslot){.index = (uint32_t)m->issued};
            out_add(p, " ", 1);
            out_add(p, m->prefix, m->prefix_n);
            out_add(p, key.p, key.n);
        }
    }
    m->issued++;
}

void la_mcommand_issue(struct la_mcommand *m)
{
    struct la_mclient *c = m->client;
    struct la_mpart *open[PARTS_AT_ONCE * 2];
    unsigned opens = 0, most = c->bulk ? 4 : LA_MPART_KEYS;
    if (m->branch == NULL)
        return;
    while (m->issued < m->keys && m->live + opens < PARTS_AT_ONCE &&
           (m->live + opens == 0 || c->held + c->out.n < m->branch->conf->buffer.response_bytes))
        issue_key(m, open, &opens, most);
    for (unsigned i = 0; i < opens; i++) {
        out_add(open[i], "\r\n", 2);
        la_mpart_submit(open[i]);
    }
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

/* A server that is out: what its keys get. */
static void answer_out(struct la_mcommand *m)
{
    bool miss = misses(m) && m->verb == LA_MEMC_MG;
    if (!miss)
        fail(m, LA_NO_SERVER);
    else
        m->local = m->quiet ? "" : "EN\r\n";
}

/* One key, or none: one part. */
static struct la_mpart *single(struct la_mcommand *m, const struct la_memc_request *r, struct la_outlet *o,
                               size_t data)
{
    size_t cap = LA_MEMC_LINE_MAX + m->prefix_n * 2u;
    char line[LA_MEMC_LINE_MAX + 512];
    size_t n = la_memc_write(r, la_slice(m->prefix, m->prefix_n), line, la_min64(cap, sizeof line));
    if (n == 0) {
        m->local = "CLIENT_ERROR bad command line format\r\n";
        return NULL;
    }
    if (o == NULL) {
        answer_out(m);
        return NULL;
    }
    struct la_mpart *p = la_mpart_new(m, o, n + data, 0);
    if (p == NULL) {
        fail(m, LA_MEMORY);
        return NULL;
    }
    out_add(p, line, n);
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
        if (!take_keys(m, r))
            fail(m, LA_MEMORY);
        else
            la_mcommand_issue(m);
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

struct la_mcommand *la_mcommand_new(struct la_mclient *c, const struct la_memc_request *r,
                                    struct la_mpart **upload)
{
    struct la_front *f = c->front;
    struct la_mcommand *m = la_mcommand_local(c, NULL);
    *upload = NULL;
    if (m == NULL)
        return NULL;
    m->verb = r->verb;
    m->shape = la_memc_verb_shape(r->verb);
    m->noreply = r->noreply;
    m->quiet = r->quiet;
    m->base64 = r->base64;
    m->wants_key = r->wants_key;
    m->prefix_n = f->pipe.prefix_n;
    memcpy(m->prefix, f->pipe.prefix, f->pipe.prefix_n);
    m->start_ns = la_loop_now_ns(m->env->loop);
    remember(m, r);
    if (c->bulk)
        c->bulk--;
    if (f->pipe.branch == NULL) {
        fail(m, LA_NO_SERVER);
        return m;
    }
    m->branch = f->pipe.branch;
    la_branch_hold(m->branch);
    la_stat_add(&m->branch->stats->command[r->verb], 1);
    la_stat_add(&m->branch->stats->requests, 1);
    m->due_ns = m->start_ns + m->branch->conf->timeouts.response_ms * 1000000u;
    begin(m, r, upload);
    return m;
}

/* ---- the answer ---- */

static uint64_t give(struct la_mcommand *m, struct la_mpart *p, uint64_t most)
{
    uint64_t n = most ? la_mpart_give(p, most) : 0;
    m->begun |= n > 0;
    m->bytes_out += n;
    return n;
}

static void give_text(struct la_mcommand *m, const char *text)
{
    m->bytes_out += strlen(text);
    la_mcommand_result(m, text, strlen(text));
    if (*text && !la_mstore_add(m->env, &m->client->out, text, strlen(text)))
        m->client->abort = true;
}

static bool done(struct la_mcommand *m, enum la_err e)
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
    struct la_mpart *p = la_list_first(&m->parts, struct la_mpart, node);
    if (!p->over && !m->begun && la_mpart_has(p) < WHOLE)
        return false;
    if (p->err == LA_OK || m->begun)
        give(m, p, la_mpart_has(p));
    if (!p->over || (la_mpart_has(p) && (p->err == LA_OK || m->begun))) {
        m->client->abort |= p->no_memory && m->begun && la_mpart_has(p) == 0;
        return false;
    }
    if (p->err != LA_OK && m->begun)
        m->client->abort = true;
    else if (p->err != LA_OK && excused(m, p) && m->verb == LA_MEMC_MG)
        give_text(m, m->quiet ? "" : "EN\r\n");
    else if (p->err != LA_OK)
        give_text(m, la_merror_text(p->err, m->text, sizeof m->text));
    return done(m, p->err);
}

/* The next key's block, as far as it is there. False: more of it is to come. */
static bool emit_key(struct la_mcommand *m)
{
    struct la_mkey *k = &m->key[m->emitted];
    struct la_mpart *p = k->part;
    if (k->missing)
        return true;
    bool lost = p->no_memory || (p->over && p->err != LA_OK);
    if (k->slot >= p->decided) {
        if (p->over && (p->error_line || (lost && !excused(m, p))))
            m->failed = p->err ? p->err : LA_RESPONSE_BAD;
        return p->over;
    }
    if (p->slot[k->slot].end == 0)
        return true;
    if (lost && p->kept < p->slot[k->slot].end && m->emitted_of == 0) { /* the rest will not come */
        if (!excused(m, p))
            m->failed = p->no_memory ? LA_MEMORY : p->err;
        return true;
    }
    uint64_t wanted = p->slot[k->slot].end - (p->kept - la_mpart_has(p));
    if (m->emitted_of == 0 && wanted <= WHOLE && la_mpart_has(p) < wanted && !lost)
        return false;
    uint64_t n = give(m, p, wanted);
    m->emitted_of += n;
    if (n == wanted)
        return true;
    m->client->abort |= lost && la_mpart_has(p) == 0;
    return false;
}

/* A server's own words about its part are the end of the answer. */
static void keep_error_line(struct la_mcommand *m, struct la_mpart *p)
{
    if (!p->error_line || p->store.n == 0 || p->store.n >= sizeof m->text || m->local)
        return;
    size_t n = 0;
    for (struct la_mpiece *i = p->store.first; i; i = i->next) {
        memcpy(m->text + n, i->p + i->at, i->n - i->at);
        n += i->n - i->at;
    }
    m->text[n] = 0;
    m->local = m->text;
}

static void count_miss(struct la_mcommand *m, const struct la_mkey *k)
{
    la_stat_add(&m->branch->stats->misses, !k->counted);
    m->missed += !k->counted;
}

static bool emit_keys(struct la_mcommand *m)
{
    for (;;) {
        la_mcommand_issue(m);
        if (m->emitted == m->issued)
            break;
        if (!emit_key(m))
            return false;
        struct la_mkey *k = &m->key[m->emitted];
        struct la_mpart *p = k->part;
        if (k->missing || p->slot[k->slot].end == 0 || k->slot >= p->decided)
            count_miss(m, k);
        k->counted = true;
        if (p && k->slot + 1u == p->keys) {
            if (!p->over) /* its END */
                return false;
            if (!excused(m, p)) /* its END never came */
                m->failed = p->err;
            keep_error_line(m, p);
            la_mpart_free(p);
        }
        m->emitted++;
        m->emitted_of = 0;
    }
    if (m->failed == LA_BAD_REQUEST)
        give_text(m, "CLIENT_ERROR bad command line format\r\n");
    else if (m->local)
        give_text(m, m->local);
    else if (m->failed)
        give_text(m, la_merror_text(m->failed, m->text, sizeof m->text));
    else
        give_text(m, "END\r\n");
    return done(m, m->failed);
}

/* Every server was asked: one that fails is the answer, else the first. */
static bool emit_all(struct la_mcommand *m)
{
    struct la_mpart *p, *best = NULL;
    if (m->live)
        return false;
    la_list_each(&m->parts, p, struct la_mpart,
                 node) if (best == NULL ||
                           (best->err == LA_OK && !best->error_line && (p->err || p->error_line))) best = p;
    enum la_err e = best->err ? best->err : m->failed;
    if (e)
        give_text(m, la_merror_text(e, m->text, sizeof m->text));
    else
        give(m, best, la_mpart_has(best));
    return done(m, e);
}

bool la_mcommand_emit(struct la_mcommand *m)
{
    if (m->waits_for_data)
        return false;
    if (m->shape == LA_MEMC_SHAPE_KEYS && m->key && m->local == NULL)
        return emit_keys(m);
    if (m->local) {
        if (m->live) /* some were asked before it was known */
            return false;
        if (!m->noreply)
            give_text(m, m->local);
        return done(m, m->failed);
    }
    if (m->noreply)
        return m->live == 0 ? done(m, LA_OK) : false;
    if (m->shape == LA_MEMC_SHAPE_ALL)
        return emit_all(m);
    if (m->shape == LA_MEMC_SHAPE_STATS) {
        if (m->live)
            return false;
        la_mstats_emit(m);
        return done(m, LA_OK);
    }
    return emit_single(m);
}
