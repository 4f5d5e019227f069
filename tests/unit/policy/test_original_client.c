#include "cmocka_setup.h"
#include "fixture.h"
#include "policy/original_client.h"

#include <stdio.h>

#define HOP(helo, ip, by)                                                                                    \
    "Received: from " helo " (x.test [" ip "])\r\n\tby " by " (Postfix) with ESMTP id 1; now\r\n"
#define FILTER HOP("gw.filter.test", "198.51.100.77", "mx.contoso.com")
#define SENDER HOP("mail.sender.test", "192.0.2.1", "gw.filter.test")
#define INSIDE HOP("scan.local", "10.9.9.9", "gw.filter.test") HOP("[127.0.0.1]", "127.0.0.1", "scan.local")
#define FORGED HOP("bank.test", "203.0.113.1", "mail.sender.test")

static const struct {
    const char *skip; /* as configured; "" none */
    const char *connecting;
    const char *header;
    const char *ip, *helo, *why;
    size_t walked;
} cases[] = {
    {"", "10.1.0.5", FILTER SENDER, "10.1.0.5", "greeting", "", 0},
    /* last: one hop, whatever it is, and private ones */
    {"skip = {\"last\"}", "10.1.0.5", FILTER SENDER, "198.51.100.77", "gw.filter.test", "10.1.0.5 is skipped",
     1},
    {"skip = {\"last\"}", "198.51.100.77", HOP("a", "10.1.0.6", "b") SENDER FORGED, "192.0.2.1",
     "mail.sender.test", "198.51.100.77, 10.1.0.6 are skipped", 2},
    {"skip = {\"last\"}", "198.51.100.77", SENDER HOP("a", "10.1.0.6", "b"), "192.0.2.1", "mail.sender.test",
     "198.51.100.77 is skipped", 1},
    {"skip = {\"last\"}", "10.1.0.5", HOP("a", "10.1.0.6", "b"), "10.1.0.6", "a",
     "10.1.0.5 is skipped; 10.1.0.6 would be too, but the Received chain ends there", 1},
    {"skip = {\"last\"}", "10.1.0.5", "Subject: x\r\n", "10.1.0.5", "greeting",
     "10.1.0.5 would be too, but the Received chain ends there", 0},
    {"skip = {\"last\"}", "10.1.0.5", "Received: by mx.contoso.com with SMTP; now\r\n" SENDER, "10.1.0.5",
     "greeting", "10.1.0.5 would be too, but the Received field that it wrote tells of no certain client", 0},
    /* a list: as far as it goes, and never on what a stranger wrote */
    {"skip = {\"198.51.100.77\"}", "192.0.2.50", FILTER SENDER, "192.0.2.50", "greeting", "", 0},
    {"skip = {\"198.51.100.77\"}", "198.51.100.77", SENDER FORGED, "192.0.2.1", "mail.sender.test",
     "198.51.100.77 is skipped", 1},
    {"skip = {\"198.51.100.77\"}", "10.1.0.5", FILTER SENDER FORGED, "192.0.2.1", "mail.sender.test",
     "10.1.0.5, 198.51.100.77 are skipped", 2},
    {"skip = {\"198.51.100.64/26\"}", "10.1.0.5", FILTER INSIDE SENDER FORGED, "192.0.2.1",
     "mail.sender.test", "10.1.0.5, 198.51.100.77, 10.9.9.9, 127.0.0.1 are skipped", 4},
    {"skip = {\"198.51.100.70-198.51.100.80\", \"2001:db8::/32\"}", "2001:db8::25",
     HOP("gw.filter.test", "IPv6:2001:db8::26", "mx.contoso.com") SENDER, "192.0.2.1", "mail.sender.test",
     "2001:db8::25, 2001:db8::26 are skipped", 2},
    {"skip = {\"198.51.100.77\"}", "fd00::1",
     HOP("a", "IPv6:fe80::1", "b") HOP("c", "100.64.0.1", "a") SENDER, "192.0.2.1", "mail.sender.test",
     "fd00::1, fe80::1, 100.64.0.1 are skipped", 3},
    {"skip = {\"198.51.100.77\"}", "10.1.0.5", FILTER, "198.51.100.77", "gw.filter.test",
     "10.1.0.5 is skipped; 198.51.100.77 would be too, but the Received chain ends there", 1},
    {"skip = {\"198.51.100.77\"}", "10.1.0.5", FILTER "Received: from a (b) by c; now\r\n" SENDER,
     "198.51.100.77", "gw.filter.test",
     "10.1.0.5 is skipped; 198.51.100.77 would be too, but the Received field that it wrote tells of no "
     "certain client",
     1},
    {"skip = {\"198.51.100.77\"}", "10.1.0.5",
     "X-Received: from a (b [192.0.2.9]) by c\r\nSubject: x\r\n" FILTER SENDER, "192.0.2.1",
     "mail.sender.test", "10.1.0.5, 198.51.100.77 are skipped", 2},
};

