/* http1.h (layer: codec): HTTP/1.1 messages, bytes <-> meaning (RFC 9110, RFC 9112). No I/O, no clock, no allocation.
 *
 * Strict: what two implementations could read differently is an error, never a guess. The parser keeps slices into
 * the caller's buffer, which must stay in place until the message is done with. Nothing is ever copied through:
 * the writer makes a canonical head from what was parsed. */
#ifndef LASTACK_HTTP1_H
#define LASTACK_HTTP1_H

#include "lastack/base.h"
#include "lastack/err.h"

/* Header fields that the proxy acts on; found by length and a perfect hash. */
#define LA_HTTP_FIELDS(X)                                                                                     \
    X(HOST, "host") X(CONNECTION, "connection") X(CONTENT_LENGTH, "content-length")                            \
    X(TRANSFER_ENCODING, "transfer-encoding") X(TRAILER, "trailer") X(TE, "te") X(UPGRADE, "upgrade")          \
    X(EXPECT, "expect") X(KEEP_ALIVE, "keep-alive") X(PROXY_CONNECTION, "proxy-connection")                    \
    X(PROXY_AUTHENTICATE, "proxy-authenticate") X(PROXY_AUTHORIZATION, "proxy-authorization")                  \
    X(PROXY, "proxy") X(VIA, "via") X(DATE, "date") X(MAX_FORWARDS, "max-forwards")                            \
    X(X_FORWARDED_FOR, "x-forwarded-for") X(X_FORWARDED_PROTO, "x-forwarded-proto")                            \
    X(X_FORWARDED_HOST, "x-forwarded-host") X(FORWARDED, "forwarded") X(WWW_AUTHENTICATE, "www-authenticate")  \
    X(AUTHORIZATION, "authorization") X(USER_AGENT, "user-agent") X(REFERER, "referer")                        \
    X(HTTP2_SETTINGS, "http2-settings") X(RETRY_AFTER, "retry-after") X(PROXY_STATUS, "proxy-status")          \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key") X(SERVER, "server") X(CONTENT_TYPE, "content-type")              \
    X(COOKIE, "cookie") X(LOCATION, "location")

enum la_http_field {
    LA_FIELD_OTHER,
#define X(id, name) LA_FIELD_##id,
    LA_HTTP_FIELDS(X)
#undef X
    LA_FIELD_COUNT
};
#define LA_FIELD_BIT(id) (UINT64_C(1) << LA_FIELD_##id) /* in la_http_head.present */
enum la_http_field la_http_field_find(struct la_slice name); /* any case */

enum la_http_method {
    LA_METHOD_OTHER, LA_METHOD_GET, LA_METHOD_HEAD, LA_METHOD_POST, LA_METHOD_PUT, LA_METHOD_DELETE,
    LA_METHOD_OPTIONS, LA_METHOD_TRACE, LA_METHOD_CONNECT, LA_METHOD_PATCH,
};
/* RFC 9110 9.2.2: GET HEAD PUT DELETE OPTIONS TRACE; anything unknown is not. */
bool la_http_method_idempotent(enum la_http_method m);

struct la_http_header {
    uint32_t name_at, value_at; /* offsets into the head buffer */
    uint32_t value_n;
    uint16_t name_n;
    uint8_t field; /* enum la_http_field */
    bool hop;      /* hop-by-hop: a standard one or named by Connection; not forwarded. Connection cannot name away
                    * framing, routing or identity (Host, Content-*, X-Forwarded-*, Forwarded, Via, Authorization,
                    * Cookie, ...): those keep hop = false. Content-Length and Host are never hop: the layer above
                    * writes its own. Proxy (httpoxy) and HTTP2-Settings are hop; Trailer is not. */
    bool canonical; /* the line is "Name: value" CRLF, without any other white space */
};

enum la_http_framing {
    LA_FRAMING_NONE,    /* no body */
    LA_FRAMING_LENGTH,  /* length bytes */
    LA_FRAMING_CHUNKED,
    LA_FRAMING_CLOSE,   /* responses only: until FIN */
    LA_FRAMING_TUNNEL,  /* 101 (or 2xx to CONNECT, never asked) */
};

#define LA_HTTP_MAX_HEADERS 256 /* hard bound over limits.headers */

