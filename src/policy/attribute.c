#include "policy/attribute.h"

#include "seeded_bug.h"

static bool refuse(struct outcome *ret, const char *enhanced, const char *text) {
    *ret = (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = OUTCOME_NEVER,
        .code = 550,
        .enhanced = str_of(enhanced),
        .text = str_of(text),
    };
    return false;
}

static bool deny_relay(struct outcome *ret) { return refuse(ret, "5.7.64", "Relay Access Denied"); }

static const struct connector *connector_of(const struct tenant *t, const struct ip *client) {
    for (size_t i = 0; i < t->connector_count; i++)
        if (connector_has_ip(&t->connectors[i], client))
            return &t->connectors[i];
    return NULL;
}

bool attribute_known_client(const struct policy *p, const struct ip *client) {
    for (size_t i = 0; i < p->tenant_count; i++)
        if (connector_of(&p->tenants[i], client))
            return true;
    return false;
}

static bool user_may(const struct policy *p, const struct sender_facts *f, struct outcome *ret_refusal) {
    struct address path = address_split(f->reverse_path);
    if (path.whole.len && !tenant_accepts(p, f->user_tenant, path.domain))
        return refuse(ret_refusal, "5.7.1", "The reverse-path is not in your organisation's domains");
    if (!f->from)
        return true;
    if (!f->from->count)
        return refuse(ret_refusal, "5.7.1", "The From field has no address");
    for (size_t i = 0; i < f->from->count; i++)
        if (!tenant_accepts(p, f->user_tenant, f->from->items[i].address.domain))
            return refuse(ret_refusal, "5.7.1", "The From address is not in your organisation's domains");
    return true;
}

/* The tenant that the message's own addresses name: its reverse-path, or From when that is null. */
static const struct tenant *named_tenant(const struct policy *p, const struct sender_facts *f) {
    if (f->reverse_path.len)
        return policy_tenant_of_domain(p, address_split(f->reverse_path).domain);
    for (size_t i = 0; f->from && i < f->from->count; i++) {
        const struct tenant *t = policy_tenant_of_domain(p, f->from->items[i].address.domain);
        if (t)
            return t;
    }
    return NULL;
}

/* Among the connectors that a certificate or an address stands for. */
struct choice {
    const struct connector *first, *named, *last;
    size_t tenants;
};

/* In the order of the configuration. */
static void add_choice(struct choice *choice, const struct connector *c, const struct tenant *named) {
    choice->tenants += !choice->last || choice->last->tenant != c->tenant;
    choice->last = c;
    if (!choice->first)
        choice->first = c;
    if (!choice->named && c->tenant == named)
        choice->named = c;
}

/* Tenants that share: a reverse-path of none of them is nobody's; a null one is the first's. */
static const struct connector *choose(const struct choice *choice, const struct sender_facts *f) {
    if (choice->named)
        return choice->named;
    return choice->tenants == 1 || !f->reverse_path.len ? choice->first : NULL;
}

static bool by_address(const struct policy *p, const struct sender_facts *f, struct attribution *ret,
                       struct outcome *ret_refusal) {
    const struct tenant *named = named_tenant(p, f);
    struct choice choice = {0};
    for (size_t i = 0; i < p->tenant_count; i++) {
        const struct connector *c = connector_of(&p->tenants[i], &f->client);
        if (c)
            add_choice(&choice, c, named);
    }
    const struct connector *chosen = choose(&choice, f);
    if (!chosen)
        return deny_relay(ret_refusal);
    *ret = (struct attribution){
        .tenant = chosen->tenant,
        .connector = chosen,
        .relayed = f->reverse_path.len && named != chosen->tenant,
    };
    return true;
}

static bool may_relay(const struct policy *p, const struct sender_facts *f,
                      const struct certificate_match *by) {
#ifdef SLUICE_SEEDED_BUG_CERTIFICATE_RELAYS_ANYTHING
    return true;
#endif
    return certificate_in_tenant(p, by->connector->tenant, by->name) ||
           connector_has_ip(by->connector, &f->client);
}

static bool by_certificate(const struct policy *p, const struct sender_facts *f, struct attribution *ret,
                           struct outcome *ret_refusal) {
    const struct tenant *named = named_tenant(p, f);
    const struct certificate_match *match = f->certificate->matches;
    struct choice choice = {0};
    for (size_t i = 0; i < f->certificate->match_count; i++)
        add_choice(&choice, match[i].connector, named);
    const struct connector *chosen = choose(&choice, f);
    if (!chosen)
        return deny_relay(ret_refusal);
    while (match->connector != chosen)
        match++;
    bool relayed = f->reverse_path.len && named != chosen->tenant;
    if (relayed && !may_relay(p, f, match))
        return deny_relay(ret_refusal);
    *ret = (struct attribution){
        .tenant = chosen->tenant, .connector = chosen, .certificate = match->name, .relayed = relayed};
    return true;
}

/* The local socket: whoever may open it speaks for every tenant, in the tenant's own name. */
static bool by_socket(const struct policy *p, const struct sender_facts *f, struct attribution *ret,
                      struct outcome *ret_refusal) {
    const struct tenant *t = named_tenant(p, f);
    if (!t && !f->reverse_path.len && p->tenant_count)
        t = &p->tenants[0];
    if (!t)
        return deny_relay(ret_refusal);
    *ret = (struct attribution){.tenant = t};
    return true;
}

bool attribute(const struct policy *p, const struct sender_facts *f, struct attribution *ret,
               struct outcome *ret_refusal) {
    if (f->user_tenant) {
        if (!user_may(p, f, ret_refusal))
            return false;
        *ret = (struct attribution){.tenant = f->user_tenant, .user = f->user};
        return true;
    }
    if (ip_is_none(&f->client))
        return by_socket(p, f, ret, ret_refusal);
    if (f->certificate && f->certificate->match_count)
        return by_certificate(p, f, ret, ret_refusal);
    return by_address(p, f, ret, ret_refusal);
}
