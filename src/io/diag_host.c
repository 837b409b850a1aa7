/* diag_host.c: this host's ports and addresses: the sysctls that decide which local ports exist, and which
 * addresses are assigned.
 *
 * Owns nothing and remembers nothing: each call reads again. Never writes a sysctl. Blocking (files in /proc,
 * one netlink question of the C library): main thread and tools only.
 *
 * Nothing here is an error to the caller: what cannot be read is the given default, "no" or "nothing
 * reserved". */
#include "lastack/diag.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

static FILE *sysctl_open(const char *path)
{
    char full[256];
    int n = snprintf(full, sizeof full, "/proc/sys/%s", path);
    return n < 0 || (size_t)n >= sizeof full ? NULL : fopen(full, "re");
}

bool la_diag_port_range(uint16_t *low, uint16_t *high)
{
    FILE *f = sysctl_open("net/ipv4/ip_local_port_range");
    if (f == NULL)
        return false;
    unsigned a = 0, b = 0;
    bool ok = fscanf(f, "%u %u", &a, &b) == 2 && a > 0 && a <= b && b <= 65535;
    fclose(f);
    if (ok) {
        *low = (uint16_t)a;
        *high = (uint16_t)b;
    }
    return ok;
}

unsigned la_diag_usable_ports(uint16_t low, uint16_t high)
{
    unsigned n = (unsigned)(high - low) + 1, a, b;
    if (low > high)
        return 0;
    FILE *f = sysctl_open("net/ipv4/ip_local_reserved_ports");
    if (f == NULL)
        return n;
    /* "8080,9148-9150": sorted, without overlaps, as the kernel prints its bit map. */
    while (fscanf(f, "%u", &a) == 1) {
        int c = getc(f);
        b = a;
        if (c == '-' && fscanf(f, "%u", &b) == 1)
            c = getc(f);
        unsigned from = a > low ? a : low, to = b < high ? b : high;
        if (from <= to)
            n -= to - from + 1;
        if (c != ',')
            break;
    }
    fclose(f);
    return n;
}

long la_diag_sysctl(const char *path, long def)
{
    FILE *f = sysctl_open(path);
    if (f == NULL)
        return def;
    long value = def;
    if (fscanf(f, "%ld", &value) != 1)
        value = def;
    fclose(f);
    return value;
}

static bool same_net(const void *a, const void *b, const void *mask, size_t n)
{
    const uint8_t *x = a, *y = b, *m = mask;
    for (size_t i = 0; i < n; i++)
        if ((x[i] ^ y[i]) & (m ? m[i] : 0xff))
            return false;
    return true;
}

/* An interface answers for its own address, a loopback interface for its whole IPv4 network. */
static bool assigned(const struct la_addr *a, const struct ifaddrs *i)
{
    if (i->ifa_addr == NULL || i->ifa_addr->sa_family != la_addr_family(a))
        return false;
    struct la_addr have;
    if (la_addr_family(a) == AF_INET) {
        la_addr_from_sockaddr(&have, i->ifa_addr, sizeof(struct sockaddr_in));
        const void *mask = NULL;
        struct sockaddr_in net;
        if ((i->ifa_flags & IFF_LOOPBACK) && i->ifa_netmask) {
            memcpy(&net, i->ifa_netmask, sizeof net);
            mask = &net.sin_addr;
        }
        return same_net(&have.u.in.sin_addr, &a->u.in.sin_addr, mask, 4);
    }
    la_addr_from_sockaddr(&have, i->ifa_addr, sizeof(struct sockaddr_in6));
    uint32_t scope = a->u.in6.sin6_scope_id;
    return same_net(&have.u.in6.sin6_addr, &a->u.in6.sin6_addr, NULL, 16) &&
           (scope == 0 || have.u.in6.sin6_scope_id == 0 || scope == have.u.in6.sin6_scope_id);
}

bool la_diag_address_is_local(const struct la_addr *a)
{
    int family = la_addr_family(a);
    if (family == AF_UNIX)
        return true;
    if (family != AF_INET && family != AF_INET6)
        return false;
    if (family == AF_INET ? a->u.in.sin_addr.s_addr == htonl(INADDR_ANY)
                          : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr))
        return true;
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return false;
    bool found = false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        found = assigned(a, i);
    freeifaddrs(all);
    return found;
}
