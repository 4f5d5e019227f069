#include "identity/strict.h"

#include "auth/align.h"
#include "auth/beside.h"
#include "base/clock.h"
#include "identity/names.h"
#include "seeded_bug.h"

const char *strict_code_text(enum strict_code code) {
    static const char *const texts[] = {
#define X(name, text, demand) [STRICT_##name] = text,
        STRICT_CHECKS(X)
#undef X
    };
    return texts[code];
}

const char *strict_demand(enum strict_code code) {
    static const char *const demands[] = {
#define X(name, text, demand) [STRICT_##name] = demand,
        STRICT_CHECKS(X)
#undef X
    };
    return demands[code];
}

const char *strict_verdict_text(enum strict_verdict verdict) {
    static const char *const texts[] = {
#define X(name, text) [STRICT_##name] = text,
        STRICT_VERDICTS(X)
#undef X
    };
    return texts[verdict];
}

/* One address and what is asked about it. All its questions end with it. */
struct strict {
    struct resolver resolver; /* asks `below`, not past the deadline */
    struct resolver *below;
    const struct strict_query *query;
    struct arena *arena;
    struct strict_view *view;
    struct dns_answer v4, v6; /* of the EHLO name */
    struct spf_check spf;     /* of the same */
};

static void ask_bounded(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                        struct arena *arena, struct dns_answer *ret) {
    const struct strict *s = (const struct strict *)(const void *)self;
    int64_t until = s->query->deadline;
    if (clock_mono_ms() >= until)
        *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("there was no time left to ask")};
    else
        resolver_lookup(s->below, name, type, deadline < until ? deadline : until, arena, ret);
    answer_doubt(ret);
}

static void look(struct strict *s, struct str name, enum dns_type type, struct dns_answer *ret) {
    resolver_lookup(&s->resolver, name, type, clock_mono_ms() + s->query->timeout_ms, s->arena, ret);
#ifdef SLUICE_SEEDED_BUG_STRICT_FAILURE_IS_NONE
    ret->status = ret->status == DNS_FAILED ? DNS_NONE : ret->status;
#endif
}

static void say(struct strict *s, enum strict_code code, enum strict_verdict verdict, struct str why,
                struct str put) {
    s->view->checks[code] = (struct strict_check){
        .verdict = verdict, .sees = STR(""), .why = why, .put = put.len ? put : STR("")};
}

static void pass(struct strict *s, enum strict_code code) { say(s, code, STRICT_PASS, STR(""), STR_NULL); }

/* ---- the PTR name ---- */

static struct str put_names(struct strict *s, bool reverse) {
    if (!s->query->index)
        return STR_NULL;
    return plan_names_of(s->query->index, s->arena, &s->query->source->ip, reverse);
}

static void check_confirmed(struct strict *s) {
    const struct fcrdns *names = &s->view->names;
    const char *ptr = s->query->source->ptr;
    bool planned = ptr && str_eq_nocase(names->name, str_of(ptr));
    switch (names->state) {
    case FCRDNS_NO_PTR:
        say(s, STRICT_PTR, STRICT_FAIL, names->why, put_names(s, true));
        return;
    case FCRDNS_UNASKED:
        if (names->name.len)
            pass(s, STRICT_PTR);
        else
            say(s, STRICT_PTR, STRICT_UNKNOWN, names->why, STR_NULL);
        say(s, STRICT_FCRDNS, STRICT_UNKNOWN, names->why, STR_NULL);
        return;
    case FCRDNS_NOT_CONFIRMED:
        pass(s, STRICT_PTR);
        say(s, STRICT_FCRDNS, STRICT_FAIL, names->why, put_names(s, !planned));
        return;
    case FCRDNS_RIGHT:
        pass(s, STRICT_PTR);
        pass(s, STRICT_FCRDNS);
        return;
    }
}

static void check_name(struct strict *s) {
    const struct fcrdns *names = &s->view->names;
    if (!names->name.len)
        return;
    if (name_is_generic(s->arena, names->name))
        say(s, STRICT_NAME, STRICT_FAIL,
            str_printf(s->arena, "its PTR name %.*s looks like that of a customer's line",
                       STR_FMT(names->name)),
            put_names(s, true));
    else if (names->alias.len)
        say(s, STRICT_NAME, STRICT_NOTE,
            str_printf(s->arena, "its PTR name %.*s is a CNAME of %.*s, which some receivers don't follow",
                       STR_FMT(names->name), STR_FMT(names->alias)),
            put_names(s, true));
    else
        pass(s, STRICT_NAME);
}

