/* env.h (layer: proto): what a worker lends to everything that speaks a protocol: loop, memory, bounds, scratch space. One a worker. */
#ifndef LASTACK_ENV_H
#define LASTACK_ENV_H

#include "lastack/conf.h"
#include "lastack/http1.h"
#include "lastack/slab.h"
#include "lastack/spool.h"
#include "lastack/tls.h"

#define LA_SCRATCH_BYTES (64u * 1024)
#define LA_SMALL_BUF 4096u

/* A byte buffer from one of two slabs: small, or large enough for the largest head. */
struct la_buf {
    bool large;
    uint32_t cap, n;
    char p[];
};

struct la_env {
    struct la_loop *loop;
    struct la_filer *filer;
    struct la_bounds *bounds;
    struct la_slab small, large;
    size_t large_bytes;   /* capacity of a large buffer */
    struct la_slab clients;
    char *scratch;                /* LA_SCRATCH_BYTES; valid within one callback */
    struct la_http_head *request; /* parse results; valid within one callback */
    struct la_http_head *response;
    struct la_http_limits limits; /* of client requests */
    struct la_http_limits response_limits;
    uint64_t body_max; /* limits.body; 0: none */
    struct la_tls_meter handshakes; /* of clients: limits.handshake_cpu */
};
/* header_bytes: limits.header_bytes, bounds the large buffers; it cannot grow while the env lives. */
void la_env_init(struct la_env *e, struct la_loop *l, struct la_filer *f, struct la_bounds *b, size_t header_bytes);
void la_env_fini(struct la_env *e);
/* NULL: out of memory (bounds or allocation). Charged to limits.memory. */
struct la_buf *la_buf_get(struct la_env *e, bool large);
/* A small one even over limits.memory: for the short answer that says so, one for a client. NULL: the system has none. */
struct la_buf *la_buf_get_anyway(struct la_env *e);
void la_buf_put(struct la_env *e, struct la_buf **b);
/* Moves the content to a large buffer. False: no memory; *b is as before. */
bool la_buf_grow(struct la_env *e, struct la_buf **b);

#endif
