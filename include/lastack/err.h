/* err.h (layer: base): every expected failure, once: its name (metrics, logs), its text, the status a client gets,
 * and its RFC 9209 Proxy-Status error type ("" = none fits, only details are given). */
#ifndef LASTACK_ERR_H
#define LASTACK_ERR_H

#include "lastack/base.h"

/*       id                  name                     status  Proxy-Status type              text */
#define LA_ERRORS(X)                                                                                               \
    X(OK, "ok", 0, "", "no error")                                                                                 \
    /* the client's fault */                                                                                       \
    X(BAD_REQUEST, "bad_request", 400, "http_request_error", "malformed request")                                  \
    X(BAD_FRAMING, "bad_framing", 400, "http_request_error", "ambiguous message framing")                          \
    X(BAD_CHUNK, "bad_chunk", 400, "http_request_error", "malformed chunked body")                                 \
    X(BAD_HOST, "bad_host", 400, "http_request_error", "missing or malformed Host")                                \
    X(HEAD_TIMEOUT, "head_timeout", 408, "http_request_error", "request head not received in time")                \
    X(BODY_TIMEOUT, "body_timeout", 408, "http_request_error", "request body not received in time")                \
    X(BODY_TOO_LARGE, "body_too_large", 413, "http_request_error", "request body over limits.body")                \
    X(URI_TOO_LONG, "uri_too_long", 414, "http_request_error", "request target too long")                          \
    X(EXPECTATION, "expectation_failed", 417, "http_request_error", "unknown expectation")                         \
    X(HEAD_TOO_LARGE, "head_too_large", 431, "http_request_error", "request head over limits.header_bytes or limits.headers") \
    X(METHOD_REFUSED, "method_refused", 405, "http_request_denied", "method not allowed here")                     \
    X(AUTH_REFUSED, "connection_auth_refused", 403, "http_request_denied", "NTLM and Negotiate are refused here")    \
    X(NOT_IMPLEMENTED, "not_implemented", 501, "http_request_error", "method or coding not implemented")           \
    X(VERSION, "version", 505, "http_request_error", "HTTP version not supported")                                 \
    X(LAST_HOP, "last_hop", 200, "", "Max-Forwards: 0, answered by the proxy")                                       \
    X(CLIENT_GONE, "client_gone", 499, "", "client left before the response")                                      \
    X(CLIENT_SLOW, "client_slow", 499, "", "client did not read the response in time")                             \
    X(BAD_PATH, "bad_path", 400, "http_request_error", "path cannot be a file's")                                  \
    X(FORBIDDEN, "forbidden", 403, "http_request_denied", "file may not be read")                                  \
    X(NOT_FOUND, "not_found", 404, "", "no such file")                                                             \
    X(NO_ROUTE, "no_route", 404, "destination_not_found", "no route for this host and path")                       \
    /* our own bounds */                                                                                           \
    X(QUEUE_FULL, "queue_full", 503, "connection_limit_reached", "queue.length reached")                           \
    X(QUEUE_TIMEOUT, "queue_timeout", 503, "connection_limit_reached", "queue.timeout: no connection came free")   \
    X(TUNNELS_FULL, "tunnels_full", 503, "connection_limit_reached", "pool.tunnels reached")                       \
    X(NO_SERVER, "no_server", 503, "destination_unavailable", "no server is up")                                   \
    X(NO_ADDRESS, "no_address", 503, "dns_error", "server name has no address")                                    \
    X(MEMORY, "memory_limit", 503, "proxy_internal_error", "limits.memory reached")                                \
    X(DISK, "disk_limit", 503, "proxy_internal_error", "limits.disk reached or disk not writable")                 \
    X(DRAINING, "draining", 503, "proxy_internal_response", "the proxy is shutting down")                          \
    X(INTERNAL, "internal", 500, "proxy_internal_error", "internal error")                                         \
    /* ports: local, never blamed on a server */                                                                   \
    X(NO_PORT, "no_port", 503, "connection_limit_reached", "no local port free on any source")                     \
    /* the server's fault */                                                                                       \
    X(CONNECT_REFUSED, "connect_refused", 502, "connection_refused", "server refused the connection")              \
    X(CONNECT_TIMEOUT, "connect_timeout", 504, "connection_timeout", "server did not accept in time")              \
    X(CONNECT_UNREACHABLE, "connect_unreachable", 502, "destination_ip_unroutable", "server not reachable")        \
    X(CONNECT_FAILED, "connect_failed", 502, "destination_unavailable", "connecting failed")                       \
    X(TLS_TIMEOUT, "tls_timeout", 504, "connection_timeout", "TLS handshake with the server not done in time")     \
    X(TLS_CLOSED, "tls_closed", 502, "connection_terminated", "server closed in the TLS handshake")                \
    X(TLS_ALERT, "tls_alert", 502, "tls_alert_received", "server refused the TLS handshake")                       \
    X(TLS_HANDSHAKE, "tls_handshake", 502, "tls_protocol_error", "TLS handshake with the server failed")           \
    X(TLS_EXPIRED, "tls_expired", 502, "tls_certificate_error", "server certificate has expired")                  \
    X(TLS_NOT_YET_VALID, "tls_not_yet_valid", 502, "tls_certificate_error", "server certificate is not valid yet") \
    X(TLS_SELF_SIGNED, "tls_self_signed", 502, "tls_certificate_error", "server certificate is self-signed")       \
    X(TLS_UNKNOWN_CA, "tls_unknown_ca", 502, "tls_certificate_error", "server certificate of an unknown authority") \
    X(TLS_WRONG_NAME, "tls_wrong_name", 502, "tls_certificate_error", "server certificate is for another name")    \
    X(TLS_REVOKED, "tls_revoked", 502, "tls_certificate_error", "server certificate has been revoked")             \
    X(TLS_BAD_CERTIFICATE, "tls_bad_certificate", 502, "tls_certificate_error", "server certificate not accepted") \
    X(SERVER_CLOSED, "server_closed", 502, "connection_terminated", "server closed before its response")           \
    X(SERVER_RESET, "server_reset", 502, "connection_terminated", "server reset the connection")                   \
    X(SEND_TIMEOUT, "send_timeout", 504, "connection_write_timeout", "server did not take the request in time")    \
    X(RESPONSE_TIMEOUT, "response_timeout", 504, "http_response_timeout", "server did not respond in time")        \
    X(RESPONSE_STALLED, "response_stalled", 504, "connection_read_timeout", "server stopped in its response")      \
    X(RESPONSE_BAD, "response_malformed", 502, "http_protocol_error", "malformed response")                        \
    X(RESPONSE_UNASKED, "response_unasked", 502, "http_protocol_error", "bytes that nobody asked for")               \
    X(RESPONSE_FRAMING, "response_framing", 502, "http_protocol_error", "ambiguous response framing")              \
    X(RESPONSE_HEAD_SIZE, "response_head_too_large", 502, "http_response_header_section_size", "response head too large") \
    X(RESPONSE_INCOMPLETE, "response_incomplete", 502, "http_response_incomplete", "response ended early")         \
    X(RESPONSE_CHUNK, "response_bad_chunk", 502, "http_response_transfer_coding", "malformed chunked response")    \
    X(AUTH_REQUIRED, "connection_auth_required", 502, "proxy_configuration_error", "server takes only NTLM or Negotiate, refused here") \
    X(UPGRADE_FAILED, "upgrade_unexpected", 502, "http_upgrade_failed", "a 101 that was not asked for")

enum la_err {
#define X(id, name, status, type, text) LA_##id,
    LA_ERRORS(X)
#undef X
    LA_ERR_COUNT
};

struct la_err_info {
    const char *name;
    int status; /* what the client gets */
    const char *proxy_status;
    const char *text;
};
const struct la_err_info *la_err_info(enum la_err e);
static inline const char *la_err_name(enum la_err e) { return la_err_info(e)->name; }

#endif
