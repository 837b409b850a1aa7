/* memcached_reply.c: a server's bytes to the pieces of a reply: lines, and data blocks whose length says
 * where they end.
 *
 * Owns nothing but where in a reply it is. Never looks for line ends in data. What is not the protocol is
 * BAD: the caller gives the connection up, because from there on nothing can be matched to a command. Works
 * at any split of the input. */
#include "lastack/memcached.h"

#include "codec/scan.h"

void la_memc_reply_init(struct la_memc_reply *r, enum la_memc_expect e)
{
    *r = (struct la_memc_reply){.expect = e};
}

static bool starts(struct la_slice s, const char *word)
{
    size_t n = strlen(word);
    return s.n >= n && memcmp(s.p, word, n) == 0;
}

static struct la_slice word(struct la_slice *s)
{
    struct la_slice w;
    la_memc_next_key(s, &w);
    return w;
}

/* Digits of p[..end), at most `most` of them; NULL: none, or too many. At the end of what is there more may come. */
static const char *number(const char *p, const char *end, ptrdiff_t most, uint64_t *out)
{
    const char *from = p;
    *out = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++)
        *out = *out * 10 + (uint64_t)(*p - '0');
    return (p > from || p == end) && p - from <= most ? p : NULL;
}

static bool is_number(struct la_slice s, ptrdiff_t most, uint64_t *out)
{
    return s.n > 0 && number(s.p, s.p + s.n, most, out) == s.p + s.n;
}

static bool is_error(struct la_slice line)
{
    if (line.n == 0 || (line.p[0] != 'E' && line.p[0] != 'C' && line.p[0] != 'S'))
        return false;
    struct la_slice first = word(&line);
    return (la_slice_eq(first, LA_SLICE("ERROR")) && line.n == 0) || la_slice_eq(first, LA_SLICE("CLIENT_ERROR")) ||
           la_slice_eq(first, LA_SLICE("SERVER_ERROR"));
}

#define SIZE_DIGITS   10
#define NUMBER_DIGITS 20 /* flags, and what cas compares */

static enum la_memc_piece begin_data(struct la_memc_reply *r, struct la_memc_line *l)
{
    if (l->size > LA_MEMC_DATA_MAX)
        return LA_MEMC_PIECE_BAD;
    r->left = l->size + 2;
    return LA_MEMC_PIECE_VALUE;
}

/* VALUE key flags bytes [cas]: the commonest line, in one go over it. NULL: it is none. end: its line end may yet come. */
static const char *value_line(const char *p, const char *end, struct la_memc_line *l)
{
    const char *at = la_char_skip_word(p + 6, end);
    uint64_t unused;
    l->key = la_slice(p + 6, (size_t)(at - p - 6));
    l->rest.p = at;
    if (l->key.n == 0)
        return at == end ? end : NULL;
    for (int i = 0; i < 3 && at < end; i++) {
        if (i == 2 && *at == '\r')
            break;
        if (*at++ != ' ' || (at = number(at, end, i == 1 ? SIZE_DIGITS : NUMBER_DIGITS, i == 1 ? &l->size : &unused)) == NULL)
            return NULL;
    }
    l->rest.n = (size_t)(at - l->rest.p);
    if (at < end && *at++ != '\r')
        return NULL;
    return at == end ? end : *at == '\n' ? at : NULL;
}

static enum la_memc_piece judge(struct la_memc_reply *r, struct la_slice line, struct la_memc_line *l)
{
    struct la_slice rest = line;
    if (is_error(line))
        return LA_MEMC_PIECE_ERROR;
    switch (r->expect) {
    case LA_MEMC_EXPECT_LINE:
        return line.n && !starts(line, "VALUE ") && !starts(line, "VA ") ? LA_MEMC_PIECE_LAST
                                                                         : LA_MEMC_PIECE_BAD;
    case LA_MEMC_EXPECT_VALUES:
        return la_slice_eq(line, LA_SLICE("END")) ? LA_MEMC_PIECE_LAST : LA_MEMC_PIECE_BAD;
    case LA_MEMC_EXPECT_STATS:
        if (starts(line, "STAT ") || starts(line, "ITEM ") || starts(line, "PREFIX "))
            return LA_MEMC_PIECE_STAT;
        return line.n && !starts(line, "VA") ? LA_MEMC_PIECE_LAST : LA_MEMC_PIECE_BAD;
    case LA_MEMC_EXPECT_META:
        if (starts(line, "VA ")) {
            word(&rest);
            struct la_slice size = word(&rest);
            l->rest = rest;
            return is_number(size, SIZE_DIGITS, &l->size) ? begin_data(r, l) : LA_MEMC_PIECE_BAD;
        }
        return line.n >= 2 && !starts(line, "VALUE ") ? LA_MEMC_PIECE_LAST : LA_MEMC_PIECE_BAD;
    }
    return LA_MEMC_PIECE_BAD;
}

