/* codec_http1_response.c: any bytes as a response head. The first byte says to what: H to HEAD, C to CONNECT,
 * U to a GET that offered an upgrade, anything else to a GET. */
#include "codec_http1_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct la_http_head head;
    struct fuzz_side side = {.response = true, .limits = {2048, 20, 0}};
    size_t seen = 0;
    enum la_err err = LA_OK;
    if (size == 0)
        return 0;
    side.asked_upgrade = data[0] == 'U';
    side.method = data[0] == 'H' ? LA_METHOD_HEAD : data[0] == 'C' ? LA_METHOD_CONNECT : LA_METHOD_GET;
    data++;
    size--;
    char *p = fuzz_copy(data, size);
    enum la_http_result r = fuzz_parse(&side, &head, p, size, &seen, &err);
    if (r == LA_HTTP_DONE) {
        fuzz_check_head(&head, size, true);
        FUZZ_CHECK(head.framing != LA_FRAMING_TUNNEL || head.status == 101 ||
                   side.method == LA_METHOD_CONNECT);
        FUZZ_CHECK(side.method != LA_METHOD_HEAD || head.framing == LA_FRAMING_NONE || head.status == 101);
    }
    fuzz_check_split(&side, data, size, fuzz_pick(data, size, size + 1), r, &head, err);
    free(p);
    return 0;
}
