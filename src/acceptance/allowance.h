/* allowance.h - step 2 in the pipeline: what is asked of limits/sending.h about a message, and what its
 * answer means for it.
 *
 * Who counts: the user who logged in, whatever From says; for a connector and for the local socket the
 * reverse-path (limit_sender_name). What counts: the copies that leave, forwards expanded; external are those
 * to domains that the tenant doesn't accept. From selects the policy.
 *  - Mail from outside for a forward counts for the forwarding tenant only: its sender is nobody's here. What
 *    goes to the tenant's own servers only is receiving, and free; so are bounces that come back to a
 * rewritten address.
 *  - A delivery report (multipart/report with a null reverse-path) of a connector or the local socket counts
 *    nowhere, ours pass always.
 *  - `limits { apply = off }`, `limits = off` of a connector (its default while the tenant has no `policy`),
 *    and the local socket while the tenant has none: as from outside, the tenant counts only.
 * Who is restricted is refused in all of these cases but the first bullet's receiving; of a message from
 * outside that is received and forwarded too only the forwarded copies end, unless a recipient has no other.
 */
#pragma once
#include "acceptance/accept.h"
#include "limits/sending.h"

struct allowance {
    struct limit_question question;
    struct limit_answer answer;
    struct sending_count count;
    bool counting;
};

/* From a fiber, once the content has ended and the envelope is complete. DONE: it may go, as it seems not
 * before a->hold_until; then allowance_settle is due. Else the reply; a->refused_why says more for the trace.
 */
struct outcome allowance_ask(struct flow *, struct acceptance *, struct allowance *ret);
/* When nothing else can refuse it: its turn, in a->hold_until (0: at once). False: too many wait. */
bool allowance_turn(struct flow *, struct acceptance *, struct allowance *, struct outcome *ret_refusal);
/* Just before the spool's commit: its count goes to disk meanwhile. */
void allowance_count(struct flow *, struct allowance *);
/* Once after each allowance_ask that was DONE. Committed: returns when it is counted on disk. */
void allowance_settle(struct flow *, const struct acceptance *, struct allowance *, bool committed);

/* At MAIL: false when the sender, its connector or its tenant is restricted, with the reply. */
bool allowance_may_begin(struct flow *, struct acceptance *, struct outcome *ret_refusal);

/* Does its sender have limits of its own: a user always, a server's or the local socket's by `limits` and
 * policies. Of a tenant's mail that is not from outside. */
bool allowance_counts(const struct acceptance *);

/* What to ask, for allowance_ask and explain. `header` decides by From and Content-Type. */
void allowance_question(const struct acceptance *, struct limit_question *ret);

/* Suspicious mail: a copy to the address that the policy names (bcc-suspicious), which counts nowhere. Before
 * envelope_route. */
void allowance_copy(struct acceptance *);

/* sending_options.tell: the alerts; `flow` is a struct flow. From a fiber. */
void allowance_tell(void *flow, const struct sending_note *);

/* ---- Mail that waits for its turn: accepted, on disk with the time, released then, also after a restart
 * ---- */

/* The message attributes of it: wall ms in decimal, and why in words. */
#define ACCEPT_NOT_BEFORE STR("not-before")
#define ACCEPT_NOT_BEFORE_WHY STR("not-before-why")
/* 0: it never had to wait. */
int64_t allowance_not_before(const struct spool_message *);
