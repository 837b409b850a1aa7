/* memcached_stats.c: `stats` of several servers as one answer: numbers that add up are added up under their
 * own names, then every server's lines under "SERVER:name". Lists of keys (`stats cachedump`: ITEM, `stats detail
 * dump`: PREFIX) are those of all servers. A server that does not answer is left out. What is no list (`stats
 * reset`) is answered as the first server did. */
#include "memcached.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const sums[] = {
    "curr_connections", "total_connections", "cmd_get",    "cmd_set",      "cmd_flush",   "cmd_touch",
    "cmd_meta",         "get_hits",          "get_misses", "get_expired",  "get_flushed", "delete_misses",
    "delete_hits",      "incr_misses",       "incr_hits",  "decr_misses",  "decr_hits",   "cas_misses",
    "cas_hits",         "cas_badval",        "touch_hits", "touch_misses", "bytes_read",  "bytes_written",
    "limit_maxbytes",   "threads",           "bytes",      "curr_items",   "total_items", "evictions",
    "reclaimed",
};

/* The reply as one text; NULL: nothing, or no memory. Freed with la_mem_put(…, n + 1). */
static char *flat(struct la_env *e, const struct la_mstore *s)
{
    char *text = s->n ? la_mem_get(e, s->n + 1) : NULL;
    size_t n = 0;
    for (struct la_mpiece *p = s->first; text && p; p = p->next) {
        memcpy(text + n, p->p + p->at, p->n - p->at);
        n += p->n - p->at;
    }
    if (text)
        text[n] = 0;
    return text;
}

static void out(struct la_mcommand *m, const char *p, size_t n)
{
    m->bytes_out += n;
    la_mcommand_result(m, p, n);
    if (!la_mstore_add(m->env, &m->client->out, p, n))
        m->client->abort = true;
}

/* Next line of *at, without its end; NULL: none. */
static char *line(char **at)
{
    char *l = *at, *end = strstr(l, "\r\n");
    if (end == NULL)
        return NULL;
    *end = 0;
    *at = end + 2;
    return l;
}

static void add_up(char *text, uint64_t *total, bool *seen)
{
    for (char *at = text, *l; (l = strstr(at, "STAT ")) != NULL; at = l) {
        l += 5;
        size_t n = strcspn(l, " \r");
        for (size_t i = 0; i < la_count(sums); i++)
            if (strlen(sums[i]) == n && memcmp(sums[i], l, n) == 0 && l[n] == ' ' && l[n + 1] >= '0' && l[n + 1] <= '9') {
                total[i] += strtoull(l + n, NULL, 10);
                seen[i] = true;
            }
    }
}

/* The kinds of lines that a list is made of. */
static bool is_list_line(const char *l)
{
    return strncmp(l, "STAT ", 5) == 0 || strncmp(l, "ITEM ", 5) == 0 || strncmp(l, "PREFIX ", 7) == 0 || strncmp(l, "END", 3) == 0;
}

/* A server's lines: numbers with its name, keys without the listener's prefix. Keys of others are not the client's business. */
static void pass_lines(struct la_mcommand *m, struct la_mpart *p, char *text)
{
    char *l, buf[1024];
    while ((l = line(&text)) != NULL) {
        int n = 0;
        if (strncmp(l, "STAT ", 5) == 0)
            n = snprintf(buf, sizeof buf, "STAT %s:%s\r\n", p->server->label, l + 5);
        else if (strncmp(l, "ITEM ", 5) == 0 && strncmp(l + 5, m->prefix, m->prefix_n) == 0)
            n = snprintf(buf, sizeof buf, "ITEM %s\r\n", l + 5 + m->prefix_n);
        else if (strncmp(l, "PREFIX ", 7) == 0)
            n = snprintf(buf, sizeof buf, "%s\r\n", l);
        if (n > 0 && (size_t)n < sizeof buf)
            out(m, buf, (size_t)n);
    }
}

void la_mstats_emit(struct la_mcommand *m)
{
    uint64_t total[la_count(sums)] = {0};
    bool seen[la_count(sums)] = {false};
    struct la_mpart *p, *first = NULL;
    bool list = false;
    la_list_each(&m->parts, p, struct la_mpart, node)
    {
        char *text = p->err == LA_OK ? flat(m->env, &p->store) : NULL;
        if (text && first == NULL) {
            first = p;
            list = is_list_line(text);
        }
        if (text)
            add_up(text, total, seen);
        la_mem_put(m->env, text, p->store.n + 1);
    }
    if (first == NULL) {
        la_merror_text(LA_NO_SERVER, m->text, sizeof m->text);
        out(m, m->text, strlen(m->text));
        return;
    }
    if (!list) {
        m->client->held -= first->store.n;
        la_mstore_move(m->env, &first->store, &m->client->out, first->store.n);
        return;
    }
    for (size_t i = 0; i < la_count(sums); i++) {
        char buf[96];
        int n = snprintf(buf, sizeof buf, "STAT %s %llu\r\n", sums[i], (unsigned long long)total[i]);
        if (seen[i])
            out(m, buf, (size_t)n);
    }
    la_list_each(&m->parts, p, struct la_mpart, node)
    {
        char *text = p->err == LA_OK ? flat(m->env, &p->store) : NULL;
        if (text)
            pass_lines(m, p, text);
        la_mem_put(m->env, text, p->store.n + 1);
    }
    out(m, "END\r\n", 5);
}
