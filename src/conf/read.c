/* read.c: walks a YAML tree and the schema table side by side and fills the structs of conf.h.
 *
 * Knows types, not keys: what a key is called, where it goes and what it may hold is in schema.c. Defaults go
 * through the same code as values that were written. Every wrong value is reported and leaves its default
 * behind, so that the walk goes on and all errors come out at once. Each value's place is remembered
 * (la_marks) for the checks that come later.
 *
 * Never looks at two values together (check.c) and never at the host (host.c). */
#include "conf/read.h"

#include "conf/value.h"

#include <stdlib.h>

#define SHOWN        60 /* bytes of a wrong value in a message */
#define NAMED        64 /* bytes of a key in a path: no name that is looked for there is longer */

static void read_value(struct la_reader *r, const struct la_key *key, struct la_node *node, char *base,
                       const struct la_conf_pos *pos);

static struct la_arena *arena_of(struct la_reader *r)
{
    return &r->conf->own->arena;
}

static void wrong(struct la_reader *r, const struct la_conf_pos *pos, const char *fmt, ...) LA_PRINTF(3, 4);
static void wrong(struct la_reader *r, const struct la_conf_pos *pos, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    la_report_vadd(r->report, false, pos, r->path.n ? r->path.p : "", fmt, ap);
    va_end(ap);
}

/* Goes deeper: returns where to leave to. */
static size_t enter(struct la_reader *r, struct la_slice name)
{
    size_t p = r->path.n;
    la_text_addf(&r->path, "%s%.*s", r->path.n ? "." : "", (int)la_min64(name.n, NAMED), name.p);
    return p;
}

static size_t enter_item(struct la_reader *r, size_t index)
{
    size_t p = r->path.n;
    la_text_addf(&r->path, "[%zu]", index);
    return p;
}

static void leave(struct la_reader *r, size_t p)
{
    r->path.p[r->path.n = p] = 0;
}

/* ---- words for messages ---- */

static const char *names_text(struct la_reader *r, const char *const *names)
{
    const char *text = "";
    for (; *names; names++)
        if (**names)
            text = la_arena_printf(arena_of(r), "%s%s%s", text, *text ? ", " : "", *names);
    return text;
}

static const char *range_text(struct la_reader *r, const struct la_key *key)
{
    struct la_arena *a = arena_of(r);
    const char *or_auto = key->flags & LA_K_AUTO ? "auto or " : "";
    if (key->type == LA_T_SIZE)
        return la_arena_printf(a, "%sfrom %s to %s", or_auto, la_value_size_text(a, key->low),
                               la_value_size_text(a, key->high));
    if (key->type == LA_T_DURATION)
        return la_arena_printf(a, "%sfrom %s to %s", or_auto, la_value_duration_text(a, key->low),
                               la_value_duration_text(a, key->high));
    return la_arena_printf(a, "%sfrom %llu to %llu", or_auto, (unsigned long long)key->low,
                           (unsigned long long)key->high);
}

/* What would be right: "a whole number from 1 to 65535". */
static const char *wanted(struct la_reader *r, const struct la_key *key)
{
    struct la_arena *a = arena_of(r);
    switch (key->type) {
    case LA_T_BOOL: return "true or false";
    case LA_T_INT: return la_arena_printf(a, "a whole number, %s", range_text(r, key));
    case LA_T_SIZE: return "a size such as 65536, 64KiB or 1GiB";
    case LA_T_DURATION: return "a duration such as 500ms, 5s, 1m30s or 1h";
    case LA_T_ENUM: return la_arena_printf(a, "one of %s", names_text(r, key->names));
    case LA_T_STRING: return key->form ? key->form : "a text";
    case LA_T_TEXT: return key->form;
    case LA_T_OBJECT:
        if (key->keys->brief)
            return la_arena_printf(a, "%s or a mapping", key->keys->brief->form);
        return "a mapping (lines of \"key: value\")";
    case LA_T_LIST:
        return la_arena_printf(a, "a list%s%s", key->item->keys ? ", each item " : "",
                               key->item->keys ? key->item->keys->what : "");
    case LA_T_MAP: return la_arena_printf(a, "a mapping from names to %s each", key->item->keys->what);
    case LA_T_HEADERS: return "a mapping from field names to values, such as { X-Site: a }";
    case LA_T_SET: return la_arena_printf(a, "a list of %s", names_text(r, key->names));
    case LA_T_INCLUDE: return "a file pattern such as conf.d/*.yaml";
    }
    return "left out";
}

