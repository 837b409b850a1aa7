/* seen.h: scripts that were there a moment ago, so that a busy one is not looked for at every request.
 *
 * Only what exists is remembered, and for a second: a script that goes meanwhile is php's to miss. */
#ifndef LASTACK_PROXY_SEEN_H
#define LASTACK_PROXY_SEEN_H

#include "lastack/base.h"

#define LA_SEEN_SLOTS 64
#define LA_SEEN_TEXT  240
#define LA_SEEN_NS    1000000000u

struct la_seen {
    struct {
        uint64_t until_ns; /* 0: empty */
        uint16_t root_n, path_n;
        char text[LA_SEEN_TEXT]; /* root, path */
    } slot[LA_SEEN_SLOTS];
};
bool la_seen_has(const struct la_seen *s, struct la_slice root, struct la_slice path, uint64_t now_ns);
void la_seen_note(struct la_seen *s, struct la_slice root, struct la_slice path, uint64_t now_ns);

#endif
