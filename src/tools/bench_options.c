/* bench_options.c: the command line of `lastack bench`.
 *
 * Owns nothing: texts stay in argv, but for the joined --header lines, which live as long as the process. Good path: every
 * option has its form and bounds in one table, which says too when it has an effect; then what has none or does not go
 * together is refused. Failures: one line, with the value and what it may be, and exit status 2. */
#include "tools/bench.h"

#include "lastack/http1.h"
#include "lastack/run.h"
#include "tools/bench_requests.h"

#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

static const char help[] =
    "usage: lastack bench --upstream ADDR[,...] [OPTIONS]\n"
    "\n"
    "Measures which pool size a backend wants: runs lastack's own pool against it, one size after the other, and says\n"
    "which is the smallest that gives the best throughput, and why. The load is real: give it a backend that may have it.\n"
    "\n"
    "What is measured\n"
    "  -u, --upstream ADDR,...   127.0.0.1:80, unix:/run/php/fpm.sock; several: the size is for each\n"
    "      --protocol NAME       http (default), fastcgi, memcached\n"
    "  -s, --source ADDR,...     local addresses for connections to it, as in upstreams.X.source\n"
    "      --script PATH         fastcgi: the script that answers all paths, or the directory of scripts\n"
    "      --status-path PATH    fastcgi: pm.status_path, to learn pm.max_children\n"
    "What is asked\n"
    "      --method NAME         GET, with --body POST; or a mix: GET=70,POST=30\n"
    "      --path PATH           default /; {n} in it is the request's number, {token} a text of its own (not with --body)\n"
    "      --host NAME           Host field; default: the first backend, as given\n"
    "      --header 'NAME: TEXT' again for more; {n} and {token} as in --path\n"
    "      --body FILE           of one POST, PUT or PATCH\n"
    "      --requests-from FILE  a line each: [METHOD] PATH [BODY-FILE], fields and @BODY-FILE below it as for vegeta\n"
    "      --replay FILE         an access log (common, combined, JSON as lastack and others write it): its GETs; at the log's\n"
    "                            own times, --speed times as fast, or with --rate or --clients in its order\n"
    "      --sets PERCENT        memcached: default 10, the rest are gets; --keys N (10000), --value-size BYTES (100)\n"
    "How it is loaded\n"
    "      --rate N|auto         open loop: N requests a second, whatever the answers do. auto (default): each size as\n"
    "                            fast as it goes, then the chosen one at 50, 70, 85 and 95 % of that\n"
    "      --poisson             random arrivals instead of even ones\n"
    "      --clients N           closed loop: N clients, each asks again when it has its answer\n"
    "      --keepalive PERCENT   of the clients that keep their connection, default 100; the others are short\n"
    "      --seconds S           measured time of a run, default 3; --warmup S before that, default 1, and at\n"
    "                            least twice a request's time, but for --clients\n"
    "      --requests N          at most so many in a run; --max-time S: end of the sweep, whatever is left\n"
    "      --threads N           of the load generator, default 1; --workers N: of the proxy, default 1\n"
    "Which sizes\n"
    "      --min N, --max N      1 to 256, memcached 1 to 8 for each of the --workers; 4096 at most; --sizes N,N,...: these\n"
    "                            alone\n"
    "      --repeats N           runs of each size, default 3, up to three times as many while they scatter too much to\n"
    "                            tell; --seed N: of their order\n"
    "The verdict\n"
    "      --slo p99=50ms        what a size must keep: p50, p90, p99, p99.9 or p99.99\n"
    "      --burst FACTOR        headroom for so many times the load, default 1\n"
    "Output\n"
    "      --json FILE, --html FILE   the whole report; - is standard output\n"
    "      --hdr FILE            latency histograms, one file a size (FILE lat.hgrm: lat-16.hgrm)\n"
    "      --compare OLD.json    exit 1 when this one is worse, or not comparable\n"
    "  -q, --quiet               no live line, no table: the verdict in one line\n"
    "  -h, --help\n"
    "\n"
    "Exit status: 0 a size was found (with --compare: and it is not worse), 1 not, 2 usage. Ctrl-C ends it; what was\n"
    "measured until then is reported.\n";

#define SLO_MOST_S 3600

enum kind { TEXT, NUMBER, WHOLE, WHOLE64, SECONDS, FORM };

