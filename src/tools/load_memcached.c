/* load_memcached.c: what a memcached client of the load generator asks, and what it makes of the answer.
 *
 * Owns: the bytes of a command and the answer's state in struct client. Never reads or writes a socket. A key is
 * "load:BYTES:N", and the value stored under it is the pattern of a token made of N, so that any run knows what
 * another one stored. Good path: "get" is answered by values, at most one for each key, and END; "set" by STORED.
 * Failures: an error line is a whole answer with a bad status; a value of another key, length or pattern is mixed;
 * anything else is malformed. One thread, its loop's. */
#include "tools/load_private.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE 256      /* of an answer; a longer one is malformed */
#define KEY  "%s%llu" /* la_load.memcached.key and its number; with a space before it */

static void key_token(struct client *c, uint64_t key)
{
    la_wire_token(c->token, (key + 1) * 0x9e3779b97f4a7c15u);
}

bool load_memcached_fits(const struct la_load_conf *c)
{
    int key = snprintf(NULL, 0, " load:%llu:%llu", (unsigned long long)c->memcached.value_bytes,
                       (unsigned long long)c->memcached.keys);
    return c->memcached.gets < LOAD_OUT && c->memcached.gets * (uint64_t)key + 8 < LOAD_OUT;
}

void load_memcached_settle(struct la_load *l)
{
    unsigned long long bytes = l->conf.memcached.value_bytes;
    l->memcached.key_n = (size_t)snprintf(l->memcached.key, sizeof(l->memcached.key), " load:%llu:", bytes);
    l->memcached.value_n = (size_t)snprintf(l->memcached.value, sizeof(l->memcached.value), "VALUE load:%llu:", bytes);
    l->memcached.rest_n = (size_t)snprintf(l->memcached.rest, sizeof(l->memcached.rest), " 0 %llu", bytes);
}

static size_t put_number(char *to, uint64_t v)
{
    char digits[24];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    for (size_t i = 0; i < n; i++)
        to[i] = digits[n - 1 - i];
    return n;
}

static void make_get(struct client *c)
{
    char *out = c->t->out;
    const struct la_load *l = c->t->load;
    size_t n = 3;
    memcpy(out, "get", 3);
    for (uint64_t i = 0; i < l->conf.memcached.gets; i++) {
        memcpy(out + n, l->memcached.key, l->memcached.key_n);
        n += l->memcached.key_n;
        n += put_number(out + n, c->memcached.first + i);
    }
    memcpy(out + n, "\r\n", 2);
    c->head_n = c->out_n = n + 2;
    c->body_end = true;
}

static void make_set(struct client *c, unsigned long long bytes)
{
    char *out = c->t->out;
    key_token(c, c->memcached.first);
    c->head_n = c->out_n = (size_t)snprintf(out, LOAD_OUT, "set" KEY " 0 0 %llu\r\n", c->t->load->memcached.key,
                                            (unsigned long long)c->memcached.first, bytes);
    c->body_left = bytes;
    c->body_end = bytes < LOAD_OUT / 2;
    if (!c->body_end)
        return;
    la_wire_fill(out + c->out_n, bytes, c->token, 0);
    memcpy(out + c->out_n + bytes, "\r\n", 2);
    c->out_n += bytes + 2;
    c->body_left = 0;
}

static void make(struct client *c)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    bool fill = k->memcached.fill && c->seq < k->memcached.keys;
    c->memcached.first = fill ? c->seq : la_random(&t->random) % (k->memcached.keys - k->memcached.gets + 1);
    c->memcached.set = fill || (double)(la_random(&t->random) % 1000000) < k->memcached.set_percent * 10000;
    c->memcached.hits = 0;
    c->last = !c->keep_alive || (k->keepalive_requests && c->served + 1 >= k->keepalive_requests);
    c->out = t->out;
    if (c->memcached.set)
        make_set(c, k->memcached.value_bytes);
    else
        make_get(c);
}

static void refill(struct client *c)
{
    c->out = c->t->out;
    c->out_at = 0;
    c->out_n = (size_t)la_min64(c->body_left, LOAD_OUT - 2);
    la_wire_fill(c->t->out, c->out_n, c->token, c->body_at);
    c->body_at += c->out_n;
    c->body_left -= c->out_n;
    if (c->body_left == 0) {
        memcpy(c->t->out + c->out_n, "\r\n", 2);
        c->out_n += 2;
        c->body_end = true;
    }
}

static enum load_took whole(struct client *c, int status, bool extra)
{
    c->status = status;
    c->extra = extra;
    c->persistent = true;
    return TOOK_ALL;
}

static enum load_took malformed(struct client *c, struct la_slice line)
{
    load_note_failure(c, "malformed answer: %.*s", (int)la_min64(line.n, 60), line.p);
    return TOOK_BAD;
}

static bool begins(struct la_slice line, const char *word)
{
    size_t n = strlen(word);
    return line.n >= n && memcmp(line.p, word, n) == 0 && (line.n == n || line.p[n] == ' ');
}

