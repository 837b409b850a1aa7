/* memcached_request.c: a client's command line to its meaning, and back to a line for a server.
 *
 * Owns: what counts as a command. Never: the data block (its length is known here, its bytes are the
 * caller's).
 *
 * What is forwarded must be beyond doubt: a storage command that the server refuses for its form would leave
 * its data to be taken for commands. So numbers are digits within the server's own bounds, keys have no
 * control characters, and a line whose length cannot be read ends the connection. One pass, nothing kept
 * between calls but *seen. */
#include "lastack/memcached.h"

#include "codec/scan.h"

static const struct {
    const char *name;
    enum la_memc_shape shape;
} verbs[LA_MEMC_VERB_COUNT] = {
#define X(id, name, shape) [LA_MEMC_##id] = {name, LA_MEMC_SHAPE_##shape},
    LA_MEMC_VERBS(X)
#undef X
};

const char *la_memc_verb_name(enum la_memc_verb v)
{
    return verbs[v].name;
}

enum la_memc_shape la_memc_verb_shape(enum la_memc_verb v)
{
    return verbs[v].shape;
}

static const char BAD_FORMAT[] = "CLIENT_ERROR bad command line format";
static const char BAD_CHUNK[] = "CLIENT_ERROR bad data chunk";
static const char TOO_LONG[] = "CLIENT_ERROR line too long";

static enum la_memc_result bad(struct la_memc_fault *f, const char *text, bool close)
{
    f->text = text;
    f->close = close;
    return LA_MEMC_BAD;
}

/* Takes the next token off *s. */
static struct la_slice token(struct la_slice *s)
{
    if (s->n == 0)
        return (struct la_slice){s->p, 0};
    const char *p = s->p, *end = p + s->n;
    while (p < end && *p == ' ')
        p++;
    const char *from = p, *space = NULL;
    for (; end - p >= 16 && (space = la_char_find16(p, ' ')) == NULL; p += 16)
        continue;
    for (p = space ? space : p; p < end && *p != ' '; p++)
        continue;
    *s = (struct la_slice){p, (size_t)(end - p)};
    return (struct la_slice){from, (size_t)(p - from)};
}

static bool printable(struct la_slice s)
{
    return la_char_skip_visible(s.p, s.p + s.n, s.p) == s.p + s.n;
}

/* Digits only, at most max. */
static bool number(struct la_slice s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned)(s.p[i] - '0');
        if (d > 9 || v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (out)
        *out = v;
    return v <= max;
}

static bool exptime(struct la_slice s)
{
    if (s.n && s.p[0] == '-')
        return number(la_slice(s.p + 1, s.n - 1), INT32_MAX, NULL);
    return number(s, INT32_MAX, NULL);
}

static bool key_ok(struct la_slice k)
{
    return k.n > 0 && k.n <= LA_MEMC_KEY_MAX;
}

bool la_memc_next_key(struct la_slice *keys, struct la_slice *key)
{
    *key = token(keys);
    return key->n > 0;
}

/* ---- shapes ---- */

static enum la_memc_result parse_keys(struct la_memc_request *r, struct la_slice rest, struct la_memc_fault *f)
{
    if (r->verb == LA_MEMC_GAT || r->verb == LA_MEMC_GATS) {
        r->before = token(&rest);
        if (r->before.n == 0)
            return bad(f, "ERROR", false);
        if (!exptime(r->before))
            return bad(f, "CLIENT_ERROR invalid exptime argument", false);
    }
    r->keys = rest;
    struct la_slice all = rest, key;
    while (la_memc_next_key(&all, &key)) {
        if (!key_ok(key))
            return bad(f, BAD_FORMAT, false);
        if (r->keys_n++ == 0)
            r->key = key;
    }
    return r->key.n ? LA_MEMC_DONE : bad(f, "ERROR", false);
}

static bool ends_noreply(struct la_slice s)
{
    struct la_slice t, last = {0};
    while ((t = token(&s)).n)
        last = t;
    return la_slice_eq(last, LA_SLICE("noreply"));
}

