/* txt_resolver.h - a resolver that knows some TXT records.
 *
 * A text of NULL is a name that does not answer. Other names do not exist.
 */
#pragma once
#include "rt/resolver.h"

enum { TXT_RECORDS_MAX = 64 };

struct txt_record {
    const char *name, *text;
};

struct txt_resolver {
    struct resolver resolver;
    struct txt_record records[TXT_RECORDS_MAX];
    size_t count;
    unsigned asked;
};

static inline void txt_lookup(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                              struct arena *arena, struct dns_answer *ret) {
    struct txt_resolver *txt = (struct txt_resolver *)(void *)self;
    (void)deadline;
    txt->asked++;
    *ret = (struct dns_answer){.status = DNS_NONE, .nxdomain = true};
    ret->records = arena_array(arena, struct dns_record, TXT_RECORDS_MAX);
    for (size_t i = 0; i < txt->count && type == DNS_TXT; i++) {
        if (!str_eq_nocase(str_of(txt->records[i].name), name))
            continue;
        ret->nxdomain = false;
        ret->status = txt->records[i].text ? DNS_RECORDS : DNS_FAILED;
        ret->why = STR("SERVFAIL");
        ret->records[ret->count++].text = str_of(txt->records[i].text);
    }
}

static inline void txt_add(struct txt_resolver *txt, const char *name, const char *text) {
    txt->resolver.lookup = txt_lookup;
    if (txt->count < TXT_RECORDS_MAX)
        txt->records[txt->count++] = (struct txt_record){name, text};
}
