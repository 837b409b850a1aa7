/* rights.c: the user that a process started as root becomes (`user`), and whose rights it opens things with before that.
 *
 * Where the user can put a link, it may have put one to a file of root's: a path in its reach is opened with its rights, every
 * other one with root's. The good path: find -> take, open, back for each path -> drop. Main thread, before there are others.
 * What can fail: there is no such user, or root is not allowed to become it; both end the start. */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_LINKS 40 /* as the kernel's */

bool la_rights_find(struct rights *r, const char *user)
{
    if (user == NULL || geteuid() != 0)
        return true;
    struct passwd *pw = getpwnam(user);
    if (pw == NULL) {
        fprintf(stderr, "user: cannot become %s: no such user; create it or leave `user` out\n", user);
        return false;
    }
    r->to_drop = true;
    r->uid = pw->pw_uid;
    r->gid = pw->pw_gid;
    r->groups = 0;
    getgrouplist(user, r->gid, NULL, &r->groups); /* how many */
    r->group = la_xcalloc((size_t)r->groups, sizeof *r->group);
    getgrouplist(user, r->gid, r->group, &r->groups);
    r->roots_gid = getegid();
    int n = getgroups(0, NULL);
    r->roots_groups = n > 0 ? n : 0;
    r->roots_group = la_xcalloc((size_t)r->roots_groups, sizeof *r->roots_group);
    n = getgroups(r->roots_groups, r->roots_group);
    r->roots_groups = n > 0 ? n : 0;
    return true;
}

static void forget(struct rights *r)
{
    free(r->group);
    free(r->roots_group);
    *r = (struct rights){0};
}

void la_rights_back(struct rights *r)
{
    int e = errno;
    if (r->taken)
        la_assert(seteuid(0) == 0 && setegid(r->roots_gid) == 0 && setgroups((size_t)r->roots_groups, r->roots_group) == 0);
    r->taken = false;
    errno = e;
}

static void take(struct rights *r)
{
    r->taken = true;
    if (setgroups((size_t)r->groups, r->group) == 0 && setegid(r->gid) == 0 && seteuid(r->uid) == 0)
        return;
    fprintf(stderr, "user: cannot take its rights: %s\n", strerror(errno));
    exit(1);
}

/* Can the user put something else in the place of this entry of dir? */
static bool can_replace(struct rights *r, const char *dir, const char *entry)
{
    struct stat d, e;
    if (stat(dir, &d) != 0)
        return false;
    if (d.st_uid == r->uid)
        return true;
    take(r);
    bool writes = faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0;
    la_rights_back(r);
    return writes && (!(d.st_mode & S_ISVTX) || lstat(entry, &e) != 0 || e.st_uid == r->uid);
}

struct walk {
    char *dir;  /* so far, without links; "": the root */
    char *todo; /* what follows */
    unsigned links;
};

static void replace(char **s, char *by)
{
    free(*s);
    *s = by;
}

/* One step, as the kernel takes it. False: this is the end. */
static bool step(struct rights *r, struct walk *w, bool *theirs)
{
    const char *name = w->todo + strspn(w->todo, "/");
    size_t n = strcspn(name, "/");
    if (n == 0)
        return false;
    if (n <= 2 && strncmp(name, "..", n) == 0) {
        char *last = strrchr(w->dir, '/');
        if (n == 2 && last)
            *last = '\0';
        replace(&w->todo, la_xstrdup(name + n));
        return true;
    }
    char link[PATH_MAX], *entry = la_xasprintf("%s/%.*s", w->dir, (int)n, name);
    bool open_already = strncmp(entry, "/proc/", 6) == 0; /* /dev/stdout */
    ssize_t k = -1;
    if (!open_already && !(*theirs = can_replace(r, *w->dir ? w->dir : "/", entry)))
        k = readlink(entry, link, sizeof link);
    replace(&w->todo, k < 0 ? la_xstrdup(name + n) : la_xasprintf("%.*s%s", (int)k, link, name + n));
    if (k < 0)
        replace(&w->dir, entry);
    else
        free(entry);
    if (k > 0 && *link == '/')
        *w->dir = '\0';
    *theirs |= k >= 0 && ++w->links > MOST_LINKS; /* nobody can open this */
    return !open_already && !*theirs;
}

/* Is a step of this path the user's to lay? */
static bool in_reach(struct rights *r, const char *path)
{
    char cwd[PATH_MAX] = "";
    if (path[0] != '/' && getcwd(cwd, sizeof cwd) == NULL)
        return true;
    bool theirs = false;
    struct walk w = {la_xstrdup(""), la_xasprintf("%s/%s", cwd, path), 0};
    while (step(r, &w, &theirs))
        ;
    free(w.dir);
    free(w.todo);
    return theirs;
}

bool la_rights_take(struct rights *r, const char *path)
{
    if (r->to_drop && r->uid != 0 && in_reach(r, path))
        take(r);
    return r->taken;
}

void la_rights_give_log(const struct rights *r, const char *path, int fd)
{
    struct stat named, opened;
    if (!r->to_drop || lstat(path, &named) != 0 || fstat(fd, &opened) != 0)
        return;
    bool plain = S_ISREG(named.st_mode) && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino && opened.st_nlink == 1;
    if (plain && fchown(fd, r->uid, (gid_t)-1) != 0)
        la_log_warn("%s: cannot be given to `user`: %s", path, strerror(errno));
}

bool la_rights_drop(struct rights *r, const char *user)
{
    bool fine = !r->to_drop || (setgroups((size_t)r->groups, r->group) == 0 && setgid(r->gid) == 0 && setuid(r->uid) == 0);
    if (!fine)
        fprintf(stderr, "user: cannot become %s: %s\n", user, strerror(errno));
    forget(r);
    return fine;
}
