/* arena.h: memory that lives as long as one configuration (or one parsed file), freed as a whole.
 *
 * Every piece is its own malloc, so that sanitizers see overruns; allocation aborts rather than fails
 * (la_x*), because only the owner's own files decide how much is asked for, and tree.c bounds those. One
 * thread. */
#ifndef LASTACK_CONF_ARENA_H
#define LASTACK_CONF_ARENA_H

#include "lastack/base.h"

#include <stdarg.h>

struct la_arena {
    struct la_arena_piece *pieces;
};
void *la_arena_calloc(struct la_arena *a, size_t n, size_t size);
char *la_arena_strndup(struct la_arena *a, const char *s, size_t n);
char *la_arena_printf(struct la_arena *a, const char *fmt, ...) LA_PRINTF(2, 3);
char *la_arena_vprintf(struct la_arena *a, const char *fmt, va_list ap) LA_PRINTF(2, 0);
void la_arena_fini(struct la_arena *a);

#endif
