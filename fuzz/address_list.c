/* Every address that a list gives is one: it can be written and read again. */
#include "base/buf.h"
#include "mail/address.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct address_list list = {0}, again = {0};
    struct buf out = {0};
    (void)!address_list_parse(arena, str_from(bytes, len), &list);
    for (size_t i = 0; i < list.count; i++) {
        buf_str(&out, i ? STR(", <") : STR("<"));
        buf_str(&out, list.items[i].address.whole);
        buf_str(&out, STR(">"));
    }
    if (address_list_parse(arena, buf_view(&out), &again) != 0 || again.count != list.count)
        abort();
    for (size_t i = 0; i < list.count; i++)
        if (!str_eq(again.items[i].address.whole, list.items[i].address.whole))
            abort();
    buf_free(&out);
    arena_free(arena);
    return 0;
}
