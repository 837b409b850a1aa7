/* load_http.c: how a client of the load generator reads an HTTP/1.1 response, and what it verifies.
 *
 * Owns: the response's state in struct client. Never reads a socket and never ends a request (load_client.c does, told
 * by TOOK_ALL and TOOK_BAD). Good path: interim heads are passed over, the final head says how the body ends, the body
 * is compared with the token's pattern; one that nobody looks at is skipped. A head that is not there in one piece is
 * gathered in client.in. Failures: what cannot be framed is malformed. One thread, its loop's. */
#include "tools/load_private.h"

#include <stdlib.h>

static bool is_mixed(struct client *c)
{
    const struct la_wire_head *h = &c->http.head;
    if (c->t->load->conf.no_token)
        return false;
    bool foreign = h->has_token && strcmp(h->token, c->token) != 0;
    if (foreign || c->bad_body) {
        load_note_failure(c, "mixed: %s %s", foreign ? "the response's token is" : "the body is not that of",
                          h->has_token ? h->token : "no token");
        return true;
    }
    if (!h->has_token && h->status < 300)
        LOAD_ADD(c->t, unechoed, 1);
    return false;
}

static enum load_took whole(struct client *c, bool extra)
{
    c->extra = extra;
    c->persistent = c->http.head.persistent;
    c->unusable = c->http.head.framing == LA_WIRE_CLOSE;
    c->status = c->http.head.status;
    c->bad_body = is_mixed(c);
    return TOOK_ALL;
}

static enum load_took feed(struct client *c, const char *p, size_t n)
{
    const struct la_load_conf *k = &c->t->load->conf;
    struct la_wire_body *b = &c->http.body;
    bool compare = c->http.head.token_body && c->http.head.has_token && !k->no_token;
    while (n > 0 && !b->done) {
        struct la_slice piece;
        size_t used = la_wire_body_feed(b, p, n, &piece);
        if (used == SIZE_MAX) {
            load_note_failure(c, "malformed chunk in the response");
            return TOOK_BAD;
        }
        if (piece.n && compare && !la_wire_matches(piece.p, piece.n, c->token, c->got))
            c->bad_body = true;
        c->got += piece.n;
        p += used;
        n -= used;
    }
    c->skip = k->no_token && b->framing == LA_WIRE_LENGTH;
    return b->done ? whole(c, n > 0) : TOOK_MORE;
}

static void keep(struct client *c, const char *p, size_t n)
{
    if (!c->in)
        c->in = la_xrealloc(NULL, LOAD_HEAD);
    memcpy(c->in + c->in_n, p, n);
    c->in_n += n;
}

static void take_head(struct client *c)
{
    struct la_wire_head *h = &c->http.head;
    if (h->status >= 400)
        load_note_failure(c, "status %d%s%.*s", h->status, h->proxy_status.n ? ", Proxy-Status: " : "", LA_SLICE_ARGS(h->proxy_status));
    c->wait_100 = false;
    if (h->status < 200 && h->status != 101)
        return;
    if (h->status == 101) {
        LOAD_ADD(c->t, upgraded, 1);
        c->last = true;
        h->framing = LA_WIRE_NONE;
        h->persistent = false;
    }
    c->has_head = true;
    la_wire_body_init(&c->http.body, h);
}

/* The next head in p[0..n), which are all bytes that came and were not used. Its length; 0: none yet. */
static enum load_took next_head(struct client *c, const char *p, size_t n, size_t *used)
{
    int r = n ? la_wire_parse(&c->http.head, p, n, true, c->http.to_head) : 0;
    *used = 0;
    if (r == 0 && n < LOAD_HEAD)
        return TOOK_MORE;
    if (r <= 0) {
        load_note_failure(c, "malformed response head: %.*s", (int)la_min64(n, 60), p);
        return TOOK_BAD;
    }
    *used = c->http.head.head_n;
    take_head(c);
    return TOOK_ALL;
}

static enum load_took take(struct client *c, char *p, size_t n)
{
    size_t used;
    while (!c->has_head) {
        bool gathered = c->in_n > 0;
        if (gathered) {
            size_t room = (size_t)la_min64(n, LOAD_HEAD - c->in_n);
            keep(c, p, room);
            p += room;
            n -= room;
        }
        enum load_took took = next_head(c, gathered ? c->in : p, gathered ? c->in_n : n, &used);
        if (took == TOOK_MORE && !gathered)
            keep(c, p, n);
        if (took != TOOK_ALL)
            return took;
        if (gathered) {
            c->in_n -= used;
            memmove(c->in, c->in + used, c->in_n);
        } else {
            p += used;
            n -= used;
        }
    }
    if (c->in_n > 0) {
        size_t gathered = c->in_n;
        c->in_n = 0;
        enum load_took took = feed(c, c->in, gathered);
        if (took != TOOK_MORE) {
            c->extra |= n > 0;
            return took;
        }
    }
    return feed(c, p, n);
}

static bool ended(struct client *c)
{
    if (!c->has_head || c->http.body.framing != LA_WIRE_CLOSE)
        return false;
    whole(c, false);
    return true;
}

const struct load_protocol load_http = {load_http_make, load_http_refill, take, ended, {NULL, 0}};
