#include "auth/beside.h"
#include "auth/dkim_check.h"

#include <stdlib.h>

enum { BESIDE_MAX = 8, NAME_OCTETS_MAX = 253 };

/* The first of the answer's texts that is a key record; without one, what is wrong with the first. */
static void read_answer(struct dkim_lookups *lookups, struct arena *scratch, const struct dns_answer *answer,
                        struct dkim_lookup *lookup) {
    if (answer->status == DNS_FAILED) {
        lookup->result = DKIM_TEMPERROR;
        lookup->why = str_printf(lookups->arena, "the DNS did not answer for %.*s: %.*s",
                                 STR_FMT(lookup->name), STR_FMT(answer->why));
        return;
    }
    lookup->result = DKIM_PERMERROR;
    lookup->why = str_printf(lookups->arena, "no key at %.*s", STR_FMT(lookup->name));
    for (size_t i = 0; answer->status == DNS_RECORDS && i < answer->count && i < DKIM_VERIFY_MAX; i++) {
        struct str why;
        if (dkim_record_parse(scratch, answer->records[i].text, &why, &lookup->record) == 0) {
            lookup->result = DKIM_PASS;
            return;
        }
        if (i == 0)
            lookup->why = why;
    }
}

static struct str name_of(struct dkim_lookups *lookups, const struct dkim_signature *s) {
    return str_printf(lookups->arena, "%.*s._domainkey.%.*s", STR_FMT(s->selector), STR_FMT(s->domain));
}

static struct dkim_lookup *find(struct dkim_lookups *lookups, struct str name) {
    for (size_t i = 0; i < lookups->count; i++)
        if (str_eq(lookups->items[i].name, name))
            return &lookups->items[i];
    return NULL;
}

void dkim_lookups_want(struct dkim_lookups *lookups, const struct dkim_signature *s) {
    struct str name = name_of(lookups, s);
    if (find(lookups, name))
        return;
    if (lookups->count == lookups->cap) {
        lookups->cap = lookups->cap ? 2 * lookups->cap : 4;
        lookups->items = xrealloc(lookups->items, lookups->cap * sizeof *lookups->items);
    }
    lookups->items[lookups->count++] = (struct dkim_lookup){.name = name};
}

/* An answer may be big: it goes when it is read. */
static void ask(struct dkim_lookups *lookups, struct dkim_lookup *lookup) {
    struct dns_answer answer = {0};
    if (lookup->name.len > NAME_OCTETS_MAX) {
        lookup->result = DKIM_PERMERROR;
        lookup->why = STR("s= and d= make a name that is too long");
        return;
    }
    struct arena *scratch = arena_new(0);
    resolver_lookup(lookups->resolver, lookup->name, DNS_TXT, lookups->deadline, scratch, &answer);
    read_answer(lookups, scratch, &answer, lookup);
    arena_free(scratch);
}

static void ask_on(void *arg) {
    struct dkim_lookups *lookups = arg;
    while (lookups->next < lookups->count) {
        struct dkim_lookup *lookup = &lookups->items[lookups->next++];
        ask(lookups, lookup);
    }
}

void dkim_lookups_run(struct dkim_lookups *lookups) {
    struct beside others[BESIDE_MAX - 1];
    size_t count = 0;
    while (count < BESIDE_MAX - 1 && lookups->next + count + 1 < lookups->count)
        beside_start(&others[count++], ask_on, lookups);
    ask_on(lookups);
    while (count)
        beside_join(&others[--count]);
}

const struct dkim_lookup *dkim_lookups_find(struct dkim_lookups *lookups, const struct dkim_signature *s) {
    return find(lookups, name_of(lookups, s));
}

void dkim_lookups_free(struct dkim_lookups *lookups) {
    for (size_t i = 0; i < lookups->count; i++)
        dkim_record_free(&lookups->items[i].record);
    free(lookups->items);
    lookups->items = NULL;
    lookups->count = lookups->cap = lookups->next = 0;
}
