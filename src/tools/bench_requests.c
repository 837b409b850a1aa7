/* bench_requests.c: a file of requests for `lastack bench --requests-from FILE`.
 *
 * Owns the list and its strings. Never sends. The format is vegeta's, and shorter where that says nothing more:
 *
 *     # a comment
 *     GET /path?a=1                      a path, or a URL, whose host becomes Host
 *     /path                              GET is the default: a list of paths or of URLs will do
 *     POST /path body.json               the body is the content of that file
 *     PUT http://host/path
 *     Content-Type: application/json     fields of the request above them
 *     @body.json                         its body
 *     {"method": "POST", "url": "/path", "header": {"X-A": ["1"]}, "body": "BASE64"}
 *
 * The last form is a JSON object per line, as `vegeta -format=json` takes it; "body_file" names a file. Names of files
 * are relative to the working directory. Fields that belong to the connection (Connection, Content-Length, ...) are
 * left out: the generator says them itself.
 *
 * Failures: the first bad line ends it, with file:line and the reason. */
#include "tools/bench_requests.h"

#include "lastack/http1.h"
#include "lastack/json_read.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCK     65536
#define BODY_MOST (64u << 20)
#define TARGET_MOST 8192

/* ---- shared ---- */

bool bench_requests_bad(const struct bench_line *at, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    la_text_addf(at->why, "%s:%u: %s", at->path, at->number, text);
    return false;
}

bool bench_requests_lines(const char *path, struct la_text *why,
                          bool (*line)(void *arg, struct bench_line *at, char *text, size_t n), void *arg)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "re");
    struct bench_line at = {.path = standard ? "standard input" : path, .why = why};
    if (!f) {
        la_text_addf(why, "%s: %s", path, strerror(errno));
        return false;
    }
    char *text = NULL;
    size_t room = 0;
    bool good = true;
    for (ssize_t n; good && (n = getline(&text, &room, f)) >= 0;) {
        at.number++;
        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
            text[--n] = 0;
        good = memchr(text, 0, (size_t)n) ? bench_requests_bad(&at, "a NUL byte: not a text file")
                                          : line(arg, &at, text, (size_t)n);
    }
    if (good && ferror(f)) {
        la_text_addf(why, "%s: %s", path, strerror(errno));
        good = false;
    }
    free(text);
    if (!standard)
        fclose(f);
    return good;
}

char *bench_requests_keep(struct bench_requests *r, struct la_slice s)
{
    if (s.n + 1 > r->block_n - r->block_at) {
        r->block_n = s.n + 1 > BLOCK ? s.n + 1 : BLOCK;
        r->block_at = 0;
        r->block = la_xrealloc(r->block, (r->blocks + 1) * sizeof(*r->block));
        r->block[r->blocks++] = la_xrealloc(NULL, r->block_n);
    }
    char *to = r->block[r->blocks - 1] + r->block_at;
    if (s.n)
        memcpy(to, s.p, s.n);
    to[s.n] = 0;
    r->block_at += s.n + 1;
    return to;
}

struct la_load_ask *bench_requests_add(struct bench_requests *r)
{
    if (r->asks == BENCH_REQUESTS_MOST) {
        r->cut = true;
        return NULL;
    }
    if (r->asks == r->room) {
        r->room = r->room ? r->room * 2 : 64;
        r->ask = la_xrealloc(r->ask, r->room * sizeof(*r->ask));
    }
    r->ask[r->asks] = (struct la_load_ask){.method = "GET"};
    return &r->ask[r->asks++];
}

void bench_requests_fini(struct bench_requests *r)
{
    for (size_t i = 0; i < r->blocks; i++)
        free(r->block[i]);
    free(r->block);
    free(r->ask);
    *r = (struct bench_requests){0};
}

