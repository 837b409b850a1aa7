/* report.c: findings with positions, sorted for the reader, and the marks that tell where a value was
 * written.
 *
 * Two kinds of findings meet here: those of the loader, which are collected, sorted and bounded (la_report),
 * and the public list that check and doctor add to one by one (la_conf_findings). Every text ends up as
 * "file:line:column: path: what is wrong". */
#include "conf/report.h"

#include <stdio.h>
#include <stdlib.h>

void la_conf_findings_fini(struct la_conf_findings *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->item[i].text);
    free(f->item);
    *f = (struct la_conf_findings){0};
}

static void append(struct la_conf_findings *f, bool warning, char *text)
{
    f->item = la_xrealloc(f->item, (f->n + 1) * sizeof *f->item);
    f->item[f->n++] = (struct la_conf_finding){warning, text};
    f->errors += !warning;
}

void la_conf_finding_add(struct la_conf_findings *f, bool warning, const struct la_conf_pos *pos,
                         const char *fmt, ...)
{
    va_list ap;
    char *what = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&what, fmt, ap);
    va_end(ap);
    la_assert(n >= 0);
    if (pos && pos->file) {
        append(f, warning, la_xasprintf("%s:%u:%u: %s", pos->file, pos->line, pos->column, what));
        free(what);
    } else {
        append(f, warning, what);
    }
}

void la_report_vadd(struct la_report *r, bool warning, const struct la_conf_pos *pos, const char *path,
                    const char *fmt, va_list ap)
{
    r->errors += !warning;
    if (r->shown[warning] > LA_REPORT_MOST)
        return;
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->item = la_xrealloc(r->item, r->cap * sizeof *r->item);
    }
    char *what = r->shown[warning]++ == LA_REPORT_MOST
                     ? la_arena_printf(r->arena, "too many findings, the rest is not shown")
                     : la_arena_vprintf(r->arena, fmt, ap);
    char *text = la_arena_printf(r->arena, "%s%s%s", path, path[0] ? ": " : "", what);
    r->item[r->n] = (struct la_report_item){warning, pos ? *pos : (struct la_conf_pos){0}, 0, r->n, text};
    r->n++;
}

void la_report_add(struct la_report *r, bool warning, const struct la_conf_pos *pos, const char *path,
                   const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    la_report_vadd(r, warning, pos, path, fmt, ap);
    va_end(ap);
}

static int compare_items(const void *x, const void *y)
{
    const struct la_report_item *a = x, *b = y;
    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->pos.line != b->pos.line)
        return a->pos.line < b->pos.line ? -1 : 1;
    if (a->pos.column != b->pos.column)
        return a->pos.column < b->pos.column ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

void la_report_flush(struct la_report *r, char *const *files, size_t file_count, struct la_conf_findings *out)
{
    for (size_t i = 0; i < r->n; i++)
        while (r->item[i].file < file_count && r->item[i].pos.file != files[r->item[i].file])
            r->item[i].file++;
    if (r->n)
        qsort(r->item, r->n, sizeof *r->item, compare_items);
    for (size_t i = 0; i < r->n; i++)
        la_conf_finding_add(out, r->item[i].warning, &r->item[i].pos, "%s", r->item[i].text);
    free(r->item);
    *r = (struct la_report){.arena = r->arena};
}

void la_marks_add(struct la_conf_own *own, const char *path, const struct la_conf_pos *pos)
{
    if (own->marks == own->mark_cap) {
        own->mark_cap = own->mark_cap ? 2 * own->mark_cap : 64;
        own->mark = la_xrealloc(own->mark, own->mark_cap * sizeof *own->mark);
    }
    path = la_arena_strndup(&own->arena, path, strlen(path));
    own->mark[own->marks] = (struct la_mark){path, *pos, own->marks};
    own->marks++;
}

static int compare_marks(const void *x, const void *y)
{
    const struct la_mark *a = x, *b = y;
    int order = strcmp(a->path, b->path);
    return order ? order : a->number < b->number ? -1 : 1;
}

void la_marks_sort(struct la_conf_own *own)
{
    if (own->marks)
        qsort(own->mark, own->marks, sizeof *own->mark, compare_marks);
}

const struct la_conf_pos *la_marks_find(const struct la_conf_own *own, const char *path)
{
    size_t low = 0, high = own->marks;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(own->mark[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < own->marks && strcmp(own->mark[low].path, path) == 0 ? &own->mark[low].pos : NULL;
}

const struct la_conf_pos *la_conf_where(const struct la_conf *c, const char *fmt, ...)
{
    if (c->own == NULL)
        return NULL;
    va_list ap;
    char *path = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&path, fmt, ap);
    va_end(ap);
    la_assert(n >= 0);
    const struct la_conf_pos *pos = la_marks_find(c->own, path);
    while (pos == NULL && n > 0) { /* up to the parent: "a.b[0]" has "a.b", that has "a." (named by its user) or "a" */
        while (n > 0 && path[n - 1] != '.' && path[n - 1] != '[')
            n--;
        path[n] = 0;
        pos = la_marks_find(c->own, path);
        if (n > 0)
            path[--n] = 0;
        pos = pos ? pos : la_marks_find(c->own, path);
    }
    free(path);
    return pos;
}
