/* limit_table.h - what ten million senders have sent: four sliding windows each, in bounded memory.
 *
 * Belongs to one worker (the owner of its senders) and is touched only there. A sender costs 120 bytes of
 * record and 5 of index, 125 in all; records come in blocks of 4,096 as they are needed, the index (5 bytes
 * for each sender of the capacity) is reserved at once and touched as it fills. Every call takes constant
 * time: nothing is ever rehashed, and whose windows are empty is found by a hand that goes round, a few
 * records at a time.
 *
 * Time is wall time in ms, best from a clock that doesn't jump while the daemon runs (wall time at the start
 * plus monotonic time since). When it goes back, what a sender had then counts as if just sent, so nothing is
 * forgotten early and nothing stays longer than a window from then. When it leaps forward, windows pass
 * early, once. Before 2020 and after 2087 it stands still.
 */
#pragma once
#include "limits/limit_window.h"

enum limit_counter {
    LIMIT_EXTERNAL_HOUR,   /* recipients outside of the tenant in an hour; one tick is 20 s */
    LIMIT_INTERNAL_HOUR,   /* inside; the same */
    LIMIT_RECIPIENTS_DAY,  /* all recipients in 24 hours; one tick is 8 min */
    LIMIT_MESSAGES_MINUTE, /* messages that leave in a minute; one tick is 0.5 s */
    LIMIT_COUNTERS,
};

/* The limits that apply to the message in hand: 1 to LIMIT_LARGEST each. Different ones for one sender are
 * fine (limit_window_fit). */
enum { LIMIT_LARGEST = 12000 };
struct limit_bounds {
    uint32_t limit[LIMIT_COUNTERS];
};

/* What one message uses. */
struct limit_use {
    uint32_t external, internal;
};

struct limit_standing {
    uint32_t used[LIMIT_COUNTERS]; /* with what is reserved */
    int64_t turn;                  /* when one more message may leave; `now` when at once */
};

struct limit_table;

/* `capacity` senders at most. */
struct limit_table *limit_table_new(uint32_t capacity);
/* NULL is fine; returns NULL. */
struct limit_table *limit_table_free(struct limit_table *);

/* The key of a sender, by a seed that is kept with what is saved (limit_store_seed): 64 bits of SipHash
 * of the name (user@domain, or what names a connector), without regard to case. Two of ten million senders
 * share one with a chance of 3 in a million. Never 0. */
uint64_t limit_key(uint64_t seed, struct str sender);

/* Where the sender stands; changes nothing. */
void limit_table_look(const struct limit_table *, uint64_t key, int64_t now, const struct limit_bounds *,
                      struct limit_standing *ret);

/* Is this sender known, or would it be one of at most `most`? Makes room where windows are empty. */
bool limit_table_room(struct limit_table *, uint64_t key, int64_t now, uint32_t most);

/* Before a message is committed: reserves its recipients, so that what is on its way counts, and gives it its
 * turn to leave: `now`, or later when the sender's messages of this minute are used up. FULL: no room for
 * another sender. LIMIT: over nine hours of messages wait for their turn already. Nothing is reserved then.
 * `ret_turn` NULL: its turn comes later, by limit_table_turn. */
[[nodiscard]] int limit_table_reserve(struct limit_table *, uint64_t key, int64_t now,
                                      const struct limit_bounds *, const struct limit_use *,
                                      int64_t *ret_turn);
/* The turn of what was reserved without one: when it is certain that it will leave. A turn can't be given
 * back. LIMIT as before: none was taken. */
[[nodiscard]] int limit_table_turn(struct limit_table *, uint64_t key, int64_t now,
                                   const struct limit_bounds *, int64_t *ret_turn);
/* Afterwards, once for each reserve, with the same use: counts it (committed), or gives it back. */
void limit_table_settle(struct limit_table *, uint64_t key, int64_t now, const struct limit_bounds *,
                        const struct limit_use *, bool committed);

/* Counts what was counted before a crash: reserve and settle in one. `turn` as it was. */
[[nodiscard]] int limit_table_replay(struct limit_table *, uint64_t key, int64_t now, int64_t turn,
                                     const struct limit_bounds *, const struct limit_use *);

/* ---- Saving ---- */

/* One sender as it is kept, in memory and on disk (little-endian; limit_pack.h). */
enum { LIMIT_PACKED = 108 };
struct limit_record {
    uint64_t key;  /* 0: free */
    uint32_t last; /* half seconds since 2020-01-01 UTC: its newest event */
    unsigned char packed[LIMIT_PACKED];
};

/* The record in place `at`, or NULL when there is none; places end at limit_table_places. A walk that goes on
 * while senders come and go sees each sender that is there all the time. */
const struct limit_record *limit_table_at(const struct limit_table *, uint32_t at);
uint32_t limit_table_places(const struct limit_table *);
/* Puts a saved record in place of what is known of the sender. FULL; CORRUPT: not a record. */
[[nodiscard]] int limit_table_put(struct limit_table *, const struct limit_record *);

struct limit_table_stats {
    uint32_t senders, capacity;
    uint64_t bytes; /* of records and index, all that is reserved */
};
void limit_table_stats(const struct limit_table *, struct limit_table_stats *ret);
