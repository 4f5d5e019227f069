#include "configured.h"
#include <stdio.h>

#define POOLS                                                                                                \
    "pool normal { class = on addresses = {192.0.2.1} }\n"                                                   \
    "pool rest { class = rs carries = {high-risk, relay, high-risk-relay} addresses = {192.0.2.2} }\n"

static void test_defaults(void **state) {
    (void)state;
    struct configured c = configure_good(STR(POOLS));
    assert_true(str_eq(c.settings.domain, STR("example.net")));
    assert_true(str_eq(c.settings.contact, STR("hostmaster@example.net")));
    assert_true(str_eq(c.settings.dmarc, STR("p=none")));
    assert_int_equal(c.settings.ttl, 3600);
    assert_int_equal(c.settings.zone_count + c.settings.server_count, 0);
    configured_free(&c);
}

static void test_zones(void **state) {
    static const struct {
        const char *name, *first, *last;
        bool bad;
    } cases[] = {
        {"outbound.example.net"},
        {"EXAMPLE.net."},
        {"2.0.192.in-addr.arpa"},
        {"0.192.in-addr.arpa"},
        {"8.b.d.0.1.0.0.2.ip6.arpa"},
        {"16-28.2.0.192.in-addr.arpa", "192.0.2.16", "192.0.2.31"},
        {"16/28.2.0.192.in-addr.arpa", "192.0.2.16", "192.0.2.31"},
        {"16-31.2.0.192.in-addr.arpa", "192.0.2.16", "192.0.2.31"},
        {"0-127.2.0.192.in-addr.arpa", "192.0.2.0", "192.0.2.127"},
        {"24-29.2.0.192.in-addr.arpa", "192.0.2.24", "192.0.2.31"},
        {"28-29.2.0.192.in-addr.arpa", "192.0.2.28", "192.0.2.29"},
        {"1/32.2.0.192.in-addr.arpa", "192.0.2.1", "192.0.2.1"},
        {"17-28.2.0.192.in-addr.arpa", .bad = true},
        {"16-24.2.0.192.in-addr.arpa", .bad = true},
        {"16-33.2.0.192.in-addr.arpa", .bad = true},
        {"256/28.2.0.192.in-addr.arpa", .bad = true},
        {"16-28.0.192.in-addr.arpa", .bad = true},
        {"1.2.3.4.5.in-addr.arpa", .bad = true},
        {"300.in-addr.arpa", .bad = true},
        {"x.in-addr.arpa", .bad = true},
        {"g.1.0.0.2.ip6.arpa", .bad = true},
        {"10.0.0.2.ip6.arpa", .bad = true},
        {"a_b.example.net", .bad = true},
        {"", .bad = true},
        {".", .bad = true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[512], first[IP_TEXT_SIZE], last[IP_TEXT_SIZE];
        snprintf(text, sizeof text, POOLS "identity { zones = {\"%s\"} }\n", cases[i].name);
        struct configured c = configure(str_of(text));
        assert_int_equal(config_error_count(c.errors), cases[i].bad);
        assert_int_equal(c.settings.zone_count, !cases[i].bad);
        if (!cases[i].bad)
            assert_int_equal(c.settings.zones[0].delegated, cases[i].first != NULL);
        if (cases[i].first) {
            assert_string_equal(ip_text(&c.settings.zones[0].range.first, first), cases[i].first);
            assert_string_equal(ip_text(&c.settings.zones[0].range.last, last), cases[i].last);
        }
        configured_free(&c);
    }
}

static void test_errors(void **state) {
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"identity { domain = net }", "t.conf:3: `net` is no domain"},
        {"identity { zones = {a_b} }",
         "t.conf:3: `a_b` is no zone: example.net, 2.0.192.in-addr.arpa, 16-28.2.0.192.in-addr.arpa, "
         "8.b.d.0.1.0.0.2.ip6.arpa"},
        {"identity { name-servers = {\"ns1.example.net 192.0.2\"} }",
         "t.conf:3: `ns1.example.net 192.0.2` is no name server: `ns1.example.net`, or with its addresses "
         "`ns1.example.net 192.0.2.53 2001:db8::53`"},
        {"identity { contact = example.net }", "t.conf:3: `example.net` is no plain mail address"},
        {"identity { contact = \"a b@example.net\" }",
         "t.conf:3: `a b@example.net` is no plain mail address"},
        {"identity { dmarc = none }",
         "t.conf:3: `dmarc` begins with p=none, p=quarantine or p=reject (RFC 7489 6.3)"},
        {"identity { primary = ns1.example.net }", "t.conf:3: `ns1.example.net` is not IP or IP@port"},
        {"identity { primary = \"192.0.2.53@0\" }", "t.conf:3: `192.0.2.53@0` is not IP or IP@port"},
        {"identity { ttl = 8d }", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[512];
        snprintf(text, sizeof text, POOLS "%s", cases[i].text);
        struct configured c = configure(str_of(text));
        assert_int_equal(config_error_count(c.errors), 1);
        if (cases[i].error)
            assert_string_equal(config_error_at(c.errors, 0), cases[i].error);
        configured_free(&c);
    }
}

