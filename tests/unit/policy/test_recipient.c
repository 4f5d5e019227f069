#include "auth/srs.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "fixture.h"
#include "mail/address.h"
#include "policy/recipient.h"
#include "policy/return_path.h"

#include <stdlib.h>

#define SECRETS "secrets = {\"0123456789abcdef\", \"fedcba9876543210\"}"
#define DAY (INT64_C(24) * 3600 * 1000)

enum { NOW = 20000 }; /* days */

static const char config[] =
    "srs { " SECRETS " domain = \"srs.example\" }\n"
    "tenant \"contoso\" {\n"
    "  domains = {\"contoso.com\", \"fabrikam.com\"}\n"
    "  connector \"on-prem\" { addresses = {\"10.1.0.0/16\"} deliver = \"mail.contoso.com\" }\n"
    "  connector \"asks\" { addresses = {\"10.2.0.1\"} deliver = \"mail2.contoso.com\" srs = true }\n"
    "  srs { style = microsoft " SECRETS " }\n"
    "  forward \"Bob@contoso.com\" { to = {\"bob@example.org\"} }\n"
    "  forward \"kept@contoso.com\" { to = {\"x@example.org\", \"kept@contoso.com\"} keep = true }\n"
    "  forward \"all@contoso.com\" { to = {\"bob@contoso.com\", \"KEPT@contoso.com\", \"ann@contoso.com\", "
    "\"bob@example.org\", \"other@northwind.example\"} }\n"
    "}\n"
    "tenant \"northwind\" {\n"
    "  domains = {\"northwind.example\", \"b\xc3\xbc"
    "cher.example\"}\n"
    "  forward \"other@northwind.example\" { to = {\"away@example.net\", \"in@northwind.example\"} }\n"
    "  forward \"only@northwind.example\" { to = {\"away@example.net\"} }\n"
    "  forward \"hr@b\xc3\xbc"
    "cher.example\" { to = {\"in@northwind.example\"} }\n"
    "  policy \"first\" { senders = {\"nobody@northwind.example\"} forwarding = on }\n"
    "  policy \"default\" { forwarding = automatic }\n"
    "}\n"
    "tenant \"plain\" { domains = {\"plain.example\"} }\n";

static struct fixture open_config(const char *text) {
    struct fixture f = fixture_open(text, NULL, NULL);
    for (size_t i = 0; i < config_error_count(f.errors); i++)
        print_error("%s\n", config_error_at(f.errors, i));
    assert_int_equal(config_error_count(f.errors), 0);
    return f;
}

/* "address<forwarder", a '!' in front of the forbidden ones; or the refusal. */
static struct str route_text(struct arena *arena, const struct policy *p, struct str address, bool outside,
                             int64_t now) {
    static const char *const kinds[] = {"plain", "forward", "return", "end"};
    struct recipient_route route;
    struct outcome refusal;
    if (!recipient_route(p, address, outside, now, arena, &route, &refusal))
        return str_head(outcome_line(arena, &refusal), 10);
    struct str text = str_of(kinds[route.kind]);
    for (size_t i = 0; i < route.count; i++) {
        const struct recipient_target *t = &route.targets[i];
        text = str_printf(arena, "%.*s %s%.*s<%.*s", STR_FMT(text),
                          t->forbidden.fate == OUTCOME_NEVER ? "!" : "", STR_FMT(t->address),
                          STR_FMT(t->forwarder));
    }
    return text;
}

