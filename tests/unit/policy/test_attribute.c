#include "cmocka_setup.h"
#include "fixture.h"
#include "policy/attribute.h"
#include "policy/verdict.h"

#include <stdio.h>

static const char config[] =
    "tenant \"a\" { domains = {\"a.example\", \"aa.example\"}\n"
    "  connector \"a1\" { addresses = {\"10.0.0.0/24\"} trust-verdict = true }\n"
    "  connector \"shared\" { addresses = {\"10.9.9.9\"} } }\n"
    "tenant \"b\" { domains = {\"b.example\"}\n"
    "  connector \"shared\" { addresses = {\"10.9.9.9\"} } }\n"
    "verdict { header = \"X-Spam-Status: Yes\" malware-header = \"X-Virus-Status: Infected\" }\n";

static void test_attribution(void **state) {
    static const struct {
        const char *user_tenant, *client, *reverse_path, *from; /* from NULL: not known yet */
        const char *refusal;                                    /* NULL: attributed to */
        const char *tenant, *connector;
        bool relayed;
    } cases[] = {
        {"a", "192.0.2.1", "u@a.example", NULL, NULL, "a", NULL, false},
        {"a", "192.0.2.1", "u@AA.example", "u@aa.example", NULL, "a", NULL, false},
        {"a", "192.0.2.1", "", "u@a.example", NULL, "a", NULL, false},
        {"a", "192.0.2.1", "u@b.example", NULL, "550 5.7.1"},
        {"a", "192.0.2.1", "u@sub.a.example", NULL, "550 5.7.1"},
        {"a", "192.0.2.1", "u@a.example", "u@b.example", "550 5.7.1"},
        {"a", "192.0.2.1", "u@a.example", "u@a.example, x@else.example", "550 5.7.1"},
        {"a", "192.0.2.1", "u@a.example", "nobody", "550 5.7.1"},
        {"b", "10.0.0.1", "u@b.example", NULL, NULL, "b", NULL, false}, /* a login beats the address */
        {NULL, "10.0.0.7", "u@a.example", NULL, NULL, "a", "a1", false},
        {NULL, "10.0.0.7", "u@else.example", NULL, NULL, "a", "a1", true},
        {NULL, "10.0.0.7", "u@b.example", NULL, NULL, "a", "a1", true},
        {NULL, "10.0.0.7", "u@sub.a.example", NULL, NULL, "a", "a1", true},
        {NULL, "10.0.0.7", "", NULL, NULL, "a", "a1", false},
        {NULL, "10.0.0.7", "u@a.example", "x@else.example", NULL, "a", "a1", false},
        {NULL, "10.9.9.9", "u@a.example", NULL, NULL, "a", "shared", false},
        {NULL, "10.9.9.9", "u@b.example", NULL, NULL, "b", "shared", false},
        {NULL, "10.9.9.9", "u@else.example", NULL, "550 5.7.64"},
        {NULL, "10.9.9.9", "", NULL, NULL, "a", "shared", false},
        {NULL, "10.9.9.9", "", "u@b.example", NULL, "b", "shared", false},
        {NULL, "192.0.2.1", "u@a.example", NULL, "550 5.7.64"},
        {NULL, "192.0.2.1", "", NULL, "550 5.7.64"},
        {NULL, NULL, "u@b.example", NULL, NULL, "b", NULL, false},
        {NULL, NULL, "u@else.example", NULL, "550 5.7.64"},
    };
    struct fixture f = fixture_open(config, NULL, NULL);
    (void)state;
    assert_int_equal(config_error_count(f.errors), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct address_list from;
        struct sender_facts facts = {
            .user_tenant =
                cases[i].user_tenant ? policy_tenant(f.policy, str_of(cases[i].user_tenant)) : NULL,
            .user = STR("u"),
            .reverse_path = str_of(cases[i].reverse_path),
        };
        struct attribution a;
        struct outcome refusal;
        if (cases[i].client)
            assert_true(ip_parse(str_of(cases[i].client), &facts.client));
        if (cases[i].from) {
            (void)!address_list_parse(f.arena, str_of(cases[i].from), &from);
            facts.from = &from;
        }
        bool ok = attribute(f.policy, &facts, &a, &refusal);
        assert_int_equal(ok, cases[i].refusal == NULL);
        if (!ok) {
            assert_true(str_starts(outcome_line(f.arena, &refusal), str_of(cases[i].refusal)));
            continue;
        }
        assert_string_equal(str_c(f.arena, a.tenant->name), cases[i].tenant);
        assert_int_equal(a.connector != NULL, cases[i].connector != NULL);
        if (a.connector)
            assert_true(str_eq(a.connector->name, str_of(cases[i].connector)) &&
                        a.connector->tenant == a.tenant);
        assert_int_equal(a.relayed, cases[i].relayed);
    }
    struct ip ip;
    assert_true(ip_parse(STR("10.0.0.200"), &ip) && attribute_known_client(f.policy, &ip));
    assert_true(ip_parse(STR("10.0.1.0"), &ip) && !attribute_known_client(f.policy, &ip));
    fixture_close(&f);
}

