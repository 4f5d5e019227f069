/* cidr.h - sets of addresses as networks.
 */
#pragma once
#include "base/ip_range.h"

struct cidr {
    struct ip network;
    unsigned prefix; /* of its own family: to 32 or to 128 */
};

enum { CIDR_TEXT_SIZE = IP_TEXT_SIZE + 4 };

/* The fewest networks that hold the addresses of these ranges and no other; ascending, in the arena. Ranges
 * may touch, overlap and come in any order (they are sorted in place). Returns how many. */
size_t cidr_merge(struct arena *, struct ip_range *ranges, size_t count, struct cidr **ret);
/* "192.0.2.16/28"; a single address has no prefix. */
const char *cidr_text(const struct cidr *, char out[CIDR_TEXT_SIZE]);
struct ip_range cidr_range(const struct cidr *);
/* Steps to the next address; past the last one it starts at the first. */
void ip_step(struct ip *);
