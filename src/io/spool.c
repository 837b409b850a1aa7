/* spool.c: a bounded byte queue that goes from memory to a file and back.
 *
 * Owns: the bytes. Never does file I/O itself (spool_file.c has it done), never waits.
 *
 * The stream of all bytes ever written lies in up to four neighbouring pieces, in this order:
 *
 *     head (a list of chunks) | in the file | flight (a chunk being written) | tail (a chunk being filled)
 *      up to mem_bytes          file_begin    file_end                          ... written
 *
 * The good path is head alone. When head is full, the next byte starts a file: it goes to tail; a full tail
 * takes off as flight and lands in the file. Reading takes from any piece; bytes in the file are fetched into
 * `cache`, one block at a time. A flight that lands while it is being read becomes the cache. With keep,
 * pieces never shrink. Without it, what was consumed is freed, and as soon as the reader is past the file,
 * the file is dropped and tail becomes head.
 *
 * What can fail: memory (LA_MEMORY) and limits.disk (LA_DISK) when writing: then nothing was taken and the
 * spool is as before. A failing disk breaks the spool for good (la_spool_error). Fetching never fails for
 * want of memory: the cache's block is there before the first flight.
 *
 * One thread, that of the loop. `on_ready` may free the spool: it is always the last thing called. */
#include "lastack/spool.h"
#include "lastack/log.h"
#include "io/spool_file.h"

#include <stdlib.h>

#define BLOCK       65536u
#define FIRST_CHUNK 4096u
#define KEEP_EMPTY  16384u /* a drained head keeps its last chunk up to this size */

struct la_spool {
    struct la_spool_conf conf;
    void (*on_ready)(void *arg);
    void *arg;
    uint64_t written, read;
    enum la_err err;
    struct la_idle idle; /* a call of on_ready that is due */

    struct la_list head;
    struct la_chunk *at;   /* keep: where reading is in head; NULL: past it */
    struct la_chunk *fill; /* last chunk with bytes, or the first one: writing goes on here */
    uint64_t head_bytes;   /* room of all chunks in head */
    uint64_t head_free;    /* of that, not yet written */

    struct la_spool_file *file;                /* NULL: only head is in use */
    uint64_t file_begin, file_end, file_freed; /* positions in the stream */
    struct la_chunk *flight, *tail, *cache;
    uint64_t claimed; /* of limits.disk, for the next tail */
    bool fetching;
};

static void on_idle(struct la_idle *i)
{
    struct la_spool *s = la_container(i, struct la_spool, idle);
    s->on_ready(s->arg);
}

struct la_spool *la_spool_new(const struct la_spool_conf *c, void (*on_ready)(void *arg), void *arg)
{
    struct la_spool *s = NULL;
    if (!la_bounds_take_memory(c->bounds, sizeof *s))
        return NULL;
    if ((s = calloc(1, sizeof *s)) == NULL) {
        la_bounds_give_memory(c->bounds, sizeof *s);
        return NULL;
    }
    s->conf = *c;
    s->on_ready = on_ready;
    s->arg = arg;
    s->idle.cb = on_idle;
    la_list_init(&s->idle.node);
    la_list_init(&s->head);
    return s;
}

/* ---- head ---- */

static struct la_chunk *head_first(const struct la_spool *s)
{
    return la_list_first(&s->head, struct la_chunk, node);
}

static struct la_chunk *head_next(const struct la_spool *s, struct la_chunk *c)
{
    return la_list_next(&s->head, c, struct la_chunk, node);
}

static void head_drop(struct la_spool *s, struct la_chunk *c)
{
    if (s->fill == c)
        s->fill = head_next(s, c);
    la_list_remove(&c->node);
    s->head_bytes -= c->cap;
    s->head_free -= c->cap - c->n;
    la_chunk_free(s->conf.bounds, &c);
}

static uint64_t head_room(const struct la_spool *s)
{
    if (s->file)
        return 0;
    return s->head_free + (s->conf.mem_bytes - s->head_bytes);
}

static bool is_memory_plenty(const struct la_bounds *b)
{
    return atomic_load_explicit(&b->memory_used, memory_order_relaxed) <
           atomic_load_explicit(&b->memory_max, memory_order_relaxed) / 4;
}

