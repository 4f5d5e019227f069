#include "auth/dmarc.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "txt_resolver.h"

#include <stdlib.h>

#define NONE DMARC_POLICY_NONE
#define QUARANTINE DMARC_POLICY_QUARANTINE
#define REJECT DMARC_POLICY_REJECT

static void test_records(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum dmarc_policy policy, subdomain;
        bool strict_dkim, strict_spf;
        unsigned percent;
        const char *why;
        bool refused;
    } cases[] = {
        {"v=DMARC1; p=none", NONE, NONE, false, false, 100},
        {"v=DMARC1;p=reject;", REJECT, REJECT, false, false, 100},
        {"v=DMARC1; p=quarantine; sp=none; adkim=s; aspf=s; pct=20", QUARANTINE, NONE, true, true, 20},
        {"v=DMARC1; sp=reject; adkim=r; p=none; aspf=s; pct=0", NONE, REJECT, false, true, 0},
        {"V = DMARC1 ; P = Reject ; SP = QUARANTINE ; ADKIM = S", REJECT, QUARANTINE, true, false, 100},
        {"v=DMARC1; p=reject; np=none; psd=n; t=y; x-1=;", REJECT, REJECT, false, false, 100},
        {"v=DMARC1; p=reject; adkim=strict; aspf=; pct=101", REJECT, REJECT, false, false, 100},
        {"v=DMARC1; p=reject; pct=-1", REJECT, REJECT, false, false, 100},
        {"v=DMARC1; p=reject; pct=50%", REJECT, REJECT, false, false, 100},
        {"v=DMARC1; ; p=reject; nothing; =x; aspf", REJECT, REJECT, false, false, 100},
        {"v=DMARC1; p=reject; p=none; sp=none; sp=bad", REJECT, NONE, false, false, 100},
        /* 6.6.3 step 6 */
        {"v=DMARC1; p=rejct; aspf=s; rua=mailto:d@sender.test", NONE, NONE, false, true, 100,
         "its p= is no policy"},
        {"v=DMARC1; rua=mailto:, mailto:d@sender.test!10m", NONE, NONE, false, false, 100, "it has no p="},
        {"v=DMARC1; p=reject; sp=; rua=https://r.test/x", NONE, NONE, false, false, 100,
         "its sp= is no policy"},
        {"v=DMARC1; p=rejct", .why = "its p= is no policy", .refused = true},
        {"v=DMARC1; p=", .why = "its p= is no policy", .refused = true},
        {"v=DMARC1", .why = "it has no p=", .refused = true},
        {"v=DMARC1; rua=d@sender.test", .why = "it has no p=", .refused = true},
        {"v=DMARC1; rua=mailto:d", .why = "it has no p=", .refused = true},
        {"v=DMARC1; rua=mailto:@sender.test", .why = "it has no p=", .refused = true},
        {"v=DMARC1; rua=:x,mailto:,!", .why = "it has no p=", .refused = true},
        {"v=DMARC1; p=reject; sp=non", .why = "its sp= is no policy", .refused = true},
        /* none at all */
        {"", .why = "no v=DMARC1 in front", .refused = true},
        {"p=reject; v=DMARC1", .why = "no v=DMARC1 in front", .refused = true},
        {" v=DMARC1; p=reject", .why = "no v=DMARC1 in front", .refused = true},
        {"v=dmarc1; p=reject", .why = "no v=DMARC1 in front", .refused = true},
        {"v=DMARC1 p=reject", .why = "no v=DMARC1 in front", .refused = true},
        {"v=DMARC10; p=reject", .why = "no v=DMARC1 in front", .refused = true},
        {"v=spf1 -all", .why = "no v=DMARC1 in front", .refused = true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dmarc_record record = {.percent = 1000};
        struct str why = STR_NULL;
        int error = dmarc_record_parse(str_of(cases[i].text), &why, &record);
        bool fits = cases[i].refused
                        ? error == SLUICE_ESYNTAX && record.percent == 1000
                        : error == 0 && record.policy == cases[i].policy &&
                              record.subdomain_policy == cases[i].subdomain &&
                              record.strict_dkim == cases[i].strict_dkim &&
                              record.strict_spf == cases[i].strict_spf && record.percent == cases[i].percent;
        if (!fits || !why.at != !cases[i].why || !str_eq(why, str_of(cases[i].why)))
            fail_msg("%s: %.*s", cases[i].text, STR_FMT(why));
    }
}

