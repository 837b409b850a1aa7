/* site.c: from a target to a script or a file: decoding, `try`, index files, the split into script and path
 * info.
 *
 * Owns: nothing; it opens a file when that is the answer. Never: what becomes of it.
 *
 * The path is decoded once, after its dot segments are gone. A NUL in it, however encoded, is an error; so is
 * another control character, unless it stands in the path info behind a script that exists: that is the
 * script's business, and split off by its bytes. A script is a prefix that ends with a script's suffix and
 * exists as a regular file, so that /a.jpg/x.php is nothing. Nothing outside root is ever opened: the kernel
 * resolves beneath it. Names that begin with a dot are not there, but /.well-known/; in the path info behind a script they are
 * data, and what `try` names by itself is meant.
 *
 * These are looks at the directory cache, made on the worker's thread; contents are read elsewhere
 * (static.c). */
#include "site.h"

#include "lastack/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- the path ---- */

static unsigned hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Normalized, decoded, slashes merged. */
enum la_err la_site_decode(struct la_slice target, struct la_site_hit *hit)
{
    char normal[3 * LA_SITE_PATH];
    hit->control = SIZE_MAX;
    size_t n = la_http_normalize_path(target, normal, sizeof normal), at = 0;
    if (n == 0)
        return target.n > sizeof normal ? LA_URI_TOO_LONG : LA_BAD_PATH;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)normal[i];
        if (c == '%') {
            c = (unsigned char)(hex(normal[i + 1]) << 4 | hex(normal[i + 2]));
            i += 2;
        }
        if (c == '\0')
            return LA_BAD_PATH;
        if ((c < 0x20 || c == 0x7f) && hit->control == SIZE_MAX)
            hit->control = at;
        if (c == '/' && at > 0 && hit->decoded[at - 1] == '/')
            continue;
        if (at == sizeof hit->decoded - 1)
            return LA_URI_TOO_LONG;
        hit->decoded[at++] = (char)c;
    }
    hit->decoded[at] = '\0';
    hit->path = la_slice(hit->decoded, at);
    /* Decoding may have made new segments of "%2F": none of them may be one of dots. */
    for (size_t i = 0; i + 2 < at; i++)
        if (memcmp(hit->decoded + i, "/..", 3) == 0 && (i + 3 == at || hit->decoded[i + 3] == '/'))
            return LA_BAD_PATH;
    return LA_OK;
}

bool la_site_has_dot_file(struct la_slice path)
{
    const struct la_slice well_known = LA_SLICE("/.well-known/");
    size_t from = path.n >= well_known.n && memcmp(path.p, well_known.p, well_known.n) == 0 ? well_known.n - 1 : 0;
    for (size_t i = from; i + 1 < path.n; i++)
        if (path.p[i] == '/' && path.p[i + 1] == '.')
            return true;
    return false;
}

/* ---- files ---- */

/* For kernels without openat2 (before 5.6, or where it is forbidden): component by component, no symbolic
 * links at all. */
static int open_walking(int root, const char *path, int flags)
{
    char part[256];
    int dir = root, fd = -1;
    for (;;) {
        size_t n = strcspn(path, "/");
        const char *rest = path + n + strspn(path + n, "/");
        if (n >= sizeof part) {
            errno = ENAMETOOLONG;
            break;
        }
        memcpy(part, path, n);
        part[n] = '\0';
        fd = openat(dir, n ? part : ".", (*rest ? O_PATH | O_DIRECTORY : flags) | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || *rest == '\0')
            break;
        if (dir != root)
            close(dir);
        dir = fd;
        path = rest;
    }
    if (dir != root) {
        int e = errno;
        close(dir);
        errno = e;
    }
    return fd;
}

static int open_beneath(const char *root, bool follow, const char *path, int flags)
{
    int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    int fd;
    path += strspn(path, "/"); /* one that begins with it would be no file of this root's */
    flags |= O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    if (follow) {
        fd = openat(dir, *path ? path : ".", flags);
    } else {
        struct open_how how = {.flags = (uint64_t)flags, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
        if (flags & O_PATH)
            how.flags &= ~(uint64_t)(O_NONBLOCK | O_NOCTTY);
        int tries = 2; /* EAGAIN: something was renamed just now, on the way */
        do
            fd = (int)syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof how);
        while (fd < 0 && errno == EAGAIN && --tries > 0);
        if (fd < 0 && (errno == ENOSYS || errno == EPERM))
            fd = open_walking(dir, path, flags);
    }
    int e = errno;
    close(dir);
    errno = e;
    return fd;
}

/* Of this kind (S_IFREG, S_IFDIR)? Takes fd away if not. */
static int only(int fd, mode_t kind)
{
    struct stat st;
    if (fd < 0)
        return -1;
    bool looked = fstat(fd, &st) == 0;
    if (looked && (st.st_mode & S_IFMT) == kind)
        return fd;
    int e = looked ? ENOENT : errno;
    close(fd);
    errno = e;
    return -1;
}

