#include "cmocka_setup.h"
#include "queue/retry.h"

enum { MINUTE = 60 * 1000 };

static void test_waits(void **state) {
    (void)state;
    struct retry_schedule schedule = {5 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE};
    static const int64_t wanted[] = {5, 10, 20, 40, 60, 60, 60};
    for (uint32_t i = 0; i < COUNT(wanted); i++) {
        int64_t least = INT64_MAX, most = 0;
        for (uint64_t random = 0; random < 100000000; random += 9973) {
            int64_t wait = retry_wait(&schedule, i + 1, random);
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        int64_t middle = wanted[i] * MINUTE;
        assert_true(least >= middle - middle / 8 && least <= middle - middle / 9);
        assert_true(most <= middle + middle / 8 + 1 && most >= middle + middle / 9);
    }
    assert_true(retry_wait(&schedule, 4000000000u, 0) <= 68 * MINUTE);
    struct retry_schedule tiny = {10, 20, 1000};
    assert_int_equal(retry_wait(&tiny, 1, 3), 1000);
}

/* A day of tries: never later than the expiry, and as many as the schedule gives. */
static void test_day(void **state) {
    (void)state;
    struct retry_schedule schedule = {5 * MINUTE, 60 * MINUTE, 24 * 60 * MINUTE};
    int64_t arrival = INT64_C(1790000000000), now = arrival, expiry = retry_expiry(&schedule, arrival);
    uint32_t attempts = 0;
    while (now < expiry) {
        attempts++;
        int64_t next = retry_next(&schedule, arrival, attempts, now, attempts * UINT64_C(7919));
        assert_true(next > now && next <= expiry);
        now = next;
    }
    assert_int_equal(now, expiry);
    assert_in_range(attempts, 24, 34);
    assert_int_equal(retry_next(&schedule, arrival, 9, expiry + 5, 0), expiry + 5);
}

static void test_pools(void **state) {
    (void)state;
    const struct pool_schedule pools[] = {{STR("slow"), 10 * MINUTE, -1, 0},
                                          {STR("short"), -1, -1, 60 * MINUTE}};
    struct queue_settings settings = {
        .delivery = delivery_settings_default(), .schedules = pools, .schedule_count = 2};
    struct retry_schedule slow = retry_schedule_of(&settings, STR("slow"));
    assert_int_equal(slow.first_retry_ms, 10 * MINUTE);
    assert_int_equal(slow.max_retry_ms, 60 * MINUTE);
    assert_int_equal(slow.expire_ms, 24 * 60 * MINUTE);
    assert_int_equal(retry_schedule_of(&settings, STR("short")).expire_ms, 60 * MINUTE);
    assert_int_equal(retry_schedule_of(&settings, STR("other")).first_retry_ms, 5 * MINUTE);
}

static void test_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {{"*.google.com", "in.google.com", true},    {"*.google.com", "A.B.Google.COM.", true},
                 {"*.google.com", "google.com", false},      {"*.google.com", "evilgoogle.com", false},
                 {"mx.example", "MX.example", true},         {"mx.example", "a.mx.example", false},
                 {"*.google.com", "google.com.evil", false}, {"*.google.com", ".google.com", false}};
    for (size_t i = 0; i < COUNT(cases); i++)
        if (destination_pattern_matches(str_of(cases[i].pattern), str_of(cases[i].name)) != cases[i].matches)
            fail_msg("%s %s", cases[i].pattern, cases[i].name);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits), cmocka_unit_test(test_day),
                                       cmocka_unit_test(test_pools), cmocka_unit_test(test_patterns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
