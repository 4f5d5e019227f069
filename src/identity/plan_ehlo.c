/* The names said in EHLO. One name may serve several sites, and a site may have several names. */
#include "identity/build.h"

struct ehlo {
    struct str name;
    bool *sites; /* by index: who says it */
};

struct ehlos {
    struct ehlo *at;
    size_t count;
};

static void add_ehlo(struct plan_building *b, struct ehlos *names, struct str name, size_t site) {
    size_t i = 0;
    while (i < names->count && !str_eq_nocase(names->at[i].name, name))
        i++;
    if (i == names->count) {
        names->at[names->count++] =
            (struct ehlo){name, arena_array(b->arena, bool, b->input->pools->site_count)};
    }
    names->at[i].sites[site] = true;
}

static struct ehlos collect(struct plan_building *b) {
    const struct plan_input *in = b->input;
    const struct pools *p = in->pools;
    struct ehlos names = {
        .at = arena_array(b->arena, struct ehlo, p->site_count + p->pool_count + in->ehlo_name_count)};
    for (size_t i = 0; i < p->pool_count; i++) {
        const struct pool *pool = &p->pools[i];
        if (!pool->source_count)
            continue;
        if (!plan_says_ptr(pool->sources))
            add_ehlo(b, &names, str_of(pool->sources[0].ehlo), pool->site);
        if (in->site_ehlo)
            add_ehlo(b, &names, p->sites[pool->site].ehlo, pool->site);
        for (size_t j = 0; j < in->ehlo_name_count; j++)
            add_ehlo(b, &names, in->ehlo_names[j], pool->site);
    }
    return names;
}

static bool says(const struct pool *pool, struct str name) {
    return pool->source_count && str_eq_nocase(str_of(pool->sources[0].ehlo), name);
}

size_t plan_ehlo_count(const struct plan_building *b, struct str name) {
    size_t count = 0;
    for (size_t i = 0; i < b->input->pools->pool_count; i++)
        if (says(&b->input->pools->pools[i], name))
            count += b->input->pools->pools[i].source_count;
    return count;
}

/* ---- addresses ---- */

/* Pools whose addresses may stand behind the name, best first: those that say it, all of its sites, also the
 * hidden ones. Addresses without a name of their own have only this one. */
static size_t candidates(const struct plan_building *b, const struct ehlo *e, const struct pool **ret) {
    const struct pools *p = b->input->pools;
    size_t count = 0;
    for (int wider = 0; wider < 3 && !count; wider++)
        for (size_t i = 0; i < p->pool_count; i++) {
            const struct pool *pool = &p->pools[i];
            if (!pool->source_count || !e->sites[pool->site])
                continue;
            bool open = !pool->spf_hidden || !pool->sources[0].ptr || wider == 2;
            if (open && (wider || says(pool, e->name)))
                ret[count++] = pool;
        }
    return count;
}

/* The first address of each pool, then the second of each, ...: an address added at the end of a pool comes
 * last. */
static size_t choose(const struct plan_building *b, const struct pool *const *pools, size_t count, bool v4,
                     size_t most, const struct source **ret) {
    uint32_t *at = arena_array(b->arena, uint32_t, count);
    size_t chosen = 0;
    for (bool any = true; any && chosen < most;) {
        any = false;
        for (size_t i = 0; i < count && chosen < most; i++) {
            while (at[i] < pools[i]->source_count && ip_is_v4(&pools[i]->sources[at[i]].ip) != v4)
                at[i]++;
            if (at[i] == pools[i]->source_count)
                continue;
            ret[chosen++] = &pools[i]->sources[at[i]++];
            any = true;
        }
    }
    return chosen;
}

/* An answer of AAAA records: header, question, and 28 octets each with a compressed name (RFC 1035 4.1). */
static size_t most_v6(struct str name) { return (RESPONSE_MAX - 12 - (name.len + 2) - 4) / 28; }

static void add_addresses(struct plan_building *b, const struct ehlo *e, size_t zone) {
    const struct pool **pools = arena_array(b->arena, const struct pool *, b->input->pools->pool_count);
    const struct source *v4[EHLO_ADDRESSES_MAX], *v6[EHLO_ADDRESSES_MAX];
    size_t count = candidates(b, e, pools);
    size_t limit_v6 = most_v6(e->name) < EHLO_ADDRESSES_MAX ? most_v6(e->name) : EHLO_ADDRESSES_MAX;
    size_t v4_count = choose(b, pools, count, true, EHLO_ADDRESSES_MAX, v4);
    size_t v6_count = choose(b, pools, count, false, limit_v6, v6);
    if (v4_count + v6_count > EHLO_ADDRESSES_MAX) { /* both: neither less than half, if it has them */
        size_t half = EHLO_ADDRESSES_MAX / 2;
        size_t keep_v6 = v6_count < half ? v6_count : half;
        if (v4_count > EHLO_ADDRESSES_MAX - keep_v6)
            v4_count = EHLO_ADDRESSES_MAX - keep_v6;
        v6_count = EHLO_ADDRESSES_MAX - v4_count < v6_count ? EHLO_ADDRESSES_MAX - v4_count : v6_count;
    }
    for (size_t i = 0; i < v4_count; i++)
        plan_add_address(b, zone, e->name, &v4[i]->ip);
    for (size_t i = 0; i < v6_count; i++)
        plan_add_address(b, zone, e->name, &v6[i]->ip);
}

/* ---- SPF ---- */

/* Every address that may say the name: unpublished ones too, since this record speaks for EHLO only. */
static void add_spf(struct plan_building *b, const struct ehlo *e) {
    const struct pools *p = b->input->pools;
    size_t count = 0;
    for (size_t i = 0; i < p->pool_count; i++)
        count += p->pools[i].range_count;
    struct ip_range *ranges = arena_array(b->arena, struct ip_range, count);
    count = 0;
    for (size_t i = 0; i < p->pool_count; i++) {
        const struct pool *pool = &p->pools[i];
        if (!e->sites[pool->site] || pool->spf_hidden || !pool->range_count)
            continue;
        memcpy(ranges + count, pool->ranges, pool->range_count * sizeof *ranges);
        count += pool->range_count;
    }
    plan_spf(b, e->name, ranges, count, SPF_LOOKUPS_OF_NAME);
}

void plan_ehlo(struct plan_building *b) {
    struct ehlos names = collect(b);
    for (size_t i = 0; i < names.count; i++) {
        const struct ehlo *e = &names.at[i];
        if (str_index(e->name, '.') < 0)
            plan_note(b, e->name, "this EHLO name is no full name (mail.example.com)");
        add_addresses(b, e, plan_zone_of(b, e->name, PLAN_OURS));
        add_spf(b, e);
    }
}