int la_site_open(const char *root, bool follow_symlinks, const char *path)
{
    return only(open_beneath(root, follow_symlinks, path, O_RDONLY), S_IFREG);
}

enum la_err la_site_cannot_open(const char *root, int e)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
    case ENXIO: /* a socket, a device without a driver */
    case ENODEV: return LA_NOT_FOUND;
    case EACCES:
    case EPERM: return LA_FORBIDDEN;
    default: break;
    }
    la_log_limited(LA_LOG_ERROR, 10000, "cannot open files under %s: %s", root, strerror(e));
    return LA_INTERNAL;
}

/* LA_OK, LA_NOT_FOUND (also where it may not be looked at), or LA_INTERNAL: nobody knows. */
static enum la_err is_there(const struct la_conf_fastcgi *f, const char *path, mode_t kind)
{
    int fd = only(open_beneath(f->root, f->follow_symlinks, path + 1, O_PATH), kind);
    if (fd < 0)
        return la_site_cannot_open(f->root, errno) == LA_INTERNAL ? LA_INTERNAL : LA_NOT_FOUND;
    close(fd);
    return LA_OK;
}

/* ---- scripts ---- */

static bool ends_with(struct la_slice s, const char *suffix, bool any_case)
{
    struct la_slice end = la_slice_str(suffix);
    if (s.n < end.n)
        return false;
    struct la_slice tail = la_slice(s.p + s.n - end.n, end.n);
    return any_case ? la_slice_ieq(tail, end) : la_slice_eq(tail, end);
}

static bool is_script(const struct la_conf_fastcgi *f, struct la_slice path, bool any_case)
{
    for (size_t i = 0; i < f->scripts; i++)
        if (ends_with(path, f->script[i], any_case))
            return true;
    return false;
}

bool la_site_is_script(const struct la_conf_fastcgi *f, struct la_slice path)
{
    return is_script(f, path, true);
}

static void take_script(struct la_site_hit *hit, size_t script_n)
{
    hit->kind = LA_SITE_SCRIPT;
    hit->script = la_slice(hit->uri.p, script_n);
    hit->path_info = la_slice(hit->uri.p + script_n, hit->uri.n - script_n);
}

/* The first n bytes of what was found. */
static enum la_err script_is_there(const struct la_conf_fastcgi *f, struct la_site_hit *hit, size_t n)
{
    char *p = hit->found, c = p[n];
    struct la_slice path = la_slice(p, n);
    if (!f->files || la_seen_has(&hit->seen, la_slice_str(f->root), path, hit->now_ns))
        return LA_OK;
    p[n] = '\0';
    enum la_err e = is_there(f, p, S_IFREG);
    p[n] = c;
    if (e == LA_OK)
        la_seen_note(&hit->seen, la_slice_str(f->root), path, hit->now_ns);
    return e;
}

/* Does the request name a dot file with the first n bytes of what was found? */
static bool is_hidden(const struct la_site_hit *hit, size_t n)
{
    return hit->dotted && la_site_has_dot_file(la_slice(hit->found, n));
}

/* hit->uri: its shortest prefix that is a script. */
static enum la_err split(const struct la_conf_fastcgi *f, struct la_site_hit *hit)
{
    char *p = hit->found;
    for (size_t i = 1; i <= hit->uri.n; i++) {
        if ((i < hit->uri.n && p[i] != '/') || !is_script(f, la_slice(p, i), false) || is_hidden(hit, i))
            continue;
        enum la_err e = script_is_there(f, hit, i);
        if (e == LA_OK)
            take_script(hit, i);
        if (e != LA_NOT_FOUND)
            return e;
    }
    return LA_NOT_FOUND;
}

/* ---- try ---- */

static bool put(char *out, size_t cap, size_t *n, struct la_slice s)
{
    if (s.n >= cap - *n)
        return false;
    memcpy(out + *n, s.p, s.n);
    *n += s.n;
    out[*n] = '\0';
    return true;
}

/* Expands an entry's text: $uri is the path, $args the query; nothing else varies here. */
static bool expand(struct la_slice text, const struct la_site_hit *hit, struct la_slice args, char *out, size_t cap,
                   size_t *n)
{
    out[*n] = '\0';
    while (text.n) {
        size_t used = 1;
        struct la_slice field, s = la_slice(text.p, 1);
        if (*text.p == '$') {
            switch (la_variable_find(text, &used, &field)) {
            case LA_VARIABLE_URI:
            case LA_VARIABLE_DOCUMENT_URI: s = hit->path; break;
            case LA_VARIABLE_ARGS:
            case LA_VARIABLE_QUERY_STRING: s = args; break;
            case LA_VARIABLE_IS_ARGS: s = args.n ? LA_SLICE("?") : LA_SLICE(""); break;
            default: s = LA_SLICE("");
            }
        }
        if (!put(out, cap, n, s))
            return false;
        text = la_slice(text.p + used, text.n - used);
    }
    return true;
}

