/* md5.c: MD5 of one piece of memory. No state, no allocation.
 *
 * It is here because ketama places servers and keys by it; one block at a time, the last one or two padded.
 */
#include "lastack/md5.h"

static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
static uint32_t left(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void block(uint32_t s[4], const uint8_t *p)
{
    uint32_t w[16], a = s[0], b = s[1], c = s[2], d = s[3];
    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] | (uint32_t)p[4 * i + 1] << 8 | (uint32_t)p[4 * i + 2] << 16 |
               (uint32_t)p[4 * i + 3] << 24;
    /* Four steps bring the words back to their places. */
#define STEP(f, a, b, c, d, word, turn, i) a = b + left(a + f(b, c, d) + sines[i] + w[(word) & 15], turn)
#define STEPS(f, first, step, t0, t1, t2, t3)                                                                \
    for (unsigned i = first; i < first + 16; i += 4) {                                                       \
        STEP(f, a, b, c, d, step(i), t0, i);                                                                 \
        STEP(f, d, a, b, c, step(i + 1), t1, i + 1);                                                         \
        STEP(f, c, d, a, b, step(i + 2), t2, i + 2);                                                         \
        STEP(f, b, c, d, a, step(i + 3), t3, i + 3);                                                         \
    }
#define F(x, y, z) (z ^ (x & (y ^ z)))
#define G(x, y, z) (y ^ (z & (x ^ y)))
#define H(x, y, z) (x ^ y ^ z)
#define I(x, y, z) (y ^ (x | ~z))
#define BY_1(i)    (i)
#define BY_5(i)    (5 * (i) + 1)
#define BY_3(i)    (3 * (i) + 5)
#define BY_7(i)    (7 * (i))
    STEPS(F, 0, BY_1, 7, 12, 17, 22)
    STEPS(G, 16, BY_5, 5, 9, 14, 20)
    STEPS(H, 32, BY_3, 4, 11, 16, 23)
    STEPS(I, 48, BY_7, 6, 10, 15, 21)
    s[0] += a;
    s[1] += b;
    s[2] += c;
    s[3] += d;
}

void la_md5(const void *data, size_t n, uint8_t digest[16])
{
    const uint8_t *p = data;
    uint32_t s[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    size_t at = 0;
    for (; n - at >= 64; at += 64)
        block(s, p + at);
    uint8_t last[128] = {0};
    size_t rest = n - at, blocks = rest < 56 ? 1 : 2;
    if (rest)
        memcpy(last, p + at, rest);
    last[rest] = 0x80;
    for (unsigned i = 0; i < 8; i++)
        last[64 * blocks - 8 + i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
    for (size_t i = 0; i < blocks; i++)
        block(s, last + 64 * i);
    for (unsigned i = 0; i < 16; i++)
        digest[i] = (uint8_t)(s[i / 4] >> 8 * (i % 4));
}
