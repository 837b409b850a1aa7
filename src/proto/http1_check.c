/* http1_check.c: active health checks: every interval a GET to a server, and its verdict to the server's health.
 *
 * Owns: a checker per server, its timers, the connection while a check is under way. Never: the thresholds (health.c),
 * who gets places and ports (dispatch.c), the counts of passive health.
 *
 * Good path: the interval is over -> a place is taken and dialed, before anybody who waits -> GET, marked as the
 * connection's last, so that the backend hangs up -> 2xx or 3xx, complete -> ok. health.timeout bounds all of it.
 * Without a free place it rides an idle connection, as its goodbye. Where nothing is idle either it waits, before anybody
 * else, for what comes free, and has its full time then. A check is spared when a real response came within the interval.
 *
 * What can fail: the dial, the response, the time; and the wait, when it is as long as health.timeout, no real response came
 * meanwhile, and every place is held by an exchange: a server that hangs has all its places taken. It waits on, since what
 * comes free is its own again. Each is a failed check, none is counted against the server twice.
 * A dial that outlives the timeout goes on, since it holds a place; until it ends each interval is one more failure.
 * Its connection, if it comes, is given to the requests.
 *
 * A checker whose server leaves the configuration, or whose worker drains, finishes the check under way and ends. One thread:
 * worker 0's. */
#include "lastack/check.h"

#include "lastack/call.h"
#include "lastack/fpm.h"

#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ull
#define SPREAD_MS 500 /* first checks are spread over this, so that servers are not all asked at once */
#define AGAIN_MS 100  /* down, and no place or port: when to look again */
#define BODY_MOST 65536 /* then its status is judged; the rest is read and dropped */
#define STATUS_MOST 2048 /* of a status page that is kept */

enum state { WAITING, QUEUED, DIALING, CALLING };

struct checker {
    struct la_list node;
    struct la_checks *home;
    struct la_upstream *shared; /* referenced */
    struct la_server *server;   /* referenced */
    const struct la_call_protocol *protocol;
    char *path, *host;         /* path NULL: only sampled */
    char *status_path;         /* NULL: not sampled */
    char *script_root;         /* NULL: no scripts */
    bool sampling;             /* the check under way asks the status page: no verdict */
    size_t page_n;
    char page[STATUS_MOST];
    uint64_t interval_ms, timeout_ms;
    enum state state;
    bool late;     /* the dial outlived its timeout */
    bool over;     /* ends with the check under way */
    bool present;  /* la_checks_apply has seen it */
    bool judged;   /* the response so far was enough; what comes is read so that the backend closes */
    int status;    /* of the response so far */
    uint64_t body; /* bytes of it */
    struct la_buf *encoded;
    struct la_call call;
    struct la_check_wait wait; /* QUEUED */
    uint64_t queued_ns;        /* since when */
    struct la_timer next, deadline;
};

struct la_checks {
    struct la_env *env;
    struct la_upstreams *upstreams;
    struct la_list checkers;
    uint64_t random;
};

static const struct la_call_events events;

static uint64_t now_ns(const struct checker *k)
{
    return la_loop_now_ns(k->home->env->loop);
}

static struct checker *of_call(struct la_call *c)
{
    return la_container(c, struct checker, call);
}

/* NULL: no longer configured. */
static struct la_outlet *outlet_of(const struct checker *k)
{
    struct la_branch *b = la_upstreams_branch(k->home->upstreams, k->shared);
    for (unsigned i = 0; b && i < b->outlets; i++)
        if (b->outlet[i]->pool.server == k->server)
            return b->outlet[i];
    return NULL;
}

/* ---- the verdict ---- */

static void verdict(struct checker *k, bool ok, const char *reason)
{
    struct la_outlet *o = outlet_of(k);
    if (k->sampling || k->over || k->path == NULL || o == NULL || !la_health_checked(&k->server->health, o->branch->conf, ok, now_ns(k)))
        return;
    if (ok)
        la_log_notice("server %s of upstream %s is up: GET %s: %s", k->server->label, k->shared->name, k->path, reason);
    else
        la_log_warn("server %s of upstream %s is down: GET %s: %s", k->server->label, k->shared->name, k->path, reason);
}

static void checker_free(struct checker *k)
{
    la_assert(k->state == WAITING);
    la_timer_stop(&k->next);
    la_timer_stop(&k->deadline);
    la_list_remove(&k->node);
    la_upstream_unref(&k->shared);
    la_server_unref(&k->server);
    free(k->path);
    free(k->host);
    free(k->status_path);
    free(k->script_root);
    free(k);
}

