/* fpm_ask.h (layer: tools): php-fpm's status page, asked for over a connection of its own. Blocking. */
#ifndef LASTACK_TOOLS_FPM_ASK_H
#define LASTACK_TOOLS_FPM_ASK_H

#include "lastack/addr.h"
#include "lastack/fpm.h"

#define FPM_PATIENCE_S 2

enum fpm_answer {
    FPM_ANSWERED,
    FPM_NO_CONNECTION, /* errno */
    FPM_SILENT,        /* not within FPM_PATIENCE_S */
    FPM_OTHER_PAGE,    /* what came is not its status */
};
enum fpm_answer fpm_ask(const struct la_addr *a, const char *status_path, struct la_fpm_status *out);

#endif
