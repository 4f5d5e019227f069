#include "cmd/cli.h"
#include "cmocka_setup.h"
#include "trace/event.h"
#include <assert.h>
#include <locale.h>
#include <stdlib.h>

struct screen {
    struct cli cli;
    char *out;
    size_t len;
};

static void begin(struct screen *s) {
    *s = (struct screen){.cli = {.arena = arena_new(0)}};
    s->cli.err = s->cli.out = open_memstream(&s->out, &s->len);
}

static void end(struct screen *s) {
    fclose(s->cli.out);
    free(s->out);
    arena_free(s->cli.arena);
}

static void test_safe(void **state) {
    static const struct {
        const char *in;
        unsigned width;
        const char *out;
    } cases[] = {
        {"plain", 0, "plain"},
        {"plain", 5, "plain"},
        {"plainly", 5, "plai\xe2\x80\xa6"},
        {"\033]0;evil\007", 0, " ]0;evil "},
        {"a\xc2\x9b"
         "31mb",
         0, "a 31mb"},
        {"abc\xe2\x80\xaetxt.exe", 0, "abc txt.exe"},
        {"two\nlines\ttab", 0, "two lines tab"},
        {"bad\xff", 0, "bad\xef\xbf\xbd"},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 6, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
        {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 5, "\xe6\x97\xa5\xe6\x9c\xac\xe2\x80\xa6"},
        {"", 3, ""},
    };
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct str out = cli_safe(arena, str_of(cases[i].in), cases[i].width);
        assert_string_equal(str_c(arena, out), cases[i].out);
    }
    arena_free(arena);
}

