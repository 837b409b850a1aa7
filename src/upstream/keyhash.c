/* keyhash.c: the hash functions that memcached clients choose servers by, bit for bit as libhashkit has them.
 *
 * Where libhashkit adds a plain `char`, bytes above 127 count as negative numbers; keys in UTF-8 show it. */
#include "lastack/md5.h"
#include "lastack/ring.h"

static uint32_t sign(char c)
{
    return (uint32_t)(int32_t)(signed char)c;
}

static uint32_t one_at_a_time(struct la_slice k)
{
    uint32_t v = 0;
    for (size_t i = 0; i < k.n; i++) {
        v += sign(k.p[i]);
        v += v << 10;
        v ^= v >> 6;
    }
    v += v << 3;
    v ^= v >> 11;
    v += v << 15;
    return v;
}

static uint32_t md5(struct la_slice k)
{
    uint8_t d[16];
    la_md5(k.p, k.n, d);
    return (uint32_t)d[3] << 24 | (uint32_t)d[2] << 16 | (uint32_t)d[1] << 8 | d[0];
}

static uint32_t crc32(struct la_slice k)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < k.n; i++) {
        crc ^= (uint8_t)k.p[i];
        for (unsigned b = 0; b < 8; b++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc >> 16 & 0x7fff;
}

static uint32_t fnv1_32(struct la_slice k)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < k.n; i++)
        h = h * 16777619u ^ sign(k.p[i]);
    return h;
}

static uint32_t fnv1a_32(struct la_slice k)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < k.n; i++)
        h = (h ^ sign(k.p[i])) * 16777619u;
    return h;
}

static uint32_t fnv1_64(struct la_slice k)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < k.n; i++)
        h = h * 0x100000001b3u ^ (uint64_t)(int64_t)(signed char)k.p[i];
    return (uint32_t)h;
}

/* Its 64 bits are cut to 32 before the work begins; that is how it is. */
static uint32_t fnv1a_64(struct la_slice k)
{
    uint32_t h = 0x84222325u;
    for (size_t i = 0; i < k.n; i++)
        h = (h ^ sign(k.p[i])) * 0x1b3u;
    return h;
}

static uint32_t murmur(struct la_slice k)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0xdeadbeefu * (uint32_t)k.n ^ (uint32_t)k.n;
    const uint8_t *p = (const uint8_t *)k.p;
    size_t n = k.n;
    for (; n >= 4; n -= 4, p += 4) {
        uint32_t x = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        x *= m;
        x ^= x >> 24;
        x *= m;
        h = h * m ^ x;
    }
    for (size_t i = n; i-- > 0;)
        h ^= (uint32_t)p[i] << 8 * i;
    if (n)
        h *= m;
    h ^= h >> 13;
    h *= m;
    return h ^ h >> 15;
}

uint32_t la_keyhash(enum la_keyhash h, struct la_slice key)
{
    switch (h) {
    case LA_HASH_ONE_AT_A_TIME: return one_at_a_time(key);
    case LA_HASH_MD5: return md5(key);
    case LA_HASH_CRC32: return crc32(key);
    case LA_HASH_FNV1_32: return fnv1_32(key);
    case LA_HASH_FNV1A_32: return fnv1a_32(key);
    case LA_HASH_FNV1_64: return fnv1_64(key);
    case LA_HASH_FNV1A_64: return fnv1a_64(key);
    case LA_HASH_MURMUR: return murmur(key);
    }
    la_assert(!"a hash that there is not");
    return 0;
}
