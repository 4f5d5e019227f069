/* limit_journal.h - how counters and restrictions are written down. Pure: bytes in, bytes out.
 *
 * All integers little-endian. A segment is a header of 32 bytes, then entries one after the other up to where
 * none is whole:
 *   header  "SLLIMITS", u16 version (1), u16 0, u64 number, u64 seed of the keys, u32 CRC32C of these 28
 *   entry   u32 CRC32C of all that follows of it, u16 length of its body, u8 type, u8 0, body
 * Types and bodies:
 *   1 message counted   u64 key, u32 half second, u16 half seconds until its turn, u32 external recipients,
 *                       u32 internal, u8 unit of each of the four windows
 *   2 tenant counted    u32 half second, u32 unit, u32 external recipients, name
 *   3 sender as it is   u64 key, u32 half second of its newest event, the 108 bytes of limit_pack.h
 *   4 tenant as it is   u32 half second, u32 unit, u32 fill, u8 marks, u8 cut, u32 tick of each mark, name
 *   5 restriction       sender_encode; replaces the one before
 * Half seconds are of limit_half. Entries 3 to 5 replace what is known of the sender; 1 and 2 add to it. What
 * a segment's entries said is said again by later ones before it is removed (limit_store.h).
 */
#pragma once
#include "limits/limit_table.h"
#include "limits/limit_tenant.h"
#include "limits/sender_state.h"

/* What is kept over a restart. */
struct limit_kept {
    struct limit_table *senders;
    struct limit_tenants *tenants;
    struct sender_book *book;
};

enum { LIMIT_SEGMENT_HEADER = 32, LIMIT_JOURNAL_VERSION = 1 };

struct limit_segment {
    uint64_t number, seed;
};

void limit_segment_encode(struct buf *, const struct limit_segment *);
/* CORRUPT: no header, or a damaged one. INVALID: written by a later version. */
[[nodiscard]] int limit_segment_decode(struct str bytes, struct limit_segment *ret);

void limit_journal_message(struct buf *, uint64_t key, int64_t now, int64_t turn, const struct limit_bounds *,
                           const struct limit_use *);
void limit_journal_tenant(struct buf *, struct str tenant, int64_t now, uint32_t limit, uint32_t external);
void limit_journal_sender_record(struct buf *, const struct limit_record *);
void limit_journal_tenant_record(struct buf *, struct str tenant, const struct limit_total *);
void limit_journal_restriction(struct buf *, struct str name, const struct sender_state *);

struct limit_journal_report {
    uint64_t entries;
    uint64_t gaps; /* places where nothing could be read, with entries after them: damage, or a power loss */
    uint64_t unusable; /* whole entries that say nothing sensible, or found no room */
};

/* Applies the entries of one segment (what follows its header) in order. After bytes that are no entry it
 * goes on at the next that is. Adds to the report. `now`: restrictions that are over by then are forgotten.
 */
void limit_journal_read(struct str entries, const struct limit_kept *, int64_t now,
                        struct limit_journal_report *);
