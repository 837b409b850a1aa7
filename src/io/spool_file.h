/* spool_file.h: the unlinked file behind a spool, and the blocks of memory that go to it and come from it. */
#ifndef LASTACK_IO_SPOOL_FILE_H
#define LASTACK_IO_SPOOL_FILE_H

#include "io/filer.h"

/* A block of bytes at a place in the spool's stream; its room is charged to limits.memory. */
struct la_chunk {
    struct la_list node;
    uint64_t pos; /* of data[0] in the stream */
    size_t n, cap;
    char data[];
};
struct la_chunk *la_chunk_new(struct la_bounds *b, size_t cap); /* NULL: no memory, or over its bound */
void la_chunk_free(struct la_bounds *b, struct la_chunk **c);   /* *c may be NULL */
static inline bool la_chunk_has(const struct la_chunk *c, uint64_t pos)
{
    return c && pos >= c->pos && pos - c->pos < c->n;
}

struct la_spool_file;
/* A transfer has ended, with an errno or 0. On the loop's thread, never from inside a call below; chunk is
 * the owner's again. */
typedef void la_spool_file_done(void *arg, struct la_chunk *chunk, bool written, int error);

struct la_spool_file *la_spool_file_new(struct la_loop *loop, struct la_filer *filer,
                                        struct la_bounds *bounds, const char *dir, la_spool_file_done *done,
                                        void *arg);
/* Charges n more bytes of file to limits.disk. */
/* The same, of room that the caller has taken already. */
void la_spool_file_add(struct la_spool_file *f, uint64_t n);
bool la_spool_file_reserve(struct la_spool_file *f, uint64_t n);
void la_spool_file_release(struct la_spool_file *f, uint64_t n); /* some of it was not needed */
uint64_t la_spool_file_reserved(const struct la_spool_file *f);
/* At most one write and one read at a time; the file has the chunk until done is called. The chunk's bytes
 * may still be read while they are being written. The file is created by the first write. */
void la_spool_file_write(struct la_spool_file *f, struct la_chunk *chunk, uint64_t offset);
/* Fills n bytes. The file's bytes [free_from, free_to) are not needed any more: their room is given back. */
void la_spool_file_read(struct la_spool_file *f, struct la_chunk *chunk, size_t n, uint64_t offset,
                        uint64_t free_from, uint64_t free_to);
/* Any time: what is under way ends by itself, done is not called any more, the disk's share is given back
 * now. */
void la_spool_file_drop(struct la_spool_file **f);

#endif