/* A parsed head: request or response. All offsets are into base. */
struct la_http_head {
    const char *base;
    uint32_t head_n; /* bytes of the head with its empty line */
    /* request line */
    enum la_http_method method;
    struct la_slice method_text;
    struct la_slice target; /* as received; for absolute-form: path and query only ("/" if empty) */
    struct la_slice host;   /* Host, or the authority of an absolute-form target; "" only for HTTP/1.0 without Host */
    bool absolute_form, asterisk_form;
    bool authority_form; /* CONNECT only: target and host are host:port; the layer above refuses it */
    /* status line */
    int status;
    struct la_slice reason;
    /* both */
    uint8_t minor; /* HTTP/1.minor: 0 or 1 */
    enum la_http_framing framing;
    uint64_t length;      /* LA_FRAMING_LENGTH only, else 0; for HEAD/304 see announced_length */
    uint64_t announced_length; /* the Content-Length, when has_length */
    uint64_t present;     /* bit 1 << enum la_http_field: such a field was there */
    bool has_length;      /* a Content-Length field was there (also where it is no framing: HEAD, 304) */
    bool doubtful;        /* responses: relay, but never reuse the connection (204 or 1xx that announces a body, a
                           * malformed Connection field) */
    bool keep_alive;      /* what the sender offers: version, Connection: close / keep-alive; never with
                           * LA_FRAMING_CLOSE */
    bool close_said;      /* Connection: close was there */
    bool expect_continue; /* 100-continue, HTTP/1.1, and a body follows; otherwise Expect is marked hop */
    bool te_trailers;
    bool upgrade_said;    /* HTTP/1.1, Connection: upgrade, one Upgrade field with one protocol, and no body
                           * (requests; Content-Length: 0 is none) */
    struct la_slice upgrade;
    uint32_t keep_alive_timeout_s; /* Keep-Alive: timeout=N of a response; 0 = none */
    bool underscore;      /* a field that is not known has "_" in its name */
    uint16_t headers;
    struct la_http_header header[LA_HTTP_MAX_HEADERS]; /* only [0..headers) is ever written */
    uint8_t first[LA_FIELD_COUNT]; /* where the first one of a field is that is present */
};

struct la_http_limits {
    uint32_t head_bytes; /* whole head, with empty lines before it; more than 0 */
    uint16_t headers;    /* 0, or over LA_HTTP_MAX_HEADERS: that many */
    uint32_t target_bytes; /* 414 over it; 0: head_bytes */
};

enum la_http_result { LA_HTTP_DONE, LA_HTTP_MORE, LA_HTTP_ERROR };

/* Parses a request head at p[0..n). `seen` is how many bytes an earlier call that said MORE has already looked at
 * (0 at first), so that byte-by-byte arrival stays linear; on MORE it is updated. p may move between calls. At most two empty lines
 * before the request line are skipped (RFC 9112 2.2); they count in head_n. DONE: *head is filled and head->head_n says
 * where the body starts. MORE: *head is not to be used. ERROR: *err is one of BAD_REQUEST, BAD_FRAMING, BAD_HOST,
 * URI_TOO_LONG, HEAD_TOO_LARGE, EXPECTATION, NOT_IMPLEMENTED, VERSION; the connection cannot go on.
 *
 * Stricter than the RFCs on purpose: Host and authority hold only letters, digits, "-._~", labels are not empty, IPv6
 * in brackets, a port is 1 to 5 digits; an absolute-form target must name the same host as Host (a default port
 * aside) and have a path; a Content-Length list is refused even when its members agree; a header name has at most
 * LA_HTTP_MAX_NAME bytes. Laxer, because browsers send them: []{}|^` in a target, a backslash in its query. */
#define LA_HTTP_MAX_NAME 1024
enum la_http_result la_http_parse_request(struct la_http_head *head, const char *p, size_t n, size_t *seen,
                                          const struct la_http_limits *limits, enum la_err *err);
/* The same for a response to a request with this method (framing of HEAD and 1xx/204/304 depends on it).
 * asked_upgrade: the request offered an Upgrade, so that 101 may come; else 101 is LA_UPGRADE_FAILED
 * (also a 101 that names no protocol; the caller compares head->upgrade with what it asked for). Other errors:
 * RESPONSE_BAD, RESPONSE_FRAMING, RESPONSE_HEAD_SIZE. An interim response (1xx) is DONE with LA_FRAMING_NONE: the
 * caller goes on at head_n with seen = 0. */
enum la_http_result la_http_parse_response(struct la_http_head *head, const char *p, size_t n, size_t *seen,
                                           const struct la_http_limits *limits, enum la_http_method method,
                                           bool asked_upgrade, enum la_err *err);

static inline struct la_slice la_http_name(const struct la_http_head *h, size_t i)
{
    return la_slice(h->base + h->header[i].name_at, h->header[i].name_n);
}
static inline struct la_slice la_http_value(const struct la_http_head *h, size_t i)
{
    return la_slice(h->base + h->header[i].value_at, h->header[i].value_n);
}
/* First field of that kind, or -1. */
static inline int la_http_find(const struct la_http_head *h, enum la_http_field f)
{
    return h->present >> f & 1 ? h->first[f] : -1;
}
/* Next member of a comma list (RFC 9110 5.6.1), OWS trimmed, empty members skipped; *rest starts as the whole value.
 * Does not know quoted strings. */
bool la_http_list_next(struct la_slice *rest, struct la_slice *item);

