/* Any bytes as a line of the history: what is read is the same when written and read again. */
#include "identity/watch_history.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct watch_change c, again;
    struct buf line = {0}, twice = {0};
    if (watch_history_parse(arena, str_from(bytes, len), &c) == 0) {
        watch_history_line(&line, &c);
        if (watch_history_parse(arena, str_head(buf_view(&line), line.len - 1), &again) != 0 ||
            again.time != c.time || !ip_eq(&again.ip, &c.ip) || again.event != c.event)
            abort();
        watch_history_line(&twice, &again);
        if (!str_eq(buf_view(&line), buf_view(&twice)) || line.len > 2048)
            abort();
    }
    buf_free(&line);
    buf_free(&twice);
    arena_free(arena);
    return 0;
}
