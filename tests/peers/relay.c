/* relay.c: a TCP relay that delays every byte, FIN and RST by N ms each way: a long wire for the tests.
 *
 *   peer_relay --listen ADDRESS --target ADDRESS --delay-ms 20 [--control ADDRESS] [--accept-tls PEM]
 *              [--connect-tls NAME [--resume 0]]
 *
 * The handshake is not delayed (the kernel does it). Counts which side's FIN or RST reached the relay first,
 * which is what a wire sees. At most 1 MiB is in flight per direction; then it stops reading. Prints "ready
 * ADDRESS"; its counts as one JSON line on SIGTERM or SIGINT, and to whoever asks GET on the control address
 * (/reset sets them to zero). One thread.
 *
 * --accept-tls (certificate and key in one file) and --connect-tls (asks for NAME, trusts anybody) speak TLS on that
 * side: between plain programs and the proxy they make a TLS client or a TLS server of each, connection by connection.
 * The end of one side is the end of the other: close_notify and FIN for FIN. */
#include "lastack/addr.h"
#include "lastack/json.h"
#include "lastack/loop.h"
#include "lastack/sock.h"
#include "lastack/tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define IN_FLIGHT (1 << 20)
#define PIECE     16384

enum kind { DATA, FIN, RST };

struct piece {
    struct la_list node;
    uint64_t due_ns;
    enum kind kind;
    size_t n, at;
    char data[];
};

struct session;

/* One side of a session: its socket, and what was read from it and is on its way to the other one. */
struct side {
    struct session *s;
    struct la_stream stream;
    struct la_timer timer;
    struct la_list pieces;
    size_t queued;
    bool read_ended, fin_delivered, connecting, shaking;
    int shake_want;
};

struct session {
    struct side side[2]; /* 0: client, 1: server */
    bool first_seen;
};

static struct {
    struct la_addr listen, target, control;
    uint64_t delay_ns;
    struct la_loop *loop;
    struct la_tls *accept_tls, *connect_tls;
    const char *connect_name;
    struct la_tls_slot *slot;
    struct la_tls_ring *ring;
    struct la_tls_meter meter;
    bool fresh;
    struct la_io accept_io, control_io;
    struct la_signal term, intr;
    uint64_t sessions, open, refused, client_fin, client_rst, server_fin, server_rst, bytes;
} relay;

static void session_free(struct session *s, bool reset)
{
    for (int i = 0; i < 2; i++) {
        struct side *d = &s->side[i];
        la_timer_stop(&d->timer);
        if (reset)
            la_stream_reset(&d->stream);
        else
            la_stream_close(&d->stream);
        struct piece *p;
        while ((p = la_list_first(&d->pieces, struct piece, node)) != NULL) {
            la_list_remove(&p->node);
            free(p);
        }
    }
    relay.open--;
    free(s);
}

static struct side *other(struct side *d)
{
    return d == &d->s->side[0] ? &d->s->side[1] : &d->s->side[0];
}

static void want(struct side *d)
{
    struct side *o = other(d);
    struct piece *waiting = la_list_first(&o->pieces, struct piece, node);
    if (d->shaking && !d->connecting) {
        la_io_want(&d->stream.io, d->shake_want);
        return;
    }
    int events = !d->read_ended && !d->connecting && d->queued < IN_FLIGHT ? LA_READ : 0;
    if (d->connecting || (waiting && waiting->due_ns <= la_clock_ns()))
        events |= LA_WRITE;
    la_io_want(&d->stream.io, events);
}

/* Sends what is due from d to the other side. False: the session is gone. */
static bool deliver(struct side *d)
{
    struct side *to = other(d);
    struct piece *p;
    while (!to->connecting && !to->shaking && (p = la_list_first(&d->pieces, struct piece, node)) != NULL) {
        uint64_t now = la_clock_ns();
        if (p->due_ns > now) {
            la_timer_set(&d->timer, (p->due_ns - now) / 1000000);
            break;
        }
        if (p->kind == RST) {
            session_free(d->s, true);
            return false;
        }
        if (p->kind == FIN) {
            la_stream_shutdown(&to->stream);
            d->fin_delivered = true;
        }
        struct iovec v = {p->data + p->at, p->n - p->at};
        ssize_t n = p->kind == FIN ? 0 : la_stream_send(&to->stream, &v, 1, false);
        if (n == LA_STREAM_AGAIN)
            break;
        p->at += n > 0 ? (size_t)n : p->n; /* an error: the other side's reset is read there */
        if (p->at < p->n)
            continue;
        d->queued -= p->n;
        la_list_remove(&p->node);
        free(p);
    }
    if (d->fin_delivered && to->fin_delivered) {
        session_free(d->s, false);
        return false;
    }
    want(d);
    want(to);
    return true;
}

