#include "policy/classify.h"
#include "auth/align.h"
#include "base/error.h"
#include "mail/address.h"
#include "seeded_bug.h"

enum answer { NO, YES, ASK, CANT_TELL };

struct inquiry {
    const struct classify_facts *facts;
    struct arena *arena;
    struct str reason;                 /* with YES, and of who is verified */
    struct classify_question question; /* with ASK and CANT_TELL */
    bool verified;                     /* with NO of is_relayed: by a check on arrival */
};

/* ---- risk ---- */

static enum answer is_spam(struct inquiry *q) {
    if (q->facts->verdict != VERDICT_SPAM)
        return NO;
    q->reason = q->facts->verdict_why.len ? q->facts->verdict_why : STR("the message was judged spam");
    return YES;
}

static enum answer is_malware(struct inquiry *q) {
    if (q->facts->verdict != VERDICT_MALWARE)
        return NO;
    q->reason = q->facts->verdict_why.len ? q->facts->verdict_why : STR("the message was judged malware");
    return YES;
}

static enum answer is_unscanned(struct inquiry *q) {
    if (q->facts->verdict != VERDICT_UNSCANNED || !q->facts->unscanned_is_risk)
        return NO;
    q->reason = q->facts->verdict_why.len ? q->facts->verdict_why : STR("the message could not be scanned");
    return YES;
}

static enum answer is_bounce(struct inquiry *q) {
    if (q->facts->null_reverse_path)
        q->reason = STR("the reverse-path is null");
    else if (q->facts->delivery_report)
        q->reason = STR("the message is a delivery report");
    else
        return NO;
    return YES;
}

static enum answer is_suspicious(struct inquiry *q) {
#ifdef SLUICE_SEEDED_BUG_SUSPICION_IGNORED
    return NO;
#endif
    if (!q->facts->suspicion.len)
        return NO;
    q->reason = str_printf(q->arena, "suspicious sending: %.*s", STR_FMT(q->facts->suspicion));
    return YES;
}

/* Has the domain neither address nor MX? A failure counts only when no other record saves the domain. */
static enum answer lacks_dns(struct inquiry *q, bool of_from) {
    const struct domain_facts *d = of_from ? &q->facts->from : &q->facts->reverse_path;
    const struct {
        enum dns_fact fact;
        enum dns_type type;
    } records[] = {{d->mx, DNS_MX}, {d->a, DNS_A}, {d->aaaa, DNS_AAAA}};
    size_t count = q->facts->aaaa ? 3 : 2;
    if (!d->domain.len)
        return NO;
    for (size_t i = 0; i < count; i++)
        if (records[i].fact == FACT_YES)
            return NO;
    for (size_t i = 0; i < count; i++) {
        if (records[i].fact != FACT_UNKNOWN)
            continue;
        q->question = (struct classify_question){.of_from = of_from, .type = records[i].type};
        return ASK;
    }
    for (size_t i = 0; i < count; i++) {
        if (records[i].fact != FACT_FAILED)
            continue;
        q->question = (struct classify_question){.of_from = of_from, .type = records[i].type};
        return CANT_TELL;
    }
    q->reason = str_printf(q->arena, "the domain %.*s of %s has no %s and no MX record", STR_FMT(d->domain),
                           of_from ? "From" : "the reverse-path", q->facts->aaaa ? "A, no AAAA" : "A");
    return YES;
}

/* Either domain decides; so a failure for one matters only when the other is not known to be without. */
static enum answer is_no_sender_dns(struct inquiry *q) {
    enum answer path = lacks_dns(q, false);
    if (path == YES || path == ASK)
        return path;
    struct classify_question failed = q->question;
    enum answer from = lacks_dns(q, true);
    if (from == NO && path == CANT_TELL) {
        q->question = failed;
        return CANT_TELL;
    }
    return from;
}

/* ---- origin ---- */

/* The signature to speak of: the first aligned one that passed, else that had a temporary error, else the
 * first aligned one. NULL: there is none. */
static const struct dkim_verdict *aligned_signature(const struct classify_facts *f) {
    const struct dkim_verdict *best = arrival_aligned_dkim(f->arrival, f->reverse_path.domain);
    for (size_t i = 0; !best && i < f->arrival->dkim.count; i++)
        if (f->arrival->dkim.items[i].result == DKIM_TEMPERROR &&
            align_same_organisation(f->arrival->dkim.items[i].domain, f->reverse_path.domain))
            best = &f->arrival->dkim.items[i];
    for (size_t i = 0; !best && i < f->arrival->dkim.count; i++)
        if (align_same_organisation(f->arrival->dkim.items[i].domain, f->reverse_path.domain))
            best = &f->arrival->dkim.items[i];
    return best;
}

/* Passed, and the rule of alignment counts it. */
static bool signature_passes(const struct classify_facts *f) {
    return arrival_aligned_dkim(f->arrival, f->reverse_path.domain) != NULL;
}

