/* mime.h: content types by the ends of file names, from the system's table (mime.c). */
#ifndef LASTACK_PROXY_MIME_H
#define LASTACK_PROXY_MIME_H

#include "lastack/base.h"

/* Any thread. application/octet-stream when nothing is known. */
struct la_slice la_mime_of(struct la_slice path);

#endif
