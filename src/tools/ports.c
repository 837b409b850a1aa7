/* ports.c: `lastack ports`: its command line, and the table as text or JSON.
 *
 * Owns: options and output. Never looks at a socket itself: ports_admin.c asks a running proxy, ports_host.c the
 * kernel. Changes nothing anywhere.
 *
 * Good path: fill the table, sort the fullest pairs first, print the first --top of them, exit 0. What can fail: no
 * admin listener, no such process, no right to look at it: a sentence on standard error and exit 1.
 *
 * One thread, blocking. */
#include "tools/tools.h"

#include "lastack/json.h"
#include "tools/ports_private.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] =
    "usage: lastack ports [--admin ADDRESS | --pid PID | --all] [options]\n"
    "\n"
    "Local ports by (source, destination): how many are free, open, in TIME_WAIT or taken by others.\n"
    "\n"
    "  --admin ADDRESS     ask a running proxy's admin listener (default 127.0.0.1:9900)\n"
    "  --pid PID           outgoing TCP connections of any process on this host; what others have\n"
    "                      on the same pairs is foreign, TIME_WAIT belongs to nobody\n"
    "  --all               of every process on this host\n"
    "  --top N             only the N fullest pairs\n"
    "  --json              machine-readable\n"
    "  --help              this text\n"
    "\n"
    "Exit code: 0, 1 nothing could be learned, 2 usage.\n";

struct options {
    struct la_addr admin;
    long pid;
    bool all, json;
    unsigned long top; /* 0: no bound */
};

void ports_table_fini(struct ports_table *t)
{
    free(t->row);
    *t = (struct ports_table){0};
}

struct ports_row *ports_table_add(struct ports_table *t)
{
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->row = la_xrealloc(t->row, t->cap * sizeof *t->row);
    }
    struct ports_row *r = &t->row[t->n++];
    memset(r, 0, sizeof *r);
    return r;
}

static bool number(const char *text, unsigned long *out)
{
    char *end;
    *out = strtoul(text, &end, 10);
    return end != text && *end == 0 && text[0] != '-' && *out > 0 && *out <= INT32_MAX;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {{"admin", 1, NULL, 'a'}, {"pid", 1, NULL, 'p'},  {"all", 0, NULL, 'A'},
                                            {"top", 1, NULL, 't'},   {"json", 0, NULL, 'j'}, {"help", 0, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *admin = NULL, *why = "";
    *o = (struct options){0};
    unsigned long pid = 0;
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool good = true;
        switch (c) {
        case 'a': admin = optarg; break;
        case 'p': good = number(optarg, &pid); break;
        case 'A': o->all = true; break;
        case 't': good = number(optarg, &o->top); break;
        case 'j': o->json = true; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs("Try 'lastack ports --help'.\n", stderr); return 2;
        }
        if (!good) {
            fprintf(stderr, "lastack ports: %s: must be a number, 1 or more\n", optarg);
            return 2;
        }
    }
    o->pid = (long)pid;
    if (optind < argc) {
        fprintf(stderr, "lastack ports: %s: unexpected argument\n", argv[optind]);
        return 2;
    }
    if ((admin != NULL) + (o->pid != 0) + o->all > 1) {
        fputs("lastack ports: only one of --admin, --pid and --all\n", stderr);
        return 2;
    }
    if (!ports_admin_address(&o->admin, admin ? admin : "127.0.0.1:9900", &why)) {
        fprintf(stderr, "lastack ports: --admin %s: %s\n", admin, why);
        return 2;
    }
    return -1;
}

static long used(const struct ports_row *r)
{
    return r->open + r->time_wait + r->foreign;
}

/* Least free first; among equals the one with more in use, then by name. */
static int by_need(const void *a, const void *b)
{
    const struct ports_row *x = a, *y = b;
    if (x->free != y->free)
        return x->free < y->free ? -1 : 1;
    if (used(x) != used(y))
        return used(x) > used(y) ? -1 : 1;
    int by_source = strcmp(x->source, y->source);
    return by_source ? by_source : strcmp(x->destination, y->destination);
}

static int used_percent(const struct ports_row *r)
{
    long all = r->free + used(r);
    return all > 0 ? (int)((used(r) * 100 + all / 2) / all) : 0;
}

static void print_text(const struct ports_table *t, size_t n, bool foreign)
{
    int source = 6, destination = 11;
    for (size_t i = 0; i < n; i++) {
        int s = (int)strlen(t->row[i].source), d = (int)strlen(t->row[i].destination);
        source = s > source ? s : source;
        destination = d > destination ? d : destination;
    }
    if (t->has_range)
        printf("net.ipv4.ip_local_port_range %u-%u: %u usable ports for each source and destination\n\n", t->low, t->high,
               t->usable);
    if (t->n == 0) {
        puts("no outgoing connections");
        return;
    }
    printf("%-*s  %-*s  %6s  %6s  %9s  %s%5s\n", source, "source", destination, "destination", "free", "open",
           "time_wait", foreign ? "foreign  " : "", "used");
    for (size_t i = 0; i < n; i++) {
        const struct ports_row *r = &t->row[i];
        printf("%-*s  %-*s  %6ld  %6ld  %9ld  ", source, r->source, destination, r->destination, r->free, r->open,
               r->time_wait);
        if (foreign)
            printf("%7ld  ", r->foreign);
        printf("%4d%%\n", used_percent(r));
    }
    if (n < t->n)
        printf("(%zu more)\n", t->n - n);
}

static void print_json(const struct ports_table *t, size_t n)
{
    struct la_text text = {0};
    struct la_json j;
    la_json_init(&j, &text);
    la_json_open(&j, NULL, '{');
    if (t->has_range) {
        la_json_open(&j, "port_range", '{');
        la_json_int(&j, "low", t->low);
        la_json_int(&j, "high", t->high);
        la_json_int(&j, "usable", t->usable);
        la_json_close(&j, '}');
    }
    la_json_open(&j, "pairs", '[');
    for (size_t i = 0; i < n; i++) {
        const struct ports_row *r = &t->row[i];
        la_json_open(&j, NULL, '{');
        la_json_str(&j, "source", r->source);
        la_json_str(&j, "destination", r->destination);
        la_json_int(&j, "free", r->free);
        la_json_int(&j, "open", r->open);
        la_json_int(&j, "time_wait", r->time_wait);
        la_json_int(&j, "foreign", r->foreign);
        la_json_close(&j, '}');
    }
    la_json_close(&j, ']');
    la_json_close(&j, '}');
    printf("%.*s\n", (int)text.n, text.p);
    la_text_fini(&text);
}

int la_ports_main(int argc, char **argv)
{
    struct options o;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    struct ports_table t = {0};
    char why[PORTS_WHY] = "";
    bool host = o.pid || o.all;
    bool good = host ? ports_from_host(&t, o.pid, why) : ports_from_admin(&t, &o.admin, why);
    if (!good) {
        fprintf(stderr, "lastack ports: %s\n", why);
        ports_table_fini(&t);
        return 1;
    }
    if (t.n)
        qsort(t.row, t.n, sizeof *t.row, by_need);
    size_t n = o.top && o.top < t.n ? o.top : t.n;
    if (o.json)
        print_json(&t, n);
    else
        print_text(&t, n, !o.all);
    ports_table_fini(&t);
    return 0;
}
