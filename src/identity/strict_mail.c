/* The strict receiver's view of the mail itself. */
#include "identity/strict.h"

static struct str planned(const struct plan_index *index, struct arena *arena, struct str name) {
    return index && name.len ? plan_lines(index, arena, "TXT", name) : STR("");
}

static bool vouches(const struct forecast_signature *s) { return s->result == DKIM_PASS && !s->weak; }

static bool any_vouches(const struct forecast *f) {
    for (size_t i = 0; i < f->count; i++)
        if (vouches(&f->signatures[i]))
            return true;
    return false;
}

/* What a customer includes has published pools only: their record does not help the others. */
static struct str put_spf(const struct forecast *f, const struct pool *pool, const struct plan_index *index,
                          struct arena *arena) {
    struct str record = planned(index, arena, f->spf_domain);
    if (!record.len || !pool || pool->spf_published)
        return record;
    struct str how =
        str_printf(arena, "pool \"%.*s\" { spf = published }: what customers include has no other pools",
                   STR_FMT(pool->name));
    return f->spf.result == SPF_NONE ? str_printf(arena, "%.*s\n%.*s", STR_FMT(record), STR_FMT(how)) : how;
}

static struct strict_check judge_spf(const struct forecast *f, const struct pool *pool,
                                     const struct plan_index *index, struct arena *arena) {
    enum spf_result result = f->spf.result;
    struct strict_check c = {.sees = str_of(spf_result_text(result)), .why = f->spf.reason, .put = STR("")};
    if (result == SPF_PASS)
        return (struct strict_check){STRICT_PASS, c.sees, STR(""), STR("")};
    c.verdict = result == SPF_TEMPERROR ? STRICT_UNKNOWN : any_vouches(f) ? STRICT_NOTE : STRICT_FAIL;
    if (result == SPF_TEMPERROR)
        return c;
    c.why = str_printf(arena, "SPF of %.*s says %s: %.*s",
                       STR_FMT(f->spf_domain.len ? f->spf_domain : STR("the sender")),
                       spf_result_text(result), STR_FMT(f->spf.reason));
    if (result == SPF_NONE && f->spf_domain.len)
        c.why = str_printf(arena, "%.*s has no SPF record", STR_FMT(f->spf_domain));
    c.put = put_spf(f, pool, index, arena);
    return c;
}

static struct str key_name(struct arena *arena, const struct forecast_signature *s) {
    return str_printf(arena, "%.*s._domainkey.%.*s", STR_FMT(s->selector), STR_FMT(s->domain));
}

/* A signature of ours that will not verify is a fault whatever the others do: receivers see it. */
static struct strict_check judge_dkim(const struct forecast *f, struct str from_domain,
                                      const struct plan_index *index, struct arena *arena) {
    const struct forecast_signature *bad = NULL, *silent = NULL;
    for (size_t i = 0; i < f->count; i++) {
        const struct forecast_signature *s = &f->signatures[i];
        if (s->result == DKIM_TEMPERROR)
            silent = silent ? silent : s;
        else if (s->ours && !vouches(s))
            bad = bad ? bad : s;
    }
    if (bad)
        return (struct strict_check){.verdict = STRICT_FAIL,
                                     .sees = str_of(dkim_result_name(bad->result)),
                                     .why = str_printf(arena, "our signature d=%.*s s=%.*s: %.*s",
                                                       STR_FMT(bad->domain), STR_FMT(bad->selector),
                                                       STR_FMT(bad->why)),
                                     .put = planned(index, arena, key_name(arena, bad))};
    if (any_vouches(f))
        return (struct strict_check){STRICT_PASS, STR("pass"), STR(""), STR("")};
    if (silent)
        return (struct strict_check){STRICT_UNKNOWN, STR("temperror"), silent->why, STR("")};
    bool tenants = planned(index, arena, from_domain).len; /* a domain of ours to sign for */
    return (struct strict_check){
        .verdict = f->spf.result == SPF_PASS ? STRICT_NOTE : STRICT_FAIL,
        .sees = f->count ? str_of(dkim_result_name(f->signatures[0].result)) : STR("none"),
        .why = f->count ? STR("no signature verifies") : STR("the mail is not signed"),
        .put = tenants ? str_printf(arena,
                                    "a key: sluice dkim keygen %.*s, then tenant { dkim \"%.*s\" { ... } }",
                                    STR_FMT(from_domain), STR_FMT(from_domain))
                       : STR("")};
}

static struct strict_check judge_dmarc(const struct forecast *f, struct str from_domain,
                                       const struct plan_index *index, struct arena *arena) {
    struct str domain = from_domain.len ? from_domain : STR("");
    struct strict_check c = {
        .sees = str_of(dmarc_result_name(f->dmarc)), .why = f->dmarc_why, .put = STR("")};
    if (f->dmarc == DMARC_PASS)
        return (struct strict_check){STRICT_PASS, c.sees, STR(""), STR("")};
    c.verdict = f->dmarc == DMARC_TEMPERROR ? STRICT_UNKNOWN
                : f->dmarc == DMARC_NONE    ? STRICT_NOTE
                                            : STRICT_FAIL;
    if (f->dmarc == DMARC_FAIL)
        c.why = str_printf(arena, "nothing that passes is aligned with %.*s, whose policy is %s",
                           STR_FMT(domain), dmarc_policy_name(f->policy));
    else if (f->dmarc == DMARC_NONE)
        c.why = domain.len ? str_printf(arena, "%.*s has no DMARC record", STR_FMT(domain))
                           : STR("From has no domain that DMARC could be asked of");
    if (f->dmarc != DMARC_FAIL && f->dmarc != DMARC_TEMPERROR && domain.len)
        c.put = planned(index, arena, str_printf(arena, "_dmarc.%.*s", STR_FMT(domain)));
    return c;
}

void strict_mail(const struct forecast *f, struct str from_domain, const struct plan_index *index,
                 struct arena *arena, struct strict_view *view) {
    view->checks[STRICT_SPF] = judge_spf(f, view->pool, index, arena);
    view->checks[STRICT_DKIM] = judge_dkim(f, from_domain, index, arena);
    view->checks[STRICT_DMARC] = judge_dmarc(f, from_domain, index, arena);
}
