/* fpm.c: php-fpm's status page: read, and judged against the pool before it.
 *
 * The page is a flat JSON object of php-fpm's own making; only its numbers are looked for, each behind its quoted name.
 * php-fpm counts a worker that waits on an idle connection as idle, though nobody else can have it. */
#include "lastack/fpm.h"

#include <stdio.h>

static bool value_of(struct la_slice json, const char *name, struct la_slice *out)
{
    char key[40];
    int n = snprintf(key, sizeof key, "\"%s\":", name);
    const char *p = memmem(json.p, json.n, key, (size_t)n);
    if (p == NULL)
        return false;
    p += n;
    while (p < json.p + json.n && *p == ' ')
        p++;
    *out = la_slice(p, json.n - (size_t)(p - json.p));
    return true;
}

static int64_t number(struct la_slice json, const char *name)
{
    struct la_slice s;
    int64_t v = 0;
    if (!value_of(json, name, &s))
        return 0;
    for (size_t i = 0; i < s.n && i < 18 && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        v = v * 10 + (s.p[i] - '0');
    return v;
}

bool la_fpm_status_read(struct la_slice json, struct la_fpm_status *out)
{
    struct la_slice manager;
    *out = (struct la_fpm_status){0};
    if (json.n == 0 || json.p[0] != '{' || !value_of(json, "process manager", &manager))
        return false;
    const struct la_slice fixed = LA_SLICE("\"static\"");
    out->is_static = manager.n >= fixed.n && memcmp(manager.p, fixed.p, fixed.n) == 0;
    out->accepted = number(json, "accepted conn");
    out->listen_queue = number(json, "listen queue");
    out->max_listen_queue = number(json, "max listen queue");
    out->idle = number(json, "idle processes");
    out->active = number(json, "active processes");
    out->total = number(json, "total processes");
    out->max_active = number(json, "max active processes");
    out->max_children_reached = number(json, "max children reached");
    out->slow = number(json, "slow requests");
    return out->total > 0;
}

bool la_fpm_judge(const struct la_fpm_status *s, int pool_max, int idle, char *text, size_t cap)
{
    bool full = s->is_static || s->max_children_reached > 0; /* total is all it may have */
    int n = 0;
    if (full && s->total <= pool_max)
        n = snprintf(
            text, cap,
            "pool.max (%d) is not below pm.max_children (%lld): a connection holds a worker, also while it idles; "
            "lower pool.max to %lld or raise pm.max_children",
            pool_max, (long long)s->total, (long long)(s->total > 1 ? s->total - 1 : 1));
    else if (s->listen_queue > 0 && idle > 0)
        n = snprintf(
            text, cap,
            "%lld connections wait in php-fpm's listen queue while %d idle ones of ours pin workers: others use this "
            "pool too, or pool.max (%d) is too large; lower it, or shorten pool.idle_close",
            (long long)s->listen_queue, idle, pool_max);
    else if (s->listen_queue > 0)
        n = snprintf(text, cap, "%lld connections wait in php-fpm's listen queue: all %lld workers are busy",
                     (long long)s->listen_queue, (long long)s->total);
    return n > 0;
}
