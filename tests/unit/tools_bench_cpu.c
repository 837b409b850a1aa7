/* tools_bench_cpu.c: the processes behind listening sockets: one that serves two backends serves both, and counts once. */
#include "test.h"

#include "tools/bench.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int listener(struct bench_backend *b)
{
    const char *why;
    socklen_t n = sizeof b->address.u;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *b = (struct bench_backend){.limit = -1, .local = true};
    CHECK(la_addr_parse(&b->address, LA_SLICE("127.0.0.1:0"), true, &why));
    CHECK(fd >= 0 && bind(fd, &b->address.u.sa, b->address.len) == 0 && listen(fd, 1) == 0);
    CHECK(getsockname(fd, &b->address.u.sa, &n) == 0);
    return fd;
}

int main(void)
{
    static struct bench_cpu c;
    struct bench_backend b[3];
    int fd[3];
    for (int i = 0; i < 3; i++)
        fd[i] = listener(&b[i]);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(fd[2]);
        for (;;)
            pause();
    }
    for (int i = 0; i < 3; i++)
        close(fd[i]);
    CHECK(bench_cpu_find(&b[0], 1, &c));
    CHECK(bench_cpu_find(&b[1], 1, &c));
    while (bench_cpu_find(&b[2], 1, &(struct bench_cpu){0})) /* until the child has closed it */
        ;
    CHECK_EQ(c.n, 1);
    CHECK_EQ(c.one[0].pid, child);
    kill(child, SIGKILL);
    CHECK_EQ(waitpid(child, NULL, 0), child);
    return TEST_DONE();
}
