/* publish.h - the plan as dynamic updates (RFC 2136), zone by zone, that take away nothing of others.
 *
 * What was published is remembered line by line; only that is taken back, beside what can't stand next to
 * ours: other data at a PTR, CNAME or delegation of ours, and a TXT record of the same kind (v=spf1,
 * v=DKIM1), two of which would count as none. So the primary is asked first what stands at a TXT name that is
 * new or changes. Pure: who asks and who sends is elsewhere.
 */
#pragma once
#include "identity/live.h"

struct publication;
/* Plan and `published` (publication_memory of the last time, or empty) must outlive it. */
struct publication *publication_new(const struct plan *, struct str published);
struct publication *publication_free(struct publication *); /* NULL is fine */

/* What to ask the primary for, all TXT. */
size_t publication_questions(const struct publication *, const struct live_set *const **ret);
/* The answer to one of them, by its number. Without one that zone is not sent. */
void publication_answer(struct publication *, size_t number, const struct dns_answer *);

/* When all answers are there. */
void publication_write(struct publication *);
/* Our zones, then those that only the last publication knew. */
size_t publication_zones(const struct publication *);
struct publication_zone {
    struct str name;   /* no final dot */
    size_t records;    /* planned there */
    struct str script; /* for nsupdate(1); empty: there is nothing to send */
    struct str why;    /* it can't be sent: a sentence; else "" */
};
struct publication_zone publication_zone(struct publication *, size_t number);

/* What may stand at the primary: of zones that are `done` what is planned, of the others what was there
 * before, too. A line each: "ZONE NAME TYPE DATA", all but the data in lower case; "? " in front of what may
 * never have come there, so that what stands beside it has to be asked for again. */
void publication_memory(const struct publication *, const bool *done, struct buf *out);
