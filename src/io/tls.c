/* tls.c: the TLS transport: a stream's operations by way of OpenSSL, on a socket that OpenSSL never touches
 * itself.
 *
 * Owns: an SSL object per stream. Good path: handshake until done -> recv and send -> close_notify with the
 * last bytes.
 *
 * Reading: OpenSSL gets as much as one recv(2) brings and gives record after record; what is left inside it
 * is told to the loop (la_hot), because no event will come for it. Writing: pieces are gathered into one
 * record, sent from OpenSSL's own buffer. A record that the kernel did not take in full has not been sent, as
 * far as the caller knows: it gives the same bytes again and they are left out then (`ahead`).
 *
 * What can fail: everything a peer sends is checked by OpenSSL; a FIN without close_notify is a failure, not
 * an end. Any thread, one at a time: nothing here points to the stream or its loop, so that it may move to
 * another worker. */
#include "io/tls_private.h"
#include "lastack/sock.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define RECORD 16384u /* most plaintext in a record */

/* Pieces on their way into one record. */
static _Thread_local char staging[RECORD];

struct la_tls_state *la_tls_state_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* ---- the socket, as OpenSSL sees it ---- */

static int bio_read(BIO *bio, char *p, int n)
{
    struct la_tls_state *st = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (st->drained) { /* the next event tells when there is more */
        BIO_set_retry_read(bio);
        return -1;
    }
    ssize_t k = recv(st->fd, p, (size_t)n, 0);
    if (k < 0 && (errno == EAGAIN || errno == EINTR)) {
        st->drained = true;
        BIO_set_retry_read(bio);
    }
    st->drained |= k > 0 && k < n;
    st->fin |= k == 0;
    return (int)k;
}

static int bio_write(BIO *bio, const char *p, int n)
{
    struct la_tls_state *st = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    /* Tickets are in no hurry: they leave with the first response. */
    bool more = st->more || (!st->done && SSL_get_state(st->ssl) == TLS_ST_SW_SESSION_TICKET);
    ssize_t k = send(st->fd, p, (size_t)n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (k < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)k;
}

static long bio_ctrl(BIO *bio, int command, long n, void *p)
{
    struct la_tls_state *st = BIO_get_data(bio);
    (void)n;
    (void)p;
    switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return st->fin;
    default: return 0;
    }
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static BIO_METHOD *bio_method(void)
{
    static _Atomic(BIO_METHOD *) shared;
    BIO_METHOD *m = atomic_load(&shared), *none = NULL;
    if (m)
        return m;
    m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lastack");
    la_assert(m != NULL);
    BIO_meth_set_read(m, bio_read);
    BIO_meth_set_write(m, bio_write);
    BIO_meth_set_ctrl(m, bio_ctrl);
    BIO_meth_set_create(m, bio_create);
    if (!atomic_compare_exchange_strong(&shared, &none, m)) {
        BIO_meth_free(m);
        m = none;
    }
    return m;
}

/* ---- making one ---- */

static bool attach(struct la_stream *s, struct la_tls *t)
{
    struct la_tls_state *st = calloc(1, sizeof *st);
    if (st == NULL)
        return false;
    st->fd = la_stream_fd(s);
    st->ssl = SSL_new(t->ctx);
    BIO *bio = st->ssl ? BIO_new(bio_method()) : NULL;
    if (bio == NULL) {
        SSL_free(st->ssl);
        free(st);
        return false;
    }
    BIO_set_data(bio, st);
    SSL_set_bio(st->ssl, bio, bio);
    SSL_set_app_data(st->ssl, st);
    st->context = la_tls_ref(t);
    s->transport = &la_tls_transport;
    s->state = st;
    return true;
}

bool la_tls_accept(struct la_stream *s, struct la_tls *t, struct la_tls_meter *meter)
{
    if (!attach(s, t))
        return false;
    struct la_tls_state *st = s->state;
    st->meter = meter;
    SSL_set_accept_state(st->ssl);
    return true;
}

static bool is_address(const char *name)
{
    unsigned char ip[16];
    return inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
}

bool la_tls_connect(struct la_stream *s, struct la_tls *t, const char *name, struct la_tls_slot *slot)
{
    if (!attach(s, t))
        return false;
    struct la_tls_state *st = s->state;
    SSL_set_connect_state(st->ssl);
    st->slot = slot;
    if (name && is_address(name)) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(st->ssl), name);
    } else if (name) {
        /* SSL_set_tlsext_host_name casts const away; OpenSSL copies the name. */
        SSL_ctrl(st->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)name);
        SSL_set_hostflags(st->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        SSL_set1_host(st->ssl, name);
    }
    SSL_SESSION *session = slot ? la_tls_slot_get(slot) : NULL;
    if (session)
        SSL_set_session(st->ssl, session);
    SSL_SESSION_free(session);
    return true;
}

/* ---- the handshake ---- */

static uint64_t thread_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The wall clock costs no system call, but on a busy machine it counts others' time too; so what it says is believed
 * only when the thread has had that much CPU time in this second. */
