/* conf_bad.h: configurations with one thing wrong, and the exact lines that must come out. APP, LISTEN and ROUTES
 * wrap a piece of an upstream, of the listeners or of the routes into a file that is fine otherwise. "-" before an expected line: a warning. */
#ifndef LASTACK_CONF_BAD_H
#define LASTACK_CONF_BAD_H

/* 3 lines before; `a` starts in line 4. */
#define APP(a) "listen: [{ address: \"127.0.0.1:80\", upstream: app }]\nupstreams:\n  app:\n" a
/* 2 lines before; the first listener's keys start in line 3. */
#define LISTEN(l) "upstreams: { app: { servers: [\"10.0.0.1:80\"] } }\nlisten:\n" l
#define SERVERS "    servers: [\"10.0.0.1:80\"]\n"
/* Ten fields. */
#define TEN(x) x "0: 1, " x "1: 1, " x "2: 1, " x "3: 1, " x "4: 1, " x "5: 1, " x "6: 1, " x "7: 1, " x "8: 1, " x "9: 1, "
/* 2 lines before. */
#define ROUTES(r) "upstreams: { app: { servers: [\"10.0.0.1:80\"] } }\nlisten: [{ name: web, address: \":80\" }]\nroutes:\n" r

static const struct {
    const char *text, *expect;
} bad[] = {
    /* YAML itself */
    {"listen: [", "f:2:1: YAML: did not find expected node content"},
    {"a: b: c", "f:1:5: YAML: mapping values are not allowed in this context: check the indentation, and quote a value that holds \": \""},
    {"listen:\n\t- a", "f:2:1: YAML: found character that cannot start any token: indent with spaces, not with tabs"},
    {"a: \xff", "f:1:4: not UTF-8 text: invalid leading UTF-8 octet"},
    {LISTEN("  - address: [::1]:80\n"),
     "f:3:15: YAML: did not find expected node content: an address in brackets must be quoted, such as \"[::1]:80\""},
    {LISTEN("  - address: [fd00::1]:80\n"),
     "f:3:23: YAML: did not find expected key: an address in brackets must be quoted, such as \"[::1]:80\""},
    {LISTEN("  - address: [fd00::1]\n    upstream: app\n"),
     "f:3:5: listen[0].address: is a list because of its brackets; quote it: \"[fd00::1]\""},
    {ROUTES("  - { host: *, upstream: app }\n"),
     "f:4:14: YAML: did not find expected alphabetic or numeric character: a value that starts with * must be quoted, such as \"*\""},
    {ROUTES("  - { host: *x, upstream: app }\n"),
     "f:4:13: *x: no such anchor above; a text that starts with * must be quoted, such as \"*x\""},
    {"a: 1\n---\nb: 1\n", "f:2:1: a second document starts here; one file holds one document"},
    {APP(SERVERS "    retry: !x { max: 1 }\n"), "f:5:12: tags such as !x are not supported, write the value without it"},
    {APP(SERVERS "    buffer: { dir: \"/a\\nb\" }\n"), "f:5:20: upstreams.app.buffer.dir: a value must not hold control characters or line breaks"},
    {APP("    servers: [{ address: \"10.0.0.1:80\" }, \"a\\tb:1\"]\n    request_headers: { set: { X-A: \"a\\r\\nb\", \"X\\0\": 1 } }\n"),
     "f:4:43: upstreams.app.servers[1]: a value must not hold control characters or line breaks\n"
     "f:4:43: upstreams.app.servers[1]: \"a\": the port is missing, such as a:80\n"
     "f:5:36: upstreams.app.request_headers.set.X-A: a value must not hold control characters or line breaks\n"
     "f:5:46: upstreams.app.request_headers.set: a value must not hold control characters or line breaks"},
    {"? [a]\n: b\n", "f:1:3: a key must be a plain word, not a list or a mapping"},
    {"a: &a [*a]\n", "f:1:8: *a: no such anchor above; a text that starts with * must be quoted, such as \"*a\""},
    {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "f:1:25: nested too deeply"},
    {"x-a: &a [1]\n" APP(SERVERS "    <<: *a\n"), "f:6:5: << takes a mapping, or a list of mappings"},

    /* the shape of things */
    {"", "f:1:1: listen: missing, must be a list, each item a listener\n"
         "f:1:1: upstreams: missing, must be a mapping from names to an upstream each"},
    {"- a\n", "f:1:1: is a list, must be a mapping (lines of \"key: value\")\n"
              "f:1:1: listen: missing, must be a list, each item a listener\n"
              "f:1:1: upstreams: missing, must be a mapping from names to an upstream each"},
    {APP(SERVERS "    pool:\n      maxx: 1\n"), "f:6:7: upstreams.app.pool.maxx: unknown key, did you mean \"max\"?"},
    {APP(SERVERS "    Pool: {}\n"), "f:5:5: upstreams.app.Pool: unknown key, did you mean \"pool\"?"},
    {APP(SERVERS "    idle-reuse: 5s\n"),
     "f:5:5: upstreams.app.idle-reuse: unknown key, must be one of protocol, balance, hash_key, servers, source, pool, queue, "
     "timeouts, buffer, retry, connection_auth, health, passive, tls, send_proxy, fastcgi, memcached, request_headers"},
    {APP(SERVERS "    idle_reuse: 5s\n"), "f:5:5: upstreams.app.idle_reuse: unknown key, did you mean \"pool.idle_reuse\"?"},
    {APP(SERVERS "    timeouts: { read: 1s, sned: 1s, sen: 1s }\n"),
     "f:5:17: upstreams.app.timeouts.read: unknown key, did you mean \"response\"?\n"
     "f:5:27: upstreams.app.timeouts.sned: unknown key, did you mean \"send\"?\n"
     "f:5:37: upstreams.app.timeouts.sen: unknown key, did you mean \"send\"?"},
    {APP(SERVERS "    headers: {}\n    maxconn: 3\n    health: { path: /, port: 80, fall: 2 }\n"),
     "f:5:5: upstreams.app.headers: unknown key, did you mean \"request_headers\"?\n"
     "f:6:5: upstreams.app.maxconn: unknown key, did you mean \"pool.max\"?\n"
     "f:7:24: upstreams.app.health.port: unknown key, must be one of path, host, interval, timeout, unhealthy, healthy\n"
     "f:7:34: upstreams.app.health.fall: unknown key, did you mean \"unhealthy\"?"},
    {LISTEN("  - { address: \":80\", upstream: app, backend: app, pots: 1 }\n"),
     "f:3:38: listen[0].backend: unknown key, did you mean \"upstream\"?\n"
     "f:3:52: listen[0].pots: unknown key, must be one of name, address, mode, backlog, protocol, upstream, client_half_close, tls, "
     "accept_proxy, memcached, timeouts"},
    {APP(SERVERS "    retry: { zzzzzz: 1 }\n"), "f:5:14: upstreams.app.retry.zzzzzz: unknown key, must be one of max"},
    {APP(SERVERS "    retry: { max: 1, max: 2 }\n"), "f:5:22: upstreams.app.retry.max: duplicate key, first in line 5"},
    {APP(SERVERS "  app:\n" SERVERS), "f:5:3: upstreams.app: duplicate key, first in line 3"},
    {APP(SERVERS "    retry: 3\n"), "f:5:12: upstreams.app.retry: is \"3\", must be a mapping (lines of \"key: value\")"},
    {APP(SERVERS "    retry: [3]\n"), "f:5:5: upstreams.app.retry: is a list, must be a mapping (lines of \"key: value\")"},
    {APP("    pool: {}\n"), "f:3:3: upstreams.app.servers: missing, must be a list, each item a server"},
    {APP("    servers: []\n"), "f:4:5: upstreams.app.servers: is empty, must have at least one item"},
    {APP("    servers:\n"), "f:4:5: upstreams.app.servers: has no value, must be a list, each item a server"},
    {APP("    servers: { a: b }\n"), "f:4:5: upstreams.app.servers: is a mapping, must be a list, each item a server"},
    {APP("    servers: [{ weight: 2 }]\n"),
     "f:4:15: upstreams.app.servers[0].address: missing, must be an address such as 10.0.0.11:8080, app.internal:8080 or unix:/run/app.sock"},
    {APP("    servers: [[a]]\n"), "f:4:15: upstreams.app.servers[0]: is a list, must be an address such as 10.0.0.11:8080, "
                                  "app.internal:8080 or unix:/run/app.sock or a mapping"},
    {"listen: {}\nupstreams: []\n", "f:1:1: listen: is a mapping, must be a list, each item a listener\n"
                                    "f:2:1: upstreams: is a list, must be a mapping from names to an upstream each"},
    {"upstreams: { \"a b\": { servers: [\"10.0.0.1:80\"] } }\nlisten: [{ address: \":80\", upstream: \"a b\" }]\n",
     "f:1:14: upstreams.a b: a name must be 1 to 64 letters, digits and ._-"},

    /* scalars */
    {APP(SERVERS "    pool: { max: abc }\n"), "f:5:18: upstreams.app.pool.max: \"abc\" is not a whole number, must be from 1 to 65535"},
    {APP(SERVERS "    pool: { max: 0 }\n"), "f:5:18: upstreams.app.pool.max: 0 is out of range, must be from 1 to 65535"},
    {APP(SERVERS "    pool: { max: -5 }\n"), "f:5:18: upstreams.app.pool.max: -5 is out of range, must be from 1 to 65535"},
    {APP(SERVERS "    pool: { max: 65536 }\n"), "f:5:18: upstreams.app.pool.max: 65536 is out of range, must be from 1 to 65535"},
    {APP(SERVERS "    pool: { max: 99999999999999999999999 }\n"),
     "f:5:18: upstreams.app.pool.max: 99999999999999999999999 is out of range, must be from 1 to 65535"},
    {APP(SERVERS "    pool: { max: 1.5 }\n"), "f:5:18: upstreams.app.pool.max: \"1.5\" is not a whole number, must be from 1 to 65535"},
    {"workers: 02\n" APP(SERVERS "    pool: { max: 010 }\n    buffer: { request: 065536 }\n    timeouts: { tunnel: 00 }\n"),
     "f:1:10: workers: \"02\": write it without the leading 0: digits behind a 0 are an octal number to YAML\n"
     "f:6:18: upstreams.app.pool.max: \"010\": write it without the leading 0: digits behind a 0 are an octal number to YAML\n"
     "f:7:24: upstreams.app.buffer.request: \"065536\": write it without the leading 0: digits behind a 0 are an octal number to YAML\n"
     "f:8:25: upstreams.app.timeouts.tunnel: \"00\": write it without the leading 0: digits behind a 0 are an octal number to YAML"},
    {APP(SERVERS "    pool: { max: ~ }\n"), "f:5:13: upstreams.app.pool.max: has no value, must be a whole number, from 1 to 65535"},
    {APP(SERVERS "    pool: { tunnels: x }\n"),
     "f:5:22: upstreams.app.pool.tunnels: \"x\" is not a whole number, must be auto or from 0 to 65535"},
    {APP(SERVERS "    pool: { idle_close: 5 }\n"),
     "f:5:25: upstreams.app.pool.idle_close: \"5\" has no unit, write for example 5s or 500ms"},
    {APP(SERVERS "    pool: { idle_close: 5 min }\n"),
     "f:5:25: upstreams.app.pool.idle_close: \"5 min\" is not a duration, must be such as 500ms, 5s, 1m30s or 1h"},
    {APP(SERVERS "    timeouts: { connect: 0 }\n"), "f:5:26: upstreams.app.timeouts.connect: 0 is out of range, must be from 1ms to 1d"},
    {APP(SERVERS "    timeouts: { connect: 99999999999999999999h }\n"),
     "f:5:26: upstreams.app.timeouts.connect: \"99999999999999999999h\" is too long"},
    {APP(SERVERS "    buffer: { request: 64KB }\n"),
     "f:5:24: upstreams.app.buffer.request: \"64KB\" has a unit of two meanings, write KiB, MiB or GiB (powers of 1024)"},
    {APP(SERVERS "    buffer: { request: lots }\n"),
     "f:5:24: upstreams.app.buffer.request: \"lots\" is not a size, must be such as 65536, 64KiB or 1GiB"},
    {APP(SERVERS "    buffer: { request: 1k }\n"), "f:5:24: upstreams.app.buffer.request: 1k is out of range, must be from 4KiB to 1GiB"},
    {APP(SERVERS "    buffer: { dir: tmp }\n"), "f:5:20: upstreams.app.buffer.dir: \"tmp\" is wrong, must be an absolute path"},
    {APP(SERVERS "    balance: leastconn\n"),
     "f:5:14: upstreams.app.balance: \"leastconn\" is not known, must be one of round_robin, least_connections, hash"},
    {APP(SERVERS "    balance: round-robin\n"), "f:5:14: upstreams.app.balance: \"round-robin\" is not known, did you mean \"round_robin\"?"},
    {APP("    servers: [{ address: \"10.0.0.1:80\", backup: maybe }]\n"),
     "f:4:49: upstreams.app.servers[0].backup: \"maybe\" is not true or false"},
    {APP("    servers: [{ address: \"10.0.0.1:80\", weight: 257 }]\n"),
     "f:4:49: upstreams.app.servers[0].weight: 257 is out of range, must be from 1 to 256"},
    {LISTEN("  - { address: \":80\", upstream: \"\" }\n"), "f:3:33: listen[0].upstream: is empty, must be the name of an upstream"},

    /* addresses */
    {LISTEN("  - { address: 8080, upstream: app }\n"), "f:3:16: listen[0].address: \"8080\": a port alone, write \":8080\" for all IPv4 addresses"},
    {LISTEN("  - { address: localhost:80, upstream: app }\n"),
     "f:3:16: listen[0].address: \"localhost:80\" is wrong, must be an address such as 0.0.0.0:8080, \"[::]:8080\" or "
     "unix:/run/lastack/http.sock"},
    {LISTEN("  - { address: \":0\", upstream: app }\n"), "f:3:16: listen[0].address: \":0\": the port must be from 1 to 65535"},
    {LISTEN("  - { address: \"unix:/a\", mode: 0660, upstream: app }\n"),
     "f:3:33: listen[0].mode: write it in quotes, \"0660\": bare digits with a leading 0 are an octal number to YAML"},
    {LISTEN("  - { address: \"unix:/a\", mode: \"rw\", upstream: app }\n"),
     "f:3:33: listen[0].mode: \"rw\" is wrong, must be a quoted octal mode such as \"0660\""},
    {APP("    servers: [\"http://10.0.0.1:80/x\"]\n"),
     "f:4:15: upstreams.app.servers[0]: \"http://10.0.0.1:80/x\": an address, not a URL: write 10.0.0.1:80"},
    {APP("    servers: [10.0.0.1]\n"), "f:4:15: upstreams.app.servers[0]: \"10.0.0.1\": the port is missing, such as 10.0.0.1:80"},
    {APP("    servers: [app]\n"), "f:4:15: upstreams.app.servers[0]: \"app\": the port is missing, such as app:80"},
    {APP("    servers: [\"app:0\"]\n"), "f:4:15: upstreams.app.servers[0]: \"app:0\": the port must be from 1 to 65535"},
    {APP("    servers: [\"10.0.0.256:80\"]\n"), "f:4:15: upstreams.app.servers[0]: \"10.0.0.256:80\" is wrong, must be an address such as "
                                               "10.0.0.11:8080, app.internal:8080 or unix:/run/app.sock"},
    {APP("    servers: [\"fd00::1\"]\n"),
     "f:4:15: upstreams.app.servers[0]: \"fd00::1\": an IPv6 address with a port needs brackets, such as [::1]:80"},
    {APP("    servers: [\":80\"]\n"), "f:4:15: upstreams.app.servers[0]: \":80\": the host is missing, such as 127.0.0.1:8080"},
    {APP("    servers: [\"0.0.0.0:80\"]\n"),
     "f:4:15: upstreams.app.servers[0]: \"0.0.0.0:80\": no address to connect to; for this host write 127.0.0.1 or [::1]"},
    {APP("    servers: [unix:run/x]\n"),
     "f:4:15: upstreams.app.servers[0]: \"unix:run/x\": a Unix socket needs an absolute path, such as unix:/run/app.sock"},
    {APP(SERVERS "    source: [\"10.0.1.1:30000-20000\"]\n"), "f:5:14: upstreams.app.source[0]: \"10.0.1.1:30000-20000\": the range starts "
                                                            "above its end, must be LOW-HIGH such as 20000-29999"},
    {APP(SERVERS "    source: [\"10.0.1.1:1-10\", \"10.0.1.1:20-5\"]\n"), "f:5:31: upstreams.app.source[1]: \"10.0.1.1:20-5\": the range "
                                                                          "starts above its end, must be LOW-HIGH such as 20000-29999"},
    {"listen: [{ address: \":1\", upstream: app }]\nupstreams: { app: { servers: [\"[::ffff:10.0.0.1]:80\", \"10.0.0.1:80\"] } }\n",
     "f:2:55: upstreams.app.servers[1]: 10.0.0.1:80 is in this upstream twice; give it a weight instead"},
    {APP(SERVERS "    source: [\"10.0.1.1:0-9\"]\n"),
     "f:5:14: upstreams.app.source[0]: \"10.0.1.1:0-9\": ports are from 1 to 65535, such as 10.0.1.1:20000-29999"},
    {APP(SERVERS "    source: [\"10.0.1.1:80\"]\n"), "f:5:14: upstreams.app.source[0]: \"10.0.1.1:80\": after the address comes a range of "
                                                   "ports, such as 10.0.1.1:20000-29999"},
    {APP(SERVERS "    source: 0.0.0.0\n"),
     "f:5:13: upstreams.app.source[0]: \"0.0.0.0\": any address is no source; leave it out for the kernel's choice"},
    {APP(SERVERS "    source: eth0\n"), "f:5:13: upstreams.app.source[0]: \"eth0\" is wrong, must be a local IP address such as 10.0.1.1, or "
                                       "with ports 10.0.1.1:20000-29999"},
    {APP(SERVERS "forwarded: { trust: [10.0.0.0/33] }\n"),
     "f:5:22: forwarded.trust[0]: \"10.0.0.0/33\" is wrong, must be a network such as 10.0.0.0/8"},
    {APP(SERVERS "resolver: { servers: [dns.example] }\n"),
     "f:5:23: resolver.servers[0]: \"dns.example\" is wrong, must be system, or IP addresses such as 10.0.0.2 or 10.0.0.2:53"},

    /* fields, routes, logs */
    {APP(SERVERS "    request_headers: { set: { Connection: close } }\n"),
     "f:5:31: upstreams.app.request_headers.set.Connection: Connection frames the message or belongs to one connection; the proxy alone "
     "writes it"},
    {APP(SERVERS "    request_headers: { set: { \"a b\": c } }\n"),
     "f:5:31: upstreams.app.request_headers.set.a b: \"a b\" is not a field name, must be such as X-Debug"},
    {APP(SERVERS "    request_headers: { set: { X-A: 1, x-a: 2 } }\n"),
     "f:5:39: upstreams.app.request_headers.set.x-a: set twice: the case of field names does not count"},
    {APP(SERVERS "    request_headers: { set: { X-A: [1] } }\n"),
     "f:5:36: upstreams.app.request_headers.set.X-A: is a list, must be a text (\"\" for an empty one)"},
    {APP(SERVERS "    request_headers: { set: { " TEN("A") TEN("B") TEN("C") TEN("D") "X-E: 1 } }\n"),
     "f:5:24: upstreams.app.request_headers.set: has 41 entries, must have at most 40"},
    {APP(SERVERS "    request_headers: { set: { X-A: $host, X-B: \"a${scheme}\", X-C: US$5$, X-D: \"\" } }\n"),
     "-f:5:36: upstreams.app.request_headers.set.X-A: \"$host\" is sent as it stands: there are no variables here\n"
     "-f:5:48: upstreams.app.request_headers.set.X-B: \"a${scheme}\" is sent as it stands: there are no variables here"},
    {APP(SERVERS "    request_headers: { remove: Host }\n"),
     "f:5:32: upstreams.app.request_headers.remove[0]: \"Host\": every request has a Host; set another one instead"},
    {APP(SERVERS "    request_headers: { set: { X-A: 1 }, remove: [x-a] }\n"),
     "f:5:50: upstreams.app.request_headers.remove[0]: x-a is also set; set replaces what the client sent, so remove is not needed"},
    {ROUTES("  - { host: \"a.example:80\", upstream: app }\n"), "f:4:13: routes[0].host: \"a.example:80\": a route's host has no port; routes "
                                                              "of one port name its listener in `listen`"},
    {ROUTES("  - { host: \"a.*.example\", upstream: app }\n"),
     "f:4:13: routes[0].host: \"a.*.example\": * stands for the first labels only, such as \"*.example.com\", or alone"},
    {ROUTES("  - { host: \"b\xc3\xbc.example\", upstream: app }\n"),
     "f:4:13: routes[0].host: \"b\xc3\xbc.example\": host names are ASCII; write the xn-- form"},
    {ROUTES("  - { path: api, upstream: app }\n"), "f:4:13: routes[0].path: \"api\": must start with /"},
    {ROUTES("  - { path: /a//b/../%7ec, upstream: app }\n"),
     "f:4:13: routes[0].path: \"/a//b/../%7ec\": is not in normal form, write \"/a/~c\""},
    {ROUTES("  - { path: /a/*, upstream: app }\n"), "f:4:13: routes[0].path: \"/a/*\": a path is a prefix already, write it without *"},
    {ROUTES("  - { path: /a%2, upstream: app }\n"),
     "f:4:13: routes[0].path: \"/a%2\": % must be followed by two hexadecimal digits"},
    {ROUTES("  - { path: /a?b, upstream: app }\n"),
     "f:4:13: routes[0].path: \"/a?b\": must be a path alone: no query, no spaces, other bytes percent-encoded"},
    {ROUTES("  - { path: \"/a;b\", upstream: app }\n"),
     "f:4:13: routes[0].path: \"/a;b\": requests are matched without \";\" and what stands behind it in a segment: leave that out"},
    {ROUTES("  - { upgrade: [h2c], upstream: app }\n"), "f:4:17: routes[0].upgrade: \"h2c\" is not known, must be one of websocket"},
    {ROUTES("  - { path: / }\n"), "f:4:5: routes[0].upstream: missing, must be the name of an upstream"},
    {APP(SERVERS "log: { access: on }\n"), "f:5:16: log.access: \"on\" is wrong, must be off, stdout or a path that holds a /"},
    {APP(SERVERS "log: { access: /a/b, error: /a/b }\n"), "f:5:29: log.error: the same file as log.access; give each its own"},
    {APP(SERVERS "include: a.yaml\n"), "f:5:10: include: works in a file only"},

    /* memcached */
    {"listen: [{ address: \":1\", protocol: memcached, upstream: c }]\nworkers: 4\nupstreams:\n  c:\n    protocol: memcached\n"
     "    servers: [\"10.0.0.1:1\"]\n    pool: { max: 2 }\n",
     "f:7:18: upstreams.c.pool.max: 2 is less than the number of workers (4): each worker needs a connection of its own to a "
     "memcached server"},
    {"listen: [{ address: \":1\", protocol: memcached, upstream: c }]\nupstreams:\n  c:\n    protocol: memcached\n"
     "    servers: [\"10.0.0.1:1\"]\n    memcached: { failover: d, warm_from: c, hash: sha1, hash_tag: x }\n",
     "f:6:28: upstreams.c.memcached.failover: there is no upstream \"d\"\n"
     "f:6:42: upstreams.c.memcached.warm_from: names its own upstream\n"
     "f:6:51: upstreams.c.memcached.hash: \"sha1\" is not known, must be one of one_at_a_time, md5, crc32, fnv1_32, fnv1a_32, "
     "fnv1_64, fnv1a_64, murmur\n"
     "f:6:67: upstreams.c.memcached.hash_tag: \"x\" is wrong, must be two characters such as \"{}\""},

    {APP(SERVERS "    memcached: { hash: md5 }\n"),
     "f:5:5: upstreams.app.memcached: is for `protocol: memcached`, this upstream is http"},
    {LISTEN("  - { address: \":80\", upstream: app, memcached: { flush_all: deny } }\n"),
     "f:3:38: listen[0].memcached: is for `protocol: memcached`, this listener is http"},
    {"listen: [{ address: \":1\", protocol: memcached, upstream: c, client_half_close: serve }]\nworkers: 2\nupstreams:\n  c:\n"
     "    protocol: memcached\n    servers: [{ address: \"10.0.0.1:1\", slow_start: 1s }]\n    pool: { tunnels: 1, idle_reuse: 1s, max_age: 1h }\n"
     "    health: { path: /, interval: 1s, timeout: 2s, unhealthy: 2 }\n    retry: { max: 1 }\n    connection_auth: pin\n"
     "    request_headers: { remove: [X-A] }\n    buffer: { request_mode: stream, request: 1MiB }\n    queue: { length: 1 }\n",
     "-f:1:80: listen[0].client_half_close: has no effect on a memcached listener\n"
     "-f:6:15: upstreams.c.servers[0]: backup, drain and slow_start have no effect on memcached servers: a key has one place\n"
     "-f:7:22: upstreams.c.pool.tunnels: has no effect on memcached servers\n"
     "-f:7:37: upstreams.c.pool.idle_reuse: has no effect on memcached servers\n"
     "-f:8:21: upstreams.c.health.path: has no effect on memcached servers\n"
     "-f:8:62: upstreams.c.health.unhealthy: has no effect on memcached servers\n"
     "-f:9:5: upstreams.c.retry: has no effect on memcached servers\n"
     "-f:10:22: upstreams.c.connection_auth: has no effect on memcached servers\n"
     "-f:11:5: upstreams.c.request_headers: has no effect on memcached servers\n"
     "-f:12:29: upstreams.c.buffer.request_mode: has no effect on memcached servers\n"
     "-f:13:5: upstreams.c.queue: has no effect on memcached servers"},

    /* known, but not here yet */
    {LISTEN("  - { address: \":80\", upstream: app, protocol: memcached }\n"),
     "f:3:33: listen[0].upstream: a memcached listener cannot use upstream \"app\", which is http"},
    {LISTEN("  - { address: \":80\", upstream: app, protocol: fastcgi }\n"),
     "f:3:48: listen[0].protocol: \"fastcgi\" is not known, must be one of http, memcached"},
    {APP(SERVERS "    protocol: fastcgi\n    fastcgi: { root: /srv, rot: x }\n"),
     "f:6:28: upstreams.app.fastcgi.rot: unknown key, did you mean \"root\"?"},
    {APP(SERVERS "    protocol: fastcgi\n"), "f:3:3: upstreams.app.fastcgi.root: missing: the directory of the application's public files"},
    {APP(SERVERS "    fastcgi: { root: /srv }\n"),
     "f:5:5: upstreams.app.fastcgi: is for `protocol: fastcgi`, this upstream is http"},
    {APP(SERVERS "    protocol: fastcgi\n    fastcgi: { root: srv, try: [x], index: a/b, scripts: php }\n"),
     "f:6:22: upstreams.app.fastcgi.root: \"srv\" is wrong, must be an absolute path\n"
     "f:6:33: upstreams.app.fastcgi.try[0]: \"x\" is wrong, must be $uri, $uri/, a path such as /index.php, =403 or =404\n"
     "f:6:44: upstreams.app.fastcgi.index[0]: \"a/b\" is wrong, must be a file name such as index.php\n"
     "f:6:58: upstreams.app.fastcgi.scripts[0]: \"php\" is wrong, must be a suffix such as .php"},
    {APP(SERVERS "    protocol: fastcgi\n    fastcgi: { root: /srv, try: [$url, =410], params: { A: $reqest_uri } }\n"),
     "f:6:34: upstreams.app.fastcgi.try[0]: \"$url\" is wrong, must be $uri, $uri/, a path such as /index.php, =403 or =404\n"
     "f:6:40: upstreams.app.fastcgi.try[1]: \"=410\" is wrong, must be $uri, $uri/, a path such as /index.php, =403 or =404\n"
     "f:6:60: upstreams.app.fastcgi.params.A: there is no variable \"$reqest_uri\", did you mean \"$request_uri\"?"},
    {APP(SERVERS "    pool: { max: auto, advise: x, auto: [4, y] }\n"),
     "f:5:18: upstreams.app.pool.max: \"auto\" is not a whole number, must be from 1 to 65535; for a range to move in write auto: [4, 200] beside it\n"
     "f:5:32: upstreams.app.pool.advise: \"x\" is not true or false\n"
     "f:5:45: upstreams.app.pool.auto[1]: \"y\" is not a whole number, must be from 1 to 65535"},
    {APP(SERVERS "    pool: { auto: [4] }\n"),
     "f:5:13: upstreams.app.pool.auto: must be two sizes, the smallest and the largest, such as [4, 200]"},
    {APP(SERVERS "    pool: { max: 8, auto: [9, 4] }\n"),
     "f:5:21: upstreams.app.pool.auto: the smallest size (9) is more than the largest (4)"},
    {APP(SERVERS "    pool: { max: 3, auto: [4, 200] }\n"),
     "f:5:21: upstreams.app.pool.auto: pool.max (3) is where it starts and must lie within 4 to 200"},
    {APP(SERVERS "    pool: { auto: [4, 60] }\n"),
     "f:5:13: upstreams.app.pool.auto: pool.max (64) is where it starts and must lie within 4 to 60"},

    /* TLS and the PROXY protocol */
    {LISTEN("  - { address: \":80\", upstream: app, tls: { certificates: [] } }\n"),
     "f:3:45: listen[0].tls.certificates: is empty, must have at least one item"},
    {LISTEN("  - { address: \":80\", upstream: app, tls: {} }\n"),
     "f:3:38: listen[0].tls.certificates: missing, must be a list, each item a certificate"},
    {LISTEN("  - { address: \":80\", upstream: app, tls: { certificates: [site.pem] } }\n"),
     "f:3:60: listen[0].tls.certificates[0]: \"site.pem\" is wrong, must be an absolute path"},
    {LISTEN("  - { address: \":80\", upstream: app, tls: { certificates: [/a], min_version: ssl3 } }\n"),
     "f:3:78: listen[0].tls.min_version: \"ssl3\" is not known, must be one of tls1.2, tls1.3"},
    {LISTEN("  - { address: \":80\", upstream: app, tls: { certificates: [/a], client: { header: X-S } } }\n"),
     "f:3:65: listen[0].tls.client: has no ca: which clients' certificates are good?"},
    {LISTEN("  - { address: \":80\", upstream: app, accept_proxy: [10.0.0.0/33] }\n"),
     "f:3:53: listen[0].accept_proxy[0]: \"10.0.0.0/33\" is wrong, must be a network such as 10.0.0.0/8"},
    {APP(SERVERS "    tls: { key: /a }\n"), "f:5:17: upstreams.app.tls.key: has no certificate beside it"},
    {APP("    servers: [\"unix:/run/a\"]\n    tls: {}\n"),
     "f:5:5: upstreams.app.tls: server unix:/run/a has no name to check: write server_name"},
    {APP(SERVERS "    send_proxy: v3\n"), "f:5:17: upstreams.app.send_proxy: \"v3\" is not known, did you mean \"v1\"?"},

    /* values together */
    {LISTEN("  - { address: \":80\", upstream: ap }\n"), "f:3:33: listen[0].upstream: there is no upstream \"ap\", did you mean \"app\"?"},
    {LISTEN("  - { address: \":80\" }\n"),
     "f:3:5: listen[0]: has no upstream, and no route applies to it: write `upstream: NAME` or add routes"},
    {LISTEN("  - { address: \":80\", upstream: app }\n  - { address: \"0.0.0.0:80\", upstream: app }\n"),
     "f:4:16: listen[1].address: 0.0.0.0:80 is already the address of listen[0].address"},
    {LISTEN("  - { address: \":80\", upstream: app }\nadmin: { address: \":80\" }\n"),
     "f:4:19: admin.address: 0.0.0.0:80 is already the address of listen[0].address"},
    {LISTEN("  - { address: \":80\", upstream: app }\nadmin: { address: \"127.0.0.1:80\" }\n"),
     "f:4:19: admin.address: listen[0].address (0.0.0.0:80) takes this port, too; choose another one"},
    {LISTEN("  - { address: \"[::1]:80\", upstream: app }\nadmin: { address: \"[::]:80\" }\n"),
     "f:4:19: admin.address: listen[0].address ([::1]:80) takes this port, too; choose another one"},
    {LISTEN("  - { address: \":80\", upstream: app }\n  - { address: \"127.0.0.1:80\", upstream: app }\nadmin: { address: \"[::1]:80\" }\n"), ""},
    {LISTEN("  - { address: \":80\", name: a, upstream: app }\n  - { address: \":81\", name: a, upstream: app }\n"),
     "f:4:29: listen[1].name: \"a\" is already the name of the listener in line 3 of f"},
    {LISTEN("  - { address: \":80\", mode: \"0600\", upstream: app }\n"), "-f:3:29: listen[0].mode: has no effect, it is for Unix sockets"},
    {ROUTES("  - { path: /, upstream: nope }\n"), "f:4:26: routes[0].upstream: there is no upstream \"nope\""},
    {ROUTES("  - { upstream: app, listen: wob }\n"),
     "f:2:10: listen[0]: has no upstream, and no route applies to it: write `upstream: NAME` or add routes\n"
     "f:4:30: routes[0].listen[0]: there is no listener named \"wob\""},
    {ROUTES("  - { host: A.example, path: /x, upstream: app }\n  - { host: a.example., path: /x, upstream: app, listen: [web] }\n"),
     "f:5:5: routes[1]: the same host, path and listener as routes[0] (line 4 of f)"},
    {APP(SERVERS "routes: [{ upstream: app }]\n"), "-f:5:10: routes[0]: never used: every listener has an upstream of its own"},
    {APP(SERVERS "  two:\n    servers: [\"10.0.0.2:80\"]\n"),
     "-f:5:3: upstreams.two: never used: no listener and no route names it"},
    {APP("    servers: [\"10.0.0.1:80\", \"10.0.0.1:80\"]\n"),
     "f:4:30: upstreams.app.servers[1]: 10.0.0.1:80 is in this upstream twice; give it a weight instead"},
    {APP("    servers: [\"a.test:80\", \"A.test:80\", \"a.test.:80\", \"a.test:81\"]\n"),
     "f:4:28: upstreams.app.servers[1]: a.test:80 is in this upstream twice; give it a weight instead\n"
     "f:4:41: upstreams.app.servers[2]: a.test:80 is in this upstream twice; give it a weight instead"},
    {APP(SERVERS "  two:\n    servers: [\"10.0.0.1:80\"]\nroutes: [{ upstream: two }]\n"),
     "-f:6:15: upstreams.two.servers[0]: 10.0.0.1:80 is also upstreams.app.servers[0]: pool.max counts for each of the two, the server sees "
     "both\n-f:7:10: routes[0]: never used: every listener has an upstream of its own"},
    {APP(SERVERS "    source: \"fd00::1\"\n"),
     "f:4:15: upstreams.app.servers[0]: server 10.0.0.1:80 is IPv4, but source fd00::1 is IPv6: add a source of the server's family"},
    {APP(SERVERS "    source: [10.0.1.1, \"fd00::1\"]\n"),
     "f:5:24: upstreams.app.source[1]: source fd00::1 is IPv6, but no server is: server 10.0.0.1:80 is IPv4"},
    {APP("    servers: [unix:/run/a]\n    source: 10.0.1.1\n"),
     "f:5:13: upstreams.app.source[0]: source 10.0.1.1 is IPv4, but no server is: server unix:/run/a is a Unix socket"},
    {APP(SERVERS "    source: [10.0.1.1, \"10.0.1.1:1-9\"]\n"), "f:5:24: upstreams.app.source[1]: source 10.0.1.1:1-9 overlaps with 10.0.1.1"},
    {APP(SERVERS "    source: [\"10.0.1.1:20000-20049\"]\n"),
     "-f:3:3: upstreams.app.pool.max: 64 connections to a server need as many ports, but its IPv4 sources have 50 together: add sources or "
     "widen their ranges"},
    {APP(SERVERS "    source: [\"10.0.1.1:20000-20099\"]\n    pool: { max: 4, auto: [4, 200] }\n"),
     "-f:6:21: upstreams.app.pool.auto: 200 connections to a server need as many ports, but its IPv4 sources have 100 together: add sources or "
     "widen their ranges"},
    {APP(SERVERS "    pool: { idle_close: 59s }\n"),
     "-f:5:25: upstreams.app.pool.idle_close: 59s is shorter than what idle_reuse: auto may allow (1m): the proxy closes first; leave it out, "
     "or set idle_reuse, too"},
    {APP(SERVERS "    pool: { idle_close: 60s }\n"), ""},
    {APP(SERVERS "    pool: { idle_close: 2s, idle_reuse: 1s }\n"), ""},
    {APP(SERVERS "    protocol: fastcgi\n    fastcgi: { root: /srv }\n    pool: { idle_close: 10s }\n"), ""}, /* php-fpm never hangs up */
    {APP(SERVERS "    pool: { max: 5, tunnels: 6 }\n"), "f:5:30: upstreams.app.pool.tunnels: 6 is more than pool.max (5)"},
    {APP(SERVERS "    pool: { idle_reuse: 5s, idle_close: 5s }\n"),
     "f:5:41: upstreams.app.pool.idle_close: 5s must be longer than idle_reuse (5s), or the proxy closes first"},
    {APP(SERVERS "    balance: hash\n"),
     "f:5:14: upstreams.app.balance: hash needs a hash_key: write `hash_key: client` or `hash_key: header:NAME`"},
    {APP(SERVERS "    hash_key: client\n"), "-f:5:15: upstreams.app.hash_key: has no effect without balance: hash"},
    {APP(SERVERS "    balance: hash\n    hash_key: cookie\n"),
     "f:6:15: upstreams.app.hash_key: \"cookie\" is wrong, must be client or header:NAME"},
    {APP(SERVERS "    health: { path: /, interval: 1s, timeout: 2s }\n"),
     "f:5:47: upstreams.app.health.timeout: 2s is longer than the interval (1s)"},
    {APP(SERVERS "    health: { interval: 1s }\n"), "-f:5:5: upstreams.app.health: without a path there are no active checks"},
    {APP(SERVERS "    passive: { out: 1m }\n"), "f:5:5: upstreams.app.passive.out_max: 30s is shorter than out (1m)"},
    {APP(SERVERS "    buffer: { request: 1MiB }\nlimits: { memory: 1MiB }\n"),
     "f:5:5: upstreams.app.buffer: request and response together (1280KiB) are more than limits.memory (1MiB)"},
    {APP(SERVERS "limits: { disk: 0 }\n"),
     "-f:5:17: limits.disk: 0 means no files: request bodies over buffer.request (64KiB) of upstream \"app\" get 503"},
    {APP(SERVERS "    buffer: { response_file: 0 }\nlimits: { disk: 0, body: 64KiB }\n"), ""},
    {APP(SERVERS "    buffer: { response_file: 0, request_mode: stream }\nlimits: { disk: 0 }\n"), ""},
    {APP(SERVERS "limits: { disk: 1MiB }\n"), "-f:3:3: upstreams.app.buffer.response_file: 1GiB is more than limits.disk (1MiB)"},
    {APP("    servers: [{ address: \"10.0.0.1:80\", drain: true, backup: yes }]\n"),
     "-f:4:5: upstreams.app.servers: every server is a backup\n"
     "-f:4:5: upstreams.app.servers: every server drains: no request will be served"},
    /* A name that looks like a key of another one. */
    {"listen: [{ address: \":1\", upstream: app }, { address: \":2\", protocol: memcached, upstream: app.memcached }]\nworkers: 2\nupstreams:\n"
     "  app: { servers: [\"10.0.0.1:80\"] }\n  app.memcached: { protocol: memcached, servers: [\"10.0.0.2:1\"] }\n", ""},
    {"listen: [{ address: \":1\", upstream: app }, { address: \":2\", upstream: app.hash_key }]\nupstreams:\n"
     "  app: { servers: [\"10.0.0.1:80\"], balance: hash }\n  app.hash_key: { servers: [\"10.0.0.2:1\"] }\n",
     "f:3:45: upstreams.app.balance: hash needs a hash_key: write `hash_key: client` or `hash_key: header:NAME`"},
    {APP("    balance: hash\n    hash_key: client\n    servers: [\"10.0.0.1:80\", { address: \"10.0.0.2:80\", slow_start: 1m }]\n"),
     "-f:6:30: upstreams.app.servers[1]: slow_start has no effect with balance: hash, which gives a client to one server"},
    {"listen: [{ address: \":1\", protocol: memcached, upstream: c }]\nworkers: 2\nupstreams:\n  c:\n    protocol: memcached\n"
     "    servers: [{ address: \"10.0.0.1:1\", weight: 2 }]\n",
     "-f:6:15: upstreams.c.servers[0]: weight has no effect with memcached.distribution modula or jump: ketama has weights"},
    {"listen: [{ address: \":1\", protocol: memcached, upstream: c }]\nworkers: 2\nupstreams:\n  c:\n    protocol: memcached\n"
     "    servers: [{ address: \"10.0.0.1:1\", weight: 2 }]\n    memcached: { distribution: ketama }\n", ""},
};

#endif
