/* accept.h - steps 4 to 7 for every way in: judge, classify, choose the pool, rewrite, make durable, queue.
 *
 * SMTP sessions, the API and our own reports all end here. A message is
 * accepted only when this returned OUTCOME_DONE: then it is on disk (invariant 2).
 */
#pragma once
#include "acceptance/content.h"
#include "acceptance/judge.h"
#include "flow/flow.h"
#include "policy/attribute.h"
#include "policy/classify.h"
#include "policy/envelope.h"
#include "policy/original_client.h"

/* The group attribute that marks a report of our own; its value is the trace id that it is about. */
#define ACCEPT_REPORT_OF STR("report-of")
/* The message attribute of mail whose sender gets no report; its value is why. */
#define ACCEPT_NO_REPORT STR("no-report")
/* The message attribute of mail that is held from the start; its value is why. */
#define ACCEPT_QUARANTINE STR("quarantine")
/* The message attribute that says who sent it (limit_sender_name). */
#define ACCEPT_SUBMITTER STR("submitter")

struct acceptance {
    struct trace_id id;
    int64_t arrival; /* wall ms */
    struct arena *arena;
    const struct settings *settings;
    struct str local_user; /* who holds the other end of the API's socket; "" : it didn't come that way */
    struct attribution by; /* tenant NULL: our own report for mail of no tenant */
    bool claimed;          /* a connector with `skip` has it of a stranger: our name in it is only a claim */
    bool outside;          /* nobody's user and no connector: taken for the recipients' sake */
    struct str reverse_path;
    struct envelope envelope;
    struct content *content; /* the message; ended */
    bool own_report;         /* a report that we made: not judged */
    struct str prefix;       /* header fields to stand before the body */
    struct str message_id;   /* that `prefix` adds; empty: the header has its own */
    struct str helo;
    struct ip client;
    struct ip told_ip; /* the client that a trusted peer named (XFORWARD); none: `client` it is */
    struct str told_helo, told_name, told_why; /* "" : nobody told */
    struct str client_name;             /* of the true client, for scanners; "" : none, or nobody asked */
    int64_t client_name_ms;             /* that this took */
    struct original_client original;    /* who it came from before our own hops */
    struct arrival_result verified;     /* SPF, DKIM, ARC; `checked` false for our own mail */
    struct str tls_version, tls_cipher; /* of the session; "" none */
    struct judgement judged;            /* step 4 */
    struct str suspicion;               /* why its sender is suspicious, when the caller knows; "" */
    struct str envid;
    enum spool_ret ret;
    uint8_t flags;                    /* SPOOL_8BITMIME ... */
    struct str references;            /* of a report: the trace id that it is about; else empty */
    struct allowance *allowance;      /* while accept_message runs */
    int64_t hold_until;               /* wall ms: it waits for its turn (allowance.h); 0: it doesn't */
    struct str hold_why, refused_why; /* for the trace; "" : nothing beyond the reply */
    struct str quarantine;            /* why it is held until an operator lets it go; "" : it isn't */
};

/* From a fiber. DONE: durable and queued. LATER, NEVER: the reply, nothing is kept. Takes the content's body
 * when it is DONE. */
struct outcome accept_message(struct flow *, struct acceptance *);

/* Step 3, from a fiber, once the content has ended: who it came from before our own hops, and what of it is
 * true. Sets `original` and `verified`. */
void accept_verify(struct flow *, struct acceptance *);
/* Is what comes by this connector or from there to be verified, as far as is known before the message? */
bool accept_verifies(const struct acceptance *);
/* Who was verified. */
struct arrival_client accept_client(const struct acceptance *);

/* Steps 4 and 5 alone, for accept_message and explain: 0, or EIO and the refusal. *ret_pool is NULL when no
 * pool carries the class: the mail will wait. */
[[nodiscard]] int accept_classify(struct flow *, const struct acceptance *, struct classify_facts *ret_facts,
                                  struct decision *ret_decision, const struct pool **ret_pool,
                                  struct outcome *ret_refusal);

/* Has anybody a key to sign with? */
bool accept_signs(const struct settings *);

/* Writes the fields that a submission lacks (RFC 6409 8) and remembers the Message-ID. `domain`: of the
 * sender; `from`: what From says when there is none. */
void accept_complete(struct acceptance *, struct buf *out, struct str domain, struct str from);

/* Adds bytes to a body, waiting in the fiber while too much is on its way to the disk. As spool_body_add,
 * never BUSY. */
[[nodiscard]] int accept_body_add(struct spool_body *, struct str bytes);

/* The reply that fits an error of the content: 452 4.3.1, 552 5.3.4 or 451 4.3.0. */
struct outcome accept_content_refusal(const struct content *, int error);

/* The address of the first mailbox in From, wire form, in `arena`; empty when there is none. */
struct str accept_from_address(struct arena *, const struct header *);

/* The fields that every event of a message shares. */
void accept_trace_facts(const struct acceptance *, struct trace_event *);
/* Refusals are traced too, so that "why was it not taken" has an answer; and logged, and counted. */
void accept_refused(struct flow *, const struct acceptance *, const struct outcome *, struct str recipient);
