/* names.h - names of addresses and of those who answer for them. None has a final dot.
 */
#pragma once
#include "base/ip.h"
#include "rt/resolver.h"

enum { NAME_LENGTH_MAX = 253 };

/* "16.2.0.192.in-addr.arpa", "0.1....8.b.d.0.1.0.0.2.ip6.arpa". */
struct str reverse_name(struct arena *, const struct ip *);
/* For judgement of our own names, where a false "none" is worse than none: the empty answer that a lame
 * server gives as well (resolver.h, bare) is DNS_FAILED. */
void answer_doubt(struct dns_answer *);
/* Is it `domain` or below it? Without regard to case. */
bool name_is_below(struct str name, struct str domain);
