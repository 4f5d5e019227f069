/* pattern_inside.h - what pattern_*.c share. Not for others. */
#pragma once
#include "base/map.h"
#include "detection/pattern.h"
#include "detection/pattern_record.h"

enum { BLOCK = 1024, SUSPECTS_MAX = 20000, PATTERN_REASON = 400 };

struct suspect {
    enum pattern_kind kind;
    enum pattern_sign sign;
    int64_t since, until;
    char reason[PATTERN_REASON];
};

struct pattern {
    struct pattern_rules rules;
    uint64_t seed;
    uint32_t born;                  /* seconds since 2020: since when there is history */
    uint32_t capacity, used;        /* places ever taken */
    struct pattern_record **blocks; /* of BLOCK records, made as needed */
    uint32_t *heads, mask;          /* place + 1 of the first of each chain */
    struct pattern_order {
        uint32_t newest, oldest, count;  /* place + 1 */
    } orders[2];                         /* of the new ones, and of the settled */
    struct map *suspects[PATTERN_KINDS]; /* name -> struct suspect */
    uint64_t evicted, found;
};

struct pattern_record *pattern_at(const struct pattern *, uint32_t place);
/* Found or made (evicting), advanced to now, and the most recent. */
struct pattern_record *pattern_of(struct pattern *, enum pattern_kind, struct str name, uint32_t seconds);
/* By key; `wide` when it is made. A new one has only its key. */
struct pattern_record *pattern_by_key(struct pattern *, uint64_t key, bool wide);
/* After its time has moved on: one that is known for an hour is settled. */
enum { SETTLED_AFTER = 3600 };
void pattern_settle(struct pattern *, struct pattern_record *);
struct pattern_record *pattern_find(const struct pattern *, enum pattern_kind, struct str name);

size_t pattern_suspect_count(const struct pattern *);
/* NULL: there are SUSPECTS_MAX. */
struct suspect *pattern_suspect_put(struct pattern *, enum pattern_kind, struct str name,
                                    const struct suspect *);

struct pattern_case {
    struct pattern *pattern;
    struct pattern_record *record;
    enum pattern_kind kind;
    struct str name, tenant;
    int64_t now;
    struct arena *arena;
    struct pattern_findings *ret;
    bool logs_in; /* a user of ours: his names aren't invented */
};

/* After an event: what is found now, what is over. */
void pattern_judge(const struct pattern_case *);
struct sender_counts pattern_counts_of(const struct pattern_record *);
