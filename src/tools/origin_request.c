/* origin_request.c: how the origin reads a request: head, token, body; then it hands over to conn_work.
 *
 * Owns: what is in conn.in. Never writes a response but for 100 Continue and 400. Good path: conn_process
 * after every read does what the bytes allow. Failures: a malformed request gets 400 and is counted; a body
 * that is not its token's pattern counts as body_mixed; a token seen before as a duplicate. One thread, the
 * origin's. */
#include "tools/origin_private.h"

#include <stdlib.h>

static void note_request(struct conn *c, const struct la_wire_head *h)
{
    struct la_origin *o = c->o;
    ORIGIN_ADD(o, requests, 1);
    c->busy = true;
    stats_busy(o, 1);
    if (c->goodbye)
        ORIGIN_ADD(o, goodbye_reused, 1);
    c->goodbye = false;
    c->to_head = la_slice_eq(h->method, LA_SLICE("HEAD"));
    c->unsafe_method = la_slice_eq(h->method, LA_SLICE("POST")) || la_slice_eq(h->method, LA_SLICE("PATCH"));
    c->request_close = !h->persistent;
    c->token_body = h->token_body && h->has_token;
    c->body_at = 0;
    memcpy(c->token, h->token, sizeof(c->token));
    const char *mark = memchr(h->target.p, '?', h->target.n);
    struct la_slice query =
        mark ? la_slice(mark + 1, h->target.n - (size_t)(mark + 1 - h->target.p)) : la_slice("", 0);
    struct la_slice token = la_wire_query(query, "token");
    if (!h->has_token && token.n == LA_WIRE_TOKEN)
        memcpy(c->token, token.p, LA_WIRE_TOKEN); /* c->token was all zero */
    else if (token.p && !la_slice_eq(token, la_slice_str(c->token)))
        ORIGIN_ADD(o, token_mismatch, 1);
    if (c->token[0] && !token_set_add(&o->tokens, strtoull(c->token, NULL, 16))) {
        ORIGIN_ADD(o, duplicates, 1);
        if (c->unsafe_method)
            ORIGIN_ADD(o, duplicates_unsafe, 1);
    }
}

/* A head is complete in c->in. False: c is gone or the answer is under way. */
static bool begin_request(struct conn *c, const struct la_wire_head *h)
{
    la_timer_stop(&c->timer);
    note_request(c, h);
    reply_plan(c, h);
    la_wire_body_init(&c->body, h);
    bool early =
        !c->body.done && (c->reply.fault == LA_FAULT_EARLY || c->reply.fault == LA_FAULT_EARLY_CLOSE);
    bool expect = h->expect && !c->body.done && !early;
    c->in_n -= h->head_n;
    memmove(c->in, c->in + h->head_n, c->in_n);
    if (early) {
        c->body_unread = true;
        conn_work(c);
        return false;
    }
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (expect && send(c->fd, go_on, sizeof(go_on) - 1, MSG_NOSIGNAL) < 0) {
        conn_close(c, CLOSER_PEER_RST);
        return false;
    }
    c->state = CONN_BODY;
    return true;
}

static bool feed_body(struct conn *c)
{
    size_t at = 0;
    while (at < c->in_n && !c->body.done) {
        struct la_slice piece;
        size_t used = la_wire_body_feed(&c->body, c->in + at, c->in_n - at, &piece);
        if (used == SIZE_MAX)
            return false;
        ORIGIN_ADD(c->o, request_body_bytes, piece.n);
        if (c->token_body && piece.n && !la_wire_matches(piece.p, piece.n, c->token, c->body_at)) {
            ORIGIN_ADD(c->o, body_mixed, 1);
            c->token_body = false;
        }
        c->body_at += piece.n;
        at += used;
    }
    c->in_n -= at;
    memmove(c->in, c->in + at, c->in_n);
    return true;
}

static void refuse(struct conn *c)
{
    static const char bad[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    ORIGIN_ADD(c->o, malformed, 1);
    if (send(c->fd, bad, sizeof(bad) - 1, MSG_NOSIGNAL) < 0)
        conn_close(c, CLOSER_PEER_RST);
    else
        conn_finish(c);
}

/* Does what the bytes in c->in allow. */
void conn_process(struct conn *c)
{
    if (c->state == CONN_HEAD && c->in_n > 0) {
        struct la_wire_head h;
        int r = la_wire_parse(&h, c->in, c->in_n, false, false);
        if (r < 0) {
            refuse(c);
            return;
        }
        if (r == 0 || !begin_request(c, &h))
            return;
    }
    if (c->state != CONN_BODY)
        return;
    if (!feed_body(c)) {
        refuse(c);
        return;
    }
    if (!c->body.done)
        return;
    if (!c->body_unread) {
        conn_work(c);
        return;
    }
    c->body_unread = false;
    c->state = CONN_HEAD;
    conn_wait_idle(c);
    conn_process(c);
}
