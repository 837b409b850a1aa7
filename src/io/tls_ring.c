/* tls_ring.c: the keys that session tickets are sealed with: one ring for the whole process, so that every
 * worker opens what another one has sealed, and a reload forgets none.
 *
 * A key seals for an hour; then a new one is made by whoever needs it first, from the system's random
 * numbers. It opens tickets for LA_RING_KEYS hours, longer than any session lasts, and is overwritten then:
 * whoever takes the process's memory can read no session that is older. A ticket under an older key is
 * answered with one under the present key. Any thread. */
#include "io/tls_private.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <pthread.h>
#include <stdlib.h>

#define HOUR_NS (3600ull * 1000000000)

struct la_tls_ring {
    pthread_mutex_t lock;
    struct la_ring_key key[LA_RING_KEYS];
    unsigned newest;
    EVP_CIPHER *cipher; /* looked up once: that costs more than to seal */
};

struct la_tls_ring *la_tls_ring_new(void)
{
    struct la_tls_ring *r = la_xcalloc(1, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    r->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    la_assert(r->cipher != NULL);
    return r;
}

void la_tls_ring_free(struct la_tls_ring **rp)
{
    struct la_tls_ring *r = *rp;
    *rp = NULL;
    if (r == NULL)
        return;
    pthread_mutex_destroy(&r->lock);
    OPENSSL_cleanse(r->key, sizeof r->key);
    EVP_CIPHER_free(r->cipher);
    free(r);
}

const EVP_CIPHER *la_tls_ring_cipher(const struct la_tls_ring *r)
{
    return r->cipher;
}

static bool usable(const struct la_ring_key *k, uint64_t now_ns)
{
    return k->made_ns && la_since(now_ns, k->made_ns) < LA_RING_KEYS * HOUR_NS;
}

bool la_tls_ring_seal(struct la_tls_ring *r, uint64_t now_ns, struct la_ring_key *out)
{
    bool fine = true;
    pthread_mutex_lock(&r->lock);
    struct la_ring_key *k = &r->key[r->newest];
    if (k->made_ns == 0 || la_since(now_ns, k->made_ns) >= HOUR_NS) {
        struct la_ring_key fresh = {.made_ns = now_ns};
        fine = RAND_bytes(fresh.name, sizeof fresh.name) == 1 && RAND_priv_bytes(fresh.aes, sizeof fresh.aes) == 1 &&
               RAND_priv_bytes(fresh.mac, sizeof fresh.mac) == 1;
        if (fine) {
            r->newest = (r->newest + 1) % LA_RING_KEYS;
            k = &r->key[r->newest];
            *k = fresh;
        }
        OPENSSL_cleanse(&fresh, sizeof fresh);
    }
    *out = *k;
    pthread_mutex_unlock(&r->lock);
    return fine;
}

bool la_tls_ring_open(struct la_tls_ring *r, uint64_t now_ns, const unsigned char *name, struct la_ring_key *out,
                      bool *old)
{
    bool found = false;
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < LA_RING_KEYS && !found; i++) {
        const struct la_ring_key *k = &r->key[i];
        if (usable(k, now_ns) && memcmp(k->name, name, sizeof k->name) == 0) {
            *out = *k;
            *old = i != r->newest || la_since(now_ns, k->made_ns) >= HOUR_NS;
            found = true;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}
