/* event.h - the vocabulary of the trace: what can happen to a recipient, and how it is told.
 *
 * The lists below are the only place where fields and names stand; enum, struct,
 * SQL, JSON and the reader are made from them. Names are contract (design, section 7).
 * Strings are views: an empty one with at == NULL is absent (null). A null
 * reverse-path is written "<>".
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/ip.h"
#include "base/mail_class.h"
#include "base/trace_id.h"

/* Stored as numbers: they never change. */
#define TRACE_EVENTS(X)                                                                                      \
    X(RECEIVE, 1) /* accepted and durable */                                                                 \
    X(REFUSE, 2)  /* refused at the door; nothing is queued */                                               \
    X(SEND, 3)    /* the receiver took it */                                                                 \
    X(DEFER, 4)   /* an attempt ended with "later" */                                                        \
    X(FAIL, 5)    /* ended: refused for good, or expired */                                                  \
    X(DSN, 6)     /* a report about this recipient was queued; `reference` is its trace id */                \
    X(DROP, 7)    /* ended without a report (a report that can't be delivered) */                            \
    X(HOLD, 8)                                                                                               \
    X(RELEASE, 9)                                                                                            \
    X(CANCEL, 10)

#define TRACE_STATUSES(X)                                                                                    \
    X(PENDING, 1, "Pending")                                                                                 \
    X(DELIVERED, 2, "Delivered")                                                                             \
    X(FAILED, 3, "Failed")                                                                                   \
    X(EXPANDED, 4, "Expanded")                                                                               \
    X(FILTERED, 5, "FilteredAsSpam")                                                                         \
    X(CANCELLED, 6, "Cancelled")

#define TRACE_DIRECTIONS(X)                                                                                  \
    X(ORIGINATING, 1, "Originating")                                                                         \
    X(INCOMING, 2, "Incoming")

enum trace_kind {
#define X(name, value) TRACE_##name = (value),
    TRACE_EVENTS(X)
#undef X
};

/* 0 when emitting: the one that fits the event (RECEIVE, DEFER, HOLD, RELEASE: Pending; SEND: Delivered;
 * REFUSE, FAIL, DROP: Failed; CANCEL: Cancelled). DSN never changes a status. */
enum trace_status {
#define X(name, value, text) TRACE_STATUS_##name = (value),
    TRACE_STATUSES(X)
#undef X
};

enum trace_direction {
#define X(name, value, text) TRACE_DIRECTION_##name = (value),
    TRACE_DIRECTIONS(X)
#undef X
};

/* FIELD(type, member, name in JSON and SQL, lasting).
 * Lasting fields say something about the message: a recipient's latest state keeps them until an event gives
 * another value, so later events may leave them out. The others belong to one attempt: SEND, DEFER, FAIL,
 * DROP and REFUSE replace all of them. 2: lasting, but told only with the event that brought it. */
