/* Invariant 1 as a truth table: every class x every pool name x every address, against what the text says. */
#include "base/error.h"
#include "cmocka_setup.h"
#include "configured.h"
#include "pool/guard.h"

static const char TEXT[] =
    "here = b\n"
    "site a { pool normal { addresses = {192.0.2.200} } pool other { class = z carries = {relay} addresses = "
    "{192.0.2.201} } }\n"
    "site b { pool normal { addresses = {192.0.2.16/30, \"2001:db8::10-2001:db8::11\"} }\n"
    "  pool high-risk { addresses = {198.51.100.8/31} } pool relay { addresses = {203.0.113.8} }\n"
    "  pool mixed { addresses = {203.0.113.16/31} } }\n"
    "pool normal { class = on }\npool high-risk { class = hn }\npool relay { class = rl }\n"
    "pool mixed { class = mx carries = {relay, high-risk-relay} }\npool empty { class = em carries = "
    "{high-risk} }\n";

/* The same once more by hand: pool, its classes, its addresses at site b. */
static const struct {
    const char *pool;
    bool carries[MAIL_CLASS_COUNT];
    const char *addresses[8];
} TRUTH[] = {
    {"normal",
     {true, false, false, false},
     {"192.0.2.16", "192.0.2.17", "192.0.2.18", "192.0.2.19", "2001:db8::10", "2001:db8::11"}},
    {"high-risk", {false, true, false, false}, {"198.51.100.8", "198.51.100.9"}},
    {"relay", {false, false, true, false}, {"203.0.113.8"}},
    {"mixed", {false, false, true, true}, {"203.0.113.16", "203.0.113.17"}},
    {"empty", {false, true, false, false}, {NULL}},
    {"other", {false}, {NULL}}, /* of the other site */
    {"Normal", {false}, {NULL}},
    {"gone", {false}, {NULL}},
    {"", {false}, {NULL}},
};

static const char *const ADDRESSES[] = {
    "192.0.2.15",   "192.0.2.16",    "192.0.2.17",   "192.0.2.18",   "192.0.2.19",   "192.0.2.20",
    "2001:db8::f",  "2001:db8::10",  "2001:db8::11", "2001:db8::12", "198.51.100.7", "198.51.100.8",
    "198.51.100.9", "198.51.100.10", "203.0.113.7",  "203.0.113.8",  "203.0.113.9",  "203.0.113.16",
    "203.0.113.17", "203.0.113.18",  "192.0.2.200",  "192.0.2.201",  "127.0.0.1",    "0.0.0.0",
    "::",           "::1",
};

static bool allowed(size_t truth, unsigned class, const char *address) {
    bool has = false;
    for (size_t i = 0; i < COUNT(TRUTH[truth].addresses) && TRUTH[truth].addresses[i]; i++)
        has |= strcmp(TRUTH[truth].addresses[i], address) == 0;
    return class < MAIL_CLASS_COUNT && TRUTH[truth].carries[class] && has;
}

static void test_truth(void **state) {
    (void)state;
    struct configured c = configure(TEXT, (struct pool_options){0});
    assert_int_equal(config_error_count(c.errors), 0);
    size_t yes = 0;
    for (unsigned class = 0; class < MAIL_CLASS_COUNT + 1; class ++) {
        for (size_t p = 0; p < COUNT(TRUTH); p++) {
            for (size_t a = 0; a < COUNT(ADDRESSES); a++) {
                struct ip ip = ip_of(ADDRESSES[a]);
                char reason[GUARD_REASON_SIZE] = "";
                int got = guard_check(c.pools, (enum mail_class) class, str_of(TRUTH[p].pool), &ip, reason);
                assert_int_equal(got, allowed(p, class, ADDRESSES[a]) ? 0 : SLUICE_EDENIED);
                assert_int_equal(*reason != '\0', got != 0);
                yes += got == 0;
            }
        }
    }
    assert_int_equal(yes, 6 + 2 + 1 + 2 * 2);
    configured_free(&c);
}

static void test_reasons(void **state) {
    static const struct {
        enum mail_class class;
        const char *pool, *ip, *reason;
    } cases[] = {
        {CLASS_NORMAL, "gone", "192.0.2.16", "pool \"gone\" is not configured here"},
        {CLASS_NORMAL, "other", "192.0.2.201", "pool \"other\" is not configured here"},
        {CLASS_RELAY, "normal", "192.0.2.16", "pool \"normal\" does not carry relay mail"},
        {CLASS_NORMAL, "normal", "192.0.2.1", "192.0.2.1 is no address of pool \"normal\""},
        {CLASS_NORMAL, "normal", "203.0.113.8",
         "203.0.113.8 is an address of pool \"relay\" at site \"b\", not of pool \"normal\" here"},
        {CLASS_NORMAL, "normal", "192.0.2.200",
         "192.0.2.200 is an address of pool \"normal\" at site \"a\", not of pool \"normal\" here"},
        {(enum mail_class)9, "normal", "192.0.2.16", "9 is no mail class"},
    };
    (void)state;
    struct configured c = configure(TEXT, (struct pool_options){0});
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip = ip_of(cases[i].ip);
        char reason[GUARD_REASON_SIZE] = "";
        assert_int_equal(guard_check(c.pools, cases[i].class, str_of(cases[i].pool), &ip, reason),
                         SLUICE_EDENIED);
        assert_string_equal(reason, cases[i].reason);
    }
    configured_free(&c);
}

/* No configuration of pools: nothing is allowed, nothing crashes. */
static void test_nothing(void **state) {
    (void)state;
    struct configured c = configure("", (struct pool_options){0});
    struct ip ip = ip_of("192.0.2.1");
    char reason[GUARD_REASON_SIZE];
    assert_int_equal(guard_check(c.pools, CLASS_NORMAL, STR("normal"), &ip, reason), SLUICE_EDENIED);
    struct pools nothing = {0};
    assert_int_equal(guard_check(&nothing, CLASS_NORMAL, STR("normal"), &ip, reason), SLUICE_EDENIED);
    configured_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_truth), cmocka_unit_test(test_reasons),
                                       cmocka_unit_test(test_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
