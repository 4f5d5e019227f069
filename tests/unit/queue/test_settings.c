/* `delivery` and `destination` from a configuration. */
#include "cmocka_setup.h"
#include "queue/settings.h"

static const struct config_option root[] = {
    {.name = "delivery", .kind = CONFIG_SECTION, .options = delivery_options, .doc = "Delivery."},
    {.name = "destination",
     .kind = CONFIG_TITLED,
     .options = destination_options,
     .doc = "Destinations.",
     .title_doc = "name"},
    {.kind = CONFIG_END},
};

static void test_good(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct config_errors *errors = config_errors_new();
    const struct config_node *node = config_parse(
        arena,
        STR("delivery { first-retry = 2min connections = 7 allow-private = true }\n"
            "destination \"google\" { mx = {\"*.Google.com\"} connections = 50 ehlo = ptr }\n"
            "destination \"lab\" { domains = {\"b\xc3\xbc"
            "cher.example\", \"*.lab.example\"} route = \"[::1]:2525\" ehlo = \"a.example\" }\n"),
        "test.conf", root, errors);
    assert_non_null(node);
    struct delivery_settings delivery = delivery_load(node, errors), preset = delivery_settings_default();
    struct queue_settings settings = {.delivery = delivery,
                                      .destinations = destinations_load(arena, node, errors)};
    assert_int_equal(config_error_count(errors), 0);
    assert_true(delivery.first_retry_ms == 120000 && delivery.connections == 7 && delivery.allow_private);
    assert_true(delivery.max_retry_ms == preset.max_retry_ms && delivery.expire_ms == preset.expire_ms);
    assert_true(delivery.port == preset.port &&
                delivery.messages_per_connection == preset.messages_per_connection);
    assert_int_equal(delivery.recipients_per_transaction, preset.recipients_per_transaction);
    const struct destination_settings *google = destination_of_mx(&settings, STR("alt.google.COM."));
    assert_true(google && google->connections == 50 && google->ehlo == EHLO_PTR &&
                !google->messages_per_connection);
    const struct destination_settings *lab = destination_of_domain(&settings, STR("xn--bcher-kva.example"));
    assert_true(lab && lab == destination_of_domain(&settings, STR("x.lab.example")) &&
                lab == destination_named(&settings, STR("lab")));
    assert_true(lab->ehlo == EHLO_NAME && str_eq(lab->ehlo_name, STR("a.example")) &&
                str_eq(lab->route, STR("[::1]:2525")));
    assert_null(destination_of_domain(&settings, STR("lab.example")));
    config_errors_free(errors);
    arena_free(arena);
}

static void test_bad(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"delivery { first-retry = 2h }", "first-retry is longer than max-retry"},
        {"destination \"x\" { connections = 5 }", "needs mx or domains"},
        {"destination \"x\" { mx = {\"a..b\"} }", "is no host name"},
        {"destination \"x\" { mx = {\"*\"} }", "is no host name"},
        {"destination \"x\" { domains = {\"[127.0.0.1]\"} }", "is no host name"},
        {"destination \"x\" { domains = {\"a.example\"} route = \"host:99999\" }", "write host:port"},
        {"destination \"x\" { domains = {\"a.example\"} ehlo = \"sight\" }",
         "allowed are site, ptr or a full host name"},
        {"destination \"x\" { domains = {\"a.example\"} ehlo = \"192.0.2.1\" }",
         "allowed are site, ptr or a full host name"},
        {"destination \"x\" { domains = {\"a.example\"} ehlo = \"[192.0.2.1]\" }",
         "allowed are site, ptr or a full host name"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct config_errors *errors = config_errors_new();
        const struct config_node *node =
            config_parse(arena, str_of(cases[i].text), "test.conf", root, errors);
        assert_non_null(node);
        delivery_load(node, errors);
        destinations_load(arena, node, errors);
        if (config_error_count(errors) != 1 || !strstr(config_error_at(errors, 0), cases[i].why))
            fail_msg("%s: %s", cases[i].text,
                     config_error_count(errors) ? config_error_at(errors, 0) : "no error");
        assert_non_null(strstr(config_error_at(errors, 0), "test.conf:1: "));
        config_errors_free(errors);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
