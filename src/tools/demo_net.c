/* demo_net.c: network namespaces for the demo, and the veth pairs between them, through rtnetlink.
 *
 * Owns nothing that outlives the processes: a namespace goes with its last process and takes its interfaces
 * along, so there is nothing to clean up, whatever way the demo ends. Never touches the namespace that the
 * demo was started in.
 *
 * Good path: the demo's process enters a namespace, its two helpers one each; a wire to each helper;
 * addresses; sysctls. Failures (no permission, no veth): false with errno, and the demo falls back to
 * loopback. Single-threaded processes only. */
#include "tools/demo_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- rtnetlink ---- */

struct message {
    struct nlmsghdr h;
    char body[512];
};

static void *reserve(struct message *m, size_t n)
{
    size_t at = NLMSG_ALIGN(m->h.nlmsg_len);
    la_assert(at + n <= sizeof(*m));
    m->h.nlmsg_len = (uint32_t)(at + n);
    return (char *)m + at;
}

static void begin(struct message *m, uint16_t type, uint16_t flags, const void *head, size_t n)
{
    memset(m, 0, sizeof(*m));
    m->h.nlmsg_len = NLMSG_HDRLEN;
    m->h.nlmsg_type = type;
    m->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    memcpy(reserve(m, n), head, n);
}

static struct rtattr *put(struct message *m, uint16_t type, const void *value, size_t n)
{
    struct rtattr *a = reserve(m, RTA_LENGTH(n));
    a->rta_type = type;
    a->rta_len = (uint16_t)RTA_LENGTH(n);
    if (n)
        memcpy(RTA_DATA(a), value, n);
    return a;
}

static void put_end(struct message *m, struct rtattr *nest)
{
    nest->rta_len = (uint16_t)((char *)m + NLMSG_ALIGN(m->h.nlmsg_len) - (char *)nest);
}

/* Sends and waits for the kernel's word. */
static bool ask(struct message *m)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return false;
    struct {
        struct nlmsghdr h;
        struct nlmsgerr e;
        char rest[1024];
    } answer;
    bool sent = send(fd, m, m->h.nlmsg_len, 0) == (ssize_t)m->h.nlmsg_len;
    ssize_t n = sent ? recv(fd, &answer, sizeof(answer), 0) : -1;
    int why = n < 0 ? errno : answer.h.nlmsg_type == NLMSG_ERROR ? -answer.e.error : EPROTO;
    close(fd);
    errno = why;
    return why == 0;
}

static bool set_up(const char *name)
{
    struct ifinfomsg link = {
        .ifi_index = (int)if_nametoindex(name), .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct message m;
    begin(&m, RTM_NEWLINK, 0, &link, sizeof(link));
    return link.ifi_index != 0 && ask(&m);
}

static bool add_address(const char *name, unsigned index, unsigned last)
{
    struct ifaddrmsg address = {
        .ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = if_nametoindex(name)};
    uint8_t ip[4] = {10, 77, (uint8_t)index, (uint8_t)last};
    struct message m;
    begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &address, sizeof(address));
    put(&m, IFA_LOCAL, ip, sizeof(ip));
    put(&m, IFA_ADDRESS, ip, sizeof(ip));
    return address.ifa_index != 0 && ask(&m) && set_up(name);
}

bool demo_net_wire(pid_t peer, unsigned index)
{
    char name[IFNAMSIZ];
    snprintf(name, sizeof(name), "wire%u", index);
    struct ifinfomsg link = {0};
    uint32_t pid = (uint32_t)peer;
    struct message m;
    begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof(link));
    put(&m, IFLA_IFNAME, name, strlen(name) + 1);
    struct rtattr *info = put(&m, IFLA_LINKINFO, NULL, 0);
    put(&m, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = put(&m, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *other = put(&m, VETH_INFO_PEER, NULL, 0);
    memcpy(reserve(&m, sizeof(link)), &link, sizeof(link));
    put(&m, IFLA_IFNAME, "wire", 5);
    put(&m, IFLA_NET_NS_PID, &pid, sizeof(pid));
    put_end(&m, other);
    put_end(&m, data);
    put_end(&m, info);
    return ask(&m) && add_address(name, index, 1);
}

/* ---- namespaces ---- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int why = errno;
    close(fd);
    errno = why;
    return good;
}

bool demo_net_loopback_up(void)
{
    return set_up("lo");
}

bool demo_net_enter(bool may_be_root)
{
    if (unshare(CLONE_NEWNET) == 0)
        return demo_net_loopback_up();
    if (!may_be_root)
        return false;
    char uid[64], gid[64];
    snprintf(uid, sizeof(uid), "0 %u 1", (unsigned)geteuid());
    snprintf(gid, sizeof(gid), "0 %u 1", (unsigned)getegid());
    return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && write_file("/proc/self/setgroups", "deny") &&
           write_file("/proc/self/uid_map", uid) && write_file("/proc/self/gid_map", gid) &&
           demo_net_loopback_up();
}

bool demo_net_inside(unsigned index)
{
    char range[32];
    snprintf(range, sizeof(range), "%d %d", DEMO_PORT_LOW, DEMO_PORT_HIGH);
    return write_file("/proc/sys/net/ipv4/tcp_tw_reuse", "0") &&
           write_file("/proc/sys/net/ipv4/ip_local_port_range", range) && add_address("wire", index, 2);
}
