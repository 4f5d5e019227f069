/* index.h - which messages of one segment still wait, and which of their recipients.
 *
 * Eight bytes a slot: the place of the message's record, and a bit for each
 * recipient that waits; a message with more than 31 recipients or with parts in
 * other segments has a `wide` entry instead. At most 19 bytes a message.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct segment;

/* A message that needs more than 31 bits. */
struct wide {
    uint32_t recipients, waiting;
    uint32_t parts;
    struct segment **pinned; /* the segment of each part, pinned once a part */
    bool at_risk;            /* a recipient ended whose outcome is not on disk */
    uint8_t waits[];         /* a bit a recipient */
};

struct index_slot {
    uint32_t place; /* 0: free */
    uint32_t state; /* INDEX_WIDE | number of the wide entry, or the bits of those who wait */
};

struct index {
    struct index_slot *slots;
    uint32_t cap, count;
    struct wide **wide;
    uint32_t wide_cap, wide_count; /* count: places that were ever used */
    uint32_t wide_hint;            /* none before it is free */
};

void index_free(struct index *);
/* A message with all its recipients waiting. `pinned` (parts of them) is copied. */
void index_add(struct index *, uint32_t place, uint32_t recipients, struct segment *const *pinned,
               uint32_t parts);
bool index_has(const struct index *, uint32_t place);
bool index_waits(const struct index *, uint32_t place, uint32_t recipient);

struct index_end {
    bool ended;        /* it did wait until now */
    bool last;         /* nobody waits any more: the message is gone from the index */
    struct wide *wide; /* of a message that is gone: the caller unpins and frees it; or NULL */
};
struct index_end index_end(struct index *, uint32_t place, uint32_t recipient, bool durable);
/* All places, ascending, malloc'ed: the caller frees. */
uint32_t *index_places(const struct index *);
size_t index_bytes(const struct index *);
