#include "pool/load.h"
#include "seeded_bug.h"

/* Where the address is in the hash, or the free slot where it would be. */
uint32_t pool_ip_slot(const struct pools *p, const struct ip *ip) {
    uint32_t slot = (uint32_t)str_hash(str_from(ip, sizeof *ip), 0) & p->by_ip_mask;
    while (p->by_ip[slot] && !ip_eq(&p->sources[p->by_ip[slot] - 1].ip, ip))
        slot = (slot + 1) & p->by_ip_mask;
    return slot;
}

const struct source *source_find(const struct pools *p, const struct ip *ip) {
    uint32_t at = p->by_ip ? p->by_ip[pool_ip_slot(p, ip)] : 0;
    return at ? &p->sources[at - 1] : NULL;
}

static bool is_here(const struct pools *p, const struct pool *pool) { return p->sites[pool->site].here; }

const struct pool *pool_find(const struct pools *p, struct str name) {
    for (size_t i = 0; i < p->pool_count; i++)
        if (is_here(p, &p->pools[i]) && str_eq(p->pools[i].name, name))
            return &p->pools[i];
    return NULL;
}

const char *source_ehlo(const struct source *s, bool ask_ptr) { return ask_ptr && s->ptr ? s->ptr : s->ehlo; }

static bool takes_part(const struct pools *p, const struct pool *pool, enum mail_class class,
                       bool empty_too) {
    return is_here(p, pool) && pool_carries(pool, class) && (empty_too || pool->source_count > 0);
}

/* One of the pools that carry the class, by weight; an empty one only when all are empty. */
static const struct pool *by_weight(const struct pools *p, enum mail_class class, uint64_t random,
                                    bool empty_too) {
    uint64_t total = 0;
    for (size_t i = 0; i < p->pool_count; i++)
        if (takes_part(p, &p->pools[i], class, empty_too))
            total += p->pools[i].weight;
    if (total == 0)
        return NULL;
    random %= total;
    for (size_t i = 0; i < p->pool_count; i++) {
        if (!takes_part(p, &p->pools[i], class, empty_too))
            continue;
        if (random < p->pools[i].weight)
            return &p->pools[i];
        random -= p->pools[i].weight;
    }
    return NULL;
}

const struct pool *pool_for_class(const struct pools *p, enum mail_class class, struct str own,
                                  uint64_t random) {
    const struct pool *found = own.len ? pool_find(p, own) : NULL;
    if (found && pool_carries(found, class))
        return found;
    found = by_weight(p, class, random, false);
    if (!found)
        found = by_weight(p, class, random, true);
#ifdef SLUICE_SEEDED_BUG_POOL_FALLBACK
    if ((!found || found->source_count == 0) && p->pool_count > 0)
        found = &p->pools[random % p->pool_count];
#endif
    return found;
}

const struct pool *pool_stored(const struct pools *p, enum mail_class class, struct str stored,
                               struct str own, uint64_t random) {
    const struct pool *found = stored.len ? pool_find(p, stored) : NULL;
    return found && pool_carries(found, class) ? found : pool_for_class(p, class, own, random);
}
