/* memcached_server.c: a command's part at a server: which server that is, the request on a line, the reply
 * taken apart.
 *
 * Owns: the part. Never: the order of answers (memcached_command.c), connections (lines).
 *
 * Good path: la_moutlet_for a key -> la_mpart_new -> (data) -> la_mpart_submit -> replies are matched, key by key, and
 * stored -> over -> the command is told.
 *
 * A server that is out is asked `version` when its pause is over, and is in again when it answers; with
 * flush_on_return it is emptied before that. Lines that are quiet for health.interval are asked as well. A reply with a
 * key, or an opaque, that was not asked for loses the line: nothing on it can be trusted. */
#include "memcached.h"
#include "lastack/ring.h"

#include <stdio.h>
#include <stdlib.h>

static const struct la_ask_events part_events;

/* ---- which server ---- */

static struct la_slice host_of(const struct la_conf_server *s, char *buf)
{
    if (s->host)
        return la_slice_str(s->host);
    if (la_addr_family(&s->address) == AF_UNIX)
        return la_slice_str(s->address.u.un.sun_path);
    return la_slice_str(la_addr_host_text(&s->address, buf));
}

static struct la_ring *make_ring(const struct la_branch *b, uint64_t in)
{
    struct la_ring_server *s = la_xcalloc(b->outlets, sizeof *s);
    char(*text)[LA_ADDR_TEXT] = la_xcalloc(b->outlets, sizeof *text);
    for (unsigned i = 0; i < b->outlets; i++) {
        const struct la_conf_server *c = b->outlet[i]->conf;
        bool named = c->host != NULL;
        s[i] = (struct la_ring_server){host_of(c, text[i]), named ? c->port : la_addr_port(&c->address),
                                       c->weight};
    }
    struct la_ring *r =
        la_ring_new(b->conf->memcached.distribution, b->conf->memcached.hash, s, b->outlets, in);
    free(s);
    free(text);
    return r;
}

static struct la_outlet *find(struct la_branch *b, struct la_slice key)
{
    uint64_t in = UINT64_MAX;
    if (b->outlets == 0)
        return NULL;
    if (b->conf->memcached.auto_eject == LA_EJECT_REHASH)
        for (unsigned i = 0; i < b->outlets && i < 64; i++)
            if (!la_moutlet_usable(b->outlet[i]))
                in &= ~(1ull << i);
    if (b->ring == NULL || b->ring_in != in) {
        la_ring_free(&b->ring);
        b->ring = make_ring(b, in);
        b->ring_in = in;
    }
    if (b->ring == NULL)
        return NULL;
    return b->outlet[la_ring_find(b->ring, la_ring_tagged(b->memc_tag[0] ? b->memc_tag : NULL, key))];
}

struct la_outlet *la_moutlet_for(struct la_front *f, struct la_slice key)
{
    struct la_outlet *o = f->pipe.branch ? find(f->pipe.branch, key) : NULL;
    if (o && la_moutlet_usable(o))
        return o;
    o = f->pipe.failover ? find(f->pipe.failover, key) : NULL;
    return o && la_moutlet_usable(o) ? o : NULL;
}

struct la_outlet *la_moutlet_any(struct la_front *f)
{
    struct la_branch *b = f->pipe.branch;
    for (unsigned i = 0; b && i < b->outlets; i++)
        if (la_moutlet_usable(b->outlet[i]))
            return b->outlet[i];
    return NULL;
}

/* ---- is it back? ---- */

struct probe {
    struct la_ask ask;
    struct la_list lanes;
    struct la_outlet *outlet;
    struct la_branch *branch; /* held */
    struct la_line *line;     /* on this one, because it is quiet; NULL: the server is out */
    bool flushing;
};

static void probe_send(struct probe *p, struct la_slice what);

static enum la_ask_result on_probe_reply(struct la_ask *a, const char *p, size_t n, size_t *used)
{
    struct probe *k = la_container(a, struct probe, ask);
    struct la_slice want = k->flushing ? LA_SLICE("OK") : LA_SLICE("VERSION");
    const char *end = memchr(p, '\n', n);
    *used = end ? (size_t)(end - p) + 1 : 0;
    if (end == NULL)
        return n > 256 ? LA_ASK_BAD : LA_ASK_MORE;
    return *used > want.n && memcmp(p, want.p, want.n) == 0 ? LA_ASK_DONE : LA_ASK_BAD;
}

