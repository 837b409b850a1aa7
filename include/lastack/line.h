/* line.h (layer: upstream): pipelined connections: many clients' commands over a worker's own few connections
 * to a server.
 *
 * A line is one such connection, or the wish for one: it is dialed when somebody asks, and again when it was
 * lost. An ask is one command and its reply; replies come in the order in which asks were sent. A lane is one
 * client's asks on one line: they keep their order. Lines share a server's places, sources, health and
 * goodbyes with everything else that connects to it, but a pipelined connection is never idle, so each worker
 * owns its share of pool.max.
 *
 * A protocol gives a la_ask_events; nothing here knows what the bytes mean. One thread. */
#ifndef LASTACK_LINE_H
#define LASTACK_LINE_H

#include "lastack/err.h"
#include "lastack/loop.h"

struct la_ask;
struct la_conn;
struct la_lane;
struct la_line;
struct la_outlet;

enum la_ask_result { LA_ASK_MORE, LA_ASK_DONE, LA_ASK_BAD };

struct la_ask_events {
    const char *goodbye; /* what makes the server hang up */
    /* p[0..n) begins with what is next of this ask's reply; *used is what it took. MORE: with *used 0 it
     * waits for further bytes (of which LA_LINE_KEEP may be pending), else it is asked again. */
    enum la_ask_result (*reply)(struct la_ask *a, const char *p, size_t n, size_t *used);
    /* The reply that began was somebody else's: may another one come? NULL: no. */
    bool (*restart)(struct la_ask *a);
    /* It is the owner's again. LA_OK: its reply is complete. It may be called from within la_lines_ask. */
    void (*over)(struct la_ask *a, enum la_err e);
    /* What follows the head, as much as lies together; empty: not there just now, la_ask_pulled(…) tells
     * when. */
    struct la_slice (*pull)(struct la_ask *a);
    void (*pulled)(struct la_ask *a, size_t n);
};

struct la_ask {
    const struct la_ask_events *on;
    struct la_slice head; /* holds until over */
    uint64_t body_n;      /* bytes that pull gives after it */
    uint64_t due_ns;      /* it fails when it is not answered by then */
    bool safe;            /* may be sent again: it changes nothing */
    bool bulk;            /* much goes one way or the other: one of these at a time on a line */
    /* the line's */
    struct la_list node, age;
    struct la_lane *lane;
    uint64_t sent;
    bool picked, answered, graced;
    uint8_t again; /* times that it was sent anew */
};

#define LA_LINE_KEEP  8192u /* the most of a reply that may wait to be understood */
#define LA_LINES_MOST 16u   /* of one worker to one server */
#define LA_BULK_BYTES 65536u
#define LA_TURN_BYTES 131072u /* so much is read or written for one connection in a turn of the loop; then others get theirs */

/* A worker's lines to one server; embedded in its outlet. */
struct la_lines {
    struct la_line *line[LA_LINES_MOST];
    /* Nothing was asked on that line for health.interval, or it was lost with asks on it, or could not be dialed,
     * health.timeout ago: is the server there? NULL: nobody wants to know. */
    void (*quiet)(struct la_outlet *o, struct la_line *l);
    unsigned asks; /* waiting or sent */
};

/* Takes the ask. lanes: the client's list of lanes (la_list_init by it). */
void la_lines_ask(struct la_outlet *o, struct la_list *lanes, struct la_ask *a);
void la_line_ask(struct la_line *l, struct la_list *lanes, struct la_ask *a); /* on this line */
/* The client is gone: its asks go on. */
void la_lanes_forget(struct la_list *lanes);
/* More of an ask's body can be pulled. */
void la_ask_resume(struct la_ask *a);
/* What follows its head will not come: unless all of it is sent, it is over with e, and the line is lost where it was begun. */
void la_ask_fail(struct la_ask *a, enum la_err e);
/* For upstreams.c. A worker's lanes. */
struct la_slab;
void la_lanes_init(struct la_slab *s);
/* Something about the outlet has changed: goodbyes may be due. */
void la_lines_look(struct la_outlet *o);
void la_lines_close(
    struct la_outlet *o); /* asks must be over or forgotten by their owners: each gets LA_DRAINING */

#endif
