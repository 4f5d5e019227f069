/* milter_health.h - how each milter does, over all sessions: for status, metrics and alerts. Any thread. */
#pragma once
#include "base/str.h"

enum milter_count {
    MILTER_COUNT_MESSAGES,    /* went through it */
    MILTER_COUNT_FAILURES,    /* it could not be asked, or its answer was none */
    MILTER_COUNT_REFUSED,     /* commands and messages that it refused */
    MILTER_COUNT_DISCARDED,   /* messages */
    MILTER_COUNT_QUARANTINED, /* messages */
    MILTER_COUNT_CHANGED,     /* messages */
    MILTER_COUNTS,
};

struct milter_health {
    struct str name;
    bool up;        /* its last turn was no failure */
    struct str why; /* what went wrong last; "" nothing yet */
    int64_t since;  /* wall ms: up or down; 0: since the start */
    uint64_t counts[MILTER_COUNTS];
};

struct milter_service;

struct milter_service *milter_service_new(void);
/* Accepts NULL, returns NULL. */
struct milter_service *milter_service_free(struct milter_service *);

/* It works, or fails with `why`. True: that is news. */
bool milter_service_note(struct milter_service *, struct str name, bool up, struct str why, int64_t now);
/* It keeps who wants to connect waiting: until then (wall ms) nobody tries. And: does it rest? */
void milter_service_rest(struct milter_service *, struct str name, int64_t until);
bool milter_service_rests(struct milter_service *, struct str name, int64_t now);
void milter_service_count(struct milter_service *, struct str name, enum milter_count);

/* What is known of this one; of one that was never asked: up, all zero. Texts in the arena. */
void milter_service_get(struct milter_service *, struct str name, struct arena *, struct milter_health *ret);
