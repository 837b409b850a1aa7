/* sampler.h: what only status.c asks the sampler for. */
#ifndef LASTACK_ADMIN_SAMPLER_H
#define LASTACK_ADMIN_SAMPLER_H

#include "lastack/admin.h"

/* What the upstream's total times were lately: *recent becomes `now` (its sum over all workers) minus the count of 30
 * to 60 seconds ago, or of its start. Returns how many seconds that covers; 0: the upstream is not known yet. */
unsigned la_sampler_recent(const struct la_sampler *s, const char *upstream, const struct la_hist *now,
                           struct la_hist *recent);

#endif
