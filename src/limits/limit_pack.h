/* limit_pack.h - four windows in 108 bytes, for limit_table.
 *
 * A row of bits: 16 bits of how far the turn is ahead of `last` (half seconds), then of each window unit (8
 * bits), fill (8), marks (6), cut (1), then its marks from the newest to the oldest as differences of ticks,
 * Rice codes of parameter 2 (of the minute: 1). 51 codes whose sum is at most the window's span always fit:
 * 3 x (51 x 3 + 180 / 4) + 51 x 2 + 120 / 2 + 4 x 23 + 16 = 864 bits.
 */
#pragma once
#include "limits/limit_table.h"

/* Time in half seconds since 2020-01-01 UTC, which fits 32 bits until 2088. Never within two days of either
 * end, so that ages and turns can be reckoned from it. */
#define LIMIT_EPOCH_MS INT64_C(1577836800000)
enum { LIMIT_HALF_MARGIN = 2 * 86400 * 2 };
static inline uint32_t limit_half(int64_t now) {
    int64_t half = now < LIMIT_EPOCH_MS ? 0 : (now - LIMIT_EPOCH_MS) / 500;
    int64_t least = LIMIT_HALF_MARGIN, most = (int64_t)UINT32_MAX - LIMIT_HALF_MARGIN;
    return (uint32_t)(half < least ? least : half > most ? most : half);
}
static inline int64_t limit_half_ms(uint32_t half) { return LIMIT_EPOCH_MS + (int64_t)half * 500; }

/* A window's tick in half seconds, how many ticks it spans, and its Rice parameter. */
struct limit_span {
    uint32_t halves, ticks, rice;
};
extern const struct limit_span limit_spans[LIMIT_COUNTERS];

/* The windows of a sender, spread out. */
struct limit_windows {
    uint32_t last; /* half second of the newest event */
    uint32_t turn; /* half second in which the newest message leaves, `last` or later */
    struct limit_window of[LIMIT_COUNTERS];
};

/* The tick of the newest event of a window. */
static inline uint32_t limit_windows_base(const struct limit_windows *w, enum limit_counter c) {
    return (c == LIMIT_MESSAGES_MINUTE ? w->turn : w->last) / limit_spans[c].halves;
}

/* `turn` is at most 65535 half seconds after `last`, units are at most 255, and no mark is older than its
 * window's span before its base. */
void limit_pack(const struct limit_windows *, unsigned char packed[LIMIT_PACKED]);
/* False: nothing that limit_pack makes. */
bool limit_unpack(uint32_t last, const unsigned char packed[LIMIT_PACKED], struct limit_windows *ret);
