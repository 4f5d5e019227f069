/* The decision of step 2, its replies and its warnings; the tenants' windows. */
#include "base/error.h"
#include "limit_model.h"
#include "limits/limit.h"
#include "limits/limit_tenant.h"

#define NOW INT64_C(1790000000000)

static const struct sending_policy standard = {
    .name = {"standard", 8},
    .external_per_hour = 500,
    .internal_per_hour = 1000,
    .per_day = 1000,
    .action = LIMIT_RESTRICT,
};
static const struct sending_policy lenient = {
    .name = {"lenient", 7}, .external_per_hour = 100, .per_minute = 60, .action = LIMIT_ALERT};

/* A long table: each limit, below, at and above it. */
static void test_decide(void **state) {
    static const struct {
        const struct sending_policy *policy;
        uint32_t used[LIMIT_COUNTERS]; /* external, internal, day, minute */
        uint32_t tenant_used, tenant_limit, per_message;
        uint32_t external, internal;
        int64_t turn; /* after NOW */
        bool report;
        enum limit_step step;
        enum limit_name limit;
        const char *reply, *reason;
        bool exceeded;
        unsigned warned;
    } cases[] = {
        {.external = 1, .step = LIMIT_PASS},
        {.policy = &standard, .used = {499, 0, 499}, .external = 1, .step = LIMIT_PASS},
        {.policy = &standard,
         .used = {499, 0, 499},
         .external = 2,
         .step = LIMIT_REFUSE,
         .limit = LIMIT_EXTERNAL_PER_HOUR,
         .reply = "550 5.1.8 Access denied, bad outbound sender",
         .reason = "external recipients in an hour: 499 used, 2 more asked for, the limit is 500 (policy "
                   "\"standard\")",
         .exceeded = true},
        /* A full hour of outside mail doesn't hold mail inside. */
        {.policy = &standard, .used = {500, 0, 500}, .internal = 5, .step = LIMIT_PASS},
        {.policy = &standard,
         .used = {0, 998, 998},
         .internal = 3,
         .step = LIMIT_REFUSE,
         .limit = LIMIT_PER_DAY, /* before the hour's */
         .reply = "550 5.1.8 Access denied, bad outbound sender",
         .reason =
             "recipients in 24 hours: 998 used, 3 more asked for, the limit is 1000 (policy \"standard\")",
         .exceeded = true},
        {.policy = &lenient,
         .used = {90, 0, 90},
         .external = 11,
         .step = LIMIT_REFUSE,
         .limit = LIMIT_EXTERNAL_PER_HOUR,
         .reply = "450 4.7.1 Sending limit: external recipients in an hour: 90 used, 11 more asked for, the "
                  "limit is 100, try again later",
         .exceeded = true},
        {.policy = &lenient,
         .used = {0},
         .external = 101, /* it never fits: nobody shall try for days */
         .step = LIMIT_REFUSE,
         .limit = LIMIT_EXTERNAL_PER_HOUR,
         .reply =
             "550 5.5.3 Too many recipients: 101 in one message, the limit is 100 external recipients in "
             "an hour",
         .exceeded = true},
        {.used = {0, 0, 10000},
         .external = 1,
         .step = LIMIT_REFUSE,
         .limit = LIMIT_PER_DAY,
         .reply = "550 5.1.8 Access denied, bad outbound sender",
         .reason = "recipients in 24 hours: 10000 used, 1 more asked for, the limit is 10000",
         .exceeded = true},
        /* Recipients in one message: nobody is restricted for it. */
        {.external = 400, .internal = 100, .step = LIMIT_PASS},
        {.external = 401,
         .internal = 100,
         .step = LIMIT_REFUSE,
         .limit = LIMIT_PER_MESSAGE,
         .reply = "550 5.5.3 Too many recipients: 501 in one message, the limit is 500"},
        {.per_message = 3,
         .external = 4,
         .step = LIMIT_REFUSE,
         .limit = LIMIT_PER_MESSAGE,
         .reply = "550 5.5.3 Too many recipients: 4 in one message, the limit is 3"},
        /* The tenant's; mail inside goes on. */
        {.tenant_limit = 1000,
         .tenant_used = 999,
         .external = 2,
         .step = LIMIT_REFUSE,
         .limit = LIMIT_TENANT_EXTERNAL,
         .reply =
             "550 5.7.233 Tenant recipient limit: external recipients of the tenant in 24 hours: 999 used, "
             "2 more asked for, the limit is 1000"},
        {.tenant_limit = 1000, .tenant_used = 2000, .internal = 2, .step = LIMIT_PASS},
        {.tenant_limit = 0, .tenant_used = 4000000000, .external = 2, .step = LIMIT_PASS},
        /* The minute holds, and never refuses. */
        {.used = {0, 0, 0, 30},
         .external = 1,
         .turn = 31000,
         .step = LIMIT_HOLD,
         .limit = LIMIT_PER_MINUTE,
         .reason = "30 messages may leave in a minute, and as many are on their way"},
        {.policy = &standard,
         .used = {500, 0, 500, 30},
         .external = 1,
         .turn = 31000,
         .step = LIMIT_REFUSE, /* what is over a limit isn't held either */
         .limit = LIMIT_EXTERNAL_PER_HOUR,
         .exceeded = true},
        /* Reports of our own. */
        {.policy = &standard,
         .used = {500, 1000, 1000, 30},
         .tenant_limit = 1,
         .tenant_used = 1,
         .external = 1,
         .turn = 31000,
         .report = true,
         .step = LIMIT_PASS},
        /* 80 %: by the message that gets there, once. */
        {.policy = &standard, .used = {398, 0, 398}, .external = 1, .step = LIMIT_PASS},
        {.policy = &standard,
         .used = {399, 0, 399},
         .external = 1,
         .step = LIMIT_PASS,
         .warned = 1 << LIMIT_EXTERNAL_PER_HOUR},
        {.policy = &standard, .used = {400, 0, 400}, .external = 1, .step = LIMIT_PASS},
        {.policy = &standard,
         .used = {0, 790, 790},
         .internal = 100,
         .step = LIMIT_PASS,
         .warned = 1 << LIMIT_INTERNAL_PER_HOUR | 1 << LIMIT_PER_DAY},
        {.tenant_limit = 1000,
         .tenant_used = 700,
         .external = 100,
         .step = LIMIT_PASS,
         .warned = 1 << LIMIT_TENANT_EXTERNAL},
        {.used = {0, 0, 0, 22}, .external = 1, .step = LIMIT_PASS},
        {.used = {0, 0, 0, 23}, .external = 1, .step = LIMIT_PASS, .warned = 1 << LIMIT_PER_MINUTE},
        {.used = {0, 0, 0, 24}, .external = 1, .step = LIMIT_PASS},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct limit_rules rules =
            limit_rules_of(cases[i].policy, cases[i].per_message, cases[i].tenant_limit);
        struct limit_facts facts = {
            .rules = &rules,
            .sender = {.turn = NOW + cases[i].turn},
            .tenant_used = cases[i].tenant_used,
            .use = {cases[i].external, cases[i].internal},
            .now = NOW,
            .report = cases[i].report,
        };
        memcpy(facts.sender.used, cases[i].used, sizeof facts.sender.used);
        struct limit_decision d = limit_decide(&facts, arena);
        const char *reply = str_c(arena, outcome_line(arena, &d.refusal));
        if (d.step != cases[i].step || d.exceeded != cases[i].exceeded || d.warned != cases[i].warned)
            fail_msg("case %zu: step %d, %s", i, (int)d.step, reply);
        if (d.step != LIMIT_PASS)
            assert_int_equal(d.limit, cases[i].limit);
        if (d.step == LIMIT_HOLD)
            assert_int_equal(d.hold_until, NOW + cases[i].turn);
        if (cases[i].reply)
            assert_string_equal(reply, cases[i].reply);
        if (cases[i].reason)
            assert_string_equal(str_c(arena, d.reason), cases[i].reason);
        if (d.step == LIMIT_REFUSE)
            assert_int_equal(d.refusal.fate, d.refusal.code < 500 ? OUTCOME_LATER : OUTCOME_NEVER);
        arena_free(arena);
    }
}

