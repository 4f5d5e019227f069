/* One question of the survey. */
#include "base/clock.h"
#include "identity/survey_inside.h"
#include "rt/fiber.h"
#include "seeded_bug.h"

enum { REMEMBERED_MAX = 4096, QUESTIONS_OF_SPF = 10 };

struct memory {
    struct dns_answer answer;
    bool ready;
    struct waiters waiters;
};

static const char *type_text(enum dns_type type) {
    static const struct {
        enum dns_type type;
        const char *text;
    } types[] = {{DNS_A, "A"}, {DNS_AAAA, "AAAA"}, {DNS_PTR, "PTR"}, {DNS_MX, "MX"}, {DNS_TXT, "TXT"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type)
            return types[i].text;
    return "?";
}

/* Waits for one's turn. */
static void pace(struct survey *a) {
    if (!a->in->per_second)
        return;
    int64_t now = clock_mono_ms() * 1000, turn = a->free_at > now ? a->free_at : now;
    a->free_at = turn + 1000000 / a->in->per_second;
    /* At the end of the runtime nobody waits for the answers. */
    if (turn - now >= 1000 && fiber_sleep((turn - now) / 1000) == SLUICE_ECANCELLED)
        a->next = a->total;
}

static void ask_below(struct survey *a, struct str name, enum dns_type type, struct arena *arena,
                      struct dns_answer *ret) {
    int64_t deadline = dns_patience_next(&a->patience, clock_mono_ms());
    if (!deadline) {
        a->unasked++;
        *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("not asked")};
        return;
    }
    int64_t begun = clock_mono_ms();
    pace(a);
    deadline += clock_mono_ms() - begun; /* the limit is the resolver's, not that of who waits for a turn */
    resolver_lookup(a->below, name, type, deadline, arena, ret);
    answer_doubt(ret);
#ifdef SLUICE_SEEDED_BUG_SURVEY_FAILURE_IS_FAULT
    ret->status = ret->status == DNS_FAILED ? DNS_NONE : ret->status;
#endif
    if (ret->status == DNS_RECORDS && (!a->ttl || ret->ttl < a->ttl))
        a->ttl = ret->ttl ? ret->ttl : 1;
    if (ret->status != DNS_FAILED) {
        dns_patience_note(&a->patience, true);
        return;
    }
    dns_patience_note(&a->patience, false);
    a->failed++;
    struct str subject = str_printf(arena, "%.*s %s", STR_FMT(name), type_text(type));
    survey_say(a, a->total, SURVEY_UNANSWERED, subject, ret->why.len ? ret->why : STR("no answer"), STR_NULL);
}

static void remember(struct survey *a, struct str name, enum dns_type type, int64_t deadline,
                     struct arena *arena, struct dns_answer *ret) {
    if (name.len && name.at[name.len - 1] == '.')
        name.len--;
    struct str key = str_printf(arena, "%s %.*s", type_text(type), STR_FMT(name));
    struct memory *memory = map_get(a->remembered, key);
    if (!memory && map_count(a->remembered) >= REMEMBERED_MAX) {
        ask_below(a, name, type, arena, ret);
        return;
    }
    if (!memory) {
        memory = arena_new_of(a->arena, struct memory);
        map_put(a->remembered, key, memory);
        ask_below(a, name, type, a->arena, &memory->answer);
        memory->ready = true;
        waiters_wake_all(&memory->waiters);
    }
    while (!memory->ready)
        if (waiters_wait(&memory->waiters, deadline) != 0) {
            *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("the deadline passed")};
            return;
        }
    *ret = memory->answer;
}

void survey_lookup(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    struct survey *a = (struct survey *)(void *)self;
    remember(a, name, type, deadline, arena, ret);
    if (ret->status == DNS_FAILED)
        survey_doubt(a);
}

void survey_ask(struct survey *a, struct str name, enum dns_type type, struct arena *arena,
                struct dns_answer *ret) {
    survey_lookup(&a->resolver, name, type, clock_mono_ms() + 2 * a->in->timeout_ms, arena, ret);
}

void survey_spf(struct survey *a, const struct ip *ip, struct str domain, bool helo, struct arena *arena,
                struct spf_check *ret) {
    struct spf_query query = {
        .ip = *ip,
        .helo = domain,
        .mail_from = helo ? STR("") : str_printf(arena, "postmaster@%.*s", STR_FMT(domain)),
        .which = helo ? SPF_HELO : SPF_MAIL_FROM,
        .now = a->in->now,
        .deadline = clock_mono_ms() + QUESTIONS_OF_SPF * a->in->timeout_ms,
    };
    spf_check(&a->resolver, &query, arena, ret);
}
