/* words.h - what the scanners' protocols share: names on their way out and words on their way in, made safe.
 */
#pragma once
#include "base/buf.h"
#include "scan/scan.h"
#include "scan/settings.h"

enum { SCAN_SYMBOLS_MAX = 1000 };

/* "Name: value" and CRLF; control bytes of the value become `?`, it is cut at 1,000 bytes. Nothing for an
 * empty value. */
void scan_field(struct buf *, const char *name, struct str value);
/* Printable ASCII, at most `max` bytes; everything else becomes `?`. In `arena`. */
struct str scan_plain(struct arena *, struct str text, size_t max);

/* One symbol of an answer. */
struct scan_symbol {
    struct str name;
    double score;
    bool scored;
    struct str detail; /* what it found; may be empty */
};

/* Fills `symbols`, `verdict`, `reason`, `refuse`, `refusal` from the answer's symbols and the action and
 * scores that stand in the result. `said`: the scanner's own words for a refusal; may be empty. */
void scan_judge(const struct scan_settings *, struct scan_symbol *, size_t count, struct str said,
                struct arena *, struct scan_result *);
