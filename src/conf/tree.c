/* tree.c: from libyaml's events to la_node.
 *
 * Good path: one pass over the events with a stack of open lists and maps. A finished node goes to its
 * parent; a map is merged ("<<") when it closes. Nothing is interpreted: "10", "yes" and "5s" are texts until
 * the schema asks for a type.
 *
 * What can fail: YAML syntax (with a hint for the traps that configurations fall into), two documents, tags,
 * keys that are not scalars, control characters, nesting and size beyond the bounds. Syntax errors end the
 * reading. */
#include "conf/tree.h"

#include <yaml.h>

#define ANCHORS_MOST 256
#define MERGE_MOST   ((size_t)256)

struct builder {
    struct la_arena *arena;
    struct la_report *report;
    const char *file;
    struct la_slice text;
    struct la_node *open[LA_TREE_DEPTH];
    size_t depth;
    struct la_node *root;
    struct {
        const char *name;
        struct la_node *node;
    } anchor[ANCHORS_MOST];
    size_t anchors, nodes;
    unsigned documents;
    bool failed;
};

static struct la_conf_pos position(const struct builder *b, yaml_mark_t mark)
{
    return (struct la_conf_pos){b->file, (unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

/* An error that ends the reading. */
static void stop(struct builder *b, struct la_conf_pos pos, const char *what)
{
    la_report_add(b->report, false, &pos, "", "%s", what);
    b->failed = true;
}

static struct la_slice line_of(struct la_slice text, size_t line)
{
    const char *p = text.p, *end = text.p + text.n;
    while (line-- > 0 && p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        p = newline ? newline + 1 : end;
    }
    const char *newline = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return la_slice(p, (size_t)((newline ? newline : end) - p));
}

/* "[" hex digits and at least two colons "]", not quoted. */
static bool has_bracketed_address(struct la_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        size_t j = i + 1, colons = 0;
        if (s.p[i] != '[' || (i > 0 && (s.p[i - 1] == '"' || s.p[i - 1] == '\'')))
            continue;
        while (j < s.n && s.p[j] != 0 && strchr("0123456789abcdefABCDEF.:%", s.p[j]))
            colons += s.p[j++] == ':';
        if (j < s.n && s.p[j] == ']' && colons >= 2)
            return true;
    }
    return false;
}

/* What a person most likely meant, or "". */
static const char *hint(const struct builder *b, const yaml_parser_t *p)
{
    struct la_slice line = line_of(b->text, p->problem_mark.line);
    char at = p->problem_mark.column < line.n ? line.p[p->problem_mark.column] : 0;
    struct la_slice rest = p->problem_mark.column < line.n
                               ? la_slice(line.p + p->problem_mark.column, line.n - p->problem_mark.column)
                               : (struct la_slice){"", 0};
    if (at == '\t')
        return ": indent with spaces, not with tabs";
    if (p->context && strstr(p->context, "alias"))
        return ": a value that starts with * must be quoted, such as \"*\"";
    if (has_bracketed_address(line))
        return ": an address in brackets must be quoted, such as \"[::1]:80\"";
    if (rest.n >= 2 && memcmp(rest.p, "::", 2) == 0)
        return ": an address that starts with :: must be quoted here, such as \"::1\"";
    if (at == '@' || at == '`' || at == '%')
        return ": a value that starts with this character must be quoted";
    if (p->problem && strstr(p->problem, "mapping values are not allowed"))
        return ": check the indentation, and quote a value that holds \": \"";
    return "";
}

static void syntax_error(struct builder *b, const yaml_parser_t *p)
{
    struct la_conf_pos pos = position(b, p->problem_mark);
    b->failed = true;
    if (p->error == YAML_READER_ERROR) { /* no mark: count lines up to the offset */
        size_t n = la_min64(p->problem_offset, b->text.n);
        pos.line = pos.column = 1;
        for (size_t i = 0; i < n; i++) {
            pos.line += b->text.p[i] == '\n';
            pos.column = b->text.p[i] == '\n' ? 1 : pos.column + 1;
        }
        la_report_add(b->report, false, &pos, "", "not UTF-8 text: %s", p->problem);
        return;
    }
    const char *problem = p->problem ? p->problem : "out of memory";
    if (p->context && p->context_mark.line != p->problem_mark.line)
        la_report_add(b->report, false, &pos, "", "YAML: %s (%s that starts in line %zu)%s", problem,
                      p->context, p->context_mark.line + 1, hint(b, p));
    else
        la_report_add(b->report, false, &pos, "", "YAML: %s%s", problem, hint(b, p));
}

static void push_item(struct la_arena *arena, struct la_node *parent, struct la_node *node)
{
    if (parent->items == parent->cap) {
        size_t cap = parent->cap ? 2 * parent->cap : 8;
        struct la_node **item = la_arena_calloc(arena, cap, sizeof(struct la_node *));
        if (parent->items)
            memcpy(item, parent->item, parent->items * sizeof(struct la_node *));
        parent->item = item;
        parent->cap = cap;
    }
    parent->item[parent->items++] = node;
    parent->weight += node->weight;
}

/* Into the open list or map, or as the root. */
static void place(struct builder *b, struct la_node *node, struct la_conf_pos pos)
{
    struct la_node *parent = b->depth ? b->open[b->depth - 1] : NULL;
    if (parent == NULL) {
        b->root = node;
        return;
    }
    if (parent->kind == LA_NODE_MAP && parent->items % 2 == 0 && node->kind != LA_NODE_SCALAR)
        stop(b, pos, "a key must be a plain word, not a list or a mapping");
    push_item(b->arena, parent, node);
}

static void remember(struct builder *b, const yaml_char_t *anchor, struct la_node *node)
{
    if (anchor == NULL)
        return;
    if (b->anchors == ANCHORS_MOST) {
        stop(b, node->pos, "more than 256 anchors");
        return;
    }
    const char *name = (const char *)anchor;
    b->anchor[b->anchors].name = la_arena_strndup(b->arena, name, strlen(name));
    b->anchor[b->anchors++].node = node;
}

static struct la_node *new_node(struct builder *b, enum la_node_kind kind, struct la_conf_pos pos,
                                const yaml_char_t *tag)
{
    struct la_node *node = la_arena_calloc(b->arena, 1, sizeof *node);
    node->kind = kind;
    node->pos = pos;
    node->weight = 1;
    if (tag && strcmp((const char *)tag, YAML_STR_TAG) != 0 && strcmp((const char *)tag, "!") != 0)
        la_report_add(b->report, false, &pos, "",
                      "tags such as %.40s are not supported, write the value without it", (const char *)tag);
    if (++b->nodes > LA_TREE_NODES)
        stop(b, pos, "too large: more than 1000000 values");
    return node;
}

/* Where the next node goes: "upstreams.app.servers[0]"; as read.c writes it. */
static const char *path(const struct builder *b)
{
    const char *text = "";
    for (size_t i = 0; b->report->shown[false] <= LA_REPORT_MOST && i < b->depth; i++) { /* a million of them would not be shown */
        const struct la_node *n = b->open[i];
        if (n->kind == LA_NODE_LIST)
            text = la_arena_printf(b->arena, "%s[%zu]", text, n->items);
        else if (n->items % 2)
            text = la_arena_printf(b->arena, "%s%s%.64s", text, *text ? "." : "", n->item[n->items - 1]->text.p);
    }
    return text;
}

static void scalar(struct builder *b, const yaml_event_t *e)
{
    struct la_conf_pos pos = position(b, e->start_mark);
    struct la_node *node = new_node(b, LA_NODE_SCALAR, pos, e->data.scalar.tag);
    size_t n = e->data.scalar.length;
    const char *p = la_arena_strndup(b->arena, (const char *)e->data.scalar.value, n);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f) {
            la_report_add(b->report, false, &pos, path(b),
                          "a value must not hold control characters or line breaks");
            n = i;
        }
    }
    node->text = la_slice(la_arena_strndup(b->arena, p, n), n);
    node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && e->data.scalar.tag == NULL;
    node->null = node->plain && (n == 0 || strcmp(p, "~") == 0 || strcmp(p, "null") == 0);
    remember(b, e->data.scalar.anchor, node);
    place(b, node, pos);
}