static enum la_memc_result parse_store(struct la_memc_request *r, struct la_slice rest, struct la_memc_fault *f)
{
    r->key = token(&rest);
    r->after = rest;
    struct la_slice flags = token(&rest), expiry = token(&rest), bytes = token(&rest);
    struct la_slice cas = r->verb == LA_MEMC_CAS ? token(&rest) : (struct la_slice){0};
    struct la_slice last = token(&rest), more = token(&rest);
    if (bytes.n == 0 || (r->verb == LA_MEMC_CAS && cas.n == 0))
        return bad(f, "ERROR", false); /* as memcached: too few words are no command */
    if (!number(bytes, UINT64_MAX, &r->bytes))
        return bad(f, BAD_FORMAT, true);
    if (r->bytes > LA_MEMC_DATA_MAX)
        return bad(f, BAD_CHUNK, true);
    r->has_data = true;
    r->noreply = more.n == 0 && la_slice_eq(last, LA_SLICE("noreply"));
    f->noreply = r->noreply;
    f->swallow = r->bytes + 2;
    if (!key_ok(r->key) || !number(flags, UINT32_MAX, NULL) || !exptime(expiry) ||
        (r->verb == LA_MEMC_CAS && !number(cas, UINT64_MAX, NULL)) || (last.n && !r->noreply) || more.n)
        return bad(f, BAD_FORMAT, false);
    return LA_MEMC_DONE;
}

static enum la_memc_result parse_key(struct la_memc_request *r, struct la_slice rest, struct la_memc_fault *f)
{
    r->key = token(&rest);
    r->after = rest;
    if (r->key.n == 0)
        return bad(f, "ERROR", false);
    if (!key_ok(r->key))
        return bad(f, BAD_FORMAT, false);
    r->noreply = ends_noreply(rest);
    return LA_MEMC_DONE;
}

#define META_FLAGS_MAX 16 /* of more a server says that they are too many, and reads the data of ms as commands */

/* Letters, each once, each with what it carries. What is wrong with them; NULL: nothing. */
static const char *meta_flags(struct la_memc_request *r, struct la_slice rest)
{
    static const char invalid[] = "CLIENT_ERROR invalid or duplicate flag";
    uint64_t seen[2] = {0};
    struct la_slice t;
    for (int n = 0; (t = token(&rest)).n; n++) {
        unsigned char c = (unsigned char)t.p[0];
        if (n == META_FLAGS_MAX)
            return "CLIENT_ERROR options flags too long";
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) || (seen[c >> 6] >> (c & 63) & 1))
            return invalid;
        seen[c >> 6] |= 1ull << (c & 63);
        if (strchr("bckqstvf", c) && t.n != 1)
            return invalid;
        if (c == 'O' && (t.n > 32 || t.n < 2))
            return invalid;
        r->quiet |= c == 'q';
        r->base64 |= c == 'b';
        r->wants_key |= c == 'k';
    }
    return NULL;
}

static enum la_memc_result parse_meta(struct la_memc_request *r, struct la_slice rest, struct la_memc_fault *f)
{
    bool store = r->verb == LA_MEMC_MS;
    char plain[LA_MEMC_KEY_MAX];
    size_t n;
    r->key = token(&rest);
    if (r->key.n == 0)
        return bad(f, "ERROR", store);
    if (store) {
        struct la_slice bytes = token(&rest);
        if (!number(bytes, UINT64_MAX, &r->bytes))
            return bad(f, BAD_FORMAT, true);
        if (r->bytes > LA_MEMC_DATA_MAX)
            return bad(f, BAD_CHUNK, true);
        r->has_data = true;
        f->swallow = r->bytes + 2;
    }
    r->after = rest;
    if (!key_ok(r->key))
        return bad(f, BAD_FORMAT, false);
    bool debug = r->verb == LA_MEMC_ME; /* b, as its first word, is the only one that it knows */
    const char *wrong = debug ? NULL : meta_flags(r, rest);
    if (wrong)
        return bad(f, wrong, false);
    if (debug)
        r->base64 = la_slice_eq(token(&rest), LA_SLICE("b"));
    if (r->base64 && !la_base64_decode(r->key, plain, sizeof plain, &n))
        return bad(f, debug ? BAD_FORMAT : "CLIENT_ERROR error decoding key", false);
    return LA_MEMC_DONE;
}

/* ---- the line ---- */

