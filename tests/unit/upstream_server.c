/* upstream_server.c: what two servers share when one takes the other's place. */
#include "lastack/server.h"
#include "test.h"

static struct la_server *make(const char *label)
{
    struct la_addr a = {.len = sizeof(struct sockaddr_in)};
    a.u.in.sin_family = AF_INET;
    a.u.in.sin_addr.s_addr = htonl(0x0a000001u);
    a.u.in.sin_port = htons(8080);
    struct la_server *s = la_server_new("app", label, &a, 1);
    atomic_store(&s->max, 2);
    atomic_store(&s->tunnels_max, 1);
    return s;
}

/* Places and tunnels of both count against the bounds of each; they go back whoever had taken them, in any order. */
static void test_budget(void)
{
    struct la_server *old = make("old"), *new = make("new");
    CHECK(la_place_take(old) && la_tunnel_place_take(old));
    la_server_take_over(new, old);
    CHECK(!la_tunnel_place_take(new) && !la_tunnel_place_take(old));
    CHECK(la_place_take(new));
    CHECK(!la_place_take(new) && !la_place_take(old));
    la_tunnel_place_put(old);
    la_place_put(old);
    la_server_unref(&old);
    CHECK(la_tunnel_place_take(new));
    CHECK(!la_tunnel_place_take(new));
    la_tunnel_place_put(new);
    la_place_put(new);
    la_server_unref(&new);
}

int main(void)
{
    test_budget();
    return TEST_DONE();
}
