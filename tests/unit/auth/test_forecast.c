#include "auth/forecast.h"
#include "base/clock.h"
#include "rt_run.h"
#include "zone.h"

#include <stdlib.h>

#define TXT(owner, text)                                                                                     \
    { STR(owner), STR("TXT"), STR(text) }
#define TIMEOUT(owner)                                                                                       \
    { STR(owner), STR("TIMEOUT"), STR("") }
#define ED25519 "k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

/* KEY stands for the record of our key. */
static const struct zone_record zone_records[] = {
    TXT("sender.test", "v=spf1 ip4:192.0.2.0/24 ~all"),
    TXT("_dmarc.sender.test", "v=DMARC1; p=reject; sp=quarantine"),
    TXT("loose.test", "v=spf1 ip4:192.0.2.0/24 -all"),
    TXT("_dmarc.loose.test", "v=DMARC1; p=none"),
    TXT("strict.test", "v=spf1 ip4:192.0.2.0/24 -all"),
    TXT("_dmarc.strict.test", "v=DMARC1; p=quarantine; adkim=s; aspf=s"),
    TXT("half.test", "v=spf1 ?all"),
    TXT("_dmarc.half.test", "v=DMARC1; p=reject; pct=50"),
    TXT("mild.test", "v=spf1 -all"),
    TXT("_dmarc.mild.test", "v=DMARC1; p=reject; pct=0"),
    TXT("bad.test", "v=spf1 bogus -all"),
    TXT("_dmarc.bad.test", "v=DMARC1; p=rejct"),
    TXT("bare.test", "v=spf1 ip4:192.0.2.0/24 -all"),
    TXT("srs.test", "v=spf1 ip4:192.0.2.0/24 ip4:203.0.113.0/24 -all"),
    TXT("mx1.srs.test", "v=spf1 ip4:192.0.2.0/24 -all"),
    TIMEOUT("down.test"),
    TIMEOUT("_dmarc.down.test"),
    TXT("mute.test", "v=spf1 ip4:192.0.2.0/24 -all"),
    TIMEOUT("_dmarc.mute.test"),
    TIMEOUT("down._domainkey.sender.test"),
    TXT("live._domainkey.sender.test", "KEY"),
    TXT("live._domainkey.strict.test", "KEY"),
    TXT("live._domainkey.mail.sender.test", "KEY"),
    TXT("live._domainkey.mail.strict.test", "KEY"),
    TXT("live._domainkey.srs.test", "KEY"),
    TXT("try._domainkey.sender.test", "KEY; t=y"),
    TXT("own._domainkey.sender.test", "KEY; t=s"),
    TXT("sha1._domainkey.sender.test", "KEY; h=sha1"),
    TXT("tls._domainkey.sender.test", "KEY; s=tlsrpt"),
    TXT("other._domainkey.sender.test", ED25519),
    TXT("both._domainkey.sender.test", "KEY"),
    TXT("both._domainkey.sender.test", ED25519),
    TXT("text._domainkey.sender.test", "hello"),
    TXT("text._domainkey.sender.test", "KEY"),
    TXT("wrong._domainkey.sender.test", "v=DKIM1; k=rsa"),
    TXT("gone._domainkey.sender.test", "v=DKIM1; p="),
};

/* One key for all tests, and the zone that publishes it. */
struct setting {
    struct dkim_key *key;
    struct zone zone;
    struct arena *arena;
    struct zone_record records[COUNT(zone_records)];
};

static int set_up(void **state) {
    struct setting *s = xcalloc(1, sizeof *s);
    struct buf record __attribute__((cleanup(buf_free))) = {0};
    s->arena = arena_new(0);
    assert_int_equal(dkim_key_new(DKIM_ED25519, 0, &s->key), 0);
    assert_int_equal(dkim_key_record(s->key, &record), 0);
    for (size_t i = 0; i < COUNT(zone_records); i++) {
        s->records[i] = zone_records[i];
        if (str_starts(zone_records[i].data, STR("KEY")))
            s->records[i].data = str_printf(s->arena, "%.*s%.*s", STR_FMT(buf_view(&record)),
                                            STR_FMT(str_from_index(zone_records[i].data, 3)));
    }
    zone_open(&s->zone, s->records, COUNT(zone_records));
    *state = s;
    return 0;
}

static int tear_down(void **state) {
    struct setting *s = *state;
    dkim_key_free(s->key);
    arena_free(s->arena);
    free(s);
    return 0;
}