static struct str spf_says(struct inquiry *q) {
    const struct spf_check *spf = &q->facts->arrival->spf;
    struct str why = spf->reason.len ? spf->reason : STR("no reason is known");
    if (!q->facts->relay_spf)
        return STR("SPF does not count (relay)");
    return str_printf(q->arena, "SPF of %.*s says %s (%.*s)", STR_FMT(q->facts->reverse_path.domain),
                      spf_result_text(spf->result), STR_FMT(why));
}

static struct str dkim_says(struct inquiry *q) {
    const struct dkim_verdict *v = aligned_signature(q->facts);
    struct str domain = q->facts->reverse_path.domain;
    if (!q->facts->relay_dkim)
        return STR("DKIM does not count (relay)");
    if (!v)
        return str_printf(q->arena, "no DKIM signature is of %.*s", STR_FMT(domain));
    struct str why = v->reason.len            ? v->reason
                     : v->result != DKIM_PASS ? str_of(dkim_result_name(v->result))
                     : v->testing             ? STR("its key is in test mode")
                     : v->unsigned_bytes      ? STR("part of the body is not signed")
                                              : STR("it does not count");
    return str_printf(q->arena, "no DKIM signature of %.*s passes (d=%.*s s=%.*s: %.*s)", STR_FMT(domain),
                      STR_FMT(v->domain), STR_FMT(v->selector), STR_FMT(why));
}

/* Has SPF or DKIM verified the sender on arrival? A temporary error counts only when nothing passed. */
static enum answer is_verified(struct inquiry *q) {
    const struct classify_facts *f = q->facts;
    if (!f->arrival || !f->arrival->checked || !f->reverse_path.domain.len)
        return NO;
    const struct spf_check *spf = &f->arrival->spf;
    const struct dkim_verdict *v = aligned_signature(f);
    bool by_mail_from = spf->identity == SPF_MAIL_FROM;
    if (f->relay_spf && by_mail_from && spf->result == SPF_PASS) {
        q->reason = str_printf(q->arena, "relayed, but SPF of %.*s passes (%.*s), so the sender is verified",
                               STR_FMT(f->reverse_path.domain), STR_FMT(spf->reason));
        return YES;
    }
    if (f->relay_dkim && signature_passes(f)) {
        q->reason = str_printf(
            q->arena,
            "relayed, but a DKIM signature of %.*s passes (d=%.*s s=%.*s), so the sender is verified",
            STR_FMT(f->reverse_path.domain), STR_FMT(v->domain), STR_FMT(v->selector));
        return YES;
    }
#if defined SLUICE_SEEDED_BUG_UNVERIFIED_IS_OWN
    return YES;
#elif !defined SLUICE_SEEDED_BUG_TEMPERROR_IS_FAIL
    if (f->relay_spf && by_mail_from && spf->result == SPF_TEMPERROR) {
        q->question = (struct classify_question){.check = CHECK_SPF, .why = spf->reason};
        return CANT_TELL;
    }
    if (f->relay_dkim && v && v->result == DKIM_TEMPERROR) {
        q->question = (struct classify_question){
            .check = CHECK_DKIM,
            .why = str_printf(q->arena, "d=%.*s s=%.*s: %.*s", STR_FMT(v->domain), STR_FMT(v->selector),
                              STR_FMT(v->reason)),
        };
        return CANT_TELL;
    }
#endif
    return NO;
}

static enum answer is_relayed(struct inquiry *q) {
    const struct classify_facts *f = q->facts;
    if ((!f->relayed && !f->from_outside) || f->null_reverse_path)
        return NO;
    enum answer verified = is_verified(q);
    if (verified == YES)
        q->verified = true;
    if (verified != NO)
        return verified == YES ? NO : CANT_TELL;
    struct str claim = f->relayed
                           ? STR("the reverse-path is not in an accepted domain of the tenant")
                           : STR("the message came from outside, where the reverse-path's domain is a claim");
    if (f->arrival && f->arrival->checked && f->reverse_path.domain.len)
        q->reason = str_printf(q->arena, "%.*s; %.*s, and %.*s, so the message is relayed", STR_FMT(claim),
                               STR_FMT(spf_says(q)), STR_FMT(dkim_says(q)));
    else
        q->reason = str_printf(q->arena, "%.*s, so the message is relayed", STR_FMT(claim));
    return YES;
}

struct rule {
    const char *name, *relayed_name;
    enum answer (*applies)(struct inquiry *);
};

/* In order: the first that applies gives the name. */
static const struct rule risk_rules[] = {
    {"spam", "spam+relayed", is_spam},
    {"malware", "malware+relayed", is_malware},
    {"unscanned", "unscanned+relayed", is_unscanned},
    {"bounce", "bounce+relayed", is_bounce},
    {"suspicious", "suspicious+relayed", is_suspicious},
    {"no-sender-dns", "no-sender-dns+relayed", is_no_sender_dns},
};
static const struct rule origin_rules[] = {
    {"relayed", "relayed", is_relayed},
};

static enum answer first_rule(const struct rule *rules, size_t count, struct inquiry *q,
                              const struct rule **ret) {
    *ret = NULL;
    for (size_t i = 0; i < count; i++) {
        enum answer answer = rules[i].applies(q);
        if (answer == NO)
            continue;
        if (answer == YES)
            *ret = &rules[i];
        return answer;
    }
    return NO;
}

