/* load.h - what the files of this room share while a configuration is read. Not for other rooms. */
#pragma once
#include "policy/tenant.h"

struct loading {
    struct arena *arena;
    const struct policy_checks *checks;
    struct config_errors *errors;
    struct policy *policy;
};

/* The `dkim` sections of a tenant; all tenants' domains are known. */
void signing_load(struct loading *, const struct config_node *tenant, struct tenant *);
void signing_unload(struct tenant *);

/* `certificate` and `ca` of a connector; its addresses are loaded. */
void load_certificate(struct loading *, const struct config_node *connector, struct connector *);
void unload_certificates(struct policy *);