static void on_probe_over(struct la_ask *a, enum la_err e)
{
    struct probe *k = la_container(a, struct probe, ask);
    struct la_server *s = k->outlet->pool.server;
    bool returns = e == LA_OK && k->line == NULL;
    if (returns && k->branch->conf->memcached.flush_on_return && !k->flushing) {
        k->flushing = true;
        probe_send(k, LA_SLICE("flush_all\r\n"));
        return;
    }
    if (returns) {
        la_health_ok(&s->health, la_loop_now_ns(k->outlet->clock.loop));
        la_log_notice("server %s of upstream %s is up again", s->label, k->branch->shared->name);
    }
    la_lanes_forget(&k->lanes);
    la_branch_drop(k->branch);
    free(k);
}

static const struct la_ask_events probe_events = {
    .goodbye = "quit\r\n", .reply = on_probe_reply, .over = on_probe_over};

static void probe_send(struct probe *k, struct la_slice what)
{
    uint64_t now = la_loop_now_ns(k->outlet->clock.loop);
    k->ask = (struct la_ask){
        .on = &probe_events, .head = what, .due_ns = now + k->branch->conf->health.timeout_ms * 1000000u};
    if (k->line)
        la_line_ask(k->line, &k->lanes, &k->ask);
    else
        la_lines_ask(k->outlet, &k->lanes, &k->ask);
}

static void probe_new(struct la_outlet *o, struct la_line *l)
{
    struct probe *k = la_xcalloc(1, sizeof *k);
    la_list_init(&k->lanes);
    k->outlet = o;
    k->line = l;
    k->branch = o->branch;
    la_branch_hold(k->branch);
    probe_send(k, LA_SLICE("version\r\n"));
}

/* A line on which nothing happens: is the server still there? It is better known before somebody asks. */
static void on_quiet(struct la_outlet *o, struct la_line *l)
{
    if (la_health_up(&o->pool.server->health))
        probe_new(o, l);
    else
        la_moutlet_usable(o);
}

bool la_moutlet_usable(struct la_outlet *o)
{
    struct la_health *h = &o->pool.server->health;
    uint64_t now = la_loop_now_ns(o->clock.loop);
    bool probe;
    if (la_likely(la_health_up(h)))
        return true;
    if (!la_health_usable(h, now, &probe) || !probe || o->retired || !la_health_claim_probe(h, now))
        return false;
    probe_new(o, NULL);
    return false;
}

/* ---- the request ---- */

static size_t part_size(unsigned slots, size_t out_cap)
{
    return sizeof(struct la_mpart) + slots * sizeof(struct la_mslot) + out_cap;
}

struct la_mpart *la_mpart_new(struct la_mcommand *m, struct la_outlet *o, size_t out_cap, unsigned slots)
{
    struct la_mpart *p = la_mem_get(m->env, part_size(slots, out_cap));
    if (p == NULL)
        return NULL;
    memset(p, 0, sizeof *p);
    p->out = (char *)(p->slot + slots);
    p->slots = slots;
    p->out_cap = out_cap;
    p->command = m;
    p->outlet = o;
    if (m->server == NULL)
        m->server = o->pool.server->label;
    la_list_init(&p->node);
    la_list_push_back(&m->parts, &p->node);
    return p;
}

void la_mpart_free(struct la_mpart *p)
{
    struct la_mcommand *m = p->command;
    la_assert(p->ask.lane == NULL);
    la_mpart_forget(p);
    if (p->body)
        la_spool_free(&p->body);
    free(p->dir);
    la_list_remove(&p->node);
    la_mem_put(m->env, p, part_size(p->slots, p->out_cap));
}

static bool is_safe(const struct la_mcommand *m)
{
    return m->verb == LA_MEMC_GET || m->verb == LA_MEMC_GETS || m->verb == LA_MEMC_VERSION ||
           m->verb == LA_MEMC_ME;
}