static const char *shown(struct la_reader *r, const struct la_node *node)
{
    if (node->kind != LA_NODE_SCALAR)
        return node->kind == LA_NODE_LIST ? "a list" : "a mapping";
    return la_arena_printf(arena_of(r), "\"%.*s%s\"", (int)la_min64(node->text.n, SHOWN), node->text.p,
                           node->text.n > SHOWN ? "..." : "");
}

/* False, and reported, unless node is a scalar with a value. */
static bool needs_scalar(struct la_reader *r, const struct la_key *key, const struct la_node *node,
                         const struct la_conf_pos *pos)
{
    if (node->kind == LA_NODE_SCALAR && !node->null)
        return true;
    if (node->kind == LA_NODE_LIST && key->type == LA_T_TEXT && node->items == 1 &&
        node->item[0]->kind == LA_NODE_SCALAR && memchr(node->item[0]->text.p, ':', node->item[0]->text.n))
        wrong(r, pos, "is a list because of its brackets; quote it: \"[%s]\"", node->item[0]->text.p);
    else if (node->null)
        wrong(r, pos, "has no value, must be %s", wanted(r, key));
    else
        wrong(r, pos, "is %s, must be %s", shown(r, node), wanted(r, key));
    return false;
}

/* ---- scalars ---- */

static void store(char *base, const struct la_key *key, uint64_t value)
{
    char *field = base + key->offset;
    uint32_t word = (uint32_t)value;
    switch (key->size) {
    case 0: break;
    case 1: *(bool *)field = value != 0; break;
    case 4: memcpy(field, &word, 4); break;
    case 8: memcpy(field, &value, 8); break;
    default: la_assert(!"a field of 1, 4 or 8 bytes");
    }
}

static void read_number(struct la_reader *r, const struct la_key *key, const struct la_node *node, char *base,
                        const struct la_conf_pos *pos)
{
    uint64_t value = 0;
    const char *why = NULL;
    if ((key->flags & LA_K_AUTO) && la_slice_eq(node->text, LA_SLICE("auto"))) {
        store(base, key, key->automatic);
        return;
    }
    struct la_slice t = node->text;
    if (t.n > 1 && t.p[0] == '0' && strspn(t.p, "0123456789") == t.n) {
        wrong(r, pos, "%s: write it without the leading 0: digits behind a 0 are an octal number to YAML", shown(r, node));
        return;
    }
    if (key->type == LA_T_SIZE) {
        why = la_value_size(node->text, &value);
    } else if (key->type == LA_T_DURATION) {
        why = la_value_duration(node->text, &value);
    } else {
        int kind = la_value_int(node->text, &value);
        bool hint = key->form && la_slice_eq(node->text, LA_SLICE("auto"));
        if (kind < 0)
            why = la_arena_printf(arena_of(r), "is not a whole number, must be %s%s%s", range_text(r, key), hint ? "; " : "",
                                  hint ? key->form : "");
        else if (kind == 0)
            value = UINT64_MAX;
    }
    if (why)
        wrong(r, pos, "%s %s", shown(r, node), why);
    else if (value < key->low || value > key->high)
        wrong(r, pos, "%s is out of range, must be %s", node->text.p, range_text(r, key));
    else
        store(base, key, value);
}

