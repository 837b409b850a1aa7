/* doctor.c: `lastack doctor`: its command line, and the list of findings as text or JSON.
 *
 * Owns: the list. Never changes a setting, never talks to a network: doctor_host.c reads this host's limits,
 * doctor_conf.c holds a configuration against them.
 *
 * Good path: every finding is "ok", exit 0. Each other one says what will hurt, when, and what to do; "warn" may be
 * lived with, "bad" makes the exit code 1.
 *
 * Run it where the proxy will run: in its container, as its user. One thread, blocking. */
#include "tools/doctor_private.h"
#include "tools/tools.h"

#include "lastack/json.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: lastack doctor [options] [CONFIG]\n"
    "\n"
    "Reads this host's limits (ports, sockets, descriptors, CPU) and, given a configuration, what it\n"
    "will ask of them; says what will hurt, when, and what to do about it. It changes nothing.\n"
    "Run it where the proxy runs: same container, same user.\n"
    "\n"
    "  --json              machine-readable\n"
    "  --quiet             leave out what is ok\n"
    "  --help              this text\n"
    "\n"
    "Exit code: 0 nothing is bad, 1 something is, 2 usage.\n";

static const char *const level_name[] = {"ok", "warn", "bad"};

static char *format(const char *fmt, va_list ap)
{
    char *s = NULL;
    la_assert(vasprintf(&s, fmt, ap) >= 0);
    return s;
}

void doctor_say(struct doctor *d, enum doctor_level level, const char *name, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    d->item = la_xrealloc(d->item, (d->n + 1) * sizeof *d->item);
    d->item[d->n++] = (struct doctor_finding){level, name, format(fmt, ap), NULL};
    d->count[level]++;
    va_end(ap);
}

void doctor_cure(struct doctor *d, const char *fmt, ...)
{
    la_assert(d->n > 0 && d->item[d->n - 1].cure == NULL);
    va_list ap;
    va_start(ap, fmt);
    d->item[d->n - 1].cure = format(fmt, ap);
    va_end(ap);
}

#define INDENT 29
#define WIDTH 110

/* Wraps at spaces; the first line stands where the cursor is. */
static void print_wrapped(const char *text)
{
    size_t column = INDENT;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column > INDENT && column + n > WIDTH) {
            printf("\n%*s", INDENT, "");
            column = INDENT;
        }
        printf("%.*s", (int)n, text);
        column += n;
        text += n;
        if (*text == ' ') {
            text++;
            if (column + 1 + strcspn(text, " ") <= WIDTH)
                putchar(' ');
            column++;
        }
    }
    putchar('\n');
}

static void print_text(const struct doctor *d, bool quiet)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct doctor_finding *f = &d->item[i];
        if (quiet && f->level == DOCTOR_OK)
            continue;
        printf("%-5s %-22s ", level_name[f->level], f->name);
        print_wrapped(f->what);
        if (f->cure) {
            printf("%*s", INDENT, "");
            char *line = la_xasprintf("-> %s", f->cure);
            print_wrapped(line);
            free(line);
        }
    }
    printf("%s%u ok, %u to look at, %u bad\n", d->n && !(quiet && d->count[DOCTOR_OK] == d->n) ? "\n" : "",
           d->count[DOCTOR_OK], d->count[DOCTOR_WARN], d->count[DOCTOR_BAD]);
}

static void print_json(const struct doctor *d, bool quiet)
{
    struct la_text text = {0};
    struct la_json j;
    la_json_init(&j, &text);
    la_json_open(&j, NULL, '{');
    for (int level = 0; level < 3; level++)
        la_json_int(&j, level_name[level], d->count[level]);
    la_json_open(&j, "findings", '[');
    for (size_t i = 0; i < d->n; i++) {
        const struct doctor_finding *f = &d->item[i];
        if (quiet && f->level == DOCTOR_OK)
            continue;
        la_json_open(&j, NULL, '{');
        la_json_str(&j, "level", level_name[f->level]);
        la_json_str(&j, "name", f->name);
        la_json_str(&j, "what", f->what);
        if (f->cure)
            la_json_str(&j, "do", f->cure);
        la_json_close(&j, '}');
    }
    la_json_close(&j, ']');
    la_json_close(&j, '}');
    printf("%.*s\n", (int)text.n, text.p);
    la_text_fini(&text);
}

int la_doctor_main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", 0, NULL, 'j'}, {"quiet", 0, NULL, 'q'}, {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    bool json = false, quiet = false;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'j': json = true; break;
        case 'q': quiet = true; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs("Try 'lastack doctor --help'.\n", stderr); return 2;
        }
    }
    if (argc - optind > 1) {
        fprintf(stderr, "lastack doctor: %s: one configuration at a time\n", argv[optind + 1]);
        return 2;
    }
    struct doctor d = {0};
    doctor_host(&d);
    if (optind < argc)
        doctor_conf(&d, argv[optind]);
    if (json)
        print_json(&d, quiet);
    else
        print_text(&d, quiet);
    for (size_t i = 0; i < d.n; i++) {
        free(d.item[i].what);
        free(d.item[i].cure);
    }
    free(d.item);
    return d.count[DOCTOR_BAD] ? 1 : 0;
}