static void open_node(struct builder *b, enum la_node_kind kind, const yaml_event_t *e)
{
    bool list = kind == LA_NODE_LIST;
    struct la_conf_pos pos = position(b, e->start_mark);
    struct la_node *node =
        new_node(b, kind, pos, list ? e->data.sequence_start.tag : e->data.mapping_start.tag);
    if (b->depth == LA_TREE_DEPTH) {
        stop(b, pos, "nested too deeply");
        return;
    }
    if (list ? e->data.sequence_start.anchor != NULL : e->data.mapping_start.anchor != NULL)
        remember(b, list ? e->data.sequence_start.anchor : e->data.mapping_start.anchor, node);
    b->open[b->depth++] = node;
}

static bool has_key(const struct la_node *map, struct la_slice key)
{
    for (size_t i = 0; i + 1 < map->items; i += 2)
        if (la_slice_eq(map->item[i]->text, key))
            return true;
    return false;
}

/* Adds the pairs of one map whose keys are not there yet. */
static void merge_from(struct builder *b, struct la_node *to, const struct la_node *from,
                       struct la_conf_pos pos)
{
    if (from->kind != LA_NODE_MAP) {
        stop(b, pos, "<< takes a mapping, or a list of mappings");
        return;
    }
    if (from->items + to->items > 2 * MERGE_MOST) {
        stop(b, pos, "<< merges at most 256 keys");
        return;
    }
    for (size_t i = 0; i + 1 < from->items; i += 2) {
        if (has_key(to, from->item[i]->text))
            continue;
        b->nodes += from->item[i]->weight + from->item[i + 1]->weight;
        push_item(b->arena, to, from->item[i]);
        push_item(b->arena, to, from->item[i + 1]);
    }
}

