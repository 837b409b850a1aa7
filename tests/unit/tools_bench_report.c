/* tools_bench_report.c: a made-up report in every form: the JSON says what the report holds, the page holds the JSON,
 * the histograms add up, and a comparison tells worse from not worse from not the same. */
#include "lastack/json_read.h"
#include "test.h"
#include "tools_bench_world.h"

#include <unistd.h>

typedef const struct la_json_value *value;

static struct world w;

static value get(value v, const char *first, const char *second)
{
    v = la_json_get(v, first);
    CHECK(v != NULL);
    if (second)
        v = la_json_get(v, second);
    CHECK(v != NULL);
    return v;
}

static void same(value v, double want)
{
    if (want < 0)
        CHECK_EQ(v->kind, LA_JSON_NULL);
    else
        CHECK(fabs(la_json_number(v, -1) - want) <= want * 1e-8);
}

/* The caller frees *tree. */
static char *written(struct la_json_value **tree)
{
    struct la_text t = {0};
    size_t at;
    bench_json(&w.r, &t);
    *tree = la_json_parse(t.p, &at);
    CHECK(*tree != NULL);
    return t.p;
}

static void quantiles(value v, const struct la_hist *h)
{
    same(get(v, "count", NULL), (double)h->count);
    same(get(v, "p50", NULL), (double)la_hist_quantile_us(h, 0.5));
    same(get(v, "p99", NULL), (double)la_hist_quantile_us(h, 0.99));
    same(get(v, "p99_99", NULL), (double)la_hist_quantile_us(h, 0.9999));
    same(get(v, "max", NULL), (double)la_hist_max_us(h));
}

static void heat(value rows, const struct bench_run *run)
{
    size_t s = 0;
    for (value row = rows->child; row; row = row->next, s++) {
        uint32_t level[LA_LOAD_LEVELS] = {0};
        size_t l = row->child ? (size_t)la_json_number(row->child, 0) : 0;
        for (value n = row->child ? row->child->next : NULL; n; n = n->next)
            level[l++] = (uint32_t)la_json_number(n, 0);
        CHECK(memcmp(level, run->heat[s], sizeof level) == 0);
    }
    for (; s < LA_LOAD_SLICES; s++)
        for (size_t l = 0; l < LA_LOAD_LEVELS; l++)
            CHECK_EQ(run->heat[s][l], 0);
}

static void every_run(value root)
{
    static const char *const stage[] = BENCH_STAGE_NAMES;
    value v = get(root, "runs", NULL)->child;
    for (size_t i = 0; i < w.r.runs; i++, v = v->next) {
        const struct bench_run *run = w.run[i];
        CHECK(strcmp(la_json_string(get(v, "stage", NULL), ""), stage[run->stage]) == 0);
        same(get(v, "size", NULL), run->size);
        same(get(v, "throughput", NULL), run->throughput);
        same(get(v, "rate", NULL), run->rate > 0 ? run->rate : -1);
        same(get(v, "failed", NULL), (double)run->failed);
        same(get(v, "hits", NULL), run->misses ? (double)run->hits : -1); /* none were asked for: unknown */
        same(get(v, "misses", NULL), run->misses ? (double)run->misses : -1);
        quantiles(get(v, "latency_us", NULL), run->latency_us);
        quantiles(get(v, "late_us", NULL), run->late_us);
        same(get(get(v, "split", "queue"), "mean_us", NULL), run->part_mean_us[BENCH_QUEUE]);
        same(get(get(v, "split", "proxy"), "p99_us", NULL), run->part_p99_us[BENCH_PROXY]);
        same(get(v, "connections", "utilisation"), 0.83 / 2);
        same(get(v, "connections", "opened"), run->blind ? -1 : (double)run->opened);
        same(get(v, "connections", "closed_by_backend"), run->blind ? -1 : (double)run->closed_by_backend);
        same(get(v, "connections", "closed_by_proxy"), run->blind ? -1 : (double)run->closed_by_proxy);
        same(get(v, "cpu_s", "backend"), run->backend_cpu_s);
        same(get(v, "ports", "open"), (double)run->ports_open);
        heat(get(v, "heat", "rows"), run);
    }
    CHECK(v == NULL);
}

