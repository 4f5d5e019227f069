/* ip_range.h - the address ranges of configuration: "192.0.2.1", "192.0.2.16/28",
 * "2001:db8::10-2001:db8::1f".
 */
#pragma once
#include "base/ip.h"

struct ip_range {
    struct ip first, last; /* inclusive, of one family */
};

/* SLUICE_ESYNTAX; SLUICE_EINVALID for a CIDR with bits set right of the prefix, a prefix that is too long, a
 * range that runs backwards or mixes families. */
[[nodiscard]] int ip_range_parse(struct str text, struct ip_range *ret);
static inline bool ip_range_has(const struct ip_range *r, const struct ip *ip) {
    return memcmp(&r->first, ip, sizeof *ip) <= 0 && memcmp(ip, &r->last, sizeof *ip) <= 0;
}
bool ip_range_overlaps(const struct ip_range *, const struct ip_range *);
/* The number of addresses; UINT64_MAX when there are more. */
uint64_t ip_range_size(const struct ip_range *);
