/* schema.h: the shape of the table that is the configuration language.
 *
 * One la_key is one key of the file: its name, its type with bounds, its default as it would be written,
 * where its value goes, and its line in the reference. The reader (read.c), the JSON Schema and the reference
 * (print.c) all walk this table and nothing else knows key names. The table itself is schema.c; it is
 * constant and has no code. */
#ifndef LASTACK_CONF_SCHEMA_H
#define LASTACK_CONF_SCHEMA_H

#include "lastack/conf.h"

enum la_type {
    LA_T_BOOL,
    LA_T_INT,
    LA_T_SIZE,     /* bytes: 65536, 64k, 64KiB, 1GiB */
    LA_T_DURATION, /* milliseconds: 500ms, 5s, 1m30s, 1h */
    LA_T_ENUM,     /* one of names; the index is stored (size 0: nowhere) */
    LA_T_STRING,
    LA_T_TEXT,    /* a scalar with a form of its own: parse() */
    LA_T_OBJECT,  /* a nested mapping; offsets of its keys count from the same struct */
    LA_T_LIST,    /* of item; a single scalar is a list of one */
    LA_T_MAP,     /* name -> item, an object whose first field is char *name */
    LA_T_HEADERS, /* name -> value: la_conf_header */
    LA_T_SET,     /* a list of names[0]: stores whether it is there */
    LA_T_INCLUDE, /* file patterns; kept by the loader */
};

enum {
    LA_K_REQUIRED = 1, /* must be there */
    LA_K_AUTO = 2,     /* "auto" stores automatic */
    LA_K_DERIVED = 4,  /* the default is worked out in finish.c; until then the field holds all ones */
    LA_K_MERGE = 8,    /* allowed in included files */
    LA_K_QUOTED = 16,  /* must be written in quotes (octal) */
    LA_K_OTHER = 32,   /* OBJECT: of a protocol that is not the default; commented out in the reference */
};

struct la_arena;
/* Parses text into field. NULL when it is well; "" when it is not what form says; else what is wrong and what
 * would be right. */
typedef const char *la_text_parser(struct la_arena *arena, struct la_slice text, void *field);

struct la_key {
    const char *name;
    enum la_type type;
    unsigned flags;
    size_t offset, size; /* of the field */
    size_t count;        /* LIST, MAP, HEADERS: offset of the size_t that counts */
    uint64_t low, high, automatic;
    const char *const *names;
    la_text_parser *parse;
    const char *form;             /* TEXT, STRING: what would be right, in words; INT: what "auto" may mean; may be NULL */
    const char *pattern;          /* TEXT: for the JSON Schema; may be NULL */
    const struct la_key *item;    /* LIST: one item */
    const struct la_object *keys; /* OBJECT, MAP, LIST item: what is inside */
    const char *def;              /* default as written; NULL: none */
    const char *example;          /* for the reference when there is no default */
    const char *doc;              /* one line */
};

struct la_object {
    const char *what; /* "a server" */
    size_t size;
    const struct la_key *key;
    size_t keys;
    const struct la_key
        *brief; /* the key that a plain scalar stands for ("10.0.0.1:80" for {address: ...}); may be NULL */
    long pos;   /* offset of its la_conf_pos, -1: none */
};

extern const struct la_object la_schema_root;

#endif
