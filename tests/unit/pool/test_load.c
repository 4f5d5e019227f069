#include "base/error.h"
#include "cmocka_setup.h"
#include "configured.h"
#include <time.h>

static void assert_no_errors(const struct configured *c) {
    for (size_t i = 0; i < config_error_count(c->errors); i++)
        print_error("%s\n", config_error_at(c->errors, i));
    assert_int_equal(config_error_count(c->errors), 0);
    assert_non_null(c->pools);
}

static void test_names(void **state) {
    static const struct {
        const char *ip, *pool, *ptr, *ehlo;
        uint32_t ordinal;
    } cases[] = {
        {"192.0.2.16", "normal", "mail-on0001.example.net", "out.example.net", 1},
        {"192.0.2.31", "normal", "mail-on0016.example.net", "out.example.net", 16},
        {"2001:db8:25::10", "normal", "mail-on0001.example.net", "out.example.net", 1},
        {"2001:db8:25::1f", "normal", "mail-on0016.example.net", "out.example.net", 16},
        {"198.51.100.15", "high-risk", "mail-hn0008.example.net", "mail-hn0008.example.net", 8},
        {"203.0.113.8", "relay", "mail-rl0001.example.net", "relay.example.net", 1},
        {"203.0.113.30", "high-risk-relay", "mail-rh0003.example.net", "out.example.net", 3},
        {"203.0.113.20", "high-risk-relay", "mail-rh0004.example.net", "out.example.net", 4},
    };
    (void)state;
    struct configured c = configure(
        "site bl2 { ehlo = out.example.net ptr = \"mail-{class}{n}.example.net\" }\n"
        "pool normal { class = on addresses = {192.0.2.16/28, 2001:db8:25::10-2001:db8:25::1f} }\n"
        "pool high-risk { class = hn ehlo = ptr weight = 7 addresses = {198.51.100.8/29} }\n"
        "pool relay { class = rl ehlo = relay.example.net spf = unpublished addresses = {203.0.113.8/29} }\n"
        "pool high-risk-relay { class = rh expire = 1h\n"
        "  addresses = {203.0.113.16, 203.0.113.17, 203.0.113.30, 203.0.113.20} }\n",
        (struct pool_options){0});
    assert_no_errors(&c);
    assert_int_equal(config_warning_count(c.errors), 0);
    assert_int_equal(c.pools->source_count, 16 + 16 + 8 + 8 + 4);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip = ip_of(cases[i].ip);
        const struct source *s = source_find(c.pools, &ip);
        assert_non_null(s);
        assert_true(str_eq(c.pools->pools[s->pool].name, str_of(cases[i].pool)));
        assert_string_equal(s->ptr, cases[i].ptr);
        assert_string_equal(s->ehlo, cases[i].ehlo);
        assert_string_equal(source_ehlo(s, false), cases[i].ehlo);
        assert_string_equal(source_ehlo(s, true), cases[i].ptr);
        assert_int_equal(s->ordinal, cases[i].ordinal);
    }
    struct ip none = ip_of("203.0.113.18");
    assert_null(source_find(c.pools, &none));
    const struct pool *risk = pool_find(c.pools, STR("high-risk"));
    assert_int_equal(risk->weight, 7);
    assert_int_equal(risk->expire, -1);
    assert_true(risk->spf_published);
    assert_int_equal(risk->carries, 1u << CLASS_HIGH_RISK);
    assert_int_equal(pool_find(c.pools, STR("high-risk-relay"))->expire, 3600000);
    assert_false(pool_find(c.pools, STR("relay"))->spf_published);
    assert_string_equal(pool_spf_text(risk), "published");
    assert_string_equal(pool_spf_text(pool_find(c.pools, STR("relay"))), "unpublished");
    assert_string_equal(pool_spf_text(pool_find(c.pools, STR("high-risk-relay"))), "unpublished");
    assert_int_equal(risk->range_count, 1);
    assert_int_equal(pool_find(c.pools, STR("high-risk-relay"))->range_count, 4);
    assert_int_equal(pool_find(c.pools, STR("normal"))->v6_count, 16);
    assert_null(pool_find(c.pools, STR("other")));
    configured_free(&c);
}

