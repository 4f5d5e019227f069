#include "base/error.h"
#include "cmocka_setup.h"
#include "scan/rspamd.h"
#include "scan/spamd.h"

static const struct str malware[] = {{"*_VIRUS", 7}, {"CLAMAV", 6}};
static const struct str spam[] = {{"add header", 10}, {"reject", 6}, {"spam", 4}};
static const struct str refused[] = {{"reject", 6}, {"soft reject", 11}};

static const struct scan_settings settings = {
    .malware_symbols = malware,
    .malware_symbol_count = 2,
    .spam_actions = spam,
    .spam_action_count = 3,
    .refuse = refused,
    .refuse_count = 2,
};

/* Settings that refuse nothing are those of the other half of the cases. */
struct answer_case {
    const char *answer;
    int error;
    enum scan_verdict verdict;
    double score, required;
    const char *symbols, *reason; /* with an error: a part of why */
    const char *refusal;          /* NULL: none */
};

static const struct answer_case rspamd[] = {
    {"{\"score\":-0.5,\"required_score\":15,\"action\":\"no action\",\"symbols\":{}}", 0, SCAN_CLEAN, -0.5,
     15, "", ""},
    {"{\"score\":7.25,\"required_score\":15,\"action\":\"add "
     "header\",\"symbols\":{\"A\":{\"score\":-1},\"B\":{\"score\":8.25}}}",
     0, SCAN_SPAM, 7.25, 15, "B(8.25), A(-1.00)",
     "the scanner \"s\" says \"add header\": score 7.25 of 15.00"},
    {"{\"score\":15,\"required_score\":15,\"action\":\"reject\",\"messages\":{\"smtp_message\":\"Gtube "
     "pattern\"},"
     "\"symbols\":{\"GTUBE\":{\"score\":0}},\"is_skipped\":true}",
     0, SCAN_SPAM, 15, 15, "GTUBE(0.00)", "the scanner \"s\" says \"reject\": score 15.00 of 15.00",
     "550 5.7.1 Gtube pattern"},
    {"{\"score\":15,\"required_score\":15,\"action\":\"reject\",\"symbols\":{}}", 0, SCAN_SPAM, 15, 15, "",
     "the scanner \"s\" says \"reject\": score 15.00 of 15.00", "550 5.7.1 The message was refused as spam"},
    {"{\"score\":5,\"required_score\":15,\"action\":\"soft "
     "reject\",\"symbols\":{},\"messages\":{\"smtp_message\":\"a\\r\\nb\"}}",
     0, SCAN_CLEAN, 5, 15, "", "", "451 4.7.1 a??b"},
    {"{\"score\":4,\"required_score\":15,\"action\":\"greylist\",\"symbols\":{}}", 0, SCAN_CLEAN, 4, 15, "",
     ""},
    {"{\"score\":1,\"required_score\":15,\"action\":\"no "
     "action\",\"symbols\":{\"CLAM_VIRUS\":{\"score\":0,\"options\":"
     "[\"Eicar-Test\\u0007\"]}}}",
     0, SCAN_MALWARE, 1, 15, "CLAM_VIRUS(0.00)", "the scanner \"s\" found malware: CLAM_VIRUS (Eicar-Test?)"},
    {"{\"score\":1,\"required_score\":15,\"action\":\"reject\",\"symbols\":{\"CLAM_VIRUS\":null}}", 0,
     SCAN_MALWARE, 1, 15, "CLAM_VIRUS", "the scanner \"s\" found malware: CLAM_VIRUS"},
    {"{\"score\":1,\"required_score\":15,\"action\":\"no "
     "action\",\"symbols\":{\"CLAM_VIRUS_FAIL\":{\"score\":0}}}",
     0, SCAN_CLEAN, 1, 15, "CLAM_VIRUS_FAIL(0.00)", ""},
    {"{\"score\":0,\"required_score\":15,\"action\":\"no action\"}", 0, SCAN_CLEAN, 0, 15, "", ""},
    /* What a message may have put there. */
    {"{\"score\":0,\"required_score\":15,\"action\":\"no "
     "action\",\"symbols\":{\"A\":{\"score\":0,\"options\":[\"\\u0000\xff\xc3\"]}},"
     "\"urls\":[\"\\u0000\"]}",
     0, SCAN_CLEAN, 0, 15, "A(0.00)", ""},
    {"{\"error\":\"timeout\"}", SLUICE_ESYNTAX, .reason = "it says: timeout"},
    {"{}", SLUICE_ESYNTAX, .reason = "lacks"},
    {"[]", SLUICE_ESYNTAX, .reason = "no JSON object"},
    {"", SLUICE_ESYNTAX, .reason = "no JSON object"},
    {"{\"score\":1", SLUICE_ESYNTAX, .reason = "no JSON object"},
    {"{} {}", SLUICE_ESYNTAX, .reason = "no JSON object"},
    {"<html>", SLUICE_ESYNTAX, .reason = "no JSON object"},
    {"{\"score\":\"1\",\"required_score\":15,\"action\":\"no action\"}", SLUICE_ESYNTAX, .reason = "lacks"},
    {"{\"score\":1e300,\"required_score\":15,\"action\":\"no action\"}", SLUICE_ESYNTAX, .reason = "lacks"},
    {"{\"score\":1,\"action\":\"no action\"}", SLUICE_ESYNTAX, .reason = "lacks"},
    {"{\"score\":1,\"required_score\":15,\"action\":\"\"}", SLUICE_ESYNTAX, .reason = "lacks"},
    {"{\"score\":1,\"required_score\":15,\"action\":\"no action\",\"symbols\":[]}", SLUICE_ESYNTAX,
     .reason = "lacks"},
    {"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]}", SLUICE_ESYNTAX,
     .reason = "nested too deeply"},
    {"{\"score\":1,\"required_score\":15,\"action\":\"no "
     "action\",\"x\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\"}",
     0, SCAN_CLEAN, 1, 15, "", ""},
};

