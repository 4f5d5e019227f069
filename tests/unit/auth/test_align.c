#include "auth/align.h"
#include "cmocka_setup.h"
#include "mail/address.h"

static void test_organisation(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        bool same, below;
    } cases[] = {
        {"sender.test", "sender.test", true, true},
        {"mail.sender.test", "sender.test", true, true},
        {"Mail.SENDER.test.", "sender.test", true, true},
        {"sender.test", "mail.sender.test", true, false},
        {"a.sender.test", "b.sender.test", true, false},
        {"asender.test", "sender.test", false, false},
        {"sender.test", "other.test", false, false},
        {"sender.example", "sender.test", false, false},
        {"a.example.co.uk", "b.example.co.uk", true, false},
        {"a.co.uk", "b.co.uk", false, false},
        {"a.co.uk", "co.uk", false, true},
        {"co.uk", "co.uk", true, true},
        {"a.github.io", "b.github.io", false, false},
        {"x.a.github.io", "a.github.io", true, true},
        {"github.io", "b.github.io", false, false},
        {"www.ck", "x.www.ck", true, false}, /* an exception of the list */
        {"a.b.ck", "c.a.b.ck", true, false}, /* a wildcard */
        {"a.b.ck", "c.b.ck", false, false},
        {"test", "test", true, true},
        {"a.test", "b.test", false, false},
        {"b\xc3\xbc"
         "cher.test",
         "xn--bcher-kva.test", true, true},
        {"mail.B\xc3\x9c"
         "CHER.test",
         "XN--bcher-kva.test", true, true},
        {"a.\xe5\x85\xac\xe5\x8f\xb8.cn", "b.xn--55qx5d.cn", false, false}, /* a suffix in Chinese */
        {"x.a.\xe5\x85\xac\xe5\x8f\xb8.cn", "a.xn--55qx5d.cn", true, true},
        {"", "", false, false},
        {"", "sender.test", false, false},
        {"[192.0.2.1]", "[192.0.2.1]", false, false},
        {"a b.test", "a b.test", false, false},
        {"..", "..", false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str a = str_of(cases[i].a), b = str_of(cases[i].b);
        if (align_same_organisation(a, b) != cases[i].same ||
            align_same_organisation(b, a) != cases[i].same || align_subdomain_or_same(a, b) != cases[i].below)
            fail_msg("%zu: %s %s", i, cases[i].a, cases[i].b);
    }
}