/* "live@sender.test try@sender.test": selectors and domains. */
static size_t read_signers(const struct setting *s, const char *text, struct dkim_signer out[4]) {
    size_t count = 0;
    for (struct str rest = str_of(text), part; str_cut(&rest, ' ', &part); count++) {
        struct str selector;
        assert_true(str_cut(&part, '@', &selector) && count < 4);
        out[count] = (struct dkim_signer){.key = s->key, .selector = selector, .domain = part};
    }
    return count;
}

/* "pass@sender.test testing@sender.test part@sender.test": what arrived, with s=in. */
static size_t read_arrival(const char *text, struct dkim_verdict out[4]) {
    size_t count = 0;
    for (struct str rest = str_of(text), part; str_cut(&rest, ' ', &part); count++) {
        struct str word;
        assert_true(str_cut(&part, '@', &word) && count < 4);
        out[count] = (struct dkim_verdict){.selector = STR("in"), .domain = part, .reason = STR("")};
        out[count].testing = str_eq(word, STR("testing"));
        out[count].unsigned_bytes = str_eq(word, STR("part")) ? 7 : 0;
        word = out[count].testing || out[count].unsigned_bytes ? STR("pass") : word;
        while (!str_eq(word, str_of(dkim_result_name(out[count].result))))
            out[count].result++;
        if (out[count].result != DKIM_PASS)
            out[count].reason = STR("seen");
    }
    return count;
}

static void test_keys(void **state) {
    static const struct {
        const char *signer, *identity;
        enum dkim_result result;
        bool weak;
        const char *why;
    } cases[] = {
        {"live@sender.test", "", DKIM_PASS, false, ""},
        {"LIVE@Sender.test", "", DKIM_PASS, false, ""},
        {"try@sender.test", "", DKIM_PASS, true, "the key is in test mode (t=y)"},
        {"own@sender.test", "", DKIM_PASS, false, ""},
        {"own@sender.test", "@sender.test", DKIM_PASS, false, ""},
        {"own@sender.test", "a@mail.sender.test", DKIM_PERMERROR, false,
         "the record forbids an i= below d= (t=s): own._domainkey.sender.test"},
        {"live@sender.test", "a@mail.sender.test", DKIM_PASS, false, ""},
        {"sha1@sender.test", "", DKIM_PERMERROR, false,
         "the record does not allow sha256: sha1._domainkey.sender.test"},
        {"tls@sender.test", "", DKIM_PERMERROR, false,
         "the record is not for email (s=): tls._domainkey.sender.test"},
        {"other@sender.test", "", DKIM_PERMERROR, false,
         "the record has another key than the one that signs: other._domainkey.sender.test"},
        {"both@sender.test", "", DKIM_PERMERROR, false,
         "the record has another key than the one that signs: both._domainkey.sender.test"},
        {"text@sender.test", "", DKIM_PASS, false, ""},
        {"wrong@sender.test", "", DKIM_PERMERROR, false,
         "the key record has no p=: wrong._domainkey.sender.test"},
        {"gone@sender.test", "", DKIM_PERMERROR, false,
         "the key is revoked (p= is empty): gone._domainkey.sender.test"},
        {"s1@contoso.test", "", DKIM_PERMERROR, false, "no record at s1._domainkey.contoso.test"},
        {"down@sender.test", "", DKIM_TEMPERROR, false,
         "the DNS did not answer for down._domainkey.sender.test: timeout"},
    };
    struct setting *s = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_signer signers[4];
        struct forecast_query query = {.from_domain = STR("sender.test"), .signers = signers};
        struct forecast_identity identity;
        query.signer_count = read_signers(s, cases[i].signer, signers);
        signers[0].identity = str_of(cases[i].identity);
        forecast_identity(&s->zone.resolver, &query, s->arena, &identity);
        const struct forecast_signature *got = identity.signatures;
        if (identity.count != 1 || !got->ours || got->result != cases[i].result ||
            got->weak != cases[i].weak || !str_eq(got->why, str_of(cases[i].why)))
            fail_msg("%s %s: %s: %.*s", cases[i].signer, cases[i].identity, dkim_result_name(got->result),
                     STR_FMT(got->why));
    }
}

