/* memcached.h: what the files of the memcached protocol share: the client (memcached_client.c), its commands
 * and their answers (memcached_command.c, memcached_keys.c, memcached_stats.c), a command's parts at the servers (memcached_server.c), and
 * which server that is (memcached_outlet.c). */
#ifndef LASTACK_PROTO_MEMCACHED_H
#define LASTACK_PROTO_MEMCACHED_H

#include "lastack/client.h"
#include "lastack/line.h"
#include "lastack/memcached.h"
#include "lastack/upstreams.h"

/* Bytes in the order they came, in pieces charged to limits.memory. */
struct la_mpiece {
    struct la_mpiece *next;
    uint32_t at, n, cap;
    char p[];
};
struct la_mstore {
    struct la_mpiece *first, *last;
    uint64_t n;
};
bool la_mstore_add(struct la_env *e, struct la_mstore *s, const void *p,
                   size_t n); /* false: no memory; nothing added */
void la_mstore_move(struct la_env *e, struct la_mstore *from, struct la_mstore *to,
                    uint64_t n); /* n <= from->n */
void la_mstore_consume(struct la_env *e, struct la_mstore *s, uint64_t n);
void la_mstore_clear(struct la_env *e, struct la_mstore *s);
void *la_mem_get(struct la_env *e, size_t n); /* charged; NULL: no memory */
void la_mem_put(struct la_env *e, void *p, size_t n);

struct la_mcommand;
struct la_mclient;

#define LA_MPART_KEYS 128u

struct la_mslot {
    uint64_t end;   /* where the key's block ends, counted in store_in; 0: a miss */
    uint32_t index; /* in the command's keys */
};

/* What one server is asked for a command. */
struct la_mpart {
    struct la_ask ask;
    struct la_list node; /* of the command */
    struct la_mcommand *command;
    struct la_outlet *outlet; /* may be gone when it is over */
    struct la_server *server; /* held; stats alone want its name at the end */
    struct la_memc_reply reply;
    struct la_mstore store; /* of the reply, what the client has not been given */
    struct la_spool *spill; /* and what came behind that, when the client held too much */
    struct la_mstore late;  /* and what that has no room for yet */
    char *out;              /* the request's line, and its data when they are small; behind the slots */
    size_t out_n, out_cap;
    struct la_spool *body; /* its data when they are large */
    char *dir;
    enum la_err err;
    bool over, error_line, rerouted, warming, hit;
    bool unsent; /* over: no server was asked */
    bool spoke;  /* over: some of a reply had come */
    bool no_memory;    /* the rest of the reply is dropped */
    bool hidden;       /* quiet: it is not answered */
    uint64_t kept;     /* bytes of it that were not */
    bool wants_data;   /* of the value that is being read */
    uint64_t store_in; /* bytes put into store so far */
    unsigned keys, decided, slots;
    struct la_mslot slot[]; /* of the keys that it asks for */
};

struct la_mkey {
    uint32_t at;
    uint16_t n, slot;
    struct la_mpart *part; /* NULL: not asked for yet, or `local` */
    bool missing;          /* its server is out: a miss */
    bool counted;
};

struct la_mcommand {
    struct la_list node;       /* of the client */
    struct la_mclient *client; /* NULL: gone, or nobody waits */
    struct la_front *front;
    struct la_env *env;
    struct la_branch *branch; /* held */
    enum la_memc_verb verb;
    enum la_memc_shape shape;
    bool noreply, quiet, wants_key;
    bool waits_for_data;
    struct la_list parts;
    struct la_list lanes; /* when no client is there */
    unsigned live;        /* parts that are not over */
    uint64_t start_ns, due_ns;
    struct la_mlog *log; /* NULL: nobody wants to know */
    bool none;           /* what the client sent was no command */
    char result[16];
    struct la_server *server; /* of its first part, held; when the log wants to know */
    bool unheard;             /* counted by the front, which must outlive it */
    uint64_t hits, missed, bytes_in, bytes_out;
    const char *local;  /* the answer, with its line end, when no server is asked */
    char text[416];     /* for local; holds a meta key and its opaque */
    enum la_err failed; /* KEYS: the end is an error */
    bool begun;         /* some of the answer is on its way */
    char prefix[104];
    uint8_t prefix_n;
    size_t bytes;  /* of this, with what lies behind it */
    bool has_room; /* for the keys, there */
    /* KEYS */
    char *names;
    struct la_mkey *key;
    size_t keys, issued, emitted;
    uint64_t emitted_of; /* bytes of the present key's block */
    char head[64];       /* verb and exptime */
    size_t head_n;
};

enum la_mclient_state { LA_MCLIENT_LINE, LA_MCLIENT_DATA, LA_MCLIENT_SWALLOW };

struct la_mclient {
    struct la_stream stream;
    struct la_front *front;
    struct la_list node;
    struct la_timer timer;
    struct la_idle idle;
    struct la_list commands;
    struct la_list lanes;
    unsigned commands_n;
    uint8_t state;
    bool closing; /* reads no more; ends when everything is answered */
    bool abort;   /* what was begun cannot be completed */
    bool unnamed; /* nobody has been told whose it is */
    bool dead;
    bool stopped; /* what has been read waits until there is room for its answers */
    bool more;    /* answers may be ready, although none is in `out` */
    uint8_t entered;
    uint8_t bulk; /* it moves large values: counts down */
    char *in;
    size_t in_n, in_cap, at, seen;
    uint64_t left; /* DATA, SWALLOW */
    char last;      /* byte of the data block */
    bool one_short; /* its count leaves out the last byte of a CRLF within it */
    struct la_mpart *upload;
    struct la_mstore out;
    uint64_t held; /* bytes of replies in parts */
    uint64_t since_ns, progress_ns;
    uint64_t received;
    struct la_addr peer;
};

