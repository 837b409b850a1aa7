#include "tools/bench.h"
int bench_compare(const char *old_json, const char *new_json, FILE *out)
{
    (void)old_json; (void)new_json; (void)out;
    return 2;
}
