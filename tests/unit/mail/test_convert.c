#include "base/error.h"
#include "cmocka_setup.h"
#include "mail/convert.h"
#include "mail/mime.h"

#define E8 "caf\xc3\xa9"
#define E7 "caf=C3=A9"

static const struct {
    const char *in;
    int error;
    const char *out; /* NULL: as it came in */
} cases[] = {
    {.in = "Subject: x\r\n\r\nascii\r\n"},
    {.in = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n\r\nascii\r\n"},
    {.in =
         "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\nX: y\r\n\r\n" E8
         " \r\na=b\t\r\n.\r\n",
     .out =
         "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\nX: "
         "y\r\n\r\n" E7 "=20\r\na=3Db=09\r\n.\r\n"},
    {.in = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" E8,
     .out = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\n" E7},
    {.in = "Subject: x\r\n\r\n" E8 "\r\n",
     .out = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n" E7 "\r\n"},
    /* No empty line: what was no field for its 8-bit name must not become one. */
    {.in = "Subject: x\r\n\xc3\xa9: y\r\n",
     .out = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9: y\r\n"},
    /* Only the parts that need it. */
    {.in =
         "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: "
         "8bit\r\n\r\npre\xc3\xa9\r\n--b\r\n\r\nascii\r\n--b  \r\nContent-Transfer-Encoding: 8bit\r\n\r\n" E8
         "\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\nepi\r\n",
     .out = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: "
            "7bit\r\n\r\npre??\r\n--b\r\n\r\nascii\r\n--b  \r\nContent-Transfer-Encoding: "
            "quoted-printable\r\nContent-Type: text/plain; charset=unknown-8bit\r\n\r\n" E7
            "\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\nepi\r\n"},
    /* Boundaries that start alike; an inner one that is never closed. */
    {.in = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
           "multipart/alternative; boundary=bb\r\n\r\n--bb\r\nContent-Type: text/html\r\n\r\n" E8
           "\r\n--b\r\nContent-Type: "
           "text/plain\r\n\r\n--bb\r\n" E8 "\r\n--b--\r\n",
     .out = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: "
            "multipart/alternative; boundary=bb\r\n\r\n--bb\r\nContent-Type: "
            "text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" E7
            "\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\n--bb\r\n" E7 "\r\n--b--\r\n"},
    /* A message in a message, also by a digest's default. */
    {.in = "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: "
           "8bit\r\n\r\nSubject: "
           "in\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" E8
           "\r\n",
     .out = "MIME-Version: 1.0\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: "
            "7bit\r\n\r\nSubject: "
            "in\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\n" E7 "\r\n"},
    {.in = "MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: "
           "in\r\n\r\n" E8 "\r\n--b--\r\n",
     .out = "MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: "
            "in\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
            "Content-Transfer-Encoding: quoted-printable\r\n\r\n" E7 "\r\n--b--\r\n"},
    {.in = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db " E8 "\r\n",
     .out = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db " E7 "\r\n"},
    /* 76 columns; no break inside of an escape. */
    {.in = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xe9"
           "bb\r\n",
     .out = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\n"
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=\r\n=E9bb\r\n"},
    {.in = "Subject: " E8 "\r\n\r\nascii\r\n", .error = SLUICE_EDENIED},
    {.in = "DKIM-Signature: v=1\r\n\r\n" E8 "\r\n", .error = SLUICE_EDENIED},
    {.in = "DKIM-Signature: v=1\r\n\r\nascii\r\n"},
    {.in = "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" E8 "\r\n--b--\r\n",
     .error = SLUICE_EDENIED},
    {.in = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/signed; "
           "boundary=b\r\n\r\n--b\r\n\r\n" E8 "\r\n--b--\r\n--a--\r\n",
     .error = SLUICE_EDENIED},
    {.in = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/signed; "
           "boundary=b\r\n\r\n--b\r\n\r\nascii\r\n--b--\r\n--a\r\nContent-Type: text/plain\r\n\r\n" E8
           "\r\n--a--\r\n",
     .out = "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/signed; "
            "boundary=b\r\n\r\n--b\r\n\r\nascii\r\n--b--\r\n--a\r\nContent-Type: "
            "text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" E7 "\r\n--a--\r\n"},
    {.in = "Content-Type: message/partial; id=x\r\n\r\n" E8 "\r\n", .error = SLUICE_EDENIED},
    {.in = "Content-Transfer-Encoding: base64\r\n\r\n" E8 "\r\n", .error = SLUICE_EDENIED},
    {.in = "Content-Transfer-Encoding: x-uue\r\n\r\n" E8 "\r\n", .error = SLUICE_EDENIED},
    {.in = "Content-Type: message/rfc822\r\n\r\nSubject: " E8 "\r\n\r\nx\r\n", .error = SLUICE_EDENIED},
    {.in = "Content-Type: message/global\r\n\r\nSubject: " E8 "\r\n\r\nx\r\n",
     .out = "Content-Type: message/global\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: "
            "quoted-printable\r\n\r\nSubject: " E7 "\r\n\r\nx\r\n"},
    {.in = ""},
};

static int in_chunks(struct str message, size_t chunk, struct buf *out) {
    struct convert *c = convert_new();
    int error = 0;
    for (size_t i = 0; !error && i < message.len; i += chunk)
        error = convert_scan(c, str_head(str_from_index(message, i), chunk));
    error = error ? error : convert_scan_end(c);
    for (size_t i = 0; !error && i < message.len; i += chunk)
        error = convert_write(c, str_head(str_from_index(message, i), chunk), out);
    error = error ? error : convert_write_end(c, out);
    assert_true(!error || convert_why(c)[0]);
    convert_free(c);
    return error;
}

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str in = str_of(cases[i].in);
        for (size_t chunk = 1; chunk <= in.len + 1; chunk = chunk * 2 + 1) {
            struct buf out __attribute__((cleanup(buf_free))) = {0};
            int error = in_chunks(in, chunk, &out);
            if (error != cases[i].error)
                print_error("%s\n", cases[i].in);
            assert_int_equal(error, cases[i].error);
            if (error)
                continue;
            assert_string_equal(buf_c(&out), cases[i].out ? cases[i].out : cases[i].in);
        }
    }
}

/* Lines far longer than a piece. */
static void test_long_lines(void **state) {
    struct buf in __attribute__((cleanup(buf_free))) = {0}, out __attribute__((cleanup(buf_free))) = {0};
    (void)state;
    buf_str(&in, STR("MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"));
    for (int i = 0; i < 100000; i++)
        buf_char(&in, i % 3 ? 'a' : (char)0xe9);
    buf_str(&in, STR("\r\nend"));
    assert_int_equal(in_chunks(buf_view(&in), 1000, &out), 0);
    assert_false(bytes_8bit(buf_view(&out)));
    struct str rest = buf_view(&out), line;
    while (str_cut(&rest, '\n', &line))
        assert_true(line.len <= 77);
    assert_true(str_ends(buf_view(&out), STR("\r\nend")));
}

static void test_deep_nesting(void **state) {
    struct buf in __attribute__((cleanup(buf_free))) = {0}, out __attribute__((cleanup(buf_free))) = {0};
    const char *why;
    (void)state;
    for (int i = 0; i < 40; i++)
        buf_printf(&in, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    assert_int_equal(convert_message(buf_view(&in), &out, &why), SLUICE_EDENIED);
    assert_string_equal(why, "its parts are nested too deeply");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_long_lines),
                                       cmocka_unit_test(test_deep_nesting)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