static void every_size(value root)
{
    value v = get(root, "points", NULL)->child;
    for (size_t i = 0; i < w.r.points; i++, v = v->next) {
        struct la_hist *all = la_xcalloc(1, sizeof *all);
        for (size_t k = 0; k < w.r.runs; k++)
            if (w.run[k]->size == w.point[i].size && w.run[k]->stage == BENCH_SWEEP && !w.run[k]->cut)
                la_hist_add(all, w.run[k]->latency_us);
        same(get(v, "size", NULL), w.point[i].size);
        same(get(v, "runs", NULL), 3);
        same(get(v, "low", NULL), w.point[i].low);
        quantiles(get(v, "latency_us", NULL), all);
        CHECK(la_json_number(get(v, "p99_low_us", NULL), 0) <= la_json_number(get(v, "p99_high_us", NULL), 0));
        free(all);
    }
    CHECK(v == NULL);
}

static void json(void)
{
    struct la_json_value *root;
    char *text = written(&root);
    same(get(root, "version", NULL), BENCH_VERSION);
    CHECK(strcmp(la_json_string(get(root, "began", NULL), ""), "2026-11-21T16:53:20Z") == 0);
    CHECK(strcmp(la_json_string(get(root, "options", "seed"), ""), "18446744073709551615") == 0);
    CHECK(strcmp(la_json_string(get(get(root, "options", "load"), "headers", NULL), ""), WORLD_NASTY) == 0);
    CHECK_EQ(get(root, "options", "source")->kind, LA_JSON_NULL);
    CHECK(strcmp(la_json_string(get(root, "verdict", "reason"), ""), w.r.verdict.reason) == 0);
    CHECK(strcmp(la_json_string(get(root, "verdict", "notes")->child->next, ""), WORLD_NASTY) == 0);
    same(get(root, "verdict", "size"), 20);
    CHECK(la_json_number(get(root, "drift", NULL), 0) == -0.012);
    CHECK_EQ(get(get(root, "backends", NULL)->child->next, "limit", NULL)->kind, LA_JSON_NULL);
    CHECK(la_json_number(get(get(root, "environment", "cpu"), "count", NULL), 0) >= 1);
    CHECK(get(get(root, "environment", "sysctls"), "net.core.somaxconn", NULL)->kind == LA_JSON_STRING);
    every_run(root);
    every_size(root);
    la_json_free(root);
    free(text);
}

/* What is between the tags is the JSON, and nothing in it ends the element. */
static void html(void)
{
    static const char open[] = "<script type='application/json' id='report'>";
    struct la_json_value *root;
    struct la_text page = {0}, plain = {0};
    size_t at;
    char *text = written(&root);
    bench_html(text, &page);
    char *begin = strstr(page.p, open);
    CHECK(begin != NULL);
    begin += strlen(open);
    CHECK(memchr(begin, '<', strlen(begin)) == strstr(begin, "</script>\n<script>\n'use strict'"));
    char *embedded = la_xstrndup(begin, strcspn(begin, "<"));
    struct la_json_value *again = la_json_parse(embedded, &at);
    CHECK(again != NULL);
    CHECK(strcmp(la_json_string(get(again, "verdict", "notes")->child->next, ""), WORLD_NASTY) == 0);
    every_run(again);
    bench_html("{}", &plain);
    CHECK(strstr(plain.p, "://") == NULL && strstr(plain.p, "src=") == NULL);
    la_json_free(again);
    la_json_free(root);
    la_text_fini(&page);
    la_text_fini(&plain);
    free(embedded);
    free(text);
}

static void one_hdr(const char *path, const struct la_hist *all)
{
    char line[256];
    double ms, percentile, before = -1;
    unsigned long long count;
    unsigned rows = 0;
    FILE *f = fopen(path, "re");
    CHECK(f != NULL);
    CHECK(fgets(line, sizeof line, f) && strstr(line, "Value     Percentile TotalCount 1/(1-Percentile)"));
    CHECK(fgets(line, sizeof line, f) && strcmp(line, "\n") == 0);
    while (fgets(line, sizeof line, f) && line[0] != '#') {
        CHECK(sscanf(line, "%lf %lf %llu", &ms, &percentile, &count) == 3);
        CHECK(percentile > before && percentile <= 1);
        CHECK_EQ(count, la_hist_count_le(all, (uint64_t)llround(ms * 1000)));
        CHECK((double)count >= percentile * (double)all->count - 1e-6);
        CHECK_EQ(llround(ms * 1000), la_hist_quantile_us(all, ((double)count - 0.5) / (double)all->count));
        before = percentile;
        rows++;
    }
    CHECK(rows > 20 && percentile == 1 && count == all->count);
    CHECK(strstr(line, "#[Mean"));
    CHECK(fgets(line, sizeof line, f) && strstr(line, "#[Max"));
    CHECK(fgets(line, sizeof line, f) && strstr(line, "#[Buckets"));
    fclose(f);
}