/* The head of a value: it must be one that was asked for. */
static enum load_took take_value_line(struct client *c, struct la_slice line)
{
    const struct la_load *l = c->t->load;
    const struct la_load_conf *k = &l->conf;
    size_t before = l->memcached.value_n, after = l->memcached.rest_n;
    uint64_t key = UINT64_MAX;
    if (c->memcached.set)
        return malformed(c, line);
    if (line.n > before + after && memcmp(line.p, l->memcached.value, before) == 0 &&
        memcmp(line.p + line.n - after, l->memcached.rest, after) == 0 &&
        !la_wire_number(la_slice(line.p + before, line.n - before - after), &key))
        key = UINT64_MAX;
    if (key - c->memcached.first >= k->memcached.gets || c->memcached.hits == k->memcached.gets) {
        /* its length is not to be relied on: nothing more is read */
        load_note_failure(c, "mixed: asked for %llu keys from" KEY " on, got %.*s",
                          (unsigned long long)k->memcached.gets, l->memcached.key,
                          (unsigned long long)c->memcached.first, (int)la_min64(line.n, 60), line.p);
        c->bad_body = true;
        c->unusable = true;
        return whole(c, 200, false);
    }
    c->memcached.key = key;
    c->memcached.hits++;
    if (!k->no_token)
        key_token(c, key);
    c->has_head = true;
    c->got = 0;
    return TOOK_MORE;
}

/* One line of the answer; extra: there are bytes behind it. */
static enum load_took take_line(struct client *c, struct la_slice line, bool extra)
{
    if (begins(line, "VALUE"))
        return take_value_line(c, line);
    if (begins(line, c->memcached.set ? "STORED" : "END")) {
        if (c->memcached.set) {
            LOAD_ADD(c->t, stored, 1);
        } else {
            LOAD_ADD(c->t, hits, c->memcached.hits);
            LOAD_ADD(c->t, misses, c->t->load->conf.memcached.gets - c->memcached.hits);
        }
        return whole(c, 200, extra);
    }
    bool server = begins(line, "SERVER_ERROR");
    if (!server && !begins(line, "CLIENT_ERROR") && !begins(line, "ERROR"))
        return malformed(c, line);
    load_note_failure(c, "%.*s", (int)la_min64(line.n, 100), line.p);
    c->unusable = c->memcached.set; /* whether the value was read is not known */
    return whole(c, server ? 500 : 400, extra);
}

/* The value and its line end, of which c->got bytes were seen. How many of p[0..n) belong to it. */
static size_t take_value(struct client *c, const char *p, size_t n)
{
    uint64_t bytes = c->t->load->conf.memcached.value_bytes;
    size_t used = (size_t)la_min64(n, bytes + 2 - c->got),
           data = c->got < bytes ? (size_t)la_min64(n, bytes - c->got) : 0;
    bool good = c->t->load->conf.no_token || la_wire_matches(p, data, c->token, c->got);
    for (size_t i = data; i < used; i++)
        good &= p[i] == "\r\n"[c->got + i - bytes];
    if (!good && !c->bad_body)
        load_note_failure(c, "mixed: the value of key %llu is not its own", (unsigned long long)c->memcached.key);
    c->bad_body |= !good;
    c->got += used;
    return used;
}

static bool in_value(const struct client *c)
{
    return c->has_head && c->got < c->t->load->conf.memcached.value_bytes + 2;
}

/* Keeps the beginning of a line that is not complete. */
static enum load_took keep(struct client *c, const char *p, size_t n)
{
    if (c->in_n + n > LINE)
        return malformed(c, la_slice(p, n));
    if (!c->in)
        c->in = la_xrealloc(NULL, LOAD_HEAD);
    memcpy(c->in + c->in_n, p, n);
    c->in_n += n;
    return TOOK_MORE;
}

static enum load_took take(struct client *c, char *p, size_t n)
{
    enum load_took took = TOOK_MORE;
    while (n > 0 && took == TOOK_MORE) {
        if (in_value(c)) {
            size_t used = take_value(c, p, n);
            p += used;
            n -= used;
            continue;
        }
        char *end = memchr(p, '\n', n);
        size_t used = end ? (size_t)(end - p) + 1 : n;
        if (!end || c->in_n > 0) {
            took = keep(c, p, used);
            if (!end || took != TOOK_MORE)
                return took;
        }
        struct la_slice line = c->in_n ? la_slice(c->in, c->in_n) : la_slice(p, used);
        if (line.n < 2 || line.p[line.n - 2] != '\r')
            return malformed(c, line);
        line.n -= 2;
        c->in_n = 0;
        p += used;
        n -= used;
        took = take_line(c, line, n > 0);
    }
    return took;
}

static bool ended(struct client *c)
{
    (void)c;
    return false;
}

const struct load_protocol load_memcached = {make, refill, take, ended, {"quit\r\n", 6}};
