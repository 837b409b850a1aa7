/* fetch.h (layer: io): reads a regular file piece by piece without ever waiting for a disk: what the page
 * cache has comes at once, the rest is read by the file threads.
 *
 * One owner thread (a loop's). The loop's on_mail must treat what this posts as a struct la_note. */
#ifndef LASTACK_FETCH_H
#define LASTACK_FETCH_H

#include "lastack/spool.h"
#include <sys/types.h>

struct la_fetch;
#define LA_FETCH_LATER (-2)
/* Takes fd over. on_ready: ask again, the answer is there; it may free the fetch. NULL: no memory (fd is
 * closed). */
struct la_fetch *la_fetch_new(struct la_loop *l, struct la_filer *f, struct la_bounds *b, int fd,
                              void (*on_ready)(void *arg), void *arg);
/* Copies up to n bytes at offset to p: how many, 0 at the end of the file, -1 (errno), or LA_FETCH_LATER:
 * on_ready comes, then ask for the same again. */
ssize_t la_fetch_read(struct la_fetch *f, void *p, size_t n, uint64_t offset);
void la_fetch_free(struct la_fetch **f); /* any time */

#endif
