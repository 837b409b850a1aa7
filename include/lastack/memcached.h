/* memcached.h (layer: codec): memcached's text protocol: requests as clients write them, replies as servers
 * write them, and the requests that are written anew for the servers. No I/O, no clock, no allocation.
 *
 * A request is re-framed, never relayed: what goes to a server is built from parsed tokens, has been checked
 * so that the server cannot take its data for commands, and never says noreply or quiet. */
#ifndef LASTACK_MEMCACHED_H
#define LASTACK_MEMCACHED_H

#include "lastack/base.h"

#define LA_MEMC_KEY_MAX   250u
#define LA_MEMC_LINE_MAX  2048u         /* any line but those with many keys, its end included */
#define LA_MEMC_KEYS_MAX  (512u * 1024) /* get, gets, gat, gats */
#define LA_MEMC_REPLY_MAX 4096u         /* a reply's line */
#define LA_MEMC_DATA_MAX  (INT32_MAX - 2u)

/* verb and its shape: what follows it */
#define LA_MEMC_VERBS(X)                                                                                     \
    X(GET, "get", KEYS)                                                                                      \
    X(GETS, "gets", KEYS) X(GAT, "gat", KEYS) X(GATS, "gats", KEYS) X(SET, "set", STORE)                     \
        X(ADD, "add", STORE) X(REPLACE, "replace", STORE) X(APPEND, "append", STORE)                         \
            X(PREPEND, "prepend", STORE) X(CAS, "cas", STORE) X(INCR, "incr", KEY) X(DECR, "decr", KEY)      \
                X(TOUCH, "touch", KEY) X(DELETE, "delete", KEY) X(FLUSH_ALL, "flush_all", ALL)               \
                    X(VERBOSITY, "verbosity", ALL) X(VERSION, "version", ONE) X(STATS, "stats", STATS)       \
                        X(QUIT, "quit", QUIT) X(MG, "mg", META) X(MS, "ms", META_STORE) X(MD, "md", META)    \
                            X(MA, "ma", META) X(ME, "me", META_DEBUG) X(MN, "mn", NOOP)
enum la_memc_verb {
#define X(id, name, shape) LA_MEMC_##id,
    LA_MEMC_VERBS(X)
#undef X
        LA_MEMC_VERB_COUNT
};
enum la_memc_shape {
    LA_MEMC_SHAPE_KEYS,  /* many keys; gat: an exptime before them */
    LA_MEMC_SHAPE_STORE, /* key flags exptime bytes [cas], then a data block */
    LA_MEMC_SHAPE_KEY,   /* one key, then what the server makes of it */
    LA_MEMC_SHAPE_ALL,   /* to every server */
    LA_MEMC_SHAPE_ONE,   /* to any server */
    LA_MEMC_SHAPE_STATS,
    LA_MEMC_SHAPE_QUIT,
    LA_MEMC_SHAPE_META,       /* key, flags */
    LA_MEMC_SHAPE_META_STORE, /* key, bytes, flags, then a data block */
    LA_MEMC_SHAPE_META_DEBUG,
    LA_MEMC_SHAPE_NOOP,
};
const char *la_memc_verb_name(enum la_memc_verb v);
enum la_memc_shape la_memc_verb_shape(enum la_memc_verb v);

struct la_memc_request {
    enum la_memc_verb verb;
    bool noreply;   /* classic: nothing is answered */
    bool quiet;     /* meta q: the usual answer is left out */
    bool base64;    /* meta b: the key is base64 */
    bool wants_key; /* meta k */
    bool has_data;
    uint64_t bytes;         /* of the data block, without its line end */
    struct la_slice before; /* gat: the exptime */
    struct la_slice key;    /* the first one; as written */
    struct la_slice keys;   /* KEYS: from the first key on, all of them */
    size_t keys_n;          /* KEYS: how many */
    struct la_slice after;  /* what follows the key, noreply and quiet still in it */
    size_t used;            /* bytes of the line with its end */
};