static void on_timer(struct la_timer *t)
{
    deliver(la_container(t, struct side, timer));
}

static void enqueue(struct side *d, enum kind kind, const char *data, size_t n)
{
    struct piece *p = la_xcalloc(1, sizeof(*p) + n);
    la_list_init(&p->node);
    p->kind = kind;
    p->due_ns = la_clock_ns() + relay.delay_ns;
    p->n = n;
    if (n)
        memcpy(p->data, data, n);
    la_list_push_back(&d->pieces, &p->node);
    d->queued += n;
    if (kind == DATA)
        return;
    d->read_ended = true;
    if (d->s->first_seen)
        return;
    d->s->first_seen = true;
    bool client = d == &d->s->side[0];
    uint64_t *count = kind == FIN ? (client ? &relay.client_fin : &relay.server_fin)
                                  : (client ? &relay.client_rst : &relay.server_rst);
    ++*count;
}

static void on_side(struct la_io *io, int events)
{
    struct side *d = la_container(io, struct side, stream.io);
    if (d->connecting) {
        int why = 0;
        socklen_t len = sizeof(why);
        getsockopt(la_stream_fd(&d->stream), SOL_SOCKET, SO_ERROR, &why, &len);
        d->connecting = false;
        if (why) {
            relay.refused++;
            session_free(d->s, true);
            return;
        }
        if (relay.connect_tls)
            la_assert(
                la_tls_connect(&d->stream, relay.connect_tls, relay.connect_name, relay.fresh ? NULL : relay.slot));
    }
    if (d->shaking) {
        int done = la_stream_handshake(&d->stream, &d->shake_want);
        if (done == LA_STREAM_FAIL) {
            session_free(d->s, true);
            return;
        }
        d->shaking = done != 0;
        events = d->shaking ? 0 : LA_READ | LA_WRITE;
    }
    if (events & LA_READ) {
        char buffer[PIECE];
        ssize_t n = la_stream_recv(&d->stream, buffer, sizeof(buffer));
        if (n > 0) {
            relay.bytes += (uint64_t)n;
            enqueue(d, DATA, buffer, (size_t)n);
        } else if (n == 0) {
            enqueue(d, FIN, NULL, 0);
        } else if (n != LA_STREAM_AGAIN) {
            enqueue(d, RST, NULL, 0);
        }
    }
    if (deliver(d) && (events & LA_WRITE))
        deliver(other(d));
}

static void side_init(struct side *d, struct session *s, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    d->s = s;
    la_list_init(&d->pieces);
    la_timer_init(&d->timer, relay.loop, on_timer);
    la_stream_init(&d->stream, relay.loop, fd, on_side);
}