static void test_walk(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char config[400], text[IP_TEXT_SIZE];
        snprintf(
            config, sizeof config,
            "tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.1.0.0/16\"} %s } }",
            cases[i].skip);
        struct fixture f = fixture_open(config, NULL, NULL);
        struct header header;
        struct ip connecting;
        struct original_client o;
        assert_int_equal(config_error_count(f.errors), 0);
        assert_true(ip_parse(str_of(cases[i].connecting), &connecting));
        assert_int_equal(header_parse(f.arena, str_of(cases[i].header), 0, &header), 0);
        original_client(&f.policy->tenants[0].connectors[0], &connecting, STR("greeting"), &header, f.arena,
                        &o);
        assert_string_equal(ip_text(&o.ip, text), cases[i].ip);
        assert_string_equal(str_c(f.arena, o.helo), cases[i].helo);
        assert_string_equal(str_c(f.arena, o.why), cases[i].why);
        assert_int_equal(o.walked_count, cases[i].walked);
        if (o.walked_count)
            assert_true(ip_eq(&o.walked[0], &connecting));
        fixture_close(&f);
    }
}

/* Whose word about itself proves nothing, in the name of the tenant least of all. */
static void test_stranger(void **state) {
    static const struct {
        const char *what, *connecting, *header;
        bool stranger;
    } rows[] = {
        {"through the filter", "10.1.0.5", FILTER SENDER, true},
        {"through the filter, by way of our server", "198.51.100.77", SENDER, true},
        {"a server of ours", "10.1.0.5", HOP("branch", "203.0.113.200", "hub"), false},
        {"a private one", "10.1.0.5", HOP("pc", "192.168.1.5", "hub"), false},
        {"nobody before it", "10.1.0.5", "Subject: x\r\n", false},
        {"made there", "10.1.0.5", "Received: by hub (Postfix, from userid 0) id 7; now\r\n", false},
        {"made there, Exim", "10.1.0.5", "Received: by hub with local (Exim 4.96) id 7; now\r\n", false},
        {"made there, qmail", "10.1.0.5", "Received: (qmail 7 invoked by uid 0); now\r\n", false},
        {"its client is not told", "10.1.0.5", "Received: by hub with SMTP id 7; now\r\n", true},
        {"its client is made unreadable", "10.1.0.5",
         "Received: from a from b (x [192.0.2.1]) by hub with ESMTP; now\r\n", true},
        {"who logged in there", "10.1.0.5",
         "Received: from pc (x [192.0.2.1]) by hub (Postfix) with ESMTPSA id 7 for <a@b.c>; now\r\n", false},
        {"who says so in the recipient", "10.1.0.5",
         "Received: from pc (x [192.0.2.1]) by hub id 7 for <\"with ESMTPSA \"@b.c>; now\r\n", true},
        {"who says so himself", "10.1.0.5",
         "Received: from pc (x [192.0.2.1]) by hub with ESMTP id 7 with ESMTPSA; now\r\n", true},
    };
    struct fixture f = fixture_open(
        "tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.1.0.0/16\"} skip = "
        "{\"198.51.100.77\"} } connector \"branch\" { addresses = {\"203.0.113.200\"} } connector \"plain\" "
        "{ "
        "addresses = {\"10.2.0.0/16\"} } }",
        NULL, NULL);
    (void)state;
    assert_int_equal(config_error_count(f.errors), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct header header;
        struct ip connecting;
        struct original_client o;
        assert_true(ip_parse(str_of(rows[i].connecting), &connecting));
        assert_int_equal(header_parse(f.arena, str_of(rows[i].header), 0, &header), 0);
        original_client(&f.policy->tenants[0].connectors[0], &connecting, STR("h"), &header, f.arena, &o);
        if (o.stranger != rows[i].stranger)
            fail_msg("%s: %s", rows[i].what, o.stranger ? "a stranger" : "known");
        original_client(&f.policy->tenants[0].connectors[2], &connecting, STR("h"), &header, f.arena, &o);
        assert_false(o.stranger); /* nothing is skipped: the connector answers for what it sends */
    }
    fixture_close(&f);
}

/* No connector, no address (the local socket), and a chain without an end. */
static void test_edges(void **state) {
    struct fixture f = fixture_open("tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = "
                                    "{\"10.1.0.0/16\"} skip = {\"192.0.2.0/24\"} } }",
                                    NULL, NULL);
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    struct header header;
    struct ip connecting, none = {{0}};
    struct original_client o;
    const struct connector *c = &f.policy->tenants[0].connectors[0];
    (void)state;
    for (size_t i = 0; i < 200; i++)
        buf_str(&text, STR(HOP("a", "192.0.2.7", "b")));
    assert_true(ip_parse(STR("10.1.0.5"), &connecting));
    assert_int_equal(header_parse(f.arena, buf_view(&text), 0, &header), 0);
    original_client(NULL, &connecting, STR("h"), &header, f.arena, &o);
    assert_true(ip_eq(&o.ip, &connecting) && !o.walked_count && !o.why.len);
    original_client(c, &none, STR(""), &header, f.arena, &o);
    assert_true(ip_is_none(&o.ip) && !o.walked_count);
    original_client(c, &connecting, STR("h"), &header, f.arena, &o);
    assert_int_equal(o.walked_count, ORIGINAL_CLIENT_WALK_MAX);
    assert_true(str_ends(o.why, STR("the Received chain is too long")));
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_walk), cmocka_unit_test(test_stranger),
                                       cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
