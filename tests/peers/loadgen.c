/* loadgen.c: the load generator (tools/load.h) as a program for the tests: options in, one JSON object out.
 *
 *   peer_loadgen --target 127.0.0.1:8080 --clients 256 --requests 10000 [--keepalive 50] [--fail] ...
 *
 * SIGINT or SIGTERM ends the load early; what was measured is still printed. Exit 0; with --fail 1 when there
 * was any failure; 2 for usage. */
#include "tools/bench_requests.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static const struct option options[] = {
    {"target", 1, NULL, 't'},         {"source", 1, NULL, 'S'},
    {"threads", 1, NULL, 'T'},        {"clients", 1, NULL, 'c'},
    {"requests", 1, NULL, 'n'},       {"duration-ms", 1, NULL, 'd'},
    {"grace-ms", 1, NULL, 'G'},       {"rate", 1, NULL, 'r'},
    {"poisson", 0, NULL, 'P'},        {"method", 1, NULL, 'm'},
    {"path", 1, NULL, 'p'},           {"host", 1, NULL, 'H'},
    {"header", 1, NULL, 'h'},         {"body", 1, NULL, 'b'},
    {"chunked", 0, NULL, 'C'},        {"expect", 0, NULL, 'E'},
    {"http10", 0, NULL, '0'},         {"no-token", 0, NULL, 'N'},
    {"keepalive", 1, NULL, 'k'},      {"keepalive-requests", 1, NULL, 'K'},
    {"gap-min-ms", 1, NULL, 'g'},     {"gap-max-ms", 1, NULL, 'x'},
    {"ramp-ms", 1, NULL, 'R'},        {"timeout-ms", 1, NULL, 'o'},
    {"upload-rate", 1, NULL, 'u'},    {"download-rate", 1, NULL, 'w'},
    {"close-first", 0, NULL, 'f'},    {"overtaken", 0, NULL, 'O'},
    {"leave-in-head", 1, NULL, '1'},  {"leave-in-body", 1, NULL, '2'},
    {"leave-waiting", 1, NULL, '3'},  {"leave-in-response", 1, NULL, '4'},
    {"leave-by-reset", 1, NULL, '5'}, {"fail", 0, NULL, 'F'},
    {"warmup-ms", 1, NULL, 'W'},      {"memcached", 0, NULL, 'M'},
    {"set-percent", 1, NULL, '6'},    {"keys", 1, NULL, '7'},
    {"value-bytes", 1, NULL, '8'},    {"fill", 0, NULL, '9'},
    {"gets", 1, NULL, 'e'},           {"hold", 0, NULL, 'D'},
    {"ask", 1, NULL, 'a'},            {"replay", 1, NULL, 'y'},
    {"unsafe", 0, NULL, 'U'},         {"random", 0, NULL, 'i'},
    {"timed", 0, NULL, 'I'},          {"speed", 1, NULL, 's'},
    {"help", 0, NULL, '?'},           {NULL, 0, NULL, 0}};

static const char help[] =
    "usage: peer_loadgen --target ADDRESS (--requests N | --duration-ms N) [options]\n"
    "  --clients N (16) --threads N (1) --source IP[,IP...]   --rate N per second: open loop; --poisson\n"
    "  --method GET | GET=70,POST=30   --path /x?size=10 ({token} {n} replaced)   --host NAME   --header 'A: "
    "b' (repeat)\n"
    "  --body BYTES --chunked --expect   --http10   --no-token\n"
    "  --keepalive PERCENT of the clients (0)   --keepalive-requests N per connection   --close-first\n"
    "  --gap-min-ms N --gap-max-ms N   --ramp-ms N   --timeout-ms N (30000)   --grace-ms N (5000)\n"
    "  --upload-rate B --download-rate B (bytes/s and client)\n"
    "  --leave-in-head P --leave-in-body P --leave-waiting P --leave-in-response P (percent)   "
    "--leave-by-reset P of those\n"
    "  --warmup-ms N (0)   --memcached --set-percent P (0) --keys N (1000) --value-bytes N (100) --fill\n"
    "  --gets N keys of one get (1)   --hold: each client asks once and stays until SIGTERM\n"
    "  --ask FILE of requests | --replay ACCESS-LOG [--unsafe]   --random | --timed [--speed N] (in order)\n"
    "  --overtaken   --fail: exit 1 when anything failed\n";

struct settings {
    struct la_load_conf conf;
    struct la_text headers;
    struct bench_requests requests;
    const char *ask, *replay;
    bool fail, unsafe;
};

static bool address(struct la_addr *out, const char *text, size_t n, bool port)
{
    const char *why = NULL;
    if (la_addr_parse(out, la_slice(text, n), port, &why))
        return true;
    fprintf(stderr, "peer_loadgen: %.*s: %s\n", (int)n, text, why);
    return false;
}

static bool sources(struct la_load_conf *c, const char *text)
{
    while (*text && c->sources < la_count(c->source)) {
        size_t n = strcspn(text, ",");
        if (!address(&c->source[c->sources++], text, n, false))
            return false;
        text += n + (text[n] == ',');
    }
    return true;
}

