/* memcached_server.c: a command's part at a server: the request on a line, the reply taken apart.
 *
 * Owns: the part. Never: which server that is (memcached_outlet.c), the order of answers (memcached_command.c),
 * connections (lines).
 *
 * Good path: la_moutlet_for a key -> la_mpart_new -> (data) -> la_mpart_submit -> replies are matched, key by key, and
 * stored -> over -> the command is told.
 *
 * A reply with a key, or an opaque, that was not asked for loses the line: nothing on it can be trusted. */
#include "memcached.h"

#include <stdio.h>
#include <stdlib.h>

static const struct la_ask_events part_events;

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
    if (m->server == NULL && m->log)
        m->server = la_server_ref(o->pool.server);
    if (m->shape == LA_MEMC_SHAPE_STATS)
        p->server = la_server_ref(o->pool.server);
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
    if (p->server)
        la_server_unref(&p->server);
    la_list_remove(&p->node);
    la_mem_put(m->env, p, part_size(p->slots, p->out_cap));
}

static bool is_safe(const struct la_mcommand *m)
{
    return m->verb == LA_MEMC_GET || m->verb == LA_MEMC_GETS || m->verb == LA_MEMC_VERSION ||
           m->verb == LA_MEMC_ME;
}

/* The other upstream's server that this one may be asked of. NULL: none. */
static struct la_outlet *other_outlet(const struct la_mpart *p)
{
    const struct la_mcommand *m = p->command;
    struct la_branch *other = m->front->pipe.failover;
    if (other == NULL || p->rerouted || p->warming || p->keys != 1 || p->body || m->client == NULL || p->outlet->branch == other)
        return NULL;
    const struct la_mkey *k = &m->key[p->slot[0].index];
    struct la_outlet *o = la_moutlet_find(other, la_slice(m->names + k->at, k->n));
    return o && la_moutlet_usable(o) ? o : NULL;
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
    p->ask.safe = is_safe(m);
    p->ask.due_ns = m->due_ns;
    if (p->ask.safe && other_outlet(p)) { /* half of its time is for that one */
        uint64_t now = la_loop_now_ns(m->env->loop);
        p->ask.due_ns = now + (m->due_ns > now ? (m->due_ns - now) / 2 : 0);
    }
    bool reads = m->shape == LA_MEMC_SHAPE_KEYS || m->verb == LA_MEMC_MG;
    p->ask.bulk = p->out_n + p->ask.body_n >= LA_BULK_BYTES || (reads && c && c->bulk);
    if (c && p->out_n + p->ask.body_n >= LA_BULK_BYTES)
        c->bulk = 8;
    m->live++;
    m->waits_for_data = false;
    p->outlet->lines.quiet = la_moutlet_quiet;
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

/* The same of one in base64, which lies in text afterwards; what is no base64 stays. */
static void strip_encoded(const struct la_mcommand *m, struct la_slice *key, char text[LA_MEMC_REPLY_MAX])
{
    char plain[2 * LA_MEMC_KEY_MAX];
    size_t n;
    if (!la_base64_decode(*key, plain, sizeof plain, &n))
        return;
    struct la_slice bare = la_slice(plain, n);
    strip(m, &bare);
    *key = la_slice(text, la_base64_encode(bare, text, LA_MEMC_REPLY_MAX));
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
    /* The server's word, not the request's. ME has none for it: there a key without the prefix is encoded. */
    bool encoded = !name && la_memc_flag(line, 'b').p != NULL;
    while (la_memc_next_key(&rest, &word)) {
        char text[LA_MEMC_REPLY_MAX];
        struct la_slice key = name ? word : la_slice(word.p + 1, word.n - 1);
        if (!first)
            store(p, LA_SLICE(" "));
        if (first || !(name ? true : word.p[0] == 'k' && m->wants_key)) {
            store(p, word);
        } else {
            bool bare = !encoded && strip(m, &key);
            if (!bare)
                strip_encoded(m, &key, text);
            if (!name)
                store(p, LA_SLICE("k"));
            store(p, key);
        }
        name = name && first;
        first = false;
    }
    store(p, LA_SLICE("\r\n"));
}

const char *la_mcommand_meta_miss(struct la_mcommand *m, struct la_slice line)
{
    char encoded[LA_MEMC_REPLY_MAX];
    struct la_slice rest = la_slice(line.p, line.n - 2), word, key;
    la_memc_next_key(&rest, &word);
    la_memc_next_key(&rest, &key);
    bool binary = la_memc_flag(rest, 'b').p != NULL;
    size_t at = (size_t)snprintf(m->text, sizeof m->text, "EN");
    if (binary)
        strip_encoded(m, &key, encoded);
    else
        strip(m, &key);
    while (la_memc_next_key(&rest, &word))
        if (word.p[0] == 'O')
            at += (size_t)snprintf(m->text + at, sizeof m->text - at, " %.*s", LA_SLICE_ARGS(word));
        else if (word.p[0] == 'k' && m->wants_key)
            at += (size_t)snprintf(m->text + at, sizeof m->text - at, " k%.*s%s", LA_SLICE_ARGS(key), binary ? " b" : "");
    snprintf(m->text + at, sizeof m->text - at, "\r\n");
    return m->text;
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
        case LA_MEMC_PIECE_ERROR:
            if (!p->warming || p->store_in) /* else it missed where it should be: that is the answer */
                store_line(p, &l, true);
            return LA_ASK_DONE;
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
    if (o == NULL || end == NULL || p->store.n > LA_BULK_BYTES || p->slot[0].end != p->store_in)
        return; /* the value, and no more */
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

static bool time_to_look_elsewhere(const struct la_mcommand *m)
{
    uint64_t enough = m->branch ? m->branch->conf->timeouts.response_ms * 1000000u / 4 : 0;
    return m->due_ns > la_loop_now_ns(m->env->loop) + enough;
}

static void on_over(struct la_ask *a, enum la_err e)
{
    struct la_mpart *p = la_container(a, struct la_mpart, ask);
    struct la_mcommand *m = p->command;
    struct la_front *f = m->front;
    bool whole = e != LA_OK && e != LA_DRAINING && p->store_in == 0 && (a->sent == 0 || a->safe);
    struct la_outlet *other = whole && m->due_ns > la_loop_now_ns(m->env->loop) ? other_outlet(p) : NULL;
    if (other) {
        p->rerouted = true;
        again(p, other);
        return;
    }
    bool missed = e == LA_OK && m->verb == LA_MEMC_GET && m->keys == 1 && !p->hit && !p->error_line;
    if (missed && f->pipe.warm && !p->warming && m->client && time_to_look_elsewhere(m)) {
        struct la_outlet *o = la_moutlet_find(f->pipe.warm, la_slice(m->names + m->key[0].at, m->key[0].n));
        if (o && la_moutlet_usable(o)) {
            p->warming = true;
            again(p, o);
            return;
        }
    }
    if (p->warming && e != LA_OK && p->decided == 0) /* it missed where it should be: that is the answer */
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
