/* base_basics.c: slab, list, mailbox (with threads), text and JSON, log lines and the log gate. */
#include "lastack/json.h"
#include "lastack/list.h"
#include "lastack/log.h"
#include "lastack/mailbox.h"
#include "lastack/slab.h"
#include "test.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- slab --- */

#define ITEMS 5000

static void slab_model(size_t item_bytes, size_t per_chunk, uint64_t seed)
{
    uint64_t state = seed;
    static unsigned char *item[ITEMS];
    static unsigned char mark[ITEMS];
    struct la_slab s;
    size_t live = 0;
    la_slab_init(&s, item_bytes, per_chunk);
    for (int step = 0; step < 60000; step++) {
        /* Phases of growing and shrinking, so that chunks become full and empty. */
        bool grow = live == 0 || (live < ITEMS && la_random(&state) % 100 < (step / 5000 % 2 ? 35u : 65u));
        if (grow) {
            unsigned char *p = la_slab_get(&s);
            CHECK(p != NULL && ((uintptr_t)p & 15) == 0);
            mark[live] = (unsigned char)la_random(&state);
            memset(p, mark[live], item_bytes);
            item[live++] = p;
        } else {
            size_t i = la_random(&state) % live;
            for (size_t k = 0; k < item_bytes; k++)
                if (item[i][k] != mark[i])
                    CHECK(!"two items share bytes");
            la_slab_put(&s, item[i]);
            live--;
            item[i] = item[live];
            mark[i] = mark[live];
        }
        CHECK(s.in_use == live && s.empty_chunks <= 8);
    }
    while (live > 0)
        la_slab_put(&s, item[--live]);
    la_slab_fini(&s);
}

static void slab_reuses_last_freed(void)
{
    struct la_slab s;
    la_slab_init(&s, 100, 4);
    CHECK_EQ(s.item_bytes, 112);
    void *a = la_slab_get(&s), *b = la_slab_get(&s);
    la_slab_put(&s, a);
    CHECK(la_slab_get(&s) == a);
    la_slab_put(&s, b);
    la_slab_put(&s, a);
    CHECK(la_slab_get(&s) == a);
    CHECK(la_slab_get(&s) == b);
    la_slab_put(&s, a);
    la_slab_put(&s, b);
    la_slab_fini(&s);
}

/* --- list --- */

struct member {
    int n;
    struct la_list node;
};

static void list_order(void)
{
    struct la_list l;
    struct member m[5], *at;
    la_list_init(&l);
    CHECK(la_list_empty(&l) && la_list_first(&l, struct member, node) == NULL);
    CHECK(la_list_last(&l, struct member, node) == NULL);
    for (int i = 0; i < 5; i++) {
        m[i].n = i;
        la_list_init(&m[i].node);
    }
    la_list_push_back(&l, &m[2].node);
    la_list_push_back(&l, &m[4].node);
    la_list_push_front(&l, &m[0].node);
    la_list_insert_before(&m[2].node, &m[1].node);
    la_list_insert_before(&m[4].node, &m[3].node);
    int n = 0;
    la_list_each(&l, at, struct member, node) CHECK_EQ(at->n, n++);
    CHECK_EQ(n, 5);
    CHECK(la_list_first(&l, struct member, node) == &m[0] && la_list_last(&l, struct member, node) == &m[4]);
    CHECK(la_list_next(&l, &m[1], struct member, node) == &m[2]);
    CHECK(la_list_next(&l, &m[4], struct member, node) == NULL);
    CHECK(la_list_prev(&l, &m[1], struct member, node) == &m[0]);
    CHECK(la_list_prev(&l, &m[0], struct member, node) == NULL);
    la_list_each(&l, at, struct member, node) if (at->n % 2) la_list_remove(&at->node);
    n = 0;
    la_list_each(&l, at, struct member, node)
    {
        CHECK_EQ(at->n, n);
        n += 2;
    }
    CHECK_EQ(n, 6);
    la_list_remove(&m[1].node); /* unlinked: no effect */
    la_list_each(&l, at, struct member, node) la_list_remove(&at->node);
    CHECK(la_list_empty(&l));
}