/* Index of the word, or -1 after a report. */
static int read_word(struct la_reader *r, const struct la_key *key, const struct la_node *node,
                     const struct la_conf_pos *pos)
{
    int n = 0;
    for (; key->names[n]; n++)
        if (key->names[n][0] && la_slice_eq(node->text, la_slice_str(key->names[n])))
            return n;
    const char *near = la_value_nearest(node->text, key->names, (size_t)n);
    if (near)
        wrong(r, pos, "%s is not known, did you mean \"%s\"?", shown(r, node), near);
    else
        wrong(r, pos, "%s is not known, must be one of %s", shown(r, node), names_text(r, key->names));
    return -1;
}

static void read_text(struct la_reader *r, const struct la_key *key, const struct la_node *node, char *base,
                      const struct la_conf_pos *pos)
{
    if ((key->flags & LA_K_QUOTED) && node->plain) {
        wrong(r, pos,
              "write it in quotes, \"%.*s\": bare digits with a leading 0 are an octal number to YAML",
              (int)la_min64(node->text.n, 8), node->text.p);
        return;
    }
    const char *why = key->parse(arena_of(r), node->text, base + key->offset);
    if (why && why[0])
        wrong(r, pos, "%s: %s", shown(r, node), why);
    else if (why)
        wrong(r, pos, "%s is wrong, must be %s", shown(r, node), key->form);
}

static void read_scalar(struct la_reader *r, const struct la_key *key, const struct la_node *node, char *base,
                        const struct la_conf_pos *pos)
{
    bool yes;
    int index;
    if (!needs_scalar(r, key, node, pos))
        return;
    switch (key->type) {
    case LA_T_BOOL:
        if (la_value_bool(node->text, &yes))
            store(base, key, yes);
        else
            wrong(r, pos, "%s is not true or false", shown(r, node));
        break;
    case LA_T_ENUM:
        index = read_word(r, key, node, pos);
        if (index >= 0)
            store(base, key, (uint64_t)index);
        break;
    case LA_T_STRING:
        if (node->text.n)
            *(char **)(void *)(base + key->offset) =
                la_arena_strndup(arena_of(r), node->text.p, node->text.n);
        else
            wrong(r, pos, "is empty, must be %s", wanted(r, key));
        break;
    case LA_T_TEXT: read_text(r, key, node, base, pos); break;
    default: read_number(r, key, node, base, pos);
    }
}

/* ---- mappings ---- */

static int compare_keys(const void *x, const void *y)
{
    const struct la_node *a = *(struct la_node *const *)x, *b = *(struct la_node *const *)y;
    int order = memcmp(a->text.p, b->text.p, la_min64(a->text.n, b->text.n));
    if (order == 0 && a->text.n != b->text.n)
        return a->text.n < b->text.n ? -1 : 1;
    if (order)
        return order;
    if (a->pos.line != b->pos.line)
        return a->pos.line < b->pos.line ? -1 : 1;
    return a->pos.column < b->pos.column ? -1 : a->pos.column > b->pos.column;
}

static void find_duplicates(struct la_reader *r, struct la_node *map)
{
    size_t n = map->items / 2;
    if (map->checked || n < 2)
        return;
    map->checked = true;
    struct la_node **key = la_xcalloc(n, sizeof(struct la_node *));
    for (size_t i = 0; i < n; i++)
        key[i] = map->item[2 * i];
    qsort(key, n, sizeof(struct la_node *), compare_keys);
    for (size_t i = 1, first = 0; i < n; i++) {
        if (!la_slice_eq(key[i]->text, key[first]->text)) {
            first = i;
            continue;
        }
        key[i]->duplicate = true;
        size_t p = enter(r, key[i]->text);
        wrong(r, &key[i]->pos, "duplicate key, first in line %u", key[first]->pos.line);
        leave(r, p);
    }
    free(key);
}

/* node as a mapping: false, and reported, when it is none. A null counts as an empty one: its lines are
 * commented out. */
