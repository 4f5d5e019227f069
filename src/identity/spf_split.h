/* spf_split.h - a set of networks as SPF records that receivers can ask for.
 */
#pragma once
#include "identity/cidr.h"

enum {
    SPF_TEXT_MAX = 449,         /* octets of a TXT record: with its names below 512, so that UDP carries it */
    SPF_LOOKUPS_OF_NAME = 9,    /* includes below a name that is checked itself: under 10 in all */
    SPF_LOOKUPS_OF_INCLUDE = 8, /* below a name that others include */
};

struct spf_text {
    struct str name; /* without a final dot */
    struct str text;
};

struct spf_texts {
    struct spf_text *at; /* the first is the owner's, the others are those that it includes */
    size_t count;
};

/* "v=spf1 ip4:192.0.2.16/28 -all" for these networks; what does not fit goes to records named _1.OWNER,
 * _2.OWNER, that it includes: as few as will do, at most `lookups`. False: they would have to be more (*ret
 * is untouched). In the arena. */
bool spf_split(struct arena *, struct str owner, const struct cidr *, size_t count, unsigned lookups,
               struct spf_texts *ret);
/* One record that asks for an A record per address (RFC 7208 5.7), one lookup for any number of them. */
struct str spf_exists(struct arena *, struct str owner);
/* The name that it asks for; `owner` and the result have no final dot. */
struct str spf_exists_name(struct arena *, const struct ip *, struct str owner);
