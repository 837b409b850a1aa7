/* test.h: the few words a unit test needs. A failed check prints where and exits 1 at once. */
#ifndef LASTACK_TEST_H
#define LASTACK_TEST_H

#include <stdio.h>
#include <stdlib.h>

static unsigned long test_checks;

#define CHECK(c)                                                             \
    do {                                                                     \
        test_checks++;                                                       \
        if (!(c)) {                                                          \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #c); \
            exit(1);                                                         \
        }                                                                    \
    } while (0)
#define CHECK_EQ(a, b)                                                                                      \
    do {                                                                                                    \
        long long a_ = (long long)(a), b_ = (long long)(b);                                                 \
        test_checks++;                                                                                      \
        if (a_ != b_) {                                                                                     \
            fprintf(stderr, "%s:%d: failed: %s == %s (%lld, %lld)\n", __FILE__, __LINE__, #a, #b, a_, b_); \
            exit(1);                                                                                        \
        }                                                                                                   \
    } while (0)
/* Last line of main: a test that checked nothing has failed. */
#define TEST_DONE() (printf("%lu checks\n", test_checks), test_checks ? 0 : 1)

#endif