static void test_rules(void **state) {
    (void)state;
    struct limit_rules r = limit_rules_of(NULL, 0, 0);
    assert_int_equal(r.bounds.limit[LIMIT_EXTERNAL_HOUR], 10000);
    assert_int_equal(r.bounds.limit[LIMIT_RECIPIENTS_DAY], 10000);
    assert_int_equal(r.bounds.limit[LIMIT_MESSAGES_MINUTE], 30);
    assert_int_equal(r.per_message, 500);
    assert_int_equal(r.action, LIMIT_RESTRICT_TODAY);
    r = limit_rules_of(&lenient, 700, 12);
    assert_int_equal(r.bounds.limit[LIMIT_EXTERNAL_HOUR], 100);
    assert_int_equal(r.bounds.limit[LIMIT_INTERNAL_HOUR], 10000);
    assert_int_equal(r.bounds.limit[LIMIT_MESSAGES_MINUTE], 60);
    assert_int_equal(r.per_message, 700);
    assert_int_equal(r.tenant_external, 12);
    const struct sending_policy large = {.per_day = 4000000000, .per_minute = 4000000000};
    r = limit_rules_of(&large, 0, 0);
    assert_int_equal(r.bounds.limit[LIMIT_RECIPIENTS_DAY], 10000);
    assert_int_equal(r.bounds.limit[LIMIT_MESSAGES_MINUTE], LIMIT_LARGEST);
}

