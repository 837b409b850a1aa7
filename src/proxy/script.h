/* script.h: what a script is told (script.c). */
#ifndef LASTACK_PROXY_SCRIPT_H
#define LASTACK_PROXY_SCRIPT_H

#include "site.h"

struct la_exchange;

/* Room for one request's parameters. */
struct la_script {
    const struct la_exchange *x;
    const struct la_request *request; /* as it is passed on */
    const struct la_site_hit *hit;
    unsigned params;
    bool overflow, local_known;
    struct la_addr local; /* the address the client came to */
    size_t used;
    struct la_extra param[128];
    char room[32 * 1024];
};
/* Fills r->param; its fields are there already. LA_HEAD_TOO_LARGE: it does not fit. */
enum la_err la_script_params(struct la_script *s, struct la_request *r);

#endif
