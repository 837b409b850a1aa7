/* Addresses and networks: every text form, every refusal, round trips, comparison and hashing. */
#include "lastack/addr.h"
#include "test.h"

#include <arpa/inet.h>

static bool parse(struct la_addr *a, const char *text, bool needs_port, const char **err)
{
    return la_addr_parse(a, la_slice_str(text), needs_port, err);
}

static void good_forms(void)
{
    static const struct {
        const char *text, *canonical, *host;
        bool needs_port;
        int family, port;
    } good[] = {
        {"10.0.0.1:80", "10.0.0.1:80", "10.0.0.1", true, AF_INET, 80},
        {"10.0.0.1", "10.0.0.1:0", "10.0.0.1", false, AF_INET, 0},
        {":8080", "0.0.0.0:8080", "0.0.0.0", true, AF_INET, 8080},
        {"255.255.255.255:65535", "255.255.255.255:65535", "255.255.255.255", true, AF_INET, 65535},
        {"10.0.0.1:0", "10.0.0.1:0", "10.0.0.1", true, AF_INET, 0},
        {"[::1]:80", "[::1]:80", "::1", true, AF_INET6, 80},
        {"[::]:8080", "[::]:8080", "::", true, AF_INET6, 8080},
        {"[2001:DB8:0::1]:443", "[2001:db8::1]:443", "2001:db8::1", true, AF_INET6, 443},
        {"[::1]", "[::1]:0", "::1", false, AF_INET6, 0},
        {"fd00::1", "[fd00::1]:0", "fd00::1", false, AF_INET6, 0},
        {"[fe80::1%lo]:80", "[fe80::1%lo]:80", "fe80::1%lo", true, AF_INET6, 80},
        {"[fe80::1%4294967]:80", "[fe80::1%4294967]:80", "fe80::1%4294967", true, AF_INET6, 80},
        {"[::ffff:10.0.0.1]:80", "10.0.0.1:80", "10.0.0.1", true, AF_INET, 80}, /* one address has one meaning */
        {"::ffff:a00:1", "10.0.0.1:0", "10.0.0.1", false, AF_INET, 0},
        {"unix:/run/a.sock", "unix:/run/a.sock", "unix:", true, AF_UNIX, 0},
        {"unix:/run/with space:80", "unix:/run/with space:80", "unix:", false, AF_UNIX, 0},
    };
    for (size_t i = 0; i < la_count(good); i++) {
        struct la_addr a, again;
        char buf[LA_ADDR_TEXT];
        const char *err = NULL;
        if (!parse(&a, good[i].text, good[i].needs_port, &err))
            fprintf(stderr, "%s: %s\n", good[i].text, err);
        CHECK(err == NULL);
        CHECK_EQ(la_addr_family(&a), good[i].family);
        CHECK_EQ(la_addr_port(&a), good[i].port);
        CHECK(strcmp(la_addr_text(&a, buf), good[i].canonical) == 0);
        CHECK(parse(&again, buf, true, NULL));
        CHECK(la_addr_eq(&a, &again));
        CHECK(la_addr_hash(&a, 1) == la_addr_hash(&again, 1));
        CHECK(strcmp(la_addr_host_text(&a, buf), good[i].host) == 0);
    }
}

static void overlaps(void)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {
        {":80", "127.0.0.1:80", true}, {":80", ":80", true}, {"10.0.0.1:80", "10.0.0.1:80", true}, {"[::]:80", "[::1]:80", true},
        {":80", "127.0.0.1:81", false}, {"10.0.0.1:80", "10.0.0.2:80", false}, {":80", "[::1]:80", false}, {"unix:/a", "unix:/a", true},
        {"unix:/a", "unix:/b", false}, {":80", "unix:/a", false},
    };
    const struct la_addr none = {.len = 0};
    for (size_t i = 0; i < la_count(cases); i++) {
        struct la_addr a, b;
        CHECK(parse(&a, cases[i].a, true, NULL) && parse(&b, cases[i].b, true, NULL));
        CHECK(la_addr_overlap(&a, &b) == cases[i].overlap && la_addr_overlap(&b, &a) == cases[i].overlap);
        CHECK(!la_addr_overlap(&a, &none) && !la_addr_overlap(&none, &a));
    }
    CHECK(!la_addr_overlap(&none, &none));
}