static void test_servers(void **state) {
    char text[IP_TEXT_SIZE];
    (void)state;
    struct configured c = configure_good(
        STR(POOLS "identity { contact = \"dns.admin@example.org\"\n"
                  " name-servers = {\"NS1.example.net.  192.0.2.53 2001:db8::53\", ns2.example.org} }\n"));
    assert_int_equal(c.settings.server_count, 2);
    assert_true(str_eq(c.settings.servers[0].name, STR("ns1.example.net")));
    assert_int_equal(c.settings.servers[0].count, 2);
    assert_string_equal(ip_text(&c.settings.servers[0].at[1], text), "2001:db8::53");
    assert_int_equal(c.settings.servers[1].count, 0);
    configured_free(&c);
}

static void test_check(void **state) {
    static const struct {
        const char *text;
        enum identity_check check;
        int64_t ms;
        bool bad;
    } cases[] = {
        {POOLS, IDENTITY_CHECK_TTL},
        {"pool normal { addresses = {127.0.0.1, \"fe80::1\"} }\n"
         "pool rest { carries = {high-risk, relay, high-risk-relay} addresses = {10.0.0.1} }",
         IDENTITY_CHECK_OFF},
        {"pool normal { addresses = {127.0.0.1} }\n"
         "pool rest { carries = {high-risk, relay, high-risk-relay} addresses = {192.0.2.1} }",
         IDENTITY_CHECK_TTL},
        {POOLS "identity { check = off }", IDENTITY_CHECK_OFF},
        {POOLS "identity { check = auto }", IDENTITY_CHECK_TTL},
        {POOLS "identity { check = 1h }", IDENTITY_CHECK_EVERY, 3600000},
        {POOLS "identity { check = 1s }", IDENTITY_CHECK_EVERY, 1000},
        {POOLS "identity { check = 999ms }", .bad = true},
        {POOLS "identity { check = 8d }", .bad = true},
        {POOLS "identity { check = on }", .bad = true},
        {POOLS "identity { check = 60 }", .bad = true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct configured c = configure(str_of(cases[i].text));
        assert_int_equal(config_error_count(c.errors), cases[i].bad);
        if (!cases[i].bad)
            assert_int_equal(c.settings.check, cases[i].check);
        if (!cases[i].bad && cases[i].ms)
            assert_int_equal(c.settings.check_ms, cases[i].ms);
        configured_free(&c);
    }
}

static void test_require(void **state) {
    static const struct {
        const char *text;
        bool confirm, confirm_private;
    } cases[] = {
        {POOLS, false, false},
        {POOLS "site s { ehlo = out.example.net }", false, false},
        {POOLS "site s { ptr = \"m{class}{n}.example.net\" }", true, false},
        {POOLS "site s { ptr = \"m{class}{n}.example.net\" }\nidentity { require = none }", false, true},
        {POOLS "identity { require = fcrdns }", true, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct configured c = configure_good(str_of(cases[i].text));
        assert_int_equal(c.settings.confirm, cases[i].confirm);
        assert_int_equal(c.settings.confirm_private, cases[i].confirm_private);
        assert_int_equal(c.settings.recheck_ms, 5 * 60 * 1000);
        configured_free(&c);
    }
}

#define ONE_LIST "blocklists { defaults = no }\nblocklist X { zone = \"bl.example.org\" "

static void test_blocklists(void **state) {
    static const struct {
        const char *text, *error;
        size_t count, closed;
    } cases[] = {
        {"", NULL, 5, 0},
        {"blocklists { watch = yes }", NULL, 5, 5},
        {"blocklists { watch = no }", NULL, 0, 0},
        {"blocklists { defaults = no }", NULL, 0, 0},
        {"blocklist PSBL { disabled = yes }", NULL, 4, 0},
        {"blocklist \"spamhaus zen\" { zone = \"key.zen.dq.spamhaus.net\" }", NULL, 5, 0},
        {"blocklist X { disabled = yes }", NULL, 5, 0},
        {"blocklist X { zone = \"bl.example.org\" }", NULL, 6, 0},
        {ONE_LIST "}", NULL, 1, 0},
        {ONE_LIST "codes = {\"127.0.0.2 lists bad\", \"127.0.0.10-127.0.0.11 nothing\"} }", NULL, 1, 0},
        {ONE_LIST "families = {ipv6} removal = \"https://x/%\" on-listing = tell }", NULL, 1, 0},
        {"blocklists { defaults = no every = 1s gap = 10ms }", NULL, 0, 0},
        {"blocklists { every = 1min }", "`every` is at least 5min"},
        {"blocklists { gap = 100ms }", "`gap` is at least 200ms"},
        {"blocklists { watch = no every = 1min }", NULL, 0, 0},
        {"blocklist X { }", "needs a `zone`"},
        {"blocklist X { zone = \"psbl.surriel.com\" }", "two blocklists have the zone"},
        {"blocklist X { zone = \"a b\" }", "is no zone"},
        {ONE_LIST "codes = {\"127.0.0.2 bad\"} }", "is no code"},
        {ONE_LIST "codes = {\"192.0.2.1 lists\"} }", "is no code"},
        {ONE_LIST "codes = {\"127.0.0.2\"} }", "is no code"},
        {ONE_LIST "codes = {\"\"} }", "is no code"},
        {ONE_LIST "codes = {\"127.0.0.9 nothing\"} }", "none of the codes lists"},
        {ONE_LIST "families = {ipx} }", "neither ipv4 nor ipv6"},
        {ONE_LIST "families = {} }", "is empty"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct configured c = configure(str_printf(arena, POOLS "%s", cases[i].text));
        if (!cases[i].error && config_error_count(c.errors))
            fail_msg("case %zu: %s", i, config_error_at(c.errors, 0));
        if (cases[i].error &&
            (!config_error_count(c.errors) || !strstr(config_error_at(c.errors, 0), cases[i].error)))
            fail_msg("case %zu: no error", i);
        if (!cases[i].error) {
            assert_int_equal(c.blocklists.count, cases[i].count);
            assert_int_equal(c.closed.count, cases[i].closed);
        }
        configured_free(&c);
        arena_free(arena);
    }
}

static void test_one_blocklist(void **state) {
    (void)state;
    struct configured c = configure_good(
        STR(POOLS "blocklists { defaults = no on-listing = tell every = 2h }\n"
                  "blocklist Own { zone = \"BL.example.org.\" families = {ipv4, ipv6} on-listing = rest\n"
                  "  codes = {\"127.0.0.2 lists a source of spam\", \"127.0.0.10-127.0.0.11 refuses\"}\n"
                  "  removal = \"https://bl.example.org/?ip=%\" }\n"
                  "blocklist Other { zone = \"o.example.org\" }"));
    const struct blocklist *own = &c.blocklists.lists[0], *other = &c.blocklists.lists[1];
    assert_int_equal(c.blocklists.pace.round_ms, 2 * 3600 * 1000);
    assert_true(str_eq(own->zone, STR("bl.example.org")) && own->v4 && own->v6 && own->own &&
                !own->tells_only);
    assert_true(own->code_count == 2 && own->codes[0].meaning == BLOCKLIST_LISTS);
    assert_true(str_eq(own->codes[0].text, STR("a source of spam")));
    assert_true(str_eq(own->codes[1].last, STR("127.0.0.11")) && own->codes[1].meaning == BLOCKLIST_REFUSES &&
                own->codes[1].text.len);
    assert_true(other->tells_only && other->v4 && !other->v6 && !other->code_count && !other->removal.len);
    configured_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),      cmocka_unit_test(test_require),
        cmocka_unit_test(test_blocklists), cmocka_unit_test(test_one_blocklist),
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_zones),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_servers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
