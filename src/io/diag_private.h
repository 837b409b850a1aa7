/* diag_private.h: the two ways diag.c asks the kernel for TCP sockets, apart, so that a test can compare
 * them. */
#ifndef LASTACK_IO_DIAG_PRIVATE_H
#define LASTACK_IO_DIAG_PRIVATE_H

#include "lastack/diag.h"

struct la_diag_query {
    uint32_t states;
    const struct la_addr *to;
    size_t n; /* 0: all */
    void (*cb)(void *arg, const struct la_diag_socket *s);
    void *arg;
    unsigned long found;
};
/* 0 or -errno. */
int la_diag_by_netlink(struct la_diag_query *q);
int la_diag_by_proc(struct la_diag_query *q);

#endif
