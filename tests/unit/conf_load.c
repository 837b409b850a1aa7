/* Good configurations and the values they give: defaults, every type, short forms, anchors, includes, the
 * committed reference and examples, the schema; then the checks that look at this host. */
#include "lastack/conf.h"
#include "lastack/json.h"
#include "test.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void show(const struct la_conf_findings *f)
{
    for (size_t i = 0; i < f->n; i++)
        fprintf(stderr, "%s\n", f->item[i].text);
}

static struct la_conf *good(const char *text)
{
    struct la_conf_findings f = {0};
    struct la_conf *c = la_conf_load_text("f", la_slice_str(text), &f);
    show(&f);
    CHECK(c != NULL && f.n == 0);
    la_conf_findings_fini(&f);
    return c;
}

static bool is_address(const struct la_addr *a, const char *text)
{
    char buf[LA_ADDR_TEXT];
    return strcmp(la_addr_text(a, buf), text) == 0;
}

static void defaults(void)
{
    struct la_conf *c =
        good("listen: [{ address: \":80\", upstream: app }]\nupstreams: { app: { servers: 10.0.0.1:80 } }\n");
    const struct la_conf_listen *l = &c->listen[0];
    const struct la_conf_upstream *u = &c->upstream[0];
    CHECK(c->workers == 0 && c->user == NULL && c->drain_timeout_ms == 30000 && c->admin.len == 0);
    CHECK(c->listens == 1 && strcmp(l->name, "0.0.0.0:80") == 0 && is_address(&l->address, "0.0.0.0:80"));
    CHECK(l->unix_mode == 0660 && l->backlog == 4096 && l->protocol == LA_PROTO_HTTP &&
          !l->client_half_close_serve);
    CHECK(l->handshake_ms == 10000 && l->head_ms == 10000 && l->body_ms == 30000 && l->min_rate == 500);
    CHECK(l->keepalive_ms == 60000 && l->write_ms == 60000 && l->accept_proxies == 0);
    CHECK(l->pos.line == 1 && l->pos.column == 10 && strcmp(l->pos.file, "f") == 0);
    CHECK(c->upstreams == 1 && strcmp(u->name, "app") == 0 && u->protocol == LA_PROTO_HTTP &&
          u->pos.line == 2);
    CHECK(u->balance == LA_BALANCE_LEAST_CONNECTIONS && u->hash_header == NULL && u->sources == 0);
    CHECK(u->servers == 1 && u->server[0].weight == 1 && !u->server[0].backup && !u->server[0].drain);
    CHECK(la_conf_tunnels(u, 200) == 100 && la_conf_tunnels(u, 1) == 1);
    CHECK(u->pool.max == 64 && u->pool.tunnels == 32 && u->pool.idle_reuse_ms == LA_AUTO &&
          u->pool.idle_close_ms == LA_AUTO);
    CHECK(u->pool.max_requests == 0 && u->pool.max_age_ms == 0 && u->pool.goodbye_ms == 1000 &&
          u->pool.abort_wait_ms == 5000);
    CHECK(u->pool.drain_max_bytes == 65536 && u->queue.length == 1024 && u->queue.timeout_ms == 5000);
    CHECK(u->timeouts.connect_ms == 1000 && u->timeouts.send_ms == 30000 && u->timeouts.response_ms == 60000);
    CHECK(u->timeouts.tunnel_ms == 3600000 && u->timeouts.user_ms == 20000);
    CHECK(u->buffer.request_mode == LA_REQUEST_BUFFER && u->buffer.request_bytes == 65536 &&
          u->buffer.response_bytes == 262144);
    CHECK(u->buffer.response_file_bytes == 1ull << 30 && strcmp(u->buffer.dir, "/var/tmp") == 0 &&
          u->retry_max == 1);
    CHECK(u->health.path == NULL && u->health.host == NULL && u->health.interval_ms == 5000 &&
          u->health.timeout_ms == 1000);
    CHECK(u->health.unhealthy == 3 && u->health.healthy == 1);
    CHECK(u->passive.failures == 3 && u->passive.out_ms == 1000 && u->passive.out_max_ms == 30000);
    CHECK(u->sets == 0 && u->removes == 0 && c->routes == 0);
    CHECK(c->forwarded.mode == LA_FORWARDED_X && c->forwarded.trusts == 0);
    CHECK(c->resolver.servers == 0 && c->resolver.max_ttl_ms == 30000);
    CHECK(c->log.level == LA_LOG_INFO && c->log.format == LA_FORMAT_JSON && c->log.access == NULL &&
          c->log.error == NULL);
    CHECK(c->limits.header_bytes == 32768 && c->limits.headers == 128 && c->limits.clients == LA_AUTO);
    CHECK(c->limits.clients_per_address == 0 && c->limits.body == 0 && c->limits.memory == 1ull << 30);
    CHECK(c->limits.disk == 10ull << 30 && c->file_count == 1 && strcmp(c->files[0], "f") == 0);
    la_conf_free(c);
    la_conf_free(NULL);
}

