/* From the configuration's tree to struct policy, with every problem named by file and line. */
#include "policy/load.h"
#include "base/error.h"
#include "base/map.h"
#include "mail/address.h"
#include "policy/passwd.h"
#include "pool/pool.h"

/* "host:port", the port optional; a literal IPv6 address stands in brackets. */
static bool parse_host_port(struct arena *arena, struct str text, struct str *ret_host, uint16_t *ret_port) {
    struct ip ip;
    char literal[IP_TEXT_SIZE];
    if (ip_parse_port(text, 25, &ip, ret_port)) {
        *ret_host = str_copy(arena, str_of(ip_text(&ip, literal)));
        return *ret_port != 0;
    }
    ptrdiff_t colon = str_rindex(text, ':');
    uint64_t port = 25;
    struct str host = colon < 0 ? text : str_head(text, (size_t)colon);
    if (colon >= 0 && (!str_to_u64(str_from_index(text, (size_t)colon + 1), &port) || !port || port > 65535))
        return false;
    *ret_port = (uint16_t)port;
    return !domain_is_literal(host) && domain_normal(arena, host, ret_host) == 0;
}

static void load_addresses(struct loading *l, const struct config_node *node, struct connector *c) {
    struct config_list list = config_list(node, "addresses");
    c->addresses = arena_array(l->arena, struct ip_range, list.count);
    for (size_t i = 0; i < list.count; i++) {
        int error = ip_range_parse(list.at[i], &c->addresses[c->address_count]);
        if (error == SLUICE_EINVALID)
            config_complain(l->errors, node, "addresses",
                            "\"%.*s\" is no network: bits right of the prefix are set, or it runs backwards",
                            STR_FMT(list.at[i]));
        else if (error)
            config_complain(l->errors, node, "addresses",
                            "\"%.*s\" is no address, range (a-b) or network (a/prefix)", STR_FMT(list.at[i]));
        else
            c->address_count++;
    }
}

static void load_skip(struct loading *l, const struct config_node *node, struct connector *c) {
    struct config_list list = config_list(node, "skip");
    c->skip = arena_array(l->arena, struct ip_range, list.count);
    for (size_t i = 0; i < list.count; i++) {
        if (str_eq(list.at[i], STR("last")))
            c->skip_last = true;
        else if (ip_range_parse(list.at[i], &c->skip[c->skip_count]) == 0)
            c->skip_count++;
        else
            config_complain(l->errors, node, "skip",
                            "\"%.*s\" is no address, range or network, and not \"last\"",
                            STR_FMT(list.at[i]));
    }
    if (c->skip_last && list.count > 1)
        config_complain(l->errors, node, "skip", "\"last\" stands alone: it is exactly one hop");
}

/* Senders are counted and restricted by names such as "connector/TENANT/NAME/mailbox", whatever the case
 * (limits/sender_name.h): two must not make one. `before`: those that came first. */
static void check_title(struct loading *l, const struct config_node *node, const char *what,
                        struct map *before) {
    struct str title = config_title(node);
    const struct config_node *other = map_put(before, title, (void *)(uintptr_t)node);
    if (str_index(title, '/') >= 0 || str_index(title, '@') >= 0)
        config_complain(l->errors, node, NULL, "the name of a %s can't hold \"/\" or \"@\": \"%.*s\"", what,
                        STR_FMT(title));
    if (other)
        config_complain(l->errors, node, NULL, "\"%.*s\" differs from the %s \"%.*s\" in case only",
                        STR_FMT(title), what, STR_FMT(config_title(other)));
}

static void load_connector(struct loading *l, const struct config_node *node, struct connector *c) {
    struct str deliver = config_string(node, "deliver");
    c->name = config_title(node);
    c->trust_verdict = config_bool(node, "trust-verdict");
    c->srs = config_bool(node, "srs");
    load_skip(l, node, c);
    load_addresses(l, node, c);
    load_certificate(l, node, c);
    if (deliver.len && !parse_host_port(l->arena, deliver, &c->deliver_host, &c->deliver_port)) {
        config_complain(l->errors, node, "deliver", "deliver: \"%.*s\" is not \"host:port\"",
                        STR_FMT(deliver));
        c->deliver_host = STR("");
    }
    if (c->srs && !c->deliver_host.len)
        config_warn(l->errors, node, "srs", "srs has no effect while the connector has no `deliver`");
    if (c->trust_verdict && !l->policy->spam_header.name.len && !l->policy->malware_header.name.len)
        config_warn(l->errors, node, "trust-verdict",
                    "trust-verdict has no effect while verdict has no header");
}

static void load_domains(struct loading *l, const struct config_node *node, struct tenant *t) {
    struct config_list list = config_list(node, "domains");
    t->domains = arena_array(l->arena, struct str, list.count);
    for (size_t i = 0; i < list.count; i++) {
        struct str domain;
        if (domain_is_literal(list.at[i]) || domain_normal(l->arena, list.at[i], &domain) != 0) {
            config_complain(l->errors, node, "domains", "\"%.*s\" is no domain", STR_FMT(list.at[i]));
            continue;
        }
        const struct tenant *owner = map_get(l->policy->by_domain, domain);
        if (owner) {
            config_complain(l->errors, node, "domains",
                            owner == t ? "\"%.*s\" stands here twice"
                                       : "\"%.*s\" is an accepted domain of tenant \"%.*s\" already",
                            STR_FMT(list.at[i]), STR_FMT(owner->name));
            continue;
        }
        map_put(l->policy->by_domain, domain, t);
        t->domains[t->domain_count++] = domain;
    }
}

