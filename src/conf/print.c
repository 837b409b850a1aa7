/* print.c: the schema table as a JSON Schema (draft 2020-12) and as conf/reference.yaml.
 *
 * Both are written to standard output and hold nothing that the table does not say. The reference is a
 * configuration that loads: every key stands there with its default, or commented out with an example when it
 * has none. */
#include "conf/schema.h"
#include "lastack/json.h"

#include "conf/arena.h"
#include "conf/value.h"

#include <stdio.h>

#define DURATION_PATTERN "^(0|([0-9]+(ms|s|m|h|d))+)$"
#define SIZE_PATTERN     "^[0-9]+ *([bB]|[kKmMgGtT]([iI][bB]?)?)?$"
#define WORD_PATTERN     "^([yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF]|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$" /* strings in YAML 1.2 */

/* ---- JSON Schema ---- */

static void schema_object(struct la_json *j, const struct la_object *object);
static void schema_key(struct la_json *j, const char *name, const struct la_key *key);

static void schema_types(struct la_json *j, const char *one, const char *other)
{
    la_json_open(j, "type", '[');
    la_json_str(j, NULL, one);
    la_json_str(j, NULL, other);
    la_json_close(j, ']');
}

static void schema_string(struct la_json *j, const char *pattern)
{
    la_json_open(j, NULL, '{');
    la_json_str(j, "type", "string");
    if (pattern)
        la_json_str(j, "pattern", pattern);
    la_json_close(j, '}');
}

static void schema_choices(struct la_json *j, const char *const *names)
{
    la_json_open(j, "enum", '[');
    for (; *names; names++)
        if (**names)
            la_json_str(j, NULL, *names);
    la_json_close(j, ']');
}

static void schema_number(struct la_json *j, const struct la_key *key)
{
    la_json_open(j, "anyOf", '[');
    la_json_open(j, NULL, '{');
    la_json_str(j, "type", "integer");
    la_json_int(j, "minimum", key->type == LA_T_DURATION ? 0 : (int64_t)key->low);
    la_json_int(j, "maximum", key->type == LA_T_DURATION ? 0 : (int64_t)key->high); /* only 0 needs no unit */
    la_json_close(j, '}');
    if (key->type != LA_T_INT)
        schema_string(j, key->type == LA_T_SIZE ? SIZE_PATTERN : DURATION_PATTERN);
    if (key->flags & LA_K_AUTO) {
        la_json_open(j, NULL, '{');
        la_json_str(j, "const", "auto");
        la_json_close(j, '}');
    }
    la_json_close(j, ']');
}

/* A list of items, or one of them alone when a scalar can stand for it. */
static void schema_list(struct la_json *j, const struct la_key *key)
{
    bool single = key->item->keys ? key->item->keys->brief != NULL : key->item->type != LA_T_INT;
    if (single)
        la_json_open(j, "anyOf", '[');
    if (single)
        la_json_open(j, NULL, '{');
    la_json_str(j, "type", "array");
    if (key->flags & LA_K_REQUIRED)
        la_json_int(j, "minItems", 1);
    schema_key(j, "items", key->item);
    if (single) {
        la_json_close(j, '}');
        schema_string(j, NULL);
        la_json_close(j, ']');
    }
}

static void schema_strings(struct la_json *j)
{
    la_json_open(j, "anyOf", '[');
    schema_string(j, NULL);
    la_json_open(j, NULL, '{');
    la_json_str(j, "type", "array");
    la_json_open(j, "items", '{');
    la_json_str(j, "type", "string");
    la_json_close(j, '}');
    la_json_close(j, '}');
    la_json_close(j, ']');
}

static void schema_set(struct la_json *j, const struct la_key *key)
{
    la_json_open(j, "anyOf", '[');
    la_json_open(j, NULL, '{');
    schema_choices(j, key->names);
    la_json_close(j, '}');
    la_json_open(j, NULL, '{');
    la_json_str(j, "type", "array");
    la_json_open(j, "items", '{');
    schema_choices(j, key->names);
    la_json_close(j, '}');
    la_json_close(j, '}');
    la_json_close(j, ']');
}

/* A mapping, or the scalar that stands for it. */
static void schema_mapping(struct la_json *j, const struct la_object *object)
{
    if (object->brief == NULL) {
        schema_object(j, object);
        return;
    }
    la_json_open(j, "anyOf", '[');
    schema_string(j, NULL);
    la_json_open(j, NULL, '{');
    schema_object(j, object);
    la_json_close(j, '}');
    la_json_close(j, ']');
}

