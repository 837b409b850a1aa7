/* bench_html.c: the report as one HTML file that needs no other.
 *
 * Owns nothing: the page's text is bench_page.c's, the numbers are the JSON's, which is embedded as it is but for each
 * '<', written as \u003c: no text in it can end the element that holds it. Nothing can fail. */
#include "tools/bench.h"

#include "tools/bench_page.h"

void bench_html(const char *json, struct la_text *out)
{
    la_text_str(out, bench_page_head);
    for (size_t n; *json; json += n) {
        n = strcspn(json, "<");
        la_text_add(out, json, n);
        if (n > 0)
            continue;
        la_text_str(out, "\\u003c");
        n = 1;
    }
    la_text_str(out, bench_page_tail);
}
