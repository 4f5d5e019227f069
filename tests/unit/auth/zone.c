#include "zone.h"

#include <stddef.h>

enum { CNAMES_MAX = 8 };

static const struct {
    enum dns_type type;
    struct str name;
} types[] = {{DNS_A, STR("A")},
             {DNS_AAAA, STR("AAAA")},
             {DNS_MX, STR("MX")},
             {DNS_TXT, STR("TXT")},
             {DNS_PTR, STR("PTR")}};

static struct str type_name(enum dns_type type) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type)
            return types[i].name;
    return STR("?");
}

static struct str host_name(struct arena *arena, struct str s) {
    if (s.len && s.at[s.len - 1] == '.')
        s.len--;
    return s.len ? str_lower(arena, s) : STR(".");
}

static struct dns_record decode(struct arena *arena, enum dns_type type, struct str data) {
    struct dns_record r = {0};
    struct str preference;
    uint64_t value = 0;
    switch (type) {
    case DNS_A:
    case DNS_AAAA:
        (void)ip_parse(data, &r.ip);
        break;
    case DNS_MX:
        (void)str_cut(&data, ' ', &preference);
        (void)str_to_u64(preference, &value);
        r.preference = (uint16_t)value;
        r.name = host_name(arena, data);
        break;
    case DNS_TXT:
        r.text = str_copy(arena, data);
        break;
    default:
        r.name = host_name(arena, data);
    }
    return r;
}

/* The answer for one name; false when an alias leads on, to *name. */
static bool answer_of(const struct zone *z, struct str *name, enum dns_type type, struct arena *arena,
                      struct dns_answer *ret) {
    bool timeout = false;
    struct str alias = STR_NULL;
    ret->nxdomain = true;
    ret->records = arena_array(arena, struct dns_record, z->count + 1);
    for (size_t i = 0; i < z->count; i++) {
        const struct zone_record *r = &z->records[i];
        if (!str_eq_nocase(r->name, *name))
            continue;
        ret->nxdomain = false;
        timeout |= str_eq(r->type, STR("TIMEOUT"));
        if (str_eq(r->type, STR("CNAME")))
            alias = host_name(arena, r->data);
        if (str_eq(r->type, type_name(type)))
            ret->records[ret->count++] = decode(arena, type, r->data);
    }
    if (ret->count) {
        ret->status = DNS_RECORDS;
    } else if (timeout) {
        ret->status = DNS_FAILED;
        ret->why = STR("timeout");
    } else if (alias.len && !str_eq(alias, STR("."))) {
        *name = alias;
        return false;
    }
    return true;
}

static void zone_lookup(struct resolver *resolver, struct str name, enum dns_type type, int64_t deadline,
                        struct arena *arena, struct dns_answer *ret) {
    (void)deadline;
    struct zone *z = (struct zone *)((char *)resolver - offsetof(struct zone, resolver));
    z->asked++;
    if (name.len && name.at[name.len - 1] == '.')
        name.len--;
    for (size_t i = 0; i < CNAMES_MAX; i++) {
        *ret = (struct dns_answer){.status = DNS_NONE, .canonical = i ? name : STR("")};
        if (answer_of(z, &name, type, arena, ret))
            return;
    }
    *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("aliases in a loop")};
}

void zone_open(struct zone *z, const struct zone_record *records, size_t count) {
    *z = (struct zone){.resolver = {.lookup = zone_lookup}, .records = records, .count = count};
}
