/* limit_window.h - a sliding window that counts to within 1 % of its limit in a fixed, small space. Pure.
 *
 * Method. What is counted is cut into chunks of `unit` = limit / 50 + 1, and the time (tick) of the first of
 * each chunk is kept: its mark. A mark leaves the window when it is older than the window's span; its chunk
 * is then "cut": between 0 and unit - 1 of it may still be inside. The estimate takes the middle.
 *
 * Bound. Let T be one tick and X(w) the exact count of the last w. An event of time t leaves between t + span
 * and t + span + T, never before. With X(span) <= X' <= X(span + T), |estimate - X'| <= (unit - 1) / 2 <=
 * limit / 100, so with `amount` more
 *   admitted: X(span) + amount     <= 1.01 limit  (never over by more than 1 %)
 *   refused:  X(span + T) + amount >  0.99 limit  (never below 99 %; the window is up to one tick long)
 * Under 50, and until something has left the window since it was empty, the count is exact. Two percent a
 * chunk and the middle is the best that any method does with as many marks.
 *
 * Marks are 51: a 52nd drops the oldest, when the count is above the limit already (50 x unit + 1 > limit)
 * and stays so until that one would have left: nothing is admitted for it.
 */
#pragma once
#include "base/str.h"

enum { LIMIT_MARKS = 51 };

/* Zero-initialise. */
struct limit_window {
    uint32_t unit;            /* what one mark stands for; 0: nothing was ever counted */
    uint32_t coarsest;        /* the unit that its limit asks for, taken when marks of `unit` don't suffice */
    uint32_t fill;            /* how much of the newest chunk there is, 0..unit */
    uint8_t marks;            /* chunks that began inside of the window */
    bool cut;                 /* another began before it and may reach into it */
    uint32_t at[LIMIT_MARKS]; /* the ticks at which they began, oldest first */
};

/* The chunk for that limit. */
static inline uint32_t limit_unit(uint32_t limit) { return limit / 50 + 1; }

/* Drops what is older than `span` ticks. `last`: the tick of the newest event, for a window that is all past.
 * `now` >= `last`. */
void limit_window_advance(struct limit_window *, uint32_t span, uint32_t last, uint32_t now);

/* Makes the chunks fit a (new) limit; call it before a comparison. What was counted stays counted: for one
 * span the error may be up to the old chunk too, on the side of refusing, and chunks stay as large as they
 * are while smaller ones would not hold the count. Smaller ones than the limit asks for stay while they hold
 * it: a sender whose messages are under different limits in turn is counted as exactly as the least wants. */
void limit_window_fit(struct limit_window *, uint32_t last, uint32_t unit);

/* Counts `amount` at tick `now`, which is not before any earlier one. limit_window_fit came before. */
void limit_window_add(struct limit_window *, uint32_t now, uint32_t amount);

/* The estimate. Admit when limit_window_count(w) + amount <= limit. */
uint32_t limit_window_count(const struct limit_window *);

/* The tick from which `amount` more fit (with nothing else counted in between), when they don't now. An
 * amount over the limit never fits: UINT32_MAX. 0: they fit now. */
uint32_t limit_window_when(const struct limit_window *, uint32_t span, uint32_t last, uint32_t amount,
                           uint32_t limit);

/* True when the window is one that these functions can make, none of its ticks after `last`. For what comes
 * from a file. */
bool limit_window_valid(const struct limit_window *, uint32_t last);
