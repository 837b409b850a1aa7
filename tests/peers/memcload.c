/* memcload.c: a load of memcached clients that checks every answer: options in, one JSON object out.
 *
 *   peer_memcload --target 127.0.0.1:11211 --clients 200 --commands 10000 [--short 20] [--big 0] [--keys
 * 1000]
 *
 * Each client is a connection with commands one after the other (some pipelined); after --short of them it
 * leaves and comes again. A key belongs to one client, so what it holds is known: "<key> <serial> " and a
 * filler. An answer that is not exactly that, or a miss of what was stored, is `wrong`; an error line is an
 * `error`; a connection that ends early is `lost`. Keys of other clients are read too: those must hold a
 * value of their own key. --big N: N clients that move 1 MB values all the time, not counted. One thread,
 * poll(2). Exit 0; 2 for usage. */
#include "lastack/addr.h"
#include "lastack/hist.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUF      (1u << 16)
#define BIG      (1u << 20)
#define KEYS_OWN 16

struct load {
    struct la_addr target;
    unsigned clients, left, every_short, big, base; /* base: ids of this run, so that nothing old is found */
    uint64_t done, hits, misses, wrong, errors, lost, connects, unfinished;
    uint64_t random, deadline_ns;
    struct la_hist hist;
    char first[200];
};

struct client {
    int fd;
    unsigned id, since_connect;
    bool big, connecting;
    unsigned serial[KEYS_OWN]; /* what is stored under each own key; 0: nothing known */
    /* what is asked */
    char *out, *in;
    size_t out_n, out_at, in_n;
    char want[3000]; /* the answer, when it is known in full */
    size_t want_n;
    enum { EXACT, FOREIGN, BIG_GET } kind;
    unsigned other, other_key; /* FOREIGN */
    unsigned commands;         /* in this batch */
    uint64_t sent_ns;
};

static unsigned size_of(unsigned id, unsigned key, unsigned serial)
{
    return 8 + (id * 31 + key * 7 + serial * 13) % 400;
}

static size_t value(char *to, unsigned id, unsigned key, unsigned serial)
{
    int n = sprintf(to, "c%u:k%u %u ", id, key, serial);
    unsigned size = size_of(id, key, serial);
    memset(to + n, 'a' + (int)(serial % 26), size);
    return (size_t)n + size;
}

static void note(struct load *l, const struct client *c, const char *what)
{
    if (l->first[0] == 0)
        snprintf(l->first, sizeof l->first, "%s: asked %.60s got %.60s", what, c->out, c->in);
}

static void want(struct client *c, const char *text, size_t n)
{
    la_assert(c->want_n + n <= sizeof c->want);
    memcpy(c->want + c->want_n, text, n);
    c->want_n += n;
}

static void add_set(struct client *c, unsigned key)
{
    char v[600];
    size_t n = value(v, c->id, key, ++c->serial[key]);
    c->out_n += (size_t)sprintf(c->out + c->out_n, "set c%u:k%u 0 0 %zu\r\n", c->id, key, n);
    memcpy(c->out + c->out_n, v, n);
    memcpy(c->out + c->out_n + n, "\r\n", 2);
    c->out_n += n + 2;
    want(c, "STORED\r\n", 8);
}

static void want_value(struct client *c, unsigned key)
{
    char v[600], line[64];
    if (c->serial[key] == 0)
        return;
    size_t n = value(v, c->id, key, c->serial[key]);
    want(c, line, (size_t)sprintf(line, "VALUE c%u:k%u 0 %zu\r\n", c->id, key, n));
    want(c, v, n);
    want(c, "\r\n", 2);
}

static void add_get(struct client *c, unsigned key)
{
    c->out_n += (size_t)sprintf(c->out + c->out_n, "get c%u:k%u\r\n", c->id, key);
    want_value(c, key);
    want(c, "END\r\n", 5);
}

static void make_big(struct load *l, struct client *c)
{
    if (la_random(&l->random) % 2 && c->serial[0]) {
        c->kind = BIG_GET;
        c->out_n = (size_t)sprintf(c->out, "get big%u\r\n", c->id);
        return;
    }
    c->serial[0]++;
    c->out_n = (size_t)sprintf(c->out, "set big%u 0 0 %u\r\n", c->id, BIG - 200);
    memset(c->out + c->out_n, 'z', BIG - 200);
    memcpy(c->out + c->out_n + BIG - 200, "\r\n", 2);
    c->out_n += BIG - 198;
    want(c, "STORED\r\n", 8);
}

