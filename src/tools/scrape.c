/* scrape.c: one question to an admin listener, and the labels of the Prometheus text that it answers with.
 *
 * Owns: one blocking connection per question, bounded in time and bytes. Never trusts the answer further than text.
 *
 * Good path: connect, GET, read until the end, framing off. What can fail: nobody listens, it is not HTTP, it takes too
 * long. */
#include "tools/scrape.h"

#include "lastack/http1.h"
#include "tools/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ANSWER_MOST (64u << 20)
#define WAIT_S 5

/* The whole answer until FIN. False: errno. */
static bool ask(int fd, const char *path, struct la_text *answer)
{
    char question[256];
    int question_n = snprintf(question, sizeof question, "GET %s HTTP/1.1\r\nHost: lastack\r\nConnection: close\r\n\r\n", path);
    uint64_t end = la_clock_ns() + WAIT_S * 1000000000ull;
    if (send(fd, question, (size_t)question_n, MSG_NOSIGNAL) != question_n)
        return false;
    for (char buf[16384];;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n == 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        la_text_add(answer, buf, (size_t)n);
        if (answer->n > ANSWER_MOST || la_clock_ns() > end) {
            errno = answer->n > ANSWER_MOST ? EMSGSIZE : ETIMEDOUT;
            return false;
        }
    }
}

/* Head and framing off. The status, 0: not an HTTP response. */
static int decode(const struct la_text *answer, struct la_text *content)
{
    struct la_http_head *h = la_xcalloc(1, sizeof *h);
    struct la_http_limits limits = {.head_bytes = 65536};
    struct la_http_body body;
    size_t seen = 0, at;
    enum la_err e;
    int status = 0;
    if (answer->n && la_http_parse_response(h, answer->p, answer->n, &seen, &limits, LA_METHOD_GET, false, &e) == LA_HTTP_DONE) {
        status = h->status;
        at = h->head_n;
        la_http_body_init(&body, h, NULL, 0);
        while (at < answer->n && !body.done) {
            struct la_slice piece = {0};
            size_t n = la_http_body_feed(&body, answer->p + at, answer->n - at, &piece, &e);
            if (n == SIZE_MAX)
                break;
            la_text_add(content, piece.p, piece.n);
            at += n;
        }
    }
    free(h);
    return status;
}

bool la_scrape_label(struct la_slice labels, const char *name, char *out, size_t cap)
{
    size_t name_n = strlen(name);
    for (size_t i = 0; i < labels.n;) {
        size_t start = i;
        while (i < labels.n && labels.p[i] != '=')
            i++;
        bool wanted = i - start == name_n && memcmp(labels.p + start, name, name_n) == 0;
        size_t n = 0;
        for (i += 2; i < labels.n && labels.p[i] != '"'; i++) { /* past =" */
            char c = labels.p[i];
            if (c == '\\' && i + 1 < labels.n)
                c = labels.p[++i] == 'n' ? '\n' : labels.p[i];
            if (wanted && n + 1 < cap)
                out[n++] = (unsigned char)c < 0x20 || c == 0x7f ? '?' : c;
        }
        if (wanted) {
            out[n] = 0;
            return true;
        }
        for (i++; i < labels.n && (labels.p[i] == ',' || labels.p[i] == ' ');)
            i++;
    }
    return false;
}

int la_scrape(const struct la_addr *a, const char *path, struct la_text *content)
{
    struct la_text answer = {0};
    int fd = la_tool_dial(a, WAIT_S), status = -1;
    if (fd >= 0 && ask(fd, path, &answer))
        status = decode(&answer, content);
    int e = errno == EAGAIN ? ETIMEDOUT : errno;
    if (fd >= 0)
        close(fd);
    la_text_fini(&answer);
    errno = e;
    return status;
}
