/* run.h (layer: run): the proxy as a process: `lastack run`. */
#ifndef LASTACK_RUN_H
#define LASTACK_RUN_H

#include "lastack/conf.h"

/* What the command line gives instead of a file. Lists are comma separated; NULL: not given. */
struct la_quick {
    const char *listen, *upstream, *source, *pool, *admin, *workers, *access_log;
};
/* A configuration text for these; the caller frees it. */
char *la_quick_text(const struct la_quick *q);

/* Runs until a signal ends it. path NULL: text is the configuration (reload then changes nothing). Returns the exit
 * status. */
int la_run(const char *path, const char *text);

/* Prints findings, one a line, to standard error. */
void la_findings_print(const struct la_conf_findings *f);

#endif
