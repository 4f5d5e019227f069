/* text.h - strings that came from outside, made safe for JSON, CSV and terminals. */
#pragma once
#include "base/buf.h"

/* Takes the next character off the front of `*rest`, which must not be empty: its bytes, or U+FFFD for one
 * byte that is not UTF-8 (RFC 3629). *ret_code is its number. */
struct str trace_utf8_next(struct str *rest, uint32_t *ret_code);

/* Appends the text in quotes, escaped (RFC 8259 section 7). */
void trace_json_string(struct buf *, struct str text);
