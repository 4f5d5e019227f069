#include "settings/load.h"
#include "base/error.h"
#include "mail/address.h"
#include "policy/certificate.h"
#include "rt/stream.h"
#include "rt/zone_file.h"
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* What settings_load hands out: the settings, and what keeps them alive. */
struct holder {
    struct settings settings; /* first: settings_ref gets its address */
    struct arena *arena;
    struct policy *policy;
    atomic_uint references;
};

/* ---- the root's own options ---- */

static void read_node(struct loading *l) {
    struct settings *s = l->settings;
    char host[HOST_NAME_MAX + 1] = "";
    struct str name = config_string(l->root, "node"), normal;
    if (!name.len && gethostname(host, sizeof host - 1) == 0)
        name = str_of(host);
    s->node = STR("localhost");
    if (domain_normal(l->arena, name, &normal) != 0 || !pool_host_name_valid(normal)) {
        config_complain(l->errors, l->root, "node", "`%.*s` is no host name: say node = \"mail.example.com\"",
                        STR_FMT(name));
        return;
    }
    s->node = normal;
    if (str_index(normal, '.') < 0)
        config_warn(
            l->errors, l->root, "node",
            "the node's name `%.*s` is not a full one (mail.example.com): receivers may refuse it in EHLO",
            STR_FMT(normal));
}

static void read_user(struct loading *l) {
    struct str user = config_string(l->root, "user");
    struct passwd entry, *found = NULL;
    char text[4096];
    if (!user.len)
        return;
    l->settings->user = user.at;
    int error = getpwnam_r(user.at, &entry, text, sizeof text, &found);
    if (!found && (error == 0 || error == ENOENT))
        config_complain(l->errors, l->root, "user", "there is no user `%.*s`", STR_FMT(user));
}

static void read_state(struct loading *l) {
    struct settings *s = l->settings;
    struct str state = config_string(l->root, "state");
    if (!state.len)
        config_complain(l->errors, l->root, "state", "`state` is empty");
    s->state = config_beside(l->arena, config_file(l->root, "state"), state).at;
    s->spool_dir = str_printf(l->arena, "%s/spool", s->state).at;
    s->trace_dir = str_printf(l->arena, "%s/trace", s->state).at;
    s->limits_dir = str_printf(l->arena, "%s/limits", s->state).at;
    s->keys_dir = str_printf(l->arena, "%s/keys", s->state).at;
    s->identity_dir = str_printf(l->arena, "%s/identity", s->state).at;
}

static void read_root(struct loading *l) {
    struct settings *s = l->settings;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct str file = str_of(config_file(l->root, NULL));
    s->file = config_beside(l->arena, file.at, str_from_index(file, (size_t)(str_rindex(file, '/') + 1)));
    s->here = config_string(l->root, "here");
    s->log_level = (enum log_level)config_enum(l->root, "log-level");
    s->workers = (unsigned)config_integer(l->root, "workers");
    if (!config_has(l->root, "workers"))
        s->workers = cores < 1 ? 1 : cores > 256 ? 256 : (unsigned)cores;
    read_node(l);
    read_user(l);
    read_state(l);
}

/* ---- sections ---- */

/* The file that an option names; reported when it can't be read. */
static const char *readable(struct loading *l, const struct config_node *node, const char *option) {
    const char *path = config_path(l->arena, node, option, l->settings->state);
    if (path && access(path, R_OK) != 0)
        config_complain(l->errors, node, option, "can't read %s: %s", path, strerror(errno));
    return path;
}

static void read_tls(struct loading *l) {
    const struct config_node *node = config_section(l->root, "tls");
    struct tls_files *tls = &l->settings->tls;
    struct tls_context *context = NULL;
    struct str why;
    size_t before = config_error_count(l->errors);
    if (!node)
        return;
    tls->certificate = readable(l, node, "certificate");
    tls->key = readable(l, node, "key");
    if (config_error_count(l->errors) > before || !tls->certificate || !tls->key)
        return;
    if (tls_server_context(tls->certificate, tls->key, l->arena, &why, &context) != 0)
        config_complain(l->errors, node, "key", "%.*s", STR_FMT(why));
    tls_context_free(context);
}

static bool is_server(struct str text) {
    ptrdiff_t at = str_index(text, '@');
    struct ip ip;
    uint64_t port = 53;
    bool port_ok =
        at < 0 || (str_to_u64(str_from_index(text, (size_t)at + 1), &port) && port > 0 && port < 65536);
    return port_ok && ip_parse(at < 0 ? text : str_head(text, (size_t)at), &ip);
}

