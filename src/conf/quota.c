/* quota.c: the CPU time and the memory that this process's control group, and those above it, leave it.
 *
 * Reads which group that is (/proc/self/cgroup), then cpu.max and memory.max of version 2 or the controllers' files of
 * version 1, from the group up to the root: the smallest counts. What cannot be read bounds nothing. */
#include "conf/load.h"

#include <stdio.h>
#include <stdlib.h>

/* What a group may use; 0: all. */
typedef uint64_t of_group(const char *dir, bool v2);

/* The smaller one; 0: no bound. */
static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a && (b == 0 || a < b) ? a : b;
}

static uint64_t percent(double quota, double period)
{
    return quota > 0 && period > 0 ? (uint64_t)(quota * 100 / period) : 0;
}

/* In percent of a CPU. */
static uint64_t cpu_of(const char *dir, bool v2)
{
    char path[4096];
    double quota = 0, period = 0;
    int n = 0;
    snprintf(path, sizeof path, v2 ? "%s/cpu.max" : "%s/cpu.cfs_quota_us", dir);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    n = v2 ? fscanf(f, "%lf %lf", &quota, &period) : fscanf(f, "%lf", &quota); /* "max 100000", -1: no quota */
    fclose(f);
    if (v2)
        return n == 2 ? percent(quota, period) : 0;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    if (n != 1 || (f = fopen(path, "re")) == NULL)
        return 0;
    n = fscanf(f, "%lf", &period);
    fclose(f);
    return n == 1 ? percent(quota, period) : 0;
}

/* In bytes. */
static uint64_t memory_of(const char *dir, bool v2)
{
    char path[4096];
    unsigned long long bytes;
    snprintf(path, sizeof path, v2 ? "%s/memory.max" : "%s/memory.limit_in_bytes", dir);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    int n = fscanf(f, "%llu", &bytes); /* "max" */
    fclose(f);
    return n == 1 ? bytes : 0;
}

/* Of root/group and all above it. */
static uint64_t of_groups(const char *root, const char *group, bool v2, of_group *of)
{
    uint64_t least = 0;
    char *dir = la_xasprintf("%s%s", root, group);
    for (char *slash = dir + strlen(dir); slash; slash = strlen(dir) > strlen(root) ? strrchr(dir, '/') : NULL) {
        *slash = 0;
        least = lesser(of(dir, v2), least);
    }
    free(dir);
    return least;
}

/* Is name one of the comma list? */
static bool names(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (; list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
        if (strncmp(list, name, n) == 0 && (list[n] == 0 || list[n] == ','))
            return true;
    return false;
}

/* Of the groups in that list, below tree. */
static uint64_t of_list(const char *groups, const char *tree, const char *controller, of_group *of)
{
    uint64_t least = 0;
    char line[4096];
    FILE *f = fopen(groups, "re");
    while (f && fgets(line, sizeof line, f)) { /* "0::/user.slice", "4:cpu,cpuacct:/" */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = 0;
        controllers++;
        bool v2 = *controllers == 0;
        if (!v2 && !names(controllers, controller))
            continue;
        char *root = v2 ? la_xstrdup(tree) : la_xasprintf("%s/%s", tree, controller);
        least = lesser(of_groups(root, group, v2, of), least);
        free(root);
    }
    if (f)
        fclose(f);
    return least;
}

unsigned long la_quota_percent(const char *groups, const char *tree)
{
    return (unsigned long)of_list(groups, tree, "cpu", cpu_of);
}

uint64_t la_quota_memory(const char *groups, const char *tree)
{
    return of_list(groups, tree, "memory", memory_of);
}

unsigned long la_conf_quota_percent(void)
{
    return la_quota_percent("/proc/self/cgroup", "/sys/fs/cgroup");
}

uint64_t la_conf_quota_memory(void)
{
    return la_quota_memory("/proc/self/cgroup", "/sys/fs/cgroup");
}

unsigned la_conf_quota_cpus(void)
{
    return (unsigned)((la_conf_quota_percent() + 99) / 100);
}
