#include "cmocka_setup.h"
#include "mail/mime.h"

static void test_content_type(void **state) {
    static const struct {
        const char *value, *out;
    } cases[] = {
        {" text/plain", "text/plain"},
        {"TEXT/HTML; Charset=UTF-8", "text/html;Charset=UTF-8"},
        {"multipart/mixed; boundary=\"a b\\\"c\"", "multipart/mixed;boundary=a b\"c"},
        {"multipart/mixed;\r\n\tboundary=abc", "multipart/mixed;boundary=abc"},
        {"multipart/report (comment; x=y); report-type = delivery-status (c);boundary=b",
         "multipart/report;report-type=delivery-status;boundary=b"},
        {"image/ jpeg", "image/jpeg"},
        {" message / rfc822", "message/rfc822"},
        {"application/x; name*0=\"long\"; name*1=\" name\"", "application/x;name=long name"},
        {"application/x; title*0*=us-ascii'en'a; title*1*=b", "application/x;title=us-ascii'en'ab"},
        {"application/x; title*=utf-8''%e2", "application/x;title=utf-8''%e2"},
        {"text", "text/plain"},
        {"text/", "text/plain"},
        {"/plain", "text/plain"},
        {"", "text/plain"},
        {"text/plain; charset", "text/plain"},
        {"text/plain; charset=; x=y", "text/plain;charset=;x=y"},
        {"text/plain;;; ;x=y;", "text/plain;x=y"},
        {"text/plain; =x; a=b", "text/plain;a=b"},
        {"text/plain; \"x\"; a=b", "text/plain;a=b"},
        {"text/plain; a=\"open", "text/plain;a=open"},
        {"text/plain; a=b c; d=e", "text/plain;a=b;d=e"},
        {"text/plain (open", "text/plain"},
        {"multipart/mixed; boundary=----=_Part:1/2", "multipart/mixed;boundary=----=_Part:1/2"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct content_type ct;
        content_type_parse(arena, str_of(cases[i].value), &ct);
        struct str out = str_printf(arena, "%.*s/%.*s", STR_FMT(ct.type), STR_FMT(ct.subtype));
        for (size_t j = 0; j < ct.parameter_count; j++)
            out = str_printf(arena, "%.*s;%.*s=%.*s", STR_FMT(out), STR_FMT(ct.parameters[j].name),
                             STR_FMT(ct.parameters[j].value));
        assert_string_equal(str_c(arena, out), cases[i].out);
        arena_free(arena);
    }
}

static void test_facts(void **state) {
    static const struct {
        const char *header;
        struct mime_facts facts;
    } cases[] = {
        {"Content-Type: multipart/report; boundary=b; report-type=delivery-status\r\n\r\n",
         {.delivery_report = true}},
        {"Content-Type: multipart/report;\r\n REPORT-TYPE=\"Delivery-Status\"; boundary=b\r\n\r\n",
         {.delivery_report = true}},
        {"Content-Type: multipart/report; boundary=b; report-type=disposition-notification\r\n\r\n", {0}},
        {"Content-Type: multipart/mixed; report-type=delivery-status\r\n\r\n", {0}},
        {"Content-Type: multipart/signed; micalg=x\r\n\r\n", {.is_signed = true}},
        {"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n", {.is_signed = true}},
        {"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\n", {0}},
        {"dkim-signature: v=1\r\n\r\n", {.is_signed = true}},
        {"Subject: caf\xc3\xa9\r\n\r\n", {.header_8bit = true}},
        {"Subject: x\r\n\r\ncaf\xc3\xa9", {0}},
        {"", {0}},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct header h;
        struct mime_facts facts;
        assert_int_equal(header_parse(arena, str_of(cases[i].header), 0, &h), 0);
        mime_facts_of(arena, &h, &facts);
        assert_int_equal(facts.delivery_report, cases[i].facts.delivery_report);
        assert_int_equal(facts.is_signed, cases[i].facts.is_signed);
        assert_int_equal(facts.header_8bit, cases[i].facts.header_8bit);
        arena_free(arena);
    }
}

static void test_bytes(void **state) {
    static const struct {
        const char *bytes;
        bool utf8;
    } cases[] = {
        {"", true},
        {"abc", true},
        {"\xc3\xa9", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {"\xc3", false},
        {"\xa9", false},
        {"\xc0\xaf", false},
        {"\xe0\x80\x80", false},
        {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xff", false},
        {"\xf0\x80\x80\x80", false},
        {"\xe2\x82", false},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(bytes_utf8(str_of(cases[i].bytes)), cases[i].utf8);
        assert_true(bytes_utf8(utf8_clean(arena, str_of(cases[i].bytes))));
    }
    assert_false(bytes_8bit(STR("0123456789abcdef0")));
    assert_true(bytes_8bit(STR("0123456789abcdef\x80")));
    assert_true(bytes_8bit(STR("012\x80"
                               "456789abcdef")));
    assert_int_equal(mime_encoding_parse(STR(" Quoted-Printable (c)")), MIME_QP);
    assert_int_equal(mime_encoding_parse(STR("")), MIME_7BIT);
    assert_int_equal(mime_encoding_parse(STR("x-uue")), MIME_OTHER_ENCODING);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_content_type), cmocka_unit_test(test_facts),
                                       cmocka_unit_test(test_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
