#include "auth/align.h"
#include "identity/build.h"
#include "seeded_bug.h"
#include <stdio.h>

void plan_add(struct plan_building *b, size_t zone, struct str name, const char *type, struct str data) {
    struct plan_record record = {
        .name = str_printf(b->arena, "%.*s.", STR_FMT(name)),
        .type = type,
        .ttl = b->input->settings->ttl,
        .data = data,
        .zone = zone,
    };
    buf_add(&b->records, &record, sizeof record);
}

void plan_add_address(struct plan_building *b, size_t zone, struct str name, const struct ip *ip) {
    char text[IP_TEXT_SIZE];
    plan_add(b, zone, name, ip_is_v4(ip) ? "A" : "AAAA", str_copy(b->arena, str_of(ip_text(ip, text))));
}

struct str plan_txt(struct arena *arena, struct str text) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    buf_char(&out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (i && i % 255 == 0)
            buf_str(&out, STR("\" \""));
        if (c < ' ' || c > '~')
            buf_printf(&out, "\\%03u", c);
        else if (c == '"' || c == '\\')
            buf_printf(&out, "\\%c", c);
        else
            buf_char(&out, (char)c);
    }
    buf_char(&out, '"');
    return str_copy(arena, buf_view(&out));
}

void plan_add_txt(struct plan_building *b, size_t zone, struct str name, struct str text) {
    plan_add(b, zone, name, "TXT", plan_txt(b->arena, text));
}

void plan_note(struct plan_building *b, struct str name, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct plan_note note = {name, str_vprintf(b->arena, format, args)};
    va_end(args);
    buf_add(&b->notes, &note, sizeof note);
}

/* ---- SPF ---- */

/* One A record an address, for sets that no list of networks holds. */
static void add_exists(struct plan_building *b, size_t zone, struct str owner, const struct cidr *cidrs,
                       size_t count) {
    uint64_t addresses = 0;
    bool too_long = false;
    plan_add_txt(b, zone, owner, spf_exists(b->arena, owner));
    for (size_t i = 0; i < count; i++) {
        struct ip_range range = cidr_range(&cidrs[i]);
        struct ip ip = range.first;
        for (uint64_t left = ip_range_size(&range); left-- > 0; ip_step(&ip), addresses++) {
            struct str name = spf_exists_name(b->arena, &ip, owner);
            if (name.len <= NAME_LENGTH_MAX)
                plan_add(b, zone, name, "A", STR("127.0.0.2"));
            else
                too_long = true;
        }
    }
    plan_note(b, owner,
              "its %llu addresses make %zu networks, more than SPF records of %d octets and under 10 lookups "
              "hold: it asks for an A record of each address instead (exists)",
              (unsigned long long)addresses, count, SPF_TEXT_MAX);
    if (too_long)
        plan_note(b, owner, "this name is too long for names of addresses below it: their SPF can't pass");
}

void plan_spf(struct plan_building *b, struct str owner, struct ip_range *ranges, size_t count,
              unsigned lookups) {
    size_t zone = plan_zone_of(b, owner, PLAN_OURS);
    struct spf_texts texts;
    struct cidr *cidrs;
    if (map_get(b->spf_owners, owner))
        return;
    map_put(b->spf_owners, owner, b);
    count = cidr_merge(b->arena, ranges, count, &cidrs);
    if (!spf_split(b->arena, owner, cidrs, count, lookups, &texts)) {
        add_exists(b, zone, owner, cidrs, count);
        return;
    }
    for (size_t i = 0; i < texts.count; i++)
        plan_add_txt(b, zone, texts.at[i].name, texts.at[i].text);
}

/* ---- the customers' includes ---- */

/* The published ranges of pools with this name; of all when it is empty. */
static size_t published(const struct pools *p, struct str name, struct arena *arena, struct ip_range **ret) {
    size_t count = 0;
    for (size_t i = 0; i < p->pool_count; i++)
        count += p->pools[i].range_count;
    struct ip_range *ranges = arena_array(arena, struct ip_range, count);
    count = 0;
    for (size_t i = 0; i < p->pool_count; i++) {
        const struct pool *pool = &p->pools[i];
#ifdef SLUICE_SEEDED_BUG_CUSTOMERS_INCLUDE_UNPUBLISHED
        bool published_there = true;
#else
        bool published_there = pool->spf_published;
#endif
        bool wanted = published_there && (!name.len || str_eq(pool->name, name));
        if (wanted && pool->range_count)
            memcpy(ranges + count, pool->ranges, pool->range_count * sizeof *ranges);
        count += wanted ? pool->range_count : 0;
    }
    *ret = ranges;
    return count;
}

size_t plan_ranges(struct arena *arena, const struct pools *pools, struct cidr **ret) {
    struct ip_range *ranges;
    size_t count = published(pools, STR(""), arena, &ranges);
    return cidr_merge(arena, ranges, count, ret);
}

static bool named_before(const struct pools *p, size_t at) {
    for (size_t i = 0; i < at; i++)
        if (p->pools[i].spf_published && str_eq(p->pools[i].name, p->pools[at].name))
            return true;
    return false;
}