static void test_routes(void **state) {
    static const struct {
        const char *address;
        bool outside;
        const char *route;
    } cases[] = {
        {"someone@example.org", false, "plain someone@example.org<"},
        {"someone@example.org", true, "550 5.7.64"},
        {"ann@contoso.com", false, "plain ann@contoso.com<"},
        {"ann@contoso.com", true, "550 5.1.1 "},
        {"ann@sub.contoso.com", true, "550 5.7.64"},
        {"bob@contoso.com", true, "forward bob@example.org<Bob@contoso.com"},
        {"BOB@Contoso.COM", true, "forward bob@example.org<Bob@contoso.com"},
        {"\"bob\"@contoso.com", false, "forward bob@example.org<Bob@contoso.com"},
        {"bob+tag@contoso.com", true, "550 5.1.1 "},
        {"kept@contoso.com", true, "forward kept@contoso.com< x@example.org<kept@contoso.com"},
        {"all@contoso.com", true,
         "forward ann@contoso.com<all@contoso.com bob@example.org<all@contoso.com "
         "kept@contoso.com<all@contoso.com "
         "x@example.org<kept@contoso.com !away@example.net<other@northwind.example "
         "in@northwind.example<other@northwind.example"},
        {"other@northwind.example", true,
         "forward !away@example.net<other@northwind.example in@northwind.example<other@northwind.example"},
        {"only@northwind.example", true, "550 5.7.52"},
        {"only@northwind.example", false, "550 5.7.52"},
        {"hr@B\xc3\x9c"
         "CHER.example",
         true, "forward in@northwind.example<hr@xn--bcher-kva.example"},
        {"hr@xn--bcher-kva.example", true, "forward in@northwind.example<hr@xn--bcher-kva.example"},
        /* RFC 5321 4.5.1, where somebody can be reached. */
        {"Postmaster@contoso.com", true, "plain Postmaster@contoso.com<"},
        {"postmaster@northwind.example", true, "550 5.1.1 "},
        {"postmaster@example.org", true, "550 5.7.64"},
        /* Rewritten addresses that were not. */
        {"SRS0=AAAA=ZZ=sender.test=u@contoso.com", true, "550 5.7.1 "},
        {"SRS0=AAAA=ZZ=sender.test=u@contoso.com", false, "550 5.7.1 "},
        {"srs0=x@srs.example", true, "550 5.1.1 "},
        {"bounces+SRS=abcde=ZZ@fabrikam.com", true, "550 5.7.1 "},
        {"nobody@srs.example", true, "550 5.1.1 "},
        {"nobody@srs.example", false, "plain nobody@srs.example<"},
        {"SRS0=AAAA=ZZ=sender.test=u@example.org", false, "plain SRS0=AAAA=ZZ=sender.test=u@example.org<"},
        {"SRS0=AAAA=ZZ=sender.test=u@example.org", true, "550 5.7.64"},
        {"no-address", true, "550 5.7.64"},
        {"no-address", false, "plain no-address<"},
    };
    struct fixture f = open_config(config);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str text = route_text(arena, f.policy, str_of(cases[i].address), cases[i].outside, NOW * DAY);
        assert_string_equal(str_c(arena, text), cases[i].route);
        arena_free(arena);
    }
    fixture_close(&f);
}

static void test_postmaster_of_the_node(void **state) {
    static const struct {
        const char *node, *address;
    } cases[] = {
        {"contoso.com", "postmaster@contoso.com"},
        {"mta1.bl2.Contoso.com", "postmaster@Contoso.com"},
        {"mta1.northwind.example", "postmaster@mta1.northwind.example"}, /* nobody reads it there */
        {"mta1.example.net", "postmaster@mta1.example.net"},
        {"mta1", "postmaster@mta1"},
    };
    struct fixture f = open_config(config);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str address = recipient_postmaster(f.policy, str_of(cases[i].node), arena);
        assert_string_equal(str_c(arena, address), cases[i].address);
        arena_free(arena);
    }
    fixture_close(&f);
    f = open_config("tenant \"a\" { domains = {\"a.example\"} forward \"postmaster@a.example\" { to = "
                    "{\"ann@b.example\"} } policy \"default\" { forwarding = on } }");
    assert_true(
        str_eq(recipient_postmaster(f.policy, STR("mta.a.example"), f.arena), STR("postmaster@a.example")));
    fixture_close(&f);
}