/* What follows a request of another protocol is not ours to run: its body may be chosen by a third party. */
static bool is_http(struct la_slice line)
{
    static const char *const methods[] = {"GET ",     "POST ",    "PUT ",   "HEAD ", "DELETE ",
                                          "OPTIONS ", "CONNECT ", "PATCH ", "PRI "};
    struct la_slice t, last = {0};
    if (line.n == 0 || line.p[0] < 'A' || line.p[0] > 'Z')
        return false;
    for (size_t i = 0; i < la_count(methods); i++)
        if (line.n > strlen(methods[i]) && memcmp(line.p, methods[i], strlen(methods[i])) == 0)
            return true;
    while ((t = token(&line)).n)
        last = t;
    return last.n > 5 && memcmp(last.p, "HTTP/", 5) == 0;
}

/* No text begins so: TLS, or some other binary protocol. */
static bool is_foreign(char first)
{
    unsigned char c = (unsigned char)first;
    return (c < 0x20 && c != '\r' && c != '\n') || c >= 0x7f;
}

static enum la_memc_result parse_line(struct la_memc_request *r, struct la_slice line, struct la_memc_fault *f)
{
    struct la_slice rest = line, word = token(&rest);
    if (is_http(line))
        return bad(f, "ERROR", true);
    for (int v = 0; v < LA_MEMC_VERB_COUNT; v++) {
        if (!la_slice_eq(word, la_slice_str(verbs[v].name)))
            continue;
        r->verb = (enum la_memc_verb)v;
        if (!printable(line)) /* what a data block would be is in doubt */
            return bad(f, BAD_FORMAT,
                       verbs[v].shape == LA_MEMC_SHAPE_STORE || verbs[v].shape == LA_MEMC_SHAPE_META_STORE);
        switch (verbs[v].shape) {
        case LA_MEMC_SHAPE_KEYS: return parse_keys(r, rest, f);
        case LA_MEMC_SHAPE_STORE: return parse_store(r, rest, f);
        case LA_MEMC_SHAPE_KEY: return parse_key(r, rest, f);
        case LA_MEMC_SHAPE_META:
        case LA_MEMC_SHAPE_META_STORE:
        case LA_MEMC_SHAPE_META_DEBUG: return parse_meta(r, rest, f);
        case LA_MEMC_SHAPE_ALL: r->noreply = ends_noreply(rest); break;
        case LA_MEMC_SHAPE_ONE:
        case LA_MEMC_SHAPE_STATS:
        case LA_MEMC_SHAPE_QUIT:
        case LA_MEMC_SHAPE_NOOP: break;
        }
        r->after = rest;
        return LA_MEMC_DONE;
    }
    return bad(f, "ERROR", false);
}

static bool many_keys(const char *p, size_t n)
{
    struct la_slice s = {p, n}, word = token(&s);
    return la_slice_eq(word, LA_SLICE("get")) || la_slice_eq(word, LA_SLICE("gets")) ||
           la_slice_eq(word, LA_SLICE("gat")) || la_slice_eq(word, LA_SLICE("gats"));
}

/* No line end yet: can one still come? */
static enum la_memc_result unfinished(const char *p, size_t n, struct la_memc_fault *f)
{
    if (n < LA_MEMC_LINE_MAX)
        return LA_MEMC_MORE;
    if (!many_keys(p, n < 256 ? n : 256) || n >= LA_MEMC_KEYS_MAX)
        return bad(f, TOO_LONG, true);
    for (size_t i = n; i > n - LA_MEMC_KEY_MAX - 2; i--) /* a key's end within reach */
        if (p[i - 1] == ' ')
            return LA_MEMC_MORE;
    return bad(f, TOO_LONG, true);
}

enum la_memc_result la_memc_parse(struct la_memc_request *r, const char *p, size_t n, size_t *seen,
                                  struct la_memc_fault *f)
{
    memset(r, 0, sizeof *r);
    memset(f, 0, sizeof *f);
    f->used = n;
    if (n == 0)
        return LA_MEMC_MORE;
    if ((unsigned char)p[0] == 0x80) {
        f->binary = true;
        return bad(f, NULL, true);
    }
    if (is_foreign(p[0]))
        return bad(f, "ERROR", true);
    const char *end = memchr(p + *seen, '\n', n - *seen);
    if (end == NULL) {
        *seen = n;
        return unfinished(p, n, f);
    }
    *seen = 0;
    size_t line = (size_t)(end - p);
    r->used = f->used = line + 1;
    if (line && p[line - 1] == '\r')
        line--;
    if (r->used > LA_MEMC_KEYS_MAX || (r->used > LA_MEMC_LINE_MAX && !many_keys(p, 256)))
        return bad(f, TOO_LONG, true);
    return parse_line(r, la_slice(p, line), f);
}

