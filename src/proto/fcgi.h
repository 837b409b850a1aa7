/* fcgi.h: what the files of the FastCGI server side share. */
#ifndef LASTACK_PROTO_FCGI_H
#define LASTACK_PROTO_FCGI_H

#include "lastack/call.h"

/* fcgi_params.c: PARAMS records for a request, less what begin adds. */
struct la_buf *la_fcgi_encode(struct la_env *env, const struct la_request *r, enum la_err *e);

/* fcgi_stderr.c: a piece of what a script wrote to its standard error; the end of the request. */
void la_fcgi_stderr(struct la_call *c, struct la_slice piece);
void la_fcgi_stderr_end(struct la_call *c);

#endif
