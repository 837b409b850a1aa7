/* tls_ocsp.c: the OCSP response that is stapled to a certificate: read from its file, and judged as a client would.
 *
 * It must be about this certificate, good, timely, and signed by the certificate's issuer or by one that the issuer has
 * given this right (RFC 6960 4.2.2.2). The issuer is in the certificate's own file or among the system's authorities. What
 * is wrong is an error; what is right at another time, or cannot be judged, is a warning and is not sent. Main thread, at
 * start and reload. */
#include "io/tls_private.h"

#include <openssl/ocsp.h>

#include <stdlib.h>
#include <time.h>

#define SKEW_S 300 /* by which clocks may differ */

static X509 *issuer_in_file(SSL_CTX *ctx, X509 *leaf)
{
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(ctx, &chain);
    for (int i = -1; i < sk_X509_num(chain); i++) { /* -1: it may be its own */
        X509 *x = i < 0 ? leaf : sk_X509_value(chain, i);
        if (X509_check_issued(x, leaf) == X509_V_OK && X509_verify(leaf, X509_get0_pubkey(x)) == 1)
            return X509_up_ref(x) ? x : NULL;
    }
    return NULL;
}

static X509 *issuer_in_system(X509 *leaf)
{
    X509 *issuer = NULL;
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *look = X509_STORE_CTX_new();
    if (store && look && X509_STORE_set_default_paths(store) == 1 && X509_STORE_CTX_init(look, store, leaf, NULL) == 1 &&
        X509_STORE_CTX_get1_issuer(&issuer, look, leaf) != 1)
        issuer = NULL;
    X509_STORE_CTX_free(look);
    X509_STORE_free(store);
    return issuer;
}

/* The answer about this certificate of this issuer. */
static OCSP_SINGLERESP *find(OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
        const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(one);
        ASN1_OBJECT *hash = NULL;
        OCSP_id_get0_info(NULL, &hash, NULL, NULL, (OCSP_CERTID *)(uintptr_t)id);
        const EVP_MD *md = EVP_get_digestbyobj(hash);
        OCSP_CERTID *wanted = md ? OCSP_cert_to_id(md, leaf, issuer) : NULL;
        bool same = wanted && OCSP_id_cmp(id, wanted) == 0;
        OCSP_CERTID_free(wanted);
        if (same)
            return one;
    }
    return NULL;
}

static bool is_signed(OCSP_BASICRESP *basic, X509 *issuer)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *known = sk_X509_new_null();
    la_assert(store != NULL && known != NULL);
    X509_STORE_add_cert(store, issuer);
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    sk_X509_push(known, issuer);
    bool yes = OCSP_basic_verify(basic, known, store, OCSP_NOEXPLICIT) == 1;
    sk_X509_free(known);
    X509_STORE_free(store);
    return yes;
}

static int64_t wall_of(const ASN1_GENERALIZEDTIME *t)
{
    struct tm tm;
    return t && ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

/* What is wrong with it, or NULL; late: it is right, but not now. */
static const char *judge(OCSP_BASICRESP *basic, X509 *leaf, X509 *issuer, int64_t *until_s, bool *late)
{
    ASN1_GENERALIZEDTIME *from = NULL, *next = NULL;
    OCSP_SINGLERESP *one = find(basic, leaf, issuer);
    if (one == NULL)
        return "is for another certificate";
    if (!is_signed(basic, issuer))
        return "is not signed by the certificate's issuer, nor by a responder of its own";
    int status = OCSP_single_get0_status(one, NULL, NULL, &from, &next);
    if (status == V_OCSP_CERTSTATUS_REVOKED)
        return "says that the certificate is revoked";
    if (status != V_OCSP_CERTSTATUS_GOOD)
        return "says that the certificate is unknown";
    int64_t now = (int64_t)time(NULL);
    *until_s = wall_of(next);
    *late = true;
    if (*until_s && *until_s < now)
        return "has expired, it is not sent";
    if (wall_of(from) > now + SKEW_S)
        return "is not valid yet, it is not sent";
    *late = false;
    return NULL;
}

static const char *judge_file(OCSP_RESPONSE *response, SSL_CTX *ctx, int64_t *until_s, bool *late)
{
    X509 *leaf = SSL_CTX_get0_certificate(ctx);
    if (response == NULL)
        return "is not an OCSP response in DER form";
    OCSP_BASICRESP *basic = OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL
                                ? OCSP_response_get1_basic(response)
                                : NULL;
    if (basic == NULL)
        return "is an OCSP response without an answer";
    X509 *issuer = issuer_in_file(ctx, leaf);
    if (issuer == NULL)
        issuer = issuer_in_system(leaf);
    *late = issuer == NULL;
    const char *wrong = issuer ? judge(basic, leaf, issuer, until_s, late)
                               : "cannot be verified, it is not sent: put the issuer's certificate behind the "
                                 "certificate, into the same file";
    X509_free(issuer);
    OCSP_BASICRESP_free(basic);
    return wrong;
}

void la_tls_read_ocsp(struct la_tls_build *b, struct la_tls_entry *e, const struct la_tls_pair *pair, size_t index)
{
    bool late = false;
    BIO *bio = la_tls_open(b, LA_TLS_OCSP, index, pair->ocsp);
    if (bio == NULL)
        return;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE_bio(bio, NULL);
    BIO_free(bio);
    const char *wrong = judge_file(response, e->ctx, &e->ocsp_until_s, &late);
    if (wrong) {
        la_tls_complain(b, LA_TLS_OCSP, index, late, "%s: %s", pair->ocsp, wrong);
    } else {
        int n = i2d_OCSP_RESPONSE(response, &e->ocsp);
        e->ocsp_n = n > 0 ? (size_t)n : 0;
    }
    OCSP_RESPONSE_free(response);
}