static bool flag(struct settings *s, int option)
{
    switch (option) {
    case 'P': return s->conf.poisson = true;
    case 'C': return s->conf.chunked = true;
    case 'E': return s->conf.expect = true;
    case '0': return s->conf.http10 = true;
    case 'N': return s->conf.no_token = true;
    case 'f': return s->conf.close_first = true;
    case 'O': return s->conf.overtaken = true;
    case 'F': return s->fail = true;
    case 'M': s->conf.protocol = LA_LOAD_MEMCACHED; return true;
    case 'D': return s->conf.hold = true;
    case 'U': return s->unsafe = true;
    case 'i': s->conf.order = LA_LOAD_RANDOM; return true;
    case 'I': s->conf.order = LA_LOAD_TIMED; return true;
    case '9': return s->conf.memcached.fill = true;
    default: return false;
    }
}

static bool text_option(struct settings *s, int option, const char *text, bool *good)
{
    struct la_load_conf *c = &s->conf;
    *good = true;
    switch (option) {
    case 't': *good = address(&c->target, text, strlen(text), true); return true;
    case 'S': *good = sources(c, text); return true;
    case 'm': c->method = text; return true;
    case 'p': c->path = text; return true;
    case 'H': c->host = text; return true;
    case 'a': s->ask = text; return true;
    case 'y': s->replay = text; return true;
    case 'h': la_text_addf(&s->headers, "%s\r\n", text); return true;
    default: return false;
    }
}

static bool number_option(struct settings *s, int option, const char *text)
{
    struct la_load_conf *c = &s->conf;
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || v < 0 || v > 1e15)
        return false;
    uint64_t n = (uint64_t)v;
    switch (option) {
    case 'T': c->threads = (unsigned)la_min64(n, 64); break;
    case 'c': c->clients = (unsigned)la_min64(n, 1000000); break;
    case 'n': c->requests = n; break;
    case 'd': c->duration_ms = n; break;
    case 'G': c->grace_ms = n; break;
    case 'r': c->rate = v; break;
    case 'b': c->body_bytes = n; break;
    case 'k': c->keepalive_percent = v; break;
    case 'K': c->keepalive_requests = n; break;
    case 'g': c->gap_min_ms = n; break;
    case 'x': c->gap_max_ms = n; break;
    case 'R': c->ramp_ms = n; break;
    case 'o': c->timeout_ms = n; break;
    case 'u': c->upload_rate = n; break;
    case 'w': c->download_rate = n; break;
    case 'W': c->warmup_ms = n; break;
    case '6': c->memcached.set_percent = v; break;
    case '7': c->memcached.keys = n; break;
    case '8': c->memcached.value_bytes = n; break;
    case 'e': c->memcached.gets = n; break;
    case 's': c->speed = v; break;
    case '1': c->leave.in_head = v; break;
    case '2': c->leave.in_body = v; break;
    case '3': c->leave.waiting = v; break;
    case '4': c->leave.in_response = v; break;
    case '5': c->leave.by_reset = v; break;
    default: return false;
    }
    return true;
}

/* The list of requests, if a file has it. */
static bool read_requests(struct settings *s)
{
    struct la_text why = {0};
    bool good = s->ask      ? bench_requests_read(&s->requests, s->ask, &why)
                : s->replay ? bench_requests_replay(&s->requests, s->replay, s->unsafe, &why)
                            : true;
    if (!good)
        fprintf(stderr, "peer_loadgen: %s\n", why.p);
    la_text_fini(&why);
    s->conf.ask = s->requests.ask;
    s->conf.asks = s->requests.asks;
    return good;
}

/* Says that all clients are held; ends the load when one of them could not be. True: no need to look again. */
static bool say_held(const struct settings *s, struct la_load *l, struct la_load_result *r)
{
    la_load_read(l, r);
    if (la_load_failures(r) > 0)
        la_load_stop(l);
    else if (r->n.done < s->conf.clients)
        return false;
    else
        puts("holding");
    fflush(stdout);
    return true;
}

static int run(struct settings *s)
{
    const char *why;
    struct la_load *l = la_load_new(&s->conf, &why);
    if (!l) {
        fprintf(stderr, "peer_loadgen: %s\n", why);
        return 2;
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (!la_load_start(l)) {
        fprintf(stderr, "peer_loadgen: cannot start: %s\n", strerror(errno));
        la_load_free(l);
        return 1;
    }
    bool stopped = false, said = !s->conf.hold;
    struct la_load_result *r = la_xcalloc(1, sizeof(*r));
    while (la_load_running(l)) {
        said = said || say_held(s, l, r);
        struct timespec tick = {.tv_nsec = 10000000};
        if (sigtimedwait(&set, NULL, &tick) > 0 && !stopped) {
            la_load_stop(l);
            stopped = true;
        }
    }
    la_load_wait(l);
    la_load_read(l, r);
    la_load_free(l);
    struct la_text json = {0};
    la_load_json(r, &json);
    puts(json.p);
    la_text_fini(&json);
    int code = s->fail && la_load_failures(r) > 0 ? 1 : 0;
    free(r);
    return code;
}

int main(int argc, char **argv)
{
    struct settings s = {0};
    la_load_defaults(&s.conf);
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool good = true;
        if (o == '?') {
            bool asked = optind > 1 && strcmp(argv[optind - 1], "--help") == 0;
            fputs(help, asked ? stdout : stderr);
            return asked ? 0 : 2;
        }
        if (!optarg)
            good = flag(&s, o);
        else if (!text_option(&s, o, optarg, &good))
            good = number_option(&s, o, optarg);
        if (!good) {
            fprintf(stderr, "peer_loadgen: bad value: %s\n", optarg ? optarg : "");
            return 2;
        }
    }
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
    s.conf.headers = s.headers.p;
    int code = read_requests(&s) ? run(&s) : 2;
    la_text_fini(&s.headers);
    bench_requests_fini(&s.requests);
    return code;
}
