#include "policy/recipient.h"
#include "auth/srs.h"
#include "base/map.h"
#include "mail/address.h"
#include "policy/load.h"

static bool refuse(struct outcome *ret, const char *enhanced, const char *text) {
    *ret = (struct outcome){
        .scope = OUTCOME_RECIPIENT,
        .fate = OUTCOME_NEVER,
        .code = 550,
        .enhanced = str_of(enhanced),
        .text = str_of(text),
    };
    return false;
}

static bool refuse_unknown(struct outcome *ret) {
    return refuse(ret, "5.1.1", "There is no such recipient here");
}

/* ---- forwards ---- */

static const struct forward *forward_of(const struct policy *p, struct str normal) {
    return map_get(p->by_forward, normal);
}

struct step {
    struct step *next;
    const struct forward *forward;
    struct str via; /* the forward that led here; "" for the first */
    const struct tenant *via_tenant;
};

struct expansion {
    const struct policy *policy;
    struct arena *arena;
    const struct forward *first;
    struct forward_expansion *result;
    struct map *targets;  /* address -> struct recipient_target */
    struct map *forwards; /* address -> struct forward */
    struct step **end;
    size_t queued;
};

/* Local parts are compared as they are, but for our own domains. */
static struct str key_of(struct expansion *x, struct str address) {
    bool ours = policy_tenant_of_domain(x->policy, address_split(address).domain) != NULL;
    return ours ? str_lower(x->arena, address) : address;
}

static void add_target(struct expansion *x, struct recipient_target target) {
    struct forward_expansion *r = x->result;
    struct str key = key_of(x, target.address);
    struct recipient_target *known = map_get(x->targets, key);
    if (known) {
        if (known->forbidden.fate != OUTCOME_DONE && target.forbidden.fate == OUTCOME_DONE)
            *known = target;
        return;
    }
    if (r->count == RECIPIENT_TARGETS_MAX) {
        r->too_many = true;
        return;
    }
    if (r->count == r->room) {
        struct recipient_target **more;
        r->room = r->room ? 2 * r->room : 4;
        more = arena_array(x->arena, struct recipient_target *, r->room);
        if (r->count)
            memcpy(more, r->targets, r->count * sizeof *more);
        r->targets = more;
    }
    known = arena_new_of(x->arena, struct recipient_target);
    *known = target;
    r->targets[r->count++] = known;
    map_put(x->targets, key, known);
}

static void add_forward(struct expansion *x, const struct forward *f, struct str via,
                        const struct tenant *via_tenant) {
    x->result->comes_back |= f == x->first && x->queued;
    if (map_get(x->forwards, f->address))
        return;
    if (x->queued == RECIPIENT_TARGETS_MAX) {
        x->result->too_many = true;
        return;
    }
    map_put(x->forwards, f->address, (void *)f);
    struct step *step = arena_new_of(x->arena, struct step);
    *step = (struct step){.forward = f, .via = via, .via_tenant = via_tenant};
    *x->end = step;
    x->end = &step->next;
    x->queued++;
}

static void expand_one(struct expansion *x, const struct step *step) {
    const struct forward *f = step->forward;
    if (f->keep)
        add_target(x, (struct recipient_target){
                          .address = f->address, .forwarder = step->via, .tenant = step->via_tenant});
    for (size_t i = 0; i < f->to_count; i++) {
        struct str to = f->to[i];
        struct recipient_target target = {.address = to, .forwarder = f->address, .tenant = f->tenant};
        const struct forward *next = forward_of(x->policy, to);
        bool own = tenant_accepts(x->policy, f->tenant, address_split(to).domain);
        if (next == f)
            continue; /* keeps: the loader sees to it */
        if (!own && !tenant_may_forward_outside(f->tenant, f->address))
            refuse(&target.forbidden, "5.7.520",
                   "Access denied, the organisation does not allow forwarding to other domains");
        else if (next) {
            add_forward(x, next, f->address, f->tenant);
            continue;
        }
        add_target(x, target);
    }
}

void forward_expand(const struct policy *p, const struct forward *first, struct arena *arena,
                    struct forward_expansion *ret) {
    struct step *steps = NULL;
    struct expansion x = {.policy = p,
                          .arena = arena,
                          .first = first,
                          .result = ret,
                          .targets = map_new(false),
                          .forwards = map_new(true),
                          .end = &steps};
    *ret = (struct forward_expansion){0};
    add_forward(&x, first, STR(""), first->tenant);
    for (const struct step *step = steps; step && !ret->too_many; step = step->next)
        expand_one(&x, step);
    map_free(x.targets);
    map_free(x.forwards);
}

static bool route_forward(const struct policy *p, const struct forward *f, struct arena *arena,
                          struct recipient_route *ret, struct outcome *ret_refusal) {
    struct forward_expansion all;
    size_t allowed = 0;
    forward_expand(p, f, arena, &all);
    if (all.too_many || !all.count)
        return refuse(ret_refusal, "5.4.6",
                      "The recipient's forwards lead in a circle or to too many addresses");
    struct recipient_target *targets = arena_array(arena, struct recipient_target, all.count);
    for (size_t i = 0; i < all.count; i++) {
        targets[i] = *all.targets[i];
        allowed += targets[i].forbidden.fate == OUTCOME_DONE;
    }
    if (!allowed) {
        *ret_refusal = targets[0].forbidden;
        return false;
    }
    *ret = (struct recipient_route){
        .kind = RECIPIENT_FORWARD,
        .tenant = f->tenant,
        .targets = targets,
        .count = all.count,
        .reason = str_printf(arena, "forwarded by %.*s", STR_FMT(f->address)),
    };
    return true;
}

