/* bench_backend.c: the backends before anything is measured: where they are, whether they take a connection, what they
 * say of themselves; and how many local ports there are for them.
 *
 * Owns nothing between calls. Blocking sockets with timeouts, and an end for a whole answer. Never sends a request of the user's.
 *
 * Good path: each address is resolved, connected to once and asked (php-fpm's status page, memcached's settings).
 * Failures are one sentence in the report; a backend that says nothing of itself is none. */
#include "tools/bench.h"

#include "lastack/diag.h"
#include "tools/dial.h"
#include "tools/fpm_ask.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE_S 3

/* Of a name's addresses the first one that answers, else the first. */
static void take_answering(struct la_addr *out, const struct addrinfo *found)
{
    la_addr_from_sockaddr(out, found->ai_addr, found->ai_addrlen);
    for (const struct addrinfo *i = found; i && found->ai_next; i = i->ai_next) {
        struct la_addr a;
        la_addr_from_sockaddr(&a, i->ai_addr, i->ai_addrlen);
        int fd = la_tool_dial(&a, PATIENCE_S);
        if (fd < 0)
            continue;
        close(fd);
        *out = a;
        return;
    }
}

/* "unix:/path", "10.0.0.1:80", or a name with a port. False: why. */
static bool resolve(struct bench_backend *b, struct la_slice text, const char **why)
{
    if (la_addr_parse(&b->address, text, true, why)) {
        la_addr_text(&b->address, b->text);
        return true;
    }
    size_t colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || memchr(text.p, ':', colon - 1) || memchr(text.p, '/', text.n) || text.n >= sizeof b->text)
        return false;
    snprintf(b->text, sizeof b->text, "%.*s", LA_SLICE_ARGS(text)); /* it is the Host that the backend knows */
    char *host = la_xstrndup(text.p, colon - 1), *port = la_xstrndup(text.p + colon, text.n - colon);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    int e = getaddrinfo(host, port, &hints, &found);
    if (e == 0)
        take_answering(&b->address, found);
    else
        *why = gai_strerror(e);
    if (found)
        freeaddrinfo(found);
    free(host);
    free(port);
    return e == 0;
}

/* ---- what they say of themselves ---- */

static void ask_fpm(struct bench_backend *b, const char *status_path)
{
    struct la_fpm_status s;
    if (!status_path || fpm_ask(&b->address, status_path, &s) != FPM_ANSWERED)
        return;
    snprintf(b->about, sizeof b->about, "php-fpm, %lld workers%s", (long long)s.total, s.is_static ? ", pm static" : "");
    snprintf(b->limit_name, sizeof b->limit_name, "pm.max_children");
    if (s.is_static)
        b->limit = s.total;
}

static void ask_memcached(struct bench_backend *b)
{
    static const char question[] = "version\r\nstats settings\r\nquit\r\n";
    char text[8192], version[64] = "?";
    size_t n = 0;
    int fd = la_tool_dial(&b->address, PATIENCE_S);
    if (fd < 0)
        return;
    uint64_t end = la_clock_ns() + PATIENCE_S * 1000000000ull;
    ssize_t k = send(fd, question, sizeof question - 1, MSG_NOSIGNAL);
    while (k > 0 && n < sizeof text - 1 && la_clock_ns() < end && (k = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0)
        n += (size_t)k;
    close(fd);
    text[n] = 0;
    const char *limit = strstr(text, "STAT maxconns ");
    if (sscanf(text, "VERSION %63s", version) != 1 || !limit)
        return;
    b->limit = strtoll(limit + 14, NULL, 10);
    snprintf(b->limit_name, sizeof b->limit_name, "maxconns");
    snprintf(b->about, sizeof b->about, "memcached %s, maxconns %lld", version, (long long)b->limit);
}

/* ---- ports ---- */

/* "10.0.0.1", "10.0.0.1:20000-29999", several with commas; NULL: one source, the kernel's choice. */
static int64_t ports_of(const char *source, const struct la_addr *to)
{
    uint16_t low = 32768, high = 60999;
    int64_t sum = 0;
    if (la_addr_family(to) == AF_UNIX)
        return -1;
    la_diag_port_range(&low, &high);
    for (const char *p = source ? source : "-"; *p;) {
        size_t n = strcspn(p, ",");
        unsigned from = low, until = high;
        const char *dash = memchr(p, '-', n), *colon = dash;
        while (colon && colon > p && *colon != ':')
            colon--;
        if (colon && colon > p && sscanf(colon, ":%u-%u", &from, &until) != 2)
            from = low, until = high;
        sum += la_diag_usable_ports((uint16_t)from, (uint16_t)until);
        p += n + (p[n] == ',');
    }
    return sum;
}

/* ---- all of them ---- */

static bool add(struct bench_report *r, struct la_slice text)
{
    const char *why = "";
    if (r->backends == BENCH_BACKENDS) {
        snprintf(r->failure, sizeof r->failure, "More than %d backends cannot be measured at once.", BENCH_BACKENDS);
        return false;
    }
    struct bench_backend *b = &r->backend[r->backends];
    *b = (struct bench_backend){.limit = -1};
    if (!resolve(b, text, &why)) {
        snprintf(r->failure, sizeof r->failure, "The backend %.*s is no address: %s.", LA_SLICE_ARGS(text), why);
        return false;
    }
    b->local = la_diag_address_is_local(&b->address);
    r->backends++;
    return true;
}

bool bench_backend_alive(const struct bench_report *r, char *why, size_t why_n)
{
    for (size_t i = 0; i < r->backends; i++) {
        int fd = la_tool_dial(&r->backend[i].address, PATIENCE_S);
        if (fd < 0) {
            snprintf(why, why_n, "%s cannot be reached: %s", r->backend[i].text,
                     strerror(errno == EINPROGRESS || errno == EAGAIN ? ETIMEDOUT : errno));
            return false;
        }
        close(fd);
    }
    return true;
}

bool bench_backend_look(struct bench_report *r)
{
    const struct bench_options *o = r->options;
    char why[256];
    for (const char *p = o->upstream; *p;) {
        size_t n = strcspn(p, ",");
        if (!add(r, la_slice(p, n)))
            return false;
        p += n + (p[n] == ',');
    }
    if (r->backends == 0) {
        snprintf(r->failure, sizeof r->failure, "No backend is given.");
        return false;
    }
    if (!bench_backend_alive(r, why, sizeof why)) {
        snprintf(r->failure, sizeof r->failure, "The backend %s. Nothing was measured.", why);
        return false;
    }
    r->ports = ports_of(o->source, &r->backend[0].address);
    for (size_t i = 0; i < r->backends; i++) {
        if (o->protocol == BENCH_FASTCGI)
            ask_fpm(&r->backend[i], o->status_path);
        else if (o->protocol == BENCH_MEMCACHED)
            ask_memcached(&r->backend[i]);
        r->backend[i].local = bench_cpu_find(&r->backend[i], 1, &r->cpu);
    }
    return true;
}
