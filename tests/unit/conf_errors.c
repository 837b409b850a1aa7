/* Everything that can be wrong with a configuration, word for word; six mistakes give six errors; bounds
 * hold. */
#include "lastack/conf.h"
#include "lastack/json.h"
#include "test.h"

#include "conf_bad.h"

/* All findings, one a line, warnings with a "-" in front. */
static char *load(const char *text, bool *loaded, size_t *errors)
{
    struct la_conf_findings f = {0};
    struct la_text all = {0};
    char *exact = la_xstrndup(text, strlen(text));
    struct la_conf *c = la_conf_load_text("f", la_slice(exact, strlen(text)), &f);
    free(exact);
    la_text_add(&all, "", 0);
    for (size_t i = 0; i < f.n; i++)
        la_text_addf(&all, "%s%s%s", i ? "\n" : "", f.item[i].warning ? "-" : "", f.item[i].text);
    *loaded = c != NULL;
    *errors = f.errors;
    CHECK((c != NULL) == (f.errors == 0));
    la_conf_findings_fini(&f);
    la_conf_free(c);
    return all.p;
}

static void table(void)
{
    size_t failed = 0;
    for (size_t i = 0; i < la_count(bad); i++) {
        bool loaded;
        size_t errors;
        char *got = load(bad[i].text, &loaded, &errors);
        if (strcmp(got, bad[i].expect) != 0) {
            fprintf(stderr, "--- %s\nexpected:\n%s\ngot:\n%s\n\n", bad[i].text, bad[i].expect, got);
            failed++;
        }
        free(got);
    }
    CHECK_EQ(failed, 0);
}

static void six_mistakes(void)
{
    bool loaded;
    size_t errors;
    char *got = load("workers: many\n"
                     "listen:\n"
                     "  - address: 127.0.0.1:99999\n"
                     "    upstream: app\n"
                     "upstreams:\n"
                     "  app:\n"
                     "    servers: [10.0.0.1:80]\n"
                     "    pool: { maxx: 5, idle_close: 10 }\n"
                     "    balance: hash\n"
                     "    queue: { length: 5, length: 6 }\n",
                     &loaded, &errors);
    CHECK(!loaded);
    CHECK_EQ(errors, 6);
    CHECK(strcmp(got,
                 "f:1:10: workers: \"many\" is not a whole number, must be auto or from 1 to 1024\n"
                 "f:3:14: listen[0].address: \"127.0.0.1:99999\": the port must be a number from 0 to 65535\n"
                 "f:8:13: upstreams.app.pool.maxx: unknown key, did you mean \"max\"?\n"
                 "f:8:34: upstreams.app.pool.idle_close: \"10\" has no unit, write for example 5s or 500ms\n"
                 "f:9:14: upstreams.app.balance: hash needs a hash_key: write `hash_key: client` or "
                 "`hash_key: header:NAME`\n"
                 "f:10:25: upstreams.app.queue.length: duplicate key, first in line 10") == 0);
    free(got);
}

/* Hostile sizes end in an error, soon. */
static void bounds(void)
{
    struct la_text t = {0};
    struct la_conf_findings f = {0};
    for (int i = 0; i < 5000; i++)
        la_text_addf(&t, "key%d: 1\n", i);
    CHECK(la_conf_load_text("f", la_slice(t.p, t.n), &f) == NULL);
    CHECK(f.n <= 1002);
    CHECK(strstr(f.item[f.n - 1].text, "too many findings") != NULL);
    la_conf_findings_fini(&f);
    la_text_fini(&t);
    la_text_addf(&t, "x-0: &a0 [1]\n"); /* each level ten of the one before */
    for (int i = 1; i < 9; i++)
        la_text_addf(&t, "x-%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1,
                     i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    CHECK(la_conf_load_text("f", la_slice(t.p, t.n), &f) == NULL);
    CHECK(strstr(f.item[0].text, "aliases multiply to more than") != NULL);
    la_conf_findings_fini(&f);
    la_text_fini(&t);
    char *big = la_xcalloc((16u << 20) + 1, 1);
    memset(big, ' ', (16u << 20) + 1);
    CHECK(la_conf_load_text("f", la_slice(big, (16u << 20) + 1), &f) == NULL);
    CHECK(strcmp(f.item[0].text, "f:1:1: larger than 16 MiB") == 0);
    la_conf_findings_fini(&f);
    free(big);
}

/* Every prefix of a good file is refused or taken, never anything else. */
static void prefixes(void)
{
    static const char text[] = APP(SERVERS "    source: [10.0.1.1, \"10.0.1.2:20000-29999\"]\n"
                                           "    pool: &p { max: 10, idle_reuse: auto }\n"
                                           "    request_headers: { set: { X-A: 'b' }, remove: [X-C] }\n"
                                           "routes:\n  - { host: \"*.x\", path: /a, upstream: app }\n");
    for (size_t n = 0; n < sizeof text; n++) {
        struct la_conf_findings f = {0};
        char *exact = la_xstrndup(text, n);
        struct la_conf *c = la_conf_load_text("f", la_slice(exact, n), &f);
        CHECK((c != NULL) == (f.errors == 0));
        la_conf_free(c);
        la_conf_findings_fini(&f);
        free(exact);
    }
}

int main(void)
{
    table();
    six_mistakes();
    bounds();
    prefixes();
    return TEST_DONE();
}