/* A name that is too long for the DNS is not asked. */
static void test_long_selector(void **state) {
    struct setting *s = *state;
    char selector[DKIM_SELECTOR_MAX + 1];
    struct dkim_signer signer = {.key = s->key, .domain = STR("sender.test")};
    struct forecast_query query = {.signers = &signer, .signer_count = 1};
    struct forecast_identity identity;
    memset(selector, 'a', sizeof selector);
    signer.selector = str_from(selector, sizeof selector - 1);
    forecast_identity(&s->zone.resolver, &query, s->arena, &identity);
    assert_int_equal(identity.signatures[0].result, DKIM_PERMERROR);
    assert_int_equal(s->zone.asked, 0);
}

#define SEES(spf, ip) "a receiver will see SPF " spf " from " ip
#define UNSIGNED " and no aligned DKIM signature"
#define REFUSED "; DMARC of sender.test says reject: the mail will likely be refused"

/* Long: one table. */
static void test_forecasts(void **state) {
    static const struct {
        const char *path, *source, *from, *arrival, *signers;
        enum spf_result spf;
        const char *spf_domain;
        bool spf_aligned;
        enum dmarc_result dmarc;
        enum dmarc_policy policy;
        const char *warning;
    } cases[] = {
        /* all is well */
        {"a@sender.test", "192.0.2.1", "sender.test", "", "live@sender.test", SPF_PASS, "sender.test", true,
         DMARC_PASS, DMARC_POLICY_REJECT, ""},
        {"a@sender.test", "192.0.2.1", "sender.test", "", "", SPF_PASS, "sender.test", true, DMARC_PASS,
         DMARC_POLICY_REJECT, ""},
        {"SRS0=x@srs.test", "203.0.113.8", "sender.test", "pass@sender.test", "", SPF_PASS, "srs.test", false,
         DMARC_PASS, DMARC_POLICY_REJECT, ""},
        {"a@bare.test", "192.0.2.1", "bare.test", "", "", SPF_PASS, "bare.test", true, DMARC_NONE,
         DMARC_POLICY_NONE, ""},
        {"a@mute.test", "192.0.2.1", "mute.test", "", "", SPF_PASS, "mute.test", true, DMARC_TEMPERROR,
         DMARC_POLICY_NONE, ""},
        {"", "192.0.2.1", "sender.test", "", "live@sender.test", SPF_PASS, "mx1.srs.test", false, DMARC_PASS,
         DMARC_POLICY_REJECT, ""},
        {"a@sender.test", "192.0.2.1", "sender.test", "fail@sender.test temperror@sender.test",
         "down@sender.test", SPF_PASS, "sender.test", true, DMARC_PASS, DMARC_POLICY_REJECT, ""},
        /* relayed from an address that the sender does not know */
        {"a@sender.test", "203.0.113.8", "sender.test", "", "", SPF_SOFTFAIL, "sender.test", true, DMARC_FAIL,
         DMARC_POLICY_REJECT, SEES("softfail for sender.test", "203.0.113.8") UNSIGNED REFUSED},
        {"a@sender.test", "203.0.113.8", "sender.test", "fail@sender.test pass@other.test", "live@srs.test",
         SPF_SOFTFAIL, "sender.test", true, DMARC_FAIL, DMARC_POLICY_REJECT,
         SEES("softfail for sender.test", "203.0.113.8") UNSIGNED REFUSED},
        {"a@sender.test", "203.0.113.8", "sender.test", "testing@sender.test part@sender.test", "",
         SPF_SOFTFAIL, "sender.test", true, DMARC_FAIL, DMARC_POLICY_REJECT,
         SEES("softfail for sender.test", "203.0.113.8") UNSIGNED REFUSED},
        {"a@sender.test", "2001:db8::1", "sender.test", "pass@mail.sender.test", "", SPF_SOFTFAIL,
         "sender.test", true, DMARC_PASS, DMARC_POLICY_REJECT,
         SEES("softfail for sender.test",
              "2001:db8::1") " and an aligned DKIM signature of mail.sender.test; "
                             "DMARC of sender.test passes all the same"},
        {"SRS0=x@srs.test", "203.0.113.8", "sender.test", "", "live@srs.test", SPF_PASS, "srs.test", false,
         DMARC_FAIL, DMARC_POLICY_REJECT,
         SEES("pass for srs.test", "203.0.113.8") " (not aligned with sender.test)" UNSIGNED REFUSED},
        {"SRS0=x@srs.test", "203.0.113.8", "m.sender.test", "", "", SPF_PASS, "srs.test", false, DMARC_FAIL,
         DMARC_POLICY_QUARANTINE,
         SEES(
             "pass for srs.test",
             "203.0.113.8") " (not aligned with m.sender.test)" UNSIGNED
                            "; DMARC of sender.test says quarantine: the mail will likely be taken for junk"},
        {"a@mail.strict.test", "192.0.2.1", "strict.test", "", "live@mail.strict.test", SPF_NONE,
         "mail.strict.test", false, DMARC_FAIL, DMARC_POLICY_QUARANTINE,
         SEES("none for mail.strict.test",
              "192.0.2.1") " (not aligned with strict.test)" UNSIGNED
                           "; DMARC of strict.test says quarantine: the mail will likely be taken for junk"},
        {"a@mail.strict.test", "192.0.2.1", "strict.test", "", "live@strict.test", SPF_NONE,
         "mail.strict.test", false, DMARC_PASS, DMARC_POLICY_QUARANTINE,
         SEES("none for mail.strict.test", "192.0.2.1") " (not aligned with strict.test) and an aligned DKIM "
                                                        "signature of strict.test; DMARC of strict.test "
                                                        "passes all the same"},
        {"a@loose.test", "203.0.113.8", "loose.test", "", "", SPF_FAIL, "loose.test", true, DMARC_FAIL,
         DMARC_POLICY_NONE,
         SEES("fail for loose.test", "203.0.113.8") UNSIGNED
         "; DMARC of loose.test says none: the mail may be taken for junk"},
        {"a@half.test", "203.0.113.8", "half.test", "", "", SPF_NEUTRAL, "half.test", true, DMARC_FAIL,
         DMARC_POLICY_REJECT,
         SEES("neutral for half.test", "203.0.113.8") UNSIGNED
         "; DMARC of half.test says reject for 50 % of such mail: the mail may be refused"},
        {"a@mild.test", "203.0.113.8", "mild.test", "", "", SPF_FAIL, "mild.test", true, DMARC_FAIL,
         DMARC_POLICY_REJECT,
         SEES("fail for mild.test", "203.0.113.8") UNSIGNED
         "; DMARC of mild.test says reject for 0 % of such mail: the mail will likely be taken for junk"},
        /* no DMARC */
        {"a@bare.test", "203.0.113.8", "bare.test", "", "", SPF_FAIL, "bare.test", true, DMARC_NONE,
         DMARC_POLICY_NONE,
         SEES("fail for bare.test", "203.0.113.8") UNSIGNED
         "; bare.test has no DMARC record: nothing vouches for the mail, receivers may refuse it"},
        {"a@bare.test", "203.0.113.8", "bare.test", "", "live@srs.test", SPF_FAIL, "bare.test", true,
         DMARC_NONE, DMARC_POLICY_NONE,
         SEES("fail for bare.test", "203.0.113.8") UNSIGNED "; bare.test has no DMARC record"},
        {"a@bare.test", "203.0.113.8", "", "pass@sender.test", "", SPF_FAIL, "bare.test", false, DMARC_NONE,
         DMARC_POLICY_NONE,
         SEES("fail for bare.test", "203.0.113.8") " and a DKIM signature of sender.test; From has no domain "
                                                   "that DMARC could be asked of"},
        {"", "203.0.113.8", "", "", "", SPF_FAIL, "mx1.srs.test", false, DMARC_NONE, DMARC_POLICY_NONE,
         SEES("fail for mx1.srs.test", "203.0.113.8") " and no DKIM signature that passes; From has no "
                                                      "domain that DMARC could be asked of: nothing vouches "
                                                      "for the mail, receivers may refuse it"},
        {"a@bad.test", "203.0.113.8", "bad.test", "", "", SPF_PERMERROR, "bad.test", true, DMARC_PERMERROR,
         DMARC_POLICY_NONE,
         SEES("permerror for bad.test",
              "203.0.113.8") " (\"bogus\" of bad.test: an unknown mechanism)" UNSIGNED
                             "; DMARC does not help (the record at _dmarc.bad.test is of no use: its p= is "
                             "no policy): nothing "
                             "vouches for the mail, receivers may refuse it"},
        /* the DNS is silent */
        {"a@down.test", "203.0.113.8", "down.test", "", "", SPF_TEMPERROR, "down.test", true, DMARC_TEMPERROR,
         DMARC_POLICY_NONE,
         SEES("temperror for down.test", "203.0.113.8") " (down.test: the DNS did not answer)" UNSIGNED
                                                        "; what DMARC says is not known (the DNS did not "
                                                        "answer for _dmarc.down.test: timeout)"},
        {"a@sender.test", "203.0.113.8", "sender.test", "", "down@sender.test", SPF_SOFTFAIL, "sender.test",
         true, DMARC_TEMPERROR, DMARC_POLICY_NONE,
         SEES("softfail for sender.test", "203.0.113.8") UNSIGNED
         "; DMARC of sender.test says reject, and whether it will pass is not known now; our signature "
         "d=sender.test s=down could not be checked: the "
         "DNS "
         "did not answer for down._domainkey.sender.test: timeout"},
        {"a@srs.test", "203.0.113.8", "mute.test", "", "", SPF_PASS, "srs.test", false, DMARC_TEMPERROR,
         DMARC_POLICY_NONE,
         SEES("pass for srs.test", "203.0.113.8") " (not aligned with mute.test)" UNSIGNED
                                                  "; what DMARC says is not known (the DNS did not answer "
                                                  "for _dmarc.mute.test: timeout)"},
        /* our keys */
        {"a@sender.test", "192.0.2.1", "sender.test", "", "live@sender.test s1@sender.test", SPF_PASS,
         "sender.test", true, DMARC_PASS, DMARC_POLICY_REJECT,
         "our signature d=sender.test s=s1 will not verify: no record at s1._domainkey.sender.test"},
        {"a@sender.test", "203.0.113.8", "sender.test", "", "gone@sender.test", SPF_SOFTFAIL, "sender.test",
         true, DMARC_FAIL, DMARC_POLICY_REJECT,
         SEES("softfail for sender.test", "203.0.113.8") UNSIGNED REFUSED
         "; our signature d=sender.test s=gone will not verify: the key is revoked (p= is empty): "
         "gone._domainkey.sender.test"},
        {"a@sender.test", "203.0.113.8", "sender.test", "", "try@sender.test", SPF_SOFTFAIL, "sender.test",
         true, DMARC_FAIL, DMARC_POLICY_REJECT,
         SEES("softfail for sender.test", "203.0.113.8") UNSIGNED REFUSED
         "; our signature d=sender.test s=try need not be believed: the key is in test mode (t=y)"},
        {"a@sender.test", "192.0.2.1", "sender.test", "", "try@sender.test", SPF_PASS, "sender.test", true,
         DMARC_PASS, DMARC_POLICY_REJECT, ""},
        /* nothing is known of the address */
        {"a@sender.test", "", "sender.test", "pass@sender.test", "", SPF_NONE, "", false, DMARC_PASS,
         DMARC_POLICY_REJECT,
         SEES("none", "an unknown address") " and an aligned DKIM signature of sender.test; DMARC of "
                                            "sender.test passes all the same"},
    };
    struct setting *s = *state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct dkim_signer signers[4];
        struct dkim_verdict verdicts[4];
        struct arrival_result arrival = {.checked = true, .dkim.items = verdicts};
        struct forecast_query query = {.ehlo = STR("mx1.srs.test"),
                                       .reverse_path = str_of(cases[i].path),
                                       .from_domain = str_of(cases[i].from),
                                       .arrival = &arrival,
                                       .signers = signers,
                                       .deadline = clock_mono_ms() + 1000};
        struct forecast f;
        (void)ip_parse(str_of(cases[i].source), &query.source);
        if (*cases[i].signers)
            query.signer_count = read_signers(s, cases[i].signers, signers);
        if (*cases[i].arrival)
            arrival.dkim.count = read_arrival(cases[i].arrival, verdicts);
        forecast(&s->zone.resolver, &query, s->arena, &f);
        if (f.spf.result != cases[i].spf || !str_eq(f.spf_domain, str_of(cases[i].spf_domain)) ||
            f.spf_aligned != cases[i].spf_aligned || f.dmarc != cases[i].dmarc ||
            f.policy != cases[i].policy || !f.dmarc_why.len ||
            f.count != query.signer_count + arrival.dkim.count ||
            !str_eq(f.warning, str_of(cases[i].warning)))
            fail_msg("%zu: SPF %s for %.*s, DMARC %s, %s, %.*s: %.*s", i, spf_result_text(f.spf.result),
                     STR_FMT(f.spf_domain), dmarc_result_name(f.dmarc), dmarc_policy_name(f.policy),
                     STR_FMT(f.dmarc_why), STR_FMT(f.warning));
    }
}