static void hdr(void)
{
    char folder[] = "/tmp/bench_report.XXXXXX", path[64], name[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/lat.hgrm", folder);
    CHECK(bench_hdr(&w.r, path));
    for (size_t i = 0; i < w.r.points; i++) {
        struct la_hist *all = la_xcalloc(1, sizeof *all);
        for (size_t k = 0; k < w.r.runs; k++)
            if (w.run[k]->size == w.point[i].size && w.run[k]->stage == BENCH_SWEEP && !w.run[k]->cut)
                la_hist_add(all, w.run[k]->latency_us);
        snprintf(name, sizeof name, "%s/lat-%u.hgrm", folder, w.point[i].size);
        one_hdr(name, all);
        unlink(name);
        free(all);
    }
    CHECK(rmdir(folder) == 0); /* nothing else was written */
    CHECK(!bench_hdr(&w.r, path));
}

static int compare(const char *a, const char *b, const char *says)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    int verdict = bench_compare(a, b, f);
    fclose(f);
    CHECK(strstr(text, says) != NULL);
    free(text);
    return verdict;
}

static char *version_of(void (*change)(void), double slower)
{
    struct la_json_value *root;
    world_fini(&w);
    world_init(&w, slower);
    if (change)
        change();
    char *text = written(&root);
    la_json_free(root);
    return text;
}

static void other_path(void) { w.o.path = "/other"; }
static void other_upstream(void) { w.o.upstream = "127.0.0.1:9001"; }
static void other_protocol(void) { w.o.protocol = BENCH_FASTCGI; }
static void other_seconds(void) { w.o.seconds = 4; }
static void other_warmup(void) { w.o.warmup = 0; }
static void other_workers(void) { w.o.workers = 4; }
static void other_threads(void) { w.o.threads = 3; }
static void other_source(void) { w.o.source = "10.0.0.1,10.0.0.2"; }
static void no_sizes(void)
{
    w.r.points = 0;
    snprintf(w.r.failure, sizeof w.r.failure, "nobody answers");
}
static void other_cpu(void)
{
    char *count = strstr(w.r.environment.p, "\"count\":");
    CHECK(count != NULL);
    count[strlen("\"count\":")] = '9';
}
static void one_repeat(void)
{
    for (size_t i = 0; i < w.r.points; i++)
        w.point[i].low = w.point[i].high = -1;
    for (size_t i = 0; i < w.r.runs; i++)
        w.run[i]->cut |= w.run[i]->repeat > 0;
}
/* p99 alone gets worse, at one size: 64. */
static void slower_tail(void)
{
    for (size_t i = 0; i < w.r.runs; i++)
        for (uint64_t k = 0; w.run[i]->size == 64 && k < w.run[i]->done / 50; k++)
            la_hist_record(w.run[i]->latency_us, 8000 + k % 100);
}

static void comparisons(void)
{
    static const struct {
        void (*change)(void);
        double slower;
        int verdict;
        const char *says;
    } c[] = {
        {NULL, 1, 0, "not worse: 0 of 20"}, {NULL, 1.2, 1, "worse: "}, {NULL, 0.8, 0, "not worse: "},
        {slower_tail, 1, 1, "worse: 1 of 20"}, {other_path, 1, 2, "the load's path was /index?a=<b>&c, is /other"},
        {other_upstream, 1, 2, "the upstream was "}, {other_protocol, 1, 2, "the protocol was http, is fastcgi"},
        {other_seconds, 1, 2, "seconds a run was 3, is 4"}, {other_warmup, 1, 2, "the warm-up was 1, is 0"},
        {other_workers, 1, 2, "the number of workers was 2, is 4"}, {other_threads, 1, 2, "the number of threads was 1, is 3"},
        {other_source, 1, 2, "the source was nothing, is 10.0.0.1,10.0.0.2"}, {other_cpu, 1, 2, "the CPU's count was "},
        {no_sizes, 1, 2, "the new report has measured no size: nobody answers"}, {one_repeat, 1, 2, "twice or more"},
    };
    char *old = version_of(NULL, 1);
    for (size_t i = 0; i < la_count(c); i++) {
        char *now = version_of(c[i].change, c[i].slower);
        CHECK_EQ(compare(old, now, c[i].says), c[i].verdict);
        free(now);
    }
    CHECK_EQ(compare(old, "{}", "the new text is not a report"), 2);
    CHECK_EQ(compare("[1,", old, "the old report is not JSON at byte 3"), 2);
    free(old);
}