/* The zone file with its content checked. */
static const char *zone_file(struct loading *l, const struct config_node *node) {
    size_t before = config_error_count(l->errors);
    const char *path = readable(l, node, "zone-file");
    struct zone_file *zone = NULL;
    struct str why;
    if (!path || config_error_count(l->errors) > before)
        return path;
    if (zone_load(path, l->arena, &why, &zone) != 0)
        config_complain(l->errors, node, "zone-file", "%.*s", STR_FMT(why));
    zone_free(zone);
    return path;
}

static void read_dns(struct loading *l) {
    const struct config_node *node = config_section_or_empty(l->root, "dns");
    struct config_list servers = config_list(node, "servers");
    for (size_t i = 0; i < servers.count; i++)
        if (!is_server(servers.at[i]))
            config_complain(l->errors, node, "servers", "`%.*s` is not IP or IP@port",
                            STR_FMT(servers.at[i]));
    l->settings->dns = (struct lookup_settings){
        .servers = servers.at,
        .server_count = servers.count,
        .zone_file = zone_file(l, node),
        .trust_anchor = readable(l, node, "trust-anchor"),
        .serve_expired_ms = config_duration_ms(node, "serve-expired"),
        .timeout_ms = config_duration_ms(node, "timeout"),
    };
}

/* The default socket depends on the configuration only, so that daemon and command line agree on it, whoever
 * runs them. */
static void read_api(struct loading *l) {
    const struct config_node *node = config_section_or_empty(l->root, "api");
    struct settings *s = l->settings;
    struct str socket = config_string(node, "socket");
    if (socket.len)
        s->api.socket = str_starts(socket, STR("/"))
                            ? socket.at
                            : str_printf(l->arena, "%s/%.*s", s->state, STR_FMT(socket)).at;
    else if (config_has(l->root, "state"))
        s->api.socket = str_printf(l->arena, "%s/api.sock", s->state).at;
    else
        s->api.socket = "/run/sluice/api.sock";
}

static void read_stores(struct loading *l) {
    const struct config_node *spool = config_section_or_empty(l->root, "spool");
    const struct config_node *trace = config_section_or_empty(l->root, "trace");
    l->settings->spool.memory = config_size(spool, "memory");
    l->settings->spool.min_free = config_size(spool, "min-free");
    l->settings->spool.disk_limit = config_size(spool, "disk-limit");
    l->settings->trace.retain_ms = config_duration_ms(trace, "retain");
}

/* ---- pools, tenants ---- */

static void read_pools(struct loading *l) {
    struct config_sections tenants = config_sections(l->root, "tenant");
    struct str *owned = arena_array(l->arena, struct str, tenants.count * MAIL_CLASS_COUNT);
    size_t count = 0;
    for (size_t i = 0; i < tenants.count; i++) {
        const struct config_node *pools = config_section_or_empty(tenants.at[i], "pools");
        for (int class = 0; class < MAIL_CLASS_COUNT; class ++) {
            struct str name = config_string(pools, mail_class_name((enum mail_class) class));
            if (name.len)
                owned[count++] = name;
        }
    }
    struct pool_options options = {
        .node = l->settings->node,
        .here = l->settings->here,
        .bindable = l->checks->bindable,
        .bindable_ctx = l->checks->bindable_ctx,
        .owned = owned,
        .owned_count = count,
    };
    l->settings->pools = pools_load(l->arena, l->root, &options, l->errors);
    for (size_t i = 0; i < l->settings->pools->site_count; i++)
        if (l->settings->pools->sites[i].here)
            l->settings->here = l->settings->pools->sites[i].name;
}

/* The files whose change may change an address. */
static void read_pool_files(struct loading *l) {
    struct config_sections sites = config_sections(l->root, "site"), pools = config_sections(l->root, "pool");
    const char **files = arena_array(l->arena, const char *, sites.count + pools.count);
    for (size_t i = 0; i < sites.count + pools.count; i++)
        files[i] = config_file(i < sites.count ? sites.at[i] : pools.at[i - sites.count], NULL);
    l->settings->pool_files = files, l->settings->pool_file_count = sites.count + pools.count;
}

/* A pool's schedule against what it takes from `delivery`. */
static void check_schedules(struct loading *l) {
    const struct delivery_settings *d = &l->settings->delivery;
    struct config_sections pools = config_sections(l->root, "pool");
    for (size_t i = 0; i < pools.count; i++) {
        const struct config_node *node = pools.at[i];
        bool first = config_has(node, "first-retry"), max = config_has(node, "max-retry");
        int64_t first_ms = first ? config_duration_ms(node, "first-retry") : d->first_retry_ms;
        int64_t max_ms = max ? config_duration_ms(node, "max-retry") : d->max_retry_ms;
        if (first != max && first_ms > max_ms)
            config_complain(l->errors, node, first ? "first-retry" : "max-retry",
                            "`first-retry` is longer than `max-retry` (one of them is that of `delivery`)");
    }
}

