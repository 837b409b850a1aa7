/* codec_proxy_header.c: any bytes as a PROXY protocol header. However they come the answer is the same; a prefix of a
 * good one is never refused; what was read can be written and read again. */
#include "lastack/proxy_header.h"

#include "fuzz.h"

static void same(const struct la_proxy_header *a, const struct la_proxy_header *b)
{
    FUZZ_CHECK(a->source.len == b->source.len && a->destination.len == b->destination.len);
    FUZZ_CHECK(a->source.len == 0 ||
               (la_addr_eq(&a->source, &b->source) && la_addr_eq(&a->destination, &b->destination)));
}

static void again(const struct la_proxy_header *h)
{
    for (int version = 1; version <= 2; version++) {
        char buf[LA_PROXY_HEADER_WRITTEN];
        struct la_proxy_header back;
        size_t n = la_proxy_header_write(buf, version, h->source.len ? &h->source : NULL, &h->destination);
        FUZZ_CHECK(n > 0 && n < sizeof buf);
        FUZZ_CHECK(la_proxy_header_parse(&back, buf, n) == LA_PROXY_DONE && back.n == n);
        same(h, &back);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct la_proxy_header whole, part;
    char *copy = fuzz_copy(data, size);
    enum la_proxy_parse result = la_proxy_header_parse(&whole, copy, size);
    free(copy);
    FUZZ_CHECK((whole.n > 0) == (result == LA_PROXY_DONE) && whole.n <= size && whole.n <= LA_PROXY_HEADER_MAX);
    FUZZ_CHECK((whole.source.len > 0) == (whole.destination.len > 0));
    for (size_t n = 0; n < size && n < 600; n++) {
        copy = fuzz_copy(data, n);
        enum la_proxy_parse early = la_proxy_header_parse(&part, copy, n);
        free(copy);
        if (early == LA_PROXY_DONE)
            FUZZ_CHECK(result == LA_PROXY_DONE && part.n == whole.n && n >= whole.n);
        if (early == LA_PROXY_BAD)
            FUZZ_CHECK(result == LA_PROXY_BAD);
        if (early == LA_PROXY_MORE && result == LA_PROXY_DONE)
            FUZZ_CHECK(n < whole.n);
    }
    if (result == LA_PROXY_DONE)
        again(&whole);
    return 0;
}
