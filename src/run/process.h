/* process.h: what the files of the run layer share: the process, its workers, its listeners. */
#ifndef LASTACK_RUN_PROCESS_H
#define LASTACK_RUN_PROCESS_H

#include "lastack/admin.h"
#include "lastack/check.h"
#include "lastack/resolver.h"
#include "lastack/run.h"
#include "lastack/sock.h"

#include <pthread.h>

struct process;
struct worker;

/* One listening address. Main thread; workers know its descriptors and counters. It lives while a configuration names it or a
 * worker has a gate of it. */
struct listener {
    _Atomic unsigned refs;
    struct la_list node;
    struct la_addr address;
    char *name; /* main thread */
    int *fd; /* [workers]; each closes its own */
    struct la_client_stats *stats; /* [workers] */
    struct la_listener_sums before; /* what they were when it got its name */
    struct la_sock_file file;
    bool wanted; /* while a configuration is applied */
};

/* A worker's part of a listener. */
struct gate {
    struct la_door door; /* first */
    struct la_list node;
    struct la_io io;
    struct worker *worker;
    struct listener *listener; /* a reference */
    int fd;      /* -1: closed */
    bool wanted; /* while a configuration is applied */
    uint8_t quota; /* clients to accept in a turn before asking costs more than the next turn */
    uint8_t full;  /* turns in a row that found as many */
};

/* Counts of clients by address, all workers: a count-min sketch, so that it is bounded and needs no lock. */
#define ADDRESS_SLOTS 65536u
struct address_counts {
    _Atomic uint32_t row[2][ADDRESS_SLOTS];
};

struct worker {
    struct process *process;
    unsigned index;
    pthread_t thread;
    bool started;
    struct la_loop *loop;
    struct la_proxy proxy;
    struct la_list gates;
    struct la_checks *checks; /* worker 0 */
    struct la_timer pause_timer;
    struct la_timer finish_timer;
    bool paused, draining, finished;
};

/* Of the user to become; all 0: there is none. */
struct rights {
    bool to_drop, taken;
    uid_t uid;
    gid_t gid, roots_gid;
    gid_t *group, *roots_group; /* owned */
    int groups, roots_groups;
};

struct process {
    struct la_loop *loop;
    const char *path, *text;
    unsigned workers;
    struct worker *worker;
    struct la_crew crew;
    struct la_filer *filer;
    struct la_bounds bounds;
    struct la_list listeners;
    struct la_conf *next; /* waits for its names' first answers */
    struct la_certs *next_certs;
    struct la_tls_ring *ring;
    struct la_snapshot *snapshot;
    struct la_proxy_stats *proxy_stats;
    struct la_resolver *resolver;
    struct la_list names;
    struct la_server **server; /* referenced: all that a configuration names or a connection is left of */
    struct la_upstream **upstream;
    size_t servers, upstreams;
    struct la_admin_state state;
    struct la_sampler *sampler;
    struct la_admin *admin;
    struct la_timer tick, drain_timer, hang_timer, names_timer;
    struct la_signal signals[6];
    unsigned live_workers;
    uint64_t names_due_ns;
    uint64_t ports_due_ns;
    uint16_t port_low, port_high; /* the kernel's range, and how many of it are not reserved: when the configuration was read */
    unsigned ports;
    int access_fd;
    size_t header_bytes; /* these three as at the start */
    struct la_addr admin_address;
    char *user;
    struct rights rights; /* until they are dropped */
    _Atomic uint64_t clients, clients_max, clients_per_address;
    struct address_counts *_Atomic addresses;
    bool draining, reload_due; /* reload_due: asked for before the first configuration was there */
};

/* sizes.c: once a second */
void la_sizes_tick(struct process *p);
/* ports.c: once a second */
void la_ports_tick(struct process *p);
/* listener.c */
/* Opens what conf asks for and is not open; false: nothing was changed, *why (owned by the caller) says which key. */
bool la_listeners_open(struct process *p, const struct la_conf *conf, char **why);
/* Why key's address cannot be listened on, with its place and what to do; to be freed. */
char *la_listen_error(const struct la_conf *conf, const char *key, const struct la_addr *a, int err, bool by_admin);
/* Those that are open get what may change: name, backlog, permissions, timeout. */
void la_listeners_configure(struct process *p, const struct la_conf *conf);
/* After every worker has heard of the configuration: forgets those that conf does not name. */
void la_listeners_prune(struct process *p);
/* Before workers close them for good: takes the files of Unix sockets away, so that whoever comes next has its own. */
void la_listeners_leave(struct process *p);
void la_listeners_free(struct process *p);
struct listener *la_listener_find(struct process *p, const struct la_addr *a);
/* Any thread. */
struct listener *la_listener_ref(struct listener *l);
void la_listener_unref(struct listener **l);
/* On the worker: opens, adjusts and closes its gates. */
void la_gates_apply(struct worker *w, const struct la_snapshot *s, struct listener *const *listener);
void la_gates_drain(struct worker *w);
void la_gates_free(struct worker *w);
void la_gates_resume(struct worker *w);

/* worker.c */
bool la_worker_init(struct worker *w, struct process *p, unsigned index); /* false: errno */
bool la_worker_start(struct worker *w);
void la_worker_fini(struct worker *w);
/* Main thread: sends every worker a reference to the snapshot, and the listeners in conf's order. */
void la_workers_apply(struct process *p);
void la_workers_drain(struct process *p, bool at_once);
void la_workers_reopen_log(struct process *p);
void la_workers_join(struct process *p); /* ends their threads */
void la_workers_dump(struct la_admin_state *s, void (*done)(void *arg, struct la_text *json), void *arg);

/* names.c */
/* Names are asked of the name servers of conf from now on. False: none can be asked, logged; those before stay. */
bool la_names_resolver(struct process *p, const struct la_conf *conf);
/* Names in conf are watched from now on; when their addresses change, la_process_replan. */
void la_names_watch(struct process *p, const struct la_conf *conf);
/* Forgets those that the present configuration does not name. */
void la_names_prune(struct process *p);
/* The addresses that are known of it, valid until the loop runs again; *n: how many. */
const struct la_addr *la_names_of(const struct process *p, const char *host, uint16_t port, size_t *n);
void la_names_free(struct process *p);
bool la_names_settled(const struct process *p); /* each has been answered once, or failed */

/* plan.c: the shared objects of a configuration */
struct la_snapshot *la_plan_make(struct process *p, struct la_conf *conf, struct la_certs *certs);
/* Tells admin which servers the present configuration has removed: after la_plan_make. */
void la_plan_report(struct process *p);
void la_plan_free(struct process *p);

/* rights.c */
/* Those of user, if this is root and there is one. False: there is no such user, told. */
bool la_rights_find(struct rights *r, const char *user);
/* Takes the user's rights, until la_rights_back, if path is in its reach. Says whether. */
bool la_rights_take(struct rights *r, const char *path);
void la_rights_back(struct rights *r); /* keeps errno */
/* A log that root has opened goes on being written and opened again with the rights of the user. */
void la_rights_give_log(const struct rights *r, const char *path, int fd);
bool la_rights_drop(struct rights *r, const char *user); /* for good; false: told */

/* process.c */
void la_process_replan(struct process *p);
void la_process_worker_done(struct process *p);

#endif
