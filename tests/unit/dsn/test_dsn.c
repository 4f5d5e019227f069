#include "base/error.h"
#include "cmocka_setup.h"
#include "mail/convert.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "samples.h"

static void test_due(void **state) {
    static const struct {
        struct dsn_question question;
        const char *why; /* NULL: due */
    } cases[] = {
        {{STR("a@b.example")}, NULL},
        {{STR("a@b.example"), .notify = DSN_NOTIFY_FAILURE}, NULL},
        {{STR("a@b.example"), .notify = DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY}, NULL},
        {{STR("a@b.example"), .notify = DSN_NOTIFY_NEVER}, "NOTIFY=NEVER was asked"},
        {{STR("a@b.example"), .notify = DSN_NOTIFY_SUCCESS}, "NOTIFY was given without FAILURE"},
        {{STR("a@b.example"), .notify = DSN_NOTIFY_DELAY}, "NOTIFY was given without FAILURE"},
        {{STR(""), .notify = DSN_NOTIFY_FAILURE},
         "the reverse-path is null: nobody can be told (double bounce)"},
        {{STR("a@b.example"), .judged_spam = true},
         "the message was judged spam: a report could hit a forged sender"},
        {{STR("a@b.example"), .action = DSN_DELAYED}, "NOTIFY=DELAY was not asked"},
        {{STR("a@b.example"), .action = DSN_DELAYED, .notify = DSN_NOTIFY_DELAY}, NULL},
        {{STR("a@b.example"), .action = DSN_DELAYED, .notify = DSN_NOTIFY_FAILURE},
         "NOTIFY=DELAY was not asked"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str why = STR("");
        assert_int_equal(dsn_due(&cases[i].question, &why), cases[i].why == NULL);
        if (cases[i].why)
            assert_true(str_eq(why, str_of(cases[i].why)));
    }
}

/* What every report is, whatever is in it. */
static void test_samples(void **state) {
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        struct arena *arena = arena_new(0);
        struct header h;
        struct mime_facts facts;
        bool utf8, bits8;
        assert_int_equal(dsn_build(&samples[i].facts, &out, &utf8, &bits8), 0);
        assert_int_equal(utf8, samples[i].utf8);
        assert_int_equal(bits8, samples[i].bits8);
        assert_int_equal(bits8, bytes_8bit(buf_view(&out)));
        assert_int_equal(header_parse(arena, buf_view(&out), 0, &h), 0);
        assert_true(h.separated);
        mime_facts_of(arena, &h, &facts);
        assert_true(facts.delivery_report);
        assert_int_equal(facts.header_8bit, utf8);
        assert_true(str_eq(header_value(arena, &h, STR("Auto-Submitted")), STR("auto-replied")));
        for (size_t j = 0; j < h.count; j++)
            assert_int_equal(header_count(&h, h.fields[j].name), 1);
        struct str rest = buf_view(&out), line;
        while (str_cut(&rest, '\n', &line))
            assert_true(!rest.at || str_ends(line, STR("\r")));
        arena_free(arena);
    }
}

