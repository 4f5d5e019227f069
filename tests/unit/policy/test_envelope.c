#include "base/buf.h"
#include "base/clock.h"
#include "cmocka_setup.h"
#include "fixture.h"
#include "policy/envelope.h"

#include <stdio.h>

enum { FORWARDS = 500, FIELDS = 9000 };

static bool add(struct envelope *e, const struct policy *p, const char *to, bool outside,
                struct arena *arena) {
    struct envelope_rcpt rcpt = {.address = str_of(to), .outside = outside};
    const struct tenant *tenant;
    struct outcome refusal;
    return envelope_add(e, p, &rcpt, arena, &tenant, &refusal);
}

static const char two_tenants[] =
    "tenant \"contoso\" { domains = {\"contoso.test\"}\n"
    "  connector \"home\" { addresses = {\"10.0.0.1\"} deliver = \"mail.contoso.test\" }\n"
    "  policy \"default\" { forwarding = on }\n"
    "  forward \"one@contoso.test\" { to = {\"x@else.test\"} }\n"
    "  forward \"two@contoso.test\" { to = {\"x@else.test\", \"y@else.test\"} keep = true }\n"
    "}\n"
    "tenant \"litware\" { domains = {\"litware.test\"}\n"
    "  policy \"default\" { forwarding = on }\n"
    "  forward \"x@litware.test\" { to = {\"x@else.test\"}  keep = true }\n"
    "}\n";

/* Whose SRS a copy gets: of whom it is forwarded by, never of whom it is for. */
static void test_whose_copy(void **state) {
    static const struct {
        const char *to;
        bool outside;
        const char *tenant; /* NULL: nobody's */
    } cases[] = {
        {"somebody@else.test", false, NULL},    {"bob@litware.test", false, NULL},
        {"bob@contoso.test", false, NULL},      {"postmaster@contoso.test", true, NULL},
        {"one@contoso.test", false, "contoso"}, {"one@contoso.test", true, "contoso"},
        {"two@contoso.test", true, "contoso"},
    };
    struct fixture f = fixture_open(two_tenants, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct envelope e = {0};
        assert_true(add(&e, f.policy, cases[i].to, cases[i].outside, f.arena));
        for (size_t j = 0; j < e.copy_count; j++)
            assert_string_equal(e.copies[j].tenant ? str_c(f.arena, e.copies[j].tenant->name) : "",
                                cases[i].tenant ? cases[i].tenant : "");
    }
    fixture_close(&f);
}

/* What the sender gets to read in a report. */
static void test_original_recipient(void **state) {
    static const struct {
        const char *to, *orcpt, *expected;
    } cases[] = {
        {"One@contoso.test", "", "rfc822;One@contoso.test"},
        {"one@contoso.test", "rfc822;first@else.test", "rfc822;first@else.test"},
        {"bob@else.test", "", ""},
        {"bob@else.test", "rfc822;first@else.test", "rfc822;first@else.test"},
    };
    struct fixture f = fixture_open(two_tenants, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct envelope e = {0};
        struct envelope_rcpt rcpt = {.address = str_of(cases[i].to), .orcpt = str_of(cases[i].orcpt)};
        const struct tenant *tenant;
        struct outcome refusal;
        assert_true(envelope_add(&e, f.policy, &rcpt, f.arena, &tenant, &refusal));
        assert_string_equal(str_c(f.arena, e.copies[0].to.orcpt), cases[i].expected);
    }
    fixture_close(&f);
}

/* Named twice, or reached in several ways: one copy for each address. */
static void test_each_address_once(void **state) {
    struct fixture f = fixture_open(two_tenants, NULL, NULL);
    struct envelope e = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(add(&e, f.policy, "x@else.test", false, f.arena));
        assert_true(add(&e, f.policy, "two@contoso.test", false, f.arena));
        assert_true(add(&e, f.policy, "TWO@contoso.test", false, f.arena));
        assert_true(add(&e, f.policy, "one@contoso.test", false, f.arena));
    }
    assert_int_equal(e.named_count, 4);
    assert_int_equal(e.copy_count, 3);
    assert_int_equal(envelope_leaving(&e), 3);
    fixture_close(&f);
}

