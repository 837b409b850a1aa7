/* wire.c: a long wire for the host tests: carries every frame between two interfaces, N milliseconds late.
 *
 *   ip netns exec MIDDLE peer_wire --a eth0 --b eth1 --delay-ms 20
 *
 * Two hosts (network namespaces) are each joined by a veth pair to a third one, in which this program runs;
 * the third has no addresses and forwards nothing by itself. Unlike peer_relay it is no TCP endpoint:
 * handshakes take two delays as well, and whoever closes first closes first at the other end too. For kernels
 * without tc's netem. Offloads (GSO, checksums) pass through (PACKET_VNET_HDR). At most 65,536 frames are
 * under way in each direction, the next ones are dropped. Prints "ready"; frames carried as JSON on SIGTERM
 * or SIGINT. One thread. */
#include "lastack/base.h"
#include "lastack/loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#define FRAME  (70 * 1024)
#define FRAMES 65536

struct frame {
    struct la_list node;
    uint64_t due_ns;
    size_t n;
    char data[];
};

struct end {
    struct la_io io, timer;
    struct end *other;
    struct la_list frames; /* read here, on their way to the other end */
    size_t queued;
    uint64_t carried, dropped;
    int fd, timer_fd;
};

static struct {
    struct la_loop *loop;
    struct la_signal term, intr;
    uint64_t delay_ns;
    struct end end[2];
} wire;

static void arm(struct end *e)
{
    struct frame *f = la_list_first(&e->frames, struct frame, node);
    struct itimerspec at = {0};
    if (f) {
        at.it_value.tv_sec = (time_t)(f->due_ns / 1000000000);
        at.it_value.tv_nsec = (long)(f->due_ns % 1000000000);
    }
    timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_due(struct la_io *io, int events)
{
    (void)events;
    struct end *e = la_container(io, struct end, timer);
    uint64_t times, now;
    if (read(e->timer_fd, &times, sizeof(times)) < 0)
        return;
    now = la_clock_ns();
    struct frame *f;
    while ((f = la_list_first(&e->frames, struct frame, node)) != NULL && f->due_ns <= now) {
        if (send(e->other->fd, f->data, f->n, 0) < 0)
            e->dropped++; /* as a wire does: TCP sends again */
        else
            e->carried++;
        e->queued--;
        la_list_remove(&f->node);
        free(f);
    }
    arm(e);
}

static void on_frame(struct la_io *io, int events)
{
    (void)events;
    struct end *e = la_container(io, struct end, io);
    static char buffer[FRAME];
    for (int i = 0; i < 64; i++) {
        ssize_t n = recv(e->fd, buffer, sizeof(buffer), 0);
        if (n <= 0)
            break;
        if (e->queued >= FRAMES) {
            e->dropped++;
            continue;
        }
        struct frame *f = la_xcalloc(1, sizeof(*f) + (size_t)n);
        la_list_init(&f->node);
        f->due_ns = la_clock_ns() + wire.delay_ns;
        f->n = (size_t)n;
        memcpy(f->data, buffer, (size_t)n);
        la_list_push_back(&e->frames, &f->node);
        if (e->queued++ == 0)
            arm(e);
    }
}

static bool end_init(struct end *e, struct end *other, const char *name)
{
    int on = 1, big = 8 << 20;
    e->other = other;
    la_list_init(&e->frames);
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
    e->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (e->fd < 0 || e->timer_fd < 0 || at.sll_ifindex == 0 ||
        setsockopt(e->fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
        setsockopt(e->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0)
        return false;
    setsockopt(e->fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
    setsockopt(e->fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
    if (bind(e->fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return false;
    la_io_init(&e->io, wire.loop, e->fd, on_frame);
    la_io_want(&e->io, LA_READ);
    la_io_init(&e->timer, wire.loop, e->timer_fd, on_due);
    la_io_want(&e->timer, LA_READ);
    return true;
}

static void on_signal(struct la_signal *s, int signum)
{
    (void)s;
    (void)signum;
    la_loop_stop(wire.loop);
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    (void)mail;
}

int main(int argc, char **argv)
{
    const char *name[2] = {NULL, NULL};
    bool good = true;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--a") == 0)
            name[0] = argv[i + 1];
        else if (strcmp(argv[i], "--b") == 0)
            name[1] = argv[i + 1];
        else if (strcmp(argv[i], "--delay-ms") == 0)
            wire.delay_ns = (uint64_t)(strtod(argv[i + 1], NULL) * 1e6);
        else
            good = false;
    }
    if (!good || !name[0] || !name[1]) {
        fprintf(stderr, "usage: peer_wire --a INTERFACE --b INTERFACE --delay-ms N\n");
        return 2;
    }
    wire.loop = la_loop_new(on_mail, NULL);
    if (!wire.loop || !end_init(&wire.end[0], &wire.end[1], name[0]) ||
        !end_init(&wire.end[1], &wire.end[0], name[1])) {
        fprintf(stderr, "peer_wire: %s, %s: %s\n", name[0], name[1], strerror(errno));
        return 1;
    }
    la_signal_start(&wire.term, wire.loop, SIGTERM, on_signal);
    la_signal_start(&wire.intr, wire.loop, SIGINT, on_signal);
    printf("ready\n");
    fflush(stdout);
    la_loop_run(wire.loop);
    printf("{\"a_to_b\":%llu,\"b_to_a\":%llu,\"dropped\":%llu}\n", (unsigned long long)wire.end[0].carried,
           (unsigned long long)wire.end[1].carried,
           (unsigned long long)(wire.end[0].dropped + wire.end[1].dropped));
    return 0;
}