enum classify_step classify(const struct classify_facts *facts, struct arena *arena,
                            struct decision *ret_decision, struct classify_question *ret_question) {
    struct inquiry risk = {.facts = facts, .arena = arena}, origin = risk;
    const struct rule *risk_rule, *origin_rule;
    /* Origin first: what it can't tell needs no look-up any more. */
    if (first_rule(origin_rules, sizeof origin_rules / sizeof *origin_rules, &origin, &origin_rule) ==
        CANT_TELL) {
        *ret_question = origin.question;
        return CLASSIFY_FAILED;
    }
    enum answer answer = first_rule(risk_rules, sizeof risk_rules / sizeof *risk_rules, &risk, &risk_rule);
    if (answer == ASK || answer == CANT_TELL) {
        *ret_question = risk.question;
        return answer == ASK ? CLASSIFY_LOOKUP : CLASSIFY_FAILED;
    }
    struct str both = risk_rule && origin.reason.len
                          ? str_printf(arena, "%.*s; %.*s", STR_FMT(risk.reason), STR_FMT(origin.reason))
                          : risk.reason;
    if (risk_rule && origin_rule)
        *ret_decision =
            (struct decision){CLASS_HIGH_RISK_RELAY, str_of(risk_rule->relayed_name), both, false};
    else if (risk_rule)
        *ret_decision = (struct decision){CLASS_HIGH_RISK, str_of(risk_rule->name), both, origin.verified};
    else if (origin_rule)
        *ret_decision = (struct decision){CLASS_RELAY, str_of(origin_rule->name), origin.reason, false};
    else
        *ret_decision = (struct decision){
            CLASS_NORMAL, STR("own"),
            origin.verified ? origin.reason : STR("the sender is the tenant's own and no risk rule applies"),
            origin.verified};
    return CLASSIFY_DONE;
}

/* ---- the driver ---- */

static struct str domain_to_ask(struct arena *arena, struct str address) {
    struct str domain = address_split(address).domain, normal;
    if (!domain.len || domain_is_literal(domain) || domain_normal(arena, domain, &normal) != 0)
        return STR("");
    return normal;
}

void classify_domains(struct arena *arena, struct str reverse_path, struct str from,
                      struct classify_facts *facts) {
    facts->reverse_path.domain = domain_to_ask(arena, reverse_path);
    facts->from.domain = domain_to_ask(arena, from);
    if (str_eq(facts->from.domain, facts->reverse_path.domain))
        facts->from.domain = STR("");
}

static enum dns_fact fact_of(const struct dns_answer *answer) {
    switch (answer->status) {
    case DNS_RECORDS:
        return FACT_YES;
    case DNS_NONE:
        return FACT_NONE;
    default:
#if defined SLUICE_SEEDED_BUG_DNS_FAILURE_IS_NONE
        return FACT_NONE;
#else
        return FACT_FAILED;
#endif
    }
}

static struct str refusal_text(struct arena *arena, const struct classify_facts *facts,
                               const struct classify_question *q, struct str why) {
    const struct domain_facts *d = q->of_from ? &facts->from : &facts->reverse_path;
    if (q->check != CHECK_SENDER_DNS)
        why = q->why;
    struct str reason = why.len ? why : STR("no answer");
    static const char *const texts[] = {
        [CHECK_SENDER_DNS] = "The DNS can't say now whether the sender's domain",
        [CHECK_SPF] = "SPF of the sender's domain",
        [CHECK_DKIM] = "The DKIM signature of the sender's domain",
    };
    return str_printf(arena, "%s %.*s %s (%.*s), try again later", texts[q->check], STR_FMT(d->domain),
                      q->check == CHECK_SENDER_DNS ? "exists" : "can't be checked now", STR_FMT(reason));
}

int classify_run(struct classify_facts *facts, struct resolver *resolver, int64_t deadline,
                 struct arena *arena, struct decision *ret_decision, struct outcome *ret_refusal) {
    struct classify_question question;
    enum classify_step step;
    struct str why[2] = {STR_NULL, STR_NULL}; /* of the last failure, by of_from */
    while ((step = classify(facts, arena, ret_decision, &question)) == CLASSIFY_LOOKUP) {
        struct domain_facts *d = question.of_from ? &facts->from : &facts->reverse_path;
        struct dns_answer answer = {.status = DNS_FAILED};
        resolver_lookup(resolver, d->domain, question.type, deadline, arena, &answer);
        enum dns_fact *fact = question.type == DNS_MX ? &d->mx : question.type == DNS_A ? &d->a : &d->aaaa;
        *fact = fact_of(&answer);
        if (*fact == FACT_FAILED)
            why[question.of_from] = answer.why;
    }
    if (step == CLASSIFY_DONE)
        return 0;
    *ret_refusal = (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = OUTCOME_LATER,
        .code = 451,
        .enhanced = STR("4.4.3"),
        .text = refusal_text(arena, facts, &question, why[question.of_from]),
    };
    return SLUICE_EIO;
}
