#include "base/ip.h"
#include "mail/address.h"
#include "queue/route.h"
#include "queue/settings.h"

static const char *const ehlo_words[] = {"pool", "site", "ptr", NULL};

const struct config_option delivery_options[] = {
    {.name = "port",
     .kind = CONFIG_INTEGER,
     .preset = "25",
     .min = 1,
     .max = 65535,
     .doc = "Port of the receivers found by MX."},
    {.name = "first-retry",
     .kind = CONFIG_DURATION,
     .preset = "5min",
     .min = 1000,
     .max = INT64_C(86400000),
     .doc = "Wait before the second try; each later wait is twice as long, up to `max-retry`."},
    {.name = "max-retry",
     .kind = CONFIG_DURATION,
     .preset = "1h",
     .min = 1000,
     .max = INT64_C(7) * 86400000,
     .doc = "The longest wait between two tries."},
    {.name = "expire",
     .kind = CONFIG_DURATION,
     .preset = "24h",
     .min = 1000,
     .max = INT64_C(30) * 86400000,
     .doc = "Mail that could not be delivered for so long is returned."},
    {.name = "connections",
     .kind = CONFIG_INTEGER,
     .preset = "20",
     .min = 1,
     .max = 10000,
     .doc = "Connections to one receiver at a time, for each pool."},
    {.name = "messages-per-connection",
     .kind = CONFIG_INTEGER,
     .preset = "100",
     .min = 1,
     .max = 1000000,
     .doc = "Messages sent on a connection before it is closed."},
    {.name = "recipients-per-transaction",
     .kind = CONFIG_INTEGER,
     .preset = "50",
     .min = 1,
     .max = 1000,
     .doc = "Recipients of one message that are sent together."},
    {.name = "allow-private",
     .kind = CONFIG_BOOL,
     .preset = "false",
     .doc = "Deliver to private and loopback addresses found by MX too."},
    {.kind = CONFIG_END},
};

const struct config_option destination_options[] = {
    {.name = "mx",
     .kind = CONFIG_LIST,
     .doc = "Names of MX hosts, or `*.domain` for all below a domain: domains with such an MX share this "
            "destination's limits."},
    {.name = "domains",
     .kind = CONFIG_LIST,
     .doc = "Recipient domains, or `*.domain`, that this destination is for, whatever their MX."},
    {.name = "route",
     .kind = CONFIG_STRING,
     .preset_doc = "by MX",
     .doc = "`host:port` that takes the mail instead of the MX hosts."},
    {.name = "ehlo",
     .kind = CONFIG_STRING,
     .preset_doc = "as the pool says",
     .doc = "Name in EHLO: `site`, `ptr`, or a name."},
    {.name = "connections",
     .kind = CONFIG_INTEGER,
     .preset_doc = "as in `delivery`",
     .min = 1,
     .max = 10000,
     .doc = "Connections at a time, for each pool."},
    {.name = "messages-per-connection",
     .kind = CONFIG_INTEGER,
     .preset_doc = "as in `delivery`",
     .min = 1,
     .max = 1000000,
     .doc = "Messages sent on a connection before it is closed."},
    {.kind = CONFIG_END},
};

struct delivery_settings delivery_load(const struct config_node *root, struct config_errors *errors) {
    const struct config_node *node = config_section_or_empty(root, "delivery");
    struct delivery_settings settings = {
        .port = (uint16_t)config_integer(node, "port"),
        .first_retry_ms = config_duration_ms(node, "first-retry"),
        .max_retry_ms = config_duration_ms(node, "max-retry"),
        .expire_ms = config_duration_ms(node, "expire"),
        .connections = (unsigned)config_integer(node, "connections"),
        .messages_per_connection = (unsigned)config_integer(node, "messages-per-connection"),
        .recipients_per_transaction = (unsigned)config_integer(node, "recipients-per-transaction"),
        .allow_private = config_bool(node, "allow-private"),
    };
    if (settings.first_retry_ms > settings.max_retry_ms)
        config_complain(errors, node, config_has(node, "max-retry") ? "max-retry" : "first-retry",
                        "first-retry is longer than max-retry");
    if (settings.max_retry_ms > settings.expire_ms && config_has(node, "expire") &&
        config_has(node, "max-retry"))
        config_warn(errors, node, "expire", "expire is shorter than max-retry");
    return settings;
}

/* Names with an optional "*." in front, as lower-case A-labels. */
static const struct str *load_patterns(struct arena *arena, const struct config_node *node,
                                       const char *option, size_t *ret_count, struct config_errors *errors) {
    struct config_list list = config_list(node, option);
    struct str *names = arena_array(arena, struct str, list.count);
    size_t count = 0;
    for (size_t i = 0; i < list.count; i++) {
        struct str written = list.at[i], name;
        bool below = str_starts(written, STR("*."));
        if (domain_normal(arena, below ? str_from_index(written, 2) : written, &name) < 0 ||
            domain_is_literal(name)) {
            config_complain(errors, node, option, "\"%.*s\" is no host name; allowed are names and *.names",
                            STR_FMT(written));
            continue;
        }
        names[count++] = below ? str_printf(arena, "*.%.*s", STR_FMT(name)) : name;
    }
    *ret_count = count;
    return names;
}

static void load_ehlo(struct arena *arena, const struct config_node *node, struct destination_settings *to,
                      struct config_errors *errors) {
    struct str written = config_string(node, "ehlo");
    struct ip address;
    if (!written.len)
        return;
    for (int i = 0; ehlo_words[i]; i++)
        if (str_eq(written, str_of(ehlo_words[i]))) {
            to->ehlo = (enum ehlo_choice)i;
            return;
        }
    if (str_index(written, '.') < 0 || domain_normal(arena, written, &to->ehlo_name) < 0 ||
        domain_is_literal(to->ehlo_name) || ip_parse(to->ehlo_name, &address)) {
        config_complain(errors, node, "ehlo", "ehlo is \"%.*s\"; allowed are site, ptr or a full host name",
                        STR_FMT(written));
        return;
    }
    to->ehlo = EHLO_NAME;
}

static struct destination_settings load_destination(struct arena *arena, const struct config_node *node,
                                                    struct config_errors *errors) {
    struct destination_settings to = {.name = str_copy(arena, config_title(node))};
    to.mx = load_patterns(arena, node, "mx", &to.mx_count, errors);
    to.domains = load_patterns(arena, node, "domains", &to.domain_count, errors);
    if (!config_has(node, "mx") && !config_has(node, "domains"))
        config_complain(errors, node, NULL, "destination \"%.*s\" needs mx or domains", STR_FMT(to.name));
    to.route = str_copy(arena, config_string(node, "route"));
    struct str host;
    uint16_t port;
    if (to.route.len && !route_parse_via(to.route, 25, &host, &port))
        config_complain(errors, node, "route", "route is \"%.*s\"; write host:port or [IPv6]:port",
                        STR_FMT(to.route));
    load_ehlo(arena, node, &to, errors);
    if (config_has(node, "connections"))
        to.connections = (unsigned)config_integer(node, "connections");
    if (config_has(node, "messages-per-connection"))
        to.messages_per_connection = (unsigned)config_integer(node, "messages-per-connection");
    return to;
}

struct destinations destinations_load(struct arena *arena, const struct config_node *root,
                                      struct config_errors *errors) {
    struct config_sections sections = config_sections(root, "destination");
    struct destination_settings *at = arena_array(arena, struct destination_settings, sections.count);
    for (size_t i = 0; i < sections.count; i++)
        at[i] = load_destination(arena, sections.at[i], errors);
    return (struct destinations){at, sections.count};
}
