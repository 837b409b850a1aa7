/* load_request.c: the bytes of one HTTP request of the load generator, and the plan of whether its client leaves
 * early.
 *
 * Owns: the content of load_thread.out. Never sends. Good path: load_http_make once per request, load_http_refill
 * whenever that is sent and body is left. A head over LOAD_OUT bytes is the caller's mistake (la_load_new
 * bounds the templates). One thread, its loop's. */
#include "tools/load_private.h"

#include <stdio.h>

static bool chance(double *at, double percent)
{
    *at -= percent;
    return *at < 0;
}

static void plan_leaving(struct client *c, uint64_t body_n)
{
    struct load_thread *t = c->t;
    const struct la_load_conf *k = &t->load->conf;
    double at = (double)(la_random(&t->random) % 1000000) / 10000;
    if (chance(&at, k->leave.in_head)) {
        c->leave = LEAVE_IN_HEAD;
        c->leave_at = la_random(&t->random) % c->head_n;
    } else if (chance(&at, k->leave.in_body)) {
        c->leave = body_n ? LEAVE_IN_BODY : LEAVE_WAITING;
        c->leave_at = c->head_n + (body_n ? la_random(&t->random) % body_n : 0);
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
    memcpy(c->t->out + c->out_n, p, n);
    c->out_n += n;
}

static void put_text(struct client *c, const char *text)
{
    put(c, text, strlen(text));
}

static void put_number(struct client *c, uint64_t v)
{
    char digits[24], *at = digits + sizeof(digits);
    do
        *--at = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    put(c, at, (size_t)(digits + sizeof(digits) - at));
}

/* Text with {token} and {n} replaced. */
static void put_template(struct client *c, const char *text)
{
    while (*text) {
        size_t plain = strcspn(text, "{");
        put(c, text, plain);
        text += plain;
        if (strncmp(text, "{token}", 7) == 0) {
            put(c, c->token, LA_WIRE_TOKEN);
            text += 7;
        } else if (strncmp(text, "{n}", 3) == 0) {
            put_number(c, c->seq);
            text += 3;
        } else if (*text) {
            put(c, text++, 1);
        }
    }
}

static const char *choose_method(struct load_thread *t)
{
    const struct la_load *l = t->load;
    if (l->methods == 1)
        return l->method[0].name;
    double at = (double)(la_random(&t->random) % 1000000) / 10000;
    for (size_t i = 0; i + 1 < l->methods; i++)
        if (chance(&at, l->method[i].percent))
            return l->method[i].name;
    return l->method[l->methods - 1].name;
}

static bool takes_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

/* The request line but for its target, and the fields that all have. */
static void put_version(struct client *c, const char *host)
{
    const struct la_load_conf *k = &c->t->load->conf;
    put_text(c, k->http10 ? " HTTP/1.0\r\nHost: " : " HTTP/1.1\r\nHost: ");
    put_text(c, host);
    if (!k->no_token) {
        put_text(c, "\r\nX-Token: ");
        put(c, c->token, LA_WIRE_TOKEN);
    }
    put_text(c, k->http10 ? (c->last ? "\r\n" : "\r\nConnection: keep-alive\r\n")
                          : (c->last ? "\r\nConnection: close\r\n" : "\r\n"));
}

static void put_length(struct client *c, uint64_t n)
{
    put_text(c, "Content-Length: ");
    put_number(c, n);
    put_text(c, "\r\n");
}

static void make_of_list(struct client *c, const struct la_load_ask *a)
{
    const struct la_load_conf *k = &c->t->load->conf;
    c->http.to_head = strcmp(a->method, "HEAD") == 0;
    put_text(c, a->method);
    put_text(c, " ");
    put_text(c, a->target);
    put_version(c, a->host ? a->host : k->host);
    if (a->body_n || takes_body(a->method))
        put_length(c, a->body_n);
    if (k->headers)
        put_template(c, k->headers);
    if (a->headers)
        put_text(c, a->headers);
    put_text(c, "\r\n");
    c->head_n = c->out_n;
    c->body_end = true;
    if (a->body_n && a->body_n < LOAD_OUT - c->out_n)
        put(c, a->body, a->body_n);
    else
        c->body_left = a->body_n;
}

static void make_of_conf(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    const char *method = choose_method(c->t);
    bool has_body = k->body_bytes > 0 && takes_body(method);
    c->http.to_head = strcmp(method, "HEAD") == 0;
    put_text(c, method);
    put_text(c, " ");
    put_template(c, k->path);
    if (!k->no_token && !strstr(k->path, "{token}")) {
        put_text(c, strchr(k->path, '?') ? "&token=" : "?token=");
        put(c, c->token, LA_WIRE_TOKEN);
    }
    put_version(c, k->host);
    if (has_body && k->chunked)
        put_text(c, "Transfer-Encoding: chunked\r\n");
    else if (takes_body(method))
        put_length(c, has_body ? k->body_bytes : 0);
    if (has_body && !k->no_token)
        put_text(c, "X-Body: token\r\n");
    if (has_body && k->expect)
        put_text(c, "Expect: 100-continue\r\n");
    if (k->headers)
        put_template(c, k->headers);
    put_text(c, "\r\n");
    c->head_n = c->out_n;
    c->body_left = has_body ? k->body_bytes : 0;
    c->body_end = !has_body || !k->chunked;
    c->wait_100 = has_body && k->expect;
}

void load_http_make(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    c->last = !c->keep_alive || (k->keepalive_requests && c->served + 1 >= k->keepalive_requests);
    if (k->ask)
        make_of_list(c, &k->ask[c->ask]);
    else
        make_of_conf(c);
    c->out = c->t->out;
    if (c->t->load->leaves)
        plan_leaving(c, c->body_left + c->out_n - c->head_n);
}

void load_http_refill(struct client *c)
{
    const struct la_load_conf *k = &c->t->load->conf;
    c->out_at = c->out_n = 0;
    if (k->ask) {
        c->out = k->ask[c->ask].body;
        c->out_n = k->ask[c->ask].body_n;
        c->body_left = 0;
        return;
    }
    c->out = c->t->out;
    if (c->body_left == 0) {
        put_text(c, "0\r\n\r\n");
        c->body_end = true;
        return;
    }
    size_t n = (size_t)la_min64(c->body_left, LOAD_OUT / 2);
    if (k->chunked) {
        char size[24];
        put(c, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n));
    }
    la_wire_fill(c->t->out + c->out_n, n, c->token, c->body_at);
    c->out_n += n;
    c->body_at += n;
    c->body_left -= n;
    if (k->chunked)
        put_text(c, "\r\n");
}