static void test_no_site(void **state) {
    (void)state;
    struct configured c = configure(FOUR_POOLS, (struct pool_options){.node = STR("mta01.example.net")});
    assert_no_errors(&c);
    assert_null(c.pools->sources[0].ptr);
    assert_string_equal(c.pools->sources[0].ehlo, "mta01.example.net");
    assert_string_equal(source_ehlo(&c.pools->sources[0], true), "mta01.example.net");
    configured_free(&c);
}

static void test_several_sites(void **state) {
    (void)state;
    struct configured c =
        configure("here = b\n"
                  "site a { ehlo = a.example.net ptr = \"a{class}{n}.example.net\" pool normal { addresses = "
                  "{192.0.2.1} } "
                  "pool rest { addresses = {192.0.2.2} } }\n"
                  "site b { ehlo = b.example.net ptr = \"b{class}{n}.example.net\" pool normal { addresses = "
                  "{192.0.2.65} } "
                  "pool rest { ehlo = ptr addresses = {192.0.2.66} } pool extra { class = x carries = "
                  "{relay} addresses = {192.0.2.67} } }\n"
                  "pool normal { class = on }\n"
                  "pool rest { class = re carries = {high-risk, relay, high-risk-relay} }\n",
                  (struct pool_options){0});
    assert_no_errors(&c);
    assert_int_equal(c.pools->pool_count, 5);
    const struct pool *normal = pool_find(c.pools, STR("normal"));
    assert_int_equal(normal->source_count, 1);
    assert_string_equal(normal->sources[0].ptr, "bon0001.example.net");
    assert_string_equal(normal->sources[0].ehlo, "b.example.net");
    assert_string_equal(pool_find(c.pools, STR("rest"))->sources[0].ehlo, "bre0001.example.net");
    assert_non_null(pool_find(c.pools, STR("extra")));
    struct ip other = ip_of("192.0.2.1");
    assert_string_equal(source_find(c.pools, &other)->ehlo, "a.example.net");
    configured_free(&c);
}

