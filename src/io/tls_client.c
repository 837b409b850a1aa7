/* tls_client.c: the context for connections to servers: whom to trust, what to show, and its identity: a hash
 * of all that decides. Connections made under one identity are never used under another. And the life of
 * contexts. */
#include "io/tls_private.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include <stdlib.h>
#include <sys/stat.h>

/* The authorities of the system: one file, and the time of a directory's last change. */
static void digest_system(EVP_MD_CTX *md)
{
    const char *file = getenv(X509_get_default_cert_file_env()), *dir = getenv(X509_get_default_cert_dir_env());
    struct stat st = {0};
    la_tls_digest_file(md, file ? file : X509_get_default_cert_file());
    (void)stat(dir ? dir : X509_get_default_cert_dir(), &st);
    EVP_DigestUpdate(md, &st.st_mtim, sizeof st.st_mtim);
}

static void set_identity(struct la_tls *t, const struct la_tls_client_spec *spec)
{
    unsigned n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    la_tls_digest_text(md, spec->verify ? "verify" : "any");
    la_tls_digest_text(md, spec->server_name);
    la_tls_digest_text(md, spec->ciphers);
    la_tls_digest_text(md, spec->ciphersuites);
    la_tls_digest_text(md, spec->min_version == 3 ? "1.3" : "1.2");
    la_tls_digest_file(md, spec->ca);
    if (spec->verify && spec->ca == NULL)
        digest_system(md);
    la_tls_digest_file(md, spec->crl);
    la_tls_digest_file(md, spec->own.certificate);
    la_tls_digest_file(md, spec->own.key);
    EVP_DigestFinal_ex(md, t->identity, &n);
    EVP_MD_CTX_free(md);
}

struct la_tls *la_tls_client_new(const struct la_tls_client_spec *spec, la_tls_tell *tell, void *arg)
{
    static const unsigned char alpn[] = "\x8http/1.1";
    struct la_tls_build b = {.tell = tell, .arg = arg};
    struct la_tls *t = la_xcalloc(1, sizeof *t);
    atomic_store(&t->refs, 1);
    t->verify = spec->verify;
    t->ctx = SSL_CTX_new(TLS_client_method());
    la_assert(t->ctx != NULL);
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(t->ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_read_ahead(t->ctx, 1);
    SSL_CTX_set_alpn_protos(t->ctx, alpn, sizeof alpn - 1);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, la_tls_on_session);
    la_tls_use_ciphers(&b, t->ctx, spec->min_version, spec->ciphers, spec->ciphersuites);
    if (spec->verify && la_tls_use_trust(&b, t->ctx, spec->ca, spec->crl))
        SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, la_tls_on_verify);
    if (spec->own.certificate)
        la_tls_use_pair(&b, t->ctx, &spec->own, 0);
    set_identity(t, spec);
    if (b.failed)
        la_tls_unref(&t);
    return t;
}

bool la_tls_same(const struct la_tls *a, const struct la_tls *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return !a->server && !b->server && memcmp(a->identity, b->identity, sizeof a->identity) == 0;
}

/* ---- life ---- */

struct la_tls *la_tls_ref(struct la_tls *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void la_tls_unref(struct la_tls **tp)
{
    struct la_tls *t = *tp;
    *tp = NULL;
    if (t == NULL || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t i = 0; i < t->entries; i++) {
        SSL_CTX_free(t->entry[i].ctx);
        X509_free(t->entry[i].leaf);
        OPENSSL_free(t->entry[i].ocsp);
    }
    if (!t->server)
        SSL_CTX_free(t->ctx);
    for (size_t i = 0; i < t->names; i++)
        free(t->name[i].text);
    free(t->name);
    free(t->entry);
    free(t);
}
