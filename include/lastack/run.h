/* run.h (layer: run): the proxy as a process: `lastack run`. */
#ifndef LASTACK_RUN_H
#define LASTACK_RUN_H

#include "lastack/conf.h"

#define LA_QUICK_NAME "command line" /* of its text, where a file's name stands */

/* What the command line gives instead of a file. Lists are comma separated; NULL: not given. */
struct la_quick {
    const char *listen, *upstream, *source, *pool, *admin, *workers, *access_log;
};
/* Comma separated, and no item empty. */
bool la_quick_is_list(const char *items);
/* A configuration text for these; the caller frees it. Lists have been judged, pool and workers are numbers (workers: or "auto"). */
char *la_quick_text(const struct la_quick *q);
/* Findings about a text that was made of options name the options, not places in a text that nobody has seen. */
void la_quick_findings(struct la_conf_findings *f);

/* Runs until a signal ends it. path NULL: text is the configuration (reload then changes nothing). Returns the exit
 * status. */
int la_run(const char *path, const char *text);

/* Prints findings, one a line, to standard error. */
void la_findings_print(const struct la_conf_findings *f);

#endif