/* The check is over; the call may still be on the stack (on_idle frees then). */
static void rest(struct checker *k)
{
    la_timer_stop(&k->deadline);
    la_check_wait_end(&k->wait);
    la_buf_put(k->home->env, &k->encoded);
    k->state = WAITING;
    k->late = false;
    if (!k->over && !la_timer_is_set(&k->next))
        la_timer_set(&k->next, k->interval_ms);
}

/* Takes the connection away from the call and resets it. */
static void break_off(struct checker *k)
{
    struct la_conn *c = k->call.conn;
    la_call_stop(&k->call);
    k->call.conn = NULL;
    la_conn_release(&c, LA_RESET, LA_CLOSE_HEALTH_CHECK);
}

/* ---- the call ---- */

static struct la_slice pull(struct la_call *c, bool *last)
{
    (void)c;
    *last = true;
    return la_slice(NULL, 0);
}

static void consumed(struct la_call *c, size_t n)
{
    (void)c;
    (void)n;
}

static struct la_slice trailers(struct la_call *c)
{
    (void)c;
    return la_slice(NULL, 0);
}

static void nothing(struct la_call *c)
{
    (void)c;
}

static void on_interim(struct la_call *c, const struct la_http_head *h)
{
    (void)c;
    (void)h;
}

static void on_head(struct la_call *c, const struct la_http_head *h)
{
    of_call(c)->status = h->status;
}

static void judge(struct checker *k)
{
    char text[32];
    if (k->judged)
        return;
    k->judged = true;
    snprintf(text, sizeof text, "status %d", k->status);
    verdict(k, k->status >= 200 && k->status < 400, text);
}

static int idle_connections(const struct la_server *s)
{
    int n = 0;
    for (unsigned i = 0; i < s->workers; i++)
        n += atomic_load(&s->cell[i].idle);
    return n;
}

/* Nobody asks any more, or the page is none: what php-fpm once said holds no longer. */
static void forget_sample(struct la_server *s)
{
    atomic_store(&s->app.fixed, false);
    atomic_store(&s->app.sampled_ns, 0);
}

/* The page has come: for the metrics, and for a warning when the pool and php-fpm do not fit together. */
static void take_sample(struct checker *k)
{
    struct la_fpm_status s;
    struct la_app_status *app = &k->server->app;
    char text[256];
    if (k->status_path == NULL || k->over) /* a reload took it away meanwhile */
        return;
    if (k->status != 200 || !la_fpm_status_read(la_slice(k->page, k->page_n), &s)) {
        la_log_limited(LA_LOG_WARN, 60000, "server %s of upstream %s: %s is not php-fpm's status page (status %d): is it pm.status_path?",
                       k->server->label, k->shared->name, k->status_path, k->status);
        forget_sample(k->server);
        return;
    }
    atomic_store(&app->active, s.active);
    atomic_store(&app->idle, s.idle);
    atomic_store(&app->total, s.total);
    atomic_store(&app->fixed, s.is_static);
    atomic_store(&app->listen_queue, s.listen_queue);
    atomic_store(&app->max_listen_queue, s.max_listen_queue);
    atomic_store(&app->accepted, (uint64_t)s.accepted);
    atomic_store(&app->max_children_reached, (uint64_t)s.max_children_reached);
    atomic_store(&app->slow, (uint64_t)s.slow);
    atomic_store(&app->sampled_ns, now_ns(k));
    if (la_fpm_judge(&s, atomic_load(&k->server->max), idle_connections(k->server), text, sizeof text))
        la_log_limited(LA_LOG_WARN, 60000, "server %s of upstream %s: %s", k->server->label, k->shared->name, text);
}

static void on_body(struct la_call *c, struct la_slice piece)
{
    struct checker *k = of_call(c);
    k->body += piece.n;
    size_t keep = la_min64(piece.n, sizeof k->page - k->page_n);
    memcpy(k->page + k->page_n, piece.p, k->sampling ? keep : 0);
    k->page_n += k->sampling ? keep : 0;
    if (k->body > BODY_MOST)
        judge(k);
}

static void on_end(struct la_call *c, struct la_slice lines)
{
    (void)lines;
    judge(of_call(c));
    if (of_call(c)->sampling)
        take_sample(of_call(c));
    rest(of_call(c));
}

static void on_upgraded(struct la_call *c, const struct la_http_head *h, struct la_slice early)
{
    (void)h;
    (void)early;
    struct checker *k = of_call(c);
    verdict(k, false, la_err_info(LA_UPGRADE_FAILED)->text);
    break_off(k);
    rest(k);
}

