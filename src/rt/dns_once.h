/* dns_once.h - a resolver for one piece of work: each question is asked once, and all end by one deadline.
 *
 * For who comes upon the same names from many sides and must have an end. What failed is not asked again
 * either. What has no answer at the deadline is DNS_FAILED with the reason `late`, never "none" (invariant
 * 7). Questions are asked by fibers of their own, at most `most` at a time: who gives one up leaves its
 * answer to the others. Of one worker, from fibers.
 */
#pragma once
#include "rt/resolver.h"
#include <stdatomic.h>

/* Any thread may look. */
struct dns_once_counts {
    atomic_size_t asked, done; /* questions; those with an answer, or given up */
};

struct dns_once_settings {
    struct resolver *below;         /* that is asked; outlives this one */
    int64_t deadline;               /* monotonic ms */
    unsigned most;                  /* questions under way */
    struct str late;                /* the reason after the deadline; outlives this one */
    struct dns_once_counts *counts; /* NULL, or outlives this one */
};

struct dns_once;
struct dns_once *dns_once_new(const struct dns_once_settings *);

struct resolver *dns_once_resolver(struct dns_once *);
/* The same for who asks ahead what may never be wanted: its failures are not among dns_once_failures. */
struct resolver *dns_once_ahead(struct dns_once *);

/* Moves the deadline. */
void dns_once_extend(struct dns_once *, int64_t ms);
/* The deadline is now: all who wait go on. */
void dns_once_end(struct dns_once *);

struct dns_once_failure {
    struct str name, why;
    enum dns_type type;
};
/* What had no answer, in the order of asking; texts in the arena. */
size_t dns_once_failures(const struct dns_once *, struct arena *, struct dns_once_failure **ret);

/* From a fiber, when nobody asks any more: ends what is under way and waits for that. NULL is fine. */
struct dns_once *dns_once_free(struct dns_once *);
