#include "explain/explain.h"

#include "acceptance/registered.h"
#include "acceptance/rewrite.h"
#include "auth/align.h"
#include "auth/beside.h"
#include "base/clock.h"
#include "delivery/connect.h"
#include "mail/received.h"

enum { ROUTE_MS = 30 * 1000 };

static struct outcome accepted(void) { return (struct outcome){.fate = OUTCOME_DONE}; }

static bool brings(const struct explain_request *q, const struct connector *c) {
    if (q->connector.len)
        return str_eq(q->connector, c->name);
    return !ip_is_none(&q->client) && connector_has_ip(c, &q->client);
}

/* With tenant and client: by the tenant's connector that has the address; without one it is a user who
 * connects from there. */
static bool through_connector(const struct settings *s, const struct explain_request *q,
                              const struct tenant *tenant, struct attribution *ret) {
    for (size_t i = 0; i < tenant->connector_count; i++)
        if (brings(q, &tenant->connectors[i])) {
            bool own = !q->from.len || tenant_accepts(s->policy, tenant, address_split(q->from).domain);
            *ret =
                (struct attribution){.tenant = tenant, .connector = &tenant->connectors[i], .relayed = !own};
            return true;
        }
    return false;
}

/* From outside, where a listener takes that. */
static bool from_outside(const struct settings *s, const struct explain_request *q, struct acceptance *a) {
    bool taken = false;
    for (size_t i = 0; i < s->listener_count; i++)
        taken |= s->listeners[i].accept_forward;
    if (!taken || ip_is_none(&q->client) || q->tenant.len)
        return false;
    a->outside = true;
    a->by = (struct attribution){.relayed = q->from.len > 0};
    return true;
}

static int believed(void *arg, const struct tls_trust *trust, struct arena *arena, struct str *ret_why) {
    (void)arg, (void)trust, (void)arena, (void)ret_why;
    return 0;
}

/* Step 1: who sent it. */
static bool attribute_it(const struct settings *s, const struct explain_request *q, struct acceptance *a,
                         struct outcome *ret_refusal) {
    struct header header;
    struct address_list from = {0};
    struct certificate_facts certificate = {0};
    struct sender_facts facts = {.client = q->client, .reverse_path = q->from};
    if (q->certificate.len) {
        struct certificate_client client = {.names = &q->certificate, .name_count = 1, .verify = believed};
        policy_connectors_by_certificate(s->policy, &client, a->arena, &certificate);
        facts.certificate = &certificate;
    }
    if (header_parse(a->arena, q->message, 0, &header) == 0) {
        struct str value = header_value(a->arena, &header, STR("From"));
        if (value.at && address_list_parse(a->arena, value, &from) == 0)
            facts.from = &from;
    }
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
    return attribute(s->policy, &facts, &a->by, ret_refusal) || from_outside(s, q, a);
}

/* Who gets it. */
static bool address_it(const struct settings *s, const struct explain_request *q, struct acceptance *a,
                       struct outcome *ret_refusal) {
    struct envelope_rcpt rcpt = {.address = q->to, .outside = a->outside, .now = a->arrival};
    const struct tenant *tenant;
    if (!envelope_add(&a->envelope, s->policy, &rcpt, a->arena, &tenant, ret_refusal))
        return false;
    if (a->outside)
        a->by.tenant = tenant;
    return true;
}

static void guess(const struct explain_request *, const struct acceptance *, const struct explain_result *);