/* The next batch of commands. */
static void make(struct load *l, struct client *c)
{
    unsigned key = (unsigned)(la_random(&l->random) % KEYS_OWN),
             dice = (unsigned)(la_random(&l->random) % 100);
    c->out_n = c->out_at = c->in_n = c->want_n = 0;
    c->kind = EXACT;
    c->commands = 1;
    c->sent_ns = la_clock_ns();
    if (c->big) {
        make_big(l, c);
    } else if (dice < 30) {
        add_set(c, key);
    } else if (dice < 60) {
        add_get(c, key);
    } else if (dice < 70) { /* pipelined; the noreply one is read back */
        add_set(c, key);
        add_get(c, key);
        char v[600];
        size_t n = value(v, c->id, key, ++c->serial[key]);
        c->out_n += (size_t)sprintf(c->out + c->out_n, "set c%u:k%u 0 0 %zu noreply\r\n%.*s\r\n", c->id, key,
                                    n, (int)n, v);
        add_get(c, key);
        c->commands = 4;
    } else if (dice < 80) { /* several keys, several servers */
        c->out_n = (size_t)sprintf(c->out, "get");
        for (unsigned k = 0; k < 4; k++) {
            c->out_n += (size_t)sprintf(c->out + c->out_n, " c%u:k%u", c->id, (key + k) % KEYS_OWN);
            want_value(c, (key + k) % KEYS_OWN);
        }
        c->out_n += (size_t)sprintf(c->out + c->out_n, "\r\n");
        want(c, "END\r\n", 5);
    } else if (dice < 85) {
        c->out_n = (size_t)sprintf(c->out, "delete c%u:k%u\r\n", c->id, key);
        want(c, c->serial[key] ? "DELETED\r\n" : "NOT_FOUND\r\n", c->serial[key] ? 9 : 11);
        c->serial[key] = 0; /* serials start anew: sizes and letters tell them apart well enough */
    } else {
        c->kind = FOREIGN;
        c->other = l->base + (unsigned)(la_random(&l->random) % l->clients);
        c->other_key = key;
        c->out_n = (size_t)sprintf(c->out, "get c%u:k%u\r\n", c->other, key);
    }
}

static void drop(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static bool dial(struct load *l, struct client *c)
{
    c->fd = socket(la_addr_family(&l->target), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    la_assert(c->fd >= 0);
    int e = connect(c->fd, &l->target.u.sa, l->target.len);
    if (e < 0 && errno != EINPROGRESS) {
        drop(c);
        return false; /* a full backlog: again */
    }
    l->connects++;
    c->since_connect = 0;
    return true;
}

/* 1: complete and right, 0: more to come, -1: wrong. */
static int judge(struct load *l, struct client *c)
{
    c->in[c->in_n] = 0;
    if (c->kind == EXACT) {
        size_t n = c->in_n < c->want_n ? c->in_n : c->want_n;
        if (memcmp(c->in, c->want, n) != 0 || c->in_n > c->want_n)
            return -1;
        return c->in_n == c->want_n;
    }
    if (c->in_n < 5 || memcmp(c->in + c->in_n - 5, "END\r\n", 5) != 0)
        return strstr(c->in, "ERROR") ? -1 : 0;
    if (c->kind == BIG_GET || c->in_n == 5) {
        l->misses += c->in_n == 5;
        return 1;
    }
    char head[64];
    char *line = strstr(c->in, "\r\n");
    int n = sprintf(head, "VALUE c%u:k%u 0 ", c->other, c->other_key);
    if (line == NULL || memcmp(c->in, head, (size_t)n) != 0)
        return -1;
    n = sprintf(head, "c%u:k%u ", c->other, c->other_key);
    l->hits++;
    return memcmp(line + 2, head, (size_t)n) == 0 ? 1 : -1;
}

static void again(struct load *l, struct client *c)
{
    if (l->left == 0 && !c->big) {
        drop(c);
        return;
    }
    if (!c->big)
        l->left -= c->commands < l->left ? c->commands : l->left;
    if (l->every_short && c->since_connect >= l->every_short && !c->big)
        drop(c);
    make(l, c);
}

static void answered(struct load *l, struct client *c)
{
    if (!c->big) {
        l->done += c->commands;
        la_hist_record(&l->hist, (la_clock_ns() - c->sent_ns) / 1000);
    }
    c->since_connect += c->commands;
    again(l, c);
}

static void failed(struct load *l, struct client *c, uint64_t *counter, const char *what)
{
    ++*counter;
    note(l, c, what);
    memset(c->serial, 0,
           sizeof c->serial); /* nothing is known any more: not judged until it is stored again */
    c->id += l->clients + 1000;
    drop(c);
    again(l, c);
}

static void step(struct load *l, struct client *c, short events)
{
    if (events & (POLLOUT | POLLERR | POLLHUP) && c->out_at < c->out_n) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != ENOTCONN && errno != EINPROGRESS) {
            failed(l, c, &l->lost, "send");
            return;
        }
        c->out_at += n > 0 ? (size_t)n : 0;
    }
    if (!(events & (POLLIN | POLLHUP)))
        return;
    ssize_t n = recv(c->fd, c->in + c->in_n, (c->big ? BIG + 4096 : BUF) - c->in_n - 1, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        failed(l, c, &l->lost, "recv");
        return;
    }
    c->in_n += (size_t)n;
    int ok = judge(l, c);
    if (ok < 0)
        failed(l, c, strstr(c->in, "ERROR") ? &l->errors : &l->wrong, "answer");
    else if (ok > 0)
        answered(l, c);
}