/* ---- the EHLO name ---- */

static struct str put_ehlo(struct strict *s, const char *type) {
    if (!s->query->index)
        return STR_NULL;
    return plan_lines(s->query->index, s->arena, type, s->query->ehlo);
}

static bool holds(const struct dns_answer *answer, const struct ip *ip) {
    for (size_t i = 0; answer->status == DNS_RECORDS && i < answer->count; i++)
        if (ip_eq(&answer->records[i].ip, ip))
            return true;
    return false;
}

static const struct dns_answer *that_is(const struct strict *s, enum dns_status status) {
    return s->v4.status == status ? &s->v4 : s->v6.status == status ? &s->v6 : NULL;
}

static void check_ehlo_address(struct strict *s) {
    struct str name = s->query->ehlo;
    const struct dns_answer *failed = that_is(s, DNS_FAILED), *found = that_is(s, DNS_RECORDS);
    if (found && found->canonical.len) {
        say(s, STRICT_EHLO_ADDRESS, STRICT_NOTE,
            str_printf(s->arena, "the EHLO name %.*s is a CNAME of %.*s: it should have addresses itself",
                       STR_FMT(name), STR_FMT(found->canonical)),
            put_ehlo(s, ip_is_v4(&s->query->source->ip) ? "A" : "AAAA"));
    } else if (found) {
        pass(s, STRICT_EHLO_ADDRESS);
    } else if (failed) {
        say(s, STRICT_EHLO_ADDRESS, STRICT_UNKNOWN, failed->why, STR_NULL);
    } else {
        struct str a = put_ehlo(s, "A"), aaaa = put_ehlo(s, "AAAA");
        say(s, STRICT_EHLO_ADDRESS, STRICT_FAIL,
            str_printf(s->arena, "the EHLO name %.*s %s", STR_FMT(name),
                       s->v4.nxdomain ? "does not exist" : "has neither A nor AAAA"),
            str_printf(s->arena, "%.*s%s%.*s", STR_FMT(a), a.len && aaaa.len ? "\n" : "", STR_FMT(aaaa)));
    }
}

/* HELO = PTR: by default a site says one name for all its addresses, so this differs on purpose. */
static void check_ehlo_ptr(struct strict *s) {
    const struct fcrdns *names = &s->view->names;
    struct str ehlo = s->query->ehlo, put;
    if (!names->name.len)
        return;
    if (str_eq_nocase(names->name, ehlo)) {
        pass(s, STRICT_EHLO_PTR);
        return;
    }
    const struct ip *ip = &s->query->source->ip;
    bool meant = s->query->ehlo_is_ptr, leads_back = holds(&s->v4, ip) || holds(&s->v6, ip);
    bool resolves = s->view->checks[STRICT_EHLO_ADDRESS].verdict == STRICT_PASS;
    put = meant
              ? put_names(s, true)
              : STR("destination \"...\" { mx = {...}  ehlo = ptr } for such a receiver, pool { ehlo = ptr } "
                    "for all");
    say(s, STRICT_EHLO_PTR, meant ? STRICT_FAIL : STRICT_NOTE,
        str_printf(s->arena, "it says %.*s in EHLO, and its PTR name is %.*s%s", STR_FMT(ehlo),
                   STR_FMT(names->name),
                   resolves && !leads_back ? "; the EHLO name does not lead to this address either" : ""),
        put);
    s->view->checks[STRICT_EHLO_PTR].sees = meant ? STR("") : STR("no");
}

static void check_organisation(struct strict *s) {
    const struct fcrdns *names = &s->view->names;
    if (!names->name.len)
        return;
    if (align_same_organisation(names->name, s->query->ehlo))
        pass(s, STRICT_ORGANISATION);
    else
        say(s, STRICT_ORGANISATION, STRICT_FAIL,
            str_printf(s->arena, "its PTR name %.*s and its EHLO name %.*s share no organisational domain",
                       STR_FMT(names->name), STR_FMT(s->query->ehlo)),
            put_names(s, true));
}

