/* live.h - the plan beside what the DNS answers.
 */
#pragma once
#include "base/buf.h"
#include "identity/plan.h"
#include "rt/resolver.h"

/* What one question is about: all planned records of a name and type. */
struct live_set {
    struct str name; /* with the final dot */
    enum dns_type type;
    bool shared; /* see struct plan_record */
    const struct plan_record *const *records;
    size_t count;
};

/* In the order of the plan; in the arena. Returns how many. */
size_t live_sets(struct arena *, const struct plan *, struct live_set **ret);

enum live_state {
    LIVE_MISSING, /* planned, not there */
    LIVE_OTHER,   /* there in place of what is planned, or beside it */
    LIVE_UNKNOWN, /* the DNS could not be asked: no difference (invariant 7) */
};

struct live_line {
    enum live_state state;
    const struct live_set *set;
    int64_t ttl;
    struct str data; /* presentation form; UNKNOWN: the reason */
};

/* Adds the differences to `lines` (an array of struct live_line). Of TXT records only those of a planned kind
 * (v=spf1, v=DMARC1, ...) count; where it is shared, SPF need only have the include, and any DMARC policy
 * will do. */
void live_compare(struct arena *, const struct live_set *, const struct dns_answer *, struct buf *lines);
