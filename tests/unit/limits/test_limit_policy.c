/* Which policy applies, and how policies, groups and licences are read. */
#include "../policy/fixture.h"
#include "cmocka_setup.h"
#include "limits/limit.h"
#include "limits/sender_name.h"
#include "policy/limit_policy.h"

/* 2026-10-01 */
#define OCTOBER INT64_C(1790812800000)
#define DAY INT64_C(86400000)

static const char text[] =
    "tenant \"contoso\" {\n"
    "  domains = {\"contoso.com\", \"b\xc3\xbc"
    "cher.example\"}\n"
    "  licences = 10  since = \"2026-10-01\"\n"
    "  group \"sales\" { members = {\"Ann@contoso.com\", \"eve@contoso.com\"} }\n"
    "  policy \"default\" { per-day = 900 action = alert }\n"
    "  policy \"sales\" { groups = {\"sales\"} per-day = 800 }\n"
    "  policy \"eve\" { senders = {\"eve@CONTOSO.com\"} priority = 5 per-message = 3 }\n"
    "  policy \"eve too\" { senders = {\"eve@contoso.com\"} priority = 5 }\n"
    "  policy \"books\" { domains = {\"B\xc3\x9c"
    "cher.example\"} priority = 50 }\n"
    "  policy \"both\" { senders = {\"joe@contoso.com\", \"joe@xn--bcher-kva.example\"} "
    "domains = {\"contoso.com\"} priority = 1 action = restrict }\n"
    "}\n"
    "tenant \"bare\" { domains = {\"bare.example\"} }\n"
    "tenant \"all\" { domains = {\"all.example\"} policy \"x\" { per-day = 7 } policy \"y\" { "
    "priority = 99 per-day = 8 } }\n";

static struct fixture open_right(void) {
    struct fixture f = fixture_open(text, NULL, NULL);
    for (size_t i = 0; i < config_error_count(f.errors); i++)
        print_error("%s\n", config_error_at(f.errors, i));
    assert_int_equal(config_error_count(f.errors), 0);
    return f;
}

static void test_select(void **state) {
    static const struct {
        const char *tenant, *from, *policy;
        uint32_t per_day, per_message;
        enum limit_action action;
    } cases[] = {
        {"contoso", "bob@contoso.com", "default", 900, 500, LIMIT_ALERT},
        {"contoso", "", "default", 900, 500, LIMIT_ALERT},
        {"contoso", "ann@contoso.com", "sales", 800, 500, LIMIT_RESTRICT_TODAY},
        {"contoso", "eve@contoso.com", "eve", 10000, 3, LIMIT_RESTRICT_TODAY},
        {"contoso", "EVE@contoso.com", "eve", 10000, 3, LIMIT_RESTRICT_TODAY},
        {"contoso", "any@xn--bcher-kva.example", "books", 10000, 500, LIMIT_RESTRICT_TODAY},
        {"contoso", "joe@contoso.com", "both", 10000, 500, LIMIT_RESTRICT},
        {"contoso", "joe@xn--bcher-kva.example", "books", 10000, 500, LIMIT_RESTRICT_TODAY},
        {"bare", "bob@bare.example", "", 10000, 500, LIMIT_RESTRICT_TODAY},
        {"all", "bob@all.example", "y", 8, 500, LIMIT_RESTRICT_TODAY},
    };
    (void)state;
    struct fixture f = open_right();
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct tenant *t = policy_tenant(f.policy, str_of(cases[i].tenant));
        struct limit_rules r = limit_rules_for(t, str_of(cases[i].from), OCTOBER);
        assert_string_equal(str_c(f.arena, r.policy), cases[i].policy);
        assert_int_equal(r.bounds.limit[LIMIT_RECIPIENTS_DAY], cases[i].per_day);
        assert_int_equal(r.per_message, cases[i].per_message);
        assert_int_equal(r.action, cases[i].action);
        assert_int_equal(!limit_policy_for(t, str_of(cases[i].from)), !cases[i].policy[0]);
    }
    fixture_close(&f);
}

static void test_tenant(void **state) {
    static const struct {
        int64_t now;
        uint32_t limit;
    } cases[] = {
        {OCTOBER - 9 * DAY, 1200},      {OCTOBER, 1200},
        {OCTOBER + 30 * DAY - 1, 1200}, {OCTOBER + 30 * DAY, 3001},
        {OCTOBER + 60 * DAY, 12005},
    };
    (void)state;
    struct fixture f = open_right();
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct tenant *t = policy_tenant(f.policy, STR("contoso"));
        assert_int_equal(limit_of_tenant(t, cases[i].now), cases[i].limit);
        assert_int_equal(limit_rules_for(t, STR(""), cases[i].now).tenant_external, cases[i].limit);
    }
    assert_int_equal(limit_of_tenant(policy_tenant(f.policy, STR("bare")), OCTOBER), 0);
    fixture_close(&f);
}

