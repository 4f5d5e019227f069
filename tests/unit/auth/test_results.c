#include "auth/results.h"
#include "cmocka_setup.h"

static void equal(size_t i, struct str got, const char *wanted) {
    if (!str_eq(got, str_of(wanted)))
        fail_msg("%zu:\n got    %.*s\n wanted %s", i, STR_FMT(got), wanted);
}

static const struct dkim_verdict good = {.result = DKIM_PASS,
                                         .domain = {"sender.test", 11},
                                         .selector = {"s1", 2},
                                         .identity = {"@sender.test", 12},
                                         .algorithm = {"rsa-sha256", 10},
                                         .b = {"AbCd+/12", 8},
                                         .key_bits = 2048};

static void test_spf_and_client(void **state) {
    (void)state;
    static const struct {
        const char *ip, *helo, *reverse_path;
        struct spf_check spf;
        const char *value;
    } cases[] = {
        {"192.0.2.1",
         "mail.sender.test",
         "ann@sender.test",
         {.result = SPF_PASS,
          .domain = {"sender.test", 11},
          .reason = {"192.0.2.1 is in ip4:192.0.2.0/24", 32}},
         "spf=pass (192.0.2.1 is in ip4:192.0.2.0/24) smtp.mailfrom=ann@sender.test; dkim=none; arc=none "
         "smtp.remote-ip=192.0.2.1"},
        {"2001:db8::1",
         "mail.sender.test",
         "",
         {.result = SPF_FAIL, .identity = SPF_HELO},
         "spf=fail smtp.helo=mail.sender.test; dkim=none; arc=none smtp.remote-ip=\"2001:db8::1\""},
        {NULL, "", "", {.identity = SPF_HELO}, "spf=none; dkim=none; arc=none"},
        {NULL,
         "x\"; dkim=pass header.d=bank.test\r\nTo: y\\",
         "",
         {.identity = SPF_HELO},
         "spf=none smtp.helo=\"x\\\"; dkim=pass header.d=bank.test  To: y\\\\\"; dkim=none; arc=none"},
        {NULL,
         "[192.0.2.1]",
         "",
         {.identity = SPF_HELO},
         "spf=none smtp.helo=\"[192.0.2.1]\"; dkim=none; arc=none"},
        {NULL,
         "x",
         "\"a; spf=pass\"@sender.test",
         {.result = SPF_NEUTRAL},
         "spf=neutral smtp.mailfrom=\"\\\"a; spf=pass\\\"@sender.test\"; dkim=none; arc=none"},
        {NULL,
         "x",
         "SRS0=ab=cd=a.test=b@sender.test",
         {.result = SPF_NEUTRAL},
         "spf=neutral smtp.mailfrom=SRS0=ab=cd=a.test=b@sender.test; dkim=none; arc=none"},
        {NULL,
         "x",
         "\xc3\xa4@sender.test",
         {.result = SPF_NEUTRAL},
         "spf=neutral smtp.mailfrom=\"\xc3\xa4@sender.test\"; dkim=none; arc=none"},
        {NULL,
         "x",
         "\xff@sender.test",
         {.result = SPF_NEUTRAL},
         "spf=neutral smtp.mailfrom=\"?@sender.test\"; dkim=none; arc=none"},
        {NULL,
         "\xc3\xa4\x01\x7f",
         "",
         {.identity = SPF_HELO},
         "spf=none smtp.helo=\"????\"; dkim=none; arc=none"},
        {NULL,
         "x",
         "a@sender.test",
         {.result = SPF_PERMERROR, .reason = {"a) spf=pass (\\", 14}},
         "spf=permerror (a\\) spf=pass \\(\\\\) smtp.mailfrom=a@sender.test; dkim=none; arc=none"},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arrival_client client = {.helo = str_of(cases[i].helo),
                                        .reverse_path = str_of(cases[i].reverse_path)};
        struct arrival_result result = {.checked = true, .spf = cases[i].spf};
        assert_true(!cases[i].ip || ip_parse(str_of(cases[i].ip), &client.ip));
        struct str value = results_value(arena, STR("mx.ours.test"), &client, &result);
        assert_true(str_starts(value, STR("mx.ours.test; ")));
        equal(i, str_from_index(value, 14), cases[i].value);
    }
    arena_free(arena);
}

