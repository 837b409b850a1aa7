/* origin_stats.c: the origin's counts as JSON, its settings by name, and the control port.
 *
 * Owns: the set of tokens seen (bounded at 16 million; later ones are not checked), the busy integral, the
 * goodbye times. The control port takes one GET per connection: /stats, /reset (counts to zero),
 * /set?key=value&… (see la_origin_set), /listen?on=0|1, /close_idle, /reset_all; every answer is the present
 * JSON. A controller is trusted: it is given 200 ms to say its line while everything else waits. One thread,
 * the origin's. */
#include "tools/origin_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- tokens ---- */

#define TOKENS_MAX (1u << 24)

static bool insert(struct token_set *t, uint64_t token)
{
    for (size_t i = (size_t)(token * 0x9e3779b97f4a7c15u >> 20) & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
        if (t->slot[i] == token)
            return false;
        if (t->slot[i] == 0) {
            t->slot[i] = token;
            t->used++;
            return true;
        }
    }
}

bool token_set_add(struct token_set *t, uint64_t token)
{
    if (token == 0 || t->used >= TOKENS_MAX)
        return true;
    if (t->used * 2 >= t->cap) {
        struct token_set bigger = {.cap = t->cap ? t->cap * 2 : 4096};
        bigger.slot = la_xcalloc(bigger.cap, sizeof(uint64_t));
        for (size_t i = 0; i < t->cap; i++)
            if (t->slot[i])
                insert(&bigger, t->slot[i]);
        free(t->slot);
        *t = bigger;
    }
    return insert(t, token);
}

void token_set_fini(struct token_set *t)
{
    free(t->slot);
    *t = (struct token_set){0};
}

/* ---- busy ---- */

void stats_busy(struct la_origin *o, int change)
{
    uint64_t now = la_clock_ns(), busy = ORIGIN_GET(o, busy);
    if (o->window_from_ns == 0)
        o->window_from_ns = o->busy_since_ns = now;
    o->busy_ns += busy * (now - o->busy_since_ns);
    o->busy_since_ns = now;
    o->window_to_ns = now;
    busy = change > 0 ? busy + 1 : busy - 1;
    atomic_store_explicit(&o->n.busy, busy, memory_order_relaxed);
    if (busy > ORIGIN_GET(o, busy_max))
        atomic_store_explicit(&o->n.busy_max, busy, memory_order_relaxed);
}

void stats_reset(struct la_origin *o)
{
    uint64_t open = ORIGIN_GET(o, open), busy = ORIGIN_GET(o, busy);
#define X(name) atomic_store_explicit(&o->n.name, 0, memory_order_relaxed);
    LA_ORIGIN_COUNTS(X)
#undef X
    ORIGIN_ADD(o, open, open);
    ORIGIN_ADD(o, open_max, open);
    ORIGIN_ADD(o, busy, busy);
    ORIGIN_ADD(o, busy_max, busy);
    o->busy_ns = 0;
    o->busy_since_ns = o->window_from_ns = o->window_to_ns = busy ? la_clock_ns() : 0;
    la_hist_reset(&o->goodbye_us);
    token_set_fini(&o->tokens);
}

const struct la_origin_counts *la_origin_counts(const struct la_origin *o)
{
    return &o->n;
}

void la_origin_json(struct la_origin *o, struct la_text *out)
{
    struct la_json j;
    la_json_init(&j, out);
    la_json_open(&j, NULL, '{');
#define X(name) la_json_int(&j, #name, (int64_t)ORIGIN_GET(o, name));
    LA_ORIGIN_COUNTS(X)
#undef X
    uint64_t window = o->window_to_ns - o->window_from_ns;
    la_json_num(&j, "busy_average", window ? (double)o->busy_ns / (double)window : 0);
    la_json_num(&j, "window_seconds", (double)window / 1e9);
    uint64_t requests = ORIGIN_GET(o, requests), accepted = ORIGIN_GET(o, accepted);
    la_json_num(&j, "reuse", requests && requests > accepted ? 1 - (double)accepted / (double)requests : 0);
    la_json_num(&j, "goodbye_p50_ms", (double)la_hist_quantile_us(&o->goodbye_us, 0.5) / 1e3);
    la_json_num(&j, "goodbye_max_ms", (double)la_hist_max_us(&o->goodbye_us) / 1e3);
    la_json_close(&j, '}');
}

/* ---- settings ---- */

