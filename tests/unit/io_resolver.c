/* io_resolver.c: names through a small DNS server in a thread of this test: answers, changes, TTL, NXDOMAIN,
 * silence. */
#include "lastack/log.h"
#include "lastack/resolver.h"
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the DNS server --- */

#define TYPE_A    1
#define TYPE_AAAA 28

struct zone {
    const char *four[4], *six[4]; /* addresses to answer, NULL-terminated */
    uint32_t ttl;
    bool nxdomain, silent, silent_six;
};

struct dns {
    int fd;
    pthread_t thread;
    struct la_addr at;
    pthread_mutex_t lock;
    /* under the lock: */
    struct zone zone;           /* as the test wants it */
    struct zone round;          /* as it was at the first question of a lookup: A and AAAA agree */
    bool asked_four, asked_six; /* of this round; a question that comes again begins the next */
    unsigned questions;         /* for A */
    uint64_t last_ns, gap_ns;   /* when the last A question came; time between the last two */
};

static size_t put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)(v >> 8);
    p[1] = (unsigned char)v;
    return 2;
}

static size_t put_record(unsigned char *p, unsigned type, uint32_t ttl, const char *text)
{
    size_t n = 0, ip_n = type == TYPE_A ? 4 : 16;
    const char *err;
    struct la_addr a;
    char full[80];
    snprintf(full, sizeof full, type == TYPE_A ? "%s:1" : "[%s]:1", text);
    la_assert(la_addr_parse(&a, la_slice_str(full), true, &err));
    n += put16(p + n, 0xc00c); /* the name of the question */
    n += put16(p + n, type);
    n += put16(p + n, 1);
    n += put16(p + n, ttl >> 16);
    n += put16(p + n, ttl & 0xffff);
    n += put16(p + n, (unsigned)ip_n);
    memcpy(p + n, type == TYPE_A ? (void *)&a.u.in.sin_addr : (void *)&a.u.in6.sin6_addr, ip_n);
    return n + ip_n;
}

/* Turns the question in p into its answer; 0: none. */
static size_t answer(struct dns *d, unsigned char *p, size_t n)
{
    size_t end = 12;
    while (end < n && p[end])
        end += p[end] + 1u;
    if (end + 5 > n)
        return 0;
    unsigned type = (unsigned)(p[end + 1] << 8 | p[end + 2]), count = 0;
    n = end + 5;
    bool *asked = type == TYPE_A ? &d->asked_four : &d->asked_six;
    if (*asked || !(d->asked_four || d->asked_six)) {
        d->round = d->zone;
        d->asked_four = d->asked_six = false;
    }
    *asked = true;
    const struct zone *z = &d->round;
    if (type == TYPE_A) {
        uint64_t now = la_clock_ns();
        d->gap_ns = now - d->last_ns;
        d->last_ns = now;
        d->questions++;
    }
    if (z->silent || (z->silent_six && type == TYPE_AAAA))
        return 0;
    p[2] = 0x81;
    p[3] = z->nxdomain ? 0x83 : 0x80;
    const char *const *list = type == TYPE_A ? z->four : z->six;
    for (; !z->nxdomain && count < 4 && list[count]; count++)
        n += put_record(p + n, type, z->ttl, list[count]);
    put16(p + 6, count);
    put16(p + 8, 0);
    put16(p + 10, 0);
    return n;
}

static void *serve(void *arg)
{
    struct dns *d = arg;
    for (;;) {
        unsigned char p[1024];
        struct sockaddr_in from;
        socklen_t from_n = sizeof from;
        ssize_t n = recvfrom(d->fd, p, 512, 0, (struct sockaddr *)&from, &from_n);
        if (n == 1)
            return NULL; /* stop */
        if (n < 12)
            continue;
        pthread_mutex_lock(&d->lock);
        size_t m = answer(d, p, (size_t)n);
        pthread_mutex_unlock(&d->lock);
        if (m)
            (void)sendto(d->fd, p, m, 0, (struct sockaddr *)&from, from_n);
    }
}

static void dns_start(struct dns *d)
{
    const char *err;
    struct sockaddr_storage ss;
    socklen_t n = sizeof ss;
    memset(d, 0, sizeof *d);
    pthread_mutex_init(&d->lock, NULL);
    d->zone.ttl = 1;
    CHECK(la_addr_parse(&d->at, LA_SLICE("127.0.0.1:0"), true, &err));
    d->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(bind(d->fd, &d->at.u.sa, d->at.len) == 0);
    CHECK(getsockname(d->fd, (struct sockaddr *)&ss, &n) == 0);
    la_addr_from_sockaddr(&d->at, (struct sockaddr *)&ss, n);
    CHECK(pthread_create(&d->thread, NULL, serve, d) == 0);
}

static void dns_stop(struct dns *d)
{
    CHECK(sendto(d->fd, "", 1, 0, &d->at.u.sa, d->at.len) == 1);
    pthread_join(d->thread, NULL);
    close(d->fd);
    pthread_mutex_destroy(&d->lock);
}

/* --- the test's side --- */

