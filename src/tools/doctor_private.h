/* doctor_private.h (layer: tools): what the files of `lastack doctor` share: findings, and the numbers of this host. */
#ifndef LASTACK_TOOLS_DOCTOR_PRIVATE_H
#define LASTACK_TOOLS_DOCTOR_PRIVATE_H

#include "lastack/conf.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_BAD };

struct doctor_finding {
    enum doctor_level level;
    const char *name; /* static: "open files" */
    char *what;       /* what is, what it will hurt and when; owned */
    char *cure;       /* what to do; owned, NULL: nothing */
};

struct doctor {
    struct doctor_finding *item;
    size_t n;
    unsigned count[3];
    /* this host; filled by doctor_host */
    uint16_t low, high;
    unsigned usable;      /* ports of the range, less reserved ones */
    uint64_t descriptors; /* the hard limit: lastack raises its soft one */
    unsigned cpus;        /* affinity and quota */
    uint64_t memory;      /* bytes; the cgroup's or the machine's */
    long somaxconn;
    bool port_range_option;
};

/* Adds a finding; doctor_cure adds to the last one what to do. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *name, const char *fmt, ...) LA_PRINTF(4, 5);
void doctor_cure(struct doctor *d, const char *fmt, ...) LA_PRINTF(2, 3);

void doctor_host(struct doctor *d);
/* What this configuration will meet on this host; after doctor_host. */
void doctor_conf(struct doctor *d, const char *path);

#endif
