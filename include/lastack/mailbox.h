/* mailbox.h (layer: base): a lock-free queue with many producers and one consumer (Vyukov's intrusive MPSC list).
 *
 * The node belongs to the mailbox from post until take returns it. Waking the consumer is the caller's business
 * (la_loop_post does both). */
#ifndef LASTACK_MAILBOX_H
#define LASTACK_MAILBOX_H

#include "lastack/base.h"

struct la_mail {
    _Atomic(struct la_mail *) next;
};
/* A letter that knows what to do on arrival: the receiving thread calls deliver(note). */
struct la_note {
    struct la_mail mail; /* first */
    void (*deliver)(struct la_note *note);
    void *to; /* the receiver's object */
};
struct la_mailbox {
    _Atomic(struct la_mail *) tail; /* producers */
    struct la_mail *head;           /* consumer */
    struct la_mail stub;
};
void la_mailbox_init(struct la_mailbox *m);
void la_mailbox_post(struct la_mailbox *m, struct la_mail *mail);
/* NULL: empty, or a producer is between its two steps (it will wake the consumer after them). */
struct la_mail *la_mailbox_take(struct la_mailbox *m);

#endif
