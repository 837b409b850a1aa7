/* The quotas of CPU and memory: the group's own and those above it, both versions; what is not there bounds nothing. */
#include "conf/load.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char root[] = "/tmp/lastack-quota-XXXXXX";

static void put(const char *dir, const char *file, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, dir);
    for (char *p = path + strlen(root) + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(path, 0755);
            *p = '/';
        }
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s%s/%s", root, dir, file);
    FILE *f = fopen(path, "we");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

static unsigned long percent(const char *groups)
{
    char list[512];
    snprintf(list, sizeof list, "%s/list", root);
    put("", "list", groups);
    return la_quota_percent(list, root);
}

static uint64_t memory(const char *groups)
{
    char list[512];
    snprintf(list, sizeof list, "%s/list", root);
    put("", "list", groups);
    return la_quota_memory(list, root);
}

int main(void)
{
    CHECK(mkdtemp(root) != NULL);
    CHECK_EQ(percent("0::/\n"), 0);
    put("/system.slice", "cpu.max", "max 100000\n");
    put("/system.slice/a.service", "cpu.max", "200000 100000\n");
    put("/system.slice/a.service/inner", "cpu.max", "350000 100000\n");
    CHECK_EQ(percent("0::/system.slice\n"), 0);
    CHECK_EQ(percent("0::/system.slice/a.service\n"), 200);
    CHECK_EQ(percent("0::/system.slice/a.service/inner\n"), 200);
    CHECK_EQ(percent("0::/system.slice/gone/inner\n"), 0);
    put("", "cpu.max", "50000 100000\n"); /* a container's own root */
    CHECK_EQ(percent("0::/\n"), 50);
    CHECK_EQ(percent("0::/system.slice/a.service\n"), 50);
    put("/cpu", "cpu.cfs_quota_us", "-1\n");
    put("/cpu/docker", "cpu.cfs_quota_us", "150000\n");
    put("/cpu/docker", "cpu.cfs_period_us", "100000\n");
    CHECK_EQ(percent("7:cpuset:/docker\n4:cpu,cpuacct:/docker\n1:name=systemd:/x\n"), 150);
    CHECK_EQ(percent("4:cpuacct,cpu:/\n"), 0);
    CHECK_EQ(percent("nonsense\n"), 0);
    CHECK_EQ(la_quota_percent("/nowhere", root), 0);
    CHECK_EQ(memory("0::/system.slice/a.service/inner\n"), 0);
    put("/system.slice", "memory.max", "max\n");
    put("/system.slice/a.service", "memory.max", "104857600\n");
    put("/system.slice/a.service/inner", "memory.max", "209715200\n");
    CHECK_EQ(memory("0::/system.slice/a.service/inner\n"), 100 << 20);
    CHECK_EQ(memory("0::/system.slice\n"), 0);
    put("/memory/docker", "memory.limit_in_bytes", "52428800\n");
    CHECK_EQ(memory("4:cpu,cpuacct:/docker\n"), 0);
    CHECK_EQ(memory("4:cpu:/x\n9:memory:/docker\n0::/system.slice/a.service\n"), 50 << 20);
    CHECK_EQ(percent("9:memory:/docker\n"), 0);
    char command[600];
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK_EQ(system(command), 0);
    return TEST_DONE();
}
