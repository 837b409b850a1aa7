/* json.h (layer: base): writes JSON (and any text) into a growing string. Commas and quoting are its business. */
#ifndef LASTACK_JSON_H
#define LASTACK_JSON_H

#include "lastack/base.h"

/* A growing string; owns p (free with la_text_fini). Grows with la_xrealloc: not for what peers' bytes size. */
struct la_text {
    char *p;
    size_t n, cap;
};
void la_text_fini(struct la_text *t);
void la_text_add(struct la_text *t, const void *p, size_t n);
void la_text_addf(struct la_text *t, const char *fmt, ...) LA_PRINTF(2, 3);
void la_text_str(struct la_text *t, const char *s);
void la_text_u64(struct la_text *t, uint64_t v);
void la_text_thousandths(struct la_text *t, uint64_t v); /* 1234: 1.234 */

struct la_json {
    struct la_text *out;
    uint64_t first; /* bit per depth: nothing written there yet */
    int depth;
};
void la_json_init(struct la_json *j, struct la_text *out);
/* key is NULL inside arrays and at the top. */
void la_json_open(struct la_json *j, const char *key, char bracket); /* '{' or '[' */
void la_json_close(struct la_json *j, char bracket);                 /* '}' or ']' */
void la_json_str(struct la_json *j, const char *key, const char *value);
void la_json_slice(struct la_json *j, const char *key, struct la_slice value);
void la_json_int(struct la_json *j, const char *key, int64_t value);
void la_json_num(struct la_json *j, const char *key, double value);
void la_json_thousandths(struct la_json *j, const char *key, uint64_t value); /* as la_text_thousandths */
void la_json_bool(struct la_json *j, const char *key, bool value);
void la_json_null(struct la_json *j, const char *key);
void la_json_raw(struct la_json *j, const char *key, struct la_slice json); /* a value that is JSON already */
/* Writes s as a quoted JSON string; bytes that are not UTF-8 become \u00XX. */
void la_json_quote(struct la_text *out, struct la_slice s);

#endif
