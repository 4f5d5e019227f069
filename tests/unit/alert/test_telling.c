#include "alert/telling.h"
#include "cmocka_setup.h"
#include "mail/header.h"
#include <jansson.h>

#define NOW INT64_C(1795348800000) /* 2026-11-22T12:00:00Z */

static const struct str OPS[] = {{"ops@example.net", 15}},
                        CONTOSO[] = {{"it@contoso.com", 14}, {"OPS@example.net", 15}},
                        FABRIKAM[] = {{"it@fabrikam.com", 15}};
static const struct alert_tenant tenants[] = {
    {{"contoso", 7}, CONTOSO, 1}, {{"fabrikam", 8}, FABRIKAM, 1}, {{"nobody", 6}, NULL, 0}};

static const struct {
    enum alert_kind kind;
    const char *tenant, *also; /* one address, or NULL */
    enum alert_level level;
    const char *told;
} audiences[] = {
    {ALERT_SENDER_RESTRICTED, "contoso", NULL, ALERT_WARNING,
     "operator: ops@example.net; tenant contoso: it@contoso.com; "},
    {ALERT_SENDER_RESTRICTED, "fabrikam", NULL, ALERT_WARNING,
     "operator: ops@example.net; tenant fabrikam: it@fabrikam.com; "},
    {ALERT_SENDER_RESTRICTED, "contoso", "boss@contoso.com", ALERT_WARNING,
     "operator: ops@example.net; tenant contoso: it@contoso.com; policy of contoso: boss@contoso.com; "},
    /* Each address once. */
    {ALERT_SENDER_RESTRICTED, "contoso", "it@contoso.com", ALERT_WARNING,
     "operator: ops@example.net; tenant contoso: it@contoso.com; "},
    /* A tenant without administrators, one that is not configured, none. */
    {ALERT_SENDER_RESTRICTED, "nobody", NULL, ALERT_WARNING, "operator: ops@example.net; "},
    {ALERT_SENDER_RESTRICTED, "gone", NULL, ALERT_WARNING, "operator: ops@example.net; "},
    {ALERT_SENDER_RESTRICTED, "", NULL, ALERT_WARNING, "operator: ops@example.net; "},
    /* What our addresses and programs do is no tenant's business, whoever raised it. */
    {ALERT_SOURCE_LISTED, "contoso", NULL, ALERT_WARNING, "operator: ops@example.net; "},
    {ALERT_SOURCE_UNCONFIRMED, "contoso", NULL, ALERT_WARNING, "operator: ops@example.net; "},
    {ALERT_SCANNER_DOWN, "contoso", NULL, ALERT_WARNING, "operator: ops@example.net; "},
    {ALERT_GUARD, "contoso", NULL, ALERT_WARNING, "operator: ops@example.net; "},
    /* The least level. */
    {ALERT_LIMIT_NEAR, "contoso", NULL, ALERT_ALARM, ""},
    {ALERT_LIMIT_NEAR, "contoso", NULL, ALERT_WARNING,
     "operator: ops@example.net; tenant contoso: it@contoso.com; "},
    {ALERT_TEST, "", NULL, ALERT_ALARM, "operator: ops@example.net; "},
};

static void test_audiences(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(audiences); i++) {
        struct arena *arena = arena_new(0);
        struct alerts_config config = {
            .settings = {.mail = OPS, .mail_count = 1, .level = audiences[i].level},
            .tenants = tenants,
            .tenant_count = COUNT(tenants)};
        struct str also = str_of(audiences[i].also);
        struct audience found[AUDIENCES_MAX];
        struct buf told __attribute__((cleanup(buf_free))) = {0};
        size_t count = telling_audiences(arena, &config, audiences[i].kind, str_of(audiences[i].tenant),
                                         &also, audiences[i].also != NULL, found);
        for (size_t j = 0; j < count; j++) {
            buf_printf(&told, "%.*s:", STR_FMT(found[j].name));
            for (size_t k = 0; k < found[j].to_count; k++)
                buf_printf(&told, " %.*s", STR_FMT(found[j].to[k]));
            buf_str(&told, STR("; "));
        }
        assert_string_equal(buf_c(&told), audiences[i].told);
        arena_free(arena);
    }
}

