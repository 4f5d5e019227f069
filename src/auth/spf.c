#include "auth/spf.h"

#include "auth/spf_inside.h"
#include "mail/address.h"
#include "rt/fiber.h"

static const char *const result_texts[] = {
#define X(name, text) [SPF_##name] = (text),
    SPF_RESULTS(X)
#undef X
};

const char *spf_result_text(enum spf_result result) { return result_texts[result]; }

static enum spf_result check_domain(struct spf_work *, struct spf_frame);

/* 4.3: a name with two labels at least, no address literal. */
static bool is_domain(struct str domain) {
    struct str name = domain;
    if (name.len && name.at[name.len - 1] == '.')
        name.len--;
    return spf_name_askable(name) && name.at[0] != '[' && str_index(name, '.') >= 0;
}

/* 4.4, 4.5: the one record of the domain, in `arena`. PASS: found; else the result of the check. */
static enum spf_result fetch_record(struct spf_work *w, const struct spf_frame *frame, struct arena *arena,
                                    struct str *ret) {
    SPF_SCRATCH;
    struct dns_answer answer;
    spf_step_begin(w, frame, STR(""));
    spf_ask(w, frame->domain, DNS_TXT, scratch, &answer);
    if (answer.status == DNS_FAILED) {
        spf_fault(w, frame, STR(""), "the DNS did not answer", SPF_TEMPORARY);
        return SPF_TEMPERROR;
    }
    size_t count = 0;
    for (size_t i = 0; i < answer.count; i++)
        if (spf_is_record(answer.records[i].text) && !count++)
            *ret = str_copy(arena, answer.records[i].text);
    if (count == 1) {
        if (w->step)
            w->step->term = str_copy(w->arena, str_head(*ret, 512));
        spf_step_end(w, SPF_STEP_RECORD, "");
        return SPF_PASS;
    }
    spf_fault(w, frame, STR(""), count ? "more than one SPF record" : "no SPF record", SPF_PERMANENT);
    return count ? SPF_PERMERROR : SPF_NONE;
}

static bool is_printable(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] < 0x20 || s.at[i] > 0x7e)
            return false;
    return true;
}

/* 6.2: whatever goes wrong here leaves the explanation empty. Its look-up counts against no limit. */
static void explain_fail(struct spf_work *w, const struct spf_frame *frame, const struct spf_term *exp) {
    if (!exp->text.len || frame->included)
        return;
    SPF_SCRATCH;
    struct str target, text;
    struct dns_answer answer;
    spf_step_begin(w, frame, exp->text);
    spf_step_end(w, SPF_STEP_MODIFIER, "not used");
    if (!spf_macro_expand(scratch, exp->domain, SPF_MACRO_DOMAIN, &w->values, 0, &target) ||
        !spf_name_askable(target))
        return;
    spf_step_target(w, target);
    spf_ask(w, target, DNS_TXT, scratch, &answer);
    if (answer.status != DNS_RECORDS || answer.count != 1)
        return;
    if (!spf_macro_expand(scratch, answer.records[0].text, SPF_MACRO_EXPLANATION, &w->values,
                          SPF_EXPLANATION_MAX, &text) ||
        !is_printable(text))
        return;
    w->ret->explanation = str_copy(w->arena, text);
    spf_step_end(w, SPF_STEP_MODIFIER, "");
}

static bool term_allowed(struct spf_work *w, const struct spf_frame *frame, const struct spf_term *term) {
    if (!spf_term_asks(term->kind) || ++w->ret->terms <= SPF_TERMS_MAX)
        return true;
    spf_fault(w, frame, term->text, "more than 10 terms that ask the DNS", SPF_PERMANENT);
    return false;
}

/* The domain that a term is about: its own, expanded, or the record's. */
static bool target_of(struct spf_work *w, const struct spf_frame *frame, const struct spf_term *term,
                      struct arena *arena, struct str *ret) {
    *ret = frame->domain;
    if (!term->domain.len)
        return true;
    w->values.domain = frame->domain;
    if (!spf_macro_expand(arena, term->domain, SPF_MACRO_DOMAIN, &w->values, 0, ret))
        return false;
    spf_step_target(w, *ret);
    return true;
}

