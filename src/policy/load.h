/* load.h - what the files of this room share while a configuration is read. Not for other rooms. */
#pragma once
#include "policy/recipient.h"

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

/* `licences`, `since` and the `group` and `policy` sections of a tenant, with the tables of the latter two.
 */
void limit_load(struct loading *, const struct config_node *tenant, struct tenant *);
/* Of two struct str, whatever the case: the order in which the addresses of groups and policies are kept. */
int address_order(const void *, const void *);
extern const struct config_option group_options[];
extern const struct config_option sending_options[];

/* The `srs` sections: of the root, then of each tenant. All tenants' domains are known. */
void srs_load(struct loading *, const struct config_node *root);

/* One tenant that uses SRS settings; those with the same domain are a list. */
struct srs_owner {
    const struct tenant *tenant;
    const struct srs_owner *next;
};

/* The `forward` sections of a tenant, into policy->by_forward; all tenants' domains are known. */
void forward_load(struct loading *, const struct config_node *tenant, struct tenant *);
/* What is wrong with them, once all are loaded, and SRS. */
void forward_check(struct loading *, const struct config_node *tenant, const struct tenant *);

/* Everywhere that a forward leads to. */
struct forward_expansion {
    struct recipient_target **targets;
    size_t count, room;
    bool comes_back; /* another forward on the way leads to the first again */
    bool too_many;   /* more than RECIPIENT_TARGETS_MAX addresses */
};
void forward_expand(const struct policy *, const struct forward *first, struct arena *,
                    struct forward_expansion *ret);
