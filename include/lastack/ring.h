/* ring.h (layer: upstream): which server holds a key: modula, ketama (weighted or not), jump; placed as
 * libmemcached places them, so that clients that go to the servers directly find the same keys.
 *
 * It decides, it does no I/O. A ring is immutable; one for each set of servers that are in. */
#ifndef LASTACK_RING_H
#define LASTACK_RING_H

#include "lastack/conf.h"

uint32_t la_keyhash(enum la_keyhash h, struct la_slice key);

struct la_ring_server {
    struct la_slice host; /* as written: an address, a name, a Unix path */
    uint16_t port;        /* 0: a Unix path */
    unsigned weight;
};

struct la_ring;
/* servers > 0. in: bit set of those that take part (servers beyond 64 always do); 0 is none: NULL is
 * returned. */
struct la_ring *la_ring_new(enum la_distribution d, enum la_keyhash h, const struct la_ring_server *server,
                            unsigned servers, uint64_t in);
void la_ring_free(struct la_ring **r);
unsigned la_ring_find(const struct la_ring *r, struct la_slice key); /* index of a server */

/* The part of a key that is hashed: between the two characters of tag, when both are there in this order with
 * something between them; else all of it. tag NULL or not two characters: all of it. */
struct la_slice la_ring_tagged(const char *tag, struct la_slice key);

#endif
