/* `milter "name" { }` as an operator may write it, and what is said of what is wrong. And how each one does.
 */
#include "cmocka_setup.h"
#include "scan/milter_health.h"
#include "scan/milter_settings.h"

static const struct config_option listener_options[] = {{.kind = CONFIG_END}};
static const struct config_option root_options[] = {
    {.name = "listener",
     .kind = CONFIG_TITLED,
     .options = listener_options,
     .title_doc = "listener",
     .doc = "A listener."},
    {.name = "milter",
     .kind = CONFIG_TITLED,
     .options = milter_options,
     .title_doc = "milter",
     .doc = "A milter."},
    {.kind = CONFIG_END},
};

static const struct {
    const char *text, *complaint; /* NULL: it is fine */
} cases[] = {
    {"milter \"a\" { socket = \"inet:1@127.0.0.1\" }", NULL},
    {"listener \"x\" { }\nmilter \"a\" { socket = \"unix:/run/a\"  listeners = {\"x\"}  on-failure = accept "
     "}",
     NULL},
    {"milter \"a\" { on-failure = accept }", "socket"},
    {"milter \"a\" { socket = \"127.0.0.1:8891\" }", "is no socket of a milter"},
    {"milter \"a\" { socket = \"unix:run/a\" }", "is no socket of a milter"},
    {"milter \"a\" { socket = \"unix:/run/a\"  listeners = {\"y\"} }", "there is no listener `y`"},
    {"milter \"a\" { socket = \"unix:/run/a\"  on-failure = ignore }", "on-failure"},
    {"milter \"a\" { socket = \"unix:/run/a\"  timeout = 1ms }", "timeout"},
    {"milter \"a\" { socket = \"unix:/run/a\" }\nmilter \"a\" { socket = \"unix:/run/b\" }", "a"},
};

static void test_settings(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct config_errors *errors = config_errors_new();
        const struct config_node *root =
            config_parse(arena, str_of(cases[i].text), "test.conf", root_options, errors);
        if (root)
            milters_load(arena, root, errors);
        if ((config_error_count(errors) == 0) != (cases[i].complaint == NULL))
            fail_msg("%s: %s", cases[i].text,
                     config_error_count(errors) ? config_error_at(errors, 0) : "no error");
        if (cases[i].complaint)
            assert_non_null(strstr(config_error_at(errors, 0), cases[i].complaint));
        config_errors_free(errors);
        arena_free(arena);
    }
}

static void test_values(void **state) {
    (void)state;
    static const struct str text = {
        .at = "listener \"x\" { }\nlistener \"y\" { }\n"
              "milter \"first\" { socket = \"inet:8891@[::1]\"  listeners = {\"x\"}  api = off  timeout = 2s "
              "}\n"
              "milter \"second\" { socket = \"unix:/run/b\"  on-failure = reject }\n"};
    struct arena *arena = arena_new(0);
    struct config_errors *errors = config_errors_new();
    const struct config_node *root = config_parse(arena, str_of(text.at), "test.conf", root_options, errors);
    struct milters_settings m = milters_load(arena, root, errors);
    assert_int_equal(config_error_count(errors), 0);
    assert_int_equal(m.count, 2);
    assert_string_equal(str_c(arena, m.at[0].name), "first");
    assert_int_equal(m.at[0].on_failure, MILTER_FAILS_DEFER);
    assert_int_equal(m.at[0].command_ms, 2000);
    assert_int_equal(m.at[0].connect_ms, 30000);
    assert_int_equal(m.at[0].message_ms, 300000);
    assert_int_equal(m.at[1].on_failure, MILTER_FAILS_REJECT);
    static const struct {
        unsigned milter;
        struct str listener;
        bool applies;
    } applies[] = {{0, {"x", 1}, true}, {0, {"y", 1}, false}, {0, {"", 0}, false},
                   {1, {"x", 1}, true}, {1, {"y", 1}, true},  {1, {"", 0}, true}};
    for (size_t i = 0; i < COUNT(applies); i++)
        assert_int_equal(milter_applies(&m.at[applies[i].milter], applies[i].listener), applies[i].applies);
    config_errors_free(errors);
    arena_free(arena);
}

static void test_health(void **state) {
    (void)state;
    static const struct {
        bool up, news;
        const char *why;
        int64_t now;
    } turns[] = {{true, false, "", 1},
                 {false, true, "no answer", 2},
                 {false, false, "refused", 3},
                 {true, true, "", 4},
                 {true, false, "", 5}};
    struct arena *arena = arena_new(0);
    struct milter_service *service = milter_service_new();
    struct milter_health h;
    milter_service_get(service, STR("a"), arena, &h);
    assert_true(h.up && h.since == 0 && !h.why.len);
    for (size_t i = 0; i < COUNT(turns); i++) {
        bool news = milter_service_note(service, STR("a"), turns[i].up, str_of(turns[i].why), turns[i].now);
        assert_int_equal(news, turns[i].news);
        milter_service_get(service, STR("a"), arena, &h);
        assert_int_equal(h.up, turns[i].up);
    }
    milter_service_count(service, STR("b"), MILTER_COUNT_CHANGED);
    assert_int_equal(h.since, 4);
    assert_string_equal(str_c(arena, h.why), "refused");
    assert_int_equal(h.counts[MILTER_COUNT_MESSAGES], 3);
    assert_int_equal(h.counts[MILTER_COUNT_FAILURES], 2);
    assert_int_equal(h.counts[MILTER_COUNT_CHANGED], 0);
    assert_false(milter_service_rests(service, STR("a"), 5));
    milter_service_rest(service, STR("a"), 10);
    assert_true(milter_service_rests(service, STR("a"), 9));
    assert_false(milter_service_rests(service, STR("a"), 10));
    assert_false(milter_service_rests(service, STR("c"), 9));
    milter_service_free(service);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_health),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
