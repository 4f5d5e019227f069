/* The `policy` and `group` sections of a tenant and its licences, and what is wrong with them. */
#include "base/clock.h"
#include "mail/address.h"
#include "policy/load.h"
#include <stdlib.h>

static const char *const action_words[] = {"alert", "restrict-today", "restrict", NULL};
static const char *const forwarding_words[] = {"automatic", "off", "on", NULL};

const struct config_option sending_options[] = {
    {.name = "priority",
     .kind = CONFIG_INTEGER,
     .preset = "100",
     .max = 1000,
     .doc = "Of several policies that apply the one with the least number counts; the one titled `default` "
            "applies to everybody and comes last."},
    {.name = "senders", .kind = CONFIG_LIST, .doc = "Addresses in From that it applies to."},
    {.name = "groups",
     .kind = CONFIG_LIST,
     .doc =
         "Groups (`group`) whose members it applies to. Of the kinds of condition that are given each must "
         "fit."},
    {.name = "domains", .kind = CONFIG_LIST, .doc = "Domains of From that it applies to."},
    {.name = "external-per-hour",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .doc = "Recipients outside of the tenant a sender may have in an hour; 0 is the service's default."},
    {.name = "internal-per-hour",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .doc = "Recipients inside of the tenant a sender may have in an hour; 0 is the service's default."},
    {.name = "per-day",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .doc = "Recipients a sender may have in 24 hours; 0 is the service's default."},
    {.name = "per-minute",
     .kind = CONFIG_INTEGER,
     .preset = "0",
     .max = 10000,
     .doc = "Messages a sender may send in a minute; 0 is the service's default."},
    {.name = "per-message",
     .kind = CONFIG_INTEGER,
     .preset = "500",
     .min = 1,
     .max = 1000,
     .doc = "Recipients that one message may have."},
    {.name = "action",
     .kind = CONFIG_ENUM,
     .preset = "restrict-today",
     .words = action_words,
     .doc = "What happens to a sender over a limit."},
    {.name = "forwarding",
     .kind = CONFIG_ENUM,
     .preset = "automatic",
     .words = forwarding_words,
     .doc = "May mail be forwarded to addresses outside of the tenant's domains? `automatic` is `off`. The "
            "policy that applies to the address that forwards counts; without one, it may."},
    {.name = "bcc-suspicious",
     .kind = CONFIG_STRING,
     .preset_doc = "nobody",
     .doc = "Address that gets a copy of mail that is judged spam, or whose sender is suspicious; the other "
            "recipients don't see it."},
    {.name = "notify",
     .kind = CONFIG_LIST,
     .doc = "Addresses that are told when a sender is restricted, beside the administrators."},
    PATTERN_SIGNS(PATTERN_POLICY_OPTION){.kind = CONFIG_END},
};

const struct config_option group_options[] = {
    {.name = "members", .kind = CONFIG_LIST, .doc = "Addresses of its members."},
    {.kind = CONFIG_END},
};

const struct config_option limits_options[] = {
    {.name = "apply",
     .kind = CONFIG_BOOL,
     .preset = "true",
     .doc =
         "Count what is sent, and refuse what is over a limit. Without, only who is restricted is refused."},
    {.name = "senders",
     .kind = CONFIG_INTEGER,
     .preset = "1000000",
     .min = 1000,
     .max = 100000000,
     .doc = "How many senders can be counted at a time: 125 bytes of memory for each that sends, 5 for each "
            "that "
            "could. Mail of more senders has to wait (451 4.3.2)."},
    {.kind = CONFIG_END},
};

static unsigned char folded(char c) { return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c); }

int address_order(const void *x, const void *y) {
    const struct str *a = x, *b = y;
    size_t len = a->len < b->len ? a->len : b->len;
    for (size_t i = 0; i < len; i++)
        if (folded(a->at[i]) != folded(b->at[i]))
            return folded(a->at[i]) < folded(b->at[i]) ? -1 : 1;
    return a->len < b->len ? -1 : a->len > b->len;
}

/* The addresses of a list option, in order; a wrong one is reported and left out. */
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
    if (*ret_count)
        qsort(addresses, *ret_count, sizeof *addresses, address_order);
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

static void load_bcc(struct loading *l, const struct config_node *node, struct sending_policy *p) {
    struct str address = config_string(node, "bcc-suspicious");
    p->bcc_suspicious = STR("");
    if (!address.len)
        return;
    struct str normal = address_normal(l->arena, address);
    if (!normal.at || !address_split(normal).domain.len)
        config_complain(l->errors, node, "bcc-suspicious", "\"%.*s\" is no mail address", STR_FMT(address));
    else
        p->bcc_suspicious = normal;
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
            .suspicion = pattern_actions_load(section, &l->policy->detection.actions),
        };
        load_scope(l, section, t, p);
        p->notify = load_addresses(l, section, "notify", &p->notify_count);
        load_bcc(l, section, p);
    }
}
