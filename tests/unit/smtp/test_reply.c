#include "cmocka_setup.h"
#include "smtp/reply.h"
#include <stdio.h>

static const struct {
    const char *in;
    int result; /* of smtp_reply_read */
    int code;
    const char *enhanced, *text, *joined;
    size_t left;
} reads[] = {
    {"250 ok\r\n", 1, 250, "", "ok", "ok"},
    {"250\r\n", 1, 250, "", "", ""},
    {"250 \r\n", 1, 250, "", "", ""},
    {"250 ok\n", 1, 250, "", "ok", "ok"},
    {"250 2.0.0 ok: queued as X\r\nmore", 1, 250, "2.0.0", "ok: queued as X", "ok: queued as X", 4},
    {"250 2.1.5\r\n", 1, 250, "2.1.5", "", ""},
    {"550-5.7.1 Our system\r\n550-5.7.1 has seen\r\n550 5.7.1 you.\r\n", 1, 550, "5.7.1",
     "Our system\nhas seen\nyou.", "Our system has seen you."},
    {"550-5.7.1 a\r\n550 b\r\n", 1, 550, "5.7.1", "a\nb", "a b"},
    {"250-mx.example.org\r\n250-SIZE 100\r\n250 PIPELINING\r\n", 1, 250, "",
     "mx.example.org\nSIZE 100\nPIPELINING", "mx.example.org SIZE 100 PIPELINING"},
    {"550 4.7.1 class differs\r\n", 1, 550, "", "4.7.1 class differs", "4.7.1 class differs"},
    {"550 5.7 short\r\n", 1, 550, "", "5.7 short", "5.7 short"},
    {"550 5.7.1234 long\r\n", 1, 550, "", "5.7.1234 long", "5.7.1234 long"},
    {"354 go\r\n", 1, 354, "", "go", "go"},
    {"250 a\tb\x01\x7f\r\n", 1, 250, "", "a b??", "a b??"},
    {"250 \xc3\xa4\r\n", 1, 250, "", "\xc3\xa4", "\xc3\xa4"},
    {"250 \xc3 x\r\n", 1, 250, "", "? x", "? x"},
    {"250 a\rb\r\n", 1, 250, "", "a?b", "a?b"},
    {"", 0},
    {"250", 0},
    {"250 ok", 0},
    {"250-ok\r\n", 0},
    {"250-ok\r\n250 mor", 0},
    {"\r\n", SLUICE_ESYNTAX},
    {"hello\r\n", SLUICE_ESYNTAX},
    {"25 ok\r\n", SLUICE_ESYNTAX},
    {"2500 ok\r\n", SLUICE_ESYNTAX},
    {"150 ok\r\n", SLUICE_ESYNTAX},
    {"650 ok\r\n", SLUICE_ESYNTAX},
    {"-50 ok\r\n", SLUICE_ESYNTAX},
    {"250-a\r\n550 b\r\n", SLUICE_ESYNTAX},
    {"SSH-2.0-x\r\n", SLUICE_ESYNTAX},
};

static void test_read(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(reads); i++) {
        struct arena *arena = arena_new(0);
        struct smtp_reply reply = {0};
        size_t used = 0;
        int result = smtp_reply_read(str_of(reads[i].in), arena, &reply, &used);
        if (result != reads[i].result)
            fail_msg("'%s': %d", reads[i].in, result);
        if (result == 1) {
            assert_int_equal(reply.code, reads[i].code);
            assert_true(str_eq(reply.enhanced, str_of(reads[i].enhanced)));
            assert_true(str_eq(reply.text, str_of(reads[i].text)));
            assert_true(str_eq(smtp_reply_joined(arena, &reply), str_of(reads[i].joined)));
            assert_int_equal(used, strlen(reads[i].in) - reads[i].left);
        }
        arena_free(arena);
    }
}

