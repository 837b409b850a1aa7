/* message.h (layer: proto): requests and responses as the exchange hands them to a protocol, free of any one protocol's
 * framing. They point to memory of the caller, valid for the call they are passed to. */
#ifndef LASTACK_MESSAGE_H
#define LASTACK_MESSAGE_H

#include "lastack/http1.h"

#define LA_EXTRA_MAX 48

struct la_extra {
    struct la_slice name, value;
};

/* Header fields: those of a parsed head, less the dropped ones, plus extra ones. */
struct la_fields {
    const struct la_http_head *head; /* may be NULL */
    uint64_t drop[LA_HTTP_MAX_HEADERS / 64];
    unsigned extras;
    struct la_extra extra[LA_EXTRA_MAX];
    uint64_t known; /* bits: of these extra ones no control character can be in */
};
_Static_assert(LA_EXTRA_MAX <= 64, "known");
static inline void la_fields_drop(struct la_fields *f, size_t i) { f->drop[i / 64] |= 1ull << (i % 64); }
static inline bool la_fields_dropped(const struct la_fields *f, size_t i) { return f->drop[i / 64] >> (i % 64) & 1; }
static inline void la_fields_add(struct la_fields *f, struct la_slice name, struct la_slice value)
{
    if (f->extras == LA_EXTRA_MAX)
        return;
    f->known &= ~(UINT64_C(1) << f->extras);
    f->extra[f->extras++] = (struct la_extra){name, value};
}
/* The same for a value that cannot hold a control character. */
static inline void la_fields_add_known(struct la_fields *f, struct la_slice name, struct la_slice value)
{
    if (f->extras == LA_EXTRA_MAX)
        return;
    f->known |= UINT64_C(1) << f->extras;
    f->extra[f->extras++] = (struct la_extra){name, value};
}

enum la_body_kind { LA_BODY_NONE, LA_BODY_LENGTH, LA_BODY_UNKNOWN };

struct la_request {
    struct la_slice method, target, host;
    struct la_fields fields; /* no Host, no framing fields, no hop-by-hop fields are written from it */
    enum la_body_kind body;
    uint64_t length;
    bool expect_continue; /* forward Expect: 100-continue */
    struct la_slice upgrade; /* protocol to ask for; empty: none */
    const struct la_extra *param; /* what a script is told beside the fields; for protocols that have such things */
    unsigned params;
};

struct la_response {
    int status;
    struct la_slice reason;
    struct la_fields fields;
    enum la_body_kind body; /* UNKNOWN: until la_turn_end */
    uint64_t length;        /* LENGTH; for HEAD and 304: what is announced when announce is set */
    bool announce;
    bool close;              /* end the client connection after it */
    struct la_slice upgrade; /* 101: the protocol */
};

/* Retry-After, Content-Type and the like: a small response of our own. */

#endif
