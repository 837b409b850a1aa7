/* memcached_store.c: bytes on their way to a client, in pieces that are charged to limits.memory and change
 * hands whole where that saves a copy. An empty store holds nothing, so memory goes back as soon as a burst
 * is over. One thread. */
#include "memcached.h"

#include <stdlib.h>

void *la_mem_get(struct la_env *e, size_t n)
{
    if (!la_bounds_take_memory(e->bounds, n))
        return NULL;
    void *p = malloc(n ? n : 1);
    if (p == NULL)
        la_bounds_give_memory(e->bounds, n);
    return p;
}

void la_mem_put(struct la_env *e, void *p, size_t n)
{
    if (p == NULL)
        return;
    la_bounds_give_memory(e->bounds, n);
    free(p);
}

static void piece_free(struct la_env *e, struct la_mpiece *p)
{
    la_mem_put(e, p, sizeof *p + p->cap);
}

bool la_mstore_add(struct la_env *e, struct la_mstore *s, const void *from, size_t n)
{
    struct la_mpiece *last = s->last;
    size_t room = last ? last->cap - last->n : 0, first = la_min64(room, n);
    struct la_mpiece *more = NULL;
    if (n > first) {
        size_t cap = la_max64(n - first, s->n > 2048 ? 16384 : 240);
        if ((more = la_mem_get(e, sizeof *more + cap)) == NULL)
            return false;
        *more = (struct la_mpiece){.cap = (uint32_t)cap};
    }
    if (first) {
        memcpy(last->p + last->n, from, first);
        last->n += (uint32_t)first;
    }
    if (more) {
        memcpy(more->p, (const char *)from + first, n - first);
        more->n = (uint32_t)(n - first);
        if (last)
            last->next = more;
        else
            s->first = more;
        s->last = more;
    }
    s->n += n;
    return true;
}

void la_mstore_consume(struct la_env *e, struct la_mstore *s, uint64_t n)
{
    s->n -= n;
    while (s->first && (n || s->first->at == s->first->n)) {
        struct la_mpiece *p = s->first;
        uint32_t k = (uint32_t)la_min64(n, p->n - p->at);
        p->at += k;
        n -= k;
        if (p->at < p->n)
            return;
        s->first = p->next;
        if (s->first == NULL)
            s->last = NULL;
        piece_free(e, p);
    }
}

void la_mstore_clear(struct la_env *e, struct la_mstore *s)
{
    la_mstore_consume(e, s, s->n);
}

void la_mstore_move(struct la_env *e, struct la_mstore *from, struct la_mstore *to, uint64_t n)
{
    while (n) {
        struct la_mpiece *p = from->first;
        uint64_t has = p->n - p->at;
        if (has <= n && (has > 200 || to->last == NULL)) { /* whole: it changes hands */
            from->first = p->next;
            if (from->first == NULL)
                from->last = NULL;
            from->n -= has;
            p->next = NULL;
            if (to->last)
                to->last->next = p;
            else
                to->first = p;
            to->last = p;
            to->n += has;
            n -= has;
            continue;
        }
        uint64_t k = la_min64(has, n);
        if (!la_mstore_add(e, to, p->p + p->at,
                           k)) { /* little, and it is on its way out: over the bound, once */
            atomic_fetch_add_explicit(&e->bounds->memory_used, sizeof *p + k, memory_order_relaxed);
            struct la_mpiece *more = la_xcalloc(1, sizeof *more + k);
            *more = (struct la_mpiece){.n = (uint32_t)k, .cap = (uint32_t)k};
            memcpy(more->p, p->p + p->at, k);
            if (to->last)
                to->last->next = more;
            else
                to->first = more;
            to->last = more;
            to->n += k;
        }
        la_mstore_consume(e, from, k);
        n -= k;
    }
}
