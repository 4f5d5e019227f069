#include "configured.h"
#include <stdio.h>

#define POOLS                                                                                                \
    "pool normal { addresses = {192.0.2.1} }\n"                                                              \
    "pool rest { carries = {high-risk, relay, high-risk-relay} addresses = {192.0.2.2} }\n"

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

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_zones),
                                       cmocka_unit_test(test_errors), cmocka_unit_test(test_servers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
