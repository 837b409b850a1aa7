/* load.h (layer: tools): the project's one load generator: HTTP/1.1 or memcached clients, many per thread, for
 * demo, bench, tests and benchmarks.
 *
 * Closed loop: `clients` clients, each sends its next request when the last one is answered (and a gap has
 * passed). Open loop (rate > 0): requests start at a constant rate, or with Poisson arrivals, whatever the
 * answers do, or at the times of a list; latency counts from the intended time, so that a stall shows in full;
 * one that finds no free client waits in a queue of its own.
 *
 * After the warm-up every count and histogram begins anew; what is answered then counts, whenever it was asked.
 *
 * Every request carries a unique token (X-Token, and token= in its query); a response that carries another
 * one, or a body that is not the token's pattern, counts as `mixed`. A list of requests (ask) is sent as it is,
 * without tokens. A short client says Connection: close, takes the response and then waits for the server's FIN.
 *
 * memcached: gets and sets, one at a time, of keys "load:BYTES:N", whose values are the pattern of a token made of
 * the key; a value that is another one counts as `mixed`. A whole answer counts as a status: STORED, a hit and a
 * miss (`stored`, `hits`, `misses` too) as 200, ERROR and CLIENT_ERROR as 400, SERVER_ERROR as 500. A short client says quit.
 *
 * Threads: la_load_start makes them; everything else is called from one thread, counts may be read while it
 * runs. */
#ifndef LASTACK_TOOLS_LOAD_H
#define LASTACK_TOOLS_LOAD_H

#include "lastack/addr.h"
#include "lastack/hist.h"
#include "lastack/json.h"

#define LA_LOAD_SLICES 240 /* of the measured time, for the heat map */
#define LA_LOAD_LEVELS 40  /* of latency: below 96 us, 96, 128, 192, 256, ... 50 s and more */

enum la_load_protocol { LA_LOAD_HTTP, LA_LOAD_MEMCACHED };
enum la_load_order { LA_LOAD_CYCLE, LA_LOAD_RANDOM, LA_LOAD_TIMED };

/* One request of a list. */
struct la_load_ask {
    const char *method, *target;
    const char *host;    /* NULL: the conf's */
    const char *headers; /* whole lines, each with CRLF, beside the conf's; may be NULL */
    const char *body;    /* NULL: none */
    size_t body_n;
    uint64_t at_us; /* LA_LOAD_TIMED: since the list's beginning, ascending */
};

struct la_load_conf {
    enum la_load_protocol protocol;
    struct la_addr target; /* TCP or Unix */
    struct la_addr source[16]; /* bound in turn; none: the kernel's choice */
    size_t sources;
    unsigned threads;     /* 0 = 1 */
    unsigned clients;     /* all threads together */
    uint64_t requests;    /* stop after so many were started; 0 = no bound */
    uint64_t duration_ms; /* stop starting after this; 0 = no bound (one of the two must be set) */
    uint64_t warmup_ms;   /* before both of them */
    uint64_t grace_ms;    /* what is in flight then may take this long; default 5000 */
    double rate;          /* requests per second, open loop; 0: closed loop */
    bool poisson;
    const struct la_load_ask *ask; /* NULL: method, path and body below */
    size_t asks;
    enum la_load_order order; /* TIMED: open loop at the list's own times, over and over */
    double speed;             /* TIMED: so many times as fast; default 1 */
    const char *method;              /* "GET", or a mix: "GET=70,POST=20,HEAD=10" */
    const char *path;                /* {token} and {n} are replaced; token=… is appended to the query */
    const char *host;                /* Host; default "load.test" */
    const char *headers;             /* whole lines, each with CRLF; may be NULL; {token} and {n} too */
    uint64_t body_bytes;             /* for POST, PUT, PATCH */
    bool chunked, expect;            /* request body chunked; Expect: 100-continue */
    bool http10;                     /* clients speak HTTP/1.0 */
    bool no_token;                   /* neither sent nor verified */
    double keepalive_percent;        /* of the clients; the others are short */
    uint64_t keepalive_requests;     /* per connection, then the client is marked close; 0 = no limit */
    uint64_t gap_min_ms, gap_max_ms; /* pause between a client's requests, uniform */
    uint64_t ramp_ms;                /* clients begin spread over this time */
    uint64_t timeout_ms;             /* per request, connect included; default 30000 */
    uint64_t upload_rate, download_rate; /* bytes per second and client; 0 = unbounded */
    bool close_first;                    /* short clients do not wait for the server's FIN */
    struct {
        double set_percent;   /* the others are gets */
        uint64_t keys;        /* default 1000 */
        uint64_t gets;        /* keys of one get, consecutive ones; default 1 */
        uint64_t value_bytes; /* default 100 */
        bool fill;            /* begins with a set of each key */
    } memcached;
    bool hold;      /* each client asks once, a few at a time, and stays connected until la_load_stop */
    bool overtaken; /* find out by how many later ones a request was overtaken (threads: 1) */
    struct {
        double in_head, in_body, waiting, in_response; /* percent of the requests whose client leaves there */
        double by_reset;                               /* of those, with RST; the others FIN */
    } leave;
};
void la_load_defaults(struct la_load_conf *c);

