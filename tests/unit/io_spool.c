/* io_spool.c: a spool against a naive twin: the bytes of a stream are a function of their position, the twin
 * is two counters. Several loops share one filer; spools are freed at any moment; the bounds must be back at
 * zero. */
#include "lastack/log.h"
#include "lastack/spool.h"
#include "test.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

static unsigned char byte_at(uint64_t salt, uint64_t pos)
{
    uint64_t x = (pos ^ salt) * 0x9e3779b97f4a7c15ull;
    return (unsigned char)(x >> 56);
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    CHECK(d != NULL);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    struct la_note *n = la_container(mail, struct la_note, mail);
    n->deliver(n);
}

/* --- one actor drives one spool, a step per turn of the loop --- */

struct world {
    struct la_loop *loop;
    unsigned actors; /* alive */
    unsigned long finished, broken, given_up, rewinds;
};

struct actor {
    struct world *w;
    struct la_spool *s;
    struct la_note turn;
    uint64_t state, salt, total, written, read;
    bool keep, may_free, step_due;
    unsigned rewinds, hurdles;
    struct la_bounds *bounds;
};

static void turn(struct actor *a)
{
    if (!a->step_due) {
        a->step_due = true;
        la_loop_post(a->w->loop, &a->turn.mail);
    }
}

static void on_ready(void *arg)
{
    turn(arg);
}

/* Several threads: la_assert, since CHECK counts without a lock. */
static void act_write(struct actor *a)
{
    static _Thread_local char buf[200000];
    bool claim = la_random(&a->state) % 2;
    size_t room = claim ? la_spool_claim(a->s) : la_spool_room(a->s), most = a->total - a->written;
    if (room < most)
        most = room;
    if (most > sizeof buf)
        most = sizeof buf;
    if (claim && room == 0 && la_spool_room(a->s) > 0)
        a->hurdles++; /* limits.disk; only a reader's progress would wake us */
    if (most == 0)
        return;
    size_t n = la_random(&a->state) % 4 ? most : 1 + la_random(&a->state) % most;
    for (size_t i = 0; i < n; i++)
        buf[i] = (char)byte_at(a->salt, a->written + i);
    enum la_err e = la_spool_write(a->s, buf, n);
    if (e == LA_OK) {
        a->written += n;
    } else {
        la_assert(e == LA_MEMORY || (e == LA_DISK && !claim));
        a->hurdles++;
    }
}

static void act_read(struct actor *a)
{
    struct la_slice b = la_spool_peek(a->s);
    la_assert(b.n <= a->written - a->read);
    for (size_t i = 0; i < b.n; i++)
        if ((unsigned char)b.p[i] != byte_at(a->salt, a->read + i)) {
            fprintf(stderr, "wrong byte at %llu of %llu\n", (unsigned long long)(a->read + i),
                    (unsigned long long)a->written);
            exit(1);
        }
    if (b.n == 0)
        return;
    size_t n = la_random(&a->state) % 3 ? b.n : 1 + la_random(&a->state) % b.n;
    la_spool_consume(a->s, n);
    a->read += n;
}

static void retire(struct actor *a)
{
    struct world *w = a->w;
    la_spool_free(&a->s);
    la_assert(a->s == NULL);
    if (--w->actors == 0)
        la_loop_stop(w->loop);
}

static void step(struct la_note *note)
{
    struct actor *a = note->to;
    a->step_due = false;
    if (a->s == NULL)
        return;
    uint64_t luck = la_random(&a->state) % 100;
    if (a->may_free && luck == 0) {
        a->w->given_up++;
        retire(a);
        return;
    }
    if (a->keep && luck == 1 && a->rewinds < 6) {
        la_spool_rewind(a->s);
        a->read = 0;
        a->rewinds++;
        a->w->rewinds++;
    }
    uint64_t written = a->written, read = a->read;
    if (luck % 3 != 0)
        act_write(a);
    if (luck % 7 == 0 && !la_spool_push(a->s))
        a->hurdles++;
    if (luck % 5 != 0)
        act_read(a);
    la_assert(la_spool_size(a->s) == a->written);
    la_assert(la_spool_unread(a->s) == a->written - a->read);
    if (la_spool_error(a->s) || a->hurdles > 50) {
        a->w->broken++;
        retire(a);
    } else if (a->read == a->total) {
        a->w->finished++;
        retire(a);
    } else if (luck % 3 == 0 || luck % 5 == 0 || a->written > written || a->read != read || a->hurdles) {
        turn(a); /* else on_ready wakes us: a lost wake-up hangs the test */
    }
}