/* Is hit->uri a script or a file? */
static enum la_err classify(const struct la_conf_fastcgi *f, struct la_site_hit *hit)
{
    enum la_err e = split(f, hit);
    if (e != LA_NOT_FOUND)
        return e;
    if (!f->files || la_site_is_script(f, hit->uri) || is_hidden(hit, hit->uri.n))
        return LA_NOT_FOUND;
    hit->fd = la_site_open(f->root, f->follow_symlinks, hit->found + 1);
    if (hit->fd < 0)
        return la_site_cannot_open(f->root, errno);
    hit->kind = LA_SITE_FILE;
    return LA_OK;
}

/* hit->uri ends with a slash: one of its index files? */
static enum la_err try_directory(const struct la_conf_fastcgi *f, struct la_site_hit *hit)
{
    size_t n = hit->uri.n;
    if (is_hidden(hit, n))
        return LA_NOT_FOUND;
    enum la_err e = f->files ? is_there(f, hit->found, S_IFDIR) : hit->path.p[hit->path.n - 1] == '/' ? LA_OK : LA_NOT_FOUND;
    if (e != LA_OK)
        return e;
    for (size_t i = 0; i < f->indexes; i++) {
        size_t to = n;
        if (!put(hit->found, sizeof hit->found, &to, la_slice_str(f->index[i])))
            return LA_URI_TOO_LONG;
        hit->uri.n = to;
        e = classify(f, hit);
        if (e == LA_NOT_FOUND)
            continue;
        if (e == LA_OK && hit->path.p[hit->path.n - 1] != '/') {
            if (hit->kind == LA_SITE_FILE)
                close(hit->fd);
            hit->kind = LA_SITE_MOVED;
        }
        return e;
    }
    hit->uri.n = n;
    return LA_NOT_FOUND;
}

/* One entry of `try`. */
static enum la_err try_one(const struct la_conf_fastcgi *f, struct la_site_hit *hit, const char *entry,
                           struct la_slice args)
{
    struct la_slice text = la_slice_str(entry);
    if (text.p[0] == '=')
        return strcmp(entry, "=403") == 0 ? LA_FORBIDDEN : LA_NOT_FOUND;
    const char *query = memchr(text.p, '?', text.n);
    size_t n = 0, query_n = 0;
    struct la_slice name = la_slice(text.p, query ? (size_t)(query - text.p) : text.n);
    /* "$is_args$args" begins the query where it stands. */
    const char *is_args = memmem(name.p, name.n, "$is_args", 8);
    if (is_args)
        name.n = (size_t)(is_args - name.p);
    if (!expand(name, hit, args, hit->found, sizeof hit->found, &n))
        return LA_URI_TOO_LONG;
    hit->args = args;
    if (query) {
        if (!expand(la_slice(query + 1, (size_t)(text.p + text.n - query) - 1), hit, args, hit->query, sizeof hit->query, &query_n))
            return LA_URI_TOO_LONG;
        hit->args = la_slice(hit->query, query_n);
    }
    bool directory = name.p[name.n - 1] == '/';
    while (directory && n > 1 && hit->found[n - 2] == '/') /* "$uri/" of a path that has its slash */
        hit->found[--n] = '\0';
    hit->uri = la_slice(hit->found, n);
    if (n == 0 || hit->found[0] != '/')
        return LA_NOT_FOUND;
    return directory ? try_directory(f, hit) : classify(f, hit);
}

/* A control character is data behind a script's name, and no part of a name. */
static enum la_err check_names(const struct la_conf_fastcgi *f, struct la_site_hit *hit)
{
    if (hit->control == SIZE_MAX)
        return LA_OK;
    memcpy(hit->found, hit->decoded, hit->path.n + 1);
    hit->uri = la_slice(hit->found, hit->path.n);
    enum la_err e = split(f, hit);
    return e == LA_NOT_FOUND || (e == LA_OK && hit->script.n >= hit->control) ? LA_BAD_PATH : e;
}

enum la_err la_site_find(const struct la_conf_fastcgi *f, struct la_slice target, uint64_t now_ns,
                         struct la_site_hit *hit)
{
    hit->kind = LA_SITE_NONE;
    hit->now_ns = now_ns;
    hit->fd = -1;
    hit->dotted = false;
    enum la_err e = la_site_decode(target, hit);
    if (e == LA_OK)
        e = check_names(f, hit);
    hit->kind = LA_SITE_NONE;
    if (e != LA_OK)
        return e;
    hit->dotted = la_site_has_dot_file(hit->path);
    const char *query = memchr(target.p, '?', target.n);
    struct la_slice args =
        query ? la_slice(query + 1, target.n - (size_t)(query + 1 - target.p)) : la_slice(target.p, 0);
    for (size_t i = 0; i < f->tries; i++) {
        e = try_one(f, hit, f->tried[i], args);
        if (e != LA_NOT_FOUND)
            return e;
    }
    return e;
}
