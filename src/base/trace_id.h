/* trace_id.h - the name of an accepted message: 26 characters of 0-9 and A-Z.
 *
 * Ten characters of milliseconds, sixteen of randomness, in Crockford's base 32
 * (as a ULID): names sort by time and never repeat.
 */
#pragma once
#include "base/str.h"

enum { TRACE_ID_LEN = 26 };

struct trace_id {
    char text[TRACE_ID_LEN + 1]; /* NUL-terminated */
};

struct trace_id trace_id_new(int64_t wall_ms);
bool trace_id_valid(struct str s);
static inline struct str trace_id_str(const struct trace_id *id) {
    return (struct str){id->text, TRACE_ID_LEN};
}
