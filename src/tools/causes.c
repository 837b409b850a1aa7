/* causes.c: what the names of errors and of closed connections mean, as Markdown: conf/causes.md.
 *
 * Owns no text: both tables are where the names are (err.h, server.h). Writes to standard output; nothing can fail here. */
#include "causes.h"
#include "lastack/err.h"
#include "lastack/server.h"

#include <stdio.h>

void la_causes_print(void)
{
    puts("# What errors and closed connections are called\n"
         "\n"
         "Written by `lastack schema --causes`; do not edit.\n"
         "\n"
         "## Errors\n"
         "\n"
         "`lastack_errors_total{cause}`, `error` in the access log and `/api/v1/status`. The status is what an HTTP client gets, as far as\n"
         "no response has begun; 499: nobody is there to get it. `Proxy-Status` has the last two columns.\n"
         "\n"
         "| cause | status | error | details |\n"
         "|---|---|---|---|");
    for (int e = LA_OK + 1; e < LA_ERR_COUNT; e++) {
        const struct la_err_info *i = la_err_info((enum la_err)e);
        printf("| `%s` | %d | %s | %s |\n", i->name, i->status, i->proxy_status, i->text);
    }
    puts("\n"
         "## Closed connections to servers\n"
         "\n"
         "`lastack_connections_closed_total{by,reason}`, once for each connection: who closed it first, and why.\n"
         "\n"
         "| by | reason | meaning |\n"
         "|---|---|---|");
    for (int c = 0; c < LA_CLOSE_CAUSE_COUNT; c++) {
        const struct la_close_info *i = la_close_info((enum la_close_cause)c);
        printf("| %s | `%s` | %s |\n", i->by, i->reason, i->text);
    }
}