enum { LINES_MAX = 4 };
static const struct {
    const char *text;
    const char *errors[LINES_MAX];
    const char *warnings[LINES_MAX];
} BAD[] = {
    {"here = a\n"
     "site a { ptr = \"m{class}{n}.example.net\" pool normal { addresses = {192.0.2.1} } pool rest { "
     "addresses = {192.0.2.2} } }\n"
     "site b { ptr = \"m{class}{n}.example.net\" pool normal { addresses = {192.0.3.1} } }\n"
     "pool normal { class = on } pool rest { class = re carries = {high-risk, relay, high-risk-relay} }",
     .errors = {"t.conf:3: `ptr` gives 192.0.3.1 the name `mon0001.example.net`, which 192.0.2.1 has in pool "
                "`normal` of site `a`"}},
    {"pool normal { addresses = {192.0.2.1} }",
     .errors = {"t.conf: no pool carries the class `high-risk`: add pool \"high-risk\" { ... }",
                "t.conf: no pool carries the class `relay`: add pool \"relay\" { ... }",
                "t.conf: no pool carries the class `high-risk-relay`: add pool \"high-risk-relay\" { ... }"}},
    {FOUR_POOLS "pool more {\n addresses = {192.0.3.1}\n}",
     .errors = {"t.conf:5: pool `more` needs `carries`: its name is no mail class"}},
    {FOUR_POOLS "pool more {\n carries = {norma}\n addresses = {192.0.3.1}\n}",
     .errors = {"t.conf:6: `norma` is no mail class: normal, high-risk, relay or high-risk-relay"}},
    {FOUR_POOLS "pool more {\n carries = {}\n addresses = {192.0.3.1}\n}",
     .errors = {"t.conf:6: `carries` is empty"}},
    {FOUR_POOLS "pool more { carries = {normal, relay} addresses = {192.0.3.1} }",
     .errors = {"t.conf:5: a pool that carries normal mail carries nothing else"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {203.0.113.9} }",
     .errors = {"t.conf:6: 203.0.113.9 is already in pool `relay` (line 3)"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {203.0.113.0/27} }",
     .errors = {"t.conf:6: 203.0.113.8 is already in pool `relay` (line 3), and so are 15 more of "
                "`203.0.113.0/27`"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {192.0.3.1, 192.0.3.0-192.0.3.2} }",
     .errors = {"t.conf:6: 192.0.3.1 is already in pool `more` (line 6)"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {192.0.3.17/28} }",
     .errors = {"t.conf:6: `192.0.3.17/28` has bits set right of its prefix: the network is 192.0.3.16/28"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {2001:db8::1/64} }",
     .errors = {"t.conf:6: `2001:db8::1/64` has bits set right of its prefix: the network is 2001:db8::/64"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {192.0.3.0/33} }",
     .errors = {"t.conf:6: `192.0.3.0/33`: the prefix goes to /32 at most"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {192.0.3.9-192.0.3.1, 192.0.3.1-2001:db8::1} }",
     .errors =
         {"t.conf:6: `192.0.3.9-192.0.3.1`: a range goes from a lower to a higher address of the same family",
          "t.conf:6: `192.0.3.1-2001:db8::1`: a range goes from a lower to a higher address of the same "
          "family"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {192.0.3.256, mail.example.com, 192.0.3.0/} }",
     .errors = {"t.conf:6: `192.0.3.256` is no address (192.0.2.1), network (192.0.2.16/28) or range "
                "(192.0.2.1-192.0.2.9)",
                "t.conf:6: `mail.example.com` is no address (192.0.2.1), network (192.0.2.16/28) or range "
                "(192.0.2.1-192.0.2.9)",
                "t.conf:6: `192.0.3.0/` is no address (192.0.2.1), network (192.0.2.16/28) or range "
                "(192.0.2.1-192.0.2.9)"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {\"::\", 224.0.0.1, 0.0.0.0} }",
     .errors = {"t.conf:6: `::` holds addresses that nobody can send from",
                "t.conf:6: `224.0.0.1` holds addresses that nobody can send from",
                "t.conf:6: `0.0.0.0` holds addresses that nobody can send from"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {10.0.0.0/16} }",
     .errors = {"t.conf:6: `10.0.0.0/16`: with this there are more than 65536 addresses in all"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {\"2001:db8::/32\"} }",
     .errors = {"t.conf:6: `2001:db8::/32`: with this there are more than 65536 addresses in all"}},
    {FOUR_POOLS "pool more { carries = {relay}\n class = on addresses = {192.0.3.1} }",
     .errors = {"t.conf:6: `class` is `on`, as in pool `normal` (line 1)"}},
    {FOUR_POOLS "pool more { carries = {relay}\n class = \"o_n\" addresses = {192.0.3.1} }",
     .errors = {"t.conf:6: `class` is `o_n`, but must be 1 to 16 letters, digits, hyphens"}},
    {FOUR_POOLS
     "pool more { carries = {relay} addresses = {192.0.3.1} }\nsite a { ptr = \"m{class}{n}.example.net\" }",
     .errors = {"t.conf:5: pool `more` needs `class`: the site's `ptr` has {class}"}},
    {FOUR_POOLS "site a { ptr = \"m{class}.example.net\" }",
     .errors = {"t.conf:5: `ptr` needs {n}: each address has a name of its own"}},
    {FOUR_POOLS "site a { ptr = \"m{n}.example.net\" }",
     .errors = {"t.conf:5: `ptr` needs {class}: this site has several pools"}},
    {FOUR_POOLS "site a { ptr = \"m_{class}{n}.{x}\"\nehlo = \"a b\" }",
     .errors = {"t.conf:5: `ptr` gives names like `m_x10000.{x}`, which is no host name",
                "t.conf:6: `ehlo` is `a b`, which is no host name"}},
    {FOUR_POOLS "pool more { carries = {relay} addresses = {192.0.3.1}\n ehlo = ptr }",
     .errors = {"t.conf:6: `ehlo = ptr` needs a site with `ptr`"}},
    {FOUR_POOLS "pool more { carries = {relay} addresses = {192.0.3.1}\n ehlo = \"a_b\" }",
     .errors = {"t.conf:6: `ehlo` is `a_b`, but must be site, ptr or a host name"}},
    {FOUR_POOLS "pool more { carries = {relay} addresses = {192.0.3.1}\n ehlo = \"192.0.3.1\" }",
     .errors = {"t.conf:6: `ehlo` is `192.0.3.1`, but must be site, ptr or a host name"}},
    {FOUR_POOLS "site a { ehlo = \"192.0.2.1\" }",
     .errors = {"t.conf:5: `ehlo` is `192.0.2.1`, which is no host name"}},
    {FOUR_POOLS "pool more { carries = {relay} addresses = {192.0.3.1}\n first-retry = 2h max-retry = 1h }",
     .errors = {"t.conf:6: `first-retry` is longer than `max-retry`"}},
    {FOUR_POOLS "here = x\nsite a { }", .errors = {"t.conf:5: `here` is `x`, but there is no such site"}},
    {"site a { }\nsite b { }\n" FOUR_POOLS,
     .errors =
         {"t.conf: `here` must say at which of the 2 sites this node stands",
          "t.conf:3: with several sites, addresses stand in site \"name\" { pool \"normal\" { ... } }",
          "t.conf:4: with several sites, addresses stand in site \"name\" { pool \"high-risk\" { ... } }",
          "t.conf:5: with several sites, addresses stand in site \"name\" { pool \"relay\" { ... } }"}},
    {"site a { pool normal { addresses = {192.0.3.1} } }\n" FOUR_POOLS,
     .errors = {"t.conf:1: pool `normal` has addresses at line 2 already"}},
    {FOUR_POOLS "pool more { carries = {relay}\n addresses = {} }",
     .warnings = {"t.conf:5: pool `more` has no address: its mail waits"}},
    {"pool normal { addresses = {192.0.2.1} }\npool rest { carries = {high-risk, relay, high-risk-relay} }",
     .warnings = {"t.conf: the class `high-risk` has no address to leave from: its mail waits",
                  "t.conf: the class `relay` has no address to leave from: its mail waits",
                  "t.conf: the class `high-risk-relay` has no address to leave from: its mail waits",
                  "t.conf:2: pool `rest` has no address: its mail waits"}},
};

static void test_bad(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(BAD); i++) {
        struct configured c = configure(BAD[i].text, (struct pool_options){0});
        for (size_t j = 0; j < LINES_MAX && BAD[i].errors[j]; j++) {
            const char *got = config_error_at(c.errors, j);
            assert_string_equal(got ? got : BAD[i].text, BAD[i].errors[j]);
        }
        for (size_t j = 0; j < LINES_MAX && BAD[i].warnings[j]; j++) {
            const char *got = config_warning_at(c.errors, j);
            assert_string_equal(got ? got : BAD[i].text, BAD[i].warnings[j]);
        }
        size_t expected = 0;
        while (expected < LINES_MAX && BAD[i].errors[expected])
            expected++;
        if (expected < LINES_MAX && config_error_at(c.errors, expected))
            fail_msg("also: %s", config_error_at(c.errors, expected));
        configured_free(&c);
    }
}

static void test_tenants_own(void **state) {
    (void)state;
    struct str owned = STR("contoso");
    struct configured c =
        configure(FOUR_POOLS "pool contoso { carries = {normal} class = co addresses = {192.0.3.1} }",
                  (struct pool_options){.owned = &owned, .owned_count = 1});
    assert_no_errors(&c);
    for (uint64_t random = 0; random < 100; random++) {
        assert_true(str_eq(pool_for_class(c.pools, CLASS_NORMAL, STR(""), random)->name, STR("normal")));
        assert_true(str_eq(pool_for_class(c.pools, CLASS_NORMAL, owned, random)->name, owned));
    }
    configured_free(&c);
}

struct bound {
    const char *missing;
    size_t asked;
};

static int bindable(void *ctx, const struct ip *ip) {
    struct bound *b = ctx;
    char text[IP_TEXT_SIZE];
    b->asked++;
    return str_starts(str_of(ip_text(ip, text)), str_of(b->missing)) ? SLUICE_EBIND : 0;
}

static void test_bindable(void **state) {
    static const struct {
        const char *missing, *error;
    } cases[] = {
        {"none", NULL},
        {"203.0.113.12",
         "t.conf:4: pool `relay`: this host can't send from 203.0.113.12 (the local address can't be bound)"},
        {"198.",
         "t.conf:3: pool `high-risk`: this host can't send from 198.51.100.8, 198.51.100.9, 198.51.100.10, "
         "198.51.100.11, 198.51.100.12, 198.51.100.13, 198.51.100.14, 198.51.100.15 (the local address can't "
         "be bound)"},
        {"192.",
         "t.conf:2: pool `normal`: this host can't send from 192.0.2.16, 192.0.2.17, 192.0.2.18, 192.0.2.19, "
         "192.0.2.20, 192.0.2.21, 192.0.2.22, 192.0.2.23 and 8 more (the local address can't be bound)"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bound b = {.missing = cases[i].missing};
        struct configured c =
            configure("here = b site b { } site a { pool normal { class = x addresses = {192.0.2.200} } }"
                      "\nsite c { }\n",
                      (struct pool_options){.bindable = bindable, .bindable_ctx = &b});
        configured_free(&c);
        assert_int_equal(b.asked, 0); /* another site's addresses are not ours to bind */
        c = configure("\n" FOUR_POOLS, (struct pool_options){.bindable = bindable, .bindable_ctx = &b});
        assert_int_equal(b.asked, 16 + 16 + 8 + 8 + 8);
        assert_int_equal(config_error_count(c.errors), cases[i].error != NULL);
        if (cases[i].error)
            assert_string_equal(config_error_at(c.errors, 0), cases[i].error);
        configured_free(&c);
    }
}

/* 65,536 addresses, the most there may be, load fast and have five digits past 9999. */
static void test_many(void **state) {
    (void)state;
    clock_t start = clock(); /* processor time: the machine may be busy */
    struct configured c =
        configure("site a { ptr = \"m{class}{n}.example.net\" }\n"
                  "pool normal { class = on addresses = {10.0.0.0/17, 10.0.128.0/18, 10.0.192.0/19} }\n"
                  "pool rest { class = re carries = {high-risk, relay, high-risk-relay} "
                  "addresses = {10.0.224.0-10.0.255.255} }",
                  (struct pool_options){0});
    double took = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_no_errors(&c);
    assert_int_equal(c.pools->source_count, 65536);
    struct ip ip = ip_of("10.0.39.15");
    assert_string_equal(source_find(c.pools, &ip)->ptr, "mon10000.example.net");
    ip = ip_of("10.0.39.14");
    assert_string_equal(source_find(c.pools, &ip)->ptr, "mon9999.example.net");
    for (size_t i = 0; i < c.pools->source_count; i++)
        assert_ptr_equal(source_find(c.pools, &c.pools->sources[i].ip), &c.pools->sources[i]);
    assert_true(took < 0.5);
    configured_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_no_site),
        cmocka_unit_test(test_several_sites), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_tenants_own),   cmocka_unit_test(test_bindable),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
