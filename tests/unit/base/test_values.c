#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/log.h"
#include "base/outcome.h"
#include "base/shell.h"
#include "base/trace_id.h"
#include "cmocka_setup.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* The check value of RFC 3720 B.4 and others' published ones. */
static void test_crc32c(void **state) {
    char zeros[32] = {0};
    (void)state;
    assert_true(crc32c(0, "123456789", 9) == 0xe3069283u);
    assert_true(crc32c(0, zeros, 32) == 0x8a9136aau);
    assert_true(crc32c(crc32c(0, "1234", 4), "56789", 5) == 0xe3069283u);
}

static void test_times(void **state) {
    char text[CLOCK_RFC5322_SIZE];
    int64_t ms = 0;
    (void)state;
    assert_string_equal(clock_rfc3339(1795309323456, text), "2026-11-22T01:02:03.456Z");
    assert_string_equal(clock_rfc5322(1795309323456, text), "Sun, 22 Nov 2026 01:02:03 +0000");
    assert_true(clock_parse_rfc3339(STR("2026-11-22T01:02:03.456Z"), &ms));
    assert_true(ms == 1795309323456);
    assert_true(clock_parse_rfc3339(STR("2026-11-22"), &ms));
    assert_true(ms == 1795305600000);
    assert_false(clock_parse_rfc3339(STR("2026-11-22T01:02:03+01:00"), &ms));
    assert_false(clock_parse_rfc3339(STR("yesterday"), &ms));
    assert_true(clock_parse_rfc3339(STR("2028-02-29"), &ms));
    assert_false(clock_parse_rfc3339(STR("2026-02-29"), &ms));
    assert_false(clock_parse_rfc3339(STR("2026-11-31T01:02:03Z"), &ms));
    /* What is read can be written: years have four digits (RFC 3339 5.6). */
    assert_true(clock_parse_rfc3339(STR("9999-12-31T23:59:59.999Z"), &ms));
    assert_string_equal(clock_rfc3339(ms, text), "9999-12-31T23:59:59.999Z");
    assert_false(clock_parse_rfc3339(STR("9999-12-31T23:59:60Z"), &ms));
}

static void test_trace_ids(void **state) {
    struct trace_id a = trace_id_new(1000), b = trace_id_new(1000), c = trace_id_new(1001);
    (void)state;
    assert_true(trace_id_valid(trace_id_str(&a)));
    assert_string_not_equal(a.text, b.text);
    assert_true(str_cmp(trace_id_str(&b), trace_id_str(&c)) < 0);
    assert_false(trace_id_valid(STR("short")));
    assert_false(trace_id_valid(STR("01ARZ3NDEKTSV4RRFFQ69G5fav")));
}

static void test_outcome_line(void **state) {
    struct arena *arena = arena_new(0);
    struct outcome o = {.code = 550, .enhanced = STR("5.1.1"), .text = STR("no such user")};
    (void)state;
    assert_true(str_eq(outcome_line(arena, &o), STR("550 5.1.1 no such user")));
    o = (struct outcome){.text = STR("connection refused")};
    assert_true(str_eq(outcome_line(arena, &o), STR("connection refused")));
    arena_free(arena);
}

static void test_log_quotes(void **state) {
    int fds[2];
    char line[256] = {0};
    (void)state;
    assert_int_equal(pipe(fds), 0);
    struct log *log = log_new(fds[1], LOG_INFO);
    log_event(log, LOG_DEBUG, "hidden", NULL);
    log_event(log, LOG_INFO, "seen", "a", "x", "b", "two words\n", "c", NULL, "d", "", "e",
              "\xc2\x9b[2J\xc3\xa9", NULL);
    assert_true(read(fds[0], line, sizeof line - 1) > 0);
    assert_non_null(
        strstr(line, "Z info seen a=x b=\"two words\\x0a\" d=\"\" e=\"\\xc2\\x9b[2J\xc3\xa9\"\n"));
    log_free(log);
    close(fds[0]);
    close(fds[1]);
}

/* What a shell makes of the word is the name, whatever is in it. */
static void test_shell_word(void **state) {
    (void)state;
    static const char *const names[] = {"bob@contoso.com",
                                        "connector/contoso/on-prem/<>",
                                        "a`touch x`@example.com",
                                        "$(touch x)",
                                        "it's",
                                        "",
                                        "\"a;touch x\"@example.com",
                                        "a b",
                                        "~root",
                                        "*",
                                        "a\\b",
                                        "#x",
                                        "!!"};
    struct arena *arena = arena_new(0);
    for (size_t i = 0; i < COUNT(names); i++) {
        char got[100] = "";
        struct str word = shell_word(arena, str_of(names[i]));
        FILE *shell = popen(str_printf(arena, "printf %%s %.*s", STR_FMT(word)).at, "r");
        assert_non_null(shell);
        (void)!fread(got, 1, sizeof got - 1, shell);
        assert_int_equal(pclose(shell), 0);
        assert_string_equal(got, names[i]);
    }
    assert_true(str_eq(shell_word(arena, STR("bob@contoso.com")), STR("bob@contoso.com")));
    arena_free(arena);
}

static void test_errors(void **state) {
    (void)state;
    assert_int_equal(error_from_errno(ENOSPC), SLUICE_EFULL);
    assert_int_equal(error_from_errno(EXDEV), SLUICE_EIO);
    assert_string_equal(error_text(SLUICE_EFULL), "no room left");
    assert_string_equal(error_text(-999), "unknown error");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),     cmocka_unit_test(test_times),
        cmocka_unit_test(test_trace_ids),  cmocka_unit_test(test_outcome_line),
        cmocka_unit_test(test_log_quotes), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_shell_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