static void test_bounds(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct smtp_reply reply;
    size_t used;
    struct buf in = {0};
    for (int i = 0; i < 63; i++)
        buf_str(&in, STR("250-x\r\n"));
    buf_str(&in, STR("250 x\r\n"));
    assert_int_equal(smtp_reply_read(buf_view(&in), arena, &reply, &used), 1);
    buf_clear(&in);
    for (int i = 0; i < 65; i++)
        buf_str(&in, STR("250-x\r\n"));
    assert_int_equal(smtp_reply_read(buf_view(&in), arena, &reply, &used), SLUICE_ETOOBIG);
    buf_clear(&in);
    buf_str(&in, STR("250 "));
    while (in.len < SMTP_REPLY_BYTES_MAX)
        buf_char(&in, 'x');
    assert_int_equal(smtp_reply_read(buf_view(&in), arena, &reply, &used), SLUICE_ETOOBIG);
    assert_int_equal(smtp_reply_read(STR("250 a\0b\r\n"), arena, &reply, &used), SLUICE_ESYNTAX);
    buf_free(&in);
    arena_free(arena);
}

static const struct {
    struct smtp_reply reply;
    const char *wire;
} writes[] = {
    {{250, STR("2.0.0"), STR("Ok")}, "250 2.0.0 Ok\r\n"},
    {{354, STR(""), STR("go")}, "354 go\r\n"},
    {{334, STR(""), STR("")}, "334 \r\n"},
    {{250, STR(""), STR("a\nb\nc")}, "250-a\r\n250-b\r\n250 c\r\n"},
    {{550, STR("5.7.1"), STR("a\n\nc")}, "550-5.7.1 a\r\n550-5.7.1 \r\n550 5.7.1 c\r\n"},
    {{550, STR("5.7.1"), STR("a\r\nb\x01")}, "550-5.7.1 a?\r\n550 5.7.1 b?\r\n"},
};

static void test_write(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(writes); i++) {
        struct buf out = {0};
        smtp_reply_write(&out, &writes[i].reply);
        if (!str_eq(buf_view(&out), str_of(writes[i].wire)))
            fail_msg("case %zu: '%.*s'", i, STR_FMT(buf_view(&out)));
        buf_free(&out);
    }
}

/* Long texts are broken into lines that fit, and read back as the same words. */
static void test_long(void **state) {
    (void)state;
    static const char *const words[] = {"word ", "\xc3\xa4", "x"};
    for (size_t w = 0; w < COUNT(words); w++) {
        struct arena *arena = arena_new(0);
        struct buf text = {0}, out = {0};
        for (int i = 0; i < 700; i++)
            buf_str(&text, str_of(words[w]));
        smtp_reply_write(&out, &(struct smtp_reply){550, STR("5.7.1"), buf_view(&text)});
        struct str rest = buf_view(&out), line;
        while (str_cut(&rest, '\n', &line))
            assert_true(line.len + 1 <= SMTP_REPLY_LINE_MAX);
        struct smtp_reply back;
        size_t used;
        assert_int_equal(smtp_reply_read(buf_view(&out), arena, &back, &used), 1);
        assert_int_equal(used, out.len);
        assert_true(str_eq(back.enhanced, STR("5.7.1")));
        assert_true(str_find(back.text, STR("?")) < 0);
        buf_free(&text);
        buf_free(&out);
        arena_free(arena);
    }
}

static void test_outcome(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    static const struct {
        int code;
        enum outcome_scope asked, scope;
        enum outcome_fate fate;
    } cases[] = {
        {250, OUTCOME_MESSAGE, OUTCOME_MESSAGE, OUTCOME_DONE},
        {450, OUTCOME_RECIPIENT, OUTCOME_RECIPIENT, OUTCOME_LATER},
        {421, OUTCOME_RECIPIENT, OUTCOME_SESSION, OUTCOME_LATER},
        {421, OUTCOME_HOST, OUTCOME_HOST, OUTCOME_LATER},
        {554, OUTCOME_HOST, OUTCOME_HOST, OUTCOME_NEVER},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct smtp_reply reply = {cases[i].code, STR_NULL, STR("a\nb")};
        struct outcome o = smtp_reply_outcome(arena, &reply, cases[i].asked);
        assert_int_equal(o.scope, cases[i].scope);
        assert_int_equal(o.fate, cases[i].fate);
        assert_true(o.remote);
        assert_true(str_eq(o.text, STR("a b")));
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read), cmocka_unit_test(test_bounds),  cmocka_unit_test(test_write),
        cmocka_unit_test(test_long), cmocka_unit_test(test_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
