/* log.h (layer: base): the error log: one line per event on standard error or a file, rate-limited per call site or per key.
 *
 * Any thread. A line is written with one write(2). JSON or text as configured. Access lines have their own
 * path (proxy/access_log), batched per worker. */
#ifndef LASTACK_LOG_H
#define LASTACK_LOG_H

#include "lastack/base.h"

#include <sys/types.h>

enum la_log_level { LA_LOG_DEBUG, LA_LOG_INFO, LA_LOG_NOTICE, LA_LOG_WARN, LA_LOG_ERROR };

void la_log_setup(enum la_log_level least, bool json);
/* Appends to path from now on (NULL: standard error). False: errno says why, and the old one stays. */
bool la_log_open(const char *path);
bool la_log_reopen(void);
int la_log_fd(void); /* where lines go now; stays the log's */
/* A descriptor of the caller's to write a log with la_log_put: a file or pipe, appended to, or (NULL) standard output. Neither
 * waits for who reads a pipe, also where nobody does yet. -1: errno. */
int la_log_open_file(const char *path);
/* One write(2) that does not wait for a reader: EAGAIN. */
ssize_t la_log_put(int fd, const char *p, size_t n);
bool la_log_wants(enum la_log_level level);
void la_log_write(enum la_log_level level, const char *fmt, ...) LA_PRINTF(2, 3) LA_COLD;

/* At most one line per period for each gate; a line says how many were held back since the last one. */
struct la_log_gate {
    _Atomic uint64_t next_ns;
    _Atomic uint64_t held;
};
bool la_log_gate_open(struct la_log_gate *g, uint64_t period_ms, uint64_t *held);

#define la_log_debug(...) (la_log_wants(LA_LOG_DEBUG) ? la_log_write(LA_LOG_DEBUG, __VA_ARGS__) : (void)0)
#define la_log_info(...) la_log_write(LA_LOG_INFO, __VA_ARGS__)
#define la_log_notice(...) la_log_write(LA_LOG_NOTICE, __VA_ARGS__)
#define la_log_warn(...) la_log_write(LA_LOG_WARN, __VA_ARGS__)
#define la_log_error(...) la_log_write(LA_LOG_ERROR, __VA_ARGS__)
/* One gate per call site: */
#define la_log_limited(level, period_ms, fmt, ...)                                                             \
    do {                                                                                                       \
        static struct la_log_gate gate_;                                                                       \
        uint64_t held_;                                                                                        \
        if (la_log_wants(level) && la_log_gate_open(&gate_, (period_ms), &held_))                              \
            la_log_write((level), fmt " (%llu more held back)", ##__VA_ARGS__, (unsigned long long)held_);     \
    } while (0)

#endif
