/* demo.c: `lastack demo`: its command line and its processes.
 *
 * Owns: the world (a child process that may enter a network namespace and runs both phases) and, with --stay,
 * a backend and a proxy on loopback until Ctrl-C. Never touches the network outside of loopback and its own
 * namespaces, and leaves nothing behind: namespaces end with their processes, and every process dies with its
 * parent.
 *
 * Good path: with --stay, its address is free. The world measures straight, then pooled, prints the table, exits 0. No namespace: the same on
 * loopback. Ctrl-C: the phase under way is cut short, nothing is concluded, exit 130. */
#include "tools/demo.h"
#include "tools/demo_private.h"

#include "lastack/sock.h"
#include "tools/origin.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_NAMESPACE 77 /* the world's exit code */

static const char usage[] =
    "usage: lastack demo [options]\n"
    "\n"
    "Shows in about 20 seconds what short connections do to a proxy without a pool, and to lastack:\n"
    "the same load, a backend that hangs up when idle, 500 local ports. It uses network namespaces of\n"
    "its own when it may make them (root, or unprivileged user namespaces), else loopback.\n"
    "\n"
    "  --seconds N         how long both phases take together, 8 to 600 (default 20)\n"
    "  --rate N            requests per second, 50 to 20000 (default 1000)\n"
    "  --loopback          do not try to make network namespaces\n"
    "  --stay              afterwards serve on --listen, with a backend, until Ctrl-C\n"
    "  --listen ADDRESS    where --stay serves (default 127.0.0.1:8080)\n"
    "  --help              this text\n"
    "\n"
    "Exit code: 0 no request failed through the pool, 1 one did or it could not run, 2 usage.\n";

/* False, and told, when it is none or out of its bounds. */
static bool number(const char *option, const char *text, unsigned least, unsigned most, unsigned *out)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);
    *out = (unsigned)v;
    bool good = end != text && *end == 0 && v >= least && v <= most;
    if (!good)
        fprintf(stderr, "lastack demo: --%s %s: must be from %u to %u, see --help\n", option, text, least, most);
    return good;
}

/* -1: go on; else the exit code. */
static int parse(int argc, char **argv, struct demo_options *o)
{
    static const struct option options[] = {
        {"seconds", 1, NULL, 's'}, {"rate", 1, NULL, 'r'}, {"loopback", 0, NULL, 'l'}, {"stay", 0, NULL, 'S'},
        {"listen", 1, NULL, 'L'},  {"help", 0, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const char *why = "", *listen = NULL;
    *o = (struct demo_options){.seconds = 20, .rate = 1000};
    optind = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        bool good = true;
        switch (c) {
        case 's': good = number("seconds", optarg, 8, 600, &o->seconds); break;
        case 'r': good = number("rate", optarg, 50, 20000, &o->rate); break;
        case 'l': o->loopback = true; break;
        case 'S': o->stay = true; break;
        case 'L': listen = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        default: fputs("Try 'lastack demo --help'.\n", stderr); return 2;
        }
        if (!good)
            return 2;
    }
    if (listen && !o->stay) {
        fputs("lastack demo: --listen is where --stay serves: give both, see --help\n", stderr);
        return 2;
    }
    listen = listen ? listen : "127.0.0.1:8080";
    if (optind < argc || !la_addr_parse(&o->listen, la_slice_str(listen), true, &why)) {
        fprintf(stderr, "lastack demo: %s: %s\n", optind < argc ? argv[optind] : listen,
                optind < argc ? "unexpected argument" : why);
        return 2;
    }
    return -1;
}

/* ---- both phases, in a process of their own ---- */

static int phases(struct demo_host h[DEMO_WAYS], const struct demo_options *o)
{
    struct demo_result r[DEMO_WAYS];
    unsigned load_ms = (o->seconds * 1000 - DEMO_IDLE_MS - 1000) / 2;
    demo_view_intro(o, h[0].own_net);
    for (int way = 0; way < DEMO_WAYS; way++) {
        int code = demo_phase(&h[way], o, load_ms, &r[way]);
        if (code)
            return code;
    }
    demo_view_table(r, h[0].own_net);
    return r[DEMO_POOLED].failed ? 1 : 0;
}

static int world(const struct demo_options *o, bool own_net)
{
    struct demo_host h[DEMO_WAYS] = {{.fd = -1}, {.fd = -1}};
    const char *why = NULL;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_DFL); /* an ignored signal cannot be waited for */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (own_net && !demo_net_enter(true))
        return NO_NAMESPACE;
    bool good = true;
    for (int way = 0; way < DEMO_WAYS && good; way++)
        good = demo_host_start(&h[way], (enum demo_way)way, own_net, &why);
    int code = own_net ? NO_NAMESPACE : 1;
    if (good)
        code = phases(h, o);
    else if (!own_net)
        fprintf(stderr, "lastack demo: %s\n", why);
    for (int way = 0; way < DEMO_WAYS; way++)
        demo_host_stop(&h[way]);
    fflush(stdout);
    return code;
}

