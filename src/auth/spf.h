/* spf.h - may this address send mail for that domain? (RFC 7208)
 *
 * check_host() whole, over the resolver interface, with what it looked at kept as
 * steps for `explain`. It waits in the resolver (a fiber), never past the deadline.
 * Bounds: 10 terms that ask the DNS, 2 void ones, 10 MX and 10 PTR names each
 * (section 4.6.4), one answer in memory at a time, SPF_STEPS_MAX steps kept.
 */
#pragma once
#include "rt/resolver.h"

enum {
    SPF_TERMS_MAX = 10,      /* terms that ask the DNS, section 4.6.4; more: permerror */
    SPF_VOIDS_MAX = 2,       /* terms whose answer was empty; more: permerror */
    SPF_NAMES_MAX = 10,      /* MX names of a term (more: permerror), PTR names (more are ignored) */
    SPF_DEADLINE_MS = 20000, /* what section 4.6.4 gives a check at least; for callers */
    SPF_STEPS_MAX = 256,
    SPF_LOOKUPS_MAX = 256,     /* kept with the steps, in all */
    SPF_EXPLANATION_MAX = 500, /* octets; a longer explanation is ignored */
};

#define SPF_RESULTS(X)                                                                                       \
    X(NONE, "none")                                                                                          \
    X(NEUTRAL, "neutral")                                                                                    \
    X(PASS, "pass")                                                                                          \
    X(FAIL, "fail")                                                                                          \
    X(SOFTFAIL, "softfail")                                                                                  \
    X(TEMPERROR, "temperror")                                                                                \
    X(PERMERROR, "permerror")

enum spf_result {
#define X(name, text) SPF_##name,
    SPF_RESULTS(X)
#undef X
};

/* "pass", as RFC 8601 writes it. */
const char *spf_result_text(enum spf_result);

enum spf_identity { SPF_MAIL_FROM, SPF_HELO };

struct spf_query {
    struct ip ip;            /* the client; IPv4-mapped is IPv4 */
    struct str helo;         /* as given, may be anything */
    struct str mail_from;    /* reverse-path in wire form; "" for <>: postmaster@helo is checked (2.4) */
    enum spf_identity which; /* SPF_HELO: postmaster@helo whatever mail_from is (2.3) */
    struct str receiver;     /* our name, for %{r}; "" gives "unknown" */
    int64_t now;             /* wall clock ms, for %{t} */
    int64_t deadline;        /* monotonic ms: when it passes, the result is temperror */
};

/* One question that a step asked. */
struct spf_lookup {
    struct spf_lookup *next;
    struct str name;
    enum dns_type type;
    enum dns_status status;
    size_t count;       /* records in the answer */
    struct str answers; /* the first few, "192.0.2.1, 192.0.2.2"; the reason when it failed */
};

enum spf_step_end {
    SPF_STEP_RECORD,   /* not a term: a record was found; `term` is its text */
    SPF_STEP_MISS,     /* the mechanism did not match */
    SPF_STEP_MATCH,    /* it matched and decided its record */
    SPF_STEP_FOLLOW,   /* include or redirect: the next steps, one deeper, are of that record */
    SPF_STEP_MODIFIER, /* redirect or exp, used */
    SPF_STEP_ERROR,    /* temperror or permerror: `note` says why */
};

/* What evaluation did, in order. An include has two steps: FOLLOW before and MISS, MATCH or ERROR after the
 * record that it names. Texts are cut at 512 octets. */
struct spf_step {
    struct spf_step *next;
    unsigned depth;    /* 0: the record of the checked domain; one more per include or redirect */
    struct str domain; /* whose record it is */
    struct str term;   /* as written: "a:%{d}/24" */
    struct str target; /* expanded; "" when the term has none */
    enum spf_step_end end;
    struct str note; /* for people; "" when there is nothing to say */
    struct spf_lookup *lookups;
};

/* All in the arena of the check. */
struct spf_check {
    enum spf_result result;
    enum spf_identity identity; /* the one that was checked: SPF_HELO for a null reverse-path */
    struct str domain;          /* of that identity, lower case, A-labels; "" when it had none */
    struct str mechanism;       /* the term that decided, as written ("-all"); "" for none, default, errors */
    struct str mechanism_domain; /* whose record that term stands in */
    struct str reason;           /* one line for trace and reply */
    struct str explanation;      /* fail only: exp= expanded, printable ASCII; "" when there is none to use */
    unsigned terms, voids;       /* spent of SPF_TERMS_MAX, SPF_VOIDS_MAX */
    struct spf_step *steps;      /* a list */
    bool steps_cut;              /* SPF_STEPS_MAX or SPF_LOOKUPS_MAX was reached */
};

/* Always sets *ret; the texts of the query need not outlive the call. Void are terms whose own question (A of
 * `a` and `exists`, MX of `mx`, PTR of `ptr`) had an empty answer, not the addresses of each MX name: those
 * an IPv6 client would exhaust. */
void spf_check(struct resolver *, const struct spf_query *, struct arena *, struct spf_check *ret);