/* --- mailbox --- */

#define PRODUCERS 4
#define LETTERS   20000

struct letter {
    struct la_mail mail;
    unsigned producer, n;
};
struct producer {
    pthread_t thread;
    struct la_mailbox *box;
    struct letter *letter;
};

static void *produce(void *arg)
{
    struct producer *p = arg;
    for (unsigned i = 0; i < LETTERS; i++)
        la_mailbox_post(p->box, &p->letter[i].mail);
    return NULL;
}

static void mailbox_single(void)
{
    struct la_mailbox box;
    struct la_mail m[3];
    la_mailbox_init(&box);
    CHECK(la_mailbox_take(&box) == NULL);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            la_mailbox_post(&box, &m[i]);
        for (int i = 0; i < 3; i++)
            CHECK(la_mailbox_take(&box) == &m[i]);
        CHECK(la_mailbox_take(&box) == NULL);
        la_mailbox_post(&box, &m[0]); /* a node may be posted again once it was taken */
        CHECK(la_mailbox_take(&box) == &m[0]);
    }
}

static void mailbox_threads(void)
{
    struct la_mailbox box;
    struct producer p[PRODUCERS];
    unsigned seen[PRODUCERS] = {0}, all = 0;
    la_mailbox_init(&box);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        p[i].box = &box;
        p[i].letter = la_xcalloc(LETTERS, sizeof *p[i].letter);
        for (unsigned n = 0; n < LETTERS; n++) {
            p[i].letter[n].producer = i;
            p[i].letter[n].n = n;
        }
        CHECK(pthread_create(&p[i].thread, NULL, produce, &p[i]) == 0);
    }
    while (all < PRODUCERS * LETTERS) {
        struct la_mail *mail = la_mailbox_take(&box);
        if (mail == NULL) {
            sched_yield();
            continue;
        }
        struct letter *l = la_container(mail, struct letter, mail);
        CHECK_EQ(l->n, seen[l->producer]); /* each producer's mail keeps its order */
        seen[l->producer]++;
        all++;
    }
    CHECK(la_mailbox_take(&box) == NULL);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(p[i].thread, NULL);
        free(p[i].letter);
    }
}

/* --- text and JSON --- */

static void json_text(void)
{
    struct la_text t = {0};
    struct la_json j;
    la_json_init(&j, &t);
    la_json_open(&j, NULL, '{');
    la_json_str(&j, "s", "a\"b\\c\n\x01\x7f");
    la_json_slice(&j, "bad", la_slice("\xc3\xa9\xff\xe0\x80\x80\xed\xa0\x80", 9));
    la_json_int(&j, "i", INT64_MIN);
    la_json_open(&j, "list", '[');
    la_json_num(&j, NULL, 0.5);
    la_json_num(&j, NULL, (double)INFINITY);
    la_json_open(&j, NULL, '{');
    la_json_close(&j, '}');
    la_json_bool(&j, NULL, true);
    la_json_close(&j, ']');
    la_json_bool(&j, "f", false);
    la_json_close(&j, '}');
    const char *want = "{\"s\":\"a\\\"b\\\\c\\u000a\\u0001\\u007f\","
                       "\"bad\":\"\xc3\xa9\\u00ff\\u00e0\\u0080\\u0080\\u00ed\\u00a0\\u0080\","
                       "\"i\":-9223372036854775808,\"list\":[0.5,null,{},true],\"f\":false}";
    if (strcmp(t.p, want) != 0)
        fprintf(stderr, "got  %s\nwant %s\n", t.p, want);
    CHECK(strcmp(t.p, want) == 0 && t.n == strlen(want));
    la_text_fini(&t);
    CHECK(t.p == NULL && t.n == 0);
    for (int i = 0; i < 1000; i++)
        la_text_addf(&t, "%d,", i);
    CHECK_EQ(t.n, 3890);
    CHECK_EQ(t.p[t.n], 0);
    la_text_fini(&t);
}

