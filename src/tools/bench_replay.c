/* bench_replay.c: an access log as a list of requests for `lastack bench --replay FILE`.
 *
 * Owns nothing but what it adds to the list. Never sends. Reads, line by line: lastack's own JSON log (and others that
 * have "method", "target", "path" or "uri", and a time under one of the usual names), and the common and combined formats of Apache and nginx, with
 * or without a virtual host in front, and whatever follows. A log knows no bodies and no header fields but Host, so
 * none are sent.
 *
 * Good path: each line gives a request and the time when it began; in the end all are sorted by time, counted from the
 * first. A JSON line is written when the response is over, so total_ms is taken off. Who knows whole seconds alone,
 * as the common format does, has the requests of one second spread evenly. Lines that hold no request that can be asked again
 * (an unsafe method, a memcached command, what was no HTTP) are left out and counted; so are those without a time, but
 * for a log that has no times at all. Failures: a line that is no log line ends it, with file:line and the reason. */
#include "tools/bench_requests.h"

#include "lastack/http1.h"
#include "lastack/json_read.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define UNTIMED UINT64_MAX

/* Until all is read, at_us is a time and whether it is known to the second alone. */
#define WHOLE 1u
static uint64_t stamp(uint64_t us, bool whole)
{
    return us == UNTIMED ? UNTIMED : us << 1 | (whole ? WHOLE : 0);
}

struct replay {
    struct bench_requests *r;
    bool unsafe;
};

static bool is_wanted(const struct replay *f, struct la_slice method)
{
    return la_slice_eq(method, LA_SLICE("GET")) || la_slice_eq(method, LA_SLICE("HEAD")) ||
           la_slice_eq(method, LA_SLICE("OPTIONS")) ||
           (f->unsafe && bench_requests_is_method(method) && !la_slice_eq(method, LA_SLICE("CONNECT")));
}

static bool add(struct replay *f, struct la_slice method, struct la_slice target, struct la_slice host, uint64_t at)
{
    struct la_load_ask *a = is_wanted(f, method) ? bench_requests_add(f->r) : NULL;
    if (!a) {
        f->r->left_out += !f->r->cut;
        return true;
    }
    if (!bench_requests_target(f->r, a, target)) {
        f->r->asks--;
        f->r->left_out++;
        return true;
    }
    if (la_http_is_host(host) && !a->host)
        a->host = bench_requests_keep(f->r, host);
    if (!la_slice_eq(method, LA_SLICE("GET")))
        a->method = bench_requests_keep(f->r, method);
    a->at_us = at;
    return true;
}

/* ---- times ---- */

/* A date and a time of day as people have them, from 1970 on. */
static bool is_time(const struct tm *t, double s)
{
    return t->tm_year >= 1970 && t->tm_year <= 9999 && t->tm_mon >= 1 && t->tm_mon <= 12 && t->tm_mday >= 1 && t->tm_mday <= 31 &&
           t->tm_hour >= 0 && t->tm_hour <= 24 && t->tm_min >= 0 && t->tm_min <= 59 && s >= 0 && s < 61;
}