/* Who is told of what, and whether these mails can be signed. */
static void read_alerts(struct loading *l) {
    struct config_sections sections = config_sections(l->root, "tenant");
    struct alert_tenant *tenants = arena_array(l->arena, struct alert_tenant, sections.count);
    struct alerts_config *alerts = &l->settings->alerts;
    bool mails = false;
    for (size_t i = 0; i < sections.count; i++) {
        tenants[i].name = config_title(sections.at[i]);
        tenants[i].administrators = alert_addresses(l->arena, sections.at[i], "administrators", l->errors,
                                                    &tenants[i].administrator_count);
        mails |= tenants[i].administrator_count > 0;
    }
    *alerts = (struct alerts_config){
        .node = l->settings->node,
        .settings = alert_settings_load(l->arena, l->root, l->settings->state, l->settings->node, l->errors),
        .tenants = tenants,
        .tenant_count = sections.count,
    };
    struct address from = address_split(alerts->settings.from);
    if ((mails || alerts->settings.mail_count) && !policy_tenant_of_domain(l->settings->policy, from.domain))
        config_warn(l->errors, config_section_or_empty(l->root, "alerts"), "from",
                    "%.*s is in no accepted domain: mails of alerts leave unsigned, as class relay",
                    STR_FMT(alerts->settings.from));
}

static int load(struct arena *arena, const struct config_node *root, const struct settings_checks *checks,
                struct config_errors *errors, struct settings **ret) {
    struct holder *holder = arena_new_of(arena, struct holder);
    struct loading l = {
        .arena = arena, .root = root, .checks = checks, .errors = errors, .settings = &holder->settings};
    struct settings *s = l.settings;
    holder->arena = arena;
    atomic_init(&holder->references, 1);
    read_root(&l);
    read_pools(&l);
    read_pool_files(&l);
    s->identity = identity_load(arena, root, s->state, s->pools, errors);
    const struct config_node *dns = config_section_or_empty(root, "dns");
    s->blocklists = blocklists_load(arena, root, config_has(dns, "zone-file"), errors);
    s->ownership = ownership_load(arena, root, s->state, s->keys_dir, errors);
    if (s->ownership.verify && !s->ownership.secret_given && s->pools->site_count > 1)
        config_warn(
            errors, config_section(root, "tenants"), "verify",
            "the nodes of several sites need the same `secret` for the ownership tokens: say where it is");
    read_tls(&l);
    read_stores(&l);
    settings_listeners(&l);
    holder->policy =
        policy_load(arena, root, &(struct policy_checks){.state = s->state, .pools = s->pools}, errors);
    s->policy = holder->policy;
    if (policy_has_certificates(s->policy) && !s->tls.certificate)
        config_warn(
            errors, root, NULL,
            "connectors have a `certificate`, but there is no section `tls { ... }`: nobody can show one");
    s->scan = scan_load(arena, root, s->state, errors);
    s->milters = milters_load(arena, root, errors);
    s->delivery = delivery_load(root, errors);
    s->destinations = destinations_load(arena, root, errors);
    check_schedules(&l);
    read_dns(&l);
    read_api(&l);
    read_alerts(&l);
    if (config_error_count(errors)) {
        settings_unref(s);
        return SLUICE_EINVALID;
    }
    *ret = s;
    return 0;
}

static int finish(struct arena *arena, const struct config_node *root, const struct settings_checks *checks,
                  struct config_errors *errors, struct settings **ret) {
    static const struct settings_checks NONE;
    if (root)
        return load(arena, root, checks ? checks : &NONE, errors, ret);
    arena_free(arena);
    return SLUICE_EINVALID;
}

int settings_load(const char *path, const struct settings_checks *checks, struct config_errors *errors,
                  struct settings **ret) {
    struct arena *arena = arena_new(0);
    return finish(arena, config_load(arena, path, settings_options, errors), checks, errors, ret);
}

int settings_parse(struct str text, const char *name, const struct settings_checks *checks,
                   struct config_errors *errors, struct settings **ret) {
    struct arena *arena = arena_new(0);
    return finish(arena, config_parse(arena, text, name, settings_options, errors), checks, errors, ret);
}

struct settings *settings_ref(struct settings *s) {
    atomic_fetch_add_explicit(&((struct holder *)s)->references, 1, memory_order_relaxed);
    return s;
}

struct settings *settings_unref(struct settings *s) {
    struct holder *holder = (struct holder *)s;
    if (s && atomic_fetch_sub_explicit(&holder->references, 1, memory_order_acq_rel) == 1) {
        policy_close(holder->policy);
        arena_free(holder->arena);
    }
    return NULL;
}
