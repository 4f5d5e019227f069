#include "base/error.h"
#include "cmocka_setup.h"
#include "fixture.h"
#include "pool/pool.h"

static const struct pool pool_list[] = {
    {.name = {"normal", 6}, .carries = 1u << CLASS_NORMAL},
    {.name = {"bad", 3}, .carries = 1u << CLASS_HIGH_RISK | 1u << CLASS_HIGH_RISK_RELAY},
};
static const struct pools pools = {.pools = pool_list, .pool_count = 2};

static void test_whole(void **state) {
    struct fixture f = fixture_open(
        "tenant \"contoso\" {\n"
        "  domains = {\"Contoso.com\", \"b\xc3\xbc"
        "cher.example\"}\n"
        "  connector \"on-prem\" {\n"
        "    addresses = {\"10.1.0.0/16\", \"192.0.2.7\"}\n"
        "    trust-verdict = true\n"
        "    deliver = \"mail.contoso.com:2525\"\n"
        "  }\n"
        "  connector \"six\" { addresses = {\"2001:db8::1-2001:db8::9\"} deliver = \"[2001:db8::5]\" }\n"
        "  pools { normal = \"normal\" high-risk = \"bad\" }\n"
        "}\n"
        "verdict { header = \"X-Spam-Flag: YES\" }\n"
        "classify { aaaa = false }\n",
        NULL, &pools);
    (void)state;
    for (size_t i = 0; i < config_error_count(f.errors); i++)
        print_error("%s\n", config_error_at(f.errors, i));
    assert_int_equal(config_error_count(f.errors), 0);
    assert_int_equal(config_warning_count(f.errors), 0);
    const struct policy *p = f.policy;
    const struct tenant *t = policy_tenant(p, STR("contoso"));
    assert_non_null(t);
    assert_true(str_eq(t->domains[0], STR("contoso.com")));
    assert_true(str_eq(t->domains[1], STR("xn--bcher-kva.example")));
    assert_ptr_equal(policy_tenant_of_domain(p, STR("CONTOSO.com.")), t);
    assert_ptr_equal(policy_tenant_of_domain(p, STR("B\xc3\x9c"
                                                    "cher.example")),
                     t);
    assert_null(policy_tenant_of_domain(p, STR("sub.contoso.com")));
    assert_null(policy_tenant_of_domain(p, STR("")));
    assert_true(tenant_accepts(p, t, STR("contoso.com")));
    const struct connector *c = policy_deliver_of_domain(p, STR("contoso.com"));
    assert_true(str_eq(c->name, STR("on-prem")) && c->trust_verdict && c->tenant == t);
    assert_true(str_eq(c->deliver_host, STR("mail.contoso.com")) && c->deliver_port == 2525);
    assert_true(str_eq(t->connectors[1].deliver_host, STR("2001:db8::5")) &&
                t->connectors[1].deliver_port == 25);
    assert_true(str_eq(t->pools[CLASS_NORMAL], STR("normal")));
    assert_int_equal(t->pools[CLASS_RELAY].len, 0);
    assert_true(str_eq(p->spam_header.name, STR("X-Spam-Flag")) && str_eq(p->spam_header.value, STR("YES")));
    assert_int_equal(p->malware_header.name.len, 0);
    assert_int_equal(t->on_failure, VERDICT_DEFER);
    assert_false(p->aaaa);
    fixture_close(&f);
}

/* Servers may send much; what a policy says counts for them too. */
static void test_limits_of_connectors(void **state) {
    struct fixture f = fixture_open("tenant \"a\" { domains = {\"a.example\"}\n"
                                    "  connector \"free\" { addresses = {\"192.0.2.1\"} }\n"
                                    "  connector \"told\" { addresses = {\"192.0.2.2\"} limits = on }\n"
                                    "}\n"
                                    "tenant \"b\" { domains = {\"b.example\"}\n"
                                    "  connector \"counted\" { addresses = {\"192.0.2.3\"} }\n"
                                    "  connector \"free\" { addresses = {\"192.0.2.4\"} limits = off }\n"
                                    "  policy \"default\" { per-day = 100 }\n"
                                    "}\n",
                                    NULL, &pools);
    (void)state;
    assert_int_equal(config_error_count(f.errors), 0);
    const struct tenant *a = policy_tenant(f.policy, STR("a")), *b = policy_tenant(f.policy, STR("b"));
    assert_false(a->connectors[0].limits);
    assert_true(a->connectors[1].limits);
    assert_true(b->connectors[0].limits);
    assert_false(b->connectors[1].limits);
    fixture_close(&f);
}

