/* io_loop.c: what has arrived in time is told before the timers that are due, also when one batch of libev's does not hold
 * all of it, and when the wait before it was interrupted. The loop is compiled in, for its bounds; epoll_wait is this
 * file's, which counts turns and interrupts. And: a loop that gets no descriptors is none, and no end of the process. */
#include "io/loop.c"
#include "test.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#define MOST 700

static struct la_loop *loop;
static unsigned turns, told, fired, interrupt_at, step;
static bool drained; /* by those who are told */

struct one {
    struct la_io io;
    int fd;
};
static struct one one[MOST];
static unsigned ones;

static void sleep_ms(long ms)
{
    struct timespec t = {0, ms * 1000000};
    while (nanosleep(&t, &t) != 0)
        continue;
}

static void set_ready(struct one *o)
{
    uint64_t n = 1;
    CHECK_EQ(write(o->fd, &n, sizeof n), sizeof n);
}

static void on_ready(struct la_io *io, int events)
{
    uint64_t n;
    CHECK_EQ(events, LA_READ);
    if (drained)
        CHECK_EQ(read(la_io_fd(io), &n, sizeof n), sizeof n);
    told++;
}

static void watch(unsigned n)
{
    for (unsigned i = ones; i < n; i++) {
        one[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        CHECK(one[i].fd >= 0);
        la_io_init(&one[i].io, loop, one[i].fd, on_ready);
        la_io_want(&one[i].io, LA_READ);
    }
    ones = n;
}

/* The loop's, by the name's place: this program before the C library. */
int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
    turns++;
    if (turns == interrupt_at) {
        sleep_ms(50);
        for (unsigned i = 0; i < ones; i++)
            set_ready(&one[i]);
        errno = EINTR;
        return -1;
    }
    for (unsigned i = 0; i < step && ones < MOST; i++) {
        watch(ones + 1);
        set_ready(&one[ones - 1]);
    }
    return (int)syscall(SYS_epoll_pwait, fd, events, most, timeout, NULL, 8);
}

static void on_due(struct la_timer *t)
{
    (void)t;
    fired++;
    la_loop_stop(loop);
}

static void begin(unsigned n, bool drain)
{
    loop = la_loop_new(NULL, NULL);
    CHECK(loop != NULL);
    drained = drain;
    turns = told = fired = interrupt_at = step = ones = 0;
    watch(n);
}

static void end(void)
{
    for (unsigned i = 0; i < ones; i++) {
        la_io_stop(&one[i].io);
        close(one[i].fd);
    }
    la_loop_free(loop);
}

static void run_until_due(struct la_timer *t)
{
    la_timer_init(t, loop, on_due);
    la_timer_set(t, 5);
    la_loop_run(loop);
    CHECK_EQ(fired, 1);
}

/* A turn comes after the time that its timers were due at: first with more than one batch, then with more than the next
 * size of it, then with as many again. */
static void test_batches(void)
{
    static const unsigned size[] = {64, 65, 200, 200, 600, 600, 64, MOST};
    begin(MOST, true);
    for (unsigned k = 0; k < la_count(size); k++) {
        struct la_timer t = {0};
        told = fired = 0;
        for (unsigned i = 0; i < size[k]; i++)
            set_ready(&one[i]);
        la_timer_init(&t, loop, on_due);
        la_timer_set(&t, 1);
        sleep_ms(10);
        la_loop_run(loop);
        CHECK_EQ(fired, 1);
        CHECK_EQ(told, size[k]);
    }
    end();
}

/* The wait ends with nothing, because the process was stopped in it. */
static void test_interrupted(void)
{
    struct la_timer t = {0};
    begin(200, true);
    interrupt_at = 1;
    run_until_due(&t);
    CHECK_EQ(told, 200);
    end();
}

/* Descriptors that are always ready do not keep a timer from its turn, nor do more of them in every turn. */
static void test_timers_do_not_starve(void)
{
    for (unsigned more = 0; more < 2; more++) {
        struct la_timer t = {0};
        begin(more ? 64 : 200, false);
        for (unsigned i = 0; i < ones; i++)
            set_ready(&one[i]);
        la_timer_init(&t, loop, on_due);
        la_timer_set(&t, 1);
        sleep_ms(10);
        step = more;
        la_loop_run(loop);
        CHECK_EQ(fired, 1);
        CHECK(turns <= PUT_OFF_MOST + 1);
        end();
    }
}

static struct la_loop *new_with(rlim_t descriptors)
{
    struct rlimit before, r;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    r = before;
    r.rlim_cur = descriptors;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &r), 0);
    errno = 0;
    struct la_loop *l = la_loop_new(NULL, NULL);
    int err = errno;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK(l != NULL || err == EMFILE);
    return l;
}

static void test_no_descriptors(void)
{
    rlim_t descriptors = 3;
    while ((loop = new_with(descriptors)) == NULL)
        descriptors++;
    CHECK(descriptors >= 5); /* it needs two, besides the standard ones */
    la_loop_free(loop);
}

int main(void)
{
    test_no_descriptors();
    test_batches();
    test_interrupted();
    test_timers_do_not_starve();
    return TEST_DONE();
}