static void test_signatures(void **state) {
    (void)state;
    struct dkim_verdict hostile = {.result = DKIM_PERMERROR,
                                   .reason = STR("c=\"x\"\r\nBcc: (a)"),
                                   .identity = STR("\"; dkim=pass\"@x"),
                                   .algorithm = STR("rsa; dkim=pass"),
                                   .b = STR("\"\\()")};
    struct dkim_verdict test = good, cut = good, weak = good, failed = good;
    test.testing = true;
    cut.unsigned_bytes = 7;
    weak.result = DKIM_POLICY;
    weak.key_bits = 512;
    weak.reason = STR("the key is shorter than 1024 bits");
    failed.result = DKIM_FAIL;
    failed.reason = STR("the body hash does not match");
    failed.identity = STR("ann@sub.sender.test");
#define PROPERTIES                                                                                           \
    " header.d=sender.test header.i=@sender.test header.s=s1 header.a=rsa-sha256 header.b=\"AbCd+/12\""
    const struct {
        struct dkim_verdict verdict;
        const char *value, *text;
    } cases[] = {
        {good, "dkim=pass (2048-bit key)" PROPERTIES, "pass d=sender.test s=s1"},
        {test, "dkim=pass (2048-bit key, in test mode)" PROPERTIES, "pass d=sender.test s=s1 (in test mode)"},
        {cut, "dkim=pass (2048-bit key, 7 octets of the body not signed)" PROPERTIES,
         "pass d=sender.test s=s1 (7 octets of the body not signed)"},
        {weak, "dkim=policy (512-bit key) reason=\"the key is shorter than 1024 bits\"" PROPERTIES,
         "policy d=sender.test s=s1 (the key is shorter than 1024 bits)"},
        {failed,
         "dkim=fail (2048-bit key) reason=\"the body hash does not match\" header.d=sender.test "
         "header.i=ann@sub.sender.test header.s=s1 header.a=rsa-sha256 header.b=\"AbCd+/12\"",
         "fail d=sender.test s=s1 (the body hash does not match)"},
        {hostile,
         "dkim=permerror reason=\"c=\\\"x\\\"  Bcc: (a)\" header.i=\"\\\"; dkim=pass\\\"@x\" "
         "header.a=\"rsa; dkim=pass\" header.b=\"\\\"\\\\()\"",
         "permerror (c=\"x\"  Bcc: (a))"},
    };
    struct arena *arena = arena_new(0);
    struct arrival_client client = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_verdict verdict = cases[i].verdict;
        struct arrival_result result = {.checked = true, .dkim = {&verdict, 1}};
        struct str value = results_value(arena, STR("mx"), &client, &result);
        equal(i, value, str_c(arena, str_printf(arena, "mx; spf=none; %s; arc=none", cases[i].value)));
        equal(i, results_dkim_text(arena, &result), cases[i].text);
    }
    arena_free(arena);
}

/* The field as receivers read it: folded, every line short, one field whatever is in it. */
static void test_field(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct dkim_verdict items[DKIM_VERIFY_MAX];
    char *long_text = arena_alloc(arena, 5000);
    memset(long_text, '\n', 5000);
    for (size_t i = 0; i < DKIM_VERIFY_MAX; i++) {
        items[i] = good;
        items[i].result = DKIM_FAIL;
        items[i].reason = items[i].identity = items[i].algorithm = str_from(long_text, 5000);
    }
    struct arrival_client client = {.helo = str_from(long_text, 5000),
                                    .reverse_path = str_from(long_text, 5000)};
    struct arrival_result result = {
        .checked = true, .dkim = {items, DKIM_VERIFY_MAX, 984}, .arc = {.result = ARC_FAIL, .instances = 3}};
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct header header;
    results_write(&out, STR("mx.ours.test"), &client, &result);
    assert_int_equal(header_parse(arena, buf_view(&out), 0, &header), 0);
    assert_int_equal(header.count, 1);
    assert_int_equal(header.whole.len, out.len);
    assert_true(str_find(buf_view(&out), STR("984 more signatures")) > 0);
    for (struct str rest = buf_view(&out), line; str_cut(&rest, '\n', &line);)
        assert_true(line.len < 990);
    struct str text = results_dkim_text(arena, &result);
    assert_true(text.len <= RESULTS_TEXT_MAX && str_ends(text, STR(" more")));

    struct arrival_result own = {.checked = false};
    buf_clear(&out);
    results_write(&out, STR("mx.ours.test"), &client, &own);
    equal(0, buf_view(&out), "Authentication-Results: mx.ours.test; none\r\n");
    assert_null(results_spf_text(arena, &own).at);
    assert_null(results_dkim_text(arena, &own).at);
    assert_null(results_arc_text(arena, &own).at);
    arena_free(arena);
}

static void test_texts(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct dkim_verdict two[] = {good, good};
    two[1].result = DKIM_FAIL;
    two[1].domain = STR("other.test");
    two[1].selector = STR("x");
    two[1].reason = STR("the body hash does not match");
    struct arrival_result result = {.checked = true,
                                    .spf = {.result = SPF_PASS,
                                            .domain = STR("sender.test"),
                                            .reason = STR("192.0.2.1 is in ip4:192.0.2.0/24")},
                                    .dkim = {two, 2},
                                    .arc = {.result = ARC_PASS, .instances = 2, .domain = STR("lists.test")}};
    equal(0, results_spf_text(arena, &result), "pass sender.test (192.0.2.1 is in ip4:192.0.2.0/24)");
    equal(1, results_dkim_text(arena, &result),
          "pass d=sender.test s=s1; fail d=other.test s=x (the body hash does not match)");
    equal(2, results_arc_text(arena, &result), "pass i=2 d=lists.test");
    result.arc.oldest_pass = 2;
    struct arrival_client client = {.reverse_path = STR("a@b.test")};
    struct str value = results_value(arena, STR("mx"), &client, &result);
    assert_true(str_ends(value, STR("; arc=pass (i=2) header.oldest-pass=2")));
    result.arc = (struct arc_verdict){.result = ARC_FAIL, .instances = 1, .reason = STR("i=1: no key at x")};
    equal(3, results_arc_text(arena, &result), "fail i=1 (i=1: no key at x)");
    result = (struct arrival_result){.checked = true};
    equal(4, results_spf_text(arena, &result), "none");
    equal(5, results_dkim_text(arena, &result), "none");
    equal(6, results_arc_text(arena, &result), "none");
    arena_free(arena);
}