/* Lets head grow for n more bytes, as far as the owner allows while there is plenty. */
static void head_stretch(struct la_spool *s, size_t n)
{
    if (s->file || n <= head_room(s) || s->conf.mem_bytes >= s->conf.mem_most || !is_memory_plenty(s->conf.bounds))
        return;
    s->conf.mem_bytes = la_min64(s->conf.mem_most, s->conf.mem_bytes + la_max64(n, BLOCK));
}

/* Makes room for n bytes (n <= head_room). Chunks grow from 4 KiB to 64 KiB, so that a short body costs
 * little. */
static bool head_reserve(struct la_spool *s, uint64_t n)
{
    if (n <= s->head_free)
        return true;
    uint64_t more = la_max64(n - s->head_free, la_min64(la_max64(s->head_bytes, FIRST_CHUNK), BLOCK));
    struct la_chunk *c = la_chunk_new(s->conf.bounds, la_min64(more, s->conf.mem_bytes - s->head_bytes));
    if (c == NULL)
        return false;
    la_list_push_back(&s->head, &c->node);
    if (s->fill == NULL)
        s->fill = c;
    s->head_bytes += c->cap;
    s->head_free += c->cap;
    return true;
}

static void put(struct la_spool *s, struct la_chunk *c, const char *p, size_t n)
{
    if (c->n == 0)
        c->pos = s->written;
    memcpy(c->data + c->n, p, n);
    c->n += n;
    s->written += n;
}

static void head_put(struct la_spool *s, const char *p, size_t n)
{
    s->head_free -= n;
    while (n > 0) {
        if (s->fill->n == s->fill->cap)
            s->fill = head_next(s, s->fill);
        size_t part = la_min64(n, s->fill->cap - s->fill->n);
        put(s, s->fill, p, part);
        p += part;
        n -= part;
    }
}

/* The chunk of head that has the next byte to read. */
static struct la_chunk *head_at(struct la_spool *s)
{
    struct la_chunk *c = s->at ? s->at : head_first(s);
    while (c && !la_chunk_has(c, s->read))
        c = c->n && c->pos > s->read ? NULL : head_next(s, c);
    s->at = c && s->conf.keep ? c : NULL;
    return c;
}

/* Without keep: frees the chunks that have been read; a last one of moderate size starts over instead. A
 * chunk that is read but not full is the last with bytes, so everything is read then. */
static void head_trim(struct la_spool *s)
{
    struct la_chunk *c;
    la_list_each(&s->head, c, struct la_chunk, node)
    {
        if (c->n == 0 || c->pos + c->n > s->read)
            return;
        if (s->file || c->cap > KEEP_EMPTY || la_list_last(&s->head, struct la_chunk, node) != c) {
            head_drop(s, c);
        } else {
            s->head_free += c->n;
            c->n = 0;
        }
    }
}

/* ---- the file ---- */

static uint64_t tail_cap(const struct la_spool *s, const struct la_spool_file *f)
{
    uint64_t used = f ? la_spool_file_reserved(f) : 0;
    return used < s->conf.file_bytes ? la_min64(BLOCK, s->conf.file_bytes - used) : 0;
}

static uint64_t file_room(const struct la_spool *s)
{
    if (s->tail)
        return s->tail->cap - s->tail->n;
    return s->claimed ? s->claimed : tail_cap(s, s->file);
}

static void unclaim(struct la_spool *s)
{
    la_bounds_give_disk(s->conf.bounds, s->claimed);
    s->claimed = 0;
}

static void leave_file(struct la_spool *s)
{
    struct la_bounds *b = s->conf.bounds;
    la_spool_file_drop(&s->file); /* it keeps the chunks of transfers under way */
    la_chunk_free(b, &s->cache);
    s->flight = NULL;
    s->fetching = false;
}

