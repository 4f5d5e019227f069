/* limit_policy.h - which of a tenant's policies applies to a message. Pure.
 *
 * The From address selects; the submitter counts and is restricted (limits/limit.h). A policy applies when
 * the address fits every kind of condition that it names: one of its senders, a member of one of its groups,
 * one of its domains. Of those that apply the one with the least `priority` number wins, written order
 * between equals; the policy titled `default` comes last and applies to everybody.
 */
#pragma once
#include "policy/tenant.h"

/* NULL: none applies, the service's limits do. `from` is in wire form, its domain normalised; "" when there
 * is none. */
const struct sending_policy *limit_policy_for(const struct tenant *, struct str from);

/* Why that one applies, in words: "contoso.com is one of its domains, priority 10". In the arena. */
struct str limit_policy_why(struct arena *, const struct tenant *, const struct sending_policy *,
                            struct str from);
