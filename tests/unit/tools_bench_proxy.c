/* tools_bench_proxy.c: the proxy that the bench measures, on a host that gives it no process. */
#include "test.h"

#include "tools/bench.h"

#include <errno.h>
#include <unistd.h>

pid_t fork(void)
{
    errno = EAGAIN;
    return -1;
}

int main(void)
{
    struct bench_options o = {.upstream = "127.0.0.1:1", .workers = 1};
    struct bench_report r = {.options = &o};
    char why[256];
    CHECK(bench_proxy_start(&r, 1, why, sizeof why) == NULL);
    CHECK(strcmp(why, "The proxy does not start: Resource temporarily unavailable.") == 0);
    return TEST_DONE();
}
