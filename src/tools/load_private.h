/* load_private.h (layer: tools): what the load generator's own files share.
 *
 * load.c: threads and their clients. load_schedule.c: when the next request is intended, and which. load_client.c:
 * one client's connection and request, whatever is spoken. load_http.c with load_request.c, load_memcached.c: what is
 * spoken, behind struct load_protocol. load_count.c: counts and their sums. load_report.c: the result as JSON. */
#ifndef LASTACK_TOOLS_LOAD_PRIVATE_H
#define LASTACK_TOOLS_LOAD_PRIVATE_H

#include "lastack/loop.h"
#include "tools/load.h"
#include "tools/load_wire.h"

#include <pthread.h>

#define LOAD_METHODS 8
#define LOAD_BACKLOG 65536      /* open loop: intended starts that wait for a client, per thread */
#define LOAD_SCRATCH 65536      /* of one read */
#define LOAD_SKIP    (1u << 20) /* of one read of a TCP body that nobody looks at: so many are never written */
#define LOAD_HEAD    16384      /* a response head that is larger is malformed */
#define LOAD_OUT     16384      /* a request head that is larger cannot be made */
#define LOAD_PACE_MS 50
#define LOAD_FIN_MS  1000 /* how long a short client waits for the server's FIN */

enum client_state {
    CLIENT_IDLE, /* no request; perhaps a kept-alive connection */
    CLIENT_CONNECTING,
    CLIENT_ACTIVE,  /* sending, reading, or both */
    CLIENT_CLOSING, /* answered; waits for the server's FIN */
};

enum leave { LEAVE_NEVER, LEAVE_IN_HEAD, LEAVE_IN_BODY, LEAVE_WAITING, LEAVE_IN_RESPONSE };

/* One intended request. */
struct load_start {
    uint64_t at_ns;
    size_t ask; /* of conf.ask */
};

/* What an answer's reader made of its bytes. BAD: it noted why. */
enum load_took { TOOK_MORE, TOOK_ALL, TOOK_BAD };

struct client {
    struct la_list free_node; /* load_thread.free, open loop */
    struct load_thread *t;
    struct la_io io;
    struct la_timer timeout, pace; /* pace: gaps, rates, leaving after a while, connecting again */
    int fd;                        /* -1: none */
    enum client_state state;
    bool keep_alive; /* a kept-alive client */
    bool busy;       /* has a request, or waits for a FIN */
    uint64_t served; /* requests on this connection */
    /* the request */
    uint64_t seq, start_ns, connect_ns;
    size_t ask;
    uint64_t overtaken;
    enum leave leave;
    uint64_t leave_at; /* bytes of head, body or response after which it leaves */
    bool last;         /* of this connection */
    char token[LA_WIRE_TOKEN + 1];
    const char *out; /* the thread's out, own, or a body of the list */
    char *own;       /* LOAD_OUT bytes, when out could not be sent at once */
    size_t out_at, out_n;
    uint64_t head_n, written; /* bytes of this request: head, written so far */
    uint64_t body_left, body_at;
    bool body_end; /* the last chunk is in out, or there is none */
    bool wait_100, sent, send_broken;
    uint64_t send_ok, recv_ok; /* bytes that the rates allow now */
    /* the answer */
    char *in; /* LOAD_HEAD bytes, when a head came in pieces */
    size_t in_n;
    bool has_head, answered, bad_body;
    bool skip;       /* what comes is a body of known length that nobody looks at */
    bool extra;      /* bytes came behind it */
    bool persistent; /* its connection may serve another request */
    bool unusable;   /* its connection serves nothing any more, not even a FIN */
    int status;
    uint64_t got; /* bytes of its body */
    union {
        struct {
            bool to_head;
            struct la_wire_head head; /* slices not valid after the head */
            struct la_wire_body body;
        } http;
        struct {
            bool set;
            uint64_t first, key, hits; /* asked from first on; of the value that is being read; values so far */
        } memcached;
    };
};

/* What clients speak. */
struct load_protocol {
    void (*make)(struct client *c);   /* a request into t->out; client.out, head_n, last and body_* say what it is */
    void (*refill)(struct client *c); /* the next piece of it, when out is empty and body_left or !body_end */
    enum load_took (*take)(struct client *c, char *p, size_t n); /* bytes of the answer */
    bool (*ended)(struct client *c);                             /* is a FIN the answer's end? */
    struct la_slice goodbye; /* what a client says after the last answer of its connection */
};
extern const struct load_protocol load_http, load_memcached;