static void on_accept(struct la_io *io, int events)
{
    (void)events;
    int fd = accept4(la_io_fd(io), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    int to = socket(la_addr_family(&relay.target), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool now = to >= 0 && connect(to, &relay.target.u.sa, relay.target.len) == 0;
    if (to < 0 || (!now && errno != EINPROGRESS)) {
        struct linger hard = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        relay.refused++;
        close(fd);
        if (to >= 0)
            close(to);
        return;
    }
    struct session *s = la_xcalloc(1, sizeof(*s));
    relay.sessions++;
    relay.open++;
    side_init(&s->side[0], s, fd);
    side_init(&s->side[1], s, to);
    s->side[1].connecting = true;
    s->side[1].shaking = relay.connect_tls != NULL;
    s->side[0].shaking = relay.accept_tls != NULL;
    s->side[0].shake_want = LA_READ;
    if (relay.accept_tls)
        la_assert(la_tls_accept(&s->side[0].stream, relay.accept_tls, &relay.meter));
    want(&s->side[0]);
    want(&s->side[1]);
}

static void put_json(struct la_text *out)
{
    struct la_json j;
    la_json_init(&j, out);
    la_json_open(&j, NULL, '{');
    la_json_int(&j, "sessions", (int64_t)relay.sessions);
    la_json_int(&j, "open", (int64_t)relay.open);
    la_json_int(&j, "refused", (int64_t)relay.refused);
    la_json_int(&j, "first_client_fin", (int64_t)relay.client_fin);
    la_json_int(&j, "first_client_rst", (int64_t)relay.client_rst);
    la_json_int(&j, "first_server_fin", (int64_t)relay.server_fin);
    la_json_int(&j, "first_server_rst", (int64_t)relay.server_rst);
    la_json_int(&j, "bytes", (int64_t)relay.bytes);
    la_json_close(&j, '}');
    la_text_add(out, "\n", 1);
}

static void on_control(struct la_io *io, int events)
{
    (void)events;
    int fd = accept4(la_io_fd(io), NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct timeval patience = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    char in[4096];
    ssize_t n = recv(fd, in, sizeof(in), 0);
    if (n > 10 && memcmp(in, "GET /reset", 10) == 0)
        relay.sessions = relay.refused = relay.client_fin = relay.client_rst = relay.server_fin = relay.server_rst =
            relay.bytes = 0;
    struct la_text body = {0}, all = {0};
    put_json(&body);
    la_text_addf(&all, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", body.n, body.p);
    if (send(fd, all.p, all.n, MSG_NOSIGNAL) > 0)
        shutdown(fd, SHUT_WR);
    close(fd);
    la_text_fini(&body);
    la_text_fini(&all);
}

static void on_signal(struct la_signal *s, int signum)
{
    (void)s;
    (void)signum;
    la_loop_stop(relay.loop);
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    (void)mail;
}

static bool listen_on(const struct la_addr *a, struct la_io *io, void (*cb)(struct la_io *, int))
{
    int on = 1, fd = socket(la_addr_family(a), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, &a->u.sa, a->len) < 0 || listen(fd, 4096) < 0) {
        close(fd);
        return false;
    }
    la_io_init(io, relay.loop, fd, cb);
    la_io_want(io, LA_READ);
    return true;
}

static void tell(void *arg, enum la_tls_part part, size_t index, bool warning, const char *text)
{
    (void)arg;
    (void)part;
    (void)index;
    fprintf(stderr, "peer_relay: %s%s\n", warning ? "warning: " : "", text);
}

static bool option(const char *name, const char *value)
{
    const char *why;
    if (strcmp(name, "--accept-tls") == 0) {
        struct la_tls_pair pair = {.certificate = value};
        struct la_tls_server_spec spec = {
            .name = "relay", .pair = &pair, .pairs = 1, .min_version = 2, .session_ms = 3600000};
        spec.ring = relay.ring = la_tls_ring_new();
        return (relay.accept_tls = la_tls_server_new(&spec, tell, NULL)) != NULL;
    }
    if (strcmp(name, "--connect-tls") == 0) {
        struct la_tls_client_spec spec = {.min_version = 2};
        relay.connect_name = value;
        relay.slot = la_tls_slot_new();
        return (relay.connect_tls = la_tls_client_new(&spec, tell, NULL)) != NULL;
    }
    if (strcmp(name, "--listen") == 0)
        return la_addr_parse(&relay.listen, la_slice_str(value), true, &why);
    if (strcmp(name, "--target") == 0)
        return la_addr_parse(&relay.target, la_slice_str(value), true, &why);
    if (strcmp(name, "--control") == 0)
        return la_addr_parse(&relay.control, la_slice_str(value), true, &why);
    if (strcmp(name, "--resume") == 0) { /* 0: each handshake is a full one */
        relay.fresh = strcmp(value, "0") == 0;
        return true;
    }
    relay.delay_ns = strtoull(value, NULL, 10) * 1000000;
    return strcmp(name, "--delay-ms") == 0;
}

int main(int argc, char **argv)
{
    bool good = argc > 1;
    relay.meter.percent = 100;
    for (int i = 1; i < argc && good; i += 2)
        good = i + 1 < argc && option(argv[i], argv[i + 1]);
    if (!good || relay.listen.len == 0 || relay.target.len == 0) {
        fprintf(stderr, "usage: peer_relay --listen ADDRESS --target ADDRESS --delay-ms N [--control ADDRESS]\n");
        return 2;
    }
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most);
    }
    relay.loop = la_loop_new(on_mail, NULL);
    if (!relay.loop || !listen_on(&relay.listen, &relay.accept_io, on_accept) ||
        (relay.control.len && !listen_on(&relay.control, &relay.control_io, on_control))) {
        fprintf(stderr, "peer_relay: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    la_signal_start(&relay.term, relay.loop, SIGTERM, on_signal);
    la_signal_start(&relay.intr, relay.loop, SIGINT, on_signal);
    char text[LA_ADDR_TEXT];
    printf("ready %s\n", la_addr_text(&relay.listen, text));
    fflush(stdout);
    la_loop_run(relay.loop);
    struct la_text out = {0};
    put_json(&out);
    fputs(out.p, stdout);
    la_text_fini(&out);
    return 0;
}
