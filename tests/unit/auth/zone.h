/* zone.h - a resolver that answers from a table, for tests of rooms that ask the DNS. */
#pragma once
#include "rt/resolver.h"

struct zone_record {
    struct str name; /* compared without case */
    struct str type; /* "A", "AAAA", "MX", "TXT", "PTR", "CNAME"; "TIMEOUT": types that are not listed fail */
    struct str data; /* MX: "10 name"; TXT: the strings joined */
};

struct zone {
    struct resolver resolver; /* zone_open sets it */
    const struct zone_record *records;
    size_t count;
    size_t asked; /* look-ups so far */
};

void zone_open(struct zone *, const struct zone_record *, size_t count);
