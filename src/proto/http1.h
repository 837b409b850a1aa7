/* http1.h: what the files of the HTTP/1.1 client and server side share. */
#ifndef LASTACK_PROTO_HTTP1_H
#define LASTACK_PROTO_HTTP1_H

#include "lastack/client.h"

enum la_client_state { LA_CLIENT_OPENING, LA_CLIENT_HEAD, LA_CLIENT_BODY, LA_CLIENT_TURN, LA_CLIENT_LINGER, LA_CLIENT_TUNNEL };

/* Writes the fields of a message that are not framing, not hop-by-hop and not dropped, then the extra ones. */
void la_http1_write_fields(struct la_http_writer *w, const struct la_fields *f);

/* The trailer fields that may be passed on (RFC 9110 6.5.1), as lines. */
void la_http1_write_trailers(struct la_http_writer *w, const struct la_http_body *b);

/* http1_client.c, for http1_turn.c */
void la_client_turn_over(struct la_client *c, struct la_turn *t, bool keep, bool quick);
void la_client_gone(struct la_client *c, enum la_err e);
void la_client_arm_timer(struct la_client *c);
void la_client_want(struct la_client *c);

void la_client_set_peer(struct la_client *c, const struct la_addr *peer);

/* client_open.c, for http1_client.c */
void la_client_begin(struct la_client *c, const struct la_addr *peer); /* sets the first state */
/* LA_CLIENT_OPENING: goes on; true: requests may come. The client may have ended. */
bool la_client_open(struct la_client *c);
bool la_front_opens(const struct la_front *f, const struct la_addr *peer); /* does anything come before its first request? */
void la_client_hand_over(struct la_client *c); /* http1_client.c: to the front's own protocol */
void la_client_open_timeout(struct la_client *c);

/* http1_turn.c, for http1_client.c */
void la_turn_on_writable(struct la_turn *t);
void la_turn_fini(struct la_turn *t); /* its buffers; the exchange keeps the struct */
bool la_turn_waits_to_write(const struct la_turn *t);

#endif
