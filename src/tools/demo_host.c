/* demo_host.c: a helper process that lives where one of the demo's proxies lives: it starts the proxy, counts
 * its ports, ends it.
 *
 * Owns: the proxy process. It has a namespace of its own where the demo may make one, else the host's
 * loopback with a source address of its own, so that the two phases never share ports. Never measures
 * requests (demo_phase.c does).
 *
 * Good path: fork, namespace, wire, then one byte asks, an answer follows: 'g' start, 'n' count. When the
 * asking end closes, for whatever reason, the proxy is ended and the helper exits; it dies with its parent in
 * any case. One thread. */
#include "tools/demo_private.h"

#include "lastack/diag.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROXY_PORT   8080
#define BACKEND_PORT 9000

static void pause_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

void demo_kill(pid_t pid)
{
    if (pid <= 0)
        return;
    kill(pid, SIGTERM);
    for (int i = 0; i < 200; i++) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return;
        pause_ms(10);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

bool demo_wait_listening(const struct la_addr *a, unsigned ms)
{
    for (uint64_t end = la_clock_ns() + ms * 1000000ull; la_clock_ns() < end; pause_ms(20)) {
        int fd = socket(la_addr_family(a), SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool up = fd >= 0 && connect(fd, &a->u.sa, a->len) == 0;
        if (fd >= 0)
            close(fd);
        if (up)
            return true;
    }
    return false;
}

pid_t demo_spawn_proxy(const struct la_addr *listen, const struct la_addr *backend, const char *source,
                       int log_fd)
{
    char from[LA_ADDR_TEXT], to[LA_ADDR_TEXT], pool[16];
    la_addr_text(listen, from);
    la_addr_text(backend, to);
    snprintf(pool, sizeof(pool), "%d", DEMO_POOL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_IGN); /* Ctrl-C is the demo's; it ends the proxy itself */
    dup2(log_fd, STDOUT_FILENO);
    dup2(log_fd, STDERR_FILENO);
    if (source)
        execl("/proc/self/exe", "lastack", "run", "--listen", from, "--upstream", to, "--source", source,
              "--pool", pool, (char *)NULL);
    else
        execl("/proc/self/exe", "lastack", "run", "--listen", from, "--upstream", to, "--pool", pool,
              (char *)NULL);
    _exit(127);
}

/* ---- in the helper ---- */

struct count {
    const struct demo_host *h;
    struct demo_ports *ports;
};

static void count_socket(void *arg, const struct la_diag_socket *s)
{
    struct count *c = arg;
    struct la_addr local = s->local;
    la_addr_set_port(&local, la_addr_port(&c->h->source));
    if (!la_addr_eq(&local, &c->h->source))
        return;
    if (s->state == 6) /* TCP_TIME_WAIT */
        c->ports->time_wait++;
    else
        c->ports->open++;
}

static void count_ports(const struct demo_host *h, struct demo_ports *out)
{
    struct count c = {h, out};
    *out = (struct demo_ports){.usable = DEMO_PORTS};
    la_diag_tcp(LA_DIAG_HOLD_PORTS, &h->backend, 1, count_socket, &c);
}

static pid_t spawn(const struct demo_host *h)
{
    char address[LA_ADDR_TEXT], source[LA_ADDR_TEXT + 16];
    la_addr_host_text(&h->source, address);
    if (h->own_net)
        snprintf(source, sizeof(source), "%s", address);
    else
        snprintf(source, sizeof(source), "%s:%d-%d", address, DEMO_PORT_LOW, DEMO_PORT_HIGH);
    if (h->way == DEMO_POOLED)
        return demo_spawn_proxy(&h->listen, &h->backend, source, h->log_fd);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    _exit(demo_straight_run(h));
}

static void serve(const struct demo_host *h)
{
    pid_t proxy = 0;
    char what;
    while (read(h->fd, &what, 1) == 1) {
        struct demo_ports ports = {0};
        if (what == 'g')
            proxy = spawn(h);
        else if (waitpid(proxy, NULL, WNOHANG) == 0)
            count_ports(h, &ports);
        if (write(h->fd, &ports, sizeof(ports)) != sizeof(ports))
            break;
    }
    demo_kill(proxy);
}

static _Noreturn void helper(struct demo_host *h, unsigned index)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);                     /* Ctrl-C reaches the demo only */
    for (int fd = 3; fd < 256; fd++) { /* above all the other helper's line, which must end with the demo */
        if (fd != h->fd && fd != h->log_fd)
            close(fd);
    }
    char word = 'y';
    bool good = !h->own_net || demo_net_enter(false);
    if (!good || write(h->fd, &word, 1) != 1 || read(h->fd, &word, 1) != 1)
        _exit(1);
    if (h->own_net && !demo_net_inside(index))
        _exit(1);
    if (write(h->fd, &word, 1) == 1)
        serve(h);
    _exit(0);
}

