/* sys.h (io, private): the system calls of every request, without libc's wrappers.
 *
 * In a program with threads libc makes recv, send, accept4 and close cancellation points, which costs each of them some
 * fifty instructions; no thread is ever cancelled here. Same results and errno. The sanitizers need to see the
 * calls, so they get libc's. */
#ifndef LASTACK_IO_SYS_H
#define LASTACK_IO_SYS_H

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__ || defined __clang__ || !defined SYS_recvfrom
#define la_sys_recv(fd, p, n, flags)            recv(fd, p, n, flags)
#define la_sys_send(fd, p, n, flags)            send(fd, p, n, flags)
#define la_sys_sendmsg(fd, m, flags)            sendmsg(fd, m, flags)
#define la_sys_accept4(fd, address, n, flags)   accept4(fd, address, n, flags)
#define la_sys_close(fd)                        close(fd)
#else
static inline ssize_t la_sys_recv(int fd, void *p, size_t n, int flags)
{
    return syscall(SYS_recvfrom, fd, p, n, flags, NULL, NULL);
}
static inline ssize_t la_sys_send(int fd, const void *p, size_t n, int flags)
{
    return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
}
static inline ssize_t la_sys_sendmsg(int fd, const struct msghdr *m, int flags)
{
    return syscall(SYS_sendmsg, fd, m, flags);
}
static inline int la_sys_accept4(int fd, struct sockaddr *address, socklen_t *n, int flags)
{
    return (int)syscall(SYS_accept4, fd, address, n, flags);
}
static inline int la_sys_close(int fd)
{
    return (int)syscall(SYS_close, fd);
}
#endif

#endif