enum la_memc_result { LA_MEMC_MORE, LA_MEMC_DONE, LA_MEMC_BAD };
/* What is wrong, and what to do with the connection. */
struct la_memc_fault {
    const char *text; /* the answer, without line end; NULL: none */
    bool close;       /* where the next command begins cannot be known */
    bool binary;      /* it speaks the binary protocol */
    uint64_t swallow; /* bytes behind `used` that belong to it */
    size_t used;
    bool noreply;
};
/* p[0..n) begins with a command. *seen: how far an earlier call looked, 0 at first. The slices lie in p. */
enum la_memc_result la_memc_parse(struct la_memc_request *r, const char *p, size_t n, size_t *seen,
                                  struct la_memc_fault *f);
/* Takes the next key, or other word, off *keys. False: there is none, and *key is empty. */
bool la_memc_next_key(struct la_slice *keys, struct la_slice *key);
/* The key as the server knows it (base64 decoded) into buf of LA_MEMC_KEY_MAX. */
struct la_slice la_memc_plain_key(const struct la_memc_request *r, char *buf);

/* Writes the command's line (KEYS: with the one key given) for a server into out; the size, or 0 when it does
 * not fit. With a prefix the key may become too long: 0 as well. */
size_t la_memc_write(const struct la_memc_request *r, struct la_slice prefix, char *out, size_t cap);
size_t la_memc_write_verb(const struct la_memc_request *r, char *out,
                          size_t cap); /* KEYS: verb and exptime only */

/* ---- replies ---- */

enum la_memc_expect {
    LA_MEMC_EXPECT_LINE,   /* one line */
    LA_MEMC_EXPECT_VALUES, /* VALUE ... END */
    LA_MEMC_EXPECT_STATS,  /* STAT ... END, or one line */
    LA_MEMC_EXPECT_META,   /* one line, VA with a data block */
};
struct la_memc_reply {
    enum la_memc_expect expect;
    uint64_t left; /* of a data block with its line end */
    size_t seen;
};
enum la_memc_piece {
    LA_MEMC_PIECE_NONE,  /* more bytes are needed */
    LA_MEMC_PIECE_VALUE, /* a VALUE or VA line; data follow */
    LA_MEMC_PIECE_DATA,  /* some of the data block; its line end is part of it */
    LA_MEMC_PIECE_STAT,  /* a line, more follow */
    LA_MEMC_PIECE_LAST,  /* the last line */
    LA_MEMC_PIECE_ERROR, /* the last line, and it is an error */
    LA_MEMC_PIECE_BAD,   /* it is not the protocol */
};
struct la_memc_line {
    struct la_slice bytes; /* the line with its end, or data */
    struct la_slice key;   /* VALUE */
    struct la_slice rest;  /* VALUE: behind the key; VA: behind the size; without line end */
    uint64_t size;         /* of the data block, without its line end */
};
void la_memc_reply_init(struct la_memc_reply *r, enum la_memc_expect e);
/* Looks at p[0..n); *used bytes are done with. */
enum la_memc_piece la_memc_reply_feed(struct la_memc_reply *r, const char *p, size_t n, size_t *used,
                                      struct la_memc_line *l);

/* Can this line be the whole answer to that command, or the last of it? Errors are not asked about. */
bool la_memc_answers(enum la_memc_verb v, struct la_slice line);
/* Meta replies: the flag's token in a line's flags ("k", "O"); empty p NULL: it is not there. */
struct la_slice la_memc_flag(struct la_slice flags, char flag);
/* Do a meta reply's flags echo what was asked for, opaque and key, in this line as it was sent? What they do not name
 * cannot be told. */
bool la_memc_meta_matches(struct la_slice asked, struct la_slice flags);
/* Is this the answer that quiet mode leaves out? */
bool la_memc_quiet_hides(enum la_memc_verb v, struct la_slice line);

size_t la_base64_encode(struct la_slice in, char *out, size_t cap); /* 0: does not fit */
bool la_base64_decode(struct la_slice in, char *out, size_t cap, size_t *n);

#endif
