/* The `policy` and `group` sections of a tenant and its licences, and what is wrong with them. */
#include "base/clock.h"
#include "mail/address.h"
#include "policy/load.h"

static const char *const action_words[] = {"alert", "restrict-today", "restrict", NULL};
static const char *const forwarding_words[] = {"automatic", "off", "on", NULL};

const struct config_option sending_options[] = {
    {.name = "priority",
     .kind = CONFIG_INTEGER,
     .preset = "100",
     .max = 1000,
     .inactive = true,
     .doc = "Of several policies that apply the one with the least number counts; the one titled `default` "
            "applies to everybody and comes last."},
    {.name = "senders",
     .kind = CONFIG_LIST,
     .inactive = true,
     .doc = "Addresses in From that it applies to."},
    {.name = "groups",
     .kind = CONFIG_LIST,
     .inactive = true,
     .doc =
         "Groups (`group`) whose members it applies to. Of the kinds of condition that are given each must "
         "fit."},
    {.name = "domains", .kind = CONFIG_LIST, .inactive = true, .doc = "Domains of From that it applies to."},
    {.name = "external-per-hour",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .inactive = true,
     .doc = "Recipients outside of the tenant a sender may have in an hour; 0 is the service's default."},
    {.name = "internal-per-hour",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .inactive = true,
     .doc = "Recipients inside of the tenant a sender may have in an hour; 0 is the service's default."},
    {.name = "per-day",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .inactive = true,
     .doc = "Recipients a sender may have in 24 hours; 0 is the service's default."},
    {.name = "per-minute",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .inactive = true,
     .doc = "Messages a sender may send in a minute; 0 is the service's default."},
    {.name = "per-message",
     .kind = CONFIG_INTEGER,
     .preset = "500",
     .min = 1,
     .max = 1000,
     .inactive = true,
     .doc = "Recipients that one message may have."},
    {.name = "action",
     .kind = CONFIG_ENUM,
     .preset = "restrict-today",
     .words = action_words,
     .inactive = true,
     .doc = "What happens to a sender over a limit."},
    {.name = "forwarding",
     .kind = CONFIG_ENUM,
     .preset = "automatic",
     .words = forwarding_words,
     .doc = "May mail be forwarded to addresses outside of the tenant's domains? `automatic` is `off`. The "
            "policy "
            "titled `default` counts, else the first; without one, it may."},
    {.kind = CONFIG_END},
};

const struct config_option group_options[] = {
    {.name = "members", .kind = CONFIG_LIST, .inactive = true, .doc = "Addresses of its members."},
    {.kind = CONFIG_END},
};

/* The addresses of a list option; a wrong one is reported and left out. */
static struct str *load_addresses(struct loading *l, const struct config_node *node, const char *option,
                                  size_t *ret_count) {
    struct config_list list = config_list(node, option);
    struct str *addresses = arena_array(l->arena, struct str, list.count);
    *ret_count = 0;
    for (size_t i = 0; i < list.count; i++) {
        struct str address = address_normal(l->arena, list.at[i]);
        if (!address.at || !address_split(address).domain.len)
            config_complain(l->errors, node, option, "\"%.*s\" is no mail address", STR_FMT(list.at[i]));
        else
            addresses[(*ret_count)++] = address;
    }
    return addresses;
}

static void load_scope(struct loading *l, const struct config_node *node, const struct tenant *t,
                       struct sending_policy *p) {
    struct config_list domains = config_list(node, "domains"), groups = config_list(node, "groups");
    p->senders = load_addresses(l, node, "senders", &p->sender_count);
    p->domains = arena_array(l->arena, struct str, domains.count);
    for (size_t i = 0; i < domains.count; i++) {
        if (domain_normal(l->arena, domains.at[i], &p->domains[p->domain_count]) == 0)
            p->domain_count++;
        else
            config_complain(l->errors, node, "domains", "\"%.*s\" is no domain", STR_FMT(domains.at[i]));
    }
    p->groups = arena_array(l->arena, struct str, groups.count);
    for (size_t i = 0; i < groups.count; i++) {
        bool found = false;
        for (size_t g = 0; g < t->group_count; g++)
            found = found || str_eq_nocase(t->groups[g].name, groups.at[i]);
        if (found)
            p->groups[p->group_count++] = groups.at[i];
        else
            config_complain(l->errors, node, "groups", "there is no group \"%.*s\" in this tenant",
                            STR_FMT(groups.at[i]));
    }
    if (str_eq(p->name, STR("default")) && (p->sender_count || p->domain_count || p->group_count))
        config_complain(l->errors, node, NULL,
                        "the policy \"default\" applies to everybody: give this one another name");
}

static void load_groups(struct loading *l, const struct config_node *node, struct tenant *t) {
    struct config_sections sections = config_sections(node, "group");
    t->groups = arena_array(l->arena, struct sender_group, sections.count);
    for (size_t i = 0; i < sections.count; i++) {
        struct sender_group *g = &t->groups[t->group_count++];
        g->name = config_title(sections.at[i]);
        g->members = load_addresses(l, sections.at[i], "members", &g->member_count);
    }
}

void limit_load(struct loading *l, const struct config_node *node, struct tenant *t) {
    struct config_sections sections = config_sections(node, "policy");
    struct str since = config_string(node, "since");
    t->licences = (uint32_t)config_integer(node, "licences");
    if (since.len && !clock_parse_rfc3339(since, &t->since))
        config_complain(l->errors, node, "since", "\"%.*s\" is no date like 2026-10-01", STR_FMT(since));
    load_groups(l, node, t);
    t->policies = arena_array(l->arena, struct sending_policy, sections.count);
    for (size_t i = 0; i < sections.count; i++) {
        const struct config_node *section = sections.at[i];
        struct sending_policy *p = &t->policies[t->policy_count++];
        *p = (struct sending_policy){
            .name = config_title(section),
            .priority = (uint32_t)config_integer(section, "priority"),
            .external_per_hour = (uint32_t)config_integer(section, "external-per-hour"),
            .internal_per_hour = (uint32_t)config_integer(section, "internal-per-hour"),
            .per_day = (uint32_t)config_integer(section, "per-day"),
            .per_minute = (uint32_t)config_integer(section, "per-minute"),
            .per_message = (uint32_t)config_integer(section, "per-message"),
            .action = (enum limit_action)config_enum(section, "action"),
            .forwarding = (enum forwarding)config_enum(section, "forwarding"),
        };
        load_scope(l, section, t, p);
    }
}
