/* memcached_spill.c: what a part holds of a reply for its client: in memory first; when the client holds as
 * much as it may, in a spool. A connection to a server is never made to wait for a slow client, so what the
 * spool has no room for at the moment waits behind it in memory. Beyond limits.memory and limits.disk the
 * rest of the reply is dropped, and the client is told or hung up on. One thread. */
#include "memcached.h"

#define SPOOL_MEMORY 4096u /* there may be many of them */

static void on_ready(void *arg)
{
    struct la_mpart *p = arg;
    struct la_mcommand *m = p->command;
    while (p->late.n) {
        struct la_mpiece *piece = p->late.first;
        size_t n = la_min64(piece->n - piece->at, la_spool_room(p->spill));
        if (n == 0)
            break;
        if (la_spool_write(p->spill, piece->p + piece->at, n) != LA_OK)
            break;
        if (m->client)
            m->client->held -= n;
        la_mstore_consume(m->env, &p->late, n);
    }
    if (m->client)
        la_mclient_pump_soon(m->client);
}

static bool wants_spill(const struct la_mpart *p)
{
    const struct la_mcommand *m = p->command;
    const struct la_conf_upstream *u = m->branch->conf;
    bool values = m->shape == LA_MEMC_SHAPE_KEYS || m->shape == LA_MEMC_SHAPE_META;
    return p->spill || (values && u->buffer.response_file_bytes &&
                        m->client->held + m->client->out.n >= u->buffer.response_bytes);
}

static bool spill(struct la_mpart *p, struct la_slice s)
{
    struct la_mcommand *m = p->command;
    struct la_env *e = m->env;
    if (p->spill == NULL) {
        if (p->dir == NULL)
            p->dir = la_xstrdup(m->front->pipe.dir);
        struct la_spool_conf conf = {.loop = e->loop,
                                     .filer = e->filer,
                                     .bounds = e->bounds,
                                     .dir = p->dir,
                                     .mem_bytes = SPOOL_MEMORY,
                                     .file_bytes = m->branch->conf->buffer.response_file_bytes};
        p->spill = la_spool_new(&conf, on_ready, p);
        if (p->spill == NULL)
            return false;
    }
    size_t now = p->late.n ? 0 : la_min64(s.n, la_spool_room(p->spill));
    if (now && la_spool_write(p->spill, s.p, now) != LA_OK)
        return false;
    p->kept += now;
    if (now == s.n)
        return true;
    if (!la_mstore_add(e, &p->late, s.p + now, s.n - now))
        return false;
    p->kept += s.n - now;
    m->client->held += s.n - now;
    return true;
}

bool la_mpart_keep(struct la_mpart *p, struct la_slice s)
{
    struct la_mcommand *m = p->command;
    if (wants_spill(p))
        return spill(p, s);
    if (!la_mstore_add(m->env, &p->store, s.p, s.n))
        return false;
    p->kept += s.n;
    m->client->held += s.n;
    return true;
}

uint64_t la_mpart_has(const struct la_mpart *p)
{
    return p->store.n + (p->spill ? la_spool_unread(p->spill) : 0) + p->late.n;
}

uint64_t la_mpart_give(struct la_mpart *p, uint64_t most)
{
    struct la_mcommand *m = p->command;
    struct la_mclient *c = m->client;
    uint64_t given = 0;
    if (p->store.n) {
        given = la_min64(most, p->store.n);
        c->held -= given;
        la_mstore_move(m->env, &p->store, &c->out, given);
    }
    if (p->spill == NULL)
        return given;
    c->abort |= la_spool_error(p->spill) != LA_OK; /* what it held will not come */
    uint64_t bound = m->branch ? m->branch->conf->buffer.response_bytes : UINT64_MAX;
    while (given < most && c->out.n < bound) {
        struct la_slice s = la_spool_peek(p->spill);
        s.n = la_min64(s.n, most - given);
        if (s.n == 0)
            break;
        if (!la_mstore_add(m->env, &c->out, s.p, s.n)) {
            c->abort |= c->out.n == 0; /* nothing would tell when there is memory again */
            break;
        }
        la_spool_consume(p->spill, s.n);
        given += s.n;
    }
    if (la_spool_unread(p->spill) == 0 && p->late.n && given < most) {
        uint64_t n = la_min64(most - given, p->late.n);
        c->held -= n;
        la_mstore_move(m->env, &p->late, &c->out, n);
        given += n;
    }
    return given;
}

void la_mpart_forget(struct la_mpart *p)
{
    struct la_mcommand *m = p->command;
    if (m->client)
        m->client->held -= p->store.n + p->late.n;
    la_mstore_clear(m->env, &p->store);
    la_mstore_clear(m->env, &p->late);
    if (p->spill)
        la_spool_free(&p->spill);
}
