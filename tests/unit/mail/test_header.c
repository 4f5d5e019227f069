#include "base/error.h"
#include "cmocka_setup.h"
#include "mail/build.h"
#include "mail/received.h"

#include <stdlib.h>

static void test_where_it_ends(void **state) {
    static const struct {
        const char *message;
        size_t fields, body_at;
        bool separated;
    } cases[] = {
        {"A: 1\r\nB: 2\r\n\r\nbody\r\n", 2, 14, true},
        {"A: 1\nB: 2\n\nbody\n", 2, 11, true},
        {"A: 1\r\n folded\r\n\tmore\r\nB: 2\r\n\r\n", 2, 30, true},
        {"A: 1\r\nno header line\r\nB: 2\r\n\r\n", 1, 6, false},
        {"A: 1\r\nB 2: x\r\n", 1, 6, false},
        {"A : 1\r\n\r\n", 1, 9, true},
        {"A: 1\r\n: x\r\n\r\n", 1, 6, false},
        {"\r\nbody", 0, 2, true},
        {"\nbody", 0, 1, true},
        {" folded first\r\nA: 1\r\n\r\n", 0, 0, false},
        {"From me\r\nA: 1\r\n\r\n", 0, 0, false},
        {"A: 1\r\nB: 2", 2, 10, false},
        {"A: 1\r\nB", 1, 6, false},
        {"A: 1\r\n", 1, 6, false},
        {"A: 1\r\n\r", 1, 6, false},
        {"A: 1\r\n\rx", 1, 6, false},
        {"", 0, 0, false},
        {"N\xc3\xa9: 1\r\n\r\n", 0, 0, false},
        {"A: 1\r\n \r\n\r\nbody", 1, 11, true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct str message = str_of(cases[i].message);
        struct header h;
        assert_int_equal(header_parse(arena, message, 0, &h), 0);
        if (h.body_at != cases[i].body_at || h.count != cases[i].fields)
            print_error("%s: %zu fields, body at %zu\n", cases[i].message, h.count, h.body_at);
        assert_int_equal(h.count, cases[i].fields);
        assert_int_equal(h.body_at, cases[i].body_at);
        assert_int_equal(h.separated, cases[i].separated);
        /* The same wherever the chunks are cut. */
        for (size_t cut = 0; cut <= message.len; cut++) {
            struct header_end e = {0};
            header_end_feed(&e, str_head(message, cut));
            header_end_feed(&e, str_from_index(message, cut));
            header_end_finish(&e);
            assert_int_equal(e.body_at, cases[i].body_at);
            assert_int_equal(e.separated, cases[i].separated);
        }
        arena_free(arena);
    }
}

static void test_fields(void **state) {
    struct arena *arena = arena_new(0);
    struct header h;
    (void)state;
    assert_int_equal(
        header_parse(arena,
                     STR("Subject:  a\r\n  b \r\nX: 1\r\nsubject:c\r\nReceived: x\r\nRECEIVED: y\r\n\r\n"), 0,
                     &h),
        0);
    const struct header_field *f = header_find(&h, STR("SUBJECT"), NULL);
    assert_true(str_eq(f->name, STR("Subject")));
    assert_true(str_eq(f->value, STR("  a\r\n  b ")));
    assert_true(str_eq(f->whole, STR("Subject:  a\r\n  b \r\n")));
    assert_true(str_eq(header_unfold(arena, f->value), STR("a  b")));
    f = header_find(&h, STR("Subject"), f);
    assert_true(str_eq(f->value, STR("c")));
    assert_null(header_find(&h, STR("Subject"), f));
    assert_int_equal(received_count(&h), 2);
    assert_null(header_value(arena, &h, STR("To")).at);
    arena_free(arena);
}

static void test_limits(void **state) {
    size_t len = 10 << 20;
    char *big = xmalloc(len);
    struct arena *arena = arena_new(0);
    struct header h;
    (void)state;
    memset(big, 'x', len);
    memcpy(big, "X: ", 3);
    assert_int_equal(header_parse(arena, str_from(big, len), 0, &h), SLUICE_ETOOBIG);
    assert_int_equal(header_parse(arena, str_from(big, len), len, &h), 0);
    assert_int_equal(h.count, 1);
    for (size_t i = 0; i < len; i += 4)
        memcpy(big + i, "X:\r\n", 4);
    assert_int_equal(header_parse(arena, str_from(big, len), 0, &h), SLUICE_ETOOBIG);
    assert_int_equal(header_parse(arena, str_from(big, len), len, &h), SLUICE_ETOOBIG); /* too many */
    arena_free(arena);
    free(big);
}

static void test_writing(void **state) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    (void)state;
    header_write(&out, STR("Subject"), STR("short\r\nBcc: evil"));
    assert_string_equal(buf_c(&out), "Subject: short  Bcc: evil\r\n");
    buf_clear(&out);
    header_write(
        &out, STR("X"),
        STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cc"));
    assert_string_equal(buf_c(&out), "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n "
                                     "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cc\r\n");
    buf_clear(&out);
    header_write(&out, STR("X"), STR(""));
    assert_string_equal(buf_c(&out), "X:\r\n");
}

static void test_received(void **state) {
    static const struct {
        struct received_facts facts;
        const char *out;
    } cases[] = {
        {{.helo = STR("mail.a.example"),
          .client_ip = STR("192.0.2.1"),
          .by = STR("mta.example.net"),
          .smtp = true,
          .ehlo = true,
          .trace_id = STR("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
          .recipient = STR("bob@b.example"),
          .wall_ms = 1795309323456},
         "Received: from mail.a.example ([192.0.2.1])\r\n\tby mta.example.net (Sluice) with ESMTP id "
         "01ARZ3NDEKTSV4RRFFQ69G5FAV\r\n\tfor <bob@b.example>;\r\n\tSun, 22 Nov 2026 01:02:03 +0000\r\n"},
        {{.helo = STR("a(b)\r\nX: y"),
          .client_name = STR("n.example"),
          .client_ip = STR("2001:db8::1"),
          .by = STR("m"),
          .smtp = true,
          .ehlo = true,
          .tls = true,
          .auth = true,
          .tls_version = STR("TLSv1.3"),
          .tls_cipher = STR("TLS_AES_256_GCM_SHA384"),
          .trace_id = STR("T"),
          .wall_ms = 1795309323456},
         "Received: from a?b???X:?y (n.example [IPv6:2001:db8::1])\r\n\t(using TLSv1.3 with cipher "
         "TLS_AES_256_GCM_SHA384)\r\n\tby m (Sluice) with ESMTPSA id T;\r\n\tSun, 22 Nov 2026 01:02:03 "
         "+0000\r\n"},
        {{.client_ip = STR("192.0.2.1"),
          .by = STR("m"),
          .smtp = true,
          .trace_id = STR("T"),
          .wall_ms = 1795309323456},
         "Received: from unknown ([192.0.2.1])\r\n\tby m (Sluice) with SMTP id T;\r\n\tSun, 22 Nov 2026 "
         "01:02:03 +0000\r\n"},
        {{.by = STR("m"), .trace_id = STR("T"), .wall_ms = 1795309323456},
         "Received: by m (Sluice) with LOCAL id T;\r\n\tSun, 22 Nov 2026 01:02:03 +0000\r\n"},
        {{.helo = STR("h"),
          .client_ip = STR("192.0.2.1"),
          .by = STR("m"),
          .smtp = true,
          .ehlo = true,
          .utf8 = true,
          .tls = true,
          .trace_id = STR("T"),
          .wall_ms = 1795309323456},
         "Received: from h ([192.0.2.1])\r\n\tby m (Sluice) with UTF8SMTPS id T;\r\n\tSun, 22 Nov 2026 "
         "01:02:03 +0000\r\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        received_write(&out, &cases[i].facts);
        assert_string_equal(buf_c(&out), cases[i].out);
    }
}

static void test_text(void **state) {
    static const struct {
        const char *text, *out;
    } writes[] = {
        {"plain", "Subject: plain\r\n"},
        {"Gr\xc3\xbc\xc3\x9f"
         "e an alle",
         "Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe_an_alle?=\r\n"},
        {"=?fake?=", "Subject: =?UTF-8?Q?=3D=3Ffake=3F=3D?=\r\n"},
    };
    static const struct {
        const char *value, *text;
    } reads[] = {
        {" plain\r\n text", "plain text"},
        {"=?UTF-8?Q?Gr=C3=BC=C3=9Fe_an?= =?utf-8?b?IGFsbGU=?=", "Gr\xc3\xbc\xc3\x9f"
                                                                "e an alle"},
        {"a =?iso-8859-1?q?=E9?= b", "a \xc3\xa9 b"},
        {"=?koi8-r?q?=C1?= x", "=?koi8-r?q?=C1?= x"},
        {"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\xc3\xa9"},
        {"=?utf-8?q?=00=0A?=", "  "},
        {"=?utf-8*en?q?a?=", "a"},
        {"raw \xe9", "raw ?"},
        {"=?utf-8?q?open", "=?utf-8?q?open"},
        {"=?=?=?", "=?=?=?"},
        {"", ""},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(writes); i++) {
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        header_write_text(&out, STR("Subject"), str_of(writes[i].text));
        assert_string_equal(buf_c(&out), writes[i].out);
    }
    for (size_t i = 0; i < COUNT(reads); i++)
        assert_string_equal(str_c(arena, header_decode_text(arena, str_of(reads[i].value))), reads[i].text);
    arena_free(arena);
}

/* What is written is read again, whatever its length, in lines of at most 76. */
static void test_text_round_trip(void **state) {
    struct arena *arena = arena_new(0);
    char text[600];
    (void)state;
    for (size_t len = 2; len < sizeof text; len += 7) {
        for (size_t i = 0; i + 1 < len; i += 2)
            memcpy(text + i, i % 14 ? "\xc3\xa9" : "a ", 2);
        struct str original = str_trim(str_from(text, len & ~(size_t)1));
        struct buf out __attribute__((cleanup(buf_free))) = {0};
        header_write_text(&out, STR("Subject"), original);
        struct str rest = buf_view(&out), line;
        while (str_cut(&rest, '\n', &line))
            assert_true(line.len <= 77);
        struct str value = str_from_index(buf_view(&out), 8);
        assert_true(str_eq(header_decode_text(arena, value), original));
    }
    arena_free(arena);
}

static void test_submission(void **state) {
    struct arena *arena = arena_new(0);
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct header h;
    const struct submission_facts facts = {STR("TRACE"), STR("a.example"), STR("bob@a.example"),
                                           1795309323456};
    (void)state;
    assert_int_equal(header_parse(arena, STR("Subject: x\r\n\r\n"), 0, &h), 0);
    submission_complete(&out, submission_lacks(&h), &facts);
    assert_string_equal(buf_c(&out), "From: <bob@a.example>\r\nDate: Sun, 22 Nov 2026 01:02:03 +0000\r\n"
                                     "Message-ID: <TRACE@a.example>\r\n");
    buf_clear(&out);
    assert_int_equal(header_parse(arena, STR("from: x\r\nDATE: y\r\nMessage-Id: z\r\n\r\n"), 0, &h), 0);
    submission_complete(&out, submission_lacks(&h), &facts);
    assert_int_equal(out.len, 0);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_it_ends),   cmocka_unit_test(test_fields),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_writing),
        cmocka_unit_test(test_received),        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_round_trip), cmocka_unit_test(test_submission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