static void test_wrap(void **state) {
    static const struct {
        unsigned width, column;
        const char *in, *out;
    } cases[] = {
        {0, 4, "one two three four five six", "one two three four five six\n"},
        {14, 4, "one two three", "one two\n    three\n"},
        {15, 4, "one two three", "one two\n    three\n"},
        {17, 4, "one two three", "one two three\n"},
        {12, 4, "192.0.2.1  EHLO x  PTR y", "192.0.2.1\n    EHLO x\n    PTR y\n"},
        {10, 2, "a toolongforanyline b", "a\n  toolongforanyline\n  b\n"},
        {10, 8, "ab cd ef", "ab\n     cd ef\n"},
        {80, 4, "", "\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct screen s;
        begin(&s);
        s.cli.width = cases[i].width;
        cli_wrap(&s.cli, cases[i].column, str_of(cases[i].in));
        fflush(s.cli.out);
        assert_string_equal(s.out, cases[i].out);
        end(&s);
    }
}

static void test_units(void **state) {
    static const struct {
        int64_t ms;
        const char *out;
    } durations[] = {{0, "0ms"},       {999, "999ms"},      {1500, "1.5s"},    {59000, "59s"},
                     {119999, "119s"}, {120000, "2min"},    {7200000, "2h"},   {172800000, "2d"},
                     {-5, "0ms"},      {7199999, "119min"}, {172799999, "47h"}};
    static const struct {
        int64_t bytes;
        const char *out;
    } sizes[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KB"}, {10240, "10 KB"}, {1572864, "1.5 MB"}};
    struct arena *arena = arena_new(0);
    (void)state;
    for (size_t i = 0; i < COUNT(durations); i++)
        assert_string_equal(str_c(arena, cli_duration(arena, durations[i].ms)), durations[i].out);
    for (size_t i = 0; i < COUNT(sizes); i++)
        assert_string_equal(str_c(arena, cli_bytes(arena, sizes[i].bytes)), sizes[i].out);
    arena_free(arena);
}

static const struct cli_column columns[] = {
    {"ID", "id", CLI_TEXT},
    {"N", "n", CLI_NUMBER, .drop = 1},
    {"TEXT", "text", CLI_TEXT, .least = 6},
    {0},
};

static const char rows[] = "{\"id\":\"one\",\"n\":7,\"text\":\"short\"}\n"
                           "{\"id\":\"two\",\"n\":12345,\"text\":\"a longer, \\\"text\\\"\"}\n"
                           "{\"id\":\"three\",\"n\":null,\"text\":null}\n";

static void test_tables(void **state) {
    static const struct {
        unsigned width;
        bool json, csv;
        const char *out;
    } cases[] = {
        {0, false, false,
         "ID         N  TEXT\none        7  short\ntwo    12345  a longer, \"text\"\nthree      -  -\n"},
        {24, false, false,
         "ID         N  TEXT\none        7  short\ntwo    12345  a longer,\xe2\x80\xa6\nthree      -  -\n"},
        {16, false, false, "ID     TEXT\none    short\ntwo    a longer\xe2\x80\xa6\nthree  -\n"},
        {3, false, false, "ID     TEXT\none    short\ntwo    a lon\xe2\x80\xa6\nthree  -\n"},
        {0, true, false, rows},
        {0, false, true, "id,n,text\none,7,short\ntwo,12345,\"a longer, \"\"text\"\"\"\nthree,,\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct screen s;
        begin(&s);
        s.cli.width = cases[i].width;
        s.cli.json = cases[i].json;
        s.cli.csv = cases[i].csv;
        assert_int_equal(cli_rows(&s.cli, str_of(rows), columns), 3);
        fflush(s.cli.out);
        assert_string_equal(s.out, cases[i].out);
        end(&s);
    }
}

static void test_columns_go_before_others_are_cut(void **state) {
    static const struct cli_column wanting[] = {
        {"ID", "id", CLI_TEXT},
        {"N", "n", CLI_NUMBER, .drop = 1},
        {"TEXT", "text", CLI_TEXT, .least = 6, .want = 14},
        {0},
    };
    static const struct {
        unsigned width;
        const char *out;
    } cases[] = {
        {28, "ID         N  TEXT\none        7  short\ntwo    12345  a longer, \"te\xe2\x80\xa6\nthree      "
             "-  -\n"},
        {27, "ID     TEXT\none    short\ntwo    a longer, \"text\"\nthree  -\n"},
        {14, "ID     TEXT\none    short\ntwo    a long\xe2\x80\xa6\nthree  -\n"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct screen s;
        begin(&s);
        s.cli.width = cases[i].width;
        cli_rows(&s.cli, str_of(rows), wanting);
        fflush(s.cli.out);
        assert_string_equal(s.out, cases[i].out);
        end(&s);
    }
}

static void test_cause(void **state) {
    static const struct cli_column cause[] = {{"CAUSE", "reply", CLI_CAUSE}, {0}};
    struct screen s;
    (void)state;
    begin(&s);
    cli_rows(&s.cli,
             STR("{\"status\":\"Delivered\",\"reply\":\"250 ok\"}\n{\"status\":\"Failed\",\"reply\":\"550 "
                 "no\"}\n"),
             cause);
    fflush(s.cli.out);
    assert_string_equal(s.out, "CAUSE\n-\n550 no\n");
    end(&s);
}

static void test_colours(void **state) {
    static const struct cli_column status[] = {{"S", "s", CLI_STATUS}, {0}};
    struct screen s;
    (void)state;
    begin(&s);
    s.cli.colour = true;
    cli_rows(&s.cli, STR("{\"s\":\"Failed\"}\n"), status);
    fflush(s.cli.out);
    assert_string_equal(s.out, "\033[1mS\033[0m\n\033[31mFailed\033[0m\n");
    end(&s);
}

static void test_timeline(void **state) {
    struct trace_event events[] = {
        {.time = 1795348800010,
         .event = TRACE_RECEIVE,
         .status = TRACE_STATUS_PENDING,
         .recipient = STR("bob@example.net"),
         .sender = STR("alice@contoso.com"),
         .return_path = STR("alice@contoso.com"),
         .subject = STR("Offer\033[2J"),
         .message_id = STR("<1@contoso.com>"),
         .size = 2048,
         .tenant = STR("contoso"),
         .connector = STR("on-prem"),
         .class = TRACE_CLASS(CLASS_NORMAL),
         .rule = STR("own"),
         .reason = STR("the sender is in an accepted domain"),
         .pool = STR("normal")},
        {.time = 1795348801000,
         .event = TRACE_DEFER,
         .status = TRACE_STATUS_PENDING,
         .recipient = STR("bob@example.net"),
         .server_hostname = STR("mx.example.net"),
         .ehlo = STR("bl2.contoso.com"),
         .reply = STR("451 4.7.1 Greylisted"),
         .attempts = 1},
        {.time = 1795392000000,
         .event = TRACE_SEND,
         .status = TRACE_STATUS_DELIVERED,
         .recipient = STR("bob@example.net"),
         .server_hostname = STR("mx.example.net"),
         .tls = STR("TLSv1.3"),
         .reply = STR("250 2.0.0 Ok"),
         .attempts = 2,
         .latency_ms = 43200000},
    };
    struct screen s;
    (void)state;
    begin(&s);
    for (size_t i = 0; i < COUNT(events); i++) {
        strcpy(events[i].trace_id.text, "01M81J18G0ABCDEFGHJKMNPQRS");
        assert_true(ip_parse(STR("192.0.2.1"), &events[i].server_ip));
        assert_true(ip_parse(STR("198.51.100.7"), &events[i].outbound_ip));
    }
    cli_timeline(&s.cli, events, COUNT(events));
    fflush(s.cli.out);
    assert_string_equal(
        s.out, "01M81J18G0ABCDEFGHJKMNPQRS  arrived 2026-11-22 12:00:00.000 UTC\n"
               "  from      alice@contoso.com\n"
               "  subject   Offer [2J\n"
               "  message   <1@contoso.com>, 2.0 KB\n"
               "  tenant    contoso, connector on-prem\n"
               "\n"
               "  bob@example.net  Delivered after 12h, 2 attempts\n"
               "  class     normal by rule own: the sender is in an accepted domain\n"
               "  pool      normal\n"
               "    2026-11-22 12:00:00.010  RECEIVE  accepted, and on disk\n"
               "    12:00:01.000  DEFER    must wait at mx.example.net [192.0.2.1] from 198.51.100.7 as "
               "bl2.contoso.com\n"
               "                           451 4.7.1 Greylisted\n"
               "    2026-11-23 00:00:00.000  SEND     delivered to mx.example.net [192.0.2.1] from "
               "198.51.100.7, TLSv1.3\n"
               "                                      250 2.0.0 Ok\n");
    end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safe),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_columns_go_before_others_are_cut),
        cmocka_unit_test(test_cause),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_timeline),
    };
    assert(setlocale(LC_CTYPE, "C.UTF-8"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
