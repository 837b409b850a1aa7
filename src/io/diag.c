/* diag.c: the TCP sockets of this host (this network namespace), as the kernel lists them.
 *
 * Owns nothing between calls: one netlink socket per question, closed before it returns. Never changes
 * anything in the kernel, never runs on a worker (it blocks).
 *
 * The good path: a sock_diag dump, restricted by states, by the remote port and by a one-instruction byte
 * code program for the remote address, all in the kernel, so that one destination among a hundred thousand
 * sockets costs little. IPv4 connections made through IPv6 sockets (::ffff:a.b.c.d; what Java does) use IPv4
 * ports, so a question for IPv4 asks both tables, and addresses are reported as what they are on the wire.
 *
 * What can fail: a kernel or sandbox without sock_diag. Then /proc/net/tcp and tcp6 are read instead: slower,
 * the same answer. Only when both fail the caller gets an error.
 *
 * A socket in FIN_WAIT2 that the kernel has already reduced to a timewait entry is reported as FIN_WAIT2. */
#include "lastack/diag.h"
#include "io/diag_private.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ANSWER_BYTES 65536

/* Filters once more what the kernel let through, and reports it. */
static void report(struct la_diag_query *q, const struct la_diag_socket *s)
{
    if (la_addr_family(&s->remote) != q->family || s->state > 31 || !(q->states >> s->state & 1))
        return;
    if (q->to) {
        struct la_addr to = *q->to;
        if (q->family == AF_INET6 && (to.u.in6.sin6_scope_id == 0 || s->remote.u.in6.sin6_scope_id == 0))
            to.u.in6.sin6_scope_id = s->remote.u.in6.sin6_scope_id;
        if (!la_addr_eq(&s->remote, &to))
            return;
    }
    q->found++;
    q->cb(q->arg, s);
}

/* ip: 4 or 16 bytes in network order; port: network order. */
static void address(struct la_addr *out, int family, const void *ip, uint16_t port, uint32_t scope)
{
    if (family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = port};
        memcpy(&in.sin_addr, ip, 4);
        la_addr_from_sockaddr(out, (const struct sockaddr *)&in, sizeof in);
    } else {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = port};
        memcpy(&in6.sin6_addr, ip, 16);
        if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr))
            in6.sin6_scope_id = scope;
        la_addr_from_sockaddr(out, (const struct sockaddr *)&in6, sizeof in6);
    }
}

/* ---- sock_diag ---- */

struct request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
    struct nlattr attr;
    /* One instruction: the operation, then the address it compares with (struct inet_diag_hostcond ends in
     * it). */
    uint8_t code[sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond) + 16];
};

/* "remote address is ip": passes when the program ends at its end, rejects when it jumps 4 bytes past it. */
static size_t add_filter(struct request *r, const struct la_addr *to)
{
    bool v4 = la_addr_family(to) == AF_INET;
    size_t ip_n = v4 ? 4 : 16, code_n = sizeof r->code - 16 + ip_n;
    r->body.id.idiag_dport = htons(la_addr_port(to));
    struct inet_diag_bc_op op = {INET_DIAG_BC_D_COND, (unsigned char)code_n, (unsigned short)(code_n + 4)};
    struct inet_diag_hostcond cond = {.family = (uint8_t)la_addr_family(to),
                                      .prefix_len = (uint8_t)(ip_n * 8),
                                      .port = la_addr_port(to) ? la_addr_port(to) : -1};
    const void *ip = v4 ? (const void *)&to->u.in.sin_addr : (const void *)&to->u.in6.sin6_addr;
    memcpy(r->code, &op, sizeof op);
    memcpy(r->code + sizeof op, &cond, sizeof cond);
    memcpy(r->code + sizeof op + sizeof cond, ip, ip_n);
    r->attr.nla_type = INET_DIAG_REQ_BYTECODE;
    r->attr.nla_len = (uint16_t)(sizeof r->attr + code_n);
    return r->attr.nla_len;
}

static int ask(int fd, int table, const struct la_diag_query *q)
{
    struct request r = {0};
    r.head.nlmsg_len = (uint32_t)(sizeof r.head + sizeof r.body);
    r.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    r.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    r.head.nlmsg_seq = 1;
    r.body.sdiag_family = (uint8_t)table;
    r.body.sdiag_protocol = IPPROTO_TCP;
    r.body.idiag_states = q->states;
    if (q->to)
        r.head.nlmsg_len += (uint32_t)add_filter(&r, q->to);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n = sendto(fd, &r, r.head.nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof kernel);
    return n < 0 ? -errno : 0;
}