static enum la_memc_piece feed_data(struct la_memc_reply *r, const char *p, size_t n, size_t *used,
                                    struct la_memc_line *l)
{
    size_t take = la_min64(n, r->left), data = r->left > 2 ? r->left - 2 : 0; /* then the line end */
    for (size_t i = data; i < take; i++)
        if (p[i] != (r->left - i == 2 ? '\r' : '\n'))
            return LA_MEMC_PIECE_BAD;
    l->bytes = la_slice(p, take);
    r->left -= take;
    *used = take;
    if (r->left == 0 && r->expect == LA_MEMC_EXPECT_META)
        return LA_MEMC_PIECE_LAST;
    return LA_MEMC_PIECE_DATA;
}

enum la_memc_piece la_memc_reply_feed(struct la_memc_reply *r, const char *p, size_t n, size_t *used,
                                      struct la_memc_line *l)
{
    memset(l, 0, sizeof *l);
    *used = 0;
    if (n == 0)
        return LA_MEMC_PIECE_NONE;
    if (r->left)
        return feed_data(r, p, n, used, l);
    bool value = r->expect == LA_MEMC_EXPECT_VALUES && starts(la_slice(p, n), "VALUE ");
    const char *end = value ? value_line(p, p + n, l) : memchr(p + r->seen, '\n', n - r->seen);
    if (value && end == NULL)
        return LA_MEMC_PIECE_BAD;
    if (end == NULL || end == p + n) {
        r->seen = n;
        return n >= LA_MEMC_REPLY_MAX ? LA_MEMC_PIECE_BAD : LA_MEMC_PIECE_NONE;
    }
    r->seen = 0;
    size_t line = (size_t)(end - p);
    if (line >= LA_MEMC_REPLY_MAX || line == 0 || p[line - 1] != '\r')
        return LA_MEMC_PIECE_BAD;
    *used = line + 1;
    l->bytes = la_slice(p, line + 1);
    return value ? begin_data(r, l) : judge(r, la_slice(p, line - 1), l);
}

bool la_memc_answers(enum la_memc_verb v, struct la_slice line)
{
    static const char *const words[LA_MEMC_VERB_COUNT] = {
        [LA_MEMC_SET] = "STORED ",
        [LA_MEMC_ADD] = "STORED NOT_STORED ",
        [LA_MEMC_REPLACE] = "STORED NOT_STORED ",
        [LA_MEMC_APPEND] = "STORED NOT_STORED ",
        [LA_MEMC_PREPEND] = "STORED NOT_STORED ",
        [LA_MEMC_CAS] = "STORED NOT_STORED EXISTS NOT_FOUND ",
        [LA_MEMC_INCR] = "NOT_FOUND ",
        [LA_MEMC_DECR] = "NOT_FOUND ",
        [LA_MEMC_TOUCH] = "TOUCHED NOT_FOUND ",
        [LA_MEMC_DELETE] = "DELETED NOT_FOUND ",
        [LA_MEMC_FLUSH_ALL] = "OK ",
        [LA_MEMC_VERBOSITY] = "OK ",
        [LA_MEMC_VERSION] = "VERSION ",
        [LA_MEMC_STATS] = "END RESET OK STAT ",
        [LA_MEMC_MG] = "HD EN ",
        [LA_MEMC_MS] = "HD NS EX NF ",
        [LA_MEMC_MD] = "HD NS EX NF ",
        [LA_MEMC_MA] = "HD NS EX NF ",
        [LA_MEMC_ME] = "ME EN ",
    };
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    struct la_slice first = word(&line);
    uint64_t unused;
    if ((v == LA_MEMC_INCR || v == LA_MEMC_DECR) && is_number(first, NUMBER_DIGITS, &unused))
        return word(&line).n == 0;
    struct la_slice all = la_slice_str(words[v] ? words[v] : ""), one;
    if (all.n == 0) /* its form has been judged already */
        return true;
    bool alone = first.n > 2 && v != LA_MEMC_VERSION && v != LA_MEMC_STATS;
    while ((one = word(&all)).n)
        if (la_slice_eq(one, first))
            return !alone || line.n == 0;
    return false;
}