static void test_name(void **state) {
    (void)state;
    static const struct {
        const char *domain, *organisation;
    } cases[] = {
        {"sender.test", "sender.test"},
        {"A.b.Sender.TEST.", "sender.test"},
        {"mail.example.co.uk", "example.co.uk"},
        {"co.uk", "co.uk"},
        {"x.a.github.io", "a.github.io"},
        {"test", "test"},
        {"mail.b\xc3\xbc"
         "cher.test",
         "xn--bcher-kva.test"},
        {"x.a.\xe5\x85\xac\xe5\x8f\xb8.cn", "a.xn--55qx5d.cn"},
        {"", ""},
        {"[192.0.2.1]", ""},
        {"a b.test", ""},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(str_c(arena, align_organisation(arena, str_of(cases[i].domain))),
                            cases[i].organisation);
    arena_free(arena);
}

#define V(r, d, ...)                                                                                         \
    { .result = DKIM_##r, .domain = {d, sizeof d - 1}, .reason = {"why", 3}, __VA_ARGS__ }
#define SPF(r, d)                                                                                            \
    {                                                                                                        \
        .result = SPF_##r, .domain = {d, sizeof d - 1}, .reason = { "seen", 4 }                              \
    }
#define SPF_SAYS(word)                                                                                       \
    "SPF of sender.test said " word " on arrival (seen), and no DKIM signature of it passed"
#define DKIM_SAYS(d)                                                                                         \
    "the DKIM signature of " d " failed on arrival (why), and neither SPF nor another signature passed"

static void test_unverified(void **state) {
    (void)state;
    static const struct {
        const char *reverse_path;
        struct spf_check spf;
        struct dkim_verdict dkim[3];
        size_t count;
        int aligned; /* index + 1 of the verdict that verifies the domain */
        const char *unverified;
        bool own;
    } cases[] = {
        {"a@sender.test", SPF(PASS, "sender.test")},
        {"a@sender.test", SPF(NONE, "sender.test")},
        {"a@sender.test", SPF(NEUTRAL, "sender.test")},
        {"a@sender.test", SPF(TEMPERROR, "sender.test")},
        {"a@sender.test", SPF(PERMERROR, "sender.test")},
        {"a@sender.test", SPF(FAIL, "sender.test"), .unverified = SPF_SAYS("fail")},
        {"a@SENDER.test", SPF(SOFTFAIL, "sender.test"), .unverified = SPF_SAYS("softfail")},
        {"a@sender.test", SPF(FAIL, "sender.test"), .own = true},
        {"", SPF(FAIL, "sender.test")},
        {"a@sender.test", SPF(FAIL, "other.test")}, /* SPF says nothing of it */
        {"a@sender.test", {.result = SPF_FAIL, .identity = SPF_HELO, .domain = {"sender.test", 11}}},
        {"a@sender.test", SPF(FAIL, "sender.test"), {V(PASS, "sender.test")}, 1, 1},
        {"a@sender.test", SPF(FAIL, "sender.test"), {V(PASS, "mail.sender.test")}, 1, 1},
        {"a@m.sender.test", SPF(FAIL, "m.sender.test"), {V(PASS, "sender.test")}, 1, 1},
        {"a@sender.test", SPF(FAIL, "sender.test"), {V(PASS, "other.test")}, 1, 0, SPF_SAYS("fail")},
        {"a@sender.test",
         SPF(FAIL, "sender.test"),
         {V(PASS, "sender.test", .testing = true)},
         1,
         0,
         SPF_SAYS("fail")},
        {"a@sender.test",
         SPF(FAIL, "sender.test"),
         {V(PASS, "sender.test", .unsigned_bytes = 1)},
         1,
         0,
         SPF_SAYS("fail")},
        {"a@sender.test", SPF(NONE, "sender.test"), {V(FAIL, "sender.test")}, 1, 0, DKIM_SAYS("sender.test")},
        {"a@sender.test",
         SPF(NEUTRAL, "sender.test"),
         {V(FAIL, "m.sender.test")},
         1,
         0,
         DKIM_SAYS("m.sender.test")},
        {"a@sender.test", SPF(PASS, "sender.test"), {V(FAIL, "sender.test")}, 1},
        {"a@sender.test", SPF(PASS, "other.test"), {V(FAIL, "sender.test")}, 1, 0, DKIM_SAYS("sender.test")},
        {"a@sender.test", SPF(NONE, "sender.test"), {V(FAIL, "other.test")}, 1},
        {"a@sender.test", SPF(NONE, "sender.test"), {V(FAIL, "sender.test", .testing = true)}, 1},
        {"a@sender.test", SPF(NONE, "sender.test"), {V(TEMPERROR, "sender.test")}, 1},
        {"a@sender.test", SPF(NONE, "sender.test"), {V(PERMERROR, "sender.test")}, 1},
        {"a@sender.test", SPF(NONE, "sender.test"), {V(POLICY, "sender.test")}, 1},
        {"a@sender.test",
         SPF(SOFTFAIL, "sender.test"),
         {V(FAIL, "sender.test"), V(PASS, "other.test"), V(PASS, "sender.test")},
         3,
         3},
        {"a@sender.co.uk",
         SPF(FAIL, "sender.co.uk"),
         {V(PASS, "other.co.uk"), V(PASS, "co.uk")},
         2,
         0,
         "SPF of sender.co.uk said fail on arrival (seen), and no DKIM signature of it passed"},
        {"nobody", SPF(NONE, ""), {V(FAIL, "sender.test")}, 1},
        {"a@[192.0.2.1]", SPF(NONE, ""), {V(PASS, "sender.test")}, 1},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_verdict items[3];
        memcpy(items, cases[i].dkim, sizeof items);
        struct arrival_result result = {
            .checked = !cases[i].own, .spf = cases[i].spf, .dkim = {items, cases[i].count}};
        struct str path = str_of(cases[i].reverse_path), domain = address_split(path).domain;
        struct str why = arrival_unverified(&result, path, arena);
        const struct dkim_verdict *verdict = arrival_aligned_dkim(&result, domain);
        int index = verdict ? (int)(verdict - items) + 1 : 0;
        if (!why.at != !cases[i].unverified || !str_eq(why, str_of(cases[i].unverified)) ||
            index != cases[i].aligned)
            fail_msg("%zu: %.*s (%d)", i, STR_FMT(why), index);
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_organisation), cmocka_unit_test(test_name),
                                       cmocka_unit_test(test_unverified)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
