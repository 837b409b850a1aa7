/* ledger.c: which local ports are free for one destination, and which source the next connection is bound to.
 *
 * Owns the pairs of one destination (one per source). Decides only: no socket, no clock, no file; the caller
 * passes the time and tells what the kernel said.
 *
 * The good path: take reserves a port on the source with the most free ones (open + 1, by compare-and-swap,
 * and a second look, so that two workers never both get the last port); the caller binds and connects; give returns the
 * port when the socket is closed. What can fail: no port anywhere (take says NULL and the request queues), and the
 * kernel knowing better (exhausted pauses the pair for LA_LEDGER_PAUSE_MS; reconcile puts the counts right
 * every few seconds).
 *
 * The order of the two counters matters to readers on other threads: give adds to time_wait before it
 * subtracts from open, and free_ports reads open first. So a port on its way from open to TIME_WAIT may be
 * counted twice for a moment, but is never offered as free.
 *
 * Threads: new, free, mark and reconcile on the main thread; everything else on any. */
#include "lastack/ledger.h"

#include <stdio.h>
#include <stdlib.h>

/* Sets a bit for each port of [low, high] that usable() does not count, asking for ever smaller pieces. */
static void find_reserved(struct la_port_pair *p, unsigned low, unsigned high, unsigned (*usable)(uint16_t, uint16_t))
{
    unsigned n = high - low + 1, free_n = usable((uint16_t)low, (uint16_t)high);
    if (free_n >= n)
        return;
    if (free_n == 0) {
        for (unsigned i = low - p->port_low; i <= high - p->port_low; i++)
            p->reserved[i / 64] |= 1ull << (i % 64);
        return;
    }
    unsigned middle = low + n / 2;
    find_reserved(p, low, middle - 1, usable);
    find_reserved(p, middle, high, usable);
}

static void pair_init(struct la_port_pair *p, const struct la_source_spec *spec, uint16_t range_low,
                      uint16_t range_high, unsigned (*usable)(uint16_t, uint16_t))
{
    if (spec)
        p->source = spec->address;
    p->own_range = spec && spec->port_low != 0;
    p->port_low = p->own_range ? spec->port_low : range_low;
    p->port_high = p->own_range ? spec->port_high : range_high;
    p->in_sysctl_range = p->port_low >= range_low && p->port_high <= range_high;
    la_assert(p->port_low != 0 && p->port_low <= p->port_high);
    p->ports = usable(p->port_low, p->port_high);
    unsigned all = (unsigned)(p->port_high - p->port_low) + 1;
    la_assert(p->ports <= all);
    if (p->own_range && p->ports < all) {
        p->reserved = la_xcalloc((all + 63) / 64, sizeof *p->reserved);
        find_reserved(p, p->port_low, p->port_high, usable);
    }
}

struct la_ledger *la_ledger_new(const struct la_addr *destination, const struct la_source_spec *source, size_t sources,
                                uint16_t range_low, uint16_t range_high, unsigned (*usable)(uint16_t, uint16_t))
{
    struct la_ledger *l = la_xcalloc(1, sizeof *l);
    l->destination = *destination;
    if (la_addr_family(destination) == AF_UNIX)
        return l;
    l->pairs = sources ? sources : 1;
    l->pair = la_xcalloc(l->pairs, sizeof *l->pair);
    for (size_t i = 0; i < l->pairs; i++)
        pair_init(&l->pair[i], sources ? &source[i] : NULL, range_low, range_high, usable);
    return l;
}

void la_ledger_free(struct la_ledger **l)
{
    if (*l == NULL)
        return;
    for (size_t i = 0; i < (*l)->pairs; i++)
        free((*l)->pair[i].reserved);
    free((*l)->pair);
    free(*l);
    *l = NULL;
}

/* Ports that are neither in TIME_WAIT nor foreign, beside `open` ones of ours. May be negative. */
static int free_beside(const struct la_port_pair *p, int open)
{
    return (int)p->ports - open - atomic_load_explicit(&p->time_wait, memory_order_acquire) -
           atomic_load_explicit(&p->foreign, memory_order_acquire);
}

int la_ledger_free_ports(const struct la_port_pair *p)
{
    int n = free_beside(p, atomic_load_explicit(&p->open, memory_order_acquire));
    return n > 0 ? n : 0;
}

static bool paused(const struct la_port_pair *p, uint64_t now_ns)
{
    return now_ns < atomic_load_explicit(&p->paused_until_ns, memory_order_relaxed);
}