static bool needs_map(struct la_reader *r, const struct la_key *key, struct la_node *node,
                      const struct la_conf_pos *pos)
{
    if (node->kind == LA_NODE_MAP)
        find_duplicates(r, node);
    else if (!node->null)
        wrong(r, pos, "is %s, must be %s", shown(r, node), wanted(r, key));
    return node->kind == LA_NODE_MAP;
}

static void unknown_key(struct la_reader *r, const struct la_object *object, const struct la_node *key)
{
    const char *names[64], *all = "", *near = NULL;
    size_t p = enter(r, key->text);
    la_assert(object->keys <= la_count(names));
    for (size_t i = 0; i < object->keys; i++) {
        const struct la_key *k = &object->key[i];
        names[i] = k->name;
        all = la_arena_printf(arena_of(r), "%s%s%s", all, i ? ", " : "", k->name);
        for (size_t n = 0; k->type == LA_T_OBJECT && n < k->keys->keys;
             n++) /* right name, one level too high */
            if (near == NULL && la_slice_eq(key->text, la_slice_str(k->keys->key[n].name)))
                near = la_arena_printf(arena_of(r), "%s.%s", k->name, k->keys->key[n].name);
    }
    if (near == NULL)
        near = la_value_translated(key->text, names, object->keys);
    if (near == NULL)
        near = la_value_nearest(key->text, names, object->keys);
    if (near)
        wrong(r, &key->pos, "unknown key, did you mean \"%s\"?", near);
    else
        wrong(r, &key->pos, "unknown key, must be one of %s", all);
    leave(r, p);
}

static void read_pair(struct la_reader *r, const struct la_object *object, struct la_node *name,
                      struct la_node *value, char *base, uint64_t *seen)
{
    for (size_t i = 0; i < object->keys; i++) {
        const struct la_key *key = &object->key[i];
        if (!la_slice_eq(name->text, la_slice_str(key->name)))
            continue;
        const struct la_conf_pos *pos =
            value->kind == LA_NODE_SCALAR && !value->null ? &value->pos : &name->pos;
        size_t p = enter(r, name->text);
        *seen |= 1ull << i;
        la_marks_add(r->conf->own, r->path.p, pos);
        if (r->included && object == &la_schema_root && !(key->flags & LA_K_MERGE))
            wrong(r, &name->pos,
                  "not allowed in an included file, which may hold listen, upstreams and routes");
        else
            read_value(r, key, value, base, pos);
        leave(r, p);
        return;
    }
    if (object != &la_schema_root || name->text.n < 2 ||
        memcmp(name->text.p, "x-", 2) != 0) /* x-...: a place for anchors */
        unknown_key(r, object, name);
}

static void set_defaults(struct la_reader *r, const struct la_object *object, char *base);

static void read_object(struct la_reader *r, const struct la_key *key, struct la_node *node, char *base,
                        const struct la_conf_pos *pos)
{
    const struct la_object *object = key->keys;
    uint64_t seen = 0;
    if (object->brief && node->kind == LA_NODE_SCALAR) {
        if (node->null)
            wrong(r, pos, "has no value, must be %s", wanted(r, key));
        else
            read_value(r, object->brief, node, base, pos);
        return;
    }
    if (!needs_map(r, key, node, pos) && !node->null)
        return;
    for (size_t i = 0; node->kind == LA_NODE_MAP && i + 1 < node->items; i += 2)
        if (!node->item[i]->duplicate)
            read_pair(r, object, node->item[i], node->item[i + 1], base, &seen);
    for (size_t i = 0; object != &la_schema_root && i < object->keys; i++) {
        if (!(object->key[i].flags & LA_K_REQUIRED) || seen & 1ull << i)
            continue;
        size_t p = enter(r, la_slice_str(object->key[i].name));
        wrong(r, pos, "missing, must be %s", wanted(r, &object->key[i]));
        leave(r, p);
    }
}

/* ---- lists and maps of items ---- */

