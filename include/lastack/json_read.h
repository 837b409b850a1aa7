/* json_read.h (layer: base): reads JSON into a tree. For files that a person names; a report of some megabytes. */
#ifndef LASTACK_JSON_READ_H
#define LASTACK_JSON_READ_H

#include "lastack/base.h"

enum la_json_kind { LA_JSON_NULL, LA_JSON_BOOL, LA_JSON_NUMBER, LA_JSON_STRING, LA_JSON_ARRAY, LA_JSON_OBJECT };

struct la_json_value {
    enum la_json_kind kind;
    char *key;      /* its name inside an object, else NULL */
    char *text;     /* a string's, UTF-8; else NULL */
    double number;  /* also of a bool: 0 or 1 */
    struct la_json_value *child, *next;
};

/* NULL: not JSON (RFC 8259), or nested deeper than 64, or a string holds U+0000; *at is where. Free with la_json_free. */
struct la_json_value *la_json_parse(const char *text, size_t *at);
void la_json_free(struct la_json_value *v);

/* All take NULL for what is not there. */
const struct la_json_value *la_json_get(const struct la_json_value *object, const char *key); /* the first of that name */
double la_json_number(const struct la_json_value *v, double def);      /* of a number or bool */
const char *la_json_string(const struct la_json_value *v, const char *def);

#endif