static void check_app(const struct la_conf *c)
{
    const struct la_conf_upstream *u = &c->upstream[0];
    CHECK_EQ(u->servers, 4);
    CHECK(is_address(&u->server[0].address, "10.0.0.11:8080") && u->server[0].weight == 2 &&
          u->server[0].port == 8080);
    CHECK(strcmp(u->server[0].text, "10.0.0.11:8080") == 0 && u->server[0].slow_start_ms == 0);
    CHECK(is_address(&u->server[1].address, "[fd00::1]:80") && u->server[1].weight == 1 &&
          u->server[1].backup);
    CHECK(is_address(&u->server[2].address, "unix:/run/a.sock") && u->server[2].host == NULL &&
          u->server[2].port == 0);
    CHECK(u->server[3].address.len == 0 && strcmp(u->server[3].host, "app.internal") == 0 &&
          u->server[3].port == 81);
    CHECK(u->server[3].drain && strcmp(u->server[3].text, "app.internal:81") == 0);
    CHECK_EQ(u->sources, 3);
    CHECK(is_address(&u->source[0].address, "10.0.1.1:0") && u->source[0].port_low == 0 &&
          u->source[0].port_high == 0);
    CHECK(is_address(&u->source[1].address, "10.0.1.2:0") && u->source[1].port_low == 20000 &&
          u->source[1].port_high == 29999);
    CHECK(strcmp(u->source[1].text, "10.0.1.2:20000-29999") == 0);
    CHECK(is_address(&u->source[2].address, "[fd00::9]:0") && u->source[2].port_low == 1024 &&
          u->source[2].port_high == 65535);
    CHECK(u->balance == LA_BALANCE_HASH && strcmp(u->hash_header, "X-Key") == 0);
    CHECK(u->pool.max == 1 && u->pool.tunnels == 1 && u->pool.idle_reuse_ms == 4500 &&
          u->pool.idle_close_ms == 60000);
    CHECK(u->buffer.request_mode == LA_REQUEST_STREAM && u->buffer.request_bytes == 8192 &&
          u->buffer.response_file_bytes == 0);
    CHECK(strcmp(u->health.path, "/h?x=1") == 0 && strcmp(u->health.host, "h.internal") == 0);
    CHECK(u->sets == 2 && strcmp(u->set[0].name, "Host") == 0 && strcmp(u->set[0].value, "x.example") == 0);
    CHECK(strcmp(u->set[1].name, "X-Empty") == 0 && strcmp(u->set[1].value, "") == 0);
    CHECK(u->removes == 2 && strcmp(u->remove[1], "X-B") == 0);
}

static void slow_start(void)
{
    struct la_conf *c = good("listen: [{ address: \":80\", upstream: app }]\n"
                             "upstreams: { app: { servers: [{ address: 10.0.0.1:80, slow_start: 1m30s }] } }\n");
    CHECK(c->upstream[0].server[0].slow_start_ms == 90000);
    la_conf_free(c);
}

