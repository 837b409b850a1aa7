/* origin.h (layer: tools): an embeddable HTTP/1.1 server that behaves, and misbehaves, as it is told; for the
 * demo and the tests.
 *
 * One thread, one loop. It counts what happens on its side of the connections: these counts, not the proxy's,
 * are the proof in the tests. What a single request asks for comes from its query string or its X-Origin
 * field
 * ("delay_ms=5&size=100&fault=reset"):
 *
 *   status=N size=N chunked chunk=N framing=close trailers interim=N (that many 103s) head=N (extra head
 * bytes) delay_ms=N delay_us=N rate=N (bytes/s of the response body) keepalive=N (Keep-Alive: timeout=N)
 * close (says Connection: close and closes) upgrade (101 and echo, when the request has Upgrade) fault= reset
 * reset_mid close_before close_after (closes without having said so) stall stall_mid early early_close extra
 * (bytes behind the response) extra_idle (the same 5 ms later) truncate garbage status408 bad_chunk
 * two_lengths
 *
 * The response echoes X-Token; its body is the token's pattern (load_wire.h), 128 bytes unless size says
 * otherwise. */
#ifndef LASTACK_TOOLS_ORIGIN_H
#define LASTACK_TOOLS_ORIGIN_H

#include "lastack/addr.h"
#include "lastack/hist.h"
#include "lastack/json.h"

#define LA_ORIGIN_FAULTS(X)                                                                                  \
    X(NONE, "none")                                                                                          \
    X(RESET, "reset") X(RESET_MID, "reset_mid") X(CLOSE_BEFORE, "close_before")                              \
        X(CLOSE_AFTER, "close_after") X(STALL, "stall") X(STALL_MID, "stall_mid") X(EARLY, "early")          \
            X(EARLY_CLOSE, "early_close") X(EXTRA, "extra") X(EXTRA_IDLE, "extra_idle")                      \
                X(TRUNCATE, "truncate") X(GARBAGE, "garbage") X(STATUS408, "status408")                      \
                    X(BAD_CHUNK, "bad_chunk") X(TWO_LENGTHS, "two_lengths")
enum la_origin_fault {
#define X(id, name) LA_FAULT_##id,
    LA_ORIGIN_FAULTS(X)
#undef X
        LA_FAULT_COUNT
};
int la_origin_fault_find(struct la_slice name); /* -1: none of them */

/* All of it but the addresses may be changed while it runs (la_origin_set). */
struct la_origin_conf {
    struct la_addr listen;     /* port 0: any; see la_origin_address */
    struct la_addr control;    /* len 0: none */
    uint64_t idle_ms;          /* idle connections are closed after this; 0 = never */
    uint64_t idle_jitter_ms;   /* up to this much earlier */
    uint64_t announce_s;       /* Keep-Alive: timeout=N on every response; 0 = not */
    uint64_t delay_us;         /* work per request */
    uint64_t delay_jitter_us;  /* up to this much more */
    uint64_t contention_us;    /* and so much more for each pair of requests at work when it begins: n (n - 1) times */
    uint64_t size;             /* default body size */
    uint64_t max_connections;  /* one over it is reset at accept; 0 = no cap */
    uint64_t max_requests;     /* per connection, then Connection: close; 0 = no limit */
    uint64_t silent_close;     /* 1: max_requests and close_each close without having said so */
    uint64_t close_each;       /* 1: close after each response */
    uint64_t accept_delay_ms;  /* look at a new connection this much later */
    uint64_t ignore_close;     /* 1: does not close when asked with Connection: close */
    uint64_t goodbye_delay_ms; /* waits so long before closing when asked */
    uint64_t idle_408;         /* 1: says 408 before it closes an idle connection */
    uint64_t workers;          /* requests served at once, the others wait in order; 0 = no limit */
    double fault_percent[LA_FAULT_COUNT];
};

/* One writer (the origin's thread), any reader. */
#define LA_ORIGIN_COUNTS(X)                                                                                  \
    X(accepted)                                                                                              \
    X(over_cap) X(open) X(open_max) X(closed_by_origin) X(closed_by_peer_fin) X(closed_by_peer_rst)          \
        X(closed_by_peer_idle) X(closed_by_peer_busy) X(requests) X(responses) X(aborted) X(duplicates)      \
            X(duplicates_unsafe) X(token_mismatch) X(body_mixed) X(malformed) X(pipelined) X(goodbyes)       \
                X(goodbye_closed_by_origin) X(goodbye_closed_by_peer) X(goodbye_reused) X(idle_closes)       \
                    X(idle_race) X(faults) X(busy) X(busy_max) X(request_body_bytes) X(tunnels)              \
                        X(accept_errors)
struct la_origin_counts {
#define X(name) _Atomic uint64_t name;
    LA_ORIGIN_COUNTS(X)
#undef X
};

struct la_origin;
/* Binds and listens. NULL: errno says why. */
struct la_origin *la_origin_new(const struct la_origin_conf *c);
void la_origin_free(struct la_origin *o); /* not running */
const struct la_addr *la_origin_address(const struct la_origin *o);
void la_origin_run(struct la_origin *o);  /* on this thread, until la_origin_stop */
void la_origin_stop(struct la_origin *o); /* any thread, once */
const struct la_origin_counts *la_origin_counts(const struct la_origin *o);
/* Appends the counts, busy average and goodbye times as one JSON object. The origin's thread, or when it does
 * not run. */
void la_origin_json(struct la_origin *o, struct la_text *out);
/* Sets one key of the configuration by its name, or fault.NAME (percent). False: unknown key or bad value. */
bool la_origin_set(struct la_origin_conf *c, struct la_slice key, struct la_slice value);
const char *la_origin_key(size_t i); /* the i-th key's name; NULL after the last */

#endif
