#include "cmocka_setup.h"
#include "fixture.h"
#include "policy/certificate.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* In each row the first matches better than the second; 0: not at all. */
static void test_ranks(void **state) {
    static const struct {
        const char *configured, *name;
        unsigned kind, labels;
    } rows[] = {
        {"mail.contoso.com", "mail.contoso.com", 4, 0},
        {"contoso.com", "contoso.com", 4, 0},
        {"*.contoso.com", "*.contoso.com", 3, 3},
        {"mail.contoso.com", "*.contoso.com", 2, 3},
        {"a.b.contoso.com", "*.b.contoso.com", 2, 4},
        {"*.contoso.com", "mail.contoso.com", 1, 3},
        {"*.b.contoso.com", "a.b.contoso.com", 1, 4},
        {"mail.contoso.com", "mail2.contoso.com"},
        {"mail.contoso.com", "contoso.com"},
        {"contoso.com", "mail.contoso.com"},
        {"contoso.com", "*.contoso.com"},
        {"*.contoso.com", "contoso.com"},
        {"*.contoso.com", "a.b.contoso.com"},
        {"a.b.contoso.com", "*.contoso.com"},
        {"*.contoso.com", "*.b.contoso.com"},
        {"*.b.contoso.com", "*.contoso.com"},
        {"*.contoso.com", "evilcontoso.com"},
        {"*.contoso.com", ".contoso.com"},
        {"*.contoso.com", "mail.contoso.com.evil.example"},
        {"mail.contoso.com", ""},
        {"", ""},
        {"", "mail.contoso.com"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned rank = certificate_rank(str_of(rows[i].configured), str_of(rows[i].name));
        if (rank != (rows[i].kind << 8 | rows[i].labels))
            fail_msg("%s, %s: %x", rows[i].configured, rows[i].name, rank);
    }
}

/* ---- the search ---- */

static char folder[] = "/tmp/test_certificate.XXXXXX";
static char file[64];

static const char config[] = "tenant \"a\" { domains = {\"a.example\"}\n"
                             "  connector \"a-star\" { certificate = \"*.a.example\" ca = \"%s\" }\n"
                             "  connector \"a-mail\" { certificate = \"Mail.A.example\" }\n"
                             "  connector \"a-shared\" { certificate = \"shared.example.net\" }\n"
                             "  connector \"a-plain\" { addresses = {\"10.0.0.1\"} } }\n"
                             "tenant \"b\" { domains = {\"b.example\"}\n"
                             "  connector \"b-shared\" { certificate = \"shared.example.net\" }\n"
                             "  connector \"b-again\" { certificate = \"shared.example.net\" ca = \"%s\" }\n"
                             "  connector \"b-deep\" { certificate = \"*.deep.a.example\" }\n"
                             "  connector \"b-intruder\" { certificate = \"*.a.example\" } }\n";

struct asked {
    const struct policy *policy;
    bool system, file; /* who believes */
    int times;
};

static int answer(void *arg, const struct tls_trust *trust, struct arena *arena, struct str *ret_why) {
    struct asked *a = arg;
    a->times++;
    bool of_file = trust == a->policy->tenants[0].connectors[0].trust;
    if (of_file ? a->file : a->system)
        return 0;
    *ret_why = str_printf(arena, "not by the %s", of_file ? "file" : "system");
    return -1;
}

static void write_list(struct buf *out, struct str connector, struct str name, struct str why) {
    buf_printf(out, "%s%.*s(%.*s)%.*s", out->len ? " " : "", STR_FMT(connector), STR_FMT(name), STR_FMT(why));
}

static void test_search(void **state) {
    static const struct {
        const char *names;
        bool system, file;
        const char *matches, *doubts;
        int times;
    } rows[] = {
        {"mail.a.example", true, true, "a-mail(mail.a.example)", "", 2},
        {"mail.a.example", false, true, "a-star(mail.a.example)",
         "a-mail(mail.a.example)not by the system b-intruder(mail.a.example)not by the system", 2},
        {"mail.a.example", true, false, "a-mail(mail.a.example)", "", 2},
        {"mail.a.example", false, false, "",
         "a-star(mail.a.example)not by the file a-mail(mail.a.example)not by the system "
         "b-intruder(mail.a.example)not by the system",
         2},
        {"x.a.example", true, true, "a-star(x.a.example) b-intruder(x.a.example)", "", 2},
        {"x.a.example", true, false, "b-intruder(x.a.example)", "a-star(x.a.example)not by the file", 2},
        {"*.a.example", true, true, "a-star(*.a.example) b-intruder(*.a.example)", "", 2},
        {"*.a.example mail.a.example", true, true, "a-mail(mail.a.example)", "", 2},
        {"x.deep.a.example", true, true, "b-deep(x.deep.a.example)", "", 1},
        {"x.deep.a.example y.a.example", true, true, "b-deep(x.deep.a.example)", "", 2},
        {"shared.example.net", true, true,
         "a-shared(shared.example.net) b-shared(shared.example.net) b-again(shared.example.net)", "", 2},
        {"*.example.net", true, false, "a-shared(*.example.net) b-shared(*.example.net)",
         "b-again(*.example.net)not by the file", 2},
        {"a.example", true, true, "", "", 0},
        {"", true, true, "", "", 0},
        {"mail.else.example else.example", true, true, "", "", 0},
    };
    struct buf text = {0};
    (void)state;
    buf_printf(&text, config, file, file);
    buf_char(&text, 0);
    struct fixture f = fixture_open(text.at, NULL, NULL);
    for (size_t i = 0; i < config_error_count(f.errors); i++)
        print_error("%s\n", config_error_at(f.errors, i));
    assert_int_equal(config_error_count(f.errors) + config_warning_count(f.errors), 0);
    assert_int_equal(f.policy->trust_count, 2);
    assert_true(policy_has_certificates(f.policy));
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct str names[4], rest = str_of(*rows[i].names ? rows[i].names : NULL);
        struct asked asked = {f.policy, rows[i].system, rows[i].file, 0};
        struct certificate_client client = {.names = names, .verify = answer, .arg = &asked};
        struct certificate_facts facts;
        struct buf matches = {0}, doubts = {0};
        while (str_cut(&rest, ' ', &names[client.name_count]))
            client.name_count++;
        policy_connectors_by_certificate(f.policy, &client, f.arena, &facts);
        for (size_t j = 0; j < facts.match_count; j++)
            write_list(&matches, facts.matches[j].connector->name, facts.matches[j].name, STR(""));
        for (size_t j = 0; j < facts.doubt_count; j++)
            write_list(&doubts, facts.doubts[j].connector->name, facts.doubts[j].name, facts.doubts[j].why);
        if (!str_eq(buf_view(&matches), str_of(rows[i].matches)) ||
            !str_eq(buf_view(&doubts), str_of(rows[i].doubts)) || asked.times != rows[i].times)
            fail_msg("%s: %.*s; %.*s; %d", rows[i].names, STR_FMT(buf_view(&matches)),
                     STR_FMT(buf_view(&doubts)), asked.times);
        buf_free(&matches);
        buf_free(&doubts);
    }
    fixture_close(&f);
    buf_free(&text);
}

