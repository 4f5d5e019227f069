#include "flow/explain.h"

#include "base/clock.h"

enum { ROUTE_MS = 30 * 1000 };

static struct outcome accepted(void) { return (struct outcome){.fate = OUTCOME_DONE}; }

/* With tenant and client: by the tenant's connector that has the address; without one it is a user who
 * connects from there. */
static bool through_connector(const struct settings *s, const struct explain_request *q,
                              const struct tenant *tenant, struct attribution *ret) {
    for (size_t i = 0; i < tenant->connector_count && !ip_is_none(&q->client); i++)
        if (connector_has_ip(&tenant->connectors[i], &q->client)) {
            bool own = !q->from.len || tenant_accepts(s->policy, tenant, address_split(q->from).domain);
            *ret =
                (struct attribution){.tenant = tenant, .connector = &tenant->connectors[i], .relayed = !own};
            return true;
        }
    return false;
}

/* Steps 1 to 3: who sent it. */
static bool attribute_it(const struct settings *s, const struct explain_request *q, struct acceptance *a,
                         struct outcome *ret_refusal) {
    struct address_list from = {0};
    struct str value = header_value(a->arena, &a->header, STR("From"));
    struct sender_facts facts = {.client = q->client, .reverse_path = q->from};
    if (value.at && address_list_parse(a->arena, value, &from) == 0)
        facts.from = &from;
    if (q->tenant.len) {
        const struct tenant *tenant = policy_tenant(s->policy, q->tenant);
        if (!tenant) {
            *ret_refusal = (struct outcome){
                .fate = OUTCOME_NEVER,
                .text = str_printf(a->arena, "there is no tenant \"%.*s\"", STR_FMT(q->tenant))};
            return false;
        }
        if (through_connector(s, q, tenant, &a->by))
            return true;
        facts.user_tenant = tenant;
    }
    return attribute(s->policy, &facts, &a->by, ret_refusal);
}

static void list_pools(const struct settings *s, const struct tenant *tenant, struct arena *arena,
                       struct explain_result *r) {
    struct str own = tenant ? tenant->pools[r->decision.class] : STR("");
    r->pools = arena_array(arena, const struct pool *, s->pools->pool_count);
    for (size_t i = 0; i < s->pools->pool_count; i++) {
        const struct pool *p = &s->pools->pools[i];
        bool usable = pool_carries(p, r->decision.class) && s->pools->sites[p->site].here;
        if (usable && (!own.len || str_eq(own, p->name)))
            r->pools[r->pool_count++] = p;
    }
}

static unsigned family_of(const struct ip *ip) { return ip_is_v4(ip) ? FAMILY_V4 : FAMILY_V6; }

static void find_route(struct flow *flow, const struct settings *s, const struct explain_request *q,
                       const struct acceptance *a, struct explain_result *r) {
    struct queue_settings queue = flow_queue_settings(s, a->arena);
    r->via = a->recipients[0].via;
    route_find(&queue, flow_here(flow)->resolver, address_split(q->to).domain, r->via,
               clock_mono_ms() + ROUTE_MS, &r->route);
    if (r->route->outcome.fate == OUTCOME_DONE)
        r->target_count = route_targets(r->route, flow_random(flow), a->arena, &r->targets);
    for (size_t i = 0; i < r->target_count; i++)
        r->families |= family_of(&r->targets[i].ip);
}

bool explain_carries(const struct explain_result *r, const struct source *source) {
    return !r->families || (r->families & family_of(&source->ip));
}

void explain(struct flow *flow, const struct settings *s, const struct explain_request *q,
             struct arena *arena, struct explain_result *ret) {
    struct spool_recipient to = {.address = q->to};
    struct acceptance a = {.arena = arena,
                           .settings = s,
                           .reverse_path = q->from,
                           .recipients = &to,
                           .recipient_count = 1,
                           .client = q->client};
    struct gtube_finder gtube = {0};
    *ret = (struct explain_result){.refusal = accepted()};
    if (header_parse(arena, q->message, 0, &a.header) != 0) {
        ret->refusal = (struct outcome){.fate = OUTCOME_NEVER,
                                        .code = 552,
                                        .enhanced = STR("5.3.4"),
                                        .text = STR("The header of the message is too long")};
        return;
    }
    a.gtube = gtube_feed(&gtube, q->message);
    if (!attribute_it(s, q, &a, &ret->refusal))
        return;
    ret->by = a.by;
    if (accept_classify(flow, &a, &ret->facts, &ret->decision, &ret->pool, &ret->refusal) != 0)
        return;
    ret->refusal = accepted();
    list_pools(s, a.by.tenant, arena, ret);
    accept_set_via(&a);
    find_route(flow, s, q, &a, ret);
}