/* The message itself, and step 3. */
static bool read_it(struct flow *flow, const struct explain_request *q, struct acceptance *a,
                    const struct explain_result *so_far, struct outcome *ret_refusal) {
    struct content_settings settings = {
        .authserv_id = a->settings->node,
        .verify = accept_verifies(a),
        .now = a->arrival,
        .scan = judge_looks(a->settings) ? judge_copy_place(flow, a->settings, a->arena) : NULL};
    struct content *content = a->content = content_new(flow, a->arena, &settings);
    int error = content_add(content, q->message);
    if (!error)
        error = content_end(content);
    if (error) {
        *ret_refusal = accept_content_refusal(content, error);
        return false;
    }
    if (!envelope_check_loops(&a->envelope, &content->original, a->arena, ret_refusal))
        return false;
    envelope_route(&a->envelope, a->settings->policy, a->arena);
    guess(q, a, so_far);
    if (flow->ownership && !a->outside &&
        !registered_check(flow, a->settings, &a->by, a->reverse_path, &content->original, a->arena,
                          ret_refusal, &a->refused_why))
        return false;
    accept_verify(flow, a);
    return true;
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

struct route *explain_route(const struct settings *s, struct resolver *resolver, const struct explain_copy *c,
                            struct arena *arena) {
    struct queue_settings queue = flow_queue_settings(s, arena);
    struct route *route;
    route_find(&queue, resolver, address_split(c->address).domain, c->via, clock_mono_ms() + ROUTE_MS,
               &route);
    return route;
}

struct routing {
    struct beside beside;
    struct flow *flow;
    const struct settings *settings;
    struct arena *arena;
    struct explain_copy *copy;
};

static void find_route(void *arg) {
    const struct routing *r = arg;
    struct explain_copy *c = r->copy;
    c->route = explain_route(r->settings, flow_here(r->flow)->resolver, c, r->arena);
    if (c->route->outcome.fate == OUTCOME_DONE)
        c->target_count = route_targets(c->route, flow_random(r->flow), r->arena, &c->targets);
    for (size_t i = 0; i < c->target_count; i++)
        c->families |= family_of(&c->targets[i].ip);
}

static void find_routes(struct flow *flow, const struct acceptance *a, struct explain_result *r) {
    struct routing *routings = arena_array(a->arena, struct routing, r->copy_count);
    for (size_t i = 0; i < r->copy_count; i++) {
        routings[i] =
            (struct routing){.flow = flow, .settings = a->settings, .arena = a->arena, .copy = &r->copies[i]};
        beside_start(&routings[i].beside, find_route, &routings[i]);
    }
    for (size_t i = 0; i < r->copy_count; i++)
        beside_join(&routings[i].beside);
}

bool explain_carries(const struct explain_copy *c, const struct source *source) {
    return !c->families || (c->families & family_of(&source->ip));
}

static void list_copies(const struct acceptance *a, struct explain_result *r) {
    r->copies = arena_array(a->arena, struct explain_copy, a->envelope.copy_count);
    for (size_t i = 0; i < a->envelope.copy_count; i++) {
        const struct envelope_copy *from = &a->envelope.copies[i];
        struct explain_copy *c = &r->copies[r->copy_count];
        if (from->ended.fate != OUTCOME_DONE)
            continue;
        *c = (struct explain_copy){
            .address = from->to.address, .forwarder = from->forwarder, .via = from->to.via};
        if (rewrite_path(a, &r->decision, from, &c->return_path, &c->return_why) != 0)
            c->return_why = STR("the SRS settings can't be used");
        r->copy_count++;
    }
}

/* Nothing has been asked yet: what is judged spam, or has no names, will be another class. */
static void guess(const struct explain_request *q, const struct acceptance *a,
                  const struct explain_result *so_far) {
    struct explain_result *g;
    if (!q->ahead)
        return;
    g = arena_new_of(a->arena, struct explain_result);
    *g = *so_far;
    g->envelope = a->envelope;
    g->decision.class = a->by.relayed                      ? CLASS_RELAY
                        : !q->from.len || q->suspicion.len ? CLASS_HIGH_RISK
                                                           : CLASS_NORMAL;
    g->from_domain = address_split(accept_from_address(a->arena, &a->content->header)).domain;
    g->signer_count = rewrite_signers(a, &g->decision, g->signers);
    list_pools(a->settings, a->by.tenant, a->arena, g);
    list_copies(a, g);
    q->ahead(q->ctx, g);
}

struct str explain_ehlo(const struct explain_result *r, const struct explain_copy *c,
                        const struct source *source) {
    return connect_ehlo(r->all, source, c->route ? c->route->destination : NULL);
}

bool explain_ehlo_is_ptr(const struct explain_result *r, const struct explain_copy *c,
                         const struct source *source) {
    return source->ptr && explain_ehlo(r, c, source).at == source->ptr;
}

struct forecast_query explain_query(const struct explain_result *r, const struct explain_copy *c,
                                    const struct source *source) {
    return (struct forecast_query){
        .source = source->ip,
        .ehlo = explain_ehlo(r, c, source),
        .reverse_path = c->return_path,
        .from_domain = r->from_domain,
        .arrival = &r->verified,
        .signers = r->signers,
        .signer_count = r->signer_count,
        .now = clock_wall_ms(),
    };
}

static void steps(struct flow *flow, const struct explain_request *q, struct acceptance *a,
                  struct explain_result *r) {
    const struct settings *s = a->settings;
    bool on = attribute_it(s, q, a, &r->refusal);
    r->by = a->by;
    r->outside = a->outside;
    on = on && address_it(s, q, a, &r->refusal);
    r->by.tenant = a->by.tenant;
    r->envelope = a->envelope;
    if (!on || !read_it(flow, q, a, r, &r->refusal))
        return;
    r->original = a->original;
    r->verified = a->verified;
    r->no_report = arrival_unverified(&a->verified, a->reverse_path, a->arena);
    r->from_domain = address_split(accept_from_address(a->arena, &a->content->header)).domain;
    int64_t began = clock_mono_ms();
    bool good = judge(flow, a, &r->refusal);
    if (q->once)
        dns_once_extend(q->once, clock_mono_ms() - began);
    r->judged = a->judged;
    if (!good || accept_classify(flow, a, &r->facts, &r->decision, &r->pool, &r->refusal) != 0)
        return;
    if (flow->ownership && !registered_copies(flow, a, &r->decision, &r->refusal))
        return;
    r->refusal = accepted();
    r->signer_count = rewrite_signers(a, &r->decision, r->signers);
    list_pools(s, a->by.tenant, a->arena, r);
    list_copies(a, r);
    find_routes(flow, a, r);
}

void explain(struct flow *flow, const struct settings *s, const struct explain_request *q,
             struct arena *arena, struct explain_result *ret) {
    struct acceptance a = {.arena = arena,
                           .arrival = clock_wall_ms(),
                           .settings = s,
                           .reverse_path = q->from,
                           .helo = q->helo,
                           .client = q->client,
                           .suspicion = q->suspicion,
                           .original = {.ip = q->client}};
    *ret = (struct explain_result){.refusal = accepted(), .all = s->pools};
    steps(flow, q, &a, ret);
    content_free(a.content);
}
