/* clock.h - wall and monotonic time in milliseconds, and how time is written.
 *
 * Pure code takes `now` as an argument; only rooms that wait call these.
 */
#pragma once
#include "base/str.h"

/* Milliseconds since the epoch. */
int64_t clock_wall_ms(void);
/* Milliseconds that never go back. */
int64_t clock_mono_ms(void);

enum { CLOCK_RFC3339_SIZE = 32, CLOCK_RFC5322_SIZE = 40 };
/* "2026-11-22T01:02:03.456Z" */
const char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);
/* "Sun, 22 Nov 2026 01:02:03 +0000" (RFC 5322 3.3) */
const char *clock_rfc5322(int64_t wall_ms, char out[CLOCK_RFC5322_SIZE]);
/* Reads RFC 3339 in UTC ("...Z", fraction optional, or a bare date), in years of four digits. */
bool clock_parse_rfc3339(struct str s, int64_t *ret_wall_ms);
