/* recipient.h - what becomes of a RCPT TO: forwards, rewritten addresses that come back, and what is taken
 * from outside. Pure; the clock is passed in.
 *
 * Addresses are in wire form. Those of our domains are compared without regard to case.
 */
#pragma once
#include "base/outcome.h"
#include "policy/tenant.h"

enum recipient_kind {
    RECIPIENT_PLAIN,   /* goes where it says: one target, the address itself */
    RECIPIENT_FORWARD, /* goes to the targets of a forward */
    RECIPIENT_RETURN,  /* a rewritten address came back: one target, the original sender */
    RECIPIENT_END,     /* a rewritten address without a sender in it (bounces+SRS=): taken and dropped */
};

enum { RECIPIENT_TARGETS_MAX = 1000 }; /* of one recipient, and addresses looked at on the way */

struct recipient_target {
    struct str address;
    struct str forwarder;        /* the forward's address that it came through; "" for keep, plain, return */
    const struct tenant *tenant; /* whose forward that was: its policy and its SRS apply; else the route's */
    struct outcome forbidden;    /* fate DONE, or NEVER 550 5.7.520: the tenant's policy forbids this one */
};

struct recipient_route {
    enum recipient_kind kind;
    const struct tenant *tenant;      /* who accepts the address's domain, or whose SRS it is; NULL: nobody */
    struct recipient_target *targets; /* each address once; none for RECIPIENT_END */
    size_t count;
    struct str reason; /* for people: "forwarded by bob@contoso.com"; "" for RECIPIENT_PLAIN */
};

/* Who reads the mail for `postmaster` without a domain (RFC 5321 4.5.1), on the node of this name: the
 * postmaster of the nearest accepted domain that the node stands in, and that has a forward for it or a
 * connector with `deliver`; else the node's own, whom nobody outside reaches. In the arena. */
struct str recipient_postmaster(const struct policy *, struct str node, struct arena *);

/* `outside`: the client is neither a user nor a connector: only forwards, rewritten addresses and the
 * postmaster (RFC 5321 4.5.1) of an accepted domain that has a connector with `deliver` are taken.
 * True: *ret is set. False: *ret_refusal is the reply to RCPT:
 *   550 5.1.1   an accepted domain has no such recipient; a rewritten address is malformed or too old
 *   550 5.7.1   a rewritten address is forged
 *   550 5.7.64  outside: not a domain of ours
 *   550 5.7.520 the policy forbids all targets
 * Everything in `arena`, or as old as the policy. */
bool recipient_route(const struct policy *, struct str address, bool outside, int64_t now_wall_ms,
                     struct arena *, struct recipient_route *ret, struct outcome *ret_refusal);