static int run_world(const struct demo_options *o, bool own_net)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(world(o, own_net));
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || WIFSIGNALED(status))
        return 1;
    return WEXITSTATUS(status);
}

/* ---- --stay ---- */

/* Asked before all else: nobody wants to learn it 20 seconds later. False: said why not. */
static bool can_listen(const struct la_addr *a)
{
    struct la_listen_options options = {.backlog = 1};
    char text[LA_ADDR_TEXT];
    int fd = la_sock_listen(a, &options);
    if (fd < 0) {
        fprintf(stderr, "lastack demo: --listen %s: %s\n", la_addr_text(a, text), strerror(-fd));
        return false;
    }
    if (la_addr_family(a) == AF_UNIX)
        unlink(a->u.un.sun_path);
    close(fd);
    return true;
}

static void *run_origin(void *arg)
{
    la_origin_run(arg);
    return NULL;
}

static void show_stay(const struct demo_options *o, const struct la_addr *backend)
{
    char at[LA_ADDR_TEXT], from[LA_ADDR_TEXT];
    la_addr_text(&o->listen, at);
    printf("  %sServing on http://%s/%s until Ctrl-C (backend: %s). Try:\n\n"
           "    curl -i 'http://%s/?size=100'\n"
           "    curl -i 'http://%s/?delay_ms=200&status=404'\n\n",
           demo_view_bold(), at, demo_view_plain(), la_addr_text(backend, from), at, at);
    fflush(stdout);
}

static int stay(const struct demo_options *o)
{
    const char *why;
    struct la_origin_conf c = {.idle_ms = 5000, .delay_us = DEMO_WORK_US, .size = 128};
    bool parsed = la_addr_parse(&c.listen, LA_SLICE("127.0.0.1:0"), true, &why);
    struct la_origin *origin = parsed ? la_origin_new(&c) : NULL;
    if (!origin) {
        fprintf(stderr, "lastack demo: the backend cannot listen: %s\n", strerror(errno));
        return 1;
    }
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int code = 1, log_fd = memfd_create("log", MFD_CLOEXEC), got;
    pthread_t thread;
    pid_t proxy = demo_spawn_proxy(&o->listen, la_origin_address(origin), NULL, log_fd);
    bool running = pthread_create(&thread, NULL, run_origin, origin) == 0;
    if (running && proxy > 0 && demo_wait_listening(&o->listen, 3000) && waitpid(proxy, NULL, WNOHANG) == 0) {
        show_stay(o, la_origin_address(origin));
        do {
            sigwait(&set, &got);
        } while (got == SIGCHLD && waitpid(proxy, NULL, WNOHANG) == 0);
        code = got == SIGCHLD;
    }
    if (code) {
        char text[2048];
        ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);
        fprintf(stderr, "lastack demo: the proxy did not start or ended:\n%.*s\n", n > 0 ? (int)n : 0, text);
    }
    demo_kill(proxy);
    if (running) {
        la_origin_stop(origin);
        pthread_join(thread, NULL);
    }
    la_origin_free(origin);
    return code;
}

int la_demo_main(int argc, char **argv)
{
    struct demo_options o;
    int code = parse(argc, argv, &o);
    if (code >= 0)
        return code;
    if (o.stay && !can_listen(&o.listen))
        return 1;
    signal(SIGINT, SIG_IGN); /* while the world runs, Ctrl-C is its business */
    code = o.loopback ? NO_NAMESPACE : run_world(&o, true);
    if (code == NO_NAMESPACE)
        code = run_world(&o, false);
    signal(SIGINT, SIG_DFL);
    if (o.stay && code != 130) {
        int stayed = stay(&o);
        code = code ? code : stayed;
    }
    return code;
}
