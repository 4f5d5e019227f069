/* settings.h - the whole configuration of a daemon, typed, checked across rooms, immutable.
 *
 * Loaded once at start and once per reload; each worker holds a reference while it uses one. Everything in it
 * lives in its own arena and dies with the last reference. A reload that fails leaves the old one in use.
 * All names of the configuration are a contract (design, section 6); docs/configuration.md is generated from
 * the same tables (settings_options).
 */
#pragma once
#include "alert/settings.h"
#include "base/ip.h"
#include "base/ip_range.h"
#include "base/log.h"
#include "config/config.h"
#include "identity/blocklist_settings.h"
#include "identity/ownership.h"
#include "identity/settings.h"
#include "policy/tenant.h"
#include "pool/pool.h"
#include "queue/settings.h"
#include "scan/milter_settings.h"
#include "scan/settings.h"

enum listener_tls {
    LISTENER_TLS_NONE,
    LISTENER_TLS_OPPORTUNISTIC,
    LISTENER_TLS_REQUIRED,
    LISTENER_TLS_IMPLICIT
};
enum listener_auth { LISTENER_AUTH_NONE, LISTENER_AUTH_OPTIONAL, LISTENER_AUTH_REQUIRED };

struct endpoint {
    struct ip ip;
    uint16_t port;
};

struct listener {
    struct str name;
    const struct endpoint *bind;
    size_t bind_count; /* at least 1 */
    enum listener_tls tls;
    enum listener_auth auth;
    bool accept_forward; /* takes mail from anybody for forwards and rewritten addresses */
    int64_t max_size;    /* bytes; EHLO SIZE */
    unsigned max_recipients;
    unsigned max_connections, max_connections_per_client;
    unsigned max_commands;        /* per connection */
    unsigned max_errors;          /* per connection, then 421 */
    int64_t timeout_ms;           /* for a command (RFC 5321 4.5.3.2.7) */
    int64_t data_timeout_ms;      /* for a block of data */
    unsigned min_rate;            /* bytes per second that data must keep up */
    const struct ip_range *proxy; /* peers that begin with a PROXY header */
    size_t proxy_count;
    const struct ip_range *xforward; /* peers that may use XFORWARD */
    size_t xforward_count;
};

struct tls_files {
    const char *certificate, *key; /* absolute; NULL when there is no tls section */
};

struct lookup_settings {
    const struct str *servers; /* "IP" or "IP@port"; none: full recursion */
    size_t server_count;
    const char *zone_file;    /* absolute; NULL: none */
    const char *trust_anchor; /* absolute; NULL: none */
    int64_t serve_expired_ms;
    int64_t timeout_ms; /* for one look-up */
};

struct settings {
    struct str file; /* absolute path of the configuration file */
    struct str node; /* host name: Received, Message-ID, Reporting-MTA; with no site also EHLO */
    struct str here; /* this node's site */
    const char *state, *spool_dir, *trace_dir, *keys_dir, *limits_dir; /* absolute */
    const char *user;                                                  /* NULL: stay */
    unsigned workers;
    enum log_level log_level;
    struct tls_files tls;
    const struct pools *pools;
    const char *const *pool_files; /* in which sites and pools are written */
    size_t pool_file_count;
    struct identity_settings identity;
    struct blocklist_settings blocklists;
    struct ownership_settings ownership;
    const char *identity_dir; /* absolute: below `state` */
    const struct listener *listeners;
    size_t listener_count;
    const struct policy *policy; /* tenant, verdict, classify: policy_load, policy_close */
    struct scan_settings scan;   /* scanner, verdict */
    struct milters_settings milters;
    struct delivery_settings delivery;
    struct destinations destinations;
    struct lookup_settings dns;
    struct {
        int64_t memory;     /* bytes of bodies that aren't on disk yet */
        int64_t min_free;   /* bytes left on its disk below which new mail gets 452 4.3.1 */
        int64_t disk_limit; /* bytes of all segments; 0: no limit but the disk */
    } spool;
    struct {
        int64_t retain_ms; /* days that are kept */
    } trace;
    struct alerts_config alerts;
    struct {
        const char *socket; /* absolute; never NULL */
        const struct endpoint *bind;
        size_t bind_count;
    } api;
};

/* The table of the whole configuration. */
extern const struct config_option settings_options[];

struct settings_checks {
    int (*bindable)(void *ctx, const struct ip *); /* see struct pool_options; NULL: not checked */
    void *bindable_ctx;
};

/* docs/configuration.md and the OPTIONS of sluice.conf(5), whole, from that table. */
void settings_manual(struct buf *);
void settings_man_page(struct buf *);

/* Reads and checks `path`. 0 and *ret (one reference), or SLUICE_EINVALID with at least one error in
 * `errors`. Warnings may be there either way. Reads the files that it names (users, keys, zone file) only to
 * check that they can be read. */
[[nodiscard]] int settings_load(const char *path, const struct settings_checks *, struct config_errors *,
                                struct settings **ret);
/* The same for text; `name` as in config_parse. */
[[nodiscard]] int settings_parse(struct str text, const char *name, const struct settings_checks *,
                                 struct config_errors *, struct settings **ret);

/* Reference counting, from any thread. unref accepts NULL, returns NULL, frees at the last. */
struct settings *settings_ref(struct settings *);
struct settings *settings_unref(struct settings *);

/* What of `next` takes effect only at a restart, as the names of the options: "state, workers"; empty when
 * nothing does. In `arena`. */
struct str settings_needs_restart(const struct settings *now, const struct settings *next, struct arena *);
