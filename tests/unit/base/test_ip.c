#include "base/ip.h"
#include "cmocka_setup.h"

static void test_text(void **state) {
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1"},
        {"2001:DB8:0:0::1", "2001:db8::1"},
        {"::1", "::1"},
        {"256.1.1.1", NULL},
        {"1.2.3", NULL},
        {"", NULL},
        {"fe80::g", NULL},
        {"1.2.3.4 ", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip;
        char text[IP_TEXT_SIZE];
        bool ok = ip_parse(str_of(cases[i].in), &ip);
        assert_int_equal(ok, cases[i].out != NULL);
        if (ok)
            assert_string_equal(ip_text(&ip, text), cases[i].out);
    }
}

static void test_networks(void **state) {
    static const struct {
        const char *ip, *network;
        unsigned prefix;
        bool in;
    } cases[] = {
        {"10.1.2.3", "10.0.0.0", 8, true},       {"11.1.2.3", "10.0.0.0", 8, false},
        {"10.1.2.3", "10.1.2.2", 31, true},      {"10.1.2.4", "10.1.2.2", 31, false},
        {"2001:db8::1", "2001:db8::", 32, true}, {"10.0.0.1", "::", 0, false},
        {"10.0.0.1", "0.0.0.0", 0, true},        {"10.0.0.1", "10.0.0.1", 32, true},
        {"10.0.0.1", "10.0.0.0", 32, false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip, network;
        assert_true(ip_parse(str_of(cases[i].ip), &ip));
        assert_true(ip_parse(str_of(cases[i].network), &network));
        assert_int_equal(ip_in(&ip, &network, cases[i].prefix), cases[i].in);
    }
}

static void test_private(void **state) {
    static const struct {
        const char *ip;
        bool private;
    } cases[] = {
        {"127.0.0.1", true}, {"10.0.0.1", true},   {"172.31.0.1", true},   {"172.32.0.1", false},
        {"8.8.8.8", false},  {"192.0.2.9", false}, {"2001:db8::1", false}, {"::1", true},
        {"2a00::1", false},  {"fe80::1", true},    {"224.0.0.1", true},    {"::", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip;
        assert_true(ip_parse(str_of(cases[i].ip), &ip));
        assert_int_equal(ip_is_private(&ip), cases[i].private);
    }
}

static void test_ports(void **state) {
    static const struct {
        const char *in;
        bool ok;
        int port;
    } cases[] = {
        {"127.0.0.1:25", true, 25},
        {"127.0.0.1", true, 53},
        {"[::1]:587", true, 587},
        {"[::1]", true, 53},
        {"::1", true, 53},
        {"127.0.0.1:0", false, 0},
        {"127.0.0.1:", false, 0},
        {"[::1", false, 0},
        {"host:25", false, 0},
        {"[::1]587", false, 0},
        {"127.0.0.1:70000", false, 0},
        {"[127.0.0.1]:25", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip;
        uint16_t port;
        assert_int_equal(ip_parse_port(str_of(cases[i].in), 53, &ip, &port), cases[i].ok);
        if (cases[i].ok)
            assert_int_equal(port, cases[i].port);
    }
}

static void test_sockaddr_round_trip(void **state) {
    static const char *const cases[] = {"192.0.2.1", "2001:db8::1"};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ip ip, back;
        struct sockaddr_storage address;
        uint16_t port;
        assert_true(ip_parse(str_of(cases[i]), &ip));
        assert_true(ip_to_sockaddr(&ip, 25, &address) > 0);
        assert_true(ip_from_sockaddr((struct sockaddr *)&address, &back, &port));
        assert_true(ip_eq(&ip, &back));
        assert_int_equal(port, 25);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_sockaddr_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
