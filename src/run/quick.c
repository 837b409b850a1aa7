/* quick.c: the command line's short form becomes a configuration text, so that it goes the same way as a file. */
#include "lastack/json.h"
#include "lastack/run.h"

#include <stdio.h>
#include <stdlib.h>

/* a,b,c -> ["a","b","c"]; every item passes through shape first. */
static void list(struct la_text *out, const char *items)
{
    la_text_add(out, "[", 1);
    for (const char *p = items; *p;) {
        size_t n = strcspn(p, ",");
        if (p != items)
            la_text_add(out, ", ", 2);
        la_json_quote(out, la_slice(p, n));
        p += n + (p[n] == ',');
    }
    la_text_add(out, "]", 1);
}

static void scalar(struct la_text *out, const char *key, const char *value)
{
    la_text_addf(out, "%s: ", key);
    la_json_quote(out, la_slice_str(value));
    la_text_add(out, "\n", 1);
}

char *la_quick_text(const struct la_quick *q)
{
    struct la_text t = {0};
    if (q->workers)
        la_text_addf(&t, "workers: %s\n", q->workers);
    la_text_addf(&t, "listen:\n");
    for (const char *p = q->listen; *p;) {
        size_t n = strcspn(p, ",");
        char *one = la_xstrndup(p, n);
        la_text_addf(&t, "  - ");
        scalar(&t, "address", one);
        la_text_addf(&t, "    upstream: upstream\n");
        free(one);
        p += n + (p[n] == ',');
    }
    if (q->admin) {
        la_text_addf(&t, "admin:\n  ");
        scalar(&t, "address", q->admin);
    }
    if (q->access_log) {
        la_text_addf(&t, "log:\n  ");
        scalar(&t, "access", q->access_log);
    }
    la_text_addf(&t, "upstreams:\n  upstream:\n    servers: ");
    list(&t, q->upstream);
    if (q->source) {
        la_text_addf(&t, "\n    source: ");
        list(&t, q->source);
    }
    if (q->pool)
        la_text_addf(&t, "\n    pool: { max: %s }", q->pool);
    la_text_add(&t, "\n", 1);
    return t.p;
}