struct la_slice la_memc_plain_key(const struct la_memc_request *r, char *buf)
{
    size_t n;
    if (!r->base64 || !la_base64_decode(r->key, buf, LA_MEMC_KEY_MAX, &n))
        return r->key;
    return la_slice(buf, n);
}

/* ---- for a server ---- */

struct writer {
    char *p;
    size_t n, cap;
    bool full;
};

static void put(struct writer *w, struct la_slice s)
{
    if (w->cap - w->n < s.n) {
        w->full = true;
        return;
    }
    if (s.n)
        memcpy(w->p + w->n, s.p, s.n);
    w->n += s.n;
}

static void put_word(struct writer *w, struct la_slice s)
{
    put(w, LA_SLICE(" "));
    put(w, s);
}

/* A number without its leading zeros: memcached 1.6.40 takes one of more than 11 characters for none, and then the data block
 * behind it for commands. */
static void put_number(struct writer *w, struct la_slice s)
{
    put(w, LA_SLICE(" "));
    if (s.n && s.p[0] == '-') {
        put(w, la_slice(s.p++, 1));
        s.n--;
    }
    while (s.n > 1 && s.p[0] == '0') {
        s.p++;
        s.n--;
    }
    put(w, s);
}

static void put_key(struct writer *w, const struct la_memc_request *r, struct la_slice prefix)
{
    put(w, LA_SLICE(" "));
    if (prefix.n + r->key.n > LA_MEMC_KEY_MAX && !r->base64) {
        w->full = true;
    } else if (r->base64 && prefix.n) {
        char plain[2 * LA_MEMC_KEY_MAX], text[LA_MEMC_KEY_MAX + 8];
        struct la_slice key = la_memc_plain_key(r, plain + prefix.n);
        memcpy(plain, prefix.p, prefix.n);
        size_t n = la_base64_encode(la_slice(plain, prefix.n + key.n), text, sizeof text);
        if (n == 0 || n > LA_MEMC_KEY_MAX)
            w->full = true;
        put(w, la_slice(text, n));
    } else {
        put(w, prefix);
        put(w, r->key);
    }
}

size_t la_memc_write_verb(const struct la_memc_request *r, char *out, size_t cap)
{
    struct writer w = {out, 0, cap, false};
    put(&w, la_slice_str(verbs[r->verb].name));
    if (r->before.n)
        put_word(&w, r->before);
    return w.full ? 0 : w.n;
}

size_t la_memc_write(const struct la_memc_request *r, struct la_slice prefix, char *out, size_t cap)
{
    struct writer w = {out, la_memc_write_verb(r, out, cap), cap, false};
    enum la_memc_shape shape = verbs[r->verb].shape;
    bool meta = shape == LA_MEMC_SHAPE_META || shape == LA_MEMC_SHAPE_META_STORE;
    char digits[24];
    if (w.n == 0)
        return 0;
    if (r->key.n)
        put_key(&w, r, prefix);
    if (shape == LA_MEMC_SHAPE_META_STORE) {
        size_t at = sizeof digits;
        uint64_t v = r->bytes;
        do
            digits[--at] = (char)('0' + v % 10);
        while (v /= 10);
        put_word(&w, la_slice(digits + at, sizeof digits - at));
    }
    struct la_slice rest = r->after, t;
    /* However often it is said: a server that heard it would leave this command's place in the replies to the next one.
     * To stats it is a word like any other. */
    while (shape != LA_MEMC_SHAPE_KEYS && (t = token(&rest)).n) {
        if ((shape != LA_MEMC_SHAPE_STATS && la_slice_eq(t, LA_SLICE("noreply"))) || (meta && t.p[0] == 'q'))
            continue;
        if (shape == LA_MEMC_SHAPE_STORE)
            put_number(&w, t);
        else
            put_word(&w, t);
    }
    /* A key of that name must not be the last word either; the 0 means nothing. */
    if (r->verb == LA_MEMC_DELETE && !w.full && la_slice_eq(la_slice(out + w.n - 8, 8), LA_SLICE(" noreply")))
        put(&w, LA_SLICE(" 0"));
    put(&w, LA_SLICE("\r\n"));
    return w.full ? 0 : w.n;
}
