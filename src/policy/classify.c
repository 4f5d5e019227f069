#include "policy/classify.h"
#include "base/error.h"
#include "mail/address.h"
#include "seeded_bug.h"

enum answer { NO, YES, ASK, CANT_TELL };

struct inquiry {
    const struct classify_facts *facts;
    struct arena *arena;
    struct str reason;                 /* with YES */
    struct classify_question question; /* with ASK and CANT_TELL */
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

static enum answer is_bounce(struct inquiry *q) {
    if (q->facts->null_reverse_path)
        q->reason = STR("the reverse-path is null");
    else if (q->facts->delivery_report)
        q->reason = STR("the message is a delivery report");
    else
        return NO;
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

static enum answer is_relayed(struct inquiry *q) {
    if (!q->facts->relayed || q->facts->null_reverse_path)
        return NO;
    q->reason = STR("the reverse-path is not in an accepted domain of the tenant, so the message is relayed");
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
    {"bounce", "bounce+relayed", is_bounce},
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
    enum answer answer = first_rule(risk_rules, sizeof risk_rules / sizeof *risk_rules, &risk, &risk_rule);
    if (answer == ASK || answer == CANT_TELL) {
        *ret_question = risk.question;
        return answer == ASK ? CLASSIFY_LOOKUP : CLASSIFY_FAILED;
    }
    first_rule(origin_rules, sizeof origin_rules / sizeof *origin_rules, &origin, &origin_rule);
    if (risk_rule && origin_rule)
        *ret_decision =
            (struct decision){CLASS_HIGH_RISK_RELAY, str_of(risk_rule->relayed_name),
                              str_printf(arena, "%.*s; %.*s", STR_FMT(risk.reason), STR_FMT(origin.reason))};
    else if (risk_rule)
        *ret_decision = (struct decision){CLASS_HIGH_RISK, str_of(risk_rule->name), risk.reason};
    else if (origin_rule)
        *ret_decision = (struct decision){CLASS_RELAY, str_of(origin_rule->name), origin.reason};
    else
        *ret_decision = (struct decision){CLASS_NORMAL, STR("own"),
                                          STR("the sender is the tenant's own and no risk rule applies")};
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
    const struct domain_facts *d = question.of_from ? &facts->from : &facts->reverse_path;
    struct str reason = why[question.of_from].len ? why[question.of_from] : STR("no answer");
    *ret_refusal = (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = OUTCOME_LATER,
        .code = 451,
        .enhanced = STR("4.4.3"),
        .text = str_printf(
            arena, "The DNS can't say now whether the sender's domain %.*s exists (%.*s), try again later",
            STR_FMT(d->domain), STR_FMT(reason)),
    };
    return SLUICE_EIO;
}
