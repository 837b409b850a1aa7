/* upstream_server.c: what two servers share when one takes the other's place: places, tunnels, counts. */
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

static unsigned usable(uint16_t low, uint16_t high)
{
    return (unsigned)(high - low) + 1;
}

/* As one whose sources are 127.0.0.<from> and the next, up to n of them; 0: the kernel's choice. */
static struct la_server *with_sources(unsigned from, unsigned n, struct la_server *before)
{
    struct la_server *s = make("label");
    struct la_source_spec spec[100] = {0};
    for (unsigned i = 0; i < n; i++) {
        spec[i].address = s->addr;
        spec[i].address.u.in.sin_port = 0;
        spec[i].address.u.in.sin_addr.s_addr = htonl(0x7f000000u + from + i);
    }
    s->ledger = la_ledger_new(&s->addr, spec, n, 32768, 60999, usable);
    if (before)
        la_server_count_on(s, before);
    la_server_name_sources(s);
    return s;
}

/* A source that both have is counted in one place, others in places of their own. The counts outlive who began them. */
static void test_tally(void)
{
    struct la_server *old = with_sources(0, 0, NULL), *next = with_sources(1, 2, old), *last = with_sources(2, 2, next);
    la_stat_add(&old->stats[0].opened[la_server_slot(old, 0)], 1);
    la_stat_add(&next->stats[0].opened[la_server_slot(next, 0)], 10);
    la_stat_add(&next->stats[0].opened[la_server_slot(next, 1)], 100);
    la_stat_add(&next->stats[0].closed[LA_CLOSE_GOODBYE], 5);
    la_server_unref(&old);
    la_server_unref(&next);
    la_stat_add(&last->stats[0].opened[la_server_slot(last, 0)], 200);
    static const char *const name[] = {"default", "127.0.0.1", "127.0.0.2", "127.0.0.3"};
    static const unsigned opened[] = {1, 10, 300, 0};
    CHECK_EQ(last->tally->sources, la_count(name));
    for (unsigned i = 0; i < la_count(name); i++) {
        CHECK(strcmp(last->tally->source[i], name[i]) == 0);
        CHECK_EQ(la_stat_get(&last->stats[0].opened[i]), opened[i]);
    }
    CHECK_EQ(la_stat_get(&last->stats[0].closed[LA_CLOSE_GOODBYE]), 5);
    la_server_unref(&last);
}

/* More sources than slots, at once or one after the other: the last slot is all others'. */
static void test_many_sources(void)
{
    struct la_server *one = with_sources(1, 60, NULL), *two = with_sources(50, 100, one);
    CHECK_EQ(la_server_slot(one, 59), 59);
    CHECK_EQ(la_server_slot(two, 0), 49);
    CHECK_EQ(la_server_slot(two, 10), 59);
    CHECK_EQ(la_server_slot(two, 14), 63);
    CHECK_EQ(la_server_slot(two, 15), LA_SOURCE_SLOTS - 1);
    CHECK_EQ(la_server_slot(two, 99), LA_SOURCE_SLOTS - 1);
    CHECK_EQ(two->tally->sources, LA_SOURCE_SLOTS);
    CHECK(strcmp(two->tally->source[LA_SOURCE_SLOTS - 1], "other") == 0);
    la_server_unref(&one);
    la_server_unref(&two);
}

int main(void)
{
    test_budget();
    test_tally();
    test_many_sources();
    return TEST_DONE();
}
