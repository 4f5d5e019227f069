/* sender_cause.h - of whom something is found, what, and the counts that show it: the words that detection,
 * the limits and those who tell an administrator share.
 */
#pragma once
#include "base/arena.h"
#include "base/str.h"

enum sender_kind { SENDER_USER, SENDER_CONNECTOR, SENDER_TENANT }; /* stored: never change a number */

/* Stored: never change a number; 1 to 31. */
#define SENDER_CAUSES(X)                                                                                     \
    X(OPERATOR, 1, "operator", "an operator restricted it")                                                  \
    X(PER_DAY, 2, "per-day", "recipients in 24 hours")                                                       \
    X(EXTERNAL_PER_HOUR, 3, "external-per-hour", "external recipients in an hour")                           \
    X(INTERNAL_PER_HOUR, 4, "internal-per-hour", "internal recipients in an hour")                           \
    X(TENANT_EXTERNAL, 5, "tenant-external-per-day", "the tenant's external recipients in 24 hours")         \
    X(SPAM_SHARE, 6, "spam-share", "too much of its mail is spam")                                           \
    X(UNKNOWN_RECIPIENTS, 7, "unknown-recipients", "too many of its recipients don't exist")                 \
    X(GROWTH, 8, "growth", "far more mail than it usually sends")                                            \
    X(DESTINATIONS, 9, "destinations", "many destinations that it never wrote to")                           \
    X(NETWORK, 10, "network", "it sends from a new network")                                                 \
    X(REFUSALS, 11, "refusals", "receivers refuse its mail as spam")

enum sender_cause {
    CAUSE_NONE = 0,
#define X(name, number, word, text) CAUSE_##name = (number),
    SENDER_CAUSES(X)
#undef X
};

/* "spam-share"; NULL for a number that is none. */
const char *sender_cause_word(enum sender_cause);
const char *sender_cause_text(enum sender_cause);

/* Of the last 24 hours, at the time it happened. */
struct sender_counts {
    uint32_t spam, mail, recipients, unknown, destinations, refusals;
};

/* "OutboundSpamLast24Hours=122;OutboundMailLast24Hours=128;OutboundSpamPercent=953;..." (per mille). */
struct str sender_counts_text(struct arena *, const struct sender_counts *);

/* The time until which something is allowed that is allowed for good. */
#define SENDER_ALWAYS INT64_MAX
