/* Any bytes as a server's reply; what was read must be written again as a reply that reads the same. */
#include "mail/mime.h"
#include "must.h"
#include "smtp/reply.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct smtp_reply reply, again;
    size_t used = 0, used_again = 0;
    if (smtp_reply_read(str_from(bytes, len), arena, &reply, &used) == 1) {
        must(used > 0 && used <= len && used <= SMTP_REPLY_BYTES_MAX && reply.code >= 200 &&
             reply.code < 600);
        must(bytes_utf8(reply.text));
        struct str joined = smtp_reply_joined(arena, &reply);
        must(str_index(joined, '\n') < 0 && str_index(joined, '\r') < 0);
        struct buf out = {0};
        smtp_reply_write(&out, &reply);
        int result = smtp_reply_read(buf_view(&out), arena, &again, &used_again);
        must(result == 1 || result == SLUICE_ETOOBIG); /* long lines are broken into more */
        if (result == 1)
            must(used_again == out.len && again.code == reply.code);
        buf_free(&out);
    }
    arena_free(arena);
    return 0;
}