/* ---- rewritten addresses that come back ---- */

struct comeback {
    enum srs_verdict verdict;
    struct srs_original original;
    const struct tenant *tenant;
};

/* The better of what was known and what this tenant's secrets say. */
static void ask(struct comeback *c, const struct tenant *t, struct str address, int64_t now,
                struct arena *arena) {
    static const int rank[] = {
        [SRS_OTHER] = 0, [SRS_MALFORMED] = 1, [SRS_FORGED] = 2, [SRS_EXPIRED] = 3, [SRS_GOOD] = 4};
    struct srs_original original = {0};
    enum srs_verdict verdict = srs_reverse(t->srs, address, now, arena, &original);
    if (!c->tenant || rank[verdict] > rank[c->verdict])
        *c = (struct comeback){verdict, original, t};
}

static struct comeback read_rewritten(const struct policy *p, const struct tenant *accepts,
                                      struct str address, int64_t now, struct arena *arena) {
    struct comeback c = {.verdict = SRS_OTHER};
    if (accepts && accepts->srs)
        ask(&c, accepts, address, now, arena);
    for (const struct srs_owner *o = map_get(p->by_srs, address_split(address).domain); o; o = o->next)
        if (o->tenant != accepts)
            ask(&c, o->tenant, address, now, arena);
    return c;
}

static bool route_rewritten(const struct comeback *c, struct arena *arena, struct recipient_route *ret,
                            struct outcome *ret_refusal) {
    switch (c->verdict) {
    case SRS_GOOD:
        break;
    case SRS_FORGED:
        return refuse(ret_refusal, "5.7.1", "The hash of the rewritten address is wrong");
    case SRS_EXPIRED:
        return refuse(ret_refusal, "5.1.1", "The rewritten address is too old");
    default:
        return refuse(ret_refusal, "5.1.1", "The rewritten address is incomplete");
    }
    *ret = (struct recipient_route){
        .kind = RECIPIENT_END,
        .tenant = c->tenant,
        .reason = STR("a rewritten address without a sender came back: the way ends here"),
    };
    if (!c->original.address.len)
        return true;
    ret->kind = RECIPIENT_RETURN;
    ret->count = 1;
    ret->targets = arena_new_of(arena, struct recipient_target);
    *ret->targets =
        (struct recipient_target){.address = c->original.address, .forwarder = STR(""), .tenant = c->tenant};
    ret->reason =
        str_printf(arena, "a rewritten address came back: the sender was %.*s", STR_FMT(c->original.address));
    return true;
}

/* ---- the rest ---- */

static void route_plain(const struct tenant *t, struct str address, struct arena *arena,
                        struct recipient_route *ret) {
    *ret = (struct recipient_route){.kind = RECIPIENT_PLAIN, .tenant = t, .count = 1, .reason = STR("")};
    ret->targets = arena_new_of(arena, struct recipient_target);
    *ret->targets =
        (struct recipient_target){.address = str_copy(arena, address), .forwarder = STR(""), .tenant = t};
}

/* RFC 5321 4.5.1 wants the postmaster of every domain reached; it is where somebody can be. */
static bool is_postmaster(const struct policy *p, struct str normal) {
    struct address a = address_split(normal);
    return str_eq_nocase(a.local, STR("postmaster")) && policy_deliver_of_domain(p, a.domain) != NULL;
}

struct str recipient_postmaster(const struct policy *p, struct str node, struct arena *arena) {
    for (struct str domain = node, label; domain.len; (void)str_cut(&domain, '.', &label)) {
        struct str address = str_printf(arena, "postmaster@%.*s", STR_FMT(domain));
        struct str normal = address_normal(arena, address);
        if (normal.at && (forward_of(p, normal) || is_postmaster(p, normal)))
            return address;
    }
    return str_printf(arena, "postmaster@%.*s", STR_FMT(node));
}

bool recipient_route(const struct policy *p, struct str address, bool outside, int64_t now_wall_ms,
                     struct arena *arena, struct recipient_route *ret, struct outcome *ret_refusal) {
    struct str normal = address_normal(arena, address);
    if (!normal.at)
        normal = str_copy(arena, address);
    const struct tenant *t = policy_tenant_of_domain(p, address_split(normal).domain);
    const struct forward *f = forward_of(p, normal);
    if (f)
        return route_forward(p, f, arena, ret, ret_refusal);
    struct comeback c = read_rewritten(p, t, normal, now_wall_ms, arena);
    if (c.verdict != SRS_OTHER)
        return route_rewritten(&c, arena, ret, ret_refusal);
    if (outside && !t && !c.tenant)
        return refuse(ret_refusal, "5.7.64", "Relay Access Denied");
    if (outside && !is_postmaster(p, normal))
        return refuse_unknown(ret_refusal);
    route_plain(t, address, arena, ret);
    return true;
}
