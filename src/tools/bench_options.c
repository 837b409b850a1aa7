/* bench_options.c: the command line of `lastack bench`.
 *
 * Owns nothing: texts stay in argv, but for the joined --header lines, which live as long as the process. Good path: every
 * option has its bounds in one table, then what does not go together is refused. Failures: one line and exit status 2. */
#include "tools/bench.h"

#include <getopt.h>
#include <math.h>
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
    "      --method NAME         GET, or a mix: GET=70,POST=30\n"
    "      --path PATH           default /\n"
    "      --host NAME           Host field; default: the first backend\n"
    "      --header 'NAME: TEXT' again for more\n"
    "      --body FILE           of POST, PUT and PATCH\n"
    "      --requests-from FILE  a line each: [METHOD] PATH [BODY-FILE], fields and @BODY-FILE below it as for vegeta\n"
    "      --replay FILE         an access log (common, combined, or lastack's own): its GETs; at the log's own times, --speed\n"
    "                            times as fast, or with --rate or --clients in its order\n"
    "      --sets PERCENT        memcached: default 10, the rest are gets; --keys N (10000), --value-size BYTES (100)\n"
    "How it is loaded\n"
    "      --rate N|auto         open loop: N requests a second, whatever the answers do. auto (default): each size as\n"
    "                            fast as it goes, then the chosen one at 50, 70, 85 and 95 % of that\n"
    "      --poisson             random arrivals instead of even ones\n"
    "      --clients N           closed loop: N clients, each asks again when it has its answer\n"
    "      --keepalive PERCENT   of the clients that keep their connection, default 100; the others are short\n"
    "      --seconds S           measured time of a run, default 3; --warmup S before that, default 1\n"
    "      --requests N          at most so many in a run; --max-time S: end of the sweep, whatever is left\n"
    "      --threads N           of the load generator, default 1; --workers N: of the proxy, default 1\n"
    "Which sizes\n"
    "      --min N, --max N      1 to 256, memcached 1 to 8; --sizes N,N,...: these alone\n"
    "      --repeats N           runs of each size, default 3, up to three times as many while they scatter too much to\n"
    "                            tell; --seed N: of their order\n"
    "The verdict\n"
    "      --slo p99=50ms        what a size must keep: p50, p90, p99, p99.9 or p99.99\n"
    "      --burst FACTOR        headroom for so many times the load, default 1\n"
    "Output\n"
    "      --json FILE, --html FILE   the whole report; - is standard output\n"
    "      --hdr FILE            latency histograms, one file a size (FILE lat.hgrm: lat-16.hgrm)\n"
    "      --compare OLD.json    exit 1 when this one is worse\n"
    "  -q, --quiet               no live line, no table\n"
    "  -h, --help\n"
    "\n"
    "Exit status: 0 a size was found (with --compare: and it is not worse), 1 not, 2 usage. Ctrl-C ends it; what was\n"
    "measured until then is reported.\n";

enum kind { TEXT, NUMBER, WHOLE, SECONDS };

#define AT(field) offsetof(struct bench_options, field)
static const struct {
    const char *name;
    char kind_of; /* enum kind */
    bool wide;    /* WHOLE: 64 bits */
    size_t at;
    double low, high;
} table[] = {
    {"upstream", TEXT, 0, AT(upstream), 0, 0},
    {"source", TEXT, 0, AT(source), 0, 0},
    {"script", TEXT, 0, AT(script), 0, 0},
    {"status-path", TEXT, 0, AT(status_path), 0, 0},
    {"method", TEXT, 0, AT(method), 0, 0},
    {"path", TEXT, 0, AT(path), 0, 0},
    {"host", TEXT, 0, AT(host), 0, 0},
    {"body", TEXT, 0, AT(body_file), 0, 0},
    {"requests-from", TEXT, 0, AT(requests_file), 0, 0},
    {"replay", TEXT, 0, AT(replay), 0, 0},
    {"json", TEXT, 0, AT(json), 0, 0},
    {"html", TEXT, 0, AT(html), 0, 0},
    {"hdr", TEXT, 0, AT(hdr), 0, 0},
    {"compare", TEXT, 0, AT(compare), 0, 0},
    {"keepalive", NUMBER, 0, AT(keepalive_percent), 0, 100},
    {"burst", NUMBER, 0, AT(burst), 1, 100},
    {"sets", NUMBER, 0, AT(set_percent), 0, 100},
    {"speed", NUMBER, 0, AT(speed), 0.001, 1000},
    {"seconds", SECONDS, 0, AT(seconds), 0.05, 3600},
    {"warmup", SECONDS, 0, AT(warmup), 0, 3600},
    {"max-time", SECONDS, 0, AT(max_seconds), 1, 1e6},
    {"keys", WHOLE, true, AT(keys), 1, 1e9},
    {"value-size", WHOLE, true, AT(value_bytes), 1, 1 << 20},
    {"requests", WHOLE, true, AT(requests), 1, 1e12},
    {"seed", WHOLE, true, AT(seed), 0, 1e15},
    {"clients", WHOLE, false, AT(clients), 1, 15000},
    {"min", WHOLE, false, AT(smallest), 1, BENCH_SIZE_MAX},
    {"max", WHOLE, false, AT(largest), 1, BENCH_SIZE_MAX},
    {"repeats", WHOLE, false, AT(repeats), 1, 100},
    {"workers", WHOLE, false, AT(workers), 1, 64},
    {"threads", WHOLE, false, AT(threads), 1, 64},
};

/* A number, with us, ms, s or m behind it for seconds. */
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
            return kind != WHOLE || *out == floor(*out);
        }
    return false;
}