/* Several addresses share one identity, that asks nothing again. */
static void test_sources(void **state) {
    static const struct {
        const char *source;
        enum spf_result spf;
        size_t asked;
    } cases[] = {
        {"192.0.2.1", SPF_PASS, 1}, {"203.0.113.8", SPF_SOFTFAIL, 1}, {"2001:db8::1", SPF_SOFTFAIL, 1}};
    struct setting *s = *state;
    struct dkim_signer signers[4];
    struct arrival_result unchecked = {.dkim.count = 3};
    struct forecast_query query = {.reverse_path = STR("a@sender.test"),
                                   .from_domain = STR("sender.test"),
                                   .arrival = &unchecked,
                                   .signers = signers,
                                   .deadline = clock_mono_ms() + 1000};
    struct forecast_identity identity;
    query.signer_count = read_signers(s, "live@sender.test live@srs.test", signers);
    forecast_identity(&s->zone.resolver, &query, s->arena, &identity);
    assert_int_equal(identity.count, 2);
    assert_int_equal(s->zone.asked, 3);
    assert_true(identity.signatures[0].aligned && !identity.signatures[1].aligned);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct forecast f;
        s->zone.asked = 0;
        (void)ip_parse(str_of(cases[i].source), &query.source);
        forecast_source(&s->zone.resolver, &query, &identity, s->arena, &f);
        assert_int_equal(f.spf.result, cases[i].spf);
        assert_int_equal(s->zone.asked, cases[i].asked);
        assert_int_equal(f.dmarc, DMARC_PASS);
        assert_int_equal(f.count, 2);
        assert_int_equal(!f.warning.len, cases[i].spf == SPF_PASS);
    }
}