static void every_type(void)
{
    struct la_conf *c =
        good("workers: 4\nuser: nobody\ndrain_timeout: 0\n"
             "listen:\n"
             "  - { name: web, address: \"[::]:8080\", client_half_close: serve, timeouts: { keepalive: 0, "
             "min_rate: 1k } }\n"
             "  - { name: sock, address: unix:/run/l.sock, mode: \"600\", backlog: 5 }\n"
             "admin: { address: 127.0.0.1:9900 }\n"
             "upstreams:\n"
             "  app:\n"
             "    servers:\n"
             "      - { address: 10.0.0.11:8080, weight: 2 }\n"
             "      - { address: \"[fd00::1]:80\", backup: yes }\n"
             "      - unix:/run/a.sock\n"
             "      - { address: app.internal:81, drain: true }\n"
             "    source: [10.0.1.1, 10.0.1.2:20000-29999, \"[fd00::9]:1024-65535\"]\n"
             "    balance: hash\n"
             "    hash_key: header:X-Key\n"
             "    pool: { max: 1, idle_reuse: 4500ms, idle_close: 1m }\n"
             "    buffer: { request_mode: stream, request: 8KiB, response_file: 0 }\n"
             "    health: { path: /h?x=1, host: h.internal }\n"
             "    request_headers: { set: { Host: x.example, X-Empty: \"\" }, remove: [X-A, X-B] }\n"
             "    send_proxy: off\n"
             "routes:\n"
             "  - { host: \"*.Example.COM.\", path: /a/b, upstream: app, listen: [web, sock], upgrade: "
             "[websocket],\n"
             "      timeouts: { response: 10s } }\n"
             "  - { upstream: app }\n"
             "forwarded: { mode: both, trust: [10.0.0.0/8, \"::1\"] }\n"
             "resolver: { servers: [10.0.0.2, \"[fd00::2]:5353\"], max_ttl: 5s }\n"
             "log: { level: debug, format: combined, access: stdout, error: /tmp/x.log }\n"
             "limits: { clients: 1000, body: 10MiB }\n");
    check_app(c);
    CHECK(c->workers == 4 && strcmp(c->user, "nobody") == 0 && c->drain_timeout_ms == 0 &&
          is_address(&c->admin, "127.0.0.1:9900"));
    CHECK(c->listens == 2 && strcmp(c->listen[0].name, "web") == 0 && c->listen[0].client_half_close_serve);
    CHECK(c->listen[0].keepalive_ms == 0 && c->listen[0].min_rate == 1024 && c->listen[0].upstream == NULL);
    CHECK(c->listen[1].unix_mode == 0600 && c->listen[1].backlog == 5 &&
          is_address(&c->listen[1].address, "unix:/run/l.sock"));
    CHECK(c->routes == 2 && strcmp(c->route[0].host, "*.example.com") == 0 &&
          strcmp(c->route[0].path, "/a/b") == 0);
    CHECK(c->route[0].listens == 2 && strcmp(c->route[0].listen[1], "sock") == 0 &&
          c->route[0].upgrade_websocket);
    CHECK(c->route[0].response_ms == 10000 && c->route[1].response_ms == 0 && !c->route[1].upgrade_websocket);
    CHECK(strcmp(c->route[1].host, "*") == 0 && strcmp(c->route[1].path, "/") == 0 &&
          c->route[1].listens == 0);
    CHECK(c->forwarded.mode == LA_FORWARDED_BOTH && c->forwarded.trusts == 2 &&
          c->forwarded.trust[0].bits == 8);
    CHECK(c->resolver.servers == 2 && is_address(&c->resolver.server[0], "10.0.0.2:53") &&
          c->resolver.max_ttl_ms == 5000);
    CHECK(is_address(&c->resolver.server[1], "[fd00::2]:5353"));
    CHECK(c->log.level == LA_LOG_DEBUG && c->log.format == LA_FORMAT_COMBINED &&
          strcmp(c->log.access, "stdout") == 0);
    CHECK(strcmp(c->log.error, "/tmp/x.log") == 0 && c->limits.clients == 1000 && c->limits.body == 10 << 20);
    const struct la_conf_pos *pos = la_conf_where(c, "upstreams.%s.pool.max", "app");
    CHECK(pos && pos->line == 18 && pos->column == 18);
    pos = la_conf_where(c, "upstreams.app.pool.max_age"); /* not there: its parent's place */
    CHECK(pos && pos->line == 18 && pos->column == 5);
    CHECK(la_conf_where(c, "listen[1].name")->line == 6 && la_conf_where(c, "nothing") == NULL);
    la_conf_free(c);
}