static void test_claims(void **state) {
    (void)state;
    static const struct {
        const char *field;
        bool claims;
    } cases[] = {
        {"Authentication-Results: mx.ours.test; spf=pass", true},
        {"authentication-RESULTS : MX.Ours.TEST; none", true},
        {"Authentication-Results: mx.ours.test", true},
        {"Authentication-Results:mx.ours.test;spf=pass", true},
        {"Authentication-Results: mx.ours.test 1; spf=pass", true},
        {"Authentication-Results: mx.ours.test/1; spf=pass", true},
        {"Authentication-Results: mx.ours.test(v)1; spf=pass", true},
        {"Authentication-Results:\r\n\tmx.ours.test\r\n\t;\r\n\tspf=pass", true},
        {"Authentication-Results: (a (nested\\) one) \"b\") mx.ours.test (c); spf=pass", true},
        {"Authentication-Results: \"mx.ours.test\"; spf=pass", true},
        {"Authentication-Results: \"mx.ou\\rs.test\" 1; spf=pass", true},
        {"Authentication-Results: mx.ours.test.; spf=pass", true},
        {"Authentication-Results: mx.(x)ours.test; spf=pass", true},
        {"Authentication-Results: mx . ours . test; spf=pass", true},
        {"Authentication-Results: mx.\"ours\".test; spf=pass", true},
        {"Authentication-Results: mx.ours\x01.test; spf=pass", true},
        {"Authentication-Results: mx.ours.test spf=pass", true},
        {"Authentication-Results: ; mx.ours.test; spf=pass", true},
        {"Authentication-Results: (open mx.ours.test; spf=pass", true},
        {"Authentication-Results: \"open mx.ours.test; spf=pass", true},
        {"Authentication-Results: other.test mx.ours.test; spf=pass", true},
        {"Authentication-Results: =?utf-8?q?mx.ours.test?=; spf=pass", true},
        {"Authentication-Results: other.test; spf=pass smtp.helo=mx.ours.test", false},
        {"Authentication-Results: other.test (mx.ours.test); spf=pass", false},
        {"Authentication-Results: other.test; (mx.ours.test) none", false},
        {"Authentication-Results: amx.ours.test; none", false},
        {"Authentication-Results: mx.ours.test.other; none", false},
        {"Authentication-Results: ours.test; none", false},
        {"Authentication-Results: -mx.ours.test; none", false},
        {"Authentication-Results:", false},
        {"Authentication-Results: ;;;", false},
        {"ARC-Authentication-Results: i=1; mx.ours.test; none", false},
        {"X-Authentication-Results: mx.ours.test; none", false},
        {"Received: from mx.ours.test; spf=pass", false},
    };
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct header header;
        struct str text = str_printf(arena, "%s\r\n\r\n", cases[i].field);
        assert_int_equal(header_parse(arena, text, 0, &header), 0);
        assert_int_equal(header.count, 1);
        if (results_claims(arena, &header.fields[0], STR("mx.Ours.test")) != cases[i].claims)
            fail_msg("%s: %d", cases[i].field, cases[i].claims);
        assert_false(results_claims(arena, &header.fields[0], STR("")));
    }
    struct header_field umlaut = {.name = STR("Authentication-Results"),
                                  .value = STR("b\xc3\xbc"
                                               "cher.test; none")};
    assert_true(results_claims(arena, &umlaut, STR("xn--bcher-kva.test")));
    umlaut.value = STR("XN--bcher-kva.TEST; none");
    assert_true(results_claims(arena, &umlaut,
                               STR("b\xc3\xbc"
                                   "cher.test")));
    arena_free(arena);
}

/* Comments and quotes that never end, a megabyte of them: read in no time. */
static void test_claims_cost(void **state) {
    (void)state;
    enum { SIZE = 1 << 20 };
    struct arena *arena = arena_new(0);
    static const char *const units[] = {"(",         ")",     "\"",  "(\"", "\\(",
                                        "\xc3\xa4 ", "xn-- ", "(()", "a.",  "\"\"("};
    for (size_t i = 0; i < COUNT(units); i++) {
        char *value = arena_alloc(arena, SIZE);
        size_t len = strlen(units[i]);
        for (size_t at = 0; at + len <= SIZE; at += len)
            memcpy(value + at, units[i], len);
        struct header_field field = {.name = STR("Authentication-Results"), .value = {value, SIZE}};
        assert_false(results_claims(arena, &field, STR("mx.ours.test")));
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spf_and_client), cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_field),          cmocka_unit_test(test_texts),
        cmocka_unit_test(test_claims),         cmocka_unit_test(test_claims_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
