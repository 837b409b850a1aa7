/* tls_files.c: certificates, keys, trusted authorities and revocation lists: from files into OpenSSL's contexts, with a
 * message that says which file and what about it. Main thread, at start and reload. */
#include "io/tls_private.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Mozilla's "intermediate", in its order: forward secrecy and authenticated encryption only. OpenSSL's own order for TLS
 * 1.3 begins with SHA-384, which makes a handshake dearer. */
static const char default_ciphers[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char default_suites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

void la_tls_complain(struct la_tls_build *b, enum la_tls_part part, size_t index, bool warning, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    b->failed |= !warning;
    b->tell(b->arg, part, index, warning, text);
    ERR_clear_error();
}

/* What OpenSSL says is wrong, in words. */
const char *la_tls_reason(void)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    return text ? text : "not understood";
}

BIO *la_tls_open(struct la_tls_build *b, enum la_tls_part part, size_t index, const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        la_tls_complain(b, part, index, false, "%s: %s", path, strerror(errno));
        return NULL;
    }
    BIO *bio = BIO_new_fp(f, BIO_CLOSE);
    la_assert(bio != NULL);
    /* A directory opens, and cannot be read. */
    errno = 0;
    int c = getc(f);
    if (c != EOF)
        ungetc(c, f);
    else if (errno)
        la_tls_complain(b, part, index, false, "%s: %s", path, strerror(errno));
    else
        la_tls_complain(b, part, index, false, "%s: is empty", path);
    if (c == EOF) {
        BIO_free(bio);
        return NULL;
    }
    return bio;
}

/* A passphrase would have to be asked for, and nobody is there to answer. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    *(bool *)arg = true;
    return -1;
}

static void tell_dates(struct la_tls_build *b, size_t index, const char *path, const X509 *x)
{
    char date[64] = "";
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && ASN1_TIME_print(bio, X509_get0_notAfter(x)))
        date[BIO_read(bio, date, sizeof date - 1)] = 0;
    BIO_free(bio);
    if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
        la_tls_complain(b, LA_TLS_CERTIFICATE, index, true, "%s: expired (%s)", path, date);
    else if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
        la_tls_complain(b, LA_TLS_CERTIFICATE, index, true, "%s: not valid yet", path);
}

/* The certificate, then its chain. */
static X509 *read_chain(struct la_tls_build *b, const char *path, size_t index, STACK_OF(X509) * *chain)
{
    BIO *bio = la_tls_open(b, LA_TLS_CERTIFICATE, index, path);
    if (bio == NULL)
        return NULL;
    X509 *leaf = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL), *x;
    if (leaf == NULL) {
        la_tls_complain(b, LA_TLS_CERTIFICATE, index, false, "%s: no certificate in PEM form (%s)", path, la_tls_reason());
        BIO_free(bio);
        return NULL;
    }
    *chain = sk_X509_new_null();
    while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
        sk_X509_push(*chain, x);
    unsigned long e = ERR_peek_last_error();
    if (e && !(ERR_GET_LIB(e) == ERR_LIB_PEM && ERR_GET_REASON(e) == PEM_R_NO_START_LINE))
        la_tls_complain(b, LA_TLS_CERTIFICATE, index, false, "%s: certificate %d of the chain is broken (%s)", path,
                        sk_X509_num(*chain) + 2, la_tls_reason());
    ERR_clear_error();
    BIO_free(bio);
    tell_dates(b, index, path, leaf);
    return leaf;
}

static EVP_PKEY *read_key(struct la_tls_build *b, const char *path, size_t index)
{
    bool asked = false;
    BIO *bio = la_tls_open(b, LA_TLS_KEY, index, path);
    if (bio == NULL)
        return NULL;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    BIO_free(bio);
    if (key == NULL && asked)
        la_tls_complain(b, LA_TLS_KEY, index, false,
                        "%s: the key has a passphrase; write it without one (openssl pkey)", path);
    else if (key == NULL)
        la_tls_complain(b, LA_TLS_KEY, index, false, "%s: no private key in PEM form (%s)", path, la_tls_reason());
    return key;
}

