/* io_diag.c: what the kernel says of sockets this test opens on loopback: established, TIME_WAIT, IPv6, IPv4
 * through an IPv6 socket; both ways of asking agree; ports, sysctls and local addresses. */
#include "io/diag_private.h"
#include "test.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ALL 0xffffffffu

static struct la_addr address(const char *text)
{
    struct la_addr a;
    const char *err = NULL;
    CHECK(la_addr_parse(&a, la_slice_str(text), false, &err));
    return a;
}

static struct la_addr bound(int fd)
{
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    struct la_addr a;
    CHECK(getsockname(fd, (struct sockaddr *)&ss, &n) == 0);
    la_addr_from_sockaddr(&a, (struct sockaddr *)&ss, n);
    return a;
}

struct found {
    unsigned n, by_state[32];
    struct la_diag_socket last;
};

static void on_socket(void *arg, const struct la_diag_socket *s)
{
    struct found *f = arg;
    f->n++;
    f->by_state[s->state]++;
    f->last = *s;
}

static int listener(const char *text, struct la_addr *at)
{
    struct la_addr a = address(text);
    for (;;) {
        int fd = socket(la_addr_family(&a), SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, &a.u.sa, a.len) != 0 || listen(fd, 16) != 0)
            return -1;
        *at = bound(fd);
        struct found f = {0};
        CHECK_EQ(la_diag_tcp(ALL, at, 1, on_socket, &f), 0);
        if (f.n == 0)
            return fd;
        close(fd); /* an earlier user's connections to this port are still in TIME_WAIT */
    }
}

static struct found ask(uint32_t states, const struct la_addr *to)
{
    struct found f = {0}, p = {0};
    CHECK_EQ(la_diag_tcp(states, to, to ? 1 : 0, on_socket, &f), 0);
    struct la_diag_query q = {.states = states, .to = to, .n = to ? 1 : 0, .cb = on_socket, .arg = &p};
    CHECK_EQ(la_diag_by_proc(&q), 0);
    if (to) { /* nobody else touches these */
        CHECK_EQ(p.n, f.n);
        CHECK(memcmp(p.by_state, f.by_state, sizeof p.by_state) == 0);
        if (f.n == 1) {
            CHECK(la_addr_eq(&p.last.local, &f.last.local) && la_addr_eq(&p.last.remote, &f.last.remote));
            CHECK_EQ(p.last.inode, f.last.inode);
            CHECK_EQ(p.last.uid, f.last.uid);
        }
    }
    return f;
}

struct from_to {
    const struct la_addr *from;
    unsigned *n;
};

static void on_from(void *arg, const struct la_diag_socket *s)
{
    struct from_to *ft = arg;
    *ft->n += la_addr_eq(&s->local, ft->from);
}

/* Opens two connections, then closes one from this side (it stays in TIME_WAIT) and one from the other. */
static void life_of_connections(const char *text)
{
    struct la_addr to;
    char byte;
    int l = listener(text, &to);
    if (l < 0) {
        fprintf(stderr, "%s: not available here, skipped\n", text);
        return;
    }
    int family = la_addr_family(&to), c[2], s[2];
    CHECK_EQ(ask(ALL, &to).n, 0);
    for (int i = 0; i < 2; i++) {
        c[i] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(c[i], &to.u.sa, to.len) == 0);
        s[i] = accept(l, NULL, NULL);
        CHECK(s[i] >= 0);
    }
    struct found f = ask(ALL, &to);
    CHECK_EQ(f.n, 2);
    CHECK_EQ(f.by_state[TCP_ESTABLISHED], 2);
    CHECK(la_addr_eq(&f.last.remote, &to));
    CHECK(f.last.inode != 0);
    CHECK_EQ(f.last.uid, getuid());
    struct la_addr me[2] = {bound(c[0]), bound(c[1])};
    CHECK(la_addr_eq(&f.last.local, &me[0]) || la_addr_eq(&f.last.local, &me[1]));
    CHECK_EQ(ask(1u << TCP_TIME_WAIT, &to).n, 0);
    unsigned accepted = 0;
    struct from_to ft = {&to, &accepted};
    CHECK_EQ(la_diag_tcp(1u << TCP_ESTABLISHED, &me[0], 1, on_from, &ft), 0);
    CHECK_EQ(accepted, 1); /* the other end of ours; strangers may have used this port before */

    shutdown(c[0], SHUT_WR);
    CHECK(read(s[0], &byte, 1) == 0);
    close(s[0]);
    CHECK(read(c[0], &byte, 1) == 0);
    close(s[1]);
    CHECK(read(c[1], &byte, 1) == 0);
    f = ask(ALL, &to);
    CHECK_EQ(f.by_state[TCP_TIME_WAIT], 1);
    CHECK_EQ(f.by_state[TCP_CLOSE_WAIT], 1);
    CHECK_EQ(f.n, 2);
    f = ask(1u << TCP_TIME_WAIT, &to);
    CHECK_EQ(f.n, 1);
    CHECK_EQ(f.last.inode, 0);
    CHECK(la_addr_eq(&f.last.local, &me[0]));
    close(c[0]);
    close(c[1]);
    close(l);
}