/* --- log --- */

static char *file_text(const char *path)
{
    static char text[16384];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    CHECK(n >= 0);
    text[n] = 0;
    close(fd);
    return text;
}

static unsigned lines(const char *text)
{
    unsigned n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void log_lines(void)
{
    char dir[] = "/tmp/lastack-log-XXXXXX", path[64], moved[64];
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/log", dir);
    snprintf(moved, sizeof moved, "%s/log.1", dir);
    la_log_setup(LA_LOG_INFO, false);
    CHECK(!la_log_open("/nonexistent/dir/log"));
    CHECK(la_log_open(path));
    la_log_debug("not written");
    la_log_info("a peer said \"%s\"", "x\ny\x1b[2J");
    CHECK(strstr(file_text(path), " info a peer said \"x?y?[2J\"\n") != NULL);
    CHECK_EQ(lines(file_text(path)), 1);
    CHECK(rename(path, moved) == 0);
    CHECK(la_log_reopen());
    la_log_setup(LA_LOG_DEBUG, true);
    la_log_debug("one\ntwo");
    CHECK(strstr(file_text(path), "\"level\":\"debug\",\"message\":\"one\\u000atwo\"}\n") != NULL);
    CHECK_EQ(lines(file_text(moved)), 1);
    for (int i = 0; i < 5; i++)
        la_log_limited(LA_LOG_WARN, 3600000, "limited %d", i);
    CHECK_EQ(lines(file_text(path)), 2);
    la_log_setup(LA_LOG_INFO, false);
    CHECK(la_log_open(NULL));
    la_log_info("on standard error");
    CHECK_EQ(lines(file_text(path)), 2);
    unsigned before = descriptors();
    for (int i = 0; i < 3; i++)
        CHECK(la_log_open(path) && la_log_open(NULL));
    CHECK_EQ(descriptors(), before);
    unlink(path);
    unlink(moved);
    CHECK(rmdir(dir) == 0);
}

struct gate_user {
    pthread_t thread;
    struct la_log_gate *gate;
    unsigned opened, held;
};

static void *knock(void *arg)
{
    struct gate_user *u = arg;
    for (int i = 0; i < 10000; i++) {
        uint64_t held = 0;
        if (la_log_gate_open(u->gate, 3600000, &held))
            u->opened++;
        u->held += (unsigned)held;
    }
    return NULL;
}

static void log_gate(void)
{
    struct la_log_gate g = {0};
    struct gate_user u[4] = {0};
    unsigned opened = 0, held_sum = 0;
    for (int i = 0; i < 4; i++) {
        u[i].gate = &g;
        CHECK(pthread_create(&u[i].thread, NULL, knock, &u[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(u[i].thread, NULL);
        opened += u[i].opened;
        held_sum += u[i].held;
    }
    CHECK_EQ(opened, 1);
    CHECK_EQ(atomic_load(&g.held) + held_sum, 39999);
    uint64_t held = 0;
    atomic_store(&g.next_ns, la_clock_ns()); /* the period is over */
    CHECK(la_log_gate_open(&g, 3600000, &held));
    CHECK_EQ(held + held_sum, 39999);
    CHECK(!la_log_gate_open(&g, 3600000, &held));
    struct la_log_gate always = {0};
    for (int i = 0; i < 3; i++) {
        CHECK(la_log_gate_open(&always, 0, &held));
        CHECK_EQ(held, 0);
    }
}

int main(void)
{
    uint64_t seed = la_random_seed();
    fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
    slab_model(24, 7, seed);
    slab_model(1, 1, seed);
    slab_model(3000, 2, seed);
    slab_reuses_last_freed();
    list_order();
    mailbox_single();
    mailbox_threads();
    json_text();
    log_lines();
    log_gate();
    return TEST_DONE();
}
