/* state.h - the health of sources, as choose.c sees it. Not for other rooms. */
#pragma once
#include "base/map.h"
#include "pool/pool.h"

enum { RECEIVERS_MAX = 65536, REST_REASON_MAX = 200 };

struct source_record {
    struct ip ip;
    int64_t resting_until;
    int64_t last_used;
    uint64_t picked, delivered, failed;
    char reason[REST_REASON_MAX + 1];
};

struct pool_state {
    struct map *sources; /* address -> struct source_record */
    struct map *turns;   /* pool, NUL, receiver -> whose turn is next */
};

/* Made when it isn't there. */
struct source_record *pool_state_record(struct pool_state *, const struct ip *);
/* The place in the pool from which the next search for this receiver starts. */
uint32_t *pool_state_turn(struct pool_state *, const struct pool *, struct str receiver);