/* The body decoder: length, chunked or until close. Feed it bytes; it hands out payload slices of the input. */
struct la_http_body {
    enum la_http_framing framing;
    uint64_t left;      /* of the length, or of the chunk */
    uint8_t state;
    uint8_t digits;
    uint32_t line;      /* bytes of the present chunk line or trailer section, bounded */
    uint32_t ext_total; /* chunk extension bytes in the whole body, bounded */
    bool done;
    /* trailer section: collected by the caller's buffer */
    char *trailer;
    uint32_t trailer_cap, trailer_n;
    bool trailer_cut; /* a line did not fit into trailer_cap: it and all after it were dropped */
};
#define LA_HTTP_CHUNK_LINE 256   /* bytes of one chunk-size line */
#define LA_HTTP_CHUNK_EXT  16384 /* extension bytes in a body */
#define LA_HTTP_TRAILER    8192  /* bytes of a trailer section, kept or not */
/* The decoder keeps no pointer to head. LA_FRAMING_CLOSE and _TUNNEL are never done: the FIN ends them.
 * trailer/trailer_cap: where the raw trailer section (validated field lines, CRLF each) is kept; NULL: dropped after
 * validation. */
void la_http_body_init(struct la_http_body *b, const struct la_http_head *head, char *trailer, uint32_t trailer_cap);
/* Consumes from p[0..n): returns how many bytes were used; *payload is a slice of p with the next piece of content
 * (may be empty). b->done after the last byte of the message. On malformed input returns SIZE_MAX and sets *err to
 * LA_BAD_CHUNK (the caller maps it for responses), then and ever after. Call again while bytes are left and !b->done.
 * Never reads past the last byte of the message: what follows is the next message or a reason not to reuse. */
size_t la_http_body_feed(struct la_http_body *b, const char *p, size_t n, struct la_slice *payload, enum la_err *err);
/* Iterates validated trailer lines: *at starts at 0; false at the end. Fields that may not be trailers (framing,
 * routing, authentication, controls, content, hop-by-hop; RFC 9110 6.5.1) are skipped, and names with "_". */
bool la_http_trailer_next(const struct la_http_body *b, uint32_t *at, struct la_slice *name, struct la_slice *value);

/* The writer: appends to a caller's buffer and never overflows it: on too little room `overflow` is set and the
 * rest is dropped; the caller checks once at the end. */
struct la_http_writer {
    char *p;
    size_t n, cap;
    bool overflow;
};
static inline void la_http_writer_init(struct la_http_writer *w, char *p, size_t cap)
{
    *w = (struct la_http_writer){p, 0, cap, false};
}
void la_http_write(struct la_http_writer *w, struct la_slice s);
void la_http_write_length(struct la_http_writer *w, uint64_t v); /* the Content-Length line */
/* "Name: value\r\n". A name or value with a control character (CR, LF, NUL, ...) is never written: overflow is set. */
void la_http_write_header(struct la_http_writer *w, struct la_slice name, struct la_slice value);
/* The same for a name and a value that cannot hold a control character: constants, what a parser has judged. */
void la_http_write_header_known(struct la_http_writer *w, struct la_slice name, struct la_slice value);
/* Fields [from, to) of a head that the parser has made: their bytes were judged there. */
void la_http_write_parsed(struct la_http_writer *w, const struct la_http_head *head, size_t from, size_t to);
void la_http_write_status(struct la_http_writer *w, int status, struct la_slice reason); /* "HTTP/1.1 200 OK\r\n" */
/* "GET /x HTTP/1.1\r\n" */
void la_http_write_request_line(struct la_http_writer *w, struct la_slice method, struct la_slice target);
/* The same for a method and a target that a parser has judged. */
void la_http_write_request_line_known(struct la_http_writer *w, struct la_slice method, struct la_slice target);
/* Chunk header for n payload bytes ("1a\r\n"); 0 gives "0\r\n", which starts the end of the body. out has
 * LA_CHUNK_HEAD bytes; returns its length. */
#define LA_CHUNK_HEAD 20
size_t la_http_chunk_head(char *out, uint64_t n);
struct la_slice la_http_reason(int status); /* standard phrase, "" if unknown */

/* Is p a path that is safe to match on: percent-decodes unreserved characters, resolves "." and "..", merges nothing
 * else; hex digits of what stays encoded become upper case. Writes the normalized path (without query) to out (cap
 * bytes, no NUL). 0 when it does not start with "/", escapes the root, holds an encoded NUL, a ".." that is only seen
 * by who also splits at "%2F", "%5C" or ";" or that follows an empty segment, a segment that is nothing for who takes
 * away what follows ";" ("/.;/", "/;a/"), or does not fit; else its length. */
size_t la_http_normalize_path(struct la_slice target, char *out, size_t cap);

bool la_http_is_token(struct la_slice s);
/* host[:port] as RFC 3986 authority without userinfo; stricter: see la_http_parse_request. */
bool la_http_is_host(struct la_slice s);

#endif
