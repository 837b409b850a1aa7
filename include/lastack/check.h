/* check.h (layer: proto): active health checks: one checker per server of an upstream that has health.path set.
 *
 * One worker of the process runs them (worker 0); the verdict is the shared server's, so that every worker sees it. */
#ifndef LASTACK_CHECK_H
#define LASTACK_CHECK_H

#include "lastack/env.h"
#include "lastack/upstreams.h"

struct la_checks;
/* env and u outlive it. */
struct la_checks *la_checks_new(struct la_env *env, struct la_upstreams *u);
/* After each la_upstreams_apply, with the same plan. A checker whose upstream and server stay goes on with the new numbers; others
 * begin or end. The plan is not needed after the call. */
void la_checks_apply(struct la_checks *k, const struct la_upstream_plan *plan, unsigned n);
/* No check begins any more; those under way come to their end, which health.timeout bounds. They are no verdicts. */
void la_checks_drain(struct la_checks *k);
/* Before la_upstreams_close. A check under way is broken off; it is no verdict. Not from a callback of a check. */
void la_checks_free(struct la_checks **k);

#endif
