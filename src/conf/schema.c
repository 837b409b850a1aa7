/* schema.c: the table of every key of the configuration. Data, no decisions.
 *
 * To add a key: a field in conf.h, a line here, then `lastack schema` and conf/reference.yaml follow by
 * themselves (the latter is committed; its unit test says when it is stale). Order is the order of the reference.
 */
#include "conf/schema.h"

#include "conf/value.h"

#define DAY (24ull * 3600 * 1000)
#define GIB (1ull << 30)
/* NOLINTBEGIN(bugprone-macro-parentheses): types and members */
#define FIELD(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)0)->field)
#define ARRAY(type, field, number)                                                                           \
    .offset = offsetof(type, field), .size = sizeof *((type *)0)->field, .count = offsetof(type, number)
/* NOLINTEND(bugprone-macro-parentheses) */
#define KEYS(array) .key = (array), .keys = la_count(array)

static const char *const protocols[] = {"http", "fastcgi", "memcached", NULL};
static const char *const distributions[] = {"modula", "ketama", "ketama_unweighted", "jump", NULL};
static const char *const keyhashes[] = {"one_at_a_time", "md5", "crc32", "fnv1_32", "fnv1a_32",
                                        "fnv1_64", "fnv1a_64", "murmur", NULL};
static const char *const key_hashes[] = {"auto", "one_at_a_time", "md5", "crc32", "fnv1_32", "fnv1a_32",
                                         "fnv1_64", "fnv1a_64", "murmur", NULL};
static const char *const ejects[] = {"miss", "rehash", "error", NULL};
static const char *const permissions[] = {"deny", "allow", NULL};
static const char *const failed_gets[] = {"error", "miss", NULL};
static const char *const listen_protocols[] = {"http", "", "memcached", NULL}; /* "": no such choice here */
static const char *const send_proxies[] = {"off", "v1", "v2", NULL};
static const char *const tls_versions[] = {"tls1.2", "tls1.3", NULL};
static const char *const client_verifies[] = {"required", "optional", NULL};
static const char *const half_close[] = {"abort", "serve", NULL};
static const char *const balances[] = {"round_robin", "least_connections", "hash", NULL};
static const char *const connection_auths[] = {"pin", "refuse", NULL};
static const char *const request_modes[] = {"buffer", "stream", NULL};
static const char *const forwarded_modes[] = {"x_forwarded", "rfc7239", "both", "off", NULL};
static const char *const levels[] = {"debug", "info", "notice", "warn", "error", NULL};
static const char *const formats[] = {"json", "combined", NULL};
static const char *const upgrades[] = {"websocket", NULL};

static const struct la_key string_item = {.type = LA_T_STRING, .size = sizeof(char *)};
static const struct la_key net_item = {.type = LA_T_TEXT,
                                       .size = sizeof(struct la_net),
                                       .parse = la_parse_net,
                                       .form = "a network such as 10.0.0.0/8"};

/* ---- listen ---- */

#define L(field) FIELD(struct la_conf_listen, field)
static const struct la_key listen_timeouts[] = {
    {"handshake", LA_T_DURATION, L(handshake_ms), .low = 1, .high = DAY, .def = "10s",
     .doc = "TLS handshake or PROXY header, in total"},
    {"head", LA_T_DURATION, L(head_ms), .low = 1, .high = DAY, .def = "10s",
     .doc = "request head, in total, from its first byte"},
    {"body", LA_T_DURATION, L(body_ms), .low = 1, .high = DAY, .def = "30s",
     .doc = "longest pause between two reads of the request body"},
    {"min_rate", LA_T_SIZE, L(min_rate), .high = GIB, .def = "500",
     .doc = "bytes per second a request body must average; 0 = off"},
    {"keepalive", LA_T_DURATION, L(keepalive_ms), .high = DAY, .def = "60s",
     .doc = "wait for the next request of a client; 0 = http: close after each response, memcached: no limit; default: http 60s, memcached 1d"},
    {"write", LA_T_DURATION, L(write_ms), .low = 1, .high = DAY, .def = "60s",
     .doc = "longest pause in which the client takes no byte of the response"},
};
static const struct la_object listen_timeouts_object = {"timeouts", KEYS(listen_timeouts), .pos = -1};
#define FILE_FORM .parse = la_parse_path, .form = "an absolute path"
#define CERT(field) FIELD(struct la_conf_certificate, field)
static const struct la_key certificate_keys[] = {
    {"certificate", LA_T_TEXT, LA_K_REQUIRED, CERT(certificate), FILE_FORM, .example = "/etc/ssl/site.pem",
     .doc = "PEM file: the certificate, then its chain"},
    {"key", LA_T_TEXT, CERT(key), FILE_FORM, .example = "/etc/ssl/site.key",
     .doc = "PEM file: its private key; default: in the same file"},
    {"ocsp", LA_T_TEXT, CERT(ocsp), FILE_FORM, .example = "/etc/ssl/site.ocsp",
     .doc = "DER file: an OCSP response that is stapled while it is valid"},
};
static const struct la_object certificate_object = {"a certificate", sizeof(struct la_conf_certificate),
                                                    KEYS(certificate_keys), .brief = &certificate_keys[0],
                                                    .pos = offsetof(struct la_conf_certificate, pos)};
static const struct la_key certificate_item = {
    .type = LA_T_OBJECT, .size = sizeof(struct la_conf_certificate), .keys = &certificate_object};
