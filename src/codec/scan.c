/* scan.c: the rarer way of scan.h, eight bytes at a time. It owns nothing. */
#include "codec/scan.h"

#include <endian.h>

/* Control characters (below 0x20, or 0x7f; HTAB too) among the eight bytes of x: high bits. In a borrow chain only
 * bytes above a real hit can be wrong, so the lowest set bit is always right. */
static uint64_t controls(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t del = x ^ (ones * 0x7f);
    return (((x - ones * 0x20) & ~x) | ((del - ones) & ~del)) & high;
}
static uint64_t load8(const char *p)
{
    uint64_t x;
    memcpy(&x, p, 8);
    return le64toh(x);
}

const char *la_char_skip_visible_by8(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t hit = controls(load8(p));
        if (hit != 0)
            return p + (__builtin_ctzll(hit) >> 3);
    }
    while (p < end && (unsigned char)*p >= 0x20 && *p != 0x7f)
        p++;
    return p;
}
