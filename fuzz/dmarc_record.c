/* Any bytes as a DMARC record: what is read is within its bounds, and what is refused says why. */
#include "auth/dmarc.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str text = str_from(bytes, len), why = STR_NULL, plain;
    struct dmarc_record record = {.percent = 1000};
    if (dmarc_record_parse(text, &why, &record) == 0) {
        if (!dmarc_is_record(text) || len > DMARC_RECORD_MAX || record.percent > 100)
            abort();
        if (record.policy > DMARC_POLICY_REJECT || record.subdomain_policy > DMARC_POLICY_REJECT)
            abort();
        if (why.at && (record.policy || record.subdomain_policy))
            abort();
    } else if (!why.len || record.percent != 1000) {
        abort();
    }
    plain = dmarc_plain(arena, text);
    if (plain.len > DMARC_WHY_MAX || plain.len > len)
        abort();
    for (size_t i = 0; i < plain.len; i++)
        if (plain.at[i] < 0x20 || plain.at[i] > 0x7e)
            abort();
    arena_free(arena);
    return 0;
}