static const struct answer_case spamd[] = {
    {"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\nSpam: False ; 0.0 / 5.0\r\n\r\n", 0, SCAN_CLEAN, 0, 5, "",
     ""},
    {"SPAMD/1.1 0 EX_OK\r\nContent-length: 11\r\nSpam: True ; 1000.0 / 5.0\r\n\r\nGTUBE,OTHER", 0, SCAN_SPAM,
     1000, 5, "GTUBE, OTHER", "the scanner \"s\" says \"spam\": score 1000.00 of 5.00"},
    {"SPAMD/1.5 0 EX_OK\r\nspam: yes;6/5\r\ncontent-length:3\r\nX: y\r\n\r\nA\r\n", 0, SCAN_SPAM, 6, 5, "A",
     "the scanner \"s\" says \"spam\": score 6.00 of 5.00"},
    {"SPAMD/1.1 0 EX_OK\r\nContent-length: 6\r\nSpam: False ; -0.1 / 5.0\r\n\r\nCLAMAV", 0, SCAN_MALWARE,
     -0.1, 5, "CLAMAV", "the scanner \"s\" found malware: CLAMAV"},
    {"SPAMD/1.1 76 EX_PROTOCOL\r\n\r\n", SLUICE_ESYNTAX, .reason = "could not check"},
    {"SPAMD/1.1 0 EX_OK\r\nContent-length: 0\r\n\r\n", SLUICE_ESYNTAX, .reason = "lacks the verdict"},
    {"SPAMD/1.1 0 EX_OK\r\nSpam: False ; 0 / 5\r\n\r\n", SLUICE_ESYNTAX, .reason = "lacks the verdict"},
    {"HTTP/1.1 200 OK\r\n\r\n", SLUICE_ESYNTAX, .reason = "no status of spamd"},
    {"SPAMD/1.1 zero EX_OK\r\n\r\n", SLUICE_ESYNTAX, .reason = "no status of spamd"},
    {"SPAMD/1.1 0 EX_OK\r\nSpam: Maybe ; 0 / 5\r\n\r\n", SLUICE_ESYNTAX, .reason = "verdict can't be read"},
    {"SPAMD/1.1 0 EX_OK\r\nSpam: True ; nan / 5\r\n\r\n", SLUICE_ESYNTAX, .reason = "verdict can't be read"},
    {"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 0x10 / 5\r\n\r\n", SLUICE_ESYNTAX, .reason = "verdict can't be read"},
    {"SPAMD/1.1 0 EX_OK\r\nSpam: True / 1 ; 5\r\n\r\n", SLUICE_ESYNTAX, .reason = "verdict can't be read"},
    {"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 1\r\n\r\n", SLUICE_ESYNTAX, .reason = "verdict can't be read"},
    {"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 6 / 5\r\nSpam: False ; 1 / 5\r\n\r\n", SLUICE_ESYNTAX,
     .reason = "verdict can't be read"},
    {"SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nContent-length: 0\r\n\r\n", SLUICE_ESYNTAX,
     .reason = "length"},
    {"SPAMD/1.1 0 EX_OK\r\nContent-length: 99999999\r\nSpam: True ; 6 / 5\r\n\r\n", SLUICE_ETOOBIG,
     .reason = "too long"},
    {"SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; 6 / 5\r\n\r\nABC", SLUICE_ECLOSED},
    {"SPAMD/1.1 0 EX", SLUICE_ECLOSED},
    {"", SLUICE_ECLOSED},
};