static void test_none(void **state) {
    struct fixture f = fixture_open(
        "tenant \"a\" { domains = {\"a.example\"} connector \"c\" { addresses = {\"10.0.0.1\"} } }", NULL,
        NULL);
    (void)state;
    assert_false(policy_has_certificates(f.policy));
    assert_int_equal(f.policy->trust_count, 0);
    fixture_close(&f);
}

static void test_domains(void **state) {
    static const struct {
        const char *name;
        bool in;
    } rows[] = {{"a.example", true},      {"mail.a.example", true}, {"x.y.a.example", true},
                {"*.a.example", true},    {"*.x.a.example", true},  {"example", false},
                {"*.example", false},     {"b.example", false},     {"mail.b.example", false},
                {"a.example.net", false}, {"xa.example", false},    {"", false}};
    struct fixture f = fixture_open(
        "tenant \"a\" { domains = {\"a.example\"} }\ntenant \"b\" { domains = {\"b.example\"} }", NULL, NULL);
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (certificate_in_tenant(f.policy, policy_tenant(f.policy, STR("a")), str_of(rows[i].name)) !=
            rows[i].in)
            fail_msg("%s", rows[i].name);
    fixture_close(&f);
}

static int set_up(void **state) {
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/ca.pem", folder);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    FILE *out = fopen(file, "w");
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    assert_true(X509_set_pubkey(x, key) && X509_sign(x, key, EVP_sha256()));
    assert_true(out && PEM_write_X509(out, x));
    fclose(out);
    X509_free(x);
    EVP_PKEY_free(key);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    unlink(file);
    rmdir(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks), cmocka_unit_test(test_search),
                                       cmocka_unit_test(test_none), cmocka_unit_test(test_domains)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
