/* bench_page.h (layer: tools): the HTML report's text before and after the JSON that it draws. */
#ifndef LASTACK_TOOLS_BENCH_PAGE_H
#define LASTACK_TOOLS_BENCH_PAGE_H

extern const char bench_page_head[], bench_page_tail[];

#endif
