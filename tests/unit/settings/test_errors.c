/* Bad configurations and the exact lines they give; `@` stands for the folder of the files. */
#include "files.h"

enum { LINES_MAX = 3 };

static const struct {
    const char *text;
    const char *errors[LINES_MAX];
    const char *warnings[LINES_MAX];
} CASES[] = {
    {GOOD "adresses = {}", .errors = {"@/t.conf:5: unknown option `adresses`"}},
    {GOOD "wrokers = 3", .errors = {"@/t.conf:5: unknown option `wrokers`, did you mean `workers`?"}},
    {"node = a_b\n" POOLS, .errors = {"@/t.conf:1: `a_b` is no host name: say node = \"mail.example.com\""}},
    {"node = [127.0.0.1]\n" POOLS,
     .errors = {"@/t.conf:1: `[127.0.0.1]` is no host name: say node = \"mail.example.com\""}},
    {"node = short\n" POOLS, .warnings = {"@/t.conf: there is no listener: no mail comes in by SMTP",
                                          "@/t.conf:1: the node's name `short` is not a full one "
                                          "(mail.example.com): receivers may refuse it in EHLO"}},
    {GOOD "user = no-such-user-here", .errors = {"@/t.conf:5: there is no user `no-such-user-here`"}},
    {GOOD "listener a { bind = {127.0.0.1:25} tls = required }",
     .errors = {"@/t.conf:5: listener `a` has TLS, but there is no section `tls { ... }`"}},
    {GOOD "listener a { }", .errors = {"@/t.conf:5: `listener` needs `bind`"}},
    {GOOD "listener a { bind = {localhost:25, 127.0.0.1, 127.0.0.1:0, \"::1:25\"} }",
     .errors = {"@/t.conf:5: `localhost:25` is not address:port, such as 192.0.2.1:25 or [::]:465",
                "@/t.conf:5: `127.0.0.1` is not address:port, such as 192.0.2.1:25 or [::]:465",
                "@/t.conf:5: `127.0.0.1:0` is not address:port, such as 192.0.2.1:25 or [::]:465"}},
    {GOOD "listener a { bind = {127.0.0.1:25} }\nlistener b { bind = {0.0.0.0:25} }",
     .errors = {"@/t.conf:6: listener `b` binds 0.0.0.0 port 25, which listener `a` has already"}},
    {GOOD "listener a { bind = {127.0.0.1:25, 127.0.0.1:25} }",
     .errors = {"@/t.conf:5: listener `a` binds 127.0.0.1 port 25 twice"}},
    {GOOD "listener a { bind = {127.0.0.1:25} }\napi { bind = {127.0.0.1:25} }",
     .errors = {"@/t.conf:6: `api` binds 127.0.0.1 port 25, which listener `a` has already"}},
    {GOOD "listener a { bind = {0.0.0.0:25, \"[::]:25\"} }",
     .errors = {NULL}}, /* IPv6 sockets take no IPv4 */
    {GOOD "listener a { bind = {192.0.2.1:25} auth = optional }",
     .warnings = {"@/t.conf:5: listener `a` takes passwords without TLS"}},
    {GOOD "spool { disk-limit = 256mb } listener a { bind = {127.0.0.1:25}\n max-size = 100mb }",
     .errors = {"@/t.conf:6: `max-size` is 104857600 bytes, but with this `disk-limit` of the spool 50069504 "
                "is the "
                "most: make it smaller, or `disk-limit` at least 384mb"}},
    {GOOD "listener a { bind = {127.0.0.1:25} accept = {forwards} }",
     .errors = {"@/t.conf:5: `forwards` is nothing that can be accepted: `forward` is"}},
    {GOOD "tls { certificate = cert.pem key = key.pem }\nlistener a { bind = {127.0.0.1:25} auth = required "
          "accept = "
          "{forward} }",
     .errors = {"@/t.conf:6: listener `a` can't take mail from outside while `auth = required`"}},
    {GOOD "listener a { bind = {127.0.0.1:25} proxy = {10.0.0.1/8, proxy.example} }",
     .errors =
         {"@/t.conf:5: `10.0.0.1/8` is no network: bits right of the prefix are set, or it runs backwards",
          "@/t.conf:5: `proxy.example` is no address, range (a-b) or network (a/prefix)"}},
    {GOOD "listener a { bind = {127.0.0.1:25} xforward = {10.0.0.9-10.0.0.1} }",
     .errors = {"@/t.conf:5: `10.0.0.9-10.0.0.1` is no network: bits right of the prefix are set, or it runs "
                "backwards"}},
    {GOOD "listener a { bind = {127.0.0.1:25} } tenant t { domains = {t.example} connector c { certificate = "
          "m.t.example } }",
     .warnings = {"@/t.conf: connectors have a `certificate`, but there is no section `tls { ... }`: nobody "
                  "can show one"}},
    {GOOD "tenants { verify = yes\n secret = none }",
     .errors = {"@/t.conf:6: can't read the secret @/state/none: No such file or directory"}},
    {GOOD "tenants { secret = users }", .errors = {"@/t.conf:5: the secret @/users is *"}},
    {GOOD "tenants { verify = perhaps check = 0 }",
     .errors = {"@/t.conf:5: `verify` *", "@/t.conf:5: `check` *"}},
    {GOOD "tls { certificate = cert.pem }", .errors = {"@/t.conf:5: `tls` needs `key`"}},
    {GOOD "tls { certificate = cert.pem key = /nonexistent/k.pem }",
     .errors = {"@/t.conf:5: can't read /nonexistent/k.pem: No such file or directory"}},
    {GOOD "tls { certificate = none.pem key = key.pem }",
     .errors = {"@/t.conf:5: can't read @/state/none.pem: No such file or directory"}},
    {GOOD "tls { certificate = cert.pem\n key = users }", .errors = {"@/t.conf:6: key @/users: *"}},
    {GOOD "dns { zone-file = none\n servers = {a, \"127.0.0.1@0\", \"::1@53\"} }",
     .errors = {"@/t.conf:5: can't read @/state/none: No such file or directory",
                "@/t.conf:6: `a` is not IP or IP@port", "@/t.conf:6: `127.0.0.1@0` is not IP or IP@port"}},
    {GOOD "tenant a { domains = {a.example}\n users = none }",
     .errors = {"@/t.conf:6: users: @/state/none*"}},
    {GOOD "tenant a { domains = {a.example} pools {\n normal = gone\n relay = normal } }",
     .errors = {"@/t.conf:6: there is no pool \"gone\"",
                "@/t.conf:7: pool \"normal\" does not carry relay mail"}},
    {GOOD "pool slow { carries = {normal} addresses = {127.0.1.9}\n first-retry = 2h }",
     .errors = {"@/t.conf:6: `first-retry` is longer than `max-retry` (one of them is that of `delivery`)"}},
    {"node = a.example\npool normal { addresses = {127.0.1.1} }",
     .errors =
         {"@/t.conf: no pool carries the class `high-risk`: add pool \"high-risk\" { ... }",
          "@/t.conf: no pool carries the class `relay`: add pool \"relay\" { ... }",
          "@/t.conf: no pool carries the class `high-risk-relay`: add pool \"high-risk-relay\" { ... }"}},
    {GOOD "tenant a { domains = {a.example}\n dkim a.example { selector = s\n key = k } }",
     .errors = {"@/t.conf:7: key @/state/k can't be read: No such file or directory"}},
    {GOOD "tenant a { domains = {a.example}\n policy p { bcc-suspicious = audit } }",
     .errors = {"@/t.conf:6: \"audit\" is no mail address"}},
};