/* Intended times of one thread: arithmetic alone. */
struct load_schedule {
    const struct la_load_conf *conf;
    unsigned threads, index;
    uint64_t from_ns, n; /* n: how many were taken */
    double at;           /* Poisson: of the next, ns since from_ns */
    uint64_t random;
};
void load_schedule_init(struct load_schedule *s, const struct la_load_conf *c, unsigned threads, unsigned index,
                        uint64_t from_ns, uint64_t seed);
struct load_start load_schedule_next(const struct load_schedule *s);
void load_schedule_take(struct load_schedule *s); /* on to the one after it */
static inline bool load_is_open(const struct la_load_conf *c)
{
    return c->rate > 0 || (c->ask && c->order == LA_LOAD_TIMED);
}

struct load_thread {
    struct la_load *load;
    pthread_t thread;
    struct la_loop *loop;
    struct la_mail stop_mail;
    struct la_timer deadline, warmup;
    struct la_list free;
    uint64_t free_ns; /* since when there are some */
    struct client *client;
    unsigned clients, active; /* active: those that are busy */
    bool stopping, in_grace;
    uint64_t random, next_source;
    unsigned held; /* conf.hold: clients that were begun */
    int tick_fd;
    struct la_io tick;
    struct load_schedule schedule;
    uint64_t next_ns;           /* schedule's next intended start */
    struct load_start *backlog; /* ring of intended starts */
    size_t backlog_at, backlog_n;
    char *scratch, *out; /* LOAD_SKIP and LOAD_OUT bytes */
    struct la_load_result r;
};

struct la_load {
    struct la_load_conf conf;
    const struct load_protocol *protocol;
    struct load_thread *thread;
    unsigned threads;
    struct {
        char name[16];
        double percent;
    } method[LOAD_METHODS];
    size_t methods;
    struct {
        char key[48], value[48], rest[32]; /* " load:100:" N; "VALUE load:100:" N " 0 100" */
        size_t key_n, value_n, rest_n;
    } memcached;
    bool leaves, paced, many_writes; /* some leave early; rates are bounded; a request may need more than one */
    _Atomic uint64_t started, warm;  /* warm: how many of them before the warm-up's end; UINT64_MAX: it is not over */
    _Atomic unsigned running;
    _Atomic bool stopped; /* la_load_stop was called */
    uint64_t salt, from_ns, end_ns; /* from_ns: the warm-up's end; end_ns: nothing is intended after it */
    uint64_t heat_slice_ns;
    _Atomic uint64_t to_ns, stop_ns; /* stop_ns: from then on nothing new; 0: not yet */
};

#define LOAD_ADD(t, name, by) la_stat_add(&(t)->r.n.name, (by))

/* load_client.c */
void client_init(struct client *c, struct load_thread *t, bool keep_alive);
void client_fini(struct client *c);
void client_begin(struct client *c, struct load_start s); /* a request starts now */
void client_abandon(struct client *c);                    /* the grace is over */

/* load_request.c */
void load_http_make(struct client *c);
void load_http_refill(struct client *c);

/* load_memcached.c */
bool load_memcached_fits(const struct la_load_conf *c); /* its longest get into LOAD_OUT */
void load_memcached_settle(struct la_load *l);          /* the words that all commands and answers have in common */

/* load_count.c */
void load_count_answer(struct client *c, uint64_t now_ns, bool mixed);
void load_count_waited(struct load_thread *t, uint64_t start_ns); /* open loop: the time is over, and it has no answer */
LA_PRINTF(2, 3) void load_note_failure(struct client *c, const char *fmt, ...);
void load_counts_reset(struct load_thread *t);

/* load.c: the client has no request any more (its connection may live on). */
void load_client_free(struct client *c);
/* The next request of a closed loop. */
void load_begin(struct client *c);
/* Starts whose time has come, though the clock's event is not read yet. */
static inline bool load_is_due(const struct load_thread *t, uint64_t now_ns)
{
    return t->backlog && now_ns >= t->next_ns;
}
void load_catch_up(struct load_thread *t, uint64_t now_ns);

#endif
