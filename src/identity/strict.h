/* strict.h - what a strict receiver sees of a connection of ours, and whose demand it fails.
 *
 * Strict is who refuses all that some receiver of note refuses (RFC 5321 2.3.5, RFC 7208 2.3, RFC 7489, the
 * published demands of Gmail, Yahoo and Outlook.com): no one of them asks for all of it. Everything is asked
 * of the DNS, nothing is taken from the plan; the plan says only what to put where. What the DNS does not
 * answer is STRICT_UNKNOWN, never a failure (invariant 7).
 */
#pragma once
#include "auth/forecast.h"
#include "identity/plan_find.h"
#include "identity/survey.h"

/* In the order in which a receiver comes to them: name, name in JSON, who demands it. */
#define STRICT_CHECKS(X)                                                                                     \
    X(PTR, "ptr", "Gmail, Yahoo and most others refuse an address without a PTR record (550 5.7.25)")        \
    X(FCRDNS, "fcrdns",                                                                                      \
      "Gmail, Yahoo and most others refuse an address whose PTR name does not lead back to it (550 5.7.25)") \
    X(NAME, "ptr-name", "receivers that refuse customers' lines know them by such a PTR name")               \
    X(EHLO_NAME, "ehlo-name", "RFC 5321 4.1.1.1 wants a full host name in EHLO; many refuse anything else")  \
    X(EHLO_ADDRESS, "ehlo-address",                                                                          \
      "receivers that hold to RFC 5321 2.3.5 refuse an EHLO name that has no address")                       \
    X(EHLO_PTR, "ehlo-ptr",                                                                                  \
      "the few receivers that insist on HELO = PTR (against RFC 5321 4.1.4) refuse it: 550 5.7.1")           \
    X(ORGANISATION, "organisation",                                                                          \
      "filters take a PTR name and an EHLO name of two organisations for forgery")                           \
    X(EHLO_SPF, "ehlo-spf",                                                                                  \
      "who checks SPF of the EHLO name (RFC 7208 2.3) holds it against the mail; for reports (<>, 2.4) "     \
      "all do")                                                                                              \
    X(SPF, "spf",                                                                                            \
      "Gmail and Yahoo want SPF or DKIM of everybody, and both, as Outlook.com does (550 5.7.515), from "    \
      "5,000 messages a day on")                                                                             \
    X(DKIM, "dkim",                                                                                          \
      "Gmail and Yahoo want SPF or DKIM of everybody, and both, as Outlook.com does (550 5.7.515), from "    \
      "5,000 messages a day on")                                                                             \
    X(DMARC, "dmarc",                                                                                        \
      "Gmail, Yahoo and Outlook.com (550 5.7.515) want it from 5,000 messages a day on; all who honour the " \
      "domain's own policy")

enum strict_code {
#define X(name, text, demand) STRICT_##name,
    STRICT_CHECKS(X)
#undef X
        STRICT_COUNT,
};
const char *strict_code_text(enum strict_code);
const char *strict_demand(enum strict_code); /* a sentence: who refuses mail for it */

#define STRICT_VERDICTS(X)                                                                                   \
    X(PASS, "pass")                                                                                          \
    X(FAIL, "fail")       /* it costs mail */                                                                \
    X(NOTE, "note")       /* it costs mail at some receivers, or is so on purpose */                         \
    X(UNKNOWN, "unknown") /* the DNS did not answer */                                                       \
    X(VOID, "void")       /* another check has failed without which there is nothing to see */

enum strict_verdict {
#define X(name, text) STRICT_##name,
    STRICT_VERDICTS(X)
#undef X
};
const char *strict_verdict_text(enum strict_verdict);

struct strict_check {
    enum strict_verdict verdict;
    struct str sees; /* a word for a table: "pass", "none"; "" when the verdict says it */
    struct str why;  /* a sentence; "" with PASS and VOID */
    struct str put;  /* records as in a zone file, one a line, or what to write into the configuration; "" */
};

struct strict_query {
    const struct source *source;
    const struct pool *pool; /* of the source */
    struct str ehlo;         /* that it says there */
    bool ehlo_is_ptr;        /* it says its PTR name on purpose: one that differs is a fault, not a note */
    const struct plan_index *index; /* NULL: `put` stays empty */
    int64_t timeout_ms;             /* of one question */
    int64_t now;                    /* wall clock ms */
    int64_t deadline;               /* monotonic ms; after it all is UNKNOWN */
};

struct strict_view {
    struct fcrdns names; /* names.name: the PTR name, "" none */
    struct str ehlo;
    const struct pool *pool; /* as in the query */
    struct strict_check checks[STRICT_COUNT];
};

/* Who connects: the checks up to EHLO_SPF; those after it are VOID. Its questions go side by side. From a
 * fiber; in the arena. */
void strict_ask(struct resolver *, const struct strict_query *, struct arena *, struct strict_view *ret);

/* The mail itself: SPF, DKIM and DMARC as auth/forecast.h foretells them, into a view that strict_ask has
 * set. */
void strict_mail(const struct forecast *, struct str from_domain, const struct plan_index *, struct arena *,
                 struct strict_view *);

/* The worst of all checks: FAIL, else UNKNOWN, else NOTE, else PASS. */
enum strict_verdict strict_worst(const struct strict_view *);