bool bench_requests_is_method(struct la_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isupper((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return s.n > 0 && s.n < 32;
}

bool bench_requests_is_target(struct la_slice s)
{
    static const char before[] = "GET ", after[] = " HTTP/1.1\r\nHost: a\r\n\r\n";
    char text[TARGET_MOST + sizeof before + sizeof after];
    struct la_http_limits limits = {.head_bytes = sizeof text};
    size_t seen = 0;
    enum la_err e;
    if (la_slice_eq(s, LA_SLICE("*")))
        return true;
    if (s.n == 0 || s.n > TARGET_MOST || s.p[0] != '/')
        return false;
    int n = snprintf(text, sizeof text, "%s%.*s%s", before, LA_SLICE_ARGS(s), after);
    struct la_http_head *h = la_xcalloc(1, sizeof *h);
    bool good = la_http_parse_request(h, text, (size_t)n, &seen, &limits, &e) == LA_HTTP_DONE;
    free(h);
    return good;
}

bool bench_requests_target(struct bench_requests *r, struct la_load_ask *a, struct la_slice s)
{
    const char *fragment = s.n ? memchr(s.p, '#', s.n) : NULL;
    if (fragment)
        s.n = (size_t)(fragment - s.p);
    size_t scheme = s.n >= 7 && strncasecmp(s.p, "http://", 7) == 0    ? 7
                    : s.n >= 8 && strncasecmp(s.p, "https://", 8) == 0 ? 8
                                                                       : 0;
    if (scheme) {
        s = la_slice(s.p + scheme, s.n - scheme);
        size_t host = 0;
        while (host < s.n && s.p[host] != '/' && s.p[host] != '?')
            host++;
        if (!la_http_is_host(la_slice(s.p, host)))
            return false;
        a->host = bench_requests_keep(r, la_slice(s.p, host));
        s = la_slice(s.p + host, s.n - host);
        if (s.n == 0 || s.p[0] == '?') {
            char *both = la_xasprintf("/%.*s", LA_SLICE_ARGS(s));
            s = la_slice_str(a->target = bench_requests_keep(r, la_slice_str(both)));
            free(both);
            return bench_requests_is_target(s);
        }
    }
    if (!bench_requests_is_target(s))
        return false;
    a->target = bench_requests_keep(r, s);
    return true;
}

/* ---- one file ---- */

struct reader {
    struct bench_requests *r;
    struct la_load_ask *now; /* the request whose fields may follow; NULL: none */
    struct la_text headers;  /* its own, so far */
};

static struct la_slice word(const char **at)
{
    const char *p = *at + strspn(*at, " \t");
    size_t n = strcspn(p, " \t");
    *at = p + n;
    return la_slice(p, n);
}

static void end_headers(struct reader *f)
{
    if (f->now && f->headers.n)
        f->now->headers = bench_requests_keep(f->r, la_slice(f->headers.p, f->headers.n));
    f->headers.n = 0;
    f->now = NULL;
}

static bool set_body(struct reader *f, struct bench_line *at, struct la_load_ask *a, const char *name)
{
    if (a->body)
        return bench_requests_bad(at, "this request has a body already");
    FILE *in = fopen(name, "re");
    if (!in)
        return bench_requests_bad(at, "body file %s: %s", name, strerror(errno));
    struct la_text body = {0};
    char piece[16384];
    size_t n;
    while ((n = fread(piece, 1, sizeof(piece), in)) > 0 && body.n <= BODY_MOST)
        la_text_add(&body, piece, n);
    bool good = !ferror(in) && body.n <= BODY_MOST;
    fclose(in);
    if (good) {
        a->body = bench_requests_keep(f->r, la_slice(body.p, body.n));
        a->body_n = body.n;
    }
    la_text_fini(&body);
    return good || bench_requests_bad(at, "body file %s: %s", name, "not readable, or larger than 64 MiB");
}

bool bench_requests_is_own_business(struct la_slice name)
{
    static const char *const own[] = {"connection", "keep-alive",       "content-length", "transfer-encoding",
                                      "te",         "proxy-connection", "upgrade",        "expect"};
    for (size_t i = 0; i < la_count(own); i++)
        if (la_slice_ieq(name, la_slice_str(own[i])))
            return true;
    return false;
}

bool bench_requests_is_value(struct la_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool add_field(struct reader *f, struct bench_line *at, struct la_load_ask *a, struct la_slice name,
                      struct la_slice value)
{
    int shown = (int)la_min64(name.n, 60);
    bool host = la_slice_ieq(name, LA_SLICE("host"));
    if (name.n == 0)
        return bench_requests_bad(at, "a field without a name");
    if (!la_http_is_token(name))
        return bench_requests_bad(at, "bad field name: %.*s", shown, name.p);
    if (!bench_requests_is_value(value))
        return bench_requests_bad(at, "field %.*s holds a control character", shown, name.p);
    if (host && !la_http_is_host(value))
        return bench_requests_bad(at, "not a host: %.*s", (int)la_min64(value.n, 60), value.p);
    if (host)
        a->host = bench_requests_keep(f->r, value);
    else if (!bench_requests_is_own_business(name))
        la_text_addf(&f->headers, "%.*s: %.*s\r\n", LA_SLICE_ARGS(name), LA_SLICE_ARGS(value));
    return true;
}

/* "Name: value" beneath a request. */
static bool take_field(struct reader *f, struct bench_line *at, const char *text)
{
    const char *colon = strchr(text, ':');
    if (!f->now)
        return bench_requests_bad(at, "a field, but no request above it");
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t n = strlen(value);
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
        n--;
    return add_field(f, at, f->now, la_slice(text, (size_t)(colon - text)), la_slice(value, n));
}

static bool take_request(struct reader *f, struct bench_line *at, const char *text)
{
    const char *rest = text;
    struct la_slice first = word(&rest), method = first, target = first;
    bool bare = first.p[0] == '/' || memmem(first.p, first.n, "://", 3);
    end_headers(f);
    if (!bare) {
        target = word(&rest);
        if (!bench_requests_is_method(method))
            return bench_requests_bad(at, "not a request: expected METHOD PATH [BODY-FILE], a path or a URL, or JSON");
    }
    rest += strspn(rest, " \t");
    struct la_load_ask *a = f->now = bench_requests_add(f->r);
    if (!a)
        return true;
    if (!bench_requests_target(f->r, a, target))
        return bench_requests_bad(at, "not a path or URL: %.*s", (int)la_min64(target.n, 80),
                                  target.n ? target.p : "(nothing)");
    if (!bare)
        a->method = bench_requests_keep(f->r, method);
    return *rest == 0 || set_body(f, at, a, rest + (*rest == '@'));
}

/* ---- JSON ---- */

static bool set_base64(struct reader *f, struct bench_line *at, struct la_load_ask *a, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(text), out = 0, plain = n;
    while (plain > 0 && n - plain < 2 && text[plain - 1] == '=')
        plain--;
    char *to = bench_requests_keep(f->r, la_slice(text, n));
    unsigned bits = 0, value = 0;
    for (size_t i = 0; i < plain; i++) {
        const char *digit = strchr(digits, text[i]);
        if (!digit || n % 4 != 0)
            return bench_requests_bad(at, "\"body\" is not base64 (a file can be named by \"body_file\")");
        value = value << 6 | (unsigned)(digit - digits);
        bits += 6;
        if (bits >= 8)
            to[out++] = (char)(value >> (bits -= 8));
    }
    a->body = to;
    a->body_n = out;
    return true;
}

static bool json_fields(struct reader *f, struct bench_line *at, struct la_load_ask *a,
                        const struct la_json_value *headers)
{
    for (const struct la_json_value *h = headers ? headers->child : NULL; h; h = h->next) {
        const struct la_json_value *v = h->kind == LA_JSON_ARRAY ? h->child : h;
        for (; v; v = h->kind == LA_JSON_ARRAY ? v->next : NULL) {
            const char *value = la_json_string(v, v->kind == LA_JSON_STRING ? "" : NULL);
            if (!h->key || !value)
                return bench_requests_bad(at, "\"header\" must be an object of strings or lists of strings");
            if (!add_field(f, at, a, la_slice_str(h->key), la_slice_str(value)))
                return false;
        }
    }
    return true;
}

static bool json_request(struct reader *f, struct bench_line *at, const struct la_json_value *v)
{
    struct la_load_ask *a = f->now = bench_requests_add(f->r);
    if (!a)
        return true;
    const char *target = NULL, *name[] = {"url", "target", "path"},
               *method = la_json_string(la_json_get(v, "method"), "GET");
    for (size_t i = 0; i < la_count(name) && !target; i++)
        target = la_json_string(la_json_get(v, name[i]), NULL);
    if (!target || !bench_requests_target(f->r, a, la_slice_str(target)))
        return bench_requests_bad(at, target ? "\"url\" is not a path or URL: %.80s" : "no \"url\"", target);
    if (!bench_requests_is_method(la_slice_str(method)))
        return bench_requests_bad(at, "\"method\" is not one: %.40s", method);
    a->method = bench_requests_keep(f->r, la_slice_str(method));
    const struct la_json_value *header = la_json_get(v, "header");
    if (!json_fields(f, at, a, header ? header : la_json_get(v, "headers")))
        return false;
    const char *body = la_json_string(la_json_get(v, "body"), NULL),
               *file = la_json_string(la_json_get(v, "body_file"), NULL);
    if (body && !set_base64(f, at, a, body))
        return false;
    return !file || set_body(f, at, a, file);
}

static bool take_json(struct reader *f, struct bench_line *at, const char *text)
{
    size_t where;
    end_headers(f);
    struct la_json_value *v = la_json_parse(text, &where);
    bool good = v ? json_request(f, at, v) : bench_requests_bad(at, "not JSON at column %zu", where + 1);
    la_json_free(v);
    end_headers(f);
    return good;
}

static bool take_line(void *arg, struct bench_line *at, char *text, size_t n)
{
    struct reader *f = arg;
    const char *p = text + strspn(text, " \t");
    if ((size_t)(p - text) == n) {
        end_headers(f);
        return true;
    }
    if (*p == '#' || f->r->cut)
        return true;
    if (*p == '{')
        return take_json(f, at, p);
    if (*p == '@')
        return f->now ? set_body(f, at, f->now, p + 1) : bench_requests_bad(at, "a body, but no request above it");
    size_t name = strcspn(p, ": \t");
    if (p[name] == ':' && p[0] != '/' && strncmp(p + name, "://", 3) != 0)
        return take_field(f, at, p);
    return take_request(f, at, p);
}

bool bench_requests_read(struct bench_requests *r, const char *path, struct la_text *why)
{
    struct reader f = {.r = r};
    bool good = bench_requests_lines(path, why, take_line, &f);
    end_headers(&f);
    la_text_fini(&f.headers);
    if (good && r->asks == 0) {
        la_text_addf(why, "%s: no requests in it", path);
        return false;
    }
    return good;
}
