#include "base/error.h"
#include "cmocka_setup.h"
#include "scan/endpoint.h"

static const struct {
    const char *text;
    uint16_t preset;
    const char *ip, *host, *path;
    uint16_t port; /* 0: refused */
} cases[] = {
    {"127.0.0.1:783", 0, "127.0.0.1", "", NULL, 783},
    {"127.0.0.1", 783, "127.0.0.1", "", NULL, 783},
    {"127.0.0.1", 0},
    {"127.0.0.1:0", 783},
    {"127.0.0.1:65536", 783},
    {"[::1]:11333", 0, "::1", "", NULL, 11333},
    {"[::1]", 783, "::1", "", NULL, 783},
    {"scanner.example.net:783", 0, NULL, "scanner.example.net", NULL, 783},
    {"Rspamd", 11333, NULL, "rspamd", NULL, 11333},
    {"localhost:1", 0, NULL, "localhost", NULL, 1},
    {"rspamd:", 783},
    {":783", 0},
    {"", 783},
    {"a b:1", 0},
    {"a\r\nb:1", 0},
    {"-x:1", 0},
    {"/run/spamd.sock", 0, NULL, "", "/run/spamd.sock", 0},
    {"unix:/run/spamd.sock", 783, NULL, "", "/run/spamd.sock", 783},
    {"unix:run/spamd.sock", 783},
    {"unix:", 783},
    {"/run/"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaa.sock",
     0},
};

static void parsed(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scan_endpoint e;
        struct ip ip;
        bool wanted = cases[i].port || cases[i].path;
        print_message("%s\n", cases[i].text);
        assert_int_equal(scan_endpoint_parse(arena, str_of(cases[i].text), cases[i].preset, &e), wanted);
        if (!wanted)
            continue;
        assert_true(str_eq(e.host, str_of(cases[i].host)));
        if (cases[i].path)
            assert_string_equal(e.path, cases[i].path);
        else
            assert_int_equal(e.port, cases[i].port);
        if (cases[i].ip)
            assert_true(ip_parse(str_of(cases[i].ip), &ip) && ip_eq(&ip, &e.ip));
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(parsed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