static void check_ehlo_spf(struct strict *s) {
    const struct spf_check *check = &s->spf;
    if (check->result == SPF_PASS) {
        pass(s, STRICT_EHLO_SPF);
    } else if (check->result == SPF_TEMPERROR) {
        say(s, STRICT_EHLO_SPF, STRICT_UNKNOWN, check->reason, STR_NULL);
    } else if (s->query->pool->spf_hidden) {
        say(s, STRICT_EHLO_SPF, STRICT_NOTE,
            str_printf(s->arena, "pool %.*s has spf = hidden, so SPF of the EHLO name says %s",
                       STR_FMT(s->query->pool->name), spf_result_text(check->result)),
            STR("pool { spf = unpublished }: only the EHLO name's record then has its addresses"));
    } else {
        say(s, STRICT_EHLO_SPF, STRICT_FAIL,
            check->result == SPF_NONE
                ? str_printf(s->arena, "the EHLO name %.*s has no SPF record", STR_FMT(s->query->ehlo))
                : str_printf(s->arena, "SPF of the EHLO name %.*s says %s: %.*s", STR_FMT(s->query->ehlo),
                             spf_result_text(check->result), STR_FMT(check->reason)),
            put_ehlo(s, "TXT"));
    }
    s->view->checks[STRICT_EHLO_SPF].sees = str_of(spf_result_text(check->result));
}

static void check_ehlo(struct strict *s) {
    struct str name = s->query->ehlo, why = STR("");
    struct ip literal;
    if (name.len == 0 || name.at[0] == '[' || ip_parse(name, &literal) || str_index(name, '.') < 0)
        why = str_printf(s->arena, "%.*s is no full host name", STR_FMT(name));
    else if (name_is_generic(s->arena, name))
        why = str_printf(s->arena, "the EHLO name %.*s looks like that of a customer's line", STR_FMT(name));
    if (why.len)
        say(s, STRICT_EHLO_NAME, STRICT_FAIL, why,
            STR("site { ehlo = ... }: a name like mail.example.com, below a domain of yours"));
    else
        pass(s, STRICT_EHLO_NAME);
    check_ehlo_address(s);
    check_ehlo_ptr(s);
    check_organisation(s);
    check_ehlo_spf(s);
}

/* ---- all of it, side by side ---- */

static void ask_names(void *arg) {
    struct strict *s = arg;
    fcrdns_ask(&s->resolver, &s->query->source->ip, s->query->timeout_ms, s->arena, &s->view->names);
}

static void ask_v4(void *arg) {
    struct strict *s = arg;
    look(s, s->query->ehlo, DNS_A, &s->v4);
}

static void ask_v6(void *arg) {
    struct strict *s = arg;
    look(s, s->query->ehlo, DNS_AAAA, &s->v6);
}

static void ask_spf(void *arg) {
    struct strict *s = arg;
    struct spf_query query = {.ip = s->query->source->ip,
                              .helo = s->query->ehlo,
                              .which = SPF_HELO,
                              .now = s->query->now,
                              .deadline = s->query->deadline};
    spf_check(&s->resolver, &query, s->arena, &s->spf);
}

static void ask_all(struct strict *s) {
    static void (*const questions[])(void *) = {ask_names, ask_v4, ask_v6, ask_spf};
    enum { COUNT = sizeof questions / sizeof *questions };
    struct beside beside[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        beside_start(&beside[i], questions[i], s);
    for (size_t i = 0; i < COUNT; i++)
        beside_join(&beside[i]);
}

void strict_ask(struct resolver *resolver, const struct strict_query *query, struct arena *arena,
                struct strict_view *ret) {
    struct strict s = {
        .resolver.lookup = ask_bounded, .below = resolver, .query = query, .arena = arena, .view = ret};
    *ret = (struct strict_view){.ehlo = query->ehlo, .pool = query->pool};
    for (size_t i = 0; i < STRICT_COUNT; i++)
        ret->checks[i] = (struct strict_check){STRICT_VOID, STR(""), STR(""), STR("")};
    ask_all(&s);
    ret->names.name = ret->names.name.len ? ret->names.name : STR("");
    check_confirmed(&s);
    check_name(&s);
    check_ehlo(&s);
}

enum strict_verdict strict_worst(const struct strict_view *view) {
    static const enum strict_verdict order[] = {STRICT_FAIL, STRICT_UNKNOWN, STRICT_NOTE};
    for (size_t o = 0; o < sizeof order / sizeof *order; o++)
        for (size_t i = 0; i < STRICT_COUNT; i++)
            if (view->checks[i].verdict == order[o])
                return order[o];
    return STRICT_PASS;
}
