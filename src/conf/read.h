/* read.h: fills a la_conf from a tree, as the schema table says. */
#ifndef LASTACK_CONF_READ_H
#define LASTACK_CONF_READ_H

#include "conf/report.h"
#include "conf/schema.h"
#include "conf/tree.h"
#include "lastack/json.h"

struct la_reader {
    struct la_conf *conf; /* conf->own owns what is read */
    struct la_report *report;
    bool included;              /* the file at hand is an included one */
    struct la_node *include;    /* the value of `include`, NULL: none */
    struct la_text path; /* where we are: "upstreams.app.servers[0]" */
};

/* Before the first file: every default of the top level. */
void la_read_defaults(struct la_reader *r);
/* One file. Its listeners, upstreams and routes are added to those that are there. */
void la_read_tree(struct la_reader *r, struct la_node *root, const char *file);
void la_reader_fini(struct la_reader *r);

#endif