/* 5.2: what the result of the named record means here. */
static enum spf_match match_include(struct spf_work *w, const struct spf_frame *frame,
                                    const struct spf_term *term, struct str target) {
    spf_step_end(w, SPF_STEP_FOLLOW, "");
    struct str domain = str_copy(w->arena, target);
    enum spf_result result =
        check_domain(w, (struct spf_frame){.domain = domain, .depth = frame->depth + 1, .included = true});
    w->values.domain = frame->domain;
    spf_step_begin(w, frame, term->text);
    spf_step_target(w, target);
    switch (result) {
    case SPF_PASS:
        return SPF_MATCH;
    case SPF_TEMPERROR:
    case SPF_PERMERROR: /* the fault of the innermost record says most */
        spf_step_end(w, SPF_STEP_ERROR, spf_result_text(result));
        return result == SPF_TEMPERROR ? SPF_TEMPORARY : SPF_PERMANENT;
    case SPF_NONE:
        return spf_fault(w, frame, term->text, "it names no SPF record", SPF_PERMANENT);
    default:
        spf_step_end(w, SPF_STEP_MISS, spf_result_text(result));
        return SPF_MISS;
    }
}

static enum spf_match match_term(struct spf_work *w, const struct spf_frame *frame,
                                 const struct spf_term *term) {
    SPF_SCRATCH;
    struct str target;
    spf_step_begin(w, frame, term->text);
    if (!term_allowed(w, frame, term))
        return SPF_PERMANENT;
    if (!target_of(w, frame, term, scratch, &target))
        return spf_fault(w, frame, term->text, "a malformed macro", SPF_PERMANENT);
    spf_step_end(w, SPF_STEP_MISS, "");
    enum spf_match match = term->kind == SPF_TERM_ALL       ? SPF_MATCH
                           : term->kind == SPF_TERM_INCLUDE ? match_include(w, frame, term, target)
                                                            : spf_mechanism(w, frame, term, target);
    if (match == SPF_MATCH)
        spf_step_end(w, SPF_STEP_MATCH, "");
    return match;
}

/* 6.1 */
static enum spf_result redirect(struct spf_work *w, const struct spf_frame *frame,
                                const struct spf_term *term) {
    SPF_SCRATCH;
    struct str target;
    spf_step_begin(w, frame, term->text);
    if (!term_allowed(w, frame, term))
        return SPF_PERMERROR;
    if (!target_of(w, frame, term, scratch, &target)) {
        spf_fault(w, frame, term->text, "a malformed macro", SPF_PERMANENT);
        return SPF_PERMERROR;
    }
    spf_step_end(w, SPF_STEP_FOLLOW, "");
    struct spf_frame next = {
        .domain = str_copy(w->arena, target), .depth = frame->depth + 1, .included = frame->included};
    enum spf_result result = check_domain(w, next);
    if (result != SPF_NONE)
        return result;
    spf_fault(w, frame, term->text, "it names no SPF record", SPF_PERMANENT);
    return SPF_PERMERROR;
}

static enum spf_result result_of(char qualifier) {
    return qualifier == '-'   ? SPF_FAIL
           : qualifier == '~' ? SPF_SOFTFAIL
           : qualifier == '?' ? SPF_NEUTRAL
                              : SPF_PASS;
}

enum { TURN = 128 };

static enum spf_result evaluate(struct spf_work *w, const struct spf_frame *frame, struct str record,
                                const struct spf_record *checked) {
    struct str rest = spf_record_terms(record);
    struct spf_term term;
    const char *why;
    while (spf_term_next(&rest, &term, &why) == 1) {
        if (++w->walked % TURN == 0) /* a record of 64 KB has thousands */
            (void)fiber_yield();
        if (!term.qualifier)
            continue;
        switch (match_term(w, frame, &term)) {
        case SPF_MISS:
            continue;
        case SPF_TEMPORARY:
            return SPF_TEMPERROR;
        case SPF_PERMANENT:
            return SPF_PERMERROR;
        case SPF_MATCH:
            break;
        }
        if (!frame->included) {
            w->ret->mechanism = str_copy(w->arena, str_head(term.text, 512));
            w->ret->mechanism_domain = frame->domain;
        }
        if (term.qualifier == '-')
            explain_fail(w, frame, &checked->exp);
        return result_of(term.qualifier);
    }
    return checked->redirect.text.len ? redirect(w, frame, &checked->redirect) : SPF_NEUTRAL;
}

