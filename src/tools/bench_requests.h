/* bench_requests.h (layer: tools): what the bench asks, when a file says it: requests written down, or an access log.
 *
 * Both give a list for the load generator (la_load_conf.ask). Errors are one sentence with file:line. */
#ifndef LASTACK_TOOLS_BENCH_REQUESTS_H
#define LASTACK_TOOLS_BENCH_REQUESTS_H

#include "tools/load.h"

#define BENCH_REQUESTS_MOST 1000000 /* of a file, the first ones */

struct bench_requests {
    struct la_load_ask *ask; /* as written; of a log: by time */
    size_t asks, room;
    bool timed;        /* at_us is known: LA_LOAD_TIMED is possible */
    bool cut;          /* the file holds more */
    uint64_t left_out; /* lines of a log that hold no request, or an unsafe one */
    uint64_t untimed;  /* those left out because they alone have no time */
    char **block;      /* owns all strings */
    size_t blocks, block_at, block_n;
};

/* A file of requests. False: *why. *r is zeroed by the caller, and freed by it in any case. "-" is standard input. */
bool bench_requests_read(struct bench_requests *r, const char *path, struct la_text *why);
/* An access log. unsafe: methods other than GET, HEAD and OPTIONS too, without a body. */
bool bench_requests_replay(struct bench_requests *r, const char *path, bool unsafe, struct la_text *why);
void bench_requests_fini(struct bench_requests *r);

/* ---- what the two readers share (bench_requests.c) ---- */
struct bench_line {
    const char *path;
    unsigned number;
    struct la_text *why;
};
/* Calls line for each line, without its end, until it says false. False: it did, or the file cannot be read. */
bool bench_requests_lines(const char *path, struct la_text *why,
                          bool (*line)(void *arg, struct bench_line *at, char *text, size_t n), void *arg);
LA_PRINTF(2, 3) bool bench_requests_bad(const struct bench_line *at, const char *fmt, ...); /* false, and says why */
char *bench_requests_keep(struct bench_requests *r, struct la_slice s);
/* The next ask, empty; NULL: there are enough. */
struct la_load_ask *bench_requests_add(struct bench_requests *r);
bool bench_requests_is_method(struct la_slice s);
/* A path and query, or "*", as the proxy takes it. */
bool bench_requests_is_target(struct la_slice s);
bool bench_requests_is_value(struct la_slice s); /* of a field */
/* A field that belongs to the connection: the generator says it itself. */
bool bench_requests_is_own_business(struct la_slice name);
/* A path, "*", or a URL, whose host is kept too. False: neither, or one that the proxy does not take. */
bool bench_requests_target(struct bench_requests *r, struct la_load_ask *a, struct la_slice s);

#endif
