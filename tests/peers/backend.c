/* backend.c: the origin (tools/origin.h) as a program for the tests.
 *
 *   peer_backend --listen 127.0.0.1:9000 [--control 127.0.0.1:9001] [--idle-ms 5000] [--fault reset=5] ...
 *
 * Every setting of la_origin_conf is an option of its name with dashes, and a key of GET /set?... on the
 * control port. Prints "ready ADDRESS" when it listens; on SIGTERM or SIGINT its counts as one JSON line, and
 * exits 0. */
#include "tools/origin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static void usage(FILE *to)
{
    fprintf(to, "usage: peer_backend --listen ADDRESS [--control ADDRESS] [--fault NAME=PERCENT]... [--KEY "
                "NUMBER]...\n"
                "keys:");
    for (size_t i = 0; la_origin_key(i); i++)
        fprintf(to, " %s", la_origin_key(i));
    fprintf(to, "\nfaults:");
#define X(id, name) fprintf(to, " %s", name);
    LA_ORIGIN_FAULTS(X)
#undef X
    fprintf(to, "\ncontrol: GET /stats /reset /set?key=value&... (fault.NAME=percent too) /listen?on=0|1 "
                "/close_idle /reset_all\n");
}

static bool address(struct la_addr *out, const char *text)
{
    const char *why = NULL;
    if (la_addr_parse(out, la_slice_str(text), true, &why))
        return true;
    fprintf(stderr, "peer_backend: %s: %s\n", text, why);
    return false;
}

/* --idle-ms 5000, --fault reset=5 */
static bool option(struct la_origin_conf *c, const char *name, const char *value)
{
    if (strcmp(name, "listen") == 0)
        return address(&c->listen, value);
    if (strcmp(name, "control") == 0)
        return address(&c->control, value);
    char key[64];
    struct la_slice v = la_slice_str(value);
    if (strcmp(name, "fault") == 0) {
        const char *eq = strchr(value, '=');
        snprintf(key, sizeof(key), "fault.%.*s", eq ? (int)(eq - value) : 0, value);
        v = la_slice_str(eq ? eq + 1 : "");
    } else {
        snprintf(key, sizeof(key), "%s", name);
        for (char *p = key; *p; p++)
            if (*p == '-')
                *p = '_';
    }
    if (la_origin_set(c, la_slice_str(key), v))
        return true;
    fprintf(stderr, "peer_backend: --%s %s: unknown option or bad value\n", name, value);
    return false;
}

static void *wait_for_signal(void *arg)
{
    sigset_t set;
    int which;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigwait(&set, &which);
    la_origin_stop(arg);
    return NULL;
}

int main(int argc, char **argv)
{
    struct la_origin_conf c = {.size = 128};
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--help") == 0) {
            usage(stdout);
            return 0;
        }
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc || !option(&c, argv[i] + 2, argv[i + 1])) {
            usage(stderr);
            return 2;
        }
    }
    if (c.listen.len == 0) {
        usage(stderr);
        return 2;
    }
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    struct la_origin *o = la_origin_new(&c);
    if (!o) {
        fprintf(stderr, "peer_backend: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    pthread_t waiter;
    if (pthread_create(&waiter, NULL, wait_for_signal, o) != 0)
        return 1;
    char text[LA_ADDR_TEXT];
    printf("ready %s\n", la_addr_text(la_origin_address(o), text));
    fflush(stdout);
    la_origin_run(o);
    pthread_join(waiter, NULL);
    struct la_text json = {0};
    la_origin_json(o, &json);
    puts(json.p);
    la_text_fini(&json);
    la_origin_free(o);
    return 0;
}
