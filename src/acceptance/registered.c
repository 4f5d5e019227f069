#include "acceptance/registered.h"
#include "acceptance/rewrite.h"
#include "base/clock.h"
#include "identity/ownership.h"
#include "seeded_bug.h"

enum { ASK_MS = 10 * 1000 };

static struct outcome answer(enum outcome_fate fate, int code, const char *enhanced, const char *text) {
    return (struct outcome){OUTCOME_MESSAGE, fate, code, str_of(enhanced), str_of(text), false};
}

/* A client waits for it. */
static enum ownership_state ask(struct flow *flow, const struct settings *s, struct str tenant,
                                struct str domain, struct str token, struct arena *arena) {
    int64_t wait = s->dns.timeout_ms < ASK_MS ? s->dns.timeout_ms : ASK_MS;
    struct str why;
    bool changed;
    enum ownership_finding found =
        ownership_ask(flow_here(flow)->resolver, domain, token, clock_mono_ms() + wait, arena, &why);
    struct ownership_fact fact = ownership_note(flow->ownership, tenant, domain, found, why,
                                                s->ownership.grace_ms, clock_wall_ms(), arena, &changed);
    if (changed)
        log_event(flow->log, LOG_INFO, "domain ownership", "tenant", str_c(arena, tenant), "domain",
                  str_c(arena, domain), "state", ownership_state_text(fact.state), "why",
                  fact.why.len ? str_c(arena, fact.why) : NULL, NULL);
    return fact.state;
}

static bool may_send(struct flow *flow, const struct settings *s, const struct tenant *tenant,
                     struct str written, struct arena *arena, struct outcome *ret_refusal,
                     struct str *ret_why) {
    struct str domain;
    if (!tenant_accepts(s->policy, tenant, written) || domain_normal(arena, written, &domain) != 0)
        return true;
    enum ownership_state state = ownership_state_of(flow->ownership, tenant->name, domain);
    struct str token = STR_NULL;
    if (state == OWNERSHIP_UNKNOWN)
        token = ownership_token_of(flow->ownership, arena, tenant->name, domain);
    if (token.len && ownership_may_ask(flow->ownership, tenant->name, domain, clock_wall_ms()))
        state = ask(flow, s, tenant->name, domain, token, arena);
#ifdef SLUICE_SEEDED_BUG_UNVERIFIED_DOMAIN_SENDS
    state = OWNERSHIP_VERIFIED;
#endif
    if (state == OWNERSHIP_VERIFIED)
        return true;
    if (state == OWNERSHIP_UNVERIFIED)
        *ret_refusal = answer(OUTCOME_NEVER, 550, "5.7.750",
                              "Service unavailable. Client blocked from sending from unregistered domains");
    if (state == OWNERSHIP_UNKNOWN)
        *ret_refusal = answer(OUTCOME_LATER, 451, token.len ? "4.4.3" : "4.3.0",
                              "Whose the sender's domain is can't be checked now, try again later");
    *ret_why = str_printf(arena, "the ownership of %.*s is %s (sluice domain list)", STR_FMT(domain),
                          ownership_state_text(state));
    return false;
}

/* One From field. What can't be read as addresses some reader may take for one all the same. */
static bool author_may_send(struct flow *flow, const struct settings *s, const struct tenant *tenant,
                            struct str value, struct arena *arena, struct outcome *ret_refusal,
                            struct str *ret_why) {
    struct address_list from = {0};
    struct str text = header_unfold(arena, value);
    bool unclear = address_list_parse(arena, text, &from) != 0 || !from.count;
    for (size_t i = 0; i < from.count; i++)
        if (!may_send(flow, s, tenant, from.items[i].address.domain, arena, ret_refusal, ret_why))
            return false;
    for (size_t i = 0; unclear && i < tenant->domain_count; i++) {
        struct str at = str_printf(arena, "@%.*s", STR_FMT(tenant->domains[i]));
        if (str_find_nocase(text, at) >= 0 &&
            !may_send(flow, s, tenant, tenant->domains[i], arena, ret_refusal, ret_why))
            return false;
    }
    return true;
}

bool registered_check(struct flow *flow, const struct settings *s, const struct attribution *by,
                      struct str reverse_path, const struct header *header, struct arena *arena,
                      struct outcome *ret_refusal, struct str *ret_why) {
    if (!s->ownership.verify || !by->tenant)
        return true;
    struct str domain = address_split(reverse_path).domain;
    if (domain.len && !may_send(flow, s, by->tenant, domain, arena, ret_refusal, ret_why))
        return false;
    const struct header_field *from = NULL;
    while (header && (from = header_find(header, STR("From"), from)))
        if (!author_may_send(flow, s, by->tenant, from->value, arena, ret_refusal, ret_why))
            return false;
    return true;
}

/* The domain that a copy's reverse-path is rewritten to; empty: it stays as it came. */
static struct str rewritten_domain(const struct acceptance *a, const struct decision *d,
                                   const struct envelope_copy *copy) {
    struct str path, why;
    bool same = rewrite_path(a, d, copy, &path, &why) != 0 || str_eq(path, a->reverse_path);
    return same ? STR("") : address_split(path).domain;
}

bool registered_copies(struct flow *flow, struct acceptance *a, const struct decision *d,
                       struct outcome *ret_refusal) {
    const struct settings *s = a->settings;
    bool any = false, *stopped = arena_array(a->arena, bool, a->envelope.copy_count);
    for (size_t i = 0; s->ownership.verify && i < a->envelope.copy_count; i++) {
        const struct envelope_copy *copy = &a->envelope.copies[i];
        if (copy->ended.fate != OUTCOME_DONE)
            continue;
        struct str domain = rewritten_domain(a, d, copy), why;
        const struct tenant *owner = policy_tenant_of_domain(s->policy, domain);
#ifdef SLUICE_SEEDED_BUG_UNVERIFIED_DOMAIN_FORWARDS
        continue;
#endif
        if (!owner || may_send(flow, s, owner, domain, a->arena, ret_refusal, &why))
            continue;
        a->refused_why = why;
        if (ret_refusal->fate == OUTCOME_LATER)
            return false;
        any = stopped[i] = true;
    }
    if (!any)
        return true;
    *ret_refusal = answer(OUTCOME_NEVER, 550, "5.7.750",
                          "Service unavailable. Mail can't be forwarded from an unregistered domain");
    return envelope_end(&a->envelope, stopped, ret_refusal);
}