static void bad_forms(void)
{
    static const char *const bad[] = {
        "",
        "x",
        "example.com:80",
        "10.0.0.1:",
        "10.0.0.1:x",
        "10.0.0.1:65536",
        "10.0.0.1:080",
        "10.0.0.1:-1",
        "10.0.0.256:80",
        "10.0.0:80",
        "010.0.0.1:80",
        "0x7f.1:80",
        "10.0.0.1 :80",
        "10.0.0.1:80 ",
        "10.0.0.1:+80",
        "[::1:80",
        "[]:80",
        "[::1]80",
        "[::1]:",
        "[::1]:x",
        "[10.0.0.1]:80",
        "[::g]:80",
        "::1",
        "fd00::1",
        ":::1",
        "[fe80::1%nosuchif0]:80",
        "[fe80::1%]:80",
        "unix:",
        "unix:relative",
        "UNIX:/x",
        ":",
        "10.0.0.1:100000",
        "1111111111111111111111111111111111111:80",
    };
    struct la_addr a;
    const char *err;
    char text[160];
    for (size_t i = 0; i < la_count(bad); i++) {
        err = NULL;
        CHECK(!parse(&a, bad[i], true, &err));
        CHECK(err != NULL && err[0] != 0);
    }
    CHECK(!parse(&a, "10.0.0.1", true, &err) && strstr(err, "port is missing"));
    CHECK(!parse(&a, "[::1]", true, &err) && strstr(err, "port is missing"));
    CHECK(!parse(&a, "::1", true, &err) && strstr(err, "brackets"));
    CHECK(!la_addr_parse(&a, LA_SLICE("unix:/a\0b"), true, &err) && strstr(err, "NUL"));
    CHECK(!la_addr_parse(&a, LA_SLICE("10.0.0.1\0:80"), true, &err));
    memset(text, 'a', sizeof text);
    memcpy(text, "unix:/", 6);
    CHECK(la_addr_parse(&a, la_slice(text, 5 + 107), true, &err));
    char buf[LA_ADDR_TEXT];
    CHECK_EQ(strlen(la_addr_text(&a, buf)), 5 + 107);
    CHECK(!la_addr_parse(&a, la_slice(text, 5 + 108), true, &err) && strstr(err, "107"));
}

static void compare(void)
{
    struct la_addr a, b, none = {0};
    char buf[LA_ADDR_TEXT];
    CHECK(parse(&a, "10.0.0.1:80", true, NULL) && parse(&b, "10.0.0.1:81", true, NULL));
    CHECK(!la_addr_eq(&a, &b));
    CHECK(la_addr_hash(&a, 7) == la_addr_hash(&b, 7)); /* without the port */
    CHECK(la_addr_hash(&a, 7) != la_addr_hash(&a, 8));
    la_addr_set_port(&b, 80);
    CHECK(la_addr_eq(&a, &b));
    CHECK(parse(&b, "10.0.0.2:80", true, NULL) && !la_addr_eq(&a, &b) &&
          la_addr_hash(&a, 7) != la_addr_hash(&b, 7));
    CHECK(parse(&b, "[::1]:80", true, NULL) && !la_addr_eq(&a, &b));
    la_addr_set_port(&b, 81);
    CHECK_EQ(la_addr_port(&b), 81);
    CHECK(parse(&a, "unix:/a", true, NULL) && parse(&b, "unix:/ab", true, NULL) && !la_addr_eq(&a, &b));
    la_addr_set_port(&a, 5);
    CHECK_EQ(la_addr_port(&a), 0);
    CHECK(!la_addr_eq(&a, &none) && la_addr_eq(&none, &none));
    CHECK(strcmp(la_addr_text(&none, buf), "-") == 0 && strcmp(la_addr_host_text(&none, buf), "-") == 0);
}