static void start(struct actor *a, struct world *w, const struct la_spool_conf *conf, uint64_t seed, uint64_t total)
{
    memset(a, 0, sizeof *a);
    a->w = w;
    a->state = seed;
    a->salt = la_random(&a->state);
    a->total = total;
    a->keep = conf->keep;
    a->turn.deliver = step;
    a->turn.to = a;
    a->bounds = conf->bounds;
    a->s = la_spool_new(conf, on_ready, a);
    if (a->s == NULL) { /* the others have all the memory */
        la_assert(atomic_load(&conf->bounds->memory_max) != UINT64_MAX);
        w->broken++;
        return;
    }
    w->actors++;
    turn(a);
}

/* --- many at once --- */

#define ACTORS 24

struct crowd {
    pthread_t thread;
    struct la_filer *filer;
    struct la_bounds *bounds;
    uint64_t seed;
    bool may_free;
    unsigned long finished, broken, given_up;
};

static void *run_crowd(void *arg)
{
    struct crowd *c = arg;
    struct actor *a = la_xcalloc(ACTORS, sizeof *a);
    struct world w = {.loop = la_loop_new(on_mail, NULL)};
    uint64_t state = c->seed;
    static const uint64_t mem[] = {0, 1, 100, 4096, 5000, 65536, 70000, 262144};
    for (int i = 0; i < ACTORS; i++) {
        uint64_t file = la_random(&state) % 3 ? UINT64_MAX : 1 + la_random(&state) % 300000;
        struct la_spool_conf conf = {.loop = w.loop,
                                     .filer = c->filer,
                                     .bounds = c->bounds,
                                     .dir = "/tmp",
                                     .mem_bytes = mem[la_random(&state) % la_count(mem)],
                                     .file_bytes = file,
                                     .keep = la_random(&state) % 2};
        conf.mem_most = la_random(&state) % 2 * mem[la_random(&state) % la_count(mem)] * 2;
        if (conf.keep)
            conf.file_bytes = UINT64_MAX; /* bounded: may never end */
        else if (conf.mem_bytes && la_random(&state) % 4 == 0)
            conf.file_bytes = 0;
        uint64_t most = conf.file_bytes == 0 && conf.mem_bytes <= 100 ? 3000 : 900000;
        start(&a[i], &w, &conf, la_random(&state), 1 + la_random(&state) % most);
        a[i].may_free = c->may_free;
    }
    if (w.actors > 0)
        la_loop_run(w.loop);
    c->finished += w.finished;
    c->broken += w.broken;
    c->given_up += w.given_up;
    la_loop_free(w.loop);
    free(a);
    return NULL;
}

static void crowds(uint64_t memory_max, uint64_t disk_max, bool may_free, uint64_t seed)
{
    struct la_bounds b = {.memory_max = memory_max, .disk_max = disk_max};
    struct crowd c[3];
    struct la_filer *filer = la_filer_new(2);
    CHECK(filer != NULL);
    unsigned long finished = 0, all = 0;
    for (size_t i = 0; i < la_count(c); i++) {
        c[i] = (struct crowd){.filer = filer, .bounds = &b, .seed = seed + i * 77 + 1, .may_free = may_free};
        CHECK(pthread_create(&c[i].thread, NULL, run_crowd, &c[i]) == 0);
    }
    for (size_t i = 0; i < la_count(c); i++) {
        pthread_join(c[i].thread, NULL);
        finished += c[i].finished;
        all += c[i].finished + c[i].broken + c[i].given_up;
    }
    la_filer_free(filer);
    CHECK_EQ(all, la_count(c) * ACTORS);
    if (memory_max == UINT64_MAX && disk_max == UINT64_MAX && !may_free)
        CHECK_EQ(finished, all);
    CHECK_EQ(atomic_load(&b.memory_used), 0);
    CHECK_EQ(atomic_load(&b.disk_used), 0);
}

/* --- single cases; the caller turns the loop by hand --- */