void la_mpart_submit(struct la_mpart *p)
{
    struct la_mcommand *m = p->command;
    struct la_mclient *c = m->client;
    static const enum la_memc_expect expect[] = {
        [LA_MEMC_SHAPE_KEYS] = LA_MEMC_EXPECT_VALUES,     [LA_MEMC_SHAPE_STATS] = LA_MEMC_EXPECT_STATS,
        [LA_MEMC_SHAPE_META] = LA_MEMC_EXPECT_META,       [LA_MEMC_SHAPE_META_STORE] = LA_MEMC_EXPECT_META,
        [LA_MEMC_SHAPE_META_DEBUG] = LA_MEMC_EXPECT_LINE,
    };
    la_memc_reply_init(&p->reply, m->shape < la_count(expect) ? expect[m->shape] : LA_MEMC_EXPECT_LINE);
    p->ask.on = &part_events;
    p->ask.head = la_slice(p->out, p->out_n);
    p->ask.body_n = p->body ? la_spool_unread(p->body) : 0;
    p->ask.due_ns = m->due_ns;
    p->ask.safe = is_safe(m);
    bool reads = m->shape == LA_MEMC_SHAPE_KEYS || m->verb == LA_MEMC_MG;
    p->ask.bulk = p->out_n + p->ask.body_n >= LA_BULK_BYTES || (reads && c && c->bulk);
    if (c && p->out_n + p->ask.body_n >= LA_BULK_BYTES)
        c->bulk = 8;
    m->live++;
    m->waits_for_data = false;
    p->outlet->lines.quiet = on_quiet;
    la_lines_ask(p->outlet, c ? &c->lanes : &m->lanes, &p->ask);
}

static struct la_slice pull(struct la_ask *a)
{
    return la_spool_peek(la_container(a, struct la_mpart, ask)->body);
}

static void pulled(struct la_ask *a, size_t n)
{
    la_spool_consume(la_container(a, struct la_mpart, ask)->body, n);
}

/* ---- the reply ---- */

static void store(struct la_mpart *p, struct la_slice s)
{
    struct la_mcommand *m = p->command;
    p->store_in += s.n;
    if (m->client == NULL || m->noreply || p->no_memory)
        return;
    if (!la_mpart_keep(p, s))
        p->no_memory = true;
    la_mclient_pump_soon(m->client);
}

/* The key without this listener's prefix. False: it is not there. */
static bool strip(const struct la_mcommand *m, struct la_slice *key)
{
    if (key->n < m->prefix_n || memcmp(key->p, m->prefix, m->prefix_n) != 0)
        return false;
    key->p += m->prefix_n;
    key->n -= m->prefix_n;
    return true;
}

static void big_value(struct la_mpart *p, uint64_t size)
{
    struct la_mclient *c = p->command->client;
    if (c && size >= LA_BULK_BYTES)
        c->bulk = 8;
}

/* A VALUE line of get and the like: for which of the keys that are still open? *kept: what of it is to be stored, with the
 * data that follow. */
static bool match(struct la_mpart *p, const struct la_memc_line *l, struct la_slice *kept)
{
    struct la_mcommand *m = p->command;
    struct la_slice key = l->key;
    if (!strip(m, &key))
        return false;
    unsigned i = p->decided;
    for (; i < p->keys; i++) {
        const struct la_mkey *k = &m->key[p->slot[i].index];
        if (la_slice_eq(key, la_slice(m->names + k->at, k->n)))
            break;
        p->slot[i].end = 0;
    }
    if (i == p->keys)
        return false;
    if (m->prefix_n) {
        store(p, LA_SLICE("VALUE "));
        store(p, key);
        store(p, l->rest);
        store(p, LA_SLICE("\r\n"));
        *kept = (struct la_slice){0};
    } else {
        *kept = l->bytes;
    }
    p->slot[i].end = p->store_in + kept->n + l->size + 2;
    p->decided = i + 1;
    p->hit = true;
    m->hits++;
    la_mcommand_result(m, "VALUE", 5);
    la_stat_add(&m->branch->stats->hits, 1);
    big_value(p, l->size);
    return true;
}

/* Meta: the key in the reply is the client's. */
static void store_meta(struct la_mpart *p, struct la_slice line)
{
    struct la_mcommand *m = p->command;
    struct la_slice rest = line, word;
    bool first = true, name = m->shape == LA_MEMC_SHAPE_META_DEBUG;
    bool encoded = la_memc_flag(line, 'b').p != NULL; /* the server's word, not the request's */
    while (la_memc_next_key(&rest, &word)) {
        char plain[2 * LA_MEMC_KEY_MAX], text[LA_MEMC_REPLY_MAX];
        struct la_slice key = name ? word : la_slice(word.p + 1, word.n - 1);
        size_t n;
        if (!first)
            store(p, LA_SLICE(" "));
        if (first || !(name ? true : word.p[0] == 'k' && m->wants_key)) {
            store(p, word);
        } else if (encoded && !name && la_base64_decode(key, plain, sizeof plain, &n)) {
            key = la_slice(plain, n);
            strip(m, &key);
            n = la_base64_encode(key, text, sizeof text);
            store(p, LA_SLICE("k"));
            store(p, la_slice(text, n));
        } else {
            strip(m, &key);
            if (!name)
                store(p, LA_SLICE("k"));
            store(p, key);
        }
        name = name && first;
        first = false;
    }
    store(p, LA_SLICE("\r\n"));
}