/* check_host() (section 4). Its depth is bounded: each further record costs one of the ten terms. */
static enum spf_result check_domain(struct spf_work *w, struct spf_frame frame) {
    if (!is_domain(frame.domain)) {
        w->fault = str_printf(w->arena, "\"%.*s\" is no domain", STR_FMT(str_head(frame.domain, 253)));
        return SPF_NONE;
    }
    struct arena *own __attribute__((cleanup(spf_drop_arena))) = arena_new(0);
    struct str record, term;
    enum spf_result found = fetch_record(w, &frame, own, &record);
    if (found != SPF_PASS)
        return found;
    struct spf_record checked;
    const char *why;
    if (spf_record_check(record, &checked, &term, &why) < 0) {
        spf_fault(w, &frame, term, why, SPF_PERMANENT);
        return SPF_PERMERROR;
    }
    w->values.domain = frame.domain;
    return evaluate(w, &frame, record, &checked);
}

/* 2.3, 2.4, 4.1, 4.3: who is checked, and what the macros stand for. */
static void set_identity(struct spf_work *w) {
    enum { INPUT_MAX = 512 };
    const struct spf_query *q = w->query;
    struct spf_macro_values *v = &w->values;
    struct address from = address_split(str_head(q->mail_from, INPUT_MAX));
    bool helo = q->which == SPF_HELO || !q->mail_from.len;
    w->ret->identity = helo ? SPF_HELO : SPF_MAIL_FROM;
    v->ip = q->ip;
    v->now = q->now;
    v->receiver = str_head(q->receiver, INPUT_MAX);
    v->helo = str_head(q->helo, INPUT_MAX);
    v->local = helo || !from.local.len ? STR("postmaster") : from.local;
    struct str domain = helo ? v->helo : from.domain;
    if (domain.len && domain.at[domain.len - 1] == '.')
        domain.len--;
    struct str ascii;
    bool utf8 = false;
    for (size_t i = 0; i < domain.len; i++)
        utf8 |= (unsigned char)domain.at[i] > 0x7f;
    if (utf8 && domain_normal(w->arena, domain, &ascii) == 0)
        domain = ascii;
    v->sender_domain = v->domain = str_copy(w->arena, domain);
    v->sender = str_printf(w->arena, "%.*s@%.*s", STR_FMT(v->local), STR_FMT(domain));
    v->validated = spf_validated_name;
    v->context = w;
    w->ret->domain = is_domain(domain) ? str_lower(w->arena, domain) : STR("");
}

static struct str reason_of(struct spf_work *w) {
    const struct spf_check *c = w->ret;
    char ip[IP_TEXT_SIZE];
    struct str bare = str_from_index(c->mechanism, c->mechanism.len && strchr("+-~?", c->mechanism.at[0]));
    bool network = str_starts_nocase(bare, STR("ip4:")) || str_starts_nocase(bare, STR("ip6:"));
    bool own = str_eq_nocase(c->mechanism_domain, c->domain);
    ip_text(&w->query->ip, ip);
    if (c->mechanism.len)
        return str_printf(w->arena, "%s %s %.*s%s%.*s", ip, network ? "is in" : "matches",
                          STR_FMT(str_head(c->mechanism, 100)), own ? "" : " of ",
                          STR_FMT(own ? STR_NULL : c->mechanism_domain));
    if (c->result == SPF_NEUTRAL)
        return str_printf(w->arena, "%s matches nothing in the record of %.*s", ip, STR_FMT(c->domain));
    return w->fault;
}

void spf_check(struct resolver *resolver, const struct spf_query *query, struct arena *arena,
               struct spf_check *ret) {
    *ret = (struct spf_check){0};
    struct spf_work *w = arena_new_of(arena, struct spf_work);
    *w = (struct spf_work){.resolver = resolver, .query = query, .arena = arena, .ret = ret};
    w->next_step = &ret->steps;
    set_identity(w);
    ret->result = check_domain(w, (struct spf_frame){.domain = w->values.sender_domain});
    ret->reason = reason_of(w);
}
