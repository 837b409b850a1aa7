/* http1_private.h (codec, private): what the request and the response head share: the field section, its
 * framing fields, its Connection options. Parsing runs left to right and stops at the first bad byte, so that
 * the verdict on a message does not depend on how its bytes arrived; what needs the whole head is judged
 * after its last line. */
#ifndef LASTACK_HTTP1_PRIVATE_H
#define LASTACK_HTTP1_PRIVATE_H

#include "lastack/http1.h"

/* The field section and its empty line, from *at; p is the start of the message. Fills head->header,
 * ->headers and
 * ->present, and *repeated (bits of the fields seen more than once). DONE: *at is behind the empty line.
 * ERROR: *err is `syntax` or `size`, which differ for requests and responses. */
struct la_http_section {
    const char *at, *end;
    uint64_t repeated;
    bool underscore;
    uint32_t max_headers;
    enum la_err syntax, size;
};
enum la_http_result la_http_section_parse(struct la_http_head *head, struct la_http_section *s,
                                          enum la_err *err);
uint32_t la_http_max_headers(const struct la_http_limits *limits);

/* An earlier call has seen p[0..seen) of an unfinished head; seen is not 0. False when the bytes since then can change
 * nothing: no empty line, no first line, nothing malformed. */
bool la_http_worth_parsing(const char *p, size_t n, size_t seen);

/* Content-Length and Transfer-Encoding: has_length, announced_length, *chunked. LA_OK, LA_BAD_FRAMING, or
 * LA_NOT_IMPLEMENTED for a transfer coding that is well-formed but not chunked. */
enum la_err la_http_framing_read(struct la_http_head *head, uint64_t repeated, bool *chunked);

/* Connection, TE, Upgrade: close_said, keep_alive, te_trailers, upgrade_said, and the hop marks. False: the
 * Connection field is no list of tokens, or names more than LA_HTTP_MAX_NAMED fields. */
#define LA_HTTP_MAX_NAMED 32
bool la_http_options_judge(struct la_http_head *head, uint64_t repeated); /* one of the first two is there */
static inline bool la_http_options_read(struct la_http_head *head, uint64_t repeated)
{
    head->keep_alive = head->minor == 1;
    return (head->present & (LA_FIELD_BIT(CONNECTION) | LA_FIELD_BIT(TE))) == 0 || /* Upgrade needs Connection */
           la_http_options_judge(head, repeated);
}

/* Fields that are hop-by-hop by their own definition. */
extern const uint64_t la_http_hop_fields;

#endif
