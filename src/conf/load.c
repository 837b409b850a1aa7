/* load.c: from a file name (or a text) to a checked la_conf, or to all that is wrong with it.
 *
 * Good path: read the file, parse it to a tree, fill the structs, do the same with each included file, work
 * out the defaults that depend on other values, check everything together. Findings are collected over all
 * files and come out in the order of the text. Only files are read; the network is never touched.
 *
 * What can fail: files that cannot be read, YAML errors, wrong values, values that do not fit together. Then
 * there is no la_conf, and whatever was allocated is freed. A file whose YAML is broken keeps the checks of
 * values together from running: half a configuration would raise errors that are not there. */
#include "conf/load.h"

#include "conf/read.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCLUDES_MOST 1000

struct loader {
    struct la_conf *conf;
    struct la_report report;
    struct la_reader reader;
    struct la_arena trees; /* gone when loading is done */
    bool broken;           /* a file is missing or not YAML */
};

static struct loader start(void)
{
    struct la_conf *c = la_xcalloc(1, sizeof *c);
    c->own = la_xcalloc(1, sizeof *c->own);
    return (struct loader){.conf = c, .report = {.arena = &c->own->arena}};
}

/* The configuration's own copy of a file's name. */
static const char *add_file(struct la_conf *c, const char *name)
{
    char **files = la_arena_calloc(&c->own->arena, c->file_count + 1, sizeof *files);
    if (c->file_count)
        memcpy(files, c->files, c->file_count * sizeof *files);
    c->files = files;
    return files[c->file_count++] = la_arena_strndup(&c->own->arena, name, strlen(name));
}

static void take_text(struct loader *l, const char *file, struct la_slice text)
{
    struct la_node *root;
    if (la_tree_parse(&l->trees, file, text, &l->report, &root))
        la_read_tree(&l->reader, root, file);
    else
        l->broken = true;
}

static void unreadable(struct loader *l, const struct la_conf_pos *pos, const char *path, const char *what,
                       int error)
{
    la_report_add(&l->report, false, pos, path, "%s: %s", what, strerror(error));
    l->broken = true;
}

/* A whole file up to LA_TREE_BYTES + 1. -1: errno. regular_only: a FIFO or device would block or never end.
 */
static int read_whole(const char *path, bool regular_only, struct la_text *out)
{
    char chunk[65536];
    struct stat st;
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (regular_only ? O_NONBLOCK : 0)), error = 0;
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0)
        error = errno;
    else if (S_ISDIR(st.st_mode))
        error = EISDIR;
    else if (regular_only && !S_ISREG(st.st_mode))
        error = EINVAL;
    while (error == 0 && out->n <= LA_TREE_BYTES && (n = read(fd, chunk, sizeof chunk)) != 0) {
        if (n > 0)
            la_text_add(out, chunk, (size_t)n);
        else if (errno != EINTR)
            error = errno;
    }
    close(fd);
    errno = error;
    return error ? -1 : 0;
}

