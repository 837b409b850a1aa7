/* codec_http1_head.h: what holds for every parsed head, and that the verdict does not depend on portions. */
#ifndef LASTACK_FUZZ_HTTP1_HEAD_H
#define LASTACK_FUZZ_HTTP1_HEAD_H

#include "lastack/http1.h"

#include "fuzz.h"

/* One call with p[0..n): a request, or a response to `method`. */
struct fuzz_side {
    bool response, asked_upgrade;
    enum la_http_method method;
    struct la_http_limits limits;
};
static inline enum la_http_result fuzz_parse(const struct fuzz_side *side, struct la_http_head *head,
                                             const char *p, size_t n, size_t *seen, enum la_err *err)
{
    return side->response ? la_http_parse_response(head, p, n, seen, &side->limits, side->method,
                                                   side->asked_upgrade, err)
                          : la_http_parse_request(head, p, n, seen, &side->limits, err);
}

static inline bool fuzz_is_clean(struct la_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static inline void fuzz_check_head(const struct la_http_head *h, size_t n, bool response)
{
    FUZZ_CHECK(h->head_n >= 4 && h->head_n <= n && memcmp(h->base + h->head_n - 4, "\r\n\r\n", 4) == 0);
    FUZZ_CHECK(h->minor <= 1 && h->headers <= LA_HTTP_MAX_HEADERS);
    for (size_t i = 0; i < h->headers; i++) {
        struct la_slice name = la_http_name(h, i), value = la_http_value(h, i);
        FUZZ_CHECK(name.p >= h->base && value.p > name.p + name.n &&
                   value.p + value.n + 2 <= h->base + h->head_n);
        FUZZ_CHECK(la_http_is_token(name) && fuzz_is_clean(value));
        FUZZ_CHECK(value.n == 0 || (value.p[0] != ' ' && value.p[0] != '\t' && value.p[value.n - 1] != ' ' &&
                                    value.p[value.n - 1] != '\t'));
        FUZZ_CHECK(h->header[i].field == la_http_field_find(name));
    }
    if (h->framing == LA_FRAMING_LENGTH)
        FUZZ_CHECK(h->has_length && h->length == h->announced_length);
    else
        FUZZ_CHECK(h->length == 0);
    FUZZ_CHECK(!(h->has_length && (h->present >> LA_FIELD_TRANSFER_ENCODING & 1)));
    if (response) {
        FUZZ_CHECK(h->status >= 100 && h->status <= 599 && fuzz_is_clean(h->reason));
        FUZZ_CHECK(!h->keep_alive || h->framing != LA_FRAMING_CLOSE);
        return;
    }
    FUZZ_CHECK(h->framing != LA_FRAMING_CLOSE && h->framing != LA_FRAMING_TUNNEL);
    FUZZ_CHECK(h->target.n > 0 && la_http_is_token(h->method_text));
    FUZZ_CHECK(h->target.p[0] == '/' || h->asterisk_form || h->authority_form);
    FUZZ_CHECK(h->host.n > 0 ? la_http_is_host(h->host) : h->minor == 0);
    for (size_t i = 0; i < h->target.n; i++)
        FUZZ_CHECK((unsigned char)h->target.p[i] > 0x20 && (unsigned char)h->target.p[i] < 0x7f &&
                   h->target.p[i] != '#');
}

/* The same bytes, first a part of them: DONE, ERROR and MORE must come at the same place. */
static inline void fuzz_check_split(const struct fuzz_side *side, const uint8_t *data, size_t size,
                                    size_t cut, enum la_http_result whole,
                                    const struct la_http_head *expected, enum la_err expected_err)
{
    static struct la_http_head head;
    size_t seen = 0;
    enum la_err err = LA_OK;
    char *copy = fuzz_copy(data, cut);
    enum la_http_result r = fuzz_parse(side, &head, copy, cut, &seen, &err);
    free(copy);
    if (whole == LA_HTTP_DONE && cut >= expected->head_n) {
        FUZZ_CHECK(r == LA_HTTP_DONE && head.head_n == expected->head_n);
        return;
    }
    FUZZ_CHECK(r != LA_HTTP_DONE);
    if (r == LA_HTTP_ERROR) {
        FUZZ_CHECK(whole == LA_HTTP_ERROR && err == expected_err);
        return;
    }
    copy = fuzz_copy(data, size);
    r = fuzz_parse(side, &head, copy, size, &seen, &err);
    if (r == LA_HTTP_ERROR)
        FUZZ_CHECK(whole == LA_HTTP_ERROR && err == expected_err);
    else if (r == LA_HTTP_DONE)
        FUZZ_CHECK(whole == LA_HTTP_DONE && head.head_n == expected->head_n &&
                   head.headers == expected->headers && head.framing == expected->framing &&
                   head.length == expected->length);
    else
        /* A malformed line that has not ended yet may be found later; never a complete head. */
        FUZZ_CHECK(whole != LA_HTTP_DONE && seen == size);
    free(copy);
}

#endif
