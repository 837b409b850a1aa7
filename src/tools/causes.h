/* causes.h: prints conf/causes.md. */
#ifndef LASTACK_TOOLS_CAUSES_H
#define LASTACK_TOOLS_CAUSES_H

void la_causes_print(void);

#endif