/* When an option has an effect. */
enum use {
    ALWAYS,
    PATHS,       /* not with memcached */
    ONE_REQUEST, /* nor when a file says what is asked */
    OWN_TIMES,   /* a log at its own times */
    FASTCGI,
    MEMCACHED
};

/* A number, with us, ms, s, m or h behind it for seconds. */
static bool number(const char *text, enum kind kind, double *out)
{
    static const struct {
        const char *unit;
        double s;
    } unit[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"m", 60}, {"h", 3600}};
    char *end;
    *out = strtod(text, &end);
    if (end == text || !isfinite(*out))
        return false;
    for (size_t i = 0; i < (kind == SECONDS ? la_count(unit) : 1); i++)
        if (strcmp(end, unit[i].unit) == 0) {
            *out *= unit[i].s;
            return (kind != WHOLE && kind != WHOLE64) || *out == floor(*out);
        }
    return false;
}

/* ---- options with a form of their own ---- */

static bool set_protocol(struct bench_options *o, const char *text)
{
    static const char *const name[] = {"http", "fastcgi", "memcached"};
    for (unsigned i = 0; i < la_count(name); i++)
        if (strcmp(text, name[i]) == 0) {
            o->protocol = (enum bench_protocol)i;
            return true;
        }
    return false;
}

static bool set_rate(struct bench_options *o, const char *text)
{
    o->rate = 0;
    o->rate_auto = strcmp(text, "auto") == 0;
    return o->rate_auto || (number(text, NUMBER, &o->rate) && o->rate >= 0.01 && o->rate <= 1e7);
}

/* p99=50ms, p99.9=0.1s */
static bool set_slo(struct bench_options *o, const char *text)
{
    char *end;
    double percent = text[0] == 'p' ? strtod(text + 1, &end) : 0, s;
    if (!(percent > 0 && percent <= 100) || *end != '=' || !number(end + 1, SECONDS, &s) || s < 1e-6 || s > SLO_MOST_S)
        return false;
    o->slo.quantile = percent / 100;
    o->slo.us = (uint64_t)(s * 1e6 + 0.5);
    return true;
}

static bool set_sizes(struct bench_options *o, const char *text)
{
    for (const char *p = text; *p; o->sizes++) {
        char *end;
        unsigned long v = strtoul(p, &end, 10);
        if (end == p || v < 1 || v > BENCH_SIZE_MAX || (*end && *end != ',') || o->sizes == la_count(o->size))
            return false;
        o->size[o->sizes] = (unsigned)v;
        p = end + (*end == ',');
    }
    return o->sizes > 0;
}

static bool add_header(struct bench_options *o, const char *text)
{
    static struct la_text all;
    if (!strchr(text, ':') || strpbrk(text, "\r\n"))
        return false;
    if (!o->headers)
        all.n = 0;
    la_text_addf(&all, "%s\r\n", text);
    o->headers = all.p;
    return true;
}

/* ---- all of them ---- */

