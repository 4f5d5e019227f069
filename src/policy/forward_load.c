/* The `forward` sections, and what is wrong with them. */
#include "base/map.h"
#include "mail/address.h"
#include "policy/load.h"
#include "policy/signing.h"

static void load_targets(struct loading *l, const struct config_node *section, struct forward *f) {
    struct config_list to = config_list(section, "to");
    f->to = arena_array(l->arena, struct str, to.count);
    for (size_t i = 0; i < to.count; i++) {
        struct str address = address_normal(l->arena, to.at[i]);
        if (!address.at || !address_split(address).domain.len)
            config_complain(l->errors, section, "to", "\"%.*s\" is no mail address", STR_FMT(to.at[i]));
        else if (str_eq_nocase(address, f->address) && !f->keep)
            config_warn(l->errors, section, "to",
                        "\"%.*s\" is forwarded to itself, which nobody gets: say keep = true for a copy that "
                        "stays",
                        STR_FMT(f->address));
        else
            f->to[f->to_count++] = address;
    }
}

void forward_load(struct loading *l, const struct config_node *tenant, struct tenant *t) {
    struct config_sections sections = config_sections(tenant, "forward");
    t->forwards = arena_array(l->arena, struct forward, sections.count);
    for (size_t i = 0; i < sections.count; i++) {
        const struct config_node *section = sections.at[i];
        struct str title = config_title(section);
        struct forward *f = &t->forwards[t->forward_count];
        *f = (struct forward){
            .address = address_normal(l->arena, title), .keep = config_bool(section, "keep"), .tenant = t};
        if (!f->address.at || !address_split(f->address).domain.len)
            config_complain(l->errors, section, NULL, "\"%.*s\" is no mail address", STR_FMT(title));
        else if (map_get(l->policy->by_domain, address_split(f->address).domain) != t)
            config_complain(l->errors, section, NULL,
                            "the domain of \"%.*s\" is not among the tenant's domains", STR_FMT(title));
        else if (map_get(l->policy->by_forward, f->address))
            config_complain(l->errors, section, NULL, "\"%.*s\" is forwarded twice (case does not count)",
                            STR_FMT(title));
        else {
            load_targets(l, section, f);
            map_put(l->policy->by_forward, f->address, f);
            t->forward_count++;
        }
    }
}

static bool delivers(const struct tenant *t) {
    for (size_t i = 0; i < t->connector_count; i++)
        if (t->connectors[i].deliver_host.len)
            return true;
    return false;
}

struct warned {
    bool keep, forbidden, srs, seal;
};

/* One warning of a kind for each tenant: a thousand forwards have the same cause. */
static void warn(struct loading *l, const struct config_node *section, const struct forward *f,
                 const struct recipient_target *target, struct warned *warned) {
    if (!str_eq(target->forwarder, f->address) ||
        tenant_accepts(l->policy, f->tenant, address_split(target->address).domain))
        return;
    if (target->forbidden.fate != OUTCOME_DONE) {
        if (!warned->forbidden)
            config_warn(
                l->errors, section, "to",
                "the tenant's policy (forwarding) forbids forwarding to \"%.*s\": such mail is refused "
                "(550 5.7.520)",
                STR_FMT(target->address));
        warned->forbidden = true;
        return;
    }
    if (!f->tenant->srs && !warned->srs)
        config_warn(l->errors, section, "to",
                    "mail forwarded to \"%.*s\" will fail SPF there: the tenant has no `srs`",
                    STR_FMT(target->address));
    warned->srs |= !f->tenant->srs;
    bool sealed = signing_domain_for(f->tenant, f->tenant->domains[0]) != NULL;
    if (!sealed && !warned->seal)
        config_warn(l->errors, section, "to",
                    "mail forwarded to \"%.*s\" gets no seal (ARC), by which it could be believed there: no "
                    "`dkim` of the tenant signs for %.*s",
                    STR_FMT(target->address), STR_FMT(f->tenant->domains[0]));
    warned->seal |= !sealed;
}

static void check_one(struct loading *l, const struct config_node *section, const struct forward *f,
                      struct warned *warned) {
    struct arena *arena = arena_new(0);
    struct forward_expansion all;
    forward_expand(l->policy, f, arena, &all);
    if (all.comes_back && !all.count)
        config_warn(
            l->errors, section, "to",
            "the forward of \"%.*s\" leads back to it and nowhere else: its mail is refused (550 5.4.6)",
            STR_FMT(f->address));
    else if (all.comes_back)
        config_warn(l->errors, section, "to",
                    "the forward of \"%.*s\" leads back to it: that way is not gone", STR_FMT(f->address));
    if (all.too_many)
        config_complain(l->errors, section, "to", "the forward of \"%.*s\" leads to more than %d addresses",
                        STR_FMT(f->address), RECIPIENT_TARGETS_MAX);
    if (f->keep && !delivers(f->tenant) && !warned->keep) {
        config_warn(l->errors, section, "keep",
                    "what \"%.*s\" keeps goes out by MX, maybe back to here: no connector of the tenant has "
                    "`deliver`",
                    STR_FMT(f->address));
        warned->keep = true;
    }
    for (size_t i = 0; i < all.count; i++)
        warn(l, section, f, all.targets[i], warned);
    arena_free(arena);
}

void forward_check(struct loading *l, const struct config_node *tenant, const struct tenant *t) {
    struct config_sections sections = config_sections(tenant, "forward");
    struct warned warned = {0};
    size_t at = 0;
    for (size_t i = 0; i < sections.count && at < t->forward_count; i++) {
        struct arena *arena = arena_new(0);
        bool loaded = str_eq(address_normal(arena, config_title(sections.at[i])), t->forwards[at].address);
        arena_free(arena);
        if (loaded)
            check_one(l, sections.at[i], &t->forwards[at++], &warned);
    }
}