/* Before anything is measured: the load is known, sizes are not. Each difference is said before those that came earlier. */
static void comparable_beforehand(void)
{
    static const struct {
        void (*change)(void);
        const char *old, *says; /* old: NULL: the report of before */
    } c[] = {{NULL, NULL, ""}, {other_cpu, NULL, "the CPU's count was"}, {other_path, NULL, "the load's path was"},
             {other_upstream, NULL, "the upstream was"}, {NULL, "", "the old report is not JSON"}, {NULL, "{}", "the old text is not a report"},
             {NULL, "{\"version\":1,\"points\":[]}", "the old report has measured no size"}};
    struct la_json_value *root;
    char *old = written(&root);
    size_t runs = w.r.runs;
    w.r.points = w.r.runs = 0;
    for (size_t i = 0; i < la_count(c); i++) {
        struct la_text now = {0};
        char *said = NULL;
        size_t n = 0;
        FILE *f = open_memstream(&said, &n);
        if (c[i].change)
            c[i].change();
        bench_json(&w.r, &now);
        CHECK_EQ(bench_comparable(c[i].old ? c[i].old : old, now.p, f), i == 0);
        fclose(f);
        CHECK(strstr(said, c[i].says) != NULL && (i == 0) == (n == 0));
        free(said);
        la_text_fini(&now);
    }
    w.r.runs = runs;
    la_json_free(root);
    free(old);
}

static const char *row_of(const char *text, unsigned size)
{
    char label[16];
    snprintf(label, sizeof label, "\n  %8u ", size);
    return strstr(text, label);
}

/* The table's time split is the one of the JSON. */
static void same_split(const char *text)
{
    static const char *const part[] = BENCH_PART_NAMES;
    struct la_json_value *root;
    char *json = written(&root);
    for (value v = get(root, "points", NULL)->child; v; v = v->next) {
        unsigned size = (unsigned)la_json_number(get(v, "size", NULL), 0);
        char shown[BENCH_PARTS][16], wanted[16];
        const char *at = row_of(text, size);
        if (at == NULL) /* the chosen one has a mark before it */
            continue;
        CHECK(sscanf(at, "%*s %*s %*s %*s %*s %15s %15s %15s %15s", shown[0], shown[1], shown[2], shown[3]) == 4);
        for (size_t i = 0; i < la_count(part); i++) {
            double us = la_json_number(get(get(v, "split", part[i]), "mean_us", NULL), -1);
            snprintf(wanted, sizeof wanted, us < 0 ? "-" : "%.2f", us / 1000);
            CHECK(strcmp(shown[i], wanted) == 0);
        }
    }
    la_json_free(root);
    free(json);
}

/* What a run does not know takes no part in the mean of its size; what no run knows is a dash. */
static void view(void)
{
    char *text = NULL;
    size_t n = 0;
    FILE *terminal = stdout;
    for (size_t i = 0; i < w.r.runs; i++) {
        struct bench_run *run = w.run[i];
        if (run->size == 8 && run->repeat == 0) { /* it was quicker, and answered more */
            run->done *= 3;
            run->part_mean_us[BENCH_BACKEND] /= 2;
        }
        if (run->size == 2)
            run->part_mean_us[BENCH_CONNECT] = -1;
        if (run->size == 2 || (run->size == 4 && run->repeat == 0))
            run->busy = run->proxy_cpu_s = run->backend_cpu_s = -1;
    }
    stdout = open_memstream(&text, &n);
    bench_view_table(&w.r);
    fclose(stdout);
    stdout = terminal;
    same_split(text);
    struct {
        unsigned size;
        const char *busy, *proxy, *backend;
    } row[] = {{1, "0.8", "37%", "-"}, {2, "-", "-", "-"}, {4, "3.3", "37%", "80%"}, {8, "6.6", "37%", "80%"}};
    for (size_t i = 0; i < la_count(row); i++) {
        char busy[16], proxy[16], backend[16];
        const char *at = row_of(text, row[i].size);
        CHECK(at && sscanf(at, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %15s %15s %15s", busy, proxy, backend) == 3);
        CHECK(strcmp(busy, row[i].busy) == 0 && strcmp(proxy, row[i].proxy) == 0 && strcmp(backend, row[i].backend) == 0);
    }
    free(text);
}

static void levels(void)
{
    CHECK_EQ(la_load_level(0), 0);
    CHECK_EQ(la_load_level(UINT64_MAX), LA_LOAD_LEVELS - 1);
    for (unsigned l = 1; l < LA_LOAD_LEVELS; l++) {
        CHECK_EQ(la_load_level(la_load_level_low_us(l)), l);
        CHECK_EQ(la_load_level(la_load_level_low_us(l) - 1), l - 1);
    }
}

int main(void)
{
    levels();
    world_init(&w, 1);
    json();
    html();
    hdr();
    view();
    comparable_beforehand();
    comparisons();
    world_fini(&w);
    return TEST_DONE();
}