/* Without keep: when the reader is past the file, memory takes over again. */
static void maybe_leave_file(struct la_spool *s)
{
    if (s->conf.keep || s->file == NULL || s->err || s->flight || s->fetching || s->read < s->file_end)
        return;
    if (s->read < s->written && s->tail->cap > s->conf.mem_bytes)
        return;                         /* too big to be head; wait until it is read */
    la_assert(la_list_empty(&s->head)); /* full when the file began, read since, so trimmed */
    if (s->read == s->written) {
        la_chunk_free(s->conf.bounds, &s->tail);
    } else {
        s->fill = s->tail;
        s->tail = NULL;
        la_list_push_back(&s->head, &s->fill->node);
        s->head_bytes = s->fill->cap;
        s->head_free = s->fill->cap - s->fill->n;
    }
    leave_file(s);
}

static void take_off(struct la_spool *s, bool full)
{
    if (s->flight || s->err || s->tail == NULL || (full && s->tail->n < s->tail->cap))
        return;
    s->flight = s->tail;
    s->tail = NULL;
    la_spool_file_write(s->file, s->flight, s->file_end - s->file_begin);
}

/* The flight has landed or failed. When someone may be looking at it, it stays, as the cache. */
static void landed(struct la_spool *s, struct la_chunk *c)
{
    s->flight = NULL;
    if (s->err == LA_OK)
        s->file_end += c->n;
    if (la_chunk_has(c, s->read)) {
        la_chunk_free(s->conf.bounds, &s->cache);
        s->cache = c;
    } else {
        la_chunk_free(s->conf.bounds, &c);
    }
    take_off(s, true);
}

static void fetched(struct la_spool *s, struct la_chunk *c)
{
    /* A flight that landed meanwhile may be here already; the one that is needed stays. */
    s->fetching = false;
    if (s->cache && la_chunk_has(s->cache, s->read)) {
        la_chunk_free(s->conf.bounds, &c);
    } else {
        la_chunk_free(s->conf.bounds, &s->cache);
        s->cache = c;
    }
}

static void on_transfer(void *arg, struct la_chunk *c, bool written, int error)
{
    struct la_spool *s = arg;
    if (error) {
        la_log_limited(LA_LOG_ERROR, 10000, "%s a temporary file in %s failed: %s", written ? "writing" : "reading",
                       s->conf.dir, strerror(error));
        s->err = LA_DISK;
    }
    if (written)
        landed(s, c);
    else
        fetched(s, c);
    maybe_leave_file(s);
    s->on_ready(s->arg);
}

/* Everything that may fail on the way to n bytes in tail; on failure nothing has changed but spare room. */
static enum la_err tail_reserve(struct la_spool *s, struct la_spool_file **file, size_t n)
{
    struct la_bounds *b = s->conf.bounds;
    if (*file == NULL &&
        (*file = la_spool_file_new(s->conf.loop, s->conf.filer, b, s->conf.dir, on_transfer, s)) == NULL)
        return LA_MEMORY;
    uint64_t has = s->tail ? s->tail->n : 0, cap = has + file_room(s);
    /* The block for reading back is there before anything leaves memory. */
    if (has + n == cap && s->cache == NULL && !s->fetching && (s->cache = la_chunk_new(b, BLOCK)) == NULL)
        return LA_MEMORY;
    if (s->tail)
        return LA_OK;
    struct la_chunk *c = la_chunk_new(b, cap);
    if (c == NULL)
        return LA_MEMORY;
    if (s->claimed) {
        la_spool_file_add(*file, cap);
        s->claimed = 0;
    } else if (!la_spool_file_reserve(*file, cap)) {
        la_chunk_free(b, &c);
        return LA_DISK;
    }
    s->tail = c;
    return LA_OK;
}

/* ---- the queue ---- */

size_t la_spool_room(const struct la_spool *s)
{
    return s->err ? 0 : head_room(s) + file_room(s);
}

size_t la_spool_claim(struct la_spool *s)
{
    if (s->err)
        return 0;
    uint64_t head = head_room(s), cap = tail_cap(s, s->file);
    if (head < BLOCK && s->tail == NULL && s->claimed == 0 && la_bounds_take_disk(s->conf.bounds, cap))
        s->claimed = cap;
    return head + (s->tail || s->claimed ? file_room(s) : 0);
}