static void take_file(struct loader *l, const char *path, bool included, const struct la_conf_pos *pos)
{
    struct la_text text = {0};
    const char *file = add_file(l->conf, path);
    l->reader.included = included;
    if (read_whole(path, included, &text) == 0) {
        take_text(l, file, la_slice(text.p ? text.p : "", text.n));
    } else if (included) {
        unreadable(l, pos, "include", path, errno);
    } else {
        struct la_conf_pos top = {file, 1, 1};
        unreadable(l, &top, "", "cannot be read", errno);
    }
    la_text_fini(&text);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* One pattern, relative to the directory of the file it stands in. */
static void include_pattern(struct loader *l, const char *from, const struct la_node *node)
{
    const char *slash = strrchr(from, '/'), *pattern = node->text.p;
    glob_t found = {0};
    if (node->kind != LA_NODE_SCALAR || node->null || node->text.n == 0) {
        la_report_add(&l->report, false, &node->pos, "include",
                      "must be a file pattern such as conf.d/*.yaml");
        return;
    }
    if (pattern[0] != '/' && slash)
        pattern = la_path(l->conf, "%.*s/%s", (int)(slash - from), from, pattern);
    errno = 0;
    int result = glob(pattern, GLOB_ERR, NULL, &found), error = errno; /* sorted */
    bool nothing = result == GLOB_NOMATCH || (result == GLOB_ABORTED && error == ENOENT);
    if (nothing && strpbrk(pattern, "*?[") == NULL) /* a pattern may match nothing, a name must be there */
        unreadable(l, &node->pos, "include", pattern, ENOENT);
    else if (result != 0 && !nothing) /* a directory that cannot be read */
        unreadable(l, &node->pos, "include", pattern, error ? error : EIO);
    for (size_t i = 0; result == 0 && i < found.gl_pathc; i++) {
        const char *path = found.gl_pathv[i], *before = NULL;
        for (size_t k = 0; k < l->conf->file_count && before == NULL; k++)
            if (same_file(path, l->conf->files[k]))
                before = l->conf->files[k];
        if (before && strcmp(before, from) == 0)
            la_report_add(&l->report, false, &node->pos, "include", "%s includes itself", path);
        else if (before)
            la_report_add(&l->report, false, &node->pos, "include", "%s is included twice", path);
        else if (l->conf->file_count > INCLUDES_MOST)
            la_report_add(&l->report, false, &node->pos, "include", "more than %d files", INCLUDES_MOST);
        else
            take_file(l, path, true, &node->pos);
    }
    globfree(&found);
}

static void take_includes(struct loader *l, const char *from, const struct la_node *include)
{
    if (include->kind == LA_NODE_MAP)
        la_report_add(&l->report, false, &include->pos, "include",
                      "is a mapping, must be a file pattern such as conf.d/*.yaml");
    else if (include->kind == LA_NODE_SCALAR)
        include_pattern(l, from, include);
    for (size_t i = 0; include->kind == LA_NODE_LIST && i < include->items; i++)
        include_pattern(l, from, include->item[i]);
}

static struct la_conf *finish(struct loader *l, struct la_conf_findings *out)
{
    struct la_conf *c = l->conf;
    la_marks_sort(c->own);
    if (!l->broken) {
        la_conf_finish(c);
        la_conf_check(c, &l->report);
    }
    size_t errors = l->report.errors;
    la_report_flush(&l->report, c->files, c->file_count, out);
    la_reader_fini(&l->reader);
    la_arena_fini(&l->trees);
    if (errors == 0)
        return c;
    out->host_unseen = !l->broken;
    la_conf_free(c);
    return NULL;
}

struct la_conf *la_conf_load(const char *path, struct la_conf_findings *out)
{
    struct loader l = start();
    l.reader = (struct la_reader){.conf = l.conf, .report = &l.report};
    la_read_defaults(&l.reader);
    take_file(&l, path, false, NULL);
    if (l.reader.include)
        take_includes(&l, l.conf->files[0], l.reader.include);
    return finish(&l, out);
}

struct la_conf *la_conf_load_text(const char *name, struct la_slice text, struct la_conf_findings *out)
{
    struct loader l = start();
    l.reader = (struct la_reader){.conf = l.conf, .report = &l.report};
    la_read_defaults(&l.reader);
    take_text(&l, add_file(l.conf, name), text);
    if (l.reader.include)
        la_report_add(&l.report, false, &l.reader.include->pos, "include", "works in a file only");
    return finish(&l, out);
}

void la_conf_free(struct la_conf *c)
{
    if (c == NULL)
        return;
    if (c->own) {
        la_arena_fini(&c->own->arena);
        free(c->own->mark);
        free(c->own);
    }
    free(c);
}

const char *la_protocol_name(enum la_protocol p)
{
    static const char *const names[] = {"http", "fastcgi", "memcached"};
    la_assert((size_t)p < la_count(names));
    return names[p];
}
