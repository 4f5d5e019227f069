/* limit_tenant.h - how many external recipients each tenant had in the last 24 hours.
 *
 * Belongs to one worker, like limit_table, and keeps time as it does. One window a tenant, some 250 bytes,
 * for any limit.
 */
#pragma once
#include "limits/limit_window.h"

struct limit_tenants;

struct limit_tenants *limit_tenants_new(void);
/* NULL is fine; returns NULL. */
struct limit_tenants *limit_tenants_free(struct limit_tenants *);

/* With what is reserved. `limit`: the one in force. */
uint32_t limit_tenants_used(const struct limit_tenants *, struct str tenant, int64_t now, uint32_t limit);
/* As limit_table_reserve and limit_table_settle. */
void limit_tenants_reserve(struct limit_tenants *, struct str tenant, uint32_t external);
void limit_tenants_settle(struct limit_tenants *, struct str tenant, int64_t now, uint32_t limit,
                          uint32_t external, bool committed);

/* For saving: every tenant in turn, from *at = 0; false at the end. `last`: half seconds since 2020. */
struct limit_total {
    struct limit_window window;
    uint32_t last;
};
bool limit_tenants_next(const struct limit_tenants *, size_t *at, struct str *ret_tenant,
                        const struct limit_total **ret);
/* Puts what was saved in place of what is known. CORRUPT: not a window. */
[[nodiscard]] int limit_tenants_put(struct limit_tenants *, struct str tenant, const struct limit_total *);
