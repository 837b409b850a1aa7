/* origin_reply.c: what the origin answers: plans a response from the request's wishes, writes it, and strikes
 * its faults.
 *
 * Owns: struct reply and the output buffer of a connection. Never accepts, never counts closes (conn_close
 * and its siblings do). Good path: reply_plan at the head, reply_start when the work is done, reply_write
 * until everything is out, conn_next. A fault ends the response before, in the middle or after, as its name
 * says. One thread, the origin's. */
#include "tools/origin_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK_MS 50

static const char *const fault_name[] = {
#define X(id, name) name,
    LA_ORIGIN_FAULTS(X)
#undef X
};

int la_origin_fault_find(struct la_slice name)
{
    for (size_t i = 0; i < la_count(fault_name); i++)
        if (la_slice_eq(name, la_slice_str(fault_name[i])))
            return (int)i;
    return -1;
}

/* ---- the plan ---- */

struct wishes {
    struct la_slice query, control;
};

static struct la_slice wish(const struct wishes *w, const char *key)
{
    struct la_slice s = la_wire_query(w->control, key);
    return s.p ? s : la_wire_query(w->query, key);
}

static uint64_t wish_number(const struct wishes *w, const char *key, uint64_t otherwise)
{
    uint64_t v;
    return la_wire_number(wish(w, key), &v) ? v : otherwise;
}

static bool wish_flag(const struct wishes *w, const char *key)
{
    struct la_slice s = wish(w, key);
    return s.p && !la_slice_eq(s, LA_SLICE("0"));
}

static enum la_origin_fault choose_fault(struct la_origin *o, const struct wishes *w)
{
    struct la_slice asked = wish(w, "fault");
    int fault = asked.p ? la_origin_fault_find(asked) : -1;
    if (fault >= 0)
        return (enum la_origin_fault)fault;
    double at = (double)(la_random(&o->random) >> 11) / 9007199254740992.0 * 100;
    for (size_t i = 1; i < LA_FAULT_COUNT; i++) {
        at -= o->conf.fault_percent[i];
        if (at < 0)
            return (enum la_origin_fault)i;
    }
    return LA_FAULT_NONE;
}

static uint64_t where_it_stops(const struct reply *r)
{
    switch (r->fault) {
    case LA_FAULT_RESET_MID:
    case LA_FAULT_STALL_MID:
    case LA_FAULT_TRUNCATE:
    case LA_FAULT_BAD_CHUNK: return r->size / 2;
    default: return r->size;
    }
}

void reply_plan(struct conn *c, const struct la_wire_head *h)
{
    const struct la_origin_conf *k = &c->o->conf;
    const char *mark = memchr(h->target.p, '?', h->target.n);
    struct wishes w = {.control = h->control};
    if (mark)
        w.query = la_slice(mark + 1, h->target.n - (size_t)(mark + 1 - h->target.p));
    struct reply *r = &c->reply;
    *r = (struct reply){
        .status = (int)wish_number(&w, "status", 200),
        .fault = choose_fault(c->o, &w),
        .size = wish_number(&w, "size", k->size),
        .chunk = wish_number(&w, "chunk", 4096),
        .rate = wish_number(&w, "rate", 0),
        .delay_us = k->delay_us,
        .announce_s = wish_number(&w, "keepalive", k->announce_s),
        .interim = la_min64(wish_number(&w, "interim", 0), 64),
        .head_bytes = la_min64(wish_number(&w, "head", 0), 1 << 20),
        .chunked = wish_flag(&w, "chunked") || wish(&w, "chunk").p,
        .until_close = la_slice_eq(wish(&w, "framing"), LA_SLICE("close")),
        .trailers = wish_flag(&w, "trailers"),
        .upgrade = h->upgrade && wish_flag(&w, "upgrade"),
    };
    if (wish(&w, "delay_us").p || wish(&w, "delay_ms").p)
        r->delay_us = wish_number(&w, "delay_us", wish_number(&w, "delay_ms", 0) * 1000);
    r->chunk = la_min64(r->chunk ? r->chunk : 1, ORIGIN_OUT / 2);
    if (r->status < 200 || r->status > 599)
        r->status = 200;
    if (r->status == 204 || r->status == 304)
        r->size = 0;
    r->chunked |= r->trailers || r->fault == LA_FAULT_BAD_CHUNK;
    if (h->minor == 0 && r->chunked) {
        r->chunked = r->trailers = false;
        r->until_close = true;
    }
    bool last = k->close_each || (k->max_requests && c->served + 1 >= k->max_requests);
    r->silent = (last && k->silent_close) || r->fault == LA_FAULT_CLOSE_AFTER;
    r->close = (last && !k->silent_close) || wish_flag(&w, "close") || r->until_close ||
               r->fault == LA_FAULT_EARLY_CLOSE || (c->request_close && !k->ignore_close);
    if (r->fault != LA_FAULT_NONE)
        ORIGIN_ADD(c->o, faults, 1);
    c->stop_at = where_it_stops(r);
    c->sent = 0;
    c->finishing = false;
}

