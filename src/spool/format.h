/* format.h - the bytes of the spool: segment headers, record headers, heads of records.
 *
 * docs/spool-format.md describes each byte. Little-endian; records start at
 * multiples of 8, commits at multiples of 4096. Decoders take any bytes.
 */
#pragma once
#include "base/buf.h"
#include "spool/spool.h"

#define SPOOL_SEGMENT_MAGIC UINT64_C(0x4753454349554c53) /* "SLUICESG" */
#define SPOOL_RECORD_MAGIC UINT64_C(0x4352454349554c53)  /* "SLUICERC" */

enum {
    SPOOL_VERSION = 1,
    SPOOL_BLOCK = 4096,
    SPOOL_DATA = 2 * SPOOL_BLOCK, /* where records begin: behind the two copies of the segment header */
    SPOOL_SEGMENT_HEADER = 128,
    SPOOL_HEADER = 64,
    SPOOL_PART = 256 * 1024, /* the most body bytes in one record */
    SPOOL_REPLY_MAX = 1000,
    SPOOL_PLACE_BITS = 28,
};

static inline uint64_t spool_align(uint64_t n, uint64_t to) { return (n + to - 1) & ~(to - 1); }

struct segment_header {
    uint32_t slot;
    uint64_t size, spool, generation, key, replaced;
    int64_t written;
};
void segment_header_encode(const struct segment_header *, unsigned char out[SPOOL_SEGMENT_HEADER]);
/* False: damaged, or of a format that this program doesn't know (then *ret_version isn't SPOOL_VERSION). */
bool segment_header_decode(const unsigned char *bytes, struct segment_header *ret, uint32_t *ret_version);

enum record_type {
    RECORD_MESSAGE = 1,
    RECORD_PART = 2,
    RECORD_OUTCOME = 3,
    RECORD_STATE = 4,
    RECORD_SEAL = 5
};
enum { RECORD_LAST = 1 /* of its commit */, RECORD_CLOSED = 2 /* seal: nothing was under way */ };

struct record_header {
    uint64_t generation, key, commit;
    uint32_t place;      /* offset / 8 */
    uint32_t start;      /* place of the first record of its commit */
    uint32_t head, body; /* lengths in bytes */
    uint8_t type, flags;
    uint32_t head_crc, body_crc;
};
void record_header_encode(const struct record_header *, unsigned char out[SPOOL_HEADER]);
bool record_header_decode(const unsigned char *bytes, struct record_header *ret);
static inline uint64_t record_size(uint32_t head, uint32_t body) {
    return SPOOL_HEADER + spool_align(head, 8) + spool_align(body, 8);
}

/* The number of a message: where its record was first written. */
static inline uint64_t message_number(uint64_t generation, uint32_t place) {
    return generation << SPOOL_PLACE_BITS | place;
}
static inline uint64_t message_generation(uint64_t message) { return message >> SPOOL_PLACE_BITS; }
static inline uint32_t message_place(uint64_t message) {
    return (uint32_t)(message & ((UINT64_C(1) << SPOOL_PLACE_BITS) - 1));
}

/* ---- Message ---- */

struct part {
    uint64_t generation;
    uint32_t place, length, crc;
};
enum { MESSAGE_PRELUDE = 40, MESSAGE_PART = 24 };

struct message_prelude {
    uint64_t number; /* 0: by its place. Room for messages that a later version moves */
    uint64_t body_size;
    int64_t arrival;
    uint32_t recipients, parts;
};

/* Appends the head, with zeros where the `parts` will be put by message_set_part. */
void message_encode(struct buf *, const struct spool_message *, uint64_t body_size, uint32_t parts);
void message_set_part(unsigned char *head, uint32_t number, const struct part *);
bool message_prelude_decode(struct str head, struct message_prelude *ret);
bool message_part_decode(struct str head, uint32_t number, struct part *ret);
/* Into the arena, with views of `head`. False: malformed. */
bool message_decode(struct str head, struct arena *, struct spool_message *ret);
uint32_t message_recipients(const struct spool_message *);

/* ---- Part, outcome, state ---- */

enum { PART_HEAD = 16 };
void part_encode(struct buf *, uint64_t stream, uint32_t number);

struct outcome_record {
    uint64_t message;
    uint32_t recipient;
    struct spool_outcome outcome;
};
void outcome_encode(struct buf *, const struct outcome_record *);
/* The reply is a view of `head`. */
bool outcome_decode(struct str head, struct outcome_record *ret);
static inline bool fate_ends(enum spool_fate f) {
    return f == SPOOL_DELIVERED || f == SPOOL_FAILED || f == SPOOL_CANCELLED;
}

enum {
    STATE_DEAD = 1,   /* no message in it waits: ignore its messages */
    STATE_GOING = 2,  /* its file may be gone */
    STATE_FAILED = 4, /* a write to it failed: not to be used again */
};
/* One older segment, as it was when a new one opened. */
struct segment_state {
    uint64_t generation, key, commit;
    uint32_t slot, end; /* end: offset behind its last acknowledged commit; what follows is void */
    uint32_t flags;
};
enum { STATE_HEAD = 8, STATE_ENTRY = 40 };
void state_encode(struct buf *, const struct segment_state *, uint32_t count);
/* The number of entries, or -1. */
int64_t state_count(struct str head);
struct segment_state state_at(struct str head, uint32_t number);