static void test_return_paths(void **state) {
    static const struct {
        const char *tenant, *path, *forwarder, *to; /* a connector's name */
        bool unverified;
        enum mail_class class;
        const char *starts; /* NULL: as it came */
    } cases[] = {
        {"contoso", "u@sender.test", "bob@contoso.com", NULL, .starts = "bob+SRS="},
        {"contoso", "u@sender.test", "bob@contoso.com", NULL, .class = CLASS_HIGH_RISK, .starts = "bob+SRS="},
        {"contoso", "u@sender.test", "bob@contoso.com", NULL, .class = CLASS_RELAY},
        {"contoso", "u@sender.test", "bob@contoso.com", NULL, .class = CLASS_HIGH_RISK_RELAY},
        {"contoso", "u@sender.test", "bob@contoso.com", NULL, .unverified = true},
        {"contoso", "", "bob@contoso.com", NULL},
        {"contoso", "ann@Fabrikam.com", "bob@contoso.com", NULL},
        {"contoso", "u@sender.test", "bob@contoso.com", "on-prem"},
        {"contoso", "u@sender.test", "bob@contoso.com", "asks", .starts = "bob+SRS="},
        {"contoso", "u@sender.test", "", NULL, .starts = "bounces+SRS="},
        {"contoso", "a.very.long.local.part.that.leaves.no.room@a.very.long.domain.sender.test",
         "bob@contoso.com", NULL, .starts = "bounces+SRS="},
        {"northwind", "u@sender.test", "only@northwind.example", NULL, .starts = "SRS0="},
        {"northwind", "SRS0=abcd=XY=first.test=u@hop.test", "only@northwind.example", NULL,
         .starts = "SRS1="},
        {"northwind", "a.very.long.local.part.that.leaves.no.room@a.very.long.domain.sender.test",
         "only@northwind.example", NULL, .starts = "bounces+SRS="},
        {"northwind", "u@srs.example", "only@northwind.example", NULL},
    };
    struct fixture f = open_config(config);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        const struct tenant *t = policy_tenant(f.policy, str_of(cases[i].tenant));
        const struct connector *to = NULL;
        struct str path, why;
        for (size_t c = 0; cases[i].to && c < t->connector_count; c++)
            if (str_eq(t->connectors[c].name, str_of(cases[i].to)))
                to = &t->connectors[c];
        assert_int_equal(return_path_for(t, str_of(cases[i].path), str_of(cases[i].forwarder), to,
                                         !cases[i].unverified, cases[i].class, NOW * DAY, arena, &path, &why),
                         0);
        if (cases[i].starts)
            assert_true(str_starts(path, str_of(cases[i].starts)));
        else
            assert_string_equal(str_c(arena, path), cases[i].path);
        assert_true(why.len > 0);
        arena_free(arena);
    }
    fixture_close(&f);
}

/* A tenant without srs, and no root's. */
static void test_no_srs(void **state) {
    struct fixture f = open_config("tenant \"a\" { domains = {\"a.example\"} }");
    struct str path, why;
    struct arena *arena = arena_new(0);
    (void)state;
    assert_null(f.policy->tenants[0].srs);
    assert_int_equal(return_path_for(&f.policy->tenants[0], STR("u@sender.test"), STR(""), NULL, true,
                                     CLASS_NORMAL, 0, arena, &path, &why),
                     0);
    assert_true(str_eq(path, STR("u@sender.test")));
    arena_free(arena);
    fixture_close(&f);
}

static struct str any_case(struct arena *arena, struct str s, unsigned how) {
    char *out = arena_alloc(arena, s.len);
    for (size_t i = 0; i < s.len; i++) {
        bool upper = how == 1 || (how == 3 && rand() % 2), lower = how == 2 || (how == 3 && !upper);
        out[i] = s.at[i];
        if (upper && out[i] >= 'a' && out[i] <= 'z')
            out[i] = (char)(out[i] - 32);
        else if (lower)
            out[i] = ascii_lower(out[i]);
    }
    return str_from(out, s.len);
}

static struct str any_address(struct arena *arena) {
    static const char *const locals[] = {
        "u",      "first.last", "u+tag", "\"two words\"", "a=b",  "SRS0=abcd=XY=first.test=u",
        "o'hare", "x_y-z",      "=",     "\"a\\\"b\"",    "+SRS", "\"at@at\""};
    static const char *const domains[] = {"sender.test", "mail.sender.test",
                                          "b\xc3\xbc"
                                          "cher.test",
                                          "x-1.test"};
    return str_printf(arena, "%s@%s", locals[(size_t)rand() % COUNT(locals)],
                      domains[(size_t)rand() % COUNT(domains)]);
}

/* What is rewritten leads back to the original sender, in any case, for as long as it is good and no longer.
 */
