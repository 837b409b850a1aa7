/* memcached_keys.c: commands of many keys: get, gets, gat, gats. Which server is asked for which keys, and the
 * blocks of the answer in the order asked.
 *
 * Owns: nothing of its own; the keys and the parts are the command's. Never: the socket, what a server says.
 *
 * Good path: la_mkeys_take -> la_mkeys_issue, a few dozen keys to a part, some parts at a time ->
 * la_mkeys_emit moves each key's block to the client while it is complete, then END.
 *
 * What can fail: a part. Its keys miss, or the answer ends in an error, as la_mcommand_excuses says. A block that was
 * begun and cannot be ended ends the client's connection. */
#include "memcached.h"

#define PART_BYTES    4096u /* get and gets; in pieces, a server hears any other line only up to LA_MEMC_LINE_MAX */
#define PARTS_AT_ONCE 32u
#define PARTS_OF_BULK 8u /* of large values: a line carries one such part at a time, and each has its time */

/* ---- asking ---- */

static struct la_slice key_at(const struct la_mcommand *m, size_t i)
{
    return la_slice(m->names + m->key[i].at, m->key[i].n);
}

/* Room for its keys lies behind the command itself. */
bool la_mkeys_take(struct la_mcommand *m, const struct la_memc_request *r)
{
    struct la_slice all, key;
    m->head_n = la_memc_write_verb(r, m->head, sizeof m->head);
    if (m->head_n == 0)
        return false;
    m->keys = r->keys_n;
    m->key = (struct la_mkey *)(void *)(m + 1);
    m->names = (char *)(m->key + m->keys);
    memcpy(m->names, r->keys.p, r->keys.n);
    all = la_slice(m->names, r->keys.n);
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
        la_mpart_add(p, "\r\n", 2);
        open[i] = open[--*opens];
        la_mpart_submit(p);
        break;
    }
    bool touches = m->verb == LA_MEMC_GAT || m->verb == LA_MEMC_GATS;
    size_t left = m->keys - m->issued, cap = touches ? LA_MEMC_LINE_MAX : PART_BYTES;
    if (left == 1)
        cap = m->head_n + m->prefix_n + key_n + 3;
    struct la_mpart *p =
        *opens < PARTS_AT_ONCE * 2 ? la_mpart_new(m, o, cap, (unsigned)la_min64(left, LA_MPART_KEYS)) : NULL;
    if (p == NULL)
        return NULL;
    memcpy(p->out, m->head, m->head_n);
    p->out_n = m->head_n;
    return open[(*opens)++] = p;
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
        if (!la_mcommand_misses(m))
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
            la_mpart_add(p, " ", 1);
            la_mpart_add(p, m->prefix, m->prefix_n);
            la_mpart_add(p, key.p, key.n);
        }
    }
    m->issued++;
}

void la_mkeys_issue(struct la_mcommand *m)
{
    struct la_mclient *c = m->client;
    struct la_mpart *open[PARTS_AT_ONCE * 2];
    unsigned opens = 0, most = c->bulk ? 4 : LA_MPART_KEYS;
    unsigned parts = c->bulk ? PARTS_OF_BULK : PARTS_AT_ONCE;
    if (m->branch == NULL)
        return;
    if (m->issued) /* the client may have taken its time with what came before */
        m->due_ns = la_loop_now_ns(m->env->loop) + m->branch->conf->timeouts.response_ms * 1000000u;
    while (m->issued < m->keys && m->live + opens < parts &&
           (m->live + opens == 0 || c->held + c->out.n < m->branch->conf->buffer.response_bytes))
        issue_key(m, open, &opens, most);
    for (unsigned i = 0; i < opens; i++) {
        la_mpart_add(open[i], "\r\n", 2);
        la_mpart_submit(open[i]);
    }
}

/* ---- the answer ---- */

/* The next key's block, as far as it is there. False: more of it is to come. */
static bool emit_key(struct la_mcommand *m)
{
    struct la_mkey *k = &m->key[m->emitted];
    struct la_mpart *p = k->part;
    if (k->missing)
        return true;
    bool lost = p->no_memory || (p->over && p->err != LA_OK);
    if (k->slot >= p->decided) {
        if (p->over && (p->error_line || (lost && !la_mcommand_excuses(m, p))))
            m->failed = p->err ? p->err : LA_RESPONSE_BAD;
        return p->over;
    }
    if (p->slot[k->slot].end == 0)
        return true;
    if (lost && p->kept < p->slot[k->slot].end && m->emitted_of == 0) { /* the rest will not come */
        if (!la_mcommand_excuses(m, p))
            m->failed = p->no_memory ? LA_MEMORY : p->err;
        return true;
    }
    uint64_t wanted = p->slot[k->slot].end - (p->kept - la_mpart_has(p));
    if (m->emitted_of == 0 && wanted <= LA_MEMC_WHOLE && la_mpart_has(p) < wanted && !lost)
        return false;
    uint64_t n = la_mcommand_give(m, p, wanted);
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

bool la_mkeys_emit(struct la_mcommand *m)
{
    for (;;) {
        if (m->issued < m->keys)
            la_mkeys_issue(m);
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
            if (!la_mcommand_excuses(m, p)) /* its END never came */
                m->failed = p->err;
            keep_error_line(m, p);
            la_mpart_free(p);
        }
        m->emitted++;
        m->emitted_of = 0;
    }
    if (m->failed == LA_BAD_REQUEST)
        la_mcommand_give_text(m, "CLIENT_ERROR bad command line format\r\n");
    else if (m->local)
        la_mcommand_give_text(m, m->local);
    else if (m->failed)
        la_mcommand_give_text(m, la_merror_text(m->failed, m->text, sizeof m->text));
    else
        la_mcommand_give_text(m, "END\r\n");
    return la_mcommand_done(m, m->failed);
}
