/* Any bytes as a key record: what is read is within its bounds, and can be asked. */
#include "auth/dkim_key.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    static const uint8_t digest[DKIM_DIGEST_SIZE] = {1};
    struct arena *arena = arena_new(0);
    struct str text = str_from(bytes, len), why = STR_NULL;
    struct dkim_record record = {0};
    struct buf strings = {0};
    if (dkim_record_parse(arena, text, &why, &record) == 0) {
        if (record.revoked != !record.key || (record.key && !record.bits) || len > DKIM_RECORD_MAX)
            abort();
        if (dkim_record_verify(&record, digest, str_head(text, 128)))
            abort();
        dkim_record_free(&record);
    } else if (!why.len) {
        abort();
    }
    dkim_record_strings(text, &strings);
    if (strings.len < len + 2)
        abort();
    buf_free(&strings);
    arena_free(arena);
    return 0;
}