static void test_too_long(void **state) {
    static const struct str front = STR("v=DMARC1; p=reject; x=");
    char *text = xmalloc(DMARC_RECORD_MAX + 1);
    struct dmarc_record record;
    struct str why;
    (void)state;
    memset(text, 'a', DMARC_RECORD_MAX + 1);
    memcpy(text, front.at, front.len);
    assert_int_equal(dmarc_record_parse(str_from(text, DMARC_RECORD_MAX), &why, &record), 0);
    assert_int_equal(dmarc_record_parse(str_from(text, DMARC_RECORD_MAX + 1), &why, &record), SLUICE_ESYNTAX);
    free(text);
}

#define LONG_LABEL "a23456789012345678901234567890123456789012345678901234567890123"

static const struct txt_record records[] = {
    {"_dmarc.sender.test", "v=spf1 -all"},
    {"_dmarc.sender.test", "v=DMARC1; p=reject; sp=quarantine; adkim=s"},
    {"_dmarc.own.sender.test", "v=DMARC1; p=none; sp=reject"},
    {"_dmarc.junk.sender.test", "no record of this kind"},
    {"_dmarc.down.sender.test", NULL},
    {"_dmarc.broken.sender.test", "v=DMARC1; p=rejct"},
    {"_dmarc.two.sender.test", "v=DMARC1; p=none"},
    {"_dmarc.two.sender.test", "v=DMARC1; p=reject"},
    {"_dmarc.down.test", NULL},
    {"_dmarc.typo.test", "v=DMARC1; p=rejct; rua=mailto:d@typo.test"},
    {"_dmarc.some.test", "v=DMARC1; p=reject; pct=20"},
    {"_dmarc.example.co.uk", "v=DMARC1; p=reject"},
    {"_dmarc.co.uk", "v=DMARC1; p=reject"},
    {"_dmarc.xn--bcher-kva.test", "v=DMARC1; p=quarantine"},
};

static void open_records(struct txt_resolver *txt) {
    *txt = (struct txt_resolver){.resolver.lookup = txt_lookup};
    for (size_t i = 0; i < COUNT(records); i++)
        txt_add(txt, records[i].name, records[i].text);
}

