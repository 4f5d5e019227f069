/* Any bytes as spamd's answer to SYMBOLS and to PING. */
#include "base/error.h"
#include "must.h"
#include "scan/spamd.h"
#include <math.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct str malware[] = {{"CLAMAV", 6}};
static const struct str words[] = {{"spam", 4}};

static const struct scan_settings settings = {
    .malware_symbols = malware,
    .malware_symbol_count = 1,
    .spam_actions = words,
    .spam_action_count = 1,
    .refuse = words,
    .refuse_count = 1,
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct scan_result r = {.scanner = STR("s")};
    struct str why = {0};
    struct stream *s = stream_memory(str_from(bytes, len), NULL);
    int error = spamd_read(s, 0, &settings, arena, &r, &why);
    stream_free(s);
    must((error == SLUICE_ESYNTAX || error == SLUICE_ETOOBIG) == (why.len > 0));
    if (!error) {
        must(isfinite(r.score) && isfinite(r.required) && r.symbols.len <= SCAN_SYMBOLS_MAX);
        must((r.verdict == SCAN_CLEAN) == !r.reason.len);
        for (size_t i = 0; i < r.symbols.len; i++)
            must(r.symbols.at[i] >= ' ' && r.symbols.at[i] < 127);
    }
    s = stream_memory(str_from(bytes, len), NULL);
    error = spamd_read_pong(s, 0, &why);
    stream_free(s);
    must(error != 0 || len >= sizeof "SPAMD/ 0 PONG\r\n" - 1);
    arena_free(arena);
    return 0;
}
