/* probe.h: `check --probe` (probe.c). */
#ifndef LASTACK_TOOLS_PROBE_H
#define LASTACK_TOOLS_PROBE_H

#include "lastack/conf.h"

void la_probe(const struct la_conf *c, struct la_conf_findings *out);

#endif
