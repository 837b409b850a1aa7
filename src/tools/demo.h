/* demo.h (layer: tools): `lastack demo`: the problem and the cure, side by side, in about 20 seconds. */
#ifndef LASTACK_TOOLS_DEMO_H
#define LASTACK_TOOLS_DEMO_H

/* argv[0] is "demo". Returns the exit code: 0 when no request failed through the pool, 1 otherwise, 2 for
 * usage. */
int la_demo_main(int argc, char **argv);

#endif
