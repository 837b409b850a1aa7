/* scan.h (codec, private): running over bytes quickly, sixteen at a time where the machine can. Nothing here knows what
 * they mean. */
#ifndef LASTACK_CODEC_SCAN_H
#define LASTACK_CODEC_SCAN_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "lastack/base.h"

#ifdef __SSE2__
/* Control characters (below 0x20, or 0x7f; HTAB too) among the sixteen bytes at p: one bit each. */
static inline unsigned la_char_controls16(const char *p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f))));
}
#endif
/* First control character of p[..end), or end. What lies before p, from `from` on, may be loaded along. */
const char *la_char_skip_visible_by8(const char *p, const char *end);
static inline const char *la_char_skip_visible(const char *p, const char *end, const char *from)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        unsigned hit = la_char_controls16(p);
        if (hit != 0)
            return p + __builtin_ctz(hit);
    }
    if (la_likely(end - from >= 16)) {
        unsigned hit = la_char_controls16(end - 16) >> (16 - (end - p));
        return hit != 0 ? p + __builtin_ctz(hit) : end;
    }
#else
    (void)from;
#endif
    return la_char_skip_visible_by8(p, end);
}
/* The first c among the sixteen bytes at p, or NULL. */
static inline const char *la_char_find16(const char *p, char c)
{
#ifdef __SSE2__
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    unsigned hit = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(c)));
    return hit ? p + __builtin_ctz(hit) : NULL;
#else
    return memchr(p, c, 16);
#endif
}
/* Is c among the first n, at most 16, of the sixteen bytes at p? */
static inline bool la_char_has16(const char *p, char c, ptrdiff_t n)
{
#ifdef __SSE2__
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    return ((unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(c))) & ((1u << n) - 1)) != 0;
#else
    return memchr(p, c, (size_t)n) != NULL;
#endif
}
/* First byte of p[..end) that is a space or a control character below it, or end. */
static inline const char *la_char_skip_word(const char *p, const char *end)
{
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        unsigned hit = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(' ')), x));
        if (hit != 0)
            return p + __builtin_ctz(hit);
    }
#endif
    while (p < end && (unsigned char)*p > ' ')
        p++;
    return p;
}

#endif