static int read_one(bool of_rspamd, const char *answer, const struct scan_settings *s, struct arena *arena,
                    struct scan_result *ret, struct str *why) {
    *ret = (struct scan_result){.scanner = STR("s")};
    *why = STR("");
    if (of_rspamd)
        return rspamd_answer(str_of(answer), s, arena, ret, why);
    struct stream *stream = stream_faulty(stream_memory(str_of(answer), NULL), SIZE_MAX, SIZE_MAX, 3, 0);
    int error = spamd_read(stream, 0, s, arena, ret, why);
    stream_free(stream);
    return error;
}

/* ---- what Rspamd changes ---- */

#define ANSWER(action, more)                                                                                 \
    "{\"score\":1,\"required_score\":15,\"action\":\"" action "\",\"symbols\":{}," more "}"
#define MILTER(more) ANSWER("no action", "\"milter\":{" more "}")

static const struct {
    const char *answer;
    const char *changes; /* "-X-A/0 +X-B/-1=value" */
    const char *why;
    const char *subject;
} changes[] = {
    {MILTER(
         "\"remove_headers\":{\"X-A\":0,\"X-B\":-2},\"add_headers\":{\"X-C\":\"v\",\"X-D\":{\"value\":\"w\","
         "\"order\":1},\"X-E\":[{\"value\":\"1\"},{\"value\":\"2\",\"order\":-1},\"3\"]}"),
     "-X-A/0 -X-B/-2 +X-C/-1=v +X-D/1=w +X-E/-1=1 +X-E/-1=2 +X-E/-1=3 ", "", ""},
    {MILTER("\"add_headers\":{\"X-C\":{\"value\":\"a\\u0000\\u00e9\\r\\n\\tb\",\"order\":99999999}}"),
     "+X-C/-1=a???\r\n\tb ", "", ""},
    {MILTER("\"add_headers\":{}"), "", "", ""},
    {MILTER("\"add_headers\":[],\"remove_headers\":7"), "", "", ""},
    {ANSWER("no action", "\"milter\":[]"), "", "", ""},
    {MILTER("\"add_headers\":{\"X-C\":\"v\",\"X D\":\"v\"}"), "", "a field has no proper name", ""},
    {MILTER("\"add_headers\":{\"X-C: v\\r\\nFrom\":\"v\"}"), "", "a field has no proper name", ""},
    {MILTER("\"add_headers\":{\"\":\"v\"}"), "", "a field has no proper name", ""},
    {MILTER("\"add_headers\":{\"X-C\":7}"), "", "a field to add has no value", ""},
    {MILTER("\"add_headers\":{\"X-C\":{\"order\":1}}"), "", "a field to add has no value", ""},
    {MILTER("\"add_headers\":{\"X-C\":{\"value\":\"v\",\"order\":\"1\"}}"), "", "a field to add has no value",
     ""},
    {MILTER("\"add_headers\":{\"X-C\":[[\"v\"]]}"), "", "a field to add has no value", ""},
    {MILTER("\"remove_headers\":{\"X-C\":\"0\"}"), "", "which field to take out can't be told", ""},
    {MILTER("\"remove_headers\":{\"X-C\":99999999999}"), "", "which field to take out can't be told", ""},
    {ANSWER("rewrite subject", "\"subject\":\"*** SPAM *** one\""), "", "", "*** SPAM *** one"},
    {ANSWER("rewrite subject", "\"subject\":7"), "", "", ""},
    {ANSWER("add header", "\"subject\":\"*** SPAM *** one\""), "", "", ""},
};

static void describe(const struct scan_result *r, struct buf *out) {
    for (size_t i = 0; i < r->change_count; i++) {
        const struct scan_change *c = &r->changes[i];
        buf_printf(out, "%c%.*s/%d", c->remove ? '-' : '+', STR_FMT(c->name), c->index);
        if (!c->remove)
            buf_printf(out, "=%.*s", STR_FMT(c->value));
        buf_char(out, ' ');
    }
}

