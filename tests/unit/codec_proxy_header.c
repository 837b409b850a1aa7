/* codec_proxy_header.c: good and bad headers of both versions, at every split point; what is written is read again. */
#include "test.h"

#include "lastack/proxy_header.h"

#include <stdlib.h>

#define SIG "\r\n\r\n\0\r\nQUIT\n"

struct good {
    const char *text;
    size_t n;
    const char *source, *destination; /* "": it says nothing */
};
#define GOOD(text, source, destination)                                                                                \
    {                                                                                                                  \
        text, sizeof(text) - 1, source, destination                                                                    \
    }
static const struct good goods[] = {
    GOOD("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324", "198.51.100.2:443"),
    GOOD("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0", "255.255.255.255:65535"),
    GOOD("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2"),
    GOOD("PROXY TCP6 ::ffff:10.0.0.1 ::1 1 8\r\n", "10.0.0.1:1", "[::1]:8"),
    GOOD("PROXY UNKNOWN\r\n", "", ""),
    GOOD(
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "", ""),
    GOOD(SIG "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb", "192.0.2.1:56324", "198.51.100.2:443"),
    GOOD(SIG "\x21\x11\0\x10\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb\4\0\1z", "192.0.2.1:56324", "198.51.100.2:443"),
    GOOD(SIG "\x21\x21\0\x24\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\2",
         "[2001:db8::1]:1", "[::1]:2"),
    GOOD(SIG "\x20\0\0\0", "", ""),
    GOOD(SIG "\x20\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb", "", ""),
    GOOD(SIG "\x21\0\0\0", "", ""),
    GOOD(SIG "\x21\x12\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb", "", ""), /* UDP */
};

struct bad {
    const char *text;
    size_t n;
};
#define BAD(text)                                                                                                      \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }
static const struct bad bads[] = {
    BAD("GET / HTTP/1.1\r\n"),
    BAD("PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n"),
    BAD("PROXY\r\n"),
    BAD("PROXY \r\n"),
    BAD("proxy UNKNOWN\r\n"),
    BAD("PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n"),
    BAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n"),
    BAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n"),
    BAD("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n"),
    BAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 65536\r\n"),
    BAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 -2\r\n"),
    BAD("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n"),
    BAD("PROXY TCP4 ::1 ::1 1 2\r\n"),
    BAD("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"),
    BAD("PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n"),
    BAD("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\rX"),
    BAD("PROXY TCP4 192.0.2.1\t198.51.100.2 1 2\r\n"),
    BAD("PROXY UNKNOWN "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    BAD("\r\n\r\n\0\r\nQUIX"),
    BAD(SIG "\x11"),
    BAD(SIG "\x22"),
    BAD(SIG "\x21\x11\0\x0b"),
    BAD(SIG "\x21\x21\0\x23"),
    BAD(SIG "\x21\x11\x80\0"),
};

static void read_good(const struct good *g)
{
    struct la_proxy_header h;
    char text[LA_ADDR_TEXT];
    for (size_t n = 0; n < g->n; n++) {
        char *exact = la_xcalloc(1, n + 1);
        memcpy(exact, g->text, n);
        CHECK(la_proxy_header_parse(&h, exact, n) == LA_PROXY_MORE);
        free(exact);
    }
    CHECK(la_proxy_header_parse(&h, g->text, g->n) == LA_PROXY_DONE && h.n == g->n);
    CHECK(h.source.len ? strcmp(la_addr_text(&h.source, text), g->source) == 0 : g->source[0] == 0);
    CHECK(h.destination.len ? strcmp(la_addr_text(&h.destination, text), g->destination) == 0 : g->destination[0] == 0);
}

static void read_bad(const struct bad *b)
{
    struct la_proxy_header h;
    bool refused = false;
    for (size_t n = 1; n <= b->n; n++) {
        enum la_proxy_parse result = la_proxy_header_parse(&h, b->text, n);
        CHECK(result != LA_PROXY_DONE && h.n == 0 && h.source.len == 0);
        CHECK(!refused || result == LA_PROXY_BAD);
        refused = result == LA_PROXY_BAD;
    }
    CHECK(refused);
}

static void write_and_read(void)
{
    static const char *const pairs[][2] = {{"10.0.0.1:1", "10.0.0.2:65535"},
                                           {"[2001:db8::1]:7", "[::1]:8"},
                                           {"10.0.0.1:1", "[::1]:8"},
                                           {"unix:/x", "unix:/y"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (int version = 1; version <= 2; version++) {
            struct la_addr from, to;
            struct la_proxy_header h;
            const char *why;
            char buf[LA_PROXY_HEADER_WRITTEN];
            CHECK(la_addr_parse(&from, la_slice_str(pairs[i][0]), true, &why) &&
                  la_addr_parse(&to, la_slice_str(pairs[i][1]), true, &why));
            size_t n = la_proxy_header_write(buf, version, &from, &to);
            CHECK(la_proxy_header_parse(&h, buf, n) == LA_PROXY_DONE && h.n == n);
            CHECK(i < 3 ? la_addr_eq(&h.source, &from) && la_addr_eq(&h.destination, &to) : h.source.len == 0);
        }
    char buf[LA_PROXY_HEADER_WRITTEN];
    CHECK(la_proxy_header_write(buf, 1, NULL, NULL) == 15 && memcmp(buf, "PROXY UNKNOWN\r\n", 15) == 0);
}

int main(void)
{
    for (size_t i = 0; i < sizeof goods / sizeof *goods; i++)
        read_good(&goods[i]);
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++)
        read_bad(&bads[i]);
    write_and_read();
    return TEST_DONE();
}
