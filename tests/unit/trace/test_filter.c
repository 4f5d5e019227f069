#include "cmocka_setup.h"
#include "trace/filter.h"

static void test_times(void **state) {
    static const struct {
        const char *text;
        int64_t time; /* -1: refused */
    } cases[] = {
        {"2026-11-22T12:00:00Z", 1795348800000},
        {"2026-11-22T12:00:00.250Z", 1795348800250},
        {"2026-11-22", 1795305600000},
        {"2026-11-22 12:00", 1795348800000},
        {"2026-11-22T12:00Z", 1795348800000},
        {"2h", 1795348800000 - 7200000},
        {"90min", 1795348800000 - 5400000},
        {"", -1},
        {"yesterday", -1},
        {"2026-11-22 12:0", -1},
        {"12:00", -1},
        {"99999999999999999999999999999999999999999999h", -1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t time = -1;
        int bad = trace_time_parse(str_of(cases[i].text), 1795348800000, &time);
        assert_int_equal(bad, cases[i].time < 0 ? SLUICE_ESYNTAX : 0);
        if (!bad)
            assert_int_equal(time, cases[i].time);
    }
}

static void test_values(void **state) {
    static const struct {
        const char *name, *value;
        int result;
    } cases[] = {
        {"trace-id", "01M81J18G0ABCDEFGHJKMNPQRS", 0},
        {"trace-id", "short", SLUICE_ESYNTAX},
        {"sender", "a@b", 0},
        {"sender", "", SLUICE_ESYNTAX},
        {"from-ip", "10.0.0.1", 0},
        {"from-ip", "10.0.0", SLUICE_ESYNTAX},
        {"subject-match", "ends", 0},
        {"subject-match", "somewhere", SLUICE_ESYNTAX},
        {"status", "delivered", 0},
        {"status", "Sent", SLUICE_ESYNTAX},
        {"class", "high-risk-relay", 0},
        {"class", "spam", SLUICE_ESYNTAX},
        {"event", "DEFER", 0},
        {"event", "DEFERRED", SLUICE_ESYNTAX},
        {"since", "2026-11-22", 0},
        {"since", "soon", SLUICE_ESYNTAX},
        {"limit", "5000", 0},
        {"limit", "5001", SLUICE_ESYNTAX},
        {"limit", "0", SLUICE_ESYNTAX},
        {"limit", "-1", SLUICE_ESYNTAX},
        {"colour", "red", SLUICE_ENOTFOUND},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct trace_filter filter = {0};
        struct buf why __attribute__((cleanup(buf_free))) = {0};
        int bad =
            trace_filter_set(&filter, str_of(cases[i].name), str_of(cases[i].value), 1795348800000, &why);
        assert_int_equal(bad, cases[i].result);
        assert_int_equal(why.len > 0, cases[i].result == SLUICE_ESYNTAX);
    }
}

/* Each name that is shown to people is one that works. */
static void test_names(void **state) {
    (void)state;
    for (const struct trace_filter_name *n = trace_filter_names; n->name; n++) {
        struct trace_filter filter = {0};
        struct buf why __attribute__((cleanup(buf_free))) = {0};
        assert_int_not_equal(trace_filter_set(&filter, str_of(n->name), STR("-"), 0, &why), SLUICE_ENOTFOUND);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