static void from_sockaddr(void)
{
    struct la_addr a, b;
    char buf[LA_ADDR_TEXT];
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(99)};
    CHECK(inet_pton(AF_INET6, "::ffff:10.1.2.3", &mapped.sin6_addr) == 1);
    la_addr_from_sockaddr(&a, (struct sockaddr *)&mapped, sizeof mapped);
    CHECK(strcmp(la_addr_text(&a, buf), "10.1.2.3:99") == 0);
    CHECK_EQ(a.len, sizeof(struct sockaddr_in));
    CHECK(parse(&b, "[fd00::1]:5", true, NULL));
    la_addr_from_sockaddr(&a, &b.u.sa, b.len);
    CHECK(la_addr_eq(&a, &b));
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    la_addr_from_sockaddr(&a, (struct sockaddr *)&un, sizeof un.sun_family); /* an unnamed client */
    CHECK(strcmp(la_addr_text(&a, buf), "unix:") == 0);
    memcpy(un.sun_path, "\0abc", 4);
    la_addr_from_sockaddr(&a, (struct sockaddr *)&un, offsetof(struct sockaddr_un, sun_path) + 4);
    CHECK(strcmp(la_addr_text(&a, buf), "unix:@abc") == 0);
    memset(un.sun_path, 'p', sizeof un.sun_path); /* the kernel may fill all 108 bytes */
    la_addr_from_sockaddr(&a, (struct sockaddr *)&un, sizeof un);
    CHECK_EQ(strlen(la_addr_text(&a, buf)), 5 + 108);
    la_addr_from_sockaddr(&a, NULL, 0);
    CHECK_EQ(a.len, 0);
    la_addr_from_sockaddr(&a, &b.u.sa, 4); /* cut short */
    CHECK_EQ(a.len, 0);
}

static bool in(const char *net, const char *address)
{
    struct la_net n;
    struct la_addr a;
    CHECK(la_net_parse(&n, la_slice_str(net)));
    CHECK(parse(&a, address, false, NULL));
    return la_net_has(&n, &a);
}

static void nets(void)
{
    static const char *const bad[] = {
        "",         "/8",          "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/x",   "::/129",
        "10.0.0/8", "10.0.0.0/08", "10.0.0.0/-1", "a",           "10.0.0.0/8/8", "[::1]/64", "::ffff:10.0.0.0/95"};
    struct la_net n;
    CHECK(in("10.0.0.0/8", "10.255.0.1:80") && !in("10.0.0.0/8", "11.0.0.1"));
    CHECK(in("10.1.2.3/8", "10.255.0.1")); /* host bits do not count */
    CHECK(in("10.0.0.128/25", "10.0.0.255") && !in("10.0.0.128/25", "10.0.0.127"));
    CHECK(in("0.0.0.0/0", "1.2.3.4") && !in("0.0.0.0/0", "::1"));
    CHECK(in("10.0.0.1", "10.0.0.1") && !in("10.0.0.1", "10.0.0.2"));
    CHECK(in("::1", "::1") && !in("::1", "::2") && in("::/0", "fd00::1") && !in("::/0", "10.0.0.1"));
    CHECK(in("fd00::/9", "fd7f::1") && !in("fd00::/9", "fd80::1"));
    CHECK(in("10.0.0.0/8", "[::ffff:10.0.0.1]") && in("::ffff:10.0.0.0/104", "10.255.0.1") && !in("::ffff:10.0.0.0/104", "11.0.0.1"));
    CHECK(in("::ffff:10.0.0.1", "10.0.0.1") && !in("::ffff:10.0.0.1", "10.0.0.2") && in("::ffff:0:0/96", "1.2.3.4"));
    CHECK(!in("10.0.0.0/8", "unix:/a"));
    for (size_t i = 0; i < la_count(bad); i++)
        CHECK(!la_net_parse(&n, la_slice_str(bad[i])));
}

int main(void)
{
    good_forms();
    overlaps();
    bad_forms();
    compare();
    from_sockaddr();
    nets();
    return TEST_DONE();
}