#define LA_LOAD_COUNTS(X)                                                                                    \
    X(started)                                                                                               \
    X(done) X(connections) X(reused) X(status_2xx) X(status_3xx) X(status_4xx) X(status_5xx) X(refused)      \
        X(unreachable) X(no_port) X(connect_other) X(reset) X(eof_before) X(truncated) X(timeout)            \
            X(malformed) X(extra_bytes) X(mixed) X(unechoed) X(left) X(unfinished) X(idle_closed) X(no_fin)  \
                X(upgraded) X(early) X(shed) X(unstarted) X(timely) X(hits) X(misses) X(stored) X(overtaken_max) X(bytes_in)   \
                    X(bytes_out)
struct la_load_counts {
#define X(name) _Atomic uint64_t name;
    LA_LOAD_COUNTS(X)
#undef X
};
/* done: a whole response was read, whatever its status. Errors: every count from refused to mixed, except
 * those of clients that meant to leave (left). shed: the open loop's own queue was full. unstarted: still in that
 * queue when the time was over; the open loop's latencies hold these and the unfinished, as long as they had waited.
 * timely: good answers (below 400, not mixed) before the time was over; these by window_ns are the throughput. */

struct la_load_result {
    struct la_load_counts n;
    _Atomic uint64_t status[600];
    struct la_hist latency_us, connect_us, late_us; /* late_us, open loop: from when it was to start, and
                                                  * a client was free for it, until it did */
    struct la_hist life_us; /* of a connection: from connect to the answer to its last request */
    _Atomic uint32_t heat[LA_LOAD_SLICES][LA_LOAD_LEVELS]; /* answers by time of their end and latency */
    uint64_t heat_slice_ns; /* of duration_ms; 250 ms when there is none */
    uint64_t elapsed_ns;    /* since the warm-up's end, to now or to the last answer */
    uint64_t window_ns;     /* since the warm-up's end, to now or until no more were to start */
    bool warming;
    char first_failure[256]; /* "" or what the first failure looked like */
};

/* How long a list lasts at its own times before it begins anew: a mean gap longer than to its last request. */
uint64_t la_load_lap_us(const struct la_load_ask *ask, size_t asks);

bool la_load_takes_methods(const char *text); /* as la_load_conf.method */

struct la_load;
/* NULL: why is a sentence. Strings in c must outlive the load. */
struct la_load *la_load_new(const struct la_load_conf *c, const char **why);
bool la_load_start(struct la_load *l); /* false: errno */
bool la_load_running(const struct la_load *l);
void la_load_stop(struct la_load *l); /* starts nothing new; what is in flight has its grace; may be called again */
void la_load_wait(struct la_load *l); /* joins */
void la_load_free(struct la_load *l); /* after la_load_wait */
/* Adds up all threads; *out is overwritten. first_failure only after la_load_wait. */
void la_load_read(const struct la_load *l, struct la_load_result *out);
/* How many requests did not get what they came for: transport errors, mixed, and statuses of 400 and above.
 */
uint64_t la_load_failures(const struct la_load_result *r);
/* heat's level of a latency, and where a level begins (LA_LOAD_LEVELS: the end of the last). */
static inline unsigned la_load_level(uint64_t us)
{
    unsigned top = 63u - (unsigned)__builtin_clzll(us | 64), level = (top - 6) * 2 + (unsigned)((us >> (top - 1)) & 1);
    return us < 64 ? 0 : level < LA_LOAD_LEVELS ? level : LA_LOAD_LEVELS - 1;
}
static inline uint64_t la_load_level_low_us(unsigned level)
{
    return level == 0 ? 0 : (level % 2 ? 96ull : 64ull) << (level / 2);
}
void la_load_json(const struct la_load_result *r, struct la_text *out);

#endif
