#include "cmocka_setup.h"
#include "trace/csv.h"

static void test_header(void **state) {
    (void)state;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    trace_csv_header(&out);
    assert_string_equal(
        buf_c(&out),
        "client_ip,client_hostname,server_ip,server_hostname,source_context,connector_id,source,event_id,"
        "internal_message_id,message_id,network_message_id,recipient_address,recipient_status,total_bytes,"
        "recipient_count,related_recipient_address,reference,message_subject,sender_address,return_path,"
        "message_info,directionality,tenant_id,original_client_ip,original_server_ip,custom_data\n");
}

static void test_custom_pairs(void **state) {
    static const struct {
        const char *before, *value, *out;
    } cases[] = {
        {"", "normal", "S:k=normal"},
        {"S:a=1", "normal", "S:a=1;S:k=normal"},
        {"", "a=b;c=d", "'S:k=a=b;c=d'"},
        {"S:a=1", "x=y", "S:a=1;'S:k=x=y'"},
        {"", "it's", "S:k=it's"},
        {"", "it's;", "'S:k=it''s;'"},
        {"", "two\r\nlines", "S:k=two  lines"},
        {"S:a=1", "", "S:a=1"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        buf_str(&out, str_of(cases[i].before));
        trace_custom_pair(&out, "k", str_of(cases[i].value));
        assert_string_equal(buf_c(&out), cases[i].out);
    }
}

static void test_rows(void **state) {
    struct trace_event sent = {
        .time = 1795348800500,
        .event = TRACE_SEND,
        .recipient = STR("b@example.net"),
        .status = TRACE_STATUS_DELIVERED,
        .sender = STR("a@contoso.com"),
        .subject = STR("Say \"hi\", now\nplease"),
        .pool = STR("normal"),
        .class = TRACE_CLASS(CLASS_NORMAL),
        .reply = STR("250 2.0.0 Ok"),
        .size = 99,
        .attempts = 1,
    };
    struct trace_event failed = {
        .time = 1795348800500,
        .event = TRACE_FAIL,
        .recipient = STR("b@example.net"),
        .status = TRACE_STATUS_FAILED,
        .sender = STR("<>"),
        .reply = STR("550 5.7.1 no {thanks}; a=b"),
        .server_hostname = STR("mx.example.net"),
        .attempts = 2,
    };
    (void)state;
    sent.trace_id = failed.trace_id = trace_id_new(1795348800000);
    memcpy(sent.trace_id.text + 10, "ABCDEFGHJKMNPQRS", 16);
    memcpy(failed.trace_id.text + 10, "ABCDEFGHJKMNPQRS", 16);
    assert_true(ip_parse(STR("192.0.2.9"), &failed.server_ip));
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    trace_csv_row(&out, &sent);
    assert_string_equal(buf_c(&out),
                        ",,,,,,SMTP,SEND,,,01M81J18G0ABCDEFGHJKMNPQRS,b@example.net,250 2.0.0 Ok,99,,,,"
                        "\"Say \"\"hi\"\", now\nplease\",a@contoso.com,,2026-11-22T12:00:00.000Z,,,,,"
                        "S:OutboundIpPoolName=normal;S:MailClass=normal;S:Status=Delivered;S:Attempts=1;"
                        "S:DateTime=2026-11-22T12:00:00.500Z\n");
    buf_clear(&out);
    trace_csv_row(&out, &failed);
#define STATUS                                                                                               \
    "[{LED=550 5.7.1 no (thanks); a=b};{MSG=ended after 2 attempts};{FQDN=mx.example.net};{IP=192.0.2.9};"   \
    "{LRT=2026-11-22T12:00:00.500Z}]"
    assert_string_equal(
        buf_c(&out),
        ",,192.0.2.9,mx.example.net,,,SMTP,FAIL,,,01M81J18G0ABCDEFGHJKMNPQRS,"
        "b@example.net," STATUS ",,,,,,<>,,2026-11-22T12:00:00.000Z,,,,,"
        "S:Status=Failed;S:Attempts=2;S:DateTime=2026-11-22T12:00:00.500Z;'S:RecipientStatus=" STATUS "'\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_custom_pairs),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
