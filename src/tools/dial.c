/* dial.c: a connection for a tool that asks one question and waits. Owns nothing. Good path: a connected socket with its
 * timeouts set. What can fail is told by errno. */
#include "tools/dial.h"

#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

int la_tool_dial(const struct la_addr *a, unsigned patience_s)
{
    struct timeval patience = {.tv_sec = patience_s};
    int fd = socket(la_addr_family(a), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* bounds connect too */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(fd, &a->u.sa, a->len) == 0)
        return fd;
    int e = errno;
    close(fd);
    errno = e;
    return -1;
}
