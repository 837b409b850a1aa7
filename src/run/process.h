/* process.h: what the files of the run layer share: the process, its workers, its listeners. */
#ifndef LASTACK_RUN_PROCESS_H
#define LASTACK_RUN_PROCESS_H

#include "lastack/admin.h"
#include "lastack/check.h"
#include "lastack/resolver.h"
#include "lastack/run.h"

#include <pthread.h>

struct process;
struct worker;

/* One listening address. Main thread; workers know its descriptors and counters. */
struct listener {
    struct la_list node;
    struct la_addr address;
    char *name;
    int *fd; /* [workers]; a Unix listener has the same one everywhere */
    struct la_client_stats *stats; /* [workers] */
    bool wanted; /* while a configuration is applied */
};

/* A worker's part of a listener. */
struct gate {
    struct la_door door; /* first */
    struct la_list node;
    struct la_io io;
    struct worker *worker;
    struct listener *listener; /* for identity; never dereferenced by a worker after it has gone */
    int fd;                    /* -1: closed */
    bool tcp;
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

struct process {
    struct la_loop *loop;
    const char *path, *text;
    unsigned workers;
    struct worker *worker;
    struct la_crew crew;
    struct la_filer *filer;
    struct la_bounds bounds;
    struct la_list listeners, old_listeners;
    struct la_conf *first; /* waits for its names' first answers */
    struct la_certs *first_certs;
    struct la_tls_ring *ring;
    struct la_snapshot *snapshot;
    struct la_proxy_stats *proxy_stats;
    struct la_resolver *resolver;
    struct la_list names;
    struct la_admin_state state;
    struct la_sampler *sampler;
    struct la_admin *admin;
    struct la_timer tick, drain_timer;
    struct la_signal signals[6];
    unsigned names_ticks, live_workers;
    uint64_t ports_due_ns;
    int access_fd;
    size_t header_bytes;
    _Atomic uint64_t clients, clients_max, clients_per_address;
    struct address_counts *addresses;
    bool draining;
};

/* sizes.c: once a second */
void la_sizes_tick(struct process *p);
/* ports.c: once a second */
void la_ports_tick(struct process *p);
/* listener.c */
/* Opens what conf asks for and is not open; false: nothing was changed, *why (owned by the caller) says which key. */
bool la_listeners_open(struct process *p, const struct la_conf *conf, char **why);
/* After every worker has heard of the configuration: forgets those that conf does not name. */
void la_listeners_prune(struct process *p);
void la_listeners_free(struct process *p);
struct listener *la_listener_find(struct process *p, const struct la_addr *a);
/* On the worker: opens, adjusts and closes its gates. */
void la_gates_apply(struct worker *w, const struct la_snapshot *s, struct listener *const *listener);
void la_gates_drain(struct worker *w);
void la_gates_free(struct worker *w);
void la_gates_resume(struct worker *w);

/* worker.c */
void la_worker_init(struct worker *w, struct process *p, unsigned index);
bool la_worker_start(struct worker *w);
void la_worker_fini(struct worker *w);
/* Main thread: sends every worker a reference to the snapshot, and the listeners in conf's order. */
void la_workers_apply(struct process *p);
void la_workers_drain(struct process *p, bool at_once);
void la_workers_reopen_log(struct process *p);
void la_workers_join(struct process *p); /* ends their threads */
void la_workers_dump(struct la_admin_state *s, void (*done)(void *arg, struct la_text *json), void *arg);

/* plan.c: the shared objects of a configuration */
struct la_snapshot *la_plan_make(struct process *p, struct la_conf *conf, struct la_certs *certs, const struct la_snapshot *before);
/* Names in conf are watched from now on; changed: their addresses did, a new plan is due. */
void la_names_watch(struct process *p, const struct la_conf *conf);
void la_names_free(struct process *p);
bool la_names_settled(const struct process *p); /* each has been answered once, or failed */

/* process.c */
void la_process_replan(struct process *p);
void la_process_worker_done(struct process *p);

#endif