struct lone {
    struct la_loop *loop;
    struct la_filer *filer;
    struct la_bounds bounds;
    struct la_spool *s;
    unsigned ready;
};

static void lone_ready(void *arg)
{
    struct lone *t = arg;
    t->ready++;
    la_loop_stop(t->loop);
}

static void lone_begin_most(struct lone *t, uint64_t mem, uint64_t most, uint64_t file, bool keep, const char *dir)
{
    memset(t, 0, sizeof *t);
    t->bounds.memory_max = t->bounds.disk_max = UINT64_MAX;
    t->loop = la_loop_new(on_mail, NULL);
    t->filer = la_filer_new(1);
    struct la_spool_conf conf = {.loop = t->loop,
                                 .filer = t->filer,
                                 .bounds = &t->bounds,
                                 .dir = dir,
                                 .mem_bytes = mem,
                                 .mem_most = most,
                                 .file_bytes = file,
                                 .keep = keep};
    t->s = la_spool_new(&conf, lone_ready, t);
    CHECK(t->s != NULL);
}

static void lone_begin(struct lone *t, uint64_t mem, uint64_t file, bool keep, const char *dir)
{
    lone_begin_most(t, mem, 0, file, keep, dir);
}

static void lone_end(struct lone *t)
{
    la_spool_free(&t->s);
    la_loop_free(t->loop);
    la_filer_free(t->filer);
    CHECK_EQ(t->bounds.memory_used, 0);
    CHECK_EQ(t->bounds.disk_used, 0);
}

static char block[65536 * 4];

static void memory_only(void)
{
    struct lone t;
    lone_begin(&t, 10, 0, false, "/nonexistent");
    CHECK_EQ(la_spool_room(t.s), 10);
    CHECK_EQ(la_spool_peek(t.s).n, 0);
    CHECK_EQ(la_spool_write(t.s, "0123456789", 10), LA_OK);
    CHECK_EQ(la_spool_room(t.s), 0);
    CHECK(la_slice_eq(la_spool_peek(t.s), LA_SLICE("0123456789")));
    la_spool_consume(t.s, 4);
    CHECK(la_slice_eq(la_spool_peek(t.s), LA_SLICE("456789")));
    la_spool_consume(t.s, 6);
    CHECK_EQ(la_spool_room(t.s), 10);
    CHECK_EQ(t.ready, 0); /* never from inside */
    la_loop_run(t.loop);
    CHECK_EQ(t.ready, 1);
    lone_end(&t);
}

/* There is no directory for a file: none is tried before a quarter of the memory is in use, or mem_most is reached. */
static void memory_most(void)
{
    struct lone t;
    lone_begin_most(&t, 1000, 500000, UINT64_MAX, true, "/nonexistent/dir");
    for (int i = 0; i < 10; i++)
        CHECK_EQ(la_spool_write(t.s, block, 50000), LA_OK);
    CHECK_EQ(t.bounds.disk_used, 0);
    CHECK_EQ(la_spool_write(t.s, block, 1), LA_OK);
    CHECK(t.bounds.disk_used > 0);
    lone_end(&t);

    lone_begin_most(&t, 1000, 500000, UINT64_MAX, true, "/nonexistent/dir");
    t.bounds.memory_max = 400000;
    for (int i = 0; i < 10; i++)
        CHECK_EQ(la_spool_write(t.s, block, 12000), LA_OK);
    CHECK(t.bounds.memory_used > 100000);
    while (t.bounds.disk_used == 0 && la_spool_size(t.s) < 200000)
        CHECK_EQ(la_spool_write(t.s, block, 1000), LA_OK);
    CHECK(la_spool_size(t.s) < 200000);
    lone_end(&t);
}

static void no_directory(void)
{
    struct lone t;
    la_log_setup(LA_LOG_ERROR + 1, false);
    lone_begin(&t, 10, UINT64_MAX, true, "/nonexistent/dir");
    CHECK_EQ(la_spool_write(t.s, block, 10), LA_OK);
    CHECK_EQ(la_spool_write(t.s, block, 65536), LA_OK); /* takes off */
    CHECK_EQ(la_spool_error(t.s), LA_OK);
    la_spool_consume(t.s, 10);
    struct la_slice lent = la_spool_peek(t.s);
    CHECK_EQ(lent.n, 65536);
    la_loop_run(t.loop);
    CHECK_EQ(lent.p[lent.n - 1], 0); /* holds until the next call, even so */
    CHECK_EQ(la_spool_error(t.s), LA_DISK);
    CHECK_EQ(la_spool_room(t.s), 0);
    CHECK_EQ(la_spool_write(t.s, block, 1), LA_DISK);
    CHECK_EQ(la_spool_peek(t.s).n, 0);
    la_log_setup(LA_LOG_INFO, false);
    lone_end(&t);
}

