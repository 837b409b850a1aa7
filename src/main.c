/* main.c: picks the subcommand, and fails for it when what it printed went nowhere. */
#include "tools/tools.h"

#include <stdbool.h>
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
    fputs("\n`lastack COMMAND --help` says more, `lastack --version` which one this is.\n", out);
}

static bool is_one_of(const char *word, const char *const words[3])
{
    return strcmp(word, words[0]) == 0 || strcmp(word, words[1]) == 0 || strcmp(word, words[2]) == 0;
}

static int command(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    if (is_one_of(argv[1], (const char *const[]){"--version", "-v", "version"})) {
        puts("lastack " LASTACK_VERSION);
        return 0;
    }
    if (is_one_of(argv[1], (const char *const[]){"--help", "-h", "help"})) {
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

int main(int argc, char **argv)
{
    int code = command(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fputs("lastack: standard output cannot be written\n", stderr);
    return code ? code : 1;
}
