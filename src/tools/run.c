/* run.c: the command lines of `run`, `check` and `schema`. */
#include "causes.h"
#include "probe.h"
#include "tools.h"
#include "lastack/certs.h"
#include "lastack/run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char run_help[] =
    "usage: lastack run CONFIG.yaml\n"
    "       lastack run --listen ADDR[,...] --upstream ADDR[,...] [--source ADDR[,...]] [--pool N]\n"
    "\n"
    "Runs the proxy in the foreground.\n"
    "\n"
    "  -c, --config FILE       the configuration (see conf/reference.yaml)\n"
    "  -l, --listen ADDR,...   where clients come in, e.g. :8080, 127.0.0.1:80, unix:/run/x.sock\n"
    "  -u, --upstream ADDR,... the servers of the one upstream\n"
    "  -s, --source ADDR,...   local addresses for connections to them, e.g. 10.0.1.1 or 10.0.1.1:20000-29999\n"
    "  -p, --pool N            most connections to each server (pool.max)\n"
    "  -a, --admin ADDR        metrics, status and dashboard\n"
    "  -w, --workers N         threads; default: one for each CPU\n"
    "      --access-log PATH   or stdout; default: none\n"
    "  -h, --help\n"
    "\n"
    "Signals: SIGHUP reload, SIGTERM or SIGINT drain and end (twice: at once), SIGUSR1 reopen logs.\n";

/* what NULL: getopt has told it. */
static int misused(const char *command, const char *what, const char *word)
{
    if (what)
        fprintf(stderr, "lastack %s: %s%s\n", command, word ? word : "", what);
    fprintf(stderr, "Try 'lastack %s --help'.\n", command);
    return 2;
}

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == 0;
}

/* 0, or said which option's value cannot be one. What remains is judged as in a file. */
static int bad_quick(const struct la_quick *q)
{
    const struct {
        const char *name, *value;
    } list[] = {{"listen", q->listen}, {"upstream", q->upstream}, {"source", q->source}};
    char option[64];
    for (size_t i = 0; i < la_count(list); i++) {
        if (!list[i].value || la_quick_is_list(list[i].value))
            continue;
        snprintf(option, sizeof option, "--%s '%.40s'", list[i].name, list[i].value);
        return misused("run", ": an address is missing, or there is a comma too many", option);
    }
    if (q->pool && !is_number(q->pool)) {
        snprintf(option, sizeof option, "--pool '%.40s'", q->pool);
        return misused("run", ": must be a whole number", option);
    }
    if (q->workers && !is_number(q->workers) && strcmp(q->workers, "auto") != 0) {
        snprintf(option, sizeof option, "--workers '%.40s'", q->workers);
        return misused("run", ": must be a whole number, or auto", option);
    }
    return 0;
}

int la_run_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"listen", required_argument, NULL, 'l'},
        {"upstream", required_argument, NULL, 'u'}, {"source", required_argument, NULL, 's'},
        {"pool", required_argument, NULL, 'p'}, {"admin", required_argument, NULL, 'a'},
        {"workers", required_argument, NULL, 'w'}, {"access-log", required_argument, NULL, 'L'},
        {"help", no_argument, NULL, 'h'}, {0}};
    struct la_quick q = {0};
    const char *path = NULL;
    for (int c; (c = getopt_long(argc, argv, "c:l:u:s:p:a:w:h", options, NULL)) != -1;) {
        switch (c) {
        case 'c': path = optarg; break;
        case 'l': q.listen = optarg; break;
        case 'u': q.upstream = optarg; break;
        case 's': q.source = optarg; break;
        case 'p': q.pool = optarg; break;
        case 'a': q.admin = optarg; break;
        case 'w': q.workers = optarg; break;
        case 'L': q.access_log = optarg; break;
        case 'h': fputs(run_help, stdout); return 0;
        default: return misused("run", NULL, NULL);
        }
    }
    if (path == NULL && optind < argc)
        path = argv[optind++];
    bool quick = q.listen || q.upstream || q.source || q.pool || q.admin || q.workers || q.access_log;
    if (optind < argc)
        return misused("run", ": one configuration at a time", argv[optind]);
    if (path && quick)
        return misused("run", ": with a configuration there are no other options, write them there", path);
    if (path == NULL && (!q.listen || !q.upstream))
        return misused("run", "needs a configuration, or both --listen and --upstream", NULL);
    if (path)
        return la_run(path, NULL);
    if (bad_quick(&q))
        return 2;
    char *text = la_quick_text(&q);
    int status = la_run(NULL, text);
    free(text);
    return status;
}

int la_check_main(int argc, char **argv)
{
    static const char help[] = "usage: lastack check [--probe] CONFIG.yaml\n"
                               "\n"
                               "  -c, --config FILE  the configuration, as with `lastack run`\n"
                               "\n"
                               "Reads a configuration and says everything that is wrong with it, each line with its place.\n"
                               "Touches no network but with --probe: then php-fpm's status pages (fastcgi.status_path) are asked whether\n"
                               "pool.max fits. Exit status: 0 fine, 1 errors, 2 usage.\n";
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {"config", required_argument, NULL, 'c'},
                                            {"probe", no_argument, NULL, 'p'}, {0}};
    const char *path = NULL;
    bool asks = false;
    for (int c; (c = getopt_long(argc, argv, "hc:", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (c != 'c' && c != 'p')
            return misused("check", NULL, NULL);
        if (c == 'c')
            path = optarg;
        asks |= c == 'p';
    }
    if (path == NULL && optind < argc)
        path = argv[optind++];
    if (path == NULL)
        return misused("check", "needs a configuration", NULL);
    if (optind < argc)
        return misused("check", ": one configuration at a time", argv[optind]);
    struct la_conf_findings f = {0};
    struct la_conf *c = la_conf_load(path, &f);
    if (c) {
        la_conf_check_host(c, &f);
        struct la_certs *certs = la_certs_new(c, NULL, &f);
        la_certs_unref(&certs);
    }
    if (c && asks && f.errors == 0)
        la_probe(c, &f);
    la_findings_print(&f);
    bool fine = c != NULL && f.errors == 0;
    if (fine)
        printf("%s: fine (%zu listeners, %zu upstreams, %zu routes)\n", path, c->listens, c->upstreams, c->routes);
    la_conf_findings_fini(&f);
    if (c)
        la_conf_free(c);
    return fine ? 0 : 1;
}

int la_schema_main(int argc, char **argv)
{
    static const char help[] = "usage: lastack schema [--reference | --causes]\n"
                               "\n"
                               "Prints the JSON Schema of the configuration, with --reference a commented configuration with\n"
                               "every key and its default, or with --causes what the names of errors and of closed connections\n"
                               "in metrics and logs mean.\n";
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {"reference", no_argument, NULL, 'r'},
                                            {"causes", no_argument, NULL, 'c'}, {0}};
    void (*print)(void) = la_conf_print_schema;
    for (int c; (c = getopt_long(argc, argv, "hr", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (c != 'r' && c != 'c')
            return misused("schema", NULL, NULL);
        print = c == 'r' ? la_conf_print_reference : la_causes_print;
    }
    if (optind < argc)
        return misused("schema", ": takes no configuration", argv[optind]);
    print();
    return 0;
}