static void on_message(struct la_diag_query *q, const struct inet_diag_msg *m)
{
    struct la_diag_socket s = {.state = m->idiag_state, .uid = m->idiag_uid, .inode = m->idiag_inode};
    address(&s.local, m->idiag_family, m->id.idiag_src, m->id.idiag_sport, m->id.idiag_if);
    address(&s.remote, m->idiag_family, m->id.idiag_dst, m->id.idiag_dport, m->id.idiag_if);
    report(q, &s);
}

/* 1: go on reading; 0: the end; -errno. */
static int on_answer(struct la_diag_query *q, void *buf, size_t n)
{
    for (struct nlmsghdr *h = buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
        const void *body = (const char *)h + NLMSG_HDRLEN;
        size_t body_n = h->nlmsg_len - NLMSG_HDRLEN;
        if (h->nlmsg_type == NLMSG_DONE) {
            int e = 0;
            if (body_n >= sizeof e)
                memcpy(&e, body, sizeof e);
            return e < 0 ? e : 0;
        }
        if (h->nlmsg_type == NLMSG_ERROR) {
            const struct nlmsgerr *e = body;
            return body_n >= sizeof *e && e->error < 0 ? e->error : -EIO;
        }
        if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && body_n >= sizeof(struct inet_diag_msg))
            on_message(q, body);
    }
    return 1;
}

static int dump_table(int table, struct la_diag_query *q)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return -errno;
    void *buf = malloc(ANSWER_BYTES);
    int rc = buf ? ask(fd, table, q) : -ENOMEM;
    for (rc = rc ? rc : 1; rc > 0;) {
        ssize_t n = recv(fd, buf, ANSWER_BYTES, MSG_TRUNC);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || n > ANSWER_BYTES)
            rc = n < 0 ? -errno : -EIO;
        else
            rc = on_answer(q, buf, (size_t)n);
    }
    free(buf);
    close(fd);
    return rc;
}

int la_diag_by_netlink(struct la_diag_query *q)
{
    int rc = q->family == AF_INET ? dump_table(AF_INET, q) : 0;
    if (rc != 0)
        return rc;
    rc = dump_table(AF_INET6, q);
    /* A kernel without IPv6 has no IPv4 connections in that table either. */
    return rc == -ENOENT && q->family == AF_INET ? 0 : rc;
}

/* ---- /proc/net/tcp ---- */

/* "0100007F:1F90": each 32-bit word as the host stores it, the port as a number. */
static bool proc_address(struct la_addr *out, const char *text)
{
    uint32_t word[4] = {0};
    const char *colon = strchr(text, ':');
    size_t digits = colon ? (size_t)(colon - text) : 0;
    if (digits != 8 && digits != 32)
        return false;
    for (size_t i = 0; i < digits / 8; i++) {
        char hex[9] = {0};
        memcpy(hex, text + i * 8, 8);
        word[i] = (uint32_t)strtoul(hex, NULL, 16);
    }
    uint16_t port = (uint16_t)strtoul(colon + 1, NULL, 16);
    address(out, digits == 8 ? AF_INET : AF_INET6, word, htons(port), 0);
    return true;
}

static int read_table(const char *path, struct la_diag_query *q)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return -errno;
    char line[512], local[64], remote[64];
    while (fgets(line, sizeof line, f)) {
        unsigned state, uid;
        unsigned long inode;
        if (sscanf(line, " %*[0-9]: %63s %63s %x %*s %*s %*s %u %*s %lu", local, remote, &state, &uid,
                   &inode) != 5)
            continue; /* the headline */
        struct la_diag_socket s = {.state = (uint8_t)state, .uid = uid, .inode = inode};
        if (proc_address(&s.local, local) && proc_address(&s.remote, remote))
            report(q, &s);
    }
    int rc = ferror(f) ? -EIO : 0;
    fclose(f);
    return rc;
}

int la_diag_by_proc(struct la_diag_query *q)
{
    int rc = q->family == AF_INET ? read_table("/proc/net/tcp", q) : 0;
    if (rc != 0)
        return rc;
    rc = read_table("/proc/net/tcp6", q);
    return rc == -ENOENT && q->family == AF_INET ? 0 : rc;
}

int la_diag_tcp(int family, uint32_t states, const struct la_addr *to,
                void (*cb)(void *arg, const struct la_diag_socket *s), void *arg)
{
    if ((family != AF_INET && family != AF_INET6) || (to && la_addr_family(to) != family))
        return -EINVAL;
    struct la_diag_query q = {.family = family, .states = states, .to = to, .cb = cb, .arg = arg};
    int rc = la_diag_by_netlink(&q);
    if (rc != 0 && q.found == 0 && la_diag_by_proc(&q) == 0)
        rc = 0;
    return rc;
}