static void disk_limit(void)
{
    struct lone t;
    lone_begin(&t, 10, UINT64_MAX, true, "/tmp");
    t.bounds.disk_max = 65536 * 2 - 1;
    CHECK_EQ(la_spool_write(t.s, block, 10 + 65536), LA_OK);
    CHECK_EQ(t.bounds.disk_used, 65536);
    CHECK(la_spool_room(t.s) > 0);
    uint64_t memory = t.bounds.memory_used;
    CHECK_EQ(la_spool_write(t.s, block, 5), LA_DISK);
    CHECK_EQ(t.bounds.memory_used, memory);
    CHECK_EQ(la_spool_error(t.s), LA_OK); /* not broken: room may come */
    CHECK_EQ(la_spool_size(t.s), 10 + 65536);
    t.bounds.disk_max = 65536 * 2;
    CHECK_EQ(la_spool_write(t.s, block, 5), LA_OK);
    lone_end(&t);
}

/* What was claimed is there when it is written, whoever else wants it; a claim that is not used comes back.
 */
static void disk_claim(void)
{
    struct lone t;
    lone_begin(&t, 100000, UINT64_MAX, false, "/tmp");
    t.bounds.disk_max = 65536 + 10;
    CHECK_EQ(la_spool_claim(t.s), 100000); /* memory is enough for now */
    CHECK_EQ(t.bounds.disk_used, 0);
    CHECK_EQ(la_spool_write(t.s, block, 50000), LA_OK);
    CHECK_EQ(la_spool_claim(t.s), 50000 + 65536);
    CHECK_EQ(la_spool_claim(t.s), 50000 + 65536);
    CHECK_EQ(t.bounds.disk_used, 65536);
    la_spool_consume(t.s, 50000); /* memory has room again */
    CHECK_EQ(t.bounds.disk_used, 0);
    CHECK_EQ(la_spool_write(t.s, block, 65536), LA_OK);
    CHECK(la_bounds_take_disk(&t.bounds, 11)); /* somebody else */
    CHECK_EQ(la_spool_claim(t.s), 34464);
    la_bounds_give_disk(&t.bounds, 11);
    CHECK_EQ(la_spool_claim(t.s), 34464 + 65536);
    CHECK(!la_bounds_take_disk(&t.bounds, 11));
    CHECK_EQ(la_spool_write(t.s, block, 34464 + 10), LA_OK);
    CHECK_EQ(la_spool_claim(t.s), 65526);
    lone_end(&t);
    lone_begin(&t, 10, UINT64_MAX, false, "/tmp");
    CHECK_EQ(la_spool_claim(t.s), 10 + 65536);
    lone_end(&t); /* unused */
}

static void memory_limit(void)
{
    struct lone t;
    lone_begin(&t, 100, UINT64_MAX, false, "/tmp");
    uint64_t base = t.bounds.memory_used;
    struct la_spool_conf conf = {.loop = t.loop, .filer = t.filer, .bounds = &t.bounds, .dir = "/tmp"};
    t.bounds.memory_max = base;
    CHECK(la_spool_new(&conf, lone_ready, &t) == NULL);
    CHECK_EQ(la_spool_write(t.s, block, 50), LA_MEMORY);
    CHECK_EQ(la_spool_size(t.s), 0);
    /* Every step between nothing and enough fails without a trace; then it goes through. */
    for (uint64_t extra = 0;; extra += 4096) {
        t.bounds.memory_max = base + extra;
        enum la_err e = la_spool_write(t.s, block, 100 + 65536);
        CHECK_EQ(la_spool_unread(t.s), e == LA_OK ? 100 + 65536 : 0);
        CHECK_EQ(t.bounds.disk_used, e == LA_OK ? 65536 : 0);
        if (e == LA_OK) {
            CHECK(extra >= 100 + 65536 * 2);
            break;
        }
        CHECK_EQ(e, LA_MEMORY);
    }
    lone_end(&t);
}

