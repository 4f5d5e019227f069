#include "policy/signing.h"
#include "base/map.h"
#include "mail/address.h"
#include "mail/mime.h"
#include "policy/rotation.h"
#include "policy/tenant.h"
#include "seeded_bug.h"

/* Its own section, or the nearest above that covers subdomains. */
static const struct signing_domain *covering(const struct tenant *t, struct str domain) {
    const struct signing_domain *found = map_get(t->signing_by_domain, domain);
    for (ptrdiff_t dot; !found && (dot = str_index(domain, '.')) >= 0;) {
        domain = str_from_index(domain, (size_t)dot + 1);
        found = map_get(t->signing_by_domain, domain);
        if (found && !found->subdomains)
            found = NULL;
    }
    return found;
}

static const struct signing_domain *covering_any(const struct tenant *t, struct str domain) {
    if (domain.len && domain.at[domain.len - 1] == '.')
        domain.len--;
    if (!domain.len)
        return NULL;
    if (!bytes_8bit(domain))
        return covering(t, domain);
    struct arena *arena = arena_new(0);
    struct str normal;
    const struct signing_domain *found =
        domain_normal(arena, domain, &normal) == 0 ? covering(t, normal) : NULL;
    arena_free(arena);
    return found;
}

const struct signing_domain *signing_domain_for(const struct tenant *t, struct str from_domain) {
    if (!t || !t->signing_count)
        return NULL;
    const struct signing_domain *found = covering_any(t, from_domain);
    return found || !t->domain_count ? found : covering(t, t->domains[0]);
}

const struct signing_domain *signing_domain_of(const struct policy *policy, struct str domain) {
    for (size_t i = 0; i < policy->tenant_count; i++)
        for (size_t k = 0; k < policy->tenants[i].signing_count; k++)
            if (str_eq(policy->tenants[i].signing[k].domain, domain))
                return &policy->tenants[i].signing[k];
    return NULL;
}

void signing_hold(const struct signing_domain *d, bool held) {
    atomic_store_explicit(d->held, held, memory_order_relaxed);
}

bool signing_held(const struct signing_domain *d) {
    return atomic_load_explicit(d->held, memory_order_relaxed);
}

const struct signing_set *signing_set_at(const struct signing_domain *d, int64_t now_wall_ms) {
    if (!d->rotation)
        return &d->configured;
#ifdef SLUICE_SEEDED_BUG_KEY_SWITCHES_EARLY
    now_wall_ms += 60000;
#endif
    enum rotation_phase phase = rotation_phase(d->rotation, now_wall_ms);
    bool old = phase == ROTATION_PENDING || (phase == ROTATION_SWITCHED && signing_held(d));
    /* After the switch an old key may be gone from the disk. */
    return old && d->old.keys[0].key ? &d->old : &d->next;
}

size_t signing_keys(const struct tenant *t, struct str from_domain, int64_t now_wall_ms,
                    struct dkim_signer ret[DKIM_SIGN_MAX]) {
    const struct signing_domain *d = signing_domain_for(t, from_domain);
    const struct signing_set *set = d ? signing_set_at(d, now_wall_ms) : NULL;
    size_t count = 0;
    for (size_t i = 0; set && i < set->count; i++)
        if (set->keys[i].key)
            ret[count++] = (struct dkim_signer){.key = set->keys[i].key,
                                                .domain = d->domain,
                                                .selector = set->keys[i].selector,
                                                .identity = STR("")};
    return count;
}
