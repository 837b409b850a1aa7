/* mailbox.c: Vyukov's intrusive multi-producer, single-consumer queue. */
#include "lastack/mailbox.h"

void la_mailbox_init(struct la_mailbox *m)
{
    atomic_store_explicit(&m->stub.next, NULL, memory_order_relaxed);
    atomic_store_explicit(&m->tail, &m->stub, memory_order_relaxed);
    m->head = &m->stub;
}

void la_mailbox_post(struct la_mailbox *m, struct la_mail *mail)
{
    atomic_store_explicit(&mail->next, NULL, memory_order_relaxed);
    struct la_mail *before = atomic_exchange_explicit(&m->tail, mail, memory_order_acq_rel);
    atomic_store_explicit(&before->next, mail, memory_order_release);
}

struct la_mail *la_mailbox_take(struct la_mailbox *m)
{
    struct la_mail *head = m->head;
    struct la_mail *next = atomic_load_explicit(&head->next, memory_order_acquire);
    if (head == &m->stub) {
        if (next == NULL)
            return NULL;
        m->head = head = next;
        next = atomic_load_explicit(&head->next, memory_order_acquire);
    }
    if (next == NULL) {
        /* head is the last one: put the stub behind it, so that it can leave. */
        if (atomic_load_explicit(&m->tail, memory_order_acquire) != head)
            return NULL;
        la_mailbox_post(m, &m->stub);
        next = atomic_load_explicit(&head->next, memory_order_acquire);
        if (next == NULL)
            return NULL;
    }
    m->head = next;
    return head;
}
