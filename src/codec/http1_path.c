/* http1_path.c: the path of a target as routing should see it.
 *
 * Two spellings of one resource must match the same route, and one spelling must not mean two resources to
 * proxy and backend. So: unreserved characters are decoded, dot segments resolved, nothing else is touched.
 * What a backend that decodes, splits or merges further would resolve differently ("..%2f", "..;", "//..",
 * ".;/") is refused. The request is forwarded with the target as it came; this text is only for matching. */
#include "lastack/http1.h"

#include "codec/http1_chars.h"

struct path {
    char *out;
    size_t n, cap;
};

static bool put(struct path *path, char c)
{
    if (path->n == path->cap)
        return false;
    path->out[path->n++] = c;
    return true;
}

/* One octet of the input, decoded where that is safe. Returns the next place, or NULL. */
static const char *put_octet(struct path *path, const char *p, const char *end)
{
    if (*p != '%') {
        if (!la_char_is(*p, LA_CHAR_PATH))
            return NULL;
        return put(path, *p) ? p + 1 : NULL;
    }
    if (end - p < 3 || !la_char_is(p[1], LA_CHAR_HEX) || !la_char_is(p[2], LA_CHAR_HEX))
        return NULL;
    unsigned octet = la_char_hex(p[1]) << 4 | la_char_hex(p[2]);
    if (octet == 0)
        return NULL;
    if (la_char_is((char)octet, LA_CHAR_UNRESERVED))
        return put(path, (char)octet) ? p + 3 : NULL;
    const char *upper = "0123456789ABCDEF";
    return put(path, '%') && put(path, upper[octet >> 4]) && put(path, upper[octet & 15]) ? p + 3 : NULL;
}

/* Does a reader who also splits at "%2F", "%5C" and ";" find ".." in this segment? */
static bool hides_dots(const char *p, size_t n)
{
    size_t part = 0;
    for (size_t i = 0; i <= n; i++) {
        bool encoded = i + 3 <= n && (memcmp(p + i, "%2F", 3) == 0 || memcmp(p + i, "%5C", 3) == 0);
        if (i < n && p[i] != ';' && !encoded)
            continue;
        if (i - part == 2 && p[part] == '.' && p[part + 1] == '.')
            return true;
        if (encoded)
            i += 2;
        part = i + 1;
    }
    return false;
}

/* Is nothing left of this segment for a reader who takes away what follows ";"? Its slash may be the one of a session id. */
static bool vanishes(const char *p, size_t n, bool last)
{
    size_t dot = n > 0 && p[0] == '.';
    return !last && n > dot && p[dot] == ';';
}

/* The segment that starts at `start` (behind its slash) is complete; `last`: no slash follows. */
static bool finish_segment(struct path *path, size_t start, bool last)
{
    const char *p = path->out + start;
    size_t n = path->n - start;
    if (n == 1 && p[0] == '.') {
        path->n = start - (last ? 0 : 1);
        return true;
    }
    if (n != 2 || p[0] != '.' || p[1] != '.')
        return !hides_dots(p, n) && !vanishes(p, n, last);
    if (start == 1 || path->out[start - 2] == '/')
        return false;         /* above the root, or of an empty segment, which some merge */
    size_t slash = start - 2; /* the slash that opened the segment before */
    while (path->out[slash] != '/')
        slash--;
    path->n = slash + (last ? 1 : 0);
    return true;
}

size_t la_http_normalize_path(struct la_slice target, char *out, size_t cap)
{
    struct path path = {out, 0, cap};
    const char *p = target.p, *end = target.p + target.n;
    const char *query = target.n > 0 ? memchr(p, '?', target.n) : NULL;
    if (query != NULL)
        end = query;
    if (p == end || *p != '/')
        return 0;
    while (p < end) {
        if (!put(&path, *p++)) /* the slash */
            return 0;
        size_t start = path.n;
        while (p < end && *p != '/') {
            p = put_octet(&path, p, end);
            if (p == NULL)
                return 0;
        }
        if (!finish_segment(&path, start, p == end))
            return 0;
    }
    return path.n;
}
