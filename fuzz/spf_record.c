/* A record that is found right can be evaluated, whatever the DNS answers: with a bounded number of
 * questions, and nothing in the explanation that would break a reply line. Every question is answered from
 * the input. */
#include "auth/spf_record.h"
#include "auth/spf.h"
#include "base/clock.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { ASKED_MAX = 1 + SPF_TERMS_MAX * (1 + SPF_NAMES_MAX) + 1 + SPF_NAMES_MAX + 1 };

struct source {
    struct resolver resolver;
    struct str input;
    size_t asked;
};

static void source_lookup(struct resolver *resolver, struct str name, enum dns_type type, int64_t deadline,
                          struct arena *arena, struct dns_answer *ret) {
    (void)deadline;
    struct source *s = (struct source *)resolver;
    if (!name.len || name.len > 4 * 253)
        abort();
    uint64_t chance = str_hash_nocase(name, s->input.len + type);
    *ret = (struct dns_answer){.status = DNS_RECORDS, .count = type == DNS_TXT ? 1 : chance % 4};
    if (!ret->count || ++s->asked % 7 == 0)
        *ret = (struct dns_answer){.status = chance % 3 ? DNS_NONE : DNS_FAILED};
    ret->records = arena_array(arena, struct dns_record, 4);
    for (size_t i = 0; i < ret->count; i++) {
        struct dns_record *r = &ret->records[i];
        r->text = s->input;
        r->name = i ? STR("h.a.example") : STR("a.example");
        (void)ip_parse(type == DNS_A ? STR("192.0.2.1") : STR("2001:db8::1"), &r->ip);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str input = str_from(bytes, len), term;
    struct spf_record record;
    const char *why = NULL;
    if (spf_is_record(input) && spf_record_check(input, &record, &term, &why) < 0 && (!why || !term.len))
        abort();
    static const char *const clients[] = {"192.0.2.1", "2001:db8::2"};
    for (size_t i = 0; i < 2; i++) {
        struct source source = {.resolver = {.lookup = source_lookup}, .input = input};
        struct spf_query query = {.helo = str_head(input, 40),
                                  .mail_from = i ? str_from_index(input, len / 2) : STR("a-b@a.example"),
                                  .deadline = clock_mono_ms() + SPF_DEADLINE_MS};
        struct spf_check check;
        (void)ip_parse(str_of(clients[i]), &query.ip);
        spf_check(&source.resolver, &query, arena, &check);
        if (source.asked > ASKED_MAX || check.terms > SPF_TERMS_MAX + 1 || check.voids > SPF_VOIDS_MAX + 1 ||
            check.explanation.len > SPF_EXPLANATION_MAX ||
            (check.explanation.len && check.result != SPF_FAIL))
            abort();
        for (size_t c = 0; c < check.explanation.len; c++)
            if (check.explanation.at[c] < 0x20 || check.explanation.at[c] > 0x7e)
                abort();
    }
    arena_free(arena);
    return 0;
}
