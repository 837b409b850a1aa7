/* diag.h (layer: io): what the kernel knows of sockets and ports on this host: sock_diag(7) and /proc/sys. Blocking;
 * main thread and tools only, but for la_diag_unix_peer. */
#ifndef LASTACK_DIAG_H
#define LASTACK_DIAG_H

#include "lastack/addr.h"

struct la_diag_socket {
    struct la_addr local, remote;
    uint8_t state; /* TCP_ESTABLISHED (1), TCP_TIME_WAIT (6), ... as in <netinet/tcp.h> */
    uint32_t uid;
    uint64_t inode; /* 0 for TIME_WAIT */
};
#define LA_DIAG_HOLD_PORTS (0xffeu & ~(1u << 10 | 1u << 7)) /* states: all but TCP_LISTEN and TCP_CLOSE */
/* Is this socket's remote `to`? An IPv6 scope that one of them does not tell fits any. */
bool la_diag_is_to(const struct la_diag_socket *s, const struct la_addr *to);
/* Calls cb for every TCP socket whose state is in the mask (1 << state) and whose remote is one of the n addresses and ports at
 * `to` (n 0: all), filtered in the kernel where it can. The kernel walks its whole table of connections for it, some milliseconds,
 * once or twice for every 64 addresses: ask for many at once. Returns 0 or -errno. */
int la_diag_tcp(uint32_t states, const struct la_addr *to, size_t n, void (*cb)(void *arg, const struct la_diag_socket *s), void *arg);

/* The other end of a connected Unix socket. False: not known here. Answered at once; for any thread, now and then. */
struct la_diag_peer {
    bool accepted;
    uint32_t unread; /* bytes we sent; only of one that is accepted */
};
bool la_diag_unix_peer(int fd, struct la_diag_peer *out);

/* net.ipv4.ip_local_port_range; false when unreadable. */
bool la_diag_port_range(uint16_t *low, uint16_t *high);
/* How many ports of [low, high] are not in net.ipv4.ip_local_reserved_ports. */
unsigned la_diag_usable_ports(uint16_t low, uint16_t high);
/* Reads an integer from a /proc/sys path ("net/ipv4/tcp_tw_reuse"); def when unreadable. */
long la_diag_sysctl(const char *path, long def);
/* Is this address assigned to an interface of this host (any-address and loopback nets included)? */
bool la_diag_address_is_local(const struct la_addr *a);

#endif
