/* main.c: picks the subcommand. */
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"run", la_run_main, "run the proxy"},
    {"check", la_check_main, "say what is wrong with a configuration"},
    {"schema", la_schema_main, "print the configuration's JSON Schema"},
    {"demo", la_demo_main, "see the problem and the cure in 20 seconds"},
    {"ports", la_ports_main, "show the port ledger"},
    {"doctor", la_doctor_main, "look at this host, say what will hurt"},
    {"bench", la_bench_main, "measure which pool size a backend wants"},
};

static void help(FILE *out)
{
    fputs("usage: lastack COMMAND [OPTIONS]\n\n", out);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
    fputs("\n`lastack COMMAND --help` says more.\n", out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("lastack " LASTACK_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help(stdout);
        return 0;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].main(argc - 1, argv + 1);
    fprintf(stderr, "lastack: no command `%s`\n\n", argv[1]);
    help(stderr);
    return 2;
}
