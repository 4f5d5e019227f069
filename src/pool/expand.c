/* Written addresses become sources: ranges are read, counted, then expanded in written order. */
#include "base/error.h"
#include "base/ip_range.h"
#include "pool/load.h"

struct written_range {
    struct ip_range range;
    struct str text;
};

struct ranges {
    struct written_range *at;
    size_t count;
};

/* Unspecified, multicast and broadcast addresses are no addresses to send from. */
static bool is_unicast(const struct ip_range *r) {
    static const struct ip unspecified;
    if (ip_is_v4(&r->first))
        return r->first.bytes[12] != 0 && r->last.bytes[12] < 224;
    return !ip_eq(&r->first, &unspecified) && r->last.bytes[0] != 0xff;
}

/* The network that was meant by a CIDR with bits set right of its prefix. */
static void complain_of_cidr(struct pool_loading *l, const struct pool_draft *d, struct str text) {
    size_t slash = (size_t)str_index(text, '/');
    struct str prefix = str_from_index(text, slash + 1);
    struct ip ip;
    uint64_t bits = 0;
    char network[IP_TEXT_SIZE];
    ip_parse(str_head(text, slash), &ip);
    str_to_u64(prefix, &bits);
    size_t skip = ip_is_v4(&ip) ? 96 : 0;
    if (bits > 128 - skip) {
        config_complain(l->errors, d->where, "addresses", "`%.*s`: the prefix goes to /%d at most",
                        STR_FMT(text), (int)(128 - skip));
        return;
    }
    for (size_t bit = skip + bits; bit < 128; bit++)
        ip.bytes[bit / 8] &= (unsigned char)~(0x80u >> bit % 8);
    config_complain(l->errors, d->where, "addresses",
                    "`%.*s` has bits set right of its prefix: the network is %s/%.*s", STR_FMT(text),
                    ip_text(&ip, network), STR_FMT(prefix));
}

static bool read_range(struct pool_loading *l, const struct pool_draft *d, struct str text,
                       struct ip_range *ret) {
    int error = ip_range_parse(text, ret);
    if (error == 0 && is_unicast(ret))
        return true;
    if (error == SLUICE_ESYNTAX)
        config_complain(
            l->errors, d->where, "addresses",
            "`%.*s` is no address (192.0.2.1), network (192.0.2.16/28) or range (192.0.2.1-192.0.2.9)",
            STR_FMT(str_head(text, 100)));
    else if (error == 0)
        config_complain(l->errors, d->where, "addresses", "`%.*s` holds addresses that nobody can send from",
                        STR_FMT(text));
    else if (str_index(text, '/') >= 0)
        complain_of_cidr(l, d, text);
    else
        config_complain(l->errors, d->where, "addresses",
                        "`%.*s`: a range goes from a lower to a higher address of the same family",
                        STR_FMT(text));
    return false;
}

static struct ranges read_ranges(struct pool_loading *l, const struct pool_draft *d, uint64_t *total) {
    struct ranges r = {arena_array(l->arena, struct written_range, d->addresses.count), 0};
    for (size_t i = 0; i < d->addresses.count; i++) {
        struct written_range *range = &r.at[r.count];
        range->text = d->addresses.at[i];
        if (!read_range(l, d, range->text, &range->range))
            continue;
        uint64_t size = ip_range_size(&range->range);
        if (size > POOL_ADDRESSES_MAX - *total) {
            config_complain(l->errors, d->where, "addresses",
                            "`%.*s`: with this there are more than %d addresses in all", STR_FMT(range->text),
                            POOL_ADDRESSES_MAX);
            continue;
        }
        *total += size;
        r.count++;
    }
    return r;
}

static void next_address(struct ip *ip) {
    for (size_t i = sizeof ip->bytes; i-- > 0;)
        if (++ip->bytes[i] != 0)
            return;
}

/* The EHLO name of a pool whose sources share one; NULL: each has its PTR name. */
static const char *shared_ehlo(const struct pool_loading *l, const struct pool_draft *d) {
    if (d->ehlo_ptr)
        return NULL;
    return d->ehlo.len ? d->ehlo.at : l->sites[d->pool.site].ehlo.at;
}

static void complain_of_twice(struct pool_loading *l, const struct pool_draft *d, struct str range,
                              const struct source *first, uint64_t count) {
    const struct pool_draft *other = &l->drafts[first->pool];
    char text[IP_TEXT_SIZE];
    struct str more = count > 1 ? str_printf(l->arena, ", and so are %llu more of `%.*s`",
                                             (unsigned long long)count - 1, STR_FMT(range))
                                : STR("");
    config_complain(l->errors, d->where, "addresses", "%s is already in pool `%.*s` (line %d)%.*s",
                    ip_text(&first->ip, text), STR_FMT(other->pool.name),
                    config_line(other->where, "addresses"), STR_FMT(more));
}

static void expand_range(struct pool_loading *l, struct pools *p, struct pool_draft *d,
                         const struct written_range *w) {
    struct source *sources = (struct source *)(uintptr_t)p->sources; /* ours until pool_expand returns */
    uint32_t *by_ip = (uint32_t *)(uintptr_t)p->by_ip;
    const struct site *site = &l->sites[d->pool.site];
    const char *ehlo = shared_ehlo(l, d);
    const struct source *twice = NULL;
    uint64_t twice_count = 0, size = ip_range_size(&w->range);
    struct ip ip = w->range.first;
    for (uint64_t i = 0; i < size; i++, next_address(&ip)) {
        uint32_t slot = pool_ip_slot(p, &ip);
        if (by_ip[slot]) {
            twice = twice ? twice : &sources[by_ip[slot] - 1];
            twice_count++;
            continue;
        }
        uint32_t n = ip_is_v4(&ip) ? ++d->pool.v4_count : ++d->pool.v6_count;
        struct source *s = &sources[p->source_count++];
        *s = (struct source){.ip = ip, .pool = (uint32_t)(d - l->drafts), .ordinal = n};
        s->ptr = site->ptr.len ? pool_ptr_name(l->arena, site->ptr, d->pool.code, n) : NULL;
        s->ehlo = ehlo ? ehlo : s->ptr ? s->ptr : site->ehlo.at;
        by_ip[slot] = (uint32_t)p->source_count;
        d->pool.source_count++;
    }
    if (twice)
        complain_of_twice(l, d, w->text, twice, twice_count);
}

void pool_expand(struct pool_loading *l, struct pools *p) {
    struct ranges *ranges = arena_array(l->arena, struct ranges, l->draft_count);
    uint64_t total = 0;
    uint32_t slots = 16;
    for (size_t i = 0; i < l->draft_count; i++)
        ranges[i] = read_ranges(l, &l->drafts[i], &total);
    while (slots < total * 2)
        slots *= 2;
    p->sources = arena_array(l->arena, struct source, total);
    p->by_ip = arena_array(l->arena, uint32_t, slots);
    p->by_ip_mask = slots - 1;
    for (size_t i = 0; i < l->draft_count; i++) {
        struct ip_range *written = arena_array(l->arena, struct ip_range, ranges[i].count);
        l->drafts[i].pool.sources = p->sources + p->source_count;
        l->drafts[i].pool.ranges = written;
        l->drafts[i].pool.range_count = ranges[i].count;
        for (size_t j = 0; j < ranges[i].count; j++) {
            written[j] = ranges[i].at[j].range;
            expand_range(l, p, &l->drafts[i], &ranges[i].at[j]);
        }
    }
}
