/* tls.h (layer: io): TLS for streams: contexts (certificates, trust, tickets), and the transport that they
 * make.
 *
 * A context is immutable once made and shared by all workers; a reference keeps it. It is made on the main
 * thread, from files; whatever is wrong with them is told, all of it, with the part of the configuration that
 * it is about. Streams hold a reference, so that a reload disturbs none. */
#ifndef LASTACK_TLS_H
#define LASTACK_TLS_H

#include "lastack/err.h"
#include "lastack/stream.h"

struct la_tls;
struct la_tls_ring; /* keys of session tickets: see tls_ring.c */

/* ---- contexts ---- */

enum la_tls_part {
    LA_TLS_CERTIFICATE,
    LA_TLS_KEY,
    LA_TLS_OCSP,
    LA_TLS_CA,
    LA_TLS_CRL,
    LA_TLS_CIPHERS,
    LA_TLS_CIPHERSUITES
};
/* What is wrong with a specification. index: which of the pairs. warning: it works, but. */
typedef void la_tls_tell(void *arg, enum la_tls_part part, size_t index, bool warning, const char *text);

struct la_tls_pair {
    const char *certificate; /* PEM: the certificate, then the chain */
    const char *key;         /* PEM, without a passphrase; NULL: in the same file */
    const char *ocsp;        /* DER response to be stapled; NULL: none */
};

struct la_tls_server_spec {
    const char *name; /* sessions begun under one name are not resumed under another */
    const struct la_tls_pair *pair;
    size_t pairs;
    int min_version;          /* 2 or 3: TLS 1.2 or 1.3 */
    const char *ciphers;      /* TLS 1.2, NULL: the default list */
    const char *ciphersuites; /* TLS 1.3, NULL: OpenSSL's */
    const char *client_ca;    /* NULL: clients are not asked for a certificate */
    const char *client_crl;
    bool client_required;
    uint64_t session_ms;      /* how long a session can be resumed; 0: never */
    struct la_tls_ring *ring; /* outlives the context */
};
/* NULL when anything but warnings was told. */
struct la_tls *la_tls_server_new(const struct la_tls_server_spec *spec, la_tls_tell *tell, void *arg);

struct la_tls_client_spec {
    bool verify;
    const char *ca, *crl;   /* NULL: the system's, none */
    struct la_tls_pair own; /* certificate NULL: none */
    int min_version;
    const char *ciphers, *ciphersuites;
    const char *server_name; /* part of the identity; see la_tls_connect */
};
struct la_tls *la_tls_client_new(const struct la_tls_client_spec *spec, la_tls_tell *tell, void *arg);
/* Would both accept the same servers and show them the same? Also by what is in the files. Either may be
 * NULL: plain. */
bool la_tls_same(const struct la_tls *a, const struct la_tls *b);

struct la_tls *la_tls_ref(struct la_tls *t);
void la_tls_unref(struct la_tls **t);

/* ---- ticket keys ---- */

struct la_tls_ring *la_tls_ring_new(void);
void la_tls_ring_free(struct la_tls_ring **r);

/* ---- streams ---- */

/* One thread's bound on handshake work: over its share of a second new handshakes are refused. */
struct la_tls_meter {
    unsigned percent;                  /* of the thread's time; 100 and more: no bound */
    uint64_t second, spent_ns, cpu_ns; /* wall clock in handshakes; the thread's CPU time when the second began */
};

/* The last session with one server: any thread. */
struct la_tls_slot;
struct la_tls_slot *la_tls_slot_new(void);
void la_tls_slot_free(struct la_tls_slot **s);

/* Puts TLS on a connected stream before anything was read or written; la_stream_handshake goes on from here.
 * False: no memory. meter: of this thread; used by the handshake only. */
bool la_tls_accept(struct la_stream *s, struct la_tls *t, struct la_tls_meter *meter);
/* name: what the certificate must be for, an IP address or a host name (that one is sent as SNI); NULL: no
 * check, no SNI. slot: outlives the stream; NULL: no resumption. */
bool la_tls_connect(struct la_stream *s, struct la_tls *t, const char *name, struct la_tls_slot *slot);

/* After a failed handshake: what to call it, and a line about it (certificate subject and so on) in buf. */
enum la_err la_tls_why(const struct la_stream *s, char *buf, size_t cap);

bool la_tls_was_shed(const struct la_stream *s); /* it failed because the meter was over */

/* How handshakes end, for counting. */
#define LA_HANDSHAKE_ENDS(X)                                                                                           \
    X(FULL, "full") X(RESUMED, "resumed") X(FAILED, "failed") X(SHED, "shed") X(TIMEOUT, "timeout")
enum la_handshake_end {
#define X(id, name) LA_HANDSHAKE_##id,
    LA_HANDSHAKE_ENDS(X)
#undef X
        LA_HANDSHAKE_END_COUNT
};

/* What a stream is protected by; false: by nothing. The texts are constant. */
struct la_tls_facts {
    const char *version, *cipher;
    bool resumed;
};
bool la_tls_facts(const struct la_stream *s, struct la_tls_facts *out);
/* The subject of the peer's verified certificate (RFC 2253, ASCII), its length; 0: none, or it does not fit.
 */
size_t la_tls_subject(const struct la_stream *s, char *buf, size_t cap);

#endif