static void load_users(struct loading *l, const struct config_node *node, struct tenant *t) {
    struct str path = config_string(node, "users"), why;
    if (path.len && t->domain_count &&
        passwd_open(config_path(l->arena, node, "users", l->checks->state), t->domains[0], l->arena, &why,
                    &t->users) != 0)
        config_complain(l->errors, node, "users", "users: %.*s", STR_FMT(why));
}

/* The pool exists, and carries the class wherever one of its name stands. */
static void check_pool(struct loading *l, const struct config_node *node, enum mail_class class,
                       struct str name) {
    const struct pools *pools = l->checks->pools;
    const char *option = mail_class_name(class);
    bool found = false;
    for (size_t i = 0; i < pools->pool_count; i++) {
        const struct pool *pool = &pools->pools[i];
        if (!str_eq(pool->name, name))
            continue;
        found = true;
        if (pool_carries(pool, class))
            continue;
        config_complain(l->errors, node, option, "pool \"%.*s\" does not carry %s mail", STR_FMT(name),
                        option);
        return;
    }
    if (!found)
        config_complain(l->errors, node, option, "there is no pool \"%.*s\"", STR_FMT(name));
}

static void load_pools(struct loading *l, const struct config_node *node, struct tenant *t) {
    const struct config_node *pools = config_section(node, "pools");
    for (int class = 0; class < MAIL_CLASS_COUNT; class ++) {
        t->pools[class] = STR("");
        struct str name = pools ? config_string(pools, mail_class_name((enum mail_class) class)) : STR_NULL;
        if (!name.len)
            continue;
        t->pools[class] = name;
        if (l->checks->pools)
            check_pool(l, pools, (enum mail_class) class, name);
    }
}

static void load_connectors(struct loading *l, const struct config_node *node, struct tenant *t) {
    struct config_sections connectors = config_sections(node, "connector");
    struct map *titles = map_new(true);
    t->connectors = arena_array(l->arena, struct connector, connectors.count);
    for (size_t i = 0; i < connectors.count; i++) {
        struct connector *c = &t->connectors[t->connector_count++];
        c->tenant = t;
        check_title(l, connectors.at[i], "connector", titles);
        load_connector(l, connectors.at[i], c);
        c->limits = config_has(connectors.at[i], "limits") ? config_bool(connectors.at[i], "limits")
                                                           : config_sections(node, "policy").count > 0;
    }
    map_free(titles);
}

static void load_tenant(struct loading *l, const struct config_node *node, struct map *titles,
                        struct tenant *t) {
    t->name = config_title(node);
    check_title(l, node, "tenant", titles);
    load_domains(l, node, t);
    load_users(l, node, t);
    load_connectors(l, node, t);
    int failure = config_enum(node, "on-failure");
    t->on_failure = failure < 0 ? l->policy->on_failure : (enum verdict_failure)failure;
    load_pools(l, node, t);
    limit_load(l, node, t);
}

static bool field_name(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] <= 32 || s.at[i] >= 127)
            return false;
    return s.len > 0;
}

/* "Name: value" */
static struct verdict_header verdict_header(struct loading *l, const struct config_node *node,
                                            const char *option) {
    struct str header = config_string(node, option);
    ptrdiff_t colon = str_index(header, ':');
    struct verdict_header mark = {str_trim(str_head(header, colon < 0 ? 0 : (size_t)colon)),
                                  str_trim(str_from_index(header, (size_t)(colon + 1)))};
    if (header.len && field_name(mark.name) && mark.value.len)
        return mark;
    if (header.len)
        config_complain(l->errors, node, option, "%s: \"%.*s\" is not \"Name: value\"", option,
                        STR_FMT(header));
    return (struct verdict_header){STR(""), STR("")};
}

static void load_verdict(struct loading *l, const struct config_node *root) {
    const struct config_node *node = config_section_or_empty(root, "verdict");
    struct policy *p = l->policy;
    p->on_failure = (enum verdict_failure)config_enum(node, "on-failure");
    p->spam_header = verdict_header(l, node, "header");
    p->malware_header = verdict_header(l, node, "malware-header");
}

struct policy *policy_load(struct arena *arena, const struct config_node *root,
                           const struct policy_checks *checks, struct config_errors *errors) {
    struct policy *policy = arena_new_of(arena, struct policy);
    struct loading l = {arena, checks, errors, policy};
    struct config_sections tenants = config_sections(root, "tenant");
    policy->by_domain = map_new(true);
    policy->by_forward = map_new(true);
    policy->by_srs = map_new(true);
    policy->aaaa = config_bool(config_section_or_empty(root, "classify"), "aaaa");
    policy->relay_dkim = config_bool(config_section_or_empty(root, "relay"), "dkim");
    policy->relay_spf = config_bool(config_section_or_empty(root, "relay"), "spf");
    policy->limits.apply = config_bool(config_section_or_empty(root, "limits"), "apply");
    policy->limits.senders = (uint32_t)config_integer(config_section_or_empty(root, "limits"), "senders");
    policy->detection = pattern_rules_load(config_section_or_empty(root, "detection"));
    load_verdict(&l, root);
    policy->tenants = arena_array(arena, struct tenant, tenants.count);
    struct map *titles = map_new(true);
    for (size_t i = 0; i < tenants.count; i++)
        load_tenant(&l, tenants.at[i], titles, &policy->tenants[policy->tenant_count++]);
    map_free(titles);
    srs_load(&l, root);
    for (size_t i = 0; i < tenants.count; i++) {
        signing_load(&l, tenants.at[i], &policy->tenants[i]);
        forward_load(&l, tenants.at[i], &policy->tenants[i]);
    }
    for (size_t i = 0; i < tenants.count; i++)
        forward_check(&l, tenants.at[i], &policy->tenants[i]);
    return policy;
}
