/* advice.h (layer: upstream): what size should a server's pool have? Told from what its requests took while the proxy runs.
 *
 * Pure: fed with counts, no clock, no I/O, no lock; one thread (the main one). It never changes a pool: it says what it
 * would do, with its evidence.
 *
 * Little's law: requests per second times the time each spends at the backend is how many connections are at work. What
 * a backend takes for a request that does not have to wait inside it is learned as the smallest mean seen (it fades, so that
 * a backend that became slower is not held to its past); the excess over that is connections that wait in the backend and gain nothing. */
#ifndef LASTACK_ADVICE_H
#define LASTACK_ADVICE_H

#include "lastack/base.h"

/* Since the server's start, all workers together; of answered requests. */
struct la_advice_counts {
    uint64_t requests, backend_us, queue_us;
};

#define LA_ADVICE_WHYS(X)                                                                                      \
    X(UNKNOWN, "unknown")          /* nothing measured yet */                                                  \
    X(LITTLE, "little_load")       /* too few requests to tell: what was said before still stands */           \
    X(ENOUGH, "enough")            /* room for what is at work and its chance peaks */                         \
    X(QUEUE, "queue")              /* requests wait here, and the backend is not slowed down: more would help */ \
    X(BACKEND, "backend_full")     /* connections wait in the backend: fewer would carry as much */
enum la_advice_why {
#define X(id, name) LA_ADVICE_##id,
    LA_ADVICE_WHYS(X)
#undef X
    LA_ADVICE_WHY_COUNT
};
const char *la_advice_why_name(enum la_advice_why w);

/* Zeroed: new. Fields above the line are to be read; negative: unknown. */
struct la_advice {
    unsigned size; /* the recommended pool.max; 0: none yet */
    enum la_advice_why why;
    double per_second, at_work, peak; /* requests; connections by Little's law, now and lately at most */
    double backend_us, queue_us;      /* means: at the backend, waiting for a connection */
    double alone_us;                  /* at the backend when nothing else waits there */
    double waiting;                   /* of at_work: those that wait in the backend */
    /* ---- */
    uint64_t begun_ns;
    struct la_advice_counts begun;
    double held_us, held; /* backend time and number of the latest requests, older ones fading */
    unsigned shrunk_from; /* pool.max when it began to shrink; 0: it does not */
    double shrunk_us;     /* backend time then */
};

/* Once a second. True: a span is over and the fields above are new. Counts below those before: it starts again. */
bool la_advice_feed(struct la_advice *a, const struct la_advice_counts *now, unsigned max, uint64_t now_ns);
/* By what pool.max should change when a span is over: -1, 0 or 1, within low..high. On backend time alone; 0 when the load is
 * too small to tell. */
int la_advice_step(struct la_advice *a, unsigned max, unsigned low, unsigned high);

#endif
