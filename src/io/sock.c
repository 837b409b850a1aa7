/* sock.c: system calls on sockets, with the options that the proxy wants. Any thread; no state. */
#include "lastack/sock.h"
#include "io/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3; Debian 12's headers are older */
#endif

static void option(int fd, int level, int name, int value)
{
    /* An option that a kernel lacks costs speed or a late notice, never correctness. */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

static int open_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static int give_up(int fd)
{
    int e = errno;
    close(fd);
    return -e;
}

/* A socket file that no process listens on is left over from an earlier life. */
static bool unix_is_stale(const struct la_addr *a)
{
    struct stat st;
    if (stat(a->u.un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = open_socket(AF_UNIX);
    if (fd < 0)
        return false;
    bool stale = connect(fd, &a->u.sa, a->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

void la_sock_unlink_stale(const struct la_addr *a)
{
    if (la_addr_family(a) == AF_UNIX && unix_is_stale(a))
        unlink(a->u.un.sun_path);
}

void la_sock_nodelay(int fd)
{
    option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void la_sock_user_timeout(int fd, unsigned ms)
{
    if (ms == 0)
        return;
    /* Probes notice a peer that vanished while nothing is under way; the user timeout one while bytes are. */
    int s = (int)((ms + 2999) / 3000);
    option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    option(fd, IPPROTO_TCP, TCP_KEEPIDLE, s);
    option(fd, IPPROTO_TCP, TCP_KEEPINTVL, s);
    option(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
    option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
}

int la_sock_listen(const struct la_addr *a, const struct la_listen_options *o)
{
    int family = la_addr_family(a);
    int fd = open_socket(family);
    if (fd < 0)
        return fd;
    if (family == AF_UNIX) {
        la_sock_unlink_stale(a);
    } else {
        if (o->owner && fchown(fd, o->owner, (gid_t)-1) != 0)
            return give_up(fd);
        option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (o->reuse_port)
            option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        if (family == AF_INET6)
            option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        if (o->defer_accept_s)
            option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, (int)o->defer_accept_s);
        la_sock_nodelay(fd);
        la_sock_user_timeout(fd, o->user_timeout_ms);
    }
    if (bind(fd, &a->u.sa, a->len) != 0)
        return give_up(fd);
    if (family == AF_UNIX && chmod(a->u.un.sun_path, o->unix_mode ? o->unix_mode : 0666) != 0)
        return give_up(fd);
    if (listen(fd, o->backlog) != 0)
        return give_up(fd);
    return fd;
}

int la_sock_relisten(int fd, const struct la_addr *a, const struct la_listen_options *o)
{
    listen(fd, o->backlog);
    if (la_addr_family(a) == AF_UNIX)
        return chmod(a->u.un.sun_path, o->unix_mode ? o->unix_mode : 0666) == 0 ? 0 : -errno;
    la_sock_user_timeout(fd, o->user_timeout_ms);
    return 0;
}

struct la_sock_file la_sock_file_of(const struct la_addr *a)
{
    struct stat st;
    if (la_addr_family(a) != AF_UNIX || lstat(a->u.un.sun_path, &st) != 0)
        return (struct la_sock_file){0};
    return (struct la_sock_file){st.st_dev, st.st_ino};
}

void la_sock_file_unlink(struct la_sock_file *f, const struct la_addr *a)
{
    struct la_sock_file now = f->ino ? la_sock_file_of(a) : *f;
    if (f->ino && now.dev == f->dev && now.ino == f->ino)
        unlink(a->u.un.sun_path);
    f->ino = 0;
}

int la_sock_dup(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -errno : copy;
}

int la_sock_accept(int fd, struct la_addr *peer)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    int c = la_sys_accept4(fd, peer ? (struct sockaddr *)&ss : NULL, peer ? &len : NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (c < 0)
        return -errno;
    if (peer)
        la_addr_from_sockaddr(peer, (struct sockaddr *)&ss, len);
    return c;
}

static int bind_source(int fd, const struct la_dial_options *o)
{
    struct la_addr from = *o->source;
    la_addr_set_port(&from, o->port);
    if (o->port) {
        option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    } else {
        /* Without it a bound port is taken for every destination at once. */
        option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (o->port_low)
            option(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, (int)((uint32_t)o->port_high << 16 | o->port_low));
    }
    return bind(fd, &from.u.sa, from.len);
}

int la_sock_dial(const struct la_addr *to, const struct la_dial_options *o)
{
    int family = la_addr_family(to);
    int fd = open_socket(family);
    if (fd < 0)
        return fd;
    if (family != AF_UNIX) {
        la_sock_nodelay(fd);
        la_sock_user_timeout(fd, o->user_timeout_ms);
        if (o->source && o->source->len && bind_source(fd, o) != 0)
            return give_up(fd);
    }
    if (connect(fd, &to->u.sa, to->len) != 0 && errno != EINPROGRESS)
        return give_up(fd);
    return fd;
}

int la_sock_error(int fd)
{
    int e = 0;
    socklen_t len = sizeof e;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) != 0 ? -errno : -e;
}

int la_sock_peek(int fd)
{
    char c;
    ssize_t n = la_sys_recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0)
        return 1;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

bool la_sock_left(int fd, bool half)
{
    struct pollfd p = {.fd = fd, .events = half ? 0 : POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

size_t la_sock_unheard(int fd)
{
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) == 0 && n > 0 ? (size_t)n : 0;
}

ssize_t la_sock_look(int fd, void *p, size_t n)
{
    ssize_t k = recv(fd, p, n, MSG_PEEK | MSG_DONTWAIT);
    if (k >= 0)
        return k;
    return errno == EAGAIN || errno == EINTR ? -1 : -2;
}

void la_sock_local(int fd, struct la_addr *out)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    memset(out, 0, sizeof *out);
    if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
        la_addr_from_sockaddr(out, (struct sockaddr *)&ss, len);
}

void la_sock_reset(int fd)
{
    struct linger l = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    close(fd);
}

bool la_sock_has_port_range(void)
{
    static _Atomic int known; /* 0 not asked, 1 yes, 2 no */
    int k = atomic_load_explicit(&known, memory_order_relaxed);
    if (k == 0) {
        uint32_t v = 0;
        socklen_t len = sizeof v;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        k = fd >= 0 && getsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &v, &len) == 0 ? 1 : 2;
        if (fd >= 0)
            close(fd);
        atomic_store_explicit(&known, k, memory_order_relaxed);
    }
    return k == 1;
}
