/* response.c: the response as the client gets it: the server's fields less what belongs to one hop, plus Via; and the
 * responses of our own, with their RFC 9209 Proxy-Status. */
#include "exchange.h"
#include "accel.h"
#include "lastack/condition.h"
#include "site.h"

#include <stdio.h>

struct la_response *la_response_fresh(struct la_exchange *x)
{
    struct la_response *r = x->proxy->response;
    memset(r->fields.drop, 0, sizeof r->fields.drop);
    r->fields.extras = 0;
    r->fields.head = NULL;
    r->reason = la_slice(NULL, 0);
    r->upgrade = la_slice(NULL, 0);
    r->announce = r->close = false;
    r->length = 0;
    r->body = LA_BODY_NONE;
    return r;
}

/* IMF-fixdate, made when a second is over; between those nobody's clock is asked. */
struct la_slice la_response_date(const struct la_exchange *x)
{
    static _Thread_local char text[LA_HTTP_DATE];
    static _Thread_local uint64_t until_ns;
    uint64_t now_ns = la_loop_now_ns(x->proxy->env.loop);
    if (now_ns >= until_ns) {
        uint64_t wall_ns = la_wall_ns();
        la_http_date_write(text, (int64_t)(wall_ns / 1000000000u));
        until_ns = now_ns + 1000000000u - wall_ns % 1000000000u;
    }
    return la_slice(text, LA_HTTP_DATE - 1);
}

void la_response_from_head(struct la_exchange *x, const struct la_http_head *h)
{
    struct la_response *r = la_response_fresh(x);
    r->status = h->status;
    r->reason = h->reason;
    r->fields.head = h;
    bool in_our_name = (h->present & LA_FIELD_BIT(PROXY_STATUS)) != 0 || x->conf->fastcgi.root != NULL;
    for (size_t i = 0; in_our_name && i < h->headers; i++) /* not passed on */
        if (h->header[i].field == LA_FIELD_PROXY_STATUS ||
            (h->header[i].field == LA_FIELD_OTHER && la_accel_is_ours(&x->conf->fastcgi, la_http_name(h, i))))
            la_fields_drop(&r->fields, i);
    la_pin_strip(x, h, &r->fields);
    la_fields_add_known(&r->fields, LA_SLICE("Via"), la_via(h->minor));
    if ((h->present & LA_FIELD_BIT(DATE)) == 0 && h->status >= 200) /* RFC 9110 6.6.1 */
        la_fields_add_known(&r->fields, LA_SLICE("Date"), la_response_date(x));
    r->announce = h->has_length;
    r->length = h->announced_length;
    switch (h->framing) {
    case LA_FRAMING_NONE: r->body = LA_BODY_NONE; break;
    case LA_FRAMING_LENGTH: r->body = LA_BODY_LENGTH; break;
    case LA_FRAMING_CHUNKED:
    case LA_FRAMING_CLOSE: r->body = LA_BODY_UNKNOWN; break;
    case LA_FRAMING_TUNNEL: r->upgrade = h->upgrade; break;
    }
    /* A request body that is still under way would be taken for the next request. */
    r->close = !x->turn.body_done;
    x->status = h->status;
}

void la_response_error(struct la_exchange *x, enum la_err e)
{
    const struct la_err_info *info = la_err_info(e);
    struct la_response *r = la_response_fresh(x);
    char status[320], body[160];
    int n;
    if (*info->proxy_status)
        n = snprintf(status, sizeof status, "lastack; error=%s; details=\"%s: %s\"", info->proxy_status, info->name,
                     info->text);
    else
        n = snprintf(status, sizeof status, "lastack; details=\"%s: %s\"", info->name, info->text);
    struct la_slice reason = la_http_reason(info->status);
    int body_n = snprintf(body, sizeof body, "%d %.*s\n%s\n", info->status, LA_SLICE_ARGS(reason), info->text);
    r->status = info->status;
    r->body = LA_BODY_LENGTH;
    r->announce = true;
    r->length = (uint64_t)body_n;
    /* After a request that was not understood, or whose body is not all read, nothing more can be understood. */
    bool understood = info->status >= 500 || e == LA_LAST_HOP || e == LA_NO_ROUTE || e == LA_METHOD_REFUSED || e == LA_AUTH_REFUSED ||
                      e == LA_NOT_FOUND || e == LA_FORBIDDEN;
    r->close = !x->turn.body_done || x->turn.method == LA_METHOD_CONNECT || !understood;
    la_fields_add(&r->fields, LA_SLICE("Date"), la_response_date(x));
    la_fields_add(&r->fields, LA_SLICE("Content-Type"), LA_SLICE("text/plain; charset=utf-8"));
    la_fields_add(&r->fields, LA_SLICE("Proxy-Status"), la_slice(status, (size_t)n));
    if (info->status == 503)
        la_fields_add(&r->fields, LA_SLICE("Retry-After"), LA_SLICE("1"));
    if (e == LA_METHOD_REFUSED || e == LA_LAST_HOP)
        la_fields_add(&r->fields, LA_SLICE("Allow"),
                      x->proxy->site->kind == LA_SITE_FILE ? LA_SLICE("GET, HEAD")
                                                           : LA_SLICE("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"));
    x->status = info->status;
    la_exchange_hold(x); /* a client that goes within takes it along */
    la_turn_respond(&x->turn, r);
    la_turn_send(&x->turn, la_slice(body, (size_t)body_n));
    la_turn_end(&x->turn, la_slice(NULL, 0));
    la_exchange_let_go(x);
}
