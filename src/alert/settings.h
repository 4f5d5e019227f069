/* settings.h - `alerts { }`: who is told, how, and how often.
 */
#pragma once
#include "alert/alert.h"
#include "config/config.h"
#include <assert.h>

enum { ALERT_SECRET_MIN = 16, ALERT_SECRET_MAX = 1024 };

/* `webhook "name" { }` */
struct alert_hook {
    struct str name, url; /* NUL-terminated */
    struct str secret;    /* the key of the signatures: the file's bytes without the line end */
    const char *ca;       /* PEM file of who may vouch for the server; NULL: the system's */
    uint64_t kinds;       /* bits of enum alert_kind; 0: all */
    enum alert_level level;
    int64_t timeout_ms; /* of one try */
    int64_t retry_ms;   /* after the first that failed; doubles */
    int64_t expire_ms;  /* after which it is given up */
};

struct alert_settings {
    const struct str *mail; /* addresses of the operator, wire form */
    size_t mail_count;
    struct str from;
    enum alert_level level; /* the least that is mailed to the operator and to tenants */
    int64_t quiet_ms;
    unsigned per_hour; /* mails of one audience, and calls of one webhook */
    const struct alert_hook *hooks;
    size_t hook_count;
};

/* A tenant that is told of what is its own. */
struct alert_tenant {
    struct str name;
    const struct str *administrators; /* wire form */
    size_t administrator_count;
};

/* All of the configuration that the desk works by. */
struct alerts_config {
    struct str node;
    struct alert_settings settings;
    const struct alert_tenant *tenants;
    size_t tenant_count;
};

static_assert(ALERT_KINDS <= 64, "kinds are bits");

/* The table of `alerts`, for the configuration's root. */
extern const struct config_option alerts_options[];

/* `state` is where relative file names start; `node` gives the default of `from`. Reads the secrets. Problems
 * go to `errors`; the result then lacks what was wrong. In the arena. */
struct alert_settings alert_settings_load(struct arena *, const struct config_node *root, const char *state,
                                          struct str node, struct config_errors *);

/* The addresses of a list option (`mail`, a tenant's `administrators`) in wire form, reported where one is
 * none. In the arena. */
const struct str *alert_addresses(struct arena *, const struct config_node *, const char *option,
                                  struct config_errors *, size_t *ret_count);

/* Does this alert go to that webhook? */
bool alert_hook_wants(const struct alert_hook *, enum alert_kind);
