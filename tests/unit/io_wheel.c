/* io_wheel.c: the timer wheel where many bits of its present change at once, as far as the clock of a host that runs for
 * years. The loop is compiled in, so that its present can be set; each timer fires at the first step that reaches it. */
#include "io/loop.c"
#include "test.h"

#define TIMERS 40

struct one {
    struct la_timer timer;
    uint64_t due_ns;
    unsigned fired;
};

static void on_due(struct la_timer *t)
{
    struct one *o = la_container(t, struct one, timer);
    CHECK(o->timer.loop->now_ns >= o->due_ns);
    o->fired++;
}

/* 40 timers of 1 ms to 13 minutes, set `before` ms ahead of that moment; the steps double too. */
static void cross(struct la_loop *l, uint64_t moment_ms, uint64_t before)
{
    static struct one one[TIMERS];
    l->tick = moment_ms - before;
    l->now_ns = l->tick * 1000000u;
    for (unsigned i = 0; i < TIMERS; i++) {
        uint64_t ms = (1ull << i / 2) + (i % 2 ? (1ull << i / 2) / 2 : 0);
        one[i] = (struct one){.due_ns = l->now_ns + ms * 1000000u};
        la_timer_init(&one[i].timer, l, on_due);
        la_timer_set(&one[i].timer, ms);
    }
    for (uint64_t step = 1; step < 1ull << 21; step += step / 2 + 1) {
        l->now_ns = (moment_ms - before + step) * 1000000u;
        wheel_run(l);
        for (unsigned i = 0; i < TIMERS; i++)
            CHECK_EQ(one[i].fired, one[i].due_ns <= l->now_ns);
    }
    for (unsigned i = 0; i < LEVELS; i++)
        CHECK_EQ(l->pending[i], 0);
}

int main(void)
{
    struct la_loop *l = la_loop_new(NULL, NULL);
    CHECK(l != NULL);
    for (unsigned bit = 20; bit <= 40; bit++) /* 2^36 ms are two years, 2^40 ms 35 */
        for (uint64_t before = 1; before < 1 << 19; before *= 5)
            cross(l, 1ull << bit, before);
    la_loop_free(l);
    return TEST_DONE();
}
