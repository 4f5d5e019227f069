#include "auth/arrival.h"
#include "base/error.h"
#include "cmocka_setup.h"
#include "policy/classify.h"

#include <stdio.h>

static void test_table(void **state) {
    static const struct {
        struct classify_facts facts;
        enum mail_class class;
        const char *rule, *reason;
    } cases[] = {
        {{0}, CLASS_NORMAL, "own", "the sender is the tenant's own and no risk rule applies"},
        {{.verdict = VERDICT_SPAM}, CLASS_HIGH_RISK, "spam", "the message was judged spam"},
        {{.verdict = VERDICT_MALWARE}, CLASS_HIGH_RISK, "malware", "the message was judged malware"},
        {{.verdict = VERDICT_SPAM, .relayed = true}, CLASS_HIGH_RISK_RELAY, "spam+relayed", NULL},
        {{.verdict = VERDICT_MALWARE, .relayed = true}, CLASS_HIGH_RISK_RELAY, "malware+relayed", NULL},
        {{.verdict = VERDICT_UNSCANNED}, CLASS_NORMAL, "own", NULL},
        {{.verdict = VERDICT_UNSCANNED, .unscanned_is_risk = true},
         CLASS_HIGH_RISK,
         "unscanned",
         "the message could not be scanned"},
        {{.verdict = VERDICT_UNSCANNED, .unscanned_is_risk = true, .verdict_why = STR("not scanned: x")},
         CLASS_HIGH_RISK,
         "unscanned",
         "not scanned: x"},
        {{.verdict = VERDICT_UNSCANNED, .unscanned_is_risk = true, .relayed = true},
         CLASS_HIGH_RISK_RELAY,
         "unscanned+relayed",
         NULL},
        {{.verdict = VERDICT_SPAM, .unscanned_is_risk = true}, CLASS_HIGH_RISK, "spam", NULL},
        {{.null_reverse_path = true}, CLASS_HIGH_RISK, "bounce", "the reverse-path is null"},
        {{.null_reverse_path = true, .relayed = true},
         CLASS_HIGH_RISK,
         "bounce",
         NULL}, /* null is never relayed */
        {{.delivery_report = true}, CLASS_HIGH_RISK, "bounce", "the message is a delivery report"},
        {{.delivery_report = true, .relayed = true}, CLASS_HIGH_RISK_RELAY, "bounce+relayed", NULL},
        {{.verdict = VERDICT_SPAM, .null_reverse_path = true}, CLASS_HIGH_RISK, "spam", NULL},
        {{.suspicion = STR("many recipients don't exist")},
         CLASS_HIGH_RISK,
         "suspicious",
         "suspicious sending: many recipients don't exist"},
        {{.suspicion = STR("why"), .relayed = true}, CLASS_HIGH_RISK_RELAY, "suspicious+relayed", NULL},
        {{.suspicion = STR("why"), .verdict = VERDICT_SPAM}, CLASS_HIGH_RISK, "spam", NULL},
        {{.suspicion = STR("why"), .null_reverse_path = true}, CLASS_HIGH_RISK, "bounce", NULL},
        /* It needs no look-up, and none that failed. */
        {{.suspicion = STR("why"), .reverse_path = {STR("a.example"), FACT_FAILED, FACT_FAILED, FACT_FAILED}},
         CLASS_HIGH_RISK,
         "suspicious",
         NULL},
        {{.suspicion = STR("why"), .reverse_path = {STR("a.example")}}, CLASS_HIGH_RISK, "suspicious", NULL},
        {{.relayed = true}, CLASS_RELAY, "relayed", NULL},
        {{.reverse_path = {STR("a.example"), .mx = FACT_YES}}, CLASS_NORMAL, "own", NULL},
        {{.reverse_path = {STR("a.example"), FACT_NONE, FACT_NONE, FACT_NONE}, .aaaa = true},
         CLASS_HIGH_RISK,
         "no-sender-dns",
         "the domain a.example of the reverse-path has no A, no AAAA and no MX record"},
        {{.reverse_path = {STR("a.example"), FACT_NONE, FACT_NONE, FACT_YES}, .aaaa = true},
         CLASS_NORMAL,
         "own",
         NULL},
        {{.reverse_path = {STR("a.example"), FACT_NONE, FACT_NONE, FACT_YES}},
         CLASS_HIGH_RISK,
         "no-sender-dns",
         "the domain a.example of the reverse-path has no A and no MX record"},
        {{.reverse_path = {STR("a.example"), .a = FACT_YES},
          .from = {STR("b.example"), FACT_NONE, FACT_NONE, FACT_NONE}},
         CLASS_HIGH_RISK,
         "no-sender-dns",
         "the domain b.example of From has no A and no MX record"},
        {{.reverse_path = {STR("a.example"), FACT_NONE, FACT_NONE, FACT_NONE}, .relayed = true},
         CLASS_HIGH_RISK_RELAY,
         "no-sender-dns+relayed",
         NULL},
        /* A failure that can't change the class any more is no failure. */
        {{.reverse_path = {STR("a.example"), FACT_FAILED, FACT_YES}}, CLASS_NORMAL, "own", NULL},
        {{.reverse_path = {STR("a.example"), FACT_FAILED, FACT_FAILED},
          .from = {STR("b.example"), FACT_NONE, FACT_NONE}},
         CLASS_HIGH_RISK,
         "no-sender-dns",
         NULL},
        {{.verdict = VERDICT_SPAM, .reverse_path = {STR("a.example"), FACT_FAILED, FACT_FAILED, FACT_FAILED}},
         CLASS_HIGH_RISK,
         "spam",
         NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct decision d;
        struct classify_question q;
        assert_int_equal(classify(&cases[i].facts, arena, &d, &q), CLASSIFY_DONE);
        assert_int_equal(d.class, cases[i].class);
        assert_string_equal(str_c(arena, d.rule), cases[i].rule);
        if (cases[i].reason)
            assert_string_equal(str_c(arena, d.reason), cases[i].reason);
        assert_true(d.reason.len > 0);
        arena_free(arena);
    }
}

/* A resolver that answers from a table and writes down what it was asked. */
struct zone {
    const char *name;
    enum dns_type type;
    enum dns_status status;
};

struct fake {
    struct resolver resolver;
    const struct zone *zone; /* ended by a NULL name; what is not in it is none */
    char asked[400];
};

static void fake_lookup(struct resolver *r, struct str name, enum dns_type type, int64_t deadline,
                        struct arena *arena, struct dns_answer *ret) {
    struct fake *fake = (struct fake *)r;
    size_t len = strlen(fake->asked);
    (void)arena;
    assert_int_equal(deadline, 77);
    snprintf(fake->asked + len, sizeof fake->asked - len, "%s%.*s/%s", len ? " " : "", STR_FMT(name),
             type == DNS_MX  ? "MX"
             : type == DNS_A ? "A"
                             : "AAAA");
    *ret = (struct dns_answer){.status = DNS_NONE};
    for (const struct zone *z = fake->zone; z && z->name; z++)
        if (str_eq(name, str_of(z->name)) && z->type == type)
            ret->status = z->status;
    if (ret->status == DNS_FAILED)
        ret->why = STR("SERVFAIL");
}

static void test_driver(void **state) {
    static const struct {
        const char *reverse_path, *from;
        enum verdict verdict;
        bool aaaa, relayed;
        struct zone zone[4];
        const char *asked, *result; /* the rule, or the refusal */
    } cases[] = {
        {"u@a.example",
         "u@a.example",
         0,
         true,
         false,
         {{"a.example", DNS_MX, DNS_RECORDS}},
         "a.example/MX",
         "own"},
        {"u@a.example",
         "u@A.EXAMPLE",
         0,
         true,
         false,
         {{"a.example", DNS_A, DNS_RECORDS}},
         "a.example/MX a.example/A",
         "own"},
        {"u@a.example",
         "",
         0,
         true,
         true,
         {{"a.example", DNS_AAAA, DNS_RECORDS}},
         "a.example/MX a.example/A a.example/AAAA",
         "relayed"},
        {"u@a.example",
         "",
         0,
         false,
         false,
         {{"a.example", DNS_AAAA, DNS_RECORDS}},
         "a.example/MX a.example/A",
         "no-sender-dns"},
        {"u@a.example",
         "u@b.example",
         0,
         false,
         false,
         {{"b.example", DNS_MX, DNS_RECORDS}},
         "a.example/MX a.example/A",
         "no-sender-dns"},
        {"u@a.example",
         "u@b.example",
         0,
         false,
         false,
         {{"a.example", DNS_MX, DNS_RECORDS}},
         "a.example/MX b.example/MX b.example/A",
         "no-sender-dns"},
        {"u@a.example", "u@b.example", VERDICT_SPAM, true, false, {{0}}, "", "spam"},
        {"", "u@b.example", 0, true, false, {{0}}, "", "bounce"},
        {"u@[192.0.2.1]", "", 0, true, false, {{0}}, "", "own"},
        {"u@b\xc3\xbc"
         "cher.example",
         "",
         0,
         false,
         false,
         {{"xn--bcher-kva.example", DNS_A, DNS_RECORDS}},
         "xn--bcher-kva.example/MX xn--bcher-kva.example/A",
         "own"},
        /* Invariant 7: a failure is not "no record". */
        {"u@a.example",
         "",
         0,
         true,
         false,
         {{"a.example", DNS_MX, DNS_FAILED}},
         "a.example/MX a.example/A a.example/AAAA",
         "451 4.4.3 The DNS can't say now whether the sender's domain a.example exists (SERVFAIL), try again "
         "later"},
        {"u@a.example",
         "",
         0,
         true,
         false,
         {{"a.example", DNS_MX, DNS_FAILED}, {"a.example", DNS_A, DNS_RECORDS}},
         "a.example/MX a.example/A",
         "own"},
        {"u@a.example",
         "",
         0,
         true,
         false,
         {{"a.example", DNS_AAAA, DNS_FAILED}},
         "a.example/MX a.example/A a.example/AAAA",
         "451 4.4.3 "},
        {"u@a.example",
         "u@b.example",
         0,
         false,
         false,
         {{"a.example", DNS_A, DNS_FAILED}},
         "a.example/MX a.example/A b.example/MX b.example/A",
         "no-sender-dns"},
        {"u@a.example",
         "u@b.example",
         0,
         false,
         false,
         {{"a.example", DNS_A, DNS_FAILED}, {"b.example", DNS_A, DNS_RECORDS}},
         "a.example/MX a.example/A b.example/MX b.example/A",
         "451 4.4.3 "},
        {"u@a.example",
         "u@b.example",
         0,
         false,
         false,
         {{"a.example", DNS_MX, DNS_RECORDS}, {"b.example", DNS_MX, DNS_FAILED}},
         "a.example/MX b.example/MX b.example/A",
         "451 4.4.3 "},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct fake fake = {.resolver = {fake_lookup}, .zone = cases[i].zone};
        struct classify_facts facts = {
            .verdict = cases[i].verdict,
            .null_reverse_path = !cases[i].reverse_path[0],
            .aaaa = cases[i].aaaa,
            .relayed = cases[i].relayed,
        };
        struct decision d = {0};
        struct outcome refusal;
        classify_domains(arena, str_of(cases[i].reverse_path), str_of(cases[i].from), &facts);
        int error = classify_run(&facts, &fake.resolver, 77, arena, &d, &refusal);
        struct str result = error ? outcome_line(arena, &refusal) : d.rule;
        if (!str_starts(result, str_of(cases[i].result)))
            print_error("case %zu: %.*s\n", i, STR_FMT(result));
        assert_true(str_starts(result, str_of(cases[i].result)));
        assert_string_equal(fake.asked, cases[i].asked);
        assert_int_equal(error, cases[i].result[0] == '4' ? SLUICE_EIO : 0);
        arena_free(arena);
    }
}

/* ---- the relay rule ---- */

enum signature {
    UNSIGNED,
    ALIGNED,
    SUBDOMAIN,
    TESTED,
    CUT,
    FAILED,
    LOST,
    STRANGER,
    STRANGER_LOST,
    SIGNATURES
};

static const struct dkim_verdict verdicts[SIGNATURES] = {
    [ALIGNED] = {.result = DKIM_PASS, .domain = {"sender.test", 11}, .selector = {"a", 1}},
    [SUBDOMAIN] = {.result = DKIM_PASS, .domain = {"mail.sender.test", 16}, .selector = {"b", 1}},
    [TESTED] = {.result = DKIM_PASS, .domain = {"sender.test", 11}, .selector = {"t", 1}, .testing = true},
    [CUT] = {.result = DKIM_PASS, .domain = {"sender.test", 11}, .selector = {"l", 1}, .unsigned_bytes = 7},
    [FAILED] = {.result = DKIM_FAIL,
                .domain = {"sender.test", 11},
                .selector = {"a", 1},
                .reason = {"the body hash does not match", 28}},
    [LOST] = {.result = DKIM_TEMPERROR,
              .domain = {"sender.test", 11},
              .selector = {"a", 1},
              .reason = {"SERVFAIL", 8}},
    [STRANGER] = {.result = DKIM_PASS, .domain = {"other.test", 10}, .selector = {"o", 1}},
    [STRANGER_LOST] = {.result = DKIM_TEMPERROR, .domain = {"other.test", 10}, .selector = {"o", 1}},
};

static struct arrival_result arrival_of(enum spf_result spf, enum signature signature,
                                        struct dkim_verdict *room) {
    *room = verdicts[signature];
    return (struct arrival_result){
        .checked = true,
        .spf = {.result = spf,
                .identity = SPF_MAIL_FROM,
                .domain = STR("sender.test"),
                .reason = STR("because")},
        .dkim = {.items = room, .count = signature != UNSIGNED},
    };
}

/* Every combination against the rule in one line. */
static void test_relay_all(void **state) {
    static const enum spf_result spfs[] = {SPF_NONE,     SPF_NEUTRAL,   SPF_PASS,     SPF_FAIL,
                                           SPF_SOFTFAIL, SPF_TEMPERROR, SPF_PERMERROR};
    (void)state;
    for (unsigned n = 0; n < COUNT(spfs) * SIGNATURES * 512; n++) {
        enum spf_result spf = spfs[n / 512 % COUNT(spfs)];
        enum signature signature = (enum signature)(n / 512 / COUNT(spfs));
        struct dkim_verdict room;
        struct arrival_result arrival = arrival_of(spf, signature, &room);
        struct classify_facts facts = {
            .relayed = n & 1,
            .from_outside = n & 2,
            .relay_spf = n & 4,
            .relay_dkim = n & 8,
            .null_reverse_path = n & 16,
            .verdict = n & 32    ? VERDICT_SPAM
                       : n & 128 ? VERDICT_UNSCANNED
                                 : VERDICT_CLEAN,
            .unscanned_is_risk = n & 256,
            .suspicion = n & 64 ? STR("why") : STR(""),
            .arrival = &arrival,
            .reverse_path = {STR("sender.test"), .mx = FACT_YES},
        };
        struct arena *arena = arena_new(0);
        struct decision d = {0};
        struct classify_question q = {0};
        bool asks = (facts.relayed || facts.from_outside) && !facts.null_reverse_path;
        bool passes = (facts.relay_spf && spf == SPF_PASS) ||
                      (facts.relay_dkim && (signature == ALIGNED || signature == SUBDOMAIN));
        bool unsure = (facts.relay_spf && spf == SPF_TEMPERROR) || (facts.relay_dkim && signature == LOST);
        enum classify_step step = classify(&facts, arena, &d, &q);
        if (asks && !passes && unsure) {
            assert_int_equal(step, CLASSIFY_FAILED);
            assert_int_equal(q.check, facts.relay_spf && spf == SPF_TEMPERROR ? CHECK_SPF : CHECK_DKIM);
        } else {
            bool unscanned = (n & 128) && (n & 256);
            bool risky = facts.null_reverse_path || (n & 32) || unscanned || facts.suspicion.len,
                 relayed = asks && !passes;
            assert_int_equal(step, CLASSIFY_DONE);
            assert_int_equal(d.class, risky && relayed ? CLASS_HIGH_RISK_RELAY
                                      : risky          ? CLASS_HIGH_RISK
                                      : relayed        ? CLASS_RELAY
                                                       : CLASS_NORMAL);
            assert_int_equal(d.verified, asks && passes);
            assert_true(d.reason.len > 0);
        }
        arena_free(arena);
    }
}

static void test_relay_words(void **state) {
    static const struct {
        enum spf_result spf;
        enum signature signature;
        bool no_spf, no_dkim, outside, unchecked, helo, spam;
        const char *rule, *text;
    } cases[] = {
        {SPF_PASS, UNSIGNED, .rule = "own",
         .text = "relayed, but SPF of sender.test passes (because), so the sender is verified"},
        {SPF_FAIL, SUBDOMAIN, .rule = "own",
         .text =
             "relayed, but a DKIM signature of sender.test passes (d=mail.sender.test s=b), so the sender is "
             "verified"},
        {SPF_SOFTFAIL, FAILED, .rule = "relayed",
         .text =
             "the reverse-path is not in an accepted domain of the tenant; SPF of sender.test says softfail "
             "(because), and no DKIM signature of sender.test passes (d=sender.test s=a: the body hash does "
             "not "
             "match), so the message is relayed"},
        {SPF_NONE, TESTED, .rule = "relayed",
         .text =
             "the reverse-path is not in an accepted domain of the tenant; SPF of sender.test says none "
             "(because), and no DKIM signature of sender.test passes (d=sender.test s=t: its key is in test "
             "mode), so the message is relayed"},
        {SPF_PASS, CUT, .no_spf = true, .rule = "relayed",
         .text = "the reverse-path is not in an accepted domain of the tenant; SPF does not count (relay), "
                 "and no "
                 "DKIM signature of sender.test passes (d=sender.test s=l: part of the body is not signed), "
                 "so the "
                 "message is relayed"},
        {SPF_NEUTRAL, STRANGER, .rule = "relayed",
         .text =
             "the reverse-path is not in an accepted domain of the tenant; SPF of sender.test says neutral "
             "(because), and no DKIM signature is of sender.test, so the message is relayed"},
        {SPF_TEMPERROR, ALIGNED, .no_dkim = true, .no_spf = true, .rule = "relayed",
         .text = "the reverse-path is not in an accepted domain of the tenant; SPF does not count (relay), "
                 "and DKIM "
                 "does not count (relay), so the message is relayed"},
        {SPF_FAIL, UNSIGNED, .outside = true, .rule = "relayed",
         .text = "the message came from outside, where the reverse-path's domain is a claim; SPF of "
                 "sender.test says "
                 "fail (because), and no DKIM signature is of sender.test, so the message is relayed"},
        {SPF_PASS, ALIGNED, .unchecked = true, .rule = "relayed",
         .text = "the reverse-path is not in an accepted domain of the tenant, so the message is relayed"},
        {SPF_PASS, UNSIGNED, .spam = true, .rule = "spam",
         .text = "the message was judged spam; relayed, but SPF of sender.test passes (because), so the "
                 "sender is "
                 "verified"},
        {SPF_PASS, UNSIGNED, .helo = true, .rule = "relayed", .text = NULL},
        {SPF_TEMPERROR, STRANGER, .rule = NULL,
         .text = "451 4.4.3 SPF of the sender's domain sender.test can't be checked now (because), try again "
                 "later"},
        {SPF_FAIL, LOST, .rule = NULL,
         .text = "451 4.4.3 The DKIM signature of the sender's domain sender.test can't be checked now "
                 "(d=sender.test "
                 "s=a: SERVFAIL), try again later"},
        {SPF_FAIL, LOST, .no_dkim = true, .rule = "relayed", .text = NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct fake fake = {.resolver = {fake_lookup}};
        struct dkim_verdict room;
        struct arrival_result arrival = arrival_of(cases[i].spf, cases[i].signature, &room);
        struct classify_facts facts = {
            .relayed = !cases[i].outside,
            .from_outside = cases[i].outside,
            .relay_spf = !cases[i].no_spf,
            .relay_dkim = !cases[i].no_dkim,
            .verdict = cases[i].spam ? VERDICT_SPAM : VERDICT_CLEAN,
            .arrival = &arrival,
            .reverse_path = {STR("sender.test"), .mx = FACT_YES},
        };
        struct decision d = {0};
        struct outcome refusal;
        arrival.checked = !cases[i].unchecked;
        if (cases[i].helo)
            arrival.spf.identity = SPF_HELO;
        int error = classify_run(&facts, &fake.resolver, 77, arena, &d, &refusal);
        struct str text = error ? outcome_line(arena, &refusal) : d.reason;
        assert_int_equal(error, cases[i].rule ? 0 : SLUICE_EIO);
        assert_string_equal(fake.asked, "");
        if (cases[i].rule)
            assert_string_equal(str_c(arena, d.rule), cases[i].rule);
        if (cases[i].text)
            assert_string_equal(str_c(arena, text), cases[i].text);
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_driver),
                                       cmocka_unit_test(test_relay_all), cmocka_unit_test(test_relay_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