static void anchors(void)
{
    struct la_conf *c = good(
        "x-pool: &p { max: 7, max_requests: 100 }\nx-times: &t { connect: 2s }\n"
        "listen: [{ address: \":80\", upstream: a }, { address: \":81\", upstream: b }]\n"
        "upstreams:\n"
        "  a: { servers: &s [10.0.0.1:80], pool: *p, timeouts: { <<: *t, send: 3s } }\n"
        "  b: { servers: [10.0.0.2:80], pool: { <<: *p, max: 8 }, timeouts: { <<: [*t, { send: 4s }] } }\n");
    CHECK(c->upstream[0].pool.max == 7 && c->upstream[0].pool.max_requests == 100 &&
          c->upstream[0].timeouts.connect_ms == 2000);
    CHECK(c->upstream[1].pool.max == 8 && c->upstream[1].pool.max_requests == 100 &&
          c->upstream[1].timeouts.send_ms == 4000);
    CHECK(c->upstream[0].timeouts.send_ms == 3000 && c->upstream[1].timeouts.connect_ms == 2000);
    la_conf_free(c);
}

/* ---- files ---- */

static char dir[] = "/tmp/lastack-conf-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", dir, name);
    return path[next];
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(in_dir(name), "w");
    CHECK(f != NULL && fputs(text, f) >= 0);
    CHECK(fclose(f) == 0);
}

/* The findings of a file, one a line, without the directory in front. */
static char *load_file(const char *name, struct la_conf **c, bool host)
{
    struct la_conf_findings f = {0};
    struct la_text all = {0};
    *c = la_conf_load(in_dir(name), &f);
    if (*c && host)
        la_conf_check_host(*c, &f);
    la_text_add(&all, "", 0);
    for (size_t i = 0; i < f.n; i++) {
        const char *p = f.item[i].text;
        la_text_addf(&all, "%s%s", i ? "\n" : "", f.item[i].warning ? "-" : "");
        while (*p) { /* without the name of the directory */
            bool here = strncmp(p, dir, strlen(dir)) == 0 && p[strlen(dir)] == '/';
            p += here ? strlen(dir) + 1 : 0;
            la_text_add(&all, p++, 1);
        }
    }
    la_conf_findings_fini(&f);
    return all.p;
}

static void expect(const char *name, bool host, const char *text)
{
    struct la_conf *c;
    char *got = load_file(name, &c, host);
    if (strcmp(got, text) != 0)
        fprintf(stderr, "expected:\n%s\ngot:\n%s\n", text, got);
    CHECK(strcmp(got, text) == 0);
    la_conf_free(c);
    free(got);
}

