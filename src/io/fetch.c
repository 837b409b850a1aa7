/* fetch.c: a file read piece by piece, from the page cache on the loop's thread (RWF_NOWAIT), from the disk
 * by a file thread.
 *
 * Owns: the descriptor and one block of memory, taken when the disk is needed for the first time.
 *
 * As in spool_file.c the hard part is an owner that goes while a read is under way: `stage` and `orphan`
 * change under the filer's lock only. A running read of an orphan posts nothing; a posted one is delivered
 * and then tidied up; one that is never delivered, because its loop ended, is in the filer's list of
 * leftovers. */
#include "lastack/fetch.h"

#include "io/filer.h"
#include "io/spool_file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define BLOCK 65536u

enum stage { IDLE, RUNNING, POSTED };

struct la_fetch {
    struct la_loop *loop;
    struct la_filer *filer;
    struct la_bounds *bounds;
    void (*on_ready)(void *arg);
    void *arg;
    int fd;
    enum stage stage;
    bool orphan, has; /* has: block holds got bytes of offset, or an error */
    struct la_job job, close;
    struct la_note note;
    struct la_chunk *block;
    size_t n;
    uint64_t offset;
    ssize_t got;
    int error;
};

static void run_close(struct la_job *j)
{
    struct la_fetch *f = la_container(j, struct la_fetch, close);
    close(f->fd);
    la_chunk_free(f->bounds, &f->block);
    free(f);
}

static void run_read(struct la_job *j)
{
    struct la_fetch *f = la_container(j, struct la_fetch, job);
    do
        f->got = pread(f->fd, f->block->data, f->n, (off_t)f->offset);
    while (f->got < 0 && errno == EINTR);
    f->error = f->got < 0 ? errno : 0;
}

static struct la_job *read_ended(struct la_job *j)
{
    struct la_fetch *f = la_container(j, struct la_fetch, job);
    if (f->orphan) {
        la_list_remove(&f->close.node);
        return &f->close;
    }
    f->stage = POSTED;
    la_loop_post(f->loop, &f->note.mail);
    return NULL;
}

static void on_note(struct la_note *note)
{
    struct la_fetch *f = note->to;
    la_filer_lock(f->filer);
    f->stage = IDLE;
    bool orphan = f->orphan;
    if (orphan) {
        la_list_remove(&f->close.node);
        la_filer_submit(f->filer, &f->close);
    }
    la_filer_unlock(f->filer);
    if (orphan)
        return;
    f->has = true;
    f->on_ready(f->arg);
}

struct la_fetch *la_fetch_new(struct la_loop *l, struct la_filer *filer, struct la_bounds *b, int fd,
                              void (*on_ready)(void *arg), void *arg)
{
    struct la_fetch *f = calloc(1, sizeof *f);
    if (f == NULL) {
        close(fd);
        return NULL;
    }
    f->loop = l;
    f->filer = filer;
    f->bounds = b;
    f->fd = fd;
    f->on_ready = on_ready;
    f->arg = arg;
    f->job.run = run_read;
    f->job.done = read_ended;
    f->close.run = run_close;
    la_list_init(&f->close.node);
    f->note.deliver = on_note;
    f->note.to = f;
    return f;
}

static ssize_t start(struct la_fetch *f, size_t n, uint64_t offset)
{
    if (f->block == NULL && (f->block = la_chunk_new(f->bounds, BLOCK)) == NULL) {
        errno = ENOMEM;
        return -1;
    }
    f->n = la_min64(n, BLOCK);
    f->offset = offset;
    la_filer_lock(f->filer);
    f->stage = RUNNING;
    la_filer_submit(f->filer, &f->job);
    la_filer_unlock(f->filer);
    return LA_FETCH_LATER;
}

ssize_t la_fetch_read(struct la_fetch *f, void *p, size_t n, uint64_t offset)
{
    la_assert(f->stage == IDLE);
    if (f->has && f->offset == offset) {
        f->has = false;
        errno = f->error;
        ssize_t got = f->got < (ssize_t)n ? f->got : (ssize_t)n;
        if (got > 0)
            memcpy(p, f->block->data, (size_t)got);
        return got;
    }
    struct iovec v = {p, n};
    ssize_t got = preadv2(f->fd, &v, 1, (off_t)offset, RWF_NOWAIT);
    if (got >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP && errno != EINTR && errno != ENOSYS))
        return got;
    return start(f, n, offset);
}

void la_fetch_free(struct la_fetch **fp)
{
    struct la_fetch *f = *fp;
    *fp = NULL;
    if (f == NULL)
        return;
    la_filer_lock(f->filer);
    f->orphan = true;
    bool idle = f->stage == IDLE;
    if (!idle)
        la_list_push_back(la_filer_leftovers(f->filer), &f->close.node);
    la_filer_unlock(f->filer);
    if (idle)
        run_close(&f->close);
}
