/* env.c: a worker's buffers, charged to limits.memory. */
#include "lastack/env.h"

#include <stdlib.h>

void la_env_init(struct la_env *e, struct la_loop *l, struct la_filer *f, struct la_bounds *b, size_t header_bytes)
{
    *e = (struct la_env){.loop = l, .filer = f, .bounds = b};
    e->large_bytes = header_bytes + 4096; /* room behind the largest head for what follows it */
    la_slab_init(&e->small, sizeof(struct la_buf) + LA_SMALL_BUF, 15);
    la_slab_init(&e->large, sizeof(struct la_buf) + e->large_bytes, 4);
    e->scratch = la_xcalloc(1, LA_SCRATCH_BYTES);
    e->request = la_xcalloc(1, sizeof *e->request);
    e->response = la_xcalloc(1, sizeof *e->response);
}

void la_env_fini(struct la_env *e)
{
    la_slab_fini(&e->small);
    la_slab_fini(&e->large);
    free(e->scratch);
    free(e->request);
    free(e->response);
}

static struct la_buf *take(struct la_env *e, bool large)
{
    struct la_buf *b = la_slab_get(large ? &e->large : &e->small);
    if (b == NULL)
        return NULL;
    b->large = large;
    b->cap = (uint32_t)(large ? e->large_bytes : LA_SMALL_BUF);
    b->n = 0;
    return b;
}

struct la_buf *la_buf_get(struct la_env *e, bool large)
{
    size_t cap = large ? e->large_bytes : LA_SMALL_BUF;
    if (!la_bounds_take_memory(e->bounds, cap))
        return NULL;
    struct la_buf *b = take(e, large);
    if (b == NULL)
        la_bounds_give_memory(e->bounds, cap);
    return b;
}

struct la_buf *la_buf_get_anyway(struct la_env *e)
{
    struct la_buf *b = take(e, false);
    if (b)
        atomic_fetch_add_explicit(&e->bounds->memory_used, b->cap, memory_order_relaxed);
    return b;
}

void la_buf_put(struct la_env *e, struct la_buf **bp)
{
    struct la_buf *b = *bp;
    *bp = NULL;
    if (b == NULL)
        return;
    la_bounds_give_memory(e->bounds, b->cap);
    la_slab_put(b->large ? &e->large : &e->small, b);
}

bool la_buf_grow(struct la_env *e, struct la_buf **bp)
{
    if ((*bp)->large)
        return false;
    struct la_buf *b = la_buf_get(e, true);
    if (b == NULL)
        return false;
    memcpy(b->p, (*bp)->p, (*bp)->n);
    b->n = (*bp)->n;
    la_buf_put(e, bp);
    *bp = b;
    return true;
}