/* Room in the file comes back while the reader goes on; the file goes when the reader has caught up. */
static void file_limit(void)
{
    struct lone t;
    lone_begin(&t, 1000, 65536 * 2, false, "/tmp");
    uint64_t written = 0, read = 0;
    while (la_spool_room(t.s) > 0 || written < 1000 + 65536 * 2) {
        size_t n = la_min64(la_spool_room(t.s), sizeof block);
        if (n == 0) {
            la_loop_run(t.loop);
            continue;
        }
        CHECK_EQ(la_spool_write(t.s, block, n), LA_OK);
        written += n;
    }
    CHECK_EQ(written, 1000 + 65536 * 2);
    CHECK_EQ(t.bounds.disk_used, 65536 * 2);
    CHECK(t.bounds.memory_used <= 1000 + 3 * 65536 + 1000);
    while (read < written) {
        struct la_slice b = la_spool_peek(t.s);
        if (b.n == 0) {
            la_loop_run(t.loop);
            continue;
        }
        la_spool_consume(t.s, b.n);
        read += b.n;
    }
    while (t.bounds.disk_used > 0) /* a write may still be on its way */
        la_loop_run(t.loop);
    CHECK(la_spool_room(t.s) >= 1000);
    CHECK_EQ(la_spool_write(t.s, "abc", 3), LA_OK);
    CHECK(la_slice_eq(la_spool_peek(t.s), LA_SLICE("abc")));
    CHECK_EQ(t.bounds.disk_used, 0);
    lone_end(&t);
}

/* A block that is not full may leave early; it costs no more of the disk than its bytes. */
static void push(void)
{
    struct lone t;
    lone_begin(&t, 10, 65536 * 2, false, "/tmp");
    CHECK(la_spool_push(t.s)); /* nothing to do */
    CHECK_EQ(la_spool_write(t.s, block, 10 + 65000), LA_OK);
    CHECK_EQ(la_spool_room(t.s), 536);
    CHECK(la_spool_push(t.s));
    CHECK_EQ(t.bounds.disk_used, 65000);
    CHECK_EQ(la_spool_room(t.s), 65536);
    la_loop_run(t.loop);
    CHECK_EQ(t.ready, 1);
    uint64_t read = 0;
    while (read < 10 + 65000) {
        struct la_slice b = la_spool_peek(t.s);
        if (b.n == 0)
            la_loop_run(t.loop);
        la_spool_consume(t.s, b.n);
        read += b.n;
    }
    CHECK_EQ(t.bounds.disk_used, 0);
    lone_end(&t);
}

/* The note is in the mailbox of a loop that never runs again. */
static void note_never_delivered(void)
{
    struct lone t;
    lone_begin(&t, 0, UINT64_MAX, true, "/tmp");
    CHECK_EQ(la_spool_write(t.s, block, 65536), LA_OK);
    struct lone u; /* another spool of the same filer: when its block has landed, ours has been posted */
    lone_begin(&u, 0, UINT64_MAX, true, "/tmp");
    la_spool_free(&u.s);
    struct la_spool_conf conf = {
        .loop = u.loop, .filer = t.filer, .bounds = &u.bounds, .dir = "/tmp", .file_bytes = UINT64_MAX, .keep = true};
    u.s = la_spool_new(&conf, lone_ready, &u);
    CHECK_EQ(la_spool_write(u.s, block, 65536), LA_OK);
    la_loop_run(u.loop);
    CHECK_EQ(u.ready, 1);
    lone_end(&u);
    lone_end(&t);
}

int main(int argc, char **argv)
{
    unsigned fds = descriptors();
    memory_only();
    memory_most();
    no_directory();
    disk_limit();
    disk_claim();
    memory_limit();
    file_limit();
    push();
    note_never_delivered();
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : la_random_seed() >> 1;
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    crowds(UINT64_MAX, UINT64_MAX, false, seed);
    crowds(UINT64_MAX, UINT64_MAX, true, seed + 1);
    crowds(3u << 20, UINT64_MAX, false, seed + 2);
    crowds(UINT64_MAX, 3u << 20, true, seed + 3);
    CHECK_EQ(descriptors(), fds);
    return TEST_DONE();
}
