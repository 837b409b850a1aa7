/* io_diag_unix.c: what is known of the other end of a Unix socket: not accepted, accepted and nothing read, read in part,
 * read; and of what is no Unix socket. */
#include "lastack/diag.h"
#include "test.h"

#include <stddef.h>
#include <string.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void test_peer(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct la_diag_peer peer;
    int n = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "lastack-test-%d", (int)getpid());
    socklen_t at_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&at, at_n) == 0 && listen(listener, 1) == 0);
    CHECK(connect(fd, (struct sockaddr *)&at, at_n) == 0);
    CHECK(write(fd, "12345678abcd", 12) == 12);
    CHECK(la_diag_unix_peer(fd, &peer) && !peer.accepted);
    int server = accept(listener, NULL, NULL);
    CHECK(la_diag_unix_peer(fd, &peer) && peer.accepted && peer.unread == 12);
    char buf[16];
    CHECK(read(server, buf, 8) == 8);
    CHECK(la_diag_unix_peer(fd, &peer) && peer.unread == 4); /* of the same message */
    CHECK(write(fd, "xyz", 3) == 3);
    CHECK(la_diag_unix_peer(fd, &peer) && peer.unread == 7);
    CHECK(read(server, buf, sizeof buf) == 7);
    CHECK(la_diag_unix_peer(fd, &peer) && peer.accepted && peer.unread == 0);
    close(server);
    close(listener);
    close(fd);
}

static void test_no_unix_socket(void)
{
    struct la_diag_peer peer;
    int fd = socket(AF_INET, SOCK_STREAM, 0), alone = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(!la_diag_unix_peer(fd, &peer));
    CHECK(!la_diag_unix_peer(alone, &peer)); /* not connected */
    CHECK(!la_diag_unix_peer(-1, &peer));
    close(fd);
    close(alone);
}

int main(void)
{
    test_peer();
    test_no_unix_socket();
    return TEST_DONE();
}
