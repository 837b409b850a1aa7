/* tools.h: the subcommands. Each takes argc and argv with its own name first and returns the exit status:
 * 0, 1 (failed), 2 (usage). */
#ifndef LASTACK_TOOLS_H
#define LASTACK_TOOLS_H

int la_run_main(int argc, char **argv);
int la_check_main(int argc, char **argv);
int la_schema_main(int argc, char **argv);
int la_demo_main(int argc, char **argv);
int la_ports_main(int argc, char **argv);
int la_doctor_main(int argc, char **argv);
int la_bench_main(int argc, char **argv);

#endif
