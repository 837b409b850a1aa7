/* log.c: one line, one write(2). Rate limits are two relaxed atomics. */
#include "lastack/log.h"
#include "lastack/json.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "notice", "warn", "error"};

static _Atomic int least = LA_LOG_INFO;
static _Atomic bool as_json;
static _Atomic int out_fd = STDERR_FILENO;
static char *out_path; /* main thread only */

void la_log_setup(enum la_log_level level, bool json)
{
    atomic_store(&least, (int)level);
    atomic_store(&as_json, json);
}

/* A pipe that was handed to us is opened anew: O_NONBLOCK on what others share would be theirs too. That is done once, since
 * another user may not. */
static int open_standard(int number)
{
    static int own[] = {-1, -1, -1};
    struct stat st;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", number);
    if (own[number] < 0 && fstat(number, &st) == 0 && S_ISFIFO(st.st_mode))
        own[number] = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    return fcntl(own[number] < 0 ? number : own[number], F_DUPFD_CLOEXEC, 3);
}

/* For reading too where it is a pipe: it can be opened before its reader does, and when that has gone. */
static int open_file(const char *path)
{
    struct stat st;
    int how = stat(path, &st) == 0 && S_ISFIFO(st.st_mode) ? O_RDWR : O_WRONLY;
    return open(path, how | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0640);
}

int la_log_open_file(const char *path)
{
    return path ? open_file(path) : open_standard(STDOUT_FILENO);
}

ssize_t la_log_put(int fd, const char *p, size_t n)
{
    ssize_t sent = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL); /* the journal's socket */
    return sent < 0 && errno == ENOTSOCK ? write(fd, p, n) : sent;
}

static bool open_path(const char *path)
{
    int fd = path ? open_file(path) : open_standard(STDERR_FILENO);
    if (fd < 0)
        return false;
    int old = atomic_load(&out_fd);
    if (old == STDERR_FILENO) {
        atomic_store(&out_fd, fd);
        return true;
    }
    /* Writers of other threads may hold the number: it stays, also for standard error. */
    bool ok = dup3(fd, old, O_CLOEXEC) >= 0;
    close(fd);
    return ok;
}

bool la_log_open(const char *path)
{
    if (!open_path(path))
        return false;
    char *copy = path ? la_xstrdup(path) : NULL;
    free(out_path);
    out_path = copy;
    return true;
}

int la_log_fd(void)
{
    return atomic_load(&out_fd);
}

bool la_log_reopen(void)
{
    return out_path == NULL || open_path(out_path);
}

bool la_log_wants(enum la_log_level level)
{
    return (int)level >= atomic_load_explicit(&least, memory_order_relaxed);
}

void la_log_write(enum la_log_level level, const char *fmt, ...)
{
    if (!la_log_wants(level))
        return;
    char text[2048], line[6 * sizeof text + 128]; /* a byte becomes at most \\u00XX */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);

    uint64_t now = la_wall_ns();
    time_t s = (time_t)(now / 1000000000u);
    struct tm tm;
    gmtime_r(&s, &tm);
    char stamp[40];
    size_t stamp_n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp + stamp_n, sizeof stamp - stamp_n, ".%03uZ", (unsigned)(now / 1000000u % 1000u));

    int n;
    if (atomic_load_explicit(&as_json, memory_order_relaxed)) {
        struct la_text quoted = {0};
        la_json_quote(&quoted, la_slice_str(text));
        n = snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":%.*s}\n", stamp,
                     level_names[level], (int)quoted.n, quoted.p);
        la_text_fini(&quoted);
    } else {
        for (char *c = text; *c; c++)
            if ((unsigned char)*c < 0x20 || *c == 0x7f)
                *c = '?'; /* a peer's bytes never make a second line */
        n = snprintf(line, sizeof line, "%s %s %s\n", stamp, level_names[level], text);
    }
    if (n >= (int)sizeof line) {
        n = sizeof line;
        line[n - 1] = '\n';
    }
    /* A log that cannot be written has nobody to tell. */
    ssize_t ignored = la_log_put(atomic_load_explicit(&out_fd, memory_order_relaxed), line, (size_t)n);
    (void)ignored;
}

bool la_log_gate_open(struct la_log_gate *g, uint64_t period_ms, uint64_t *held)
{
    uint64_t now = la_clock_ns();
    uint64_t next = atomic_load_explicit(&g->next_ns, memory_order_relaxed);
    if (now < next || !atomic_compare_exchange_strong(&g->next_ns, &next, now + period_ms * 1000000u)) {
        atomic_fetch_add_explicit(&g->held, 1, memory_order_relaxed);
        return false;
    }
    *held = atomic_exchange_explicit(&g->held, 0, memory_order_relaxed);
    return true;
}
