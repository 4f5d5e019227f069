/* pattern_reply.h - what a receiver's reply says about who sent the mail. Pure.
 */
#pragma once
#include "base/outcome.h"

enum reply_kind {
    REPLY_DELIVERED,
    REPLY_UNKNOWN, /* the recipient doesn't exist: 5.1.1, 5.1.10, 5.1.0 and 550 with such words */
    REPLY_SPAM,    /* this mail is unwanted for what it is: spam words, and nothing about our address */
    REPLY_OTHER,   /* failed for another reason, which says nothing of the sender */
};

/* Of a final outcome (DONE or NEVER). A refusal for the address it came from (a blocklist, reputation, PTR)
 * or for authentication is OTHER: the sender is not to blame. */
enum reply_kind reply_kind(const struct outcome *);
