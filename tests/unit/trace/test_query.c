#include "scratch.h"
#include <stdio.h>

static struct scratch scratch;

static struct ip ip(const char *text) {
    struct ip out = {0};
    assert_true(ip_parse(str_of(text), &out));
    return out;
}

/* Four recipients that differ in everything that can be asked for. */
static void fill(struct scratch *s) {
    const struct trace_event events[] = {
        {.event = TRACE_SEND,
         .time = NOON,
         .trace_id = scratch_id(NOON, 1),
         .recipient = STR("Bob@Example.net"),
         .sender = STR("alice@contoso.com"),
         .message_id = STR("<one@contoso.com>"),
         .tenant = STR("contoso"),
         .class = TRACE_CLASS(CLASS_NORMAL),
         .rule = STR("own"),
         .pool = STR("normal"),
         .subject = STR("Re: 100% off_er"),
         .client_ip = ip("10.0.0.1"),
         .server_ip = ip("192.0.2.1"),
         .outbound_ip = ip("198.51.100.1"),
         .attempts = 1},
        {.event = TRACE_FAIL,
         .time = NOON - HOUR,
         .trace_id = scratch_id(NOON - HOUR, 2),
         .recipient = STR("carol@example.org"),
         .sender = STR("alice@sub.contoso.com"),
         .message_id = STR("two@contoso.com"),
         .tenant = STR("contoso"),
         .class = TRACE_CLASS(CLASS_HIGH_RISK),
         .rule = STR("spam"),
         .pool = STR("high-risk"),
         .subject = STR("invoice"),
         .client_ip = ip("10.0.0.2"),
         .original_client_ip = ip("2001:db8::9"),
         .server_ip = ip("192.0.2.2"),
         .attempts = 1},
        {.event = TRACE_RECEIVE,
         .time = NOON - DAY,
         .trace_id = scratch_id(NOON - DAY, 3),
         .recipient = STR("bob@example.net"),
         .sender = STR("<>"),
         .tenant = STR("fabrikam"),
         .class = TRACE_CLASS(CLASS_RELAY),
         .rule = STR("relayed"),
         .pool = STR("relay"),
         .subject = STR("Invoice 7")},
        {.event = TRACE_DEFER,
         .time = NOON - DAY + 1,
         .trace_id = scratch_id(NOON - DAY, 3),
         .recipient = STR("bob@example.net"),
         .attempts = 1},
        {.event = TRACE_HOLD,
         .time = NOON - DAY + 2,
         .trace_id = scratch_id(NOON - DAY, 3),
         .recipient = STR("bob@example.net")},
        {.event = TRACE_CANCEL,
         .time = NOON - 2 * DAY,
         .trace_id = scratch_id(NOON - 2 * DAY, 4),
         .recipient = STR("d@example.com"),
         .sender = STR("mallory@evil.example"),
         .class = TRACE_CLASS(CLASS_HIGH_RISK_RELAY),
         .subject = STR("the invoice")},
    };
    for (size_t i = 0; i < COUNT(events); i++)
        scratch_emit(s, events[i]);
    scratch_flush(s);
}

static int begin(void **state) {
    scratch_begin(&scratch);
    scratch_open(&scratch, NULL);
    *state = &scratch;
    return 0;
}

static int end(void **state) {
    scratch_end(*state);
    return 0;
}

