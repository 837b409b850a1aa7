/* conf.h (layer: conf): the configuration as the rest of the program sees it: parsed, defaulted, checked and immutable.
 *
 * A `struct la_conf` owns everything it points to; it is freed as a whole with la_conf_free once no worker uses it.
 * The schema table (src/conf/schema.c) is the one source for parsing, defaults, error texts, `lastack schema` and
 * conf/reference.yaml. Loading reads files only; it never touches the network, never resolves a name.
 *
 * Units: *_ms milliseconds (0 = off where the reference says so), sizes in bytes. "auto" durations are LA_AUTO. */
#ifndef LASTACK_CONF_H
#define LASTACK_CONF_H

#include "lastack/addr.h"
#include "lastack/log.h"

#define LA_AUTO UINT64_MAX

enum la_protocol { LA_PROTO_HTTP, LA_PROTO_FASTCGI, LA_PROTO_MEMCACHED };
enum la_balance { LA_BALANCE_ROUND_ROBIN, LA_BALANCE_LEAST_CONNECTIONS, LA_BALANCE_HASH };
enum la_request_mode { LA_REQUEST_BUFFER, LA_REQUEST_STREAM };
enum la_connection_auth { LA_CONNECTION_AUTH_PIN, LA_CONNECTION_AUTH_REFUSE };
enum la_forwarded_mode { LA_FORWARDED_X, LA_FORWARDED_RFC7239, LA_FORWARDED_BOTH, LA_FORWARDED_OFF };
enum la_send_proxy { LA_SEND_PROXY_OFF, LA_SEND_PROXY_V1, LA_SEND_PROXY_V2 };
enum la_distribution { LA_MODULA, LA_KETAMA, LA_KETAMA_UNWEIGHTED, LA_JUMP };
enum la_keyhash {
    LA_HASH_ONE_AT_A_TIME, LA_HASH_MD5, LA_HASH_CRC32, LA_HASH_FNV1_32, LA_HASH_FNV1A_32, LA_HASH_FNV1_64, LA_HASH_FNV1A_64,
    LA_HASH_MURMUR
};
/* What becomes of the keys of a memcached server that is out: other servers take them, reads miss, everything fails. */
enum la_eject { LA_EJECT_MISS, LA_EJECT_REHASH, LA_EJECT_ERROR };
enum la_log_format { LA_FORMAT_JSON, LA_FORMAT_COMBINED };

/* Where a value stands, for messages made after parsing (check, doctor). */
struct la_conf_pos {
    const char *file; /* owned by the la_conf */
    unsigned line, column;
};

/* Files are absolute paths; nothing of them is read here. */
struct la_conf_certificate {
    char *certificate, *key, *ocsp; /* key NULL: in the same file; ocsp NULL: none */
    struct la_conf_pos pos;
};
enum la_client_verify { LA_CLIENT_REQUIRED, LA_CLIENT_OPTIONAL };

struct la_conf_listen {
    char *name;
    struct la_addr address;
    unsigned unix_mode; /* e.g. 0660 */
    unsigned backlog;   /* default 4096 */
    enum la_protocol protocol;
    char *upstream; /* NULL: routes decide */
    struct {
        struct la_conf_certificate *pair; /* none: a plain listener */
        size_t pairs;
        unsigned min_version; /* 0: TLS 1.2, 1: TLS 1.3 */
        char *ciphers, *ciphersuites;
        uint64_t session_ms; /* 0: no resumption */
        char *client_ca, *client_crl, *client_header; /* NULL: none */
        enum la_client_verify client_verify;
    } tls;
    struct la_net *accept_proxy;
    size_t accept_proxies;
    bool client_half_close_serve; /* client_half_close: abort (default) | serve */
    uint64_t handshake_ms, head_ms, body_ms, keepalive_ms, write_ms;
    uint64_t min_rate; /* bytes per second, request body; 0 = off */
    struct {
        char *prefix; /* before each key; NULL: none */
        bool flush_all_allowed;
    } memcached;
    struct la_conf_pos pos;
};

struct la_conf_server {
    char *text;             /* as written: label in metrics */
    struct la_addr address; /* len 0: `host` is a name that must be resolved */
    char *host;             /* NULL unless a name */
    uint16_t port;
    unsigned weight; /* 1..256 */
    bool backup, drain;
    uint64_t slow_start_ms;
    struct la_conf_pos pos;
};

struct la_conf_source {
    char *text;
    struct la_addr address;      /* port 0 */
    uint16_t port_low, port_high; /* 0,0: the kernel's range */
    struct la_conf_pos pos;
};

struct la_conf_header {
    char *name, *value;
};

