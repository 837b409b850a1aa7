/* load_private.h (layer: tools): what the load generator's own files share. load.c owns threads, the schedule
 * and the sums; load_client.c owns one client's request from connect to close, load_request.c its bytes;
 * load_report.c turns results into JSON. */
#ifndef LASTACK_TOOLS_LOAD_PRIVATE_H
#define LASTACK_TOOLS_LOAD_PRIVATE_H

#include "lastack/loop.h"
#include "tools/load.h"
#include "tools/load_wire.h"

#include <pthread.h>

#define LOAD_METHODS 8
#define LOAD_BACKLOG 65536 /* open loop: intended starts that wait for a client, per thread */
#define LOAD_SCRATCH 65536
#define LOAD_HEAD    16384 /* a response head that is larger is malformed */
#define LOAD_OUT     16384 /* a request head that is larger cannot be made */
#define LOAD_PACE_MS 50
#define LOAD_FIN_MS  1000 /* how long a short client waits for the server's FIN */

enum client_state {
    CLIENT_IDLE, /* no request; perhaps a kept-alive connection */
    CLIENT_CONNECTING,
    CLIENT_ACTIVE,  /* sending, reading, or both */
    CLIENT_CLOSING, /* answered; waits for the server's FIN */
};

enum leave { LEAVE_NEVER, LEAVE_IN_HEAD, LEAVE_IN_BODY, LEAVE_WAITING, LEAVE_IN_RESPONSE };

struct client {
    struct la_list free_node; /* load_thread.free, open loop */
    struct load_thread *t;
    struct la_io io;
    struct la_timer timeout, pace; /* pace: gaps, rates, leaving after a while */
    int fd;                        /* -1: none */
    enum client_state state;
    bool keep_alive; /* a kept-alive client */
    uint64_t served; /* requests on this connection */
    /* the request */
    uint64_t seq, start_ns, connect_ns;
    uint64_t overtaken;
    enum leave leave;
    uint64_t leave_at; /* bytes of head, body or response after which it leaves */
    bool to_head, last;
    char token[LA_WIRE_TOKEN + 1];
    char *out; /* LOAD_OUT bytes while there is a request: the head, then pieces of body */
    size_t out_at, out_n;
    uint64_t head_n, written; /* bytes of this request: head, written so far */
    uint64_t body_left, body_at;
    bool body_end; /* the last chunk is in out, or there is none */
    bool wait_100, sent, send_broken;
    uint64_t send_ok, recv_ok; /* bytes that the rates allow now */
    /* the response */
    char *in; /* LOAD_HEAD bytes while there is a request */
    size_t in_n;
    bool has_head, answered;
    struct la_wire_head head; /* slices not valid after the head */
    struct la_wire_body body;
    uint64_t got;
    bool bad_body;
};

struct load_thread {
    struct la_load *load;
    pthread_t thread;
    struct la_loop *loop;
    struct la_mail stop_mail;
    struct la_timer deadline;
    struct la_list free;
    struct client *client;
    unsigned clients, active; /* active: clients with a request or a wait for FIN */
    bool stopping, in_grace;
    uint64_t random, next_source;
    int tick_fd;
    struct la_io tick;
    uint64_t next_ns;  /* the next intended start */
    uint64_t *backlog; /* ring of intended starts */
    size_t backlog_at, backlog_n;
    char *scratch;
    struct la_load_result r;
};

struct la_load {
    struct la_load_conf conf;
    struct load_thread *thread;
    unsigned threads;
    struct {
        char name[16];
        double percent;
    } method[LOAD_METHODS];
    size_t methods;
    _Atomic uint64_t started;
    _Atomic unsigned running;
    uint64_t salt, from_ns;
    _Atomic uint64_t to_ns;
};

#define LOAD_ADD(t, name, by)                                                                                \
    atomic_store_explicit(&(t)->r.n.name, atomic_load_explicit(&(t)->r.n.name, memory_order_relaxed) + (by), \
                          memory_order_relaxed)

/* load_client.c */
void client_init(struct client *c, struct load_thread *t, bool keep_alive);
void client_fini(struct client *c);
void client_begin(struct client *c, uint64_t intended_ns); /* a request starts now */
void client_abandon(struct client *c);                     /* the grace is over */

/* load_request.c */
void request_make(struct client *c);
void request_refill(struct client *c); /* the next piece of body into the empty out */

/* load.c: the client has no request any more (its connection may live on). */
void load_client_free(struct client *c);
/* Takes one of the bounded number of requests. False: enough were started. */
bool load_take_request(struct load_thread *t, uint64_t *seq);

#endif
