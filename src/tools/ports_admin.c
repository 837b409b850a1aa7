/* ports_admin.c: the ledger of a running proxy, as its admin listener's /metrics tells it.
 *
 * Owns nothing. Never trusts the answer further than text: what is not a line of lastack_ports is passed over.
 *
 * Good path: /metrics, a row per (source, destination). What can fail: nobody listens, it is not a lastack, it takes too
 * long. */
#include "tools/ports_private.h"

#include "tools/scrape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool ports_admin_address(struct la_addr *out, const char *text, const char **err)
{
    struct la_slice s = la_slice_str(text);
    if (s.n > 7 && memcmp(s.p, "http://", 7) == 0) {
        s = la_slice(s.p + 7, s.n - 7);
        const char *slash = memchr(s.p, '/', s.n);
        if (slash)
            s.n = (size_t)(slash - s.p);
    }
    return la_addr_parse(out, s, true, err);
}

static struct ports_row *row_for(struct ports_table *t, const char *source, const char *destination)
{
    for (size_t i = t->n; i-- > 0;) /* lines of one pair stand together */
        if (strcmp(t->row[i].source, source) == 0 && strcmp(t->row[i].destination, destination) == 0)
            return &t->row[i];
    struct ports_row *r = ports_table_add(t);
    snprintf(r->source, sizeof r->source, "%s", source);
    snprintf(r->destination, sizeof r->destination, "%s", destination);
    return r;
}

static void take_line(struct ports_table *t, struct la_slice line)
{
    static const char name[] = "lastack_ports{";
    char source[LA_ADDR_TEXT], destination[LA_ADDR_TEXT], state[16], number[32];
    if (line.n < sizeof name || memcmp(line.p, name, sizeof name - 1) != 0)
        return;
    struct la_slice rest = la_slice(line.p + sizeof name - 1, line.n - sizeof name + 1);
    size_t close = rest.n;
    while (close > 0 && rest.p[close - 1] != '}')
        close--;
    if (close == 0)
        return;
    struct la_slice labels = la_slice(rest.p, close - 1);
    if (!la_scrape_label(labels, "source", source, sizeof source) || !la_scrape_label(labels, "destination", destination, sizeof destination) ||
        !la_scrape_label(labels, "state", state, sizeof state))
        return;
    snprintf(number, sizeof number, "%.*s", (int)(rest.n - close), rest.p + close);
    long value = (long)strtod(number, NULL);
    struct ports_row *r = row_for(t, source, destination);
    if (strcmp(state, "free") == 0)
        r->free = value;
    else if (strcmp(state, "open") == 0)
        r->open = value;
    else if (strcmp(state, "time_wait") == 0)
        r->time_wait = value;
    else if (strcmp(state, "foreign") == 0)
        r->foreign = value;
}

static bool is_build_info(struct la_slice line)
{
    static const char name[] = "lastack_build_info{";
    return line.n > sizeof name && memcmp(line.p, name, sizeof name - 1) == 0;
}

bool ports_parse_metrics(struct ports_table *t, struct la_slice text)
{
    bool lastack = false;
    while (text.n) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        take_line(t, la_slice(text.p, n));
        lastack |= is_build_info(la_slice(text.p, n));
        n += end != NULL;
        text = la_slice(text.p + n, text.n - n);
    }
    return lastack;
}

bool ports_from_admin(struct ports_table *t, const struct la_addr *a, char *why)
{
    struct la_text content = {0};
    char address[LA_ADDR_TEXT];
    int status = la_scrape(a, "/metrics", &content);
    bool good = status == 200 && ports_parse_metrics(t, la_slice(content.p, content.n));
    la_addr_text(a, address);
    if (status == 200 && !good)
        snprintf(why, PORTS_WHY, "%s answered /metrics, but not as lastack does: is this a lastack admin listener?", address);
    else if (status > 0 && !good)
        snprintf(why, PORTS_WHY, "%s answered /metrics with status %d: is this a lastack admin listener?", address, status);
    else if (status == 0)
        snprintf(why, PORTS_WHY, "%s did not answer with HTTP: is this a lastack admin listener?", address);
    else if (status < 0)
        snprintf(why, PORTS_WHY, "no answer from an admin listener at %s (%s); give --admin ADDRESS, --pid PID or --all", address,
                 strerror(errno));
    la_text_fini(&content);
    return good;
}