#define KEYS(X)                                                                                              \
    X(idle_ms)                                                                                               \
    X(idle_jitter_ms) X(announce_s) X(delay_us) X(delay_jitter_us) X(contention_us) X(size)                 \
        X(max_connections) X(max_requests) X(silent_close) X(close_each) X(accept_delay_ms) X(ignore_close)  \
            X(goodbye_delay_ms) X(idle_408) X(workers)

static const struct {
    const char *name;
    size_t offset;
} keys[] = {
#define X(name) {#name, offsetof(struct la_origin_conf, name)},
    KEYS(X)
#undef X
};

const char *la_origin_key(size_t i)
{
    return i < la_count(keys) ? keys[i].name : NULL;
}

bool la_origin_set(struct la_origin_conf *c, struct la_slice key, struct la_slice value)
{
    uint64_t v;
    if (key.n > 6 && memcmp(key.p, "fault.", 6) == 0) {
        int fault = la_origin_fault_find(la_slice(key.p + 6, key.n - 6));
        char text[32] = {0}, *end;
        memcpy(text, value.p, la_min64(value.n, sizeof(text) - 1));
        double percent = strtod(text, &end);
        if (fault <= 0 || end == text || *end || percent < 0 || percent > 100)
            return false;
        c->fault_percent[fault] = percent;
        return true;
    }
    if (!la_wire_number(value, &v))
        return false;
    for (size_t i = 0; i < la_count(keys); i++)
        if (la_slice_eq(key, la_slice_str(keys[i].name))) {
            memcpy((char *)c + keys[i].offset, &v, sizeof(v));
            return true;
        }
    return false;
}

/* ---- the control port ---- */

static bool set_all(struct la_origin *o, struct la_slice query)
{
    bool good = true;
    for (const char *at = query.p, *end = query.p + query.n; at && at < end;) {
        const char *amp = memchr(at, '&', (size_t)(end - at));
        const char *stop = amp ? amp : end, *eq = memchr(at, '=', (size_t)(stop - at));
        good &= eq && la_origin_set(&o->conf, la_slice(at, (size_t)(eq - at)),
                                    la_slice(eq + 1, (size_t)(stop - eq - 1)));
        at = amp ? amp + 1 : end;
    }
    return good;
}

static bool obey(struct la_origin *o, struct la_slice target)
{
    const char *mark = memchr(target.p, '?', target.n);
    struct la_slice path = la_slice(target.p, mark ? (size_t)(mark - target.p) : target.n);
    struct la_slice query = mark ? la_slice(mark + 1, target.n - path.n - 1) : la_slice(NULL, 0);
    if (la_slice_eq(path, LA_SLICE("/set")))
        return set_all(o, query);
    if (la_slice_eq(path, LA_SLICE("/reset")))
        stats_reset(o);
    else if (la_slice_eq(path, LA_SLICE("/listen")))
        origin_listening(o, !la_slice_eq(la_wire_query(query, "on"), LA_SLICE("0")));
    else if (la_slice_eq(path, LA_SLICE("/close_idle")))
        origin_close_idle(o);
    else if (la_slice_eq(path, LA_SLICE("/reset_all")))
        origin_reset_all(o);
    else
        return la_slice_eq(path, LA_SLICE("/stats")) || la_slice_eq(path, LA_SLICE("/"));
    return true;
}

void stats_control(struct la_io *io, int events)
{
    (void)events;
    struct la_origin *o = la_container(io, struct la_origin, control_io);
    int fd = accept4(la_io_fd(io), NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct timeval patience = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    char in[4096];
    size_t n = 0;
    struct la_wire_head h;
    int r = 0;
    for (ssize_t k; r == 0 && n < sizeof(in) && (k = recv(fd, in + n, sizeof(in) - n, 0)) > 0;) {
        n += (size_t)k;
        r = la_wire_parse(&h, in, n, false, false);
    }
    if (r == 1) {
        bool good = obey(o, h.target);
        struct la_text body = {0}, head = {0};
        la_origin_json(o, &body);
        la_text_add(&body, "\n", 1);
        la_text_addf(&head,
                     "HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
                     "%zu\r\n\r\n",
                     good ? "200 OK" : "400 Bad Request", body.n);
        la_text_add(&head, body.p, body.n);
        if (send(fd, head.p, head.n, MSG_NOSIGNAL) == (ssize_t)head.n)
            shutdown(fd, SHUT_WR);
        la_text_fini(&head);
        la_text_fini(&body);
    }
    close(fd);
}
