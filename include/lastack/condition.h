/* condition.h (layer: codec): dates, entity tags and byte ranges (RFC 9110 5.6.7, 8.8, 13, 14). No clock, no
 * allocation. */
#ifndef LASTACK_CONDITION_H
#define LASTACK_CONDITION_H

#include "lastack/http1.h"

#define LA_HTTP_DATE 30
/* IMF-fixdate, NUL-terminated; t: seconds since 1970, years 1970 to 9999 (others are moved there). */
struct la_slice la_http_date_write(char out[LA_HTTP_DATE], int64_t t);
/* Any of the three forms; false: it is none. */
bool la_http_date_read(struct la_slice s, int64_t *t);

/* Is tag (with its quotes) in the list, or the list "*"? weak: W/ is looked over; else weak tags match
 * nothing. */
bool la_http_etag_in(struct la_slice list, struct la_slice tag, bool weak);

enum la_http_range {
    LA_RANGE_ALL,   /* none, several, or not understood: answer with the whole */
    LA_RANGE_PART,  /* [*from, *to) */
    LA_RANGE_WRONG, /* 416 */
};
enum la_http_range la_http_range_read(struct la_slice value, uint64_t size, uint64_t *from, uint64_t *to);

#endif
