#include "policy/tenant.h"
#include "base/map.h"
#include "mail/address.h"
#include "mail/mime.h"
#include "policy/limit_policy.h"
#include "policy/load.h"
#include "policy/passwd.h"

const struct tenant *policy_tenant_of_domain(const struct policy *p, struct str domain) {
    if (domain.len && domain.at[domain.len - 1] == '.')
        domain.len--;
    if (!domain.len)
        return NULL;
    if (!bytes_8bit(domain))
        return map_get(p->by_domain, domain);
    struct arena *arena = arena_new(0);
    struct str normal;
    const struct tenant *t =
        domain_normal(arena, domain, &normal) == 0 ? map_get(p->by_domain, normal) : NULL;
    arena_free(arena);
    return t;
}

const struct tenant *policy_tenant(const struct policy *p, struct str name) {
    for (size_t i = 0; i < p->tenant_count; i++)
        if (str_eq(p->tenants[i].name, name))
            return &p->tenants[i];
    return NULL;
}

bool tenant_accepts(const struct policy *p, const struct tenant *t, struct str domain) {
    return t && policy_tenant_of_domain(p, domain) == t;
}

const struct connector *policy_deliver_of_domain(const struct policy *p, struct str domain) {
    const struct tenant *t = policy_tenant_of_domain(p, domain);
    for (size_t i = 0; t && i < t->connector_count; i++)
        if (t->connectors[i].deliver_host.len)
            return &t->connectors[i];
    return NULL;
}

bool connector_has_ip(const struct connector *c, const struct ip *ip) {
    for (size_t i = 0; i < c->address_count; i++)
        if (ip_range_has(&c->addresses[i], ip))
            return true;
    return false;
}

bool tenant_may_forward_outside(const struct tenant *t, struct str address) {
    const struct sending_policy *applies = limit_policy_for(t, address);
    return !applies || applies->forwarding == FORWARDING_ON;
}

void policy_close(struct policy *p) {
    if (!p)
        return;
    for (size_t i = 0; i < p->tenant_count; i++) {
        p->tenants[i].users = passwd_close(p->tenants[i].users);
        signing_unload(&p->tenants[i]);
    }
    unload_certificates(p);
    p->by_domain = map_free(p->by_domain);
    p->by_forward = map_free(p->by_forward);
    p->by_srs = map_free(p->by_srs);
}
