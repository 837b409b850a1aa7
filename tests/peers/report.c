/* report.c: the bench's report of a made-up bench, in every form, for tests that look at them from outside.
 *
 *   report json|html SLOWER     prints it; the backend's service time is SLOWER times that of 1
 *   report hdr SLOWER PATH      writes PATH's files
 *   report none                 prints the HTML of a bench that measured nothing
 *   report page JSON            prints the HTML that draws this JSON file
 *   report compare OLD NEW      compares two JSON files; the exit status is the verdict */
#include "../unit/tools_bench_world.h"

static void take(struct la_text *t, const char *path)
{
    char buf[65536];
    FILE *f = fopen(path, "re");
    if (f == NULL)
        exit(3);
    for (size_t n; (n = fread(buf, 1, sizeof buf, f)) > 0;)
        la_text_add(t, buf, n);
    fclose(f);
    la_text_add(t, "", 0);
}

static int draw(struct la_text *json)
{
    struct la_text html = {0};
    bench_html(json->p, &html);
    fwrite(html.p, 1, html.n, stdout);
    la_text_fini(&html);
    la_text_fini(json);
    return 0;
}

static int made_up(const char *form, double slower, const char *path)
{
    static struct world w;
    struct la_text json = {0};
    int status = 0;
    world_init(&w, slower);
    bench_json(&w.r, &json);
    if (strcmp(form, "json") == 0)
        puts(json.p);
    else if (strcmp(form, "hdr") == 0)
        status = !bench_hdr(&w.r, path);
    else
        status = draw(&json);
    la_text_fini(&json);
    world_fini(&w);
    return status;
}

static int nothing(void)
{
    static struct bench_options o = {.upstream = "127.0.0.1:1"};
    static struct bench_report r = {.options = &o, .ports = -1, .interrupted = true};
    struct la_text json = {0};
    r.verdict.answer = BENCH_FAILED;
    snprintf(r.failure, sizeof r.failure, "127.0.0.1:1 does not answer: connection refused");
    bench_json(&r, &json);
    return draw(&json);
}

int main(int argc, char **argv)
{
    struct la_text a = {0}, b = {0};
    if (argc == 2 && strcmp(argv[1], "none") == 0)
        return nothing();
    if (argc == 3 && strcmp(argv[1], "page") == 0) {
        take(&a, argv[2]);
        return draw(&a);
    }
    if (argc == 4 && strcmp(argv[1], "compare") == 0) {
        take(&a, argv[2]);
        take(&b, argv[3]);
        int verdict = bench_compare(a.p, b.p, stdout);
        la_text_fini(&a);
        la_text_fini(&b);
        return verdict;
    }
    return argc > 2 ? made_up(argv[1], atof(argv[2]), argv[3]) : 3;
}
