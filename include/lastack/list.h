/* list.h (layer: base): an intrusive doubly linked ring. A node belongs to at most one list; an unlinked node points to itself. */
#ifndef LASTACK_LIST_H
#define LASTACK_LIST_H

#include "lastack/base.h"

struct la_list {
    struct la_list *prev, *next;
};

static inline void la_list_init(struct la_list *l) { l->prev = l->next = l; }
static inline bool la_list_empty(const struct la_list *l) { return l->next == l; }
static inline void la_list_insert_before(struct la_list *at, struct la_list *n)
{
    la_assert(n->next == n); /* linked twice */
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void la_list_push_back(struct la_list *l, struct la_list *n) { la_list_insert_before(l, n); }
static inline void la_list_push_front(struct la_list *l, struct la_list *n) { la_list_insert_before(l->next, n); }
static inline void la_list_remove(struct la_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    la_list_init(n);
}
#define la_list_first(l, type, member) \
    (la_list_empty(l) ? NULL : la_container((l)->next, type, member))
/* Of a list that is known not to be empty. */
#define la_list_front(l, type, member) la_container((l)->next, type, member)
#define la_list_last(l, type, member) (la_list_empty(l) ? NULL : la_container((l)->prev, type, member))
#define la_list_next(l, item, type, member) \
    ((item)->member.next == (l) ? NULL : la_container((item)->member.next, type, member))
#define la_list_prev(l, item, type, member) \
    ((item)->member.prev == (l) ? NULL : la_container((item)->member.prev, type, member))
/* The body may remove the current item. */
#define la_list_each(l, var, type, member)                                                            \
    for (struct la_list *var##_at = (l)->next, *var##_next = var##_at->next;                          \
         var##_at != (l) && ((var) = la_container(var##_at, type, member), true);                     \
         var##_at = var##_next, var##_next = var##_at->next)

#endif
