/* pattern_record.h - what is kept of one subject, and how counts age. For pattern_*.c and their tests. */
#pragma once
#include "base/buf.h"
#include "base/cursor.h"
#include "base/ip.h"
#include "detection/pattern_rules.h"

/* What is counted, messages or recipients. */
enum pattern_count {
    COUNT_MAIL,
    COUNT_BAD, /* of these, judged spam */
    COUNT_RECIPIENTS,
    COUNT_ANSWERED,     /* recipients of whom something became, for good */
    COUNT_UNKNOWN,      /* of these */
    COUNT_REFUSED,      /* of these */
    COUNT_DESTINATIONS, /* domains for the first time */
    COUNT_ELSEWHERE,    /* recipients from a new network */
    PATTERN_COUNTS
};

/* A window of n steps: what falls into the step of now and the n - 1 before it. With X(w) the exact count of
 * the last w, and T a step: X(nT - T) <= count <= X(nT). */
enum pattern_window { WINDOW_HOUR, WINDOW_DAY, PATTERN_WINDOWS };
enum { HOUR_STEPS = 6, HOUR_STEP = 600, DAY_STEPS = 8, DAY_STEP = 10800 }; /* seconds */
enum { PATTERN_CELLS = (HOUR_STEPS + DAY_STEPS) * PATTERN_COUNTS };
enum { RECORD_BACK = 3600 };
enum { PATTERN_NETWORKS = 8, SKETCH_BYTES = 64, SKETCH_BITS = SKETCH_BYTES * 8 };

/* The usual most, and today's. */
enum pattern_usual { USUAL_HOUR, USUAL_DAY, USUAL_DESTINATIONS, USUALS };

/* Times are seconds since 2020 (pattern_seconds). */
struct pattern_record {
    uint64_t key;                 /* 0: free */
    uint32_t newer, older, chain; /* places + 1 */
    uint32_t first, last;
    uint32_t day; /* UTC day of `most` and `told` */
    uint32_t usual[USUALS], most[USUALS];
    uint32_t exempt_until;
    uint32_t voted, votes; /* whose most of the bad mail is, of a user who most refuse it, by majority vote */
    uint32_t *wide;        /* of connectors, tenants and forwards, instead of `cell` */
    uint16_t cell[PATTERN_CELLS];
    struct pattern_network {
        uint32_t hash, since;     /* hash 0: none */
    } networks[PATTERN_NETWORKS]; /* the last used first */
    bool settled;                 /* in which order it stands */
    uint16_t sketched;            /* bits in sketch[0] */
    uint8_t exempt;               /* bits of signs that are only told about */
    uint8_t told, told_restrict;  /* bits of signs, today */
    struct pattern_actions actions;
    uint8_t sketch[2][SKETCH_BYTES]; /* the newer one, and the one that was full before it */
};

uint32_t pattern_seconds(int64_t now);

/* Moves the windows on to `seconds`, and what was usual. Earlier than the last: nothing happens, and when it
 * is more than an hour earlier, the windows begin anew. `rules` NULL is for looking only: nothing is learned.
 */
void record_advance(struct pattern_record *, uint32_t seconds, const struct pattern_rules *);
/* At the record's time. Saturates. */
void record_add(struct pattern_record *, enum pattern_count, uint32_t amount);
uint32_t record_count(const struct pattern_record *, enum pattern_window, enum pattern_count);
/* After adding: today's most. */
void record_note_most(struct pattern_record *);
/* Known long enough that growth and newness are judged? */
bool record_learned(const struct pattern_record *, const struct pattern_rules *);

/* True: it was not known. */
bool record_destination(struct pattern_record *, uint64_t hash);
/* True: known for less than a day, and neither the first nor one of the very many of some days. */
bool record_network(struct pattern_record *, uint32_t hash);
/* Those of now are none of the new ones. */
void record_knows_networks(struct pattern_record *);
/* Of its /24 or /48; never 0. */
uint32_t pattern_network_hash(const struct ip *, uint64_t seed);

void record_vote(struct pattern_record *, uint32_t who, uint32_t amount);

/* The stored form; the wide part is made when there is one. False: malformed. */
void record_encode(struct buf *, const struct pattern_record *);
bool record_decode(struct cursor *, struct pattern_record *ret);