/* "2026-01-02T03:04:05.678Z", also with +01:00 or without a fraction. */
static uint64_t iso_us(const char *text)
{
    struct tm tm = {0};
    int at = 0;
    double s = 0;
    if (sscanf(text, "%d-%d-%dT%d:%d:%lf%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &s, &at) != 6 ||
        !is_time(&tm, s))
        return UNTIMED;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    int hours = 0, minutes = 0;
    char sign = text[at];
    if ((sign == '+' || sign == '-') && sscanf(text + at + 1, "%2d:%2d", &hours, &minutes) < 1)
        return UNTIMED;
    double off = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    time_t t = timegm(&tm);
    return t < 0 || (double)t < off ? UNTIMED : (uint64_t)(((double)t - off + s) * 1e6 + 0.5);
}

/* "10/Oct/2000:13:55:36 -0700" */
static uint64_t clf_us(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = {0};
    char month[4] = "", sign = '+';
    int zone = 0;
    if (sscanf(text, "%2d/%3[A-Za-z]/%4d:%2d:%2d:%2d %c%4d", &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &sign, &zone) != 8)
        return UNTIMED;
    const char *m = strstr(months, month);
    if (!m || strlen(month) != 3 || (m - months) % 3 != 0)
        return UNTIMED;
    tm.tm_mon = (int)(m - months) / 3;
    tm.tm_year -= 1900;
    int64_t t = (int64_t)timegm(&tm) - (zone / 100 * 3600 + zone % 100 * 60) * (sign == '-' ? -1 : 1);
    return t < 0 ? UNTIMED : (uint64_t)t * 1000000u;
}

/* Seconds since 1970, or milliseconds and so on. What is smaller is how long something took. */
static uint64_t epoch_us(double v)
{
    if (!(v >= 1e8 && v < 1e20))
        return UNTIMED;
    while (v >= 1e11)
        v /= 1000;
    return (uint64_t)(v * 1e6 + 0.5);
}

static uint64_t text_us(const char *text)
{
    char *end;
    double v = strtod(text, &end);
    uint64_t us = *end ? iso_us(text) : epoch_us(v);
    return us == UNTIMED ? clf_us(text) : us;
}

/* whole: it is known to the second alone. */
static uint64_t json_us(const struct la_json_value *line, bool *whole)
{
    static const char *const names[] = {"time", "@timestamp", "timestamp", "ts", "msec", "time_iso8601", "time_local"};
    for (size_t i = 0; i < la_count(names); i++) {
        const struct la_json_value *v = la_json_get(line, names[i]);
        const char *text = la_json_string(v, NULL);
        uint64_t us = text ? text_us(text) : epoch_us(la_json_number(v, 0));
        *whole = text ? !strchr(text, '.') : us % 1000000 == 0;
        if (us != UNTIMED)
            return us;
    }
    return UNTIMED;
}

/* ---- JSON ---- */

static bool json_line(struct replay *f, struct bench_line *at, const char *text)
{
    size_t where;
    struct la_json_value *v = la_json_parse(text, &where);
    if (!v)
        return bench_requests_bad(at, "not JSON at column %zu", where + 1);
    static const char *const names[] = {"target", "path", "uri"};
    const char *target = NULL, *method = la_json_string(la_json_get(v, "method"), "");
    for (size_t i = 0; i < la_count(names) && !target; i++)
        target = la_json_string(la_json_get(v, names[i]), NULL);
    const char *host = la_json_string(la_json_get(v, "host"), NULL);
    bool whole;
    uint64_t us = json_us(v, &whole);
    double took = la_json_number(la_json_get(v, "total_ms"), 0) * 1000;
    if (us != UNTIMED && took > 0 && took < (double)us)
        us -= (uint64_t)took;
    bool good = add(f, la_slice_str(method ? method : ""), la_slice_str(target ? target : ""),
                    la_slice_str(host ? host : ""), stamp(us, whole && took <= 0));
    la_json_free(v);
    return good;
}

/* ---- common and combined ---- */

/* \" \\ \xHH in place, to the closing quote. NULL: there is none. */
static char *unquote(char *p, size_t *n)
{
    char *to = p, *from = p;
    while (*from && *from != '"') {
        unsigned byte;
        int used = 0;
        if (from[0] == '\\' && from[1] == 'x' && sscanf(from + 2, "%2x%n", &byte, &used) == 1 && used == 2) {
            *to++ = (char)byte;
            from += 4;
        } else {
            from += from[0] == '\\' && from[1] ? 1 : 0;
            *to++ = *from++;
        }
    }
    *n = (size_t)(to - p);
    return *from ? from + 1 : NULL;
}

/* The virtual host of "www.test:80 192.0.2.1 - - [": the first of four words. */
static struct la_slice vhost(const char *text, const char *end)
{
    unsigned words = 0;
    for (const char *p = text; p < end; p++)
        words += *p != ' ' && (p == text || p[-1] == ' ');
    return words == 4 ? la_slice(text, strcspn(text, " ")) : la_slice(NULL, 0);
}

static bool clf_line(struct replay *f, struct bench_line *at, char *text)
{
    char *open = strstr(text, " ["), *close = open ? strstr(open, "] \"") : NULL;
    size_t n;
    if (!open || !close)
        return bench_requests_bad(at, "not a line of an access log (JSON, common or combined)");
    uint64_t us = clf_us(open + 2);
    if (us == UNTIMED)
        return bench_requests_bad(at, "not a time: %.*s", (int)la_min64((uint64_t)(close - open - 2), 40), open + 2);
    char *request = close + 3, *after = unquote(request, &n);
    if (!after || *after != ' ' || !isdigit((unsigned char)after[1]))
        return bench_requests_bad(at, "no request and status behind the time");
    const char *space = n ? memchr(request, ' ', n) : NULL, *last = n ? memrchr(request, ' ', n) : NULL;
    if (!space || space == last) { /* "-", or what was no HTTP */
        f->r->left_out++;
        return true;
    }
    return add(f, la_slice(request, (size_t)(space - request)), la_slice(space + 1, (size_t)(last - space - 1)),
               vhost(text, open), stamp(us, true));
}

/* ---- all ---- */

static bool take_line(void *arg, struct bench_line *at, char *text, size_t n)
{
    struct replay *f = arg;
    char *p = text + strspn(text, " \t");
    if (n == 0 || *p == 0 || f->r->cut)
        return true;
    return *p == '{' ? json_line(f, at, p) : clf_line(f, at, p);
}

static int by_time(const void *a, const void *b)
{
    uint64_t x = ((const struct la_load_ask *)a)->at_us, y = ((const struct la_load_ask *)b)->at_us;
    return x < y ? -1 : x > y;
}

/* Those of one second that is not known better fill it evenly. */
static void spread(struct la_load_ask *a, size_t n)
{
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && a[k].at_us == a[i].at_us; k++)
            ;
        for (size_t j = i; (a[i].at_us & WHOLE) && j < k; j++)
            a[j].at_us += ((j - i) * 1000000 / (k - i)) << 1;
    }
}

/* False: none has a time. */
static bool drop_untimed(struct bench_requests *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->asks; i++)
        if (r->ask[i].at_us != UNTIMED)
            r->ask[kept++] = r->ask[i];
    if (kept == 0)
        return false;
    r->untimed = r->asks - kept;
    r->asks = kept;
    return true;
}

bool bench_requests_replay(struct bench_requests *r, const char *path, bool unsafe, struct la_text *why)
{
    struct replay f = {.r = r, .unsafe = unsafe};
    if (!bench_requests_lines(path, why, take_line, &f))
        return false;
    if (r->asks == 0) {
        la_text_addf(why, "%s: no request in it that can be asked again%s", path,
                     r->left_out && !unsafe ? " (GET, HEAD and OPTIONS alone are)" : "");
        return false;
    }
    if (!drop_untimed(r))
        return true;
    qsort(r->ask, r->asks, sizeof(*r->ask), by_time);
    spread(r->ask, r->asks);
    qsort(r->ask, r->asks, sizeof(*r->ask), by_time); /* some fell behind those that were not moved */
    for (size_t i = r->asks; i-- > 0;)
        r->ask[i].at_us = (r->ask[i].at_us >> 1) - (r->ask[0].at_us >> 1);
    r->timed = r->asks > 1 && r->ask[r->asks - 1].at_us > 0;
    return true;
}
