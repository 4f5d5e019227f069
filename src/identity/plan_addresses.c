/* Each address and its name: the PTR, and the way back. */
#include "identity/build.h"

/* Asked of the parent once for each delegated block, with the first of its addresses. */
static void add_delegation(struct plan_building *b, const struct reverse_place *place, size_t zones_before) {
    const struct identity_settings *s = b->input->settings;
    size_t zones = b->zones.len / sizeof(struct plan_zone);
    if (zones == zones_before || place->zone < zones_before)
        return;
    struct str zone = ((const struct plan_zone *)(const void *)b->zones.at)[place->zone].name;
    for (size_t i = 0; i < s->server_count; i++)
        plan_add(b, place->parent, zone, "NS", str_printf(b->arena, "%.*s.", STR_FMT(s->servers[i].name)));
}

static void add_ptr(struct plan_building *b, const struct ip *ip, const struct cidr *block, struct str name) {
    size_t zones_before = b->zones.len / sizeof(struct plan_zone);
    struct reverse_place place = plan_reverse(b, ip, block);
    if (place.alias) {
        add_delegation(b, &place, zones_before);
        plan_add(b, place.parent, place.parent_name, "CNAME",
                 str_printf(b->arena, "%.*s.", STR_FMT(place.name)));
    }
    plan_add(b, place.zone, place.name, "PTR", str_printf(b->arena, "%.*s.", STR_FMT(name)));
}

/* What PTR points to. Without a template that is the EHLO name, as long as that can point back to all. */
static struct str ptr_name(const struct source *s, size_t ehlo_count) {
    if (s->ptr)
        return str_of(s->ptr);
    return ehlo_count <= EHLO_ADDRESSES_MAX ? str_of(s->ehlo) : STR_NULL;
}

/* Network by network as written, for RFC 2317. */
static void add_range(struct plan_building *b, const struct ip_range *written, size_t ehlo_count) {
    struct ip_range range = *written;
    struct cidr *blocks;
    size_t count = cidr_merge(b->arena, &range, 1, &blocks);
    for (size_t i = 0; i < count; i++) {
        struct ip_range block = cidr_range(&blocks[i]);
        struct ip ip = block.first;
        for (uint64_t left = ip_range_size(&block); left-- > 0; ip_step(&ip)) {
            const struct source *s = source_find(b->input->pools, &ip);
            struct str name = s ? ptr_name(s, ehlo_count) : STR_NULL;
            if (name.len)
                add_ptr(b, &ip, &blocks[i], name);
        }
    }
}

/* One name: the IPv4 and the IPv6 address of equal ordinal, either may be missing. */
static void add_name(struct plan_building *b, const struct source *v4, const struct source *v6, bool spf) {
    struct str name = str_of(v4 ? v4->ptr : v6->ptr);
    size_t zone = plan_zone_of(b, name, PLAN_OURS);
    struct ip_range ranges[2];
    size_t count = 0;
    if (v4)
        ranges[count++] = (struct ip_range){v4->ip, v4->ip};
    if (v6)
        ranges[count++] = (struct ip_range){v6->ip, v6->ip};
    for (size_t i = 0; i < count; i++)
        plan_add_address(b, zone, name, &ranges[i].first);
    if (spf)
        plan_spf(b, name, ranges, count, SPF_LOOKUPS_OF_NAME);
}

static void add_names(struct plan_building *b, const struct pool *pool) {
    uint32_t most = pool->v4_count > pool->v6_count ? pool->v4_count : pool->v6_count;
    const struct source **v4 = arena_array(b->arena, const struct source *, most + 1);
    const struct source **v6 = arena_array(b->arena, const struct source *, most + 1);
    bool spf = !pool->spf_hidden && (b->input->ptr_ehlo || plan_says_ptr(pool->sources));
    for (uint32_t i = 0; i < pool->source_count; i++) {
        const struct source *s = &pool->sources[i];
        (ip_is_v4(&s->ip) ? v4 : v6)[s->ordinal] = s;
    }
    for (uint32_t n = 1; n <= most; n++)
        if (v4[n] || v6[n])
            add_name(b, v4[n], v6[n], spf);
}

void plan_addresses(struct plan_building *b) {
    const struct pools *pools = b->input->pools;
    for (size_t i = 0; i < pools->pool_count; i++) {
        const struct pool *pool = &pools->pools[i];
        if (!pool->source_count)
            continue;
        struct str ehlo = str_of(pool->sources[0].ehlo);
        bool named = pool->sources[0].ptr != NULL;
        size_t ehlo_count = named ? 0 : plan_ehlo_count(b, ehlo);
        for (size_t j = 0; j < pool->range_count; j++)
            add_range(b, &pool->ranges[j], ehlo_count);
        if (named)
            add_names(b, pool);
        else if (ehlo_count > EHLO_ADDRESSES_MAX)
            plan_note(b, ehlo,
                      "the addresses of pool `%.*s` have no names: give their site `ptr`, for %zu addresses "
                      "say this name in EHLO, too many to stand behind it",
                      STR_FMT(pool->name), ehlo_count);
    }
}