static void schema_map(struct la_json *j, const struct la_key *key)
{
    la_json_str(j, "type", "object");
    schema_key(j, "additionalProperties", key->item);
}

static void schema_headers(struct la_json *j, const struct la_key *key)
{
    schema_types(j, "object", "null");
    la_json_int(j, "maxProperties", (int64_t)key->high);
    la_json_open(j, "additionalProperties", '{');
    la_json_open(j, "type", '[');
    la_json_str(j, NULL, "string");
    la_json_str(j, NULL, "number");
    la_json_str(j, NULL, "boolean");
    la_json_close(j, ']');
    la_json_close(j, '}');
}

static void schema_type(struct la_json *j, const struct la_key *key)
{
    switch (key->type) {
    case LA_T_BOOL:
        schema_types(j, "boolean", "string");
        la_json_str(j, "pattern", WORD_PATTERN);
        break;
    case LA_T_INT:
    case LA_T_SIZE:
    case LA_T_DURATION: schema_number(j, key); break;
    case LA_T_ENUM: schema_choices(j, key->names); break;
    case LA_T_STRING:
    case LA_T_TEXT:
        la_json_str(j, "type", "string");
        if (key->pattern)
            la_json_str(j, "pattern", key->pattern);
        break;
    case LA_T_OBJECT: schema_mapping(j, key->keys); break;
    case LA_T_LIST: schema_list(j, key); break;
    case LA_T_MAP: schema_map(j, key); break;
    case LA_T_HEADERS: schema_headers(j, key); break;
    case LA_T_SET: schema_set(j, key); break;
    case LA_T_INCLUDE: schema_strings(j); break;
    }
}

static void schema_default(struct la_json *j, const struct la_key *key)
{
    uint64_t number;
    bool truth;
    if (key->type == LA_T_BOOL && la_value_bool(la_slice_str(key->def), &truth))
        la_json_bool(j, "default", truth);
    else if (la_value_int(la_slice_str(key->def), &number) == 1)
        la_json_int(j, "default", (int64_t)number);
    else if (key->def[0] == '"')
        la_json_slice(j, "default", la_slice(key->def + 1, strlen(key->def) - 2));
    else if (key->def[0] != '[')
        la_json_str(j, "default", key->def);
}

static void schema_key(struct la_json *j, const char *name, const struct la_key *key)
{
    la_json_open(j, name, '{');
    schema_type(j, key);
    if (key->doc)
        la_json_str(j, "description", key->doc);
    if (key->def)
        schema_default(j, key);
    la_json_close(j, '}');
}

static void schema_object(struct la_json *j, const struct la_object *object)
{
    size_t required = 0;
    for (size_t i = 0; i < object->keys; i++)
        required += (object->key[i].flags & LA_K_REQUIRED) != 0;
    if (required)
        la_json_str(j, "type", "object");
    else /* all of its lines may be commented out */
        schema_types(j, "object", "null");
    la_json_bool(j, "additionalProperties", false);
    la_json_open(j, "properties", '{');
    for (size_t i = 0; i < object->keys; i++)
        schema_key(j, object->key[i].name, &object->key[i]);
    la_json_close(j, '}');
    if (object == &la_schema_root) {
        la_json_open(j, "patternProperties", '{');
        la_json_open(j, "^x-", '{');
        la_json_str(j, "description", "ignored: a place for anchors");
        la_json_close(j, '}');
        la_json_close(j, '}');
        return; /* an included file holds only some of the keys */
    }
    if (required == 0)
        return;
    la_json_open(j, "required", '[');
    for (size_t i = 0; i < object->keys; i++)
        if (object->key[i].flags & LA_K_REQUIRED)
            la_json_str(j, NULL, object->key[i].name);
    la_json_close(j, ']');
}

void la_conf_print_schema(void)
{
    struct la_text text = {0};
    struct la_json j;
    la_json_init(&j, &text);
    la_json_open(&j, NULL, '{');
    la_json_str(&j, "$schema", "https://json-schema.org/draft/2020-12/schema");
    la_json_str(&j, "title", "lastack configuration");
    schema_object(&j, &la_schema_root);
    la_json_close(&j, '}');
    printf("%s\n", text.p);
    la_text_fini(&text);
}