static void includes(void)
{
    struct la_conf *c;
    CHECK(mkdir(in_dir("d"), 0700) == 0 && mkdir(in_dir("e"), 0700) == 0);
    put("main.yaml", "include: [d/*.yaml, none/*.yaml]\nlisten: [{ name: web, address: \":80\" }]\n"
                     "upstreams: { app: { servers: [10.0.0.1:80] } }\nroutes: [{ upstream: app }]\n");
    put("d/b.yaml", "upstreams:\n  b: { servers: [10.0.0.2:80] }\nroutes:\n  - { path: /b, upstream: b }\n");
    put("d/a.yaml", "listen: [{ name: a, address: \":81\", upstream: b }]\n");
    put("d/empty.yaml", "# nothing\n");
    put("d/ignored.txt", "{");
    char *got = load_file("main.yaml", &c, false);
    if (got[0])
        fprintf(stderr, "%s\n", got);
    CHECK(c && got[0] == 0);
    CHECK(c->file_count == 4 && strstr(c->files[1], "/d/a.yaml") && strstr(c->files[2], "/d/b.yaml"));
    CHECK(c->listens == 2 && strcmp(c->listen[1].name, "a") == 0 && c->upstreams == 2 && c->routes == 2);
    CHECK(strcmp(c->route[1].path, "/b") == 0 && strstr(c->upstream[1].pos.file, "/d/b.yaml") &&
          c->upstream[1].pos.line == 2);
    CHECK(la_conf_where(c, "routes[1].path")->line == 4);
    la_conf_free(c);
    free(got);
    put("bad.yaml", "include: [e/*.yaml, bad.yaml, e/x.yaml, gone.yaml, {}]\nlisten: [{ address: \":80\", "
                    "upstream: app }]\n"
                    "upstreams: { app: { servers: [10.0.0.1:80] } }\n");
    put("e/x.yaml",
        "workers: 3\ninclude: x.yaml\nupstreams: { app: { servers: [10.0.0.1:80], pool: { max: x } } }\n");
    put("e/y.yaml", "listen: [\n");
    expect("bad.yaml", false,
           "bad.yaml:1:21: include: bad.yaml includes itself\n"
           "bad.yaml:1:31: include: e/x.yaml is included twice\n"
           "bad.yaml:1:41: include: gone.yaml: No such file or directory\n"
           "bad.yaml:1:52: include: must be a file pattern such as conf.d/*.yaml\n"
           "e/x.yaml:1:1: workers: not allowed in an included file, which may hold listen, upstreams and "
           "routes\n"
           "e/x.yaml:2:1: include: not allowed in an included file, which may hold listen, upstreams and "
           "routes\n"
           "e/x.yaml:3:58: upstreams.app.pool.max: \"x\" is not a whole number, must be from 1 to 65535\n"
           "e/y.yaml:2:1: YAML: did not find expected node content");
    put("twice.yaml", "include: f.yaml\nlisten: [{ address: \":80\", upstream: app }]\nupstreams: { app: { "
                      "servers: [10.0.0.1:80] } }\n");
    put("f.yaml", "upstreams: { app: { servers: [10.0.0.2:80] } }\n");
    struct la_conf_findings f = {0};
    CHECK(la_conf_load(in_dir("twice.yaml"), &f) == NULL);
    CHECK(f.errors == 1 &&
          strstr(f.item[0].text,
                 "f.yaml:1:14: upstreams.app: there is an upstream of this name already, in line 3 of "));
    la_conf_findings_fini(&f);
    expect("nofile.yaml", false, "nofile.yaml:1:1: cannot be read: No such file or directory");
    expect("d", false, "d:1:1: cannot be read: Is a directory");
    CHECK(mkfifo(in_dir("fifo"), 0600) == 0); /* must not block */
    put("fifo.yaml", "include: fifo\n");
    expect("fifo.yaml", false, "fifo.yaml:1:10: include: fifo: Invalid argument");
}

