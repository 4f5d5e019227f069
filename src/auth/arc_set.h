/* arc_set.h - the sets of a chain as they stand in a header (RFC 8617 4.2).
 */
#pragma once
#include "auth/arc.h"

struct arc_set {
    const struct header_field *results, *message, *seal;
};

struct arc_sets {
    struct arc_set at[ARC_INSTANCES_MAX + 1]; /* by instance; [0] is empty */
    unsigned highest;
};

/* Collects them. The NULL view when there is nothing to object to (no set at all included): each instance
 * from 1 to the highest has one of each field. Else what is wrong, a constant text. */
struct str arc_sets_of(const struct header *, struct arc_sets *ret);
/* The instance that an ARC-Authentication-Results names first, 0 when it does not; *ret_rest is what follows.
 */
unsigned arc_results_instance(struct str value, struct str *ret_rest);