static const struct la_key client_keys[] = {
    {"ca", LA_T_TEXT, L(tls.client_ca), FILE_FORM, .example = "/etc/ssl/clients.pem",
     .doc = "PEM file: authorities whose certificates clients may show; without it they are not asked"},
    {"crl", LA_T_TEXT, L(tls.client_crl), FILE_FORM, .example = "/etc/ssl/clients.crl",
     .doc = "PEM file: revocation lists, one of each authority of the chain"},
    {"verify", LA_T_ENUM, L(tls.client_verify), .names = client_verifies, .def = "required",
     .doc = "must a client show one"},
    {"header", LA_T_TEXT, L(tls.client_header), .parse = la_parse_header_name, .form = "a field name such as X-Client-Subject",
     .example = "X-Client-Subject",
     .doc = "field that tells the servers its subject (RFC 2253); what clients send under that name is dropped"},
};
static const struct la_object client_object = {"client", KEYS(client_keys), .pos = -1};
static const struct la_key listen_tls_keys[] = {
    {"certificates", LA_T_LIST, LA_K_REQUIRED, ARRAY(struct la_conf_listen, tls.pair, tls.pairs), .item = &certificate_item,
     .doc = "the name the client asks for picks one, the first is for all others; RSA and ECDSA of one name serve together"},
    {"min_version", LA_T_ENUM, L(tls.min_version), .names = tls_versions, .def = "tls1.2", .doc = "the oldest version"},
    {"ciphers", LA_T_STRING, L(tls.ciphers), .form = "a list as `openssl ciphers` takes it",
     .example = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
     .doc = "for TLS 1.2; default: Mozilla's intermediate list, ECDHE only"},
    {"ciphersuites", LA_T_STRING, L(tls.ciphersuites), .form = "a list of TLS 1.3 suites",
     .example = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384", .doc = "for TLS 1.3; default: Mozilla's order, AES-128 first"},
    {"session", LA_T_DURATION, L(tls.session_ms), .high = DAY, .def = "12h",
     .doc = "how long a session can be resumed (by ticket, at any worker, across reloads); 0 = never"},
    {"client", LA_T_OBJECT, .keys = &client_object, .doc = "client certificates"},
};
static const struct la_object listen_tls_object = {"tls", KEYS(listen_tls_keys), .pos = -1};
static const struct la_key listen_memcached_keys[] = {
    {"prefix", LA_T_TEXT, L(memcached.prefix), .parse = la_parse_key_prefix,
     .form = "1 to 100 printable characters without a space", .example = "\"site-a:\"",
     .doc = "goes before each key of this listener's clients, who never see it"},
    {"flush_all", LA_T_ENUM, L(memcached.flush_all_allowed), .names = permissions, .def = "allow",
     .doc = "may clients of this listener empty the servers, for everybody?"},
};
static const struct la_object listen_memcached_object = {"memcached", KEYS(listen_memcached_keys), .pos = -1};
static const struct la_key listen_keys[] = {
    {"name", LA_T_TEXT, L(name), .parse = la_parse_label, .form = "a name of letters, digits and ._-",
     .example = "web", .doc = "label in metrics, and what routes call it; default: the address"},
    {"address", LA_T_TEXT, LA_K_REQUIRED, L(address), .parse = la_parse_listen_address,
     .form = "an address such as 0.0.0.0:8080, \"[::]:8080\" or unix:/run/lastack/http.sock",
     .example = "127.0.0.1:8080",
     .doc = "where to accept clients: IP:PORT, \"[IPv6]:PORT\", :PORT or unix:/PATH"},
    {"mode", LA_T_TEXT, LA_K_QUOTED, L(unix_mode), .parse = la_parse_unix_mode,
     .form = "a quoted octal mode such as \"0660\"", .pattern = "^0?[0-7]{3}$", .def = "\"0660\"",
     .doc = "permissions of a Unix socket, quoted octal"},
    {"backlog", LA_T_INT, L(backlog), .low = 1, .high = 1 << 20, .def = "4096",
     .doc = "connections the kernel may hold for us (bounded by net.core.somaxconn)"},
    {"protocol", LA_T_ENUM, L(protocol), .names = listen_protocols, .def = "http",
     .doc = "what clients speak"},
    {"upstream", LA_T_STRING, L(upstream), .form = "the name of an upstream", .example = "app",
     .doc = "everything goes there, without upgrades and timeouts of a route's own; without it the routes decide"},
    {"client_half_close", LA_T_ENUM, L(client_half_close_serve), .names = half_close, .def = "abort",
     .doc = "what a client's FIN before its response means: it left, or it only stopped sending"},
    {"tls", LA_T_OBJECT, .keys = &listen_tls_object, .doc = "https"},
    {"accept_proxy", LA_T_LIST, ARRAY(struct la_conf_listen, accept_proxy, accept_proxies), .item = &net_item,
     .example = "[10.0.0.0/8]", .doc = "networks whose PROXY protocol header (v1, v2) is required and believed; a Unix listener: all"},
    {"memcached", LA_T_OBJECT, .keys = &listen_memcached_object, .doc = "for protocol: memcached"},
    {"timeouts", LA_T_OBJECT, .keys = &listen_timeouts_object, .doc = "client side"},
};
static const struct la_object listen_object = {"a listener", sizeof(struct la_conf_listen), KEYS(listen_keys),
                                               .pos = offsetof(struct la_conf_listen, pos)};
static const struct la_key listen_item = {
    .type = LA_T_OBJECT, .size = sizeof(struct la_conf_listen), .keys = &listen_object};

/* ---- upstreams ---- */

#define S(field) FIELD(struct la_conf_server, field)
static const struct la_key server_keys[] = {
    {"address", LA_T_TEXT, LA_K_REQUIRED, .offset = 0, .size = sizeof(struct la_conf_server),
     .parse = la_parse_server_address,
     .form = "an address such as 10.0.0.11:8080, app.internal:8080 or unix:/run/app.sock",
     .example = "127.0.0.1:8081", .doc = "IP:PORT, \"[IPv6]:PORT\", NAME:PORT or unix:/PATH"},
    {"weight", LA_T_INT, S(weight), .low = 1, .high = 256, .def = "1",
     .doc = "share of the requests, against the other servers"},
    {"backup", LA_T_BOOL, S(backup), .def = "false", .doc = "used only while no other server is up"},
    {"slow_start", LA_T_DURATION, S(slow_start_ms), .high = DAY, .def = "0",
     .doc = "time in which a server that came back grows to its full share; 0 = at once"},
    {"drain", LA_T_BOOL, S(drain), .def = "false", .doc = "takes no new requests"},
};
static const struct la_object server_object = {"a server", sizeof(struct la_conf_server), KEYS(server_keys),
                                               .brief = &server_keys[0],
                                               .pos = offsetof(struct la_conf_server, pos)};
static const struct la_key server_item = {
    .type = LA_T_OBJECT, .size = sizeof(struct la_conf_server), .keys = &server_object};

static const struct la_key source_keys[] = {
    {"address", LA_T_TEXT, LA_K_REQUIRED, .offset = 0, .size = sizeof(struct la_conf_source),
     .parse = la_parse_source,
     .form = "a local IP address such as 10.0.1.1, or with ports 10.0.1.1:20000-29999", .example = "10.0.1.1",
     .doc = "a local address, with a port range if wanted"},
};
static const struct la_object source_object = {"a source", sizeof(struct la_conf_source), KEYS(source_keys),
                                               .brief = &source_keys[0],
                                               .pos = offsetof(struct la_conf_source, pos)};
static const struct la_key source_item = {
    .type = LA_T_OBJECT, .size = sizeof(struct la_conf_source), .keys = &source_object};

#define U(field) FIELD(struct la_conf_upstream, field)
static const struct la_key pool_range_item = {.type = LA_T_INT, .size = sizeof(unsigned), .low = 1, .high = 65535};
static const struct la_key pool_keys[] = {
    {"max", LA_T_INT, LA_K_DERIVED, U(pool.max), .low = 1, .high = 65535, .def = "64", .form = "for a range to move in write auto: [4, 200] beside it",
     .doc = "connections per server, all workers together; default: http 64, fastcgi 4, memcached the number "
            "of workers"},
    {"tunnels", LA_T_INT, LA_K_AUTO | LA_K_DERIVED, U(pool.tunnels), .high = 65535, .automatic = UINT32_MAX,
     .def = "auto", .doc = "how many of them may be tunnels or pinned; auto = half of max, at least 1"},
    {"idle_reuse", LA_T_DURATION, LA_K_AUTO, U(pool.idle_reuse_ms), .low = 1, .high = DAY,
     .automatic = LA_AUTO, .def = "auto",
     .doc = "how long an idle connection takes another request; auto learns the backend's timeout"},
    {"idle_close", LA_T_DURATION, LA_K_AUTO, U(pool.idle_close_ms), .low = 1, .high = 7 * DAY,
     .automatic = LA_AUTO, .def = "auto",
     .doc = "when the proxy closes an idle connection that the backend did not; auto = 2 x its timeout + 1s, "
            "else 5m"},
    {"max_requests", LA_T_INT, U(pool.max_requests), .high = UINT32_MAX, .def = "0",
     .doc = "requests per connection; 0 = no limit"},
    {"max_age", LA_T_DURATION, U(pool.max_age_ms), .high = 365ull * DAY, .def = "0",
     .doc = "age at which a connection says goodbye, +-10 %; 0 = no limit"},
    {"goodbye_timeout", LA_T_DURATION, U(pool.goodbye_ms), .low = 1, .high = DAY, .def = "1s",
     .doc = "how long the backend has to hang up after a goodbye"},
    {"abort_wait", LA_T_DURATION, U(pool.abort_wait_ms), .high = DAY, .def = "5s",
     .doc = "when the client left: wait this long for the response head to keep the connection; fastcgi: timeouts.response"},
    {"drain_max", LA_T_SIZE, U(pool.drain_max_bytes), .high = 64 << 20, .def = "64KiB",
     .doc = "read off this much of a response nobody wants, to keep the connection; 0 = never"},
    {"advise", LA_T_BOOL, U(pool.advise), .def = "false",
     .doc = "watch what requests take and publish what max should be, in metrics and status; changes nothing"},
    {"auto", LA_T_LIST, ARRAY(struct la_conf_upstream, pool.range, pool.ranges), .item = &pool_range_item, .example = "[4, 200]",
     .doc = "let max follow what the server bears, one at a time, within these two; max is where it starts"},
};
static const struct la_object pool_object = {"pool", KEYS(pool_keys), .pos = -1};

static const struct la_key queue_keys[] = {
    {"length", LA_T_INT, U(queue.length), .high = 1 << 24, .def = "1024",
     .doc = "requests that may wait for a connection; then 503 with Retry-After"},
    {"timeout", LA_T_DURATION, U(queue.timeout_ms), .low = 1, .high = DAY, .def = "5s",
     .doc = "how long one waits; then 503"},
};
static const struct la_object queue_object = {"queue", KEYS(queue_keys), .pos = -1};

static const struct la_key timeout_keys[] = {
    {"connect", LA_T_DURATION, U(timeouts.connect_ms), .low = 1, .high = DAY, .def = "1s",
     .doc = "TCP connect, per try"},
    {"handshake", LA_T_DURATION, U(timeouts.handshake_ms), .low = 1, .high = DAY, .def = "3s",
     .doc = "TLS handshake, in total"},
    {"send", LA_T_DURATION, U(timeouts.send_ms), .low = 1, .high = DAY, .def = "30s",
     .doc = "longest pause in which the server takes no byte of the request"},
    {"response", LA_T_DURATION, U(timeouts.response_ms), .low = 1, .high = DAY, .def = "60s",
     .doc = "from the sent request to the response head, then between two reads; memcached (default 1s): a command in total"},
    {"tunnel", LA_T_DURATION, U(timeouts.tunnel_ms), .high = 30ull * DAY, .def = "1h",
     .doc = "a tunnel without a byte either way; 0 = no limit"},
    {"user", LA_T_DURATION, U(timeouts.user_ms), .high = DAY, .def = "20s",
     .doc = "TCP_USER_TIMEOUT: sent bytes without an acknowledgement, or that the server's buffers do not take; 0 = the kernel's"},
};
static const struct la_object timeout_object = {"timeouts", KEYS(timeout_keys), .pos = -1};

static const struct la_key buffer_keys[] = {
    {"request_mode", LA_T_ENUM, U(buffer.request_mode), .names = request_modes, .def = "buffer",
     .doc = "buffer: read the request completely, then take a connection; stream: take it after the head"},
    {"request", LA_T_SIZE, U(buffer.request_bytes), .low = 4096, .high = GIB, .def = "64KiB",
     .doc = "request body in memory, the rest goes to a file"},
    {"response", LA_T_SIZE, U(buffer.response_bytes), .low = 4096, .high = GIB, .def = "256KiB",
     .doc = "response read ahead of the client, in memory"},
    {"response_file", LA_T_SIZE, U(buffer.response_file_bytes), .high = 1ull << 44, .def = "1GiB",
     .doc = "then in a file; 0 = off"},
    {"dir", LA_T_TEXT, U(buffer.dir), .parse = la_parse_path, .form = "an absolute path", .def = "/var/tmp",
     .doc = "where these files are (unlinked, never seen)"},
};
static const struct la_object buffer_object = {"buffer", KEYS(buffer_keys), .pos = -1};

static const struct la_key retry_keys[] = {
    {"max", LA_T_INT, U(retry_max), .high = 10, .def = "1",
     .doc = "how often a request that lost its connection is sent again, if that is safe"},
};
static const struct la_object retry_object = {"retry", KEYS(retry_keys), .pos = -1};

static const struct la_key health_keys[] = {
    {"path", LA_T_TEXT, U(health.path), .parse = la_parse_url_path, .form = "a path such as /healthz",
     .example = "/healthz",
     .doc = "asked with GET; 2xx and 3xx are well; without it there are no active checks; fastcgi: a script below root such as /health.php, or pm.ping's path"},
    {"host", LA_T_TEXT, U(health.host), .parse = la_parse_health_host,
     .form = "a host name such as app.internal", .example = "app.internal",
     .doc = "Host field of the check; default: the server's address"},
    {"interval", LA_T_DURATION, U(health.interval_ms), .low = 10, .high = DAY, .def = "5s",
     .doc = "between two checks of a server; memcached: a connection without commands for so long is asked `version`"},
    {"timeout", LA_T_DURATION, U(health.timeout_ms), .low = 1, .high = DAY, .def = "1s",
     .doc = "one check, in total; one that finds every connection in use may wait so long for the next: without any response meanwhile it has failed"},
    {"unhealthy", LA_T_INT, U(health.unhealthy), .low = 1, .high = 1000, .def = "3",
     .doc = "failures in a row that take a server out"},
    {"healthy", LA_T_INT, U(health.healthy), .low = 1, .high = 1000, .def = "1",
     .doc = "successes in a row that bring it back"},
};
static const struct la_object health_object = {"health", KEYS(health_keys), .pos = -1};

static const struct la_key passive_keys[] = {
    {"failures", LA_T_INT, U(passive.failures), .high = 1000, .def = "3",
     .doc = "failed requests in a row that take a server out; 0 = never"},
    {"out", LA_T_DURATION, U(passive.out_ms), .low = 1, .high = DAY, .def = "1s",
     .doc = "first time out, doubled each time"},
    {"out_max", LA_T_DURATION, U(passive.out_max_ms), .low = 1, .high = DAY, .def = "30s",
     .doc = "longest time out"},
};
static const struct la_object passive_object = {"passive", KEYS(passive_keys), .pos = -1};

static const struct la_key header_name_item = {.type = LA_T_TEXT,
                                               .size = sizeof(char *),
                                               .parse = la_parse_header_name,
                                               .form = "a field name such as X-Debug"};
static const struct la_key request_header_keys[] = {
    {"set", LA_T_HEADERS, ARRAY(struct la_conf_upstream, set, sets), .high = LA_CONF_SETS_MOST, .example = "{ X-Site: a }",
     .doc = "fields the server gets, in place of what the client sent or lastack adds under that name; as they stand: no $variables, at most 40"},
    {"remove", LA_T_LIST, ARRAY(struct la_conf_upstream, remove, removes), .item = &header_name_item,
     .example = "[X-Debug]", .doc = "fields the server does not get, neither from the client nor from lastack"},
};
static const struct la_object request_header_object = {"request_headers", KEYS(request_header_keys),
                                                       .pos = -1};

static const struct la_key upstream_tls_keys[] = {
    {"ca", LA_T_TEXT, U(tls.ca), FILE_FORM, .example = "/etc/ssl/ca.pem",
     .doc = "PEM file: authorities to trust; default: the system's"},
    {"verify", LA_T_BOOL, U(tls.verify), .def = "true", .doc = "check the servers' certificates and names"},
    {"crl", LA_T_TEXT, U(tls.crl), FILE_FORM, .example = "/etc/ssl/ca.crl",
     .doc = "PEM file: revocation lists, one of each authority of the chain"},
    {"server_name", LA_T_TEXT, U(tls.server_name), .parse = la_parse_health_host,
     .form = "a host name such as app.internal", .example = "app.internal",
     .doc = "the name to ask for (SNI) and to check; default: the server's name or address as written"},
    {"certificate", LA_T_TEXT, U(tls.certificate), FILE_FORM, .example = "/etc/ssl/proxy.pem",
     .doc = "PEM file: shown to servers that ask for one"},
    {"key", LA_T_TEXT, U(tls.key), FILE_FORM, .example = "/etc/ssl/proxy.key",
     .doc = "PEM file: its private key; default: in the same file"},
    {"min_version", LA_T_ENUM, U(tls.min_version), .names = tls_versions, .def = "tls1.2", .doc = "the oldest version"},
    {"ciphers", LA_T_STRING, U(tls.ciphers), .form = "a list as `openssl ciphers` takes it",
     .example = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256", .doc = "for TLS 1.2"},
    {"ciphersuites", LA_T_STRING, U(tls.ciphersuites), .form = "a list of TLS 1.3 suites",
     .example = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384", .doc = "for TLS 1.3"},
};
static const struct la_object upstream_tls_object = {"tls", KEYS(upstream_tls_keys), .pos = -1};
static const struct la_key memcached_keys[] = {
    {"distribution", LA_T_ENUM, U(memcached.distribution), .names = distributions, .def = "modula",
     .doc = "how keys are spread over the servers, as libmemcached (PHP) does it; ketama is its weighted one, jump is not "
            "known there"},
    {"hash", LA_T_ENUM, U(memcached.hash), .names = keyhashes, .def = "one_at_a_time",
     .doc = "default with ketama: md5. PHP's own default is modula with one_at_a_time; its OPT_LIBKETAMA_COMPATIBLE is "
            "ketama with md5"},
    {"key_hash", LA_T_ENUM, U(memcached.key_hash), .names = key_hashes, .def = "auto",
     .doc = "auto = hash; with ketama_unweighted and md5: one_at_a_time, because libmemcached's continuum hash does not "
            "touch keys (for PHP's DISTRIBUTION_CONSISTENT with HASH_MD5 say md5 here)"},
    {"hash_tag", LA_T_TEXT, U(memcached.hash_tag), .parse = la_parse_hash_tag, .form = "two characters such as \"{}\"",
     .example = "\"{}\"", .doc = "only what stands between these two is hashed, if it is there"},
    {"auto_eject", LA_T_ENUM, U(memcached.auto_eject), .names = ejects, .def = "miss",
     .doc = "keys of a server that is out or cannot be reached: miss (reads miss, writes fail), rehash (the other servers take them), error"},
    {"failed_get", LA_T_ENUM, U(memcached.failed_get_misses), .names = failed_gets, .def = "error",
     .doc = "a get whose server was asked and did not answer (too late, hung up): error (SERVER_ERROR) or miss; what is answered "
            "wrongly or in part is an error always"},
    {"flush_on_return", LA_T_BOOL, U(memcached.flush_on_return), .def = "false",
     .doc = "a server that was out is emptied before it is used again, so that nothing stale is read"},
    {"failover", LA_T_STRING, U(memcached.failover), .form = "the name of an upstream", .example = "cache2",
     .doc = "memcached upstream for the commands of a server that is out, and for a get of one key after half of its time"},
    {"warm_from", LA_T_STRING, U(memcached.warm_from), .form = "the name of an upstream", .example = "cache-old",
     .doc = "memcached upstream that is asked when a get of one key misses here; what it has is kept here too"},
    {"warm_exptime", LA_T_DURATION, U(memcached.warm_exptime_ms), .low = 1000, .high = 30 * DAY, .def = "1h",
     .doc = "how long what came from warm_from is kept"},
    {"value_max", LA_T_SIZE, U(memcached.value_max), .low = 1024, .high = (1ull << 31) - 16, .def = "128MiB",
     .doc = "largest value that is taken from a client; the servers have their own (-I, 1 MiB)"},
};
static const struct la_object memcached_object = {"memcached", KEYS(memcached_keys), .pos = -1};

/* Defaults of lists are filled in by la_conf_finish. */
static const struct la_key index_item = {
    .type = LA_T_TEXT, .size = sizeof(char *), .parse = la_parse_index, .form = "a file name such as index.php"};
static const struct la_key try_item = {.type = LA_T_TEXT,
                                       .size = sizeof(char *),
                                       .parse = la_parse_try,
                                       .form = "$uri, $uri/, a path such as /index.php, =403 or =404"};
static const struct la_key script_item = {
    .type = LA_T_TEXT, .size = sizeof(char *), .parse = la_parse_suffix, .form = "a suffix such as .php"};
static const struct la_key path_item = {
    .type = LA_T_TEXT, .size = sizeof(char *), .parse = la_parse_path, .form = "an absolute path"};
static const struct la_key internal_keys[] = {
    {"path", LA_T_TEXT, LA_K_REQUIRED, FIELD(struct la_conf_internal, path), .parse = la_parse_url_path,
     .form = "a path such as /protected/", .example = "/protected/", .doc = "what X-Accel-Redirect starts with"},
    {"root", LA_T_TEXT, LA_K_REQUIRED, FIELD(struct la_conf_internal, root), .parse = la_parse_path,
     .form = "an absolute path", .example = "/srv/files", .doc = "the directory that the rest is a file of"},
};
static const struct la_object internal_object = {"a directory for X-Accel-Redirect",
                                                 sizeof(struct la_conf_internal), KEYS(internal_keys),
                                                 .pos = -1};
static const struct la_key internal_item = {
    .type = LA_T_OBJECT, .size = sizeof(struct la_conf_internal), .keys = &internal_object};
static const struct la_key fastcgi_keys[] = {
    {"root", LA_T_TEXT, U(fastcgi.root), .parse = la_parse_path, .form = "an absolute path",
     .example = "/srv/www", .doc = "the directory of the application's public files; needed for fastcgi"},
    {"script_root", LA_T_TEXT, U(fastcgi.script_root), .parse = la_parse_path, .form = "an absolute path",
     .example = "/app/public", .doc = "the same directory as php-fpm sees it (a container); default: root"},
    {"index", LA_T_LIST, ARRAY(struct la_conf_upstream, fastcgi.index, fastcgi.indexes), .item = &index_item,
     .def = "index.php", .doc = "files that stand for a directory, first that exists"},
    {"try", LA_T_LIST, ARRAY(struct la_conf_upstream, fastcgi.tried, fastcgi.tries), .item = &try_item,
     .def = "[$uri, $uri/]",
     .doc = "what a path may be, first that exists; the last may be the front controller: [$uri, /index.php]"},
    {"scripts", LA_T_LIST, ARRAY(struct la_conf_upstream, fastcgi.script, fastcgi.scripts),
     .item = &script_item, .def = ".php", .doc = "what names of scripts end with; these are never sent as files"},
    {"params", LA_T_HEADERS, ARRAY(struct la_conf_upstream, fastcgi.param, fastcgi.params), .high = 256,
     .example = "{ APP_ENV: prod }",
     .doc = "more parameters, or others in place of the usual ones; $variables as in nginx"},
    {"files", LA_T_BOOL, U(fastcgi.files), .def = "true",
     .doc = "files under root are served from here, and scripts must exist; false: root is not looked at"},
    {"follow_symlinks", LA_T_BOOL, U(fastcgi.follow_symlinks), .def = "false",
     .doc = "also those that lead out of root"},
    {"internal", LA_T_LIST, ARRAY(struct la_conf_upstream, fastcgi.internal, fastcgi.internals),
     .item = &internal_item, .doc = "where X-Accel-Redirect may lead; without it the field does nothing"},
    {"sendfile", LA_T_LIST, ARRAY(struct la_conf_upstream, fastcgi.sendfile, fastcgi.sendfiles),
     .item = &path_item, .example = "[/srv/files]",
     .doc = "directories that X-Sendfile may name files in; without it the field does nothing"},
    {"status_path", LA_T_TEXT, U(fastcgi.status_path), .parse = la_parse_url_path, .form = "a path such as /fpm-status",
     .example = "/fpm-status", .doc = "php-fpm's pm.status_path: asked every health.interval, for metrics and warnings"},
};
static const struct la_object fastcgi_object = {"fastcgi", KEYS(fastcgi_keys), .pos = -1};

static const struct la_key upstream_keys[] = {
    {"protocol", LA_T_ENUM, U(protocol), .names = protocols, .def = "http", .doc = "what its servers speak"},
    {"balance", LA_T_ENUM, U(balance), .names = balances, .def = "least_connections",
     .doc = "how a server is chosen"},
    {"hash_key", LA_T_TEXT, U(hash_header), .parse = la_parse_hash_key, .form = "client or header:NAME",
     .pattern = "^(client|header:.+)$", .example = "client",
     .doc = "what balance: hash hashes: client (its address) or header:NAME"},
    {"servers", LA_T_LIST, LA_K_REQUIRED, ARRAY(struct la_conf_upstream, server, servers),
     .item = &server_item, .doc = "interchangeable backends; a plain address is short for { address: ... }"},
    {"source", LA_T_LIST, ARRAY(struct la_conf_upstream, source, sources), .item = &source_item,
     .example = "[10.0.1.1, \"10.0.1.2:20000-29999\"]",
     .doc =
         "local addresses to connect from, each with a port range if wanted; default: the kernel's choice"},
    {"pool", LA_T_OBJECT, .keys = &pool_object, .doc = "connections to each server"},
    {"queue", LA_T_OBJECT, .keys = &queue_object, .doc = "requests that wait for a connection"},
    {"timeouts", LA_T_OBJECT, .keys = &timeout_object, .doc = "server side"},
    {"buffer", LA_T_OBJECT, .keys = &buffer_object, .doc = "so that a slow client does not hold a server"},
    {"retry", LA_T_OBJECT, .keys = &retry_object, .doc = "when the server hung up just as we sent"},
    {"connection_auth", LA_T_ENUM, U(connection_auth), .names = connection_auths, .def = "pin",
     .doc = "NTLM and Negotiate authenticate a connection: pin it to its client (one of pool.tunnels), or refuse them"},
    {"health", LA_T_OBJECT, .keys = &health_object, .doc = "active checks"},
    {"passive", LA_T_OBJECT, .keys = &passive_object, .doc = "what failed requests say about a server"},
    {"tls", LA_T_OBJECT, .keys = &upstream_tls_object, .doc = "https to the servers; `tls: {}` for the defaults"},
    {"send_proxy", LA_T_ENUM, U(send_proxy), .names = send_proxies, .def = "off",
     .doc = "PROXY protocol header to the servers; each request then has a connection of its own"},
    {"fastcgi", LA_T_OBJECT, .keys = &fastcgi_object, .doc = "scripts and files of FastCGI servers"},
    {"memcached", LA_T_OBJECT, LA_K_OTHER, .keys = &memcached_object, .doc = "for protocol: memcached"},
    {"request_headers", LA_T_OBJECT, .keys = &request_header_object,
     .doc = "what is changed on the way to the servers"},
};
static const struct la_object upstream_object = {"an upstream", sizeof(struct la_conf_upstream),
                                                 KEYS(upstream_keys),
                                                 .pos = offsetof(struct la_conf_upstream, pos)};
static const struct la_key upstream_item = {
    .type = LA_T_OBJECT, .size = sizeof(struct la_conf_upstream), .keys = &upstream_object};

/* ---- routes ---- */

#define R(field) FIELD(struct la_conf_route, field)
static const struct la_key route_timeout_keys[] = {
    {"response", LA_T_DURATION, R(response_ms), .low = 1, .high = DAY, .example = "10s",
     .doc = "in place of the upstream's timeouts.response"},
};
static const struct la_object route_timeout_object = {"timeouts", KEYS(route_timeout_keys), .pos = -1};
static const struct la_key route_keys[] = {
    {"host", LA_T_TEXT, R(host), .parse = la_parse_route_host,
     .form = "a host name such as www.example.com, \"*.example.com\" or \"*\"", .def = "\"*\"",
     .doc = "exact host, then \"*.example.com\", then \"*\"; without a port"},
    {"path", LA_T_TEXT, R(path), .parse = la_parse_route_path, .form = "a path such as /api", .def = "/",
     .doc = "prefix of the normalized path, at a segment boundary; the longest wins"},
    {"upstream", LA_T_STRING, LA_K_REQUIRED, R(upstream), .form = "the name of an upstream", .example = "app",
     .doc = "where it goes"},
    {"listen", LA_T_LIST, ARRAY(struct la_conf_route, listen, listens), .item = &string_item,
     .example = "[web]",
     .doc = "names of listeners; default: every http listener without an upstream of its own"},
    {"upgrade", LA_T_SET, R(upgrade_websocket), .names = upgrades, .def = "[]",
     .doc = "protocols a request may switch to: websocket"},
    {"timeouts", LA_T_OBJECT, .keys = &route_timeout_object, .doc = "for this route"},
};
static const struct la_object route_object = {"a route", sizeof(struct la_conf_route), KEYS(route_keys),
                                              .pos = offsetof(struct la_conf_route, pos)};
static const struct la_key route_item = {
    .type = LA_T_OBJECT, .size = sizeof(struct la_conf_route), .keys = &route_object};

/* ---- the file ---- */

#define C(field) FIELD(struct la_conf, field)
static const struct la_key admin_keys[] = {
    {"address", LA_T_TEXT, C(admin), .parse = la_parse_listen_address,
     .form = "an address such as 127.0.0.1:9900", .example = "127.0.0.1:9900",
     .doc = "metrics, status, dashboard; without it there is no admin listener"},
};
static const struct la_object admin_object = {"admin", KEYS(admin_keys), .pos = -1};

static const struct la_key forwarded_keys[] = {
    {"mode", LA_T_ENUM, C(forwarded.mode), .names = forwarded_modes, .def = "x_forwarded",
     .doc = "which fields tell the servers about the client; off: none is added, and they pass as they come"},
    {"trust", LA_T_LIST, ARRAY(struct la_conf, forwarded.trust, forwarded.trusts), .item = &net_item,
     .example = "[10.0.0.0/8]",
     .doc = "networks whose own forwarded fields are kept and extended; others' are replaced"},
};
static const struct la_object forwarded_object = {"forwarded", KEYS(forwarded_keys), .pos = -1};

static const struct la_key resolver_item = {.type = LA_T_TEXT,
                                            .size = sizeof(struct la_addr),
                                            .parse = la_parse_resolver,
                                            .form =
                                                "system, or IP addresses such as 10.0.0.2 or 10.0.0.2:53"};
static const struct la_key resolver_keys[] = {
    {"servers", LA_T_LIST, ARRAY(struct la_conf, resolver.server, resolver.servers), .item = &resolver_item,
     .def = "system", .doc = "name servers: system (/etc/resolv.conf), or IP addresses"},
    {"max_ttl", LA_T_DURATION, C(resolver.max_ttl_ms), .low = 1000, .high = DAY, .def = "30s",
     .doc = "a name is looked up again at least this often"},
};
static const struct la_object resolver_object = {"resolver", KEYS(resolver_keys), .pos = -1};

static const struct la_key log_keys[] = {
    {"level", LA_T_ENUM, C(log.level), .names = levels, .def = "info", .doc = "of the error log"},
    {"format", LA_T_ENUM, C(log.format), .names = formats, .def = "json",
     .doc = "of the access log; the error log is JSON with json, plain text with combined"},
    {"access", LA_T_TEXT, C(log.access), .parse = la_parse_access_log,
     .form = "off, stdout or a path that holds a /", .def = "off", .doc = "off, stdout or a path"},
    {"error", LA_T_TEXT, C(log.error), .parse = la_parse_error_log, .form = "stderr or a path that holds a /",
     .def = "stderr", .doc = "stderr or a path"},
};
static const struct la_object log_object = {"log", KEYS(log_keys), .pos = -1};

static const struct la_key limit_keys[] = {
    {"header_bytes", LA_T_SIZE, C(limits.header_bytes), .low = 1024, .high = 1 << 20, .def = "32KiB",
     .doc = "a request or response head"},
    {"headers", LA_T_INT, C(limits.headers), .low = 8, .high = 256, .def = "128",
     .doc = "fields in a head"},
    {"clients", LA_T_INT, LA_K_AUTO, C(limits.clients), .low = 1, .high = 1 << 24, .automatic = LA_AUTO,
     .def = "auto", .doc = "client connections, more wait to be accepted; auto = what the descriptor limit leaves"},
    {"clients_per_address", LA_T_INT, C(limits.clients_per_address), .high = 1 << 24, .def = "0",
     .doc = "client connections of one address; 0 = no limit"},
    {"body", LA_T_SIZE, C(limits.body), .high = 1ull << 44, .def = "0",
     .doc = "a request body; then 413; 0 = no limit"},
    {"handshake_cpu", LA_T_INT, C(limits.handshake_cpu), .low = 1, .high = 100, .def = "90",
     .doc = "percent of each worker's time for TLS handshakes of clients; over it new ones are refused; 100 = no limit"},
    {"memory", LA_T_SIZE, C(limits.memory), .low = 1 << 20, .high = 1ull << 44, .def = "1GiB",
     .doc = "all buffered bodies in memory"},
    {"disk", LA_T_SIZE, C(limits.disk), .high = 1ull << 50, .def = "10GiB",
     .doc = "all buffered bodies in files; 0 = no files: a request body over buffer.request gets 503"},
};
static const struct la_object limit_object = {"limits", KEYS(limit_keys), .pos = -1};

static const struct la_key root_keys[] = {
    {"workers", LA_T_INT, LA_K_AUTO, C(workers), .low = 1, .high = 1024, .automatic = 0, .def = "auto",
     .doc = "worker threads; auto = the CPUs this process may use"},
    {"user", LA_T_STRING, C(user), .example = "lastack",
     .doc = "drop to this user when started as root; default: stay"},
    {"drain_timeout", LA_T_DURATION, C(drain_timeout_ms), .high = DAY, .def = "30s",
     .doc = "how long exchanges may go on after SIGTERM"},
    {"include", LA_T_INCLUDE, .example = "conf.d/*.yaml",
     .doc = "more files with listen, upstreams and routes; relative to this one, in sorted order"},
    {"listen", LA_T_LIST, LA_K_REQUIRED | LA_K_MERGE, ARRAY(struct la_conf, listen, listens),
     .item = &listen_item, .doc = "where clients come in"},
    {"admin", LA_T_OBJECT, .keys = &admin_object, .doc = "for people and for monitoring"},
    {"upstreams", LA_T_MAP, LA_K_REQUIRED | LA_K_MERGE, ARRAY(struct la_conf, upstream, upstreams),
     .item = &upstream_item, .example = "app", .doc = "named groups of servers"},
    {"routes", LA_T_LIST, LA_K_MERGE, ARRAY(struct la_conf, route, routes), .item = &route_item,
     .doc = "for listeners without an upstream: host, then longest path"},
    {"forwarded", LA_T_OBJECT, .keys = &forwarded_object, .doc = "X-Forwarded-For, Forwarded and the like"},
    {"resolver", LA_T_OBJECT, .keys = &resolver_object, .doc = "for servers that are given by name"},
    {"log", LA_T_OBJECT, .keys = &log_object, .doc = "two logs: errors and requests"},
    {"limits", LA_T_OBJECT, .keys = &limit_object, .doc = "of the whole process"},
};
const struct la_object la_schema_root = {"the configuration", sizeof(struct la_conf), KEYS(root_keys),
                                         .pos = -1};
