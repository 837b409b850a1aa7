/* tools_bench_options.c: the command line of the bench: what it makes of options, and what it says of those that are wrong or have
 * no effect. */
#include "test.h"

#include "tools/bench.h"

#include <math.h>

#define MOST 16

/* The exit status (negative: go on), and what was printed, which the caller frees. */
static int read_words(const char *const *words, struct bench_options *o, char **said)
{
    static char *argv[MOST + 2], *kept[MOST]; /* *o points into the words; argv is put into another order */
    size_t n = 0, size;
    FILE *terminal = stderr;
    memset(argv, 0, sizeof argv);
    argv[0] = (char[]){"bench"};
    for (; n < MOST && words[n]; n++) {
        free(kept[n]);
        argv[n + 1] = kept[n] = la_xstrndup(words[n], strlen(words[n]));
    }
    stderr = open_memstream(said, &size);
    int code = bench_options_read((int)n + 1, argv, o);
    fclose(stderr);
    stderr = terminal;
    return code;
}

#define U        "-u", "127.0.0.1:1"
#define MC       U, "--protocol", "memcached"
#define LOG      U, "--replay", "a.log"
#define WITHOUT  "is for --replay without --rate and --clients"
#define THE_FILE "is for one request: with --requests-from or --replay the file says it"

static void refuses(void)
{
    static const struct {
        const char *word[MOST], *said;
    } bad[] = {
        {{"--sizes", "4"}, "--upstream is needed"},
        {{U, "stray"}, "stray: an option is missing before it"},
        {{U, "--max", "5000"}, "--max 5000: must be a whole number from 1 to 4096"},
        {{U, "--max", "2.5"}, "--max 2.5: must be a whole number from 1 to 4096"},
        {{U, "--requests", "0"}, "--requests 0: must be a whole number from 1 to 1000000000000"},
        {{U, "--burst", "x"}, "--burst x: must be a number from 1 to 100"},
        {{U, "--seconds", "1ms"}, "--seconds 1ms: must be a number of seconds (or with us, ms, m or h behind it) from 0.05 to 3600"},
        {{U, "--protocol", "fcgi"}, "--protocol fcgi: must be http, fastcgi or memcached"},
        {{U, "--slo", "p99"}, "--slo p99: must be a quantile and a time up to 1h: p99=50ms"},
        {{U, "--slo", "pnan=5ms"}, "--slo pnan=5ms: must be a quantile"},
        {{U, "--slo", "p0=5ms"}, "--slo p0=5ms: must be a quantile"},
        {{U, "--rate", "0"}, "--rate 0: must be auto, or requests a second from 0.01 to 10000000"},
        {{U, "--sizes", "4,5000"}, "--sizes 4,5000: must be at most 64 sizes from 1 to 4096"},
        {{U, "--header", "X"}, "--header X: must be one line, NAME: TEXT"},
        {{U, "--json", ""}, "--json: must not be empty"},
        {{U, "--rate"}, "requires an argument\n`lastack"},
        {{"-u", "127.0.0.1:0"}, "--upstream 127.0.0.1:0: a port is a number from 1 to 65535"},
        {{"-u", "127.0.0.1:1,app:99999"}, "--upstream app:99999: a port is a number from 1 to 65535"},
        {{U, "--path", "/a b"}, "--path /a b: must be as it stands in a request, other bytes as %XX"},
        {{U, "--path", "/a\xff"}, "other bytes as %XX: %20 is a space"},
        {{U, "--path", "/a\"b"}, "other bytes as %XX"},
        {{U, "--path", "/100%"}, "--path /100%: must be as it stands in a request"},
        {{U, "--host", "a\r\nX: y"}, "must be a name or an address"},
        {{U, "--host", "a/b"}, "--host a/b: must be a name or an address, with a port or without: www.test:8080"},
        {{U, "--header", "Bad Name: x"}, "--header 'Bad Name: x': must be NAME: TEXT, the name of letters"},
        {{U, "--header", "X: 1", "--header", ": x"}, "--header ': x': must be NAME: TEXT"},
        {{U, "--header", "X: a\x01"}, "the text without control characters"},
        {{U, "--header", "hOST: x"}, "--header 'hOST: x': give the Host field with --host"},
        {{U, "--header", "Content-Length: 5"}, "--header 'Content-Length: 5': leave it out"},
        {{U, "--method", "G ET"}, "--method G ET: must be one name in capitals, or a mix that adds up to 100: GET=70,POST=30"},
        {{U, "--method", "GET=0"}, "--method GET=0: must be one name"},
        {{U, "--method", "GET=50,POST=30"}, "--method GET=50,POST=30: must be one name"},
        {{U, "--method", "GET=50,post=50"}, "--method GET=50,post=50: must be one name"},
        {{U, "--slo", "p99=1e20"}, "--slo p99=1e20: must be a quantile and a time up to 1h"},
        {{U, "--slo", "p99=1e308h"}, "--slo p99=1e308h: must be a quantile and a time up to 1h"},
        {{U, "--rate", "2", "--seconds", "3"}, "--rate 2 asks a size 18 times in --repeats 3 of --seconds 3: give more of these, for 30 at least"},
        {{U, "--nonsense"}, "'--nonsense'\n`lastack"},
        {{U, "--json", "-", "--html", "-"}, "standard output takes one of them"},
        {{U, "--min", "9", "--max", "8"}, "--min 9 is larger than --max 8"},
        {{U, "--sizes", "4", "--max", "8"}, "leave out --min and --max"},
        {{U, "--path", "x"}, "--path x: must start with /"},
        {{U, "--script", "/x"}, "--script is for --protocol fastcgi"},
        {{U, "--protocol", "fastcgi", "--script", "x"}, "--script x: must be an absolute path"},
        {{U, "--body", "f", "--method", "GET"}, "--method GET: with --body it must be POST, PUT or PATCH"},
        {{U, "--body", "f", "--method", "POST=100"}, "--method POST=100: with --body it must be"},
        {{U, "--speed", "2"}, "--speed " WITHOUT},
        {{LOG, "--speed", "2", "--rate", "5"}, "--speed " WITHOUT},
        {{LOG, "--poisson"}, "--poisson is for --rate"},
        {{LOG, "--method", "HEAD"}, "--method " THE_FILE},
        {{U, "--requests-from", "f", "--path", "/"}, "--path " THE_FILE},
        {{U, "--keys", "5"}, "--keys is for --protocol memcached"},
        {{U, "--source", "127.0.0.1,"}, "--source 127.0.0.1,: an address is missing, or there is a comma too many"},
        {{"-u", "127.0.0.1:1,,127.0.0.1:2"}, "--upstream 127.0.0.1:1,,127.0.0.1:2: an address is missing"},
        {{U, "--sets", "5"}, "--sets is for --protocol memcached"},
        {{U, "--value-size", "5"}, "--value-size is for --protocol memcached"},
        {{MC, "--path", "/"}, "--path is not for memcached"},
        {{MC, "--method", "GET"}, "--method is not for memcached"},
        {{MC, "--header", "X: 1"}, "--header is not for memcached"},
        {{MC, "--host", "a.test"}, "--host is not for memcached"},
        {{MC, "--replay", "f"}, "--replay is not for memcached"},
        {{MC, "--workers", "3", "--sizes", "2,4"}, "no size may be smaller than 3"},
        {{MC, "--workers", "3", "--max", "2"}, "no size may be smaller than 3"},
    };
    for (size_t i = 0; i < la_count(bad); i++) {
        struct bench_options o;
        char *said;
        int code = read_words(bad[i].word, &o, &said);
        if (code != 2 || !strstr(said, bad[i].said) || !strstr(said, "\n`lastack bench --help` says more.\n")) {
            fprintf(stderr, "case %zu: status %d: %s\n", i, code, said);
            abort();
        }
        free(said);
    }
}

