/* sender_state.h - who may not send, since when and why. A pure state machine, and the book of all of them.
 *
 *             exceed(restrict-today)            next UTC day
 *      free ------------------------> today -----------------> free
 *        \    exceed(restrict)          | exceed(restrict)
 *         `------------------------> restricted
 *   release, allow: free from any of them. A released one isn't restricted again that UTC day for the same
 *   cause, an allowed one for no cause of ours until the time given; they are alerted about instead, once a
 *   day and cause. Limits go on to apply to both. Who is restricted can still receive.
 */
#pragma once
#include "base/buf.h"
#include "base/cursor.h"
#include "base/outcome.h"
#include "detection/sender_cause.h"
#include "policy/tenant.h"

enum sender_restriction { SENDER_FREE, SENDER_RESTRICTED_TODAY, SENDER_RESTRICTED }; /* stored */

enum { SENDER_REASON = 200, SENDER_BY = 64 };

/* The zero value: free, nothing known. Times are wall ms. */
struct sender_state {
    enum sender_kind kind;
    enum sender_restriction restriction;
    enum sender_cause cause;     /* of the restriction, also when it is over */
    int64_t since, until;        /* until 0: until it is released */
    struct sender_counts counts; /* when it was restricted */
    char reason[SENDER_REASON];  /* in words, with the limit and the counts; cut to fit */
    char by[SENDER_BY];          /* who restricted, released or allowed it; "": this system */
    uint32_t exempt, alerted;    /* bits of causes */
    int64_t exempt_until, alerted_until;
    int64_t allowed_until; /* SENDER_ALWAYS: for good */
};

struct sender_event {
    enum sender_cause cause;
    enum limit_action action;
    struct sender_counts counts;
    struct str reason, by;
    int64_t now;
};

enum sender_change {
    SENDER_UNCHANGED, /* nothing to tell: it was restricted already, or told today */
    SENDER_ALERT,     /* tell the administrators, nothing more */
    SENDER_RESTRICT,  /* it is restricted now (or now for good): tell them */
};

/* Something was exceeded. An operator's restriction (CAUSE_OPERATOR) ends exemptions and allowance. Of who is
 * restricted already the heavier cause is kept (an operator's, then detection's, then a limit's), and the
 * longer restriction. */
enum sender_change sender_exceed(struct sender_state *, const struct sender_event *);

/* What a policy's action comes to for this sender and cause: ALERT for who is exempt or allowed. For
 * limit_rules.action, so that a released sender over a limit gets a 450, not a 550 5.1.8. */
enum limit_action sender_action(const struct sender_state *, enum sender_cause, enum limit_action,
                                int64_t now);

/* False: it was not restricted. */
bool sender_release(struct sender_state *, struct str by, int64_t now);
/* Allowed until that time (and released); 0: no longer. */
void sender_allow(struct sender_state *, int64_t until, struct str by, int64_t now);

/* May it send? False: *ret_refusal is 550 5.1.8, of a connector 550 5.7.711, of a tenant 550 5.7.705 (static
 * text). */
bool sender_may_send(const struct sender_state *, int64_t now, struct outcome *ret_refusal);

bool sender_is_restricted(const struct sender_state *, int64_t now);

/* Nothing is left to know: it is free and neither exempt, alerted nor allowed. */
bool sender_is_blank(const struct sender_state *, int64_t now);

/* The stored form, with its name. */
void sender_encode(struct buf *, struct str name, const struct sender_state *);
/* False: malformed. The name is a view of the bytes. */
bool sender_decode(struct cursor *, struct str *ret_name, struct sender_state *ret);

/* ---- The book ---- */

/* All senders of whom something is to be known. Belongs to one worker. Names without regard to case; a user,
 * a connector and a tenant of one name are three. */
struct sender_book;

struct sender_book *sender_book_new(void);
/* NULL is fine; returns NULL. */
struct sender_book *sender_book_free(struct sender_book *);
/* NULL: nothing is known, it may send. */
const struct sender_state *sender_book_find(const struct sender_book *, enum sender_kind, struct str name);
/* How many of a kind there are. */
size_t sender_book_count(const struct sender_book *, enum sender_kind);
/* Finds or makes, to be changed; valid until it is forgotten. */
struct sender_state *sender_book_of(struct sender_book *, enum sender_kind, struct str name);
/* Replaces what is known; a blank one is forgotten. */
void sender_book_put(struct sender_book *, struct str name, const struct sender_state *, int64_t now);
/* Forgets all blank ones. */
void sender_book_tidy(struct sender_book *, int64_t now);
/* Each in turn, from *at = 0, in no order; false at the end. No change meanwhile but of states. */
bool sender_book_next(const struct sender_book *, size_t *at, struct str *ret_name,
                      const struct sender_state **ret);