static void test_loops(void **state) {
    static const struct {
        const char *header;
        size_t left; /* of the copies of two@ */
    } cases[] = {
        {"Subject: two@contoso.test\r\n", 3},
        {"Delivered-To: one@contoso.test\r\n", 3},
        {"Delivered-To: a@b\r\nDELIVERED-TO:\r\n Two@Contoso.test\r\n", 1},
    };
    struct fixture f = fixture_open(two_tenants, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct envelope e = {0};
        struct header header;
        struct outcome refusal;
        assert_true(add(&e, f.policy, "two@contoso.test", true, f.arena));
        assert_int_equal(header_parse(f.arena, str_of(cases[i].header), 0, &header), 0);
        assert_true(envelope_check_loops(&e, &header, f.arena, &refusal));
        assert_int_equal(envelope_leaving(&e), cases[i].left);
    }
    struct envelope e = {0};
    struct header header;
    struct outcome refusal;
    assert_true(add(&e, f.policy, "one@contoso.test", true, f.arena));
    assert_int_equal(header_parse(f.arena, STR("Delivered-To: one@contoso.test\r\n"), 0, &header), 0);
    assert_false(envelope_check_loops(&e, &header, f.arena, &refusal));
    assert_int_equal(refusal.code, 554);
    assert_string_equal(str_c(f.arena, refusal.enhanced), "5.4.6");
    fixture_close(&f);
}

/* Who is named gets the message, in whichever order, though a forward to the same address has looped. */
static void test_named_beside_a_loop(void **state) {
    static const char *const orders[][3] = {
        {"one@contoso.test", "x@else.test", "z@else.test"},
        {"x@else.test", "one@contoso.test", "z@else.test"},
        {"one@contoso.test", "x@else.test", "one@contoso.test"},
    };
    struct fixture f = fixture_open(two_tenants, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(orders); i++) {
        struct envelope e = {0};
        struct header header;
        struct outcome refusal;
        bool leaves = false;
        for (size_t j = 0; j < COUNT(orders[i]); j++)
            assert_true(add(&e, f.policy, orders[i][j], false, f.arena));
        assert_int_equal(header_parse(f.arena, STR("Delivered-To: one@contoso.test\r\n"), 0, &header), 0);
        assert_true(envelope_check_loops(&e, &header, f.arena, &refusal));
        for (size_t j = 0; j < e.copy_count; j++)
            leaves |= e.copies[j].ended.fate == OUTCOME_DONE && !e.copies[j].forwarder.len &&
                      str_eq(e.copies[j].to.address, STR("x@else.test"));
        assert_true(leaves);
    }
    fixture_close(&f);
}

/* From outside one tenant's recipients at a time; the refused one leaves no trace in the envelope. */
/* Copies end only while everybody who was named keeps one. */
static void test_end(void **state) {
    static const struct {
        const char *to[2];
        bool ends;
    } cases[] = {
        {{"two@contoso.test", "postmaster@contoso.test"}, true},
        {{"two@contoso.test", "two@contoso.test"}, true},
        {{"one@contoso.test", "postmaster@contoso.test"}, false},
        {{"two@contoso.test", "one@contoso.test"}, false}, /* both forward to x@, which is one copy */
        {{"one@contoso.test", "two@contoso.test"}, false},
    };
    const struct outcome why = {.fate = OUTCOME_NEVER, .code = 550};
    struct fixture f = fixture_open(two_tenants, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct envelope e = {0};
        bool stopped[8];
        for (size_t k = 0; k < COUNT(cases[i].to); k++)
            assert_true(add(&e, f.policy, cases[i].to[k], true, f.arena));
        size_t leaving = envelope_leaving(&e), outside = 0;
        for (size_t k = 0; k < e.copy_count; k++)
            outside += stopped[k] = str_ends(e.copies[k].to.address, STR("@else.test"));
        assert_true(outside > 0);
        assert_int_equal(envelope_end(&e, stopped, &why), cases[i].ends);
        assert_int_equal(envelope_leaving(&e), leaving - (cases[i].ends ? outside : 0));
    }
    fixture_close(&f);
}

