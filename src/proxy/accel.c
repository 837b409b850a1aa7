/* accel.c: X-Accel-Redirect and X-Sendfile: a script has decided that the client may have a file, and leaves the
 * sending to the proxy. Honoured where the configuration says which directories are meant; else the fields mean nothing
 * and pass.
 *
 * Owns: nothing; it opens the file. Never: a file outside the configured directories, a dot file, a link out of them
 * unless links are followed. A script's path is trusted no more than a client's. */
#include "accel.h"

#include "exchange.h"
#include "site.h"

#include <errno.h>
#include <stdio.h>

static bool value_of(const struct la_http_head *h, struct la_slice name, struct la_slice *value)
{
    for (size_t i = 0; i < h->headers; i++)
        if (la_slice_ieq(la_http_name(h, i), name)) {
            *value = la_http_value(h, i);
            return true;
        }
    return false;
}

bool la_accel_is_ours(const struct la_conf_fastcgi *f, struct la_slice name)
{
    if (f->root == NULL)
        return false;
    if (f->internals && la_slice_ieq(name, LA_SLICE("x-accel-redirect")))
        return true;
    if (f->sendfiles && la_slice_ieq(name, LA_SLICE("x-sendfile")))
        return true;
    return la_slice_ieq(name, LA_SLICE("x-accel-buffering"));
}

bool la_accel_unbuffered(const struct la_http_head *h)
{
    struct la_slice value;
    return value_of(h, LA_SLICE("x-accel-buffering"), &value) && la_slice_ieq(value, LA_SLICE("no"));
}

/* The rest of path behind a prefix of whole segments; false: it is not below it. */
static bool below(struct la_slice path, struct la_slice prefix, struct la_slice *rest)
{
    while (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    if (path.n <= prefix.n + 1 || memcmp(path.p, prefix.p, prefix.n) != 0 || path.p[prefix.n] != '/')
        return false;
    *rest = la_slice(path.p + prefix.n, path.n - prefix.n);
    return true;
}

static enum la_err open_in(const struct la_conf_fastcgi *f, const char *root, struct la_slice rest, int *fd)
{
    char name[LA_SITE_PATH];
    if (rest.n >= sizeof name || memchr(rest.p, '\0', rest.n) || la_site_has_dot_file(rest))
        return LA_NOT_FOUND;
    memcpy(name, rest.p + 1, rest.n - 1);
    name[rest.n - 1] = '\0';
    *fd = la_site_open(root, f->follow_symlinks, name);
    return *fd >= 0 ? LA_OK : la_site_cannot_open(root, errno);
}

/* A path as scripts write it: what a client would have to encode may stand there as it is. False: too long. */
static bool encode(struct la_slice value, char *out, size_t cap, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        bool raw = c > 0x7e || (c >= 0x20 && strchr(" \"#<>[\\]^`{|}", c) != NULL);
        if (cap - *n < 4)
            return false;
        if (raw)
            *n += (size_t)snprintf(out + *n, 4, "%%%02X", c);
        else
            out[(*n)++] = (char)c;
    }
    return true;
}

enum la_err la_accel_find(const struct la_exchange *x, const struct la_http_head *h, int *fd)
{
    const struct la_conf_fastcgi *f = &x->conf->fastcgi;
    struct la_slice value, rest;
    struct la_site_hit *scratch = x->proxy->site;
    *fd = -1;
    if (f->internals && value_of(h, LA_SLICE("x-accel-redirect"), &value)) {
        char path[3 * LA_SITE_PATH];
        size_t n;
        if (!encode(value, path, sizeof path, &n) || la_site_decode(la_slice(path, n), scratch) != LA_OK || scratch->control != SIZE_MAX)
            return LA_NOT_FOUND;
        for (size_t i = 0; i < f->internals; i++)
            if (below(scratch->path, la_slice_str(f->internal[i].path), &rest))
                return open_in(f, f->internal[i].root, rest, fd);
        return LA_NOT_FOUND;
    }
    if (f->sendfiles && value_of(h, LA_SLICE("x-sendfile"), &value)) {
        for (size_t i = 0; i < f->sendfiles; i++)
            if (below(value, la_slice_str(f->sendfile[i]), &rest))
                return open_in(f, f->sendfile[i], rest, fd);
        return LA_NOT_FOUND;
    }
    return LA_OK;
}