/* The certificate's names, all verified, against what is configured. */
static int believe(void *arg, const struct tls_trust *trust, struct arena *arena, struct str *ret_why) {
    (void)arg, (void)trust, (void)arena, (void)ret_why;
    return 0;
}

static const char certified[] =
    "tenant \"a\" { domains = {\"a.example\", \"deep.aa.example\"}\n"
    "  connector \"mail\" { certificate = \"mail.a.example\" }\n"
    "  connector \"filter\" { certificate = \"filter.cloud.example\" addresses = {\"10.1.0.0/24\"} }\n"
    "  connector \"aa\" { certificate = \"mail.aa.example\" }\n"
    "  connector \"wild\" { certificate = \"*.a.example\" }\n"
    "  connector \"shared\" { certificate = \"shared.cloud.example\" }\n"
    "  connector \"here\" { addresses = {\"10.0.0.0/24\"} } }\n"
    "tenant \"b\" { domains = {\"b.example\"}\n"
    "  connector \"shared\" { certificate = \"shared.cloud.example\" }\n"
    "  connector \"again\" { certificate = \"shared.cloud.example\" } }\n";

static void test_by_certificate(void **state) {
    static const struct {
        const char *name, *client, *reverse_path, *from;
        const char *refusal, *tenant, *connector;
        bool relayed;
    } cases[] = {
        {"mail.a.example", "192.0.2.1", "u@a.example", NULL, NULL, "a", "mail", false},
        {"mail.a.example", "192.0.2.1", "u@else.example", NULL, NULL, "a", "mail", true},
        {"mail.a.example", "192.0.2.1", "u@b.example", NULL, NULL, "a", "mail", true},
        {"mail.a.example", "192.0.2.1", "", NULL, NULL, "a", "mail", false},
        {"x.a.example", "192.0.2.1", "u@else.example", NULL, NULL, "a", "wild", true},
        {"*.a.example", "192.0.2.1", "u@else.example", NULL, NULL, "a", "wild", true},
        /* Not the tenant's own name: only for the tenant's own domains, */
        {"filter.cloud.example", "192.0.2.1", "u@a.example", NULL, NULL, "a", "filter", false},
        {"filter.cloud.example", "192.0.2.1", "", NULL, NULL, "a", "filter", false},
        {"filter.cloud.example", "192.0.2.1", "u@else.example", NULL, "550 5.7.64 Relay Access Denied"},
        {"filter.cloud.example", "192.0.2.1", "u@b.example", NULL, "550 5.7.64 Relay Access Denied"},
        {"mail.aa.example", "192.0.2.1", "u@else.example", NULL, "550 5.7.64"}, /* above an accepted domain */
        /* or from an address of that connector, but of no other. */
        {"filter.cloud.example", "10.1.0.7", "u@else.example", NULL, NULL, "a", "filter", true},
        {"filter.cloud.example", "10.0.0.7", "u@else.example", NULL, "550 5.7.64"},
        /* The certificate goes before the address. */
        {"mail.a.example", "10.1.0.7", "u@a.example", NULL, NULL, "a", "mail", false},
        {"shared.cloud.example", "10.0.0.7", "u@b.example", NULL, NULL, "b", "shared", false},
        {"shared.cloud.example", "192.0.2.1", "u@a.example", NULL, NULL, "a", "shared", false},
        {"shared.cloud.example", "10.0.0.7", "u@else.example", NULL, "550 5.7.64"},
        {"shared.cloud.example", "192.0.2.1", "", NULL, NULL, "a", "shared", false},
        {"shared.cloud.example", "192.0.2.1", "", "u@b.example", NULL, "b", "shared", false},
        /* One that matches nothing: as without. */
        {"mail.else.example", "10.0.0.7", "u@else.example", NULL, NULL, "a", "here", true},
        {"mail.else.example", "192.0.2.1", "u@a.example", NULL, "550 5.7.64"},
    };
    struct fixture f = fixture_open(certified, NULL, NULL);
    (void)state;
    assert_int_equal(config_error_count(f.errors), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str name = str_of(cases[i].name);
        const struct certificate_client client = {.names = &name, .name_count = 1, .verify = believe};
        struct certificate_facts certificate;
        struct address_list from;
        struct attribution a;
        struct outcome refusal;
        policy_connectors_by_certificate(f.policy, &client, f.arena, &certificate);
        struct sender_facts facts = {.reverse_path = str_of(cases[i].reverse_path),
                                     .certificate = &certificate};
        assert_true(ip_parse(str_of(cases[i].client), &facts.client));
        if (cases[i].from) {
            assert_int_equal(address_list_parse(f.arena, str_of(cases[i].from), &from), 0);
            facts.from = &from;
        }
        bool ok = attribute(f.policy, &facts, &a, &refusal);
        if (ok != !cases[i].refusal)
            fail_msg("case %zu", i);
        if (!ok) {
            assert_true(str_starts(outcome_line(f.arena, &refusal), str_of(cases[i].refusal)));
            continue;
        }
        if (!str_eq(a.tenant->name, str_of(cases[i].tenant)) ||
            !str_eq(a.connector->name, str_of(cases[i].connector)) || a.relayed != cases[i].relayed)
            fail_msg("case %zu", i);
        assert_true(str_eq(a.certificate, str_eq(a.connector->name, STR("here")) ? STR("") : name));
    }
    /* A login goes before any certificate. */
    struct str name = STR("mail.a.example");
    const struct certificate_client client = {.names = &name, .name_count = 1, .verify = believe};
    struct certificate_facts certificate;
    struct attribution a;
    struct outcome refusal;
    policy_connectors_by_certificate(f.policy, &client, f.arena, &certificate);
    struct sender_facts facts = {.user = STR("u@b.example"),
                                 .user_tenant = policy_tenant(f.policy, STR("b")),
                                 .reverse_path = STR("u@b.example"),
                                 .certificate = &certificate};
    assert_true(attribute(f.policy, &facts, &a, &refusal) && !a.connector && !a.certificate.len);
    fixture_close(&f);
}

