/* spool_file.c: an unlinked temporary file, written and read by the file threads for one spool.
 *
 * Owns: the descriptor, the two transfers (one write, one read), their chunks while they are under way, and
 * the share of limits.disk. Never blocks the loop: opening, writing, reading, giving back room and closing
 * are all jobs.
 *
 * The good path of a transfer: idle -> running (a job is queued) -> posted (the note is in the loop's
 * mailbox) -> idle (delivered: the spool's done is called).
 *
 * The hard part is a spool that goes away meanwhile. `stage` and `orphan` change under the filer's lock only.
 * A running transfer of an orphan posts nothing: the loop may be gone. A posted one is delivered and then
 * only tidied up. Whoever finds an orphan with both transfers idle destroys it. When a loop ends with a note
 * still in its mailbox, the file stays in the filer's list of leftovers, which is emptied when the filer is
 * freed.
 *
 * What can fail: the file cannot be made, the disk is full, a read fails: an errno to done. No room given
 * back (a file system without holes): the room stays charged until the file goes. */
#include "io/spool_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum stage { IDLE, RUNNING, POSTED };

struct transfer {
    struct la_job job;
    struct la_note note;
    struct la_spool_file *file;
    enum stage stage;
    struct la_chunk *chunk;
    size_t n;
    uint64_t offset;
    uint64_t free_from, free_to; /* reads; equal: nothing was given back */
    int error;
};

struct la_spool_file {
    struct la_loop *loop;
    struct la_filer *filer;
    struct la_bounds *bounds;
    la_spool_file_done *done;
    void *arg;
    int fd; /* set by the first write's job */
    _Atomic bool orphan;
    uint64_t reserved;
    struct transfer write, read;
    struct la_job close;
    char dir[]; /* a job may outlive whoever gave it */
};

/* ---- chunks ---- */

struct la_chunk *la_chunk_new(struct la_bounds *b, size_t cap)
{
    if (!la_bounds_take_memory(b, cap))
        return NULL;
    struct la_chunk *c = malloc(sizeof *c + cap);
    if (c == NULL) {
        la_bounds_give_memory(b, cap);
        return NULL;
    }
    la_list_init(&c->node);
    c->pos = 0;
    c->n = 0;
    c->cap = cap;
    return c;
}

void la_chunk_free(struct la_bounds *b, struct la_chunk **c)
{
    if (*c == NULL)
        return;
    la_bounds_give_memory(b, (*c)->cap);
    free(*c);
    *c = NULL;
}

/* ---- jobs, on a file thread ---- */

