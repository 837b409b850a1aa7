/* accel.h: a script's answer that names a file to be sent in its place (accel.c). */
#ifndef LASTACK_PROXY_ACCEL_H
#define LASTACK_PROXY_ACCEL_H

#include "lastack/proxy.h"

struct la_exchange;

/* What h asks for. LA_OK and *fd -1: nothing; LA_OK and an open file; or what the client is told instead. */
enum la_err la_accel_find(const struct la_exchange *x, const struct la_http_head *h, int *fd);
/* X-Accel-Buffering: no: what the client does not take is not to pile up in a file. */
bool la_accel_unbuffered(const struct la_http_head *h);
/* Is this field for us alone? Drops it from what is passed on. */
bool la_accel_is_ours(const struct la_conf_fastcgi *f, struct la_slice name);

#endif
