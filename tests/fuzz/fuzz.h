/* fuzz.h: what every fuzz target needs: an assertion that the fuzzer sees, the entry point's prototype, and
 * exact copies, so that the sanitizer finds a read one byte too far. */
#ifndef LASTACK_FUZZ_H
#define LASTACK_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(c)                                                                                        \
    do {                                                                                                     \
        if (!(c)) {                                                                                          \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #c);                           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static inline char *fuzz_copy(const void *p, size_t n)
{
    FUZZ_CHECK(n <= SIZE_MAX / 2);
    char *copy = calloc(n ? n : 1, 1);
    FUZZ_CHECK(copy != NULL);
    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

/* A number below `below` that depends on the input only. */
static inline size_t fuzz_pick(const uint8_t *data, size_t size, size_t below)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619u;
    return below > 0 ? hash % below : 0;
}

#endif