/* Room for n more items behind those that are there; the first new one. Counted by the caller one by one. */
static char *more_items(struct la_reader *r, const struct la_key *key, char *base, size_t n)
{
    void **array = (void **)(void *)(base + key->offset);
    size_t count = *(size_t *)(void *)(base + key->count);
    char *grown = la_arena_calloc(arena_of(r), count + n, key->size);
    if (count)
        memcpy(grown, *array, count * key->size);
    *array = grown;
    return grown + count * key->size;
}

static void start_item(struct la_reader *r, const struct la_key *item, char *at,
                       const struct la_conf_pos *pos)
{
    if (item->keys == NULL)
        return;
    set_defaults(r, item->keys, at);
    if (item->keys->pos >= 0)
        memcpy(at + item->keys->pos, pos, sizeof *pos);
}

static void read_list(struct la_reader *r, const struct la_key *key, struct la_node *node, char *base,
                      const struct la_conf_pos *pos)
{
    bool single = node->kind == LA_NODE_SCALAR && (key->item->keys == NULL || key->item->keys->brief);
    if (node->null || (node->kind != LA_NODE_LIST && !single)) {
        if (node->null)
            wrong(r, pos, "has no value, must be %s", wanted(r, key));
        else
            wrong(r, pos, "is %s, must be %s", shown(r, node), wanted(r, key));
        return;
    }
    if (single && key->def && la_slice_eq(node->text, la_slice_str(key->def))) /* a word for the empty list */
        return;
    size_t n = single ? 1 : node->items, *count = (size_t *)(void *)(base + key->count);
    if (n == 0 && key->flags & LA_K_REQUIRED)
        wrong(r, pos, "is empty, must have at least one item");
    char *at = more_items(r, key, base, n);
    for (size_t i = 0; i < n; i++, at += key->size) {
        struct la_node *one = single ? node : node->item[i];
        size_t p = enter_item(r, *count);
        la_marks_add(r->conf->own, r->path.p, &one->pos);
        start_item(r, key->item, at, &one->pos);
        read_value(r, key->item, one, at, &one->pos);
        leave(r, p);
        ++*count;
    }
}

static void read_map(struct la_reader *r, const struct la_key *key, struct la_node *node, char *base,
                     const struct la_conf_pos *pos)
{
    if (!needs_map(r, key, node, pos))
        return;
    size_t *count = (size_t *)(void *)(base + key->count);
    char *at = more_items(r, key, base, node->items / 2);
    for (size_t i = 0; i + 1 < node->items; i += 2) {
        struct la_node *name = node->item[i];
        if (name->duplicate)
            continue;
        size_t p = enter(r, name->text);
        la_marks_add(r->conf->own, la_arena_printf(arena_of(r), "%s.", r->path.p), &name->pos); /* "a.tls" is no key of "a" */
        if (!la_value_is_label(name->text))
            wrong(r, &name->pos, "a name must be 1 to 64 letters, digits and ._-");
        start_item(r, key->item, at, &name->pos);
        *(char **)(void *)at = la_arena_strndup(arena_of(r), name->text.p, name->text.n);
        read_value(r, key->item, node->item[i + 1], at, &name->pos);
        leave(r, p);
        at += key->size;
        ++*count;
    }
}