static const char gtube[] = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

static void test_gtube(void **state) {
    char text[300];
    int len = snprintf(text, sizeof text, "XXJS*C4JXJS*C4JDBQADN1.NSBN3XX%s tail", gtube);
    (void)state;
    for (int cut = 0; cut <= len; cut++) {
        struct gtube_finder f = {0};
        gtube_feed(&f, str_from(text, (size_t)cut));
        assert_true(gtube_feed(&f, str_from(text + cut, (size_t)(len - cut))));
    }
    struct gtube_finder f = {0};
    assert_false(gtube_feed(&f, str_from(gtube, strlen(gtube) - 1)));
    assert_false(gtube_feed(&f, STR("x")));
}

/* At the start of any line, however it is cut; nowhere else. */
static void test_eicar(void **state) {
    static const char mark[] = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    static const struct {
        const char *before, *after;
        bool found;
    } cases[] = {
        {"", "", true},
        {"Subject: x\r\n\r\n", "\r\n", true},
        {"X5O\r\nX5O!\nX", "", false},
        {"X5O!P%\r\n", " tail", true},
        {" ", "", false},
        {"> ", "", false},
        {"\r\nx\n", "", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[300];
        int len = snprintf(text, sizeof text, "%s%s%s", cases[i].before, mark, cases[i].after);
        for (int cut = 0; cut <= len; cut++) {
            struct eicar_finder f = {0};
            eicar_feed(&f, str_from(text, (size_t)cut));
            assert_int_equal(eicar_feed(&f, str_from(text + cut, (size_t)(len - cut))), cases[i].found);
        }
    }
    struct eicar_finder f = {0};
    assert_false(eicar_feed(&f, str_from(mark, strlen(mark) - 1)));
}

static void test_verdict(void **state) {
    static const struct {
        const char *header;
        bool connector, gtube, eicar;
        enum verdict verdict;
    } cases[] = {
        {"X-Spam-Status: Yes, score=9\r\n\r\n", true, false, false, VERDICT_SPAM},
        {"x-spam-status:\r\n YES\r\n\r\n", true, false, false, VERDICT_SPAM},
        {"X-Spam-Status: No\r\nX-Spam-Status: yes\r\n\r\n", true, false, false, VERDICT_SPAM},
        {"X-Spam-Status: Yesterday\r\n\r\n", true, false, false, VERDICT_CLEAN},
        {"X-Spam-Status: No, yes\r\n\r\n", true, false, false, VERDICT_CLEAN},
        {"X-Spam-Status: Yes\r\n\r\n", false, false, false, VERDICT_CLEAN},
        {"Subject: x\r\n\r\n", false, true, false, VERDICT_SPAM},
        {"Subject: x\r\n\r\n", false, false, true, VERDICT_MALWARE},
        {"Subject: x\r\n\r\n", false, true, true, VERDICT_MALWARE},
        {"X-Virus-Status: Infected (Eicar)\r\n\r\n", true, false, false, VERDICT_MALWARE},
        {"X-Virus-Status: Infected\r\nX-Spam-Status: Yes\r\n\r\n", true, true, false, VERDICT_MALWARE},
        {"X-Virus-Status: Clean\r\n\r\n", true, false, false, VERDICT_CLEAN},
        {"X-Virus-Status: Infected\r\n\r\n", false, false, false, VERDICT_CLEAN},
    };
    struct fixture f = fixture_open(config, NULL, NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct header h;
        struct str why;
        const struct connector *c = &f.policy->tenants[0].connectors[cases[i].connector ? 0 : 1];
        assert_int_equal(header_parse(f.arena, str_of(cases[i].header), 0, &h), 0);
        assert_int_equal(verdict_of(f.arena, f.policy, c, &h,
                                    (struct verdict_marks){cases[i].gtube, cases[i].eicar}, &why),
                         cases[i].verdict);
        assert_int_equal(why.len > 0, cases[i].verdict != VERDICT_CLEAN);
        assert_int_equal(verdict_of(f.arena, f.policy, NULL, &h, (struct verdict_marks){0}, &why),
                         VERDICT_CLEAN);
    }
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attribution),
                                       cmocka_unit_test(test_by_certificate), cmocka_unit_test(test_gtube),
                                       cmocka_unit_test(test_eicar), cmocka_unit_test(test_verdict)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
