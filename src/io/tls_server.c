/* tls_server.c: the context of a listener: its certificates by server name, sessions, client certificates,
 * stapling; and the decisions OpenSSL asks for while a client's handshake is under way.
 *
 * Safe by default: TLS 1.2 and 1.3, no renegotiation, no compression, no early data, tickets under keys of
 * our own. A session belongs to the listener's name and to what it demands of clients: another trust, another
 * session. */
#include "io/tls_private.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <ctype.h>
#include <stdlib.h>
#include <time.h>

/* ---- server names ---- */

static int by_text(const void *x, const void *y)
{
    const struct la_tls_name *a = x, *b = y;
    int order = strcmp(a->text, b->text);
    return order ? order : a->entry < b->entry ? -1 : a->entry > b->entry;
}

static int find_name(const struct la_tls *t, const char *text)
{
    size_t low = 0, high = t->names;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (strcmp(t->name[mid].text, text) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->names && strcmp(t->name[low].text, text) == 0 ? (int)t->name[low].entry : -1;
}

unsigned la_tls_pick(const struct la_tls *t, const char *server_name)
{
    char name[256];
    size_t n = server_name ? strlen(server_name) : 0;
    if (n == 0 || n >= sizeof name)
        return 0;
    for (size_t i = 0; i <= n; i++)
        name[i] = (char)tolower((unsigned char)server_name[i]);
    if (name[n - 1] == '.')
        name[n - 1] = 0;
    int found = find_name(t, name);
    char *dot = strchr(name, '.');
    if (found < 0 && dot && dot > name) { /* a wildcard stands for one label */
        dot[-1] = '*';
        found = find_name(t, dot - 1);
    }
    return found < 0 ? 0 : (unsigned)found;
}

static void add_name(struct la_tls *t, const unsigned char *p, int n, unsigned entry)
{
    if (n <= 0 || n > 255 || memchr(p, 0, (size_t)n))
        return;
    t->name = la_xrealloc(t->name, (t->names + 1) * sizeof *t->name);
    char *text = la_xstrndup((const char *)p, (size_t)n);
    for (char *c = text; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    t->name[t->names++] = (struct la_tls_name){text, entry};
}

/* The names a certificate is for: subjectAltName, else the common name. */
static void add_names(struct la_tls *t, X509 *leaf, unsigned entry)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type == GEN_DNS)
            add_name(t, ASN1_STRING_get0_data(g->d.dNSName), ASN1_STRING_length(g->d.dNSName), entry);
    }
    if (all == NULL) {
        X509_NAME *subject = X509_get_subject_name(leaf);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        const ASN1_STRING *cn = at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        if (cn)
            add_name(t, ASN1_STRING_get0_data(cn), ASN1_STRING_length(cn), entry);
    }
    GENERAL_NAMES_free(all);
}

/* ---- what OpenSSL asks ---- */

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct la_tls *t = arg;
    (void)alert;
    unsigned entry = la_tls_pick(t, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    if (entry)
        SSL_set_SSL_CTX(ssl, t->entry[entry].ctx);
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n,
                   void *arg)
{
    static const unsigned char http1[] = "\x8http/1.1\x8http/1.0";
    (void)ssl;
    (void)arg;
    int k = SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_n, http1, sizeof http1 - 1, in, in_n);
    return k == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The first thing of a handshake, before anything that costs. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct la_tls_state *st = la_tls_state_of(ssl);
    (void)arg;
    if (st == NULL || st->meter == NULL || !la_tls_meter_over(st->meter))
        return SSL_CLIENT_HELLO_SUCCESS;
    st->shed = true;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

static int on_status(SSL *ssl, void *arg)
{
    const struct la_tls *t = arg;
    const X509 *leaf = SSL_get_certificate(ssl); /* the one that this client gets */
    for (size_t i = 0; i < t->entries; i++) {
        const struct la_tls_entry *e = &t->entry[i];
        if (e->ocsp == NULL || leaf == NULL || X509_cmp(e->leaf, leaf) != 0 || (e->ocsp_until_s && e->ocsp_until_s < (int64_t)time(NULL)))
            continue;
        unsigned char *copy = OPENSSL_memdup(e->ocsp, e->ocsp_n);
        if (copy == NULL || SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)e->ocsp_n) != 1) {
            OPENSSL_free(copy);
            return SSL_TLSEXT_ERR_NOACK;
        }
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int seal)
{
    const struct la_tls *t = la_tls_state_of(ssl)->context;
    struct la_ring_key k;
    bool old = false;
    uint64_t now = la_clock_ns();
    if (seal) {
        if (!la_tls_ring_seal(t->ring, now, &k) || RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
            return -1;
        memcpy(name, k.name, sizeof k.name);
    } else if (!la_tls_ring_open(t->ring, now, name, &k, &old)) {
        return 0; /* a full handshake */
    }
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k.mac, sizeof k.mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end(),
    };
    bool fine = EVP_MAC_CTX_set_params(mac, params) == 1 &&
                EVP_CipherInit_ex(cipher, la_tls_ring_cipher(t->ring), NULL, k.aes, iv, seal) == 1;
    OPENSSL_cleanse(&k, sizeof k);
    return !fine ? -1 : old ? 2 : 1;
}