#define AT(field)                    offsetof(struct bench_options, field), 0, 0, NULL, NULL
#define BOUND(field, low, high)      offsetof(struct bench_options, field), low, high, NULL, NULL
#define READ_BY(function, must_be)   0, 0, 0, function, must_be
static const struct row {
    const char *name;
    enum kind kind;
    enum use use;
    size_t at;
    double low, high;
    bool (*read)(struct bench_options *o, const char *text);
    const char *must_be;
} table[] = {
    {"upstream", TEXT, ALWAYS, AT(upstream)},
    {"source", TEXT, ALWAYS, AT(source)},
    {"script", TEXT, FASTCGI, AT(script)},
    {"status-path", TEXT, FASTCGI, AT(status_path)},
    {"method", TEXT, ONE_REQUEST, AT(method)},
    {"path", TEXT, ONE_REQUEST, AT(path)},
    {"host", TEXT, PATHS, AT(host)},
    {"body", TEXT, ONE_REQUEST, AT(body_file)},
    {"requests-from", TEXT, PATHS, AT(requests_file)},
    {"replay", TEXT, PATHS, AT(replay)},
    {"json", TEXT, ALWAYS, AT(json)},
    {"html", TEXT, ALWAYS, AT(html)},
    {"hdr", TEXT, ALWAYS, AT(hdr)},
    {"compare", TEXT, ALWAYS, AT(compare)},
    {"keepalive", NUMBER, ALWAYS, BOUND(keepalive_percent, 0, 100)},
    {"burst", NUMBER, ALWAYS, BOUND(burst, 1, 100)},
    {"sets", NUMBER, MEMCACHED, BOUND(set_percent, 0, 100)},
    {"speed", NUMBER, OWN_TIMES, BOUND(speed, 0.001, 1000)},
    {"seconds", SECONDS, ALWAYS, BOUND(seconds, 0.05, 3600)},
    {"warmup", SECONDS, ALWAYS, BOUND(warmup, 0, 3600)},
    {"max-time", SECONDS, ALWAYS, BOUND(max_seconds, 1, 1e6)},
    {"keys", WHOLE64, MEMCACHED, BOUND(keys, 1, 1e9)},
    {"value-size", WHOLE64, MEMCACHED, BOUND(value_bytes, 1, 1 << 20)},
    {"requests", WHOLE64, ALWAYS, BOUND(requests, 1, 1e12)},
    {"seed", WHOLE64, ALWAYS, BOUND(seed, 0, 1e15)},
    {"clients", WHOLE, ALWAYS, BOUND(clients, 1, 15000)},
    {"min", WHOLE, ALWAYS, BOUND(smallest, 1, BENCH_SIZE_MAX)},
    {"max", WHOLE, ALWAYS, BOUND(largest, 1, BENCH_SIZE_MAX)},
    {"repeats", WHOLE, ALWAYS, BOUND(repeats, 1, 100)},
    {"workers", WHOLE, ALWAYS, BOUND(workers, 1, 64)},
    {"threads", WHOLE, ALWAYS, BOUND(threads, 1, 64)},
    {"protocol", FORM, ALWAYS, READ_BY(set_protocol, "http, fastcgi or memcached")},
    {"rate", FORM, ALWAYS, READ_BY(set_rate, "auto, or requests a second from 0.01 to 10000000")},
    {"slo", FORM, ALWAYS, READ_BY(set_slo, "a quantile and a time up to 1h: p99=50ms")},
    {"sizes", FORM, ALWAYS, READ_BY(set_sizes, "at most 64 sizes from 1 to 4096: 4,8,16")},
    {"header", FORM, PATHS, READ_BY(add_header, "one line, NAME: TEXT")},
};

static bool set(struct bench_options *o, const struct row *w, const char *text)
{
    void *at = (char *)o + w->at;
    double v = 0;
    if (w->kind == FORM)
        return w->read(o, text);
    if (w->kind == TEXT) {
        *(const char **)at = text;
        return *text != 0;
    }
    if (!number(text, w->kind, &v) || v < w->low || v > w->high)
        return false;
    if (w->kind == WHOLE64)
        *(uint64_t *)at = (uint64_t)v;
    else if (w->kind == WHOLE)
        *(unsigned *)at = (unsigned)v;
    else
        *(double *)at = v;
    return true;
}

/* ---- what is wrong ---- */

