/* slab.h (layer: base): fixed-size objects in chunks, one thread, no lock. What is freed is reused last in, first out;
 * chunks that are wholly free are given back when a few of them exist.
 *
 * la_slab_get may return NULL (allocation failed): the caller sheds the work. */
#ifndef LASTACK_SLAB_H
#define LASTACK_SLAB_H

#include "lastack/list.h"

struct la_slab {
    size_t item_bytes; /* as asked, rounded up to 16 */
    size_t per_chunk, chunk_bytes; /* a power of two, and a chunk is aligned to it */
    size_t in_use;
    struct la_list partial, full, empty;
    size_t empty_chunks;
};
void la_slab_init(struct la_slab *s, size_t item_bytes, size_t per_chunk);
void la_slab_fini(struct la_slab *s); /* every item must have been put back */
void *la_slab_get(struct la_slab *s); /* not cleared */
void la_slab_put(struct la_slab *s, void *item);

#endif
