/* dmarc.h - what the owner of a From domain wants done with mail that does not prove to be his (RFC 7489).
 *
 * Three steps, as a receiver takes them: read a record, find the one that applies, judge what SPF and DKIM
 * say by it. A DNS that does not answer is a third answer, never "no record" (6.6.3).
 */
#pragma once
#include "auth/dkim.h"
#include "auth/spf.h"

enum {
    DMARC_RECORD_MAX = 8192, /* octets of a record that are worth reading */
    DMARC_WHY_MAX = 500,
};

#define DMARC_POLICIES(X)                                                                                    \
    X(NONE, "none")                                                                                          \
    X(QUARANTINE, "quarantine")                                                                              \
    X(REJECT, "reject")

enum dmarc_policy {
#define X(name, text) DMARC_POLICY_##name,
    DMARC_POLICIES(X)
#undef X
};
const char *dmarc_policy_name(enum dmarc_policy);

/* Results by their names in Authentication-Results (RFC 7489 11.2). */
#define DMARC_RESULTS(X)                                                                                     \
    X(NONE, "none")           /* no record, or no From domain */                                             \
    X(PASS, "pass")           /* SPF or a signature passes in an aligned domain */                           \
    X(FAIL, "fail")           /* neither does */                                                             \
    X(TEMPERROR, "temperror") /* the DNS did not answer what decides: may pass later */                      \
    X(PERMERROR, "permerror") /* a record that is of no use, or several: receivers apply nothing */

enum dmarc_result {
#define X(name, text) DMARC_##name,
    DMARC_RESULTS(X)
#undef X
};
const char *dmarc_result_name(enum dmarc_result);

struct dmarc_record {
    enum dmarc_policy policy;           /* p= */
    enum dmarc_policy subdomain_policy; /* sp=, or p= */
    bool strict_dkim, strict_spf;       /* adkim=s, aspf=s */
    unsigned percent; /* pct=: of the failing mail, 0 to 100; the rest gets the next milder policy */
};

/* Is it a DMARC record at all: does it begin with the tag v=DMARC1? Others at the name don't count. */
bool dmarc_is_record(struct str text);
/* Reads a record. v= is first, the order of the others is free, names and words have no case; unknown tags
 * and those that are malformed or come twice are skipped (6.3). A p= or sp= that is none makes the record
 * p=none when rua= has an address (6.6.3 step 6): *ret_why then says so; else it is STR_NULL. SLUICE_ESYNTAX
 * with *ret_why (a constant text) and *ret untouched: no DMARC record, or one of no use. */
[[nodiscard]] int dmarc_record_parse(struct str text, struct str *ret_why, struct dmarc_record *ret);

/* The record that applies to a From domain. Views are in the arena. */
struct dmarc_discovery {
    enum dmarc_result result; /* PASS: found; NONE, TEMPERROR, PERMERROR: `why` */
    struct str from_domain;   /* lower case, A-labels; "" when it is no domain */
    /* Whose record it is, or would be if the DNS answered: from_domain or its organisation; "" for none. */
    struct str domain;
    struct dmarc_record record; /* with PASS */
    enum dmarc_policy policy;   /* p= or, below the record's domain, sp=; NONE without a record */
    struct str why;             /* one line for people; with PASS too: "_dmarc.sender.test says p=reject" */
};

/* Asks _dmarc.FROM, then _dmarc.ORGANISATION when the first has no DMARC record (6.6.3). `from_domain` in any
 * spelling. Waits at most until `deadline` (monotonic ms) for both. Always sets *ret. */
void dmarc_discover(struct resolver *, struct str from_domain, int64_t deadline, struct arena *,
                    struct dmarc_discovery *ret);

/* Does `domain` align with `from_domain` (3.1)? Strict: the same; relaxed: of the same organisation. */
bool dmarc_aligned(struct str domain, struct str from_domain, bool strict);

struct dmarc_signature {
    struct str domain; /* d= */
    enum dkim_result result;
};

/* What the mechanisms said of one message. */
struct dmarc_evidence {
    enum spf_result spf;
    struct str spf_domain; /* of the reverse-path, or of the EHLO when that is null; "" for none */
    const struct dmarc_signature *signatures;
    size_t count;
};

struct dmarc_verdict {
    enum dmarc_result result;
    enum dmarc_policy
        policy;          /* what the domain asks for mail that fails; NONE for temperror, permerror, none */
    bool spf_aligned;    /* the SPF domain aligns, whatever SPF said of it */
    ptrdiff_t signature; /* the first aligned one that passed, or -1 */
    struct str why;      /* one line of printable ASCII */
};

/* Aligned and passed: pass. Else, when an aligned one has a temperror: temperror; no policy may then be
 * applied (6.6.2). Without a record the result is the discovery's, alignment is then relaxed. Always sets
 * *ret. */
void dmarc_judge(const struct dmarc_discovery *, const struct dmarc_evidence *, struct arena *,
                 struct dmarc_verdict *ret);

/* For words that others chose: at most DMARC_WHY_MAX octets, '?' for what is not printable ASCII. */
struct str dmarc_plain(struct arena *, struct str text);
