/* quick.c: the command line's short form becomes a configuration text, so that it goes the same way as a file; what is found wrong
 * with it is told by the option. */
#include "lastack/json.h"
#include "lastack/run.h"

#include <stdio.h>
#include <stdlib.h>

bool la_quick_is_list(const char *items)
{
    size_t n = strlen(items);
    return n > 0 && items[0] != ',' && items[n - 1] != ',' && !strstr(items, ",,");
}

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

/* ---- what is wrong with it ---- */

/* Behind "command line:7:18: " and "upstreams.NAME.". */
static const char *key_of(const char *text)
{
    static const char name[] = LA_QUICK_NAME ":", upstreams[] = "upstreams.";
    if (strncmp(text, name, sizeof name - 1) == 0) {
        text = strchr(text, ' ') + 1; /* the one in the name */
        text += strcspn(text, " ");
        text += *text == ' ';
    }
    size_t n = sizeof upstreams - 1;
    if (strncmp(text, upstreams, n) != 0)
        return text;
    n += strcspn(text + n, ".:");
    return text[n] == '.' ? text + n + 1 : text;
}

void la_quick_findings(struct la_conf_findings *f)
{
    static const struct {
        const char *key, *option;
    } of[] = {{"listen", "--listen"}, {"admin", "--admin"}, {"log.access", "--access-log"}, {"workers", "--workers"},
              {"servers", "--upstream"}, {"source", "--source"}, {"pool", "--pool"}, {"fastcgi", "--script"}};
    for (size_t i = 0; i < f->n; i++) {
        const char *key = key_of(f->item[i].text), *what = strstr(key, ": ");
        char *told = NULL;
        for (size_t k = 0; k < la_count(of) && what; k++) {
            size_t n = strlen(of[k].key);
            if (strncmp(key, of[k].key, n) == 0 && strchr(".[:", key[n]))
                told = la_xasprintf("%s%s", of[k].option, what);
        }
        if (!told)
            told = la_xstrdup(key);
        free(f->item[i].text);
        f->item[i].text = told;
    }
}