struct la_slice la_memc_flag(struct la_slice flags, char flag)
{
    struct la_slice t;
    while ((t = word(&flags)).n)
        if (t.p[0] == flag)
            return la_slice(t.p + 1, t.n - 1);
    return (struct la_slice){0};
}

/* The key that a meta line names, without its encoding. */
static struct la_slice plain_key(struct la_slice key, struct la_slice flags, char *buf)
{
    size_t n;
    if (la_memc_flag(flags, 'b').p && la_base64_decode(key, buf, LA_MEMC_KEY_MAX, &n))
        return la_slice(buf, n);
    return key;
}

bool la_memc_meta_matches(struct la_slice asked, struct la_slice flags)
{
    char a[LA_MEMC_KEY_MAX], b[LA_MEMC_KEY_MAX];
    struct la_slice opaque = la_memc_flag(flags, 'O'), key = la_memc_flag(flags, 'k');
    if (opaque.p == NULL && key.p == NULL)
        return true;
    const char *end = memchr(asked.p, '\r', asked.n);
    asked.n = end ? (size_t)(end - asked.p) : asked.n;
    word(&asked);
    struct la_slice wanted = word(&asked), wanted_opaque = la_memc_flag(asked, 'O');
    if (opaque.p && (wanted_opaque.p == NULL || !la_slice_eq(opaque, wanted_opaque)))
        return false;
    return key.p == NULL || (la_memc_flag(asked, 'k').p &&
                             la_slice_eq(plain_key(key, flags, a), plain_key(wanted, asked, b)));
}

bool la_memc_quiet_hides(enum la_memc_verb v, struct la_slice line)
{
    switch (v) {
    case LA_MEMC_MG: return starts(line, "EN");
    case LA_MEMC_MS:
    case LA_MEMC_MD: return starts(line, "HD");
    case LA_MEMC_MA: return starts(line, "HD") || starts(line, "VA");
    default: return false;
    }
}

/* ---- base64 ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t la_base64_encode(struct la_slice in, char *out, size_t cap)
{
    size_t n = 0;
    if ((in.n + 2) / 3 * 4 > cap)
        return 0;
    for (size_t i = 0; i < in.n; i += 3) {
        uint32_t v = (uint32_t)(uint8_t)in.p[i] << 16;
        if (i + 1 < in.n)
            v |= (uint32_t)(uint8_t)in.p[i + 1] << 8;
        if (i + 2 < in.n)
            v |= (uint8_t)in.p[i + 2];
        out[n++] = alphabet[v >> 18];
        out[n++] = alphabet[v >> 12 & 63];
        out[n++] = i + 1 < in.n ? alphabet[v >> 6 & 63] : '=';
        out[n++] = i + 2 < in.n ? alphabet[v & 63] : '=';
    }
    return n;
}

bool la_base64_decode(struct la_slice in, char *out, size_t cap, size_t *n)
{
    *n = 0;
    if (in.n == 0 || in.n % 4)
        return false;
    for (size_t i = 0; i < in.n; i += 4) {
        uint32_t v = 0;
        unsigned pad = 0;
        for (unsigned k = 0; k < 4; k++) {
            char c = in.p[i + k];
            const char *at = c ? strchr(alphabet, c) : NULL;
            if (c == '=' && i + 4 == in.n && k >= 2)
                pad++;
            else if (at == NULL || pad)
                return false;
            v = v << 6 | (at ? (uint32_t)(at - alphabet) : 0);
        }
        if (cap - *n < 3 - pad)
            return false;
        for (unsigned k = 0; k < 3 - pad; k++)
            out[(*n)++] = (char)(v >> (16 - 8 * k));
    }
    return true;
}
