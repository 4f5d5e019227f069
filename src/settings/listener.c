#include "base/error.h"
#include "settings/load.h"
#include "spool/spool.h"

const struct endpoint *settings_endpoints(struct loading *l, const struct config_node *node,
                                          size_t *ret_count) {
    struct config_list list = config_list(node, "bind");
    struct endpoint *at = arena_array(l->arena, struct endpoint, list.count);
    *ret_count = 0;
    for (size_t i = 0; i < list.count; i++) {
        struct endpoint *e = &at[*ret_count];
        if (ip_parse_port(list.at[i], 0, &e->ip, &e->port) && e->port != 0)
            ++*ret_count;
        else
            config_complain(l->errors, node, "bind",
                            "`%.*s` is not address:port, such as 192.0.2.1:25 or [::]:465",
                            STR_FMT(list.at[i]));
    }
    return at;
}

static bool is_wildcard(const struct ip *ip) {
    struct ip any;
    return ip_parse(ip_is_v4(ip) ? STR("0.0.0.0") : STR("::"), &any) && ip_eq(ip, &any);
}

/* Can't be open both: the same address, or one stands for all of the family. */
static bool conflict(const struct endpoint *a, const struct endpoint *b) {
    return a->port == b->port && ip_is_v4(&a->ip) == ip_is_v4(&b->ip) &&
           (ip_eq(&a->ip, &b->ip) || is_wildcard(&a->ip) || is_wildcard(&b->ip));
}

static void check_tls(struct loading *l, const struct config_node *node, const struct listener *at) {
    bool loopback = true;
    for (size_t i = 0; i < at->bind_count; i++)
        loopback &= ip_is_loopback(&at->bind[i].ip);
    if (at->tls != LISTENER_TLS_NONE && !config_has(l->root, "tls"))
        config_complain(l->errors, node, "tls",
                        "listener `%.*s` has TLS, but there is no section `tls { ... }`", STR_FMT(at->name));
    if (at->auth != LISTENER_AUTH_NONE && at->tls < LISTENER_TLS_REQUIRED && !loopback)
        config_warn(l->errors, node, config_has(node, "tls") ? "tls" : "auth",
                    "listener `%.*s` takes passwords without TLS", STR_FMT(at->name));
}

static bool read_accept(struct loading *l, const struct config_node *node, const struct listener *at) {
    struct config_list list = config_list(node, "accept");
    bool forward = false;
    for (size_t i = 0; i < list.count; i++) {
        if (!str_eq(list.at[i], STR("forward")))
            config_complain(l->errors, node, "accept", "`%.*s` is nothing that can be accepted: `forward` is",
                            STR_FMT(list.at[i]));
        forward = true;
    }
    if (forward && at->auth == LISTENER_AUTH_REQUIRED)
        config_complain(l->errors, node, "accept",
                        "listener `%.*s` can't take mail from outside while `auth = required`",
                        STR_FMT(at->name));
    return forward;
}

/* The smallest disk-limit, from `limit` up, with which the spool can hold a body of this size; 0: none can.
 */
static int64_t least_disk_limit(int64_t limit, int64_t size) {
    const int64_t STEP = 64 << 20;
    if ((int64_t)spool_largest_body(&(struct spool_options){0}) < size)
        return 0;
    limit = limit / STEP * STEP;
    while ((int64_t)spool_largest_body(&(struct spool_options){.disk_limit = (uint64_t)limit}) < size ||
           !limit)
        limit += STEP;
    return limit;
}

static void check_size(struct loading *l, const struct config_node *node, int64_t size) {
    int64_t limit = l->settings->spool.disk_limit, least = least_disk_limit(limit, size);
    int64_t most = (int64_t)spool_largest_body(&(struct spool_options){.disk_limit = (uint64_t)limit});
    if (size <= most)
        return;
    if (!least)
        config_complain(l->errors, node, "max-size",
                        "`max-size` is %lld bytes, but the spool can hold %lld at most", (long long)size,
                        (long long)most);
    else
        config_complain(l->errors, node, "max-size",
                        "`max-size` is %lld bytes, but with this `disk-limit` of the spool %lld is the most: "
                        "make it smaller, or `disk-limit` at least %lldmb",
                        (long long)size, (long long)most, (long long)(least >> 20));
}

