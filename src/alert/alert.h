/* alert.h - telling a human: what is raised, by anybody, from any thread.
 *
 * An alert is known by its kind and its subject. Raised again within its quiet
 * time it is counted, not told again; `over` ends it and is told once. Where
 * it is told: the log and the metrics always, the history (history.h), mail to the
 * administrators of the operator and of the tenant, webhooks. A tenant hears of its
 * own alerts only. Who raises need not care for any of it: raise whenever the
 * fact is seen, as often as it is seen.
 */
#pragma once
#include "base/str.h"

enum alert_level { ALERT_INFO, ALERT_WARNING, ALERT_ALARM };

/* enum, the word of it in configuration and output, level, title. A new kind goes to the end. */
#define ALERTS(X)                                                                                            \
    X(SOURCE_LISTED, "source-listed", ALARM, "a source address is on a blocklist")                           \
    X(SOURCE_UNCONFIRMED, "source-unconfirmed", ALARM, "a source address is not forward-confirmed")          \
    X(IDENTITY_FAULT, "identity-fault", WARNING, "what is in DNS is not what we send by")                    \
    X(LIMIT_NEAR, "limit-near", WARNING, "a sending limit is nearly reached")                                \
    X(LIMIT_EXCEEDED, "limit-exceeded", WARNING, "a sending limit is exceeded")                              \
    X(SUSPICIOUS_PATTERN, "suspicious-pattern", ALARM, "a suspicious sending pattern")                       \
    X(SENDER_RESTRICTED, "sender-restricted", ALARM, "a sender is restricted")                               \
    X(TENANT_RESTRICTED, "tenant-restricted", ALARM, "a tenant is restricted")                               \
    X(CONNECTOR_SUSPICIOUS, "connector-suspicious", ALARM, "suspicious activity of a connector")             \
    X(SUSPICIOUS_FORWARDING, "suspicious-forwarding", ALARM, "suspicious forwarding")                        \
    X(NDR_SURGE, "ndr-surge", ALARM, "a surge of non-delivery reports")                                      \
    X(SCANNER_DOWN, "scanner-down", ALARM, "a scanner does not answer")                                      \
    X(GUARD, "guard", ALARM, "mail parked")                                                                  \
    X(DKIM_HELD, "dkim-held", ALARM, "dkim rotation held")                                                   \
    X(SOURCE_UNBINDABLE, "source-unbindable", ALARM, "a source can't be bound")                              \
    X(TEST, "test", INFO, "a test of the alert channels")

enum alert_kind {
    ALERT_NONE, /* in a filter: any */
#define X(name, word, level, title) ALERT_##name,
    ALERTS(X)
#undef X
        ALERT_KINDS
};

/* Strings past these are cut (at a character). */
enum {
    ALERT_SUBJECT_MAX = 320,
    ALERT_TENANT_MAX = 128,
    ALERT_TEXT_MAX = 2000,
    ALERT_ADVICE_MAX = 2000,
    ALERT_SAMPLES_MAX = 4000,
    ALERT_ALSO_MAX = 16,
};

struct alerts;

struct alert {
    enum alert_kind kind;
    struct str subject;     /* what it is about, as an operator writes it: an address, a sender, a domain */
    struct str tenant;      /* whose administrators hear of it too; "": the operator's only */
    struct str text;        /* what happened and why, with the counts; a sentence or a few lines */
    struct str advice;      /* what to do next */
    struct str samples;     /* a few lines of evidence; "": none */
    const struct str *also; /* addresses that hear of it by mail besides (a policy's `notify`) */
    size_t also_count;
    bool over;     /* it has ended; one that was never raised is not told */
    int64_t now;   /* ms since the epoch; 0: the wall clock */
    int64_t until; /* it ends by itself then, and nobody is told: the text said so; 0: no */
};

/* Any thread. Copies, never waits. What finds no room is counted and logged, with what it says. A NULL
 * `alerts` takes nothing. */
void alert_raise(struct alerts *, const struct alert *);

/* "source-listed"; "" for none. */
struct str alert_word(enum alert_kind);
/* ALERT_NONE: no such word. */
enum alert_kind alert_of_word(struct str);
struct str alert_title(enum alert_kind);
enum alert_level alert_level(enum alert_kind);
/* A state that lasts until `over` (or `until`); else an event, which ends by itself when it has not been
 * raised for a day. */
bool alert_lasts(enum alert_kind);
/* A state that is raised again after a restart when it still lasts: who watches over it has forgotten that it
 * did, and can't say that it is over. */
bool alert_watched(enum alert_kind);
/* May a tenant hear of it, when it is the tenant's? Not of what our addresses and programs do. */
bool alert_for_tenants(enum alert_kind);
/* "info", "warning", "alarm" */
struct str alert_level_word(enum alert_level);
