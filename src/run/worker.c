/* worker.c: a worker thread: its loop, its proxy, what the main thread tells it.
 *
 * The main thread speaks to it in notes: a new configuration, drain, reopen the log, dump. It answers in notes: done,
 * a dump. One core each: pinned, unless a CPU quota makes that pointless (process.c decides). */
#include "process.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void on_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    struct la_note *n = la_container(mail, struct la_note, mail);
    n->deliver(n);
}

/* ---- notes from the main thread ---- */

struct apply_note {
    struct la_note note;
    struct la_snapshot *snapshot; /* a reference */
    struct listener **listener;   /* in conf's order; references */
    size_t listeners;
    int access_fd;
};

static void apply_note_free(struct apply_note *n)
{
    for (size_t i = 0; i < n->listeners; i++)
        la_listener_unref(&n->listener[i]);
    free(n->listener);
    free(n);
}

static void on_apply(struct la_note *note)
{
    struct apply_note *n = la_container(note, struct apply_note, note);
    struct worker *w = n->note.to;
    struct la_snapshot *s = n->snapshot;
    if (w->draining) {
        la_snapshot_unref(&s);
    } else {
        la_proxy_apply(&w->proxy, s);
        la_access_log_set(w->proxy.log, n->access_fd, s->conf->log.format);
        la_gates_apply(w, s, n->listener);
        la_proxy_resume(&w->proxy);
        if (w->checks)
            la_checks_apply(w->checks, s->plan, s->plans);
    }
    apply_note_free(n);
}

void la_workers_apply(struct process *p)
{
    const struct la_conf *conf = p->snapshot->conf;
    for (unsigned i = 0; i < p->workers; i++) {
        struct apply_note *n = la_xcalloc(1, sizeof *n);
        n->snapshot = p->snapshot;
        atomic_fetch_add(&p->snapshot->refs, 1);
        n->listener = la_xcalloc(conf->listens, sizeof(struct listener *));
        n->listeners = conf->listens;
        for (size_t k = 0; k < n->listeners; k++)
            n->listener[k] = la_listener_ref(la_listener_find(p, &conf->listen[k].address));
        n->access_fd = p->access_fd;
        n->note.deliver = on_apply;
        n->note.to = &p->worker[i];
        la_loop_post(p->worker[i].loop, &n->note.mail);
    }
}

struct order_note {
    struct la_note note;
    enum { DRAIN, STOP, REOPEN, LEAVE } order;
};

static void on_done(struct la_note *note)
{
    struct process *p = note->to;
    free(note);
    la_process_worker_done(p);
}

/* Nothing is under way: idle connections are closed. The loop goes on until all workers are done: they may still be
 * asked what they do. */
static void finish(struct worker *w)
{
    if (w->finished)
        return;
    w->finished = true;
    la_timer_stop(&w->finish_timer);
    la_timer_stop(&w->pause_timer);
    la_checks_free(&w->checks);
    la_gates_drain(w);
    la_proxy_close(&w->proxy);
    struct la_note *n = la_xcalloc(1, sizeof *n);
    n->deliver = on_done;
    n->to = w->process;
    la_loop_post(w->process->loop, &n->mail);
}

/* Counts connections that are still said goodbye to. */
static void count_leaving(void *arg, struct la_conn *c)
{
    if (c->item.state != LA_CONN_IDLE && c->item.state != LA_CONN_PARKED)
        ++*(unsigned *)arg;
}

static void maybe_finish(struct worker *w)
{
    unsigned clients = 0, leaving = 0;
    struct gate *g;
    la_list_each(&w->gates, g, struct gate, node)
        clients += g->door.front.clients;
    la_upstreams_each(w->proxy.upstreams, count_leaving, &leaving);
    if (w->proxy.live_n == 0 && clients == 0 && leaving == 0)
        finish(w);
    else
        la_timer_set(&w->finish_timer, 20);
}

static void on_finish_timer(struct la_timer *t)
{
    maybe_finish(la_container(t, struct worker, finish_timer));
}

static void on_proxy_idle(struct la_proxy *p)
{
    struct worker *w = la_container(p, struct worker, proxy);
    if (!la_timer_is_set(&w->finish_timer))
        la_timer_set(&w->finish_timer, 1);
}

static void drain(struct worker *w)
{
    if (w->draining)
        return;
    if (w->checks)
        la_checks_drain(w->checks);
    la_gates_drain(w);
    w->draining = true;
    la_proxy_drain(&w->proxy);
    la_timer_set(&w->finish_timer, 1);
}