/* Values that a request has, for fastcgi.params and fastcgi.try. $http_NAME is any field of the request. */
#define LA_VARIABLES(X)                                                                                       \
    X(URI, "uri") X(DOCUMENT_URI, "document_uri") X(REQUEST_URI, "request_uri") X(ARGS, "args")                  \
    X(QUERY_STRING, "query_string") X(IS_ARGS, "is_args") X(DOCUMENT_ROOT, "document_root")                    \
    X(REQUEST_FILENAME, "request_filename") X(SCRIPT_NAME, "fastcgi_script_name")                              \
    X(PATH_INFO, "fastcgi_path_info") X(REMOTE_ADDR, "remote_addr") X(REMOTE_PORT, "remote_port")              \
    X(SERVER_ADDR, "server_addr") X(SERVER_PORT, "server_port") X(SERVER_NAME, "server_name")                  \
    X(HOST, "host") X(SCHEME, "scheme") X(HTTPS, "https") X(METHOD, "request_method")                          \
    X(PROTOCOL, "server_protocol") X(CONTENT_TYPE, "content_type")
enum la_variable {
#define X(id, name) LA_VARIABLE_##id,
    LA_VARIABLES(X)
#undef X
    LA_VARIABLE_HTTP, /* $http_NAME */
    LA_VARIABLE_NONE,
};
/* The variable at the start of text, which begins with "$": its length with the "$" in *n; for HTTP *field is NAME. NONE: there is no
 * such variable. "${uri}" is fine too. */
enum la_variable la_variable_find(struct la_slice text, size_t *n, struct la_slice *field);

struct la_conf_internal {
    char *path; /* prefix, ends with "/" */
    char *root;
};

/* What a FastCGI upstream knows of the application: names and files. */
struct la_conf_fastcgi {
    char *root;        /* NULL: not a FastCGI upstream */
    char *script_root; /* the same directory as the scripts' side sees it; NULL: as here */
    char **index;
    size_t indexes;
    char **tried; /* file names or =404; the last one is the fallback */
    size_t tries;
    char **script; /* what a script's name ends with */
    size_t scripts;
    struct la_conf_header *param;
    size_t params;
    bool files;           /* false: root is not to be looked at here */
    bool follow_symlinks; /* false: those that lead out of root are not there */
    struct la_conf_internal *internal; /* where X-Accel-Redirect may lead */
    size_t internals;
    char **sendfile; /* X-Sendfile: directories */
    size_t sendfiles;
    char *status_path; /* NULL: the status page is not asked */
};

#define LA_UNKNOWN_REUSE_MS 60000 /* pool.idle_reuse: auto while nothing is known of a server, for what may be sent again */
#define LA_CONF_SETS_MOST 40 /* fields of request_headers.set: a request has room for these beside those that the proxy adds */

struct la_conf_upstream {
    char *name;
    enum la_protocol protocol;
    enum la_balance balance;
    char *hash_header; /* NULL: hash by client address */
    struct la_conf_server *server;
    size_t servers;
    struct la_conf_source *source;
    size_t sources;
    struct {
        unsigned max, tunnels;
        bool tunnels_half; /* of what max is now */
        bool advise;
        unsigned *range; /* auto: smallest, largest */
        size_t ranges;   /* 0: pool.max stays; else 2 */
        uint64_t idle_reuse_ms, idle_close_ms; /* LA_AUTO or a duration */
        uint64_t max_requests, max_age_ms;     /* 0 = no limit */
        uint64_t goodbye_ms, abort_wait_ms, drain_max_bytes;
    } pool;
    struct {
        unsigned length;
        uint64_t timeout_ms;
    } queue;
    struct {
        uint64_t connect_ms, handshake_ms, send_ms, response_ms, tunnel_ms, user_ms;
    } timeouts;
    struct {
        enum la_request_mode request_mode;
        uint64_t request_bytes, response_bytes, response_file_bytes;
        char *dir;
    } buffer;
    enum la_connection_auth connection_auth;
    unsigned retry_max;
    struct {
        char *path; /* NULL: no active checks */
        char *host; /* Host field of the check; default: the server's address */
        uint64_t interval_ms, timeout_ms;
        unsigned unhealthy, healthy;
    } health;
    struct {
        unsigned failures;   /* passive: consecutive failures until a server is out; default 3, 0 = never */
        uint64_t out_ms;     /* first time out, doubled each time; default 1 s */
        uint64_t out_max_ms; /* default 30 s */
    } passive;
    struct {
        bool on, verify;
        unsigned min_version;
        char *ca, *crl, *server_name, *certificate, *key, *ciphers, *ciphersuites;
    } tls;
    enum la_send_proxy send_proxy;
    struct {
        enum la_distribution distribution;
        enum la_keyhash hash; /* of keys, once the configuration is loaded */
        unsigned key_hash;    /* 0: auto; else la_keyhash + 1. Worked into hash */
        char *hash_tag; /* two characters; NULL: none */
        enum la_eject auto_eject;
        bool failed_get_misses; /* failed_get: error (default) | miss */
        bool flush_on_return;
        char *failover;  /* upstreams; NULL: none */
        char *warm_from;
        uint64_t warm_exptime_ms;
        uint64_t value_max;
    } memcached;
    struct la_conf_header *set; /* at most LA_CONF_SETS_MOST */
    size_t sets;
    char **remove;
    size_t removes;
    struct la_conf_fastcgi fastcgi;
    struct la_conf_pos pos;
};
/* The most connections that a server may come to have. */
static inline unsigned la_conf_pool_most(const struct la_conf_upstream *u)
{
    return u->pool.ranges == 2 ? u->pool.range[1] : u->pool.max;
}
/* pool.tunnels where pool.max is now so many. */
static inline unsigned la_conf_tunnels(const struct la_conf_upstream *u, unsigned max)
{
    if (u->pool.tunnels_half)
        return max > 1 ? max / 2 : 1;
    return u->pool.tunnels < max ? u->pool.tunnels : max;
}
/* The key that says so. */
static inline const char *la_conf_pool_key(const struct la_conf_upstream *u)
{
    return u->pool.ranges == 2 ? "pool.auto" : "pool.max";
}

