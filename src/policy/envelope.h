/* envelope.h - who gets a message: each RCPT, and the copies that it comes to by forwards and rewritten
 * addresses.
 */
#pragma once
#include "mail/header.h"
#include "policy/recipient.h"
#include "spool/spool.h"

enum { ENVELOPE_COPIES_MAX = 2000 };

/* A recipient as the client named it. */
struct envelope_named {
    struct str address;
    enum recipient_kind kind;
    struct str reason; /* why it became what it is; "" for a plain one */
};

struct envelope_copy {
    struct spool_recipient to;         /* where it goes; `via` by envelope_route */
    const struct connector *connector; /* whose `deliver` takes it; NULL: by MX */
    const struct tenant *tenant;       /* whose forward or rewritten address it was; NULL: plain */
    struct str named;                  /* of which recipient */
    struct str forwarder;              /* the address that forwards; "" with none */
    struct outcome ended;              /* fate NEVER: this copy does not leave, and why */
};

struct envelope {
    struct envelope_named *named;
    struct envelope_copy *copies;
    size_t named_count, named_room, copy_count, copy_room;
};

/* Whose words they are: what a client may address depends on it. */
struct envelope_rcpt {
    struct str address, orcpt; /* wire form */
    uint8_t notify;
    bool outside;                /* nobody's user and no connector */
    const struct tenant *tenant; /* from outside: whose the recipients before are; NULL: nobody's yet. It is
                                    taken for the recipients' sake, and so for one tenant at a time */
    int64_t now;                 /* wall ms */
};

/* Adds a recipient (named twice: once) with its copies, each address once. *ret_tenant: who answers for it
 * when it is not plain, else NULL. False: *ret_refusal is the reply to RCPT. */
bool envelope_add(struct envelope *, const struct policy *, const struct envelope_rcpt *, struct arena *,
                  const struct tenant **ret_tenant, struct outcome *ret_refusal);

/* Ends the copies of forwards that the message went through before, by Delivered-To. False: nothing else is
 * left; *ret_refusal is 554 5.4.6. */
bool envelope_check_loops(struct envelope *, const struct header *, struct arena *,
                          struct outcome *ret_refusal);

/* Ends the copies that are marked, `stopped` has one for each. False: a recipient would be left with none,
 * and its sender, who was told that it is taken, must hear; nothing is changed then. */
bool envelope_end(struct envelope *, const bool *stopped, const struct outcome *why);

/* Mail for a domain whose tenant has a connector with `deliver` goes there, whatever MX says. */
void envelope_route(struct envelope *, const struct policy *, struct arena *);

/* The copies that leave. */
size_t envelope_leaving(const struct envelope *);
