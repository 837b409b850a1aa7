/* diag.c: the TCP sockets of this host (this network namespace), as the kernel lists them.
 *
 * Owns nothing between calls: one netlink socket per question, closed before it returns. Never changes
 * anything in the kernel, never runs on a worker (it blocks).
 *
 * The good path: a sock_diag dump, restricted by states, by the remote port and by a byte code program for the
 * remote addresses, all in the kernel, so that some destinations among a hundred thousand sockets cost little
 * more than one. IPv4 connections made through IPv6 sockets (::ffff:a.b.c.d; what Java does) use IPv4 ports, so a
 * question for IPv4 asks both tables, and addresses are reported as what they are on the wire.
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
#define TO_AT_ONCE   64 /* addresses of one question */

bool la_diag_is_to(const struct la_diag_socket *s, const struct la_addr *to)
{
    const struct la_addr *remote = &s->remote;
    struct la_addr one = *to;
    if (la_addr_family(&one) == AF_INET6 && la_addr_family(remote) == AF_INET6 &&
        (one.u.in6.sin6_scope_id == 0 || remote->u.in6.sin6_scope_id == 0))
        one.u.in6.sin6_scope_id = remote->u.in6.sin6_scope_id;
    return la_addr_eq(remote, &one);
}

static bool is_wanted(const struct la_diag_query *q, const struct la_diag_socket *s)
{
    size_t i = 0;
    while (i < q->n && !la_diag_is_to(s, &q->to[i]))
        i++;
    return i < q->n || q->n == 0;
}

/* Filters once more what the kernel let through, and reports it. */
static void report(struct la_diag_query *q, const struct la_diag_socket *s)
{
    if (s->state > 31 || !(q->states >> s->state & 1) || !is_wanted(q, s))
        return;
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

/* A condition (struct inet_diag_hostcond ends in the address it compares with), and a jump behind it. */
enum { CONDITION = sizeof(struct inet_diag_bc_op) + sizeof(struct inet_diag_hostcond), JUMP = sizeof(struct inet_diag_bc_op) };

struct request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
    struct nlattr attr;
    uint8_t code[TO_AT_ONCE * (CONDITION + 16 + JUMP)];
};

static size_t ip_bytes(const struct la_addr *a)
{
    return la_addr_family(a) == AF_INET ? 4 : 16;
}

/* "the remote address is one of these": a socket passes when the program ends at its end, and fails when a jump goes 4 bytes past
 * it. Each condition goes on to a jump to the end when it holds, and to the next condition when not. */
static size_t add_filter(struct request *r, const struct la_addr *to, size_t n)
{
    size_t left = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        left += CONDITION + ip_bytes(&to[i]) + (i + 1 < n ? JUMP : 0);
    r->body.id.idiag_dport = htons(la_addr_port(&to[0])); /* looked at first; 0: any */
    for (size_t i = 0; i < n; i++) {
        size_t ip_n = ip_bytes(&to[i]), code_n = CONDITION + ip_n;
        bool last = i + 1 == n;
        struct inet_diag_bc_op op = {INET_DIAG_BC_D_COND, (unsigned char)code_n, (unsigned short)(last ? left + 4 : code_n + JUMP)};
        struct inet_diag_hostcond cond = {.family = (uint8_t)la_addr_family(&to[i]),
                                          .prefix_len = (uint8_t)(ip_n * 8),
                                          .port = la_addr_port(&to[i]) ? la_addr_port(&to[i]) : -1};
        const void *ip = ip_n == 4 ? (const void *)&to[i].u.in.sin_addr : (const void *)&to[i].u.in6.sin6_addr;
        memcpy(r->code + at, &op, sizeof op);
        memcpy(r->code + at + sizeof op, &cond, sizeof cond);
        memcpy(r->code + at + CONDITION, ip, ip_n);
        at += code_n;
        left -= code_n;
        if (!last) {
            struct inet_diag_bc_op jump = {INET_DIAG_BC_JMP, JUMP, (unsigned short)left};
            memcpy(r->code + at, &jump, sizeof jump);
            at += JUMP;
            left -= JUMP;
        }
        if (la_addr_port(&to[i]) != la_addr_port(&to[0]))
            r->body.id.idiag_dport = 0;
    }
    r->attr.nla_type = INET_DIAG_REQ_BYTECODE;
    r->attr.nla_len = (uint16_t)(sizeof r->attr + at);
    return r->attr.nla_len;
}

static int ask(int fd, int table, uint32_t states, const struct la_addr *to, size_t n)
{
    struct request r = {0};
    r.head.nlmsg_len = (uint32_t)(sizeof r.head + sizeof r.body);
    r.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    r.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    r.head.nlmsg_seq = 1;
    r.body.sdiag_family = (uint8_t)table;
    r.body.sdiag_protocol = IPPROTO_TCP;
    r.body.idiag_states = states;
    if (n > 0)
        r.head.nlmsg_len += (uint32_t)add_filter(&r, to, n);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent = sendto(fd, &r, r.head.nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof kernel);
    return sent < 0 ? -errno : 0;
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

static int dump_table(int table, struct la_diag_query *q, const struct la_addr *to, size_t to_n)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return -errno;
    void *buf = malloc(ANSWER_BYTES);
    int rc = buf ? ask(fd, table, q->states, to, to_n) : -ENOMEM;
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

static bool any_v4(const struct la_addr *to, size_t n)
{
    size_t i = 0;
    while (i < n && la_addr_family(&to[i]) != AF_INET)
        i++;
    return i < n || n == 0;
}

/* A kernel without IPv6 has no connections in that table. */
static int dump_both(struct la_diag_query *q, const struct la_addr *to, size_t n)
{
    int rc = any_v4(to, n) ? dump_table(AF_INET, q, to, n) : 0;
    if (rc != 0)
        return rc;
    rc = dump_table(AF_INET6, q, to, n);
    return rc == -ENOENT && any_v4(to, n) ? 0 : rc;
}

int la_diag_by_netlink(struct la_diag_query *q)
{
    int rc = q->n == 0 ? dump_both(q, NULL, 0) : 0;
    for (size_t at = 0; at < q->n && rc == 0; at += TO_AT_ONCE)
        rc = dump_both(q, q->to + at, la_min64(q->n - at, TO_AT_ONCE));
    return rc;
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
    int rc = any_v4(q->to, q->n) ? read_table("/proc/net/tcp", q) : 0;
    if (rc != 0)
        return rc;
    rc = read_table("/proc/net/tcp6", q);
    return rc == -ENOENT && any_v4(q->to, q->n) ? 0 : rc;
}

int la_diag_tcp(uint32_t states, const struct la_addr *to, size_t n, void (*cb)(void *arg, const struct la_diag_socket *s), void *arg)
{
    for (size_t i = 0; i < n; i++)
        if (la_addr_family(&to[i]) != AF_INET && la_addr_family(&to[i]) != AF_INET6)
            return -EINVAL;
    struct la_diag_query q = {.states = states, .to = to, .n = n, .cb = cb, .arg = arg};
    int rc = la_diag_by_netlink(&q);
    if (rc != 0 && q.found == 0 && la_diag_by_proc(&q) == 0)
        rc = 0;
    return rc;
}