static void test_one_tenant_at_a_time(void **state) {
    struct fixture f = fixture_open(two_tenants, NULL, NULL);
    struct envelope e = {0};
    const struct tenant *first, *second;
    struct outcome refusal;
    struct envelope_rcpt rcpt = {.address = STR("one@contoso.test"), .outside = true};
    (void)state;
    assert_true(envelope_add(&e, f.policy, &rcpt, f.arena, &first, &refusal));
    rcpt.address = STR("x@litware.test");
    rcpt.tenant = first;
    assert_false(envelope_add(&e, f.policy, &rcpt, f.arena, &second, &refusal));
    assert_int_equal(refusal.code, 452);
    assert_string_equal(str_c(f.arena, refusal.enhanced), "4.5.3");
    assert_int_equal(e.named_count, 1);
    assert_int_equal(e.copy_count, 1);
    assert_string_equal(str_c(f.arena, e.copies[0].forwarder), "one@contoso.test");
    rcpt.address = STR("two@contoso.test");
    assert_true(envelope_add(&e, f.policy, &rcpt, f.arena, &second, &refusal));
    assert_ptr_equal(first, second);
    fixture_close(&f);
}

/* A header full of Delivered-To against many forwards costs neither memory nor the loop's time. */
static void test_hostile_header(void **state) {
    struct buf config __attribute__((cleanup(buf_free))) = {0}, text __attribute__((cleanup(buf_free))) = {0};
    struct envelope e = {0};
    struct header header;
    struct outcome refusal;
    char address[64];
    (void)state;
    buf_str(&config, STR("tenant \"t\" { domains = {\"a.test\"} policy \"default\" { forwarding = on }\n"));
    for (int i = 0; i < FORWARDS; i++)
        buf_printf(&config, "forward \"f%d@a.test\" { to = {\"x%d@b.test\"} }\n", i, i);
    buf_str(&config, STR("}\n"));
    for (int i = 0; i < FIELDS; i++)
        buf_printf(&text, "Delivered-To:\r\n %080d\r\n @a.test\r\n", i);
    struct fixture f = fixture_open(buf_c(&config), NULL, NULL);
    for (int i = 0; i < FORWARDS; i++) {
        snprintf(address, sizeof address, "f%d@a.test", i);
        struct envelope_rcpt rcpt = {.address = str_copy(f.arena, str_of(address)), .outside = true};
        const struct tenant *tenant;
        assert_true(envelope_add(&e, f.policy, &rcpt, f.arena, &tenant, &refusal));
    }
    assert_int_equal(header_parse(f.arena, buf_view(&text), 0, &header), 0);
    int64_t begun = clock_mono_ms();
    size_t before = arena_size(f.arena);
    assert_true(envelope_check_loops(&e, &header, f.arena, &refusal));
    assert_int_equal(envelope_leaving(&e), FORWARDS);
    print_message("%lld ms, %zu bytes\n", (long long)(clock_mono_ms() - begun), arena_size(f.arena) - before);
    assert_true(arena_size(f.arena) - before < 4 * text.len);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whose_copy),          cmocka_unit_test(test_original_recipient),
        cmocka_unit_test(test_each_address_once),   cmocka_unit_test(test_loops),
        cmocka_unit_test(test_named_beside_a_loop), cmocka_unit_test(test_one_tenant_at_a_time),
        cmocka_unit_test(test_hostile_header),      cmocka_unit_test(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
