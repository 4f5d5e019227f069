/* Any bytes are a header, and it is the same one wherever the stream is cut. */
#include "mail/build.h"
#include "mail/mime.h"
#include "mail/received.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct str message = str_from(bytes, len);
    struct arena *arena = arena_new(0);
    struct header h;
    if (header_parse(arena, message, 0, &h) == 0) {
        size_t cut = len ? bytes[0] % len : 0, total = 0;
        struct header_end end = {0};
        header_end_feed(&end, str_head(message, cut));
        header_end_feed(&end, str_from_index(message, cut));
        header_end_finish(&end);
        for (size_t i = 0; i < h.count; i++) {
            total += h.fields[i].whole.len;
            if (!bytes_utf8(header_decode_text(arena, h.fields[i].value)))
                abort();
        }
        if (end.body_at != h.body_at || end.separated != h.separated || total != h.whole.len ||
            h.body_at > len)
            abort();
        struct mime_facts facts;
        mime_facts_of(arena, &h, &facts);
    }
    struct buf out = {0};
    header_write(&out, STR("X"), message);
    size_t lines = 0;
    for (size_t i = 0; i < out.len; i++)
        if (out.at[i] == '\n' && ++lines && i + 1 < out.len && out.at[i + 1] != ' ' && out.at[i + 1] != '\t')
            abort(); /* a value wrote a field of its own */
    buf_clear(&out);
    header_write_text(&out, STR("X"), message);
    if (bytes_8bit(buf_view(&out)))
        abort();
    buf_free(&out);
    arena_free(arena);
    return 0;
}
