/* fpm_ask.c: asks php-fpm for its status page.
 *
 * Blocking sockets with timeouts, one request without FCGI_KEEP_CONN. What can fail is told apart: no connection, no
 * answer, another page. */
#include "tools/fpm_ask.h"

#include "lastack/fcgi.h"
#include "tools/dial.h"

#include <unistd.h>

#define PROBE_ID 1

static bool ask(int fd, const char *status_path)
{
    char out[8192];
    la_fcgi_begin(out, PROBE_ID, false);
    struct la_fcgi_params w;
    la_fcgi_params_init(&w, PROBE_ID, out + LA_FCGI_BEGIN_BYTES, sizeof out - LA_FCGI_BEGIN_BYTES - 2 * LA_FCGI_HEAD_BYTES);
    la_fcgi_param(&w, LA_SLICE("SCRIPT_FILENAME"), la_slice_str(status_path));
    la_fcgi_param(&w, LA_SLICE("SCRIPT_NAME"), la_slice_str(status_path));
    la_fcgi_param(&w, LA_SLICE("QUERY_STRING"), LA_SLICE("json"));
    la_fcgi_param(&w, LA_SLICE("REQUEST_METHOD"), LA_SLICE("GET"));
    la_fcgi_param(&w, LA_SLICE("REQUEST_URI"), la_slice_str(status_path));
    la_fcgi_param(&w, LA_SLICE("SERVER_PROTOCOL"), LA_SLICE("HTTP/1.1"));
    la_fcgi_param(&w, LA_SLICE("GATEWAY_INTERFACE"), LA_SLICE("CGI/1.1"));
    la_fcgi_params_close(&w);
    if (w.overflow)
        return false;
    size_t n = LA_FCGI_BEGIN_BYTES + w.n;
    la_fcgi_head(out + n, LA_FCGI_PARAMS, PROBE_ID, 0);
    la_fcgi_head(out + n + LA_FCGI_HEAD_BYTES, LA_FCGI_STDIN, PROBE_ID, 0);
    n += 2 * LA_FCGI_HEAD_BYTES;
    return send(fd, out, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* Collects STDOUT up to END_REQUEST. False: it did not come within FPM_PATIENCE_S. */
static bool hear(int fd, char *page, size_t cap, size_t *page_n)
{
    struct la_fcgi_reader r = {.id = PROBE_ID};
    char in[4096];
    for (uint64_t end = la_clock_ns() + FPM_PATIENCE_S * 1000000000ull; la_clock_ns() < end;) {
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
    return false;
}

enum fpm_answer fpm_ask(const struct la_addr *a, const char *status_path, struct la_fpm_status *out)
{
    char page[4096];
    size_t n = 0;
    int fd = la_tool_dial(a, FPM_PATIENCE_S);
    if (fd < 0)
        return FPM_NO_CONNECTION;
    bool answered = ask(fd, status_path) && hear(fd, page, sizeof page, &n);
    close(fd);
    const char *body = memchr(page, '{', n);
    if (!answered)
        return FPM_SILENT;
    return body && la_fpm_status_read(la_slice(body, n - (size_t)(body - page)), out) ? FPM_ANSWERED : FPM_OTHER_PAGE;
}
