/* base_json.c: any text as JSON. What was read can be written and read again, and stays the same. */
#include "lastack/json.h"
#include "lastack/json_read.h"

#include "fuzz.h"

static void write_value(struct la_json *j, const struct la_json_value *v)
{
    static const char bracket[2][2] = {"[]", "{}"};
    switch (v->kind) {
    case LA_JSON_NULL: la_json_null(j, v->key); break;
    case LA_JSON_BOOL: la_json_bool(j, v->key, v->number != 0); break;
    case LA_JSON_NUMBER: la_json_num(j, v->key, v->number); break;
    case LA_JSON_STRING: la_json_str(j, v->key, v->text); break;
    case LA_JSON_ARRAY:
    case LA_JSON_OBJECT:
        if (j->depth == 62) { /* the writer's bound is one less deep than the reader's */
            la_json_null(j, v->key);
            break;
        }
        la_json_open(j, v->key, bracket[v->kind == LA_JSON_OBJECT][0]);
        for (const struct la_json_value *c = v->child; c; c = c->next) {
            FUZZ_CHECK((c->key != NULL) == (v->kind == LA_JSON_OBJECT));
            write_value(j, c);
        }
        la_json_close(j, bracket[v->kind == LA_JSON_OBJECT][1]);
    }
}

static char *written(const struct la_json_value *v)
{
    struct la_text t = {0};
    struct la_json j;
    la_json_init(&j, &t);
    write_value(&j, v);
    return t.p;
}

/* The caller frees it, and text is freed here. */
static char *round_trip(char *text)
{
    size_t at;
    struct la_json_value *v = la_json_parse(text, &at);
    FUZZ_CHECK(v != NULL && at == strlen(text));
    free(text);
    text = written(v);
    la_json_free(v);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at;
    char *text = la_xstrndup((const char *)data, size);
    struct la_json_value *v = la_json_parse(text, &at);
    FUZZ_CHECK(at <= strlen(text));
    if (v == NULL) {
        free(text);
        return 0;
    }
    la_json_free(v);
    char *once = round_trip(round_trip(text)); /* the first makes characters of bytes that are none */
    char *twice = round_trip(la_xstrdup(once));
    FUZZ_CHECK(strcmp(once, twice) == 0);
    free(once);
    free(twice);
    return 0;
}
