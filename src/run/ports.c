/* ports.c: squares the port ledgers with the kernel: other processes' use of the same ports shows, and TIME_WAITs that
 * have ended go.
 *
 * Owns nothing between ticks but when the next look is due. One question for all servers; the kernel walks its whole
 * table for it, so a look is followed by a hundred times as long without one. Main thread. What can fail: a kernel
 * that does not tell; then the ledgers know this process's ports alone. */
#include "process.h"
#include "lastack/diag.h"

#include <stdlib.h>

#define EVERY_NS  2000000000u
#define LEAST_OFF 100 /* times as long as the look took */

struct count {
    int open, time_wait;
};

struct counts {
    struct la_ledger *ledger;
    struct count *pair; /* [ledger->pairs] */
};

struct look {
    struct la_addr *to;
    struct counts *counts;
    size_t n;
};

static void count_in(struct counts *c, const struct la_addr *local, uint16_t port, bool time_wait)
{
    for (size_t i = 0; i < c->ledger->pairs; i++) {
        const struct la_port_pair *p = &c->ledger->pair[i];
        if (p->source.len && !la_addr_eq(&p->source, local))
            continue;
        if (port < p->port_low || port > p->port_high)
            continue;
        ++*(time_wait ? &c->pair[i].time_wait : &c->pair[i].open);
        return;
    }
}

static void count_socket(void *arg, const struct la_diag_socket *s)
{
    struct look *k = arg;
    struct la_addr local = s->local;
    la_addr_set_port(&local, 0);
    for (size_t i = 0; i < k->n; i++) /* servers of several upstreams may have one address */
        if (la_diag_is_to(s, &k->to[i]))
            count_in(&k->counts[i], &local, la_addr_port(&s->local), s->state == 6); /* TCP_TIME_WAIT */
}

static void add_servers(struct look *k, const struct la_snapshot *s)
{
    for (unsigned i = 0; i < s->plans; i++)
        for (unsigned j = 0; j < s->plan[i].servers; j++) {
            struct la_server *server = s->plan[i].server[j];
            if (server->ledger == NULL || server->ledger->pairs == 0)
                continue;
            k->to = la_xrealloc(k->to, (k->n + 1) * sizeof *k->to);
            k->counts = la_xrealloc(k->counts, (k->n + 1) * sizeof *k->counts);
            k->to[k->n] = server->addr;
            k->counts[k->n++] = (struct counts){server->ledger, la_xcalloc(server->ledger->pairs, sizeof(struct count))};
        }
}

static void reconcile(struct look *k)
{
    for (size_t i = 0; i < k->n; i++)
        for (size_t n = 0; n < k->counts[i].ledger->pairs; n++)
            la_ledger_mark(&k->counts[i].ledger->pair[n]);
    int e = la_diag_tcp(LA_DIAG_HOLD_PORTS, k->to, k->n, count_socket, k);
    if (e != 0) {
        la_log_limited(LA_LOG_WARN, 60000, "sock_diag: %s; ports of other processes are not seen", strerror(-e));
        return;
    }
    for (size_t i = 0; i < k->n; i++)
        for (size_t n = 0; n < k->counts[i].ledger->pairs; n++)
            la_ledger_reconcile(&k->counts[i].ledger->pair[n], k->counts[i].pair[n].open, k->counts[i].pair[n].time_wait);
}

void la_ports_tick(struct process *p)
{
    uint64_t from = la_clock_ns();
    if (p->snapshot == NULL || from < p->ports_due_ns)
        return;
    struct look k = {0};
    add_servers(&k, p->snapshot);
    if (k.n)
        reconcile(&k);
    for (size_t i = 0; i < k.n; i++)
        free(k.counts[i].pair);
    free(k.counts);
    free(k.to);
    uint64_t now = la_clock_ns();
    p->ports_due_ns = now + la_max64(EVERY_NS, (now - from) * LEAST_OFF);
}