static void read_headers(struct la_reader *r, const struct la_key *key, struct la_node *node, char *base,
                         const struct la_conf_pos *pos)
{
    if (!needs_map(r, key, node, pos))
        return;
    if (node->items / 2 > key->high) {
        wrong(r, pos, "has %zu entries, must have at most %llu", node->items / 2, (unsigned long long)key->high);
        return;
    }
    size_t *count = (size_t *)(void *)(base + key->count);
    struct la_conf_header *at = (struct la_conf_header *)(void *)more_items(r, key, base, node->items / 2),
                          *first = at;
    for (size_t i = 0; i + 1 < node->items; i += 2) {
        struct la_node *name = node->item[i], *value = node->item[i + 1];
        size_t p = enter(r, name->text);
        const char *why = la_value_check_header(arena_of(r), name->text);
        la_marks_add(r->conf->own, r->path.p, &value->pos);
        for (struct la_conf_header *h = first; why == NULL && !name->duplicate && h < at; h++)
            if (la_slice_ieq(la_slice_str(h->name), name->text))
                why = "set twice: the case of field names does not count";
        if (why) {
            wrong(r, &name->pos, "%s", why);
        } else if (value->kind != LA_NODE_SCALAR || value->null) {
            wrong(r, value->null ? &name->pos : &value->pos, "%s, must be a text (\"\" for an empty one)",
                  value->null ? "has no value" : la_arena_printf(arena_of(r), "is %s", shown(r, value)));
        } else if ((why = la_value_check_header_value(value->text)) != NULL) {
            wrong(r, &value->pos, "%s", why);
        } else if (!name->duplicate) {
            at->name = la_arena_strndup(arena_of(r), name->text.p, name->text.n);
            at->value = la_arena_strndup(arena_of(r), value->text.p, value->text.n);
            at++;
            ++*count;
        }
        leave(r, p);
    }
}

static void read_set(struct la_reader *r, const struct la_key *key, struct la_node *node, char *base,
                     const struct la_conf_pos *pos)
{
    size_t n = node->kind == LA_NODE_LIST ? node->items : 1;
    for (size_t i = 0; i < n; i++) {
        struct la_node *one = node->kind == LA_NODE_LIST ? node->item[i] : node;
        if (needs_scalar(r, key, one, one == node ? pos : &one->pos) &&
            read_word(r, key, one, &one->pos) == 0)
            store(base, key, 1);
    }
}

static void read_value(struct la_reader *r, const struct la_key *key, struct la_node *node, char *base,
                       const struct la_conf_pos *pos)
{
    switch (key->type) {
    case LA_T_OBJECT: read_object(r, key, node, base, pos); break;
    case LA_T_LIST: read_list(r, key, node, base, pos); break;
    case LA_T_MAP: read_map(r, key, node, base, pos); break;
    case LA_T_HEADERS: read_headers(r, key, node, base, pos); break;
    case LA_T_SET: read_set(r, key, node, base, pos); break;
    case LA_T_INCLUDE: r->include = node; break;
    default: read_scalar(r, key, node, base, pos);
    }
}

/* ---- defaults ---- */

static void set_defaults(struct la_reader *r, const struct la_object *object, char *base)
{
    for (size_t i = 0; i < object->keys; i++) {
        const struct la_key *key = &object->key[i];
        struct la_node node = {.kind = LA_NODE_SCALAR, .plain = true};
        if (key->flags & LA_K_DERIVED) {
            memset(base + key->offset, 0xff, key->size);
            continue;
        }
        if (key->type == LA_T_OBJECT)
            set_defaults(r, key->keys, base);
        if (key->def == NULL || key->type == LA_T_LIST || key->type == LA_T_SET || key->type == LA_T_OBJECT)
            continue;
        size_t errors = r->report->errors;
        struct la_slice text = la_slice_str(key->def);
        if (text.p[0] == '"') {
            text = la_slice(text.p + 1, text.n - 2);
            node.plain = false;
        }
        node.text = text;
        read_scalar(r, key, &node, base, &node.pos);
        la_assert(r->report->errors == errors); /* a default of the table is wrong */
    }
}

void la_read_defaults(struct la_reader *r)
{
    set_defaults(r, &la_schema_root, (char *)r->conf);
}

void la_read_tree(struct la_reader *r, struct la_node *root, const char *file)
{
    static const struct la_key key = {.type = LA_T_OBJECT, .keys = &la_schema_root};
    struct la_conf_pos pos = {file, 1, 1};
    r->include = NULL;
    if (root && !root->null)
        read_object(r, &key, root, (char *)r->conf, &pos);
}

void la_reader_fini(struct la_reader *r)
{
    la_text_fini(&r->path);
}