struct la_conf_route {
    char *host; /* lower case: exact, "*.x", or "*" */
    char *path; /* prefix, normalized, starts with '/' */
    char *upstream;
    char **listen; /* names; none: every http listener without an upstream of its own */
    size_t listens;
    bool upgrade_websocket;
    uint64_t response_ms; /* 0: the upstream's */
    struct la_conf_pos pos;
};

struct la_conf {
    unsigned workers; /* 0 = auto */
    char *user;       /* NULL: stay */
    uint64_t drain_timeout_ms;
    struct la_conf_listen *listen;
    size_t listens;
    struct la_addr admin; /* len 0: no admin listener */
    struct la_conf_upstream *upstream;
    size_t upstreams;
    struct la_conf_route *route;
    size_t routes;
    struct {
        enum la_forwarded_mode mode;
        struct la_net *trust;
        size_t trusts;
    } forwarded;
    struct {
        struct la_addr *server; /* none: the system's */
        size_t servers;
        uint64_t max_ttl_ms;
    } resolver;
    struct {
        enum la_log_level level;
        enum la_log_format format;
        char *access; /* NULL: off; "stdout"; or a path */
        char *error;  /* NULL: standard error */
    } log;
    struct {
        uint64_t header_bytes;
        unsigned headers;
        uint64_t clients; /* LA_AUTO: from the descriptor limit */
        uint64_t clients_per_address;
        uint64_t body; /* 0 = no limit */
        uint64_t memory, disk;
        unsigned handshake_cpu; /* percent of each worker's time */
    } limits;
    bool client_headers; /* some listener passes the subject of client certificates */
    char **files; /* every file read, for the record */
    size_t file_count;
    struct la_conf_own *own; /* memory and positions: src/conf only; NULL in a la_conf that was not loaded */
};

/* One finding of the loader or of a check. */
struct la_conf_finding {
    bool warning;
    char *text; /* "conf.yaml:12:5: upstreams.app.pool.maxx: unknown key, did you mean \"max\"?" */
};
struct la_conf_findings {
    struct la_conf_finding *item;
    size_t n, errors;
    bool host_unseen; /* values are wrong, so la_conf_check_host and what follows it have not run yet */
};
void la_conf_findings_fini(struct la_conf_findings *f);
void la_conf_finding_add(struct la_conf_findings *f, bool warning, const struct la_conf_pos *pos, const char *fmt, ...)
    LA_PRINTF(4, 5);

/* Reads path and its includes. Returns NULL when there is any error; all of them are in *out then. Warnings
 * alone do not fail. */
struct la_conf *la_conf_load(const char *path, struct la_conf_findings *out);
/* The same from memory; name stands for the file in messages. */
struct la_conf *la_conf_load_text(const char *name, struct la_slice text, struct la_conf_findings *out);
void la_conf_free(struct la_conf *c);

/* Where a value was written, by its path ("upstreams.app.pool.max", "listen[0].address"; items count through the
 * included files). A value that was left out: where its nearest parent stands; NULL when there is none of those. */
const struct la_conf_pos *la_conf_where(const struct la_conf *c, const char *fmt, ...) LA_PRINTF(2, 3);

/* Checks that look at this host but not at the network: sources are local addresses, users exist, files can be
 * read, listeners can be bound in principle (family, privileged port), directories can be written. For `check` and `run`. */
void la_conf_check_host(const struct la_conf *c, struct la_conf_findings *out);

/* What `lastack schema` prints (JSON Schema, draft 2020-12), and what conf/reference.yaml holds. */
void la_conf_print_schema(void);
void la_conf_print_reference(void);

const char *la_protocol_name(enum la_protocol p);
/* Binds a TCP socket to this address and closes it again: 0, or errno. EADDRNOTAVAIL: it is not an address of this host. */
int la_conf_try_bind(const struct la_addr *address);
/* How many workers this configuration asks for: its number, or what this process may use (affinity and the cgroup's quota). */
unsigned la_conf_workers(const struct la_conf *c);
unsigned long la_conf_quota_percent(void); /* of one CPU, that cgroups' quotas allow; 0: no quota */
uint64_t la_conf_quota_memory(void); /* bytes that cgroups allow; 0: no bound */
unsigned la_conf_quota_cpus(void); /* CPUs that a cgroup's quota allows, rounded up; 0: no quota */

#endif
