/* static.h: a file as the answer to a request (static.c). */
#ifndef LASTACK_PROXY_STATIC_H
#define LASTACK_PROXY_STATIC_H

#include "site.h"

struct la_exchange;
struct la_static;

/* Answers with the file of hit (takes its fd), or with where it has moved to. The exchange may be over, and
 * freed, after it. */
void la_static_answer(struct la_exchange *x, const struct la_http_head *head, struct la_site_hit *hit);
void la_static_on_room(struct la_exchange *x);
void la_static_free(struct la_static **s);

#endif
