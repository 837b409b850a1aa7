/* probe.c: `lastack check --probe`: asks php-fpm's status page of every server that has one configured, and judges the
 * pool.
 *
 * One question each (fpm_ask.c); nothing of the running proxy is used. What is wrong becomes a warning, a server that
 * does not answer too: the configuration may be right all the same. */
#include "probe.h"

#include "tools/fpm_ask.h"

#include <errno.h>
#include <stdio.h>

static void probe(const struct la_conf_upstream *u, const struct la_conf_server *s, struct la_conf_findings *out)
{
    char text[256];
    struct la_fpm_status status;
    if (s->address.len == 0)
        return; /* a name: `check` resolves none */
    enum fpm_answer answer = fpm_ask(&s->address, u->fastcgi.status_path, &status);
    if (answer == FPM_NO_CONNECTION) {
        la_conf_finding_add(out, true, &s->pos, "upstreams.%s: server %s: %s", u->name, s->text, strerror(errno));
    } else if (answer == FPM_SILENT) {
        la_conf_finding_add(
            out, true, &s->pos,
            "upstreams.%s: server %s does not answer within %d s: are all its workers busy, or pinned by "
            "idle connections?",
            u->name, s->text, FPM_PATIENCE_S);
    } else if (answer == FPM_OTHER_PAGE) {
        la_conf_finding_add(out, true, &s->pos,
                            "upstreams.%s: server %s: %s is not its status page: set pm.status_path", u->name, s->text,
                            u->fastcgi.status_path);
    } else {
        printf("upstreams.%s: server %s: php-fpm has %lld workers%s, %lld active; listen queue %lld (at most %lld so "
               "far)\n",
               u->name, s->text, (long long)status.total, status.is_static ? " (static)" : "", (long long)status.active,
               (long long)status.listen_queue, (long long)status.max_listen_queue);
        if (la_fpm_judge(&status, (int)la_conf_pool_most(u), 0, text, sizeof text))
            la_conf_finding_add(out, true, &s->pos, "upstreams.%s.pool.max: server %s: %s", u->name, s->text, text);
    }
}

void la_probe(const struct la_conf *c, struct la_conf_findings *out)
{
    for (size_t i = 0; i < c->upstreams; i++)
        for (size_t k = 0; c->upstream[i].fastcgi.status_path && k < c->upstream[i].servers; k++)
            probe(&c->upstream[i], &c->upstream[i].server[k], out);
}