/* An IPv6 socket connected to ::ffff:127.0.0.1 uses a port of 127.0.0.1. */
static void mapped(void)
{
    struct la_addr to;
    int l = listener("127.0.0.1:0", &to), c = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(l >= 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = to.u.in.sin_port};
    six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&six.sin6_addr.s6_addr[12], &to.u.in.sin_addr, 4);
    if (c < 0 || connect(c, (struct sockaddr *)&six, sizeof six) != 0) {
        fprintf(stderr, "IPv4 through IPv6: not available here, skipped\n");
    } else {
        struct found f = ask(ALL, &to);
        CHECK_EQ(f.n, 1);
        CHECK_EQ(la_addr_family(&f.last.local), AF_INET);
    }
    close(c);
    close(l);
}

/* One question for more addresses than fit into one, of both families. */
static void several(void)
{
    struct la_addr at[2], to[150];
    int l[2] = {listener("127.0.0.1:0", &at[0]), listener("[::1]:0", &at[1])}, c[2];
    for (size_t i = 0; i < la_count(to); i++)
        to[i] = address(i % 2 ? "[2001:db8::1]:80" : "192.0.2.1:81");
    to[1] = at[0];
    to[149] = at[1];
    for (int i = 0; i < 2; i++) {
        c[i] = l[i] < 0 ? -1 : socket(la_addr_family(&at[i]), SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(l[i] < 0 || connect(c[i], &at[i].u.sa, at[i].len) == 0);
    }
    struct found f = {0}, p = {0};
    CHECK_EQ(la_diag_tcp(ALL, to, la_count(to), on_socket, &f), 0);
    CHECK_EQ(f.by_state[TCP_ESTABLISHED], (l[0] >= 0) + (l[1] >= 0));
    struct la_diag_query q = {.states = ALL, .to = to, .n = la_count(to), .cb = on_socket, .arg = &p};
    CHECK_EQ(la_diag_by_proc(&q), 0);
    CHECK_EQ(p.n, f.n);
    for (int i = 0; i < 2; i++) {
        close(c[i]);
        close(l[i]);
    }
}

/* The kernel does not tell the scope of a socket that no interface is bound to. */
static void scopes(void)
{
    struct la_addr to = address("[fe80::1]:80"), other = address("[fe80::2]:80");
    struct la_diag_socket s = {.remote = to};
    to.u.in6.sin6_scope_id = 3;
    CHECK(la_diag_is_to(&s, &to) && !la_diag_is_to(&s, &other));
    s.remote.u.in6.sin6_scope_id = 4;
    CHECK(!la_diag_is_to(&s, &to));
}

static void everything(void)
{
    struct la_addr at, nowhere = address("unix:/nowhere");
    int l = listener("127.0.0.1:0", &at);
    struct found f = ask(1u << TCP_LISTEN, NULL);
    CHECK(f.n >= 1 && f.by_state[TCP_LISTEN] == f.n);
    CHECK_EQ(la_diag_tcp(ALL, &nowhere, 1, on_socket, &f), -EINVAL);
    close(l);
}

static void host(void)
{
    uint16_t low = 0, high = 0;
    CHECK(la_diag_port_range(&low, &high));
    CHECK(low > 0 && low < high);
    CHECK(la_diag_usable_ports(low, high) <= (unsigned)(high - low) + 1);
    CHECK_EQ(la_diag_usable_ports(2, 1), 0);
    unsigned one_by_one = 0; /* the sum of the parts is the whole */
    for (unsigned p = low; p < low + 100u; p++)
        one_by_one += la_diag_usable_ports((uint16_t)p, (uint16_t)p);
    CHECK_EQ(one_by_one, la_diag_usable_ports(low, (uint16_t)(low + 99)));
    CHECK(la_diag_sysctl("net/ipv4/tcp_fin_timeout", -7) > 0);
    CHECK_EQ(la_diag_sysctl("net/ipv4/no_such_thing", -7), -7);

    const char *yes[] = {"0.0.0.0:1", "127.0.0.1:1", "127.5.6.7:1", "[::]:1", "unix:/x"};
    const char *no[] = {"192.0.2.77:1", "[2001:db8::77]:1"};
    for (size_t i = 0; i < la_count(yes); i++) {
        struct la_addr a = address(yes[i]);
        CHECK(la_diag_address_is_local(&a));
    }
    for (size_t i = 0; i < la_count(no); i++) {
        struct la_addr a = address(no[i]);
        CHECK(!la_diag_address_is_local(&a));
    }
    struct la_addr none = {0};
    CHECK(!la_diag_address_is_local(&none));
}

/* The kernel's tables are read in pieces: where others open and close connections meanwhile, a row may be in two of them
 * or in none. In a network of its own this test is alone; who may not have one shares the host's. */
static void be_alone(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    if (unshare(CLONE_NEWNET) != 0)
        return;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0);
    close(fd);
}

int main(void)
{
    be_alone();
    life_of_connections("127.77.3.9:0");
    life_of_connections("[::1]:0");
    mapped();
    several();
    scopes();
    everything();
    host();
    return TEST_DONE();
}
