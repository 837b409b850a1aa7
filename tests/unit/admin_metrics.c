/* admin_metrics.c: the sampler, /metrics and /api/v1/status over a snapshot made by hand: every line of the exposition
 * is well-formed and there once, sums are sums over workers, names are escaped, the status is JSON. */
#include "admin_world.h"

#include <ctype.h>

/* ---- the exposition format ---- */

static bool name_char(char c, bool first)
{
    return isalpha((unsigned char)c) || c == '_' || c == ':' || (!first && isdigit((unsigned char)c));
}

/* NAME[{label="value",...}] NUMBER; returns the length of what comes before the number, 0: malformed. */
static size_t sample_head(const char *line)
{
    const char *p = line;
    if (!name_char(*p, true))
        return 0;
    while (name_char(*p, false))
        p++;
    if (*p == '{') {
        do {
            p++;
            while (name_char(*p, false))
                p++;
            if (p[0] != '=' || p[1] != '"')
                return 0;
            for (p += 2; *p && *p != '"'; p++)
                if (*p == '\\' && *++p != '\\' && *p != '"' && *p != 'n')
                    return 0;
            if (*p++ != '"')
                return 0;
        } while (*p == ',');
        if (*p++ != '}')
            return 0;
    }
    if (*p != ' ')
        return 0;
    char *end;
    strtod(p + 1, &end);
    return end > p + 1 && *end == 0 ? (size_t)(p - line) : 0;
}

/* Splits text at its newlines; free the array, the text is changed. */
static char **lines_of(char *text, size_t *count)
{
    char **line = NULL;
    size_t n = 0;
    for (char *p = strtok(text, "\n"); p; p = strtok(NULL, "\n")) {
        line = la_xrealloc(line, (n + 1) * sizeof *line);
        line[n++] = p;
    }
    *count = n;
    return line;
}

/* Every sample belongs to the family that was announced last, and is there once. */
static void check_exposition(const char *text)
{
    char *copy = la_xstrdup(text), family[128] = "", type[32] = "";
    size_t n, families = 0, samples = 0;
    char **line = lines_of(copy, &n);
    for (size_t i = 0; i < n; i++) {
        if (strncmp(line[i], "# HELP ", 7) == 0) {
            CHECK(sscanf(line[i], "# HELP %127s", family) == 1);
            for (size_t k = 0; k < i; k++) /* no family twice */
                CHECK(strncmp(line[k], line[i], strlen("# HELP ") + strlen(family) + 1) != 0);
            families++;
            char name[128];
            CHECK(i + 1 < n && sscanf(line[i + 1], "# TYPE %127s %31s", name, type) == 2);
            CHECK(strcmp(name, family) == 0);
            CHECK(!strcmp(type, "counter") || !strcmp(type, "gauge") || !strcmp(type, "histogram"));
            size_t len = strlen(family);
            if (strcmp(type, "counter") == 0)
                CHECK(len > 6 && strcmp(family + len - 6, "_total") == 0);
            i++;
            continue;
        }
        size_t head = sample_head(line[i]);
        if (head == 0)
            fprintf(stderr, "malformed: %s\n", line[i]);
        CHECK(head > 0);
        CHECK(strncmp(line[i], family, strlen(family)) == 0);
        for (size_t k = 0; k < i; k++)
            CHECK(strncmp(line[k], line[i], head + 1) != 0);
        samples++;
    }
    CHECK(families > 30 && samples > 100);
    CHECK(text[strlen(text) - 1] == '\n');
    free(line);
    free(copy);
}

