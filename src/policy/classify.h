/* classify.h - step 5: the class of a message, with a reason.
 *
 * classify() is a pure function of facts: one ordered table of risk rules, one
 * of origin rules. It never guesses: where a fact is missing that can still
 * change the class it names the look-up; a look-up that failed gives 451 4.4.3.
 *
 * Mail with a foreign reverse-path, and all mail from outside, is relayed unless SPF (MAIL FROM) passed on
 * arrival or a DKIM signature aligned with the reverse-path's domain did. Where neither passed, but one had a
 * temporary error and its switch is on: 451 4.4.3.
 */
#pragma once
#include "base/mail_class.h"
#include "base/outcome.h"
#include "policy/verdict.h"
#include "rt/resolver.h"

struct arrival_result; /* auth/arrival.h */

/* One DNS question about a domain. The zero value is "not asked". */
enum dns_fact { FACT_UNKNOWN, FACT_YES, FACT_NONE, FACT_FAILED };

struct domain_facts {
    struct str domain; /* normalised; "" when there is none to ask for (null, literal, same as the other) */
    enum dns_fact mx, a, aaaa;
};

struct classify_facts {
    enum verdict verdict;
    struct str verdict_why; /* "" : a sentence is made from the verdict */
    struct str suspicion;   /* why its sender, connector or tenant is suspicious now (detection); "" : not */
    bool unscanned_is_risk; /* of the verdict UNSCANNED: verdict { on-failure = high-risk } */
    bool null_reverse_path;
    bool delivery_report;
    bool relayed; /* of the attribution */
    /* Came without login and connector (mail for a forward): the reverse-path is only a claim, be its domain
     * accepted or not. */
    bool from_outside;
    /* What SPF and DKIM said on arrival, and which of them may verify a sender: relay { }. NULL or not
     * checked: nobody is verified. */
    const struct arrival_result *arrival;
    bool relay_spf, relay_dkim;
    bool aaaa; /* an AAAA counts as an address: classify { aaaa } */
    struct domain_facts reverse_path, from;
};

struct decision {
    enum mail_class class;
    struct str rule;   /* "own", "spam", "no-sender-dns+relayed", ...: static */
    struct str reason; /* sentences for people, in the arena */
    bool verified;     /* a foreign (or from outside) reverse-path that SPF or DKIM verified: SRS applies */
};

enum classify_step {
    CLASSIFY_DONE,   /* *ret_decision is set */
    CLASSIFY_LOOKUP, /* *ret_question names the look-up to make next */
    CLASSIFY_FAILED, /* a look-up that decides has failed: *ret_question names it */
};

enum classify_check {
    CHECK_SENDER_DNS, /* has the domain records: of_from, type */
    CHECK_SPF,        /* SPF on arrival had a temporary error (only with CLASSIFY_FAILED) */
    CHECK_DKIM,       /* so had the key of an aligned signature */
};

struct classify_question {
    enum classify_check check;
    bool of_from; /* facts.from, else facts.reverse_path */
    enum dns_type type;
    struct str why; /* with CHECK_SPF and CHECK_DKIM: what went wrong */
};

enum classify_step classify(const struct classify_facts *, struct arena *, struct decision *ret_decision,
                            struct classify_question *ret_question);

/* The domains to ask for: of the reverse-path (wire form, "" null) and, when it differs, of the first From
 * (wire form, "" none). Literals and invalid domains are left out. */
void classify_domains(struct arena *, struct str reverse_path, struct str from, struct classify_facts *facts);

/* Asks what classify wants, in its order, until there is a decision. 0: *ret_decision. SLUICE_EIO:
 * *ret_refusal is 451 4.4.3 with a text that names domain and reason. `deadline` is monotonic ms for all
 * look-ups together. */
[[nodiscard]] int classify_run(struct classify_facts *, struct resolver *, int64_t deadline, struct arena *,
                               struct decision *ret_decision, struct outcome *ret_refusal);