static void host(void)
{
    char text[2048];
    put("plain", "");
    snprintf(text, sizeof text,
             "user: no-such-user-here\n"
             "listen:\n"
             "  - { address: 192.0.2.1:8080, upstream: app }\n"
             "  - { address: unix:%s/nodir/s, upstream: app }\n"
             "  - { address: unix:%s/plain, upstream: app }\n"
             "  - { address: 127.0.0.1:18080, upstream: app }\n"
             "upstreams:\n"
             "  app:\n"
             "    servers: [10.0.0.1:80, \"[2001:db8::1]:80\"]\n"
             "    source: [127.0.0.1, 192.0.2.7, \"2001:db8::7\", \"2001:db8::8\"]\n"
             "    buffer: { dir: %s/plain }\n"
             "log: { access: %s/nodir/a.log, error: %s }\n",
             dir, dir, dir, dir, dir);
    put("host.yaml", text);
    char *wanted;
    struct la_conf *c;
    char *got = load_file("host.yaml", &c, true);
    wanted = la_xasprintf(
        "host.yaml:1:7: user: there is no user \"no-such-user-here\" on this host\n"
        "host.yaml:3:16: listen[0].address: 192.0.2.1 is not an address of this host; see `ip address`, or if it moves between hosts set "
        "net.ipv4.ip_nonlocal_bind\n"
        "host.yaml:4:16: listen[1].address: no socket can be made in nodir: No such file or directory\n"
        "host.yaml:5:16: listen[2].address: plain is there already and is not a socket\n"
        "-host.yaml:10:25: upstreams.app.source[1]: 192.0.2.7 is not an address of this host: until it is, connections go over the other "
        "sources; see `ip address`\n"
        "host.yaml:10:36: upstreams.app.source[2]: 2001:db8::7 is not an address of this host; see `ip address`\n"
        "host.yaml:10:51: upstreams.app.source[3]: 2001:db8::8 is not an address of this host; see `ip address`\n"
        "host.yaml:11:20: upstreams.app.buffer.dir: plain: not a directory; bodies are buffered there\n"
        "host.yaml:12:16: log.access: no file can be made in nodir: No such file or directory\n"
        "host.yaml:12:%zu: log.error: %s is a directory, must be a file",
        strlen("log: { access: ") + strlen(dir) + strlen("/nodir/a.log, error: ") + 1, dir);
    if (strcmp(got, wanted) != 0)
        fprintf(stderr, "expected:\n%s\ngot:\n%s\n", wanted, got);
    CHECK(c != NULL && strcmp(got, wanted) == 0);
    la_conf_free(c);
    free(got);
    free(wanted);
    put("fine.yaml",
        "listen: [{ address: 127.0.0.1:18080, upstream: app }]\nadmin: { address: \"127.0.0.1:18081\" }\n"
        "upstreams: { app: { servers: [10.0.0.1:80], source: 127.0.0.1, buffer: { dir: /tmp } } }\nlog: { "
        "access: stdout }\n");
    expect("fine.yaml", true, "");
}

/* Only those that files are sent from: what php-fpm alone reads may be on another host. */
static void folders(void)
{
    char text[2048];
    put("plain", "");
    snprintf(text, sizeof text,
             "listen: [{ address: 127.0.0.1:18080, upstream: app }, { address: 127.0.0.1:18081, upstream: far }]\n"
             "upstreams:\n"
             "  app:\n"
             "    protocol: fastcgi\n"
             "    servers: [10.0.0.1:80]\n"
             "    fastcgi: { root: %s/gone, sendfile: [%s/plain, %s], internal: [{ path: /p/, root: %s/plain }, { path: /q/, root: %s }] }\n"
             "  far: { protocol: fastcgi, servers: [10.0.0.2:80], fastcgi: { root: %s/plain, files: false } }\n",
             dir, dir, dir, dir, dir, dir);
    put("folders.yaml", text);
    char *wanted = la_xasprintf("-folders.yaml:6:22: upstreams.app.fastcgi.root: gone: No such file or directory; nothing is found there\n"
                                "folders.yaml:6:%zu: upstreams.app.fastcgi.internal[0].root: plain: not a directory\n"
                                "folders.yaml:6:%zu: upstreams.app.fastcgi.sendfile[0]: plain: not a directory",
                                strlen("    fastcgi: { root: /gone, sendfile: [/plain, ], internal: [{ path: /p/, root: ") + 3 * strlen(dir) + 1,
                                strlen("    fastcgi: { root: /gone, sendfile: [") + strlen(dir) + 1);
    expect("folders.yaml", true, wanted);
    free(wanted);
}

