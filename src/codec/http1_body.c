/* http1_body.c: the body decoder: content by length, by chunks, or until the FIN.
 *
 * Content is never copied: each call hands out one slice of the caller's bytes. Chunk lines and the trailer
 * section go through a state machine byte by byte, so any split of the input gives the same result.
 * Everything that is not content is bounded: a chunk line, all extensions of a body, the trailer section.
 * Exact CRLF everywhere, extensions by their grammar without white space. An error is final. */
#include "lastack/http1.h"

#include "codec/http1_chars.h"

#define SIZE_DIGITS 16

/* Names in the order of RFC 9112 7.1. The states from EXT_START to EXT_QUOTED_END are in an extension. */
enum state {
    SIZE_START, /* first digit */
    SIZE,
    EXT_START, /* behind ";" */
    EXT_NAME,
    EXT_VALUE_START, /* behind "=" */
    EXT_VALUE,
    EXT_QUOTED,
    EXT_QUOTED_PAIR,
    EXT_QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START, /* at the start of a line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
    BAD,
};

void la_http_body_init(struct la_http_body *b, const struct la_http_head *head, char *trailer,
                       uint32_t trailer_cap)
{
    *b = (struct la_http_body){
        .framing = head->framing,
        .left = head->framing == LA_FRAMING_LENGTH ? head->length : 0,
        .state = SIZE_START,
        .trailer = trailer,
        .trailer_cap = trailer != NULL ? trailer_cap : 0,
    };
    b->done = head->framing == LA_FRAMING_NONE || (head->framing == LA_FRAMING_LENGTH && b->left == 0);
}

static enum state after_extension(char c)
{
    return c == ';' ? EXT_START : c == '\r' ? SIZE_LF : BAD;
}

static enum state step_size(struct la_http_body *b, char c)
{
    if (la_char_is(c, LA_CHAR_HEX)) {
        if (b->digits == SIZE_DIGITS)
            return BAD; /* 16 digits are 64 bits: no more can be lost */
        b->digits++;
        b->left = b->left << 4 | la_char_hex(c);
        return SIZE;
    }
    return b->state == SIZE ? after_extension(c) : BAD;
}

static enum state step_extension(struct la_http_body *b, char c)
{
    if (c != '\r' && ++b->ext_total > LA_HTTP_CHUNK_EXT)
        return BAD;
    switch ((enum state)b->state) {
    case EXT_START: return la_char_is(c, LA_CHAR_TOKEN) ? EXT_NAME : BAD;
    case EXT_NAME:
        if (la_char_is(c, LA_CHAR_TOKEN))
            return EXT_NAME;
        return c == '=' ? EXT_VALUE_START : after_extension(c);
    case EXT_VALUE_START: return c == '"' ? EXT_QUOTED : la_char_is(c, LA_CHAR_TOKEN) ? EXT_VALUE : BAD;
    case EXT_VALUE: return la_char_is(c, LA_CHAR_TOKEN) ? EXT_VALUE : after_extension(c);
    case EXT_QUOTED:
        if (c == '"')
            return EXT_QUOTED_END;
        return c == '\\' ? EXT_QUOTED_PAIR : la_char_is(c, LA_CHAR_QUOTED) ? EXT_QUOTED : BAD;
    case EXT_QUOTED_PAIR: return la_char_is_value(c) ? EXT_QUOTED : BAD;
    default: return after_extension(c);
    }
}

/* Keeps a trailer byte. When there is no room, the begun line and all that follow are dropped: whole lines or
 * nothing. */
static void keep(struct la_http_body *b, char c)
{
    if (b->trailer_cut || b->trailer_cap == 0)
        return;
    if (b->trailer_n < b->trailer_cap) {
        b->trailer[b->trailer_n++] = c;
        return;
    }
    b->trailer_cut = true;
    while (b->trailer_n > 0 && b->trailer[b->trailer_n - 1] != '\n')
        b->trailer_n--;
}

static enum state step_trailer(struct la_http_body *b, char c)
{
    enum state next = BAD;
    switch ((enum state)b->state) {
    case TRAILER_START:
        if (c == '\r')
            return END_LF;
        next = la_char_is(c, LA_CHAR_TOKEN) ? TRAILER_NAME : BAD;
        break;
    case TRAILER_NAME:
        next = c == ':' ? TRAILER_VALUE : la_char_is(c, LA_CHAR_TOKEN) ? TRAILER_NAME : BAD;
        break;
    case TRAILER_VALUE: next = c == '\r' ? TRAILER_LF : la_char_is_value(c) ? TRAILER_VALUE : BAD; break;
    default: next = c == '\n' ? TRAILER_START : BAD; break;
    }
    if (next == BAD || ++b->line > LA_HTTP_TRAILER)
        return BAD;
    keep(b, c);
    return next;
}

/* One byte that is not content. */
static enum state step(struct la_http_body *b, char c)
{
    if (b->state < SIZE_LF && ++b->line > LA_HTTP_CHUNK_LINE)
        return BAD;
    switch ((enum state)b->state) {
    case SIZE_START:
    case SIZE: return step_size(b, c);
    case SIZE_LF: b->line = 0; return c != '\n' ? BAD : b->left > 0 ? DATA : TRAILER_START;
    case DATA_CR: return c == '\r' ? DATA_LF : BAD;
    case DATA_LF: b->digits = 0; return c == '\n' ? SIZE_START : BAD;
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF: return step_trailer(b, c);
    case END_LF: b->done = c == '\n'; return b->done ? END_LF : BAD;
    case BAD: return BAD;
    default: return step_extension(b, c);
    }
}

static size_t feed_chunked(struct la_http_body *b, const char *p, size_t n, struct la_slice *payload,
                           enum la_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (b->state == DATA) {
            *payload = la_slice(p + i, (size_t)la_min64(b->left, n - i));
            b->left -= payload->n;
            if (b->left == 0)
                b->state = DATA_CR;
            return i + payload->n;
        }
        b->state = (uint8_t)step(b, p[i]);
        if (b->state == BAD) {
            *err = LA_BAD_CHUNK;
            return SIZE_MAX;
        }
        if (b->done)
            return i + 1;
    }
    return n;
}

size_t la_http_body_feed(struct la_http_body *b, const char *p, size_t n, struct la_slice *payload,
                         enum la_err *err)
{
    *payload = la_slice(p, 0);
    if (b->done || n == 0)
        return 0;
    switch (b->framing) {
    case LA_FRAMING_CHUNKED: return feed_chunked(b, p, n, payload, err);
    case LA_FRAMING_LENGTH:
        payload->n = (size_t)la_min64(b->left, n);
        b->left -= payload->n;
        b->done = b->left == 0;
        return payload->n;
    default: payload->n = n; return n; /* until the FIN */
    }
}
