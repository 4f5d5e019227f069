#include "base/str.h"
#include "cmocka_setup.h"

static void test_comparisons(void **state) {
    (void)state;
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abC")));
    assert_true(str_eq_nocase(STR("aBc"), STR("AbC")));
    assert_true(str_eq(STR_NULL, STR("")));
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends_nocase(STR("mail.EXAMPLE"), STR(".example")));
    assert_int_equal(str_cmp(STR("a"), STR("b")), -1);
    assert_int_equal(str_cmp(STR("ab"), STR("a")), 1);
}

static void test_searches(void **state) {
    (void)state;
    assert_int_equal(str_index(STR("a@b@c"), '@'), 1);
    assert_int_equal(str_rindex(STR("a@b@c"), '@'), 3);
    assert_int_equal(str_index(STR(""), '@'), -1);
    assert_int_equal(str_find(STR("hello"), STR("llo")), 2);
    assert_int_equal(str_find_nocase(STR("heLLo"), STR("LLO")), 2);
    assert_int_equal(str_find(STR("he"), STR("hello")), -1);
}

static void test_cut(void **state) {
    static const struct {
        const char *in;
        size_t parts;
    } cases[] = {{"", 1}, {"a", 1}, {"a,b", 2}, {",", 2}, {"a,,b,", 4}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str rest = str_of(cases[i].in), part;
        size_t parts = 0;
        while (str_cut(&rest, ',', &part))
            parts++;
        assert_int_equal(parts, cases[i].parts);
    }
}

static void test_numbers(void **state) {
    static const struct {
        const char *in;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"", false, 0},
        {"12x", false, 0},
        {"-1", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 0;
        assert_int_equal(str_to_u64(str_of(cases[i].in), &value), cases[i].ok);
        assert_true(value == cases[i].value);
    }
}

/* The authors' vectors: the key is 00 01 ... 0f, the message 00 01 ... */
static void test_hash(void **state) {
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd}, {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}};
    const uint64_t key = 0x0706050403020100;
    char message[16];
    (void)state;
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (char)i;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        assert_true(str_hash(str_from(message, vectors[i].len), key) == vectors[i].hash);
        assert_true(str_hash_nocase(str_from(message, vectors[i].len), key) == vectors[i].hash);
    }
    assert_true(str_hash_nocase(STR("Ann@Contoso.com"), 7) == str_hash(STR("ann@contoso.com"), 7));
    assert_true(str_hash(STR("Ann@contoso.com"), 7) != str_hash(STR("ann@contoso.com"), 7));
    assert_true(str_hash(STR("ann@contoso.com"), 8) != str_hash(STR("ann@contoso.com"), 7));
}

static void test_distance(void **state) {
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {{"", "", 0},
                 {"pool", "pool", 0},
                 {"pool", "pol", 1},
                 {"pool", "polo", 1},
                 {"adresses", "addresses", 1}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(str_distance(str_of(cases[i].a), str_of(cases[i].b)), cases[i].distance);
}

static void test_copies(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct str s = str_printf(arena, "%0300d", 7);
    assert_int_equal(s.len, 300);
    assert_int_equal(s.at[299], '7');
    assert_string_equal(str_c(arena, STR("x")), "x");
    assert_true(str_eq(str_lower(arena, STR("MiXed")), STR("mixed")));
    assert_true(str_eq(str_trim(STR(" \t a b\r\n")), STR("a b")));
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparisons), cmocka_unit_test(test_searches), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_distance), cmocka_unit_test(test_hash),
        cmocka_unit_test(test_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