/* ---- making one ---- */

static void set_sessions(struct la_tls *t, SSL_CTX *ctx, const struct la_tls_server_spec *spec)
{
    unsigned char id[32];
    unsigned n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    la_tls_digest_text(md, spec->name);
    la_tls_digest_file(md, spec->client_ca);
    la_tls_digest_file(md, spec->client_crl);
    la_tls_digest_text(md, spec->client_ca ? spec->client_required ? "required" : "optional" : NULL);
    EVP_DigestFinal_ex(md, id, &n);
    EVP_MD_CTX_free(md);
    SSL_CTX_set_session_id_context(ctx, id, n);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets carry all */
    if (spec->session_ms == 0 || t->ring == NULL) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, 0);
    } else {
        SSL_CTX_set_timeout(ctx, (long)(spec->session_ms / 1000));
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    }
}

static SSL_CTX *make_ctx(struct la_tls *t, struct la_tls_build *b, const struct la_tls_server_spec *spec)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    la_assert(ctx != NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_read_ahead(ctx, 1);
    la_tls_use_ciphers(b, ctx, spec->min_version, spec->ciphers, spec->ciphersuites);
    set_sessions(t, ctx, spec);
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, t);
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    SSL_CTX_set_tlsext_status_arg(ctx, t);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    if (spec->client_ca && la_tls_use_trust(b, ctx, spec->client_ca, spec->client_crl)) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (spec->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                           la_tls_on_verify);
        SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(spec->client_ca));
        ERR_clear_error();
    }
    return ctx;
}

static bool same_names(const X509 *a, const X509 *b)
{
    int ia = X509_get_ext_by_NID(a, NID_subject_alt_name, -1), ib = X509_get_ext_by_NID(b, NID_subject_alt_name, -1);
    if (ia < 0 || ib < 0)
        return ia == ib && X509_NAME_cmp(X509_get_subject_name(a), X509_get_subject_name(b)) == 0;
    return ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(X509_get_ext(a, ia)),
                                 X509_EXTENSION_get_data(X509_get_ext(b, ib))) == 0;
}

/* An RSA and an ECDSA certificate of the same names serve together: each client gets the one it can take. */
static bool join_entry(struct la_tls *t, struct la_tls_build *b, const struct la_tls_pair *pair, size_t index, X509 *leaf)
{
    for (size_t i = 0; i < t->entries; i++) {
        X509 *other = t->entry[i].leaf;
        if (other && !t->entry[i].joined && same_names(other, leaf) &&
            EVP_PKEY_get_base_id(X509_get0_pubkey(other)) != EVP_PKEY_get_base_id(X509_get0_pubkey(leaf)))
            return la_tls_use_pair(b, t->entry[i].ctx, pair, index);
    }
    return false;
}

static void silent(void *arg, enum la_tls_part part, size_t index, bool warning, const char *text)
{
    (void)arg;
    (void)part;
    (void)index;
    (void)warning;
    (void)text;
}

struct la_tls *la_tls_server_new(const struct la_tls_server_spec *spec, la_tls_tell *tell, void *arg)
{
    struct la_tls_build b = {.tell = tell, .arg = arg};
    struct la_tls *t = la_xcalloc(1, sizeof *t);
    atomic_store(&t->refs, 1);
    t->server = true;
    t->ring = spec->ring;
    t->entry = la_xcalloc(spec->pairs, sizeof *t->entry);
    for (size_t i = 0; i < spec->pairs; i++) {
        struct la_tls_build quiet = {.tell = silent}; /* what is not about the pair is told once */
        struct la_tls_entry e = {.ctx = make_ctx(t, i == 0 ? &b : &quiet, spec)};
        bool fine = la_tls_use_pair(&b, e.ctx, &spec->pair[i], i);
        if (fine) {
            e.leaf = SSL_CTX_get0_certificate(e.ctx);
            X509_up_ref(e.leaf);
            e.joined = join_entry(t, &b, &spec->pair[i], i, e.leaf);
        }
        if (fine && spec->pair[i].ocsp)
            la_tls_read_ocsp(&b, &e, &spec->pair[i], i);
        if (fine && !e.joined)
            add_names(t, e.leaf, (unsigned)t->entries);
        t->entry[t->entries++] = e;
    }
    if (t->names)
        qsort(t->name, t->names, sizeof *t->name, by_text);
    t->ctx = t->entries ? t->entry[0].ctx : NULL;
    if (b.failed || t->ctx == NULL)
        la_tls_unref(&t);
    return t;
}
