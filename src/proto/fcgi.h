/* fcgi.h: what the files of the FastCGI server side share. */
#ifndef LASTACK_PROTO_FCGI_H
#define LASTACK_PROTO_FCGI_H

#include "lastack/call.h"

/* fcgi_params.c: PARAMS records for a request, less what begin adds. */
struct la_buf *la_fcgi_encode(struct la_env *env, const struct la_request *r, enum la_err *e);

/* fcgi_stderr.c: a piece of what a script wrote to its standard error; the end of the request. */
void la_fcgi_stderr(struct la_call *c, struct la_slice piece);
void la_fcgi_stderr_end(struct la_call *c);

/* fcgi_watch.c */
enum la_fcgi_seen {
    LA_FCGI_AT_WORK, /* a worker has it, or nobody can tell */
    LA_FCGI_BUSY,    /* its worker has not read it, and it may go elsewhere */
    LA_FCGI_STARVES, /* nobody accepts the connection: look again after *again_ms */
};
/* How long to wait before looking, of most_ms for the first byte or for more room to send; 0: nothing would be seen. */
uint64_t la_fcgi_watch_ms(const struct la_call *c, uint64_t most_ms);
enum la_fcgi_seen la_fcgi_look(struct la_call *c, uint64_t *again_ms);
/* Bytes came while the other side has read nothing of the request: they are no answer to it. Costs system calls. */
bool la_fcgi_unasked(const struct la_call *c);

#endif