static bool set(struct bench_options *o, const char *name, const char *text)
{
    size_t i = 0;
    while (strcmp(table[i].name, name) != 0)
        i++;
    void *at = (char *)o + table[i].at;
    double v = 0;
    if (table[i].kind_of == TEXT) {
        *(const char **)at = text;
        return true;
    }
    if (!number(text, (enum kind)table[i].kind_of, &v) || v < table[i].low || v > table[i].high)
        return false;
    if (table[i].kind_of != WHOLE)
        *(double *)at = v;
    else if (table[i].wide)
        *(uint64_t *)at = (uint64_t)v;
    else
        *(unsigned *)at = (unsigned)v;
    return true;
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
    o->rate_auto = strcmp(text, "auto") == 0;
    return o->rate_auto || (number(text, NUMBER, &o->rate) && o->rate >= 0.01 && o->rate <= 1e7);
}

/* p99=50ms, p99.9=0.1s */
static bool set_slo(struct bench_options *o, const char *text)
{
    char *end;
    double percent = text[0] == 'p' ? strtod(text + 1, &end) : 0, s;
    if (text[0] != 'p' || *end != '=' || percent <= 0 || percent > 100 || !number(end + 1, SECONDS, &s) || s < 1e-6)
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
    la_text_addf(&all, "%s\r\n", text);
    o->headers = all.p;
    return true;
}

static bool special(struct bench_options *o, const char *name, const char *text, bool *known)
{
    *known = true;
    if (strcmp(name, "protocol") == 0)
        return set_protocol(o, text);
    if (strcmp(name, "rate") == 0)
        return set_rate(o, text);
    if (strcmp(name, "slo") == 0)
        return set_slo(o, text);
    if (strcmp(name, "sizes") == 0)
        return set_sizes(o, text);
    if (strcmp(name, "header") == 0)
        return add_header(o, text);
    return *known = false;
}

/* ---- together ---- */

static const char *contradiction(const struct bench_options *o)
{
    if (!o->upstream)
        return "--upstream is needed";
    if (o->smallest > o->largest)
        return "--min is larger than --max";
    if (o->clients && (o->rate > 0 || o->rate_auto))
        return "--clients is a closed loop, --rate an open one: give one of the two";
    if (o->poisson && o->clients)
        return "--poisson is for --rate";
    if (o->protocol == BENCH_FASTCGI && !o->script)
        return "fastcgi needs --script";
    if (o->protocol != BENCH_FASTCGI && (o->script || o->status_path))
        return "--script and --status-path are for --protocol fastcgi";
    if (o->protocol == BENCH_FASTCGI && o->script[0] != '/')
        return "--script must be an absolute path, as php-fpm sees it";
    if (o->protocol == BENCH_MEMCACHED && (o->requests_file || o->replay || o->body_file))
        return "--requests-from, --replay and --body are not for memcached";
    if (o->requests_file && o->replay)
        return "--requests-from and --replay: give one of the two";
    if ((o->requests_file || o->replay) && (o->path || o->body_file))
        return "--path and --body are for one request: with --requests-from or --replay the file says it";
    if (o->body_file && strchr(o->method, ','))
        return "--body needs one method";
    if (o->path && o->path[0] != '/')
        return "--path must start with /";
    return NULL;
}

static int wrong(const char *what, const char *name, const char *value)
{
    if (name)
        fprintf(stderr, "lastack bench: --%s %s: %s\n", name, value, what);
    else
        fprintf(stderr, "lastack bench: %s\n", what);
    fputs("`lastack bench --help` says more.\n", stderr);
    return 2;
}

static void defaults(struct bench_options *o)
{
    *o = (struct bench_options){.method = "GET",
                                .keepalive_percent = 100,
                                .seconds = 3,
                                .warmup = 1,
                                .smallest = 1,
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

int bench_options_read(int argc, char **argv, struct bench_options *o)
{
    struct option options[la_count(table) + 16] = {
        {"protocol", required_argument, NULL, 0}, {"rate", required_argument, NULL, 0}, {"slo", required_argument, NULL, 0},
        {"sizes", required_argument, NULL, 0},    {"header", required_argument, NULL, 0}, {"poisson", no_argument, NULL, 'P'},
        {"quiet", no_argument, NULL, 'q'},        {"help", no_argument, NULL, 'h'}};
    for (size_t i = 0, at = 8; i < la_count(table); i++)
        options[at++] = (struct option){table[i].name, required_argument, NULL, 0};
    defaults(o);
    for (int c, which = 0; (c = getopt_long(argc, argv, "u:s:qh", options, &which)) != -1;) {
        const char *name = c == 'u' ? "upstream" : c == 's' ? "source" : c == 0 ? options[which].name : NULL;
        bool known = false;
        if (c == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (c == '?')
            return wrong("unknown option", NULL, NULL);
        o->poisson |= c == 'P';
        o->quiet |= c == 'q';
        if (name && !(special(o, name, optarg, &known) || (!known && set(o, name, optarg))))
            return wrong("no such value", name, optarg);
    }
    if (optind < argc)
        return wrong("what stands alone is not understood", NULL, NULL);
    if (o->largest == 0) /* one memcached connection carries many commands at once */
        o->largest = o->protocol == BENCH_MEMCACHED ? 8 : o->smallest > 256 ? BENCH_SIZE_MAX : 256;
    const char *problem = contradiction(o);
    if (problem)
        return wrong(problem, NULL, NULL);
    o->rate_auto |= o->rate <= 0 && o->clients == 0 && !o->replay;
    return -1;
}