/* With pool.auto its largest size is what ports and descriptors must be there for. */
static void host_of_a_range(void)
{
    struct la_conf *c;
    struct rlimit limit = {1024, 4096};
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    put("range.yaml", "listen: [{ address: 127.0.0.1:18080, upstream: app }]\n"
                      "upstreams: { app: { servers: [10.0.0.1:80], source: 127.0.0.1, pool: { max: 4, auto: [4, 64000] } } }\n");
    char *got = load_file("range.yaml", &c, true);
    CHECK(strstr(got, "-range.yaml:2:80: upstreams.app.pool.auto: 64000 connections to a server need as many ports, but 1 sources have "));
    CHECK(strstr(got, "upstreams: clients and pools may need 64065 descriptors, but the limit is 4096"));
    la_conf_free(c);
    free(got);
}

/* ---- what is committed ---- */

/* Standard output of print() as a text; to be freed. */
static char *captured(void (*print)(void))
{
    char *text = la_xcalloc(1, 1 << 20);
    fflush(stdout);
    int keep = dup(STDOUT_FILENO), file = open(in_dir("out"), O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(keep >= 0 && file >= 0 && dup2(file, STDOUT_FILENO) >= 0);
    print();
    fflush(stdout);
    CHECK(dup2(keep, STDOUT_FILENO) >= 0);
    CHECK(pread(file, text, (1 << 20) - 1, 0) > 0);
    close(keep);
    close(file);
    return text;
}

static char *read_text(const char *path)
{
    char *text = la_xcalloc(1, 1 << 20);
    FILE *f = fopen(path, "r");
    CHECK(f != NULL && fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static void loads_cleanly(const char *path)
{
    struct la_conf_findings f = {0};
    struct la_conf *c = la_conf_load(path, &f);
    show(&f);
    CHECK(c != NULL && f.n == 0);
    la_conf_free(c);
    la_conf_findings_fini(&f);
}

static void committed(void)
{
    char *now = captured(la_conf_print_reference),
         *then = read_text(LASTACK_SOURCE_DIR "/conf/reference.yaml");
    if (strcmp(now, then) != 0)
        fprintf(stderr, "conf/reference.yaml is stale: print it anew\n");
    CHECK(strcmp(now, then) == 0);
    free(now);
    free(then);
    loads_cleanly(LASTACK_SOURCE_DIR "/conf/reference.yaml");
    loads_cleanly(LASTACK_SOURCE_DIR "/conf/examples/minimal.yaml");
    loads_cleanly(LASTACK_SOURCE_DIR "/conf/examples/full.yaml");
    loads_cleanly(LASTACK_SOURCE_DIR "/conf/examples/php-fpm.yaml");
    loads_cleanly(LASTACK_SOURCE_DIR "/conf/examples/memcached.yaml");
}

/* The reference says what the table says: loading it gives what an empty configuration has. */
static void reference_is_default(void)
{
    struct la_conf_findings f = {0};
    struct la_conf *r = la_conf_load(LASTACK_SOURCE_DIR "/conf/reference.yaml", &f);
    struct la_conf *c =
        good("listen: [{ address: \"127.0.0.1:8080\" }]\nupstreams: { app: { servers: 127.0.0.1:8081 } }\n"
             "routes: [{ upstream: app }]\n");
    CHECK(r != NULL);
    CHECK(memcmp(&r->limits, &c->limits, sizeof c->limits) == 0 &&
          r->drain_timeout_ms == c->drain_timeout_ms);
    CHECK(memcmp(&r->upstream->pool, &c->upstream->pool, sizeof c->upstream->pool) == 0);
    CHECK(memcmp(&r->upstream->timeouts, &c->upstream->timeouts, sizeof c->upstream->timeouts) == 0);
    CHECK(memcmp(&r->upstream->passive, &c->upstream->passive, sizeof c->upstream->passive) == 0);
    CHECK(memcmp(&r->upstream->queue, &c->upstream->queue, sizeof c->upstream->queue) == 0);
    CHECK(r->listen->keepalive_ms == c->listen->keepalive_ms && r->listen->min_rate == c->listen->min_rate);
    CHECK(r->resolver.servers == 0 && r->log.access == NULL && r->log.error == NULL &&
          r->log.level == c->log.level);
    la_conf_free(r);
    la_conf_free(c);
    la_conf_findings_fini(&f);
}

static void schema(void)
{
    char *text = captured(la_conf_print_schema);
    int depth = 0;
    bool quoted = false;
    CHECK(strncmp(text, "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\"", 56) == 0);
    for (const char *p = text; *p; p++) {
        if (quoted && *p == '\\')
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (!quoted)
            depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
    }
    CHECK(depth == 0 && !quoted);
    CHECK(strstr(text, "\"idle_reuse\":{") &&
          strstr(text, "\"enum\":[\"round_robin\",\"least_connections\",\"hash\"]"));
    CHECK(strstr(text, "\"auto\":{\"type\":\"array\""));
    free(text);
}

/* What depends on other values of a memcached upstream. */
static void memcached_defaults(void)
{
    static const struct {
        const char *keys;
        enum la_distribution distribution;
        enum la_keyhash hash;
    } cases[] = {
        {"{}", LA_MODULA, LA_HASH_ONE_AT_A_TIME},
        {"{ hash: crc32 }", LA_MODULA, LA_HASH_CRC32},
        {"{ distribution: ketama }", LA_KETAMA, LA_HASH_MD5},
        {"{ distribution: ketama_unweighted, hash: md5 }", LA_KETAMA_UNWEIGHTED, LA_HASH_ONE_AT_A_TIME},
        {"{ distribution: ketama_unweighted, hash: md5, key_hash: md5 }", LA_KETAMA_UNWEIGHTED, LA_HASH_MD5},
        {"{ distribution: jump, hash: fnv1a_64 }", LA_JUMP, LA_HASH_FNV1A_64},
    };
    for (size_t i = 0; i < la_count(cases); i++) {
        char text[512];
        struct la_conf_findings f = {0};
        snprintf(text, sizeof text,
                 "workers: 3\nlisten: [{ address: \":1\", protocol: memcached, upstream: c }]\n"
                 "upstreams: { c: { protocol: memcached, servers: [\"10.0.0.1:11211\"], memcached: %s } }\n",
                 cases[i].keys);
        struct la_conf *c = la_conf_load_text("f", la_slice_str(text), &f);
        CHECK(c != NULL && f.n == 0);
        CHECK_EQ(c->upstream[0].memcached.distribution, cases[i].distribution);
        CHECK_EQ(c->upstream[0].memcached.hash, cases[i].hash);
        CHECK_EQ(c->upstream[0].pool.max, 3);
        CHECK_EQ(c->upstream[0].timeouts.response_ms, 1000);
        CHECK_EQ(c->listen[0].keepalive_ms, 24 * 3600 * 1000);
        la_conf_findings_fini(&f);
        la_conf_free(c);
    }
}

int main(void)
{
    CHECK(mkdtemp(dir) != NULL);
    memcached_defaults();
    defaults();
    slow_start();
    every_type();
    anchors();
    includes();
    host();
    folders();
    host_of_a_range();
    committed();
    reference_is_default();
    schema();
    char *command = la_xasprintf("rm -rf '%s'", dir);
    CHECK(system(command) == 0);
    free(command);
    CHECK(strcmp(la_protocol_name(LA_PROTO_FASTCGI), "fastcgi") == 0);
    return TEST_DONE();
}
