#include "base/error.h"
#include "cmocka_setup.h"
#include "trace/event.h"
#include <jansson.h>

static void test_contract_names(void **state) {
    static const char *const names[] = {
        "time",
        "event",
        "trace_id",
        "message_id",
        "tenant",
        "connector",
        "sender",
        "return_path",
        "recipient",
        "status",
        "class",
        "rule",
        "reason",
        "outbound_ip_pool_name",
        "outbound_ip",
        "ehlo",
        "server_ip",
        "server_hostname",
        "reply",
        "tls",
        "spf",
        "dkim",
        "verdict",
        "size",
        "subject",
        "client_ip",
        "original_client_ip",
        "directionality",
        "attempts",
        "latency_ms",
    };
    (void)state;
    struct trace_event event = {.time = 1795348800123, .event = TRACE_REFUSE, .recipient = STR("")};
    event.trace_id = trace_id_new(1795348800000);
    struct buf json __attribute__((cleanup(buf_free))) = {0};
    trace_event_json(&json, &event);
    json_t *root = json_loadb(json.at, json.len, 0, NULL);
    assert_non_null(root);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_non_null(json_object_get(root, names[i]));
    assert_string_equal(json_string_value(json_object_get(root, "time")), "2026-11-22T12:00:00.123Z");
    assert_string_equal(json_string_value(json_object_get(root, "received")), "2026-11-22T12:00:00.000Z");
    assert_true(json_is_null(json_object_get(root, "recipient")));
    assert_true(json_is_null(json_object_get(root, "tls")));
    assert_true(json_is_null(json_object_get(root, "size")));
    assert_true(json_is_null(json_object_get(root, "class")));
    assert_int_equal(json_integer_value(json_object_get(root, "attempts")), 0);
    json_decref(root);
}

static void test_round_trip(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct trace_event in = {
        .time = 1795348800123,
        .event = TRACE_SEND,
        .trace_id = trace_id_new(1795348800000),
        .recipient = STR("a@b.example"),
        .sender = STR("<>"),
        .subject = STR("caf\xc3\xa9 \"quoted\" back\\slash\ttab\x01 \xf0\x9f\x93\xa7"),
        .message_id = STR(""),
        .status = TRACE_STATUS_DELIVERED,
        .class = TRACE_CLASS(CLASS_NORMAL),
        .directionality = TRACE_DIRECTION_INCOMING,
        .size = 1234,
        .attempts = 2,
    };
    assert_true(ip_parse(STR("2001:db8::1"), &in.outbound_ip));
    struct trace_event out;
    struct buf json __attribute__((cleanup(buf_free))) = {0};
    trace_event_json(&json, &in);
    assert_int_equal(trace_event_parse(buf_view(&json), arena, &out), 0);
    assert_int_equal(out.time, in.time);
    assert_int_equal(out.event, in.event);
    assert_string_equal(out.trace_id.text, in.trace_id.text);
#define EQ_STR(m) assert_true(str_eq(in.m, out.m) && !in.m.at == !out.m.at);
#define EQ_IP(m) assert_true(ip_eq(&in.m, &out.m));
#define EQ_INT(m) assert_int_equal(in.m, out.m);
#define EQ_COUNT(m) EQ_INT(m)
#define EQ_STATUS(m) EQ_INT(m)
#define EQ_DIRECTION(m) EQ_INT(m)
#define EQ_CLASS(m) assert_true(in.m.known == out.m.known && in.m.value == out.m.value);
#define FIELD(type, member, name, lasting) EQ_##type(member)
    TRACE_FIELDS(FIELD)
    assert_true(str_eq(in.recipient, out.recipient));
    arena_free(arena);
}

static void test_bytes_that_are_no_text(void **state) {
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"\xff", "\xef\xbf\xbd"},
        {"a\xc3", "a\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82\xac", "\xe2\x82\xac"},
    };
    (void)state;
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct trace_event out, in = {.event = TRACE_RECEIVE, .trace_id = trace_id_new(1)};
        struct buf json __attribute__((cleanup(buf_free))) = {0};
        in.subject = str_of(cases[i].in);
        trace_event_json(&json, &in);
        assert_int_equal(trace_event_parse(buf_view(&json), arena, &out), 0);
        assert_true(str_eq(out.subject, str_of(cases[i].out)));
    }
    arena_free(arena);
}

static void test_broken_json(void **state) {
    static const char *const cases[] = {"",
                                        "{",
                                        "[]",
                                        "null",
                                        "{}",
                                        "{\"time\":\"2026-11-22T00:00:00Z\"}",
                                        "{\"time\":1,\"event\":\"SEND\",\"trace_id\":\"x\"}"};
    (void)state;
    struct arena *arena = arena_new(0);
    struct trace_event out;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(trace_event_parse(str_of(cases[i]), arena, &out), SLUICE_ESYNTAX);
    arena_free(arena);
}

static void test_arrival(void **state) {
    (void)state;
    struct trace_id id = trace_id_new(1795348800123);
    assert_int_equal(trace_arrival(&id), 1795348800123);
    id = trace_id_new(0);
    assert_int_equal(trace_arrival(&id), 0);
    strcpy(id.text, "ILOU00000000000000000000AA");
    assert_int_equal(trace_arrival(&id), -1);
    strcpy(id.text, "ZZZZZZZZZZZZZZZZZZZZZZZZZZ");
    assert_int_equal(trace_arrival(&id), -1);
    strcpy(id.text, "SHORT");
    assert_int_equal(trace_arrival(&id), -1);
}

static void test_words(void **state) {
    (void)state;
    enum trace_status status;
    enum trace_kind kind;
    assert_true(trace_status_parse(STR("filteredasspam"), &status));
    assert_int_equal(status, TRACE_STATUS_FILTERED);
    assert_true(trace_kind_parse(STR("dsn"), &kind));
    assert_int_equal(kind, TRACE_DSN);
    assert_false(trace_kind_parse(STR(""), &kind));
    assert_null(trace_kind_name((enum trace_kind)99));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract_names),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bytes_that_are_no_text),
        cmocka_unit_test(test_broken_json),
        cmocka_unit_test(test_arrival),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
