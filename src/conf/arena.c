/* arena.c: a chain of separately allocated pieces; la_arena_fini frees them all.
 *
 * Never gives a single piece back and never grows one: an array that grows is allocated anew, and the old one
 * stays until the end. Configurations are small and short-lived enough for that. */
#include "conf/arena.h"

#include <stdio.h>
#include <stdlib.h>

struct la_arena_piece {
    struct la_arena_piece *next;
    max_align_t data[];
};

void *la_arena_calloc(struct la_arena *a, size_t n, size_t size)
{
    la_assert(size == 0 || n <= (SIZE_MAX - sizeof(struct la_arena_piece)) / size);
    struct la_arena_piece *piece = la_xcalloc(1, sizeof *piece + n * size);
    piece->next = a->pieces;
    a->pieces = piece;
    return piece->data;
}

char *la_arena_strndup(struct la_arena *a, const char *s, size_t n)
{
    char *p = la_arena_calloc(a, n + 1, 1);
    memcpy(p, s, n);
    return p;
}

char *la_arena_vprintf(struct la_arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    la_assert(n >= 0);
    char *p = la_arena_calloc(a, (size_t)n + 1, 1);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    return p;
}

char *la_arena_printf(struct la_arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *p = la_arena_vprintf(a, fmt, ap);
    va_end(ap);
    return p;
}

void la_arena_fini(struct la_arena *a)
{
    while (a->pieces) {
        struct la_arena_piece *piece = a->pieces;
        a->pieces = piece->next;
        free(piece);
    }
}
