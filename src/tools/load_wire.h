/* load_wire.h (layer: tools): the little HTTP/1.1 reader that the load generator and the origin share.
 *
 * It is kept apart from codec/http1 on purpose: these two programs judge the proxy, and a judge that shares
 * the parser of the judged cannot see its mistakes. Tolerant about field syntax, exact about framing. It also
 * owns the token: 16 hex digits, unique per request, and the body pattern made of it ("<token>\n" repeated),
 * by which either side recognizes bytes that belong to another message.
 *
 * No I/O, no clock, no allocation; any thread. */
#ifndef LASTACK_TOOLS_LOAD_WIRE_H
#define LASTACK_TOOLS_LOAD_WIRE_H

#include "lastack/base.h"

#define LA_WIRE_TOKEN    16          /* hex digits */
#define LA_WIRE_PERIOD   17          /* the token and a newline */
#define LA_WIRE_HEAD_MAX (64 * 1024) /* larger heads are malformed */

enum la_wire_framing { LA_WIRE_NONE, LA_WIRE_LENGTH, LA_WIRE_CHUNKED, LA_WIRE_CLOSE, LA_WIRE_TUNNEL };

/* A parsed head. Slices point into the caller's buffer. */
struct la_wire_head {
    struct la_slice method, target; /* requests */
    int status;                     /* responses */
    int minor;
    enum la_wire_framing framing;
    uint64_t length;
    size_t head_n;   /* with its empty line */
    bool close;      /* the sender said Connection: close */
    bool keep_alive; /* the sender said Connection: keep-alive */
    bool persistent; /* by version and Connection */
    bool expect;     /* Expect: 100-continue */
    bool upgrade;    /* an Upgrade field */
    bool token_body; /* X-Body: token: the body is the token's pattern */
    bool has_token;
    char token[LA_WIRE_TOKEN + 1]; /* from X-Token */
    struct la_slice control;       /* X-Origin: what the origin shall do */
    struct la_slice proxy_status;  /* Proxy-Status, for reports */
};

/* 1: *h is filled. 0: more bytes needed. -1: malformed. `response` to a HEAD has no body: to_head. */
int la_wire_parse(struct la_wire_head *h, const char *p, size_t n, bool response, bool to_head);

struct la_wire_body {
    enum la_wire_framing framing;
    uint64_t left;
    int state;
    unsigned line;
    bool done;
};
void la_wire_body_init(struct la_wire_body *b, const struct la_wire_head *h);
/* Consumes from p[0..n): how many bytes were used, with one piece of content in *payload; SIZE_MAX:
 * malformed. */
size_t la_wire_body_feed(struct la_wire_body *b, const char *p, size_t n, struct la_slice *payload);

void la_wire_token(char out[LA_WIRE_TOKEN + 1], uint64_t value);
/* Bytes at..at+n of the token's pattern. */
void la_wire_fill(char *out, size_t n, const char *token, uint64_t at);
bool la_wire_matches(const char *p, size_t n, const char *token, uint64_t at);

/* The value of key in "a=1&b=2"; empty with p NULL when absent. */
struct la_slice la_wire_query(struct la_slice query, const char *key);
bool la_wire_number(struct la_slice s, uint64_t *out); /* decimal digits only */

#endif
