/* tree.h: a YAML text as a tree of nodes with positions. The only user of libyaml.
 *
 * Aliases are resolved to the node they name (a tree becomes a shared graph without cycles), and "<<" merges
 * are carried out, so a reader sees plain scalars, lists and maps. Bounded: LA_TREE_DEPTH levels,
 * LA_TREE_NODES nodes as a reader would visit them, aliases followed. */
#ifndef LASTACK_CONF_TREE_H
#define LASTACK_CONF_TREE_H

#include "conf/report.h"

#define LA_TREE_DEPTH 24
#define LA_TREE_NODES 1000000
#define LA_TREE_BYTES (16u << 20)

enum la_node_kind { LA_NODE_SCALAR, LA_NODE_LIST, LA_NODE_MAP };

struct la_node {
    enum la_node_kind kind;
    bool plain;     /* a scalar without quotes */
    bool null;      /* a plain scalar that is empty, ~ or null */
    bool checked;   /* map, a reader's mark: its keys were compared */
    bool duplicate; /* key, a reader's mark: there was one before it */
    struct la_conf_pos pos;
    struct la_slice text;  /* scalar: NUL-terminated, no control characters */
    struct la_node **item; /* list: items; map: key, value, key, value ... with scalar keys */
    size_t items, cap;
    size_t weight; /* nodes below and including this one */
};

/* False when the text is not YAML that can be read: the report says why. *root is NULL for an empty text. */
bool la_tree_parse(struct la_arena *arena, const char *file, struct la_slice text, struct la_report *report,
                   struct la_node **root);

#endif
