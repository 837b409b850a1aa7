/* conf_load.c: any bytes as a configuration: it is loaded or it has errors, each with a place; what was
 * loaded keeps the promises that the rest of the program builds on, and loading again gives the same. */
#include "lastack/conf.h"

#include "fuzz.h"

static void check_upstream(const struct la_conf *c, const struct la_conf_upstream *u)
{
    FUZZ_CHECK(u->name && u->servers > 0 && u->pool.max >= 1 && u->pool.max <= 65535 &&
               u->pool.tunnels <= u->pool.max);
    FUZZ_CHECK(u->buffer.dir && u->timeouts.connect_ms > 0 && u->queue.timeout_ms > 0 &&
               u->pool.goodbye_ms > 0);
    for (size_t i = 0; i < u->servers; i++) {
        FUZZ_CHECK(u->server[i].text &&
                   (u->server[i].address.len || (u->server[i].host && u->server[i].port)));
        FUZZ_CHECK(u->server[i].weight >= 1 && u->server[i].weight <= 256);
    }
    for (size_t i = 0; i < u->sources; i++)
        FUZZ_CHECK(u->source[i].text && u->source[i].address.len &&
                   u->source[i].port_low <= u->source[i].port_high);
    for (size_t i = 0; i < u->sets; i++)
        FUZZ_CHECK(u->set[i].name && u->set[i].value && !strpbrk(u->set[i].value, "\r\n"));
    FUZZ_CHECK(la_conf_where(c, "upstreams.%s.pool.max", u->name) != NULL); /* itself, or a parent */
}

static void check_conf(const struct la_conf *c)
{
    FUZZ_CHECK(c->listens > 0 && c->upstreams > 0);
    for (size_t i = 0; i < c->upstreams; i++)
        check_upstream(c, &c->upstream[i]);
    for (size_t i = 0; i < c->listens; i++)
        FUZZ_CHECK(c->listen[i].name && c->listen[i].address.len && c->listen[i].pos.line > 0 &&
                   c->listen[i].backlog > 0);
    for (size_t i = 0; i < c->routes; i++)
        FUZZ_CHECK(c->route[i].host && c->route[i].path && c->route[i].path[0] == '/' &&
                   c->route[i].upstream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct la_conf_findings one = {0}, two = {0};
    struct la_slice text = la_slice(size ? (const char *)data : "", size);
    struct la_conf *c = la_conf_load_text("f", text, &one);
    FUZZ_CHECK((c != NULL) == (one.errors == 0));
    for (size_t i = 0; i < one.n; i++)
        FUZZ_CHECK(strncmp(one.item[i].text, "f:", 2) == 0 && !strpbrk(one.item[i].text, "\r\n"));
    if (c)
        check_conf(c);
    la_conf_free(c);
    la_conf_free(la_conf_load_text("f", text, &two));
    FUZZ_CHECK(one.n == two.n && one.errors == two.errors);
    for (size_t i = 0; i < one.n; i++)
        FUZZ_CHECK(strcmp(one.item[i].text, two.item[i].text) == 0);
    la_conf_findings_fini(&one);
    la_conf_findings_fini(&two);
    return 0;
}
