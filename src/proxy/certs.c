/* certs.c: from the configuration's file names to TLS contexts, and what is wrong with the files to findings
 * with their place. Main thread: at start, at reload, and for `check`. */
#include "lastack/certs.h"

#include <stdio.h>
#include <stdlib.h>

struct teller {
    const struct la_conf *conf;
    struct la_conf_findings *out;
    const char *path; /* "listen[0].tls" */
    bool server;
};

static const char *const parts[] = {
    [LA_TLS_CERTIFICATE] = "certificate",
    [LA_TLS_KEY] = "key",
    [LA_TLS_OCSP] = "ocsp",
    [LA_TLS_CA] = "ca",
    [LA_TLS_CRL] = "crl",
    [LA_TLS_CIPHERS] = "ciphers",
    [LA_TLS_CIPHERSUITES] = "ciphersuites",
};

static void tell(void *arg, enum la_tls_part part, size_t index, bool warning, const char *text)
{
    const struct teller *t = arg;
    char path[256];
    bool of_pair = t->server && part <= LA_TLS_OCSP, of_client = t->server && (part == LA_TLS_CA || part == LA_TLS_CRL);
    if (of_pair)
        snprintf(path, sizeof path, "%s.certificates[%zu].%s", t->path, index, parts[part]);
    else
        snprintf(path, sizeof path, "%s.%s%s", t->path, of_client ? "client." : "", parts[part]);
    la_conf_finding_add(t->out, warning, la_conf_where(t->conf, "%s", path), "%s: %s", path, text);
}

static struct la_tls *for_listener(const struct la_conf *c, size_t i, struct la_tls_ring *ring,
                                   struct la_conf_findings *out)
{
    const struct la_conf_listen *l = &c->listen[i];
    char path[64];
    snprintf(path, sizeof path, "listen[%zu].tls", i);
    struct teller t = {c, out, path, true};
    struct la_tls_pair *pair = la_xcalloc(l->tls.pairs, sizeof *pair);
    for (size_t k = 0; k < l->tls.pairs; k++)
        pair[k] = (struct la_tls_pair){l->tls.pair[k].certificate, l->tls.pair[k].key, l->tls.pair[k].ocsp};
    struct la_tls_server_spec spec = {
        .name = l->name,
        .pair = pair,
        .pairs = l->tls.pairs,
        .min_version = l->tls.min_version ? 3 : 2,
        .ciphers = l->tls.ciphers,
        .ciphersuites = l->tls.ciphersuites,
        .client_ca = l->tls.client_ca,
        .client_crl = l->tls.client_crl,
        .client_required = l->tls.client_verify == LA_CLIENT_REQUIRED,
        .session_ms = l->tls.session_ms,
        .ring = ring,
    };
    struct la_tls *made = la_tls_server_new(&spec, tell, &t);
    free(pair);
    return made;
}

static struct la_tls *for_upstream(const struct la_conf *c, size_t i, struct la_conf_findings *out)
{
    const struct la_conf_upstream *u = &c->upstream[i];
    char *path = la_xasprintf("upstreams.%s.tls", u->name);
    struct teller t = {c, out, path, false};
    struct la_tls_client_spec spec = {
        .verify = u->tls.verify,
        .ca = u->tls.ca,
        .crl = u->tls.crl,
        .own = {u->tls.certificate, u->tls.key, NULL},
        .min_version = u->tls.min_version ? 3 : 2,
        .ciphers = u->tls.ciphers,
        .ciphersuites = u->tls.ciphersuites,
        .server_name = u->tls.server_name,
    };
    struct la_tls *made = la_tls_client_new(&spec, tell, &t);
    free(path);
    return made;
}

struct la_certs *la_certs_new(const struct la_conf *c, struct la_tls_ring *ring, struct la_conf_findings *out)
{
    struct la_certs *k = la_xcalloc(1, sizeof *k);
    bool failed = false;
    atomic_store(&k->refs, 1);
    k->listens = c->listens;
    k->upstreams = c->upstreams;
    k->listen = la_xcalloc(c->listens, sizeof *k->listen);
    k->upstream = la_xcalloc(c->upstreams, sizeof *k->upstream);
    for (size_t i = 0; i < c->listens; i++)
        if (c->listen[i].tls.pairs)
            failed |= (k->listen[i] = for_listener(c, i, ring, out)) == NULL;
    for (size_t i = 0; i < c->upstreams; i++)
        if (c->upstream[i].tls.on)
            failed |= (k->upstream[i] = for_upstream(c, i, out)) == NULL;
    if (failed)
        la_certs_unref(&k);
    return k;
}

struct la_certs *la_certs_ref(struct la_certs *k)
{
    atomic_fetch_add(&k->refs, 1);
    return k;
}

void la_certs_unref(struct la_certs **kp)
{
    struct la_certs *k = *kp;
    *kp = NULL;
    if (k == NULL || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    for (size_t i = 0; i < k->listens; i++)
        la_tls_unref(&k->listen[i]);
    for (size_t i = 0; i < k->upstreams; i++)
        la_tls_unref(&k->upstream[i]);
    free(k->listen);
    free(k->upstream);
    free(k);
}
