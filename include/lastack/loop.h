/* loop.h (layer: io): one thread's event loop: descriptors, timers, a mailbox. The only users of libev are behind it.
 *
 * Everything here belongs to the thread that runs the loop, but la_loop_post, which any thread may
 * call. Callbacks may free their own watcher after stopping it. */
#ifndef LASTACK_LOOP_H
#define LASTACK_LOOP_H

#include "lastack/list.h"
#include "lastack/mailbox.h"

struct la_loop;

#define LA_READ 1
#define LA_WRITE 2

/* Watches one descriptor. Zero-initialize, then la_io_init. */
struct la_io {
    void *ev_[6];
    void (*cb)(struct la_io *io, int events);
    struct la_loop *loop;
    struct la_list ready; /* has an event in this turn that it has not been told of */
    uint8_t events;
    bool first; /* told before all others of its turn: set after la_io_init */
};
void la_io_init(struct la_io *io, struct la_loop *loop, int fd, void (*cb)(struct la_io *, int events));
/* Sets what is watched for (LA_READ | LA_WRITE, 0 = nothing); costs nothing when unchanged. */
void la_io_want(struct la_io *io, int events);
int la_io_wanted(const struct la_io *io);
int la_io_fd(const struct la_io *io);
/* Stops, and takes the descriptor out of the loop for good: it lives on in another thread. */
void la_io_detach(struct la_io *io);
/* Stop before the descriptor is closed. The io may be initialized anew after it. */
void la_io_stop(struct la_io *io);

/* A descriptor whose owner has bytes that it will not tell of (a TLS layer read them ahead). While it wants LA_READ it is told
 * so in every turn. Zero-initialize. */
struct la_hot {
    struct la_list node;
    struct la_io *io;
};
void la_hot_set(struct la_hot *h, struct la_io *io);
void la_hot_clear(struct la_hot *h); /* before the io ends or moves */

/* A one-shot timer: a hashed wheel of millisecond ticks, O(1) to set and stop. Zero-initialize, set cb once. */
struct la_timer {
    struct la_list node;
    uint64_t due_ms; /* 0: not set */
    struct la_loop *loop;
    void (*cb)(struct la_timer *t);
};
void la_timer_init(struct la_timer *t, struct la_loop *loop, void (*cb)(struct la_timer *t));
void la_timer_set(struct la_timer *t, uint64_t after_ms); /* replaces an earlier setting; fires not before after_ms */
void la_timer_stop(struct la_timer *t);
static inline bool la_timer_is_set(const struct la_timer *t) { return t->due_ms != 0; }

/* Mail: the handler runs on the loop's thread for each la_mail posted to it. */
struct la_loop *la_loop_new(void (*on_mail)(void *arg, struct la_mail *mail), void *arg); /* NULL: errno */
void la_loop_free(struct la_loop *l); /* every watcher stopped, mailbox empty */
void la_loop_run(struct la_loop *l);  /* until la_loop_stop */
void la_loop_stop(struct la_loop *l); /* own thread */
void la_loop_post(struct la_loop *l, struct la_mail *mail); /* any thread */
/* Delivers what is in the mailbox; for the end, when no thread runs the loop any more. True: there was mail. */
bool la_loop_take_mail(struct la_loop *l);
/* Runs cb on this thread before the loop sleeps again (once per call; own thread). */
struct la_idle {
    struct la_list node;
    void (*cb)(struct la_idle *i);
};
void la_loop_defer(struct la_loop *l, struct la_idle *i);

/* The clock as of this turn of the loop. */
uint64_t la_loop_now_ns(const struct la_loop *l);
static inline uint64_t la_loop_now_ms(const struct la_loop *l) { return la_loop_now_ns(l) / 1000000; }
void la_loop_refresh(struct la_loop *l);

/* Unix signals, for the main thread's loop. */
struct la_signal {
    void *ev_[6];
    void (*cb)(struct la_signal *s, int signum);
    void *arg; /* the owner's */
};
void la_signal_start(struct la_signal *s, struct la_loop *l, int signum, void (*cb)(struct la_signal *, int));
void la_signal_stop(struct la_signal *s, struct la_loop *l);

#endif
