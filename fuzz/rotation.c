/* Any bytes as a rotation: what is read can be written and read again, and names no file outside its rules.
 */
#include "policy/rotation.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct rotation r, again;
    struct str why = STR_NULL;
    struct buf text = {0};
    if (rotation_parse(arena, str_from(bytes, len), &why, &r) != 0) {
        if (!why.len)
            abort();
        arena_free(arena);
        return 0;
    }
    if (!r.next.count || !r.configured_count || !r.domain.len || memchr(r.domain.at, '/', r.domain.len))
        abort();
    for (size_t i = 0; i < r.next.count; i++)
        if (!selector_valid(r.next.keys[i].selector) || !r.next.keys[i].key.len)
            abort();
    rotation_write(&r, &text);
    if (rotation_parse(arena, buf_view(&text), &why, &again) != 0 || again.switch_ms != r.switch_ms ||
        again.old.count != r.old.count)
        abort();
    buf_free(&text);
    arena_free(arena);
    return 0;
}
