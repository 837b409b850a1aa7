/* spool.h (layer: io): a bounded byte queue: first memory, then an unlinked file, whose I/O other threads do.
 *
 * One owner thread (a loop's). Two uses: a request body that is kept for a retry (keep = true: reading moves a
 * cursor, la_spool_rewind goes back to the start), and a response ahead of its client (keep = false: what was consumed
 * is given back at once, and when the reader has caught up with the file, memory is used again).
 *
 * Memory: at most mem_bytes, or mem_most; once a file is in use plus up to three blocks of 64 KiB (one being filled, one on its way to the file,
 * one read back). All of it is charged to the process-wide gauge (limits.memory), file bytes to the other (limits.disk). Without keep,
 * what was read from the file is given back to the disk (a hole), and the file goes as soon as the reader has caught up.
 *
 * The loop's on_mail must treat what the spool posts as a struct la_note. */
#ifndef LASTACK_SPOOL_H
#define LASTACK_SPOOL_H

#include "lastack/err.h"
#include "lastack/loop.h"

/* The two process-wide bounds; atomics inside. */
struct la_bounds {
    _Atomic uint64_t memory_used, disk_used;
    _Atomic uint64_t memory_max, disk_max;
};
bool la_bounds_take_memory(struct la_bounds *b, uint64_t n); /* false: over the bound, nothing taken */
void la_bounds_give_memory(struct la_bounds *b, uint64_t n);
bool la_bounds_take_disk(struct la_bounds *b, uint64_t n);
void la_bounds_give_disk(struct la_bounds *b, uint64_t n);

/* Threads that do file I/O for all workers; at least one. Freed after every spool is gone and every loop that had one has
 * stopped. */
struct la_filer;
struct la_filer *la_filer_new(unsigned threads); /* NULL: errno */
void la_filer_free(struct la_filer *f);

struct la_spool;
struct la_spool_conf {
    struct la_loop *loop;
    struct la_filer *filer;
    struct la_bounds *bounds;
    const char *dir;     /* for the file, O_TMPFILE; must outlive the spool */
    uint64_t mem_bytes;  /* before the file is used */
    uint64_t mem_most;   /* the same while less than a quarter of limits.memory is in use; 0: mem_bytes */
    uint64_t file_bytes; /* 0: never a file; UINT64_MAX: only limits.disk bounds it */
    bool keep;
};
/* on_ready: something may have changed: bytes can be read, room came free, or err is set. Never called from inside a spool
 * function; it may free the spool. NULL on allocation failure or when memory is over its bound. */
struct la_spool *la_spool_new(const struct la_spool_conf *c, void (*on_ready)(void *arg), void *arg);
/* Any time; file jobs under way finish by themselves. *s becomes NULL. */
void la_spool_free(struct la_spool **s);

/* How many bytes may be written now: 0 means wait for on_ready, which also comes when consuming made room. With keep and a bounded
 * file 0 may be final: nothing is ever given back. */
size_t la_spool_room(const struct la_spool *s);
/* The same for a writer that would rather wait than fail: how many bytes may be written now without asking limits.disk again. What
 * they need of it is taken here and stays this spool's until they are written or its memory has room again. 0: ask again when the reader
 * has got further. */
size_t la_spool_claim(struct la_spool *s);
/* Takes all n bytes (n <= la_spool_room) or fails and takes none: LA_MEMORY or LA_DISK (a bound is reached: may be tried again later),
 * LA_DISK with la_spool_error set (the disk failed: broken for good). */
enum la_err la_spool_write(struct la_spool *s, const void *p, size_t n);

/* Room is too little for the caller's next piece: what is gathered for the file leaves though its block is not full, and on_ready
 * comes when it has. False: no memory for that. True also when there is nothing to do but wait for the reader. */
bool la_spool_push(struct la_spool *s);

uint64_t la_spool_size(const struct la_spool *s);   /* bytes written so far */
uint64_t la_spool_unread(const struct la_spool *s); /* bytes written and not yet consumed */
/* The next bytes to read, as many as lie together; empty when none is unread or they are still being fetched from
 * the file (then la_spool_unread > 0 and on_ready comes). The slice holds until the next call on s. */
struct la_slice la_spool_peek(struct la_spool *s);
void la_spool_consume(struct la_spool *s, size_t n);
void la_spool_rewind(struct la_spool *s); /* keep only */
enum la_err la_spool_error(const struct la_spool *s); /* LA_OK, or why it is broken (disk) */

#endif