bool la_tls_use_pair(struct la_tls_build *b, SSL_CTX *ctx, const struct la_tls_pair *pair, size_t index)
{
    STACK_OF(X509) *chain = NULL;
    const char *key_path = pair->key ? pair->key : pair->certificate;
    X509 *leaf = read_chain(b, pair->certificate, index, &chain);
    EVP_PKEY *key = read_key(b, key_path, index);
    bool fine = leaf && key;
    if (fine && X509_check_private_key(leaf, key) != 1) {
        la_tls_complain(b, LA_TLS_KEY, index, false, "%s: is not the key of the certificate in %s", key_path,
                        pair->certificate);
        fine = false;
    }
    if (fine && SSL_CTX_use_cert_and_key(ctx, leaf, key, chain, 1) != 1) {
        la_tls_complain(b, LA_TLS_CERTIFICATE, index, false, "%s: cannot be used: %s", pair->certificate, la_tls_reason());
        fine = false;
    }
    X509_free(leaf);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return fine;
}

static bool read_crl(struct la_tls_build *b, SSL_CTX *ctx, const char *path)
{
    BIO *bio = la_tls_open(b, LA_TLS_CRL, 0, path);
    X509_CRL *crl;
    int n = 0;
    if (bio == NULL)
        return false;
    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
        if (next && X509_cmp_current_time(next) < 0)
            la_tls_complain(b, LA_TLS_CRL, 0, true, "%s: list %d has expired: nothing that it covers will be accepted",
                            path, n + 1);
        X509_STORE_add_crl(SSL_CTX_get_cert_store(ctx), crl);
        X509_CRL_free(crl);
        n++;
    }
    BIO_free(bio);
    if (n == 0)
        la_tls_complain(b, LA_TLS_CRL, 0, false, "%s: no revocation list in PEM form (%s)", path, la_tls_reason());
    ERR_clear_error();
    X509_STORE_set_flags(SSL_CTX_get_cert_store(ctx), X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return n > 0;
}

bool la_tls_use_trust(struct la_tls_build *b, SSL_CTX *ctx, const char *ca, const char *crl)
{
    if (ca == NULL) {
        if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
            la_tls_complain(b, LA_TLS_CA, 0, false, "the system's certificate authorities cannot be read: %s",
                            la_tls_reason());
            return false;
        }
    } else {
        BIO *bio = la_tls_open(b, LA_TLS_CA, 0, ca);
        if (bio == NULL)
            return false;
        BIO_free(bio);
        if (SSL_CTX_load_verify_file(ctx, ca) != 1) {
            la_tls_complain(b, LA_TLS_CA, 0, false, "%s: no certificate in PEM form (%s)", ca, la_tls_reason());
            return false;
        }
    }
    return crl == NULL || read_crl(b, ctx, crl);
}

bool la_tls_use_ciphers(struct la_tls_build *b, SSL_CTX *ctx, int min_version, const char *ciphers, const char *suites)
{
    SSL_CTX_set_min_proto_version(ctx, min_version == 3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    if (SSL_CTX_set_cipher_list(ctx, ciphers ? ciphers : default_ciphers) != 1)
        la_tls_complain(b, LA_TLS_CIPHERS, 0, false, "no cipher of \"%s\" is known; see `openssl ciphers`", ciphers);
    if (SSL_CTX_set_ciphersuites(ctx, suites ? suites : default_suites) != 1)
        la_tls_complain(b, LA_TLS_CIPHERSUITES, 0, false,
                        "\"%s\" is not a list of TLS 1.3 suites; see `openssl ciphers -tls1_3 -s`", suites);
    static char groups[] = "X25519:P-256:P-384"; /* SSL_CTX_set1_groups_list casts const away */
    if (SSL_CTX_set1_groups_list(ctx, groups) != 1)
        la_tls_complain(b, LA_TLS_CIPHERS, 0, false, "this OpenSSL lacks the groups X25519, P-256 and P-384");
    return !b->failed;
}

/* ---- hashes of what decides ---- */

void la_tls_digest_text(EVP_MD_CTX *md, const char *text)
{
    EVP_DigestUpdate(md, text ? text : "", text ? strlen(text) + 1 : 0);
    EVP_DigestUpdate(md, text ? "+" : "-", 1);
}

void la_tls_digest_file(EVP_MD_CTX *md, const char *path)
{
    char piece[4096];
    FILE *f = path ? fopen(path, "re") : NULL;
    size_t n, all = 0;
    while (f && (n = fread(piece, 1, sizeof piece, f)) > 0) {
        EVP_DigestUpdate(md, piece, n);
        all += n;
    }
    EVP_DigestUpdate(md, &all, sizeof all);
    if (f)
        fclose(f);
}
