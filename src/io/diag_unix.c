/* diag_unix.c: how much of what was sent over a Unix socket its peer has read, and whether anybody has accepted it.
 *
 * SIOCOUTQ cannot tell: it counts a message until its last byte is read, and php-fpm leaves the end of STDIN unread while a
 * script runs. sock_diag knows the peer's inode (none before accept) and how many bytes wait in the peer's queue: two
 * questions about one socket each, answered within the call.
 *
 * What can fail: a kernel or sandbox without sock_diag for Unix sockets, a peer in another network namespace. Then nothing
 * is known, and the caller does as if all were well. */
#include "lastack/diag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct question {
    struct nlmsghdr head;
    struct unix_diag_req body;
};

static bool ask(int fd, uint32_t inode, uint32_t show)
{
    struct question q = {0};
    q.head.nlmsg_len = sizeof q;
    q.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    q.head.nlmsg_flags = NLM_F_REQUEST;
    q.body.sdiag_family = AF_UNIX;
    q.body.udiag_states = ~0u;
    q.body.udiag_ino = inode;
    q.body.udiag_show = show;
    q.body.udiag_cookie[0] = q.body.udiag_cookie[1] = ~0u;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    return sendto(fd, &q, sizeof q, 0, (const struct sockaddr *)&kernel, sizeof kernel) == (ssize_t)sizeof q;
}

/* The attribute of the answer, copied to out[0..n). */
static bool answer(int fd, uint16_t type, void *out, size_t n)
{
    _Alignas(struct nlmsghdr) char buf[2048];
    ssize_t got = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
    struct nlmsghdr *h = (struct nlmsghdr *)(void *)buf;
    if (got <= 0 || !NLMSG_OK(h, (size_t)got) || h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        h->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
        return false;
    struct rtattr *a = (struct rtattr *)(void *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
    size_t left = h->nlmsg_len - NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
    for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == type && RTA_PAYLOAD(a) >= n) {
            memcpy(out, RTA_DATA(a), n);
            return true;
        }
    return false;
}

bool la_diag_unix_peer(int fd, struct la_diag_peer *out)
{
    struct stat st;
    uint32_t peer;
    struct unix_diag_rqlen queue;
    *out = (struct la_diag_peer){0};
    int asks = fstat(fd, &st) == 0 ? socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG) : -1;
    if (asks < 0)
        return false;
    bool known = ask(asks, (uint32_t)st.st_ino, UDIAG_SHOW_PEER) && answer(asks, UNIX_DIAG_PEER, &peer, sizeof peer);
    if (known && peer != 0) {
        known = ask(asks, peer, UDIAG_SHOW_RQLEN) && answer(asks, UNIX_DIAG_RQLEN, &queue, sizeof queue);
        out->accepted = true;
        out->unread = known ? queue.udiag_rqueue : 0;
    }
    close(asks);
    return known;
}