static bool begins(struct la_slice s, const char *w)
{
    return s.n >= strlen(w) && memcmp(s.p, w, strlen(w)) == 0;
}

/* A line that is the whole answer, or the first of it. */
static void store_line(struct la_mpart *p, const struct la_memc_line *l, bool error)
{
    struct la_mcommand *m = p->command;
    p->error_line = error;
    p->hidden = !error && m->quiet && la_memc_quiet_hides(m->verb, l->bytes);
    if (p->hidden)
        return;
    la_mcommand_result(m, l->bytes.p, l->bytes.n);
    if (m->verb == LA_MEMC_MG) {
        m->hits += !begins(l->bytes, "EN");
        m->missed += begins(l->bytes, "EN");
    }
    if (m->verb == LA_MEMC_MG)
        la_stat_add(begins(l->bytes, "EN") ? &m->branch->stats->misses : &m->branch->stats->hits, 1);
    bool meta = m->shape == LA_MEMC_SHAPE_META || m->shape == LA_MEMC_SHAPE_META_STORE ||
                m->shape == LA_MEMC_SHAPE_META_DEBUG;
    if (meta && m->prefix_n && !error)
        store_meta(p, la_slice(l->bytes.p, l->bytes.n - 2));
    else
        store(p, l->bytes);
}

/* Is the first line of a meta reply this command's? */
static bool is_mine(const struct la_mpart *p, const struct la_memc_line *l, bool value)
{
    struct la_slice flags = l->bytes, first;
    if (p->reply.expect != LA_MEMC_EXPECT_META)
        return true;
    if (value)
        return la_memc_meta_matches(p->ask.head, l->rest);
    flags.n -= 2;
    la_memc_next_key(&flags, &first);
    return la_memc_meta_matches(p->ask.head, flags);
}

static void decide_rest(struct la_mpart *p)
{
    for (; p->decided < p->keys; p->decided++)
        p->slot[p->decided].end = 0;
}

static enum la_ask_result on_reply(struct la_ask *a, const char *at, size_t n, size_t *used)
{
    struct la_mpart *p = la_container(a, struct la_mpart, ask);
    struct la_mcommand *m = p->command;
    struct la_slice head = {0}; /* a VALUE line whose data lie behind it: one copy */
    for (;;) {
        struct la_memc_line l;
        size_t k;
        enum la_memc_piece piece = la_memc_reply_feed(&p->reply, at + *used, n - *used, &k, &l);
        *used += k;
        switch (piece) {
        case LA_MEMC_PIECE_NONE:
            if (head.n)
                store(p, head);
            return LA_ASK_MORE;
        case LA_MEMC_PIECE_BAD: return LA_ASK_BAD;
        case LA_MEMC_PIECE_VALUE:
            if (m->shape == LA_MEMC_SHAPE_KEYS) {
                if (!match(p, &l, &head))
                    return LA_ASK_BAD;
            } else if (!is_mine(p, &l, true)) {
                return LA_ASK_BAD;
            } else {
                p->wants_data = true;
                store_line(p, &l, false);
                big_value(p, l.size);
            }
            break;
        case LA_MEMC_PIECE_DATA:
            if (!p->hidden)
                store(p, head.n ? la_slice(head.p, head.n + l.bytes.n) : l.bytes);
            head.n = 0;
            break;
        case LA_MEMC_PIECE_STAT: store(p, l.bytes); break;
        case LA_MEMC_PIECE_LAST:
            if (!p->wants_data && (!la_memc_answers(m->verb, l.bytes) || !is_mine(p, &l, false)))
                return LA_ASK_BAD;
            if (m->shape == LA_MEMC_SHAPE_KEYS)
                decide_rest(p);
            else if (!p->wants_data)
                store_line(p, &l, false);
            else if (!p->hidden)
                store(p, l.bytes);
            return LA_ASK_DONE;
        case LA_MEMC_PIECE_ERROR: store_line(p, &l, true); return LA_ASK_DONE;
        }
    }
}

/* Nothing of it has been kept: the reply may come anew. */
static bool on_restart(struct la_ask *a)
{
    struct la_mpart *p = la_container(a, struct la_mpart, ask);
    if (p->store_in || p->decided || p->wants_data)
        return false;
    la_memc_reply_init(&p->reply, p->reply.expect);
    return true;
}

