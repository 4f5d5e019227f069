#include "cmocka_setup.h"
#include "identity/spf_split.h"
#include <stdlib.h>

static struct cidr cidr_of(uint32_t n, unsigned prefix) {
    struct cidr c = {.prefix = prefix};
    ip_parse(STR("10.0.0.0"), &c.network);
    c.network.bytes[13] = (unsigned char)(n >> 16), c.network.bytes[14] = (unsigned char)(n >> 8),
    c.network.bytes[15] = (unsigned char)n;
    return c;
}

static size_t occurrences(struct str text, struct str what) {
    size_t count = 0;
    for (ptrdiff_t at; (at = str_find(text, what)) >= 0; count++)
        text = str_from_index(text, (size_t)at + what.len);
    return count;
}

static void test_small(void **state) {
    static const struct {
        size_t count;
        const char *text;
    } cases[] = {
        {0, "v=spf1 -all"},
        {1, "v=spf1 ip4:10.0.0.0 -all"},
        {2, "v=spf1 ip4:10.0.0.0 ip4:10.0.0.2/31 -all"},
    };
    struct cidr cidrs[] = {cidr_of(0, 32), cidr_of(2, 31)};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct spf_texts texts;
        assert_true(spf_split(arena, STR("spf.example.net"), cidrs, cases[i].count, 0, &texts));
        assert_int_equal(texts.count, 1);
        assert_true(str_eq(texts.at[0].name, STR("spf.example.net")));
        assert_true(str_eq(texts.at[0].text, str_of(cases[i].text)));
        arena_free(arena);
    }
}

/* Each network once and in order, whatever the number; sizes and look-ups within bounds; no include more than
 * needed. */
static void test_any_count(void **state) {
    enum { MOST = 400 };
    static const char *const owners[] = {
        "spf.example.net", "nam02-bl2-obe.outbound.example.net",
        "a-very-long-name-of-a-site-in-a-data-centre-far-away.a-very-long-name-of-a-department.example.net"};
    struct cidr cidrs[MOST];
    (void)state;
    for (uint32_t n = 0; n < MOST; n++)
        cidrs[n] = cidr_of(n * 7919 * 2, 31);
    for (size_t o = 0; o < COUNT(owners); o++) {
        size_t most = 0;
        for (size_t count = 0; count < MOST; count++) {
            struct arena *arena = arena_new(0);
            struct spf_texts texts, fewer;
            struct str owner = str_of(owners[o]);
            bool fits = spf_split(arena, owner, cidrs, count, SPF_LOOKUPS_OF_NAME, &texts);
            assert_true(!fits || most == count); /* once it is too many it stays so */
            most = fits ? count + 1 : most;
            for (size_t i = 0, at = 0; fits && i < texts.count; i++) {
                struct str text = texts.at[i].text;
                assert_true(text.len <= SPF_TEXT_MAX && text.len < 450);
                assert_true(str_starts(text, STR("v=spf1 ")) && str_ends(text, STR(" -all")));
                assert_int_equal(occurrences(text, STR("include:")), i ? 0 : texts.count - 1);
                for (size_t left = occurrences(text, STR("ip4:")); left-- > 0; at++) {
                    char term[CIDR_TEXT_SIZE];
                    assert_true(str_find(text, str_of(cidr_text(&cidrs[at], term))) > 0);
                }
                if (i + 1 == texts.count)
                    assert_int_equal(at, count);
            }
            if (fits) {
                assert_true(texts.count - 1 <= SPF_LOOKUPS_OF_NAME);
                if (texts.count > 1)
                    assert_false(spf_split(arena, owner, cidrs, count, (unsigned)texts.count - 2, &fewer));
            }
            arena_free(arena);
        }
        assert_true(most > 40 && most < MOST);
    }
}

static void test_exists(void **state) {
    static const struct {
        const char *ip, *name;
    } cases[] = {
        {"192.0.2.1", "1.2.0.192.in-addr.spf.example.net"},
        {"2001:db8::ff",
         "f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.spf.example.net"},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    assert_true(str_eq(spf_exists(arena, STR("spf.example.net")),
                       STR("v=spf1 exists:%{ir}.%{v}.spf.example.net -all")));
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip;
        ip_parse(str_of(cases[i].ip), &ip);
        struct str name = spf_exists_name(arena, &ip, STR("spf.example.net"));
        assert_string_equal(name.at, cases[i].name);
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small), cmocka_unit_test(test_any_count),
                                       cmocka_unit_test(test_exists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
