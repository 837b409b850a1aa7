/* filer.h: jobs for the file threads. For spool files and fetch.c only; everyone else uses spool.h or fetch.h. */
#ifndef LASTACK_IO_FILER_H
#define LASTACK_IO_FILER_H

#include "lastack/list.h"
#include "lastack/spool.h"

/* The memory belongs to the caller until `run` (and `done`, when set) has returned. */
struct la_job {
    struct la_list node;
    void (*run)(struct la_job *j); /* a file thread, without the lock */
    /* The same thread, then, with the lock held; may return one more job, which is run at once without the
     * lock. NULL: `run` has freed the job. */
    struct la_job *(*done)(struct la_job *j);
};

void la_filer_submit(struct la_filer *f, struct la_job *j); /* under the lock */
void la_filer_lock(struct la_filer *f);
void la_filer_unlock(struct la_filer *f);
/* Objects that may be left over when the filer is freed: run(job) is called for what is still in this list
 * then. */
struct la_list *la_filer_leftovers(struct la_filer *f); /* of struct la_job, by node; under the lock */

#endif