static void test_problems(void **state) {
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"tenant \"a\" {}", "domains"},
        {"tenant \"a/b\" { domains = {\"a.example\"} }", "the name of a tenant can't hold \"/\" or \"@\""},
        {"tenant \"a\" { domains = {\"a.example\"} }\ntenant \"A\" { domains = {\"b.example\"} }",
         "test.conf:2: \"A\" differs from the tenant \"a\" in case only"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c@x\" { addresses = {\"10.0.0.1\"} } }",
         "the name of a connector can't hold"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.0.0.1\"} } connector "
         "\"C\" "
         "{ addresses = {\"10.0.0.2\"} } }",
         "\"C\" differs from the connector \"c\" in case only"},
        {"tenant \"a\" { domains = {\"a..b\"} }", "\"a..b\" is no domain"},
        {"tenant \"a\" { domains = {\"[192.0.2.1]\"} }", "\"[192.0.2.1]\" is no domain"},
        {"tenant \"a\" { domains = {\"a.example\", \"A.example\"} }", "\"A.example\" stands here twice"},
        {"tenant \"a\" { domains = {\"a.example\"} }\ntenant \"b\" { domains = {\"A.example\"} }",
         "test.conf:2: \"A.example\" is an accepted domain of tenant \"a\" already"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { } }",
         "test.conf:1: a connector needs addresses, or a certificate"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {} certificate = "
         "\"m.example\" } }",
         "addresses"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"a b\" } }",
         "\"a b\" is no host name, nor"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"*.com\" } }",
         "\"*.com\" is no host name, nor"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"m*.a.example\" } }",
         "\"m*.a.example\" is no host name, nor"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"a.*.example\" } }",
         "is no host name, nor"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"[192.0.2.1]\" } }",
         "is no host name, nor"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"\" } }",
         "is no host name, nor"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.0.0.1\"} ca = "
         "\"/ca.pem\" } }",
         "there is no certificate that it could vouch for"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"m.example\" ca = "
         "\"/nonexistent/ca.pem\" } }",
         "ca: /nonexistent/ca.pem: No such file or directory"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { certificate = \"m.example\" ca = "
         "\"/dev/null\" } }",
         "ca: /dev/null: there is no certificate in it"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.0.0.1/8\"} } }",
         "\"10.0.0.1/8\" is no network"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"ten\"} } }",
         "\"ten\" is no address"},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.0.0.1\"} deliver = "
         "\"x:y\" } }",
         "\"x:y\" is not \"host:port\""},
        {"tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.0.0.1\"} deliver = "
         "\"x:70000\" } }",
         "is not \"host:port\""},
        {"tenant \"a\" { domains = {\"a.example\"} pools { normal = \"none\" } }",
         "there is no pool \"none\""},
        {"tenant \"a\" { domains = {\"a.example\"} pools { normal = \"bad\" } }",
         "pool \"bad\" does not carry normal mail"},
        {"tenant \"a\" { domains = {\"a.example\"} users = \"nowhere\" }",
         "/nonexistent/nowhere: can't be read"},
        {"tenant \"a\" { domains = {\"a.example\"} forward \"x\" { to = {\"b@c.example\"} } }",
         "\"x\" is no mail address"},
        {"tenant \"a\" { domains = {\"a.example\"} forward \"x@b.example\" { to = {\"b@c.example\"} } }",
         "is not among the tenant's domains"},
        {"tenant \"a\" { domains = {\"a.example\"} forward \"x@a.example\" { to = {\"b\"} } }",
         "\"b\" is no mail address"},
        {"tenant \"a\" { domains = {\"a.example\"} dkim \"a b\" { selector = \"s\" key = \"k\" } }",
         "\"a b\" is no domain"},
        {"tenant \"a\" { domains = {\"a.example\"} policy \"p\" { per-day = 10001 } }", "per-day"},
        {"verdict { header = \"X-Spam-Flag\" }", "is not \"Name: value\""},
        {"verdict { header = \"X Spam: a\" }", "is not \"Name: value\""},
        {"verdict { on-failure = maybe }", "on-failure"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f = fixture_open(cases[i].text, "/nonexistent", &pools);
        const char *first = config_error_count(f.errors) ? config_error_at(f.errors, 0) : "nothing";
        if (!strstr(first, cases[i].problem))
            print_error("%s\n  %s\n", cases[i].text, first);
        assert_non_null(strstr(first, cases[i].problem));
        fixture_close(&f);
    }
}

/* What has no function yet is never silently ignored. */
static void test_inactive_warns(void **state) {
    static const char *const texts[] = {
        "tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.0.0.1\"} trust-verdict "
        "= true } }",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fixture f = fixture_open(texts[i], NULL, &pools);
        assert_int_equal(config_error_count(f.errors), 0);
        assert_int_equal(config_warning_count(f.errors), 1);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole), cmocka_unit_test(test_limits_of_connectors),
        cmocka_unit_test(test_problems), cmocka_unit_test(test_inactive_warns)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
