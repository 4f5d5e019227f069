/* zone.h - the plan as master files (RFC 1035 5), one a zone.
 */
#pragma once
#include "base/buf.h"
#include "identity/plan.h"

/* The name of its file: "example.net.zone"; a slash of RFC 2317 becomes a dash. */
struct str zone_file_name(struct arena *, const struct plan_zone *);

/* The whole file of plan->zones[zone]: SOA with this serial, NS, the records with absolute names. */
void zone_text(struct buf *out, const struct plan *, size_t zone, const struct identity_settings *,
               uint32_t serial);

/* What of the name servers' settings keeps the zones from being served: sentences, in the arena. */
struct zone_faults {
    const struct plan_note *at;
    size_t count;
} zone_faults(struct arena *, const struct plan *, const struct identity_settings *);

/* A script for nsupdate(1) that makes our zones hold the planned records, each name and type as a whole,
 * whatever stands there: for zones of which nobody else has a part (publish.h is for the others). What the
 * provider and the owners of domains have to enter is left out, also where the zone is ours. */
void zone_nsupdate(struct buf *out, const struct plan *);
