/* tls_facts.c: what can be told about a TLS stream: why its handshake failed, what protects it, who the peer
 * is. */
#include "io/tls_private.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <stdio.h>

static const struct la_tls_state *state_of(const struct la_stream *s)
{
    return s->transport == &la_tls_transport ? s->state : NULL;
}

static enum la_err verify_cause(int e)
{
    switch (e) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return LA_TLS_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID: return LA_TLS_NOT_YET_VALID;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return LA_TLS_SELF_SIGNED;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED: return LA_TLS_UNKNOWN_CA;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH: return LA_TLS_WRONG_NAME;
    case X509_V_ERR_CERT_REVOKED: return LA_TLS_REVOKED;
    default: return LA_TLS_BAD_CERTIFICATE;
    }
}

enum la_err la_tls_why(const struct la_stream *s, char *buf, size_t cap)
{
    const struct la_tls_state *st = state_of(s);
    const char *reason = st && st->error ? ERR_reason_error_string(st->error) : NULL;
    buf[0] = 0;
    if (st == NULL)
        return LA_TLS_HANDSHAKE;
    if (st->verify_error) {
        snprintf(buf, cap, "certificate of %s: %s", st->subject ? st->subject : "unknown",
                 X509_verify_cert_error_string(st->verify_error));
        return verify_cause(st->verify_error);
    }
    if (st->fin || st->error == 0 || st->sys_error) {
        snprintf(buf, cap, "%s",
                 st->fin         ? "the connection was closed"
                 : st->sys_error ? strerror(st->sys_error)
                                 : "no answer");
        return LA_TLS_CLOSED;
    }
    snprintf(buf, cap, "%s", reason ? reason : "no reason known");
    /* OpenSSL numbers the alerts it was sent from 1000 on. */
    return ERR_GET_LIB(st->error) == ERR_LIB_SSL && ERR_GET_REASON(st->error) >= SSL_AD_REASON_OFFSET
               ? LA_TLS_ALERT
               : LA_TLS_HANDSHAKE;
}

bool la_tls_was_shed(const struct la_stream *s)
{
    const struct la_tls_state *st = state_of(s);
    return st && st->shed;
}

bool la_tls_facts(const struct la_stream *s, struct la_tls_facts *out)
{
    const struct la_tls_state *st = state_of(s);
    if (st == NULL)
        return false;
    out->version = SSL_get_version(st->ssl);
    out->cipher = SSL_get_cipher_name(st->ssl);
    out->resumed = SSL_session_reused(st->ssl) == 1;
    return true;
}

size_t la_tls_subject(const struct la_stream *s, char *buf, size_t cap)
{
    const struct la_tls_state *st = state_of(s);
    if (st == NULL || SSL_get_verify_result(st->ssl) != X509_V_OK)
        return 0;
    X509 *x = SSL_get0_peer_certificate(st->ssl);
    BIO *bio = x ? BIO_new(BIO_s_mem()) : NULL;
    size_t n = 0;
    /* RFC 2253, everything but printable ASCII escaped: fit for a header field. */
    if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0) {
        int k = BIO_read(bio, buf, (int)cap);
        n = k > 0 && BIO_pending(bio) == 0 ? (size_t)k : 0;
    }
    BIO_free(bio);
    return n;
}