static void test_round_trip(void **state) {
    struct fixture f = open_config(config);
    size_t returned = 0;
    (void)state;
    srand(7);
    for (unsigned n = 0; n < 4000; n++) {
        struct arena *arena = arena_new(0);
        const struct tenant *t = &f.policy->tenants[n % 2];
        struct str forwarder = n % 2 ? STR("only@northwind.example") : STR("Bob@contoso.com");
        struct str sender = any_address(arena), path, why;
        struct recipient_route route;
        struct outcome refusal;
        assert_int_equal(
            return_path_for(t, sender, forwarder, NULL, true, CLASS_NORMAL, NOW * DAY, arena, &path, &why),
            0);
        assert_false(str_eq(path, sender));
        struct address a = address_split(path);
        assert_true(a.local.len <= ADDRESS_LOCAL_MAX);
        struct str back = any_case(arena, path, n / 2 % 4);
        assert_true(
            recipient_route(f.policy, back, true, (NOW + rand() % 22) * DAY, arena, &route, &refusal));
        if (route.kind == RECIPIENT_RETURN) {
            struct str normal = address_normal(arena, sender);
            assert_int_equal(route.count, 1);
            if (str_eq(str_lower(arena, route.targets[0].address), str_lower(arena, normal)))
                returned++;
            else /* SRS1 goes back to the first forwarder */
                assert_true(str_starts_nocase(route.targets[0].address, STR("SRS0=abcd=XY=first.test=")));
        } else {
            assert_int_equal(route.kind, RECIPIENT_END);
            assert_true(str_starts(path, STR("bounces+SRS=")));
        }
        if (!str_starts(path, STR("SRS1"))) { /* has no age of its own */
            assert_false(recipient_route(f.policy, back, true, (NOW + 22) * DAY, arena, &route, &refusal));
            assert_true(str_eq(refusal.enhanced, STR("5.1.1")));
        }
        arena_free(arena);
    }
    assert_true(returned > 2000);
    fixture_close(&f);
}

/* The second secret still verifies; one that is gone does not. */
static void test_rotation(void **state) {
    static const char *const texts[] = {
        "tenant \"a\" { domains = {\"a.example\"} srs { secrets = {\"0123456789abcdef\"} } }",
        "tenant \"a\" { domains = {\"a.example\"} srs { secrets = {\"new-secret-of-20-char\", "
        "\"0123456789abcdef\"} } }",
        "tenant \"a\" { domains = {\"a.example\"} srs { secrets = {\"new-secret-of-20-char\"} } }",
    };
    static const char *const routes[] = {"return u@sender.test<", "return u@sender.test<", "550 5.7.1 "};
    struct arena *arena = arena_new(0);
    struct str path = STR(""), why;
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct fixture f = open_config(texts[i]);
        if (!i)
            assert_int_equal(return_path_for(&f.policy->tenants[0], STR("u@sender.test"), STR(""), NULL, true,
                                             CLASS_NORMAL, NOW * DAY, arena, &path, &why),
                             0);
        assert_string_equal(str_c(arena, route_text(arena, f.policy, path, true, NOW * DAY)), routes[i]);
        fixture_close(&f);
    }
    arena_free(arena);
}

