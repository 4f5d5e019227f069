/* Any bytes as the memory of the watch: what is read is within its bounds, and is the same when written and
 * read again. */
#include "identity/watch_memory.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    const struct watch_note *notes = NULL, *again = NULL;
    size_t count = 0, same = 0;
    struct str why = STR_NULL;
    struct buf text = {0};
    if (watch_memory_parse(arena, str_from(bytes, len), &why, &notes, &count) != 0) {
        if (!why.len)
            abort();
        arena_free(arena);
        return 0;
    }
    watch_memory_write(&text, notes, count);
    if (watch_memory_parse(arena, buf_view(&text), &why, &again, &same) != 0 || same != count)
        abort();
    for (size_t i = 0; i < count; i++)
        if (ip_is_none(&notes[i].ip) || notes[i].text.len > WATCH_TEXT_MAX ||
            !ip_eq(&notes[i].ip, &again[i].ip) || !str_eq(notes[i].text, again[i].text) ||
            !str_eq(notes[i].zone, again[i].zone) || notes[i].since != again[i].since ||
            notes[i].answered != again[i].answered)
            abort();
    buf_free(&text);
    arena_free(arena);
    return 0;
}
