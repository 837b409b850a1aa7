/* demo_view.c: what the demo shows: an introduction, one live line per phase, the table.
 *
 * Owns the terminal's line. 80 columns, plain ASCII where it matters; colour and the live line on a terminal
 * only (and NO_COLOR is respected); without one, each phase is one line when it ends. One thread. */
#include "tools/demo_private.h"

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define BAR   10
#define LEFT  32
#define VALUE 22

static const char *const way_name[DEMO_WAYS] = {"without a pool", "through lastack"};

static bool tty(void)
{
    static int known = -1;
    if (known < 0)
        known = isatty(STDOUT_FILENO) ? 1 : 0;
    return known;
}

static const char *colour(const char *code)
{
    return tty() && !getenv("NO_COLOR") ? code : "";
}

#define RED   colour("\033[1;31m")
#define GREEN colour("\033[1;32m")
#define BOLD  colour("\033[1m")
#define DIM   colour("\033[2m")
#define PLAIN colour("\033[0m")

const char *demo_view_bold(void)
{
    return BOLD;
}

const char *demo_view_plain(void)
{
    return PLAIN;
}

/* 12345 as "12,345"; n bytes of buf. */
static const char *number(char *buf, size_t n, uint64_t v)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < n; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            buf[at++] = ',';
        buf[at++] = digits[i];
    }
    buf[at] = 0;
    return buf;
}

void demo_view_intro(const struct demo_options *o, bool own_net)
{
    char rate[32];
    printf("\n%slastack demo%s  %s short connections a second, %d local ports, one backend\n\n", BOLD, PLAIN,
           number(rate, sizeof(rate), o->rate), DEMO_PORTS);
    if (own_net)
        printf("%s  clients + backend  <-- wire -->  proxy     (network namespaces of their own)%s\n\n", DIM,
               PLAIN);
    else
        printf("%s  On loopback, not in network namespaces. That flatters the proxy without a pool:\n"
               "  Linux reuses a loopback port in TIME_WAIT after 1 s, any other one after 60 s.%s\n\n",
               DIM, PLAIN);
}

static void live_line(const struct demo_progress *p)
{
    char bar[BAR + 1], requests[32], failed[32];
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(p->part * BAR + 0.5) ? '#' : '.';
    bar[BAR] = 0;
    number(requests, sizeof(requests), p->requests);
    number(failed, sizeof(failed), p->failed);
    printf("%s%-15s%s %s%s%s %7s sent %s%7s failed%s  TIME_WAIT %s%3u%s  ports %s%3u%s", BOLD,
           way_name[p->way], PLAIN, DIM, bar, PLAIN, requests, p->failed ? RED : GREEN, failed, PLAIN,
           p->time_wait ? RED : GREEN, p->time_wait, PLAIN, p->ports_left ? "" : RED, p->ports_left,
           p->ports_left ? "" : PLAIN);
}

void demo_view_live(const struct demo_progress *p)
{
    if (!tty())
        return;
    printf("\r");
    live_line(p);
    printf("\033[K");
    fflush(stdout);
}

void demo_view_live_end(const struct demo_progress *p)
{
    if (tty())
        printf("\r");
    live_line(p);
    printf(tty() ? "\033[K\n" : "\n");
    fflush(stdout);
}

/* A cell, right-aligned; bad: -1 no judgement, 0 good, 1 bad. */
LA_PRINTF(2, 3) static void cell(int bad, const char *fmt, ...)
{
    char text[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    printf("%s%*s%s", bad < 0 ? "" : bad ? RED : GREEN, VALUE, text, bad < 0 ? "" : PLAIN);
}

static void row_number(const char *name, uint64_t a, uint64_t b, bool judged)
{
    char text[32];
    printf("  %-*s", LEFT, name);
    cell(judged ? a > 0 : -1, "%s", number(text, sizeof(text), a));
    cell(judged ? b > 0 : -1, "%s", number(text, sizeof(text), b));
    printf("\n");
}

static void row_failed(const struct demo_result *r)
{
    char text[32];
    printf("  %-*s", LEFT, "failed");
    for (int i = 0; i < DEMO_WAYS; i++) {
        number(text, sizeof(text), r[i].failed);
        if (r[i].failed)
            cell(1, "%s (%.1f %%)", text, 100.0 * (double)r[i].failed / (double)la_max64(r[i].requests, 1));
        else
            cell(0, "%s", text);
    }
    printf("\n");
}

static void row_time(const char *name, uint64_t a_us, uint64_t b_us)
{
    printf("  %-*s", LEFT, name);
    cell(-1, "%.1f ms", (double)a_us / 1000);
    cell(-1, "%.1f ms", (double)b_us / 1000);
    printf("\n");
}

static void rule(void)
{
    printf("  %s", DIM);
    for (int i = 0; i < LEFT + 2 * VALUE; i++)
        putchar('-');
    printf("%s\n", PLAIN);
}

void demo_view_table(const struct demo_result r[DEMO_WAYS], bool own_net)
{
    const struct demo_result *a = &r[DEMO_STRAIGHT], *b = &r[DEMO_POOLED];
    printf("\n  %s%-*s%*s%*s%s\n", BOLD, LEFT, "", VALUE, way_name[0], VALUE, way_name[1], PLAIN);
    rule();
    row_number("requests", a->requests, b->requests, false);
    row_failed(r);
    row_number("connections to the backend", a->opened, b->opened, false);
    row_number("  closed first by the proxy", a->closed_by_proxy, b->closed_by_proxy, true);
    row_number("  closed first by the backend", a->closed_by_backend, b->closed_by_backend, false);
    row_number("TIME_WAIT at the proxy", a->proxy_time_wait, b->proxy_time_wait, true);
    row_number("TIME_WAIT at the backend", a->backend_time_wait, b->backend_time_wait, false);
    printf("  %-*s", LEFT, "local ports left, at worst");
    cell(a->ports_lowest == 0, "%u of %u", a->ports_lowest, a->ports);
    cell(b->ports_lowest == 0, "%u of %u", b->ports_lowest, b->ports);
    printf("\n");
    row_time(a->failed ? "response time p50, errors too" : "response time p50", a->p50_us, b->p50_us);
    row_time("response time p99", a->p99_us, b->p99_us);
    rule();
    if (b->failed) {
        printf("\n  %s%llu requests failed through the pool.%s First: %s\n\n", RED,
               (unsigned long long)b->failed, PLAIN, b->first_failure);
        return;
    }
    if (a->failed)
        printf("\n  Without a pool the proxy hangs up first; each port it used then waits %s.\n",
               own_net ? "60 s" : "1 s (60 s off loopback)");
    char text[32];
    printf("%s  Through lastack %s%s connections%s carried it all%s.\n\n", a->failed ? "" : "\n", BOLD,
           number(text, sizeof(text), b->opened), PLAIN,
           b->closed_by_proxy ? "" : ", and the backend hung up, not the proxy");
}
