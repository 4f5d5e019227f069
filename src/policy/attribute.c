#include "policy/attribute.h"

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

static bool by_connector(const struct policy *p, const struct sender_facts *f, struct attribution *ret,
                         struct outcome *ret_refusal) {
    const struct tenant *named = named_tenant(p, f);
    const struct connector *first = NULL, *chosen = NULL;
    size_t sharing = 0;
    for (size_t i = 0; i < p->tenant_count; i++) {
        const struct connector *c = connector_of(&p->tenants[i], &f->client);
        if (!c)
            continue;
        sharing++;
        first = first ? first : c;
        if (&p->tenants[i] == named)
            chosen = c;
    }
    /* Tenants that share an address: a reverse-path of none of them is nobody's; a null one is the first's.
     */
    if (!chosen && (sharing == 1 || !f->reverse_path.len))
        chosen = first;
    if (!chosen)
        return deny_relay(ret_refusal);
    *ret = (struct attribution){
        .tenant = chosen->tenant,
        .connector = chosen,
        .relayed = f->reverse_path.len && named != chosen->tenant,
    };
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
    return ip_is_none(&f->client) ? by_socket(p, f, ret, ret_refusal) : by_connector(p, f, ret, ret_refusal);
}
