/* fpm.h (layer: codec): what php-fpm's status page says of its pool (pm.status_path with ?json). No I/O, no allocation. */
#ifndef LASTACK_FPM_H
#define LASTACK_FPM_H

#include "lastack/base.h"

/* With connections that stay open php-fpm counts too many active workers between two of its heartbeats (a second): active and total may
 * be too large for a moment, never too small. */
struct la_fpm_status {
    int64_t accepted, listen_queue, max_listen_queue, idle, active, total, max_active, max_children_reached, slow;
    bool is_static; /* pm = static: total is pm.max_children */
};
/* False: it is none. What is not in it is 0. */
bool la_fpm_status_read(struct la_slice json, struct la_fpm_status *out);

/* What is wrong with a pool of so many places before it, as a text (NUL-terminated, cut to cap); false: nothing. idle: of our
 * connections, how many idle. */
bool la_fpm_judge(const struct la_fpm_status *s, int pool_max, int idle, char *text, size_t cap);

#endif
