#include "alert/alert.h"
#include "cmocka_setup.h"

static void words(void **state) {
    (void)state;
    for (enum alert_kind kind = ALERT_NONE + 1; kind < ALERT_KINDS; kind++) {
        assert_true(alert_word(kind).len > 0);
        assert_true(alert_title(kind).len > 0);
        assert_int_equal(alert_of_word(alert_word(kind)), kind);
    }
    assert_int_equal(alert_of_word(STR("NDR-Surge")), ALERT_NDR_SURGE);
    assert_int_equal(alert_of_word(STR("")), ALERT_NONE);
    assert_int_equal(alert_of_word(STR("ndr")), ALERT_NONE);
    assert_int_equal(alert_word(ALERT_NONE).len, 0);
    assert_int_equal(alert_word(ALERT_KINDS).len, 0);
    assert_int_equal(alert_level(ALERT_GUARD), ALERT_ALARM);
    assert_int_equal(alert_level(ALERT_LIMIT_NEAR), ALERT_WARNING);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
