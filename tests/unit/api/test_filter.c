#include "api/api.h"
#include "cmocka_setup.h"

#define NOW INT64_C(1795348800000)

static void test_words(void **state) {
    static const struct {
        const char *name, *value;
        int result;
    } cases[] = {
        {"id", "01M81J18G0ABCDEFGHJKMNPQRS", 0}, {"id", "x", SLUICE_ESYNTAX}, {"sender", "<>", 0},
        {"sender", "", SLUICE_ESYNTAX},          {"older", "30min", 0},       {"older", "0", SLUICE_ESYNTAX},
        {"older", "long", SLUICE_ESYNTAX},       {"younger", "2h", 0},        {"held", "on", 0},
        {"held", "perhaps", SLUICE_ESYNTAX},     {"limit", "10", 0},          {"limit", "0", SLUICE_ESYNTAX},
        {"colour", "red", SLUICE_ENOTFOUND},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct api_queue_filter filter = {0};
        struct buf why __attribute__((cleanup(buf_free))) = {0};
        int bad = api_queue_filter_set(&filter, str_of(cases[i].name), str_of(cases[i].value), &why);
        assert_int_equal(bad, cases[i].result);
        assert_int_equal(why.len > 0, bad == SLUICE_ESYNTAX);
    }
}

static void test_match(void **state) {
    const struct api_queue_entry entry = {
        .trace_id = STR("01M81J18G0ABCDEFGHJKMNPQRS"),
        .sender = STR("Alice@contoso.com"),
        .recipient = STR("bob@mail.Example.net"),
        .pool = STR("normal"),
        .state = STR("waiting"),
        .arrived = NOW - 3600000,
    };
    static const struct {
        struct api_queue_filter filter;
        bool match;
    } cases[] = {
        {{.all = true}, true},
        {{.trace_id = STR("01M81J18G0ABCDEFGHJKMNPQRS")}, true},
        {{.trace_id = STR("01M81J18G0ABCDEFGHJKMNPQRT")}, false},
        {{.sender = STR("alice@CONTOSO.com")}, true},
        {{.sender = STR("@contoso.com")}, true},
        {{.sender = STR("@so.com")}, false},
        {{.sender = STR("<>")}, false},
        {{.domain = STR("mail.example.net")}, true},
        {{.domain = STR("@mail.example.net")}, true},
        {{.domain = STR("example.net")}, false},
        {{.recipient = STR("bob@mail.example.net")}, true},
        {{.pool = STR("Normal")}, true},
        {{.pool = STR("relay")}, false},
        {{.older_ms = 3600000}, true},
        {{.older_ms = 3600001}, false},
        {{.younger_ms = 3600001}, true},
        {{.younger_ms = 3600000}, false},
        {{.held_only = true}, false},
        {{.sender = STR("@contoso.com"), .pool = STR("relay")}, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(api_queue_match(&cases[i].filter, &entry, NOW), cases[i].match);
    assert_true(
        api_queue_match(&(struct api_queue_filter){.sender = STR("<>")}, &(struct api_queue_entry){0}, NOW));
}

static void test_empty(void **state) {
    (void)state;
    assert_true(api_queue_filter_empty(&(struct api_queue_filter){.all = true, .limit = 5}));
    assert_false(api_queue_filter_empty(&(struct api_queue_filter){.held_only = true}));
    assert_false(api_queue_filter_empty(&(struct api_queue_filter){.older_ms = 1}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