static struct la_port_pair *most_free(struct la_ledger *l, uint64_t now_ns, uint64_t skip)
{
    struct la_port_pair *best = NULL;
    int best_free = 0;
    size_t start = 0;
    if (l->pairs > 1)
        start = atomic_fetch_add_explicit(&l->turn, 1, memory_order_relaxed) % l->pairs;
    for (size_t k = 0; k < l->pairs; k++) {
        size_t i = (start + k) % l->pairs;
        struct la_port_pair *p = &l->pair[i];
        if ((i < 64 && (skip >> i & 1)) || paused(p, now_ns))
            continue;
        int n = la_ledger_free_ports(p);
        if (n > best_free) {
            best = p;
            best_free = n;
        }
    }
    return best;
}

static void drop_open(struct la_port_pair *p)
{
    int before = atomic_fetch_sub_explicit(&p->open, 1, memory_order_acq_rel);
    la_assert(before > 0);
}

/* False: someone else took the last port meanwhile. The second look is for a port that was taken and went to
 * TIME_WAIT between the first look and the swap: `open` is then the same again, and the port is gone. */
static bool reserve(struct la_port_pair *p)
{
    int open = atomic_load_explicit(&p->open, memory_order_acquire);
    do {
        if (free_beside(p, open) <= 0)
            return false;
    } while (
        !atomic_compare_exchange_weak_explicit(&p->open, &open, open + 1, memory_order_acq_rel, memory_order_acquire));
    if (free_beside(p, open + 1) < 0) {
        drop_open(p);
        return false;
    }
    atomic_fetch_add_explicit(&p->opened_total, 1, memory_order_relaxed);
    return true;
}

struct la_port_pair *la_ledger_take(struct la_ledger *l, uint64_t now_ns, uint64_t skip)
{
    for (;;) {
        struct la_port_pair *p = most_free(l, now_ns, skip);
        if (p == NULL || reserve(p))
            return p;
    }
}

void la_ledger_exhausted(struct la_port_pair *p, uint64_t now_ns)
{
    atomic_store_explicit(&p->paused_until_ns, now_ns + LA_LEDGER_PAUSE_MS * 1000000ull, memory_order_relaxed);
    atomic_fetch_add_explicit(&p->exhausted_total, 1, memory_order_relaxed);
    drop_open(p);
}

void la_ledger_give(struct la_port_pair *p, bool time_wait)
{
    if (time_wait)
        atomic_fetch_add_explicit(&p->time_wait, 1, memory_order_acq_rel);
    drop_open(p);
}

uint16_t la_ledger_next_port(struct la_port_pair *p)
{
    unsigned all = (unsigned)(p->port_high - p->port_low) + 1;
    for (unsigned tries = 0; tries < all; tries++) {
        unsigned i = atomic_fetch_add_explicit(&p->port_hint, 1, memory_order_relaxed) % all;
        if (p->reserved == NULL || !(p->reserved[i / 64] >> (i % 64) & 1))
            return (uint16_t)(p->port_low + i);
    }
    return 0;
}

void la_ledger_mark(struct la_port_pair *p)
{
    /* A socket the dump shows is open now or was opened since: open + (opened_total then - opened_total now).
     */
    uint64_t opened = atomic_load_explicit(&p->opened_total, memory_order_relaxed);
    p->mark_sum = (uint64_t)atomic_load_explicit(&p->open, memory_order_acquire) - opened;
    p->marked = true;
}

bool la_ledger_reconcile(struct la_port_pair *p, int kernel_open, int kernel_time_wait)
{
    int open = atomic_load_explicit(&p->open, memory_order_acquire), ours = open;
    if (p->marked)
        ours = (int)(p->mark_sum + atomic_load_explicit(&p->opened_total, memory_order_relaxed));
    if (ours < open)
        ours = open;
    p->marked = false;
    /* A pause that ended by itself still counts as not free: one wake-up too many does no harm. */
    bool was_free = free_beside(p, open) > 0 && atomic_load_explicit(&p->paused_until_ns, memory_order_relaxed) == 0;
    atomic_store_explicit(&p->foreign, kernel_open > ours ? kernel_open - ours : 0, memory_order_release);
    atomic_store_explicit(&p->time_wait, kernel_time_wait > 0 ? kernel_time_wait : 0, memory_order_release);
    if (la_ledger_free_ports(p) == 0)
        return false;
    atomic_store_explicit(&p->paused_until_ns, 0, memory_order_relaxed);
    return !was_free;
}

const char *la_pair_text(const struct la_ledger *l, size_t pair, char *buf)
{
    const struct la_port_pair *p = &l->pair[pair];
    char host[LA_ADDR_TEXT];
    bool again = false;
    if (p->source.len == 0) {
        snprintf(host, sizeof host, "default");
    } else {
        la_addr_host_text(&p->source, host);
    }
    for (size_t i = 0; i < l->pairs && !again; i++)
        again = i != pair && la_addr_eq(&l->pair[i].source, &p->source);
    if (again)
        snprintf(buf, LA_SOURCE_TEXT, "%s:%u-%u", host, p->port_low, p->port_high);
    else
        snprintf(buf, LA_SOURCE_TEXT, "%s", host);
    return buf;
}