static void on_fail(struct la_call *c, enum la_err e, enum la_close_cause cause, bool gone)
{
    struct checker *k = of_call(c);
    struct la_conn *conn = c->conn;
    c->conn = NULL;
    if (!k->judged && e != LA_MEMORY && (cause != LA_CLOSE_RACE || conn->fresh)) /* a lost race says nothing */
        verdict(k, false, la_err_info(e)->text);
    rest(k);
    la_conn_release(&conn, gone ? LA_GONE : LA_RESET, gone ? cause : LA_CLOSE_HEALTH_CHECK);
}

static void on_idle(struct la_call *c)
{
    struct checker *k = of_call(c);
    if (k->over && k->state == WAITING)
        checker_free(k);
}

static const struct la_call_events events = {
    .pull = pull,
    .consumed = consumed,
    .trailers = trailers,
    .interim = on_interim,
    .head = on_head,
    .body = on_body,
    .flush = nothing,
    .end = on_end,
    .upgraded = on_upgraded,
    .fail = on_fail,
    .idle = on_idle,
};

/* ---- one check ---- */

/* Its dial has begun at last. */
static void on_dials(void *arg)
{
    struct checker *k = arg;
    k->state = DIALING;
    k->late = false;
    la_timer_set(&k->deadline, k->timeout_ms);
}

/* What came free may not have told. */
static void look_again(struct checker *k)
{
    la_check_wait_look(&k->wait);
    if (k->state == QUEUED && !la_health_up(&k->server->health))
        la_timer_set(&k->next, la_min64(AGAIN_MS, k->interval_ms));
}

/* Is every place held by an exchange? Tunnels and connections between two exchanges say nothing of the server. */
static bool all_at_work(const struct la_server *s)
{
    int max = atomic_load(&s->max), quiet = 0;
    for (unsigned i = 0; i < s->workers; i++)
        quiet += atomic_load(&s->cell[i].idle) + atomic_load(&s->cell[i].parked);
    return quiet == 0 && atomic_load(&s->budget->used) >= max && atomic_load(&s->budget->tunnels) < max;
}

static bool answered_since(const struct la_health *h, uint64_t ns)
{
    uint64_t last = atomic_load_explicit(&h->last_ok_ns, memory_order_relaxed);
    return last && last + LA_HEALTH_OK_NS > ns;
}

/* It has waited for as long as a check may take. */
static void waited_long(struct checker *k)
{
    look_again(k);
    if (k->state == QUEUED && all_at_work(k->server) && !answered_since(&k->server->health, k->queued_ns))
        verdict(k, false, "every connection waits for a response");
}

static void on_deadline(struct la_timer *t)
{
    struct checker *k = la_container(t, struct checker, deadline);
    if (k->state == QUEUED) {
        waited_long(k);
        return;
    }
    if (k->state == DIALING) {
        k->late = true;
        verdict(k, false, la_err_info(LA_CONNECT_TIMEOUT)->text);
        return;
    }
    la_assert(k->state == CALLING);
    if (!k->judged)
        verdict(k, false, la_err_info(k->call.head_done ? LA_RESPONSE_STALLED : LA_RESPONSE_TIMEOUT)->text);
    break_off(k);
    rest(k);
    if (k->over)
        checker_free(k);
}

/* NULL: a reload took it away. */
static const char *target_of(const struct checker *k)
{
    return k->sampling ? k->status_path : k->path;
}

/* NULL: it is not to be asked; then a reload took its path away meanwhile, or there is no memory. */
static struct la_buf *encode(struct checker *k)
{
    char address[LA_ADDR_TEXT], file[4096];
    const char *target = target_of(k);
    if (target == NULL)
        return NULL;
    struct la_slice path = la_slice_str(target);
    const char *query = memchr(path.p, '?', path.n);
    struct la_slice name = la_slice(path.p, query ? (size_t)(query - path.p) : path.n);
    int file_n = snprintf(file, sizeof file, "%s%.*s", k->script_root ? k->script_root : "", (int)name.n, name.p);
    const struct la_extra params[] = {
        {LA_SLICE("SCRIPT_FILENAME"), la_slice(file, la_min64((size_t)file_n, sizeof file - 1))},
        {LA_SLICE("SCRIPT_NAME"), name},
        {LA_SLICE("QUERY_STRING"), k->sampling ? LA_SLICE("json") : la_slice(path.p + path.n - (query ? path.n - name.n - 1 : 0),
                                                                           query ? path.n - name.n - 1 : 0)},
        {LA_SLICE("REQUEST_METHOD"), LA_SLICE("GET")},
        {LA_SLICE("REQUEST_URI"), path},
        {LA_SLICE("SERVER_PROTOCOL"), LA_SLICE("HTTP/1.1")},
        {LA_SLICE("GATEWAY_INTERFACE"), LA_SLICE("CGI/1.1")},
        {LA_SLICE("REMOTE_ADDR"), LA_SLICE("127.0.0.1")},
    };
    struct la_request r = {.method = LA_SLICE("GET"), .target = path, .param = params, .params = la_count(params)};
    if (k->host)
        r.host = la_slice_str(k->host);
    else if (la_addr_family(&k->server->addr) == AF_UNIX)
        r.host = LA_SLICE("localhost");
    else
        r.host = la_slice_str(la_addr_text(&k->server->addr, address));
    la_fields_add(&r.fields, LA_SLICE("User-Agent"), LA_SLICE("lastack health check"));
    enum la_err e;
    return k->protocol->encode(k->home->env, &r, &e);
}