/* Sends it somewhere else. */
static void again(struct la_mpart *p, struct la_outlet *o)
{
    p->outlet = o;
    p->decided = 0;
    p->command->live--;
    la_mpart_submit(p);
}

/* A value that the other upstream still had is kept here; nobody waits for that. */
static void keep_warm(struct la_mpart *p)
{
    struct la_mcommand *m = p->command;
    struct la_outlet *o = la_moutlet_for(m->front, la_slice(m->names + m->key[0].at, m->key[0].n));
    struct la_mpiece *piece = p->store.first;
    const char *end = piece ? memchr(piece->p, '\n', piece->n) : NULL;
    if (o == NULL || end == NULL || p->store.n > LA_BULK_BYTES)
        return;
    struct la_slice line = {piece->p, (size_t)(end - piece->p) - 1}, key, flags, size;
    la_memc_next_key(&line, &key); /* VALUE */
    la_memc_next_key(&line, &key);
    la_memc_next_key(&line, &flags);
    la_memc_next_key(&line, &size);
    struct la_mcommand *n = la_mcommand_detached(m);
    if (n == NULL)
        return;
    n->verb = LA_MEMC_ADD;
    n->shape = LA_MEMC_SHAPE_STORE;
    size_t head = (size_t)(end - piece->p) + 1;
    struct la_mpart *q = la_mpart_new(n, o, 512 + p->store.n, 0);
    if (q == NULL) {
        la_mcommand_orphan(n);
        return;
    }
    q->out_n = (size_t)snprintf(q->out, q->out_cap, "add %.*s%.*s %.*s %llu %.*s\r\n", (int)m->prefix_n,
                                m->prefix, LA_SLICE_ARGS(key), LA_SLICE_ARGS(flags),
                                (unsigned long long)m->branch->conf->memcached.warm_exptime_ms / 1000,
                                LA_SLICE_ARGS(size));
    for (; piece; piece = piece->next) {
        size_t skip = piece == p->store.first ? head : 0;
        memcpy(q->out + q->out_n, piece->p + skip, piece->n - skip);
        q->out_n += piece->n - skip;
    }
    la_mpart_submit(q);
}

static void on_over(struct la_ask *a, enum la_err e)
{
    struct la_mpart *p = la_container(a, struct la_mpart, ask);
    struct la_mcommand *m = p->command;
    struct la_front *f = m->front;
    if (e != LA_OK && e != LA_DRAINING && f->pipe.failover && !p->rerouted && p->body == NULL &&
        p->store_in == 0 && (a->sent == 0 || a->safe) && m->client && p->outlet->branch != f->pipe.failover) {
        struct la_slice key =
            p->keys ? la_slice(m->names + m->key[p->slot[0].index].at, m->key[p->slot[0].index].n) : la_slice("", 0);
        struct la_outlet *o = p->keys == 1 ? find(f->pipe.failover, key) : NULL;
        p->rerouted = true;
        if (o && la_moutlet_usable(o)) {
            m->due_ns =
                la_loop_now_ns(m->env->loop) + f->pipe.failover->conf->timeouts.response_ms * 1000000u;
            again(p, o);
            return;
        }
    }
    bool missed = e == LA_OK && m->verb == LA_MEMC_GET && m->keys == 1 && !p->hit && !p->error_line;
    if (missed && f->pipe.warm && !p->warming && m->client) {
        struct la_outlet *o = find(f->pipe.warm, la_slice(m->names + m->key[0].at, m->key[0].n));
        if (o && la_moutlet_usable(o)) {
            p->warming = true;
            again(p, o);
            return;
        }
    }
    if (p->warming && e != LA_OK) /* it missed where it should be: that is the answer */
        e = LA_OK;
    if (e == LA_OK && m->shape == LA_MEMC_SHAPE_KEYS && !p->error_line)
        decide_rest(p);
    if (p->warming && p->hit && e == LA_OK && m->client && p->store.n == p->store_in)
        keep_warm(p);
    p->err = p->no_memory ? LA_MEMORY : e;
    p->over = true;
    p->unsent = a->sent == 0 && !a->again;
    p->spoke = a->answered;
    if (p->spill)
        la_spool_push(p->spill);
    la_mcommand_part_over(m, p);
}

static const struct la_ask_events part_events = {
    .goodbye = "quit\r\n", .reply = on_reply, .restart = on_restart, .over = on_over, .pull = pull, .pulled = pulled};