/* `*` at the end of the expectation stands for anything. */
static void check_line(const struct files *f, const char *got, const char *expected, const char *text) {
    struct buf b = {0};
    if (!got)
        fail_msg("nothing is said of: %s", text);
    for (; *expected && strcmp(expected, "*") != 0; expected++)
        if (*expected == '@' && (expected[1] == '/'))
            buf_str(&b, str_of(f->folder));
        else
            buf_char(&b, *expected);
    if (*expected == '*' ? !str_starts(str_of(got), buf_view(&b)) : !str_eq(str_of(got), buf_view(&b)))
        fail_msg("\n%s\ninstead of\n%s", got, buf_c(&b));
    buf_free(&b);
}

static void test_messages(void **state) {
    struct files f = files_make();
    (void)state;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct config_errors *errors = config_errors_new();
        settings_unref(files_load(&f, CASES[i].text, NULL, errors));
        size_t count = 0;
        for (; count < LINES_MAX && CASES[i].errors[count]; count++)
            check_line(&f, config_error_at(errors, count), CASES[i].errors[count], CASES[i].text);
        if (count < LINES_MAX && config_error_at(errors, count))
            fail_msg("also: %s", config_error_at(errors, count));
        for (size_t j = 0; j < LINES_MAX && CASES[i].warnings[j]; j++)
            check_line(&f, config_warning_at(errors, j), CASES[i].warnings[j], CASES[i].text);
        config_errors_free(errors);
    }
    files_remove(&f);
}

static int not_bindable(void *ctx, const struct ip *ip) {
    (void)ctx, (void)ip;
    return -18;
}

static void test_bindable(void **state) {
    struct files f = files_make();
    struct config_errors *errors = config_errors_new();
    (void)state;
    assert_null(files_load(&f, GOOD, &(struct settings_checks){.bindable = not_bindable}, errors));
    assert_int_equal(config_error_count(errors), 2);
    check_line(
        &f, config_error_at(errors, 0),
        "@/t.conf:3: pool `normal`: this host can't send from 127.0.1.1 (the local address can't be bound)",
        "");
    config_errors_free(errors);
    files_remove(&f);
}

static void test_missing_file(void **state) {
    struct config_errors *errors = config_errors_new();
    struct settings *s = NULL;
    (void)state;
    assert_int_not_equal(settings_load("/nonexistent/sluice.conf", NULL, errors, &s), 0);
    assert_string_equal(config_error_at(errors, 0),
                        "/nonexistent/sluice.conf: can't read it: No such file or directory");
    config_errors_free(errors);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages), cmocka_unit_test(test_bindable),
                                       cmocka_unit_test(test_missing_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