/* A dial for the check has ended, or a connection was found for it: c is busy and ours, or NULL. */
static void on_dialed(void *arg, struct la_conn *c, enum la_err e)
{
    struct checker *k = arg;
    if (c && !k->late && !k->over && (k->encoded = encode(k)) != NULL) {
        if (k->state == QUEUED)
            la_timer_set(&k->deadline, k->timeout_ms);
        k->state = CALLING;
        k->judged = false;
        k->status = 0;
        k->body = k->page_n = 0;
        la_call_init(&k->call, k->home->env, &events, k->protocol);
        k->call.encoded = k->encoded;
        k->call.method = LA_METHOD_GET;
        k->call.body = LA_BODY_NONE;
        k->call.send_ms = k->call.response_ms = k->timeout_ms;
        k->call.read_max = LA_SCRATCH_BYTES;
        if (!k->sampling) /* a sample is not worth a connection */
            la_pool_mark(&c->outlet->pool, &c->item);
        la_call_begin(&k->call, c);
        return; /* k may be gone */
    }
    if (c == NULL && !k->late)
        verdict(k, false, la_err_info(e)->text);
    rest(k);
    if (k->over)
        checker_free(k);
    if (c)
        la_conn_release(&c, LA_REUSE, LA_CLOSE_HEALTH_CHECK);
}

static void start(struct checker *k, struct la_outlet *o)
{
    k->state = DIALING;
    k->late = false;
    la_timer_set(&k->deadline, k->timeout_ms); /* first: the check may be over within the call */
    if (la_upstreams_dial_check(o, on_dialed, k))
        return;
    if (k->sampling) { /* a sample is not worth a place in front of the requests */
        rest(k);
        la_timer_set(&k->next, la_min64(AGAIN_MS, k->interval_ms));
        return;
    }
    k->state = QUEUED;
    k->queued_ns = now_ns(k);
    la_check_wait_begin(&k->wait, o);
    look_again(k);
}

static void on_next(struct la_timer *t)
{
    struct checker *k = la_container(t, struct checker, next);
    struct la_outlet *o = outlet_of(k);
    la_timer_set(t, k->interval_ms);
    if (o == NULL)
        return;
    if (k->state == DIALING && k->late) {
        verdict(k, false, la_err_info(LA_CONNECT_TIMEOUT)->text);
        return;
    }
    if (k->state == QUEUED && la_timer_is_set(&k->deadline)) {
        look_again(k);
        return;
    }
    if (k->state == QUEUED) /* the next check begins where this one stands */
        rest(k);
    if (k->state != WAITING) /* a timeout as long as the interval: its end is near */
        return;
    /* Where both are wanted they take turns. */
    k->sampling = k->status_path && (k->path == NULL || !k->sampling);
    struct la_health *h = &k->server->health;
    uint64_t last = atomic_load_explicit(&h->last_ok_ns, memory_order_relaxed);
    if (!k->sampling && last && la_health_up(h) && now_ns(k) < last + k->interval_ms * MS)
        verdict(k, true, "a response"); /* as good as a check: failures before it are no streak */
    else
        start(k, o);
}

/* ---- configurations ---- */

struct la_checks *la_checks_new(struct la_env *env, struct la_upstreams *u)
{
    struct la_checks *all = la_xcalloc(1, sizeof *all);
    all->env = env;
    all->upstreams = u;
    all->random = la_random_seed();
    la_list_init(&all->checkers);
    return all;
}

