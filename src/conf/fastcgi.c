/* fastcgi.c: what belongs to FastCGI upstreams alone: variables, the defaults of lists, and whether the keys
 * fit together.
 *
 * As check.c: asks neither this host nor the network, and passes over values that were wrong in themselves.
 */
#include "conf/load.h"

#include "conf/value.h"

static const char *const variable_names[] = {
#define X(id, name) name,
    LA_VARIABLES(X)
#undef X
};

static bool in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

enum la_variable la_variable_find(struct la_slice text, size_t *n, struct la_slice *field)
{
    bool braces = text.n > 1 && text.p[1] == '{';
    size_t start = braces ? 2 : 1, end = start;
    while (end < text.n && in_name(text.p[end]))
        end++;
    struct la_slice name = la_slice(text.p + start, end - start);
    *n = end;
    *field = la_slice(NULL, 0);
    if (braces) {
        if (end == text.n || text.p[end] != '}')
            return LA_VARIABLE_NONE;
        *n = end + 1;
    }
    if (name.n > 5 && memcmp(name.p, "http_", 5) == 0) {
        *field = la_slice(name.p + 5, name.n - 5);
        return LA_VARIABLE_HTTP;
    }
    for (size_t i = 0; i < la_count(variable_names); i++)
        if (name.n && *variable_names[i] == *name.p && la_slice_eq(name, la_slice_str(variable_names[i])))
            return (enum la_variable)i;
    return LA_VARIABLE_NONE;
}

void la_conf_finish_fastcgi(struct la_conf *c, struct la_conf_upstream *u)
{
    static const char *const tried[] = {"$uri", "$uri/"};
    struct la_conf_fastcgi *f = &u->fastcgi;
    struct la_arena *a = &c->own->arena;
    if (u->protocol != LA_PROTO_FASTCGI)
        return;
    if (f->indexes == 0) {
        f->index = la_arena_calloc(a, 1, sizeof *f->index);
        f->index[f->indexes++] = la_arena_strndup(a, "index.php", 9);
    }
    if (f->scripts == 0) {
        f->script = la_arena_calloc(a, 1, sizeof *f->script);
        f->script[f->scripts++] = la_arena_strndup(a, ".php", 4);
    }
    if (f->tries == 0) {
        f->tried = la_arena_calloc(a, la_count(tried), sizeof *f->tried);
        for (; f->tries < la_count(tried); f->tries++)
            f->tried[f->tries] = la_arena_strndup(a, tried[f->tries], strlen(tried[f->tries]));
    }
    /* One trailing slash more or less means nothing. */
    for (char *p = f->root ? f->root + strlen(f->root) - 1 : NULL; p && p > f->root && *p == '/'; p--)
        *p = '\0';
    for (char *p = f->script_root ? f->script_root + strlen(f->script_root) - 1 : NULL;
         p && p > f->script_root && *p == '/'; p--)
        *p = '\0';
}

static void check_variables(struct la_conf *c, struct la_report *r, const char *path, const char *text)
{
    struct la_slice s = text ? la_slice_str(text) : la_slice("", 0), field;
    while (s.n) {
        size_t n = 1;
        if (*s.p == '$' && la_variable_find(s, &n, &field) == LA_VARIABLE_NONE) {
            struct la_slice name = la_slice(s.p + 1, n - 1);
            const char *near = la_value_nearest(name, variable_names, la_count(variable_names));
            la_conf_complain(c, r, false, path, "there is no variable \"%.*s\"%s%s%s", (int)la_min64(n, 64), s.p,
                             near ? ", did you mean \"$" : "", near ? near : "", near ? "\"?" : "");
        }
        s = la_slice(s.p + n, s.n - n);
    }
}

static void check_paths(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    const struct la_conf_fastcgi *f = &u->fastcgi;
    for (size_t i = 0; i < f->tries; i++) {
        const char *path = la_path(c, "upstreams.%s.fastcgi.try[%zu]", u->name, i);
        check_variables(c, r, path, f->tried[i]);
        if (f->tried[i] && i + 1 < f->tries && (f->tried[i][0] == '=' || strchr(f->tried[i], '?')))
            la_conf_complain(c, r, false, path, "only the last one can be \"%s\": nothing after it is ever tried",
                             f->tried[i]);
    }
    for (size_t i = 0; i < f->params; i++)
        check_variables(c, r, la_path(c, "upstreams.%s.fastcgi.params.%s", u->name, f->param[i].name),
                        f->param[i].value);
    for (size_t i = 0; i < f->internals; i++) {
        const char *p = f->internal[i].path;
        if (p && p[strlen(p) - 1] != '/')
            la_conf_complain(c, r, false, la_path(c, "upstreams.%s.fastcgi.internal[%zu].path", u->name, i),
                             "must end with /: it is a prefix");
    }
}

void la_conf_check_fastcgi(struct la_conf *c, struct la_report *r, const struct la_conf_upstream *u)
{
    const char *base = la_path(c, "upstreams.%s.fastcgi", u->name);
    if (u->protocol != LA_PROTO_FASTCGI) {
        if (la_marks_find(c->own, base))
            la_conf_complain(c, r, false, base, "is for `protocol: fastcgi`, this upstream is %s",
                             la_protocol_name(u->protocol));
        return;
    }
    if (u->fastcgi.root == NULL && la_marks_find(c->own, la_path(c, "%s.root", base)) == NULL)
        la_conf_complain(c, r, false, la_path(c, "%s.root", base),
                         "missing: the directory of the application's public files");
    check_paths(c, r, u);
}
