/* base.c: assertions, allocation that cannot fail quietly, clocks. */
#include "lastack/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

void la_assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "lastack: %s:%d: assertion failed: %s\n", file, line, what);
    abort();
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

bool la_slice_ieq_same_n(struct la_slice a, struct la_slice b)
{
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i] && lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

static void *checked(void *p)
{
    if (p == NULL) {
        fputs("lastack: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *la_xcalloc(size_t n, size_t size)
{
    return checked(calloc(n ? n : 1, size ? size : 1));
}

void *la_xrealloc(void *p, size_t size)
{
    return checked(realloc(p, size ? size : 1));
}

char *la_xstrndup(const char *s, size_t n)
{
    char *p = la_xcalloc(n + 1, 1);
    memcpy(p, s, n);
    return p;
}

char *la_xstrdup(const char *s)
{
    return la_xstrndup(s, strlen(s));
}

char *la_xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *p = NULL;
    va_start(ap, fmt);
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    return checked(n < 0 ? NULL : p);
}

static uint64_t clock_read(clockid_t id)
{
    struct timespec ts;
    la_assert(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t la_clock_ns(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

uint64_t la_wall_ns(void)
{
    return clock_read(CLOCK_REALTIME);
}

uint64_t la_random_seed(void)
{
    uint64_t seed = 0;
    while (seed == 0)
        la_assert(getrandom(&seed, sizeof seed, 0) == sizeof seed);
    return seed;
}
