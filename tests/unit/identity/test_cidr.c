#include "cmocka_setup.h"
#include "identity/cidr.h"
#include <stdio.h>
#include <stdlib.h>

static struct ip_range range_of(const char *text) {
    struct ip_range r;
    assert_int_equal(ip_range_parse(str_of(text), &r), 0);
    return r;
}

static void test_table(void **state) {
    enum { MOST = 8 };
    static const struct {
        const char *ranges[MOST], *cidrs[MOST];
    } cases[] = {
        {{"192.0.2.1"}, {"192.0.2.1"}},
        {{"192.0.2.1", "192.0.2.1"}, {"192.0.2.1"}},
        {{"192.0.2.1", "192.0.2.0"}, {"192.0.2.0/31"}},
        {{"192.0.2.16/28", "192.0.2.0/28"}, {"192.0.2.0/27"}},
        {{"203.0.113.8/29", "203.0.113.16/29"}, {"203.0.113.8/29", "203.0.113.16/29"}},
        {{"203.0.113.16/29", "203.0.113.24/29", "203.0.113.20-203.0.113.27"}, {"203.0.113.16/28"}},
        {{"192.0.2.1-192.0.2.6"}, {"192.0.2.1", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6"}},
        {{"192.0.2.0/24", "192.0.2.7"}, {"192.0.2.0/24"}},
        {{"0.0.0.0/0"}, {"0.0.0.0/0"}},
        {{"::/0"}, {"::/0"}},
        {{"::/1", "8000::/1"}, {"::/0"}},
        {{"255.255.255.255", "::1:0:0:0"}, {"255.255.255.255", "0:0:0:0:1::"}}, /* neighbours in bytes only */
        {{"2001:db8::10-2001:db8::1f"}, {"2001:db8::10/124"}},
        {{"2001:db8::1", "192.0.2.1", "2001:db8::"}, {"192.0.2.1", "2001:db8::/127"}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct ip_range ranges[MOST];
        struct cidr *cidrs;
        size_t count = 0, wanted = 0;
        while (count < MOST && cases[i].ranges[count])
            ranges[count] = range_of(cases[i].ranges[count]), count++;
        while (wanted < MOST && cases[i].cidrs[wanted])
            wanted++;
        assert_int_equal(cidr_merge(arena, ranges, count, &cidrs), wanted);
        for (size_t j = 0; j < wanted; j++) {
            char text[CIDR_TEXT_SIZE];
            struct ip_range again = cidr_range(&cidrs[j]), same = range_of(cases[i].cidrs[j]);
            assert_memory_equal(&again, &same, sizeof same);
            if (cases[i].cidrs[j][0] != ':' && cases[i].cidrs[j][0] != '0') /* else text may differ */
                assert_string_equal(cidr_text(&cidrs[j], text), cases[i].cidrs[j]);
        }
        arena_free(arena);
    }
}

/* ---- any set ---- */

enum { BITS = 10, SPACE = 1 << BITS, ROUNDS = 400 };

/* The fewest networks for the part of the space below one node of the binary tree. */
static size_t fewest(const bool *has, size_t from, size_t size) {
    size_t set = 0;
    for (size_t i = 0; i < size; i++)
        set += has[from + i];
    if (set == size || set == 0)
        return set > 0;
    return fewest(has, from, size / 2) + fewest(has, from + size / 2, size / 2);
}

static struct ip at(bool v4, size_t n) {
    struct ip ip;
    ip_parse(v4 ? STR("10.20.0.0") : STR("2001:db8:ffff::"), &ip);
    ip.bytes[14] = (unsigned char)(n >> 8), ip.bytes[15] = (unsigned char)n;
    return ip;
}

static size_t index_of(const struct ip *ip) { return (size_t)ip->bytes[14] << 8 | ip->bytes[15]; }

static size_t random_set(bool v4, bool *has, struct ip_range *ranges, size_t most) {
    size_t count = 0, longest = (size_t)1 << random() % BITS;
    for (size_t left = (size_t)random() % most; left > 0; left--) {
        size_t first = (size_t)random() % SPACE, last = first + (size_t)random() % longest;
        last = last < SPACE ? last : SPACE - 1;
        ranges[count++] = (struct ip_range){at(v4, first), at(v4, last)};
        for (size_t n = first; n <= last; n++)
            has[n] = true;
    }
    return count;
}

static void test_exact_and_fewest(void **state) {
    enum { MOST = 200 };
    (void)state;
    srandom(7208);
    for (int round = 0; round < ROUNDS; round++) {
        struct arena *arena = arena_new(0);
        struct ip_range *ranges = arena_array(arena, struct ip_range, MOST * 2);
        bool *v4 = arena_array(arena, bool, SPACE), *v6 = arena_array(arena, bool, SPACE);
        struct cidr *cidrs;
        size_t count = random_set(true, v4, ranges, MOST);
        count += random_set(false, v6, ranges + count, MOST);
        size_t made = cidr_merge(arena, ranges, count, &cidrs);
        assert_int_equal(made, fewest(v4, 0, SPACE) + fewest(v6, 0, SPACE));
        for (size_t i = 0; i < made; i++) {
            struct ip_range range = cidr_range(&cidrs[i]);
            bool *has = ip_is_v4(&range.first) ? v4 : v6;
            for (size_t n = index_of(&range.first); n <= index_of(&range.last); n++) {
                assert_true(has[n]); /* in the set, and in no other network */
                has[n] = false;
            }
        }
        for (size_t n = 0; n < SPACE; n++)
            assert_false(v4[n] || v6[n]);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_exact_and_fewest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
