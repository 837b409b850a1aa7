/* static.h: a file as the answer to a request (static.c). */
#ifndef LASTACK_PROXY_STATIC_H
#define LASTACK_PROXY_STATIC_H

#include "site.h"

struct la_exchange;
struct la_static;

/* The fields of a request that decide how a file is sent. NULL p: not there. */
struct la_wants {
    struct la_slice if_match, if_unmodified, if_none_match, if_modified, range, if_range;
};
void la_static_wants(const struct la_http_head *head, struct la_wants *out);
/* The same kept; the slices hold as long as the client's request does. NULL: no memory. */
struct la_wants *la_wants_new(const struct la_http_head *head, struct la_bounds *b);
void la_wants_free(struct la_wants **w, struct la_bounds *b);

/* Answers with the file of hit (takes its fd), or with where it has moved to. The exchange may be over, and
 * freed, after it. */
void la_static_answer(struct la_exchange *x, const struct la_http_head *head, struct la_site_hit *hit);
/* A script's answer, h, with a file in place of its body (takes fd). Content is sent after la_static_go. */
void la_static_instead(struct la_exchange *x, const struct la_http_head *h, int fd);
void la_static_go(struct la_exchange *x);
void la_static_on_room(struct la_exchange *x);
void la_static_free(struct la_static **s);

#endif