LA_PRINTF(1, 2) static int wrong(const char *fmt, ...)
{
    va_list ap;
    fputs("lastack bench: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputs("\n`lastack bench --help` says more.\n", stderr);
    return 2;
}

static int bad_value(const struct row *w, const char *text)
{
    static const char *const what[] = {[NUMBER] = "number", [WHOLE] = "whole number", [WHOLE64] = "whole number",
                                       [SECONDS] = "number of seconds (or with us, ms, m or h behind it)"};
    if (w->kind == TEXT)
        return wrong("--%s: must not be empty", w->name);
    if (w->kind == FORM)
        return wrong("--%s %s: must be %s", w->name, text, w->must_be);
    return wrong("--%s %s: must be a %s from %.15g to %.15g", w->name, text, what[w->kind], w->low, w->high);
}

static bool at_own_times(const struct bench_options *o)
{
    return o->replay && o->clients == 0 && o->rate <= 0 && !o->rate_auto;
}

/* Why an option would have no effect. NULL: it has. */
static const char *idle(const struct bench_options *o, enum use use)
{
    if (use == FASTCGI && o->protocol != BENCH_FASTCGI)
        return "is for --protocol fastcgi";
    if (use == MEMCACHED && o->protocol != BENCH_MEMCACHED)
        return "is for --protocol memcached";
    if ((use == PATHS || use == ONE_REQUEST) && o->protocol == BENCH_MEMCACHED)
        return "is not for memcached";
    if (use == ONE_REQUEST && (o->requests_file || o->replay))
        return "is for one request: with --requests-from or --replay the file says it";
    if (use == OWN_TIMES && !at_own_times(o))
        return "is for --replay without --rate and --clients";
    return NULL;
}

/* memcached: each worker needs a connection of its own. */
static bool less_than_workers(const struct bench_options *o)
{
    bool less = o->largest && o->largest < o->workers;
    for (size_t i = 0; i < o->sizes; i++)
        less |= o->size[i] < o->workers;
    return o->protocol == BENCH_MEMCACHED && less;
}

/* 0, or said which one has no port. Whether a name can be looked up turns out later. */
static int without_port(const char *upstreams)
{
    for (const char *p = upstreams; *p;) {
        size_t n = strcspn(p, ","), digits = 0;
        while (digits < n && p[n - 1 - digits] >= '0' && p[n - 1 - digits] <= '9')
            digits++;
        bool bare = *p == '[' ? p[n - 1] == ']' : memchr(p, ':', n) == NULL;
        unsigned long port = strtoul(p + n - digits, NULL, 10);
        if (n == 0 || bare || (strncmp(p, "unix:", 5) != 0 && digits == 0))
            return wrong("--upstream %.*s: the port is missing, such as 127.0.0.1:80 or app.internal:80", (int)n, p);
        if (strncmp(p, "unix:", 5) != 0 && (port < 1 || port > 65535))
            return wrong("--upstream %.*s: a port is a number from 1 to 65535", (int)n, p);
        p += n + (p[n] == ',');
    }
    return 0;
}

/* One name, or a mix of them. */
static bool is_method(const char *text)
{
    for (const char *at = text; *at; at += strcspn(at, ","), at += *at == ',')
        if (!bench_requests_is_method(la_slice(at, strcspn(at, "=,"))))
            return false;
    return la_load_takes_methods(text);
}

/* 0, or said which field cannot be sent. */
static int bad_field(const char *lines)
{
    for (const char *p = lines; p && *p;) {
        size_t n = strcspn(p, "\r"), name_n = strcspn(p, ":");
        struct la_slice name = la_slice(p, name_n), value = la_slice(p + name_n + 1, n - name_n - 1);
        if (!la_http_is_token(name) || !bench_requests_is_value(value))
            return wrong("--header '%.*s': must be NAME: TEXT, the name of letters, digits and -, the text without control characters", (int)n, p);
        if (la_slice_ieq(name, LA_SLICE("host")))
            return wrong("--header '%.*s': give the Host field with --host", (int)n, p);
        if (bench_requests_is_own_business(name))
            return wrong("--header '%.*s': leave it out, the generator says itself what belongs to the connection", (int)n, p);
        p += n + 2;
    }
    return 0;
}

/* 0, or said what of the request cannot be asked. */
static int bad_request(const struct bench_options *o)
{
    if (o->method && !is_method(o->method))
        return wrong("--method %s: must be one name in capitals, or a mix that adds up to 100: GET=70,POST=30", o->method);
    if (o->body_file && o->method && strcmp(o->method, "POST") != 0 && strcmp(o->method, "PUT") != 0 && strcmp(o->method, "PATCH") != 0)
        return wrong("--method %s: with --body it must be POST, PUT or PATCH", o->method);
    if (o->path && o->path[0] != '/')
        return wrong("--path %s: must start with /", o->path);
    if (o->path && !bench_requests_is_target(la_slice_str(o->path)))
        return wrong("--path %s: must be as it stands in a request, other bytes as %%XX: %%20 is a space", o->path);
    if (o->host && !la_http_is_host(la_slice_str(o->host)))
        return wrong("--host %s: must be a name or an address, with a port or without: www.test:8080", o->host);
    return bad_field(o->headers);
}

/* 0, or said what does not go together. */
static int contradiction(const struct bench_options *o)
{
    if (!o->upstream)
        return wrong("--upstream is needed");
    if (!la_quick_is_list(o->upstream))
        return wrong("--upstream %s: an address is missing, or there is a comma too many", o->upstream);
    if (o->source && !la_quick_is_list(o->source))
        return wrong("--source %s: an address is missing, or there is a comma too many", o->source);
    if (without_port(o->upstream))
        return 2;
    if (less_than_workers(o))
        return wrong("each of the --workers needs a connection to memcached of its own: no size may be smaller than %u", o->workers);
    if (o->largest && o->smallest > o->largest)
        return wrong("--min %u is larger than --max %u", o->smallest, o->largest);
    if (o->sizes && (o->smallest || o->largest))
        return wrong("--sizes are measured alone: leave out --min and --max");
    if (o->clients && (o->rate > 0 || o->rate_auto))
        return wrong("--clients is a closed loop, --rate an open one: give one of the two");
    if (o->poisson && (o->clients || at_own_times(o)))
        return wrong("--poisson is for --rate");
    if (o->protocol == BENCH_FASTCGI && !o->script)
        return wrong("fastcgi needs --script");
    if (o->script && o->script[0] != '/')
        return wrong("--script %s: must be an absolute path, as php-fpm sees it", o->script);
    if (o->requests_file && o->replay)
        return wrong("--requests-from and --replay: give one of the two");
    if (bad_request(o))
        return 2;
    double asked = o->rate * o->seconds * o->repeats;
    if (o->rate > 0 && asked < BENCH_ANSWERS_LEAST)
        return wrong("--rate %g asks a size %g times in --repeats %u of --seconds %g: give more of these, for %d at least", o->rate, asked, o->repeats,
                     o->seconds, BENCH_ANSWERS_LEAST);
    if (o->json && o->html && strcmp(o->json, "-") == 0 && strcmp(o->html, "-") == 0)
        return wrong("--json - and --html -: standard output takes one of them");
    return 0;
}

/* ---- together ---- */

static void defaults(struct bench_options *o)
{
    *o = (struct bench_options){.keepalive_percent = 100,
                                .seconds = 3,
                                .warmup = 1,
                                .repeats = 3,
                                .slo.quantile = 0.99,
                                .burst = 1,
                                .workers = 1,
                                .threads = 1,
                                .keys = 10000,
                                .value_bytes = 100,
                                .set_percent = 10,
                                .speed = 1,
                                .seed = la_random_seed() & 0xffffffff};
}

/* Those that depend on others. */
static void fill(struct bench_options *o)
{
    bool memcached = o->protocol == BENCH_MEMCACHED;
    if (o->smallest == 0)
        o->smallest = 1;
    if (o->largest == 0) /* one memcached connection carries many commands at once */
        o->largest = memcached ? 8 * o->workers : 256;
    if (o->smallest > o->largest)
        o->largest = BENCH_SIZE_MAX;
    if (memcached && o->smallest < o->workers)
        o->smallest = o->workers;
    if (!o->method)
        o->method = o->body_file ? "POST" : "GET";
    if (!o->path)
        o->path = "/";
    o->own_times = at_own_times(o);
    o->rate_auto |= o->rate <= 0 && o->clients == 0 && !o->replay;
}

int bench_options_read(int argc, char **argv, struct bench_options *o)
{
    enum { ROW = 256 };
    struct option options[la_count(table) + 4] = {
        {"poisson", no_argument, NULL, 'P'}, {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'}};
    bool given[la_count(table)] = {0};
    for (size_t i = 0; i < la_count(table); i++)
        options[i + 3] = (struct option){table[i].name, required_argument, NULL, ROW + (int)i};
    defaults(o);
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "u:s:qh", options, NULL)) != -1;) {
        int row = c == 'u' ? 0 : c == 's' ? 1 : c - ROW;
        if (c == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (c == '?') { /* it has said why */
            fputs("`lastack bench --help` says more.\n", stderr);
            return 2;
        }
        o->poisson |= c == 'P';
        o->quiet |= c == 'q';
        if (row < 0)
            continue;
        if (!set(o, &table[row], optarg))
            return bad_value(&table[row], optarg);
        given[row] = true;
    }
    if (optind < argc)
        return wrong("%s: an option is missing before it", argv[optind]);
    for (size_t i = 0; i < la_count(table); i++)
        if (given[i] && idle(o, table[i].use))
            return wrong("--%s %s", table[i].name, idle(o, table[i].use));
    if (contradiction(o))
        return 2;
    fill(o);
    return -1;
}