static double value_of(const char *text, const char *head)
{
    size_t n = strlen(head);
    for (const char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (strncmp(p, head, n) == 0 && p[n] == ' ')
            return strtod(p + n, NULL);
    fprintf(stderr, "missing: %s\n", head);
    CHECK(!"sample is there");
    return 0;
}
#define HAS(text, head, value)                                                                \
    do {                                                                                      \
        double v_ = value_of((text), (head));                                                 \
        if (v_ != (value))                                                                    \
            fprintf(stderr, "%s is %g, not %g\n", (head), v_, (double)(value));               \
        CHECK(v_ == (value));                                                                 \
    } while (0)

/* ---- JSON ---- */

static const char *json_value(const char *p);

static const char *json_string(const char *p)
{
    CHECK(*p++ == '"');
    for (; *p != '"'; p++) {
        CHECK((unsigned char)*p >= 0x20);
        if (*p != '\\')
            continue;
        p++;
        CHECK(*p && strchr("\"\\/bfnrtu", *p) != NULL);
        for (int i = 0; *p == 'u' && i < 4; i++)
            CHECK(isxdigit((unsigned char)p[1 + i]));
    }
    return p + 1;
}

static const char *json_value(const char *p)
{
    char *end;
    if (*p == '"')
        return json_string(p);
    if (*p == '{' || *p == '[') {
        char close = *p == '{' ? '}' : ']';
        if (p[1] == close)
            return p + 2;
        do {
            p++;
            if (close == '}') {
                p = json_string(p);
                CHECK(*p++ == ':');
            }
            p = json_value(p);
        } while (*p == ',');
        CHECK(*p == close);
        return p + 1;
    }
    if (strncmp(p, "true", 4) == 0 || strncmp(p, "null", 4) == 0)
        return p + 4;
    if (strncmp(p, "false", 5) == 0)
        return p + 5;
    strtod(p, &end);
    CHECK(end > p);
    return end;
}

/* ---- tests ---- */

static void test_empty(void)
{
    struct la_admin_state state = {.workers = WORKERS};
    struct la_sampler *sampler = la_sampler_new();
    struct la_text text = {0};
    la_sampler_tick(sampler, &state);
    la_metrics_write(&text, &state, sampler);
    HAS(text.p, "lastack_build_info{version=\"" LASTACK_VERSION "\"}", 1);
    text.n = 0;
    la_status_write(&text, &state, NULL);
    CHECK(strcmp(json_value(text.p), "\n") == 0);
    la_text_fini(&text);
    la_sampler_free(&sampler);
}

static void fill(struct world *w)
{
    for (unsigned k = 0; k < WORKERS; k++) {
        struct la_pool_stats *s = &w->server[0]->stats[k];
        struct la_upstream_stats *u = &w->plan[0].shared->stats[k];
        atomic_store(&s->state[0][LA_CONN_BUSY], 2);
        atomic_store(&s->state[1][LA_CONN_IDLE], k == 0 ? 3 : -1); /* one moved from worker to worker */
        la_stat_add(&s->opened[2], 7);
        la_stat_add(&s->closed[LA_CLOSE_KEEPALIVE_TIMEOUT], 5);
        la_stat_add(&s->code[200], 100);
        la_stat_add(&s->takeovers, 1);
        la_stat_add(&u->code[503], 2);
        la_stat_add(&u->error[LA_QUEUE_TIMEOUT], 2);
        la_stat_add(&u->retry_race, 1);
        la_stat_add(&u->bytes_in, 1000);
        la_stat_add(&u->requests, 100);
        la_stat_add(&u->dials, 5);
        la_hist_record(&u->phase[LA_PHASE_TOTAL], 90);
        la_hist_record(&u->phase[LA_PHASE_TOTAL], 2000000);
        la_hist_record(&u->phase[LA_PHASE_TOTAL], 100000000);
        la_stat_add(&w->proxy[k].code[404], 4);
        la_stat_add(&w->proxy[k].error[LA_NO_ROUTE], 4);
        la_stat_add(&w->client[k].accepted, 10);
        la_stat_add(&w->client[k].handshake[LA_HANDSHAKE_FULL], 4);
        la_stat_add(&w->client[k].proxy_good, 7);
    }
    atomic_store(&w->client[1].connections, 6);
    atomic_store(&w->plan[0].shared->waiting, 9);
    struct la_port_pair *one = &w->server[0]->ledger->pair[0], *other = &w->server[2]->ledger->pair[0];
    atomic_store(&one->open, 10); /* the kernel shows 10 + 4 + 3 */
    atomic_store(&one->foreign, 7);
    atomic_store(&other->open, 4);
    atomic_store(&other->foreign, 13);
    atomic_store(&one->exhausted_total, 5);
    atomic_store(&other->exhausted_total, 6);
    atomic_store(&one->time_wait, 2);
    atomic_store(&other->time_wait, 2);
}

static void test_metrics(struct world *w, const struct la_sampler *sampler)
{
    struct la_text text = {0};
    la_metrics_write(&text, &w->state, sampler);
    const char *t = text.p;
    check_exposition(t);
#define APP "{upstream=\"app\",server=\"10.0.0.11:8080\""
#define DEST "\",destination=\"10.0.0.11:8080\",state=\""
    HAS(t, "lastack_connections" APP ",source=\"10.0.1.1\",state=\"busy\"}", 4);
    HAS(t, "lastack_connections" APP ",source=\"10.0.1.2:20000-20099\",state=\"idle\"}", 2);
    HAS(t, "lastack_connections{upstream=\"app\",server=\"unix:/run/x.sock\",source=\"default\",state=\"tunnel\"}", 0);
    HAS(t, "lastack_connections_opened_total" APP ",source=\"10.0.1.2:30000-30099\"}", 14);
    HAS(t, "lastack_connections_closed_total" APP ",by=\"backend\",reason=\"keepalive_timeout\"}", 10);
    HAS(t, "lastack_connections_closed_total" APP ",by=\"proxy\",reason=\"idle_close\"}", 0);
    HAS(t, "lastack_requests_total" APP ",code=\"200\"}", 200);
    HAS(t, "lastack_requests_total{upstream=\"app\",server=\"\",code=\"503\"}", 4);
    HAS(t, "lastack_requests_total{upstream=\"\",server=\"\",code=\"404\"}", 8);
    HAS(t, "lastack_errors_total{upstream=\"\",cause=\"no_route\"}", 8);
    HAS(t, "lastack_errors_total{upstream=\"app\",cause=\"queue_timeout\"}", 4);
    HAS(t, "lastack_retries_total{upstream=\"app\",reason=\"race\"}", 2);
    HAS(t, "lastack_retries_total{upstream=\"app\",reason=\"connect\"}", 0);
    HAS(t, "lastack_bytes_total{upstream=\"app\",direction=\"in\"}", 2000);
    HAS(t, "lastack_queue_length{upstream=\"app\"}", 9);
    HAS(t, "lastack_queue_timeouts_total{upstream=\"app\"}", 0);
    HAS(t, "lastack_takeovers_total" APP "}", 2);
    HAS(t, "lastack_dial_failures_total" APP "}", 0);
    HAS(t, "lastack_reuse_ratio{upstream=\"app\"}", .95);
    HAS(t, "lastack_reuse_ratio{upstream=\"we\\\"ird\\\\na\\nme\"}", 1);
    HAS(t, "lastack_idle_reuse_seconds" APP "}", 60);
    HAS(t, "lastack_idle_reuse_seconds{upstream=\"we\\\"ird\\\\na\\nme\",server=\"10.0.0.11:8080\"}", 1.5);
    HAS(t, "lastack_pool_max" APP "}", 8);
    HAS(t, "lastack_places" APP "}", 0);
    HAS(t, "lastack_server_up" APP "}", 1);
    HAS(t, "lastack_client_connections{listener=\"web\"}", 6);
    HAS(t, "lastack_clients_accepted_total{listener=\"web\"}", 20);
    HAS(t, "lastack_config_reloads_total{result=\"ok\"}", 3);
    HAS(t, "lastack_config_reloads_total{result=\"failed\"}", 0);
    HAS(t, "lastack_request_seconds_bucket{upstream=\"app\",phase=\"total\",le=\"0.0001\"}", 2);
    HAS(t, "lastack_request_seconds_bucket{upstream=\"app\",phase=\"total\",le=\"1\"}", 2);
    HAS(t, "lastack_request_seconds_bucket{upstream=\"app\",phase=\"total\",le=\"60\"}", 4);
    HAS(t, "lastack_request_seconds_bucket{upstream=\"app\",phase=\"total\",le=\"+Inf\"}", 6);
    HAS(t, "lastack_request_seconds_count{upstream=\"app\",phase=\"total\"}", 6);
    HAS(t, "lastack_request_seconds_sum{upstream=\"app\",phase=\"total\"}", 204.00018);
    HAS(t, "lastack_request_seconds_count{upstream=\"app\",phase=\"queue\"}", 0);
    /* One destination in two upstreams: the same ports, counted once. */
    HAS(t, "lastack_ports{source=\"10.0.1.1" DEST "open\"}", 14);
    HAS(t, "lastack_ports{source=\"10.0.1.1" DEST "foreign\"}", 3);
    HAS(t, "lastack_ports{source=\"10.0.1.1" DEST "time_wait\"}", 2);
    HAS(t, "lastack_ports{source=\"10.0.1.1" DEST "free\"}", 28232 - 19);
    HAS(t, "lastack_ports{source=\"10.0.1.2:20000-20099" DEST "free\"}", 100);
    /* What one of them counts does not go back when the other one is taken out. */
#define EXHAUSTED(labels) "lastack_ports_exhausted_total" labels ",source=\"10.0.1.1\",destination=\"10.0.0.11:8080\"}"
    HAS(t, EXHAUSTED(APP), 5);
    HAS(t, EXHAUSTED("{upstream=\"we\\\"ird\\\\na\\nme\",server=\"10.0.0.11:8080\""), 6);
    la_text_fini(&text);
}

/* What it counted under another name is not this one's. */
static void test_renamed(struct world *w)
{
    struct la_text text = {0};
    w->listener.before = la_sum_clients(w->client, WORKERS);
    la_stat_add(&w->client[0].accepted, 1);
    la_stat_add(&w->client[1].handshake[LA_HANDSHAKE_FULL], 2);
    la_stat_add(&w->client[1].proxy_bad, 3);
    la_metrics_write(&text, &w->state, NULL);
    HAS(text.p, "lastack_client_connections{listener=\"web\"}", 6);
    HAS(text.p, "lastack_clients_accepted_total{listener=\"web\"}", 1);
    HAS(text.p, "lastack_client_handshakes_total{listener=\"web\",result=\"full\"}", 2);
    HAS(text.p, "lastack_proxy_headers_total{listener=\"web\",result=\"good\"}", 0);
    HAS(text.p, "lastack_proxy_headers_total{listener=\"web\",result=\"bad\"}", 3);
    la_text_fini(&text);
}

static void test_clock_and_health(struct world *w)
{
    struct la_text text = {0};
    la_clock_announced(&w->server[0]->clock, 5000);
    atomic_store(&w->server[0]->health.check_down, true);
    la_metrics_write(&text, &w->state, NULL);
    HAS(text.p, "lastack_idle_reuse_seconds" APP "}", 4.5);
    HAS(text.p, "lastack_server_up" APP "}", 0);
    text.n = 0;
    la_status_write(&text, &w->state, NULL);
    CHECK(strcmp(json_value(text.p), "\n") == 0);
    CHECK(strstr(text.p, "\"in_force_ms\":4500,\"from\":\"announced\",\"announced_ms\":5000"));
    CHECK(strstr(text.p, "\"up\":false"));
    la_text_fini(&text);
}

static void test_status(struct world *w, const struct la_sampler *sampler)
{
    struct la_text text = {0};
    la_status_write(&text, &w->state, sampler);
    const char *t = text.p;
    CHECK(strcmp(json_value(t), "\n") == 0);
    CHECK(strstr(t, "\"version\":\"" LASTACK_VERSION "\""));
    CHECK(strstr(t, "\"name\":\"we\\\"ird\\\\na\\u000ame\""));
    CHECK(strstr(t, "\"connections\":{\"dialing\":0,\"busy\":4,\"idle\":2,"));
    CHECK(strstr(t, "\"queue\":{\"length\":9,\"max\":1024,\"timeout_ms\":5000,\"timeouts\":0}"));
    CHECK(strstr(t, "\"reuse_ratio\":0.95"));
    CHECK(strstr(t, "{\"by\":\"backend\",\"reason\":\"keepalive_timeout\",\"count\":10}"));
    CHECK(strstr(t, "\"errors\":{\"queue_timeout\":4}"));
    CHECK(strstr(t, "\"latency_recent\":{\"seconds\":1,\"count\":6,"));
    la_text_fini(&text);
}

/* A server that no upstream names any more is shown with what it counts, and with nothing that a configuration says of it. */
static void test_removed(struct world *w)
{
    struct la_text text = {0};
    la_stat_add(&w->server[2]->stats[0].opened[0], 3);
    la_stat_add(&w->server[2]->stats[0].closed[LA_CLOSE_GOODBYE], 2);
    la_stat_add(&w->server[2]->stats[0].code[200], 6);
    atomic_store(&w->server[2]->stats[1].state[0][LA_CONN_LEAVING], 1);
    w->snapshot.plans = 1;
    w->state.removed = &w->server[2];
    w->state.removed_n = 1;
    la_metrics_write(&text, &w->state, NULL);
    check_exposition(text.p);
#define GONE "{upstream=\"we\\\"ird\\\\na\\nme\",server=\"10.0.0.11:8080\""
    HAS(text.p, "lastack_connections" GONE ",source=\"10.0.1.1\",state=\"leaving\"}", 1);
    HAS(text.p, "lastack_connections_opened_total" GONE ",source=\"10.0.1.1\"}", 3);
    HAS(text.p, "lastack_connections_closed_total" GONE ",by=\"backend\",reason=\"goodbye\"}", 2);
    HAS(text.p, "lastack_requests_total" GONE ",code=\"200\"}", 6);
    CHECK(strstr(text.p, "lastack_pool_max" GONE) == NULL);
    text.n = 0;
    la_status_write(&text, &w->state, NULL);
    CHECK(strcmp(json_value(text.p), "\n") == 0);
    CHECK(strstr(text.p, "\"removed\":[{\"upstream\":\"we"));
    la_text_fini(&text);
}

/* The window is 60 s; another upstream under the old name starts it afresh; one that is gone is forgotten, and begins with what
 * it has when it returns. */
static void test_sampler(struct world *w)
{
    struct la_sampler *s = la_sampler_new();
    struct la_upstream_stats *u = w->plan[1].shared->stats;
    struct la_text text = {0};
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == 1);
    la_stat_add(&u->requests, 10);
    la_stat_add(&u->dials, 10);
    la_hist_record(&u->phase[LA_PHASE_TOTAL], 50000);
    la_sampler_tick(s, &w->state);
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == 0);
    for (int i = 0; i < 30; i++) {
        la_stat_add(&u->requests, 3);
        la_sampler_tick(s, &w->state);
    }
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == .9);
    for (int i = 0; i < 30; i++) /* the first minute's dials leave the window */
        la_sampler_tick(s, &w->state);
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == 1);
    la_status_write(&text, &w->state, s); /* the old request has left the recent latencies */
    CHECK(strstr(text.p, "\"latency_recent\":{\"seconds\":31,\"count\":0,"));
    struct la_upstream *first = w->plan[1].shared;
    w->plan[1].shared = la_upstream_new(ODD_NAME, LA_PROTO_HTTP, WORKERS);
    u = w->plan[1].shared->stats;
    la_stat_add(&u->requests, 400);
    la_stat_add(&u->dials, 100);
    la_sampler_tick(s, &w->state);
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == .75);
    la_stat_add(&u->dials, 400); /* more dials than requests: checks dial too */
    la_sampler_tick(s, &w->state);
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == 0);
    w->snapshot.plans = 1;
    la_sampler_tick(s, &w->state);
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == 1);
    w->snapshot.plans = 2;
    la_upstream_unref(&w->plan[1].shared);
    w->plan[1].shared = first;
    la_sampler_tick(s, &w->state);
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == 1);
    text.n = 0;
    la_status_write(&text, &w->state, s);
    CHECK(strstr(text.p, "\"latency_recent\":{\"seconds\":1,\"count\":0,"));
    la_stat_add(&first->stats->requests, 2);
    la_stat_add(&first->stats->dials, 1);
    la_sampler_tick(s, &w->state);
    CHECK(la_sampler_reuse_ratio(s, ODD_NAME) == .5);
    la_text_fini(&text);
    la_sampler_free(&s);
    CHECK(s == NULL);
}

int main(void)
{
    struct world w;
    struct la_sampler *sampler = la_sampler_new();
    test_empty();
    world_init(&w);
    fill(&w);
    la_sampler_tick(sampler, &w.state);
    test_metrics(&w, sampler);
    test_status(&w, sampler);
    test_clock_and_health(&w);
    test_renamed(&w);
    la_sampler_free(&sampler);
    world_fini(&w);
    world_init(&w);
    test_sampler(&w);
    world_fini(&w);
    world_init(&w);
    test_removed(&w);
    world_fini(&w);
    return TEST_DONE();
}
