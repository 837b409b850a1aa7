/* line_private.h: what line.c (one pipelined connection) and lane.c (whose turn it is on it, and which one an ask takes) know of
 * each other. */
#ifndef LASTACK_UPSTREAM_LINE_PRIVATE_H
#define LASTACK_UPSTREAM_LINE_PRIVATE_H

#include "internal.h"
#include "lastack/line.h"

#define LA_LINE_QUANTUM 16384
#define LA_LINE_AHEAD   65536u /* picked and not yet taken by the socket */
#define LA_LINE_EARLY   1024u  /* what waits and is no less is written at once: the server works while more is asked for */

enum la_line_state { LINE_DOWN, LINE_DIALING, LINE_UP };

struct la_line {
    struct la_outlet *outlet;
    enum la_line_state state;
    bool ending; /* takes no more asks: goodbye when its replies are in */
    bool bulk_out;
    struct la_conn *conn;
    struct la_list ring;    /* lanes with asks that may go */
    struct la_list blocked; /* lanes whose next ask is bulk, while one is under way */
    struct la_list sent;    /* picked asks, in the order of their replies */
    struct la_list ages;    /* all asks, oldest first */
    unsigned waiting, inflight;
    uint64_t ahead, queued; /* bytes */
    uint64_t replies;  /* that this connection has given */
    uint64_t reply_ns; /* when the last one was complete */
    uint64_t look_ns;  /* when it was looked whether it was hung up */
    const char *goodbye;
    bool suspect;     /* lost with asks on it, or not to be had, and nothing was heard since */
    bool quiet_timer; /* the timer waits for quiet, not for an ask's time */
    struct la_timer timer;
    struct la_idle idle;
    size_t kept;
    char keep[LA_LINE_KEEP];
};

struct la_lane {
    struct la_list node;      /* ring or blocked; unlinked: nothing waits */
    struct la_list of_client; /* unlinked: the client is gone */
    struct la_line *line;
    struct la_list asks; /* that wait */
    unsigned count;      /* waiting and sent */
    long credit;
};

static inline uint64_t la_ask_size(const struct la_ask *a)
{
    return a->head.n + a->body_n;
}

/* lane.c */
/* Puts it where its first waiting ask belongs. */
void la_lane_place(struct la_lane *n, bool front);
void la_lane_drop(struct la_lane *n); /* one ask less; the last one frees it */

/* line.c */
void la_line_init(struct la_line *l, struct la_outlet *o);
unsigned la_line_share(const struct la_outlet *o); /* this worker's part of pool.max */
void la_line_age(struct la_line *l, struct la_ask *a); /* puts it among the ages */
void la_line_dial(struct la_line *l);
void la_line_arm(struct la_line *l);
void la_line_flush_soon(struct la_line *l);
void la_line_flush(struct la_line *l);
/* The connection is no more. What cannot be sent again fails. */
void la_line_lose(struct la_line *l, enum la_err e, enum la_close_cause cause, bool gone);
void la_line_fail_all(struct la_line *l, enum la_err e);

#endif
