/* fcgi.h (layer: codec): FastCGI records and the CGI response head inside them, bytes <-> meaning
 * (FastCGI 1.0, RFC 3875). No I/O, no clock, no allocation.
 *
 * One request at a time per connection: php-fpm knows no other way (FCGI_MPXS_CONNS = 0). Requests that follow each other
 * on a connection have different ids, so that late bytes of one are never taken for the next one's response; the ids are
 * small, as the specification asks. Strict: what is not exact is an error, never a guess. */
#ifndef LASTACK_FCGI_H
#define LASTACK_FCGI_H

#include "lastack/http1.h"

enum la_fcgi_type {
    LA_FCGI_BEGIN = 1,
    LA_FCGI_ABORT,
    LA_FCGI_END,
    LA_FCGI_PARAMS,
    LA_FCGI_STDIN,
    LA_FCGI_STDOUT,
    LA_FCGI_STDERR,
};

/* ---- what we say ---- */

#define LA_FCGI_HEAD_BYTES  8
#define LA_FCGI_BEGIN_BYTES 16
#define LA_FCGI_RECORD_MOST 65528u /* content of a record that we write */
#define LA_FCGI_IDS         8u     /* ids are 1 to this */
/* The id of the n-th request of a connection, from 1. */
static inline uint8_t la_fcgi_id(uint64_t n)
{
    return (uint8_t)(1 + (n - 1) % LA_FCGI_IDS);
}
/* The head of a record with n bytes of content (at most LA_FCGI_RECORD_MOST) and no padding. */
void la_fcgi_head(char out[LA_FCGI_HEAD_BYTES], enum la_fcgi_type type, uint8_t id, size_t n);
/* BEGIN_REQUEST as a responder. keep: FCGI_KEEP_CONN; without it the other side hangs up after its response.
 */
void la_fcgi_begin(char out[LA_FCGI_BEGIN_BYTES], uint8_t id, bool keep);
/* Writes another id into complete records of ours, p[0..n). */
void la_fcgi_readdress(char *p, size_t n, uint8_t id);

/* Name-value pairs in PARAMS records. On too little room `overflow` is set and the rest is dropped. */
struct la_fcgi_params {
    char *p;
    size_t n, cap;
    size_t record; /* where the open record starts; SIZE_MAX: none is open */
    bool overflow;
    uint8_t id;
};
void la_fcgi_params_init(struct la_fcgi_params *w, uint8_t id, char *p, size_t cap);
void la_fcgi_param(struct la_fcgi_params *w, struct la_slice name, struct la_slice value);
/* The same by hand: the lengths, then exactly as many bytes. */
void la_fcgi_param_open(struct la_fcgi_params *w, size_t name_n, size_t value_n);
void la_fcgi_param_bytes(struct la_fcgi_params *w, const char *p, size_t n);
/* The same in one piece: where name_n and then value_n bytes are to be written. NULL: not in the present record; then by hand. */
char *la_fcgi_param_room(struct la_fcgi_params *w, size_t name_n, size_t value_n);
/* Closes the open record. The stream of parameters goes on in further records until an empty one ends it. */
void la_fcgi_params_close(struct la_fcgi_params *w);

/* ---- what we hear ---- */

enum la_fcgi_event {
    LA_FCGI_MORE, /* all input is used, nothing to tell */
    LA_FCGI_OUT,  /* a piece of STDOUT */
    LA_FCGI_ERR,  /* a piece of STDERR */
    LA_FCGI_OVER, /* END_REQUEST with FCGI_REQUEST_COMPLETE */
    LA_FCGI_BAD,  /* not FastCGI, not our request, or refused; then and ever after */
};
struct la_fcgi_reader { /* zero but for the id */
    uint8_t id; /* of the request that this answers */
    uint8_t head[LA_FCGI_HEAD_BYTES], have;
    uint8_t type;
    uint32_t left, padding; /* of the present record */
    uint8_t end[LA_FCGI_HEAD_BYTES], end_n;
    bool bad, over, out_ended;
    bool any; /* a record came that this request may be answered with */
    bool odd; /* a record of a type that nobody knows was among them: whoever sends it is not trusted with more */
};
/* Consumes from p[0..n) and returns how many bytes were used; *event says what came, *piece is a slice of p
 * for OUT and ERR. Call again while bytes are left and the event is OUT or ERR. After OVER the reader reads
 * nothing: what follows is poison. */
size_t la_fcgi_read(struct la_fcgi_reader *r, const char *p, size_t n, enum la_fcgi_event *event,
                    struct la_slice *piece);
/* Between two records, with nothing begun? */
static inline bool la_fcgi_at_start(const struct la_fcgi_reader *r)
{
    return r->have == 0 && r->left == 0 && r->padding == 0;
}

/* ---- the response head (RFC 3875 6) ---- */

/* Collects a head that comes in pieces as canonical HTTP header lines: LF becomes CRLF. */
struct la_cgi_gather {
    bool cr;   /* the last byte was one */
    bool line; /* the present line has bytes */
    bool done;
    bool overflow;
};
/* Appends to out[*out_n..cap); returns how many bytes of p were used: all of them, unless it is done (the
 * rest is the body) or there is no room (overflow: call again with more of it). */
size_t la_cgi_gather(struct la_cgi_gather *g, const char *p, size_t n, char *out, uint32_t *out_n,
                     size_t cap);
/* The meaning of gathered lines p[0..n): fields with Status and framing taken out; status 200, or 302 with
 * only a Location. framing: NONE, LENGTH, or CLOSE when END_REQUEST alone ends it. LA_OK, RESPONSE_BAD,
 * RESPONSE_FRAMING or RESPONSE_HEAD_SIZE. */
enum la_err la_cgi_parse_head(struct la_http_head *head, const char *p, size_t n,
                              const struct la_http_limits *limits, enum la_http_method method);

#endif
