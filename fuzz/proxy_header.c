/* A PROXY header with what follows. What a longer look decides, no shorter one may have decided otherwise. */
#include "rt/proxy.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str bytes = str_from(data, size);
    struct proxy_header whole, part;
    enum proxy_result result = proxy_header_parse(bytes, &whole);
    if (result == PROXY_BAD ? !whole.why : result == PROXY_DONE && (!whole.len || whole.len > size))
        abort();
    if (result == PROXY_DONE && !whole.own && ip_is_none(&whole.source))
        abort();
    size_t most = size < 600 ? size : 600;
    for (size_t n = 0; n < most; n++) {
        enum proxy_result early = proxy_header_parse(str_head(bytes, n), &part);
        if (early != PROXY_MORE && (early != result || (result == PROXY_DONE && part.len != whole.len)))
            abort();
    }
    return 0;
}