static void test_filters(void **state) {
    struct scratch *s = *state;
    fill(s);
    struct trace_id second = scratch_id(NOON - HOUR, 2), none = scratch_id(NOON, 99);
    /* Rows are numbered 1 to 4 in order of arrival, newest first; "14" means the first and the fourth. */
    const struct {
        struct trace_filter filter;
        const char *rows;
    } cases[] = {
        {{.limit = 9}, "1234"},
        {{.trace_id = trace_id_str(&second)}, "2"},
        {{.trace_id = trace_id_str(&none)}, ""},
        {{.sender = STR("ALICE@contoso.com")}, "1"},
        {{.sender = STR("@contoso.com")}, "1"},
        {{.sender = STR("@CONTOSO.COM")}, "1"},
        {{.sender = STR("<>")}, "3"},
        {{.recipient = STR("bob@example.net")}, "13"},
        {{.recipient = STR("@example.net")}, "13"},
        {{.recipient = STR("@ex_mple.net")}, ""},
        {{.message_id = STR("one@contoso.com")}, "1"},
        {{.message_id = STR("<two@contoso.com>")}, "2"},
        {{.from_ip = ip("10.0.0.1")}, "1"},
        {{.from_ip = ip("2001:db8:0::9")}, "2"},
        {{.to_ip = ip("192.0.2.2")}, "2"},
        {{.outbound_ip = ip("198.51.100.1")}, "1"},
        {{.subject = STR("INVOICE")}, "234"},
        {{.subject = STR("invoice"), .subject_match = TRACE_MATCH_STARTS}, "23"},
        {{.subject = STR("invoice"), .subject_match = TRACE_MATCH_ENDS}, "24"},
        {{.subject = STR("100% off_er")}, "1"},
        {{.subject = STR("100_ off")}, ""},
        {{.status = TRACE_STATUS_DELIVERED}, "1"},
        {{.status = TRACE_STATUS_PENDING}, "3"},
        {{.status = TRACE_STATUS_CANCELLED}, "4"},
        {{.class = TRACE_CLASS(CLASS_NORMAL)}, "1"},
        {{.class = TRACE_CLASS(CLASS_HIGH_RISK_RELAY)}, "4"},
        {{.rule = STR("spam")}, "2"},
        {{.pool = STR("Relay")}, "3"},
        {{.tenant = STR("contoso")}, "12"},
        {{.event = TRACE_DEFER}, "3"},
        {{.event = TRACE_RECEIVE}, "3"},
        {{.since = NOON}, "1"},
        {{.until = NOON}, "234"},
        {{.since = NOON - DAY, .until = NOON}, "23"},
        {{.since = NOON - DAY + 1, .until = NOON - HOUR}, ""},
        {{.tenant = STR("contoso"), .status = TRACE_STATUS_FAILED, .since = NOON - DAY}, "2"},
        {{.sender = STR("' OR 1=1 --")}, ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct trace_page page;
        struct trace_event *rows = scratch_query(s, cases[i].filter, &page);
        char got[8] = "";
        for (size_t k = 0; k < page.rows; k++)
            got[k] = rows[k].trace_id.text[TRACE_ID_LEN - 1];
        assert_string_equal(got, cases[i].rows);
        assert_string_equal(page.next, "");
    }
}

/* Pages of every size give each row once, newest first, across days and recipients of one message. */
static void test_pages(void **state) {
    struct scratch *s = *state;
    char recipient[32], newest[64], last[64];
    for (unsigned i = 0; i < 40; i++)
        for (unsigned k = 0; k < 3; k++) {
            snprintf(recipient, sizeof recipient, "r%u@example.net", k);
            scratch_emit(s, (struct trace_event){.event = TRACE_RECEIVE,
                                                 .time = NOON,
                                                 .trace_id = scratch_id(NOON - i * HOUR, i),
                                                 .recipient = str_of(recipient)});
        }
    scratch_flush(s);
    for (unsigned limit = 1; limit <= 121; limit += 7) {
        struct trace_filter filter = {.limit = limit};
        struct trace_page page;
        size_t rows = 0, pages = 0;
        strcpy(last, "~");
        do {
            struct trace_event *row = scratch_query(s, filter, &page);
            for (size_t i = 0; i < page.rows; i++) {
                snprintf(newest, sizeof newest, "%s/%.*s", row[i].trace_id.text, STR_FMT(row[i].recipient));
                assert_true(strcmp(newest, last) < 0);
                strcpy(last, newest);
            }
            rows += page.rows;
            filter.after = str_copy(s->arena, str_of(page.next));
            assert_true(++pages <= 121);
        } while (page.next[0]);
        assert_int_equal(rows, 120);
    }
}

static void nothing(void *arg, const struct trace_event *event) { (void)arg, (void)event; }

static void test_bounds(void **state) {
    struct scratch *s = *state;
    struct trace_page page;
    fill(s);
    for (unsigned i = 10; i < 5210; i++)
        scratch_emit(s, (struct trace_event){.event = TRACE_RECEIVE,
                                             .time = NOON,
                                             .trace_id = scratch_id(NOON + i, i),
                                             .recipient = STR("x@y")});
    scratch_flush(s);
    static const struct { unsigned limit, rows; } cases[] = {{0, 1000}, {1, 1}, {5000, 5000}, {999999, 5000}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(
            trace_query(s->trace, &(struct trace_filter){.limit = cases[i].limit}, nothing, NULL, &page), 0);
        assert_int_equal(page.rows, cases[i].rows);
    }
    static const char *const broken[] = {"x", "01M80AHX00ABCDEFGHJKMNPQRS", "01M80AHX00ABCDEFGHJKMNPQR /a"};
    for (size_t i = 0; i < COUNT(broken); i++)
        assert_int_equal(
            trace_query(s->trace, &(struct trace_filter){.after = str_of(broken[i])}, nothing, NULL, &page),
            SLUICE_EINVALID);
    struct trace_filter late = {.deadline = 1, .subject = STR("nowhere")};
    assert_int_equal(trace_query(s->trace, &late, nothing, NULL, &page), SLUICE_ETIMEOUT);
}

static void test_reading_without_daemon(void **state) {
    struct scratch *s = *state;
    struct trace_page page;
    fill(s);
    scratch_close(s);
    assert_int_equal(trace_open_read("/nowhere/at/all", &s->trace), SLUICE_ENOTFOUND);
    assert_int_equal(trace_open_read(s->folder, &s->trace), 0);
    scratch_query(s, (struct trace_filter){0}, &page);
    assert_int_equal(page.rows, 4);
}

static void test_show_what_is_not_there(void **state) {
    struct scratch *s = *state;
    fill(s);
    static const char *const ids[] = {"", "short", "01M80AHX00ABCDEFGHJKMNPQRS", "00000000000000000000000000",
                                      "../../../../../etc/passwd0"};
    for (size_t i = 0; i < COUNT(ids); i++)
        assert_int_equal(trace_show(s->trace, str_of(ids[i]), nothing, NULL), SLUICE_ENOTFOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_filters, begin, end),
        cmocka_unit_test_setup_teardown(test_pages, begin, end),
        cmocka_unit_test_setup_teardown(test_bounds, begin, end),
        cmocka_unit_test_setup_teardown(test_reading_without_daemon, begin, end),
        cmocka_unit_test_setup_teardown(test_show_what_is_not_there, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
