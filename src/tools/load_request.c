/* load_request.c: the bytes of one request of the load generator, and the plan of whether its client leaves
 * early.
 *
 * Owns: the content of client.out. Never sends. Good path: request_make once per request, request_refill
 * whenever out is empty and body is left. A head over LOAD_OUT bytes is the caller's mistake (la_load_new
 * bounds the templates). One thread, its loop's. */
#include "tools/load_private.h"

#include <stdio.h>

static bool chance(double *at, double percent)
{
    *at -= percent;
    return *at < 0;
}

static void plan_leaving(struct client *c, bool has_body)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    double at = (double)(la_random(&t->random) % 1000000) / 10000;
    c->leave = LEAVE_NEVER;
    if (chance(&at, k->leave.in_head)) {
        c->leave = LEAVE_IN_HEAD;
        c->leave_at = la_random(&t->random) % c->head_n;
    } else if (chance(&at, k->leave.in_body)) {
        c->leave = has_body ? LEAVE_IN_BODY : LEAVE_WAITING;
        c->leave_at = c->head_n + (has_body ? la_random(&t->random) % k->body_bytes : 0);
    } else if (chance(&at, k->leave.waiting)) {
        c->leave = LEAVE_WAITING;
    } else if (chance(&at, k->leave.in_response)) {
        c->leave = LEAVE_IN_RESPONSE;
        c->leave_at = 1 + la_random(&t->random) % (la_random(&t->random) & 1 ? 65536 : 200);
    }
}

static void put(struct client *c, const char *p, size_t n)
{
    la_assert(c->out_n + n < LOAD_OUT);
    memcpy(c->out + c->out_n, p, n);
    c->out_n += n;
}

/* Text with {token} and {n} replaced. */
static void put_template(struct client *c, const char *text)
{
    while (*text) {
        if (strncmp(text, "{token}", 7) == 0) {
            put(c, c->token, LA_WIRE_TOKEN);
            text += 7;
        } else if (strncmp(text, "{n}", 3) == 0) {
            char number[24];
            put(c, number, (size_t)snprintf(number, sizeof(number), "%llu", (unsigned long long)c->seq));
            text += 3;
        } else {
            put(c, text++, 1);
        }
    }
}

static void put_text(struct client *c, const char *text)
{
    put(c, text, strlen(text));
}

static const char *choose_method(struct load_thread *t)
{
    const struct la_load *l = t->load;
    double at = (double)(la_random(&t->random) % 1000000) / 10000;
    for (size_t i = 0; i + 1 < l->methods; i++)
        if (chance(&at, l->method[i].percent))
            return l->method[i].name;
    return l->method[l->methods - 1].name;
}

void request_make(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    const char *method = choose_method(c->t);
    bool has_body =
        k->body_bytes > 0 && (!strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH"));
    c->out_at = c->out_n = 0;
    c->to_head = strcmp(method, "HEAD") == 0;
    c->last = !c->keep_alive || (k->keepalive_requests && c->served + 1 >= k->keepalive_requests);
    put_text(c, method);
    put_text(c, " ");
    put_template(c, k->path);
    if (!k->no_token && !strstr(k->path, "{token}")) {
        put_text(c, strchr(k->path, '?') ? "&token=" : "?token=");
        put_text(c, c->token);
    }
    put_text(c, k->http10 ? " HTTP/1.0\r\nHost: " : " HTTP/1.1\r\nHost: ");
    put_text(c, k->host);
    if (!k->no_token) {
        put_text(c, "\r\nX-Token: ");
        put_text(c, c->token);
    }
    put_text(c, k->http10 ? (c->last ? "\r\n" : "\r\nConnection: keep-alive\r\n")
                          : (c->last ? "\r\nConnection: close\r\n" : "\r\n"));
    if (has_body) {
        char length[64];
        snprintf(length, sizeof(length), "Content-Length: %llu\r\n", (unsigned long long)k->body_bytes);
        put_text(c, k->chunked ? "Transfer-Encoding: chunked\r\n" : length);
        put_text(c, k->no_token ? "" : "X-Body: token\r\n");
        put_text(c, k->expect ? "Expect: 100-continue\r\n" : "");
    } else if (!strcmp(method, "POST") || !strcmp(method, "PUT") || !strcmp(method, "PATCH")) {
        put_text(c, "Content-Length: 0\r\n");
    }
    if (k->headers)
        put_template(c, k->headers);
    put_text(c, "\r\n");
    c->head_n = c->out_n;
    c->body_left = has_body ? k->body_bytes : 0;
    c->body_at = 0;
    c->body_end = !has_body || !k->chunked;
    c->wait_100 = has_body && k->expect;
    plan_leaving(c, has_body);
}

void request_refill(struct client *c)
{
    bool chunked = c->t->load->conf.chunked;
    c->out_at = c->out_n = 0;
    if (c->body_left == 0) {
        put_text(c, "0\r\n\r\n");
        c->body_end = true;
        return;
    }
    size_t n = (size_t)la_min64(c->body_left, LOAD_OUT / 2);
    if (chunked) {
        char size[24];
        put(c, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n));
    }
    la_wire_fill(c->out + c->out_n, n, c->token, c->body_at);
    c->out_n += n;
    c->body_at += n;
    c->body_left -= n;
    if (chunked)
        put_text(c, "\r\n");
}