static void test_tenant_formula(void **state) {
    static const struct {
        uint32_t licences;
        int64_t age;
        uint32_t limit;
    } cases[] = {
        {1, 60, 10000}, {1, 59, 2500},       {1, 30, 2500},         {1, 29, 1000},     {1, 0, 1000},
        {1, -5, 1000},  {0, 1000, 9500},     {10, 1000, 12005},     {100, 100, 22059}, {1000, 100, 72446},
        {100, 1, 2205}, {10000, 60, 324978}, {100000, 60, 1590638}, {25, 60, 14259},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(limit_tenant_external(cases[i].licences, cases[i].age), cases[i].limit);
}

static void test_texts(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct limit_rules rules = limit_rules_of(&standard, 0, 0);
    struct limit_facts f = {.rules = &rules, .sender = {.used = {480, 7, 487, 3}}, .tenant_used = 9};
    static const char *const texts[] = {
        [LIMIT_PER_MESSAGE] = "0 of 500 recipients in one message",
        [LIMIT_TENANT_EXTERNAL] = "9 external recipients of the tenant in 24 hours, no limit",
        [LIMIT_PER_DAY] = "487 of 1000 recipients in 24 hours",
        [LIMIT_EXTERNAL_PER_HOUR] = "480 of 500 external recipients in an hour",
        [LIMIT_INTERNAL_PER_HOUR] = "7 of 1000 internal recipients in an hour",
        [LIMIT_PER_MINUTE] = "3 of 30 messages in a minute",
    };
    for (enum limit_name n = 0; n < LIMIT_NAMES; n++)
        assert_string_equal(str_c(arena, limit_standing_text(arena, &f, n)), texts[n]);
    struct outcome o = limit_no_room(SLUICE_EFULL);
    assert_int_equal(o.code, 451);
    o = limit_no_room(SLUICE_ELIMIT);
    assert_int_equal(o.code, 450);
    const struct tenant tenant = {.name = STR("contoso")};
    const struct connector connector = {.name = STR("On-Prem"), .tenant = &tenant};
    static const struct {
        bool connector;
        const char *user, *path, *name;
    } names[] = {
        {false, "Bob@contoso.com", "sales@contoso.com", "bob@contoso.com"}, /* the submitter, not From */
        {true, "", "Ann@contoso.com", "connector/contoso/on-prem/ann@contoso.com"},
        {true, "", "Ann+offers@contoso.com", "connector/contoso/on-prem/ann@contoso.com"},
        {true, "", "\"ann\"@CONTOSO.com", "connector/contoso/on-prem/ann@contoso.com"},
        {true, "", "\"a/nn+x\"@contoso.com", "connector/contoso/on-prem/a/nn@contoso.com"},
        {true, "", "bounces+7-ann=example.org@contoso.com", "connector/contoso/on-prem/bounces@contoso.com"},
        {false, "bob+x@contoso.com", "prvs=1=ann@contoso.com", "bob+x@contoso.com"}, /* who logs in is who */
        {true, "", "+x@contoso.com", "connector/contoso/on-prem/+x@contoso.com"},
        {true, "", "", "connector/contoso/on-prem/<>"},
        {false, "", "X@contoso.com", "local/contoso/x@contoso.com"},
    };
    for (size_t i = 0; i < COUNT(names); i++) {
        struct attribution a = {.tenant = &tenant,
                                .connector = names[i].connector ? &connector : NULL,
                                .user = str_of(names[i].user)};
        assert_string_equal(str_c(arena, limit_sender_name(arena, &a, str_of(names[i].path))), names[i].name);
    }
    static const char *const mailboxes[][2] = {
        {"bob@contoso.com", ""},
        {"connector/contoso/on-prem/a/nn@contoso.com", "a/nn@contoso.com"},
        {"local/contoso/x@contoso.com", "x@contoso.com"},
        {"contoso/on-prem", ""},
        {"", ""},
        {"connector/x", ""},
    };
    for (size_t i = 0; i < COUNT(mailboxes); i++)
        assert_string_equal(str_c(arena, limit_sender_mailbox(str_of(mailboxes[i][0]))), mailboxes[i][1]);
    arena_free(arena);
}

/* The tenants' windows against the exact counter, with the clock going back now and then. */
static void test_tenants(void **unused) {
    enum { DAY = 86400000, TICK = 480000 };
    static const uint32_t limits[] = {1000, 10000, 1590638};
    (void)unused;
    uint64_t state = 77;
    for (size_t l = 0; l < COUNT(limits); l++) {
        struct limit_tenants *t = limit_tenants_new();
        struct model m = {0};
        int64_t now = NOW;
        uint32_t limit = limits[l], refused = 0;
        for (unsigned i = 0; i < 4000; i++) {
            uint32_t amount = 1 + (uint32_t)chance(&state, limit / 25);
            now += (int64_t)chance(&state, chance(&state, 9) ? 400000 : 20000000);
            uint64_t exact = model_count(&m, now, DAY, DAY + TICK);
            uint64_t late = model_count(&m, now, DAY + TICK, DAY + TICK);
            if (limit_tenants_used(t, STR("contoso"), now, limit) + amount > limit) {
                assert_true((late + amount) * 100 > (uint64_t)limit * 99);
                refused++;
                continue;
            }
            assert_true((exact + amount) * 100 <= (uint64_t)limit * 101);
            limit_tenants_reserve(t, STR("contoso"), amount);
            assert_true(limit_tenants_used(t, STR("Contoso"), now, limit) >= amount);
            bool committed = chance(&state, 10) != 0;
            limit_tenants_settle(t, STR("contoso"), now, limit, amount, committed);
            if (committed)
                model_add(&m, now, amount);
        }
        assert_true(refused > 50);
        uint32_t used = limit_tenants_used(t, STR("contoso"), now, limit);
        assert_int_equal(limit_tenants_used(t, STR("contoso"), now - DAY * 5LL, limit), used);
        assert_int_equal(limit_tenants_used(t, STR("contoso"), 0, limit), used);
        assert_int_equal(limit_tenants_used(t, STR("contoso"), now + DAY + TICK, limit), 0);
        assert_int_equal(limit_tenants_used(t, STR("fabrikam"), now, limit), 0);
        model_free(&m);
        struct limit_tenants *copy = limit_tenants_new();
        struct str name;
        const struct limit_total *total;
        for (size_t at = 0; limit_tenants_next(t, &at, &name, &total);)
            assert_int_equal(limit_tenants_put(copy, name, total), 0);
        assert_int_equal(limit_tenants_used(copy, STR("contoso"), now, limit), used);
        struct limit_total bad = {.window = {.unit = 3, .fill = 9, .marks = 1}, .last = 1u << 30};
        assert_int_equal(limit_tenants_put(copy, STR("x"), &bad), SLUICE_ECORRUPT);
        limit_tenants_free(copy);
        limit_tenants_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decide), cmocka_unit_test(test_rules),   cmocka_unit_test(test_tenant_formula),
        cmocka_unit_test(test_texts),  cmocka_unit_test(test_tenants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