#define TRACE_FIELDS(FIELD)                                                                                  \
    FIELD(STR, message_id, "message_id", 1)                                                                  \
    FIELD(STR, tenant, "tenant", 1)                                                                          \
    FIELD(STR, connector, "connector", 1)                                                                    \
    FIELD(STR, user, "user", 1)                                                                              \
    FIELD(STR, sender, "sender", 1)           /* the reverse-path as it came in */                           \
    FIELD(STR, return_path, "return_path", 1) /* as sent: after SRS */                                       \
    FIELD(STATUS, status, "status", 0)                                                                       \
    FIELD(CLASS, class, "class", 1)                                                                          \
    FIELD(STR, rule, "rule", 1)                                                                              \
    FIELD(STR, reason, "reason", 1)                                                                          \
    FIELD(STR, pool, "outbound_ip_pool_name", 1)                                                             \
    FIELD(IP, outbound_ip, "outbound_ip", 0)                                                                 \
    FIELD(STR, ehlo, "ehlo", 0)                                                                              \
    FIELD(IP, server_ip, "server_ip", 0)                                                                     \
    FIELD(STR, server_hostname, "server_hostname", 0)                                                        \
    FIELD(STR, reply, "reply", 0) /* the receiver's words, or ours: "550 5.1.1 no such user" */              \
    FIELD(STR, identity, "identity",                                                                         \
          0) /* what the DNS was known to say wrongly of us, when a receiver refused */                      \
    FIELD(STR, tls, "tls", 0)                                                                                \
    FIELD(STR, spf, "spf", 1)                                                                                \
    FIELD(STR, dkim, "dkim", 1)                                                                              \
    FIELD(STR, arc, "arc", 1)                                                                                \
    FIELD(STR, verdict, "verdict", 1)                                                                        \
    FIELD(STR, score, "score", 1)     /* the scanner's, and what it counts against: "7.30/15.00" */          \
    FIELD(STR, symbols, "symbols", 1) /* what it found, the weightiest first */                              \
    FIELD(INT, size, "size", 1)       /* bytes; 0: absent */                                                 \
    FIELD(STR, subject, "subject", 1)                                                                        \
    FIELD(IP, client_ip, "client_ip", 1)                                                                     \
    FIELD(STR, client_hostname, "client_hostname", 1)                                                        \
    FIELD(IP, original_client_ip, "original_client_ip", 1)                                                   \
    FIELD(STR, original_client_reason, "original_client_reason", 1)                                          \
    FIELD(DIRECTION, directionality, "directionality", 1)                                                    \
    FIELD(INT, recipient_count, "recipient_count", 1) /* of the whole message; 0: absent */                  \
    FIELD(COUNT, attempts, "attempts", 0)             /* made so far, this one included; never null */       \
    FIELD(INT, latency_ms, "latency_ms", 0)           /* since arrival; 0: the store works it out */         \
    FIELD(STR, reference, "reference", 2)             /* the trace id of the report, or of what it reports */

/* The C types behind the kinds of field. */
#define TRACE_TYPE_STR struct str
#define TRACE_TYPE_IP struct ip /* all zero: absent */
#define TRACE_TYPE_INT int64_t
#define TRACE_TYPE_COUNT int64_t
#define TRACE_TYPE_STATUS enum trace_status       /* 0: absent */
#define TRACE_TYPE_DIRECTION enum trace_direction /* 0: absent */
#define TRACE_TYPE_CLASS struct trace_class

struct trace_class {
    bool known; /* false: not classified (yet) */
    enum mail_class value;
};
#define TRACE_CLASS(c) ((struct trace_class){true, (c)})

struct trace_event {
    int64_t time; /* wall clock, ms since the epoch */
    enum trace_kind event;
    struct trace_id trace_id; /* of trace_id_new: its time of arrival names the day's file */
    struct str recipient;     /* with REFUSE before RCPT: empty */
#define FIELD(type, member, name, lasting) TRACE_TYPE_##type member;
    TRACE_FIELDS(FIELD)
#undef FIELD
};

/* "RECEIVE"; "Pending"; "Originating". NULL for a number that is none. */
const char *trace_kind_name(enum trace_kind);
const char *trace_status_name(enum trace_status);
const char *trace_direction_name(enum trace_direction);
/* Without regard to case. */
bool trace_kind_parse(struct str, enum trace_kind *ret);
bool trace_status_parse(struct str, enum trace_status *ret);
bool trace_direction_parse(struct str, enum trace_direction *ret);

/* When the message of this id arrived (ms since the epoch); -1 when the id carries no time. */
int64_t trace_arrival(const struct trace_id *);

/* Appends one JSON object without a line end, every field in the order of the contract, absent ones null;
 * bytes that are not UTF-8 become U+FFFD. `received`, the time of arrival, stands beside `time`. */
void trace_event_json(struct buf *, const struct trace_event *);
/* Reads such an object back; strings go into the arena. Unknown names are skipped. SYNTAX. */
[[nodiscard]] int trace_event_parse(struct str json, struct arena *, struct trace_event *ret);
