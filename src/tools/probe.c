/* probe.c: `lastack check --probe`: asks php-fpm's status page of every server that has one configured, and judges the
 * pool.
 *
 * Blocking sockets with timeouts, one request each without FCGI_KEEP_CONN; nothing of the running proxy is used. What
 * is wrong becomes a warning, a server that does not answer too: the configuration may be right all the same. */
#include "probe.h"

#include "lastack/fcgi.h"
#include "lastack/fpm.h"

#include <errno.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_S 2

static int connect_to(const struct la_addr *a)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(la_addr_family(a), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* bounds connect too */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, &a->u.sa, a->len) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}

static bool ask(int fd, const struct la_conf_fastcgi *f)
{
    char out[8192];
    la_fcgi_begin(out, false);
    struct la_fcgi_params w;
    la_fcgi_params_init(&w, out + LA_FCGI_BEGIN_BYTES, sizeof out - LA_FCGI_BEGIN_BYTES - 2 * LA_FCGI_HEAD_BYTES);
    la_fcgi_param(&w, LA_SLICE("SCRIPT_FILENAME"), la_slice_str(f->status_path));
    la_fcgi_param(&w, LA_SLICE("SCRIPT_NAME"), la_slice_str(f->status_path));
    la_fcgi_param(&w, LA_SLICE("QUERY_STRING"), LA_SLICE("json"));
    la_fcgi_param(&w, LA_SLICE("REQUEST_METHOD"), LA_SLICE("GET"));
    la_fcgi_param(&w, LA_SLICE("REQUEST_URI"), la_slice_str(f->status_path));
    la_fcgi_param(&w, LA_SLICE("SERVER_PROTOCOL"), LA_SLICE("HTTP/1.1"));
    la_fcgi_param(&w, LA_SLICE("GATEWAY_INTERFACE"), LA_SLICE("CGI/1.1"));
    la_fcgi_params_close(&w);
    if (w.overflow)
        return false;
    size_t n = LA_FCGI_BEGIN_BYTES + w.n;
    la_fcgi_head(out + n, LA_FCGI_PARAMS, 0);
    la_fcgi_head(out + n + LA_FCGI_HEAD_BYTES, LA_FCGI_STDIN, 0);
    n += 2 * LA_FCGI_HEAD_BYTES;
    return send(fd, out, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* Collects STDOUT up to END_REQUEST. */
static bool hear(int fd, char *page, size_t cap, size_t *page_n)
{
    struct la_fcgi_reader r = {0};
    char in[4096];
    for (;;) {
        ssize_t n = recv(fd, in, sizeof in, 0);
        if (n <= 0)
            return false;
        for (size_t at = 0; at < (size_t)n;) {
            enum la_fcgi_event e;
            struct la_slice piece;
            at += la_fcgi_read(&r, in + at, (size_t)n - at, &e, &piece);
            if (e == LA_FCGI_OVER || e == LA_FCGI_BAD)
                return e == LA_FCGI_OVER;
            size_t keep = e == LA_FCGI_OUT ? la_min64(piece.n, cap - *page_n) : 0;
            memcpy(page + *page_n, piece.p, keep);
            *page_n += keep;
        }
    }
}

static void probe(const struct la_conf_upstream *u, const struct la_conf_server *s, struct la_conf_findings *out)
{
    char page[4096], text[256];
    size_t n = 0;
    struct la_fpm_status status;
    if (s->address.len == 0)
        return; /* a name: `check` resolves none */
    int fd = connect_to(&s->address);
    if (fd < 0) {
        la_conf_finding_add(out, true, &s->pos, "upstreams.%s: server %s: %s", u->name, s->text, strerror(errno));
        return;
    }
    bool answered = ask(fd, &u->fastcgi) && hear(fd, page, sizeof page, &n);
    close(fd);
    const char *body = memchr(page, '{', n);
    if (!answered) {
        la_conf_finding_add(
            out, true, &s->pos,
            "upstreams.%s: server %s does not answer within %d s: are all its workers busy, or pinned by "
            "idle connections?",
            u->name, s->text, PATIENCE_S);
    } else if (body == NULL || !la_fpm_status_read(la_slice(body, n - (size_t)(body - page)), &status)) {
        la_conf_finding_add(out, true, &s->pos,
                            "upstreams.%s: server %s: %s is not its status page: set pm.status_path", u->name, s->text,
                            u->fastcgi.status_path);
    } else {
        printf("upstreams.%s: server %s: php-fpm has %lld workers%s, %lld active; listen queue %lld (at most %lld so "
               "far)\n",
               u->name, s->text, (long long)status.total, status.is_static ? " (static)" : "", (long long)status.active,
               (long long)status.listen_queue, (long long)status.max_listen_queue);
        if (la_fpm_judge(&status, (int)u->pool.max, 0, text, sizeof text))
            la_conf_finding_add(out, true, &s->pos, "upstreams.%s.pool.max: server %s: %s", u->name, s->text, text);
    }
}

void la_probe(const struct la_conf *c, struct la_conf_findings *out)
{
    for (size_t i = 0; i < c->upstreams; i++)
        for (size_t k = 0; c->upstream[i].fastcgi.status_path && k < c->upstream[i].servers; k++)
            probe(&c->upstream[i], &c->upstream[i].server[k], out);
}
