/* ports_private.h (layer: tools): what the files of `lastack ports` share: a table of pairs, and the three ways to fill it. */
#ifndef LASTACK_TOOLS_PORTS_PRIVATE_H
#define LASTACK_TOOLS_PORTS_PRIVATE_H

#include "lastack/addr.h"

struct ports_row {
    char source[LA_ADDR_TEXT], destination[LA_ADDR_TEXT];
    long free, open, time_wait, foreign;
};

struct ports_table {
    struct ports_row *row;
    size_t n, cap;
    bool has_range; /* low, high and usable are this host's */
    uint16_t low, high;
    unsigned usable;
};
void ports_table_fini(struct ports_table *t);
/* A new row, zeroed; valid until the next one. */
struct ports_row *ports_table_add(struct ports_table *t);

/* All say false with a message in why (256 bytes). Blocking. */
#define PORTS_WHY 256
bool ports_from_admin(struct ports_table *t, const struct la_addr *a, char *why);
/* pid 0: every process of this host. */
bool ports_from_host(struct ports_table *t, long pid, char *why);
/* "http://127.0.0.1:9900/", "127.0.0.1:9900", ":9900", "unix:/path". False: *err. */
bool ports_admin_address(struct la_addr *out, const char *text, const char **err);
/* Takes the lines of lastack_ports out of a Prometheus text. False: it is none of lastack's. */
bool ports_parse_metrics(struct ports_table *t, struct la_slice text);

#endif