/* ---- the bytes ---- */

LA_PRINTF(2, 3) static void put(struct conn *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(c->out + c->out_n, c->out_cap - c->out_n, fmt, ap);
    va_end(ap);
    la_assert(n >= 0 && c->out_n + (size_t)n < c->out_cap);
    c->out_n += (size_t)n;
}

static void put_head(struct conn *c)
{
    const struct reply *r = &c->reply;
    for (uint64_t i = 0; i < r->interim; i++)
        put(c, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
    put(c, "HTTP/1.1 %d %s\r\n", r->status, r->status == 200 ? "OK" : "As Asked");
    if (c->token[0])
        put(c, "X-Token: %s\r\nX-Body: token\r\n", c->token);
    if (r->fault == LA_FAULT_TWO_LENGTHS)
        put(c, "Content-Length: %llu\r\nContent-Length: %llu\r\n", (unsigned long long)r->size,
            (unsigned long long)r->size + 7);
    else if (r->chunked)
        put(c, "Transfer-Encoding: chunked\r\n%s", r->trailers ? "Trailer: X-Sum\r\n" : "");
    else if (!r->until_close && r->status != 204)
        put(c, "Content-Length: %llu\r\n", (unsigned long long)r->size);
    if (r->close)
        put(c, "Connection: close\r\n");
    else if (r->announce_s)
        put(c, "Connection: keep-alive\r\nKeep-Alive: timeout=%llu\r\n", (unsigned long long)r->announce_s);
    else
        put(c, "Connection: keep-alive\r\n");
    if (r->head_bytes) {
        put(c, "X-Pad: ");
        memset(c->out + c->out_n, 'p', r->head_bytes);
        c->out_n += r->head_bytes;
        put(c, "\r\n");
    }
    put(c, "Content-Type: text/plain\r\n\r\n");
}

static void put_end(struct conn *c)
{
    const struct reply *r = &c->reply;
    if (r->chunked && !c->to_head)
        put(c, r->trailers ? "0\r\nX-Sum: 42\r\n\r\n" : "0\r\n\r\n");
    if (r->fault == LA_FAULT_EXTRA)
        put(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
    c->finishing = true;
}

/* More of the body into the empty out buffer. */
static void refill(struct conn *c)
{
    const struct reply *r = &c->reply;
    const size_t frame = 32; /* chunk head and end */
    c->out_at = c->out_n = 0;
    for (;;) {
        uint64_t n = la_min64(c->stop_at - c->sent, r->chunked ? r->chunk : ORIGIN_OUT / 2);
        if (r->rate)
            n = la_min64(n, c->allowance);
        if (n == 0 || c->out_n + n + frame * 4 > c->out_cap)
            break;
        if (r->chunked)
            put(c, "%llx\r\n", (unsigned long long)n);
        la_wire_fill(c->out + c->out_n, n, c->token[0] ? c->token : "no token was ask", c->sent);
        c->out_n += n;
        c->sent += n;
        if (r->rate)
            c->allowance -= n;
        if (r->chunked)
            put(c, "\r\n");
    }
    if (c->sent < c->stop_at)
        return;
    if (r->fault == LA_FAULT_BAD_CHUNK) {
        put(c, "zz\r\n");
        c->finishing = true;
    } else if (c->stop_at == r->size) {
        put_end(c);
    } else {
        c->finishing = true;
    }
}

/* Everything that this response was to say is in the kernel's hands. */
static void said(struct conn *c)
{
    c->out_at = c->out_n = 0;
    switch (c->reply.fault) {
    case LA_FAULT_RESET_MID: conn_reset(c); return;
    case LA_FAULT_TRUNCATE:
    case LA_FAULT_GARBAGE:
    case LA_FAULT_STATUS408:
    case LA_FAULT_BAD_CHUNK: conn_finish(c); return;
    case LA_FAULT_STALL_MID:
        c->state = CONN_STALL;
        la_io_want(&c->io, LA_READ);
        return;
    default: break;
    }
    if (c->reply.upgrade) {
        ORIGIN_ADD(c->o, tunnels, 1);
        c->state = CONN_TUNNEL;
        la_io_want(&c->io, LA_READ);
        return;
    }
    conn_next(c);
}

void reply_write(struct conn *c)
{
    for (;;) {
        if (c->out_at == c->out_n) {
            if (c->finishing) {
                said(c);
                return;
            }
            refill(c);
            if (c->out_n == 0 && !c->finishing) { /* rate: nothing more may go now */
                la_io_want(&c->io, LA_READ);
                la_timer_set(&c->timer, TICK_MS);
                return;
            }
            continue;
        }
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
        if (n >= 0) {
            c->out_at += (size_t)n;
        } else if (errno == EAGAIN) {
            la_io_want(&c->io, LA_READ | LA_WRITE);
            return;
        } else {
            conn_close(c, errno == EPIPE ? CLOSER_PEER_FIN : CLOSER_PEER_RST);
            return;
        }
    }
}

void reply_tick(struct conn *c)
{
    c->allowance += la_max64(c->reply.rate * TICK_MS / 1000, 1);
    reply_write(c);
}

void reply_start(struct conn *c)
{
    switch (c->reply.fault) {
    case LA_FAULT_RESET: conn_reset(c); return;
    case LA_FAULT_CLOSE_BEFORE: conn_finish(c); return;
    case LA_FAULT_STALL: c->state = CONN_STALL; return;
    default: break;
    }
    size_t need = ORIGIN_OUT + c->reply.head_bytes;
    if (c->out_cap < need) {
        c->out = la_xrealloc(c->out, need);
        c->out_cap = need;
    }
    c->out_at = c->out_n = 0;
    c->allowance = la_max64(c->reply.rate * TICK_MS / 1000, 1);
    c->state = CONN_WRITE;
    if (c->reply.fault == LA_FAULT_GARBAGE) {
        put(c, "\x01\x02 this is not HTTP\r\n\r\n");
        c->finishing = true;
    } else if (c->reply.fault == LA_FAULT_STATUS408) {
        put(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        c->finishing = true;
    } else if (c->reply.upgrade) {
        put(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n");
        put(c, "X-Token: %s\r\n\r\n", c->token);
        c->finishing = true;
    } else {
        put_head(c);
        /* A small body leaves with its head, in one segment. */
        if (c->to_head || c->reply.status == 204 || c->reply.status == 304)
            put_end(c);
        else if (!c->reply.rate && !c->reply.chunked && c->stop_at == c->reply.size && c->stop_at <= 2048) {
            la_wire_fill(c->out + c->out_n, c->stop_at, c->token[0] ? c->token : "no token was ask", 0);
            c->out_n += c->stop_at;
            c->sent = c->stop_at;
            put_end(c);
        }
    }
    reply_write(c);
}
