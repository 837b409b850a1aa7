/* ring.c: from a key to the server that holds it.
 *
 * Owns: the points of a continuum, sorted; or the list of servers that take part. Never: whether a server is
 * up.
 *
 * Good path: la_ring_new sorts once -> la_ring_find searches. A ketama point is the hash of "host-N" or
 * "host:port-N": the port 11211 is left out. Weighted: four points of each MD5, as many as the server's share
 * of 160 for each server; unweighted, and no server weighs more than 1: 100 points each of the keys' own
 * hash. Points that fall together stay in the servers' order. */
#include "lastack/md5.h"
#include "lastack/ring.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define POINTS_WEIGHTED 160
#define POINTS_PLAIN    100
#define DEFAULT_PORT    11211

struct point {
    uint32_t hash;
    unsigned server;
    unsigned order;
};

struct la_ring {
    enum la_distribution distribution;
    enum la_keyhash hash;
    unsigned *server; /* those that take part */
    unsigned servers;
    struct point *point;
    size_t points;
};

static int by_hash(const void *a, const void *b)
{
    const struct point *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void add_point(struct la_ring *r, uint32_t hash, unsigned server)
{
    r->point = la_xrealloc(r->point, (r->points + 1) * sizeof *r->point);
    r->point[r->points] = (struct point){hash, server, (unsigned)r->points};
    r->points++;
}

static struct la_slice name_of(const struct la_ring_server *s, unsigned n, char *buf, size_t cap)
{
    int len = s->port == DEFAULT_PORT
                  ? snprintf(buf, cap, "%.*s-%u", LA_SLICE_ARGS(s->host), n)
                  : snprintf(buf, cap, "%.*s:%u-%u", LA_SLICE_ARGS(s->host), (unsigned)s->port, n);
    return la_slice(buf, la_min64((uint64_t)len, cap - 1));
}

static void add_weighted(struct la_ring *r, const struct la_ring_server *s, unsigned index, unsigned total)
{
    char name[512];
    float share = (float)s->weight / (float)total;
    unsigned names = (unsigned)floorf(share * POINTS_WEIGHTED / 4 * (float)r->servers + 0.0000000001f);
    for (unsigned n = 0; n < names; n++) {
        uint8_t d[16];
        struct la_slice text = name_of(s, n, name, sizeof name);
        la_md5(text.p, text.n, d);
        for (unsigned k = 0; k < 16; k += 4)
            add_point(r, (uint32_t)d[k + 3] << 24 | (uint32_t)d[k + 2] << 16 | (uint32_t)d[k + 1] << 8 | d[k],
                      index);
    }
}

static void add_plain(struct la_ring *r, const struct la_ring_server *s, unsigned index)
{
    char name[512];
    for (unsigned n = 0; n < POINTS_PLAIN; n++)
        add_point(r, la_keyhash(r->hash, name_of(s, n, name, sizeof name)), index);
}

struct la_ring *la_ring_new(enum la_distribution d, enum la_keyhash h, const struct la_ring_server *server,
                            unsigned servers, uint64_t in)
{
    struct la_ring *r = la_xcalloc(1, sizeof *r);
    unsigned total = 0;
    r->distribution = d;
    r->hash = h;
    r->server = la_xcalloc(servers, sizeof *r->server);
    for (unsigned i = 0; i < servers; i++)
        if (i >= 64 || in >> i & 1) {
            r->server[r->servers++] = i;
            total += server[i].weight;
        }
    if (r->servers == 0) {
        la_ring_free(&r);
        return NULL;
    }
    /* One weight is enough for libmemcached to place all servers by weight. */
    bool weighted = d == LA_KETAMA;
    for (unsigned i = 0; i < servers; i++)
        weighted |= d == LA_KETAMA_UNWEIGHTED && server[i].weight > 1;
    for (unsigned i = 0; i < r->servers; i++) {
        const struct la_ring_server *s = &server[r->server[i]];
        if (weighted)
            add_weighted(r, s, r->server[i], total);
        else if (d == LA_KETAMA_UNWEIGHTED)
            add_plain(r, s, r->server[i]);
    }
    if (r->points)
        qsort(r->point, r->points, sizeof *r->point, by_hash);
    return r;
}

void la_ring_free(struct la_ring **rp)
{
    struct la_ring *r = *rp;
    *rp = NULL;
    if (r == NULL)
        return;
    free(r->server);
    free(r->point);
    free(r);
}

/* Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm". */
static unsigned jump(uint64_t key, unsigned buckets)
{
    int64_t b = -1, j = 0;
    while (j < (int64_t)buckets) {
        b = j;
        key = key * 2862933555777941757u + 1;
        j = (int64_t)((double)(b + 1) * (2147483648.0 / (double)((key >> 33) + 1)));
    }
    return (unsigned)b;
}

unsigned la_ring_find(const struct la_ring *r, struct la_slice key)
{
    if (r->servers == 1)
        return r->server[0];
    uint32_t h = la_keyhash(r->hash, key);
    if (r->points) {
        size_t low = 0, high = r->points;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (r->point[middle].hash < h)
                low = middle + 1;
            else
                high = middle;
        }
        return r->point[low == r->points ? 0 : low].server;
    }
    return r->server[r->distribution == LA_JUMP ? jump(h, r->servers) : h % r->servers];
}

struct la_slice la_ring_tagged(const char *tag, struct la_slice key)
{
    if (tag == NULL || tag[0] == 0 || tag[1] == 0)
        return key;
    const char *from = memchr(key.p, tag[0], key.n);
    if (from == NULL)
        return key;
    from++;
    const char *to = memchr(from, tag[1], key.n - (size_t)(from - key.p));
    return to && to > from ? la_slice(from, (size_t)(to - from)) : key;
}
