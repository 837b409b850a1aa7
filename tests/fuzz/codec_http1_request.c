/* codec_http1_request.c: any bytes as a request head: never out of bounds, every accepted head is what it
 * should be, and the same in two portions. */
#include "codec_http1_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct la_http_head head;
    struct fuzz_side side = {.limits = {2048, 20, 1024}};
    size_t seen = 0;
    enum la_err err = LA_OK;
    char *p = fuzz_copy(data, size);
    enum la_http_result r = fuzz_parse(&side, &head, p, size, &seen, &err);
    FUZZ_CHECK(r == LA_HTTP_ERROR || r == LA_HTTP_MORE || err == LA_OK);
    if (r == LA_HTTP_DONE) {
        char path[4096];
        fuzz_check_head(&head, size, false);
        la_http_normalize_path(head.target, path, sizeof(path));
    }
    fuzz_check_split(&side, data, size, fuzz_pick(data, size, size + 1), r, &head, err);
    free(p);
    return 0;
}
