/* resolver.h (layer: io): names to addresses, asynchronous (c-ares), on the main thread's loop; asked again when the TTL ends.
 *
 * A failed lookup keeps the addresses known before and is tried again after a growing pause (1 s to max_ttl). */
#ifndef LASTACK_RESOLVER_H
#define LASTACK_RESOLVER_H

#include "lastack/addr.h"
#include "lastack/loop.h"

struct la_resolver;
struct la_resolver_conf {
    const struct la_addr *server; /* none: resolv.conf and /etc/hosts as the system has them */
    size_t servers;
    uint64_t max_ttl_ms; /* ask again at the latest after this */
};
struct la_resolver *la_resolver_new(struct la_loop *l, const struct la_resolver_conf *c); /* NULL: logged */
void la_resolver_free(struct la_resolver *r);
/* Made of the same settings, and of the same resolv.conf if that counts. */
bool la_resolver_is(const struct la_resolver *r, const struct la_resolver_conf *c);

/* Watches a name until the watch is dropped. on_change: the sorted set of addresses (port set) differs from the last
 * one reported; also called once with n = 0 and a text in err when the first lookup fails. */
struct la_watch;
struct la_watch *la_resolver_watch(struct la_resolver *r, const char *name, uint16_t port,
                                   void (*on_change)(void *arg, const struct la_addr *a, size_t n, const char *err),
                                   void *arg);
void la_watch_drop(struct la_watch **w);

#endif
