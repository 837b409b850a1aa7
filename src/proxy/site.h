/* site.h: the application behind a FastCGI upstream: which script or file a path is, and what the script is
 * told. site.c finds, script.c tells, static.c sends files. */
#ifndef LASTACK_PROXY_SITE_H
#define LASTACK_PROXY_SITE_H

#include "lastack/proxy.h"
#include "seen.h"

#define LA_SITE_PATH 4096 /* a decoded path, and one that was made of it */

enum la_site_kind {
    LA_SITE_NONE,   /* the upstream has no site */
    LA_SITE_SCRIPT, /* script, path_info */
    LA_SITE_FILE,   /* fd */
    LA_SITE_MOVED,  /* a directory without its slash: to uri with one */
};
/* Slices lie in it, or in the target. */
struct la_site_hit {
    enum la_site_kind kind;
    struct la_slice path; /* of the request: decoded, without query */
    struct la_slice args; /* query for the script */
    struct la_slice uri;  /* what was found: script and path info, or the file */
    struct la_slice script, path_info;
    uint64_t now_ns;
    bool dotted;    /* path has a name of a dot file in it */
    size_t control; /* where path has its first control character; SIZE_MAX: nowhere */
    int fd; /* FILE: open, the caller's */
    struct la_seen seen; /* from one request to the next */
    char decoded[LA_SITE_PATH], found[LA_SITE_PATH], query[2 * LA_SITE_PATH];
};

/* Looks up what a target is. LA_OK, or what is to be answered. */
enum la_err la_site_find(const struct la_conf_fastcgi *f, struct la_slice target, uint64_t now_ns,
                         struct la_site_hit *hit);
/* hit->path: the target's path, normalized, decoded, slashes merged; without NUL. hit->control says of others. */
enum la_err la_site_decode(struct la_slice target, struct la_site_hit *hit);
/* A regular file below root; path is relative and decoded. -1 with errno. Dot files are the caller's business. */
int la_site_open(const char *root, bool follow_symlinks, const char *path);
enum la_err la_site_cannot_open(const char *root, int e); /* what is answered then, by errno */
bool la_site_has_dot_file(struct la_slice path);
/* Is this a script's name, in any case of letters? Such files are never sent. */
bool la_site_is_script(const struct la_conf_fastcgi *f, struct la_slice path);

#endif