/* Words that others chose stay on one line of ASCII, and are cut. */
static void test_plain(void **state) {
    struct setting *s = *state;
    struct dkim_signer signers[4];
    struct forecast_query query = {.reverse_path = STR("a@x\r\ny\x80.test"),
                                   .from_domain = STR("sender.test"),
                                   .source = {{1}},
                                   .signers = signers};
    struct forecast f;
    query.signer_count =
        read_signers(s, "gone@sender.test gone@sender.test gone@sender.test other@sender.test", signers);
    forecast(&s->zone.resolver, &query, s->arena, &f);
    assert_int_equal(f.warning.len, DMARC_WHY_MAX);
    for (size_t i = 0; i < f.warning.len; i++)
        assert_in_range(f.warning.at[i], 0x20, 0x7e);
}

/* Names with "down" in them never answer, the others do after 20 ms. */
struct slow {
    struct resolver resolver;
    struct zone *zone;
    unsigned open, most; /* questions at a time */
};

static void slow_lookup(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                        struct arena *arena, struct dns_answer *ret) {
    struct slow *slow = (struct slow *)(void *)self;
    bool down = str_find(name, STR("down")) >= 0;
    slow->open++;
    slow->most = slow->open > slow->most ? slow->open : slow->most;
    (void)fiber_sleep(down ? deadline - clock_mono_ms() : 20);
    slow->open--;
    slow->zone->resolver.lookup(&slow->zone->resolver, name, type, deadline, arena, ret);
}