static void test_configuration(void **state) {
#define A "tenant \"a\" { domains = {\"a.example\", \"b.example\"} "
#define DELIVER "connector \"c\" { addresses = {\"10.0.0.1\"} deliver = \"m.a.example\" } "
#define SRS "srs { " SECRETS " } "
    static const struct {
        const char *text, *error, *warning; /* NULL: none */
    } cases[] = {
        {A SRS "forward \"x@a.example\" { to = {\"y@c.example\"} } }", NULL,
         "gets no seal (ARC), by which it could be believed there: no `dkim` of the tenant signs for "
         "a.example"},
        {A SRS "forward \"x@a.example\" { to = {\"y@b.example\"} } }", NULL, NULL},
        {A "forward \"x@a.example\" { to = {\"y@c.example\"} } }", NULL, "will fail SPF there"},
        {A SRS "forward \"x@a.example\" { to = {\"y@a.example\"} }\nforward \"X@A.example\" { to = "
               "{\"y@a.example\"} } }",
         "test.conf:2: \"X@A.example\" is forwarded twice", NULL},
        {A "forward \"x@a.example\" { to = {\"X@a.example\"} } }", NULL, "is forwarded to itself"},
        {A DELIVER "forward \"x@a.example\" { to = {\"X@a.example\"} keep = true } }", NULL, NULL},
        {A "forward \"x@a.example\" { to = {\"y@b.example\"} keep = true } }", NULL, "maybe back to here"},
        {A "forward \"x@a.example\" { to = {\"y@b.example\"} }\nforward \"y@b.example\" { to = "
           "{\"x@A.example\"} } }",
         NULL, "test.conf:1: the forward of \"x@a.example\" leads back to it and nowhere else"},
        {A "forward \"x@a.example\" { to = {\"y@a.example\"} }\nforward \"y@a.example\" { to = "
           "{\"z@a.example\"} }\nforward "
           "\"z@a.example\" { to = {\"y@a.example\"} } }",
         NULL, "test.conf:2: the forward of \"y@a.example\" leads back to it and nowhere else"},
        {A SRS "forward \"x@a.example\" { to = {\"y@a.example\", \"z@c.example\"} }\nforward \"y@a.example\" "
               "{ to = "
               "{\"x@a.example\"} } }",
         NULL, "test.conf:1: the forward of \"x@a.example\" leads back to it: that way is not gone"},
        {A SRS "forward \"x@a.example\" { to = {\"y@c.example\"} } policy \"p\" { forwarding = off } }", NULL,
         "forbids forwarding to \"y@c.example\""},
        {A SRS "forward \"x@a.example\" { to = {\"y@c.example\"} } policy \"p\" { } }", NULL,
         "forbids forwarding"},
        {A SRS "forward \"x@a.example\" { to = {\"y@c.example\"} } policy \"p\" { senders = "
               "{\"z@a.example\"} } policy \"default\" { "
               "forwarding = on } }",
         NULL, "gets no seal"},
        {A "forward \"postmaster\" { to = {\"y@c.example\"} } }", "is no mail address", NULL},
        {A "srs { secrets = {\"\"} } }", "a secret is empty", NULL},
        {A "srs { secrets = {\"short\"} } }", NULL, "a secret is shorter than 16"},
        {A "srs { } }", "secrets", NULL},
        {A "srs { " SECRETS " max-age = 1h } }", "max-age", NULL},
        {A "srs { " SECRETS " max-age = 1001d } }", "max-age", NULL},
        {A "srs { " SECRETS " domain = \"a b\" } }", "\"a b\" is no domain", NULL},
        {A "srs { " SECRETS " domain = \"c.example\" } }\ntenant \"c\" { domains = {\"c.example\"} }",
         "\"c.example\" is an accepted domain of tenant \"c\"", NULL},
        {"srs { " SECRETS " domain = \"a.example\" }\n" A " }\ntenant \"c\" { domains = {\"c.example\"} }",
         NULL, NULL},
        {A "connector \"c\" { addresses = {\"10.0.0.1\"} srs = true } }", NULL, "srs has no effect"},
        {A "connector \"c\" { addresses = {\"10.0.0.1\"} skip = {\"last\", \"10.0.0.0/8\"} } }",
         "\"last\" stands alone", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct fixture f = fixture_open(cases[i].text, NULL, NULL);
        const char *error = config_error_count(f.errors) ? config_error_at(f.errors, 0) : "";
        const char *warning = config_warning_count(f.errors) ? config_warning_at(f.errors, 0) : "";
        bool fine = strstr(error, cases[i].error ? cases[i].error : "") && (cases[i].error || !*error) &&
                    (cases[i].error || (strstr(warning, cases[i].warning ? cases[i].warning : "") &&
                                        (cases[i].warning || !*warning)));
        if (!fine)
            print_error("%s\n  %s\n  %s\n", cases[i].text, error, warning);
        assert_true(fine);
        fixture_close(&f);
    }
}

/* Bounded, whatever is configured. */
static void test_many(void **state) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    (void)state;
    for (unsigned extra = 0; extra < 2; extra++) {
        buf_clear(&text);
        buf_str(&text, STR("tenant \"a\" { domains = {\"a.example\"}\n forward \"x@a.example\" { to = "
                           "{\"t@a.example\""));
        for (unsigned i = 1; i < RECIPIENT_TARGETS_MAX + extra; i++)
            buf_printf(&text, ", \"t%u@a.example\"", i);
        buf_str(&text, STR("} } }"));
        struct fixture f = fixture_open(buf_c(&text), NULL, NULL);
        struct recipient_route route;
        struct outcome refusal;
        assert_int_equal(config_error_count(f.errors), extra);
        assert_int_equal(recipient_route(f.policy, STR("x@a.example"), true, 0, f.arena, &route, &refusal),
                         !extra);
        if (!extra)
            assert_int_equal(route.count, RECIPIENT_TARGETS_MAX);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),        cmocka_unit_test(test_postmaster_of_the_node),
        cmocka_unit_test(test_return_paths),  cmocka_unit_test(test_no_srs),
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_rotation),
        cmocka_unit_test(test_configuration), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
