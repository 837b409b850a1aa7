/* run_listener.c: listeners that configurations name and do not name, in a process whose threads do not run: the test takes
 * their mail itself. A listener is forgotten when no configuration names it and the last worker has let its clients go. */
#include "run/process.h"
#include "test.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS 2

static struct process p;

static void on_mail(void *arg, struct la_mail *mail)
{
    struct la_note *n = la_container(mail, struct la_note, mail);
    (void)arg;
    n->deliver(n);
}

static void begin(void)
{
    p.loop = la_loop_new(on_mail, NULL);
    p.workers = p.crew.workers = WORKERS;
    p.header_bytes = 32768;
    p.access_fd = -1;
    la_list_init(&p.listeners);
    la_list_init(&p.names);
    p.proxy_stats = la_xcalloc(WORKERS, sizeof *p.proxy_stats);
    p.crew.member = la_xcalloc(WORKERS, sizeof(struct la_upstreams *));
    p.worker = la_xcalloc(WORKERS, sizeof *p.worker);
    p.filer = la_filer_new(1);
    atomic_store(&p.clients_max, 1000);
    atomic_store(&p.bounds.memory_max, 1 << 30);
    for (unsigned i = 0; i < WORKERS; i++)
        la_worker_init(&p.worker[i], &p, i);
}

static void take_mail(void)
{
    for (unsigned i = 0; i < WORKERS; i++)
        la_loop_take_mail(p.worker[i].loop);
    la_loop_take_mail(p.loop);
}

static void end(void)
{
    la_listeners_leave(&p);
    for (unsigned i = 0; i < WORKERS; i++) {
        la_gates_drain(&p.worker[i]);
        la_proxy_close(&p.worker[i].proxy);
    }
    take_mail();
    for (unsigned i = 0; i < WORKERS; i++)
        la_worker_fini(&p.worker[i]);
    la_snapshot_unref(&p.snapshot);
    la_plan_free(&p);
    la_filer_free(p.filer);
    la_listeners_free(&p);
    free(p.proxy_stats);
    free(p.crew.member);
    free(p.worker);
    la_loop_free(p.loop);
}

/* ---- configurations ---- */

static char *path(const char *name)
{
    return la_xasprintf("/tmp/lastack-listener-%ld-%s.sock", (long)getpid(), name);
}

/* One with a listener of each of these names. */
static void configure(const char *const *name, size_t n)
{
    struct la_conf_findings f = {0};
    struct la_text text = {0};
    struct la_snapshot *before = p.snapshot;
    char *why = NULL;
    la_text_addf(&text, "upstreams: { app: { servers: [127.0.0.1:1] } }\nlisten:\n");
    for (size_t i = 0; i < n; i++) {
        char *file = path(name[i]);
        la_text_addf(&text, "  - { name: %s, address: \"unix:%s\", upstream: app }\n", name[i], file);
        free(file);
    }
    struct la_conf *conf = la_conf_load_text("test", la_slice(text.p, text.n), &f);
    CHECK(conf != NULL && f.errors == 0);
    struct la_certs *certs = la_certs_new(conf, NULL, &f);
    CHECK(certs != NULL && la_listeners_open(&p, conf, &why));
    la_listeners_configure(&p, conf);
    p.snapshot = la_plan_make(&p, conf, certs);
    la_certs_unref(&certs);
    la_workers_apply(&p);
    la_listeners_prune(&p);
    la_snapshot_unref(&before);
    la_conf_findings_fini(&f);
    la_text_fini(&text);
}

/* A reference to the one of this name. */
static struct listener *listener(const char *name)
{
    struct listener *l;
    la_list_each(&p.listeners, l, struct listener, node)
        if (strcmp(l->name, name) == 0)
            return la_listener_ref(l);
    CHECK(!"there is one");
    return NULL;
}

static int dial(const struct listener *l)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, &l->address.u.sa, l->address.len) == 0);
    return fd;
}

#define CONFIGURE(...)                                      \
    do {                                                    \
        static const char *const names_[] = {__VA_ARGS__};  \
        configure(names_, la_count(names_));                \
    } while (0)

/* ---- tests ---- */

/* As often as you like: nothing of it is left but what the test itself holds. */
static void test_come_and_go(void)
{
    for (int i = 0; i < 50; i++) {
        CONFIGURE("a", "b");
        take_mail();
        struct listener *l = listener("b");
        CHECK_EQ(atomic_load(&l->refs), 2 + WORKERS);
        CONFIGURE("a");
        CHECK(access(l->address.u.un.sun_path, F_OK) != 0);
        CHECK_EQ(atomic_load(&l->refs), 1 + WORKERS); /* the workers have not heard of it */
        take_mail();
        CHECK_EQ(atomic_load(&l->refs), 1);
        la_listener_unref(&l);
    }
}

/* Comes and goes before a worker looks: the mail that names it holds it. */
static void test_unheard_of(void)
{
    CONFIGURE("a", "b");
    struct listener *l = listener("b");
    CONFIGURE("a");
    CHECK_EQ(atomic_load(&l->refs), 1 + WORKERS);
    take_mail();
    CHECK_EQ(atomic_load(&l->refs), 1);
    la_listener_unref(&l);
}

/* The worker that has a client of it goes on counting. */
static void test_with_a_client(void)
{
    CONFIGURE("a", "b");
    take_mail();
    struct listener *l = listener("b");
    int fd = dial(l);
    CHECK(send(fd, "GET / HT", 8, MSG_NOSIGNAL) == 8); /* who has asked nothing is not kept */
    CONFIGURE("a");
    take_mail();
    CHECK_EQ(atomic_load(&l->refs), 2);
    CHECK_EQ(atomic_load(&l->stats[0].connections), 1);
    la_proxy_close(&p.worker[0].proxy);
    CHECK_EQ(atomic_load(&l->stats[0].connections), 0);
    CONFIGURE("a");
    take_mail();
    CHECK_EQ(atomic_load(&l->refs), 1);
    la_listener_unref(&l);
    close(fd);
}

int main(void)
{
    begin();
    test_come_and_go();
    test_unheard_of();
    test_with_a_client();
    end();
    return TEST_DONE();
}