static void test_problems(void **state) {
    static const struct {
        const char *inside, *problem;
    } cases[] = {
        {"since = \"soon\"", "\"soon\" is no date like 2026-10-01"},
        {"policy \"x\" { senders = {\"bob\"} }", "\"bob\" is no mail address"},
        {"policy \"x\" { domains = {\"a b\"} }", "\"a b\" is no domain"},
        {"policy \"x\" { groups = {\"sales\"} }", "there is no group \"sales\" in this tenant"},
        {"group \"sales\" { members = {\"@\"} }", "\"@\" is no mail address"},
        {"policy \"default\" { domains = {\"a.example\"} }",
         "the policy \"default\" applies to everybody: give this one another name"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str whole =
            str_printf(arena, "tenant \"t\" { domains = {\"a.example\"}\n%s\n}\n", cases[i].inside);
        struct fixture f = fixture_open(str_c(arena, whole), NULL, NULL);
        assert_int_equal(config_error_count(f.errors), 1);
        struct str error = str_of(config_error_at(f.errors, 0));
        if (str_find(error, str_of(cases[i].problem)) < 0 || !str_starts(error, STR("test.conf:2: ")))
            fail_msg("%.*s", STR_FMT(error));
        fixture_close(&f);
        arena_free(arena);
    }
}

/* Many members, in any order and case, some twice. */
static void test_many_members(void **state) {
    enum { MEMBERS = 2000 };
    struct buf config = {0};
    (void)state;
    buf_str(&config,
            STR("tenant \"a\" { domains = {\"a.example\"} policy \"g\" { groups = {\"g\"} per-day = 7 }\n"
                "group \"g\" { members = {\"z@a.example\""));
    for (unsigned i = 0; i < MEMBERS; i++)
        buf_printf(&config, ", \"%c%u@A.example\"", i % 2 ? 'U' : 'u', i * 7919 % MEMBERS / 2 * 2);
    buf_str(&config, STR("} } }"));
    struct fixture f = fixture_open(buf_c(&config), NULL, NULL);
    assert_int_equal(config_error_count(f.errors), 0);
    const struct tenant *t = policy_tenant(f.policy, STR("a"));
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct str from = str_printf(f.arena, "%c%u@a.example", i % 3 ? 'u' : 'U', i);
        assert_int_equal(limit_policy_for(t, from) != NULL, i % 2 == 0);
    }
    assert_non_null(limit_policy_for(t, STR("Z@a.example")));
    assert_null(limit_policy_for(t, STR("")));
    fixture_close(&f);
    buf_free(&config);
}

static void test_why(void **state) {
    static const struct {
        const char *tenant, *from, *why;
    } cases[] = {
        {"contoso", "bob@contoso.com", "it applies where no other does"},
        {"contoso", "ann@contoso.com", "ann@contoso.com is in group sales, priority 100"},
        {"contoso", "eve@contoso.com", "eve@contoso.com is one of its senders, priority 5"},
        {"contoso", "joe@contoso.com",
         "joe@contoso.com is one of its senders, contoso.com is one of its domains, priority 1"},
        {"bare", "bob@bare.example", "the tenant has no policy"},
        {"all", "bob@all.example", "it names nobody, priority 99"},
    };
    (void)state;
    struct fixture f = open_right();
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct tenant *t = policy_tenant(f.policy, str_of(cases[i].tenant));
        struct str from = str_of(cases[i].from);
        struct str why = limit_policy_why(f.arena, t, limit_policy_for(t, from), from);
        assert_string_equal(str_c(f.arena, why), cases[i].why);
    }
    fixture_close(&f);
}

/* Names as the desk knows them, and as people type them. */
static void test_names(void **state) {
    static const struct {
        const char *name, *tenant, *connector, *author, *whole;
        enum sender_kind kind;
    } cases[] = {
        {"Bob@Contoso.com", "contoso", "", "Bob@Contoso.com", "bob@contoso.com", SENDER_USER},
        {"a/b@contoso.com", "contoso", "", "a/b@contoso.com", "a/b@contoso.com", SENDER_USER},
        {"connector/contoso/on-prem/ann@contoso.com", "contoso", "contoso/On-Prem", "ann@contoso.com",
         "connector/contoso/on-prem/ann@contoso.com", SENDER_USER},
        {"connector/CONTOSO/On-Prem/<>", "contoso", "contoso/On-Prem", "", "connector/contoso/on-prem/<>",
         SENDER_USER},
        {"local/contoso/a@contoso.com", "contoso", "", "a@contoso.com", "local/contoso/a@contoso.com",
         SENDER_USER},
        {"Contoso/on-prem", "contoso", "contoso/On-Prem", "", "contoso/On-Prem", SENDER_CONNECTOR},
        {.name = "bob"},
        {.name = "bob@elsewhere.example"},
        {.name = "contoso/nowhere"},
        {.name = "nobody/on-prem"},
        {.name = "connector/contoso/nowhere/a@contoso.com"},
        {.name = "connector/contoso/on-prem"},
        {.name = "connector/"},
        {.name = "local/nobody/a@contoso.com"},
        {.name = "local/contoso"},
        {.name = ""},
        {.name = "/"},
    };
    (void)state;
    struct fixture f =
        fixture_open("tenant \"contoso\" { domains = {\"contoso.com\"} connector \"On-Prem\" { "
                     "addresses = {\"192.0.2.1\"} } }",
                     NULL, NULL);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sender_name name;
        struct str why = STR("");
        bool ours = sender_name_read(f.policy, str_of(cases[i].name), f.arena, &name, &why);
        assert_int_equal(ours, cases[i].tenant != NULL);
        assert_int_equal(why.len > 0, !ours);
        if (!ours)
            continue;
        assert_string_equal(str_c(f.arena, name.tenant->name), cases[i].tenant);
        assert_string_equal(str_c(f.arena, name.connector), cases[i].connector);
        assert_string_equal(str_c(f.arena, name.author), cases[i].author);
        assert_string_equal(str_c(f.arena, name.whole), cases[i].whole);
        assert_int_equal(name.kind, cases[i].kind);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_select),       cmocka_unit_test(test_why),
                                       cmocka_unit_test(test_many_members), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_tenant),       cmocka_unit_test(test_problems)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