static void changed_headers(void **state) {
    (void)state;
    struct scan_settings wanted = settings;
    wanted.apply_headers = wanted.rewrite_subject = true;
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct arena *arena = arena_new(0);
        struct buf got __attribute__((cleanup(buf_free))) = {0};
        struct scan_result r;
        struct str why;
        assert_int_equal(read_one(true, changes[i].answer, &wanted, arena, &r, &why), 0);
        describe(&r, &got);
        assert_string_equal(buf_c(&got), changes[i].changes);
        assert_string_equal(str_c(arena, r.changes_why), changes[i].why);
        assert_string_equal(str_c(arena, r.subject), changes[i].subject);
        assert_int_equal(read_one(true, changes[i].answer, &settings, arena, &r, &why), 0);
        assert_true(!r.change_count && !r.changes_why.len && !r.subject.len); /* nobody asked for it */
        arena_free(arena);
    }
}

/* All or none: what is over a bound is left out, and the verdict stays. */
static void too_many_changes(void **state) {
    (void)state;
    static const struct {
        unsigned fields, bytes;
        bool good;
    } cases[] = {{200, 10, true}, {201, 10, false}, {10, 6000, true}, {11, 6000, false}, {1, 70000, false}};
    struct scan_settings wanted = settings;
    wanted.apply_headers = true;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct buf json __attribute__((cleanup(buf_free))) = {0};
        struct scan_result r;
        struct str why;
        buf_str(
            &json,
            STR("{\"score\":16,\"required_score\":15,\"action\":\"reject\",\"milter\":{\"add_headers\":{"));
        for (unsigned f = 0; f < cases[i].fields; f++)
            buf_printf(&json, "%s\"X-%u\":\"%0*d\"", f ? "," : "", f, (int)cases[i].bytes, 0);
        buf_str(&json, STR("}}}"));
        assert_int_equal(read_one(true, buf_c(&json), &wanted, arena, &r, &why), 0);
        assert_int_equal(r.change_count, cases[i].good ? cases[i].fields : 0);
        assert_int_equal(r.changes_why.len == 0, cases[i].good);
        assert_int_equal(r.verdict, SCAN_SPAM);
        assert_true(r.refuse);
        arena_free(arena);
    }
}

static void check(bool of_rspamd, const struct answer_case *t, bool refuses) {
    struct arena *arena = arena_new(0);
    struct scan_settings s = settings;
    struct scan_result r;
    struct str why;
    if (!refuses)
        s.refuse_count = 0;
    int error = read_one(of_rspamd, t->answer, &s, arena, &r, &why);
    if (error != t->error)
        print_error("%s: %s, %.*s\n", t->answer, error_text(error), STR_FMT(why));
    assert_int_equal(error, t->error);
    if (error) {
        assert_true(!t->reason || str_find(why, str_of(t->reason)) >= 0);
        arena_free(arena);
        return;
    }
    assert_int_equal(r.verdict, t->verdict);
    assert_true(r.score == t->score && r.required == t->required);
    assert_string_equal(str_c(arena, r.symbols), t->symbols);
    assert_string_equal(str_c(arena, r.reason), t->reason);
    assert_int_equal(r.refuse, refuses && t->refusal);
    if (r.refuse)
        assert_string_equal(str_c(arena, outcome_line(arena, &r.refusal)), t->refusal);
    arena_free(arena);
}

static void answers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rspamd / sizeof *rspamd; i++)
        check(true, &rspamd[i], false), check(true, &rspamd[i], true);
    for (size_t i = 0; i < sizeof spamd / sizeof *spamd; i++)
        check(false, &spamd[i], false), check(false, &spamd[i], true);
}

/* The list of symbols ends at a whole one, within its length. */
static void many_symbols(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct buf json = {0};
    struct scan_result r = {.scanner = STR("s")};
    struct str why;
    buf_str(&json, STR("{\"score\":1,\"required_score\":15,\"action\":\"no action\",\"symbols\":{"));
    for (int i = 0; i < 500; i++)
        buf_printf(&json, "%s\"SYMBOL_%d\":{\"score\":%d.5}", i ? "," : "", i, i % 2 ? i : -i);
    buf_str(&json, STR("}}"));
    assert_int_equal(rspamd_answer(buf_view(&json), &settings, arena, &r, &why), 0);
    assert_true(r.symbols.len <= SCAN_SYMBOLS_MAX && r.symbols.len > SCAN_SYMBOLS_MAX - 40);
    assert_true(str_starts(r.symbols, STR("SYMBOL_499(499.50), SYMBOL_498(-498.50), ")));
    assert_true(str_ends(r.symbols, STR(")")));
    buf_free(&json);
    arena_free(arena);
}

