/* mime.c: content types, read once from /etc/mime.types; a few that every site needs are known without it.
 *
 * Owns: one sorted table for the life of the process, read only after it was made. Any thread. */
#include "mime.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define EXTENSION_MOST 31

struct entry {
    char *extension, *type;
    size_t order; /* the first of a name wins, so the system's before ours */
};
static struct entry *table;
static size_t entries;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char builtin[] = "text/html html htm\ntext/css css\ntext/javascript js mjs\napplication/json json map\n"
                              "image/png png\nimage/jpeg jpg jpeg\nimage/gif gif\nimage/svg+xml svg\nimage/webp webp\n"
                              "image/vnd.microsoft.icon ico\nfont/woff woff\nfont/woff2 woff2\ntext/plain txt\n"
                              "application/pdf pdf\napplication/xml xml\napplication/wasm wasm\nvideo/mp4 mp4\n";

static int compare(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = strcmp(x->extension, y->extension);
    return c ? c : x->order < y->order ? -1 : x->order > y->order;
}

static void add(const char *extension, const char *type)
{
    if ((entries & (entries - 1)) == 0)
        table = la_xrealloc(table, (entries ? 2 * entries : 1) * sizeof *table);
    table[entries] = (struct entry){la_xstrdup(extension), la_xstrdup(type), entries};
    entries++;
}

static void read_from(FILE *f)
{
    char line[1024];
    while (f && fgets(line, sizeof line, f)) {
        char *rest, *type = strtok_r(line, " \t\r\n", &rest), *extension;
        if (type == NULL || *type == '#')
            continue;
        while ((extension = strtok_r(NULL, " \t\r\n", &rest)) != NULL)
            add(extension, type);
    }
    if (f)
        fclose(f);
}

static void load(void)
{
    read_from(fopen("/etc/mime.types", "re"));
    read_from(fmemopen((void *)(uintptr_t)builtin, sizeof builtin - 1, "r"));
    qsort(table, entries, sizeof *table, compare);
    size_t n = 0;
    for (size_t i = 0; i < entries; i++) {
        if (n && strcmp(table[n - 1].extension, table[i].extension) == 0) {
            free(table[i].extension);
            free(table[i].type);
        } else {
            table[n++] = table[i];
        }
    }
    entries = n;
}

struct la_slice la_mime_of(struct la_slice path)
{
    pthread_once(&once, load);
    const struct la_slice unknown = LA_SLICE("application/octet-stream");
    const char *dot = path.n ? memrchr(path.p, '.', path.n) : NULL;
    size_t n = dot ? path.n - (size_t)(dot + 1 - path.p) : 0;
    char key[EXTENSION_MOST + 1];
    if (n == 0 || n > EXTENSION_MOST || memchr(dot, '/', n))
        return unknown;
    for (size_t i = 0; i < n; i++)
        key[i] = dot[1 + i] >= 'A' && dot[1 + i] <= 'Z' ? (char)(dot[1 + i] + 32) : dot[1 + i];
    key[n] = '\0';
    size_t low = 0, high = entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = strcmp(key, table[middle].extension);
        if (c == 0)
            return la_slice_str(table[middle].type);
        if (c < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return unknown;
}