static const struct telling RESTRICTED = {
    .event = TELLING_RAISED,
    .id = 12,
    .kind = ALERT_SENDER_RESTRICTED,
    .subject = {"bob@contoso.com", 15},
    .tenant = {"contoso", 7},
    .text = {"bob@contoso.com sent 500 messages in an hour; 122 of 128 were spam", 66},
    .advice = {"Change the password.\nThen: sluice sender release bob@contoso.com", 64},
    .samples = {"01M8A a\n01M8B b", 15},
    .node = {"mta01.example.net", 17},
    .count = 1,
    .unsaid = 1,
    .first = NOW,
    .last = NOW,
    .now = NOW,
};

static const struct {
    enum telling_event event;
    uint64_t unsaid;
    const char *subject;
} subjects[] = {
    {TELLING_RAISED, 1, "Subject: [sluice] ALARM sender-restricted bob@contoso.com (contoso)\r\n"},
    {TELLING_AGAIN, 12,
     "Subject: [sluice] ALARM sender-restricted bob@contoso.com (contoso), 12\r\n times more\r\n"},
    {TELLING_OVER, 0, "Subject: [sluice] over: sender-restricted bob@contoso.com (contoso)\r\n"},
};

static void test_mail(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(subjects); i++) {
        struct buf mail __attribute__((cleanup(buf_free))) = {0};
        struct telling t = RESTRICTED;
        t.event = subjects[i].event;
        t.unsaid = subjects[i].unsaid;
        telling_mail(&mail, &t, STR("sluice@example.net"), OPS, 1);
        if (str_find(buf_view(&mail), str_of(subjects[i].subject)) < 0)
            fail_msg("no %s in\n%s", subjects[i].subject, buf_c(&mail));
        assert_true(str_find(buf_view(&mail), STR("\r\nAuto-Submitted: auto-generated\r\n")) > 0);
        assert_true(str_find(buf_view(&mail), STR("\r\nContent-Transfer-Encoding: 7bit\r\n")) > 0);
        assert_true(str_find(buf_view(&mail), STR("  Then: sluice sender release bob@contoso.com\r\n")) > 0);
    }
}

/* Whatever comes, lines end with CRLF and are not too long, and the header ends where it should. */
static void test_mail_of_anything(void **state) {
    (void)state;
    struct buf mail __attribute__((cleanup(buf_free))) = {0}, text __attribute__((cleanup(buf_free))) = {0};
    struct telling t = RESTRICTED;
    struct str rest, line;
    for (int i = 0; i < 1000; i++)
        buf_str(&text, STR("x\xc3\xa9"));
    buf_str(&text, STR("\nBcc: somebody@example.org\n\n.\n"));
    t.text = t.samples = t.advice = buf_view(&text);
    t.subject = STR("b\xc3\xb6"
                    "b@contoso.com");
    telling_mail(&mail, &t, STR("sluice@example.net"), OPS, 1);
    rest = buf_view(&mail);
    ptrdiff_t body = str_find(rest, STR("\r\n\r\n"));
    assert_true(str_find(str_head(rest, (size_t)body), STR("Bcc:")) < 0);
    assert_true(str_find(str_head(rest, (size_t)body), STR("Content-Transfer-Encoding: 8bit")) > 0);
    for (size_t i = 0; i < (size_t)body; i++)
        assert_true((unsigned char)rest.at[i] < 128);
    while (str_cut(&rest, '\n', &line)) {
        assert_true(line.len < 1000);
        assert_true(!line.len || line.at[line.len - 1] == '\r');
    }
}

static void test_json(void **state) {
    (void)state;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct arena *arena = arena_new(0);
    struct str call = telling_call(arena, &RESTRICTED);
    assert_true(str_eq(call, STR("mta01.example.net-12-1795348800000")));
    telling_json(&out, &RESTRICTED, call);
    json_t *root = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "kind")), "sender-restricted");
    assert_string_equal(json_string_value(json_object_get(root, "level")), "alarm");
    assert_string_equal(json_string_value(json_object_get(root, "event")), "raised");
    assert_string_equal(json_string_value(json_object_get(root, "time")), "2026-11-22T12:00:00.000Z");
    assert_string_equal(json_string_value(json_object_get(root, "samples")), "01M8A a\n01M8B b");
    assert_int_equal(json_integer_value(json_object_get(root, "alert")), 12);
    json_decref(root);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audiences),
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_mail_of_anything),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