static struct checker *checker_for(struct la_checks *all, struct la_upstream *shared, struct la_server *server)
{
    struct checker *k;
    la_list_each(&all->checkers, k, struct checker, node)
        if (!k->over && k->shared == shared && k->server == server)
            return k;
    k = la_xcalloc(1, sizeof *k);
    k->home = all;
    k->shared = la_upstream_ref(shared);
    k->server = la_server_ref(server);
    k->wait = (struct la_check_wait){.dials = on_dials, .cb = on_dialed, .arg = k};
    la_list_init(&k->node);
    la_list_push_back(&all->checkers, &k->node);
    la_timer_init(&k->next, all->env->loop, on_next);
    la_timer_init(&k->deadline, all->env->loop, on_deadline);
    return k;
}

/* Nobody would take its verdict back. */
static void forget_verdict(struct la_server *s)
{
    atomic_store(&s->health.check_down, false);
    atomic_store(&s->health.check_streak, 0);
}

static void configure(struct checker *k, const struct la_conf_upstream *conf)
{
    /* Where checks and looks at the status page take turns, each comes every interval. */
    uint64_t interval = conf->health.interval_ms / (conf->health.path && conf->fastcgi.status_path ? 2 : 1);
    bool is_new = k->protocol == NULL, sooner = interval != k->interval_ms;
    if (k->path && conf->health.path == NULL)
        forget_verdict(k->server);
    if (k->status_path && conf->fastcgi.status_path == NULL)
        forget_sample(k->server);
    free(k->path);
    free(k->host);
    free(k->status_path);
    free(k->script_root);
    k->protocol = la_call_protocol_find(conf->protocol);
    k->path = conf->health.path ? la_xstrdup(conf->health.path) : NULL;
    k->status_path = conf->fastcgi.status_path ? la_xstrdup(conf->fastcgi.status_path) : NULL;
    const char *root = conf->fastcgi.script_root ? conf->fastcgi.script_root : conf->fastcgi.root;
    k->script_root = root ? la_xstrdup(root) : NULL;
    k->host = conf->health.host ? la_xstrdup(conf->health.host) : NULL;
    k->interval_ms = interval;
    k->timeout_ms = conf->health.timeout_ms;
    k->present = true;
    if (k->state == QUEUED && target_of(k) == NULL)
        rest(k);
    if (is_new)
        la_timer_set(&k->next, la_random(&k->home->random) % (la_min64(SPREAD_MS, k->interval_ms) + 1));
    else if (sooner)
        la_timer_set(&k->next, k->interval_ms);
}

/* After the check under way, if there is one. */
static void end(struct checker *k)
{
    k->over = true;
    if (k->state == QUEUED)
        rest(k);
    la_timer_stop(&k->next);
    if (k->state == WAITING)
        checker_free(k);
}

static void drop_absent(struct la_checks *all)
{
    struct checker *k;
    la_list_each(&all->checkers, k, struct checker, node) {
        bool gone = !k->present && !k->over;
        k->present = false;
        if (!gone)
            continue;
        forget_verdict(k->server);
        forget_sample(k->server);
        end(k);
    }
}

void la_checks_apply(struct la_checks *all, const struct la_upstream_plan *plan, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct la_conf_upstream *conf = plan[i].conf;
        if ((conf->health.path == NULL && conf->fastcgi.status_path == NULL) || la_call_protocol_find(conf->protocol) == NULL)
            continue;
        for (unsigned s = 0; s < plan[i].servers; s++)
            configure(checker_for(all, plan[i].shared, plan[i].server[s]), plan[i].conf);
    }
    drop_absent(all);
}

/* ---- the end ---- */

static void on_dialed_too_late(void *arg, struct la_conn *c, enum la_err e)
{
    (void)arg;
    (void)e;
    if (c)
        la_conn_release(&c, LA_REUSE, LA_CLOSE_HEALTH_CHECK);
}

static void let_go(void *arg, struct la_conn *c)
{
    if (c->on_check == on_dialed && c->check_arg == arg)
        c->on_check = on_dialed_too_late;
}

void la_checks_drain(struct la_checks *all)
{
    struct checker *k;
    la_list_each(&all->checkers, k, struct checker, node)
        end(k);
}

void la_checks_free(struct la_checks **allp)
{
    struct la_checks *all = *allp;
    *allp = NULL;
    if (all == NULL)
        return;
    struct checker *k;
    la_list_each(&all->checkers, k, struct checker, node) {
        k->over = true;
        if (k->state == CALLING)
            break_off(k);
        else if (k->state == DIALING)
            la_upstreams_each(all->upstreams, let_go, k);
        rest(k);
        checker_free(k);
    }
    free(all);
}
