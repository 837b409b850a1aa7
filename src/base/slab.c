/* slab.c: fixed-size objects. A chunk is one aligned block: its header, then items; a free item holds the link. Under the
 * address sanitizer the rest of a free item may not be touched. */
#include "lastack/slab.h"

#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct chunk {
    struct la_list node;
    struct la_slab *slab;
    void *free;
    size_t used;
};

#define KEEP_EMPTY 8 /* chunks: bursts come again */

#define HEAD ((sizeof(struct chunk) + 15) & ~(size_t)15)

void la_slab_init(struct la_slab *s, size_t item_bytes, size_t per_chunk)
{
    *s = (struct la_slab){.item_bytes = (item_bytes + 15) & ~(size_t)15, .per_chunk = per_chunk ? per_chunk : 1};
    for (s->chunk_bytes = 4096; s->chunk_bytes < HEAD + s->item_bytes * s->per_chunk;)
        s->chunk_bytes *= 2;
    /* Use the whole power of two that alignment costs anyway. */
    s->per_chunk = (s->chunk_bytes - HEAD) / s->item_bytes;
    la_list_init(&s->partial);
    la_list_init(&s->full);
    la_list_init(&s->empty);
}

/* An item goes to the chunk's free ones. */
static void link_free(const struct la_slab *s, struct chunk *c, void *item)
{
    *(void **)item = c->free;
    c->free = item;
    ASAN_POISON_MEMORY_REGION((char *)item + sizeof(void *), s->item_bytes - sizeof(void *));
}

static void free_all(struct la_list *l)
{
    struct chunk *c;
    la_list_each(l, c, struct chunk, node)
        free(c);
    la_list_init(l);
}

void la_slab_fini(struct la_slab *s)
{
    la_assert(s->in_use == 0);
    free_all(&s->empty);
    s->empty_chunks = 0;
}

static struct chunk *chunk_new(struct la_slab *s)
{
    struct chunk *c = aligned_alloc(s->chunk_bytes, s->chunk_bytes);
    if (c == NULL)
        return NULL;
    c->slab = s;
    c->used = 0;
    c->free = NULL;
    la_list_init(&c->node);
    char *items = (char *)c + HEAD;
    for (size_t i = s->per_chunk; i-- > 0;)
        link_free(s, c, items + i * s->item_bytes);
    return c;
}

void *la_slab_get(struct la_slab *s)
{
    struct chunk *c = la_list_first(&s->partial, struct chunk, node);
    if (c == NULL) {
        c = la_list_first(&s->empty, struct chunk, node);
        if (c != NULL) {
            s->empty_chunks--;
            la_list_remove(&c->node);
        } else if ((c = chunk_new(s)) == NULL) {
            return NULL;
        }
        la_list_push_front(&s->partial, &c->node);
    }
    void **item = c->free;
    c->free = *item;
    ASAN_UNPOISON_MEMORY_REGION(item, s->item_bytes);
    c->used++;
    s->in_use++;
    if (c->free == NULL) {
        la_list_remove(&c->node);
        la_list_push_back(&s->full, &c->node);
    }
    return item;
}

void la_slab_put(struct la_slab *s, void *item)
{
    struct chunk *c = (struct chunk *)((uintptr_t)item & ~(uintptr_t)(s->chunk_bytes - 1));
    la_assert(c->slab == s && c->used > 0);
    bool was_full = c->free == NULL;
    link_free(s, c, item);
    c->used--;
    s->in_use--;
    if (c->used == 0) {
        la_list_remove(&c->node);
        if (s->empty_chunks >= KEEP_EMPTY) {
            free(c);
        } else {
            la_list_push_back(&s->empty, &c->node);
            s->empty_chunks++;
        }
    } else if (was_full) {
        la_list_remove(&c->node);
        la_list_push_front(&s->partial, &c->node);
    }
}
