/* dial.h (layer: tools): a blocking connection whose connect, reads and writes take no longer than patience_s each.
 * -1: errno (EINPROGRESS or EAGAIN: it took too long). The caller closes it. */
#ifndef LASTACK_TOOLS_DIAL_H
#define LASTACK_TOOLS_DIAL_H

#include "lastack/addr.h"

int la_tool_dial(const struct la_addr *a, unsigned patience_s);

#endif
