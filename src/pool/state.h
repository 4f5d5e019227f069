/* state.h - the health of sources, as choose.c sees it. Not for other rooms. */
#pragma once
#include "base/buf.h"
#include "base/map.h"
#include "pool/pool.h"

enum { RECEIVERS_MAX = 65536, REST_REASON_MAX = 200 };

struct source_record {
    struct ip ip;
    int64_t last_used;
    uint64_t picked, delivered, failed;
    struct rest {
        int64_t until; /* 0: none */
        char *reason;  /* ours, or NULL */
    } rests[REST_CAUSE_COUNT];
};

struct pool_state {
    struct map *sources; /* address -> struct source_record */
    struct map *turns;   /* pool, NUL, receiver -> whose turn is next */
};

/* Made when it isn't there. */
struct source_record *pool_state_record(struct pool_state *, const struct ip *);
/* The latest of the rests that hold `pool` back now; 0: none. */
int64_t pool_state_rests(const struct source_record *, const struct pool *, int64_t now);
/* Their reasons, appended; nothing when there are none. */
void pool_state_reasons(const struct source_record *, const struct pool *, int64_t now, struct buf *);
/* The place in the pool from which the next search for this receiver starts. */
uint32_t *pool_state_turn(struct pool_state *, const struct pool *, struct str receiver);