static void add_includes(struct plan_building *b) {
    const struct pools *p = b->input->pools;
    struct str owner = str_printf(b->arena, "spf.%.*s", STR_FMT(b->domain));
    struct ip_range *ranges;
    size_t count = published(p, STR(""), b->arena, &ranges);
    plan_spf(b, owner, ranges, count, SPF_LOOKUPS_OF_INCLUDE);
    for (size_t i = 0; i < p->pool_count; i++) {
        struct str pool = p->pools[i].name;
        if (!p->pools[i].spf_published || named_before(p, i))
            continue;
        if (!pool_host_name_valid(pool) || str_index(pool, '.') >= 0) {
            plan_note(b, owner, "pool `%.*s` has no include of its own: its name is no DNS label",
                      STR_FMT(pool));
            continue;
        }
        count = published(p, pool, b->arena, &ranges);
        plan_spf(b, str_printf(b->arena, "%.*s.%.*s", STR_FMT(pool), STR_FMT(owner)), ranges, count,
                 SPF_LOOKUPS_OF_INCLUDE);
    }
}

/* ---- tenants ---- */

static void add_shared_txt(struct plan_building *b, size_t zone, struct str name, struct str text) {
    plan_add_txt(b, zone, name, text);
    ((struct plan_record *)(void *)(b->records.at + b->records.len))[-1].shared = true;
}

static void add_domain(struct plan_building *b, const struct plan_domain *d) {
    size_t zone = plan_zone_of(b, d->domain, PLAN_TENANT);
    if (map_get(b->spf_owners, d->domain)) {
        plan_note(
            b, d->domain,
            "this domain of tenant `%.*s` is an EHLO name too, and keeps the SPF record of that, which lets "
            "unpublished pools through, too: better give the site an EHLO name of its own",
            STR_FMT(d->tenant));
    } else {
        map_put(b->spf_owners, d->domain, b);
        add_shared_txt(b, zone, d->domain,
                       str_printf(b->arena, "v=spf1 include:spf.%.*s -all", STR_FMT(b->domain)));
    }
    add_shared_txt(b, zone, str_printf(b->arena, "_dmarc.%.*s", STR_FMT(d->domain)),
                   str_printf(b->arena, "v=DMARC1; %.*s", STR_FMT(b->input->settings->dmarc)));
    if (d->token.len)
        plan_add_txt(b, zone, str_printf(b->arena, "_sluice.%.*s", STR_FMT(d->domain)), d->token);
}

static void add_tenants(struct plan_building *b) {
    const struct plan_input *in = b->input;
    for (size_t i = 0; i < in->domain_count; i++)
        add_domain(b, &in->domains[i]);
    for (size_t i = 0; i < in->dkim_count; i++) {
        const struct plan_dkim *key = &in->dkim[i];
        struct str name =
            str_printf(b->arena, "%.*s._domainkey.%.*s", STR_FMT(key->selector), STR_FMT(key->domain));
        plan_add_txt(b, plan_zone_of(b, key->domain, PLAN_TENANT), name, key->text);
    }
}

/* Said when nobody chose: a site elsewhere can't know whose name its customers include. */
static void check_domain(struct plan_building *b) {
    const struct pools *p = b->input->pools;
    for (size_t i = 0; i < p->site_count && !b->input->settings->domain_given; i++)
        if (!align_same_organisation(p->sites[i].ehlo, b->domain)) {
            plan_note(b, b->domain,
                      "the sites say EHLO names of several domains, the customers' includes stand in that of "
                      "the first: identity { domain = ... } chooses another");
            return;
        }
}

static void *taken(struct arena *arena, const struct buf *b) {
    void *copy = arena_alloc(arena, b->len);
    if (b->len)
        memcpy(copy, b->at, b->len);
    return copy;
}

/* By zone, in each as they came. */
static const struct plan_record *by_zone(struct plan_building *b) {
    struct plan_zone *zones = (struct plan_zone *)(void *)b->zones.at;
    const struct plan_record *records = (const struct plan_record *)(const void *)b->records.at;
    size_t count = b->records.len / sizeof *records, first = 0;
    struct plan_record *sorted = arena_array(b->arena, struct plan_record, count);
    for (size_t i = 0; i < count; i++)
        zones[records[i].zone].count++;
    for (size_t i = 0; i < b->zones.len / sizeof *zones; i++) {
        zones[i].first = first;
        first += zones[i].count;
        zones[i].count = 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct plan_zone *zone = &zones[records[i].zone];
        sorted[zone->first + zone->count++] = records[i];
    }
    return sorted;
}

struct plan plan_build(struct arena *arena, const struct plan_input *input) {
    struct plan_building b = {
        .arena = arena,
        .input = input,
        .zone_numbers = map_new(true),
        .spf_owners = map_new(true),
        .v4_counts = map_new(false),
        .domain = input->settings->domain,
    };
    plan_count_blocks(&b);
    check_domain(&b);
    plan_ehlo(&b);
    plan_addresses(&b);
    add_includes(&b);
    add_tenants(&b);
    struct plan plan = {
        .records = by_zone(&b),
        .record_count = b.records.len / sizeof(struct plan_record),
        .zones = taken(arena, &b.zones),
        .zone_count = b.zones.len / sizeof(struct plan_zone),
        .notes = taken(arena, &b.notes),
        .note_count = b.notes.len / sizeof(struct plan_note),
    };
    buf_free(&b.records), buf_free(&b.zones), buf_free(&b.notes);
    map_free(b.zone_numbers), map_free(b.spf_owners), map_free(b.v4_counts);
    return plan;
}