static int open_unlinked(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    char path[4096]; /* a file system without O_TMPFILE */
    int n = snprintf(path, sizeof path, "%s/lastack-XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

static void run_write(struct la_job *j)
{
    struct transfer *t = la_container(j, struct transfer, job);
    struct la_spool_file *f = t->file;
    t->error = 0;
    if (atomic_load(&f->orphan))
        return;
    if (f->fd < 0 && (f->fd = open_unlinked(f->dir)) < 0) {
        t->error = errno;
        return;
    }
    for (size_t at = 0; at < t->n;) {
        ssize_t n = pwrite(f->fd, t->chunk->data + at, t->n - at, (off_t)(t->offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            t->error = n < 0 ? errno : ENOSPC;
            return;
        }
        at += (size_t)n;
    }
}

static void run_read(struct la_job *j)
{
    struct transfer *t = la_container(j, struct transfer, job);
    struct la_spool_file *f = t->file;
    t->error = 0;
    if (atomic_load(&f->orphan))
        return;
    for (size_t at = 0; at < t->n;) {
        ssize_t n = pread(f->fd, t->chunk->data + at, t->n - at, (off_t)(t->offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            t->error = n < 0 ? errno : EIO;
            return;
        }
        at += (size_t)n;
    }
    if (t->free_from < t->free_to && fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                               (off_t)t->free_from, (off_t)(t->free_to - t->free_from)) != 0)
        t->free_to = t->free_from;
}

/* Both transfers are idle and nobody knows the file any more. */
static void run_close(struct la_job *j)
{
    struct la_spool_file *f = la_container(j, struct la_spool_file, close);
    if (f->fd >= 0)
        close(f->fd);
    la_chunk_free(f->bounds, &f->write.chunk);
    la_chunk_free(f->bounds, &f->read.chunk);
    free(f);
}

/* Under the lock: an orphan's last transfer has ended; NULL: not yet. */
static struct la_job *close_job(struct la_spool_file *f)
{
    if (!atomic_load(&f->orphan) || f->write.stage != IDLE || f->read.stage != IDLE)
        return NULL;
    la_list_remove(&f->close.node); /* from the leftovers */
    return &f->close;
}

static struct la_job *transfer_ended(struct la_job *j)
{
    struct transfer *t = la_container(j, struct transfer, job);
    if (atomic_load(&t->file->orphan)) {
        t->stage = IDLE;
        return close_job(t->file);
    }
    t->stage = POSTED;
    la_loop_post(t->file->loop, &t->note.mail);
    return NULL;
}

/* ---- the loop's thread ---- */

static void on_note(struct la_note *note)
{
    struct transfer *t = la_container(note, struct transfer, note);
    struct la_spool_file *f = t->file;
    la_filer_lock(f->filer);
    t->stage = IDLE;
    bool orphan = atomic_load(&f->orphan);
    struct la_job *last = close_job(f);
    if (last)
        la_filer_submit(f->filer, last);
    la_filer_unlock(f->filer);
    if (orphan)
        return;
    struct la_chunk *c = t->chunk;
    t->chunk = NULL;
    if (t->error == 0 && t->free_from < t->free_to) {
        uint64_t n = la_min64(t->free_to - t->free_from, f->reserved);
        f->reserved -= n;
        la_bounds_give_disk(f->bounds, n);
    }
    f->done(f->arg, c, t == &f->write, t->error);
}

static void transfer_init(struct transfer *t, struct la_spool_file *f, void (*run)(struct la_job *))
{
    t->file = f;
    t->stage = IDLE;
    t->job.run = run;
    t->job.done = transfer_ended;
    t->note.deliver = on_note;
    t->note.to = f;
}

struct la_spool_file *la_spool_file_new(struct la_loop *loop, struct la_filer *filer,
                                        struct la_bounds *bounds, const char *dir, la_spool_file_done *done,
                                        void *arg)
{
    size_t n = strlen(dir) + 1;
    struct la_spool_file *f = calloc(1, sizeof *f + n);
    if (f == NULL)
        return NULL;
    memcpy(f->dir, dir, n);
    f->loop = loop;
    f->filer = filer;
    f->bounds = bounds;
    f->done = done;
    f->arg = arg;
    f->fd = -1;
    transfer_init(&f->write, f, run_write);
    transfer_init(&f->read, f, run_read);
    f->close.run = run_close;
    la_list_init(&f->close.node);
    return f;
}

void la_spool_file_add(struct la_spool_file *f, uint64_t n)
{
    f->reserved += n;
}

bool la_spool_file_reserve(struct la_spool_file *f, uint64_t n)
{
    if (!la_bounds_take_disk(f->bounds, n))
        return false;
    la_spool_file_add(f, n);
    return true;
}

void la_spool_file_release(struct la_spool_file *f, uint64_t n)
{
    la_assert(n <= f->reserved);
    f->reserved -= n;
    la_bounds_give_disk(f->bounds, n);
}

uint64_t la_spool_file_reserved(const struct la_spool_file *f)
{
    return f->reserved;
}

static void start(struct transfer *t, struct la_chunk *chunk, size_t n, uint64_t offset)
{
    la_assert(t->chunk == NULL && n > 0 && n <= chunk->cap);
    t->chunk = chunk;
    t->n = n;
    t->offset = offset;
    la_filer_lock(t->file->filer);
    la_assert(t->stage == IDLE);
    t->stage = RUNNING;
    la_filer_submit(t->file->filer, &t->job);
    la_filer_unlock(t->file->filer);
}

void la_spool_file_write(struct la_spool_file *f, struct la_chunk *chunk, uint64_t offset)
{
    start(&f->write, chunk, chunk->n, offset);
}

void la_spool_file_read(struct la_spool_file *f, struct la_chunk *chunk, size_t n, uint64_t offset,
                        uint64_t free_from, uint64_t free_to)
{
    f->read.free_from = free_from;
    f->read.free_to = free_to;
    start(&f->read, chunk, n, offset);
}

void la_spool_file_drop(struct la_spool_file **file)
{
    struct la_spool_file *f = *file;
    *file = NULL;
    if (f == NULL)
        return;
    la_bounds_give_disk(f->bounds, f->reserved);
    struct la_filer *filer = f->filer;
    la_filer_lock(filer);
    atomic_store(&f->orphan, true);
    la_list_push_back(la_filer_leftovers(filer), &f->close.node);
    struct la_job *last = close_job(f);
    if (last)
        la_filer_submit(filer, last);
    la_filer_unlock(filer);
}
