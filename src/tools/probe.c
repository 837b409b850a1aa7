/* probe.c: `lastack check --probe`: asks php-fpm's status page of every server that has one configured, and judges the
 * pool.
 *
 * One question each (fpm_ask.c); nothing of the running proxy is used. A name is looked up as `run` does it, and each of its
 * addresses is asked. What is wrong becomes a warning, a server that does not answer too: the configuration may be right
 * all the same. */
#include "probe.h"

#include "lastack/resolver.h"
#include "tools/fpm_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void probe(const struct la_conf_upstream *u, const struct la_conf_server *s, const char *label, const struct la_addr *a,
                  struct la_conf_findings *out)
{
    char text[256];
    struct la_fpm_status status;
    enum fpm_answer answer = fpm_ask(a, u->fastcgi.status_path, &status);
    if (answer == FPM_NO_CONNECTION) {
        la_conf_finding_add(out, true, &s->pos, "upstreams.%s: server %s: %s", u->name, label, strerror(errno));
    } else if (answer == FPM_SILENT) {
        la_conf_finding_add(
            out, true, &s->pos,
            "upstreams.%s: server %s does not answer within %d s: are all its workers busy, or pinned by "
            "idle connections?",
            u->name, label, FPM_PATIENCE_S);
    } else if (answer == FPM_OTHER_PAGE) {
        la_conf_finding_add(out, true, &s->pos,
                            "upstreams.%s: server %s: %s is not its status page: set pm.status_path", u->name, label,
                            u->fastcgi.status_path);
    } else {
        printf("upstreams.%s: server %s: php-fpm has %lld workers%s, %lld active; listen queue %lld (at most %lld so "
               "far)\n",
               u->name, label, (long long)status.total, status.is_static ? " (static)" : "", (long long)status.active,
               (long long)status.listen_queue, (long long)status.max_listen_queue);
        if (la_fpm_judge(&status, (int)la_conf_pool_most(u), 0, text, sizeof text))
            la_conf_finding_add(out, true, &s->pos, "upstreams.%s.pool.max: server %s: %s", u->name, label, text);
    }
}

/* The first answer of a name. */
struct answer {
    struct la_loop *loop;
    struct la_addr *addr;
    size_t n;
    char *why;
};

static void on_answer(void *arg, const struct la_addr *a, size_t n, const char *err)
{
    struct answer *answer = arg;
    answer->addr = la_xcalloc(n, sizeof *a);
    for (; answer->n < n; answer->n++)
        answer->addr[answer->n] = a[answer->n];
    answer->why = la_xstrdup(err ? err : "no address");
    la_loop_stop(answer->loop);
}

static void no_mail(void *arg, struct la_mail *mail)
{
    (void)arg;
    (void)mail;
}

static struct answer look_up(const struct la_conf *c, const struct la_conf_server *s)
{
    struct la_resolver_conf conf = {c->resolver.server, c->resolver.servers, c->resolver.max_ttl_ms};
    struct answer answer = {.loop = la_loop_new(no_mail, NULL)};
    struct la_resolver *r = answer.loop ? la_resolver_new(answer.loop, &conf) : NULL;
    if (r) {
        struct la_watch *w = la_resolver_watch(r, s->host, s->port, on_answer, &answer);
        la_loop_run(answer.loop);
        la_watch_drop(&w);
        la_resolver_free(r);
    }
    la_loop_free(answer.loop);
    return answer;
}

static void probe_named(const struct la_conf *c, const struct la_conf_upstream *u, const struct la_conf_server *s,
                        struct la_conf_findings *out)
{
    struct answer answer = look_up(c, s);
    for (size_t i = 0; i < answer.n; i++) {
        char addr[LA_ADDR_TEXT];
        char *label = la_xasprintf("%s@%s", s->text, la_addr_text(&answer.addr[i], addr));
        probe(u, s, label, &answer.addr[i], out);
        free(label);
    }
    if (answer.n == 0)
        la_conf_finding_add(out, true, &s->pos, "upstreams.%s: server %s: %s", u->name, s->text, answer.why ? answer.why : "not looked up");
    free(answer.addr);
    free(answer.why);
}

void la_probe(const struct la_conf *c, struct la_conf_findings *out)
{
    bool any = false;
    la_log_setup(LA_LOG_ERROR, false); /* findings tell what the resolver warns of */
    for (size_t i = 0; i < c->upstreams; i++)
        for (size_t k = 0; c->upstream[i].fastcgi.status_path && k < c->upstream[i].servers; k++) {
            const struct la_conf_server *s = &c->upstream[i].server[k];
            any = true;
            if (s->host)
                probe_named(c, &c->upstream[i], s, out);
            else
                probe(&c->upstream[i], s, s->text, &s->address, out);
        }
    if (!any)
        la_conf_finding_add(out, true, NULL, "--probe: nothing to ask, no upstream has a fastcgi.status_path");
}
