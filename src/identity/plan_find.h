/* plan_find.h - what to put where: the planned records of a name, as lines of a zone file.
 */
#pragma once
#include "identity/plan.h"

struct plan_index;
/* The plan must outlive it. */
struct plan_index *plan_index_new(const struct plan *);
struct plan_index *plan_index_free(struct plan_index *); /* NULL is fine */

/* "NAME. TTL TYPE DATA", a line each, in the arena; "" when none is planned. `name` without a final dot. */
struct str plan_lines(const struct plan_index *, struct arena *, const char *type, struct str name);
/* All that names an address: the PTR, with the CNAME that leads to it (RFC 2317), and the A or AAAA of its
 * name; without `reverse` the last alone. */
struct str plan_names_of(const struct plan_index *, struct arena *, const struct ip *, bool reverse);
