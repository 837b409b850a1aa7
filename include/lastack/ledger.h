/* ledger.h (layer: upstream): the port ledger: per (source, destination) how many local ports are free, open, in TIME_WAIT or taken
 * by others; and the choice of the source for the next connection. It decides, it does no I/O.
 *
 * Shared by all workers: a pair's counts are atomics; a choice reserves at once, so that two workers do not both take
 * the last port. Pairs are created on the main thread (config), never freed while a worker may use them. */
#ifndef LASTACK_LEDGER_H
#define LASTACK_LEDGER_H

#include "lastack/addr.h"

#define LA_LEDGER_PAUSE_MS 100 /* an exhausted pair is left alone this long */

/* One (source, destination). Unix destinations have none. */
struct la_port_pair {
    struct la_addr source; /* len 0: the kernel's choice of address */
    uint16_t port_low, port_high;
    bool own_range;     /* the config gives a range: else the sysctl's */
    bool in_sysctl_range; /* the kernel can pick within an own range (IP_LOCAL_PORT_RANGE) */
    unsigned ports;     /* usable ports of the range */
    _Atomic int open;             /* reserved by this process: dialing .. closed */
    _Atomic int time_wait;        /* caused by this process or seen by reconciliation */
    _Atomic int foreign;          /* taken by other processes (reconciliation) */
    _Atomic uint64_t paused_until_ns; /* exhausted for a moment */
    _Atomic uint64_t opened_total, exhausted_total;
    _Atomic uint32_t port_hint;   /* explicit ports: where to walk on */
    uint64_t *reserved;           /* own_range: a bit per port that must not be bound; NULL: none. Owned by the ledger */
    uint64_t mark_sum;            /* la_ledger_mark: the most sockets of ours that the dump can show; main thread */
    bool marked;
};

struct la_ledger {
    struct la_addr destination;
    struct la_port_pair *pair; /* owned */
    size_t pairs;
    _Atomic uint32_t turn; /* ties go round */
};

#define LA_SOURCE_TEXT (LA_ADDR_TEXT + 16)
/* What a pair's source is called: its address, with its ports when the same address is there twice; "default" for the kernel's
 * choice. Writes at most LA_SOURCE_TEXT bytes, returns buf. */
const char *la_pair_text(const struct la_ledger *l, size_t pair, char *buf);

struct la_source_spec {
    struct la_addr address; /* len 0: kernel's choice */
    uint16_t port_low, port_high; /* 0: the sysctl range */
};
/* A Unix destination has no pairs: take always says NULL, and callers dial without asking.
 * sources 0: one pair with the kernel's choice. range_low/high: the sysctl range; usable(low, high) counts ports not
 * reserved (injected: tests pass their own). */
struct la_ledger *la_ledger_new(const struct la_addr *destination, const struct la_source_spec *source, size_t sources,
                                uint16_t range_low, uint16_t range_high, unsigned (*usable)(uint16_t, uint16_t));
void la_ledger_free(struct la_ledger **l);

/* The source with the most free ports that is not paused, its port reserved (open + 1); ties go round robin. NULL: every
 * source is exhausted or paused now: the request queues. `skip` is a bit set of pair indexes already tried in this dial (pairs >= 64
 * are never skipped). */
struct la_port_pair *la_ledger_take(struct la_ledger *l, uint64_t now_ns, uint64_t skip);
/* bind or connect said EADDRINUSE or EADDRNOTAVAIL: gives the reservation back and pauses the pair. */
void la_ledger_exhausted(struct la_port_pair *p, uint64_t now_ns);
/* The socket is closed. time_wait: we sent the first FIN, so that the port stays busy for 60 s (kept until the next reconciliation
 * corrects it). */
void la_ledger_give(struct la_port_pair *p, bool time_wait);
/* Free ports as of now, >= 0. */
int la_ledger_free_ports(const struct la_port_pair *p);
/* For explicit ports (own_range): the next port to try; walks the range, past reserved ports. 0: the whole range is reserved. */
uint16_t la_ledger_next_port(struct la_port_pair *p);
/* Call before the kernel is asked: what opens or closes while the answer is on its way is then not taken for foreign. Optional: without
 * it the count as of la_ledger_reconcile is used. Main thread. */
void la_ledger_mark(struct la_port_pair *p);
/* The kernel's truth for this pair: every socket from this source in this range to this destination: established-like
 * (not TIME_WAIT), and TIME_WAIT. open_ours: what la_ledger counts as open is subtracted to get foreign. Also un-pauses when ports
 * are free again. Returns true when ports came free that were not (the caller wakes the queue). */
bool la_ledger_reconcile(struct la_port_pair *p, int kernel_open, int kernel_time_wait);

#endif