static void test_words(void **state) {
    static const struct {
        const char *sample, *text;
        bool absent;
    } cases[] = {
        {"unknown", "\r\nSubject: Undeliverable: Quarterly figures\r\n"},
        {"unknown", "\r\nIn-Reply-To: <m1@a.example>\r\n"},
        {"unknown", "\r\nMessage-ID: <REPORT1@mta01.example.net>\r\n"},
        {"unknown", "<eve@b.example>\r\n  The receiver mx1.b.example said:\r\n      550 5.1.1 "
                    "<eve@b.example>: no such user here\r\n"},
        {"unknown", "  What to do: This address does not exist there."},
        {"unknown",
         "\r\nOriginal-Recipient: rfc822; Eve@b.example\r\nFinal-Recipient: rfc822; eve@b.example\r\nAction: "
         "failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx1.b.example\r\nDiagnostic-Code: smtp; 550 5.1.1"},
        {"unknown", "\r\nContent-Type: message/rfc822\r\n\r\nFrom: bob@a.example\r\n"},
        {"unknown", "\r\n\r\nHello\r\n"},
        {"several", "\r\nOriginal-Envelope-Id: QQ314159\r\n"},
        {"several", "\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: bob@a.example\r\n"},
        {"several", "Hello", true},
        {"several", "\r\nDiagnostic-Code: x-sluice; 4.4.1 connection timed out\r\n"},
        {"several", "\r\nAction: delayed\r\nStatus: 4.0.0\r\n"},
        {"several", "\r\nWill-Retry-Until: Mon, 23 Nov 2026 01:02:03 +0000\r\n"},
        {"several", "The mailbox is full."},
        {"delayed", "\r\nSubject: Delayed: Quarterly figures\r\n"},
        {"delayed", "Hello", true},
        {"delayed", "It is tried again until"},
        {"utf8-recipient", "\r\nFinal-Recipient: utf-8; j\\x{F6}rg@b\\x{FC}cher.example\r\n"},
        {"utf8", "\r\nFinal-Recipient: utf-8; j\xc3\xb6rg@b\xc3\xbc"
                 "cher.example\r\n"},
        {"utf8", "\r\nContent-Type: message/global-delivery-status\r\n"},
        {"utf8", "\r\nContent-Type: message/global\r\n"},
        {"hostile", "\r\nAction: delivered", true},
        {"hostile", "\r\nStatus: 5.0.0\r\n"},
        {"hostile", "\r\nX: y", true},
        {"hostile", "boundary=\"=_REPORT1_\""},
        {"hostile", "In-Reply-To", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t j = 0; j < sample_count; j++) {
            struct buf out __attribute__((cleanup(buf_free))) = {0};
            bool utf8, bits8;
            if (!str_eq(str_of(samples[j].name), str_of(cases[i].sample)))
                continue;
            assert_int_equal(dsn_build(&samples[j].facts, &out, &utf8, &bits8), 0);
            bool found = str_find(buf_view(&out), str_of(cases[i].text)) >= 0;
            if (found == cases[i].absent)
                print_error("%s: %s\n%s", cases[i].sample, cases[i].text, buf_c(&out));
            assert_int_equal(found, !cases[i].absent);
        }
}

/* A long message comes back as its header, unless RET=FULL asked; an endless header is cut between fields. */
static void test_long_originals(void **state) {
    static const struct {
        size_t header_fields, body;
        enum dsn_ret ret;
        bool whole, cut;
    } cases[] = {
        {1, DSN_FULL_MAX, DSN_RET_DEFAULT, false, false},
        {1, DSN_FULL_MAX, DSN_RET_FULL, true, false},
        {1, 100, DSN_RET_DEFAULT, true, false},
        {1, 100, DSN_RET_HDRS, false, false},
        {DSN_FULL_MAX / 8, 10, DSN_RET_HDRS, false, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf original __attribute__((cleanup(buf_free))) = {0},
                            out __attribute__((cleanup(buf_free))) = {0};
        struct dsn_facts facts = samples[0].facts;
        bool utf8, bits8;
        for (size_t j = 0; j < cases[i].header_fields; j++)
            buf_printf(&original, "X-%05zu: filler\r\n", j);
        buf_str(&original, STR("\r\n"));
        for (size_t j = 0; j < cases[i].body; j += 6)
            buf_str(&original, STR("body\r\n"));
        facts.original = buf_view(&original);
        facts.ret = cases[i].ret;
        assert_int_equal(dsn_build(&facts, &out, &utf8, &bits8), 0);
        assert_int_equal(str_find(buf_view(&out), STR("\r\nbody\r\n")) >= 0, cases[i].whole);
        assert_true(str_find(buf_view(&out), STR("\r\nX-00000: filler\r\n")) >= 0);
        if (!cases[i].whole)
            assert_true(out.len < DSN_FULL_MAX + 4096);
        assert_int_equal(original.len > out.len, cases[i].cut || (!cases[i].whole && cases[i].body > 4096));
    }
}

static void test_refused(void **state) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct dsn_facts facts = samples[0].facts;
    bool utf8, bits8;
    (void)state;
    facts.to = STR("");
    assert_int_equal(dsn_build(&facts, &out, &utf8, &bits8), SLUICE_EINVALID);
    facts = samples[0].facts;
    facts.recipient_count = 0;
    assert_int_equal(dsn_build(&facts, &out, &utf8, &bits8), SLUICE_EINVALID);
}

/* A report goes to receivers without 8BITMIME too. */
static void test_converts(void **state) {
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        struct buf out __attribute__((cleanup(buf_free))) = {0},
                       bits7 __attribute__((cleanup(buf_free))) = {0};
        bool utf8, bits8;
        if (samples[i].utf8)
            continue;
        assert_int_equal(dsn_build(&samples[i].facts, &out, &utf8, &bits8), 0);
        assert_int_equal(convert_message(buf_view(&out), &bits7, NULL), 0);
        assert_false(bytes_8bit(buf_view(&bits7)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_due),     cmocka_unit_test(test_samples),
                                       cmocka_unit_test(test_words),   cmocka_unit_test(test_long_originals),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_converts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