bool la_tls_meter_over(struct la_tls_meter *m)
{
    uint64_t budget_ns = m->percent * 10000000ull;
    return m->percent < 100 && m->spent_ns >= budget_ns && thread_ns() - m->cpu_ns >= budget_ns;
}

/* Returns the time. */
static uint64_t meter_begin(struct la_tls_meter *m)
{
    uint64_t now = la_clock_ns();
    if (now / 1000000000u != m->second) {
        m->second = now / 1000000000u;
        m->spent_ns = 0;
        m->cpu_ns = thread_ns();
    }
    return now;
}

int la_tls_on_verify(int ok, X509_STORE_CTX *store)
{
    struct la_tls_state *st = la_tls_state_of(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    X509 *x = X509_STORE_CTX_get_current_cert(store);
    if (!ok && st && st->verify_error == 0) {
        st->verify_error = X509_STORE_CTX_get_error(store);
        if (x)
            st->subject = X509_NAME_oneline(X509_get_subject_name(x), NULL, 0);
    }
    return ok;
}

static void mark_hot(struct la_stream *s, bool hot)
{
    struct la_tls_state *st = s->state;
    if (hot)
        la_hot_set(&st->hot, &s->io);
    else
        la_hot_clear(&st->hot);
}

static int tls_handshake(struct la_stream *s, int *want)
{
    struct la_tls_state *st = s->state;
    bool metered = st->meter && st->meter->percent < 100;
    uint64_t before = metered ? meter_begin(st->meter) : 0;
    st->drained = st->more = false;
    ERR_clear_error();
    errno = 0;
    int k = SSL_do_handshake(st->ssl);
    if (metered)
        st->meter->spent_ns += la_clock_ns() - before;
    if (k == 1) {
        st->done = true;
        st->meter = NULL;
        mark_hot(s, SSL_has_pending(st->ssl) == 1);
        return 0;
    }
    switch (SSL_get_error(st->ssl, k)) {
    case SSL_ERROR_WANT_READ: *want = LA_READ; return LA_STREAM_AGAIN;
    case SSL_ERROR_WANT_WRITE: *want = LA_WRITE; return LA_STREAM_AGAIN;
    default: break;
    }
    st->sys_error = errno;
    st->error = ERR_peek_error();
    st->broken = true;
    ERR_clear_error();
    return LA_STREAM_FAIL;
}

/* ---- reading ---- */

static void say_goodbye(struct la_tls_state *st)
{
    if (!st->done || st->broken || st->said || st->fin || st->written)
        return;
    st->said = true;
    ERR_clear_error();
    SSL_shutdown(st->ssl);
}

/* After close_notify nothing may come but the FIN. */
static ssize_t recv_fin(struct la_tls_state *st)
{
    char byte;
    ssize_t n = recv(st->fd, &byte, 1, 0);
    st->fin |= n == 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? LA_STREAM_AGAIN : LA_STREAM_FAIL;
    errno = EPROTO;
    return n == 0 ? 0 : LA_STREAM_FAIL;
}

/* SSL_read or SSL_peek gave nothing: why? 0 after close_notify, AGAIN, FAIL. */
static ssize_t judge_read(struct la_tls_state *st, int k)
{
    switch (SSL_get_error(st->ssl, k)) {
    case SSL_ERROR_WANT_READ: return LA_STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        st->notified = true;
        return 0;
    default: break; /* WANT_WRITE: it asks us to answer and does not read what we say */
    }
    st->broken = true;
    ERR_clear_error();
    if (errno == 0 || errno == EAGAIN)
        errno = EPROTO;
    return LA_STREAM_FAIL;
}

static ssize_t tls_recv(struct la_stream *s, void *p, size_t n)
{
    struct la_tls_state *st = s->state;
    size_t got = 0;
    ssize_t why = LA_STREAM_AGAIN;
    st->drained = false;
    if (st->notified || st->broken) {
        bool untold = st->untold;
        st->untold = false;
        mark_hot(s, false);
        errno = EPROTO;
        if (st->broken)
            return LA_STREAM_FAIL;
        ssize_t fin = recv_fin(st);
        return untold ? 0 : fin;
    }
    ERR_clear_error();
    errno = 0;
    while (got < n) {
        int k = SSL_read(st->ssl, (char *)p + got, (int)la_min64(n - got, 1u << 30));
        if (k <= 0) {
            why = judge_read(st, k);
            break;
        }
        got += (size_t)k;
    }
    st->untold = got > 0 && why != LA_STREAM_AGAIN; /* the end, behind bytes that the caller gets first */
    mark_hot(s, st->untold || (n > 0 && got == n && SSL_has_pending(st->ssl) == 1));
    if (got)
        return (ssize_t)got;
    if (why == 0)
        (void)recv_fin(st); /* most often it is there already */
    return why;
}

static int tls_peek(struct la_stream *s)
{
    struct la_tls_state *st = s->state;
    char byte;
    if (st->broken)
        return LA_PEEK_GONE;
    if (!st->notified) {
        int raw = la_sock_peek(st->fd);
        if (raw == 0 && SSL_has_pending(st->ssl) == 0)
            return LA_PEEK_QUIET;
        st->drained = false;
        ERR_clear_error();
        errno = 0;
        int k = SSL_peek(st->ssl, &byte, 1);
        if (k > 0) {
            mark_hot(s, true);
            return LA_PEEK_BYTES;
        }
        ssize_t why = judge_read(st, k);
        if (why != 0)
            return why == LA_STREAM_AGAIN ? LA_PEEK_QUIET : LA_PEEK_GONE;
    }
    mark_hot(s, false);
    return recv_fin(st) == LA_STREAM_AGAIN ? LA_PEEK_ENDING : LA_PEEK_GONE;
}

/* ---- writing ---- */

/* What the peer takes in a record: some ask for less (max_fragment_length, RFC 6066 4). */
static unsigned record_most(struct la_tls_state *st)
{
    if (st->record == 0) {
        const SSL_SESSION *session = SSL_get0_session(st->ssl);
        unsigned code = session ? SSL_SESSION_get_max_fragment_length(session) : 0;
        st->record = code ? 256u << code : RECORD;
    }
    return st->record;
}

/* The next record's plaintext, from offset at of v, at most so much: in place when it lies together, else gathered. */
static const char *next_piece(const struct iovec *v, int n, size_t at, size_t most, size_t *len)
{
    int i = 0;
    for (; i < n && at >= v[i].iov_len; i++)
        at -= v[i].iov_len;
    const char *p = (const char *)v[i].iov_base + at;
    size_t here = v[i].iov_len - at;
    if (here >= most || i + 1 == n) {
        *len = la_min64(here, most);
        return p;
    }
    size_t have = 0;
    for (; i < n && have < most; i++, at = 0) {
        size_t k = la_min64(v[i].iov_len - at, most - have);
        memcpy(staging + have, (const char *)v[i].iov_base + at, k);
        have += k;
    }
    *len = have;
    return staging;
}

/* One record. False: the kernel is full (st->written says what of this waits), or it failed (st->broken). */
static bool write_record(struct la_tls_state *st, const char *p, size_t len)
{
    errno = 0;
    ERR_clear_error();
    int k = SSL_write(st->ssl, p, (int)len);
    if (k > 0 && (size_t)k == len) {
        st->written = 0;
        return true;
    }
    if (k <= 0 && SSL_get_error(st->ssl, k) == SSL_ERROR_WANT_WRITE) {
        if (!SSL_in_init(st->ssl)) /* else an answer to a key update waits, and nothing of p has been encrypted */
            st->written = (unsigned)len;
        return false;
    }
    st->broken = true;
    ERR_clear_error();
    return false;
}

static ssize_t tls_send(struct la_stream *s, const struct iovec *v, int n, bool more)
{
    struct la_tls_state *st = s->state;
    size_t total = 0, sent = 0, most = record_most(st);
    for (int i = 0; i < n; i++)
        total += v[i].iov_len;
    if (st->broken || st->said) {
        errno = EPIPE;
        return LA_STREAM_FAIL;
    }
    if (st->written) { /* encrypted already: OpenSSL looks at the length only */
        size_t len = st->written;
        st->more = more && total <= len;
        if (!write_record(st, staging, len))
            return st->broken ? LA_STREAM_FAIL : LA_STREAM_AGAIN;
        st->ahead += (unsigned)len;
    }
    sent = la_min64(st->ahead, total);
    st->ahead -= (unsigned)sent;
    while (sent < total) {
        size_t len;
        const char *p = next_piece(v, n, sent, most, &len);
        st->more = more || sent + len < total;
        if (!write_record(st, p, len))
            break;
        sent += len;
    }
    if (sent)
        return (ssize_t)sent;
    return st->broken ? LA_STREAM_FAIL : LA_STREAM_AGAIN;
}

/* ---- the end ---- */

static void tls_shutdown(struct la_stream *s)
{
    struct la_tls_state *st = s->state;
    st->more = true; /* it leaves with the FIN */
    say_goodbye(st);
    shutdown(st->fd, SHUT_WR);
}

static void tls_goodbye(struct la_stream *s, bool more)
{
    struct la_tls_state *st = s->state;
    st->more = more;
    say_goodbye(st);
}

static void tls_detach(struct la_stream *s)
{
    mark_hot(s, false);
}

static void tls_free(struct la_stream *s)
{
    struct la_tls_state *st = s->state;
    mark_hot(s, false);
    /* A session stays good however its connection ended. */
    SSL_set_shutdown(st->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(st->ssl);
    OPENSSL_free(st->subject);
    la_tls_unref(&st->context);
    free(st);
    s->state = NULL;
}

static bool tls_fin(const struct la_stream *s)
{
    const struct la_tls_state *st = s->state;
    return st->fin;
}

const struct la_transport la_tls_transport = {
    .name = "tls",
    .handshake = tls_handshake,
    .recv = tls_recv,
    .send = tls_send,
    .peek = tls_peek,
    .shutdown = tls_shutdown,
    .goodbye = tls_goodbye,
    .fin = tls_fin,
    .detach = tls_detach,
    .free = tls_free,
};
