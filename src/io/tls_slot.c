/* tls_slot.c: the last session with one server, for the next connection to it. Every worker's connections put
 * theirs in, the latest stays. Handed out as copies: OpenSSL changes a session while it is in use. Any
 * thread. */
#include "io/tls_private.h"

#include <pthread.h>
#include <stdlib.h>

struct la_tls_slot {
    pthread_mutex_t lock;
    SSL_SESSION *session;
};

struct la_tls_slot *la_tls_slot_new(void)
{
    struct la_tls_slot *s = la_xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void la_tls_slot_free(struct la_tls_slot **sp)
{
    struct la_tls_slot *s = *sp;
    *sp = NULL;
    if (s == NULL)
        return;
    SSL_SESSION_free(s->session);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

SSL_SESSION *la_tls_slot_get(struct la_tls_slot *s)
{
    pthread_mutex_lock(&s->lock);
    SSL_SESSION *copy = s->session ? SSL_SESSION_dup(s->session) : NULL;
    pthread_mutex_unlock(&s->lock);
    return copy;
}

void la_tls_slot_put(struct la_tls_slot *s, SSL_SESSION **session)
{
    pthread_mutex_lock(&s->lock);
    SSL_SESSION *before = s->session;
    s->session = *session;
    *session = NULL;
    pthread_mutex_unlock(&s->lock);
    SSL_SESSION_free(before);
}

int la_tls_on_session(SSL *ssl, SSL_SESSION *session)
{
    struct la_tls_state *st = la_tls_state_of(ssl);
    if (st == NULL || st->slot == NULL || !SSL_SESSION_is_resumable(session))
        return 0;
    /* The connection goes on using this one. */
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    if (copy)
        la_tls_slot_put(st->slot, &copy);
    return 0; /* the reference stays OpenSSL's */
}
