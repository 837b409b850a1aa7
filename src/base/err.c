/* err.c: the table of expected failures. */
#include "lastack/err.h"

static const struct la_err_info table[LA_ERR_COUNT] = {
#define X(id, name, status, type, text) [LA_##id] = {name, status, type, text},
    LA_ERRORS(X)
#undef X
};

const struct la_err_info *la_err_info(enum la_err e)
{
    la_assert((unsigned)e < LA_ERR_COUNT);
    return &table[e];
}