static struct bench_options taken(const char *const *words)
{
    struct bench_options o;
    char *said;
    CHECK_EQ(read_words(words, &o, &said), -1);
    CHECK(said[0] == 0);
    free(said);
    return o;
}

#define TAKEN(...) taken((const char *const[]){__VA_ARGS__, NULL})

static void takes(void)
{
    struct bench_options o = TAKEN(U);
    CHECK(strcmp(o.method, "GET") == 0 && o.rate_auto && o.smallest == 1 && o.largest == 256 && !o.own_times);
    o = TAKEN(U, "--body", "f");
    CHECK(strcmp(o.method, "POST") == 0);
    o = TAKEN(U, "--body", "f", "--method", "PATCH", "--keepalive", "0");
    CHECK(strcmp(o.method, "PATCH") == 0 && o.keepalive_percent == 0);
    o = TAKEN(U, "--method", "GET=70,POST=30", "--path", "/{n}?t={token}&a=%20", "--host", "[::1]:80", "--header", "X:", "--header", "Y: {n}");
    CHECK(strcmp(o.headers, "X:\r\nY: {n}\r\n") == 0);
    o = TAKEN(U, "--rate", "100", "--rate", "auto");
    CHECK(o.rate_auto && o.rate == 0);
    o = TAKEN(U, "--rate", "auto", "--rate", "100");
    CHECK(!o.rate_auto && o.rate == 100);
    o = TAKEN(U, "--slo", "p99.9=0.1s", "--seconds", "500ms", "--seed", "7");
    CHECK(fabs(o.slo.quantile - 0.999) < 1e-9 && o.slo.us == 100000 && o.seconds == 0.5 && o.seed == 7);
    o = TAKEN(LOG, "--speed", "2", "--host", "a.test", "--header", "X: 2");
    CHECK(o.own_times && !o.rate_auto && o.speed == 2 && strstr(o.headers, "X: 2\r\n"));
    o = TAKEN(LOG, "--rate", "auto");
    CHECK(!o.own_times && o.rate_auto);
    o = TAKEN(LOG, "--clients", "4");
    CHECK(!o.own_times && !o.rate_auto);
    o = TAKEN(MC, "--workers", "2", "--keys", "50");
    CHECK(o.smallest == 2 && o.largest == 16 && o.keys == 50);
    o = TAKEN(U, "--min", "300");
    CHECK(o.smallest == 300 && o.largest == BENCH_SIZE_MAX);
    o = TAKEN(U, "--sizes", "4,8", "--json", "-", "--html", "x");
    CHECK(o.sizes == 2 && o.size[1] == 8);
}

int main(void)
{
    refuses();
    takes();
    return TEST_DONE();
}
