/* Which zone a name stands in: a configured one, else what can be told from the name and from how much of a
 * /24 is ours. */
#include "auth/align.h"
#include "identity/build.h"

static size_t zone_number(struct plan_building *b, struct str name, enum plan_owner owner) {
    void *known = map_get(b->zone_numbers, name);
    if (known)
        return (size_t)(uintptr_t)known - 1;
    struct plan_zone zone = {.name = str_lower(b->arena, name), .owner = owner, .part_of = PLAN_NO_ZONE};
    buf_add(&b->zones, &zone, sizeof zone);
    size_t count = b->zones.len / sizeof zone;
    map_put(b->zone_numbers, zone.name, (void *)(uintptr_t)count);
    return count - 1;
}

/* The longest configured zone that holds the name; false: none does. */
static bool configured_zone(struct plan_building *b, struct str name, size_t *ret) {
    const struct identity_settings *s = b->input->settings;
    struct str best = STR_NULL;
    for (size_t i = 0; i < s->zone_count; i++)
        if (!s->zones[i].delegated && s->zones[i].name.len > best.len &&
            name_is_below(name, s->zones[i].name))
            best = s->zones[i].name;
    if (best.len)
        *ret = zone_number(b, best, PLAN_OURS);
    return best.len > 0;
}

/* Names that share all but their first label share the zone, unless a configured zone cuts between them; then
 * the name itself is that zone's. */
static bool as_last(const struct plan_building *b, struct str name, struct str parent) {
    if (!parent.len || !str_eq_nocase(parent, b->last_parent))
        return false;
    for (size_t i = 0; i < b->input->settings->zone_count; i++)
        if (str_eq_nocase(name, b->input->settings->zones[i].name))
            return false;
    return true;
}

size_t plan_zone_of(struct plan_building *b, struct str name, enum plan_owner otherwise) {
    struct str parent = str_from_index(name, (size_t)(str_index(name, '.') + 1));
    size_t zone;
    if (otherwise == PLAN_OURS && as_last(b, name, parent))
        return b->last_zone;
    struct str organisation = align_organisation(b->arena, name);
    if (!configured_zone(b, name, &zone))
        zone = zone_number(b, organisation, otherwise);
    if (otherwise == PLAN_OURS && organisation.len < name.len)
        b->last_parent = parent, b->last_zone = zone;
    return zone;
}

void plan_count_blocks(struct plan_building *b) {
    const struct pools *pools = b->input->pools;
    for (size_t i = 0; i < pools->source_count; i++) {
        const struct ip *ip = &pools->sources[i].ip;
        struct str key = str_from(ip->bytes + 12, 3);
        if (ip_is_v4(ip))
            map_put(b->v4_counts, key, (void *)((uintptr_t)map_get(b->v4_counts, key) + 1));
    }
}

static const struct identity_zone *delegated_zone(const struct plan_building *b, const struct ip *ip) {
    const struct identity_settings *s = b->input->settings;
    for (size_t i = 0; i < s->zone_count; i++)
        if (s->zones[i].delegated && ip_range_has(&s->zones[i].range, ip))
            return &s->zones[i];
    return NULL;
}

static struct reverse_place reverse_v6(struct plan_building *b, struct str name) {
    enum { HALF = 32 }; /* "0." for each of the 16 nibbles of the interface: the zone is that of the /64 */
    struct reverse_place place = {.name = name};
    if (!configured_zone(b, name, &place.zone))
        place.zone = zone_number(b, str_from_index(name, HALF), PLAN_OURS);
    return place;
}

struct reverse_place plan_reverse(struct plan_building *b, const struct ip *ip, const struct cidr *block) {
    struct reverse_place place = {.name = reverse_name(b->arena, ip)};
    const struct identity_zone *delegated = delegated_zone(b, ip);
    struct str whole = str_from_index(place.name, (size_t)(str_index(place.name, '.') + 1));
    if (!ip_is_v4(ip))
        return reverse_v6(b, place.name);
    if (!delegated && configured_zone(b, place.name, &place.zone))
        return place;
    if (!delegated && (uintptr_t)map_get(b->v4_counts, str_from(ip->bytes + 12, 3)) == 256) {
        place.zone = zone_number(b, whole, PLAN_OURS);
        return place;
    }
    if (!delegated && block->prefix == 32) { /* nobody delegates a single address */
        place.zone = zone_number(b, whole, PLAN_PROVIDER);
        return place;
    }
    struct str zone = delegated ? delegated->name
                                : str_printf(b->arena, "%u-%u.%.*s", block->network.bytes[15], block->prefix,
                                             STR_FMT(whole));
    place.alias = true;
    place.parent_name = place.name;
    if (!configured_zone(b, place.name, &place.parent))
        place.parent = zone_number(b, whole, PLAN_PROVIDER);
    place.zone = zone_number(b, zone, PLAN_OURS);
    ((struct plan_zone *)(void *)b->zones.at)[place.zone].part_of = place.parent;
    place.name = str_printf(b->arena, "%u.%.*s", ip->bytes[15], STR_FMT(zone));
    return place;
}
