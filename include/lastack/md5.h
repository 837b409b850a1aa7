/* md5.h (layer: base): MD5 (RFC 1321), for placing keys as other clients do. Never for secrets. */
#ifndef LASTACK_MD5_H
#define LASTACK_MD5_H

#include "lastack/base.h"

void la_md5(const void *p, size_t n, uint8_t digest[16]);

#endif
