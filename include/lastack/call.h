/* call.h (layer: proto): the server side: one request carried over one connection, and its response read back.
 *
 * The exchange embeds a la_call, fills `on`, encodes the request once (it may be sent again over another connection)
 * and begins the call when it has a connection. A protocol is an entry of la_call_protocol: nothing else knows its name. */
#ifndef LASTACK_CALL_H
#define LASTACK_CALL_H

#include "lastack/env.h"
#include "lastack/fcgi.h"
#include "lastack/message.h"
#include "lastack/upstreams.h"

struct la_call;

struct la_call_events {
    /* The next piece of the request body, as much as lies together; empty: none now (la_call_body_ready tells when),
     * or with *last: complete. Pieces with *last may hold bytes. */
    struct la_slice (*pull)(struct la_call *c, bool *last);
    void (*consumed)(struct la_call *c, size_t n);
    struct la_slice (*trailers)(struct la_call *c); /* raw request trailer lines, empty: none */
    void (*interim)(struct la_call *c, const struct la_http_head *h); /* 1xx but 101 */
    void (*head)(struct la_call *c, const struct la_http_head *h);
    void (*body)(struct la_call *c, struct la_slice piece); /* holds until flush */
    void (*flush)(struct la_call *c);                       /* a batch of the above is over */
    /* The response is complete; trailers are raw lines. The connection has been judged and goes back after this. */
    void (*end)(struct la_call *c, struct la_slice trailers);
    /* 101: c->conn is the callee's; early are bytes behind the head. */
    void (*upgraded)(struct la_call *c, const struct la_http_head *h, struct la_slice early);
    /* It failed; c->conn is the callee's to release (LA_GONE if gone, else LA_RESET) or to redial. */
    void (*fail)(struct la_call *c, enum la_err e, enum la_close_cause cause, bool gone);
    void (*idle)(struct la_call *c); /* no callback is under way any more */
};

/* What a FastCGI call keeps beside what every call does. */
struct la_call_fcgi {
    struct la_fcgi_reader records;
    struct la_cgi_gather gather;
    bool watching; /* the timer is set for the first byte, not for the response */
    bool starving; /* nobody accepts the connection */
    char lead[LA_FCGI_BEGIN_BYTES], tail[80];
    uint8_t tail_n;
    struct la_buf *err; /* an unfinished line of STDERR */
    unsigned err_lines; /* logged of this request */
    uint64_t err_held;  /* bytes that were not */
};

struct la_call {
    const struct la_call_events *on;
    const struct la_call_protocol *protocol;
    struct la_env *env;
    struct la_conn *conn;
    struct la_timer timer;
    /* the request */
    struct la_buf *encoded; /* begin may write to it */
    enum la_http_method method;
    enum la_body_kind body;
    bool upgrade;       /* asked for one */
    uint64_t body_length; /* LA_BODY_LENGTH; with needs_length always */
    uint64_t send_ms, response_ms;
    bool last_try;      /* it will not be sent again: a worker that is busy is waited for */
    /* how it goes; zeroed by begin */
    uint8_t entered;
    bool goodbye;       /* this request is marked */
    bool ending; /* the server said that it ends: its FIN is awaited */
    bool bounded;       /* la_call_deadline was said: reading does not put it off */
    bool request_done, send_failed, got_bytes, head_done, paused, interim_seen;
    uint32_t head_sent;
    uint64_t bytes_sent, bytes_received;
    uint64_t body_left;  /* LA_BODY_LENGTH: declared and not yet sent */
    uint64_t chunk_left; /* payload of the open chunk that is not yet sent */
    char debt[LA_CHUNK_HEAD + 8]; /* framing bytes that go first */
    uint8_t debt_n;
    bool last_pulled, ended_chunks;
    uint64_t trailers_sent;
    size_t read_max;     /* how much a read may bring; set by the exchange */
    bool filled;         /* the last read took all that it could: there may be more */
    size_t seen;
    struct la_buf *partial; /* a response head that came in pieces */
    struct la_buf *trailer;
    struct la_http_body decoder;
    bool keep_alive, doubtful;
    uint64_t begun_ns, sent_ns, first_byte_ns, progress_ns;
    struct la_call_fcgi fcgi; /* not cleared: begin makes it, but err and err_held */
};

struct la_call_protocol {
    const char *name;
    bool needs_length; /* a body of unknown length is buffered completely first; body_length is set before begin */
    bool tells_expect; /* Expect: 100-continue reaches the server, which answers it; else that is ours */
    bool works_on;     /* a server that is left alone works on: its response is waited for as long as for any */
    /* Writes the request for this protocol. NULL: no memory, or it does not fit (*e). */
    struct la_buf *(*encode)(struct la_env *env, const struct la_request *r, enum la_err *e);
    void (*begin)(struct la_call *c, struct la_conn *conn);
    void (*body_ready)(struct la_call *c);
    void (*pause)(struct la_call *c, bool pause);
    void (*stop)(struct la_call *c); /* lets go of buffers and timers; the connection is the caller's */
};
extern const struct la_call_protocol la_http1_call_protocol, la_fcgi_call_protocol;
const struct la_call_protocol *la_call_protocol_find(enum la_protocol p); /* NULL: not in this version */

/* Gives the encoded request; the call may be begun several times over different connections. */
void la_call_init(struct la_call *c, struct la_env *env, const struct la_call_events *on, const struct la_call_protocol *p);
static inline void la_call_begin(struct la_call *c, struct la_conn *conn) { c->protocol->begin(c, conn); }
static inline void la_call_body_ready(struct la_call *c) { c->protocol->body_ready(c); }
static inline void la_call_pause(struct la_call *c, bool pause) { c->protocol->pause(c, pause); }
static inline void la_call_stop(struct la_call *c) { c->protocol->stop(c); }
/* n bytes have gone to the server, or come from it. */
static inline void la_call_count_sent(struct la_call *c, size_t n)
{
    c->bytes_sent += n;
    la_stat_add(&c->conn->outlet->branch->stats->bytes_out, n);
}
static inline void la_call_count_received(struct la_call *c, size_t n)
{
    c->bytes_received += n;
    la_stat_add(&c->conn->outlet->branch->stats->bytes_in, n);
}
/* Something has come or gone: the next may take ms, unless the whole has its time already (la_call_deadline). */
void la_call_progress(struct la_call *c, uint64_t ms);
void la_call_await_response(struct la_call *c); /* what comes next has its time; of a head that is there, only while it is read */
void la_call_await_client(struct la_call *c);   /* it is for the client to go on, with its body or its reading, in its time */
/* Changes how long the response may still take (abort_wait). */
void la_call_deadline(struct la_call *c, uint64_t ms);

#endif
