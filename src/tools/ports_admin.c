/* ports_admin.c: the ledger of a running proxy, as its admin listener's /metrics tells it.
 *
 * Owns: one blocking connection per question, bounded in time and bytes. Never trusts the answer further than text:
 * what is not a line of lastack_ports is passed over.
 *
 * Good path: connect, GET, read until the end, a row per (source, destination). What can fail: nobody listens, it is
 * not a lastack, it takes too long. */
#include "tools/ports_private.h"

#include "lastack/http1.h"
#include "lastack/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MOST (64u << 20)
#define WAIT_S 5

/* "http://127.0.0.1:9900/", "127.0.0.1:9900", ":9900", "unix:/path" */
static bool parse_address(struct la_addr *out, const char *text, const char **err)
{
    struct la_slice s = la_slice_str(text);
    if (s.n > 7 && memcmp(s.p, "http://", 7) == 0) {
        s = la_slice(s.p + 7, s.n - 7);
        const char *slash = memchr(s.p, '/', s.n);
        if (slash)
            s.n = (size_t)(slash - s.p);
    }
    return la_addr_parse(out, s, true, err);
}

static int dial(const struct la_addr *a)
{
    int fd = socket(la_addr_family(a), SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = WAIT_S};
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (connect(fd, &a->u.sa, a->len) != 0) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

/* The whole answer until FIN. False: errno. */
static bool ask(int fd, struct la_text *answer)
{
    static const char question[] = "GET /metrics HTTP/1.1\r\nHost: lastack\r\nConnection: close\r\n\r\n";
    uint64_t end = la_clock_ns() + WAIT_S * 1000000000ull;
    if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)sizeof question - 1)
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

/* The value of a label within "{...}", unescaped, cut to fit. False: there is none. */
static bool label(struct la_slice labels, const char *name, char *out, size_t cap)
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

static struct ports_row *row_for(struct ports_table *t, const char *source, const char *destination)
{
    for (size_t i = t->n; i-- > 0;) /* lines of one pair stand together */
        if (strcmp(t->row[i].source, source) == 0 && strcmp(t->row[i].destination, destination) == 0)
            return &t->row[i];
    struct ports_row *r = ports_table_add(t);
    snprintf(r->source, sizeof r->source, "%s", source);
    snprintf(r->destination, sizeof r->destination, "%s", destination);
    return r;
}

static void take_line(struct ports_table *t, struct la_slice line)
{
    static const char name[] = "lastack_ports{";
    char source[LA_ADDR_TEXT], destination[LA_ADDR_TEXT], state[16], number[32];
    if (line.n < sizeof name || memcmp(line.p, name, sizeof name - 1) != 0)
        return;
    struct la_slice rest = la_slice(line.p + sizeof name - 1, line.n - sizeof name + 1);
    size_t close = rest.n;
    while (close > 0 && rest.p[close - 1] != '}')
        close--;
    if (close == 0)
        return;
    struct la_slice labels = la_slice(rest.p, close - 1);
    if (!label(labels, "source", source, sizeof source) || !label(labels, "destination", destination, sizeof destination) ||
        !label(labels, "state", state, sizeof state))
        return;
    snprintf(number, sizeof number, "%.*s", (int)(rest.n - close), rest.p + close);
    long value = (long)strtod(number, NULL);
    struct ports_row *r = row_for(t, source, destination);
    if (strcmp(state, "free") == 0)
        r->free = value;
    else if (strcmp(state, "open") == 0)
        r->open = value;
    else if (strcmp(state, "time_wait") == 0)
        r->time_wait = value;
    else if (strcmp(state, "foreign") == 0)
        r->foreign = value;
}

void ports_parse_metrics(struct ports_table *t, struct la_slice text)
{
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        take_line(t, la_slice(text.p, n));
        n += end != NULL;
        text = la_slice(text.p + n, text.n - n);
    }
}

bool ports_from_admin(struct ports_table *t, const char *address, char *why)
{
    struct la_addr a;
    const char *err;
    if (!parse_address(&a, address, &err)) {
        snprintf(why, PORTS_WHY, "%s: %s", address, err);
        return false;
    }
    int fd = dial(&a);
    struct la_text answer = {0}, content = {0};
    bool good = fd >= 0 && ask(fd, &answer);
    if (!good)
        snprintf(why, PORTS_WHY, "no answer from an admin listener at %s (%s); give --admin ADDRESS, --pid PID or --all", address,
                 strerror(errno == EAGAIN ? ETIMEDOUT : errno));
    if (fd >= 0)
        close(fd);
    if (good) {
        int status = decode(&answer, &content);
        good = status == 200;
        if (good)
            ports_parse_metrics(t, la_slice(content.p, content.n));
        else if (status)
            snprintf(why, PORTS_WHY, "%s answered /metrics with status %d: is this a lastack admin listener?", address, status);
        else
            snprintf(why, PORTS_WHY, "%s did not answer with HTTP: is this a lastack admin listener?", address);
    }
    la_text_fini(&answer);
    la_text_fini(&content);
    return good;
}