static void on_order(struct la_note *note)
{
    struct order_note *n = la_container(note, struct order_note, note);
    struct worker *w = n->note.to;
    switch (n->order) {
    case DRAIN: drain(w); break;
    case STOP: finish(w); break;
    case REOPEN: la_access_log_flush(w->proxy.log); break;
    case LEAVE: la_loop_stop(w->loop); break;
    }
    free(n);
}

static void order(struct process *p, int what)
{
    for (unsigned i = 0; i < p->workers; i++) {
        struct order_note *n = la_xcalloc(1, sizeof *n);
        n->order = what;
        n->note.deliver = on_order;
        n->note.to = &p->worker[i];
        la_loop_post(p->worker[i].loop, &n->note.mail);
    }
}

void la_workers_drain(struct process *p, bool at_once)
{
    order(p, at_once ? STOP : DRAIN);
}

void la_workers_join(struct process *p)
{
    order(p, LEAVE);
    for (unsigned i = 0; i < p->workers; i++)
        pthread_join(p->worker[i].thread, NULL);
}

void la_workers_reopen_log(struct process *p)
{
    order(p, REOPEN);
}

/* ---- dumps ---- */

struct dump {
    struct process *process;
    unsigned waiting;
    struct la_text text;
    void (*done)(void *arg, struct la_text *json);
    void *arg;
};

struct dump_note {
    struct la_note note;
    struct worker *worker;
    struct dump *dump;
    struct la_text text;
};

static void on_dumped(struct la_note *note)
{
    struct dump_note *n = la_container(note, struct dump_note, note);
    struct dump *d = n->dump;
    if (n->text.n && d->text.n > 1)
        la_text_add(&d->text, ",", 1);
    la_text_add(&d->text, n->text.p ? n->text.p : "", n->text.n);
    la_text_fini(&n->text);
    free(n);
    if (--d->waiting == 0) {
        la_text_add(&d->text, "]", 1);
        d->done(d->arg, &d->text);
        la_text_fini(&d->text);
        free(d);
    }
}

static void on_dump(struct la_note *note)
{
    struct dump_note *n = la_container(note, struct dump_note, note);
    la_proxy_dump(&n->worker->proxy, &n->text);
    n->note.deliver = on_dumped;
    la_loop_post(n->dump->process->loop, &n->note.mail);
}

void la_workers_dump(struct la_admin_state *s, void (*done)(void *arg, struct la_text *json), void *arg)
{
    struct process *p = la_container(s, struct process, state);
    struct dump *d = la_xcalloc(1, sizeof *d);
    *d = (struct dump){.process = p, .waiting = p->workers, .done = done, .arg = arg};
    la_text_add(&d->text, "[", 1);
    for (unsigned i = 0; i < p->workers; i++) {
        struct dump_note *n = la_xcalloc(1, sizeof *n);
        n->worker = &p->worker[i];
        n->dump = d;
        n->note.deliver = on_dump;
        la_loop_post(p->worker[i].loop, &n->note.mail);
    }
}

/* ---- life ---- */

static void on_pause_timer(struct la_timer *t)
{
    la_gates_resume(la_container(t, struct worker, pause_timer));
}

bool la_worker_init(struct worker *w, struct process *p, unsigned index)
{
    w->process = p;
    w->index = index;
    w->loop = la_loop_new(on_mail, w);
    if (w->loop == NULL)
        return false;
    la_list_init(&w->gates);
    la_timer_init(&w->pause_timer, w->loop, on_pause_timer);
    la_timer_init(&w->finish_timer, w->loop, on_finish_timer);
    la_proxy_init(&w->proxy, w->loop, p->filer, &p->bounds, index, &p->crew, &p->proxy_stats[index], p->header_bytes);
    w->proxy.on_idle = on_proxy_idle;
    if (index == 0)
        w->checks = la_checks_new(&w->proxy.env, w->proxy.upstreams);
    return true;
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    la_loop_run(w->loop);
    return NULL;
}

bool la_worker_start(struct worker *w)
{
    /* Signals are the main thread's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    w->started = pthread_create(&w->thread, NULL, thread_main, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    char name[16] = "worker-";
    name[7] = (char)('0' + w->index / 10 % 10);
    name[8] = (char)('0' + w->index % 10);
    if (w->started)
        pthread_setname_np(w->thread, name);
    return w->started;
}

void la_worker_fini(struct worker *w)
{
    la_checks_free(&w->checks);
    la_gates_free(w);
    la_proxy_fini(&w->proxy);
    la_loop_free(w->loop);
}
