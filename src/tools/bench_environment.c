/* bench_environment.c: where a bench ran: versions, CPU, memory, limits and the sysctls that bound connections, as a JSON object.
 *
 * Owns nothing, writes no sysctl, asks no network. Good path: each fact is read from where the kernel or the system
 * keeps it. What cannot be read (a sandbox, another kernel) is null. */
#include "tools/bench.h"

#include "lastack/conf.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *const sysctl_name[] = {
    "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.core.somaxconn",
    "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_timestamps", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_congestion_control", "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.core.netdev_max_backlog", "fs.file-max",
};

/* The first line of a file that begins with `after`, what comes then; NULL: the very first. Blanks become one space each. */
static bool read_fact(const char *path, const char *after, char out[BENCH_TEXT])
{
    char line[1024];
    bool found = false;
    FILE *f = fopen(path, "re");
    while (f && !found && fgets(line, sizeof line, f))
        found = after == NULL || strncmp(line, after, strlen(after)) == 0;
    if (f)
        fclose(f);
    if (!found)
        return false;
    const char *p = line + (after ? strlen(after) : 0);
    size_t n = 0;
    for (p += strspn(p, " \t:=\""); *p && n + 1 < BENCH_TEXT; p++)
        if (*p > ' ' && *p != '"')
            out[n++] = *p;
        else if (n > 0 && out[n - 1] != ' ')
            out[n++] = ' ';
    out[n - (n > 0 && out[n - 1] == ' ')] = 0;
    return true;
}

static void put_fact(struct la_json *j, const char *key, const char *path, const char *after)
{
    char text[BENCH_TEXT];
    if (read_fact(path, after, text))
        la_json_str(j, key, text);
    else
        la_json_null(j, key);
}

static void put_cpu(struct la_json *j)
{
    static const char governor[] = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    char model[BENCH_TEXT];
    cpu_set_t set;
    unsigned quota = la_conf_quota_cpus();
    la_json_open(j, "cpu", '{');
    if (read_fact("/proc/cpuinfo", "model name", model) || read_fact("/proc/cpuinfo", "CPU part", model))
        la_json_str(j, "model", model);
    else
        la_json_null(j, "model");
    la_json_int(j, "count", sysconf(_SC_NPROCESSORS_ONLN));
    la_json_int(j, "usable", sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1);
    la_json_num(j, "quota", quota ? (double)quota : (double)NAN);
    put_fact(j, "governor", governor, NULL);
    la_json_close(j, '}');
}

static void put_sysctls(struct la_json *j)
{
    la_json_open(j, "sysctls", '{');
    for (size_t i = 0; i < la_count(sysctl_name); i++) {
        char path[128];
        size_t n = (size_t)snprintf(path, sizeof path, "/proc/sys/%s", sysctl_name[i]);
        for (size_t k = sizeof "/proc/sys/" - 1; k < n; k++)
            if (path[k] == '.')
                path[k] = '/';
        put_fact(j, sysctl_name[i], path, NULL);
    }
    la_json_close(j, '}');
}

void bench_environment(struct la_text *out)
{
    struct la_json j;
    struct utsname u;
    struct rlimit files = {0};
    char kernel[BENCH_TEXT] = "";
    if (uname(&u) == 0)
        snprintf(kernel, sizeof kernel, "%.60s %.100s %.60s", u.sysname, u.release, u.machine);
    getrlimit(RLIMIT_NOFILE, &files);
    la_json_init(&j, out);
    la_json_open(&j, NULL, '{');
    la_json_str(&j, "lastack", LASTACK_VERSION);
    la_json_str(&j, "kernel", kernel);
    put_fact(&j, "system", "/etc/os-release", "PRETTY_NAME");
    put_cpu(&j);
    put_fact(&j, "memory", "/proc/meminfo", "MemTotal");
    la_json_num(&j, "open_files", files.rlim_max == RLIM_INFINITY ? (double)NAN : (double)files.rlim_max);
    put_sysctls(&j);
    la_json_close(&j, '}');
}
