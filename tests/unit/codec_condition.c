/* codec_condition.c: dates both ways, entity tags, ranges. */
#include "lastack/condition.h"

#include "test.h"

#include <time.h>

static void test_dates(void)
{
    char text[LA_HTTP_DATE], other[64];
    int64_t t;
    uint64_t random = 4711;
    for (int i = 0; i < 20000; i++) {
        time_t at = (time_t)(la_random(&random) % 8000000000u);
        struct tm tm;
        gmtime_r(&at, &tm);
        strftime(other, sizeof other, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        CHECK(la_slice_eq(la_http_date_write(text, at), la_slice_str(other)));
        CHECK(la_http_date_read(la_slice_str(text), &t) && t == at);
        strftime(other, sizeof other, "%a %b %e %H:%M:%S %Y", &tm);
        CHECK(la_http_date_read(la_slice_str(other), &t) && t == at);
        size_t n = strftime(other, sizeof other, "%A, %d-%b-", &tm);
        snprintf(other + n, sizeof other - n, "%02d %02d:%02d:%02d GMT", tm.tm_year % 100, tm.tm_hour,
                 tm.tm_min, tm.tm_sec);
        CHECK(tm.tm_year >= 170 || (la_http_date_read(la_slice_str(other), &t) && t == at));
    }
    static const char *const wrong[] = {"",
                                        "0",
                                        "yesterday",
                                        "Sun, 06 Nov 1994 08:49:37",
                                        "Sun, 06 Nov 1994 08:49:37 GMT ",
                                        "Sun, 31 Feb 1994 08:49:37 GMT",
                                        "Sun, 29 Feb 1900 00:00:00 GMT",
                                        "Sun, 06 Nov 1994 24:00:00 GMT",
                                        "Sun, 06 nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1969 08:49:37 GMT",
                                        "Sun, 00 Nov 1994 08:49:37 GMT",
                                        "Sun",
                                        "Sun,",
                                        ","};
    for (size_t i = 0; i < la_count(wrong); i++)
        CHECK(!la_http_date_read(la_slice_str(wrong[i]), &t));
    la_http_date_write(text, -5);
    CHECK(strcmp(text, "Thu, 01 Jan 1970 00:00:00 GMT") == 0);
    la_http_date_write(text, INT64_MAX);
    CHECK(strcmp(text, "Fri, 31 Dec 9999 23:59:59 GMT") == 0);
}

static void test_tags(void)
{
    const struct la_slice tag = LA_SLICE("\"a,b\"");
#define IN(list, weak) la_http_etag_in(LA_SLICE(list), tag, weak)
    CHECK(IN("\"a,b\"", false) && IN("\"x\", \"a,b\"", false) && IN("*", false) && IN("W/\"a,b\"", true));
    CHECK(IN("W/\"x\",,\"a,b\"", false) && IN("  \"a,b\"", true));
    CHECK(!IN("W/\"a,b\"", false) && !IN("", true) && !IN("a,b", true) && !IN("\"a,b", true) &&
          !IN("\"a\", \"b\"", true));
    CHECK(!IN("W/", true) && !IN("x, \"a,b\"", true) && !IN("\"", true));
}

static void test_ranges(void)
{
    static const struct {
        const char *text;
        enum la_http_range result;
        uint64_t from, to;
    } cases[] = {
        {"bytes=0-0", LA_RANGE_PART, 0, 1},
        {"bytes=0-", LA_RANGE_PART, 0, 100},
        {"BYTES=99-99", LA_RANGE_PART, 99, 100},
        {"bytes=50-18446744073709551615", LA_RANGE_PART, 50, 100},
        {"bytes=-1", LA_RANGE_PART, 99, 100},
        {"bytes=-1000", LA_RANGE_PART, 0, 100},
        {"bytes=100-", LA_RANGE_WRONG, 0, 0},
        {"bytes=99999999999999999999999-", LA_RANGE_WRONG, 0, 0},
        {"bytes=-0", LA_RANGE_WRONG, 0, 0},
        {"bytes=2-1", LA_RANGE_ALL, 0, 0},
        {"bytes=", LA_RANGE_ALL, 0, 0},
        {"bytes=-", LA_RANGE_ALL, 0, 0},
        {"bytes=1", LA_RANGE_ALL, 0, 0},
        {"bytes=1-2x", LA_RANGE_ALL, 0, 0},
        {"bytes=1-2,4-5", LA_RANGE_ALL, 0, 0},
        {"items=1-2", LA_RANGE_ALL, 0, 0},
        {"", LA_RANGE_ALL, 0, 0},
        {"bytes=--1", LA_RANGE_ALL, 0, 0},
    };
    for (size_t i = 0; i < la_count(cases); i++) {
        uint64_t from = 7, to = 7;
        CHECK_EQ(la_http_range_read(la_slice_str(cases[i].text), 100, &from, &to), cases[i].result);
        CHECK(cases[i].result != LA_RANGE_PART || (from == cases[i].from && to == cases[i].to));
    }
    uint64_t from, to;
    CHECK(la_http_range_read(LA_SLICE("bytes=0-"), 0, &from, &to) == LA_RANGE_WRONG);
    CHECK(la_http_range_read(LA_SLICE("bytes=-1"), 0, &from, &to) == LA_RANGE_WRONG);
}

int main(void)
{
    test_dates();
    test_tags();
    test_ranges();
    return TEST_DONE();
}