static void merge(struct builder *b, struct la_node *map)
{
    size_t pairs = map->items;
    for (size_t i = 0; i + 1 < pairs && !b->failed; i += 2) {
        struct la_node *key = map->item[i], *value = map->item[i + 1];
        if (!key->plain || !la_slice_eq(key->text, LA_SLICE("<<")))
            continue;
        memmove(map->item + i, map->item + i + 2, (map->items - i - 2) * sizeof(struct la_node *));
        map->items -= 2;
        pairs -= 2;
        i -= 2; /* wraps below 0 and back */
        if (value->kind != LA_NODE_LIST)
            merge_from(b, map, value, key->pos);
        for (size_t k = 0; value->kind == LA_NODE_LIST && k < value->items && !b->failed; k++)
            merge_from(b, map, value->item[k], key->pos);
    }
}

static void close_node(struct builder *b)
{
    struct la_node *node = b->open[--b->depth];
    if (node->kind == LA_NODE_MAP)
        merge(b, node);
    if (!b->failed)
        place(b, node, node->pos);
}

static void alias(struct builder *b, const yaml_event_t *e)
{
    const char *name = (const char *)e->data.alias.anchor;
    struct la_conf_pos pos = position(b, e->start_mark);
    struct la_node *node = NULL;
    for (size_t i = b->anchors; i > 0 && node == NULL; i--)
        if (strcmp(b->anchor[i - 1].name, name) == 0)
            node = b->anchor[i - 1].node;
    for (size_t i = 0; i < b->depth; i++)
        if (b->open[i] == node)
            node = NULL;
    if (node == NULL) {
        la_report_add(b->report, false, &pos, "",
                      "*%s: no such anchor above; a text that starts with * must be quoted, such as \"*%s\"",
                      name, name);
        b->failed = true;
        return;
    }
    b->nodes += node->weight;
    if (b->nodes > LA_TREE_NODES)
        stop(b, pos, "too large: aliases multiply to more than 1000000 values");
    else
        place(b, node, pos);
}

static void take_event(struct builder *b, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents > 1)
            stop(b, position(b, e->start_mark), "a second document starts here; one file holds one document");
        break;
    case YAML_SCALAR_EVENT: scalar(b, e); break;
    case YAML_SEQUENCE_START_EVENT: open_node(b, LA_NODE_LIST, e); break;
    case YAML_MAPPING_START_EVENT: open_node(b, LA_NODE_MAP, e); break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: close_node(b); break;
    case YAML_ALIAS_EVENT: alias(b, e); break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: break;
    }
}

bool la_tree_parse(struct la_arena *arena, const char *file, struct la_slice text, struct la_report *report,
                   struct la_node **root)
{
    struct builder b = {.arena = arena, .report = report, .file = file, .text = text};
    yaml_parser_t parser;
    bool ended = false;
    *root = NULL;
    if (text.n > LA_TREE_BYTES) {
        stop(&b, (struct la_conf_pos){file, 1, 1}, "larger than 16 MiB");
        return false;
    }
    la_assert(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    while (!ended && !b.failed) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            syntax_error(&b, &parser);
            break;
        }
        ended = event.type == YAML_STREAM_END_EVENT;
        take_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    *root = b.root;
    return !b.failed;
}
