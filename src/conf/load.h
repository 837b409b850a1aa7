/* load.h: what the files behind la_conf_load share. */
#ifndef LASTACK_CONF_LOAD_H
#define LASTACK_CONF_LOAD_H

#include "conf/report.h"

/* Works out the defaults that depend on other values. Before the checks. */
void la_conf_finish(struct la_conf *c);
/* Everything that can be said about the values together without asking this host. Marks must be sorted. */
void la_conf_check(struct la_conf *c, struct la_report *report);
/* The two halves of it. */
void la_conf_check_listeners(struct la_conf *c, struct la_report *report);
void la_conf_check_upstreams(struct la_conf *c, struct la_report *report);
void la_conf_finish_memcached(struct la_conf *c, struct la_conf_upstream *u);
void la_conf_check_memcached(struct la_conf *c, struct la_report *report, const struct la_conf_upstream *u);
const struct la_conf_upstream *la_conf_find_upstream(const struct la_conf *c, const char *name); /* NULL: none */

/* A finding at the place of path, or of its nearest parent. */
void la_conf_complain(struct la_conf *c, struct la_report *report, bool warning, const char *path,
                      const char *fmt, ...) LA_PRINTF(5, 6);
/* "upstreams.app" */
#define la_path(c, ...) la_arena_printf(&(c)->own->arena, __VA_ARGS__)

/* Things that must differ: sorted by key, then by order. */
struct la_unique {
    const char *key;
    const char *path;
    const struct la_conf_pos *pos;
    size_t order;
};
void la_unique_sort(struct la_unique *u, size_t n);

/* quota.c: what is in the groups of that list, below tree; 0: no quota */
unsigned long la_quota_percent(const char *groups, const char *tree);
uint64_t la_quota_memory(const char *groups, const char *tree); /* 0: no bound */

/* fastcgi.c */
void la_conf_finish_fastcgi(struct la_conf *c, struct la_conf_upstream *u);
void la_conf_check_fastcgi(struct la_conf *c, struct la_report *report, const struct la_conf_upstream *u);

#endif