/* Has it answers to take, or may it have? */
static inline bool la_mclient_has_answers(const struct la_mclient *c)
{
    return c->out.n || c->more;
}

/* Bytes have come. Answers that it does not take are waited for all the same. */
static inline void la_mclient_progress(struct la_mclient *c)
{
    if (!la_mclient_has_answers(c))
        c->progress_ns = la_loop_now_ns(c->front->env->loop);
}

/* memcached_client.c */
void la_mclient_pump_soon(struct la_mclient *c);
void la_mclient_run(struct la_mclient *c); /* reads, and uses what has been read; c may be gone afterwards */

/* memcached_upload.c: the data block of a command */
void la_mupload_begin(struct la_mclient *c, struct la_mpart *p, uint64_t n); /* n bytes with the line end; p NULL: to nowhere */
size_t la_mupload_take(struct la_mclient *c, const char *from, size_t n);    /* how many were taken */
void la_mupload_drop(struct la_mclient *c); /* the rest will not come */

/* memcached_command.c */
/* NULL: no memory. With a data block the caller fills the part that is returned in *upload and calls
 * la_mpart_submit. */
struct la_mcommand *la_mcommand_new(struct la_mclient *c, const struct la_memc_request *r,
                                    struct la_mpart **upload);
/* For what was no command: the answer without its line end. */
struct la_mcommand *la_mcommand_none(struct la_mclient *c, const char *text);
/* For the same upstream, and nobody waits for it. */
struct la_mcommand *la_mcommand_detached(struct la_mcommand *like);
void la_mstats_emit(struct la_mcommand *m);    /* memcached_stats.c: the servers' answers to stats as one */
/* Moves what is ready of its answer to the client's. True: it is answered in full, and freed. */
bool la_mcommand_emit(struct la_mcommand *m);
void la_mcommand_orphan(struct la_mcommand *m); /* its client is gone */
void la_mcommand_part_over(struct la_mcommand *m, struct la_mpart *p);
const char *la_merror_text(enum la_err e, char *buf, size_t cap);
/* Are keys of a server that is out misses? */
bool la_mcommand_misses(const struct la_mcommand *m);
/* May what the part failed to get be called a miss? Not when the server has begun to answer. */
bool la_mcommand_excuses(const struct la_mcommand *m, const struct la_mpart *p);
/* For the files that put answers together: moves up to `most` bytes of a part's reply; adds a text; ends the answer. */
uint64_t la_mcommand_give(struct la_mcommand *m, struct la_mpart *p, uint64_t most);
void la_mcommand_give_text(struct la_mcommand *m, const char *text);
bool la_mcommand_done(struct la_mcommand *m, enum la_err e); /* true; m is freed */
#define LA_MEMC_WHOLE 8192u /* what is no larger is given to the client when it is complete and beyond doubt */

/* memcached_keys.c, for commands of that shape */
bool la_mkeys_take(struct la_mcommand *m, const struct la_memc_request *r);
void la_mkeys_issue(struct la_mcommand *m); /* asks for as many as may be asked for */
bool la_mkeys_emit(struct la_mcommand *m);  /* see la_mcommand_emit */

/* memcached_server.c: EN with what the line asks to be told of the key; in m->text. */
const char *la_mcommand_meta_miss(struct la_mcommand *m, struct la_slice line);
void la_mcommand_result(struct la_mcommand *m, const char *p, size_t n); /* p begins with the answer's first word */

/* memcached_spill.c */
bool la_mpart_keep(struct la_mpart *p, struct la_slice s); /* false: over the bounds */
uint64_t la_mpart_has(const struct la_mpart *p);           /* bytes kept and not given */
/* Moves up to `most` bytes to what the client is sent; returns how many. The rest may be on its way from a
 * file, or wait until the client has taken some: its next pump asks again. */
uint64_t la_mpart_give(struct la_mpart *p, uint64_t most);
void la_mpart_forget(struct la_mpart *p); /* drops it all */

/* memcached_server.c */
struct la_mpart *la_mpart_new(struct la_mcommand *m, struct la_outlet *o, size_t out_cap, unsigned slots);
static inline void la_mpart_add(struct la_mpart *p, const void *from, size_t n) /* to its request; there is room */
{
    memcpy(p->out + p->out_n, from, n);
    p->out_n += n;
}
void la_mpart_submit(struct la_mpart *p);
void la_mpart_free(struct la_mpart *p);

/* memcached_outlet.c */
/* The outlet that holds the key, whether it is in or not; NULL: there is none. */
struct la_outlet *la_moutlet_find(struct la_branch *b, struct la_slice key);
void la_moutlet_quiet(struct la_outlet *o, struct la_line *l); /* for la_lines.quiet */
/* The outlet that holds the key; NULL: its server is out, and nobody stands in. */
struct la_outlet *la_moutlet_for(struct la_front *f, struct la_slice key);
struct la_outlet *la_moutlet_any(struct la_front *f);
bool la_moutlet_usable(struct la_outlet *o); /* also begins to ask one that is out whether it is back */

extern const struct la_client_protocol la_memcached_client_protocol;

#endif
