/* scrape.h (layer: tools): asks an admin listener, blocking, and reads labels of its Prometheus text. */
#ifndef LASTACK_TOOLS_SCRAPE_H
#define LASTACK_TOOLS_SCRAPE_H

#include "lastack/addr.h"
#include "lastack/json.h"

/* GET path; the answer's content is appended to *content. The status; 0: not HTTP; -1: no answer within 5 s, errno. */
int la_scrape(const struct la_addr *a, const char *path, struct la_text *content);
/* The value of a label within "{...}", unescaped, cut to fit. False: there is none. */
bool la_scrape_label(struct la_slice labels, const char *name, char *out, size_t cap);

#endif