/* ---- the reference ---- */

static void line(int indent, bool off, const char *first, const char *key, const char *value, const char *doc)
{
    char text[256];
    snprintf(text, sizeof text, "%*s%s%s%s:%s%s", indent, "", off ? "# " : "", first, key,
             value[0] ? " " : "", value);
    if (doc)
        printf("%-52s # %s\n", text, doc);
    else
        printf("%s\n", text);
}

/* The doc with what the value may be. */
static const char *reference_doc(struct la_arena *a, const struct la_key *key)
{
    const char *names = "";
    switch (key->type) {
    case LA_T_ENUM:
        for (const char *const *n = key->names; *n; n++)
            if (**n)
                names = la_arena_printf(a, "%s%s%s", names, names[0] ? " | " : "", *n);
        return la_arena_printf(a, "%s (%s)", key->doc, names);
    case LA_T_INT:
        return la_arena_printf(a, "%s (%llu to %llu)", key->doc, (unsigned long long)key->low,
                               (unsigned long long)key->high);
    case LA_T_SIZE:
        return la_arena_printf(a, "%s (%s to %s)", key->doc, la_value_size_text(a, key->low),
                               la_value_size_text(a, key->high));
    case LA_T_DURATION:
        return la_arena_printf(a, "%s (%s to %s)", key->doc, la_value_duration_text(a, key->low),
                               la_value_duration_text(a, key->high));
    default: return key->doc;
    }
}

struct reference {
    struct la_arena *arena;
    int indent;
    bool off;  /* commented out, with all that is below */
    bool item; /* the next key starts a list item */
};

static void reference_key(struct reference *r, const struct la_key *key);

/* Commented out by itself, not for being within something that is. */
static bool is_off(const struct la_key *key)
{
    return key->type == LA_T_OBJECT ? key->flags & LA_K_OTHER || key->keys->key[0].def == NULL
                                    : key->def == NULL && !(key->flags & LA_K_REQUIRED);
}

/* An item begins with a key that is not commented out, so that what stands before the others stays true when they are not, either. */
static void reference_item(struct reference r, const struct la_object *object)
{
    size_t first = 0;
    while (is_off(&object->key[first]))
        first++;
    r.item = true;
    reference_key(&r, &object->key[first]);
    r.item = false;
    for (size_t i = 0; i < object->keys; i++)
        if (i != first)
            reference_key(&r, &object->key[i]);
}

static void reference_object(struct reference r, const struct la_object *object)
{
    for (size_t i = 0; i < object->keys; i++) {
        if (r.indent == 0)
            printf("\n");
        reference_key(&r, &object->key[i]);
    }
}

static void reference_key(struct reference *r, const struct la_key *key)
{
    const char *doc = reference_doc(r->arena, key);
    const char *value = key->def ? key->def : key->example ? key->example : "";
    struct reference below = {r->arena, r->indent + 2, r->off, false};
    if (key->type == LA_T_OBJECT) { /* needs its first key to be of use: off without a default for that */
        below.off = r->off || is_off(key);
        line(r->indent, below.off, "", key->name, "", doc);
        reference_object(below, key->keys);
    } else if (key->type == LA_T_LIST && value[0] == 0) {
        below.indent += 2;
        line(r->indent, r->off, "", key->name, "", doc);
        reference_item(below, key->item->keys);
    } else if (key->type == LA_T_MAP) {
        below.indent += 2;
        line(r->indent, r->off, "", key->name, "", doc);
        line(r->indent + 2, r->off, "", key->example, "", NULL);
        reference_object(below, key->item->keys);
    } else {
        line(r->item ? r->indent - 2 : r->indent, r->off || is_off(key), r->item ? "- " : "", key->name, value, doc);
    }
}

void la_conf_print_reference(void)
{
    struct la_arena arena = {0};
    printf("# lastack: every key with its default and its bounds. Written by the program from its schema "
           "table; do not edit.\n"
           "# Keys without a default are commented out and show an example; those of FastCGI and memcached are commented out, too. "
           "Only listen and upstreams are needed.\n"
           "# Durations: 500ms, 5s, 1m30s, 1h, 1d. Sizes: 65536, 64KiB, 1GiB (powers of 1024). Keys x-... "
           "at the top are ignored: a place for anchors.\n");
    reference_object((struct reference){.arena = &arena}, &la_schema_root);
    la_arena_fini(&arena);
}
