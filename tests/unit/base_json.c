/* base_json.c: the JSON reader: what the writer writes comes back; what is not JSON is refused, at any cut, without a leak. */
#include "lastack/json.h"
#include "lastack/json_read.h"
#include "test.h"

static struct la_json_value *parse(const char *text)
{
    size_t at;
    return la_json_parse(text, &at);
}

static void written_and_read(void)
{
    static const char nasty[] = "a\"b\\c\n\x01\x7f </script> \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80";
    struct la_text t = {0};
    struct la_json j;
    la_json_init(&j, &t);
    la_json_open(&j, NULL, '{');
    la_json_str(&j, "text", nasty);
    la_json_num(&j, "number", -12.5e-3);
    la_json_bool(&j, "yes", true);
    la_json_null(&j, "nothing");
    la_json_raw(&j, "raw", LA_SLICE("{\"x\":[[],{}]}"));
    la_json_open(&j, "list", '[');
    for (int i = 0; i < 3; i++)
        la_json_int(&j, NULL, i - 1);
    la_json_close(&j, ']');
    la_json_close(&j, '}');
    struct la_json_value *v = parse(t.p);
    CHECK(v && v->kind == LA_JSON_OBJECT);
    CHECK(strcmp(la_json_string(la_json_get(v, "text"), ""), nasty) == 0);
    CHECK(la_json_number(la_json_get(v, "number"), 0) == -12.5e-3);
    CHECK(la_json_number(la_json_get(v, "yes"), 0) == 1);
    CHECK(la_json_get(v, "nothing")->kind == LA_JSON_NULL);
    CHECK(la_json_number(la_json_get(v, "nothing"), 7) == 7);
    CHECK(la_json_string(la_json_get(v, "none"), NULL) == NULL);
    CHECK(la_json_get(la_json_get(v, "raw"), "x")->child->next->kind == LA_JSON_OBJECT);
    CHECK(la_json_get(la_json_get(v, "list"), "x") == NULL);
    int n = -1;
    for (const struct la_json_value *e = la_json_get(v, "list")->child; e; e = e->next)
        CHECK(la_json_number(e, 9) == n++);
    CHECK_EQ(n, 2);
    la_json_free(v);
    for (size_t cut = 0; cut < t.n; cut++) { /* no beginning of it is a whole */
        char *part = la_xstrndup(t.p, cut);
        CHECK(parse(part) == NULL);
        free(part);
    }
    la_text_fini(&t);
}

static void texts(void)
{
    struct la_json_value *v = parse(" \"\\u0041\\u00e9\\u20AC\\uD83D\\ude00\\/\\b\\f\\n\\r\\t\" ");
    CHECK(v && strcmp(v->text, "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/\b\f\n\r\t") == 0);
    la_json_free(v);
}

static void refused(void)
{
    static const char *const bad[] = {
        "", " ", "nul", "truefalse", "tru", "[1,]", "[,1]", "[1 2]", "[1", "{", "{}}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}", "\"a",
        "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\"", "+1", ".5", "-", "1e",
        "0x10", "nan", "inf", "-inf", "1-", "1.2.3", "'a'",
    };
    for (size_t i = 0; i < la_count(bad); i++)
        CHECK(parse(bad[i]) == NULL);
    size_t at;
    CHECK(la_json_parse("[1, x]", &at) == NULL);
    CHECK_EQ(at, 4);
}

static void depth(void)
{
    char text[140] = "";
    for (unsigned most = 63; most <= 66; most++) {
        memset(text, '[', most);
        memset(text + most, ']', most);
        text[2 * most] = 0;
        struct la_json_value *v = parse(text);
        CHECK_EQ(v != NULL, most <= 64);
        la_json_free(v);
    }
}

int main(void)
{
    written_and_read();
    texts();
    refused();
    depth();
    return TEST_DONE();
}