/* Addresses, ranges and networks. What is wrong is reported and left out. */
static const struct ip_range *read_ranges(struct loading *l, const struct config_node *node,
                                          const char *option, size_t *ret_count) {
    struct config_list list = config_list(node, option);
    struct ip_range *at = arena_array(l->arena, struct ip_range, list.count);
    *ret_count = 0;
    for (size_t i = 0; i < list.count; i++) {
        int error = ip_range_parse(list.at[i], &at[*ret_count]);
        if (error)
            config_complain(
                l->errors, node, option,
                error == SLUICE_EINVALID
                    ? "`%.*s` is no network: bits right of the prefix are set, or it runs backwards"
                    : "`%.*s` is no address, range (a-b) or network (a/prefix)",
                STR_FMT(list.at[i]));
        else
            ++*ret_count;
    }
    return at;
}

static void read_listener(struct loading *l, const struct config_node *node, struct listener *at) {
    int tls = config_enum(node, "tls");
    if (tls < 0)
        tls = config_has(l->root, "tls") ? LISTENER_TLS_OPPORTUNISTIC : LISTENER_TLS_NONE;
    *at = (struct listener){
        .name = config_title(node),
        .tls = (enum listener_tls)tls,
        .auth = (enum listener_auth)config_enum(node, "auth"),
        .max_size = config_size(node, "max-size"),
        .max_recipients = (unsigned)config_integer(node, "max-recipients"),
        .max_connections = (unsigned)config_integer(node, "max-connections"),
        .max_connections_per_client = (unsigned)config_integer(node, "max-connections-per-client"),
        .max_commands = (unsigned)config_integer(node, "max-commands"),
        .max_errors = (unsigned)config_integer(node, "max-errors"),
        .timeout_ms = config_duration_ms(node, "timeout"),
        .data_timeout_ms = config_duration_ms(node, "data-timeout"),
        .min_rate = (unsigned)config_size(node, "min-rate"),
    };
    at->accept_forward = read_accept(l, node, at);
    at->bind = settings_endpoints(l, node, &at->bind_count);
    at->proxy = read_ranges(l, node, "proxy", &at->proxy_count);
    at->xforward = read_ranges(l, node, "xforward", &at->xforward_count);
    check_tls(l, node, at);
    check_size(l, node, at->max_size);
}

/* Each against all that stand before it. */
static void check_conflicts(struct loading *l, const struct config_node *node, const char *what,
                            const struct endpoint *mine, size_t count, size_t before) {
    const struct settings *s = l->settings;
    for (size_t i = 0; i < count; i++) {
        char text[IP_TEXT_SIZE];
        for (size_t j = 0; j < i; j++)
            if (conflict(&mine[i], &mine[j]))
                config_complain(l->errors, node, "bind", "%s binds %s port %u twice", what,
                                ip_text(&mine[i].ip, text), mine[i].port);
        for (size_t j = 0; j < before; j++)
            for (size_t k = 0; k < s->listeners[j].bind_count; k++)
                if (conflict(&mine[i], &s->listeners[j].bind[k]))
                    config_complain(l->errors, node, "bind",
                                    "%s binds %s port %u, which listener `%.*s` has already", what,
                                    ip_text(&mine[i].ip, text), mine[i].port, STR_FMT(s->listeners[j].name));
    }
}

void settings_listeners(struct loading *l) {
    struct config_sections nodes = config_sections(l->root, "listener");
    struct listener *at = arena_array(l->arena, struct listener, nodes.count);
    const struct config_node *api = config_section_or_empty(l->root, "api");
    l->settings->listeners = at;
    l->settings->listener_count = nodes.count;
    for (size_t i = 0; i < nodes.count; i++) {
        struct str what = str_printf(l->arena, "listener `%.*s`", STR_FMT(config_title(nodes.at[i])));
        read_listener(l, nodes.at[i], &at[i]);
        check_conflicts(l, nodes.at[i], what.at, at[i].bind, at[i].bind_count, i);
    }
    l->settings->api.bind = settings_endpoints(l, api, &l->settings->api.bind_count);
    check_conflicts(l, api, "`api`", l->settings->api.bind, l->settings->api.bind_count, nodes.count);
    if (nodes.count == 0)
        config_warn(l->errors, l->root, NULL, "there is no listener: no mail comes in by SMTP");
}