/* Nothing that a client says breaks out of its line. */
static void requests(void **state) {
    (void)state;
    struct buf out = {0};
    struct scanner_settings s = {
        .at = {.text = STR("127.0.0.1:11333")}, .password = STR("secret"), .user = STR("u")};
    struct str rcpt[] = {STR("b@x"), STR("c@x\r\nPass: all")};
    struct scan_facts f = {.trace_id = STR("T"),
                           .node = STR("mx.test"),
                           .helo = STR("a\r\nIP: 127.0.0.1"),
                           .user = STR("joe\tx"),
                           .tenant = STR("contoso"),
                           .recipients = rcpt,
                           .recipient_count = 2,
                           .tls_version = STR("TLSv1.3")};
    ip_parse(STR("192.0.2.1"), &f.client);
    rspamd_request(&out, &s, &f, 42);
    assert_string_equal(buf_c(&out),
                        "POST /checkv2 HTTP/1.1\r\nHost: 127.0.0.1:11333\r\nConnection: keep-alive\r\n"
                        "Content-Length: 42\r\nPassword: secret\r\nQueue-Id: T\r\nFrom: <>\r\n"
                        "Rcpt: b@x\r\nRcpt: c@x??Pass: all\r\nIP: 192.0.2.1\r\n"
                        "Helo: a??IP: 127.0.0.1\r\nUser: joe?x\r\nMTA-Name: mx.test\r\n"
                        "MTA-Tag: contoso\r\nTLS-Version: TLSv1.3\r\n\r\n");
    buf_clear(&out);
    f.recipient_count = 1;
    f.reverse_path = STR("a@x");
    rspamd_request(&out, &s, &f, 1);
    assert_non_null(strstr(buf_c(&out), "\r\nFrom: a@x\r\nRcpt: b@x\r\nDeliver-To: b@x\r\n"));
    buf_clear(&out);
    spamd_request(&out, &s, 42);
    assert_string_equal(buf_c(&out), "SYMBOLS SPAMC/1.5\r\nContent-length: 42\r\nUser: u\r\n\r\n");
    buf_free(&out);
}

/* Rspamd hangs up on a head of more than 80 KiB: no sender may bring that about. */
static void long_heads(void **state) {
    (void)state;
    enum { RECIPIENTS = 1000, LONG = 254 };
    struct buf out = {0}, name = {0};
    struct scanner_settings s = {.at = {.text = STR("127.0.0.1:11333")}};
    struct str rcpt[RECIPIENTS];
    for (size_t i = 0; i < LONG; i++)
        buf_char(&name, 'x');
    for (size_t i = 0; i < RECIPIENTS; i++)
        rcpt[i] = buf_view(&name);
    struct scan_facts f = {.reverse_path = rcpt[0],
                           .helo = rcpt[0],
                           .hostname = rcpt[0],
                           .user = rcpt[0],
                           .recipients = rcpt,
                           .recipient_count = RECIPIENTS};
    rspamd_request(&out, &s, &f, 42);
    assert_in_range(out.len, RSPAMD_RECIPIENTS_BYTES, 40 * 1024);
    buf_free(&out), buf_free(&name);
}

/* Two bytes of an answer are a hundred of memory. */
static void many_values(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct buf json = {0};
    struct scan_result r;
    struct str why;
    buf_str(&json, STR("{\"score\":1,\"required_score\":15,\"action\":\"no action\",\"urls\":[0"));
    for (size_t i = 0; i < RSPAMD_VALUES_MAX; i++)
        buf_str(&json, STR(",0"));
    buf_str(&json, STR("]}"));
    assert_int_equal(read_one(true, buf_c(&json), &settings, arena, &r, &why), SLUICE_ETOOBIG);
    assert_true(str_find(why, STR("too many values")) >= 0);
    buf_free(&json);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers),         cmocka_unit_test(many_symbols),
                                       cmocka_unit_test(requests),        cmocka_unit_test(long_heads),
                                       cmocka_unit_test(many_values),     cmocka_unit_test(changed_headers),
                                       cmocka_unit_test(too_many_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