static void run(struct load *l)
{
    unsigned all = l->clients + l->big, live = l->clients;
    struct client *c = la_xcalloc(all, sizeof *c);
    struct pollfd *p = la_xcalloc(all, sizeof *p);
    for (unsigned i = 0; i < all; i++) {
        c[i].fd = -1;
        c[i].id = l->base + i;
        c[i].big = i >= l->clients;
        c[i].out = la_xcalloc(1, c[i].big ? BIG + 4096 : 8192);
        c[i].in = la_xcalloc(1, c[i].big ? BIG + 4096 : BUF);
        make(l, &c[i]);
    }
    while (live && la_clock_ns() < l->deadline_ns) {
        live = 0;
        for (unsigned i = 0; i < all; i++) {
            bool wants = c[i].big || l->left || c[i].fd >= 0;
            if (c[i].fd < 0 && wants)
                dial(l, &c[i]);
            live += wants && !c[i].big;
            p[i] = (struct pollfd){.fd = c[i].fd,
                                   .events = (short)(POLLIN | (c[i].out_at < c[i].out_n ? POLLOUT : 0))};
        }
        poll(p, all, 100);
        for (unsigned i = 0; i < all; i++)
            if (p[i].fd >= 0 && p[i].revents)
                step(l, &c[i], p[i].revents);
    }
    l->unfinished = live;
    for (unsigned i = 0; i < all; i++) {
        drop(&c[i]);
        free(c[i].in);
        free(c[i].out);
    }
    free(c);
    free(p);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"target", 1, NULL, 't'},   {"clients", 1, NULL, 'c'},
                                            {"commands", 1, NULL, 'n'}, {"short", 1, NULL, 's'},
                                            {"big", 1, NULL, 'b'},      {"seconds", 1, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    static struct load l = {.clients = 50, .left = 1000};
    const char *why = "no --target";
    bool ok = false;
    uint64_t seconds = 120;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        unsigned long v = optarg ? strtoul(optarg, NULL, 10) : 0;
        switch (o) {
        case 't': ok = la_addr_parse(&l.target, la_slice_str(optarg), true, &why); break;
        case 'c': l.clients = (unsigned)v; break;
        case 'n': l.left = (unsigned)v; break;
        case 's': l.every_short = (unsigned)v; break;
        case 'b': l.big = (unsigned)v; break;
        case 'd': seconds = v; break;
        default: return 2;
        }
    }
    if (!ok || l.clients == 0) {
        fprintf(stderr, "peer_memcload: %s\n", why);
        return 2;
    }
    l.random = la_random_seed();
    l.base = (unsigned)(l.random % 30000) * 100000;
    l.deadline_ns = la_clock_ns() + seconds * 1000000000u;
    uint64_t start = la_clock_ns();
    run(&l);
    printf("{\"commands\": %llu, \"foreign_hits\": %llu, \"misses\": %llu, \"wrong\": %llu, \"errors\": "
           "%llu, \"lost\": %llu, "
           "\"unfinished\": %llu, \"connects\": %llu, \"seconds\": %.3f, \"p50_us\": %llu, \"p99_us\": %llu, "
           "\"max_us\": %llu, "
           "\"first\": \"",
           (unsigned long long)l.done, (unsigned long long)l.hits, (unsigned long long)l.misses,
           (unsigned long long)l.wrong, (unsigned long long)l.errors, (unsigned long long)l.lost,
           (unsigned long long)l.unfinished, (unsigned long long)l.connects,
           (double)(la_clock_ns() - start) / 1e9, (unsigned long long)la_hist_quantile_us(&l.hist, .5),
           (unsigned long long)la_hist_quantile_us(&l.hist, .99),
           (unsigned long long)la_hist_max_us(&l.hist));
    for (const char *f = l.first; *f; f++)
        printf(*f < 0x20 || *f > 0x7e || *f == '"' || *f == '\\' ? "." : "%c", *f);
    printf("\"}\n");
    return 0;
}
