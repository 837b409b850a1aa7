/* tls_private.h: what the TLS files share. The only header that shows OpenSSL's types. */
#ifndef LASTACK_IO_TLS_PRIVATE_H
#define LASTACK_IO_TLS_PRIVATE_H

#include "lastack/tls.h"

#include <openssl/ssl.h>

/* ---- tls_ring.c ---- */

#define LA_RING_KEYS 26 /* hours that a key opens tickets: a day, the hour in which it seals, and one to be sure */

struct la_ring_key {
    uint64_t made_ns; /* 0: none */
    unsigned char name[16], aes[32], mac[32];
};
/* The key to seal with, made when there is none young enough. False: no random numbers. */
bool la_tls_ring_seal(struct la_tls_ring *r, uint64_t now_ns, struct la_ring_key *out);
/* The key of this name (16 bytes); old: the ticket should be renewed. */
bool la_tls_ring_open(struct la_tls_ring *r, uint64_t now_ns, const unsigned char *name, struct la_ring_key *out,
                      bool *old);
/* What the keys are for. */
const EVP_CIPHER *la_tls_ring_cipher(const struct la_tls_ring *r);

/* ---- contexts ---- */

/* One certificate with its context. joined: it is served by that of an earlier entry, of the same names and another kind of
 * key, and has no names of its own. */
struct la_tls_entry {
    SSL_CTX *ctx;
    X509 *leaf;
    bool joined;
    unsigned char *ocsp; /* DER; NULL: none */
    size_t ocsp_n;
    int64_t ocsp_until_s; /* wall clock; its nextUpdate */
};
struct la_tls_name {
    char *text; /* lower case; "*.x" too */
    unsigned entry;
};

struct la_tls {
    _Atomic unsigned refs;
    bool server, verify;
    SSL_CTX *ctx; /* the first entry's, or the client's */
    struct la_tls_entry *entry;
    size_t entries;
    struct la_tls_name *name; /* sorted */
    size_t names;
    struct la_tls_ring *ring;
    unsigned char identity[32]; /* clients: a hash of all that decides */
};

/* tls_files.c: files to objects. Each tells what is wrong and returns false. */
struct la_tls_build {
    la_tls_tell *tell;
    void *arg;
    bool failed;
};
void la_tls_complain(struct la_tls_build *b, enum la_tls_part part, size_t index, bool warning, const char *fmt, ...)
    LA_PRINTF(5, 6);
/* Certificate, chain and key into ctx. */
bool la_tls_use_pair(struct la_tls_build *b, SSL_CTX *ctx, const struct la_tls_pair *pair, size_t index);
bool la_tls_use_trust(struct la_tls_build *b, SSL_CTX *ctx, const char *ca, const char *crl);
bool la_tls_use_ciphers(struct la_tls_build *b, SSL_CTX *ctx, int min_version, const char *ciphers, const char *suites);
BIO *la_tls_open(struct la_tls_build *b, enum la_tls_part part, size_t index, const char *path);
const char *la_tls_reason(void); /* what OpenSSL says is wrong, in words */
/* Adds a file's content (or its absence) to a hash. */
void la_tls_digest_file(EVP_MD_CTX *md, const char *path);
void la_tls_digest_text(EVP_MD_CTX *md, const char *text);

/* tls_ocsp.c: what is to be stapled with the entry's certificate. */
void la_tls_read_ocsp(struct la_tls_build *b, struct la_tls_entry *e, const struct la_tls_pair *pair, size_t index);

/* tls_server.c: the entry for a server name; the first when none fits. */
unsigned la_tls_pick(const struct la_tls *t, const char *server_name);

/* ---- streams: tls.c; callbacks of a handshake find it with la_tls_state_of ---- */

struct la_tls_state {
    SSL *ssl;
    struct la_tls *context;
    struct la_tls_meter *meter; /* while the handshake lasts */
    struct la_tls_slot *slot;
    struct la_hot hot; /* bytes are left inside OpenSSL */
    int fd;
    bool done;     /* the handshake is */
    bool more;     /* what is written now is followed by more, or by our FIN */
    bool drained;  /* in this operation a read found less than it asked for: the socket is empty */
    bool notified; /* the peer's close_notify came */
    bool said;     /* ours is on its way */
    bool fin;      /* the peer's FIN came */
    bool untold;   /* the end was met behind bytes that the caller has had first */
    bool broken;
    bool shed;           /* refused: over the meter */
    unsigned written;    /* plaintext bytes of a record that the kernel has not taken in full */
    unsigned record;     /* most plaintext of a record; 0: not asked yet */
    unsigned ahead;      /* plaintext bytes that are out and that the caller will give again */
    int verify_error;    /* X509_V_ERR_... of the first certificate that failed */
    unsigned long error; /* OpenSSL's, of the failed handshake */
    int sys_error;
    char *subject; /* of the certificate that failed */
};
struct la_tls_state *la_tls_state_of(const SSL *ssl);
int la_tls_on_verify(int ok, X509_STORE_CTX *store);
/* Over its share of this second? */
bool la_tls_meter_over(struct la_tls_meter *m);
/* tls_slot.c: a session worth keeping came. */
int la_tls_on_session(SSL *ssl, SSL_SESSION *session);
SSL_SESSION *la_tls_slot_get(struct la_tls_slot *s); /* a copy of the caller's, or NULL */
void la_tls_slot_put(struct la_tls_slot *s, SSL_SESSION **session);

extern const struct la_transport la_tls_transport;

#endif
