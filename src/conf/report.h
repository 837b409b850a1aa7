/* report.h: what was found while one configuration was loaded, and where each of its values stands.
 *
 * Findings are collected with their positions and handed out in the order of the text, whatever order the
 * checks ran in. Bounded: after LA_REPORT_MOST errors (or warnings) one last line says that there are more.
 */
#ifndef LASTACK_CONF_REPORT_H
#define LASTACK_CONF_REPORT_H

#include "conf/arena.h"
#include "lastack/conf.h"

#define LA_REPORT_MOST 1000

struct la_report_item {
    bool warning;
    struct la_conf_pos pos;
    unsigned file; /* order of reading */
    size_t number;
    char *text;
};
struct la_report {
    struct la_arena *arena;
    struct la_report_item *item;
    size_t n, cap, errors;
    size_t shown[2]; /* errors, warnings */
};
/* path "" for findings about a whole file. */
void la_report_add(struct la_report *r, bool warning, const struct la_conf_pos *pos, const char *path,
                   const char *fmt, ...) LA_PRINTF(5, 6);
void la_report_vadd(struct la_report *r, bool warning, const struct la_conf_pos *pos, const char *path,
                    const char *fmt, va_list ap) LA_PRINTF(5, 0);
/* Sorts by file (in the order of files), line and column, moves everything to out, and empties r. */
void la_report_flush(struct la_report *r, char *const *files, size_t file_count,
                     struct la_conf_findings *out);

/* The private part of a loaded configuration. */
struct la_mark {
    const char *path;
    struct la_conf_pos pos;
    size_t number;
};
struct la_conf_own {
    struct la_arena arena;
    struct la_mark *mark; /* sorted by path once loading is done */
    size_t marks, mark_cap;
};
void la_marks_add(struct la_conf_own *own, const char *path, const struct la_conf_pos *pos);
void la_marks_sort(struct la_conf_own *own);
/* Exactly this path, or NULL. After la_marks_sort. */
const struct la_conf_pos *la_marks_find(const struct la_conf_own *own, const char *path);

#endif