/* ---- in the demo ---- */

static struct la_addr address(const char *fmt, unsigned index, unsigned port)
{
    char text[64];
    const char *why;
    struct la_addr a;
    snprintf(text, sizeof(text), fmt, index, port);
    bool good = la_addr_parse(&a, la_slice_str(text), true, &why);
    la_assert(good);
    return a;
}

/* A free port on loopback; another program may take it before us, then the start fails with a message. */
static unsigned free_port(void)
{
    struct la_addr a = address("127.0.0.%u:%u", 1, 0);
    socklen_t len = sizeof(a.u);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    unsigned port =
        bind(fd, &a.u.sa, a.len) == 0 && getsockname(fd, &a.u.sa, &len) == 0 ? la_addr_port(&a) : 0;
    close(fd);
    return port;
}

static void choose_addresses(struct demo_host *h, unsigned index)
{
    if (h->own_net) {
        h->backend = address("10.77.%u.1:%u", index, BACKEND_PORT);
        h->listen = address("10.77.%u.2:%u", index, PROXY_PORT);
        h->source = address("10.77.%u.2:%u", index, 0);
    } else {
        h->backend = address("127.0.0.%u:%u", 1, free_port());
        h->listen = address("127.0.0.%u:%u", 1, free_port());
        h->source = address("127.0.77.%u:%u", index, 0);
    }
}

bool demo_host_start(struct demo_host *h, enum demo_way way, bool own_net, const char **why)
{
    unsigned index = (unsigned)way + 1;
    int pair[2];
    *h = (struct demo_host){.way = way, .own_net = own_net, .fd = -1};
    choose_addresses(h, index);
    h->log_fd = memfd_create("log", MFD_CLOEXEC);
    *why = "no descriptors";
    if (h->log_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    fflush(stdout);
    h->pid = fork();
    if (h->pid == 0) {
        close(pair[0]);
        h->fd = pair[1];
        helper(h, index);
    }
    close(pair[1]);
    h->fd = pair[0];
    char word = 'y';
    *why = "no network namespace";
    if (h->pid < 0 || read(h->fd, &word, 1) != 1)
        return false;
    *why = "no veth pair";
    if (own_net && !demo_net_wire(h->pid, index))
        return false;
    *why = "the namespace could not be set up";
    return write(h->fd, &word, 1) == 1 && read(h->fd, &word, 1) == 1;
}

bool demo_host_ports(struct demo_host *h, struct demo_ports *out)
{
    char what = 'n';
    return send(h->fd, &what, 1, MSG_NOSIGNAL) == 1 &&
           recv(h->fd, out, sizeof(*out), MSG_WAITALL) == sizeof(*out) && out->usable > 0;
}

bool demo_host_go(struct demo_host *h)
{
    char what = 'g';
    struct demo_ports ports;
    return send(h->fd, &what, 1, MSG_NOSIGNAL) == 1 &&
           recv(h->fd, &ports, sizeof(ports), MSG_WAITALL) == sizeof(ports) &&
           demo_wait_listening(&h->listen, 5000) && demo_host_ports(h, &ports);
}

void demo_host_stop(struct demo_host *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    if (h->pid > 0)
        waitpid(h->pid, NULL, 0);
    h->pid = 0;
}
