#include "cmocka_setup.h"
#include "config/config.h"

static void test_sizes(void **state) {
    static const struct {
        const char *in;
        int64_t out; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"512", 512},
        {"10kb", 10240},
        {"25mb", 25 << 20},
        {"1gb", 1 << 30},
        {"2 MB", 2 << 20},
        {"1.5mb", -1},
        {"mb", -1},
        {"", -1},
        {"-1", -1},
        {"5min", -1},
        {"9999999999gb", -1},
        {"99999999999999999999", -1},
        {"1b", 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t got = -1;
        assert_int_equal(config_parse_size(str_of(cases[i].in), &got), cases[i].out >= 0);
        assert_int_equal(got, cases[i].out);
    }
}

static void test_durations(void **state) {
    static const struct {
        const char *in;
        int64_t out;
    } cases[] = {
        {"0", 0},          {"500ms", 500},      {"30s", 30000},  {"5min", 300000}, {"1h", 3600000},
        {"24h", 86400000}, {"21d", 1814400000}, {"5", -1},       {"5m", -1},       {"", -1},
        {"h", -1},         {"1h30min", -1},     {"1H", 3600000},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t got = -1;
        assert_int_equal(config_parse_duration(str_of(cases[i].in), &got), cases[i].out >= 0);
        assert_int_equal(got, cases[i].out);
    }
}

static void test_bools(void **state) {
    static const struct {
        const char *in;
        int out;
    } cases[] = {{"on", 1}, {"off", 0}, {"true", 1}, {"false", 0}, {"yes", 1},
                 {"no", 0}, {"ON", 1},  {"1", -1},   {"", -1},     {"offf", -1}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool got = false;
        assert_int_equal(config_parse_bool(str_of(cases[i].in), &got), cases[i].out >= 0);
        assert_int_equal(got, cases[i].out == 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_durations),
                                       cmocka_unit_test(test_bools)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
