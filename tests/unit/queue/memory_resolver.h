/* memory_resolver.h - a resolver that answers from a table.
 *
 * A name that is nowhere in the table does not exist; one that is there with other types only has no such
 * record. A record with `fails` makes the look-up of that name and type fail.
 */
#pragma once
#include "rt/resolver.h"
#include <stdlib.h>

struct memory_record {
    const char *name;
    enum dns_type type;
    const char *value; /* an address, a name, or "10 mx.example" */
    bool fails;
    uint32_t ttl;
};

struct memory_resolver {
    struct resolver resolver;
    const struct memory_record *records;
    size_t count;
    _Atomic unsigned asked;
};

static void memory_fill(const struct memory_record *record, struct arena *arena, struct dns_record *to) {
    struct str value = str_of(record->value);
    *to = (struct dns_record){0};
    if (record->type == DNS_A || record->type == DNS_AAAA) {
        ip_parse(value, &to->ip);
    } else if (record->type == DNS_MX) {
        struct str preference = STR_NULL;
        str_cut(&value, ' ', &preference);
        to->preference = (uint16_t)atoi(str_c(arena, preference));
        to->name = value;
    } else {
        to->name = value;
    }
}

static void memory_lookup(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                          struct arena *arena, struct dns_answer *ret) {
    (void)deadline;
    struct memory_resolver *memory = (struct memory_resolver *)(void *)self;
    memory->asked++;
    *ret = (struct dns_answer){.status = DNS_NONE, .nxdomain = true, .ttl = 300};
    ret->records = arena_array(arena, struct dns_record, memory->count);
    for (size_t i = 0; i < memory->count; i++) {
        const struct memory_record *record = &memory->records[i];
        if (!str_eq_nocase(str_of(record->name), name))
            continue;
        ret->nxdomain = false;
        if (record->type != type)
            continue;
        if (record->fails) {
            *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("SERVFAIL")};
            return;
        }
        memory_fill(record, arena, &ret->records[ret->count++]);
        ret->status = DNS_RECORDS;
        if (record->ttl)
            ret->ttl = record->ttl;
    }
}

static inline struct memory_resolver memory_resolver_of(const struct memory_record *records, size_t count) {
    return (struct memory_resolver){.resolver = {memory_lookup}, .records = records, .count = count};
}
