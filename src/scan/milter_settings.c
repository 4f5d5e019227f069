#include "scan/milter_settings.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

static const char *const FAILURE_WORDS[] = {"defer", "accept", "reject", NULL};

const struct config_option milter_options[] = {
    {.name = "socket",
     .kind = CONFIG_STRING,
     .required = true,
     .doc = "Where it listens, as Sendmail or Postfix write it: `inet:8891@127.0.0.1`, "
            "`inet:127.0.0.1:8891`, `unix:/run/opendkim/opendkim.sock`."},
    {.name = "on-failure",
     .kind = CONFIG_ENUM,
     .preset = "defer",
     .words = FAILURE_WORDS,
     .doc =
         "What becomes of mail while it can't be reached, is too slow or answers nonsense: 451 4.7.1, taken "
         "as if there were no such milter, or 550 5.7.1."},
    {.name = "listeners",
     .kind = CONFIG_LIST,
     .preset_doc = "all listeners",
     .doc = "The listeners whose sessions it sees."},
    {.name = "api",
     .kind = CONFIG_BOOL,
     .preset = "on",
     .doc = "Whether it sees what comes in by the API's socket (`sluice send`, `sendmail`), too."},
    {.name = "connect-timeout",
     .kind = CONFIG_DURATION,
     .preset = "30s",
     .min = 100,
     .max = 10 * MINUTE,
     .doc = "How long connecting to it, and agreeing on the protocol, may take."},
    {.name = "timeout",
     .kind = CONFIG_DURATION,
     .preset = "30s",
     .min = 100,
     .max = 10 * MINUTE,
     .doc = "How long it may take to answer a command."},
    {.name = "message-timeout",
     .kind = CONFIG_DURATION,
     .preset = "5min",
     .min = 100,
     .max = HOUR,
     .doc = "How long it may be silent while it has the message; clients wait ten minutes for the reply to "
            "their data (RFC 5321 4.5.3.2.6)."},
    {.kind = CONFIG_END},
};

/* "port@host" as "host:port". */
static struct str sendmail_order(struct arena *arena, struct str text, bool v6) {
    ptrdiff_t at = str_index(text, '@');
    if (at < 0)
        return text;
    struct str port = str_head(text, (size_t)at), host = str_from_index(text, (size_t)at + 1);
    uint64_t number;
    if (!str_to_u64(port, &number))
        return STR("");
    bool bare = (v6 || str_index(host, ':') >= 0) && !str_starts(host, STR("["));
    struct ip ip;
    return bare && ip_parse(host, &ip) ? str_printf(arena, "[%.*s]:%.*s", STR_FMT(host), STR_FMT(port))
                                       : str_printf(arena, "%.*s:%.*s", STR_FMT(host), STR_FMT(port));
}

bool milter_socket_parse(struct arena *arena, struct str text, struct scan_endpoint *ret) {
    ptrdiff_t colon = str_index(text, ':');
    struct str kind = colon < 0 ? STR("") : str_head(text, (size_t)colon);
    struct str rest = str_from_index(text, (size_t)(colon + 1));
    if (str_starts(text, STR("/")))
        kind = STR("unix"), rest = text;
    if (str_eq(kind, STR("unix")) || str_eq(kind, STR("local")))
        return str_starts(rest, STR("/")) && scan_endpoint_parse(arena, rest, 0, ret);
    bool v6 = str_eq(kind, STR("inet6"));
    if (!v6 && !str_eq(kind, STR("inet")))
        return false;
    rest = sendmail_order(arena, rest, v6);
    return !str_starts(rest, STR("/")) && scan_endpoint_parse(arena, rest, 0, ret) && !ret->path;
}

static void check_listeners(const struct config_node *root, const struct config_node *node,
                            struct config_errors *errors) {
    struct config_list names = config_list(node, "listeners");
    struct config_sections known = config_sections(root, "listener");
    for (size_t i = 0; i < names.count; i++) {
        bool found = false;
        for (size_t j = 0; j < known.count && !found; j++)
            found = str_eq(config_title(known.at[j]), names.at[i]);
        if (!found)
            config_complain(errors, node, "listeners", "there is no listener `%.*s`", STR_FMT(names.at[i]));
    }
}

struct milters_settings milters_load(struct arena *arena, const struct config_node *root,
                                     struct config_errors *errors) {
    struct config_sections nodes = config_sections(root, "milter");
    struct milter_settings *list = arena_array(arena, struct milter_settings, nodes.count);
    for (size_t i = 0; i < nodes.count; i++) {
        const struct config_node *node = nodes.at[i];
        struct config_list listeners = config_list(node, "listeners");
        struct str socket = config_string(node, "socket");
        list[i] = (struct milter_settings){
            .name = config_title(node),
            .on_failure = (enum milter_on_failure)config_enum(node, "on-failure"),
            .connect_ms = config_duration_ms(node, "connect-timeout"),
            .command_ms = config_duration_ms(node, "timeout"),
            .message_ms = config_duration_ms(node, "message-timeout"),
            .listeners = listeners.at,
            .listener_count = listeners.count,
            .api = config_bool(node, "api"),
        };
        if (socket.at && !milter_socket_parse(arena, socket, &list[i].endpoint))
            config_complain(errors, node, "socket",
                            "`%.*s` is no socket of a milter: inet:8891@127.0.0.1, inet:127.0.0.1:8891 or "
                            "unix:/run/opendkim/opendkim.sock",
                            STR_FMT(socket));
        check_listeners(root, node, errors);
    }
    return (struct milters_settings){list, nodes.count};
}

bool milter_applies(const struct milter_settings *m, struct str listener) {
    if (!listener.len)
        return m->api;
    for (size_t i = 0; i < m->listener_count; i++)
        if (str_eq(m->listeners[i], listener))
            return true;
    return !m->listener_count;
}