struct side {
    struct la_loop *loop;
    struct la_resolver *r;
    struct la_watch *w;
    struct dns dns;
    struct la_timer tick, guard;
    unsigned calls, until_calls, questions, until_questions;
    size_t n;
    struct la_addr set[16];
    char err[100];
    bool drop_in_call;
};

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    (void)mail;
}

static void on_change(void *arg, const struct la_addr *a, size_t n, const char *err)
{
    struct side *t = arg;
    t->calls++;
    CHECK(n <= la_count(t->set));
    if (n)
        memcpy(t->set, a, n * sizeof *a);
    t->n = n;
    CHECK((err != NULL) == (n == 0));
    snprintf(t->err, sizeof t->err, "%s", err ? err : "");
    if (t->drop_in_call)
        la_watch_drop(&t->w);
}

static void on_tick(struct la_timer *timer)
{
    struct side *t = la_container(timer, struct side, tick);
    pthread_mutex_lock(&t->dns.lock);
    bool enough = t->calls >= t->until_calls && t->dns.questions >= t->until_questions;
    pthread_mutex_unlock(&t->dns.lock);
    if (enough)
        la_loop_stop(t->loop);
    else
        la_timer_set(timer, 5);
}

static void on_guard(struct la_timer *timer)
{
    (void)timer;
    CHECK(!"waited 30 s for nothing");
}

/* Runs the loop until so many more calls of on_change and A questions have come since the last run. */
static void run(struct side *t, unsigned calls, unsigned questions)
{
    t->until_calls = t->calls + calls;
    t->until_questions = t->questions + questions;
    la_timer_set(&t->guard, 30000);
    la_timer_set(&t->tick, 1);
    la_loop_run(t->loop);
    la_timer_stop(&t->guard);
    CHECK_EQ(t->calls, t->until_calls);
    pthread_mutex_lock(&t->dns.lock);
    t->questions = t->dns.questions;
    pthread_mutex_unlock(&t->dns.lock);
}

static void begin(struct side *t, uint64_t max_ttl_ms)
{
    memset(t, 0, sizeof *t);
    dns_start(&t->dns);
    t->loop = la_loop_new(on_mail, NULL);
    la_timer_init(&t->tick, t->loop, on_tick);
    la_timer_init(&t->guard, t->loop, on_guard);
    struct la_resolver_conf conf = {&t->dns.at, 1, max_ttl_ms};
    t->r = la_resolver_new(t->loop, &conf);
    CHECK(t->r != NULL);
}

static void end(struct side *t)
{
    la_watch_drop(&t->w);
    CHECK(t->w == NULL);
    la_resolver_free(t->r);
    la_timer_stop(&t->tick);
    la_loop_free(t->loop);
    dns_stop(&t->dns);
}

#define SET(t, what)                                                                                                   \
    do {                                                                                                               \
        pthread_mutex_lock(&(t)->dns.lock);                                                                            \
        what;                                                                                                          \
        pthread_mutex_unlock(&(t)->dns.lock);                                                                          \
    } while (0)

static void check_set(const struct side *t, const char *const *want, size_t n)
{
    CHECK_EQ(t->n, n);
    for (size_t i = 0; i < n; i++) {
        char text[LA_ADDR_TEXT];
        if (strcmp(la_addr_text(&t->set[i], text), want[i]) != 0)
            fprintf(stderr, "%s, want %s\n", text, want[i]);
        CHECK(strcmp(text, want[i]) == 0);
    }
}
#define EXPECT(t, ...)                                                                                                 \
    check_set((t), (const char *const[]){__VA_ARGS__}, la_count(((const char *const[]){__VA_ARGS__})))

static void answers_and_changes(void)
{
    struct side t;
    begin(&t, 1000);
    SET(&t, t.dns.zone.four[0] = "10.0.0.9"; t.dns.zone.four[1] = "10.0.0.10"; t.dns.zone.four[2] = "10.0.0.9";
        t.dns.zone.six[0] = "2001:db8::1");
    t.w = la_resolver_watch(t.r, "app.test", 8080, on_change, &t);
    CHECK_EQ(t.calls, 0); /* never from inside */
    run(&t, 1, 1);
    EXPECT(&t, "10.0.0.9:8080", "10.0.0.10:8080", "[2001:db8::1]:8080");
    SET(&t, t.dns.zone.four[0] = "10.0.0.10"; t.dns.zone.four[1] = "10.0.0.9"; t.dns.zone.four[2] = NULL);
    run(&t, 0, 2); /* another order is no change */
    SET(&t, CHECK(t.dns.gap_ns >= 1000000000u));
    SET(&t, t.dns.zone.four[1] = "10.0.0.11"; t.dns.zone.six[0] = NULL);
    run(&t, 1, 1);
    EXPECT(&t, "10.0.0.10:8080", "10.0.0.11:8080");
    SET(&t, t.dns.zone.nxdomain = true);
    run(&t, 0, 2); /* known addresses stay */
    SET(&t, t.dns.zone.nxdomain = false; t.dns.zone.four[0] = NULL);
    run(&t, 0, 1); /* a name without addresses is a failure, too */
    SET(&t, t.dns.zone.four[0] = "10.0.0.12"; t.dns.zone.four[1] = NULL);
    run(&t, 1, 1);
    EXPECT(&t, "10.0.0.12:8080");
    SET(&t, t.dns.zone.six[0] = "2001:db8::7");
    run(&t, 1, 1);
    EXPECT(&t, "10.0.0.12:8080", "[2001:db8::7]:8080");
    SET(&t, t.dns.zone.silent_six = true; t.dns.zone.four[0] = "10.0.0.13");
    run(&t, 1, 1); /* half an answer: the other half stays as it was */
    EXPECT(&t, "10.0.0.13:8080", "[2001:db8::7]:8080");
    end(&t);
}

