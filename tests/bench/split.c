/* split.c: the least that a proxy must do with a get of many keys over several memcached servers.
 *
 *   bench_split PORT SERVER-PORT...
 *
 * One client at a time, one line at a time: each server is sent its share of the keys as they came, in one writev, whatever
 * they are (so every server must hold every key); the answers go back in one writev, all but the last without their END. It
 * hashes nothing, looks at no key and no value, checks and times nothing; every socket blocks. Ends by SIGTERM. */
#include "bench.h"

#include <fcntl.h>
#include <sys/uio.h>

#define SERVERS 16
#define BYTES   (1u << 20)

static const char end[] = "END\r\n";

static struct {
    int fd;
    size_t n; /* of its answer */
    char answer[BYTES];
} server[SERVERS];
static unsigned servers;
static char line[BYTES];

static int dial(uint64_t port)
{
    struct sockaddr_in a = bench_address(port);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        bench_die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

/* The end of `keys` keys from p on, each behind a space. */
static char *skip(char *p, size_t keys)
{
    while (keys--)
        p += 1 + strcspn(p + 1, " ");
    return p;
}

/* keys: " key key ... key", with a 0 behind. */
static void ask(char *keys)
{
    size_t all = 0, done = 0;
    for (const char *p = keys; *p; p++)
        all += *p == ' ';
    for (unsigned i = 0; i < servers; i++) {
        size_t share = all * (i + 1) / servers - done;
        char *to = skip(keys, share);
        struct iovec v[] = {{(void *)(uintptr_t) "get", 3}, {keys, (size_t)(to - keys)}, {(void *)(uintptr_t) "\r\n", 2}};
        if (writev(server[i].fd, v, 3) != (ssize_t)(5 + (to - keys)))
            bench_die("writev to a server");
        done += share;
        keys = to;
    }
}

static void gather(unsigned i)
{
    const size_t tail = sizeof(end) - 1;
    server[i].n = 0;
    while (server[i].n < tail || memcmp(server[i].answer + server[i].n - tail, end, tail) != 0) {
        ssize_t k = recv(server[i].fd, server[i].answer + server[i].n, BYTES - server[i].n, 0);
        if (k <= 0)
            bench_die("recv from a server");
        server[i].n += (size_t)k;
    }
}

static void answer(int client)
{
    struct iovec v[SERVERS];
    size_t left = 0;
    for (unsigned i = 0; i < servers; i++) {
        gather(i);
        v[i] = (struct iovec){server[i].answer, server[i].n - (i + 1 < servers ? sizeof(end) - 1 : 0)};
        left += v[i].iov_len;
    }
    while (left) {
        ssize_t k = writev(client, v, (int)servers);
        if (k <= 0)
            return;
        left -= (size_t)k;
        for (unsigned i = 0; i < servers; i++) {
            size_t n = (size_t)k < v[i].iov_len ? (size_t)k : v[i].iov_len;
            v[i].iov_base = (char *)v[i].iov_base + n;
            v[i].iov_len -= n;
            k -= (ssize_t)n;
        }
    }
}

static void serve(int client)
{
    size_t n = 0;
    ssize_t k;
    while (n + 1 < BYTES && (k = recv(client, line + n, BYTES - 1 - n, 0)) > 0) {
        n += (size_t)k;
        if (n < 6 || line[n - 1] != '\n')
            continue;
        line[n - 2] = 0;
        ask(line + 3);
        answer(client);
        n = 0;
    }
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc - 2 > SERVERS) {
        fprintf(stderr, "usage: bench_split PORT SERVER-PORT... (at most %d)\n", SERVERS);
        return 2;
    }
    int on = 1, listener = bench_listen(bench_number(argv[1]), false);
    fcntl(listener, F_SETFL, 0); /* it waits in accept */
    for (int i = 2; i < argc; i++)
        server[servers++].fd = dial(bench_number(argv[i]));
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            continue;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        serve(client);
        close(client);
    }
}
