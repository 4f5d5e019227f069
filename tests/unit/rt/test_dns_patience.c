#include "cmocka_setup.h"
#include "rt/dns_patience.h"

/* Questions at these times, of a limit of 20 s each. */
static void limits(void **state) {
    static const struct {
        const char *what;
        size_t wave;
        int64_t at[4], until[4]; /* 0 at the end */
        size_t answered_before;  /* the n-th question; 0 never */
    } cases[] = {
        {"the first ones have theirs", 2, {1000, 1005, 6000}, {21000, 21005, 22000}, 0},
        {"a second wave has a second", 2, {1000, 1000, 21000, 21001}, {21000, 21000, 22000, 22000}, 0},
        {"then nobody is asked", 2, {1000, 1000, 22000, 90000}, {21000, 21000, 0, 0}, 0},
        {"few at a time wait for each", 3, {1000, 21000, 41000, 61000}, {21000, 41000, 61000, 0}, 0},
        {"an answer gives all theirs", 2, {1000, 1000, 21500, 90000}, {21000, 21000, 22000, 110000}, 4},
        {"and so does an early one", 1, {1000, 21000, 41000}, {21000, 41000, 61000}, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dns_patience p = {.timeout_ms = 20000, .wave = cases[i].wave};
        for (size_t n = 0; n < 4 && cases[i].at[n]; n++) {
            if (cases[i].answered_before == n + 1)
                dns_patience_note(&p, true);
            int64_t until = dns_patience_next(&p, cases[i].at[n]);
            if (until != cases[i].until[n])
                print_error("%s: question %zu\n", cases[i].what, n + 1);
            assert_int_equal(until, cases[i].until[n]);
        }
    }
}

/* Nobody asks for ever because failures are quick. */
static void quick_failures(void **state) {
    struct dns_patience p = {.timeout_ms = 20000, .wave = 64};
    size_t asked = 0;
    (void)state;
    for (; asked < 1000 && dns_patience_next(&p, 1000 + (int64_t)asked); asked++)
        dns_patience_note(&p, false);
    assert_int_equal(asked, 128);
    dns_patience_note(&p, true);
    assert_int_equal(dns_patience_next(&p, 90000), 110000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(limits), cmocka_unit_test(quick_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
