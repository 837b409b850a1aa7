/* filer.c: the threads that do blocking file I/O for all workers, and the process-wide bounds on memory and
 * disk.
 *
 * Owns: the threads, one queue of jobs, one lock. Never: the jobs (their memory is their submitter's), files,
 * or buffers. A job runs without the lock; what it tells its owner's loop it tells under the lock, so that an
 * owner that takes the lock knows for sure whether a message has been posted or never will be.
 *
 * The good path: submit, a thread runs it, done posts the result to the owner's loop.
 *
 * What can fail: only starting threads. la_filer_free finishes the queue first (closing files is in it).
 *
 * Any thread may submit. The bounds are two compare-and-swap counters: exact, never passed even for a moment.
 */
#include "io/filer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct la_filer {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct la_list queue;
    struct la_list leftovers;
    bool stop;
    unsigned threads;
    pthread_t thread[];
};

/* ---- bounds ---- */

static bool take(_Atomic uint64_t *used, uint64_t max, uint64_t n)
{
    uint64_t now = atomic_load_explicit(used, memory_order_relaxed);
    do {
        if (n > max || now > max - n)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(used, &now, now + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static void give(_Atomic uint64_t *used, uint64_t n)
{
    uint64_t before = atomic_fetch_sub_explicit(used, n, memory_order_relaxed);
    la_assert(before >= n);
}

bool la_bounds_take_memory(struct la_bounds *b, uint64_t n)
{
    return take(&b->memory_used, atomic_load_explicit(&b->memory_max, memory_order_relaxed), n);
}

void la_bounds_give_memory(struct la_bounds *b, uint64_t n)
{
    give(&b->memory_used, n);
}

bool la_bounds_take_disk(struct la_bounds *b, uint64_t n)
{
    return take(&b->disk_used, atomic_load_explicit(&b->disk_max, memory_order_relaxed), n);
}

void la_bounds_give_disk(struct la_bounds *b, uint64_t n)
{
    give(&b->disk_used, n);
}

/* ---- threads ---- */

static void *work(void *arg)
{
    struct la_filer *f = arg;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        struct la_job *j = la_list_first(&f->queue, struct la_job, node);
        if (j == NULL) {
            if (f->stop)
                break;
            pthread_cond_wait(&f->wake, &f->lock);
            continue;
        }
        la_list_remove(&j->node);
        while (j) {
            struct la_job *(*done)(struct la_job *) = j->done;
            pthread_mutex_unlock(&f->lock);
            j->run(j);
            pthread_mutex_lock(&f->lock);
            j = done ? done(j) : NULL;
        }
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static void stop(struct la_filer *f)
{
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < f->threads; i++)
        pthread_join(f->thread[i], NULL);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
}

struct la_filer *la_filer_new(unsigned threads)
{
    if (threads == 0)
        threads = 1;
    struct la_filer *f = la_xcalloc(1, sizeof *f + threads * sizeof f->thread[0]);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    la_list_init(&f->queue);
    la_list_init(&f->leftovers);
    /* Signals are the main thread's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int e = 0;
    while (f->threads < threads && (e = pthread_create(&f->thread[f->threads], NULL, work, f)) == 0)
        pthread_setname_np(f->thread[f->threads++], "lastack-file");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (f->threads == 0) {
        stop(f);
        free(f);
        errno = e;
        return NULL;
    }
    return f;
}

void la_filer_free(struct la_filer *f)
{
    if (f == NULL)
        return;
    stop(f);
    struct la_job *j;
    la_list_each(&f->leftovers, j, struct la_job, node)
    {
        la_list_remove(&j->node);
        j->run(j);
    }
    free(f);
}

void la_filer_lock(struct la_filer *f)
{
    pthread_mutex_lock(&f->lock);
}

void la_filer_unlock(struct la_filer *f)
{
    pthread_mutex_unlock(&f->lock);
}

void la_filer_submit(struct la_filer *f, struct la_job *j)
{
    la_list_init(&j->node);
    la_list_push_back(&f->queue, &j->node);
    pthread_cond_signal(&f->wake);
}

struct la_list *la_filer_leftovers(struct la_filer *f)
{
    return &f->leftovers;
}