static void test_discovery(void **state) {
    (void)state;
    static const struct {
        const char *from;
        enum dmarc_result result;
        enum dmarc_policy policy;
        const char *domain, *why;
        unsigned asked;
    } cases[] = {
        {"sender.test", DMARC_PASS, REJECT, "sender.test", "_dmarc.sender.test says reject", 1},
        {"Sender.TEST.", DMARC_PASS, REJECT, "sender.test", "_dmarc.sender.test says reject", 1},
        {"a.b.sender.test", DMARC_PASS, QUARANTINE, "sender.test", "_dmarc.sender.test says quarantine", 2},
        {"own.sender.test", DMARC_PASS, NONE, "own.sender.test", "_dmarc.own.sender.test says none", 1},
        {"junk.sender.test", DMARC_PASS, QUARANTINE, "sender.test", "_dmarc.sender.test says quarantine", 2},
        {"down.sender.test", DMARC_TEMPERROR, NONE, "down.sender.test",
         "the DNS did not answer for _dmarc.down.sender.test: SERVFAIL", 1},
        {"x.down.test", DMARC_TEMPERROR, NONE, "down.test",
         "the DNS did not answer for _dmarc.down.test: SERVFAIL", 2},
        {"broken.sender.test", DMARC_PERMERROR, NONE, "broken.sender.test",
         "the record at _dmarc.broken.sender.test is of no use: its p= is no policy", 1},
        {"two.sender.test", DMARC_PERMERROR, NONE, "two.sender.test",
         "2 DMARC records at _dmarc.two.sender.test, one may be there", 1},
        {"typo.test", DMARC_PASS, NONE, "typo.test", "_dmarc.typo.test says none (its p= is no policy)", 1},
        {"some.test", DMARC_PASS, REJECT, "some.test", "_dmarc.some.test says reject for 20 % of such mail",
         1},
        {"mail.example.co.uk", DMARC_PASS, REJECT, "example.co.uk", "_dmarc.example.co.uk says reject", 2},
        {"other.co.uk", DMARC_NONE, NONE, "", "no DMARC record at _dmarc.other.co.uk", 1},
        {"a.other.test", DMARC_NONE, NONE, "", "no DMARC record at _dmarc.a.other.test nor _dmarc.other.test",
         2},
        {"b\xc3\xbc"
         "cher.test",
         DMARC_PASS, QUARANTINE, "xn--bcher-kva.test", "_dmarc.xn--bcher-kva.test says quarantine", 1},
        {"a." LONG_LABEL "." LONG_LABEL "." LONG_LABEL "." LONG_LABEL ".sender.test", DMARC_NONE, NONE, "",
         "From has no domain", 0},
        {LONG_LABEL "." LONG_LABEL "." LONG_LABEL ".a2345678901234567890123456789012345678901234.sender.test",
         DMARC_PASS, QUARANTINE, "sender.test", "_dmarc.sender.test says quarantine", 1},
        {"", DMARC_NONE, NONE, "", "From has no domain", 0},
        {"[192.0.2.1]", DMARC_NONE, NONE, "", "From has no domain", 0},
        {"a b.test", DMARC_NONE, NONE, "", "From has no domain", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct txt_resolver txt;
        struct dmarc_discovery d;
        open_records(&txt);
        dmarc_discover(&txt.resolver, str_of(cases[i].from), 0, arena, &d);
        if (d.result != cases[i].result || d.policy != cases[i].policy || txt.asked != cases[i].asked ||
            !str_eq(d.domain, str_of(cases[i].domain)) || !str_eq(d.why, str_of(cases[i].why)))
            fail_msg("%s: %s, %s, %.*s, %u asked: %.*s", cases[i].from, dmarc_result_name(d.result),
                     dmarc_policy_name(d.policy), STR_FMT(d.domain), txt.asked, STR_FMT(d.why));
        arena_free(arena);
    }
}

static void test_alignment(void **state) {
    (void)state;
    static const struct {
        const char *domain, *from;
        bool relaxed, strict;
    } cases[] = {
        {"sender.test", "sender.test", true, true},
        {"SENDER.test", "sender.test", true, true},
        {"a.sender.test", "sender.test", true, false},
        {"sender.test", "a.sender.test", true, false},
        {"a.sender.test", "b.sender.test", true, false},
        {"other.test", "sender.test", false, false},
        {"a.co.uk", "b.co.uk", false, false},
        {"co.uk", "co.uk", true, true},
        {"", "", false, false},
        {"", "sender.test", false, false},
        {"[192.0.2.1]", "[192.0.2.1]", false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str domain = str_of(cases[i].domain), from = str_of(cases[i].from);
        if (dmarc_aligned(domain, from, false) != cases[i].relaxed ||
            dmarc_aligned(domain, from, true) != cases[i].strict)
            fail_msg("%s, %s", cases[i].domain, cases[i].from);
    }
}

#define SAYS "_dmarc.sender.test says reject"

/* "sender.test pass, other.test fail" */
static size_t read_signatures(const char *text, struct dmarc_signature out[4]) {
    size_t count = 0;
    for (struct str rest = str_of(text), part, domain; str_cut(&rest, ',', &part); count++) {
        part = str_trim(part);
        assert_true(str_cut(&part, ' ', &domain) && count < 4);
        out[count] = (struct dmarc_signature){domain, DKIM_NONE};
        while (!str_eq(part, str_of(dkim_result_name(out[count].result))))
            out[count].result++;
    }
    return count;
}

static void test_judgement(void **state) {
    (void)state;
    static const struct {
        const char *from;
        enum spf_result spf;
        const char *spf_domain, *signatures;
        enum dmarc_result result;
        enum dmarc_policy policy;
        bool spf_aligned;
        ptrdiff_t signature;
        const char *why;
    } cases[] = {
        /* sender.test: adkim=s, aspf=r */
        {"sender.test", SPF_PASS, "sender.test", NULL, DMARC_PASS, REJECT, true, -1,
         "SPF pass for sender.test, which aligns with sender.test"},
        {"sender.test", SPF_PASS, "bounce.sender.test", NULL, DMARC_PASS, REJECT, true, -1,
         "SPF pass for bounce.sender.test, which aligns with sender.test"},
        {"sender.test", SPF_PASS, "srs.test", NULL, DMARC_FAIL, REJECT, false, -1,
         "SPF pass for srs.test, which does not align; no aligned signature passes; " SAYS},
        {"sender.test", SPF_SOFTFAIL, "sender.test", NULL, DMARC_FAIL, REJECT, true, -1,
         "SPF softfail for sender.test; no aligned signature passes; " SAYS},
        {"sender.test", SPF_NONE, "", NULL, DMARC_FAIL, REJECT, false, -1,
         "SPF none; no aligned signature passes; " SAYS},
        {"sender.test", SPF_FAIL, "sender.test", "srs.test pass, sender.test pass", DMARC_PASS, REJECT, true,
         1, "the signature of sender.test passes and aligns with sender.test"},
        {"sender.test", SPF_FAIL, "sender.test", "mail.sender.test pass", DMARC_FAIL, REJECT, true, -1,
         "SPF fail for sender.test; no aligned signature passes; " SAYS},
        {"sender.test", SPF_FAIL, "srs.test", "sender.test fail", DMARC_FAIL, REJECT, false, -1,
         "SPF fail for srs.test, which does not align; no aligned signature passes; " SAYS},
        /* 6.6.2: what is not known is no failure, unless it can't help */
        {"sender.test", SPF_TEMPERROR, "sender.test", NULL, DMARC_TEMPERROR, NONE, true, -1,
         "SPF temperror for sender.test; no aligned signature is known to pass; " SAYS},
        {"sender.test", SPF_TEMPERROR, "srs.test", "srs.test temperror", DMARC_FAIL, REJECT, false, -1,
         "SPF temperror for srs.test, which does not align; no aligned signature passes; " SAYS},
        {"sender.test", SPF_FAIL, "sender.test", "sender.test temperror", DMARC_TEMPERROR, NONE, true, -1,
         "SPF fail for sender.test; no aligned signature is known to pass; " SAYS},
        {"sender.test", SPF_TEMPERROR, "sender.test", "sender.test pass", DMARC_PASS, REJECT, true, 0,
         "the signature of sender.test passes and aligns with sender.test"},
        /* below it, the other policy */
        {"a.sender.test", SPF_FAIL, "a.sender.test", "sender.test pass", DMARC_FAIL, QUARANTINE, true, -1,
         "SPF fail for a.sender.test; no aligned signature passes; _dmarc.sender.test says quarantine"},
        {"own.sender.test", SPF_FAIL, "x.test", "sender.test pass", DMARC_PASS, NONE, false, 0,
         "the signature of sender.test passes and aligns with own.sender.test"},
        /* without a record */
        {"down.test", SPF_PASS, "down.test", "down.test pass", DMARC_TEMPERROR, NONE, true, 0,
         "the DNS did not answer for _dmarc.down.test: SERVFAIL"},
        {"two.sender.test", SPF_FAIL, "x.test", NULL, DMARC_PERMERROR, NONE, false, -1,
         "2 DMARC records at _dmarc.two.sender.test, one may be there"},
        {"other.test", SPF_PASS, "mail.other.test", NULL, DMARC_NONE, NONE, true, -1,
         "no DMARC record at _dmarc.other.test"},
        {"", SPF_PASS, "sender.test", "sender.test pass", DMARC_NONE, NONE, false, -1, "From has no domain"},
        {"sender.test", SPF_PASS, "x\r\ny\x80.test", NULL, DMARC_FAIL, REJECT, false, -1,
         "SPF pass for x??y?.test, which does not align; no aligned signature passes; " SAYS},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct txt_resolver txt;
        struct dmarc_signature signatures[4];
        struct dmarc_evidence evidence = {.spf = cases[i].spf, .spf_domain = str_of(cases[i].spf_domain)};
        struct dmarc_discovery d;
        struct dmarc_verdict v;
        evidence.signatures = signatures;
        evidence.count = read_signatures(cases[i].signatures, signatures);
        open_records(&txt);
        dmarc_discover(&txt.resolver, str_of(cases[i].from), 0, arena, &d);
        dmarc_judge(&d, &evidence, arena, &v);
        if (v.result != cases[i].result || v.policy != cases[i].policy ||
            v.spf_aligned != cases[i].spf_aligned || v.signature != cases[i].signature ||
            !str_eq(v.why, str_of(cases[i].why)))
            fail_msg("%zu: %s, %s, %d, %td: %.*s", i, dmarc_result_name(v.result),
                     dmarc_policy_name(v.policy), v.spf_aligned, v.signature, STR_FMT(v.why));
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),   cmocka_unit_test(test_too_long),  cmocka_unit_test(test_discovery),
        cmocka_unit_test(test_alignment), cmocka_unit_test(test_judgement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
