/* build.h - what the files that build the plan share. Not for other rooms. */
#pragma once
#include "base/buf.h"
#include "base/map.h"
#include "identity/names.h"
#include "identity/plan.h"
#include "identity/spf_split.h"

struct plan_building {
    struct arena *arena;
    const struct plan_input *input;
    struct buf records, zones, notes; /* arrays of plan_record, plan_zone, plan_note */
    struct map *zone_numbers;         /* name → index + 1 */
    struct map *spf_owners;           /* names that have an SPF record: never two (RFC 7208 3.2) */
    struct map *v4_counts;            /* of our addresses in each /24, by its three bytes */
    struct str domain;                /* of the customers' includes */
    struct str last_parent;           /* the zone of the last name, for the next one beside it */
    size_t last_zone;
};

/* ---- plan.c ---- */

/* `name` without a final dot; `data` as it stands in a zone file. */
void plan_add(struct plan_building *, size_t zone, struct str name, const char *type, struct str data);
void plan_add_address(struct plan_building *, size_t zone, struct str name, const struct ip *);
void plan_add_txt(struct plan_building *, size_t zone, struct str name, struct str text);
void plan_note(struct plan_building *, struct str name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The SPF records of `owner` for these ranges, in whatever form they fit; nothing when it has one already. */
void plan_spf(struct plan_building *, struct str owner, struct ip_range *ranges, size_t count,
              unsigned lookups);

/* ---- plan_zones.c ---- */

/* The zone in which a name stands; where it is not configured, that of its organisational domain. */
size_t plan_zone_of(struct plan_building *, struct str name, enum plan_owner otherwise);
/* Counts our addresses by /24. */
void plan_count_blocks(struct plan_building *);

/* Where the PTR of an address stands. */
struct reverse_place {
    struct str name;
    size_t zone;
    bool alias; /* RFC 2317: `parent_name` in `parent` is a CNAME of `name` */
    struct str parent_name;
    size_t parent;
};
/* `block`: the network that holds the address, as written. */
struct reverse_place plan_reverse(struct plan_building *, const struct ip *, const struct cidr *block);

/* ---- plan_addresses.c ---- */

/* PTR records, and the names that they point to. */
void plan_addresses(struct plan_building *);

/* ---- plan_ehlo.c ---- */

/* The EHLO names: addresses and SPF. */
void plan_ehlo(struct plan_building *);
/* Each source has the name as its own PTR name (ehlo = ptr). */
static inline bool plan_says_ptr(const struct source *s) { return s->ptr && s->ehlo == s->ptr; }
/* How many sources say this name in EHLO, at any site. */
size_t plan_ehlo_count(const struct plan_building *, struct str name);
