/* tools_schedule.c: the load generator's intended times, and the levels of its heat map. */
#include "test.h"

#include "tools/load_private.h"

#include <math.h>

#define FROM 1000000000ull

/* All threads' starts before until, merged by hand: each thread's own are ascending. */
static unsigned count(const struct la_load_conf *c, unsigned threads, uint64_t until)
{
    unsigned n = 0;
    for (unsigned i = 0; i < threads; i++) {
        struct load_schedule s;
        uint64_t last = 0;
        load_schedule_init(&s, c, threads, i, FROM, 12345 + i);
        for (; load_schedule_next(&s).at_ns < FROM + until; load_schedule_take(&s), n++) {
            CHECK(load_schedule_next(&s).at_ns >= last);
            last = load_schedule_next(&s).at_ns;
        }
    }
    return n;
}

/* No rounding adds up: after a thousand seconds the last one is where it belongs. */
static void constant(void)
{
    struct la_load_conf c = {.rate = 30000};
    struct load_schedule s;
    load_schedule_init(&s, &c, 1, 0, FROM, 1);
    for (unsigned i = 0; i < 30000000 - 1; i++)
        load_schedule_take(&s);
    CHECK(llabs((long long)(load_schedule_next(&s).at_ns - FROM) - 1000000000000) <= 200);
    c.rate = 20000;
    CHECK_EQ(count(&c, 1, 1000000000), 19999); /* the first after a whole gap */
    CHECK_EQ(count(&c, 3, 1000000000), 19999);
    c.rate = 0.5;
    CHECK_EQ(count(&c, 2, 11000000000), 5);
}

/* Threads share the schedule: together they have the times of one. */
static void shared(void)
{
    struct la_load_conf c = {.rate = 1000};
    struct load_schedule one, part[3];
    load_schedule_init(&one, &c, 1, 0, FROM, 1);
    for (unsigned i = 0; i < 3; i++)
        load_schedule_init(&part[i], &c, 3, i, FROM, 1);
    for (unsigned i = 0; i < 300; i++) {
        CHECK_EQ(load_schedule_next(&part[i % 3]).at_ns, load_schedule_next(&one).at_ns);
        load_schedule_take(&part[i % 3]);
        load_schedule_take(&one);
    }
}

/* The count of Poisson arrivals has the mean of its rate and a variance equal to it; gaps have no memory: a part of 1/e
 * is longer than the mean. The seed is fixed. */
static void poisson(void)
{
    struct la_load_conf c = {.rate = 1000, .poisson = true};
    unsigned n = count(&c, 2, 100000000000);
    CHECK(n > 100000 - 5 * 317 && n < 100000 + 5 * 317);
    struct load_schedule s;
    load_schedule_init(&s, &c, 1, 0, FROM, 99);
    unsigned longer = 0;
    uint64_t last = FROM;
    for (unsigned i = 0; i < 100000; i++, load_schedule_take(&s)) {
        longer += load_schedule_next(&s).at_ns - last > 1000000;
        last = load_schedule_next(&s).at_ns;
    }
    CHECK(fabs(longer / 100000. - exp(-1)) < 0.01);
}

static void timed(void)
{
    struct la_load_ask ask[] = {{.at_us = 0}, {.at_us = 100}, {.at_us = 400}};
    struct la_load_conf c = {.ask = ask, .asks = 3, .order = LA_LOAD_TIMED, .speed = 1};
    static const uint64_t us[] = {0, 100, 400, 600, 700, 1000, 1200}; /* a lap is 400 and the mean gap of 200 */
    for (unsigned threads = 1; threads <= 2; threads++)
        for (unsigned i = 0; i < la_count(us); i++) {
            struct load_schedule s;
            load_schedule_init(&s, &c, threads, i % threads, FROM, 1);
            for (unsigned k = 0; k < i / threads; k++)
                load_schedule_take(&s);
            CHECK_EQ(load_schedule_next(&s).at_ns, FROM + us[i] * 1000);
            CHECK_EQ(load_schedule_next(&s).ask, i % 3);
        }
    c.speed = 2;
    struct load_schedule s;
    load_schedule_init(&s, &c, 1, 0, FROM, 1);
    load_schedule_take(&s);
    CHECK_EQ(load_schedule_next(&s).at_ns, FROM + 50000);
    CHECK_EQ(la_load_lap_us(ask, 3), 600);
    c.asks = 1; /* a list of one: once a second */
    c.speed = 1;
    CHECK_EQ(load_schedule_next(&s).at_ns, FROM + 1000000000);
}

static void refuses(void)
{
    struct la_load_ask ask[2] = {{.method = "GET", .target = "/"}, {.method = "GET", .target = "/"}};
    struct la_load_conf c;
    const char *why = NULL;
    la_load_defaults(&c);
    CHECK(la_addr_parse(&c.target, LA_SLICE("127.0.0.1:1"), true, &why));
    c.requests = 1;
    c.ask = ask;
    CHECK(la_load_new(&c, &why) == NULL && strstr(why, "empty"));
    c.asks = 2;
    c.order = LA_LOAD_TIMED;
    CHECK(la_load_new(&c, &why) == NULL && strstr(why, "same time"));
    c.order = LA_LOAD_CYCLE;
    c.protocol = LA_LOAD_MEMCACHED;
    CHECK(la_load_new(&c, &why) == NULL && strstr(why, "for HTTP"));
    c.ask = NULL;
    c.memcached.keys = 0;
    CHECK(la_load_new(&c, &why) == NULL && strstr(why, "one key"));
}

static void levels(void)
{
    CHECK_EQ(la_load_level_low_us(0), 0);
    CHECK_EQ(la_load_level_low_us(1), 96);
    CHECK_EQ(la_load_level_low_us(2), 128);
    CHECK_EQ(la_load_level_low_us(3), 192);
    for (unsigned i = 1; i < LA_LOAD_LEVELS; i++) {
        CHECK_EQ(la_load_level(la_load_level_low_us(i)), i);
        CHECK_EQ(la_load_level(la_load_level_low_us(i) - 1), i - 1);
    }
    CHECK_EQ(la_load_level(UINT64_MAX), LA_LOAD_LEVELS - 1);
}

int main(void)
{
    constant();
    shared();
    poisson();
    timed();
    refuses();
    levels();
    return TEST_DONE();
}