enum la_err la_spool_write(struct la_spool *s, const void *p, size_t n)
{
    if (s->err)
        return s->err;
    la_assert(n <= la_spool_room(s));
    head_stretch(s, n);
    size_t in_head = la_min64(n, head_room(s)), in_tail = n - in_head;
    if (!head_reserve(s, in_head))
        return LA_MEMORY;
    if (in_tail > 0) {
        struct la_spool_file *f = s->file;
        enum la_err e = tail_reserve(s, &f, in_tail);
        if (e != LA_OK) {
            if (f != s->file) {
                la_spool_file_drop(&f);
                la_chunk_free(s->conf.bounds, &s->cache);
            }
            return e;
        }
        if (s->file == NULL) {
            s->file = f;
            s->file_begin = s->file_end = s->file_freed = s->written + in_head;
        }
    }
    head_put(s, p, in_head);
    if (in_tail > 0) {
        put(s, s->tail, (const char *)p + in_head, in_tail);
        take_off(s, true);
    }
    return LA_OK;
}

bool la_spool_push(struct la_spool *s)
{
    if (s->err || s->flight || s->tail == NULL || s->tail->n == 0)
        return true;
    if (s->cache == NULL && !s->fetching && (s->cache = la_chunk_new(s->conf.bounds, BLOCK)) == NULL)
        return false;
    la_spool_file_release(s->file, s->tail->cap - s->tail->n);
    take_off(s, false);
    return true;
}

/* Starts fetching what is to be read next, and gives back what was read before. */
static void fetch(struct la_spool *s)
{
    if (s->fetching)
        return;
    struct la_chunk *c = s->cache;
    la_assert(c != NULL);
    s->cache = NULL;
    s->fetching = true;
    c->pos = s->read;
    c->n = la_min64(c->cap, s->file_end - s->read);
    uint64_t from = s->file_freed - s->file_begin, to = from;
    if (!s->conf.keep) {
        to = s->read - s->file_begin;
        s->file_freed = s->read;
    }
    la_spool_file_read(s->file, c, c->n, s->read - s->file_begin, from, to);
}

struct la_slice la_spool_peek(struct la_spool *s)
{
    if (s->err || s->read == s->written)
        return (struct la_slice){0};
    struct la_chunk *c = s->file == NULL || s->read < s->file_begin ? head_at(s) : NULL;
    if (c == NULL) {
        struct la_chunk *const piece[] = {s->tail, s->flight, s->cache};
        for (size_t i = 0; c == NULL && i < la_count(piece); i++)
            if (la_chunk_has(piece[i], s->read))
                c = piece[i];
    }
    if (c == NULL) {
        fetch(s);
        return (struct la_slice){0};
    }
    size_t skip = (size_t)(s->read - c->pos);
    return la_slice(c->data + skip, c->n - skip);
}

void la_spool_consume(struct la_spool *s, size_t n)
{
    la_assert(n <= s->written - s->read);
    size_t room = la_spool_room(s);
    s->read += n;
    if (s->conf.keep)
        return;
    head_trim(s);
    maybe_leave_file(s);
    if (s->claimed && head_room(s) >= BLOCK)
        unclaim(s);
    if (room == 0 && la_spool_room(s) > 0)
        la_loop_defer(s->conf.loop, &s->idle);
}

void la_spool_rewind(struct la_spool *s)
{
    la_assert(s->conf.keep);
    s->read = 0;
    s->at = NULL;
}

uint64_t la_spool_size(const struct la_spool *s)
{
    return s->written;
}

uint64_t la_spool_unread(const struct la_spool *s)
{
    return s->written - s->read;
}

enum la_err la_spool_error(const struct la_spool *s)
{
    return s->err;
}

void la_spool_free(struct la_spool **spool)
{
    struct la_spool *s = *spool;
    *spool = NULL;
    if (s == NULL)
        return;
    struct la_bounds *b = s->conf.bounds;
    la_list_remove(&s->idle.node);
    struct la_chunk *c;
    la_list_each(&s->head, c, struct la_chunk, node) head_drop(s, c);
    la_chunk_free(b, &s->tail);
    if (s->file)
        leave_file(s);
    la_chunk_free(b, &s->cache);
    unclaim(s);
    free(s);
    la_bounds_give_memory(b, sizeof *s);
}