static void ttl(void)
{
    struct side t;
    begin(&t, 30000);
    SET(&t, t.dns.zone.four[0] = "10.0.0.1"; t.dns.zone.ttl = 2);
    t.w = la_resolver_watch(t.r, "app.test", 1, on_change, &t);
    run(&t, 1, 1);
    run(&t, 0, 1);
    SET(&t, CHECK(t.dns.gap_ns >= 2000000000u));
    end(&t);
    begin(&t, 1000); /* max_ttl wins */
    SET(&t, t.dns.zone.four[0] = "10.0.0.1"; t.dns.zone.ttl = 86400);
    t.w = la_resolver_watch(t.r, "app.test", 1, on_change, &t);
    run(&t, 1, 1);
    run(&t, 0, 1);
    end(&t);
}

static void first_fails(void)
{
    struct side t;
    begin(&t, 30000);
    SET(&t, t.dns.zone.nxdomain = true);
    t.w = la_resolver_watch(t.r, "nobody.test", 1, on_change, &t);
    run(&t, 1, 1);
    CHECK_EQ(t.n, 0);
    CHECK(t.err[0] != 0);
    run(&t, 0, 2); /* told once; asked again after 1 s, then 2 s */
    SET(&t, CHECK(t.dns.gap_ns >= 2000000000u));
    SET(&t, t.dns.zone.nxdomain = false; t.dns.zone.six[0] = "2001:db8::1");
    run(&t, 1, 1);
    EXPECT(&t, "[2001:db8::1]:1");
    end(&t);
}

static void silence(void)
{
    struct side t;
    begin(&t, 1000);
    SET(&t, t.dns.zone.silent = true; t.dns.zone.four[0] = "10.0.0.1");
    t.w = la_resolver_watch(t.r, "app.test", 1, on_change, &t);
    run(&t, 1, 2);
    CHECK_EQ(t.n, 0);
    CHECK(strstr(t.err, "imeout") != NULL);
    SET(&t, t.dns.zone.silent = false);
    run(&t, 1, 1);
    EXPECT(&t, "10.0.0.1:1");
    end(&t);
}

static void dropping(void)
{
    struct side t;
    begin(&t, 30000);
    SET(&t, t.dns.zone.four[0] = "10.0.0.1");
    t.drop_in_call = true;
    t.w = la_resolver_watch(t.r, "app.test", 1, on_change, &t);
    run(&t, 1, 1);
    CHECK(t.w == NULL);
    /* Dropped while the question is on its way: the answer is ignored. */
    SET(&t, t.dns.zone.silent = true);
    t.w = la_resolver_watch(t.r, "app.test", 1, on_change, &t);
    run(&t, 0, 1);
    la_watch_drop(&t.w);
    SET(&t, t.dns.zone.silent = false);
    run(&t, 0, 1); /* c-ares tries once more, now with an answer */
    /* And the resolver goes while a question is on its way. */
    SET(&t, t.dns.zone.silent = true);
    t.w = la_resolver_watch(t.r, "app.test", 1, on_change, &t);
    run(&t, 0, 1);
    end(&t);
}

/* The system's configuration: /etc/hosts knows localhost without asking anyone. */
static void system_hosts(void)
{
    struct side t;
    begin(&t, 30000);
    struct la_resolver_conf conf = {NULL, 0, 30000};
    la_resolver_free(t.r);
    t.r = la_resolver_new(t.loop, &conf);
    CHECK(t.r != NULL);
    t.w = la_resolver_watch(t.r, "localhost", 80, on_change, &t);
    run(&t, 1, 0);
    CHECK(t.n >= 1);
    end(&t);
}

/* They wait for times of whole seconds, each for itself: side by side. */
int main(void)
{
    static void (*const all[])(void) = {answers_and_changes, ttl, first_fails, silence, dropping, system_hosts};
    pid_t child[la_count(all)];
    la_log_setup(LA_LOG_ERROR, false);
    for (size_t i = 0; i < la_count(all); i++) {
        child[i] = fork();
        CHECK(child[i] >= 0);
        if (child[i] == 0) {
            all[i]();
            exit(TEST_DONE());
        }
    }
    for (size_t i = 0; i < la_count(all); i++) {
        int status = -1;
        CHECK_EQ(waitpid(child[i], &status, 0), child[i]);
        CHECK_EQ(status, 0);
    }
    return TEST_DONE();
}