/* A server that never answers takes nothing from the other questions. */
static void side_by_side(void *arg) {
    struct setting *s = arg;
    struct slow slow = {.resolver = {slow_lookup}, .zone = &s->zone};
    struct dkim_signer signers[4];
    int64_t before = clock_mono_ms();
    struct forecast_query query = {.reverse_path = STR("a@srs.test"),
                                   .from_domain = STR("down.test"),
                                   .signers = signers,
                                   .deadline = before + 2000};
    struct forecast f;
    (void)ip_parse(STR("203.0.113.8"), &query.source);
    query.signer_count = read_signers(s, "down@sender.test live@sender.test live@srs.test", signers);
    forecast(&slow.resolver, &query, s->arena, &f);
    CHECK(clock_mono_ms() - before < 15000);
    CHECK(slow.most == 5 && slow.open == 0);
    CHECK(f.spf.result == SPF_PASS && f.dmarc == DMARC_TEMPERROR);
    CHECK(f.signatures[0].result == DKIM_TEMPERROR);
    CHECK(f.signatures[1].result == DKIM_PASS && f.signatures[2].result == DKIM_PASS);
}

static void test_side_by_side(void **state) { rt_run(1, side_by_side, *state); }

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_selector, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_forecasts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_plain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_side_by_side, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
