/* certs.h (layer: proxy): the TLS contexts that a configuration asks for, made from its files. Shared by the
 * snapshots of that configuration. */
#ifndef LASTACK_CERTS_H
#define LASTACK_CERTS_H

#include "lastack/conf.h"
#include "lastack/tls.h"

struct la_certs {
    _Atomic unsigned refs;
    struct la_tls **listen;   /* [conf->listens]; NULL: plain */
    struct la_tls **upstream; /* [conf->upstreams] */
    size_t listens, upstreams;
};
/* Reads every file. NULL when one is wrong; each finding stands at the key that names the file. ring NULL: to
 * look only. */
struct la_certs *la_certs_new(const struct la_conf *c, struct la_tls_ring *ring, struct la_conf_findings *out);
struct la_certs *la_certs_ref(struct la_certs *k);
void la_certs_unref(struct la_certs **k);

#endif
