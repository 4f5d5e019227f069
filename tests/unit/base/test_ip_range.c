#include "base/error.h"
#include "base/ip_range.h"
#include "cmocka_setup.h"

static void test_parse(void **state) {
    static const struct {
        const char *text;
        int error;
        const char *first, *last;
        uint64_t size;
    } cases[] = {
        {.text = "192.0.2.1", .first = "192.0.2.1", .last = "192.0.2.1", .size = 1},
        {.text = "192.0.2.16/28", .first = "192.0.2.16", .last = "192.0.2.31", .size = 16},
        {.text = "192.0.2.16/32", .first = "192.0.2.16", .last = "192.0.2.16", .size = 1},
        {.text = "0.0.0.0/0", .first = "0.0.0.0", .last = "255.255.255.255", .size = 1ull << 32},
        {.text = "2001:db8::/64",
         .first = "2001:db8::",
         .last = "2001:db8::ffff:ffff:ffff:ffff",
         .size = UINT64_MAX},
        {.text = "2001:db8::/96", .first = "2001:db8::", .last = "2001:db8::ffff:ffff", .size = 1ull << 32},
        {.text = "2001:db8::10-2001:db8::1f", .first = "2001:db8::10", .last = "2001:db8::1f", .size = 16},
        {.text = "10.0.0.1 - 10.0.0.9", .first = "10.0.0.1", .last = "10.0.0.9", .size = 9},
        {.text = "10.0.0.9-10.0.0.1", .error = SLUICE_EINVALID},
        {.text = "10.0.0.1-2001:db8::1", .error = SLUICE_EINVALID},
        {.text = "192.0.2.17/28", .error = SLUICE_EINVALID},
        {.text = "192.0.2.0/33", .error = SLUICE_EINVALID},
        {.text = "192.0.2.0/", .error = SLUICE_ESYNTAX},
        {.text = "192.0.2.0/x", .error = SLUICE_ESYNTAX},
        {.text = "192.0.2", .error = SLUICE_ESYNTAX},
        {.text = "", .error = SLUICE_ESYNTAX},
        {.text = "host.example", .error = SLUICE_ESYNTAX},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip_range r;
        char text[IP_TEXT_SIZE];
        assert_int_equal(ip_range_parse(str_of(cases[i].text), &r), cases[i].error);
        if (cases[i].error)
            continue;
        assert_string_equal(ip_text(&r.first, text), cases[i].first);
        assert_string_equal(ip_text(&r.last, text), cases[i].last);
        assert_true(ip_range_size(&r) == cases[i].size);
        assert_true(ip_range_has(&r, &r.first) && ip_range_has(&r, &r.last));
    }
}

static void test_overlap(void **state) {
    struct ip_range a, b, c;
    struct ip outside;
    (void)state;
    assert_int_equal(ip_range_parse(STR("10.0.0.0/30"), &a), 0);
    assert_int_equal(ip_range_parse(STR("10.0.0.3-10.0.0.9"), &b), 0);
    assert_int_equal(ip_range_parse(STR("10.0.0.4-10.0.0.9"), &c), 0);
    assert_true(ip_range_overlaps(&a, &b) && ip_range_overlaps(&b, &a));
    assert_false(ip_range_overlaps(&a, &c) || ip_range_overlaps(&c, &a));
    assert_true(ip_parse(STR("10.0.0.4"), &outside));
    assert_false(ip_range_has(&a, &outside));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_overlap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
