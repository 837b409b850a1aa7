/* value.h: scalars of the configuration: from text to number, duration, size, address, route path and so on.
 *
 * Every parser is pure: text in, value out, or a text that says what is wrong and what would be right. */
#ifndef LASTACK_CONF_VALUE_H
#define LASTACK_CONF_VALUE_H

#include "conf/arena.h"
#include "conf/schema.h"

bool la_value_bool(struct la_slice text, bool *out);
/* -1: not a whole number; 0: one, but too large or negative; 1: fine. */
int la_value_int(struct la_slice text, uint64_t *out);
/* NULL, or what is wrong. */
const char *la_value_size(struct la_slice text, uint64_t *bytes);
const char *la_value_duration(struct la_slice text, uint64_t *ms);
/* As one would write them. */
const char *la_value_size_text(struct la_arena *a, uint64_t bytes);
const char *la_value_duration_text(struct la_arena *a, uint64_t ms);
/* What nginx and HAProxy call text, if it is one of the names, or below one ("pool.max"); else NULL. */
const char *la_value_translated(struct la_slice text, const char *const *names, size_t n);
/* The nearest of the names, NULL when none is near. */
const char *la_value_nearest(struct la_slice text, const char *const *names, size_t n);

/* fields: la_addr; la_conf_server (the whole struct); la_conf_source (whole); la_net; la_addr (port 53);
 * unsigned; char * */
la_text_parser la_parse_listen_address, la_parse_server_address, la_parse_source, la_parse_net,
    la_parse_resolver, la_parse_unix_mode, la_parse_hash_key, la_parse_hash_tag, la_parse_key_prefix, la_parse_label, la_parse_access_log,
    la_parse_error_log, la_parse_path, la_parse_url_path, la_parse_route_host, la_parse_route_path,
    la_parse_health_host, la_parse_header_name, la_parse_index, la_parse_try, la_parse_suffix;
bool la_value_is_label(struct la_slice text);
/* NULL, or why this field may not be set or removed. */
const char *la_value_check_header(struct la_arena *a, struct la_slice name);
const char *la_value_check_header_value(struct la_slice value);

#endif
